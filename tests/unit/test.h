/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What every unit test includes. `return MVPN_RUN(tests);` runs a group, of which MVPN_TEST_FILTER
 * (a pattern of cmocka_set_test_filter) may choose a part. vectors.h has the public test vectors.
 */
#ifndef MVPN_TESTS_UNIT_TEST_H
#define MVPN_TESTS_UNIT_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static inline void mvpn_test_filter(void)
{
	const char *filter = getenv("MVPN_TEST_FILTER");

	if (filter && *filter)
		cmocka_set_test_filter(filter);
}

#define MVPN_RUN_FIXTURE(tests, setup, teardown) \
	(mvpn_test_filter(), cmocka_run_group_tests(tests, setup, teardown))
#define MVPN_RUN(tests) MVPN_RUN_FIXTURE(tests, NULL, NULL)

#endif
