/* SPDX-License-Identifier: BSD-2-Clause */
/* Ethernet frames: sealed whole, opened only from whom and to whom they may go. */
#include "sides.h"

#include "../../keyd/dp/ether.h"

#define TYPE 0x88b5
#define BOTH (MVPN_FRAME_TX | MVPN_FRAME_RX)

static const uint8_t mac_a[6] = {2, 0, 0, 0, 0, 0xa}, mac_b[6] = {2, 0, 0, 0, 0, 0xb},
		     mac_c[6] = {2, 0, 0, 0, 0, 0xc}, every[6];
static int stack_a, stack_b; /* the stack's ends of the frame taps */

/* me has the address `own`, and may exchange TYPE with the peer that has `other` */
static void table(struct side *me, const uint8_t *own, const uint8_t *other, uint16_t type,
		  uint32_t peer, unsigned flags)
{
	const struct frame_right right = {peer, flags};
	struct frametab *t;

	assert_int_equal(frametab_new(&t), 0);
	assert_int_equal(frametab_set_local(t, own), 0);
	assert_int_equal(frametab_set(t, other, type, &right), 0);
	assert_int_equal(kt_set_frames(me->kt, t), 0);
}

static int frame_tap(struct side *me)
{
	int fd[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, fd), 0);
	me->w->frame_tap.fd = fd[0];
	return fd[1];
}

static int start(void **state)
{
	setup(state);
	stack_a = frame_tap(&a);
	stack_b = frame_tap(&b);
	table(&a, mac_a, mac_b, TYPE, PEER_B, BOTH);
	table(&b, mac_b, mac_a, TYPE, PEER_A, BOTH);
	return 0;
}

static int end(void **state)
{
	close(a.w->frame_tap.fd);
	close(b.w->frame_tap.fd);
	close(stack_a);
	close(stack_b);
	return teardown(state);
}

/* a frame at a's w->packet, and in `built`; tags VLAN tags in it */
static size_t frame(const uint8_t *dst, const uint8_t *src, unsigned type, unsigned tags,
		    size_t payload)
{
	uint8_t *p = a.w->packet;
	size_t n = 12;

	memcpy(p, dst, 6);
	memcpy(p + 6, src, 6);
	for (unsigned i = 0; i < tags; i++, n += 4) {
		put16(p + n, i ? ETHER_VLAN : ETHER_QINQ);
		put16(p + n + 2, 100 + i);
	}
	put16(p + n, type);
	n += 2;
	for (size_t i = 0; i < payload; i++)
		p[n++] = (uint8_t)i;
	memcpy(built, p, n);
	return n;
}

static void out(const uint8_t *dst, const uint8_t *src, unsigned type, size_t payload)
{
	ether_out(a.w, frame(dst, src, type, 0, payload), NULL);
}

/* what b's stack gets; 0 nothing */
static size_t arrived(void)
{
	ssize_t n = read(stack_b, got, sizeof(got));

	assert_true(n < 0 || n > (ssize_t)sizeof(struct virtio_net_hdr));
	return n < 0 ? 0 : (size_t)n - sizeof(struct virtio_net_hdr);
}

static void assert_arrived(size_t len)
{
	assert_int_equal(arrived(), len);
	assert_memory_equal(got + sizeof(struct virtio_net_hdr), built, len);
}

static void frames_arrive_unchanged(void **state)
{
	static const size_t payloads[] = {0, 1, 46, 1400};
	size_t len;

	for (unsigned i = 0; i < 4; i++)
		for (unsigned tags = 0; tags < 3; tags++) {
			len = frame(mac_b, mac_a, TYPE, tags, payloads[i]);
			ether_out(a.w, len, NULL);
			assert_int_equal(a.wire.n, 1);
			assert_int_equal(a.wire.data[0][0], MVPN_FRAME);
			assert_int_equal(a.wire.len[0], len + MVPN_OVERHEAD);
			deliver(&a, &b);
			assert_arrived(len);
		}
	assert_int_equal(counter(&a, DP_C_TX_FRAMES), 12);
	assert_int_equal(counter(&b, DP_C_RX_FRAMES), 12);
	assert_int_equal(counter(&b, DP_C_RX_PACKETS), 12);
	assert_int_equal(stats(&b).rx_packets, 12);
}

