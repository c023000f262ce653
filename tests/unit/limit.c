/* SPDX-License-Identifier: BSD-2-Clause */
/* Sessions whose packets have classes: the outer DSCP, and what a limit lets by at either end. */
#include "sides.h"

#include "../../keyd/dp/class.h"
#include "mvpn/auth.h"

#define MS 1000000ULL
#define EF 46

static void classes(const struct mvpn_classes *c)
{
	kt_session_classes(a.s, kt_classes_new(c, 0));
	kt_session_classes(b.s, kt_classes_new(c, 1));
	a.w->now = b.w->now = mono_ns();
}

/* TCP port 80 at B has `of`, what else there is `rest` */
static void serve(struct mvpn_class of, struct mvpn_class rest)
{
	const struct mvpn_service web = {IPPROTO_TCP, 80, 80};
	struct mvpn_classes c;

	mvpn_classes_init(&c);
	assert_int_equal(mvpn_classes_add(&c, &of, &web, 1, 2), 0);
	assert_int_equal(mvpn_classes_add(&c, &rest, NULL, 0, 3), 0);
	classes(&c);
}

static const struct mvpn_class plain = {MVPN_DSCP_NETWORK, 0, 0};

/* all that went out had this TOS, and a copy of it arrives at the stack */
static void expect_tos(struct side *from, struct side *to, uint8_t tos)
{
	struct virtio_net_hdr h;

	assert_true(from->wire.n > 0);
	for (unsigned i = 0; i < from->wire.n; i++)
		assert_int_equal(from->wire.tos[i], tos);
	deliver(from, to);
	assert_true(stack(to, &h));
}

static void send_tos(bool v6, uint16_t dport, uint8_t tos, uint8_t want)
{
	struct inner i = {INNER_TCP, .v6 = v6, .payload = 4000, .tos = tos};
	struct virtio_net_hdr h =
		inner_vnet(&i, v6 ? VIRTIO_NET_HDR_GSO_TCPV6 : VIRTIO_NET_HDR_GSO_TCPV4, 1300);

	i.dport = dport;
	send_super(&a, &i, &h);
	expect_tos(&a, &b, want);
}

static void outer_dscp(void **state)
{
	serve((struct mvpn_class){EF, 0, 0}, (struct mvpn_class){MVPN_DSCP_COPY, 0, 0});
	for (unsigned v6 = 0; v6 < 2; v6++) {
		kt_set_options(a.kt, MVPN_OPT_DSCP_CLEAR);
		/* every segment of a super-packet; ECN is the inner packet's */
		send_tos(v6, 80, 0, EF << 2);
		send_tos(v6, 80, 0x29, EF << 2 | 1);
		send_tos(v6, 81, 0x2a, 0x2a);
		kt_set_options(a.kt, 0);
		send_tos(v6, 80, 0x29, EF << 2 | 1);
	}
}

static void the_network_s_where_no_class_says(void **state)
{
	serve(plain, (struct mvpn_class){0, 0, 0});
	kt_set_options(a.kt, MVPN_OPT_DSCP_CLEAR);
	send_tos(false, 80, 0x2a, 2);
	kt_set_options(a.kt, 0);
	send_tos(false, 80, 0x2a, 0x2a);
	send_tos(false, 81, 0x2a, 2);
}

/* an answer has its service's class, and so has a fragment, of which nobody sees the ports */
static void answers_and_fragments(void **state)
{
	struct inner i = {INNER_TCP, .payload = 64};
	struct packet p;

	serve((struct mvpn_class){EF, 0, 0}, plain);
	i.sport = 80;
	i.dport = 4000;
	assert_int_equal(packet_parse(&p, built, inner_build(built, &i, false)), 0);
	assert_ptr_equal(class_packet(b.s, &p, true), &b.s->classes->of[0]);
	assert_ptr_equal(class_packet(a.s, &p, false), &a.s->classes->of[0]);
	assert_null(class_packet(a.s, &p, true)); /* from A's port 80: not B's service */
	i.frag = 100;
	i.sport = i.dport = 1;
	assert_int_equal(packet_parse(&p, built, inner_build(built, &i, false)), 0);
	assert_ptr_equal(class_packet(a.s, &p, true), &a.s->classes->of[0]);
	assert_ptr_equal(class_packet(b.s, &p, true), &b.s->classes->of[0]);
}

/* a turn of the worker at `now`: what waits and may go is sent; bytes */
static uint64_t shaped(uint64_t now)
{
	uint64_t before = stats(&a).tx_bytes;

	a.w->now = now;
	seal_shaped(a.w);
	return stats(&a).tx_bytes - before;
}

