/* SPDX-License-Identifier: BSD-2-Clause */
/* What two policies say differently: statements by their text, and devices by what they may do. */
#ifndef SERVER_POLICY_LINES_H
#define SERVER_POLICY_LINES_H

#include "policy.h"

struct policy_line {
	unsigned line;
	const char *text;
};
struct policy_lines {
	struct policy_line *lines; /* by text */
	unsigned n;
	char *text; /* all of it */
};
/*
 * The statements of a text that policy_parse() takes, each in one form whatever its blanks and comments. It knows words
 * only, so that a new kind of statement needs nothing here. 0 or -ENOMEM.
 */
int policy_lines(const char *text, size_t len, struct policy_lines *ret);
void policy_lines_free(struct policy_lines *l);
/* what only one of them has, by text */
void policy_lines_diff(const struct policy_lines *old, const struct policy_lines *new,
		       void (*fn)(void *arg, bool added, const struct policy_line *l), void *arg);

/* who of a pair may begin a session */
enum policy_begins { POLICY_NONE = 0, POLICY_A_BEGINS = 1, POLICY_B_BEGINS = 2 };
/* and what for: src is a, dst is b */
struct policy_access {
	unsigned begins; /* enum policy_begins */
	struct policy_services services;
};

/* pairs that changed in the same way: each of a with each of b; if a == b, each two different ones */
struct policy_pairs {
	const struct policy_subject *const *a, *const *b;
	unsigned na, nb;
	uint64_t count;
	const struct policy_access *before, *after;
};
/*
 * Every unordered pair of these devices for which the two policies (NULL: nothing is allowed) differ, in no order. -ENOMEM;
 * -E2BIG, before anything is told: too many devices and lines for a second's work.
 */
int policy_pairs_diff(const struct policy *old, const struct policy *new,
		      const struct policy_subject *devices, unsigned n,
		      void (*fn)(void *arg, const struct policy_pairs *pairs), void *arg);

#endif
