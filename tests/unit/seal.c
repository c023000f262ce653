/* SPDX-License-Identifier: BSD-2-Clause */
/* Two workers without threads, a wire that is an array between them, and taps that are socket pairs. */
#include "test.h"

#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "inner.h"
#include "crypto.h"
#include "loop.h"
#include "../../keyd/dp/worker.h"

#define SECOND 1000000000ULL
#define WIRE_MAX 256
#define PEER_B 5 /* B as A knows it */
#define PEER_A 6

struct fake_wire {
	struct wire w;
	unsigned n;
	size_t len[WIRE_MAX];
	uint8_t data[WIRE_MAX][WIRE_PAYLOAD_MAX];
	struct mvpn_endpoint to[WIRE_MAX];
};

struct side {
	struct worker *w;
	struct keytab *kt;
	struct kt_session *s;
	struct fake_wire wire;
	int tap; /* the stack's end */
};
static struct side a, b;
static struct mvpn_endpoint ep_a, ep_b;
static uint8_t got[70000], built[70000];

static uint8_t *fake_reserve(struct wire *w, const struct kt_endpoint *ep, size_t len)
{
	struct fake_wire *f = (struct fake_wire *)w;

	if (f->n == WIRE_MAX || len > WIRE_PAYLOAD_MAX)
		return NULL;
	f->to[f->n] = ep->to;
	return f->data[f->n];
}
static void fake_commit(struct wire *w, size_t len)
{
	struct fake_wire *f = (struct fake_wire *)w;

	f->len[f->n++] = len;
}
static const struct wire_ops fake_ops = { .name = "fake", .reserve = fake_reserve, .commit = fake_commit };

/* ---- making ---- */
static void arm(struct side *me, uint32_t peer, uint32_t rx, uint32_t tx, const char *local, const char *remote, uint8_t k)
{
	struct intro_keys keys = { .suite = MVPN_CHACHA20_POLY1305, .tx_lanes = 1, .rx_lanes = 1, .peer_spi = tx,
				   .tx = { k }, .rx = { (uint8_t)(3 - k) } };
	static const uint8_t id[MVPN_ID_LEN];
	struct mvpn_prefix l[2], r[2];
	struct kt_endpoint ep = { .to = k == 1 ? ep_b : ep_a };
	struct lpm *lpm;

	assert_int_equal(mvpn_prefix_parse(&l[0], local), 0);
	assert_int_equal(mvpn_prefix_parse(&r[0], remote), 0);
	assert_int_equal(mvpn_prefix_parse(&l[1], k == 1 ? "fd01::1" : "fd02::2"), 0);
	assert_int_equal(mvpn_prefix_parse(&r[1], k == 1 ? "fd02::2" : "fd01::1"), 0);
	assert_int_equal(lpm_new(&lpm), 0);
	assert_int_equal(lpm_set(lpm, &r[0], peer), 0);
	assert_int_equal(lpm_set(lpm, &r[1], peer), 0);
	assert_int_equal(kt_set_prefixes(me->kt, lpm), 0);
	assert_int_equal(kt_session_new(me->kt, &me->s, id, peer, rx, &keys, l, 2, r, 2), 0);
	assert_int_equal(kt_peer_set_endpoint(me->kt, peer, &ep), 0);
	kt_session_arm_rx(me->kt, me->s);
	kt_session_arm_tx(me->kt, me->s);
}

static void make(struct side *me)
{
	int fd[2], size = 4 << 20;
	struct worker *w = aligned_alloc(64, (sizeof(*w) + 63) & ~63ul);

	memset(w, 0, sizeof(*w));
	memset(me, 0, sizeof(*me));
	assert_int_equal(kt_new(&me->kt), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, fd), 0);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(setsockopt(fd[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)), 0);
	me->tap = fd[1];
	me->w = w;
	me->wire.w.ops = &fake_ops;
	w->kt = me->kt;
	w->now = mono_ns();
	w->tap.fd = fd[0];
	w->tap.uso = true;
	w->udp = &me->wire.w;
	w->event_fd = eventfd(0, EFD_NONBLOCK);
	w->packet = (uint8_t *)malloc(TAP_HEADROOM + TAP_PACKET_MAX) + TAP_HEADROOM;
	w->scratch = (uint8_t *)malloc(TAP_HEADROOM + WIRE_PAYLOAD_MAX) + TAP_HEADROOM;
	assert_int_equal(hold_new(&w->hold), 0);
	assert_int_equal(coalesce_init(&w->coalescer, true, worker_tap_write, w), 0);
}

