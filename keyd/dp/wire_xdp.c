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
 * number of frames that pass through.
 */
#include "wire.h"

#include <errno.h>
#include <linux/if_xdp.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include <xdp/xsk.h>

#include "dp.h"
#include "frame.h"

#define PAYLOAD_OFFSET_B 64 /* of a TX frame: headers end where a cache line begins */
#define MTU_DEFAULT 1500

/*
 * How many frames, also the sizes of their rings. Receive frames are how far the worker may lag
 * before packets are lost, and TCP makes use of all of it: 2048 lost 1 in 1000, 4096 none. Frames
 * of half a page hold the usual MTU; zero-copy drivers get pages, which all of them take.
 */
#define SMALL_FRAME_B 2048
#define SMALL_MTU_MAX (SMALL_FRAME_B - (FRAME_B - FRAME_MTU_MAX))
#define SMALL_RX_FRAMES 4096
#define SMALL_TX_FRAMES 512
#define LARGE_RX_FRAMES 2048
#define LARGE_TX_FRAMES 1024

#define RX_BATCH 64
#define SNDBUF_B (16 << 20)   /* copy mode charges an skb for every descriptor: never the limit */
#define KICKS_MAX 256	      /* one flush: 1024 descriptors at 32 a call, eight times over */
#define KICK_DESCS 32	      /* that one call sends; TX_BATCH_SIZE of net/xdp/xsk.c */
#define KICKS_IDLE_MAX 4      /* of them, in a row, that moved nothing and should have */
#define SLEEPS_REFUSED_MAX 64 /* before_sleep gives up waiting for a TX ring that does not move */
#define BUSY_POLL_US 20
#define BUSY_POLL_BUDGET 64

#ifndef SO_PREFER_BUSY_POLL
#define SO_PREFER_BUSY_POLL 69
#endif
#ifndef SO_BUSY_POLL_BUDGET
#define SO_BUSY_POLL_BUDGET 70
#endif
#define XSK_MAX_TX_SKB_BUDGET 9 /* XDP_MAX_TX_SKB_BUDGET of kernel 6.17's <linux/if_xdp.h> */

struct wire_xdp {
	struct wire wire;
	struct xsk_umem *umem;
	struct xsk_socket *xsk;
	struct xsk_ring_prod fill, tx;
	struct xsk_ring_cons comp, rx;
	uint8_t *area;
	size_t area_b;
	unsigned ifindex;
	uint32_t frame_b, nrx, ntx; /* bytes of a frame; frames each way */
	uint16_t udp_port;
	bool zerocopy, busy_poll;
	int fd;
	int broken; /* -errno of the device's end; nothing is done any more */

	/* TX */
	uint64_t *free; /* stack of frame addresses */
	unsigned nfree;
	unsigned written; /* descriptors in the TX ring that the kernel has not been shown */
	unsigned sleeps_refused;
	struct { /* the reservation; payload NULL: none */
		uint8_t *payload;
		size_t head_len, max;
	} now;
	_Atomic uint64_t refused; /* too long for a frame or the path, or not for this device */
};

static struct wire_xdp *of(struct wire *w)
{
	return (struct wire_xdp *)w;
}

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

	x->now.payload = NULL;
	if (!ep->has_hop || ep->ifindex != x->ifindex ||
	    len + ip_head > (ep->mtu ? ep->mtu : MTU_DEFAULT)) {
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
	x->now.head_len = frame_start(x->now.payload, ep, x->udp_port, tos);
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

/* Frames go back at once: the fill ring is twice as large as there are receive frames. */
static void refill(struct wire_xdp *x, const uint64_t *addr, unsigned n)
{
	uint32_t idx = 0;

	if (xsk_ring_prod__reserve(&x->fill, n, &idx) != n)
		return;
	for (unsigned i = 0; i < n; i++)
		*xsk_ring_prod__fill_addr(&x->fill, idx + i) = addr[i];
	xsk_ring_prod__submit(&x->fill, n);
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
			struct wire_from from;
			uint8_t *payload;
			size_t len;

			addr[i] = d->addr & ~(uint64_t)(x->frame_b - 1);
			if (!frame_parse(x->area + d->addr, d->len, x->udp_port, &from, &payload,
					 &len))
				continue;
			fn(arg, payload, len, &from);
			payloads++;
		}
		if (n) {
			xsk_ring_cons__release(&x->rx, n);
			refill(x, addr, n);
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

/* ---- life ---- */

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
}

static void xdp_free(struct wire *w)
{
	struct wire_xdp *x = of(w);

	if (!x)
		return;
	if (x->xsk)
		xsk_socket__delete(x->xsk);
	if (x->umem)
		xsk_umem__delete(x->umem);
	if (x->area)
		munmap(x->area, x->area_b);
	free(x->free);
	free(x);
}

static const struct wire_ops xdp_ops = {
	.name = "xdp",
	.reserve = xdp_reserve,
	.commit = xdp_commit,
	.flush = xdp_flush,
	.receive = xdp_receive,
	.fd = xdp_fd,
	.before_sleep = xdp_before_sleep,
	.stats = xdp_stats,
	.free = xdp_free,
};

/*
 * A packet that does not fit a receive frame is lost without a word: better no AF_XDP on such a
 * device.
 */
static int choose_frames(struct wire_xdp *x, const char *name)
{
	struct ifreq ifr = {};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), r = 0;
	bool small;

	if (fd < 0)
		return -errno;
	memcpy(ifr.ifr_name, name, sizeof(ifr.ifr_name));
	if (ioctl(fd, SIOCGIFMTU, &ifr) < 0)
		r = -errno;
	close(fd);
	if (r < 0)
		return r;
	if (ifr.ifr_mtu > FRAME_MTU_MAX)
		return -EMSGSIZE;
	small = ifr.ifr_mtu <= SMALL_MTU_MAX && !x->zerocopy;
	x->frame_b = small ? SMALL_FRAME_B : FRAME_B;
	x->nrx = small ? SMALL_RX_FRAMES : LARGE_RX_FRAMES;
	x->ntx = small ? SMALL_TX_FRAMES : LARGE_TX_FRAMES;
	return 0;
}

