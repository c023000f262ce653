/* SPDX-License-Identifier: BSD-2-Clause */
#include "spi.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>

#define RANDOM_BITS (32 - MVPN_SPI_SLOT_BITS)

struct resting {
	uint32_t slot;
	uint32_t until_s;
};

/* calloc'ed: pages that no SPI has touched take no memory */
struct spi_table {
	/*
	 * The first nfree entries are the free slots, in random order as they are drawn. An entry is kept as the XOR with its
	 * own index, so that a table of zeroes has every slot where it begins.
	 */
	uint32_t free[MVPN_SPI_SLOTS];
	uint32_t nfree;
	/* a ring, oldest first: all rest equally long */
	struct resting resting[MVPN_SPI_SLOTS];
	uint32_t oldest, nresting;
	uint32_t given[MVPN_SPI_SLOTS]; /* the SPI in use, 0 none */
};

int spi_table_new(struct spi_table **ret)
{
	struct spi_table *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	t->nfree = MVPN_SPI_SLOTS;
	*ret = t;
	return 0;
}

void spi_table_free(struct spi_table *t)
{
	free(t);
}

static void wake(struct spi_table *t, uint32_t now_s)
{
	while (t->nresting && t->resting[t->oldest].until_s <= now_s) {
		t->free[t->nfree] = t->resting[t->oldest].slot ^ t->nfree;
		t->nfree++;
		t->oldest = spi_slot(t->oldest + 1);
		t->nresting--;
	}
}

static uint32_t draw(struct spi_table *t)
{
	uint32_t at = randombytes_uniform(t->nfree), slot = t->free[at] ^ at;
	uint32_t last = t->nfree - 1;

	t->free[at] = t->free[last] ^ last ^ at;
	t->nfree = last;
	return slot;
}

uint32_t spi_alloc(struct spi_table *t, uint32_t now_s)
{
	uint32_t slot, high = 1 + randombytes_uniform((1U << RANDOM_BITS) - 1);

	wake(t, now_s);
	if (!t->nfree)
		return 0;
	slot = draw(t);
	t->given[slot] = high << MVPN_SPI_SLOT_BITS | slot;
	return t->given[slot];
}

void spi_free(struct spi_table *t, uint32_t spi, uint32_t now_s)
{
	uint32_t slot = spi_slot(spi);

	if (!spi || t->given[slot] != spi)
		return;
	t->given[slot] = 0;
	t->resting[spi_slot(t->oldest + t->nresting)] =
		(struct resting){.slot = slot, .until_s = now_s + MVPN_SPI_QUARANTINE_S};
	t->nresting++;
}
