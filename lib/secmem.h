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

void *secmem_alloc(void);     /* SECMEM_CELL_B zeroed bytes, 64-byte aligned; NULL: no memory */
void secmem_free(void *cell); /* wipes; NULL is fine */
size_t secmem_in_use(void);   /* cells, for tests and status */

#endif
