/* SPDX-License-Identifier: BSD-2-Clause */
/* TLV messages: what is built reads back, and what is malformed closes the channel. */
#include "test.h"

#include <errno.h>
#include <string.h>

#include "chan_impl.h"
#include "chan_pair.h"
#include "crypto.h"
#include "mvpn/limits.h"

static void build_and_read(void **state)
{
	struct chan_buf b = {0};
	struct chan_msg m;
	struct chan_tlv t;
	struct chan_pair p;
	uint8_t u8, id[16];
	uint16_t u16, len;
	uint32_t u32;
	uint64_t u64;
	size_t pos = 0;

	chan_pair_init(&p, false);
	assert_int_equal(chan_pair_run(&p), 0);
	chan_begin(&b, MVPN_MSG_WELCOME, 3, 0xbeef);
	chan_put(&b, MVPN_TLV_DEVICE, "0123456789abcdef", 16);
	chan_put_u8(&b, MVPN_TLV_STATE, MVPN_DEV_ACTIVE);
	chan_put_u16(&b, MVPN_TLV_REASON, 0x1234);
	chan_put_u32(&b, MVPN_TLV_REKEY, 0x12345678);
	chan_put_u64(&b, MVPN_TLV_REV, 0x123456789abcdef0);
	chan_put(&b, MVPN_TLV_TEXT, NULL, 0);
	chan_put(&b, MVPN_TLV_NAME, "first", 5);
	chan_put(&b, MVPN_TLV_NAME, "second", 6);
	assert_int_equal(chan_send(p.server, &b), 0);
	assert_int_equal(chan_pair_run(&p), 0);
	assert_int_equal(chan_next(p.client, &m), 1);

	assert_int_equal(m.type, MVPN_MSG_WELCOME);
	assert_int_equal(m.flags, 3);
	assert_int_equal(m.reqid, 0xbeef);
	assert_true(chan_get_bytes(&m, MVPN_TLV_DEVICE, id, 16));
	assert_memory_equal(id, "0123456789abcdef", 16);
	assert_true(chan_get_u8(&m, MVPN_TLV_STATE, &u8) && u8 == MVPN_DEV_ACTIVE);
	assert_true(chan_get_u16(&m, MVPN_TLV_REASON, &u16) && u16 == 0x1234);
	assert_true(chan_get_u32(&m, MVPN_TLV_REKEY, &u32) && u32 == 0x12345678);
	assert_true(chan_get_u64(&m, MVPN_TLV_REV, &u64) && u64 == 0x123456789abcdef0);
	assert_memory_equal(chan_tlv_find(&m, MVPN_TLV_NAME, &len), "first", 5);
	assert_int_equal(len, 5);
	assert_non_null(chan_tlv_find(&m, MVPN_TLV_TEXT, &len));
	assert_int_equal(len, 0);
	/* absent, and of another size */
	assert_false(chan_get_u64(&m, MVPN_TLV_TIME, &u64));
	assert_false(chan_get_u32(&m, MVPN_TLV_REV, &u32));
	assert_false(chan_get_bytes(&m, MVPN_TLV_DEVICE, id, 15));
	assert_null(chan_tlv_find(&m, MVPN_TLV_PSK, NULL));
	for (unsigned i = 0; i < 8; i++)
		assert_true(chan_tlv_next(&m, &pos, &t));
	assert_int_equal(t.type, MVPN_TLV_NAME);
	assert_int_equal(t.len, 6);
	assert_memory_equal(t.value, "second", 6);
	assert_false(chan_tlv_next(&m, &pos, &t));
	chan_buf_free(&b);
	chan_pair_free(&p);
}

/* what a receiver says about a plaintext that no honest sender would seal */
static int received(const uint8_t *plain, size_t len)
{
	struct chan_buf b = {.data = (uint8_t *)plain, .len = len, .size = len};
	struct chan_msg m;
	struct chan_pair p;
	int r;

	chan_pair_init(&p, false);
	assert_int_equal(chan_pair_run(&p), 0);
	assert_int_equal(chan_send(p.client, &b), 0);
	assert_int_equal(chan_pair_run(&p), 0);
	r = chan_next(p.server, &m);
	if (r < 0)
		assert_int_equal(chan_state(p.server), CHAN_DEAD);
	chan_pair_free(&p);
	return r;
}

