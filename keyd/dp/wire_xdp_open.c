/* SPDX-License-Identifier: BSD-2-Clause */
/* Making and ending an AF_XDP wire: frames that suit the device, UMEM, rings, socket. */
#include "wire_xdp.h"

#include <errno.h>
#include <linux/if_xdp.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "frame.h"

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

#define SNDBUF_B (16 << 20) /* copy mode charges an skb for every descriptor: never the limit */
#define BUSY_POLL_US 20
#define BUSY_POLL_BUDGET 64

#ifndef SO_PREFER_BUSY_POLL
#define SO_PREFER_BUSY_POLL 69
#endif
#ifndef SO_BUSY_POLL_BUDGET
#define SO_BUSY_POLL_BUDGET 70
#endif
#define XSK_MAX_TX_SKB_BUDGET 9 /* XDP_MAX_TX_SKB_BUDGET of kernel 6.17's <linux/if_xdp.h> */

void wire_xdp_free(struct wire *w)
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
	free(x->gather);
	free(x);
}

static int mtu_of(const char *name, unsigned *ret)
{
	struct ifreq ifr = {};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), r = 0;

	if (fd < 0)
		return -errno;
	memcpy(ifr.ifr_name, name, sizeof(ifr.ifr_name));
	if (ioctl(fd, SIOCGIFMTU, &ifr) < 0)
		r = -errno;
	close(fd);
	*ret = (unsigned)ifr.ifr_mtu;
	return r;
}

static bool has_frags(void)
{
	/* flags are judged before the device is looked for, which is none */
	struct sockaddr_xdp a = {.sxdp_family = AF_XDP, .sxdp_flags = XDP_USE_SG};
	int fd = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0);
	bool has;

	if (fd < 0)
		return false;
	has = bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 && errno != EINVAL;
	close(fd);
	return has;
}

unsigned wire_xdp_frame_max(unsigned mtu, bool generic)
{
	if ((generic || mtu > FRAME_MTU_MAX) && has_frags())
		return 0;
	return (mtu <= SMALL_MTU_MAX ? SMALL_FRAME_B : FRAME_B) - FRAME_HEADROOM_B;
}

static int choose_frames(struct wire_xdp *x, const char *name)
{
	bool small, generic = x->runs;
	unsigned mtu = 0;
	int r = mtu_of(name, &mtu);

	if (r < 0)
		return r;
	x->sg = !wire_xdp_frame_max(mtu, generic);
	if (mtu > FRAME_MTU_MAX && !x->sg)
		return -EMSGSIZE;
	x->runs = generic && x->sg;
	small = mtu <= SMALL_MTU_MAX && !x->zerocopy && !x->sg;
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
	x->gather = x->sg ? malloc(RUN_MAX_B) : NULL;
	if (!x->free || (x->sg && !x->gather))
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
		.bind_flags = XDP_USE_NEED_WAKEUP | (c->zerocopy ? XDP_ZEROCOPY : XDP_COPY) |
			      (x->sg ? XDP_USE_SG : 0),
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
		wire_xdp_refill(x, addr, RX_BATCH);
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
	x->wire.ops = &wire_xdp_ops;
	x->ifindex = c->ifindex;
	x->udp_port = c->udp_port;
	x->source_port = c->source_port;
	x->zerocopy = c->zerocopy;
	x->busy_poll = c->busy_poll;
	x->runs = c->generic;
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
	wire_xdp_free(&x->wire);
	return r;
}
