/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Protocols and ports in the policy:
 *
 *   allow [only] NAME -> NAME proto PROTO [port PORT|PORT-PORT [, …]] [proto …]…
 *   test allow|deny NAME -> NAME [[proto] PROTO [[port] PORT]]
 *
 * PROTO is tcp, udp, sctp, icmp or a number. They name services of the right one; without "only" of the left one too.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mvpn/auth.h"
#include "policy_text.h"

/* ---- text ---- */

static int read_number(struct reader *r, const char *at, size_t len, uint16_t *ret)
{
	unsigned v = 0;

	for (size_t i = 0; i < len && v <= UINT16_MAX; i++)
		v = at[i] >= '0' && at[i] <= '9' ? v * 10 + (unsigned)(at[i] - '0') : UINT16_MAX + 1U;
	if (!v || v > UINT16_MAX)
		return fail_at(r, at, "a port is a number from 1 to 65535");
	*ret = (uint16_t)v;
	return 0;
}

int read_port(struct reader *r, uint16_t *ret)
{
	struct word w;
	int e = read_word(r, "a port", false, &w);

	return e ? e : read_number(r, w.start, w.len, ret);
}

int read_proto(struct reader *r, uint8_t *ret)
{
	struct word w;
	int v, e = read_word(r, "a protocol", false, &w);

	if (e < 0)
		return e;
	v = mvpn_proto_parse(w.start, w.len);
	if (v < 0)
		return fail_at(r, w.start,
			       "a protocol is tcp, udp, sctp, icmp or a number from 1 to 255, and no IPv6 "
			       "extension header");
	*ret = (uint8_t)v;
	return 0;
}

static int read_range(struct reader *r, struct mvpn_service *s)
{
	struct word w;
	const char *dash;
	int e = read_word(r, "a port", false, &w);

	if (e < 0)
		return e;
	dash = memchr(w.start, '-', w.len);
	e = read_number(r, w.start, dash ? (size_t)(dash - w.start) : w.len, &s->lo);
	s->hi = s->lo;
	if (e == 0 && dash)
		e = read_number(r, dash + 1, (size_t)(w.start + w.len - dash - 1), &s->hi);
	if (e == 0 && s->hi < s->lo)
		e = fail_at(r, w.start, "the range ends before it begins");
	return e;
}

static int add(struct reader *r, const char *where, struct policy_rule *rule, struct mvpn_service s)
{
	if (mvpn_services_add(rule->services, &rule->nservices, MVPN_SERVICES_MAX, s) < 0)
		return fail_at(r, where, "more than %d ranges of ports in a line: join them",
			       MVPN_SERVICES_MAX);
	return 0;
}

static int read_one(struct reader *r, struct policy_rule *rule)
{
	struct mvpn_service s = {0, 0, UINT16_MAX};
	const char *where;
	int e = read_proto(r, &s.proto);

	skip_space(r);
	where = r->at;
	if (e < 0 || !next_is(r, "port"))
		return e ? e : add(r, where, rule, s);
	if (!mvpn_proto_has_ports(s.proto))
		return fail_at(r, where, "only tcp, udp and sctp have ports");
	for (;;) {
		skip_space(r);
		where = r->at;
		e = read_range(r, &s);
		if (e == 0)
			e = add(r, where, rule, s);
		skip_space(r);
		if (e || *r->at != ',')
			return e;
		r->at++;
	}
}

int read_services(struct reader *r, struct policy_rule *rule)
{
	int e = 0;

	while (e == 0 && next_is(r, "proto")) {
		if (!rule->services) {
			rule->services = calloc(MVPN_SERVICES_MAX, sizeof(*rule->services));
			if (!rule->services)
				return -ENOMEM;
		}
		e = read_one(r, rule);
	}
	return e;
}

/* what a line holds for good takes no more room than it needs */
void services_fit(struct policy_rule *rule)
{
	struct mvpn_service *fit = rule->services
					   ? realloc(rule->services, rule->nservices * sizeof(*fit))
					   : NULL;

	if (fit)
		rule->services = fit;
}

void policy_rule_str(const struct policy_rule *r, char *ret, size_t size)
{
	int n = snprintf(ret, size, "allow %s%s -> %s", r->only ? "only " : "", r->src, r->dst);
	char class[MVPN_CLASSSTRLEN];
	size_t tail = strlen(mvpn_class_str(&r->class, class));

	for (unsigned i = 0; i < r->nservices && n > 0 && (size_t)n < size; i++) {
		const struct mvpn_service *s = &r->services[i];
		bool more = i && s->proto == s[-1].proto, ports = s->lo;
		char name[8], text[40];
		int add;

		if (more)
			add = snprintf(text, sizeof(text), ", %u", s->lo);
		else
			add = snprintf(text, sizeof(text), ports ? " proto %s port %u" : " proto %s",
				       mvpn_proto_name(s->proto, name), s->lo);
		if (ports && s->hi != s->lo)
			add += snprintf(text + add, sizeof(text) - (size_t)add, "-%u", s->hi);
		if ((size_t)(n + add) + sizeof(" …") + tail > size) {
			n += snprintf(ret + n, size - (size_t)n, " …");
			break;
		}
		n += snprintf(ret + n, size - (size_t)n, "%s", text);
	}
	if (n > 0 && (size_t)n < size)
		n += policy_by_str(r->by, r->nby, ret + n, size - (size_t)n);
	if (n > 0 && (size_t)n < size)
		snprintf(ret + n, size - (size_t)n, "%s%s", tail ? " " : "", class);
}

