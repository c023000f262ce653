/* SPDX-License-Identifier: BSD-2-Clause */
/* `protect` lines: prefixes besides the devices' own addresses, and the devices that are gateways to them. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy_text.h"

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

static int read_prefix(struct reader *r, struct mvpn_prefix *ret)
{
	char text[MVPN_ADDRSTRLEN], *start;
	const char *why;
	size_t len;

	skip_space(r);
	start = r->at;
	len = strcspn(start, " \t#");
	if (!len)
		return fail_at(r, start, "a prefix is missing, for example 10.9.0.0/24");
	snprintf(text, sizeof(text), "%.*s", (int)(len < sizeof(text) ? len : 0), start);
	if (mvpn_prefix_parse(ret, text) < 0)
		return fail_at(r, start,
			       "\"%.60s\" is not a prefix (bits after the prefix length must be "
			       "zero), for example 10.9.0.0/24",
			       text);
	why = policy_unprotectable(ret);
	if (why)
		return fail_at(r, start, "%s", why);
	r->at += len;
	return 0;
}

/* NAME [, NAME]…, in the order in which they are to be used */
static int read_gateways(struct reader *r, struct word via[MVPN_GATEWAYS_MAX], unsigned *ret_n)
{
	struct word w;
	unsigned n = 0;
	int e;

	for (;;) {
		e = read_word(r, "the gateway's name", false, &w);
		if (e < 0)
			return e;
		if (n == MVPN_GATEWAYS_MAX)
			return fail_at(r, w.start, "more than %d gateways to one prefix",
				       MVPN_GATEWAYS_MAX);
		for (unsigned i = 0; i < n; i++)
			if (via[i].len == w.len && !memcmp(via[i].start, w.start, w.len))
				return fail_at(r, w.start, "\"%.*s\" is named twice", (int)w.len,
					       w.start);
		via[n++] = w;
		skip_space(r);
		if (*r->at != ',')
			break;
		r->at++;
	}
	*ret_n = n;
	return 0;
}

/* "source kept", as without it, or "source translated" */
static int read_source(struct reader *r, bool *ret_translated)
{
	struct word key, how;
	int e;

	if (at_line_end(r))
		return 0;
	e = read_word(r, "\"source\"", false, &key);
	if (e < 0)
		return e;
	if (!word_is(&key, "source"))
		return fail_at(r, key.start,
			       "unexpected text: expected \"source translated\", \"source "
			       "kept\" or the end of the line");
	e = read_word(r, "\"kept\" or \"translated\"", false, &how);
	if (e < 0)
		return e;
	*ret_translated = word_is(&how, "translated");
	if (!*ret_translated && !word_is(&how, "kept"))
		return fail_at(r, how.start, "expected \"kept\" or \"translated\"");
	return expect_end(r);
}

int read_protect(struct reader *r)
{
	struct word key, via[MVPN_GATEWAYS_MAX];
	struct policy *p = r->p;
	struct policy_protect pr = {.line = r->line};
	char *start = r->at;
	int e = read_prefix(r, &pr.prefix);

	if (e == 0 && !at_line_end(r)) {
		e = read_word(r, "\"via\"", false, &key);
		if (e == 0 && !word_is(&key, "via"))
			e = fail_at(r, key.start, "expected \"via DEVICE\" or the end of the line");
		if (e == 0)
			e = read_gateways(r, via, &pr.nvia);
		if (e == 0)
			e = read_source(r, &pr.translated);
	}
	if (e == 0 && p->nprotects == POLICY_PROTECTS_MAX)
		e = fail_at(r, start, "more than %d protect lines", POLICY_PROTECTS_MAX);
	if (e == 0)
		e = grow(&p->protects, p->nprotects, sizeof(*p->protects));
	if (e < 0)
		return e;
	for (unsigned i = 0; i < pr.nvia; i++)
		pr.via[i] = cut(&via[i]);
	p->protects[p->nprotects++] = pr;
	for (unsigned i = 0; i < pr.nvia && e == 0; i++)
		e = note_name(r, pr.via[i]);
	return e;
}

/* ---- after the last line ---- */

int policy_prefix_cmp(const struct mvpn_prefix *x, const struct mvpn_prefix *y)
{
	int c = memcmp(&x->addr, &y->addr, sizeof(x->addr));

	return c ? c : (x->len > y->len) - (x->len < y->len);
}

static int protect_cmp(const void *a, const void *b)
{
	const struct policy_protect *x = a, *y = b;
	int c = policy_prefix_cmp(&x->prefix, &y->prefix);

	return c ? c : (x->line > y->line) - (x->line < y->line);
}

static int protect_is_of(const void *prefix, const void *pr)
{
	return policy_prefix_cmp(prefix, &((const struct policy_protect *)pr)->prefix);
}

const struct policy_protect *policy_protect_of(const struct policy *p, const struct mvpn_prefix *prefix)
{
	unsigned n;
	const struct policy_protect *list = policy_protects(p, &n);

	return n ? bsearch(prefix, list, n, sizeof(*list), protect_is_of) : NULL;
}

static int no_groups(struct reader *r, const struct policy_protect *pr)
{
	for (unsigned i = 0; i < pr->nvia; i++)
		if (policy_has_group(r->p, pr->via[i])) {
			r->line = pr->line;
			return fail_at(
				r, NULL,
				"\"%s\" is a group: name the devices that are gateways, in the "
				"order in which they are to be used",
				pr->via[i]);
		}
	return 0;
}

int protects_finish(struct reader *r)
{
	struct policy *p = r->p;
	char text[MVPN_ADDRSTRLEN];
	int e = 0;

	if (p->nprotects)
		qsort(p->protects, p->nprotects, sizeof(*p->protects), protect_cmp);
	for (unsigned i = 1; i < p->nprotects; i++)
		if (!policy_prefix_cmp(&p->protects[i - 1].prefix, &p->protects[i].prefix)) {
			r->line = p->protects[i].line;
			return fail_at(r, NULL, "%s is protected on line %u already",
				       mvpn_prefix_str(&p->protects[i].prefix, text),
				       p->protects[i - 1].line);
		}
	for (unsigned i = 0; i < p->nprotects && e == 0; i++)
		e = no_groups(r, &p->protects[i]);
	return e;
}
