/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Lines of which people should hear: that an earlier one holds for all that they are about, or, of lines of which the first one that
 * names a pair holds, for some of it and says otherwise. Names alone are looked at: who has no name in the policy, and whom a token put
 * into a group, may be in more lines, never in fewer. An exception that stands before the rule is as it should be, and not told.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mvpn/auth.h"
#include "policy_internal.h"

#define STEPS_MAX 2000000 /* names and lines compared: 2000 allow lines; less than a second, in which the server does nothing else */
#define COMMON_MAX 2 /* names are enough for two that differ */

struct look {
	const struct policy *p;
	policy_overlap_fn *fn;
	void *arg;
	uint32_t steps;
};

static bool too_long(const struct look *l)
{
	return l->steps > STEPS_MAX;
}

/* ---- names ---- */

static bool is_any(const char *name)
{
	return !strcmp(name, "*");
}

static bool lists(const struct policy_group *g, const char *name)
{
	return bsearch(&name, g->flat, g->nflat, sizeof(*g->flat), policy_name_cmp);
}

/* whoever is meant by `inner` is by `outer`. Not so of a group in a group: a token's device is in the inner one alone */
static bool covers(struct look *l, const char *outer, const char *inner)
{
	const struct policy_group *g;

	l->steps++;
	if (is_any(outer) || !strcmp(outer, inner))
		return true;
	g = policy_has_group(l->p, inner) ? NULL : policy_group_find(l->p, outer);
	return g && lists(g, inner);
}

struct common {
	const char *name[COMMON_MAX];
	unsigned n;
};

static void add(struct common *c, const char *name)
{
	if (c->n < COMMON_MAX)
		c->name[c->n++] = name;
}

/* some who are meant by both; "*": anybody */
static void find_common(struct look *l, const char *x, const char *y, struct common *ret)
{
	const struct policy_group *gx = policy_group_find(l->p, x), *gy = policy_group_find(l->p, y);

	ret->n = 0;
	if (is_any(x) || (gy && !gx && !is_any(y))) {
		const struct policy_group *g = gx;
		const char *name = x;

		gx = gy, gy = g;
		x = y, y = name;
	}
	/* now y is "*" if one is, and x the group if one is */
	if (!gx) {
		if (is_any(y) || !strcmp(x, y))
			add(ret, x);
		return;
	}
	for (unsigned i = 0; i < gx->nflat && ret->n < COMMON_MAX && !too_long(l); i++, l->steps++)
		if (is_any(y) || (gy ? lists(gy, gx->flat[i]) : !strcmp(gx->flat[i], y)))
			add(ret, gx->flat[i]);
}

/* ---- lines of which the first one holds ---- */

struct ordered {
	const char *word; /* what they begin with */
	const struct policy_pairing *lines;
	unsigned n;
	const char *(*value)(unsigned value);
};

static void line_str(const struct ordered *o, const struct policy_pairing *l, char *ret, size_t size)
{
	snprintf(ret, size, "%s %s %s -> %s", o->word, o->value(l->value), l->src, l->dst);
}

static bool pair_covers(struct look *l, const struct policy_pairing *outer, const struct policy_pairing *inner)
{
	return (covers(l, outer->src, inner->src) && covers(l, outer->dst, inner->dst)) ||
	       (covers(l, outer->src, inner->dst) && covers(l, outer->dst, inner->src));
}

/* is it the first one about the two? */
static bool holds(struct look *l, const struct ordered *o, const struct policy_pairing *line, const char *a, const char *b)
{
	const struct policy_subject x = {.name = a}, y = {.name = b};
	const struct policy *p = l->p;

	for (unsigned i = 0; i < o->n; i++, l->steps++) {
		const struct policy_pairing *is = &o->lines[i];

		if ((policy_name_matches(p, is->src, &x) && policy_name_matches(p, is->dst, &y)) ||
		    (policy_name_matches(p, is->src, &y) && policy_name_matches(p, is->dst, &x)))
			return is == line;
	}
	return false;
}

/* two who are in both lines, and for whom `first` holds */
static bool find_example(struct look *l, const struct ordered *o, const struct policy_pairing *first,
			 const struct policy_pairing *later, const char *ret[2])
{
	for (unsigned turned = 0; turned < 2; turned++) {
		struct common a, b;

		find_common(l, first->src, turned ? later->dst : later->src, &a);
		find_common(l, first->dst, turned ? later->src : later->dst, &b);
		for (unsigned i = 0; i < a.n; i++)
			for (unsigned k = 0; k < b.n; k++) {
				if (!strcmp(a.name[i], b.name[k]) && !is_any(a.name[i]))
					continue; /* one alone is no pair */
				if (!holds(l, o, first, a.name[i], b.name[k]))
					continue;
				ret[0] = a.name[i];
				ret[1] = b.name[k];
				return true;
			}
	}
	return false;
}

