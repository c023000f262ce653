/* SPDX-License-Identifier: BSD-2-Clause */
/* In: from the wire to the tap. */
#include "sides.h"
#include "../../keyd/dp/ecn.h"

static void tampered_and_replayed_are_refused(void **state)
{
	struct virtio_net_hdr h;

	send_small(&a);
	for (unsigned at = 0; at < a.wire.len[0];
	     at += 3) { /* every third byte: header fields, ciphertext, tag */
		a.wire.data[0][at] ^= 0x10;
		deliver_one(&a, &b, 0);
		a.wire.data[0][at] ^= 0x10;
	}
	open_finish(b.w);
	assert_int_equal(stack(&b, &h), 0);
	assert_false(atomic_load(&b.s->confirmed));
	assert_true(counter(&b, DP_C_RX_AUTH_FAIL) > 50);
	assert_true(counter(&b, DP_C_RX_UNKNOWN_SPI) && counter(&b, DP_C_RX_BAD_TYPE));

	deliver_one(&a, &b, 0);
	deliver_one(&a, &b, 0);
	open_finish(b.w);
	assert_true(stack(&b, &h));
	assert_int_equal(stack(&b, &h), 0);
	assert_int_equal(counter(&b, DP_C_RX_REPLAY), 1);
	a.wire.len[0] = MVPN_OVERHEAD - 1;
	deliver_one(&a, &b, 0);
	assert_int_equal(counter(&b, DP_C_RX_SHORT), 1);
}

/* bits that a later version may give a meaning */
static void lane_bits_that_must_be_zero(void **state)
{
	struct virtio_net_hdr h;

	send_small(&a);
	for (unsigned bit = 0x10; bit <= 0x40; bit <<= 1) {
		a.wire.data[0][1] ^= bit;
		deliver_one(&a, &b, 0);
		a.wire.data[0][1] ^= bit;
	}
	assert_int_equal(counter(&b, DP_C_RX_BAD_TYPE), 3);
	assert_int_equal(counter(&b, DP_C_RX_AUTH_FAIL), 0);
	deliver(&a, &b);
	assert_true(stack(&b, &h));
}

/* a peer that sends from an address that is not its own, or to one that is not ours */
static void crypto_routing(void **state)
{
	struct virtio_net_hdr h;

	/* out: the source is not in the session */
	mvpn_prefix_parse(&a.s->local[0], "10.0.0.7");
	send_small(&a);
	assert_int_equal(a.wire.n, 0);
	assert_int_equal(counter(&a, DP_C_DROP_BAD_SRC), 1);
	/* in: the same from a peer that does not check */
	mvpn_prefix_parse(&a.s->local[0], "10.0.0.1");
	mvpn_prefix_parse(&b.s->remote[0], "10.0.0.7");
	send_small(&a);
	deliver(&a, &b);
	mvpn_prefix_parse(&b.s->remote[0], "10.0.0.1");
	mvpn_prefix_parse(&b.s->local[0], "10.0.0.7");
	send_small(&a);
	deliver(&a, &b);
	assert_int_equal(stack(&b, &h), 0);
	assert_int_equal(counter(&b, DP_C_RX_BAD_INNER), 2);
	assert_int_equal(stats(&b).rx_bad_inner, 2);
}

static void generations(void **state)
{
	struct virtio_net_hdr h;

	send_small(&a);
	for (unsigned gen = 1; gen < 4; gen++) {
		a.w->now += (MVPN_GEN_S + 1) * SECOND;
		b.w->now = a.w->now;
		send_small(&a);
		assert_int_equal(a.s->tx[0].gen, gen);
		deliver_one(&a, &b,
			    gen == 1 ? 1
				     : 0); /* the first of generation 1 overtakes the last of 0 */
		if (gen == 1)
			deliver_one(&a, &b, 0);
		open_finish(b.w);
		a.wire.n = 0;
		assert_int_equal(b.s->rx[0].gen, gen);
		assert_true(stack(&b, &h));
	}
	assert_int_equal(counter(&b, DP_C_RX_AUTH_FAIL), 0);

	/* the old key is gone after its time */
	send_small(&a);
	a.w->now += (MVPN_GEN_S + 1) * SECOND;
	send_small(&a);
	deliver_one(&a, &b, 1);
	b.w->now += (MVPN_GEN_OLD_S + 1) * SECOND;
	deliver_one(&a, &b, 0);
	assert_int_equal(counter(&b, DP_C_RX_AUTH_FAIL), 1);
	assert_int_equal(b.s->rx[0].prev.suite, 0);
}

