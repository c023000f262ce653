/* SPDX-License-Identifier: BSD-2-Clause */
/* Which of a prefix's gateways gets the packets: by health, by the order of the policy, and not by each change of weather. */
#include "test.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../../keyd/dp/dp.h"
#include "../../keyd/gateways_sets.h"
#include "../../keyd/peers.h"
#include "../../keyd/sessions.h"
#include "../../keyd/streams.h"
#include "../../keyd/translate.h"
#include "loop.h"

#define GATEWAYS 3
#define BEHIND "10.9.0.0/24"

static struct keyd k;
static struct peer peers[1 + GATEWAYS]; /* as the policy names them: 1 is the first */
static struct peer *by_index[1 + GATEWAYS];
static struct session sessions[1 + GATEWAYS];
static struct node { /* what there is of a gateway */
	bool silent, no_session;
	uint64_t heard_ms;
} nodes[1 + GATEWAYS];
static struct mvpn_prefix behind;
static uint64_t clock_ms;
static unsigned wanted;

/* ---- the rest of keyd ---- */

struct loop_timer {
	loop_timer_fn *fn;
	void *arg;
	uint64_t at_ms; /* 0: not armed */
};
static struct loop_timer timer;

int __wrap_loop_timer_new(struct loop *l, loop_timer_fn *fn, void *arg, struct loop_timer **ret);
void __wrap_loop_timer_arm(struct loop_timer *t, uint64_t ms);
bool __wrap_loop_timer_armed(const struct loop_timer *t);
void __wrap_loop_timer_disarm(struct loop_timer *t);
void __wrap_loop_timer_free(struct loop_timer *t);
int __wrap_clock_gettime(clockid_t id, struct timespec *ts);

int __wrap_loop_timer_new(struct loop *l, loop_timer_fn *fn, void *arg, struct loop_timer **ret)
{
	timer = (struct loop_timer){fn, arg, 0};
	*ret = &timer;
	return 0;
}

void __wrap_loop_timer_arm(struct loop_timer *t, uint64_t ms)
{
	t->at_ms = clock_ms + ms;
}

bool __wrap_loop_timer_armed(const struct loop_timer *t)
{
	return t->at_ms;
}

void __wrap_loop_timer_disarm(struct loop_timer *t)
{
	t->at_ms = 0;
}

void __wrap_loop_timer_free(struct loop_timer *t)
{
}

int __wrap_clock_gettime(clockid_t id, struct timespec *ts)
{
	*ts = (struct timespec){(time_t)(clock_ms / 1000), (long)(clock_ms % 1000) * 1000000};
	return 0;
}

struct peer *peer_by_id(struct keyd *unused, const uint8_t id[MVPN_ID_LEN])
{
	return id[0] >= 1 && id[0] <= GATEWAYS ? &peers[id[0]] : NULL;
}

struct peer *peer_ensure(struct keyd *unused, const uint8_t id[MVPN_ID_LEN])
{
	return peer_by_id(unused, id);
}

struct peer *peer_layer_by_id(struct keyd *unused, const uint8_t id[MVPN_ID_LEN], uint8_t layer)
{
	return NULL;
}

const char *peer_label(const struct peer *p)
{
	return p->name;
}

void peer_owns(struct keyd *unused, const struct mvpn_prefix *p, uint32_t owner, int n)
{
}

struct session *session_transmitting(const struct peer *p)
{
	return nodes[p->index].no_session ? NULL : &sessions[p->index];
}

void session_want(struct keyd *unused, struct peer *p, const struct mvpn_addr *dst, uint8_t proto,
		  uint16_t port)
{
	wanted++;
}

void sessions_prefix_new(struct keyd *unused, const struct mvpn_prefix *p, uint32_t owner)
{
}

void kt_session_stats(const struct kt_session *s, struct kt_stats *ret)
{
	const struct node *n = (const void *)s;

	*ret = (struct kt_stats){.rx_last_ns = n->heard_ms * 1000000, .tx_packets = clock_ms};
}