static int setup(void **state)
{
	assert_int_equal(mvpn_crypto_init(), 0);
	assert_int_equal(aead_init(), 0);
	mvpn_endpoint_parse(&ep_a, "192.0.2.1:7469", 0);
	mvpn_endpoint_parse(&ep_b, "192.0.2.2:7469", 0);
	make(&a);
	make(&b);
	arm(&a, PEER_B, 0x00010001, 0x00020002, "10.0.0.1", "10.0.0.2", 1);
	arm(&b, PEER_A, 0x00020002, 0x00010001, "10.0.0.2", "10.0.0.1", 2);
	return 0;
}

static void unmake(struct side *me)
{
	struct worker *w = me->w;

	close(me->tap);
	close(w->tap.fd);
	close(w->event_fd);
	free(w->packet - TAP_HEADROOM);
	free(w->scratch - TAP_HEADROOM);
	hold_free(w->hold);
	coalesce_free(&w->coalescer);
	free(w);
	kt_free(me->kt);
}

static int teardown(void **state)
{
	unmake(&a);
	unmake(&b);
	return 0;
}

/* ---- moving ---- */
static uint32_t send_super(struct side *me, const struct inner *i, const struct virtio_net_hdr *h)
{
	uint32_t len = inner_build(me->w->packet, i, h->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM);

	memcpy(built, me->w->packet, len);
	seal_super(me->w, h, len);
	return len;
}

static void deliver_one(struct side *from, struct side *to, unsigned n)
{
	uint8_t copy[WIRE_PAYLOAD_MAX];

	memcpy(copy, from->wire.data[n], from->wire.len[n]);
	open_datagram(to->w, copy, from->wire.len[n], to == &b ? &ep_a : &ep_b);
}

static void deliver(struct side *from, struct side *to)
{
	for (unsigned n = 0; n < from->wire.n; n++)
		deliver_one(from, to, n);
	from->wire.n = 0;
	open_finish(to->w);
}

/* what the stack gets next; 0 nothing */
static size_t stack(struct side *me, struct virtio_net_hdr *h)
{
	ssize_t n = read(me->tap, got, sizeof(got));

	if (n < 0)
		return 0;
	memcpy(h, got, sizeof(*h));
	memmove(got, got + sizeof(*h), (size_t)n - sizeof(*h));
	return (size_t)n - sizeof(*h);
}

static uint64_t counter(struct side *me, enum dp_counter c)
{
	return atomic_load(&me->w->counters[c]);
}

static bool event(struct side *me, enum dp_event_type type, struct dp_event *ret)
{
	while (RING_GET(&me->w->events, ret))
		if (ret->type == type)
			return true;
	return false;
}

static struct inner small(void)
{
	return (struct inner){ INNER_TCP, .payload = 200 };
}

static void send_small(struct side *me)
{
	struct inner i = small();
	struct virtio_net_hdr h = inner_vnet(&i, VIRTIO_NET_HDR_GSO_NONE, 0);

	send_super(me, &i, &h);
}

