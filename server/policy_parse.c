/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reader of the policy language. One statement a line; `#` starts a comment:
 *
 *   group NAME = NAME [, NAME]…
 *   allow [only] NAME -> NAME [proto …] [by …] [dscp …] [limit …]     NAME may be *; policy_service.c, policy_by.c, policy_class.c
 *   protect PREFIX [via NAME [, NAME]… [source kept|translated]]      policy_protect.c
 *   ethernet [only] NAME -> NAME type TYPE [, TYPE]… [dscp …] [limit …]   policy_ether.c, policy_class.c
 *   mode end-to-end|central60|central63 NAME -> NAME      policy_mode.c
 *   level LEVEL NAME -> NAME                              policy_mode.c
 *   relay NAME [, NAME]… [limit RATE]                     policy_relay.c
 *   test allow|deny NAME -> NAME [PROTO [PORT]] [by …]    policy_test.c
 *   dscp, multicast, rekey, max-offline                   policy_settings.c
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy_text.h"

static int read_group(struct reader *r)
{
	struct policy *p = r->p;
	struct policy_group g = {.line = r->line};
	struct word name, w, *words = NULL;
	unsigned n = 0;
	int e = read_word(r, "the group's name", false, &name);

	if (e == 0 && p->ngroups == POLICY_GROUPS_MAX)
		e = fail_at(r, name.start, "more than %d groups", POLICY_GROUPS_MAX);
	if (e == 0)
		e = expect(r, "=");
	while (e == 0) {
		e = read_word(r, "a member's name", false, &w);
		if (e == 0 && n == POLICY_MEMBERS_MAX)
			e = fail_at(r, w.start, "more than %d members", POLICY_MEMBERS_MAX);
		if (e == 0)
			e = grow(&words, n, sizeof(*words));
		if (e == 0)
			words[n++] = w;
		skip_space(r);
		if (e || *r->at != ',')
			break;
		r->at++;
	}
	if (e == 0)
		e = expect_end(r);
	if (e == 0) {
		g.members = calloc(n, sizeof(*g.members));
		e = g.members ? grow(&p->groups, p->ngroups, sizeof(*p->groups)) : -ENOMEM;
	}
	if (e == 0) {
		g.name = cut(&name);
		g.nmembers = n;
		for (unsigned i = 0; i < n; i++)
			g.members[i] = cut(&words[i]);
		p->groups[p->ngroups++] = g;
		for (unsigned i = 0; i < n && e == 0; i++)
			e = note_name(r, g.members[i]);
	} else {
		free(g.members);
	}
	free(words);
	return e;
}

static int read_allow(struct reader *r)
{
	struct policy *p = r->p;
	struct policy_rule rule = {.line = r->line};
	struct by_words by = {0};
	struct word src, dst;
	int e = read_pair(r, &rule.only, &src, &dst);

	if (e == 0)
		e = read_services(r, &rule);
	if (e == 0)
		e = read_by(r, &by);
	if (e == 0)
		e = read_class(r, false, &rule.class);
	if (e == 0)
		e = expect_end(r);
	if (e == 0 && p->nrules == POLICY_RULES_MAX)
		e = fail_at(r, src.start, "more than %d allow lines: use groups", POLICY_RULES_MAX);
	if (e == 0)
		e = grow(&p->rules, p->nrules, sizeof(*p->rules));
	if (e == 0)
		e = by_cut(&by, &rule.by, &rule.nby);
	if (e < 0) {
		free(rule.services);
		return e;
	}
	rule.only |= rule.nby > 0;
	p->nby += rule.nby > 0;
	services_fit(&rule);
	p->nlimited += rule.nservices > 0 || !mvpn_class_is_plain(&rule.class);
	rule.src = cut(&src);
	rule.dst = cut(&dst);
	p->rules[p->nrules++] = rule;
	e = note_name(r, rule.src);
	return e ? e : note_name(r, rule.dst);
}

static int read_line(struct reader *r)
{
	struct word key;
	int e, setting;

	if (at_line_end(r))
		return 0;
	e = read_word(r, "a statement", false, &key);
	if (e < 0)
		return e;
	if (word_is(&key, "group"))
		return read_group(r);
	if (word_is(&key, "allow"))
		return read_allow(r);
	if (word_is(&key, "protect"))
		return read_protect(r);
	if (word_is(&key, "ethernet"))
		return read_ethernet(r);
	if (word_is(&key, "mode"))
		return read_mode(r);
	if (word_is(&key, "level"))
		return read_level(r);
	if (word_is(&key, "relay"))
		return read_relay(r);
	if (word_is(&key, "test"))
		return read_test(r);
	setting = policy_setting_find(&key);
	if (setting >= 0)
		return read_setting(r, setting, &key);
	return fail_at(r, key.start,
		       "unknown statement \"%.*s\": a line starts with group, allow, ethernet, "
		       "level, mode, protect, relay, test, dscp, multicast, rekey or max-offline",
		       (int)(key.len < 40 ? key.len : 40), key.start);
}

/* ---- after the last line ---- */

