/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which `allow` lines may be about two devices, without going through all of them. A line is kept under the one of its two names that
 * fewer lines have, and a name that means neither device means no line. Few names mean a device: its own, and those of groups.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "policy_internal.h"

/* a line under a name, or a group under one of its members; sorted by name, then as the text or the groups go */
struct policy_key {
	const char *name;
	uint32_t at;
};

static int key_cmp(const void *a, const void *b)
{
	const struct policy_key *x = a, *y = b;
	int c = strcmp(x->name, y->name);

	return c ? c : (x->at > y->at) - (x->at < y->at);
}

/* the first key of that name, or where it would be */
static uint32_t key_first(const struct policy_key *keys, uint32_t n, const char *name)
{
	uint32_t lo = 0, hi = n;

	while (lo < hi) {
		uint32_t mid = (lo + hi) / 2;

		if (strcmp(keys[mid].name, name) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static uint32_t key_end(const struct policy_key *keys, uint32_t n, uint32_t first, const char *name)
{
	while (first < n && !strcmp(keys[first].name, name))
		first++;
	return first;
}

/* ---- making it ---- */

static struct policy_key *keys_new(size_t n)
{
	return calloc(n + 1, sizeof(struct policy_key));
}

static void keys_sort(struct policy_key *keys, uint32_t n)
{
	if (n)
		qsort(keys, n, sizeof(*keys), key_cmp);
}

/* every name of every line, to count how often each comes */
static struct policy_key *names_of_rules(const struct policy *p)
{
	struct policy_key *names = keys_new(2 * (size_t)p->nrules);

	for (uint32_t i = 0; names && i < p->nrules; i++) {
		names[2 * i] = (struct policy_key){p->rules[i].src, 2 * i};
		names[2 * i + 1] = (struct policy_key){p->rules[i].dst, 2 * i + 1};
	}
	if (names)
		keys_sort(names, 2 * p->nrules);
	return names;
}

static bool is_any(const char *name)
{
	return !strcmp(name, "*");
}

static int index_rules(struct policy *p)
{
	uint32_t n = 2 * p->nrules, end, *often = calloc(n + 1UL, sizeof(*often));
	struct policy_key *names = names_of_rules(p);

	p->by_name = keys_new(p->nrules);
	if (!often || !names || !p->by_name) {
		free(often);
		free(names);
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < n; i = end) {
		end = key_end(names, n, i, names[i].name);
		for (uint32_t k = i; k < end; k++)
			often[names[k].at] = is_any(names[k].name) ? UINT32_MAX : end - i;
	}
	for (uint32_t i = 0; i < p->nrules; i++) {
		const struct policy_rule *r = &p->rules[i];

		p->by_name[i] = (struct policy_key){often[2 * i] <= often[2 * i + 1] ? r->src : r->dst, i};
	}
	keys_sort(p->by_name, p->nrules);
	free(often);
	free(names);
	return 0;
}

static int index_groups(struct policy *p)
{
	uint32_t n = 0;

	for (unsigned g = 0; g < p->ngroups; g++)
		n += p->groups[g].nflat;
	p->by_member = keys_new(n);
	if (!p->by_member)
		return -ENOMEM;
	for (unsigned g = 0; g < p->ngroups; g++)
		for (unsigned i = 0; i < p->groups[g].nflat; i++)
			p->by_member[p->nby_member++] = (struct policy_key){p->groups[g].flat[i], g};
	keys_sort(p->by_member, p->nby_member);
	return 0;
}

int policy_index(struct policy *p)
{
	int r = index_rules(p);

	return r < 0 ? r : index_groups(p);
}

/* ---- asking it ---- */

/* lines under a name that means one of the two; too many names: all lines */
static void walk_name(struct policy_walk *w, const char *name)
{
	const struct policy *p = w->p;
	uint32_t first = key_first(p->by_name, p->nrules, name);

	if (first == p->nrules || strcmp(p->by_name[first].name, name))
		return;
	for (unsigned i = 0; i < w->n; i++)
		if (w->name[i].at == first)
			return; /* it means both */
	if (w->n == POLICY_WALK_NAMES) {
		w->all = true;
		return;
	}
	w->name[w->n].at = first;
	w->name[w->n++].end = key_end(p->by_name, p->nrules, first, name);
}

/* the name, a device's or a token's group's, and the groups that have it */
static void walk_member(struct policy_walk *w, const char *name)
{
	const struct policy *p = w->p;
	uint32_t i = key_first(p->by_member, p->nby_member, name);

	walk_name(w, name);
	for (; i < p->nby_member && !w->all && !strcmp(p->by_member[i].name, name); i++)
		walk_name(w, p->groups[p->by_member[i].at].name);
}

static void walk_subject(struct policy_walk *w, const struct policy_subject *s)
{
	walk_member(w, s->name);
	for (unsigned i = 0; i < s->ngroups && !w->all; i++)
		walk_member(w, s->groups[i]);
}

void policy_walk(struct policy_walk *w, const struct policy *p, const struct policy_subject *a,
		 const struct policy_subject *b)
{
	w->p = p;
	w->n = 0;
	w->next = 0;
	w->all = false;
	if (!p)
		return;
	walk_name(w, "*");
	walk_subject(w, a);
	walk_subject(w, b);
}

const struct policy_rule *policy_walk_next(struct policy_walk *w)
{
	uint32_t *first = NULL;

	if (!w->p)
		return NULL;
	if (w->all)
		return w->next < w->p->nrules ? &w->p->rules[w->next++] : NULL;
	for (unsigned i = 0; i < w->n; i++)
		if (w->name[i].at < w->name[i].end &&
		    (!first || w->p->by_name[w->name[i].at].at < w->p->by_name[*first].at))
			first = &w->name[i].at;
	return first ? &w->p->rules[w->p->by_name[(*first)++].at] : NULL;
}
