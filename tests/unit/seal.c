/* SPDX-License-Identifier: BSD-2-Clause */
/* Out: from the tap to the wire. */
#include "sides.h"

static void super_packets_arrive_whole(void **state)
{
	for (unsigned v6 = 0; v6 < 2; v6++) {
		struct inner i = {INNER_TCP, .v6 = v6, .payload = 60000};
		struct virtio_net_hdr h = inner_vnet(&i,
						     v6 ? VIRTIO_NET_HDR_GSO_TCPV6
							: VIRTIO_NET_HDR_GSO_TCPV4,
						     1300),
				      back;
		uint32_t len = send_super(&a, &i, &h);

		assert_int_equal(a.wire.n, (60000 + 1299) / 1300);
		for (unsigned n = 0; n < a.wire.n; n++) {
			assert_true(a.wire.len[n] <= 1500 - 28);
			assert_int_equal(a.wire.data[n][0], MVPN_TUNNEL);
			assert_int_equal(a.wire.data[n][1], MVPN_F_CSUM_PARTIAL);
		}
		deliver(&a, &b);
		assert_int_equal(stack(&b, &back), len);
		assert_memory_equal(got, built, len);
		assert_memory_equal(&back, &h, sizeof(h));
	}
	assert_int_equal(counter(&b, DP_C_RX_PACKETS), 2 * ((60000 + 1299) / 1300));
	assert_int_equal(stats(&b).rx_packets, counter(&b, DP_C_RX_PACKETS));
}

/* the path decides, at both ends: what leaves with an MSS that does not fit, and what comes with one */
static void mss_of_a_connection_fits(void **state)
{
	struct inner i = {INNER_TCP};
	struct virtio_net_hdr h, back;
	size_t len;

	i.flags = TCP_F_SYN;
	h = inner_vnet(&i, VIRTIO_NET_HDR_GSO_NONE, 0);
	for (unsigned open_side = 0; open_side < 2; open_side++) {
		struct kt_endpoint small = {.to = open_side ? ep_a : ep_b, .mtu = 1400},
				   large = {.to = open_side ? ep_b : ep_a, .mtu = 9000};

		assert_int_equal(kt_peer_set_endpoint(open_side ? b.kt : a.kt,
						      open_side ? PEER_A : PEER_B, &small),
				 0);
		assert_int_equal(kt_peer_set_endpoint(open_side ? a.kt : b.kt,
						      open_side ? PEER_B : PEER_A, &large),
				 0);
		len = inner_build(a.w->packet, &i, true);
		memcpy(a.w->packet + 40, "\2\4\x05\xb4\1\1\1\1\1\1\1\1", 12);
		seal_super(a.w, &h, (size_t)len);
		deliver(&a, &b);
		assert_int_equal(stack(&b, &back), len);
		assert_int_equal(get16(got + 42), 1400 - MVPN_OVERHEAD_IP4 - 40);
		a.wire.n = 0;
	}
}

static void nothing_of_it_is_readable(void **state)
{
	struct inner i = small();
	struct virtio_net_hdr h = inner_vnet(&i, VIRTIO_NET_HDR_GSO_NONE, 0);
	uint32_t len = send_super(&a, &i, &h);

	assert_int_equal(a.wire.n, 1);
	for (uint32_t at = 0; at + 8 <= len; at++)
		assert_null(memmem(a.wire.data[0], a.wire.len[0], built + at, 8));
}

static void generation_by_packets_and_its_end(void **state)
{
	struct kt_tx_lane *l = &a.s->tx[0];
	struct dp_event e;

	l->counter = MVPN_GEN_PACKETS;
	send_small(&a);
	assert_int_equal(l->gen, 1);
	l->counter = 1ULL << 63;
	send_small(&a);
	assert_int_equal(a.wire.n, 1); /* never a nonce that could come again */
	assert_true(event(&a, DP_EV_REKEY, &e));
	assert_int_equal(e.peer, PEER_B);
}

/* the settings: a generation by fewer packets, a session by so many, but not at once */
static void bounds_that_are_set(void **state)
{
	struct kt_tx_lane *l = &a.s->tx[0];
	struct dp_event e;

	a.s->ratchet_packets = MVPN_GEN_PACKETS_MIN;
	a.s->rekey_packets = 3 * MVPN_GEN_PACKETS_MIN;
	a.s->rekey_from_ns = a.w->now + SECOND;
	l->counter = MVPN_GEN_PACKETS_MIN - 1;
	send_small(&a);
	assert_int_equal(l->gen, 0);
	send_small(&a);
	assert_int_equal(l->gen, 1);
	l->counter = 3 * MVPN_GEN_PACKETS_MIN;
	send_small(&a);
	assert_false(event(&a, DP_EV_REKEY, &e));
	a.w->now += SECOND;
	send_small(&a);
	assert_true(event(&a, DP_EV_REKEY, &e));
	assert_int_equal(e.rx_spi, a.s->rx_spi);
	assert_int_equal(a.wire.n, 4); /* it goes on with what it has */
}