static int make_umem(struct wire_xdp *x)
{
	const struct xsk_umem_config c = {
		.fill_size = 2 * x->nrx,
		.comp_size = x->ntx,
		.frame_size = x->frame_b,
		.frame_headroom = XSK_UMEM__DEFAULT_FRAME_HEADROOM,
	};
	void *area;

	x->area_b = (size_t)(x->nrx + x->ntx) * x->frame_b;
	area = mmap(NULL, x->area_b, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (area == MAP_FAILED)
		return -errno;
	x->area = area;
	/* packets are opened in place: no plaintext in a core dump, nor in a child */
	madvise(area, x->area_b, MADV_DONTDUMP);
	madvise(area, x->area_b, MADV_DONTFORK);
	x->free = calloc(x->ntx, sizeof(*x->free));
	if (!x->free)
		return -ENOMEM;
	return xsk_umem__create(&x->umem, x->area, x->area_b, &x->fill, &x->comp, &c);
}

/* none of these is needed to work */
static void tune(struct wire_xdp *x)
{
	int sndbuf = SNDBUF_B, budget = (int)x->ntx, one = 1, us = BUSY_POLL_US,
	    packets = BUSY_POLL_BUDGET;

	if (setsockopt(x->fd, SOL_SOCKET, SO_SNDBUFFORCE, &sndbuf, sizeof(sndbuf)) < 0)
		setsockopt(x->fd, SOL_SOCKET, SO_SNDBUF, &sndbuf, sizeof(sndbuf));
	setsockopt(x->fd, SOL_XDP, XSK_MAX_TX_SKB_BUDGET, &budget, sizeof(budget));
	if (!x->busy_poll)
		return;
	setsockopt(x->fd, SOL_SOCKET, SO_PREFER_BUSY_POLL, &one, sizeof(one));
	setsockopt(x->fd, SOL_SOCKET, SO_BUSY_POLL, &us, sizeof(us));
	setsockopt(x->fd, SOL_SOCKET, SO_BUSY_POLL_BUDGET, &packets, sizeof(packets));
}

static int make_socket(struct wire_xdp *x, const char *name, const struct wire_xdp_config *c)
{
	const struct xsk_socket_config sc = {
		.rx_size = x->nrx,
		.tx_size = x->ntx,
		.libxdp_flags = XSK_LIBXDP_FLAGS__INHIBIT_PROG_LOAD,
		.bind_flags = XDP_USE_NEED_WAKEUP | (c->zerocopy ? XDP_ZEROCOPY : XDP_COPY),
	};
	int r = xsk_socket__create(&x->xsk, name, c->queue, x->umem, &x->rx, &x->tx, &sc);

	if (r < 0)
		return r;
	x->fd = xsk_socket__fd(x->xsk);
	tune(x);
	return 0;
}

/* The fill ring is filled before the first packet can be steered here. */
static void stock(struct wire_xdp *x)
{
	for (unsigned i = 0; i < x->nrx; i += RX_BATCH) {
		uint64_t addr[RX_BATCH];

		for (unsigned k = 0; k < RX_BATCH; k++)
			addr[k] = (uint64_t)(i + k) * x->frame_b;
		refill(x, addr, RX_BATCH);
	}
	/* the lowest is on top: a light load touches few frames */
	for (unsigned i = 0; i < x->ntx; i++)
		x->free[i] = (uint64_t)(x->nrx + x->ntx - 1 - i) * x->frame_b;
	x->nfree = x->ntx;
}

int wire_xdp_new(struct wire **ret, const struct wire_xdp_config *c)
{
	char name[IF_NAMESIZE] = "";
	struct wire_xdp *x;
	int r;

	if (!if_indextoname(c->ifindex, name))
		return -ENODEV;
	x = calloc(1, sizeof(*x));
	if (!x)
		return -ENOMEM;
	x->wire.ops = &xdp_ops;
	x->ifindex = c->ifindex;
	x->udp_port = c->udp_port;
	x->zerocopy = c->zerocopy;
	x->busy_poll = c->busy_poll;
	x->fd = -1;

	r = choose_frames(x, name);
	if (r < 0)
		goto fail;
	r = make_umem(x);
	if (r < 0)
		goto fail;
	r = make_socket(x, name, c);
	if (r < 0)
		goto fail;
	stock(x);
	r = xsk_socket__update_xskmap(x->xsk, c->xsks_map);
	if (r < 0)
		goto fail;
	*ret = &x->wire;
	return 0;
fail:
	xdp_free(&x->wire);
	return r;
}
