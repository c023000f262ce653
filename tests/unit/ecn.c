/* SPDX-License-Identifier: BSD-2-Clause */
/* ECN at the tunnel's end: all sixteen pairs, as the table of RFC 6040 §4.2 has them. */
#include "test.h"

#include "inner.h"
#include "../../keyd/dp/ecn.h"

#define N ECN_NOT_ECT
#define E0 ECN_ECT0
#define E1 ECN_ECT1
#define CE ECN_CE
#define ODD ECN_ODD
#define DROP (ECN_DROP | ECN_ODD)

/* in the order of the RFC: rows by inner, columns by outer */
static const uint8_t order[4] = {N, E0, E1, CE};
static const uint8_t rfc6040[4][4] = {
	{N, N | ODD, N | ODD, N | DROP},
	{E0, E0, E1, CE},
	{E1, E1 | ODD, E1, CE},
	{CE, CE, CE | ODD, CE},
};

static void the_table(void **state)
{
	for (unsigned i = 0; i < 4; i++)
		for (unsigned o = 0; o < 4; o++) {
			assert_int_equal(ecn_leave(order[i], order[o]), rfc6040[i][o]);
			/* DSCP has no part in it */
			assert_int_equal(ecn_leave(0xb8 | order[i], 0x28 | order[o]),
					 rfc6040[i][o]);
		}
}

static void sets_two_bits_and_keeps_the_sum_right(void **state)
{
	for (unsigned v6 = 0; v6 < 2; v6++)
		for (unsigned tos = 0; tos < 256; tos++)
			for (unsigned ecn = 0; ecn < 4; ecn++) {
				struct inner i = {INNER_UDP, .v6 = v6, .tos = (uint8_t)tos,
						  .payload = tos};
				uint8_t d[400], want[400];
				uint32_t len = inner_build(d, &i, false);
				struct packet p;

				i.tos = (uint8_t)((tos & ~3u) | ecn);
				inner_build(want, &i, false);
				assert_int_equal(packet_parse(&p, d, len), 0);
				assert_int_equal(packet_tos(&p), tos);
				packet_set_ecn(&p, ecn);
				assert_memory_equal(d, want, len);
			}
}

/* a header that was damaged before it came here does not become a good one */
static void does_not_heal_a_bad_sum(void **state)
{
	struct inner i = {INNER_UDP, .tos = ECN_ECT0, .payload = 40};
	uint8_t d[200];
	uint32_t len = inner_build(d, &i, false);
	struct packet p;

	d[IP4_CHECK] ^= 0x10;
	assert_int_equal(packet_parse(&p, d, len), 0);
	packet_set_ecn(&p, ECN_CE);
	assert_string_equal(inner_fault(d, len, false), "IPv4 checksum");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_table),
		cmocka_unit_test(sets_two_bits_and_keeps_the_sum_right),
		cmocka_unit_test(does_not_heal_a_bad_sum),
	};

	return MVPN_RUN(tests);
}
