/* SPDX-License-Identifier: BSD-2-Clause */
/* The prefix half of the registry: who has what, and who effectively owns it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "gateways.h"

static bool prefix_eq(const struct mvpn_prefix *a, const struct mvpn_prefix *b)
{
	return a->len == b->len && mvpn_addr_eq(&a->addr, &b->addr);
}

static struct device *device_of(const struct registry *r, uint32_t value)
{
	return value && value - 1 < r->size ? r->devices[value - 1] : NULL;
}

void registry_owned_drop(struct device *d, const struct mvpn_prefix *p)
{
	for (unsigned i = 0; d && i < d->nowned; i++)
		if (prefix_eq(&d->owned[i], p)) {
			memmove(&d->owned[i], &d->owned[i + 1],
				(d->nowned - i - 1) * sizeof(*d->owned));
			d->nowned--;
			return;
		}
}

int registry_owned_add(struct device *d, const struct mvpn_prefix *p)
{
	struct mvpn_prefix *a;

	if (!d)
		return 0;
	a = realloc(d->owned, (d->nowned + 1) * sizeof(*a));
	if (!a)
		return -ENOMEM;
	d->owned = a;
	d->owned[d->nowned++] = *p;
	return 0;
}

/* bring the effective table in line for one prefix, and report if its owner changed */
static int refresh(struct registry *r, const struct mvpn_prefix *p)
{
	uint32_t given = 0, policy = 0, old = 0, now;
	bool has_given = lpm_get(r->given, p, &given);
	bool has_policy = lpm_get(r->policy, p, &policy);
	bool had = lpm_get(r->owners, p, &old);
	int e = 0;

	now = policy ? policy : given;
	if (has_given || has_policy) {
		if (had && old == now)
			return 0;
		e = registry_owned_add(device_of(r, now), p);
		if (e == 0)
			e = lpm_set(r->owners, p, now);
		if (e < 0)
			return e;
		if (had)
			registry_owned_drop(device_of(r, old), p);
	} else {
		if (!had)
			return 0;
		registry_owned_drop(device_of(r, old), p);
		lpm_del(r->owners, p);
	}
	if (r->changed)
		r->changed(r->changed_arg, p, had ? device_of(r, old) : NULL,
			   has_given || has_policy ? device_of(r, now) : NULL);
	return 0;
}

bool registry_prefix_has(const struct device *d, const struct mvpn_prefix *p, int kind)
{
	for (unsigned i = 0; i < d->nprefixes; i++)
		if (d->prefixes[i].kind == kind && prefix_eq(&d->prefixes[i].p, p))
			return true;
	return false;
}

int registry_prefix_add(struct registry *r, struct device *d, const struct mvpn_prefix *p, int kind)
{
	struct device_prefix *a;
	uint32_t owner = 0;
	int e;

	if (registry_prefix_has(d, p, kind))
		return -EEXIST;
	if (d->nprefixes == DEVICE_PREFIXES_MAX)
		return -ENOSPC;
	if (kind != PREFIX_SCOPE && lpm_get(r->given, p, &owner) && owner != d->index + 1)
		return -EADDRINUSE;
	a = realloc(d->prefixes, (d->nprefixes + 1) * sizeof(*a));
	if (!a)
		return -ENOMEM;
	d->prefixes = a;
	d->prefixes[d->nprefixes++] = (struct device_prefix){*p, (uint8_t)kind};
	if (kind == PREFIX_SCOPE)
		return 0;
	e = lpm_set(r->given, p, d->index + 1);
	if (e == 0)
		e = refresh(r, p);
	if (e < 0)
		registry_prefix_del(r, d, p, kind);
	return e;
}

void registry_prefix_del(struct registry *r, struct device *d, const struct mvpn_prefix *p,
			 int kind)
{
	unsigned i = 0;

	while (i < d->nprefixes &&
	       !(d->prefixes[i].kind == kind && prefix_eq(&d->prefixes[i].p, p)))
		i++;
	if (i == d->nprefixes)
		return;
	memmove(&d->prefixes[i], &d->prefixes[i + 1],
		(d->nprefixes - i - 1) * sizeof(*d->prefixes));
	d->nprefixes--;
	if (kind == PREFIX_SCOPE || registry_prefix_has(d, p, PREFIX_CLAIM) ||
	    registry_prefix_has(d, p, PREFIX_ADMIN))
		return;
	lpm_del(r->given, p);
	refresh(r, p);
}

struct device *registry_prefix_other(const struct registry *r, const struct mvpn_prefix *p,
				     const struct device *self)
{
	const struct lpm *tables[] = {r->policy, r->given};

	for (unsigned i = 0; i < 2; i++) {
		uint32_t v = 0;
		struct device *d = lpm_get(tables[i], p, &v) ? device_of(r, v) : NULL;

		if (d && d != self)
			return d;
	}
	return NULL;
}