static void limit_shapes(void **state)
{
	struct mvpn_class of = {EF, 8000, 32 << 10}; /* 1000 bytes a ms */
	uint64_t start, at, bytes = 0, last = 0;

	serve(of, plain);
	start = a.w->now;
	/* the bucket of a new session is empty, so only the first one goes at once */
	for (unsigned i = 0; i < 100; i++)
		send_small(&a);
	assert_int_equal(a.wire.n, 1);
	assert_int_equal(counter(&a, DP_C_SHAPED), 99);
	assert_int_equal(counter(&a, DP_C_DROP_LIMIT), 0);
	for (at = start; bytes < 99 * 252; at += MS) {
		bytes += shaped(at);
		last = at;
	}
	assert_int_equal(bytes, 99 * 252);
	assert_in_range((last - start) / MS, 24, 26);
	assert_null(shaper_queue(a.w->shaper, 0));
	for (unsigned i = 0; i < a.wire.n; i++)
		assert_int_equal(a.wire.tos[i], EF << 2);
	/* counters of sealed packets rise in the order in which they came */
	deliver(&a, &b);
	assert_int_equal(counter(&b, DP_C_RX_PACKETS), 100);
	/* after a pause a burst goes at once */
	a.w->now = last + 10 * SECOND;
	for (unsigned i = 0; i < 200; i++)
		send_small(&a);
	assert_in_range(a.wire.n, (32 << 10) / 252, (32 << 10) / 252 + 2);
}

static void what_waits_is_bounded(void **state)
{
	struct mvpn_class of = {EF, 8000, 32 << 10};
	uint32_t most = class_queue_max(&(struct kt_class){.rate_kbit = 8000});

	assert_int_equal(most, 8000 * MVPN_LIMIT_QUEUE_MS / 8);
	serve(of, plain);
	for (unsigned i = 0; i < 1000; i++)
		send_small(&a);
	assert_int_equal(counter(&a, DP_C_SHAPED), (most + 251) / 252);
	assert_int_equal(counter(&a, DP_C_DROP_LIMIT), 999 - (most + 251) / 252);
	assert_int_equal(atomic_load(&a.s->classes->of[0].tx.dropped), 999 - (most + 251) / 252);
	/* others do not wait behind it */
	a.wire.n = 0;
	send_tos(false, 81, 0, 0);
}

/* the session ends while packets wait, the next has no limit: they go by that */
static void waits_across_sessions(void **state)
{
	struct mvpn_class of = {EF, 8000, 32 << 10};

	serve(of, plain);
	for (unsigned i = 0; i < 10; i++)
		send_small(&a);
	assert_int_equal(a.wire.n, 1);
	kt_session_disarm_tx(a.kt, a.s);
	shaped(a.w->now + SECOND);
	assert_int_equal(hold_count(a.w->hold), 9);
	free(a.s->classes);
	kt_session_classes(a.s, NULL);
	kt_session_arm_tx(a.kt, a.s);
	seal_flush_held(a.w, PEER_B);
	assert_int_equal(a.wire.n, 10);
}

/* two workers take from one bucket */
static void workers_share(void **state)
{
	struct mvpn_class of = {EF, 8000, 32 << 10};
	struct kt_class *c;
	uint64_t now;

	serve(of, plain);
	now = a.w->now + SECOND;
	c = &a.s->classes->of[0];
	assert_true(class_open_ns(c) <= now);
	class_sent(c, 32 << 10, now); /* the one's */
	assert_int_equal(class_open_ns(c), now);
	class_sent(c, 1000, now); /* the other's */
	assert_int_equal(class_open_ns(c), now + MS);
	/* more than a bucket is not saved */
	class_sent(c, 1000, now + 100 * SECOND);
	assert_int_equal(class_open_ns(c), now + 100 * SECOND - (32768 - 1000) * 1000ULL);
}

/* a sender that does not care: B takes what could have been bunched on the way, then no more than the rate */
static void receiver_polices(void **state)
{
	struct mvpn_class of = {EF, 8000, 32 << 10};
	uint64_t most = (32 << 10) + MVPN_LIMIT_SLACK_B + 1000 * MVPN_LIMIT_SLACK_MS, before, taken;
	struct virtio_net_hdr h;

	serve(of, plain);
	free(a.s->classes);
	kt_session_classes(a.s, NULL);
	for (unsigned i = 0; i < 40; i++) {
		struct inner big = {INNER_TCP, .payload = 60000};

		h = inner_vnet(&big, VIRTIO_NET_HDR_GSO_TCPV4, 1300);
		send_super(&a, &big, &h);
		deliver(&a, &b);
		while (stack(&b, &h))
			;
	}
	assert_in_range(stats(&b).rx_bytes, most, most * 16 / 15 + 1500);
	assert_true(counter(&b, DP_C_RX_LIMIT) > 0);
	assert_int_equal(atomic_load(&b.s->classes->of[0].rx.dropped), counter(&b, DP_C_RX_LIMIT));
	/* a second of the same */
	before = stats(&b).rx_bytes;
	for (unsigned i = 0; i < 5000; i++) {
		b.w->now += MS / 5;
		send_small(&a); /* 252 bytes in 0.2 ms: 1.26 times the rate */
		deliver(&a, &b);
		while (stack(&b, &h))
			;
	}
	taken = stats(&b).rx_bytes - before;
	assert_in_range(taken, 1000000, 1000000 * 17 / 15);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(outer_dscp),	    T(the_network_s_where_no_class_says),
		T(answers_and_fragments), T(limit_shapes),
		T(what_waits_is_bounded), T(waits_across_sessions),
		T(workers_share),   T(receiver_polices),
	};

	return MVPN_RUN(tests);
}
