/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "crypto.h"
#include "macs.h"
#include "registry.h"

int registry_new(struct registry **ret)
{
	struct registry *r = calloc(1, sizeof(*r));
	int e;

	if (!r)
		return -ENOMEM;
	e = htab_init(&r->by_id);
	if (e == 0)
		e = htab_init(&r->by_pk);
	if (e == 0)
		e = htab_init(&r->by_next);
	if (e == 0)
		e = htab_init(&r->by_name);
	if (e == 0)
		e = htab_init(&r->by_mac);
	if (e == 0)
		e = lpm_new(&r->given);
	if (e == 0)
		e = lpm_new(&r->policy);
	if (e == 0)
		e = lpm_new(&r->owners);
	if (e < 0) {
		registry_free(r);
		return e;
	}
	*ret = r;
	return 0;
}

static void device_free(struct device *d)
{
	for (unsigned i = 0; i < d->nmacs; i++)
		free(d->macs[i]);
	for (unsigned i = 0; i < d->ngroups; i++)
		free(d->groups[i]);
	free(d->prefixes);
	free(d->owned);
	free(d);
}

void registry_free(struct registry *r)
{
	if (!r)
		return;
	for (uint32_t i = 0; i < r->size; i++)
		if (r->devices[i])
			device_free(r->devices[i]);
	free(r->devices);
	free(r->sets);
	htab_free(&r->by_id);
	htab_free(&r->by_pk);
	htab_free(&r->by_next);
	htab_free(&r->by_name);
	htab_free(&r->by_mac);
	lpm_free(r->given);
	lpm_free(r->policy);
	lpm_free(r->owners);
	free(r);
}

/* ---- devices ---- */

static const uint8_t no_key[MVPN_KEY_LEN];

static int free_index(struct registry *r, uint32_t *ret)
{
	uint32_t n = r->size ? r->size * 2 : 64;
	struct device **a;

	if (r->count < r->size)
		for (uint32_t i = 0; i < r->size; i++)
			if (!r->devices[i]) {
				*ret = i;
				return 0;
			}
	a = realloc(r->devices, n * sizeof(*a));
	if (!a)
		return -ENOMEM;
	memset(a + r->size, 0, (n - r->size) * sizeof(*a));
	r->devices = a;
	*ret = r->size;
	r->size = n;
	return 0;
}

int registry_add(struct registry *r, const struct store_device *row, struct device **ret)
{
	struct device *d = calloc(1, sizeof(*d));
	uint32_t index = r->count;
	int e = 0;

	if (!d)
		return -ENOMEM;
	/* indices are dense unless devices were removed */
	if (index >= r->size || r->devices[index])
		e = free_index(r, &index);
	if (e < 0) {
		free(d);
		return e;
	}
	d->row = *row;
	d->index = index;
	r->devices[index] = d;
	r->count++;
	r->states[row->state < 5 ? row->state : 0]++;
	htab_add(&r->by_id, &d->by_id, htab_hash(&r->by_id, row->id, sizeof(row->id)));
	htab_add(&r->by_pk, &d->by_pk, htab_hash(&r->by_pk, row->pk, sizeof(row->pk)));
	htab_add(&r->by_name, &d->by_name, htab_hash(&r->by_name, row->name, strlen(row->name)));
	memset(d->row.pk_next, 0, sizeof(d->row.pk_next));
	registry_set_next(r, d, row->pk_next, row->next_until);
	*ret = d;
	return 0;
}

void registry_remove(struct registry *r, struct device *d)
{
	while (d->nprefixes) {
		struct device_prefix last = d->prefixes[d->nprefixes - 1];

		registry_prefix_del(r, d, &last.p, last.kind);
	}
	registry_disown(r, d);
	while (d->nmacs)
		mac_del(r, d, d->macs[0]->mac);
	htab_del(&r->by_id, &d->by_id);
	htab_del(&r->by_pk, &d->by_pk);
	registry_set_next(r, d, no_key, 0);
	htab_del(&r->by_name, &d->by_name);
	r->states[d->row.state < 5 ? d->row.state : 0]--;
	r->devices[d->index] = NULL;
	r->count--;
	device_free(d);
}

int registry_rename(struct registry *r, struct device *d, const char *name)
{
	size_t len = strlen(name);

	if (len >= sizeof(d->row.name))
		return -EINVAL;
	htab_del(&r->by_name, &d->by_name);
	memcpy(d->row.name, name, len + 1);
	htab_add(&r->by_name, &d->by_name, htab_hash(&r->by_name, name, len));
	return 0;
}

void registry_set_key(struct registry *r, struct device *d, const struct store_device *row)
{
	htab_del(&r->by_pk, &d->by_pk);
	memcpy(d->row.pk, row->pk, sizeof(d->row.pk));
	d->row.delegated = row->delegated;
	d->row.delegation = row->delegation;
	htab_add(&r->by_pk, &d->by_pk, htab_hash(&r->by_pk, d->row.pk, sizeof(d->row.pk)));
}

void registry_set_state(struct registry *r, struct device *d, unsigned state)
{
	r->states[d->row.state < 5 ? d->row.state : 0]--;
	d->row.state = (uint8_t)state;
	r->states[state < 5 ? state : 0]++;
}

