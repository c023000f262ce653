/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Tests in the policy, which must hold before it is put in force:
 *
 *   test allow|deny NAME -> NAME [[proto] PROTO [[port] PORT]]     may the left one begin? of groups: each with each
 *
 * What a test does not name may be anything: it is allowed if some of it is, and denied if none is.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy_text.h"

#define WORK_MAX 5000000 /* lines compared by all tests: less than a second, in which the server does nothing else */

static int read_service(struct reader *r, struct policy_test *t)
{
	int e;

	if (at_line_end(r) || by_is_next(r))
		return 0;
	next_is(r, "proto");
	e = read_proto(r, &t->proto);
	if (e < 0 || at_line_end(r) || by_is_next(r) || !mvpn_proto_has_ports(t->proto))
		return e;
	next_is(r, "port");
	return read_port(r, &t->port);
}

int read_test(struct reader *r)
{
	struct policy *p = r->p;
	struct policy_test t = {.line = r->line};
	struct word want = {0}, src, dst;
	struct by_words by = {0};
	bool only = false;
	int e = read_word(r, "\"allow\" or \"deny\"", false, &want);

	if (e == 0 && !word_is(&want, "allow") && !word_is(&want, "deny"))
		e = fail_at(r, want.start, "a test says allow or deny, like test deny a -> b");
	if (e == 0)
		e = read_pair(r, &only, &src, &dst);
	if (e == 0 && only)
		e = fail_at(r, want.start,
			    "a test has no \"only\": it asks whether the left one may begin");
	if (e == 0 && (*src.start == '*' || *dst.start == '*'))
		e = fail_at(r, *src.start == '*' ? src.start : dst.start,
			    "a test names devices or groups, not *");
	if (e == 0)
		e = read_service(r, &t);
	if (e == 0)
		e = read_by(r, &by);
	if (e == 0)
		e = expect_end(r);
	if (e == 0 && p->ntests == POLICY_TESTS_MAX)
		e = fail_at(r, want.start, "more than %d tests: use groups", POLICY_TESTS_MAX);
	if (e == 0)
		e = grow(&p->tests, p->ntests, sizeof(*p->tests));
	if (e == 0)
		e = by_cut(&by, &t.by, &t.nby);
	if (e < 0)
		return e;
	t.allow = word_is(&want, "allow");
	t.src = cut(&src);
	t.dst = cut(&dst);
	p->tests[p->ntests++] = t;
	e = note_name(r, t.src);
	return e ? e : note_name(r, t.dst);
}

void policy_test_str(const struct policy_test *t, char *ret, size_t size)
{
	char proto[8], port[8] = "";
	int n;

	if (t->port)
		snprintf(port, sizeof(port), " %u", t->port);
	n = snprintf(ret, size, "test %s %s -> %s%s%s%s", t->allow ? "allow" : "deny", t->src, t->dst,
		 t->proto ? " " : "", t->proto ? mvpn_proto_name(t->proto, proto) : "", port);
	if (n > 0 && (size_t)n < size)
		policy_by_str(t->by, t->nby, ret + n, size - (size_t)n);
}

/* ---- whether they hold ---- */

/* the devices, or groups of tokens, that a name means */
struct meant {
	const char *const *names;
	unsigned n;
};

static struct meant meant(const struct policy *p, const char *const *name)
{
	const struct policy_group *g = policy_group_find(p, *name);

	return g ? (struct meant){g->flat, g->nflat} : (struct meant){name, 1};
}

static struct policy_subject subject(const struct policy_resolver *by, const char *name)
{
	struct policy_subject s = {name, NULL, 0};

	if (by)
		by->fn(by->arg, name, &s);
	return s;
}

static void why_not(const struct policy *p, const struct policy_subject *a,
		    const struct policy_subject *b, char why[256])
{
	const struct policy_rule *r = policy_allows(p, a, b);
	char rule[160];

	if (!r) {
		snprintf(why, 256, "no line lets %s begin with %s", a->name, b->name);
		return;
	}
	policy_rule_str(r, rule, sizeof(rule));
	snprintf(why, 256, "no line lets %s begin that with %s; line %u is for something else: %s",
		 a->name, b->name, r->line, rule);
}

/* true if it holds; else says why not */
static bool holds(const struct policy *p, const struct policy_test *t, const struct meant *src,
		  const struct meant *dst, const struct policy_resolver *by, char why[256])
{
	char rule[160];

	for (unsigned i = 0; i < src->n; i++) {
		struct policy_subject a = subject(by, src->names[i]);

		for (unsigned k = 0; k < dst->n; k++) {
			struct policy_subject b = subject(by, dst->names[k]);
			const struct policy_rule *r =
				policy_allows_process(p, &a, &b, t->proto, t->port, t->by, t->nby);

			/* nobody talks to itself: of a group with itself that is not asked */
			if (t->allow == !!r || (!strcmp(a.name, b.name) && src->n > 1))
				continue;
			if (!r) {
				why_not(p, &a, &b, why);
				return false;
			}
			policy_rule_str(r, rule, sizeof(rule));
			snprintf(why, 256, "line %u lets %s begin with %s: %s%s", r->line, a.name,
				 b.name, rule,
				 t->proto && !r->nservices ? ", for every protocol and port" : "");
			return false;
		}
	}
	return true;
}

int policy_run_tests(const struct policy *p, const struct policy_resolver *by,
		     void (*failed)(void *arg, const struct policy_test *t, const char *why),
		     void *arg)
{
	uint64_t work = 0;
	int n = 0;

	for (unsigned i = 0; i < p->ntests; i++) {
		const struct policy_test *t = &p->tests[i];
		struct meant src = meant(p, &t->src), dst = meant(p, &t->dst);
		char why[256];

		work += (uint64_t)src.n * dst.n * (p->nrules + 1);
		if (work > WORK_MAX) {
			failed(arg, t, "the tests up to this line compare too many pairs with too many "
				       "lines: name devices instead of large groups");
			return n + 1;
		}
		if (holds(p, t, &src, &dst, by, why))
			continue;
		failed(arg, t, why);
		n++;
	}
	return n;
}

const struct policy_test *policy_tests(const struct policy *p, unsigned *ret_count)
{
	*ret_count = p ? p->ntests : 0;
	return p ? p->tests : NULL;
}
