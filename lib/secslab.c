/* SPDX-License-Identifier: BSD-2-Clause */
#include "secslab.h"

#include <errno.h>
#include <sodium.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#define ASAN_UNPOISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#endif

#define ALIGN 64
#define CHUNK_MIN_B (64 << 10) /* the first of a size: a host with few peers locks little */
#define CHUNK_MAX_B (4 << 20)  /* 100 000 sessions of 16 lanes are then some thousand mappings */

struct chunk;

/* stands before each cell; never poisoned longer than the cell is free */
struct head {
	struct chunk *chunk;
	struct head *next; /* while free */
} __attribute__((aligned(ALIGN)));

struct chunk {
	struct class *class;
	struct chunk *next, **prev; /* among those of its class that have a free cell */
	char *map;		    /* with the guard pages */
	size_t mapped;		    /* without */
	uint32_t cells, used, touched;
	struct head *
		free; /* those that have come back; the others, from `touched` on, were never given out */
};

struct class
{
	struct class *next;
	size_t size; /* of a cell without its head */
	struct chunk *partial;
	struct chunk *
		spare; /* an empty one, so that a cell that comes and goes does not map and unmap; among `partial` */
	size_t mapped, cells;
};

struct secslab {
	struct class *classes; /* the one used last comes first */
	struct secslab_stats stats;
	size_t page;
};

int secslab_new(struct secslab **ret)
{
	struct secslab *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->page = (size_t)sysconf(_SC_PAGESIZE);
	*ret = s;
	return 0;
}

void secslab_free(struct secslab *s)
{
	struct class *c;

	while (s && (c = s->classes)) {
		s->classes = c->next;
		free(c);
	}
	free(s);
}

static struct class *class_get(struct secslab *s, size_t size)
{
	struct class **at, *c;

	for (at = &s->classes; (c = *at); at = &c->next)
		if (c->size == size)
			break;
	if (c) {
		*at = c->next;
	} else {
		c = calloc(1, sizeof(*c));
		if (!c)
			return NULL;
		c->size = size;
	}
	c->next = s->classes;
	s->classes = c;
	return c;
}

/* ---- chunks ---- */
static void link_partial(struct chunk *k)
{
	struct class *c = k->class;

	k->next = c->partial;
	k->prev = &c->partial;
	if (k->next)
		k->next->prev = &k->next;
	c->partial = k;
}

static void unlink_partial(struct chunk *k)
{
	*k->prev = k->next;
	if (k->next)
		k->next->prev = k->prev;
}

/* as much again as the class has, within bounds, in whole pages */
static size_t chunk_size(const struct secslab *s, const struct class *c)
{
	size_t one = c->size + sizeof(struct head), size = c->mapped;

	if (size < CHUNK_MIN_B)
		size = CHUNK_MIN_B;
	if (size > CHUNK_MAX_B)
		size = CHUNK_MAX_B;
	if (size < one)
		size = one;
	return (size + s->page - 1) / s->page * s->page;
}

static int lock(char *p, size_t size)
{
	if (mprotect(p, size, PROT_READ | PROT_WRITE) || mlock(p, size))
		return -ENOMEM;
	/* a second line of defence, which old kernels may refuse */
	(void)madvise(p, size, MADV_DONTDUMP);
	(void)madvise(p, size, MADV_WIPEONFORK);
	return 0;
}

static struct chunk *chunk_new(struct secslab *s, struct class *c)
{
	struct chunk *k = calloc(1, sizeof(*k));
	size_t size = chunk_size(s, c);

	if (!k)
		return NULL;
	k->map = mmap(NULL, size + 2 * s->page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (k->map == MAP_FAILED)
		goto fail;
	if (lock(k->map + s->page, size) < 0) {
		munmap(k->map, size + 2 * s->page);
		goto fail;
	}
	k->class = c;
	k->mapped = size;
	k->cells = (uint32_t)(size / (c->size + sizeof(struct head)));
	ASAN_POISON_MEMORY_REGION(k->map + s->page, size);
	c->mapped += size;
	s->stats.mapped += size;
	s->stats.chunks++;
	link_partial(k);
	return k;
fail:
	free(k);
	return NULL;
}

static void chunk_free(struct secslab *s, struct chunk *k)
{
	unlink_partial(k);
	k->class->mapped -= k->mapped;
	s->stats.mapped -= k->mapped;
	s->stats.chunks--;
	ASAN_UNPOISON_MEMORY_REGION(k->map + s->page, k->mapped);
	munmap(k->map, k->mapped + 2 * s->page);
	free(k);
}

/* ---- cells ---- */
static struct head *take(struct secslab *s, struct chunk *k)
{
	size_t one = k->class->size + sizeof(struct head);
	struct head *h = k->free;

	if (h) {
		ASAN_UNPOISON_MEMORY_REGION(h, one);
		k->free = h->next;
		h->next = NULL;
	} else {
		h = (struct head *)(k->map + s->page + k->touched++ * one);
		ASAN_UNPOISON_MEMORY_REGION(h, one);
	}
	if (k->class->spare == k)
		k->class->spare = NULL;
	k->class->cells++;
	if (++k->used == k->cells)
		unlink_partial(k);
	h->chunk = k;
	ASAN_POISON_MEMORY_REGION(h, sizeof(*h));
	return h;
}

/* k has just become empty */
static void emptied(struct secslab *s, struct chunk *k)
{
	struct class *c = k->class;

	if (c->cells && !c->spare) {
		c->spare = k;
		return;
	}
	chunk_free(s, k);
	if (!c->cells && c->spare) {
		chunk_free(s, c->spare);
		c->spare = NULL;
	}
}

int secslab_get(struct secslab *s, size_t size, void **ret)
{
	struct class *c;
	struct chunk *k;

	if (!size || size > SIZE_MAX / 2)
		return -EINVAL;
	c = class_get(s, (size + ALIGN - 1) / ALIGN * ALIGN);
	if (!c)
		return -ENOMEM;
	k = c->partial ? c->partial : chunk_new(s, c);
	if (!k)
		return -ENOMEM;
	*ret = take(s, k) + 1;
	s->stats.cells++;
	s->stats.bytes += c->size;
	return 0;
}

void secslab_put(struct secslab *s, void *cell)
{
	struct head *h;
	struct chunk *k;

	if (!cell)
		return;
	h = (struct head *)cell - 1;
	ASAN_UNPOISON_MEMORY_REGION(h, sizeof(*h));
	k = h->chunk;
	sodium_memzero(cell, k->class->size);
	h->next = k->free;
	k->free = h;
	s->stats.cells--;
	s->stats.bytes -= k->class->size;
	ASAN_POISON_MEMORY_REGION(h, sizeof(*h) + k->class->size);
	if (k->used-- == k->cells)
		link_partial(k);
	k->class->cells--;
	if (!k->used)
		emptied(s, k);
}

void secslab_stats(const struct secslab *s, struct secslab_stats *ret)
{
	*ret = s->stats;
}
