/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The AF_XDP wire: one socket on one queue of one device, with a UMEM of its own (one UMEM
 * cannot serve a zero-copy and a copy-mode device). Frames of the first part of the UMEM only
 * receive, those of the second only send:
 *
 *   RX   fill ring -> kernel -> RX ring -> receive() -> fill ring
 *   TX   free stack -> reserve/commit -> TX ring -> kernel -> completion ring -> free stack
 *
 * A frame is in exactly one place. No ring can run over: each is at least as large as the
 * number of frames that pass through. What does not fit one frame comes in several (`sg`): a
 * large MTU, or in generic mode a run of datagrams that the kernel had joined.
 */
#include "wire_xdp.h"

#include <errno.h>
#include <linux/if_xdp.h>
#include <string.h>
#include <sys/socket.h>

#include "dp.h"
#include "frame.h"
#include "run.h"

#define MTU_DEFAULT 1500
#define KICKS_MAX 256	      /* one flush: 1024 descriptors at 32 a call, eight times over */
#define KICK_DESCS 32	      /* that one call sends; TX_BATCH_SIZE of net/xdp/xsk.c */
#define KICKS_IDLE_MAX 4      /* of them, in a row, that moved nothing and should have */
#define SLEEPS_REFUSED_MAX 64 /* before_sleep gives up waiting for a TX ring that does not move */

/*
 * Takes an errno of sendto or recvfrom. ENXIO: the socket was unbound, its device has gone.
 * ENETDOWN passes: the binding outlives a device that is set down and up, and a zero-copy
 * driver says it while it resets itself after a bind.
 */
static void note_error(struct wire_xdp *x, int e)
{
	if (e == ENXIO || e == ENODEV)
		x->broken = -e;
}

/* ---- TX ---- */

static void recycle(struct wire_xdp *x)
{
	uint32_t idx = 0;
	unsigned n = xsk_ring_cons__peek(&x->comp, x->ntx, &idx);

	for (unsigned i = 0; i < n; i++) {
		uint64_t addr = *xsk_ring_cons__comp_addr(&x->comp, idx + i);

		x->free[x->nfree++] = addr & ~(uint64_t)(x->frame_b - 1);
	}
	if (n)
		xsk_ring_cons__release(&x->comp, n);
}

static uint32_t tx_queued(const struct wire_xdp *x)
{
	return *x->tx.producer - __atomic_load_n(x->tx.consumer, __ATOMIC_ACQUIRE);
}

/*
 * Show the kernel what was written and make it send. In copy mode it sends only inside sendto,
 * 32 descriptors a call unless the budget could be raised, and EAGAIN, EBUSY (the driver or the
 * far end of a veth took no more) and ENOBUFS mean "again": so until the ring is empty or has
 * stopped moving; Linux 6.1 shows what it took only when that was all it had seen.
 * A zero-copy driver needs at most a nudge.
 */
static void kick(struct wire_xdp *x)
{
	unsigned idle = 0, idle_max;

	if (x->written) {
		xsk_ring_prod__submit(&x->tx, x->written);
		x->written = 0;
	}
	idle_max = KICKS_IDLE_MAX + tx_queued(x) / KICK_DESCS;
	for (int i = 0; i < KICKS_MAX && idle < idle_max && !x->broken; i++) {
		uint32_t before = tx_queued(x);
		ssize_t r;

		if (!before || !xsk_ring_prod__needs_wakeup(&x->tx))
			return;
		r = sendto(x->fd, NULL, 0, MSG_DONTWAIT, NULL, 0);
		note_error(x, r < 0 ? errno : 0);
		if (r >= 0 && x->zerocopy)
			return;
		idle = tx_queued(x) == before ? idle + 1 : 0;
	}
}

/* counted by the worker, read by the main thread */
static void refuse(struct wire_xdp *x)
{
	atomic_fetch_add_explicit(&x->refused, 1, memory_order_relaxed);
}

