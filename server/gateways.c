/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "gateways.h"

static int set_cmp(const void *a, const void *b)
{
	const struct gateway_set *x = a, *y = b;

	return policy_prefix_cmp(&x->prefix, &y->prefix);
}

static struct gateway_set *find(struct gateway_set *sets, unsigned n, const struct mvpn_prefix *p)
{
	struct gateway_set key = {.prefix = *p};

	return n ? bsearch(&key, sets, n, sizeof(*sets), set_cmp) : NULL;
}

const struct gateway_set *gateways_of(const struct registry *r, const struct mvpn_prefix *p)
{
	return find(r->sets, r->nsets, p);
}

static bool same(const struct gateway_set *x, const struct gateway_set *y)
{
	return x && y && x->n == y->n && x->translated == y->translated &&
	       !memcmp(x->value, y->value, x->n * sizeof(x->value[0]));
}

static bool stands_by(const struct gateway_set *set, uint32_t value)
{
	for (unsigned k = 1; set && k < set->n; k++)
		if (set->value[k] == value)
			return true;
	return false;
}

int gateways_read(const struct registry *r, const struct policy *p, struct gateway_set **ret,
		  unsigned *ret_n)
{
	unsigned n, used = 0, most = 0;
	const struct policy_protect *pr = policy_protects(p, &n);
	struct gateway_set *sets = NULL;

	for (unsigned i = 0; i < n; i++)
		most += pr[i].nvia > 0;
	if (most && !(sets = calloc(most, sizeof(*sets))))
		return -ENOMEM;
	for (unsigned i = 0; i < n; i++) {
		struct gateway_set set = {.prefix = pr[i].prefix, .translated = pr[i].translated};

		for (unsigned k = 0; k < pr[i].nvia; k++) {
			const struct device *d = registry_by_name(r, pr[i].via[k]);

			if (d)
				set.value[set.n++] = d->index + 1;
		}
		if (set.n)
			sets[used++] = set;
	}
	*ret = sets;
	*ret_n = used;
	return 0;
}

static struct device *device_of(const struct registry *r, uint32_t value)
{
	return value - 1 < r->size ? r->devices[value - 1] : NULL;
}

static void changed(const struct registry *r, const struct gateway_set *set, struct device *before)
{
	if (r->changed)
		r->changed(r->changed_arg, &set->prefix, before,
			   set->n ? device_of(r, set->value[0]) : NULL);
}

void gateways_leave(struct registry *r, struct gateway_set *sets, unsigned n)
{
	for (unsigned i = 0; i < r->nsets; i++) {
		const struct gateway_set *old = &r->sets[i], *new = find(sets, n, &old->prefix);

		for (unsigned k = 1; k < old->n; k++)
			if (!stands_by(new, old->value[k])) {
				registry_owned_drop(device_of(r, old->value[k]), &old->prefix);
				changed(r, old, device_of(r, old->value[k]));
			}
		if (!new)
			changed(r, old, NULL);
	}
}

int gateways_enter(struct registry *r, struct gateway_set *sets, unsigned n)
{
	int e = 0;

	for (unsigned i = 0; i < n; i++) {
		const struct gateway_set *old = gateways_of(r, &sets[i].prefix);

		for (unsigned k = 1; k < sets[i].n && e == 0; k++)
			if (!stands_by(old, sets[i].value[k]))
				e = registry_owned_add(device_of(r, sets[i].value[k]),
						       &sets[i].prefix);
		if (!same(old, &sets[i]))
			changed(r, &sets[i], NULL);
	}
	free(r->sets);
	r->sets = sets;
	r->nsets = n;
	return e;
}

uint32_t gateways_drop(struct registry *r, const struct mvpn_prefix *p, const struct device *d)
{
	struct gateway_set *set = find(r->sets, r->nsets, p);
	uint32_t first;
	unsigned at = 0;

	if (!set)
		return 0;
	while (at < set->n && set->value[at] != d->index + 1)
		at++;
	if (at == set->n)
		return set->value[0];
	set->n--;
	memmove(&set->value[at], &set->value[at + 1], (set->n - at) * sizeof(set->value[0]));
	first = set->n ? set->value[0] : 0;
	if (!at && first) /* it becomes the owner like any other */
		registry_owned_drop(device_of(r, first), p);
	changed(r, set, NULL);
	if (!set->n) {
		r->nsets--;
		memmove(set, set + 1, (size_t)(&r->sets[r->nsets] - set) * sizeof(*set));
	}
	return first;
}