int registry_join(struct device *d, const char *group)
{
	for (unsigned i = 0; i < d->ngroups; i++)
		if (!strcmp(d->groups[i], group))
			return 0;
	if (d->ngroups == DEVICE_GROUPS_MAX)
		return -ENOSPC;
	d->groups[d->ngroups] = strdup(group);
	if (!d->groups[d->ngroups])
		return -ENOMEM;
	d->ngroups++;
	return 0;
}

struct device *registry_by_id(const struct registry *r, const uint8_t id[16])
{
	struct hnode *n = htab_first(&r->by_id, htab_hash(&r->by_id, id, 16));

	for (; n; n = htab_next(n)) {
		struct device *d = container_of(n, struct device, by_id);

		if (!memcmp(d->row.id, id, 16))
			return d;
	}
	return NULL;
}

struct device *registry_by_pk(const struct registry *r, const uint8_t pk[32])
{
	struct hnode *n = htab_first(&r->by_pk, htab_hash(&r->by_pk, pk, 32));

	for (; n; n = htab_next(n)) {
		struct device *d = container_of(n, struct device, by_pk);

		if (!memcmp(d->row.pk, pk, 32))
			return d;
	}
	return NULL;
}

struct device *registry_by_next(const struct registry *r, const uint8_t pk[32])
{
	struct hnode *n = htab_first(&r->by_next, htab_hash(&r->by_next, pk, 32));

	for (; n; n = htab_next(n)) {
		struct device *d = container_of(n, struct device, by_next);

		if (!memcmp(d->row.pk_next, pk, 32))
			return d;
	}
	return NULL;
}

void registry_set_next(struct registry *r, struct device *d, const uint8_t pk[32], int64_t until)
{
	if (memcmp(d->row.pk_next, no_key, sizeof(no_key)))
		htab_del(&r->by_next, &d->by_next);
	memmove(d->row.pk_next, pk, sizeof(d->row.pk_next));
	d->row.next_until = until;
	if (memcmp(pk, no_key, sizeof(no_key)))
		htab_add(&r->by_next, &d->by_next, htab_hash(&r->by_next, pk, 32));
}

void registry_rotate(struct registry *r, struct device *d)
{
	htab_del(&r->by_pk, &d->by_pk);
	memcpy(d->row.pk, d->row.pk_next, sizeof(d->row.pk));
	htab_add(&r->by_pk, &d->by_pk, htab_hash(&r->by_pk, d->row.pk, 32));
	registry_set_next(r, d, no_key, 0);
}

struct device *registry_by_name(const struct registry *r, const char *name)
{
	struct hnode *n = htab_first(&r->by_name, htab_hash(&r->by_name, name, strlen(name)));

	for (; n; n = htab_next(n)) {
		struct device *d = container_of(n, struct device, by_name);

		if (!strcmp(d->row.name, name))
			return d;
	}
	return NULL;
}

int registry_find(const struct registry *r, const char *text, struct device **ret)
{
	struct device *d = registry_by_name(r, text), *found = NULL;
	size_t len = strlen(text);
	char hex[2 * MVPN_ID_LEN + 1];

	if (d) {
		*ret = d;
		return 0;
	}
	if (len < 4 || len > 2 * MVPN_ID_LEN)
		return -ENOENT;
	for (uint32_t i = 0; i < r->size; i++) {
		d = r->devices[i];
		if (!d)
			continue;
		mvpn_hex(hex, d->row.id, MVPN_ID_LEN);
		if (strncasecmp(hex, text, len))
			continue;
		if (found)
			return -ENOTUNIQ;
		found = d;
	}
	if (!found)
		return -ENOENT;
	*ret = found;
	return 0;
}

bool registry_group_used(const struct registry *r, const char *group)
{
	for (uint32_t i = 0; i < r->size; i++)
		for (unsigned k = 0; r->devices[i] && k < r->devices[i]->ngroups; k++)
			if (!strcmp(r->devices[i]->groups[k], group))
				return true;
	return false;
}

struct policy_subject registry_subject(const struct device *d)
{
	return (struct policy_subject){d->row.name, (const char *const *)d->groups, d->ngroups};
}

/* ---- loading ---- */

static int load_device(void *arg, const struct store_device *row)
{
	struct device *d;

	return registry_add(arg, row, &d);
}

static int load_member(void *arg, const uint8_t id[16], const char *group)
{
	struct device *d = registry_by_id(arg, id);
	int e = d ? registry_join(d, group) : 0;

	return e == -ENOSPC ? 0 : e; /* without effect, as when it joined; no reason not to start */
}

static int load_prefix(void *arg, const uint8_t id[16], const struct mvpn_prefix *p, int kind)
{
	struct device *d = registry_by_id(arg, id);
	int e = 0;

	if (d && kind == PREFIX_MAC)
		e = mac_load(arg, d, p);
	else if (d)
		e = registry_prefix_add(arg, d, p, kind);

	return e == -ENOSPC ? 0 : e;
}

int registry_load(struct registry *r, struct store *st)
{
	int e = store_device_each(st, load_device, r);

	if (e == 0)
		e = store_member_each(st, load_member, r);
	if (e == 0)
		e = store_prefix_each(st, load_prefix, r);
	return e;
}