static uint8_t *xdp_reserve(struct wire *w, const struct kt_endpoint *ep, size_t len, uint8_t tos)
{
	struct wire_xdp *x = of(w);
	size_t ip_head = (mvpn_addr_is_v4(&ep->to.addr) ? FRAME_HEAD_IP4 : FRAME_HEAD_IP6) - 14;
	unsigned link = ep->link_mtu ? ep->link_mtu : ep->mtu ? ep->mtu : MTU_DEFAULT;

	x->now.payload = NULL;
	if (!ep->has_hop || ep->ifindex != x->ifindex || len + ip_head > link) {
		refuse(x);
		return NULL;
	}
	if (len > x->frame_b - PAYLOAD_OFFSET_B) {
		/*
		 * the device's MTU has grown since: a new wire will have larger frames, or be
		 * refused
		 */
		refuse(x);
		x->broken = -EMSGSIZE;
		return NULL;
	}
	if (!x->nfree)
		recycle(x);
	if (!x->nfree) {
		kick(x);
		recycle(x);
	}
	if (!x->nfree || x->broken)
		return NULL;
	/* taken off the stack only by commit: a reservation may be forgotten */
	x->now.payload = x->area + x->free[x->nfree - 1] + PAYLOAD_OFFSET_B;
	x->now.max = len;
	x->now.head_len = frame_start(x->now.payload, ep, x->source_port, tos);
	return x->now.payload;
}

static void xdp_commit(struct wire *w, size_t len)
{
	struct wire_xdp *x = of(w);
	struct xdp_desc *d;
	uint32_t idx;

	if (!x->now.payload || len > x->now.max)
		return;
	/* never fails: as many slots as TX frames, and this frame is in none of them */
	if (xsk_ring_prod__reserve(&x->tx, 1, &idx) != 1)
		return;
	frame_finish(x->now.payload, len, x->now.head_len);
	d = xsk_ring_prod__tx_desc(&x->tx, idx);
	d->addr = (uint64_t)(x->now.payload - x->area) - x->now.head_len;
	d->len = (uint32_t)(x->now.head_len + len);
	d->options = 0;
	x->now.payload = NULL;
	x->nfree--;
	x->written++;
}

static void xdp_flush(struct wire *w)
{
	struct wire_xdp *x = of(w);

	kick(x);
	if (x->nfree < x->ntx / 2)
		recycle(x);
}

/* ---- RX ---- */

static void wake_fill(struct wire_xdp *x)
{
	note_error(x, recvfrom(x->fd, NULL, 0, MSG_DONTWAIT, NULL, NULL) < 0 ? errno : 0);
}

void wire_xdp_refill(struct wire_xdp *x, const uint64_t *addr, unsigned n)
{
	uint32_t idx = 0;

	if (xsk_ring_prod__reserve(&x->fill, n, &idx) != n)
		return;
	for (unsigned i = 0; i < n; i++)
		*xsk_ring_prod__fill_addr(&x->fill, idx + i) = addr[i];
	xsk_ring_prod__submit(&x->fill, n);
}

/* one packet from the wire, of one or more datagrams */
static unsigned deliver(struct wire_xdp *x, uint8_t *frame, size_t frame_len, wire_rx_fn *fn,
			void *arg)
{
	struct wire_from from;
	uint8_t *payload;
	size_t len, size;
	unsigned n = 0;

	if (!frame_parse(frame, frame_len, x->udp_port, &from, &payload, &len))
		return 0;
	if (!x->runs || !len) {
		fn(arg, payload, len, &from);
		return 1;
	}
	size = run_size(payload, len, x->run);
	if (size < len)
		x->run = size;
	for (size_t at = 0; at < len; at += size, n++)
		fn(arg, payload + at, len - at < size ? len - at : size, &from);
	return n;
}

/* one frame, alone a packet or a part of one */
static unsigned frame_in(struct wire_xdp *x, const struct xdp_desc *d, wire_rx_fn *fn, void *arg)
{
	bool more = x->sg && d->options & XDP_PKT_CONTD;
	uint8_t *frame = x->area + d->addr;
	size_t len;

	if (!more && !x->gathered)
		return deliver(x, frame, d->len, fn, arg);
	len = x->gathered + d->len;
	if (len <= RUN_MAX_B)
		memcpy(x->gather + x->gathered, frame, d->len);
	x->gathered = more ? len : 0;
	return more || len > RUN_MAX_B ? 0 : deliver(x, x->gather, len, fn, arg);
}