/* ---- tests ---- */
static void super_packets_arrive_whole(void **state)
{
	for (unsigned v6 = 0; v6 < 2; v6++) {
		struct inner i = { INNER_TCP, .v6 = v6, .payload = 60000 };
		struct virtio_net_hdr h = inner_vnet(&i, v6 ? VIRTIO_NET_HDR_GSO_TCPV6 : VIRTIO_NET_HDR_GSO_TCPV4, 1300), back;
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
	assert_int_equal(atomic_load(&b.s->stats.rx_packets), counter(&b, DP_C_RX_PACKETS));
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

static void tampered_and_replayed_are_refused(void **state)
{
	struct virtio_net_hdr h;

	send_small(&a);
	for (unsigned at = 0; at < a.wire.len[0]; at += 3) { /* every third byte: header fields, ciphertext, tag */
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
	assert_int_equal(atomic_load(&b.s->stats.rx_bad_inner), 2);
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
		deliver_one(&a, &b, gen == 1 ? 1 : 0); /* the first of generation 1 overtakes the last of 0 */
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
	assert_int_equal(counter(&a, DP_C_ICMP_SENT), MVPN_ICMP_RATE); /* at one instant, a second's worth */
}

static void too_big_is_answered(void **state)
{
	for (unsigned v6 = 0; v6 < 2; v6++) {
		struct inner i = { INNER_UDP, .v6 = v6, .frag = IP4_DF, .payload = 1440 };
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
			assert_int_equal(inner_sum(got + 40, len - 40, inner_pseudo(got, len - 40)), 0xffff);
		} else {
			assert_int_equal(get16(got + 20), 0x0304);
			assert_int_equal(get16(got + 26), 1440);
		}
	}
	assert_int_equal(counter(&a, DP_C_DROP_TOO_BIG), 2);
}

static void events_of_authentic_packets(void **state)
{
	struct mvpn_endpoint elsewhere = ep_a;
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
	elsewhere.port++;
	open_datagram(b.w, a.wire.data[1], a.wire.len[1], &elsewhere); /* authentic, but an older one */
	assert_false(event(&b, DP_EV_ENDPOINT, &e));
	send_small(&a);
	open_datagram(b.w, a.wire.data[3], a.wire.len[3], &elsewhere);
	assert_true(event(&b, DP_EV_ENDPOINT, &e));
	assert_int_equal(e.from.port, elsewhere.port);
	send_small(&a);
	open_datagram(b.w, a.wire.data[4], a.wire.len[4], &elsewhere);
	assert_false(event(&b, DP_EV_ENDPOINT, &e)); /* once a second */
	open_finish(b.w);
}

static void control(void **state)
{
	struct kt_endpoint ep = { .to = ep_b };
	struct virtio_net_hdr h;
	struct dp_event e;

	assert_true(seal_ctrl(a.w, a.s, &ep, MVPN_CTRL_PING, 0x1122334455667788, 1000));
	deliver(&a, &b);
	assert_int_equal(b.wire.n, 1);
	assert_true(b.wire.len[0] == MVPN_OVERHEAD + sizeof(struct mvpn_ctrl)); /* padding dropped */
	assert_int_equal(b.wire.to[0].port, ep_a.port);
	deliver(&b, &a);
	assert_true(event(&a, DP_EV_PONG, &e));
	assert_true(e.token == 0x1122334455667788);
	assert_true(seal_ctrl(a.w, a.s, &ep, MVPN_CTRL_CLOSE, 0, 0));
	deliver(&a, &b);
	assert_true(event(&b, DP_EV_CLOSE, &e));
	assert_int_equal(stack(&b, &h), 0);
	assert_int_equal(counter(&b, DP_C_RX_BAD_INNER), 0);
}

static void nobodys_and_malformed(void **state)
{
	struct virtio_net_hdr h = { 0 };
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
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(super_packets_arrive_whole),
		T(nothing_of_it_is_readable),
		T(tampered_and_replayed_are_refused),
		T(crypto_routing),
		T(generations),
		T(lost_generations),
		T(generation_by_packets_and_its_end),
		T(held_until_there_is_a_session),
		T(no_lane_no_packet),
		T(refused_is_answered),
		T(too_big_is_answered),
		T(events_of_authentic_packets),
		T(control),
		T(nobodys_and_malformed),
	};

	return MVPN_RUN(tests);
}
