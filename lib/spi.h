/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which SPIs a receiver has given out. An SPI is a slot of the key table in the low MVPN_SPI_SLOT_BITS, and a random part above
 * that is not 0, so that an SPI is never 0 and what is sent to the last owner of a slot is not taken for the new one's. A slot
 * that was given back rests for MVPN_SPI_QUARANTINE_S. Each operation takes constant time, also when the table is nearly full.
 */
#ifndef MVPN_SPI_H
#define MVPN_SPI_H

#include <stdint.h>

#include "mvpn/limits.h"

struct spi_table;

static inline uint32_t spi_slot(uint32_t spi)
{
	return spi & (MVPN_SPI_SLOTS - 1);
}

int spi_table_new(struct spi_table **ret); /* -ENOMEM */
void spi_table_free(struct spi_table *t);
/* now_s: monotonic seconds. 0: every slot is in use or rests. */
uint32_t spi_alloc(struct spi_table *t, uint32_t now_s);
void spi_free(struct spi_table *t, uint32_t spi, uint32_t now_s); /* one that is not given out: nothing happens */

#endif
