/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Small cells for keys that live long and are many. sodium_malloc costs two resident pages and four
 * mappings each, too much for the keys of 10 000 channels; cells share chunks that are locked if
 * the limit allows it, left out of core dumps and zero in a forked child. Thread-safe.
 */
#ifndef MVPN_SECMEM_H
#define MVPN_SECMEM_H

#include <stddef.h>

#define SECMEM_CELL_B 128
#define SECMEM_LARGE_B 512 /* a handshake under way: a log-in should not cost eight system calls for memory */

void *secmem_alloc(void);     /* SECMEM_CELL_B zeroed bytes, 64-byte aligned; NULL: no memory */
void secmem_free(void *cell); /* wipes; NULL is fine */
void *secmem_alloc_large(void); /* SECMEM_LARGE_B, likewise */
void secmem_free_large(void *cell);
size_t secmem_in_use(void); /* cells of either size, for tests and status */

#endif
