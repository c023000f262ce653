/* SPDX-License-Identifier: BSD-2-Clause */
/* Bytes of packets that are kept for a while, in memory taken once: chains of chunks, whose pages appear when first used. */
#ifndef MVPN_CHUNKS_H
#define MVPN_CHUNKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CHUNK_B 2048

struct chunks {
	uint8_t *memory;
	uint32_t *next;
	uint32_t n, unused, nunused; /* first of the chain of those that are */
};

int chunks_init(struct chunks *c, size_t bytes); /* 0 or -ENOMEM */
void chunks_end(struct chunks *c);		 /* fine for zeros */
/* -ENOBUFS, or *ret_first names the copy */
int chunks_put(struct chunks *c, const uint8_t *data, uint32_t len, uint32_t *ret_first);
/* len as it was put; the copy is gone then */
void chunks_take(struct chunks *c, uint32_t first, uint8_t *data, uint32_t len);
void chunks_drop(struct chunks *c, uint32_t first);

#endif
