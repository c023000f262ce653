/* SPDX-License-Identifier: BSD-2-Clause */
/* ICMP errors about our packets, and about those of others who say so. */
#include "sides.h"

static struct quote q;

static void quote_last(void)
{
	send_small(&a);
	q = (struct quote){
		.len = sizeof(struct mvpn_hdr), .to = ep_b, .too_big = true, .mtu = 1400};
	memcpy(q.data, a.wire.data[a.wire.n - 1], q.len);
}

static bool believed(void)
{
	uint64_t yes = counter(&a, DP_C_ICMP_TOO_BIG), no = counter(&a, DP_C_ICMP_IGNORED);

	quote_take(a.w, &q);
	assert_int_equal(counter(&a, DP_C_ICMP_TOO_BIG) + counter(&a, DP_C_ICMP_IGNORED),
			 yes + no + 1);
	return counter(&a, DP_C_ICMP_TOO_BIG) > yes;
}

static void a_packet_sent_lately(void **state)
{
	struct dp_event e;

	quote_last();
	assert_true(believed());
	assert_true(event(&a, DP_EV_TOO_BIG, &e));
	assert_int_equal(e.peer, PEER_B);
	assert_int_equal(e.mtu, 1400);
	/* many of them: told once a second */
	for (unsigned n = 0; n < 1000; n++)
		assert_true(believed());
	assert_false(event(&a, DP_EV_TOO_BIG, &e));
	a.w->now += MVPN_PMTU_HINT_GAP_MS * 1000000ULL;
	assert_true(believed());
	assert_true(event(&a, DP_EV_TOO_BIG, &e));
}

static void anything_else(void **state)
{
	struct dp_event e;

	quote_last();
	/* each byte of type and generation may differ: only lane, SPI and counter are looked at */
	for (unsigned i = 1; i < sizeof(struct mvpn_hdr); i++) {
		if (i == 2 || i == 3)
			continue;
		q.data[i] ^= i == 1 ? 1 : 0x80;
		assert_false(believed());
		q.data[i] ^= i == 1 ? 1 : 0x80;
	}
	q.len--;
	assert_false(believed());
	q.len++;
	q.too_big = false;
	assert_false(believed());
	q.too_big = true;
	q.to = ep_a;
	assert_false(believed());
	q.to = ep_b;
	/* not sent yet, and too long ago */
	q.data[15]++;
	assert_false(believed());
	q.data[15]--;
	a.s->tx[0].counter += MVPN_PMTU_QUOTE_PACKETS;
	send_small(&a);
	assert_false(believed());
	assert_false(event(&a, DP_EV_TOO_BIG, &e));
}

int main(void)
{
	const struct CMUnitTest tests[] = {T(a_packet_sent_lately), T(anything_else)};

	return MVPN_RUN(tests);
}