/* every packet of some generations is lost: the session is not */
static void lost_generations(void **state)
{
	struct virtio_net_hdr h;

	for (unsigned n = 0; n < 9; n++) {
		a.wire.n = 0;
		send_small(&a);
		a.w->now += (MVPN_GEN_S + 1) * SECOND;
	}
	assert_int_equal(a.s->tx[0].gen, 8);
	b.w->now = a.w->now;
	a.wire.data[0][20] ^= 1; /* forged: costs a search, and opens nothing */
	deliver_one(&a, &b, 0);
	assert_int_equal(b.s->rx[0].gen, 0);
	a.wire.data[0][20] ^= 1;
	deliver_one(&a, &b, 0); /* not searched for again so soon */
	assert_int_equal(b.s->rx[0].gen, 0);
	b.w->now += MVPN_GEN_SKIP_MS * 1000000ULL;
	deliver(&a, &b);
	assert_int_equal(b.s->rx[0].gen, 8);
	assert_true(stack(&b, &h));
	send_small(&a);
	deliver(&a, &b);
	assert_true(stack(&b, &h));
}

static void events_of_authentic_packets(void **state)
{
	struct wire_from elsewhere = {.ep = ep_a};
	struct dp_event e;

	send_small(&a);
	deliver_one(&a, &b, 0);
	assert_true(event(&b, DP_EV_CONFIRMED, &e));
	assert_int_equal(e.rx_spi, 0x00020002);
	assert_int_equal(e.peer, PEER_A);
	send_small(&a);
	send_small(&a);
	deliver_one(&a, &b, 2);
	assert_false(event(&b, DP_EV_ENDPOINT, &e));
	elsewhere.ep.port++;
	open_datagram(b.w, a.wire.data[1], a.wire.len[1],
		      &elsewhere); /* authentic, but an older one */
	assert_false(event(&b, DP_EV_ENDPOINT, &e));
	send_small(&a);
	open_datagram(b.w, a.wire.data[3], a.wire.len[3], &elsewhere);
	assert_true(event(&b, DP_EV_ENDPOINT, &e));
	assert_int_equal(e.from.port, elsewhere.ep.port);
	send_small(&a);
	open_datagram(b.w, a.wire.data[4], a.wire.len[4], &elsewhere);
	assert_false(event(&b, DP_EV_ENDPOINT, &e)); /* once a second */
	open_finish(b.w);
}

static int two_lanes(void **state)
{
	lanes = 2;
	setup(state);
	lanes = 1;
	return 0;
}

/* a peer receives on the port that it sends lane 0 from; of the other lanes only the address counts */
static void endpoint_by_lane(void **state)
{
	struct wire_from from = {.ep = ep_a};
	struct kt_endpoint ep = {.to = ep_b};
	struct dp_event e;

	a.w->index = 1;
	from.ep.port++;
	send_small(&a);
	assert_int_equal(a.wire.data[0][1] & MVPN_LANE_MASK, 1);
	open_datagram(b.w, a.wire.data[0], a.wire.len[0], &from);
	assert_true(event(&b, DP_EV_CONFIRMED, &e));
	assert_false(event(&b, DP_EV_ENDPOINT, &e));
	/* nor is it answered to that port */
	assert_true(seal_ctrl(a.w, a.s, &ep, MVPN_CTRL_PING, 1, 0));
	open_datagram(b.w, a.wire.data[1], a.wire.len[1], &from);
	assert_int_equal(b.wire.n, 1);
	assert_int_equal(b.wire.to[0].port, ep_a.port);
	mvpn_addr_parse(&from.ep.addr, "192.0.2.9");
	send_small(&a);
	open_datagram(b.w, a.wire.data[2], a.wire.len[2], &from);
	assert_true(event(&b, DP_EV_ENDPOINT, &e));
	assert_int_equal(e.from.port, ep_a.port);
	assert_memory_equal(&e.from.addr, &from.ep.addr, sizeof(from.ep.addr));
	open_finish(b.w);
}

