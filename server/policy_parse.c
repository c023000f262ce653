/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reader of the policy language. One statement a line; `#` starts a comment:
 *
 *   group NAME = NAME [, NAME]…
 *   allow [only] NAME -> NAME [proto …]                   NAME may be *; policy_service.c
 *   protect PREFIX [via NAME]
 *   ethernet [only] NAME -> NAME type TYPE [, TYPE]…      policy_ether.c
 *   mode end-to-end|central60|central63 NAME -> NAME      policy_mode.c
 *   level LEVEL NAME -> NAME                              policy_mode.c
 *   test allow|deny NAME -> NAME [PROTO [PORT]]           policy_test.c
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
	struct word src, dst;
	int e = read_pair(r, &rule.only, &src, &dst);

	if (e == 0)
		e = read_services(r, &rule);
	if (e == 0)
		e = expect_end(r);
	if (e == 0 && p->nrules == POLICY_RULES_MAX)
		e = fail_at(r, src.start, "more than %d allow lines: use groups", POLICY_RULES_MAX);
	if (e == 0)
		e = grow(&p->rules, p->nrules, sizeof(*p->rules));
	if (e < 0) {
		free(rule.services);
		return e;
	}
	services_fit(&rule);
	p->nlimited += rule.nservices > 0;
	rule.src = cut(&src);
	rule.dst = cut(&dst);
	p->rules[p->nrules++] = rule;
	e = note_name(r, rule.src);
	return e ? e : note_name(r, rule.dst);
}

/* what would cut the host off from itself or its link */
const char *policy_unprotectable(const struct mvpn_prefix *p)
{
	static const char *const list[] = {
		"127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "255.255.255.255",
		"::1",	       "fe80::/10",	 "ff00::/8"};
	struct mvpn_prefix never, v4;

	for (unsigned i = 0; i < sizeof(list) / sizeof(list[0]); i++)
		if (mvpn_prefix_parse(&never, list[i]) == 0 && p->len >= never.len &&
		    mvpn_prefix_contains(&never, &p->addr))
			return "loopback, link-local and multicast addresses cannot be protected";
	/* one trie holds both families, IPv4 under ::ffff:0:0/96 */
	if (mvpn_prefix_parse(&v4, "0.0.0.0/0") == 0 && p->len < v4.len &&
	    mvpn_prefix_contains(p, &v4.addr))
		return "this would cover IPv4 too: write 2000::/3 for all of IPv6, 0.0.0.0/0 for "
		       "IPv4";
	return NULL;
}

static int read_protect(struct reader *r)
{
	struct policy *p = r->p;
	struct policy_protect pr = {.line = r->line};
	char text[MVPN_ADDRSTRLEN], *start;
	struct word key, via = {0};
	const char *why;
	size_t len;
	int e = 0;

	skip_space(r);
	start = r->at;
	len = strcspn(start, " \t#");
	if (!len)
		return fail_at(r, start, "a prefix is missing, for example 10.9.0.0/24");
	snprintf(text, sizeof(text), "%.*s", (int)(len < sizeof(text) ? len : 0), start);
	if (mvpn_prefix_parse(&pr.prefix, text) < 0)
		return fail_at(r, start,
			       "\"%.60s\" is not a prefix (bits after the prefix length must be "
			       "zero), for example 10.9.0.0/24",
			       text);
	why = policy_unprotectable(&pr.prefix);
	if (why)
		return fail_at(r, start, "%s", why);
	r->at += len;
	if (!at_line_end(r)) {
		e = read_word(r, "\"via\"", false, &key);
		if (e == 0 && !word_is(&key, "via"))
			e = fail_at(r, key.start, "expected \"via DEVICE\" or the end of the line");
		if (e == 0)
			e = read_word(r, "the gateway's name", false, &via);
		if (e == 0)
			e = expect_end(r);
	}
	if (e == 0 && p->nprotects == POLICY_PROTECTS_MAX)
		e = fail_at(r, start, "more than %d protect lines", POLICY_PROTECTS_MAX);
	if (e == 0)
		e = grow(&p->protects, p->nprotects, sizeof(*p->protects));
	if (e < 0)
		return e;
	pr.via = via.start ? cut(&via) : NULL;
	p->protects[p->nprotects++] = pr;
	return pr.via ? note_name(r, pr.via) : 0;
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
	if (word_is(&key, "test"))
		return read_test(r);
	setting = policy_setting_find(&key);
	if (setting >= 0)
		return read_setting(r, setting, &key);
	return fail_at(r, key.start,
		       "unknown statement \"%.*s\": a line starts with group, allow, ethernet, "
		       "level, mode, protect, test, dscp, multicast, rekey or max-offline",
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

static int protect_cmp(const void *a, const void *b)
{
	const struct policy_protect *x = a, *y = b;
	int c = memcmp(&x->prefix.addr, &y->prefix.addr, sizeof(x->prefix.addr));

	if (!c)
		c = (x->prefix.len > y->prefix.len) - (x->prefix.len < y->prefix.len);
	return c ? c : (x->line > y->line) - (x->line < y->line);
}

static int finish(struct reader *r)
{
	struct policy *p = r->p;
	char text[MVPN_ADDRSTRLEN];

	if (p->ngroups)
		qsort(p->groups, p->ngroups, sizeof(*p->groups), group_cmp);
	for (unsigned i = 1; i < p->ngroups; i++)
		if (!strcmp(p->groups[i - 1].name, p->groups[i].name)) {
			r->line = p->groups[i].line;
			return fail_at(r, NULL, "group \"%s\" is defined on line %u already",
				       p->groups[i].name, p->groups[i - 1].line);
		}
	if (p->nprotects)
		qsort(p->protects, p->nprotects, sizeof(*p->protects), protect_cmp);
	for (unsigned i = 1; i < p->nprotects; i++)
		if (p->protects[i - 1].prefix.len == p->protects[i].prefix.len &&
		    mvpn_addr_eq(&p->protects[i - 1].prefix.addr, &p->protects[i].prefix.addr)) {
			r->line = p->protects[i].line;
			return fail_at(r, NULL, "%s is protected on line %u already",
				       mvpn_prefix_str(&p->protects[i].prefix, text),
				       p->protects[i - 1].line);
		}
	for (unsigned i = 0; i < p->nprotects; i++)
		if (p->protects[i].via && policy_has_group(p, p->protects[i].via)) {
			r->line = p->protects[i].line;
			return fail_at(r, NULL,
				       "\"%s\" is a group: a prefix is owned by one device",
				       p->protects[i].via);
		}
	return expand_groups(r);
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
