/* SPDX-License-Identifier: BSD-2-Clause */
#include "chunks.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define NONE UINT32_MAX

int chunks_init(struct chunks *c, size_t bytes)
{
	c->n = (uint32_t)(bytes / CHUNK_B);
	c->next = calloc(c->n, sizeof(*c->next));
	c->memory = c->next ? mmap(NULL, (size_t)c->n * CHUNK_B, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
			    : MAP_FAILED;
	if (c->memory == MAP_FAILED) {
		free(c->next);
		*c = (struct chunks){0};
		return -ENOMEM;
	}
	/* plaintext: not for core dumps */
	madvise(c->memory, (size_t)c->n * CHUNK_B, MADV_DONTDUMP);
	for (uint32_t i = 0; i < c->n; i++)
		c->next[i] = i + 1 < c->n ? i + 1 : NONE;
	c->unused = 0;
	c->nunused = c->n;
	return 0;
}

void chunks_end(struct chunks *c)
{
	if (c->memory)
		munmap(c->memory, (size_t)c->n * CHUNK_B);
	free(c->next);
}

static uint32_t least(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

int chunks_put(struct chunks *c, const uint8_t *data, uint32_t len, uint32_t *ret_first)
{
	uint32_t at = c->unused, last = NONE;

	if ((len + CHUNK_B - 1) / CHUNK_B > c->nunused)
		return -ENOBUFS;
	*ret_first = at;
	for (uint32_t done = 0; done < len; done += CHUNK_B) {
		memcpy(c->memory + (size_t)at * CHUNK_B, data + done, least(len - done, CHUNK_B));
		c->nunused--;
		last = at;
		at = c->next[at];
	}
	c->unused = at;
	c->next[last] = NONE;
	return 0;
}

void chunks_take(struct chunks *c, uint32_t first, uint8_t *data, uint32_t len)
{
	uint32_t done = 0;

	for (uint32_t at = first; done < len; at = c->next[at], done += CHUNK_B)
		memcpy(data + done, c->memory + (size_t)at * CHUNK_B, least(len - done, CHUNK_B));
	chunks_drop(c, first);
}

void chunks_drop(struct chunks *c, uint32_t first)
{
	uint32_t at = first;

	for (c->nunused++; c->next[at] != NONE; at = c->next[at])
		c->nunused++;
	c->next[at] = c->unused;
	c->unused = first;
}
