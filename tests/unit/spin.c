/* SPDX-License-Identifier: BSD-2-Clause */
#include "test.h"

#include "../../keyd/dp/spin.h"

#define MOST 50000
#define START 1000000000

/* work ends, is looked for until it comes or the worker would sleep, and comes after `wait_ns`: was the worker awake? */
static bool awake_after(struct spin *s, uint64_t *now, uint64_t wait_ns)
{
	uint64_t end = *now + wait_ns;
	bool awake = true;

	for (; awake && *now < end; *now += 1000)
		awake = spin_again(s, *now);
	*now = end;
	if (!awake)
		spin_again(s, *now - 1); /* woken for nothing */
	spin_work(s, *now);
	return awake;
}

static void test_never(void **state)
{
	uint64_t now = START;
	struct spin s;

	spin_init(&s, 0, false);
	for (int i = 0; i < 20; i++)
		assert_false(awake_after(&s, &now, 2000));
}

/* a question every 40 us: after a few that slept, the worker is awake for each */
static void test_pays(void **state)
{
	uint64_t now = START;
	struct spin s;

	spin_init(&s, MOST, false);
	for (int i = 0; i < 5; i++)
		awake_after(&s, &now, 40000);
	for (int i = 0; i < 100; i++)
		assert_true(awake_after(&s, &now, 40000));
}

/* what comes later than most: no time is spent on it */
static void test_does_not_pay(void **state)
{
	uint64_t now = START;
	struct spin s;

	spin_init(&s, MOST, false);
	for (int i = 0; i < 10; i++)
		awake_after(&s, &now, 10000);
	assert_true(s.ns > 0);
	for (int i = 0; i < 10; i++)
		assert_false(awake_after(&s, &now, 1000000));
	assert_int_equal(s.ns, 0);
	/* and it comes back when it pays again, however short the last spin was */
	for (int i = 0; i < 5; i++)
		awake_after(&s, &now, 45000);
	assert_true(awake_after(&s, &now, 45000));
}

static void test_bounds(void **state)
{
	uint64_t now = START, x = 12345;
	struct spin s;

	spin_init(&s, MOST, false);
	for (int i = 0; i < 10000; i++) {
		x = x * 6364136223846793005ULL + 1442695040888963407ULL;
		awake_after(&s, &now, 1 + (x >> 40) % 100000);
		assert_true(s.ns <= MOST);
	}
}

static void test_steady(void **state)
{
	uint64_t now = START;
	struct spin s;

	spin_init(&s, MOST, true);
	for (int i = 0; i < 10; i++) {
		assert_false(awake_after(&s, &now, 1000000)); /* it sleeps when nothing comes */
		assert_true(awake_after(&s, &now, MOST - 2000));
		assert_int_equal(s.ns, MOST);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_never),	     cmocka_unit_test(test_pays),
		cmocka_unit_test(test_does_not_pay), cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_steady),
	};

	return MVPN_RUN(tests);
}