static void tampered_and_replayed_are_refused(void **state)
{
	out(mac_b, mac_a, TYPE, 100);
	for (unsigned at = 0; at < a.wire.len[0]; at += 5) {
		a.wire.data[0][at] ^= 0x10;
		deliver_one(&a, &b, 0);
		a.wire.data[0][at] ^= 0x10;
	}
	/* the type is authenticated: a frame does not become a packet, nor a packet a frame */
	a.wire.data[0][0] = MVPN_TUNNEL;
	deliver_one(&a, &b, 0);
	a.wire.data[0][0] = MVPN_FRAME;
	assert_int_equal(arrived(), 0);
	deliver_one(&a, &b, 0);
	assert_arrived(114);
	deliver_one(&a, &b, 0);
	assert_int_equal(arrived(), 0);
	assert_int_equal(counter(&b, DP_C_RX_REPLAY), 1);
	open_finish(b.w);
	a.wire.n = 0;
	send_small(&a);
	a.wire.data[0][0] = MVPN_FRAME;
	deliver(&a, &b);
	assert_int_equal(arrived(), 0);
	assert_int_equal(counter(&b, DP_C_RX_BAD_INNER), 0);
}

static void refused_in(void)
{
	uint64_t before = counter(&b, DP_C_RX_BAD_INNER);

	assert_int_equal(a.wire.n, 1);
	deliver(&a, &b);
	assert_int_equal(arrived(), 0);
	assert_int_equal(counter(&b, DP_C_RX_BAD_INNER), before + 1);
}

/* a peer that has keys and keeps to no rule */
static void who_may_send_what_to_whom(void **state)
{
	const struct frame_right right = {PEER_B, BOTH};
	struct frametab *t;

	/* it lets everything by */
	assert_int_equal(frametab_new(&t), 0);
	assert_int_equal(frametab_set_local(t, mac_a), 0);
	assert_int_equal(frametab_set_local(t, mac_c), 0);
	assert_int_equal(frametab_set(t, mac_b, ETHER_ANY, &right), 0);
	assert_int_equal(frametab_set(t, mac_c, ETHER_ANY, &right), 0);
	assert_int_equal(kt_set_frames(a.kt, t), 0);

	out(mac_b, mac_c, TYPE, 46); /* another's address */
	refused_in();
	out(mac_c, mac_a, TYPE, 46); /* to another */
	refused_in();
	out(mac_b, mac_a, 0x88b6, 46); /* of another type */
	refused_in();
	table(&b, mac_b, mac_a, TYPE, PEER_A, MVPN_FRAME_TX); /* the other direction */
	out(mac_b, mac_a, TYPE, 46);
	refused_in();
	table(&b, mac_b, mac_a, TYPE, PEER_A + 1, BOTH); /* the address is another peer's */
	out(mac_b, mac_a, TYPE, 46);
	refused_in();
	assert_int_equal(kt_set_frames(b.kt, NULL), 0); /* nobody may anything */
	out(mac_b, mac_a, TYPE, 46);
	refused_in();
	assert_int_equal(stats(&b).rx_bad_inner, 6);
	/* in force at once */
	table(&b, mac_b, mac_a, TYPE, PEER_A, MVPN_FRAME_RX);
	out(mac_b, mac_a, TYPE, 46);
	deliver(&a, &b);
	assert_arrived(60);
}

static void kept_in(enum dp_counter c)
{
	assert_int_equal(a.wire.n, 0);
	assert_int_equal(counter(&a, c), 1);
}

