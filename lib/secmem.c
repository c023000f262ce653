/* SPDX-License-Identifier: BSD-2-Clause */
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>

#include <sodium.h>

#include "secmem.h"

#define CHUNK_B (64 << 10) /* 512 cells; chunks are kept for the next peak */

union cell {
	union cell *next; /* while free */
	unsigned char bytes[SECMEM_CELL_B];
};

static struct {
	pthread_mutex_t lock;
	union cell *free;
	size_t in_use;
} arena = {.lock = PTHREAD_MUTEX_INITIALIZER};

static int add_chunk(void)
{
	union cell *cells =
		mmap(NULL, CHUNK_B, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (cells == MAP_FAILED)
		return -1;
	/* each is a second line of defence, and may be refused (RLIMIT_MEMLOCK, old kernels) */
	(void)mlock(cells, CHUNK_B);
	(void)madvise(cells, CHUNK_B, MADV_DONTDUMP);
	(void)madvise(cells, CHUNK_B, MADV_WIPEONFORK);
	for (size_t i = 0; i < CHUNK_B / sizeof(*cells); i++) {
		cells[i].next = arena.free;
		arena.free = &cells[i];
	}
	return 0;
}

void *secmem_alloc(void)
{
	union cell *c = NULL;

	pthread_mutex_lock(&arena.lock);
	if (arena.free || add_chunk() == 0) {
		c = arena.free;
		arena.free = c->next;
		arena.in_use++;
	}
	pthread_mutex_unlock(&arena.lock);
	if (c)
		memset(c, 0, sizeof(*c));
	return c;
}

void secmem_free(void *cell)
{
	union cell *c = cell;

	if (!c)
		return;
	sodium_memzero(c, sizeof(*c));
	pthread_mutex_lock(&arena.lock);
	c->next = arena.free;
	arena.free = c;
	arena.in_use--;
	pthread_mutex_unlock(&arena.lock);
}

size_t secmem_in_use(void)
{
	size_t n;

	pthread_mutex_lock(&arena.lock);
	n = arena.in_use;
	pthread_mutex_unlock(&arena.lock);
	return n;
}