#define RECEIVED(...) received((uint8_t[]){__VA_ARGS__}, sizeof((uint8_t[]){__VA_ARGS__}))

/* as of a table that was received without any line */
static void no_message_has_no_tlv(void **state)
{
	const struct chan_msg m = {0};
	struct chan_tlv t;
	size_t pos = 0;

	assert_false(chan_tlv_next(&m, &pos, &t));
	assert_null(chan_tlv_find(&m, MVPN_TLV_NAME, NULL));
}

static void framing(void **state)
{
	assert_int_equal(RECEIVED(1, 0, 0, 0), 1); /* no TLV at all */
	assert_int_equal(RECEIVED(1, 0, 0, 0, 0x70, 0, 0, 0), 1);
	assert_int_equal(RECEIVED(1, 0, 0, 0, 0x70, 0, 0, 2, 9, 9), 1);
	/* cut in the head, cut in the value, a byte too many */
	assert_int_equal(RECEIVED(1, 0, 0, 0, 0x70), -EPROTO);
	assert_int_equal(RECEIVED(1, 0, 0, 0, 0x70, 0, 0), -EPROTO);
	assert_int_equal(RECEIVED(1, 0, 0, 0, 0x70, 0, 0, 2, 9), -EPROTO);
	assert_int_equal(RECEIVED(1, 0, 0, 0, 0x70, 0, 0, 2, 9, 9, 9), -EPROTO);
	assert_int_equal(RECEIVED(1, 0, 0, 0, 0x70, 0, 0xff, 0xff, 9, 9), -EPROTO);
	/* a good one first does not help */
	assert_int_equal(RECEIVED(1, 0, 0, 0, 0, 8, 0, 2, 0, 1, 0x70, 0, 0, 1), -EPROTO);
}

static void unknown_types(void **state)
{
	assert_int_equal(RECEIVED(1, 0, 0, 0, 0x7f, 0xff, 0, 1, 9), 1);
	assert_int_equal(RECEIVED(1, 0, 0, 0, 0, 0, 0, 1, 9), 1);
	assert_int_equal(RECEIVED(1, 0, 0, 0, 0x80, 0, 0, 1, 9), -EPROTO);
	assert_int_equal(RECEIVED(1, 0, 0, 0, 0xff, 0xff, 0, 0), -EPROTO);
	assert_int_equal(RECEIVED(1, 0, 0, 0, 0x80, MVPN_TLV_REASON, 0, 2, 0, 1), -EPROTO);
}

/* min and max of every known type, as mvpn/auth.h states them */
static const struct {
	uint16_t type, min, max;
} sizes[] = {
	{MVPN_TLV_NAME, 1, 63},		 {MVPN_TLV_ADDR, 16, 16},	{MVPN_TLV_UDP_PORT, 2, 2},
	{MVPN_TLV_BOOT_GEN, 8, 8},	 {MVPN_TLV_SUITES, 2, 2},	{MVPN_TLV_VERSION, 0, 128},
	{MVPN_TLV_TIME, 8, 8},		 {MVPN_TLV_REASON, 2, 2},	{MVPN_TLV_TEXT, 0, 1024},
	{MVPN_TLV_DEVICE, 16, 16},	 {MVPN_TLV_NET, 8, 8},		{MVPN_TLV_STATE, 1, 1},
	{MVPN_TLV_ADDR_REFUSED, 18, 18}, {MVPN_TLV_MAX_OFFLINE, 4, 4},	{MVPN_TLV_REKEY, 4, 4},
	{MVPN_TLV_PREFIX, 34, 34},	 {MVPN_TLV_PEER, 17, 80},	{MVPN_TLV_REV, 8, 8},
	{MVPN_TLV_REQ, 100, 260},	 {MVPN_TLV_NOISE1, 48, 48},	{MVPN_TLV_NOISE2, 48, 512},
	{MVPN_TLV_SESSION, 16, 16},	 {MVPN_TLV_SEQ, 8, 8},		{MVPN_TLV_S_PUB, 32, 32},
	{MVPN_TLV_PSK, 32, 32},		 {MVPN_TLV_SELECTORS, 2, 3736}, {MVPN_TLV_TTL, 4, 4},
	{MVPN_TLV_ENDPOINT, 18, 18},	 {MVPN_TLV_NONCE, 16, 16},	{MVPN_TLV_OPTIONS, 4, 4},
};

