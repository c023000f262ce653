/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Intrusive chained hash table, SipHash with a random key: names and keys come from the outside. The owner keeps the
 * nodes inside its own structs and compares keys itself.
 */
#ifndef MVPN_HTAB_H
#define MVPN_HTAB_H

#include <stddef.h>
#include <stdint.h>

struct hnode {
	struct hnode *next;
	uint64_t hash;
};
struct htab {
	struct hnode **buckets;
	size_t nbuckets; /* power of two */
	size_t count;
	uint8_t key[16];
};

#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

int htab_init(struct htab *t); /* -ENOMEM */
void htab_free(struct htab *t);
uint64_t htab_hash(const struct htab *t, const void *data, size_t len);
void htab_add(struct htab *t, struct hnode *n, uint64_t hash);
void htab_del(struct htab *t, struct hnode *n); /* must be in it */
/* walk the nodes of one hash */
struct hnode *htab_first(const struct htab *t, uint64_t hash);
struct hnode *htab_next(const struct hnode *n);

#endif
