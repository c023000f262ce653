/* SPDX-License-Identifier: BSD-2-Clause */
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>

#include <sodium.h>

#include "secmem.h"

#define CHUNK_B (64 << 10) /* 512 cells, or 128 large ones; chunks are kept for the next peak */

struct cell {
	struct cell *next; /* while free */
};
struct size {
	size_t bytes;
	struct cell *free;
};

static struct {
	pthread_mutex_t lock;
	struct size small, large;
	size_t in_use;
} arena = {.lock = PTHREAD_MUTEX_INITIALIZER,
	   .small.bytes = SECMEM_CELL_B,
	   .large.bytes = SECMEM_LARGE_B};

static int add_chunk(struct size *z)
{
	unsigned char *chunk =
		mmap(NULL, CHUNK_B, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (chunk == MAP_FAILED)
		return -1;
	/* each is a second line of defence, and may be refused (RLIMIT_MEMLOCK, old kernels) */
	(void)mlock(chunk, CHUNK_B);
	(void)madvise(chunk, CHUNK_B, MADV_DONTDUMP);
	(void)madvise(chunk, CHUNK_B, MADV_WIPEONFORK);
	for (size_t at = 0; at < CHUNK_B; at += z->bytes) {
		struct cell *c = (struct cell *)(chunk + at);

		c->next = z->free;
		z->free = c;
	}
	return 0;
}

static void *get(struct size *z)
{
	struct cell *c = NULL;

	pthread_mutex_lock(&arena.lock);
	if (z->free || add_chunk(z) == 0) {
		c = z->free;
		z->free = c->next;
		arena.in_use++;
	}
	pthread_mutex_unlock(&arena.lock);
	if (c)
		memset(c, 0, z->bytes);
	return c;
}

static void put(struct size *z, void *cell)
{
	struct cell *c = cell;

	if (!c)
		return;
	sodium_memzero(c, z->bytes);
	pthread_mutex_lock(&arena.lock);
	c->next = z->free;
	z->free = c;
	arena.in_use--;
	pthread_mutex_unlock(&arena.lock);
}

void *secmem_alloc(void)
{
	return get(&arena.small);
}

void secmem_free(void *cell)
{
	put(&arena.small, cell);
}

void *secmem_alloc_large(void)
{
	return get(&arena.large);
}

void secmem_free_large(void *cell)
{
	put(&arena.large, cell);
}

size_t secmem_in_use(void)
{
	size_t n;

	pthread_mutex_lock(&arena.lock);
	n = arena.in_use;
	pthread_mutex_unlock(&arena.lock);
	return n;
}