static int xdp_receive(struct wire *w, wire_rx_fn *fn, void *arg, unsigned budget)
{
	struct wire_xdp *x = of(w);
	unsigned frames = 0, payloads = 0, n; /* a frame that is no datagram to us has none */

	if (x->busy_poll && !x->broken)
		wake_fill(x);
	/* what the last flush could not place: the far end has had time since */
	if (!x->zerocopy && tx_queued(x))
		kick(x);
	if (x->broken)
		return x->broken;
	do {
		uint64_t addr[RX_BATCH];
		uint32_t idx = 0;

		n = budget - frames < RX_BATCH ? budget - frames : RX_BATCH;
		n = xsk_ring_cons__peek(&x->rx, n, &idx);
		for (unsigned i = 0; i < n; i++) {
			const struct xdp_desc *d = xsk_ring_cons__rx_desc(&x->rx, idx + i);

			addr[i] = d->addr & ~(uint64_t)(x->frame_b - 1);
			payloads += frame_in(x, d, fn, arg);
		}
		if (n) {
			xsk_ring_cons__release(&x->rx, n);
			wire_xdp_refill(x, addr, n);
		}
		frames += n;
	} while (n == RX_BATCH && frames < budget);
	if (frames && xsk_ring_prod__needs_wakeup(&x->fill))
		wake_fill(x);
	return (int)payloads;
}

static int xdp_fd(const struct wire *w)
{
	return ((const struct wire_xdp *)w)->fd;
}

/*
 * The poll that follows says nothing of a device that has gone: an unbound socket is merely
 * never readable. So ask here; the same call wakes a driver that ran out of fill frames.
 */
static bool xdp_before_sleep(struct wire *w)
{
	struct wire_xdp *x = of(w);

	if (x->broken)
		return false;
	wake_fill(x);
	if (x->broken || *x->rx.producer != x->rx.cached_cons)
		return false;
	kick(x);
	recycle(x);
	/*
	 * what the kernel did not take is tried again for a while, then left for the next
	 * flush: never spin on a stuck queue
	 */
	if (!x->zerocopy && tx_queued(x) && x->sleeps_refused < SLEEPS_REFUSED_MAX) {
		x->sleeps_refused++;
		return false;
	}
	x->sleeps_refused = 0;
	return !x->broken;
}

/* ---- for the main thread ---- */

/*
 * Copying, the kernel makes an skb of each packet, while UDP_SEGMENT hands it one for a batch: measured (docs/benchmarks.md).
 * Packets of one flow must keep to one wire, or they overtake each other: so one that cannot take all sends none.
 */
bool wire_xdp_sends(const struct wire *w)
{
	const struct wire_xdp *x = (const struct wire_xdp *)w;

	return x->zerocopy && !x->sg;
}

static void xdp_stats(struct wire *w, uint64_t *c)
{
	struct wire_xdp *x = of(w);
	struct xdp_statistics s = {};
	socklen_t len = sizeof(s);

	c[DP_C_XSK_TX_INVALID] += atomic_load_explicit(&x->refused, memory_order_relaxed);
	/* older kernels give only the first three */
	if (getsockopt(x->fd, SOL_XDP, XDP_STATISTICS, &s, &len) < 0)
		return;
	c[DP_C_XSK_RX_DROPPED] += s.rx_dropped;
	c[DP_C_XSK_RX_INVALID] += s.rx_invalid_descs;
	c[DP_C_XSK_TX_INVALID] += s.tx_invalid_descs;
	c[DP_C_XSK_RX_RING_FULL] += s.rx_ring_full;
	c[DP_C_XSK_FILL_EMPTY] += s.rx_fill_ring_empty_descs;
	c[DP_C_XSK_TX_EMPTY] += s.tx_ring_empty_descs;
}

const struct wire_ops wire_xdp_ops = {
	.name = "xdp",
	.reserve = xdp_reserve,
	.commit = xdp_commit,
	.flush = xdp_flush,
	.receive = xdp_receive,
	.fd = xdp_fd,
	.before_sleep = xdp_before_sleep,
	.stats = xdp_stats,
	.free = wire_xdp_free,
};
