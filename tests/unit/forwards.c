/* SPDX-License-Identifier: BSD-2-Clause */
/* A device that relays: what it takes from the server, whom it believes to be where, and what the workers are told. */
#include "test.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "chan_impl.h"
#include "crypto.h"
#include "echo_ends.h"
#include "loop.h"
#include "secmem.h"
#include "../../keyd/channel.h"
#include "../../keyd/forwards.h"
#include "../../keyd/fwdtab.h"
#include "../../keyd/sessions.h"

static struct keyd k;
static struct identity self = {.device_id = {99}};
static struct fwdtab *published;
static uint32_t own_spi;
static int refused;		     /* reason of the last refusal; -1: none */
static uint8_t sent[MVPN_ECHO_B];    /* the last answer ... */
static struct mvpn_endpoint sent_to; /* port 0: none */
static uint64_t clock_ms = 1000000;

/* ---- the rest of keyd ---- */

int __wrap_clock_gettime(clockid_t id, struct timespec *ts);

int __wrap_clock_gettime(clockid_t id, struct timespec *ts)
{
	*ts = (struct timespec){(time_t)(clock_ms / 1000), (long)(clock_ms % 1000) * 1000000};
	return 0;
}

void kt_set_forwards(struct keytab *kt, struct fwdtab *t)
{
	free(published);
	published = t;
}

struct session *session_by_spi(struct keyd *keyd, uint32_t spi)
{
	return spi == own_spi ? (struct session *)&own_spi : NULL;
}

int channel_send(struct keyd *keyd, const struct chan_buf *b)
{
	struct chan_msg m = {.tlvs = b->data + 4, .len = b->len - 4};
	uint16_t why = 0;

	assert_int_equal(b->data[0], MVPN_MSG_FORWARD);
	assert_true(chan_get_u16(&m, MVPN_TLV_REASON, &why));
	refused = why;
	return 0;
}

int dp_send_plain(struct dp *dp, const struct mvpn_endpoint *to, const void *data, size_t len)
{
	assert_int_equal(len, MVPN_ECHO_B);
	memcpy(sent, data, len);
	sent_to = *to;
	return 0;
}

/* ---- what the server says ---- */

static const uint8_t key_a[32] = {1}, key_b[32] = {2};

static void put_end(struct chan_buf *b, uint8_t device, uint32_t spi, const uint8_t key[32])
{
	struct mvpn_relay_end e = {.device = {device}, .spi_be = htobe32(spi)};
	uint8_t v[sizeof(e) + 1];

	memcpy(e.key, key, 32);
	memcpy(v, &e, sizeof(e));
	v[sizeof(e)] = 'a';
	chan_put(b, MVPN_TLV_RELAY_END, v, sizeof(v));
}

static int say(struct chan_buf *b, uint8_t flags)
{
	struct chan_msg m = {
		.type = MVPN_MSG_FORWARD, .flags = flags, .tlvs = b->data + 4, .len = b->len - 4};
	int r;

	refused = -1;
	assert_int_equal(chan_msg_check(b->data, b->len), 0);
	r = forwards_message(&k, &m);
	chan_buf_free(b);
	return r;
}

static struct chan_buf begin(uint32_t n, uint32_t kbit)
{
	struct chan_buf b = {0};
	uint8_t session[16];

	memset(session, 0, sizeof(session));
	memcpy(session, &n, sizeof(n));
	chan_begin(&b, MVPN_MSG_FORWARD, 0, 0);
	chan_put(&b, MVPN_TLV_SESSION, session, 16);
	if (kbit)
		chan_put_u32(&b, MVPN_TLV_RELAY_RATE, kbit);
	return b;
}

static int open_pair(uint32_t n, uint32_t spi_a, uint32_t spi_b)
{
	struct chan_buf b = begin(n, 1000);

	put_end(&b, 1, spi_a, key_a);
	put_end(&b, 2, spi_b, key_b);
	return say(&b, 0);
}

static int end_pair(uint32_t n)
{
	struct chan_buf b = begin(n, 0);

	return say(&b, MVPN_FORWARD_END);
}

static const struct fwd_entry *entry(uint32_t spi)
{
	const struct fwd_entry *e;

	return fwdtab_find(published, spi, &e) ? e : NULL;
}