int dp_flush_held(struct dp *dp, uint32_t peer)
{
	return 0;
}

/* an echo is answered at once */
int dp_send_ctrl(struct dp *dp, uint32_t rx_spi, enum mvpn_ctrl_type type, uint64_t token,
		 unsigned pad)
{
	assert_int_equal(type, MVPN_CTRL_PING);
	if (!nodes[rx_spi].silent)
		nodes[rx_spi].heard_ms = clock_ms;
	return 0;
}

int shim_protect(struct shim *s, const struct mvpn_prefix *p, uint32_t peer, uint32_t flags)
{
	return 0;
}

void streams_gateway_left(struct keyd *unused, const struct mvpn_prefix *prefix,
			  const struct peer *gateway)
{
}

void translate_refresh(struct keyd *unused)
{
}

void gateways_reach_look(struct keyd *unused, uint64_t now)
{
}

void gateways_checks(struct keyd *unused)
{
}

void gateways_checks_assign(struct keyd *unused)
{
}

uint64_t gateways_prefix_name(const struct mvpn_prefix *p)
{
	return p->len;
}

/* ---- a device that has heard of gateways ---- */

/* "123": in this order */
static void tell(const char *order)
{
	uint8_t v[MVPN_TLV_GATEWAYS_HEAD_B + MVPN_ID_LEN * MVPN_GATEWAYS_MAX] = {behind.len};
	size_t len = MVPN_TLV_GATEWAYS_HEAD_B;
	struct mvpn_prefix prefix;
	uint32_t owner;

	memcpy(v + 1, behind.addr.b, 16);
	for (; *order; order++, len += MVPN_ID_LEN)
		v[len] = (uint8_t)(*order - '0');
	gateways_forget(&k, &behind);
	assert_int_equal(gateways_told(&k, v, len, &prefix, &owner), 0);
	assert_int_equal(lpm_set(k.prefixes, &prefix, owner), 0);
	gateways_committed(&k);
}

static int up(void **state)
{
	memset(&k, 0, sizeof(k));
	memset(nodes, 0, sizeof(nodes));
	clock_ms = 1000000;
	wanted = 0;
	for (uint32_t i = 1; i <= GATEWAYS; i++) {
		peers[i] = (struct peer){.index = i,
					 .id = {(uint8_t)i},
					 .name = {(char)('0' + i)},
					 .sessions = &sessions[i]};
		sessions[i] = (struct session){.k = &k,
					       .peer = &peers[i],
					       .rx_spi = i,
					       .kt = (struct kt_session *)(void *)&nodes[i]};
		nodes[i].heard_ms = clock_ms;
		by_index[i] = &peers[i];
	}
	k.peers = by_index;
	k.npeers = GATEWAYS;
	assert_int_equal(mvpn_prefix_parse(&behind, BEHIND), 0);
	assert_int_equal(lpm_new(&k.prefixes), 0);
	return gateways_init(&k);
}

static int down(void **state)
{
	gateways_free(&k);
	lpm_free(k.prefixes);
	return 0;
}

static void pass(uint64_t ms)
{
	for (uint64_t end = clock_ms + ms; clock_ms < end;) {
		clock_ms += MVPN_GATEWAY_LOOK_MS;
		if (timer.at_ms && clock_ms >= timer.at_ms)
			timer.fn(timer.arg);
	}
}

/* who gets the packets */
static unsigned current(void)
{
	uint32_t owner = 0;

	assert_true(lpm_get(k.prefixes, &behind, &owner));
	return owner;
}

static void expect(unsigned who)
{
	assert_int_equal(current(), who);
}

/* it says that it does not reach the hosts, or does again; a "not" is believed for a while only */
static void says(unsigned who, bool reaches)
{
	gateways_reach_heard(&k, &peers[who], behind.len | (reaches ? 0 : MVPN_REACH_NOT));
}

#define FAILS_MS (MVPN_GATEWAY_IDLE_MS + MVPN_GATEWAY_SILENT_MS + 3 * MVPN_GATEWAY_LOOK_MS)