/* ---- questions ---- */

bool policy_limited(const struct policy *p)
{
	return p->nlimited;
}

enum { AT_DST = 1, AT_SRC = 2 }; /* where the line's services are, as src and dst see it; 0: it is not about the two */

static unsigned where(const struct policy *p, const struct policy_rule *r,
		      const struct policy_subject *src, const struct policy_subject *dst)
{
	bool there = policy_name_matches(p, r->src, src) && policy_name_matches(p, r->dst, dst);
	bool back = policy_name_matches(p, r->src, dst) && policy_name_matches(p, r->dst, src);

	return (there || (back && !r->only) ? AT_DST : 0U) |
	       (back || (there && !r->only) ? AT_SRC : 0U);
}

void policy_services_add(struct policy_services *to, const struct policy_rule *r, bool at_src,
			 bool at_dst)
{
	if (!at_src && !at_dst)
		return;
	if (mvpn_classes_add(&to->classes, &r->class, r->services, r->nservices,
			     (at_src ? 1U : 0U) | (at_dst ? 2U : 0U)) < 0)
		to->classes_overflow = true;
	if (!r->nservices) {
		to->all = true;
		return;
	}
	for (unsigned i = 0; i < r->nservices; i++) {
		if (at_dst && mvpn_services_add(to->dst, &to->ndst, MVPN_SERVICES_MAX,
						r->services[i]) < 0)
			to->overflow = true;
		if (at_src && mvpn_services_add(to->src, &to->nsrc, MVPN_SERVICES_MAX,
						r->services[i]) < 0)
			to->overflow = true;
	}
}

void policy_services_begin(struct policy_services *ret)
{
	ret->nsrc = ret->ndst = 0;
	ret->all = ret->overflow = ret->classes_overflow = false;
	mvpn_classes_init(&ret->classes);
}

void policy_services_end(struct policy_services *ret)
{
	if (ret->all)
		ret->nsrc = ret->ndst = 0;
	ret->classes_overflow &= ret->classes.n > 0;
}

void policy_services_of(const struct policy *p, const struct policy_subject *src,
			const struct policy_subject *dst, struct policy_services *ret)
{
	const struct policy_rule *r;
	struct policy_walk w;

	policy_services_begin(ret);
	policy_walk(&w, p, src, dst);
	while (!ret->all && (r = policy_walk_next(&w))) {
		unsigned at = where(p, r, src, dst);

		policy_services_add(ret, r, at & AT_SRC, at & AT_DST);
	}
	policy_services_end(ret);
}

unsigned policy_rules_of(const struct policy *p, const struct policy_subject *src,
			 const struct policy_subject *dst, struct policy_rule_of *ret, unsigned max)
{
	const struct policy_rule *r;
	struct policy_walk w;
	unsigned n = 0;

	policy_walk(&w, p, src, dst);
	while (n < max && (r = policy_walk_next(&w))) {
		unsigned at = where(p, r, src, dst);

		if (at)
			ret[n++] = (struct policy_rule_of){
				r, (at & AT_DST ? MVPN_RULE_A : 0U) | (at & AT_SRC ? MVPN_RULE_B : 0U)};
	}
	return n;
}

const struct policy_rule *policy_allows_process(const struct policy *p,
						const struct policy_subject *src,
						const struct policy_subject *dst, uint8_t proto,
						uint16_t port, const struct mvpn_by_value *who,
						unsigned nwho)
{
	const struct policy_rule *first = policy_allows(p, src, dst), *r;
	struct policy_walk w;

	if (!first || (!proto && !nwho))
		return first;
	/* every line about the two counts: it is one session that they have */
	policy_walk(&w, p, src, dst);
	while ((r = policy_walk_next(&w))) {
		unsigned at = where(p, r, src, dst);

		if (!at || !policy_by_met(r, who, nwho) || (r->nby && !(at & AT_DST)))
			continue;
		if (!r->nservices || (!proto && at & AT_DST))
			return r;
		if (at & AT_DST && (port ? mvpn_services_have(r->services, r->nservices, proto, port)
					 : mvpn_services_have_proto(r->services, r->nservices, proto)))
			return r;
	}
	return NULL;
}

const struct policy_rule *policy_allows_flow(const struct policy *p,
					     const struct policy_subject *src,
					     const struct policy_subject *dst, uint8_t proto,
					     uint16_t port)
{
	return policy_allows_process(p, src, dst, proto, port, NULL, 0);
}

bool policy_services_cover(const struct policy_services *x, const struct policy_services *y)
{
	if (x->all || y->all)
		return x->all;
	return mvpn_services_cover(x->src, x->nsrc, y->src, y->nsrc) &&
	       mvpn_services_cover(x->dst, x->ndst, y->dst, y->ndst);
}