struct device *registry_around_other(const struct registry *r, const struct mvpn_addr *a,
				     const struct device *self, unsigned *ret_len)
{
	struct mvpn_prefix p = mvpn_prefix_host(a);

	for (;;) {
		struct device *d = registry_prefix_other(r, &p, self);

		*ret_len = p.len;
		if (d || !p.len)
			return d;
		p.len--;
		p.addr.b[p.len / 8] &= (uint8_t)~(0x80 >> p.len % 8);
	}
}

bool registry_owner_of(const struct registry *r, const struct mvpn_addr *a, struct device **ret)
{
	uint32_t v = 0;

	if (!lpm_lookup(r->owners, a, &v))
		return false;
	*ret = device_of(r, v);
	return true;
}

bool registry_owns(const struct device *d, const struct mvpn_addr *a)
{
	for (unsigned i = 0; i < d->nowned; i++)
		if (mvpn_prefix_contains(&d->owned[i], a))
			return true;
	return false;
}

bool registry_effective(const struct registry *r, const struct mvpn_prefix *p, struct device **ret)
{
	uint32_t v = 0;

	if (!lpm_get(r->owners, p, &v))
		return false;
	*ret = device_of(r, v);
	return true;
}

/* ---- the policy's protect lines ---- */

/* the first one that there is, index + 1; 0: none */
static uint32_t first_via(const struct registry *r, const struct policy_protect *pr)
{
	for (unsigned k = 0; k < pr->nvia; k++) {
		const struct device *d = registry_by_name(r, pr->via[k]);

		if (d)
			return d->index + 1;
	}
	return 0;
}

bool registry_would_lose(const struct registry *r, const struct policy *p, const struct device *d)
{
	for (unsigned i = 0; i < d->nowned; i++) {
		const struct mvpn_prefix *prefix = &d->owned[i];
		const struct policy_protect *pr = policy_protect_of(p, prefix);
		uint32_t owner = 0, next = pr ? first_via(r, pr) : 0;
		bool stands_by = false;

		for (unsigned k = 0; pr && k < pr->nvia; k++)
			stands_by |= !strcmp(pr->via[k], d->row.name);
		stands_by &= next != d->index + 1;
		if (!next)
			lpm_get(r->given, prefix, &next);
		lpm_get(r->owners, prefix, &owner);
		/* who steps back or forward in a set of gateways loses one place, as who leaves it */
		if (owner == d->index + 1 ? next != d->index + 1 : !stands_by)
			return true;
	}
	return false;
}

void registry_disown(struct registry *r, struct device *d)
{
	while (d->nowned) {
		struct mvpn_prefix p = d->owned[d->nowned - 1];
		uint32_t heir = gateways_drop(r, &p, d), owner = 0;

		lpm_get(r->owners, &p, &owner);
		if (owner == d->index + 1) {
			lpm_set(r->policy, &p, heir);
			refresh(r, &p);
		}
		registry_owned_drop(d, &p);
	}
}

struct stale {
	const struct lpm *wanted;
	struct mvpn_prefix *list;
	unsigned n, size;
};

static int collect_stale(void *arg, const struct mvpn_prefix *p, uint32_t value)
{
	struct stale *s = arg;
	uint32_t v;

	if (lpm_get(s->wanted, p, &v))
		return 0;
	if (s->n == s->size) {
		unsigned size = s->size ? s->size * 2 : 64;
		struct mvpn_prefix *list = realloc(s->list, size * sizeof(*list));

		if (!list)
			return -ENOMEM;
		s->list = list;
		s->size = size;
	}
	s->list[s->n++] = *p;
	return 0;
}

int registry_set_policy(struct registry *r, const struct policy *p)
{
	struct lpm *wanted = NULL, *old = r->policy;
	struct stale stale = {0};
	struct gateway_set *sets = NULL;
	const struct policy_protect *pr;
	unsigned n, nsets = 0;
	int e = lpm_new(&wanted), entered;

	if (e < 0)
		return e;
	pr = policy_protects(p, &n);
	for (unsigned i = 0; i < n && e == 0; i++)
		e = lpm_set(wanted, &pr[i].prefix, first_via(r, &pr[i]));
	stale.wanted = wanted;
	if (e == 0)
		e = lpm_each(old, collect_stale, &stale);
	if (e == 0)
		e = gateways_read(r, p, &sets, &nsets);
	if (e < 0) {
		lpm_free(wanted);
		free(stale.list);
		return e;
	}
	r->policy = wanted;
	gateways_leave(r, sets, nsets);
	for (unsigned i = 0; i < stale.n; i++)
		refresh(r, &stale.list[i]);
	for (unsigned i = 0; i < n && e == 0; i++)
		e = refresh(r, &pr[i].prefix);
	lpm_free(old);
	free(stale.list);
	entered = gateways_enter(r, sets, nsets);
	return e ? e : entered;
}