static void loses(unsigned who)
{
	nodes[who].silent = true;
	pass(FAILS_MS);
}

/* ms after it has been heard again */
static uint64_t back_after(unsigned who)
{
	uint64_t begun;

	nodes[who].silent = false;
	pass(2 * MVPN_GATEWAY_IDLE_MS);
	begun = peers[who].gateway->well_ms;
	assert_false(peers[who].gateway->failed);
	while (current() != who && clock_ms < begun + 2 * MVPN_GATEWAY_BACK_MAX_MS)
		pass(MVPN_GATEWAY_LOOK_MS);
	return clock_ms - begun;
}

/* ---- tests ---- */

static void the_policys_order_counts_among_the_well(void **state)
{
	tell("123");
	expect(1);
	pass(60000);
	expect(1);
	loses(1);
	expect(2); /* not 3, which is as well */
	loses(2);
	expect(3);
	assert_int_equal(k.counters[KC_GATEWAY_FAILED], 2);
	assert_int_equal(k.counters[KC_GATEWAY_CHANGED], 2);
}

static void failure_is_noticed_in_time(void **state)
{
	uint64_t begun;

	tell("12");
	pass(10000);
	nodes[1].silent = true;
	for (begun = clock_ms; current() == 1;)
		pass(MVPN_GATEWAY_LOOK_MS);
	assert_in_range(clock_ms - begun, MVPN_GATEWAY_SILENT_MS, 2000);
}

static void away_is_better_than_failed_and_worse_than_well(void **state)
{
	tell("123");
	says(1, false);
	expect(2);
	nodes[2].silent = true;
	nodes[3].silent = true;
	for (unsigned i = 0; i < 4; i++) { /* it goes on saying so */
		pass(FAILS_MS / 4);
		says(1, false);
	}
	assert_true(peers[2].gateway->failed && peers[3].gateway->failed);
	expect(1);
}

static void of_equals_the_one_in_use_stays(void **state)
{
	tell("123");
	says(1, false);
	expect(2);
	says(3, false);
	says(2, false); /* now all are as bad */
	expect(2);
	assert_int_equal(k.counters[KC_GATEWAY_CHANGED], 1);
	says(3, true);
	expect(3);
}

static void what_is_not_said_again_is_forgotten(void **state)
{
	tell("12");
	says(1, false);
	expect(2);
	pass(MVPN_REACH_OLD_MS / 2);
	says(1, false);
	pass(MVPN_REACH_OLD_MS / 2 + 1000);
	expect(2);
	pass(MVPN_REACH_OLD_MS + MVPN_GATEWAY_BACK_MS);
	expect(1);
}

static void it_comes_back_when_it_has_proved_itself(void **state)
{
	uint64_t want = MVPN_GATEWAY_BACK_MS;

	tell("12");
	for (unsigned i = 0; i < 7; i++) {
		loses(1);
		expect(2);
		assert_in_range(back_after(1), want, want + 2 * MVPN_GATEWAY_IDLE_MS);
		want = want * 2 < MVPN_GATEWAY_BACK_MAX_MS ? want * 2 : MVPN_GATEWAY_BACK_MAX_MS;
	}
	/* after a long calm as at first */
	pass(MVPN_GATEWAY_CALM_MS + 1000);
	loses(1);
	assert_in_range(back_after(1), MVPN_GATEWAY_BACK_MS,
			MVPN_GATEWAY_BACK_MS + 2 * MVPN_GATEWAY_IDLE_MS);
}

/* one behind the one in use changes nothing, whatever it does */
static void who_stands_by_disturbs_nothing(void **state)
{
	tell("123");
	loses(2);
	back_after(2);
	says(3, false);
	says(3, true);
	pass(MVPN_GATEWAY_BACK_MAX_MS);
	expect(1);
	assert_int_equal(k.counters[KC_GATEWAY_CHANGED], 0);
}

