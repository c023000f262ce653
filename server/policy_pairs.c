/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which pairs of devices two policies treat differently. A network may have a hundred thousand devices, but few kinds of them:
 * a device is what the names in the `allow` lines say of it, one bit a name, and devices with the same bits are one kind.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "policy_internal.h"
#include "policy_lines.h"

#define MATCH_MAX 3000000  /* names compared with devices: less than a second, in which the server does nothing else */
#define LINES_MAX 200000000 /* lines compared with kinds, by their bits: the same */

#define ANYBODY UINT32_MAX /* "*" */

struct bit_rule {
	uint32_t src, dst; /* bits */
	bool only;
};

/* one policy's names and lines; its bits begin at `base` */
struct side {
	const struct policy *p;
	const char **names; /* in its allow lines, sorted */
	uint32_t nnames, base;
	struct bit_rule *rules;
};

struct kind {
	const struct policy_subject *const *devices;
	unsigned n;
	const uint8_t *bits;
};

struct row {
	const struct policy_subject *device;
	const uint8_t *bits;
	size_t len;
};

static uint32_t name_bit(const struct side *s, const char *name)
{
	const char **at;

	if (!strcmp(name, "*"))
		return ANYBODY;
	at = bsearch(&name, s->names, s->nnames, sizeof(*s->names), policy_name_cmp);
	return s->base + (uint32_t)(at - s->names);
}

static int side_init(struct side *s, const struct policy *p, uint32_t base)
{
	uint32_t n = 0, unique = 0;

	*s = (struct side){.p = p, .base = base};
	if (!p || !p->nrules)
		return 0;
	s->names = calloc(2 * (size_t)p->nrules, sizeof(*s->names));
	s->rules = calloc(p->nrules, sizeof(*s->rules));
	if (!s->names || !s->rules)
		return -ENOMEM;
	for (unsigned i = 0; i < p->nrules; i++) {
		const char *ends[2] = {p->rules[i].src, p->rules[i].dst};

		for (int k = 0; k < 2; k++)
			if (strcmp(ends[k], "*"))
				s->names[n++] = ends[k];
	}
	if (n)
		qsort(s->names, n, sizeof(*s->names), policy_name_cmp);
	for (uint32_t i = 0; i < n; i++)
		if (!unique || strcmp(s->names[unique - 1], s->names[i]))
			s->names[unique++] = s->names[i];
	s->nnames = unique;
	for (unsigned i = 0; i < p->nrules; i++)
		s->rules[i] = (struct bit_rule){name_bit(s, p->rules[i].src),
						name_bit(s, p->rules[i].dst), p->rules[i].only};
	return 0;
}

static void side_free(struct side *s)
{
	free(s->names);
	free(s->rules);
}

static void set_bits(const struct side *s, const struct policy_subject *device, uint8_t *bits)
{
	for (uint32_t i = 0; i < s->nnames; i++)
		if (policy_name_matches(s->p, s->names[i], device))
			bits[(s->base + i) / 8] |= (uint8_t)(1 << (s->base + i) % 8);
}

static bool has(const struct kind *k, uint32_t bit)
{
	return bit == ANYBODY || k->bits[bit / 8] >> bit % 8 & 1;
}

static void access_of(const struct side *s, const struct kind *a, const struct kind *b,
		      struct policy_access *ret)
{
	const unsigned both = POLICY_A_BEGINS | POLICY_B_BEGINS;

	ret->begins = POLICY_NONE;
	policy_services_begin(&ret->services);
	for (unsigned i = 0; s->p && i < s->p->nrules; i++) {
		const struct bit_rule *r = &s->rules[i];
		unsigned may = POLICY_NONE;

		if (has(a, r->src) && has(b, r->dst))
			may |= r->only ? POLICY_A_BEGINS : both;
		if (has(b, r->src) && has(a, r->dst))
			may |= r->only ? POLICY_B_BEGINS : both;
		ret->begins |= may;
		if (!ret->services.all)
			policy_services_add(&ret->services, &s->p->rules[i], may & POLICY_B_BEGINS,
					    may & POLICY_A_BEGINS);
		if (ret->begins == both && ret->services.all)
			break;
	}
	policy_services_end(&ret->services);
}

