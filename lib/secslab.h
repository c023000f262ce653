/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Locked memory for keys that come in a few sizes and are many. sodium_malloc takes several mappings and pages of slack an
 * object, so that vm.max_map_count ends at some 16 000 of them. Here cells of one size share chunks between guard pages: mlock'ed
 * (a refusal is a failure), left out of core dumps, zero in a forked child. A cell is zero when it is given out and wiped when it
 * comes back; an empty chunk is unmapped, but for
 * one spare of a size that is in use. Chunks grow with the number of cells, so that few cost little and many cost
 * few mappings. One thread at a time. Under the address sanitizer whatever is not given out is poisoned.
 */
#ifndef MVPN_SECSLAB_H
#define MVPN_SECSLAB_H

#include <stddef.h>

struct secslab;

struct secslab_stats {
	size_t cells, chunks;
	size_t bytes;  /* asked for in cells */
	size_t mapped; /* locked; without the guard pages */
};

int secslab_new(struct secslab **ret); /* -ENOMEM */
void secslab_free(struct secslab *s);  /* every cell must be back; NULL is fine */
/* 64-byte aligned zeroes. -ENOMEM: no memory, or it cannot be locked (RLIMIT_MEMLOCK without CAP_IPC_LOCK); -EINVAL: size 0 */
int secslab_get(struct secslab *s, size_t size, void **ret);
void secslab_put(struct secslab *s, void *cell); /* NULL is fine */
void secslab_stats(const struct secslab *s, struct secslab_stats *ret);

#endif