static void without_a_session_it_is_not_preferred(void **state)
{
	tell("12");
	loses(1);
	expect(2);
	nodes[1].no_session = true;
	nodes[1].silent = false;
	pass(MVPN_GATEWAY_BACK_MAX_MS);
	expect(2);
	assert_true(wanted > 0);
	nodes[1].no_session = false;
	pass(2 * MVPN_GATEWAY_IDLE_MS + MVPN_GATEWAY_BACK_MAX_MS);
	expect(1);
}

static void a_refusal_is_a_failure(void **state)
{
	tell("12");
	nodes[1].no_session = true;
	gateways_failed(&k, &peers[1], MVPN_R_BUSY); /* one is under way */
	expect(1);
	gateways_failed(&k, &peers[1], MVPN_R_PEER_OFFLINE);
	expect(2);
	assert_int_equal(peers[1].gateway->why, MVPN_R_PEER_OFFLINE);
}

/* nobody was silent: this device did not run */
static void a_pause_of_ours_is_no_failure(void **state)
{
	tell("12");
	nodes[1].silent = true; /* an echo that is under way when it begins */
	pass(2 * MVPN_GATEWAY_PING_MS);
	clock_ms += 60000;
	nodes[1].silent = false;
	timer.fn(timer.arg);
	pass(MVPN_GATEWAY_SILENT_MS);
	expect(1);
	assert_int_equal(k.counters[KC_GATEWAY_FAILED], 0);
}

/* there is nothing to choose, but it is known, once, and since when */
static void one_alone_is_watched(void **state)
{
	uint64_t since;

	tell("1");
	pass(10000);
	loses(1);
	expect(1);
	assert_true(peers[1].gateway->failed);
	since = peers[1].gateway->since_ms;
	pass(60000);
	assert_int_equal(peers[1].gateway->since_ms, since);
	assert_true(peers[1].gateway->failed_ms > since);
	assert_int_equal(k.counters[KC_GATEWAY_FAILED], 1);
	nodes[1].silent = false;
	pass(2 * MVPN_GATEWAY_IDLE_MS);
	assert_false(peers[1].gateway->failed);
	says(1, false);
	since = clock_ms;
	pass(MVPN_REACH_OLD_MS / 2);
	says(1, false);
	assert_int_equal(k.gateways->sets[0].away_since_ms[0], since);
	assert_int_equal(k.counters[KC_GATEWAY_CHANGED], 0);
}

static void a_policy_changes_the_order(void **state)
{
	tell("12");
	loses(1);
	expect(2);
	tell("123"); /* as before: it goes on */
	expect(2);
	tell("321");
	expect(3);
	tell("213"); /* a new first one, which is well */
	expect(2);
	tell("1"); /* the others are none any more */
	expect(1);
	assert_null(peers[2].gateway);
	assert_true(peers[1].gateway->failed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(the_policys_order_counts_among_the_well, up, down),
		cmocka_unit_test_setup_teardown(failure_is_noticed_in_time, up, down),
		cmocka_unit_test_setup_teardown(away_is_better_than_failed_and_worse_than_well, up,
						down),
		cmocka_unit_test_setup_teardown(of_equals_the_one_in_use_stays, up, down),
		cmocka_unit_test_setup_teardown(what_is_not_said_again_is_forgotten, up, down),
		cmocka_unit_test_setup_teardown(it_comes_back_when_it_has_proved_itself, up, down),
		cmocka_unit_test_setup_teardown(who_stands_by_disturbs_nothing, up, down),
		cmocka_unit_test_setup_teardown(without_a_session_it_is_not_preferred, up, down),
		cmocka_unit_test_setup_teardown(a_refusal_is_a_failure, up, down),
		cmocka_unit_test_setup_teardown(a_pause_of_ours_is_no_failure, up, down),
		cmocka_unit_test_setup_teardown(one_alone_is_watched, up, down),
		cmocka_unit_test_setup_teardown(a_policy_changes_the_order, up, down),
	};

	return MVPN_RUN(tests);
}