/* generations are few: the next session is asked for before they end */
static void generations_end(void **state)
{
	struct kt_tx_lane *l = &a.s->tx[0];
	struct dp_event e;

	l->gen = UINT16_MAX - MVPN_GEN_SPARE;
	send_small(&a);
	assert_int_equal(a.wire.n, 1);
	assert_true(event(&a, DP_EV_REKEY, &e));
	l->gen = UINT16_MAX;
	l->gen_first = 0;
	l->counter = MVPN_GEN_PACKETS;
	send_small(&a);
	assert_int_equal(a.wire.n, 1);
}

static void held_until_there_is_a_session(void **state)
{
	struct virtio_net_hdr h;
	struct dp_event e;

	kt_session_disarm_tx(a.kt, a.s);
	for (unsigned n = 0; n < MVPN_HOLD_FLOW_PACKETS + 5; n++)
		send_small(&a);
	assert_int_equal(a.wire.n, 0);
	assert_int_equal(counter(&a, DP_C_HELD), MVPN_HOLD_FLOW_PACKETS);
	assert_int_equal(counter(&a, DP_C_HELD_DROP_FULL), 5);
	assert_true(event(&a, DP_EV_WANT, &e));
	assert_int_equal(e.peer, PEER_B);
	assert_false(event(&a, DP_EV_WANT, &e)); /* asked once */
	a.w->now += MVPN_WANT_GAP_MS * 1000000ULL;
	send_small(&a);
	assert_true(event(&a, DP_EV_WANT, &e)); /* and again */

	kt_session_arm_tx(a.kt, a.s);
	seal_flush_held(a.w, PEER_B);
	assert_int_equal(a.wire.n, MVPN_HOLD_FLOW_PACKETS);
	assert_int_equal(hold_count(a.w->hold), 0);
	deliver(&a, &b);
	assert_true(stack(&b, &h));
}

/* the session is there, and the worker has not been told to send what it holds: nothing overtakes that */
static void held_goes_first(void **state)
{
	struct inner i = {INNER_UDP};
	struct virtio_net_hdr h = inner_vnet(&i, VIRTIO_NET_HDR_GSO_NONE, 0);

	kt_session_disarm_tx(a.kt, a.s);
	for (i.payload = 100; i.payload < 105; i.payload++)
		send_super(&a, &i, &h);
	assert_int_equal(a.wire.n, 0);
	kt_session_arm_tx(a.kt, a.s);
	for (; i.payload < 107; i.payload++)
		send_super(&a, &i, &h);
	assert_int_equal(hold_count(a.w->hold), 0);
	assert_int_equal(a.wire.n, 7);
	for (unsigned n = 1; n < a.wire.n; n++)
		assert_int_equal(a.wire.len[n], a.wire.len[0] + n);
	seal_flush_held(a.w, PEER_B);
	assert_int_equal(a.wire.n, 7);
	assert_int_equal(counter(&a, DP_C_HELD_SENT), 6);
}

/* what waits for one peer is not sent to it when the prefix has become another's */
static void held_for_the_owner_alone(void **state)
{
	struct lpm *lpm;

	kt_session_disarm_tx(a.kt, a.s);
	send_small(&a);
	assert_int_equal(lpm_new(&lpm), 0);
	kt_set_prefixes(a.kt, lpm);
	kt_session_arm_tx(a.kt, a.s);
	seal_flush_held(a.w, PEER_B);
	assert_int_equal(a.wire.n, 0);
	assert_int_equal(hold_count(a.w->hold), 0);
	assert_int_equal(counter(&a, DP_C_DROP_NO_PEER), 1);
}

/* a worker without a lane of its own must not use another's */
static void no_lane_no_packet(void **state)
{
	struct dp_event e;

	a.w->index = 1;
	send_small(&a);
	assert_int_equal(a.wire.n, 0);
	assert_int_equal(counter(&a, DP_C_HELD), 1);
	assert_true(event(&a, DP_EV_REKEY, &e));
}

static void refused_is_answered(void **state)
{
	struct virtio_net_hdr h;
	size_t len;

	kt_session_disarm_tx(a.kt, a.s);
	send_small(&a);
	seal_drop_held(a.w, PEER_B, true);
	len = stack(&a, &h);
	assert_true(len > 28 && got[9] == IPPROTO_ICMP && got[20] == 3 && got[21] == 13);
	assert_null(inner_fault(got, len, false));
	assert_int_equal(inner_sum(got + 20, len - 20, 0), 0xffff);
	assert_memory_equal(got + 28, built, len - 28);
	atomic_store(&kt_lookup_peer(a.kt, PEER_B)->denied, true);
	send_small(&a);
	assert_true(stack(&a, &h));
	assert_int_equal(counter(&a, DP_C_HELD_DROP_DENIED), 2);
	assert_int_equal(counter(&a, DP_C_ICMP_SENT), 2);
	for (unsigned n = 0; n < 2 * MVPN_ICMP_RATE; n++)
		send_small(&a);
	assert_int_equal(counter(&a, DP_C_ICMP_SENT),
			 MVPN_ICMP_RATE); /* at one instant, a second's worth */
}

