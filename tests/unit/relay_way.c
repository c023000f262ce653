/* SPDX-License-Identifier: BSD-2-Clause */
/* A session's way through a device that relays: how that is asked, when it counts as open, and when as silent. */
#include "test.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "crypto.h"
#include "echo_ends.h"
#include "loop.h"
#include "secmem.h"
#include "../../keyd/nat.h"
#include "../../keyd/peers.h"
#include "../../keyd/relay_way.h"
#include "../../keyd/relayed.h"

#define SPI 0x1234

static struct keyd k;
static struct peer peer;
static struct session s;
static struct mvpn_relay_by by = {
	.device = {7}, .addr = {[10] = 0xff, 0xff, 192, 0, 2, 7}, .key = {1}};
static struct echo_place place; /* as the device has it */
static uint64_t clock_ms, traffic;
static unsigned questions, punches, found, complaints;
static bool deaf;		      /* the device does not answer */
static uint8_t question[MVPN_ECHO_B]; /* the last one ... */
static bool asked;		      /* ... is on its way */

/* ---- the rest of keyd ---- */

struct loop_timer {
	loop_timer_fn *fn;
	void *arg;
	uint64_t at_ms; /* 0: not armed */
};
static struct loop_timer *timer; /* the newest way's */
static unsigned timers;

int __wrap_loop_timer_new(struct loop *l, loop_timer_fn *fn, void *arg, struct loop_timer **ret);
void __wrap_loop_timer_arm(struct loop_timer *t, uint64_t ms);
void __wrap_loop_timer_free(struct loop_timer *t);
int __wrap_clock_gettime(clockid_t id, struct timespec *ts);

int __wrap_loop_timer_new(struct loop *l, loop_timer_fn *fn, void *arg, struct loop_timer **ret)
{
	timer = calloc(1, sizeof(*timer));
	*timer = (struct loop_timer){fn, arg, 0};
	*ret = timer;
	timers++;
	return 0;
}

void __wrap_loop_timer_arm(struct loop_timer *t, uint64_t ms)
{
	t->at_ms = clock_ms + ms;
}

void __wrap_loop_timer_free(struct loop_timer *t)
{
	if (t == timer)
		timer = NULL;
	timers--;
	free(t);
}

int __wrap_clock_gettime(clockid_t id, struct timespec *ts)
{
	*ts = (struct timespec){(time_t)(clock_ms / 1000), (long)(clock_ms % 1000) * 1000000};
	return 0;
}

struct session *session_by_spi(struct keyd *keyd, uint32_t spi)
{
	return spi == SPI ? &s : NULL;
}

void kt_session_stats(const struct kt_session *kt, struct kt_stats *ret)
{
	*ret = (struct kt_stats){.tx_packets = traffic};
}

const char *peer_label(const struct peer *p)
{
	return "b";
}

void nat_punch(struct session *session)
{
	punches++;
}

void relayed_way_found(struct session *session)
{
	found++;
	peer.relayed = true;
	assert_true(relay_way_open(&s, &peer.endpoint));
}

void relayed_unanswered(struct session *session, const uint8_t device[MVPN_ID_LEN])
{
	assert_memory_equal(device, by.device, MVPN_ID_LEN);
	complaints++;
}

int dp_send_plain(struct dp *dp, const struct mvpn_endpoint *to, const void *data, size_t len)
{
	questions++;
	assert_int_equal(len, MVPN_ECHO_B);
	assert_int_equal(to->port, 7469);
	assert_memory_equal(&to->addr, by.addr, 16);
	memcpy(question, data, len);
	asked = true;
	return 0;
}

/* the device answers what it was asked */
static void settle(void)
{
	struct mvpn_endpoint from = {.port = 5};

	while (asked) {
		struct dp_event e = {.type = DP_EV_ECHO};

		asked = false;
		memcpy(e.data, question, sizeof(e.data));
		if (!deaf && echo_place_answer(&place, e.data, &from, by.key, clock_ms))
			relay_way_answered(&k, &e);
	}
}

static void told(void)
{
	assert_int_equal(relay_way_told(&s, &by, "gw1"), 0);
	settle();
}

/* ---- time ---- */

static void pass(uint64_t ms)
{
	uint64_t until = clock_ms + ms;

	while (timer && timer->at_ms && timer->at_ms <= until) {
		clock_ms = timer->at_ms;
		timer->at_ms = 0;
		timer->fn(timer->arg);
		settle();
	}
	clock_ms = until;
}