static const char *person(const char *name)
{
	return is_any(name) ? "any other device" : name;
}

/* true: told, and no other one need be looked at */
static bool look_at(struct look *l, const struct ordered *o, const struct policy_pairing *first, const struct policy_pairing *later)
{
	bool differ = first->value != later->value, void_all = pair_covers(l, first, later);
	char by[200], line[200], text[600];
	const char *pair[2];

	if (!void_all && (!differ || pair_covers(l, later, first) || !find_example(l, o, first, later, pair)))
		return false;
	line_str(o, first, by, sizeof(by));
	line_str(o, later, line, sizeof(line));
	if (void_all)
		snprintf(text, sizeof(text), "%s has no effect: line %u, %s, comes first and holds for all of its pairs", line,
			 first->line, by);
	else
		snprintf(text, sizeof(text), "%s does not hold for all of its pairs: between %s and %s line %u, %s, comes first and holds",
			 line, person(pair[0]), person(pair[1]), first->line, by);
	l->fn(l->arg, later->line, text);
	return true;
}

static void each_ordered(struct look *l, const struct ordered *o)
{
	for (unsigned i = 1; i < o->n; i++)
		for (unsigned k = 0; k < i && !too_long(l); k++)
			if (look_at(l, o, &o->lines[k], &o->lines[i]))
				break;
}

static const char *mode_str(unsigned value)
{
	return mvpn_mode_name(value);
}

static const char *level_str(unsigned value)
{
	return mvpn_level_name(value);
}

/* ---- relays: devices, not pairs ---- */

static void each_relay(struct look *l)
{
	const struct policy *p = l->p;
	char text[300];

	for (unsigned i = 1; i < p->nrelays; i++)
		for (unsigned k = 0; k < i && !too_long(l); k++) {
			const struct policy_relay *first = &p->relays[k], *later = &p->relays[i];
			struct common both;

			if (first->rate_kbit == later->rate_kbit ||
			    (covers(l, later->name, first->name) && !covers(l, first->name, later->name)))
				continue;
			find_common(l, first->name, later->name, &both);
			if (!both.n || policy_relay_of(p, &(struct policy_subject){.name = both.name[0]}) != first)
				continue;
			snprintf(text, sizeof(text), "relay %s does not hold for %s: line %u, with another limit, comes first and holds",
				 later->name, both.name[0], first->line);
			l->fn(l->arg, later->line, text);
			break;
		}
}

/* ---- allow ---- */

static bool services_within(const struct policy_rule *outer, const struct policy_rule *inner)
{
	for (unsigned i = 0; outer->nservices && i < inner->nservices; i++) {
		const struct mvpn_service *s = &inner->services[i];
		unsigned k = 0;

		while (k < outer->nservices && (outer->services[k].proto != s->proto || outer->services[k].lo > s->lo ||
						outer->services[k].hi < s->hi))
			k++;
		if (k == outer->nservices)
			return false;
	}
	return !outer->nservices || inner->nservices;
}

/* whatever `inner` lets pass `outer` does, which decides about its class, too, for it comes first */
static bool rule_covers(struct look *l, const struct policy_rule *outer, const struct policy_rule *inner)
{
	if (outer->nby || !services_within(outer, inner))
		return false;
	if (covers(l, outer->src, inner->src) && covers(l, outer->dst, inner->dst) && (!outer->only || inner->only))
		return true;
	return !outer->only && covers(l, outer->src, inner->dst) && covers(l, outer->dst, inner->src);
}

static void each_rule(struct look *l)
{
	const struct policy *p = l->p;
	char by[200], line[300], text[700];

	for (unsigned i = 1; i < p->nrules; i++)
		for (unsigned k = 0; k < i && !too_long(l); k++) {
			if (!rule_covers(l, &p->rules[k], &p->rules[i]))
				continue;
			policy_rule_str(&p->rules[k], by, sizeof(by));
			policy_rule_str(&p->rules[i], line, sizeof(line));
			snprintf(text, sizeof(text), "%s has no effect: line %u, %s, allows all of it%s", line, p->rules[k].line, by,
				 p->rules[i].nby ? " to every process" : "");
			l->fn(l->arg, p->rules[i].line, text);
			break;
		}
}

void policy_each_overlap(const struct policy *p, policy_overlap_fn *fn, void *arg)
{
	struct look l = {.p = p, .fn = fn, .arg = arg};

	each_ordered(&l, &(struct ordered){"mode", p->modes, p->nmodes, mode_str});
	each_ordered(&l, &(struct ordered){"level", p->levels, p->nlevels, level_str});
	each_relay(&l);
	each_rule(&l);
}