static void out_of_the_tap(void **state)
{
	out(mac_b, mac_c, TYPE, 46); /* a frame that is only passing through */
	kept_in(DP_C_DROP_BAD_SRC);
	out(mac_b, mac_a, 0x88b6, 46);
	kept_in(DP_C_DROP_NO_PEER);
	out(mac_b, mac_a, ETHER_ARP, 46);
	kept_in(DP_C_DROP_MALFORMED_TAP);
	/* to the byte what fits the path; nobody can be told of more */
	out(mac_b, mac_a, TYPE, 1500 - MVPN_OVERHEAD_IP4 - ETHER_HEAD_B + 1);
	kept_in(DP_C_DROP_TOO_BIG);
	assert_int_equal(counter(&a, DP_C_ICMP_SENT), 0);
	out(mac_b, mac_a, TYPE, 1500 - MVPN_OVERHEAD_IP4 - ETHER_HEAD_B);
	deliver(&a, &b);
	assert_arrived(1500 - MVPN_OVERHEAD_IP4);
	/* covered: protected, and nobody's */
	table(&a, mac_a, every, TYPE, 0, 0);
	out(mac_c, mac_a, TYPE, 46);
	assert_int_equal(counter(&a, DP_C_DROP_NO_PEER), 2);
	assert_int_equal(a.wire.n, 0);
}

static void held_until_there_is_a_session(void **state)
{
	struct dp_event e;

	kt_session_disarm_tx(a.kt, a.s);
	out(mac_b, mac_a, TYPE, 100);
	assert_int_equal(a.wire.n, 0);
	assert_true(event(&a, DP_EV_WANT, &e));
	assert_int_equal(e.peer, PEER_B);
	out(mac_b, mac_a, TYPE, 100);
	kt_session_arm_tx(a.kt, a.s);
	seal_flush_held(a.w, PEER_B);
	assert_int_equal(a.wire.n, 2);
	deliver(&a, &b);
	assert_arrived(114);
	assert_arrived(114);
	assert_int_equal(counter(&a, DP_C_HELD_SENT), 2);

	/* the rule has gone meanwhile */
	kt_session_disarm_tx(a.kt, a.s);
	out(mac_b, mac_a, TYPE, 100);
	assert_int_equal(kt_set_frames(a.kt, NULL), 0);
	kt_session_arm_tx(a.kt, a.s);
	seal_flush_held(a.w, PEER_B);
	kept_in(DP_C_DROP_NO_PEER);

	/* refused: no ICMP for what is no IP */
	table(&a, mac_a, mac_b, TYPE, PEER_B, BOTH);
	kt_session_disarm_tx(a.kt, a.s);
	out(mac_b, mac_a, TYPE, 100);
	seal_drop_held(a.w, PEER_B, true);
	kept_in(DP_C_HELD_DROP_DENIED);
	assert_int_equal(counter(&a, DP_C_ICMP_SENT), 0);
}

static void bad_frames(void **state)
{
	struct ether e;
	size_t len = frame(mac_b, mac_a, TYPE, ETHER_TAGS_MAX, 0);

	assert_int_equal(ether_parse(&e, built, len), 0);
	assert_int_equal(e.type, TYPE);
	for (size_t cut = 0; cut < len; cut++)
		assert_int_equal(ether_parse(&e, built, cut), -EINVAL);
	len = frame(mac_b, mac_a, TYPE, ETHER_TAGS_MAX + 1, 0);
	assert_int_equal(ether_parse(&e, built, len), -EINVAL);
	/* IP must not slip in behind a tag */
	len = frame(mac_b, mac_a, ETHER_IP4, 1, 40);
	assert_int_equal(ether_parse(&e, built, len), -EINVAL);
	len = frame(mac_b, mac_a, 0x100, 0, 40);
	assert_int_equal(ether_parse(&e, built, len), -EINVAL);
}

#define F(f) cmocka_unit_test_setup_teardown(f, start, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		F(frames_arrive_unchanged),	  F(tampered_and_replayed_are_refused),
		F(who_may_send_what_to_whom),	  F(out_of_the_tap),
		F(held_until_there_is_a_session), F(bad_frames),
	};

	return MVPN_RUN(tests);
}