/* ---- what the ends say ---- */

static bool asks(struct echo_asker *a, const struct mvpn_endpoint *from)
{
	struct dp_event e = {.type = DP_EV_ASKED, .from = *from};
	struct mvpn_endpoint seen;

	sent_to.port = 0;
	echo_ask(a, e.data);
	forwards_asked(&k, &e);
	if (!sent_to.port)
		return false;
	assert_int_equal(sent_to.port, from->port);
	assert_int_not_equal(echo_answered(a, sent, &seen), ECHO_BAD);
	assert_int_equal(seen.port, from->port);
	return true;
}

static int setup(void **state)
{
	assert_int_equal(mvpn_crypto_init(), 0);
	k.id = &self;
	k.state = KEYD_ONLINE;
	return forwards_init(&k);
}

static int teardown(void **state)
{
	kt_set_forwards(NULL, NULL);
	forwards_free(&k);
	assert_int_equal(secmem_in_use(), 0);
	return 0;
}

static void an_end_is_where_it_has_proven_to_be(void **state)
{
	struct mvpn_endpoint here, there;
	struct echo_asker a = {.key = (uint8_t *)key_a, .id = 0x11},
			  forged = {.key = (uint8_t *)key_b, .id = 0x11},
			  b = {.key = (uint8_t *)key_b, .id = 0x22};

	mvpn_endpoint_parse(&here, "192.0.2.1:1000", 0);
	mvpn_endpoint_parse(&there, "192.0.2.2:2000", 0);
	assert_int_equal(open_pair(1, 0x11, 0x22), 0);
	assert_int_equal(refused, -1);
	assert_int_equal(forwards_count(&k), 1);
	assert_int_equal(entry(0x11)->to.port, 0);
	assert_false(asks(&forged, &there)); /* nobody without the key */
	assert_true(asks(&a, &here));
	assert_int_equal(entry(0x11)->to.port, 0); /* its address may be false so far */
	assert_true(asks(&a, &here));
	assert_int_equal(entry(0x11)->to.port, 1000);
	assert_int_equal(entry(0x22)->from.port, 1000);
	assert_int_equal(entry(0x22)->to.port, 0);
	assert_true(asks(&b, &there));
	assert_true(asks(&b, &there));
	assert_int_equal(entry(0x22)->to.port, 2000);
	assert_int_equal(entry(0x11)->from.port, 2000);
	assert_int_equal(entry(0x11)->rate_kbit, 1000);
	/* said again, it is the same; with other keys too: the server was started anew */
	assert_int_equal(open_pair(1, 0x11, 0x22), 0);
	assert_int_equal(entry(0x11)->to.port, 1000);
	/* another SPI is another receiver */
	assert_int_equal(open_pair(1, 0x13, 0x22), 0);
	assert_null(entry(0x11));
	assert_int_equal(entry(0x13)->to.port, 0);
	assert_int_equal(entry(0x13)->from.port, 2000);
	assert_int_equal(end_pair(1), 0);
	assert_int_equal(end_pair(1), 0);
	assert_null(published);
	assert_int_equal(forwards_count(&k), 0);
}

static void what_cannot_be_relayed_is_refused(void **state)
{
	struct chan_buf b;

	own_spi = 0x33;
	assert_int_equal(open_pair(1, 0x11, 0x33), 0); /* it would be taken for ours */
	assert_int_equal(refused, MVPN_R_RELAY);
	own_spi = 0;
	b = begin(1, 1000);
	put_end(&b, 1, 5, key_a);
	put_end(&b, 99, 6, key_b);
	assert_int_equal(say(&b, 0), 0); /* an end that is this device */
	assert_int_equal(refused, MVPN_R_RELAY);
	for (uint32_t i = 0; i < MVPN_RELAY_DEVICE_PAIRS_MAX; i++) {
		assert_int_equal(open_pair(100 + i, 1000 + 2 * i, 1001 + 2 * i), 0);
		assert_int_equal(refused, -1);
	}
	assert_int_equal(open_pair(1, 0x11, 0x22), 0);
	assert_int_equal(refused, MVPN_R_LIMIT);
	assert_int_equal(published->n, 2 * MVPN_RELAY_DEVICE_PAIRS_MAX);
	assert_int_equal(end_pair(100), 0);
	assert_int_equal(open_pair(1, 0x11, 0x22), 0);
	assert_int_equal(refused, -1);
	assert_int_equal(k.counters[KC_FORWARD_REFUSED], 3);
	forwards_drop_all(&k);
	assert_null(published);
}

