/* SPDX-License-Identifier: BSD-2-Clause */
/* Waits before a lost channel is tried again. */
#include "test.h"

#include "backoff.h"
#include "mvpn/limits.h"

#define LEAST_MS 50
#define ROUNDS 2000

/* the nth wait of many devices that are all told the same: the shortest and the longest, and how many in the first half */
static void waits(unsigned first_ms, unsigned nth, unsigned *ret_min, unsigned *ret_max, unsigned *ret_half)
{
	unsigned half = 0, bound = 0;

	*ret_min = ~0U;
	*ret_max = 0;
	for (unsigned i = 0; i < ROUNDS; i++) {
		struct backoff b = {0};
		unsigned ms = 0;

		for (unsigned j = 0; j <= nth; j++)
			ms = backoff_next(&b, first_ms);
		*ret_min = ms < *ret_min ? ms : *ret_min;
		*ret_max = ms > *ret_max ? ms : *ret_max;
		bound = b.bound_ms;
		half += ms - LEAST_MS < bound / 2;
	}
	*ret_half = half;
}

/* the bound that is meant, reached and spread over evenly */
static void spread_below(unsigned first_ms, unsigned nth, unsigned bound_ms)
{
	unsigned min, max, half;

	waits(first_ms, nth, &min, &max, &half);
	assert_in_range(min, LEAST_MS, LEAST_MS + bound_ms / 50);
	assert_in_range(max, LEAST_MS + bound_ms - bound_ms / 50 - 1, LEAST_MS + bound_ms - 1);
	assert_in_range(half, ROUNDS * 2 / 5, ROUNDS * 3 / 5);
}

static void the_first_is_the_servers(void **state)
{
	spread_below(100, 0, 100);
	spread_below(5000, 0, 5000);
	spread_below(BACKOFF_UNTOLD, 0, 1000);
	/* a server's word that makes no sense */
	spread_below(4000000000U, 0, MVPN_CHAN_RECONNECT_MAX_S * 1000);
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(backoff_next(&(struct backoff){0}, 0), LEAST_MS);
}

static void who_is_turned_away_comes_later(void **state)
{
	spread_below(10, 1, 200);
	spread_below(10, 2, 400);
	spread_below(300, 1, 600);
	spread_below(5000, 1, 10000);
	spread_below(BACKOFF_UNTOLD, 3, 8000);
	spread_below(5000, 9, MVPN_CHAN_RECONNECT_MAX_S * 1000);
	spread_below(0, 40, MVPN_CHAN_RECONNECT_MAX_S * 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_first_is_the_servers),
		cmocka_unit_test(who_is_turned_away_comes_later),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
