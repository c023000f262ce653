/* SPDX-License-Identifier: BSD-2-Clause */
/* What a relay knows of its pairs, and the rate that each has. */
#include "test.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "forward.h"
#include "mvpn/limits.h"
#include "mvpn/wire.h"
#include "../../keyd/fwdtab.h"

static const uint8_t a[16] = {1}, b[16] = {2}, c[16] = {3};

static void pairs_are_found(void **state)
{
	static const uint8_t s1[16] = {11}, s2[16] = {12};
	struct fwd_pair p1 = {0}, p2 = {0};
	struct fwd_half *h, *again;
	struct fwd_table t = {0};

	assert_int_equal(fwd_init(&t), 0);
	fwd_add(&t, &p1, s1, a, b, 1000);
	fwd_add(&t, &p2, s2, b, c, 2000);
	assert_ptr_equal(fwd_find(&t, s1), &p1);
	assert_ptr_equal(fwd_find(&t, s2), &p2);
	assert_null(fwd_find(&t, a));
	assert_null(fwd_by_spi(&t, 7, NULL));
	/* two ends may have chosen the same */
	fwd_set_spi(&t, &p1.half[0], 7);
	fwd_set_spi(&t, &p2.half[1], 7);
	fwd_set_spi(&t, &p2.half[0], 8);
	h = fwd_by_spi(&t, 7, NULL);
	again = fwd_by_spi(&t, 7, h);
	assert_true(h && again && h != again && !fwd_by_spi(&t, 7, again));
	h = fwd_by_spi(&t, 8, NULL);
	assert_ptr_equal(fwd_other(h), &p2.half[1]);
	assert_int_equal(fwd_end(h), 0);
	fwd_set_spi(&t, &p2.half[1], 9);
	assert_ptr_equal(fwd_by_spi(&t, 7, NULL), &p1.half[0]);
	/* the one that nobody speaks of goes first */
	assert_null(fwd_idle(&t, 1500, 1000));
	assert_ptr_equal(fwd_idle(&t, 2001, 1000), &p1);
	fwd_touch(&t, &p1, 2500);
	assert_null(fwd_idle(&t, 3000, 1000));
	assert_ptr_equal(fwd_idle(&t, 3001, 1000), &p2);
	fwd_remove(&t, &p2);
	assert_null(fwd_find(&t, s2));
	assert_null(fwd_by_spi(&t, 9, NULL));
	assert_null(fwd_idle(&t, 3001, 1000));
	fwd_remove(&t, &p1);
	assert_int_equal(t.count, 0);
	fwd_free(&t);
}

static void only_sealed_packets_are_passed_on(void **state)
{
	static const struct {
		uint8_t type, lane;
		size_t len;
		bool is;
	} cases[] = {
		{MVPN_TUNNEL, 0, MVPN_OVERHEAD, true},
		{MVPN_CTRL, 15, 100, true},
		{MVPN_FRAME, 0x80, 100, true},
		{MVPN_TUNNEL, 0, MVPN_OVERHEAD - 1, false},
		{MVPN_TRANSPORT, 0, 100, false},
		{MVPN_PUNCH, 0, 100, false},
		{MVPN_ECHO, 0, MVPN_ECHO_B, false},
		{MVPN_TUNNEL, 0x10, 100, false},
		{MVPN_ECHO_REPLY, 0, MVPN_ECHO_B, false},
		{0, 0, 100, false},
	};

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct mvpn_hdr h = {
			.type = cases[i].type, .lane = cases[i].lane, .spi = htobe32(0x01020304)};
		uint8_t p[128] = {0};
		uint32_t spi = 0;

		memcpy(p, &h, sizeof(h));
		assert_int_equal(fwd_sealed(p, cases[i].len, &spi), cases[i].is);
		assert_int_equal(spi, cases[i].is ? 0x01020304 : 0);
	}
}

/* a burst at once, and then what the rate lets by */
static void a_rate_is_kept(void **state)
{
	const uint64_t start = 1000000000000ULL, ms = 1000000;
	_Atomic uint64_t full = 0;
	unsigned n = 0;

	while (fwd_may(&full, 1000, 8000, start)) /* 1 MB/s: 1000 bytes a ms */
		n++;
	assert_int_equal(n, MVPN_RELAY_BURST_MS);
	assert_false(fwd_may(&full, 1000, 8000, start + ms / 2));
	assert_true(fwd_may(&full, 1000, 8000, start + ms));
	assert_false(fwd_may(&full, 1000, 8000, start + ms));
	for (n = 0; fwd_may(&full, 1000, 8000, start + 11 * ms); n++)
		;
	assert_int_equal(n, 10);
	/* rest is not saved up beyond a burst */
	for (n = 0; fwd_may(&full, 1000, 8000, start + 100000 * ms); n++)
		;
	assert_int_equal(n, MVPN_RELAY_BURST_MS);
}

static void workers_find_ends_by_spi(void **state)
{
	static const uint32_t spis[] = {9, 3, 7, 7, 0xffffffff, 1};
	struct fwdtab *t = fwdtab_new(6);
	const struct fwd_entry *e;

	assert_int_equal(fwdtab_find(NULL, 3, &e), 0);
	for (unsigned i = 0; i < 6; i++)
		fwdtab_add(t, &(struct fwd_entry){.spi = spis[i], .end = i});
	fwdtab_sort(t);
	assert_int_equal(fwdtab_find(t, 0, &e), 0);
	assert_int_equal(fwdtab_find(t, 8, &e), 0);
	assert_int_equal(fwdtab_find(t, 1, &e), 1);
	assert_int_equal(e->end, 5);
	assert_int_equal(fwdtab_find(t, 0xffffffff, &e), 1);
	assert_int_equal(e->end, 4);
	assert_int_equal(fwdtab_find(t, 7, &e), 2);
	assert_int_equal(e[0].end + e[1].end, 5);
	free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pairs_are_found),
		cmocka_unit_test(only_sealed_packets_are_passed_on),
		cmocka_unit_test(a_rate_is_kept),
		cmocka_unit_test(workers_find_ends_by_spi),
	};

	return MVPN_RUN(tests);
}
