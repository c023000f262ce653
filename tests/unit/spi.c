/* SPDX-License-Identifier: BSD-2-Clause */
/* Slots: each once, also to the last one; rest after use; time is the test's own. */
#include "spi.h"

#include <stdlib.h>
#include <string.h>

#include "crypto.h"
#include "test.h"

#define NOW 1000

static struct spi_table *t;
static uint32_t *all; /* by slot */

static int setup(void **state)
{
	all = calloc(MVPN_SPI_SLOTS, sizeof(*all));
	return mvpn_crypto_init() ?: spi_table_new(&t);
}

static int teardown(void **state)
{
	spi_table_free(t);
	free(all);
	return 0;
}

static uint32_t take(uint32_t now_s)
{
	uint32_t spi = spi_alloc(t, now_s);

	assert_true(spi >> MVPN_SPI_SLOT_BITS);
	assert_int_equal(all[spi_slot(spi)], 0);
	all[spi_slot(spi)] = spi;
	return spi;
}

static void give(uint32_t spi, uint32_t now_s)
{
	spi_free(t, spi, now_s);
	all[spi_slot(spi)] = 0;
}

static void every_slot_once(void **state)
{
	uint32_t spi;

	for (unsigned n = 0; n < MVPN_SPI_SLOTS; n++)
		take(NOW);
	assert_int_equal(spi_alloc(t, NOW), 0);
	/* the one that comes back is the next, and only after its rest */
	spi = all[12345];
	give(spi, NOW);
	assert_int_equal(spi_alloc(t, NOW), 0);
	assert_int_equal(spi_alloc(t, NOW + MVPN_SPI_QUARANTINE_S - 1), 0);
	assert_int_equal(spi_slot(take(NOW + MVPN_SPI_QUARANTINE_S)), 12345);
	assert_int_equal(spi_alloc(t, UINT32_MAX), 0);
}

/* what two rekeys at once of every peer take, over and over: sessions come as fast as slots have rested */
static void churn_near_the_full_table(void **state)
{
	uint32_t now = NOW;

	for (unsigned n = 0; n < MVPN_SPI_SLOTS - 100; n++)
		take(now);
	for (unsigned round = 0; round < 50; round++) {
		for (unsigned n = 0; n < 100; n++) {
			take(now);
			give(all[(round * 100 + n) * 7 % MVPN_SPI_SLOTS] ?: all[n], now);
		}
		assert_int_equal(spi_alloc(t, now), 0);
		now += MVPN_SPI_QUARANTINE_S;
	}
}

static void only_what_was_given_comes_back(void **state)
{
	uint32_t spi = take(NOW);

	spi_free(t, 0, NOW);
	spi_free(t, spi ^ 1U << MVPN_SPI_SLOT_BITS, NOW); /* the slot's, but another SPI */
	give(spi, NOW);
	spi_free(t, spi, NOW); /* twice */
	for (unsigned n = 0; n < MVPN_SPI_SLOTS - 1; n++)
		take(NOW);
	assert_int_equal(spi_alloc(t, NOW), 0);
	take(NOW + MVPN_SPI_QUARANTINE_S);
	assert_int_equal(spi_alloc(t, NOW + MVPN_SPI_QUARANTINE_S), 0);
}

static void unlike_each_other(void **state)
{
	unsigned same = 0;
	uint32_t first[256];

	for (unsigned n = 0; n < 256; n++)
		first[n] = take(NOW);
	for (unsigned n = 1; n < 256; n++)
		same += spi_slot(first[n]) == spi_slot(first[n - 1]) + 1;
	assert_true(same < 8);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		T(every_slot_once),
		T(churn_near_the_full_table),
		T(only_what_was_given_comes_back),
		T(unlike_each_other),
	};

	return MVPN_RUN(tests);
}