static int received_sized(uint16_t type, uint16_t len)
{
	uint8_t plain[4096] = {1, 0, 0, 0, type >> 8, type, len >> 8, len};

	return received(plain, 8 + len);
}

static void known_sizes(void **state)
{
	assert_int_equal(sizeof(sizes) / sizeof(sizes[0]), MVPN_TLV_OPTIONS);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		assert_int_equal(sizes[i].type, i + 1);
		assert_int_equal(received_sized(sizes[i].type, sizes[i].min), 1);
		assert_int_equal(received_sized(sizes[i].type, sizes[i].max), 1);
		assert_int_equal(received_sized(sizes[i].type, sizes[i].max + 1), -EPROTO);
		if (sizes[i].min)
			assert_int_equal(received_sized(sizes[i].type, sizes[i].min - 1), -EPROTO);
	}
}

/* what the receiver would close over is refused before it is sent */
static void builder_refuses_the_same(void **state)
{
	static const uint8_t value[4096];
	struct chan_buf b = {0};
	struct chan_pair p;

	chan_pair_init(&p, false);
	assert_int_equal(chan_pair_run(&p), 0);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		chan_begin(&b, 1, 0, 0);
		chan_put(&b, sizes[i].type, value, sizes[i].max);
		assert_int_equal(chan_send(p.client, &b), 0);
		chan_begin(&b, 1, 0, 0);
		chan_put(&b, sizes[i].type, value, sizes[i].max + 1);
		chan_put_u16(&b, MVPN_TLV_REASON, 1); /* does not heal it */
		assert_int_equal(chan_send(p.client, &b), -EINVAL);
	}
	chan_begin(&b, 1, 0, 0);
	assert_int_equal(chan_send(p.client, &b), 0); /* chan_begin does */
	chan_buf_free(&b);
	assert_int_equal(chan_send(p.client, &b), -EINVAL); /* never begun */
	chan_pair_free(&p);
}

static void too_long(void **state)
{
	static uint8_t value[MVPN_CHAN_PLAIN_MAX_B];
	struct chan_buf b = {0};

	chan_begin(&b, 1, 0, 0);
	chan_put(&b, 0x7000, value, sizeof(value) - 8);
	assert_int_equal(b.error, 0);
	assert_int_equal(b.len, MVPN_CHAN_PLAIN_MAX_B);
	chan_put(&b, 0x7000, value, 0);
	assert_int_equal(b.error, -EMSGSIZE);
	chan_begin(&b, 1, 0, 0);
	chan_put(&b, 0x7000, value, (size_t)1 << 40);
	assert_int_equal(b.error, -EMSGSIZE);
	chan_buf_free(&b);
}

static void one_message_to_many(void **state)
{
	struct chan_buf b = {0};
	struct chan_pair p[2];

	chan_begin(&b, MVPN_MSG_REVOKE, 0, 0);
	chan_put(&b, MVPN_TLV_DEVICE, "0123456789abcdef", 16);
	for (unsigned i = 0; i < 2; i++) {
		struct chan_msg m;

		chan_pair_init(&p[i], false);
		assert_int_equal(chan_pair_run(&p[i]), 0);
		assert_int_equal(chan_send(p[i].server, &b), 0);
		assert_int_equal(chan_pair_run(&p[i]), 0);
		assert_int_equal(chan_next(p[i].client, &m), 1);
		assert_non_null(chan_tlv_find(&m, MVPN_TLV_DEVICE, NULL));
		chan_pair_free(&p[i]);
	}
	chan_buf_free(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(build_and_read),
		cmocka_unit_test(no_message_has_no_tlv),
		cmocka_unit_test(framing),
		cmocka_unit_test(unknown_types),
		cmocka_unit_test(known_sizes),
		cmocka_unit_test(builder_refuses_the_same),
		cmocka_unit_test(too_long),
		cmocka_unit_test(one_message_to_many),
	};

	if (mvpn_crypto_init() < 0)
		return 1;
	return MVPN_RUN(tests);
}