static void too_big_is_answered(void **state)
{
	for (unsigned v6 = 0; v6 < 2; v6++) {
		struct inner i = {INNER_UDP, .v6 = v6, .frag = IP4_DF, .payload = 1440};
		struct virtio_net_hdr h = inner_vnet(&i, VIRTIO_NET_HDR_GSO_NONE, 0);
		size_t len;

		send_super(&a, &i, &h);
		assert_int_equal(a.wire.n, 0);
		len = stack(&a, &h);
		assert_true(len > 48);
		if (v6) {
			assert_int_equal(got[6], IPPROTO_ICMPV6);
			assert_int_equal(got[40], 2);
			assert_int_equal(get32(got + 44), 1440);
			assert_int_equal(inner_sum(got + 40, len - 40, inner_pseudo(got, len - 40)),
					 0xffff);
		} else {
			assert_int_equal(get16(got + 20), 0x0304);
			assert_int_equal(get16(got + 26), 1440);
		}
	}
	assert_int_equal(counter(&a, DP_C_DROP_TOO_BIG), 2);
}

/* RFC 4443 §2.4(e): never about an error, a redirect or a multicast, also behind extension headers */
static void icmp_is_not_answered_to_all(void **state)
{
	static const struct {
		uint8_t next, ext_next, type, dst;
		uint16_t frag;
		bool answered;
	} t[] = {
		{IPPROTO_UDP, 0, 1, 0xfd, 0, true},
		{IPPROTO_UDP, 0, 1, 0xff, 0, false},
		{IPPROTO_ICMPV6, 0, 128, 0xfd, 0, true},
		{IPPROTO_ICMPV6, 0, 1, 0xfd, 0, false},
		{IPPROTO_ICMPV6, 0, 137, 0xfd, 0, false},
		{IPPROTO_DSTOPTS, IPPROTO_ICMPV6, 128, 0xfd, 0, true},
		{IPPROTO_DSTOPTS, IPPROTO_ICMPV6, 2, 0xfd, 0, false},
		{IPPROTO_FRAGMENT, IPPROTO_UDP, 0, 0xfd, 1, true},
		{IPPROTO_FRAGMENT, IPPROTO_UDP, 0, 0xfd, 8, false},
		{IPPROTO_FRAGMENT, IPPROTO_ICMPV6, 1, 0xfd, 1, false},
	};
	static uint8_t out[ICMP_ERROR_MAX_B];

	for (unsigned i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		uint8_t d[80] = {0x60, [IP6_NEXT] = t[i].next, [IP6_SRC] = 0xfd};
		bool ext = t[i].next == IPPROTO_DSTOPTS || t[i].next == IPPROTO_FRAGMENT;
		struct packet p;

		put16(d + IP6_LEN, 40);
		d[IP6_DST] = t[i].dst;
		d[40] = ext ? t[i].ext_next : t[i].type;
		put16(d + 42, t[i].frag);
		d[48] = t[i].type;
		assert_int_equal(packet_parse(&p, d, sizeof(d)), 0);
		assert_int_equal(icmp_error(out, &p, ICMP_E_TOO_BIG, 1400) > 0, t[i].answered);
	}
}

static void nobodys_and_malformed(void **state)
{
	struct virtio_net_hdr h = {0};
	struct inner i = small();
	uint32_t len = inner_build(a.w->packet, &i, true);

	put32(a.w->packet + 16, 0x0a000063);
	seal_super(a.w, &h, len);
	assert_int_equal(counter(&a, DP_C_DROP_NO_PEER), 1);
	seal_super(a.w, &h, len - 1);
	seal_super(a.w, &h, 3);
	h.gso_type = 77;
	put32(a.w->packet + 16, 0x0a000002);
	seal_super(a.w, &h, len);
	assert_int_equal(counter(&a, DP_C_DROP_MALFORMED_TAP), 3);
	assert_int_equal(a.wire.n, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(super_packets_arrive_whole),	  T(mss_of_a_connection_fits),
		T(nothing_of_it_is_readable),	  T(generation_by_packets_and_its_end),
		T(bounds_that_are_set),		  T(generations_end),
		T(held_until_there_is_a_session), T(held_goes_first),
		T(held_for_the_owner_alone),	  T(no_lane_no_packet),
		T(refused_is_answered),		  T(too_big_is_answered),
		T(icmp_is_not_answered_to_all),	  T(nobodys_and_malformed),
	};

	return MVPN_RUN(tests);
}
