/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Two workers without threads, a wire that is an array between them, and taps that are socket
 * pairs.
 */
#ifndef TEST_SIDES_H
#define TEST_SIDES_H

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
	uint8_t tos[WIRE_MAX];
};

struct side {
	struct worker *w;
	struct keytab *kt;
	struct kt_session *s;
	struct fake_wire wire;
	int tap; /* the stack's end */
};
static struct side a, b;
static uint8_t lanes = 1; /* of their sessions */
static struct mvpn_endpoint ep_a, ep_b;
static uint8_t got[70000], built[70000];

static inline uint8_t *fake_reserve(struct wire *w, const struct kt_endpoint *ep, size_t len,
				    uint8_t tos)
{
	struct fake_wire *f = (struct fake_wire *)w;

	if (f->n == WIRE_MAX || len > WIRE_PAYLOAD_MAX)
		return NULL;
	f->to[f->n] = ep->to;
	f->tos[f->n] = tos;
	return f->data[f->n];
}
static inline void fake_commit(struct wire *w, size_t len)
{
	struct fake_wire *f = (struct fake_wire *)w;

	f->len[f->n++] = len;
}
static const struct wire_ops fake_ops = {
	.name = "fake", .reserve = fake_reserve, .commit = fake_commit};

/* ---- making ---- */
static inline void arm(struct side *me, uint32_t peer, uint32_t rx, uint32_t tx, const char *local,
		       const char *remote, uint8_t k)
{
	struct intro_keys keys = {.suite = MVPN_CHACHA20_POLY1305,
				  .tx_lanes = lanes,
				  .rx_lanes = lanes,
				  .peer_spi = tx,
				  .tx = {k},
				  .rx = {(uint8_t)(3 - k)}};
	static const uint8_t id[MVPN_ID_LEN];
	struct mvpn_prefix l[2], r[2];
	struct kt_endpoint ep = {.to = k == 1 ? ep_b : ep_a};
	struct lpm *lpm;

	assert_int_equal(mvpn_prefix_parse(&l[0], local), 0);
	assert_int_equal(mvpn_prefix_parse(&r[0], remote), 0);
	assert_int_equal(mvpn_prefix_parse(&l[1], k == 1 ? "fd01::1" : "fd02::2"), 0);
	assert_int_equal(mvpn_prefix_parse(&r[1], k == 1 ? "fd02::2" : "fd01::1"), 0);
	assert_int_equal(lpm_new(&lpm), 0);
	assert_int_equal(lpm_set(lpm, &r[0], peer), 0);
	assert_int_equal(lpm_set(lpm, &r[1], peer), 0);
	kt_set_prefixes(me->kt, lpm);
	assert_int_equal(kt_session_new(me->kt, &me->s, id, peer, rx, &keys, l, 2, r, 2), 0);
	assert_int_equal(kt_peer_set_endpoint(me->kt, peer, &ep), 0);
	kt_session_arm_rx(me->kt, me->s);
	kt_session_arm_tx(me->kt, me->s);
}

static inline struct worker *worker_make(struct side *me, int tap_fd, unsigned index)
{
	struct worker *w = aligned_alloc(64, (sizeof(*w) + 63) & ~63ul);

	memset(w, 0, sizeof(*w));
	w->index = w->relayed_by = index;
	w->kt = me->kt;
	w->now = mono_ns();
	w->tap.fd = tap_fd;
	w->frame_tap.fd = -1;
	w->tap.uso = true;
	w->udp = &me->wire.w;
	w->event_fd = eventfd(0, EFD_NONBLOCK);
	w->wake_fd = eventfd(0, EFD_NONBLOCK);
	w->packet = (uint8_t *)malloc(TAP_HEADROOM + TAP_PACKET_MAX) + TAP_HEADROOM;
	w->scratch = (uint8_t *)malloc(TAP_HEADROOM + WIRE_PAYLOAD_MAX) + TAP_HEADROOM;
	assert_int_equal(hold_new(&w->hold), 0);
	assert_int_equal(shaper_new(&w->shaper), 0);
	assert_int_equal(coalesce_init(&w->coalescer, true, worker_tap_write, w), 0);
	return w;
}

static inline void make(struct side *me)
{
	int fd[2], size = 4 << 20;

	memset(me, 0, sizeof(*me));
	assert_int_equal(kt_new(&me->kt), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, fd), 0);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(setsockopt(fd[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)), 0);
	me->tap = fd[1];
	me->wire.w.ops = &fake_ops;
	me->w = worker_make(me, fd[0], 0);
}

static inline int setup(void **state)
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

static inline void worker_unmake(struct worker *w)
{
	close(w->event_fd);
	close(w->wake_fd);
	free(w->packet - TAP_HEADROOM);
	free(w->scratch - TAP_HEADROOM);
	hold_free(w->hold);
	shaper_free(w->shaper);
	coalesce_free(&w->coalescer);
	free(w);
}

static inline void unmake(struct side *me)
{
	close(me->tap);
	close(me->w->tap.fd);
	worker_unmake(me->w);
	kt_free(me->kt);
}

static inline int teardown(void **state)
{
	unmake(&a);
	unmake(&b);
	return 0;
}

/* ---- moving ---- */
static inline uint32_t send_super(struct side *me, const struct inner *i,
				  const struct virtio_net_hdr *h)
{
	uint32_t len = inner_build(me->w->packet, i, h->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM);

	memcpy(built, me->w->packet, len);
	seal_super(me->w, h, len);
	return len;
}

static inline void deliver_one(struct side *from, struct side *to, unsigned n)
{
	struct wire_from whence = {.ep = to == &b ? ep_a : ep_b, .tos = from->wire.tos[n]};
	uint8_t copy[WIRE_PAYLOAD_MAX];

	memcpy(copy, from->wire.data[n], from->wire.len[n]);
	open_datagram(to->w, copy, from->wire.len[n], &whence);
}

static inline void deliver(struct side *from, struct side *to)
{
	for (unsigned n = 0; n < from->wire.n; n++)
		deliver_one(from, to, n);
	from->wire.n = 0;
	open_finish(to->w);
}

/* what the stack gets next; 0 nothing */
static inline size_t stack(struct side *me, struct virtio_net_hdr *h)
{
	ssize_t n = read(me->tap, got, sizeof(got));

	if (n < 0)
		return 0;
	memcpy(h, got, sizeof(*h));
	memmove(got, got + sizeof(*h), (size_t)n - sizeof(*h));
	return (size_t)n - sizeof(*h);
}

static inline uint64_t counter(struct side *me, enum dp_counter c)
{
	return atomic_load(&me->w->counters[c]);
}

static inline struct kt_stats stats(const struct side *me)
{
	struct kt_stats s;

	kt_session_stats(me->s, &s);
	return s;
}

static inline bool event(struct side *me, enum dp_event_type type, struct dp_event *ret)
{
	while (RING_GET(&me->w->events, ret))
		if (ret->type == type)
			return true;
	return false;
}

static inline struct inner small(void)
{
	return (struct inner){INNER_TCP, .payload = 200};
}

static inline void send_small(struct side *me)
{
	struct inner i = small();
	struct virtio_net_hdr h = inner_vnet(&i, VIRTIO_NET_HDR_GSO_NONE, 0);

	send_super(me, &i, &h);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

#endif