static void malformed_messages_close_the_channel(void **state)
{
	struct chan_buf b = begin(1, 1000);

	assert_int_equal(say(&b, 0), -EPROTO); /* no ends */
	b = begin(1, 1000);
	put_end(&b, 1, 5, key_a);
	assert_int_equal(say(&b, 0), -EPROTO);
	b = begin(1, 1000);
	put_end(&b, 1, 5, key_a);
	put_end(&b, 1, 6, key_b);
	assert_int_equal(say(&b, 0), -EPROTO); /* one device */
	b = begin(1, 1000);
	for (unsigned i = 1; i < 4; i++)
		put_end(&b, (uint8_t)i, i, key_a);
	assert_int_equal(say(&b, 0), -EPROTO);
	b = begin(1, 1000);
	put_end(&b, 1, 0, key_a);
	put_end(&b, 2, 6, key_b);
	assert_int_equal(say(&b, 0), -EPROTO); /* no SPI */
	b = begin(1, 0);
	put_end(&b, 1, 5, key_a);
	put_end(&b, 2, 6, key_b);
	assert_int_equal(say(&b, 0), -EPROTO); /* no rate */
	chan_begin(&b, MVPN_MSG_FORWARD, MVPN_FORWARD_END, 0);
	assert_int_equal(say(&b, MVPN_FORWARD_END), -EPROTO);
	assert_int_equal(forwards_count(&k), 0);
}

static void a_pair_that_is_not_spoken_of_ends(void **state)
{
	assert_int_equal(open_pair(1, 0x11, 0x22), 0);
	assert_int_equal(open_pair(2, 0x11, 0x44), 0); /* the same SPI by chance */
	clock_ms += MVPN_RELAY_IDLE_S * 1000;
	assert_int_equal(open_pair(2, 0x11, 0x44), 0);
	clock_ms += 1;
	forwards_tick(&k, clock_ms);
	assert_int_equal(forwards_count(&k), 1);
	assert_null(entry(0x22));
	assert_non_null(entry(0x11));
	clock_ms += MVPN_RELAY_IDLE_S * 1000 + 1;
	forwards_tick(&k, clock_ms);
	assert_null(published);
}

static void pairs_outlive_an_absence_of_the_server(void **state)
{
	k.server_heard_ms = clock_ms;
	k.max_offline_s = 900;
	assert_int_equal(open_pair(1, 0x11, 0x22), 0);
	assert_int_equal(open_pair(2, 0x33, 0x44), 0);
	k.state = KEYD_OFFLINE;
	for (unsigned s = 0; s < 899; s++) {
		clock_ms += 1000;
		forwards_tick(&k, clock_ms);
	}
	assert_int_equal(forwards_count(&k), 2);
	/* it is back: now it must say so */
	k.state = KEYD_ONLINE;
	clock_ms += MVPN_RELAY_IDLE_S * 1000;
	assert_int_equal(open_pair(1, 0x11, 0x22), 0);
	forwards_tick(&k, clock_ms + 1);
	assert_int_equal(forwards_count(&k), 1);
	/* nobody's word holds for longer than the policy has it */
	k.state = KEYD_OFFLINE;
	k.server_heard_ms = clock_ms - 900 * 1000;
	forwards_tick(&k, clock_ms);
	assert_int_equal(forwards_count(&k), 0);
	assert_null(published);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(an_end_is_where_it_has_proven_to_be, setup,
						teardown),
		cmocka_unit_test_setup_teardown(what_cannot_be_relayed_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(malformed_messages_close_the_channel, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_pair_that_is_not_spoken_of_ends, setup, teardown),
		cmocka_unit_test_setup_teardown(pairs_outlive_an_absence_of_the_server, setup, teardown),
	};

	return MVPN_RUN(tests);
}