static bool same(const struct policy_access *x, const struct policy_access *y)
{
	return x->begins == y->begins && policy_services_cover(&x->services, &y->services) &&
	       policy_services_cover(&y->services, &x->services) &&
	       mvpn_classes_eq(&x->services.classes, &y->services.classes);
}

static int row_cmp(const void *a, const void *b)
{
	const struct row *x = a, *y = b;

	return memcmp(x->bits, y->bits, x->len);
}

/* the devices by kind; kinds point into *devices */
static unsigned make_kinds(struct row *rows, unsigned n, const struct policy_subject **devices,
			   struct kind *kinds)
{
	unsigned nkinds = 0;

	qsort(rows, n, sizeof(*rows), row_cmp);
	for (unsigned i = 0; i < n; i++) {
		devices[i] = rows[i].device;
		if (!i || row_cmp(&rows[i - 1], &rows[i]))
			kinds[nkinds++] = (struct kind){&devices[i], 0, rows[i].bits};
		kinds[nkinds - 1].n++;
	}
	return nkinds;
}

typedef void pairs_fn(void *arg, const struct policy_pairs *pairs);

static void tell(const struct kind *a, const struct kind *b, const struct policy_access *before,
		 const struct policy_access *after, pairs_fn *fn, void *arg)
{
	struct policy_pairs pairs = {.a = a->devices,
				     .b = b->devices,
				     .na = a->n,
				     .nb = b->n,
				     .count = a == b ? (uint64_t)a->n * (a->n - 1) / 2
						     : (uint64_t)a->n * b->n,
				     .before = before,
				     .after = after};

	if (pairs.count)
		fn(arg, &pairs);
}

static int compare(const struct side *old, const struct side *new, const struct kind *kinds,
		   unsigned n, pairs_fn *fn, void *arg)
{
	struct policy_access before, after;
	uint64_t lines = (old->p ? old->p->nrules : 0) + (new->p ? new->p->nrules : 0);

	if (lines * n * (n + 1) / 2 > LINES_MAX)
		return -E2BIG;
	for (unsigned i = 0; i < n; i++)
		for (unsigned k = i; k < n; k++) {
			access_of(old, &kinds[i], &kinds[k], &before);
			access_of(new, &kinds[i], &kinds[k], &after);
			if (!same(&before, &after))
				tell(&kinds[i], &kinds[k], &before, &after, fn, arg);
		}
	return 0;
}

int policy_pairs_diff(const struct policy *old, const struct policy *new,
		      const struct policy_subject *devices, unsigned n, pairs_fn *fn, void *arg)
{
	struct side sides[2] = {{0}};
	const struct policy_subject **sorted = calloc(n + 1UL, sizeof(*sorted));
	struct kind *kinds = calloc(n + 1UL, sizeof(*kinds));
	struct row *rows = calloc(n + 1UL, sizeof(*rows));
	uint8_t *bits = NULL;
	size_t len = 0;
	int r = sorted && kinds && rows ? side_init(&sides[0], old, 0) : -ENOMEM;

	if (r == 0)
		r = side_init(&sides[1], new, sides[0].nnames);
	if (r == 0) {
		uint64_t names = (uint64_t)sides[0].nnames + sides[1].nnames;

		len = names / 8 + 1;
		r = names * n > MATCH_MAX ? -E2BIG : 0;
	}
	if (r == 0) {
		bits = calloc(n + 1UL, len);
		r = bits ? 0 : -ENOMEM;
	}
	for (unsigned i = 0; i < n && r == 0; i++) {
		rows[i] = (struct row){&devices[i], bits + i * len, len};
		set_bits(&sides[0], &devices[i], bits + i * len);
		set_bits(&sides[1], &devices[i], bits + i * len);
	}
	if (r == 0 && n)
		r = compare(&sides[0], &sides[1], kinds, make_kinds(rows, n, sorted, kinds), fn,
			    arg);
	side_free(&sides[0]);
	side_free(&sides[1]);
	free(bits);
	free(rows);
	free(kinds);
	free(sorted);
	return r;
}
