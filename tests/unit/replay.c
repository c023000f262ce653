/* SPDX-License-Identifier: BSD-2-Clause */
#include "test.h"

#include "replay.h"

#define WINDOW (MVPN_REPLAY_BITS - 64) /* RFC 6479: a word less than the ring */

static void in_order_once_each(void **state)
{
	struct replay r;

	replay_reset(&r);
	for (uint64_t i = 0; i < 3 * MVPN_REPLAY_BITS; i++) {
		assert_true(replay_check(&r, i));
		assert_true(replay_update(&r, i));
		assert_false(replay_check(&r, i));
		assert_false(replay_update(&r, i));
	}
}

static void check_alone_changes_nothing(void **state)
{
	struct replay r, before;

	replay_reset(&r);
	replay_update(&r, 1000);
	before = r;
	assert_true(replay_check(&r, 5000));
	assert_true(replay_check(&r, 999));
	assert_false(replay_update(&r, 1000));
	assert_memory_equal(&r, &before, sizeof(r));
}

/*
 * for tops on and beside word and ring borders: everything inside the window is accepted once,
 * nothing beneath it
 */
static void edges(void **state)
{
	static const uint64_t tops[] = {WINDOW - 1,
					WINDOW,
					WINDOW + 1,
					MVPN_REPLAY_BITS - 1,
					MVPN_REPLAY_BITS,
					MVPN_REPLAY_BITS + 1,
					MVPN_REPLAY_BITS + 63,
					10 * MVPN_REPLAY_BITS + 17,
					UINT64_MAX - 1,
					1ULL << 63};

	for (size_t i = 0; i < sizeof(tops) / sizeof(tops[0]); i++) {
		uint64_t top = tops[i], low = top - (WINDOW - 1);
		struct replay r;

		replay_reset(&r);
		assert_true(replay_update(&r, top));
		for (uint64_t below = 1; below <= 130 && below <= low; below++)
			assert_false(replay_update(&r, low - below));
		for (uint64_t c = low; c < top; c++) {
			assert_true(replay_update(&r, c));
			assert_false(replay_update(&r, c));
		}
		assert_false(replay_update(&r, top));
	}
}

static void slide_clears_what_it_passes(void **state)
{
	struct replay r;

	replay_reset(&r);
	for (uint64_t i = 0; i < MVPN_REPLAY_BITS; i++)
		replay_update(&r, i);
	/* the same ring positions, a ring later, all unseen but the first */
	assert_true(replay_update(&r, 2 * MVPN_REPLAY_BITS - 1));
	for (uint64_t i = 2 * MVPN_REPLAY_BITS - 2; i >= 2 * MVPN_REPLAY_BITS - WINDOW; i--)
		assert_true(replay_update(&r, i));
	/* a leap of many rings */
	assert_true(replay_update(&r, 1000 * MVPN_REPLAY_BITS));
	assert_true(replay_update(&r, 1000 * MVPN_REPLAY_BITS - 1));
	assert_false(replay_update(&r, 2 * MVPN_REPLAY_BITS));
}

static void partial_slide_keeps_the_rest(void **state)
{
	struct replay r;

	replay_reset(&r);
	replay_update(&r, 10);
	replay_update(&r, 70);
	assert_true(replay_update(&r, 200));
	assert_false(replay_update(&r, 10));
	assert_false(replay_update(&r, 70));
	assert_true(replay_update(&r, 69));
	assert_true(replay_update(&r, 128));
	assert_true(replay_update(&r, 199));
}

static void last_counter_is_never_accepted(void **state)
{
	struct replay r;

	replay_reset(&r);
	assert_false(replay_update(&r, UINT64_MAX));
	assert_true(replay_update(&r, UINT64_MAX - 1));
	assert_false(replay_update(&r, UINT64_MAX));
	assert_false(replay_update(&r, UINT64_MAX - 1));
	assert_false(replay_update(&r, 0));
}

/* against the plainest possible model */
static void random_against_model(void **state)
{
	enum { N = 40000 };
	static uint8_t seen[N];
	struct replay r;
	uint64_t next = 0;
	uint32_t x = 12345;

	replay_reset(&r);
	for (unsigned i = 0; i < 200000; i++) {
		uint64_t c;
		int ok;

		x = x * 1664525 + 1013904223;
		c = next + 40 > x % 12000 ? next + 40 - x % 12000 : 0;
		if (c >= N)
			c = N - 1;
		ok = !seen[c] && !(c < next && next - c > WINDOW);
		assert_int_equal(replay_update(&r, c), ok);
		if (ok)
			seen[c] = 1;
		if (ok && c >= next)
			next = c + 1;
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(in_order_once_each),
		cmocka_unit_test(check_alone_changes_nothing),
		cmocka_unit_test(edges),
		cmocka_unit_test(slide_clears_what_it_passes),
		cmocka_unit_test(partial_slide_keeps_the_rest),
		cmocka_unit_test(last_counter_is_never_accepted),
		cmocka_unit_test(random_against_model),
	};

	return MVPN_RUN(tests);
}
