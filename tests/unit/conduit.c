/* SPDX-License-Identifier: BSD-2-Clause */
/* lib/conduit.c: HELLO and READY; packets in whatever pieces they come; a queue that is bounded and never holds half a packet. */
#include "test.h"

#include <errno.h>
#include <string.h>

#include "crypto.h"
#include "mvpn/wire.h"
#include "conduit.h"

static const uint8_t key[CONDUIT_KEY_B] = {7}, other[CONDUIT_KEY_B] = {8};

static void a_hello_names_its_channel(void **state)
{
	uint8_t hello[CONDUIT_HELLO_B], ready[CONDUIT_READY_B], derived[CONDUIT_KEY_B];
	uint64_t counter;
	uint32_t id;

	conduit_key(derived, key);
	assert_memory_not_equal(derived, key, sizeof(key));
	conduit_hello(hello, 0x12345678, 1ULL << 40, key);
	assert_int_equal(hello[0], CONDUIT_FIRST);
	assert_int_equal(conduit_hello_look(hello, &id, &counter), 0);
	assert_int_equal(id, 0x12345678);
	assert_true(counter == 1ULL << 40);
	assert_int_equal(conduit_hello_check(hello, key), 0);
	assert_int_equal(conduit_hello_check(hello, other), -EBADMSG);
	conduit_ready(ready, hello, key);
	assert_int_equal(conduit_ready_check(ready, hello, key), 0);
	assert_int_equal(conduit_ready_check(ready, hello, other), -EBADMSG);
	for (unsigned bit = 0; bit < 8 * sizeof(hello); bit++) {
		hello[bit / 8] ^= 1 << bit % 8;
		assert_true(conduit_hello_look(hello, &id, &counter) == -EPROTO ||
			    conduit_hello_check(hello, key) == -EBADMSG);
		assert_int_equal(conduit_ready_check(ready, hello, key), -EBADMSG);
		hello[bit / 8] ^= 1 << bit % 8;
	}
}

/* ---- packets ---- */

static size_t length_of(unsigned i)
{
	static const size_t some[] = {MVPN_OVERHEAD, 33, 1472, MVPN_CONDUIT_PACKET_MAX_B, 100};

	return some[i % 5];
}

static void packet_make(uint8_t *p, unsigned i)
{
	for (size_t at = 0; at < length_of(i); at++)
		p[at] = (uint8_t)(at * 7 + i);
}

static void packet_got(void *arg, uint8_t *packet, size_t len)
{
	unsigned *got = arg;
	uint8_t want[MVPN_CONDUIT_PACKET_MAX_B];

	assert_int_equal(len, length_of(*got));
	packet_make(want, (*got)++);
	assert_memory_equal(packet, want, len);
}

static void packets_come_whole_in_any_pieces(void **state)
{
	static const size_t pieces[] = {1, 2, 3, 33, 34, 35, 1000, 9217, 9218, 9219, 65536};
	uint8_t p[MVPN_CONDUIT_PACKET_MAX_B];
	struct conduit_out out = {0};
	struct conduit_in *in = test_calloc(1, sizeof(*in));

	for (unsigned i = 0; i < 20; i++) {
		packet_make(p, i);
		assert_true(conduit_put(&out, p, length_of(i)));
	}
	for (unsigned k = 0; k < sizeof(pieces) / sizeof(pieces[0]); k++) {
		size_t len, n;
		const uint8_t *all = conduit_output(&out, &len);
		uint8_t *copy = test_malloc(len);
		unsigned got = 0;

		memcpy(copy, all, len);
		for (size_t at = 0; at < len; at += n) {
			n = len - at < pieces[k] ? len - at : pieces[k];
			assert_int_equal(conduit_take(in, copy + at, n, packet_got, &got), 0);
		}
		assert_int_equal(got, 20);
		test_free(copy);
	}
	conduit_out_free(&out);
	test_free(in);
}

static void never(void *arg, uint8_t *packet, size_t len)
{
	fail();
}

static void no_packet_has_these_lengths(void **state)
{
	static const unsigned bad[] = {0, 1, MVPN_OVERHEAD - 1, MVPN_CONDUIT_PACKET_MAX_B + 1, 65535};

	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		uint8_t head[] = {(uint8_t)(bad[i] >> 8), (uint8_t)bad[i], 0};
		struct conduit_in *in = test_calloc(1, sizeof(*in));
		struct conduit_out out = {0};
		uint8_t *p = test_calloc(1, 65536);

		assert_int_equal(conduit_take(in, head, sizeof(head), never, NULL), -EPROTO);
		in->len = 0;
		assert_int_equal(conduit_take(in, head, 1, never, NULL), 0);
		assert_int_equal(conduit_take(in, head + 1, 1, never, NULL), -EPROTO);
		assert_false(conduit_put(&out, p, bad[i]));
		assert_false(conduit_put(&out, p, 65536 + 100));
		test_free(p);
		test_free(in);
	}
}

static void a_full_queue_takes_no_more(void **state)
{
	uint8_t p[1400];
	struct conduit_out out = {0};
	unsigned put = 0, got = 0;
	size_t len;

	memset(p, 1, sizeof(p));
	while (conduit_put(&out, p, sizeof(p)))
		put++;
	assert_int_equal(put, MVPN_CONDUIT_QUEUE_B / (CONDUIT_HEAD_B + sizeof(p)));
	/* it drains in odd pieces, and takes packets again as soon as one fits */
	for (unsigned i = 0; i < 5000; i++) {
		assert_non_null(conduit_output(&out, &len));
		conduit_sent(&out, 701);
		if (conduit_put(&out, p, sizeof(p)))
			put++;
		conduit_output(&out, &len);
		assert_true(len <= MVPN_CONDUIT_QUEUE_B);
	}
	for (const uint8_t *q; (q = conduit_output(&out, &len)); got++)
		conduit_sent(&out, len < 1000 ? len : 1000);
	assert_true(put > 1500 && got > 0);
	assert_true(out.size <= MVPN_CONDUIT_QUEUE_B);
	conduit_out_free(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_hello_names_its_channel),
		cmocka_unit_test(packets_come_whole_in_any_pieces),
		cmocka_unit_test(no_packet_has_these_lengths),
		cmocka_unit_test(a_full_queue_takes_no_more),
	};

	if (mvpn_crypto_init())
		return 1;
	return MVPN_RUN(tests);
}