static int setup(void **state)
{
	assert_int_equal(mvpn_crypto_init(), 0);
	clock_ms = 1000000;
	by.port_be = htobe16(7469);
	s = (struct session){.k = &k, .peer = &peer, .rx_spi = SPI, .state = SESSION_ACTIVE};
	peer = (struct peer){0};
	echo_place_init(&place, clock_ms);
	questions = punches = found = complaints = 0;
	traffic = 0;
	deaf = false;
	return 0;
}

static int teardown(void **state)
{
	relay_way_free(&s);
	assert_int_equal(timers, 0);
	assert_int_equal(secmem_in_use(), 0);
	return 0;
}

static void the_way_is_open_when_it_is_answered_twice(void **state)
{
	struct mvpn_endpoint at;

	assert_false(relay_way_open(&s, &at));
	told();
	assert_int_equal(questions, 2); /* the second with the cookie, at once */
	assert_int_equal(found, 1);
	assert_int_equal(place.proven.port, 5);
	assert_true(relay_way_open(&s, &at));
	assert_int_equal(at.port, 7469);
	assert_true(relay_way_at(&s, &at));
	assert_string_equal(relay_way_name(&s), "gw1");
	/* the server says it again each time that it is asked */
	told();
	assert_int_equal(questions, 2);
	/* another key, as of a server that was started anew: once more */
	by.key[0] ^= 8;
	place.counter = 0; /* as forwards.c has it then */
	told();
	assert_true(relay_way_open(&s, &at));
	assert_int_equal(found, 2);
	at.port++;
	assert_false(relay_way_at(&s, &at));
}

static void a_device_that_does_not_answer_is_complained_of(void **state)
{
	struct mvpn_endpoint at;

	deaf = true;
	told();
	assert_int_equal(questions, 1);
	pass(MVPN_RELAY_ASK_MS);
	assert_int_equal(questions, 2);
	pass(2 * MVPN_RELAY_ASK_MS);
	assert_int_equal(questions, 3);
	pass(4 * MVPN_RELAY_ASK_MS);
	assert_int_equal(questions, MVPN_RELAY_ASK_TRIES);
	assert_int_equal(complaints, 0);
	pass(8 * MVPN_RELAY_ASK_MS);
	assert_int_equal(complaints, 1);
	assert_int_equal(k.counters[KC_RELAY_SILENT], 1);
	assert_false(relay_way_open(&s, &at));
	/* and on, until the server names another one */
	pass(60000);
	assert_in_range(complaints, 15, 20);
	deaf = false;
	pass(4000);
	assert_true(relay_way_open(&s, &at));
}

static void it_is_watched_while_packets_go_there(void **state)
{
	told();
	questions = 0;
	pass(MVPN_KEEPALIVE_S * 1000 - 1);
	assert_int_equal(questions, 0);
	pass(MVPN_RELAY_WATCH_S * 1000);
	assert_int_equal(questions, 1); /* NAT keeps the mapping */
	for (unsigned i = 1; i <= 10; i++) {
		traffic++;
		pass(MVPN_RELAY_WATCH_S * 1000);
		assert_int_equal(questions, 1 + i);
	}
	/* it goes away: known in a few seconds */
	deaf = true;
	traffic++;
	pass(MVPN_RELAY_WATCH_S * 1000 + 15 * MVPN_RELAY_ASK_MS);
	assert_int_equal(complaints, 1);
	/* nobody who does not have the key can say that it is there */
	place.proven.port = 0;
	by.key[0] ^= 1;
	deaf = false;
	pass(4000);
	by.key[0] ^= 1;
	assert_int_equal(place.proven.port, 0);
	assert_true(complaints > 1);
}

/* the peer may be later than we: what was sent before it had proven where it is has not reached it */
static void an_unconfirmed_session_is_punched_for_a_while(void **state)
{
	s.state = SESSION_UNCONFIRMED;
	told();
	pass(10000);
	assert_int_equal(punches, 5);
	s.state = SESSION_ACTIVE;
	pass(10000);
	assert_int_equal(punches, 5);
	assert_non_null(s.way);
}

static void a_way_that_nobody_needs_is_given_up(void **state)
{
	told();
	peer.relayed = false; /* a direct one was found */
	pass(MVPN_RELAY_WATCH_S * 1000);
	assert_null(s.way);
	told();
	s.state = SESSION_DRAINING;
	pass(MVPN_RELAY_WATCH_S * 1000);
	assert_null(s.way);
	assert_int_equal(complaints, 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(the_way_is_open_when_it_is_answered_twice),
		T(a_device_that_does_not_answer_is_complained_of),
		T(it_is_watched_while_packets_go_there),
		T(an_unconfirmed_session_is_punched_for_a_while),
		T(a_way_that_nobody_needs_is_given_up),
	};

	return MVPN_RUN(tests);
}
