/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy_internal.h"

int policy_name_cmp(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

void policy_free(struct policy *p)
{
	if (!p)
		return;
	for (unsigned i = 0; i < p->ngroups; i++) {
		free(p->groups[i].members);
		free(p->groups[i].flat);
	}
	for (unsigned i = 0; i < p->nrules; i++) {
		free(p->rules[i].services);
		free(p->rules[i].by);
	}
	for (unsigned i = 0; i < p->ntests; i++)
		free(p->tests[i].by);
	free(p->groups);
	free(p->rules);
	free(p->by_name);
	free(p->by_member);
	free(p->protects);
	free(p->ethers);
	free(p->tests);
	free(p->modes);
	free(p->levels);
	free(p->relays);
	free(p->names);
	free(p->text);
	free(p);
}

/* groups are sorted by name once the text is read */
const struct policy_group *policy_group_find(const struct policy *p, const char *name)
{
	unsigned lo = 0, hi = p->ngroups;

	while (lo < hi) {
		unsigned mid = (lo + hi) / 2;
		int c = strcmp(name, p->groups[mid].name);

		if (!c)
			return &p->groups[mid];
		if (c < 0)
			hi = mid;
		else
			lo = mid + 1;
	}
	return NULL;
}

bool policy_has_group(const struct policy *p, const char *name)
{
	return p && policy_group_find(p, name);
}

bool policy_has_gateway(const struct policy *p, const char *name)
{
	for (unsigned i = 0; p && i < p->nprotects; i++)
		for (unsigned k = 0; k < p->protects[i].nvia; k++)
			if (!strcmp(p->protects[i].via[k], name))
				return true;
	return false;
}

static bool flat_has(const struct policy_group *g, const char *name)
{
	return bsearch(&name, g->flat, g->nflat, sizeof(*g->flat), policy_name_cmp);
}

bool policy_name_matches(const struct policy *p, const char *name, const struct policy_subject *s)
{
	const struct policy_group *g;

	if (!strcmp(name, "*"))
		return true;
	g = policy_group_find(p, name);
	/* a device that carries a group's name does not become the group */
	if (!g && !strcmp(name, s->name))
		return true;
	if (g && flat_has(g, s->name))
		return true;
	for (unsigned i = 0; i < s->ngroups; i++)
		if (!strcmp(name, s->groups[i]) || (g && flat_has(g, s->groups[i])))
			return true;
	return false;
}

const struct policy_rule *policy_allows(const struct policy *p, const struct policy_subject *src,
					const struct policy_subject *dst)
{
	const struct policy_rule *r;
	struct policy_walk w;

	policy_walk(&w, p, src, dst);
	while ((r = policy_walk_next(&w))) {
		if (policy_name_matches(p, r->src, src) && policy_name_matches(p, r->dst, dst))
			return r;
		if (!r->only && policy_name_matches(p, r->src, dst) &&
		    policy_name_matches(p, r->dst, src))
			return r;
	}
	return NULL;
}

const struct policy_protect *policy_protects(const struct policy *p, unsigned *ret_count)
{
	*ret_count = p ? p->nprotects : 0;
	return p ? p->protects : NULL;
}

void policy_each_group(const struct policy *p, const struct policy_subject *s,
		       void (*fn)(void *arg, const char *group), void *arg)
{
	for (unsigned i = 0; p && i < p->ngroups; i++)
		if (policy_name_matches(p, p->groups[i].name, s))
			fn(arg, p->groups[i].name);
}

void policy_each_name(const struct policy *p,
		      void (*fn)(void *arg, unsigned line, const char *name), void *arg)
{
	for (unsigned i = 0; i < p->nnames; i++)
		if (strcmp(p->names[i].name, "*") && !policy_has_group(p, p->names[i].name))
			fn(arg, p->names[i].line, p->names[i].name);
}
