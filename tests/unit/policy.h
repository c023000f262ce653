/* SPDX-License-Identifier: BSD-2-Clause */
/* A policy from its text, which must be good. */
#ifndef MVPN_TESTS_UNIT_POLICY_H
#define MVPN_TESTS_UNIT_POLICY_H

#include "test.h"

#include <string.h>

#include "../../server/policy.h"

static inline struct policy *parse(const char *text)
{
	struct policy_error e = {0};
	struct policy *p = NULL;

	if (policy_parse(text, strlen(text), &p, &e) < 0)
		fail_msg("%u:%u: %s", e.line, e.column, e.message);
	return p;
}

#endif