static void control(void **state)
{
	struct kt_endpoint ep = {.to = ep_b};
	struct virtio_net_hdr h;
	struct dp_event e;

	assert_true(seal_ctrl(a.w, a.s, &ep, MVPN_CTRL_PING, 0x1122334455667788, 1000));
	deliver(&a, &b);
	assert_int_equal(b.wire.n, 1);
	assert_true(b.wire.len[0] ==
		    MVPN_OVERHEAD + sizeof(struct mvpn_ctrl)); /* padding dropped */
	assert_int_equal(b.wire.to[0].port, ep_a.port);
	deliver(&b, &a);
	assert_true(event(&a, DP_EV_PONG, &e));
	assert_true(e.token == 0x1122334455667788);
	assert_true(seal_ctrl(a.w, a.s, &ep, MVPN_CTRL_REACH, MVPN_REACH_NOT | 5, 0));
	deliver(&a, &b);
	assert_true(event(&b, DP_EV_REACH, &e));
	assert_true(e.token == (MVPN_REACH_NOT | 5));
	assert_int_equal(e.peer, PEER_A);
	assert_true(seal_ctrl(a.w, a.s, &ep, MVPN_CTRL_CLOSE, 0, 0));
	deliver(&a, &b);
	assert_true(event(&b, DP_EV_CLOSE, &e));
	assert_int_equal(stack(&b, &h), 0);
	assert_int_equal(counter(&b, DP_C_RX_BAD_INNER), 0);
}

static void send_tos(struct side *me, bool v6, uint8_t tos)
{
	struct inner i = {INNER_TCP, .v6 = v6, .payload = 2600, .tos = tos};
	struct virtio_net_hdr h =
		inner_vnet(&i, v6 ? VIRTIO_NET_HDR_GSO_TCPV6 : VIRTIO_NET_HDR_GSO_TCPV4, 1300);

	send_super(me, &i, &h);
}

/* RFC 6040: the outer field is the inner one's copy, and what the path makes of it is handed in */
static void congestion_on_the_way(void **state)
{
	struct virtio_net_hdr h;

	for (unsigned v6 = 0; v6 < 2; v6++) {
		struct packet p;

		send_tos(&a, v6, 0xb8 | ECN_ECT0);
		assert_int_equal(a.wire.n, 2);
		assert_int_equal(a.wire.tos[0], 0xb8 | ECN_ECT0);
		a.wire.tos[1] |=
			ECN_CE; /* a router is congested; its mark is kept apart from the rest */
		deliver(&a, &b);
		for (unsigned n = 0; n < 2; n++) {
			size_t len = stack(&b, &h);

			assert_int_equal(packet_parse(&p, got, len), 0);
			assert_int_equal(packet_tos(&p), 0xb8 | (n ? ECN_CE : ECN_ECT0));
			assert_int_equal(h.gso_type, VIRTIO_NET_HDR_GSO_NONE);
			assert_null(inner_fault(got, len, true));
		}
		assert_int_equal(counter(&b, DP_C_RX_ECN_CE), v6 + 1);

		send_tos(&a, v6, 0);
		a.wire.tos[0] = ECN_CE; /* the ends know no ECN: the loss tells them */
		a.wire.tos[1] = ECN_ECT1;
		deliver(&a, &b);
		assert_int_equal(packet_parse(&p, got, stack(&b, &h)), 0);
		assert_int_equal(packet_tos(&p), 0);
		assert_int_equal(stack(&b, &h), 0);
		assert_int_equal(counter(&b, DP_C_RX_ECN_DROP), v6 + 1);
		assert_int_equal(counter(&b, DP_C_RX_ECN_ODD), 2 * (v6 + 1));
		assert_int_equal(counter(&b, DP_C_RX_PACKETS), 3 * (v6 + 1));
	}
}

/* behind extension headers of IPv6: cut, never joined, and in order with what has none */
static void options_of_ipv6(void **state)
{
	const struct inner tcp = {INNER_TCP, .v6 = true, .payload = 2600},
			   udp = {INNER_UDP, .v6 = true, .payload = 2600};

	for (unsigned k = 0; k < 2; k++) {
		struct inner i = k ? udp : tcp;
		struct virtio_net_hdr h;

		for (i.ip_options = 0; i.ip_options <= 24; i.ip_options += 24) {
			h = inner_vnet(&i, k ? TAP_GSO_UDP_L4 : VIRTIO_NET_HDR_GSO_TCPV6, 1300);
			send_super(&a, &i, &h);
			i.seq += i.payload;
		}
		deliver(&a, &b);
		assert_int_equal(stack(&b, &h), (k ? 48 : 72) + 2600);
		for (unsigned n = 0; n < 2; n++) {
			size_t len = stack(&b, &h);

			assert_int_equal(len, (k ? 72 : 96) + 1300);
			assert_int_equal(h.flags, VIRTIO_NET_HDR_F_NEEDS_CSUM);
			assert_int_equal(h.gso_type, VIRTIO_NET_HDR_GSO_NONE);
			assert_int_equal(h.csum_start, 64);
			assert_null(inner_fault(got, len, true));
		}
		assert_int_equal(stack(&b, &h), 0);
	}
}

