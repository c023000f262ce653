/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Processes in the policy:
 *
 *   allow [only] NAME -> NAME [proto …]… by KIND VALUE [, VALUE]… [KIND VALUE [, VALUE]…]…
 *
 * "dscp" and "limit" may follow (policy_class.c). KIND is unit, cgroup, uid or exe (lib/by.h). They are of the left one, which alone may begin, with or without "only": a
 * process must be one of the values of each kind that the line has. Several lines: any of them.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy_text.h"

/* ---- text ---- */

bool by_is_next(struct reader *r)
{
	char *before = r->at;
	bool is = next_is(r, "by");

	r->at = before;
	return is;
}

/* up to a blank, a comma or a comment: it may have characters that no name has */
static int read_value(struct reader *r, unsigned kind, struct by_words *ret)
{
	char text[MVPN_BY_MAX_B + 1];
	const char *wrong;
	size_t len;

	skip_space(r);
	len = strcspn(r->at, " \t,#");
	if (!len)
		return fail_at(r, r->at, "%s of what? a value is missing", mvpn_by_name(kind));
	if (len >= sizeof(text))
		return fail_at(r, r->at, "it is longer than %d characters", MVPN_BY_MAX_B);
	memcpy(text, r->at, len);
	text[len] = '\0';
	wrong = mvpn_by_wrong(kind, text);
	if (wrong)
		return fail_at(r, r->at, "%s", wrong);
	if (ret->n == MVPN_BY_LINE_MAX)
		return fail_at(r, r->at, "more than %d values behind \"by\": write another line",
			       MVPN_BY_LINE_MAX);
	ret->list[ret->n].kind = kind;
	ret->list[ret->n++].w = (struct word){r->at, len};
	r->at += len;
	return 0;
}

static int read_kind(struct reader *r, unsigned *seen, struct by_words *ret)
{
	struct word w;
	int kind, e = read_word(r, "unit, cgroup, uid or exe", false, &w);

	if (e < 0)
		return e;
	kind = mvpn_by_kind(w.start, w.len);
	if (kind < 0)
		return fail_at(r, w.start, "\"by\" is followed by unit, cgroup, uid or exe");
	if (*seen & 1U << kind)
		return fail_at(r, w.start,
			       "%s again: a list with commas means any of them, another line too",
			       mvpn_by_name((unsigned)kind));
	*seen |= 1U << kind;
	for (;;) {
		e = read_value(r, (unsigned)kind, ret);
		skip_space(r);
		if (e || *r->at != ',')
			return e;
		r->at++;
	}
}

int read_by(struct reader *r, struct by_words *ret)
{
	unsigned seen = 0;
	int e = 0;

	if (!next_is(r, "by"))
		return 0;
	do
		e = read_kind(r, &seen, ret);
	while (e == 0 && !at_line_end(r) && !class_is_next(r));
	return e;
}

int by_cut(const struct by_words *from, struct mvpn_by_value **ret, unsigned *ret_n)
{
	*ret = from->n ? calloc(from->n, sizeof(**ret)) : NULL;
	if (from->n && !*ret)
		return -ENOMEM;
	for (unsigned i = 0; i < from->n; i++)
		(*ret)[i] = (struct mvpn_by_value){from->list[i].kind, cut(&from->list[i].w)};
	*ret_n = from->n;
	return 0;
}

int policy_by_str(const struct mvpn_by_value *by, unsigned nby, char *ret, size_t size)
{
	size_t n = 0;

	for (unsigned i = 0; i < nby && n < size; i++) {
		bool more = i && by[i].kind == by[i - 1].kind;

		n += (size_t)snprintf(ret + n, size - n, "%s%s%s%s%s", i ? "" : " by",
				      more ? ", " : " ", more ? "" : mvpn_by_name(by[i].kind),
				      more ? "" : " ", by[i].value);
	}
	return (int)n;
}

/* ---- questions ---- */

bool policy_by_met(const struct policy_rule *r, const struct mvpn_by_value *who, unsigned nwho)
{
	unsigned asked = 0, met = 0;

	for (unsigned i = 0; nwho && i < r->nby; i++) {
		asked |= 1U << r->by[i].kind;
		for (unsigned k = 0; k < nwho; k++)
			if (who[k].kind == r->by[i].kind &&
			    mvpn_by_meets(who[k].kind, r->by[i].value, who[k].value))
				met |= 1U << who[k].kind;
	}
	return asked == met;
}

bool policy_has_by(const struct policy *p)
{
	return p && p->nby;
}

bool policy_by_about(const struct policy *p, const struct policy_subject *src)
{
	for (unsigned i = 0; policy_has_by(p) && i < p->nrules; i++)
		if (p->rules[i].nby && policy_name_matches(p, p->rules[i].src, src))
			return true;
	return false;
}

const struct policy_rule *policy_rules(const struct policy *p, unsigned *ret_count)
{
	*ret_count = p ? p->nrules : 0;
	return p ? p->rules : NULL;
}

bool policy_rule_begins(const struct policy *p, const struct policy_rule *r,
			const struct policy_subject *src, const struct policy_subject *dst)
{
	return (policy_name_matches(p, r->src, src) && policy_name_matches(p, r->dst, dst)) ||
	       (!r->only && policy_name_matches(p, r->src, dst) &&
		policy_name_matches(p, r->dst, src));
}

bool policy_by_pair(const struct policy *p, const struct policy_subject *src,
		    const struct policy_subject *dst)
{
	const struct policy_rule *r;
	struct policy_walk w;

	if (!policy_has_by(p))
		return false;
	policy_walk(&w, p, src, dst);
	while ((r = policy_walk_next(&w)))
		if (r->nby && policy_rule_begins(p, r, src, dst))
			return true;
	return false;
}