static int group_cmp(const void *a, const void *b)
{
	const struct policy_group *x = a, *y = b;
	int c = strcmp(x->name, y->name);

	return c ? c : (x->line > y->line) - (x->line < y->line);
}

static int flat_add(struct reader *r, struct policy_group *g, const char *name)
{
	int e;

	if (r->flat_total == POLICY_MEMBERS_MAX) {
		r->line = g->line;
		return fail_at(r, NULL, "groups have more than %d members in all",
			       POLICY_MEMBERS_MAX);
	}
	e = grow(&g->flat, g->nflat, sizeof(*g->flat));
	if (e < 0)
		return e;
	g->flat[g->nflat++] = name;
	r->flat_total++;
	return 0;
}

static void flat_sort(struct policy_group *g)
{
	unsigned n = 0;

	if (!g->nflat)
		return;
	qsort(g->flat, g->nflat, sizeof(*g->flat), policy_name_cmp);
	for (unsigned i = 0; i < g->nflat; i++)
		if (!n || strcmp(g->flat[n - 1], g->flat[i]))
			g->flat[n++] = g->flat[i];
	g->nflat = n;
}

/*
 * Expand nested groups. Recursion would let a text decide the stack's depth, so each pass finishes the groups whose
 * members are finished; what is left when a pass finishes none is a circle.
 */
static int expand_one(struct reader *r, struct policy_group *g, bool *ret_done)
{
	struct policy *p = r->p;

	for (unsigned i = 0; i < g->nmembers; i++) {
		const struct policy_group *m = policy_group_find(p, g->members[i]);

		if (m && !m->mark)
			return 0;
	}
	for (unsigned i = 0; i < g->nmembers; i++) {
		const struct policy_group *m = policy_group_find(p, g->members[i]);
		int e = m ? 0 : flat_add(r, g, g->members[i]);

		for (unsigned k = 0; m && k < m->nflat && e == 0; k++)
			e = flat_add(r, g, m->flat[k]);
		if (e < 0)
			return e;
	}
	flat_sort(g);
	g->mark = 1;
	*ret_done = true;
	return 0;
}

static int expand_groups(struct reader *r)
{
	struct policy *p = r->p;
	unsigned left = p->ngroups;

	while (left) {
		unsigned before = left, open = 0;

		for (unsigned i = 0; i < p->ngroups; i++) {
			bool done = false;
			int e = p->groups[i].mark ? 0 : expand_one(r, &p->groups[i], &done);

			if (e < 0)
				return e;
			if (done)
				left--;
			else if (!p->groups[i].mark)
				open = i;
		}
		if (left == before) {
			r->line = p->groups[open].line;
			return fail_at(r, NULL, "group \"%s\" contains itself, or groups that do",
				       p->groups[open].name);
		}
	}
	return 0;
}

static int finish(struct reader *r)
{
	struct policy *p = r->p;
	int e;

	if (p->ngroups)
		qsort(p->groups, p->ngroups, sizeof(*p->groups), group_cmp);
	for (unsigned i = 1; i < p->ngroups; i++)
		if (!strcmp(p->groups[i - 1].name, p->groups[i].name)) {
			r->line = p->groups[i].line;
			return fail_at(r, NULL, "group \"%s\" is defined on line %u already",
				       p->groups[i].name, p->groups[i - 1].line);
		}
	e = protects_finish(r);
	if (e == 0)
		e = expand_groups(r);
	return e ? e : policy_index(p);
}

static int check_text(struct reader *r, const char *text, size_t len)
{
	if (len > POLICY_TEXT_MAX_B)
		return fail_at(r, NULL, "the policy is longer than %d bytes", POLICY_TEXT_MAX_B);
	if (memchr(text, '\0', len))
		return fail_at(r, NULL, "the policy contains a NUL byte: it is not text");
	return 0;
}

int policy_parse(const char *text, size_t len, struct policy **ret, struct policy_error *ret_error)
{
	struct reader r = {.error = ret_error};
	int e = check_text(&r, text, len);

	if (e < 0)
		return e;
	r.p = calloc(1, sizeof(*r.p));
	if (!r.p)
		return -ENOMEM;
	r.p->text = malloc(len + 1);
	if (!r.p->text) {
		policy_free(r.p);
		return -ENOMEM;
	}
	memcpy(r.p->text, text, len);
	r.p->text[len] = '\0';
	r.end = r.p->text + len;
	for (char *next = r.p->text; e == 0 && next < r.end;) {
		char *nl = memchr(next, '\n', (size_t)(r.end - next));

		r.line++;
		r.at = r.line_start = next;
		next = nl ? nl + 1 : r.end;
		if (nl) {
			*nl = '\0';
			if (nl > r.at && nl[-1] == '\r')
				nl[-1] = '\0';
		}
		e = read_line(&r);
	}
	if (e == 0)
		e = finish(&r);
	if (e < 0) {
		if (e == -ENOMEM)
			fail_at(&r, NULL, "out of memory");
		policy_free(r.p);
		return e;
	}
	*ret = r.p;
	return 0;
}