static void control_packets_are_not_ect(void **state)
{
	struct kt_endpoint ep = {.to = ep_b};
	struct dp_event e;

	assert_true(seal_ctrl(a.w, a.s, &ep, MVPN_CTRL_PING, 1, 0));
	assert_int_equal(a.wire.tos[0], 0);
	a.wire.tos[0] = ECN_CE;
	deliver(&a, &b);
	assert_int_equal(b.wire.tos[0], 0);
	deliver(&b, &a);
	assert_true(event(&a, DP_EV_PONG, &e));
}

/* workers that came after the session have no lane of it: a PING that reaches one makes it anew */
static void ping_without_a_lane(void **state)
{
	struct kt_endpoint ep = {.to = ep_b};
	struct dp_event e;

	b.w->index = b.w->relayed_by = 1;
	assert_true(seal_ctrl(a.w, a.s, &ep, MVPN_CTRL_PING, 1, 0));
	deliver(&a, &b);
	assert_int_equal(b.wire.n, 0);
	assert_true(event(&b, DP_EV_REKEY, &e));
	assert_int_equal(e.peer, PEER_A);
}

/* packets of no session: the answer to our echo is handed on as it is, whatever else looks like one is not */
static void answers_to_echoes_are_handed_on(void **state)
{
	struct mvpn_hdr h = {.type = MVPN_ECHO_REPLY, .spi = htobe32(77)};
	struct wire_from from = {.ep = ep_a};
	uint8_t p[MVPN_ECHO_B + 1] = {0};
	struct dp_event e;

	memcpy(p, &h, sizeof(h));
	p[MVPN_ECHO_B - 1] = 9;
	open_datagram(b.w, p, MVPN_ECHO_B, &from);
	assert_false(event(&b, DP_EV_ECHO, &e)); /* we have asked nothing */
	kt_set_echo(b.kt, 78);
	open_datagram(b.w, p, MVPN_ECHO_B, &from);
	kt_set_echo(b.kt, 77);
	open_datagram(b.w, p, MVPN_ECHO_B - 1, &from);
	open_datagram(b.w, p, MVPN_ECHO_B + 1, &from);
	assert_false(event(&b, DP_EV_ECHO, &e));
	open_datagram(b.w, p, MVPN_ECHO_B, &from);
	open_datagram(b.w, p, MVPN_ECHO_B, &from); /* too soon */
	assert_true(event(&b, DP_EV_ECHO, &e));
	assert_memory_equal(e.data, p, MVPN_ECHO_B);
	assert_false(event(&b, DP_EV_ECHO, &e));
	assert_int_equal(counter(&b, DP_C_RX_ECHO), 2);
	assert_int_equal(counter(&b, DP_C_RX_BAD_TYPE), 4); /* those before */
	b.w->now += SECOND;
	open_datagram(b.w, p, MVPN_ECHO_B, &from);
	assert_true(event(&b, DP_EV_ECHO, &e));
}

/* what is another pair's goes on as it came, if it comes from the one end to the other, at the pair's rate; nothing else */
static void packets_of_others_are_passed_on(void **state)
{
	struct fwd_account account = {0};
	struct fwdtab *t = fwdtab_new(2);
	struct mvpn_hdr h = {.type = MVPN_TUNNEL, .lane = 3, .spi = htobe32(0x77)};
	struct wire_from from = {.ep = ep_a, .tos = 0x2a}, elsewhere = {.ep = ep_b};
	uint8_t p[1000] = {0};
	unsigned n;

	elsewhere.ep.port++;
	memcpy(p, &h, sizeof(h));
	memset(p + sizeof(h), 0xa5, sizeof(p) - sizeof(h));
	open_datagram(b.w, p, sizeof(p), &from);
	assert_int_equal(counter(&b, DP_C_RX_UNKNOWN_SPI), 1); /* there is no such pair */
	fwdtab_add(t, &(struct fwd_entry){.spi = 0x77, .rate_kbit = 8000, .from = ep_a, .to = ep_b, .account = &account});
	fwdtab_add(t, &(struct fwd_entry){.spi = 0x66, .end = 1, .rate_kbit = 8000, .from = ep_b, .account = &account});
	fwdtab_sort(t);
	kt_set_forwards(b.kt, t);
	open_datagram(b.w, p, sizeof(p), &from);
	assert_int_equal(b.wire.n, 1);
	assert_int_equal(b.wire.len[0], sizeof(p));
	assert_memory_equal(b.wire.data[0], p, sizeof(p));
	assert_int_equal(b.wire.to[0].port, ep_b.port);
	assert_memory_equal(&b.wire.to[0].addr, &ep_b.addr, sizeof(ep_b.addr));
	assert_int_equal(b.wire.tos[0], 0x2a);
	/* from elsewhere; to an end that has not proven where it is */
	open_datagram(b.w, p, sizeof(p), &elsewhere);
	h.spi = htobe32(0x66);
	memcpy(p, &h, sizeof(h));
	open_datagram(b.w, p, sizeof(p), &(struct wire_from){.ep = ep_b});
	assert_int_equal(b.wire.n, 1);
	assert_int_equal(counter(&b, DP_C_PASS_REFUSED), 2);
	h.spi = htobe32(0x77);
	memcpy(p, &h, sizeof(h));
	for (n = 1; !counter(&b, DP_C_PASS_LIMITED); n++) {
		b.wire.n = 0;
		open_datagram(b.w, p, sizeof(p), &from);
	}
	assert_int_equal(n - 1, MVPN_RELAY_BURST_MS); /* 1000 bytes a ms */
	assert_int_equal(counter(&b, DP_C_PASSED), MVPN_RELAY_BURST_MS);
	assert_int_equal(counter(&b, DP_C_PASSED_BYTES), MVPN_RELAY_BURST_MS * sizeof(p));
	assert_int_equal(account.packets, MVPN_RELAY_BURST_MS);
	assert_int_equal(account.limited, 1);
	assert_int_equal(counter(&b, DP_C_RX_UNKNOWN_SPI), 1);
}

