/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>

#include "htab.h"

#define HTAB_START 64

int htab_init(struct htab *t)
{
	t->buckets = calloc(HTAB_START, sizeof(*t->buckets));
	if (!t->buckets)
		return -ENOMEM;
	t->nbuckets = HTAB_START;
	t->count = 0;
	randombytes_buf(t->key, sizeof(t->key));
	return 0;
}

void htab_free(struct htab *t)
{
	free(t->buckets);
	t->buckets = NULL;
	t->nbuckets = t->count = 0;
}

uint64_t htab_hash(const struct htab *t, const void *data, size_t len)
{
	uint64_t h;

	crypto_shorthash((unsigned char *)&h, data, len, t->key);
	return h;
}

/* Without memory for more buckets the table stays right, only slower. */
static void htab_grow(struct htab *t)
{
	size_t n = t->nbuckets * 2;
	struct hnode **b = calloc(n, sizeof(*b));

	if (!b)
		return;
	for (size_t i = 0; i < t->nbuckets; i++) {
		struct hnode *next;

		for (struct hnode *e = t->buckets[i]; e; e = next) {
			next = e->next;
			e->next = b[e->hash & (n - 1)];
			b[e->hash & (n - 1)] = e;
		}
	}
	free(t->buckets);
	t->buckets = b;
	t->nbuckets = n;
}

void htab_add(struct htab *t, struct hnode *n, uint64_t hash)
{
	if (t->count >= t->nbuckets)
		htab_grow(t);
	n->hash = hash;
	n->next = t->buckets[hash & (t->nbuckets - 1)];
	t->buckets[hash & (t->nbuckets - 1)] = n;
	t->count++;
}

void htab_del(struct htab *t, struct hnode *n)
{
	struct hnode **p = &t->buckets[n->hash & (t->nbuckets - 1)];

	while (*p && *p != n)
		p = &(*p)->next;
	if (!*p)
		return;
	*p = n->next;
	n->next = NULL;
	t->count--;
}

struct hnode *htab_first(const struct htab *t, uint64_t hash)
{
	struct hnode *n = t->buckets ? t->buckets[hash & (t->nbuckets - 1)] : NULL;

	while (n && n->hash != hash)
		n = n->next;
	return n;
}

struct hnode *htab_next(const struct hnode *n)
{
	struct hnode *e = n->next;

	while (e && e->hash != n->hash)
		e = e->next;
	return e;
}