/* and their questions where they are seen go to the main thread, but not as many as anybody likes to send */
static void questions_of_others_are_handed_on(void **state)
{
	struct fwd_account account = {0};
	struct fwdtab *t = fwdtab_new(1);
	struct mvpn_hdr h = {.type = MVPN_ECHO, .spi = htobe32(0x77)};
	struct wire_from from = {.ep = ep_a};
	uint8_t p[MVPN_ECHO_B] = {0};
	struct dp_event e;

	fwdtab_add(t, &(struct fwd_entry){.spi = 0x77, .account = &account});
	kt_set_forwards(b.kt, t);
	memcpy(p, &h, sizeof(h));
	open_datagram(b.w, p, sizeof(p), &from);
	open_datagram(b.w, p, sizeof(p), &from);
	assert_true(event(&b, DP_EV_ASKED, &e));
	assert_memory_equal(e.data, p, sizeof(p));
	assert_int_equal(e.from.port, ep_a.port);
	assert_false(event(&b, DP_EV_ASKED, &e));
	assert_int_equal(counter(&b, DP_C_RX_QUESTION), 2);
	p[7] ^= 1; /* another id */
	open_datagram(b.w, p, sizeof(p), &from);
	assert_false(event(&b, DP_EV_ASKED, &e));
	assert_int_equal(counter(&b, DP_C_RX_BAD_TYPE), 1);
	/* an answer to a question about a session of ours: of the device that relays it */
	h = (struct mvpn_hdr){.type = MVPN_ECHO_REPLY, .spi = htobe32(b.s->rx_spi)};
	memcpy(p, &h, sizeof(h));
	open_datagram(b.w, p, sizeof(p), &from);
	assert_true(event(&b, DP_EV_ECHO, &e));
}

static void punches_are_counted(void **state)
{
	struct mvpn_hdr h = {.type = MVPN_PUNCH};
	struct wire_from from = {.ep = ep_a};
	uint8_t p[sizeof(h) + 1] = {0};

	memcpy(p, &h, sizeof(h));
	open_datagram(b.w, p, sizeof(h), &from);
	assert_int_equal(counter(&b, DP_C_RX_PUNCH), 1);
	open_datagram(b.w, p, sizeof(h) + 1, &from);
	open_datagram(b.w, p, sizeof(h) - 1, &from);
	assert_int_equal(counter(&b, DP_C_RX_PUNCH), 1);
	assert_int_equal(counter(&b, DP_C_RX_SHORT), 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(answers_to_echoes_are_handed_on),
		T(packets_of_others_are_passed_on),
		T(questions_of_others_are_handed_on),
		T(punches_are_counted),
		T(tampered_and_replayed_are_refused),
		T(lane_bits_that_must_be_zero),
		T(crypto_routing),
		T(generations),
		T(lost_generations),
		T(events_of_authentic_packets),
		cmocka_unit_test_setup_teardown(endpoint_by_lane, two_lanes, teardown),
		T(control),
		T(congestion_on_the_way),
		T(options_of_ipv6),
		T(control_packets_are_not_ect),
		T(ping_without_a_lane),
	};

	return MVPN_RUN(tests);
}
