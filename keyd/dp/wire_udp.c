/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The UDP wire: a socket with segmentation offload. Packets of one size to one destination are
 * collected and sent by one sendmsg() with UDP_SEGMENT; what arrives comes in runs of equal
 * datagrams by UDP_GRO.
 */
#include "wire.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "addr.h"
#include "dp.h"
#include "mvpn/wire.h"
#include "wire_udp_socket.h"

#define SEGMENTS_MAX 64	       /* UDP_MAX_SEGMENTS of Linux 6.1 */
#define BATCH_MAX_B 65487      /* UDP payload that fits an IPv6 packet, and so IPv4 too */
#define RX_BUFS 16	       /* datagrams, or runs of them, a recvmmsg(): without GRO each comes alone */
#define RX_BUF_B 65536
#define ERRORS_BUDGET 64 /* of the error queue in one turn; poll() tells of the rest again */
#define FULL_WAIT_MS 1 /* a full socket gets so long to drain before packets are dropped */

struct wire_udp {
	struct wire w;
	struct udp_sockets s;
	int via; /* the one of them that the batch goes through */
	bool no_gso;
	/* the batch: `count` datagrams of `size` bytes, the last may be shorter and then ends it */
	uint8_t *tx;
	union address to;
	socklen_t to_len;
	struct mvpn_endpoint to_ep;
	size_t size, fill;
	unsigned count;
	uint8_t tos;
	bool ended;
	_Atomic uint64_t dropped;
	/* what sending has met: ICMP errors that wait in the queue, the last datagram that the device refused */
	bool failed, refused;
	struct quote refusal;
	/* reception */
	uint8_t *rx;
	struct mmsghdr msgs[RX_BUFS];
	struct iovec iov[RX_BUFS];
	union address from[RX_BUFS];
	char control[RX_BUFS][2 * CMSG_SPACE(sizeof(int))]
		__attribute__((aligned(8))); /* TOS, segment size */
};

#define self(wire) ((struct wire_udp *)(wire))

/* ---- out ---- */
static void address_of(const struct wire_udp *u, const struct mvpn_endpoint *e, union address *ret,
		       socklen_t *ret_len)
{
	*ret_len = mvpn_endpoint_to_sockaddr(e, !u->s.v4_only, &ret->ss);
}

static void put_cmsg(struct msghdr *m, int level, int type, const void *value, size_t len)
{
	struct cmsghdr *c = (struct cmsghdr *)((char *)m->msg_control + m->msg_controllen);

	c->cmsg_level = level;
	c->cmsg_type = type;
	c->cmsg_len = CMSG_LEN(len);
	memcpy(CMSG_DATA(c), value, len);
	m->msg_controllen += CMSG_SPACE(len);
}

/* An error that ICMP has left on the socket is about another packet: this one may still go. */
static int send_now(struct wire_udp *u, const struct msghdr *m)
{
	int r = 0, pending = 0;
	socklen_t len = sizeof(pending);

	if (sendmsg(u->via, m, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
		return 0;
	r = -errno;
	if (r == -EAGAIN || r == -ENOBUFS)
		return r;
	u->failed = true;
	/* sendmsg() has taken the error off, unless it was the packet's own */
	getsockopt(u->via, SOL_SOCKET, SO_ERROR, &pending, &len);
	return sendmsg(u->via, m, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0 ? 0 : -errno;
}

static int send_once(struct wire_udp *u, const uint8_t *data, size_t len, size_t segment)
{
	char control[CMSG_SPACE(sizeof(uint16_t)) + CMSG_SPACE(sizeof(int))]
		__attribute__((aligned(8)));
	struct iovec iov = {.iov_base = (void *)data, .iov_len = len};
	struct msghdr m = {.msg_name = &u->to,
			   .msg_namelen = u->to_len,
			   .msg_iov = &iov,
			   .msg_iovlen = 1,
			   .msg_control = control};
	struct pollfd p = {.fd = u->via, .events = POLLOUT};
	int r;

	if (segment && segment < len) {
		uint16_t gso = (uint16_t)segment;

		put_cmsg(&m, SOL_UDP_, UDP_SEGMENT, &gso, sizeof(gso));
	}
	if (u->tos) {
		bool v4 = mvpn_addr_is_v4(&u->to_ep.addr);
		int tos = u->tos;

		put_cmsg(&m, v4 ? IPPROTO_IP : IPPROTO_IPV6, v4 ? IP_TOS : IPV6_TCLASS, &tos,
			 sizeof(tos));
	}
	r = send_now(u, &m);
	if (r != -EAGAIN && r != -ENOBUFS)
		return r;
	poll(&p, 1, FULL_WAIT_MS);
	return send_now(u, &m);
}

/* alone, and too big for the device all the same */
static void refuse(struct wire_udp *u, const uint8_t *data, size_t len)
{
	u->refusal = (struct quote){.len = len < QUOTE_B ? len : QUOTE_B,
				    .to = u->to_ep,
				    .too_big = true};
	memcpy(u->refusal.data, data, u->refusal.len);
	u->refused = true;
}

static void udp_flush(struct wire *w)
{
	struct wire_udp *u = self(w);
	uint64_t dropped = 0;
	int r = -EIO;

	if (!u->count)
		return;
	if (!u->no_gso)
		r = send_once(u, u->tx, u->fill, u->size);
	/*
	 * EIO: the device has no checksum offload; EMSGSIZE, EINVAL: one of them is too big for
	 * the path, or all: each alone
	 */
	if (r == -EIO || ((r == -EMSGSIZE || r == -EINVAL) && u->count > 1)) {
		if (r == -EIO && u->count > 1)
			u->no_gso = true;
		for (size_t at = 0; at < u->fill; at += u->size) {
			size_t n = u->fill - at < u->size ? u->fill - at : u->size;

			r = send_once(u, u->tx + at, n, 0);
			dropped += r < 0;
			if (r == -EMSGSIZE)
				refuse(u, u->tx + at, n);
		}
	} else if (r < 0) {
		dropped = u->count;
		if (r == -EMSGSIZE)
			refuse(u, u->tx, u->fill);
	}
	if (dropped)
		atomic_fetch_add_explicit(&u->dropped, dropped, memory_order_relaxed);
	u->count = 0;
	u->fill = 0;
	u->ended = false;
}

static uint8_t *udp_reserve(struct wire *w, const struct kt_endpoint *ep, size_t len, uint8_t tos)
{
	struct wire_udp *u = self(w);
	int via = ep->one_port ? u->s.fd : u->s.out;
	bool same = u->to_ep.port == ep->to.port && !memcmp(&u->to_ep.addr, &ep->to.addr, 16) &&
		    via == u->via;

	if (len > WIRE_PAYLOAD_MAX)
		return NULL;
	if (u->count && (!same || tos != u->tos || u->ended || len > u->size ||
			 u->count == SEGMENTS_MAX || u->fill + len > BATCH_MAX_B))
		udp_flush(w);
	if (!same) {
		u->to_ep = ep->to;
		u->via = via;
		address_of(u, &ep->to, &u->to, &u->to_len);
	}
	u->tos = tos;
	return u->tx + u->fill;
}

/*
 * A receiver on AF_XDP is not told the size of joined datagrams and finds it by the SPI (run.h): so those of two sessions, as
 * at a rekey, are not joined, nor is a sealed one with a plain one, as is sent while a session is made.
 */
static bool same_session(const uint8_t *p, const uint8_t *q, size_t len)
{
	const size_t at = offsetof(struct mvpn_hdr, spi);

	return len >= MVPN_OVERHEAD && !memcmp(p + at, q + at, sizeof(mvpn_be32));
}

static void udp_commit(struct wire *w, size_t len)
{
	struct wire_udp *u = self(w);
	uint8_t *p = u->tx + u->fill;

	if (u->count && !same_session(u->tx, p, len)) {
		udp_flush(w);
		memmove(u->tx, p, len);
	}
	if (!u->count)
		u->size = len;
	else if (len < u->size)
		u->ended = true;
	u->fill += len;
	u->count++;
}

/* ---- in ---- */
/* the size of the datagrams in a run, 0 when it is none, and the TOS that they share: GRO joins no others */
static size_t read_cmsgs(struct msghdr *m, uint8_t *ret_tos)
{
	int size = 0, class;

	*ret_tos = 0;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		if (c->cmsg_level == SOL_UDP_ && c->cmsg_type == UDP_GRO) {
			memcpy(&size, CMSG_DATA(c), sizeof(size));
		} else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TOS) {
			*ret_tos = *CMSG_DATA(c);
		} else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_TCLASS) {
			memcpy(&class, CMSG_DATA(c), sizeof(class));
			*ret_tos = (uint8_t) class;
		}
	}
	return size > 0 ? (size_t)size : 0;
}

static unsigned deliver(struct wire_udp *u, unsigned i, wire_rx_fn *fn, void *arg)
{
	struct msghdr *m = &u->msgs[i].msg_hdr;
	size_t len = u->msgs[i].msg_len, size;
	uint8_t *data = u->iov[i].iov_base;
	struct wire_from from;
	unsigned n = 0;

	if (m->msg_flags & MSG_TRUNC || mvpn_endpoint_from_sockaddr(&from.ep, &u->from[i].sa) < 0)
		return 1;
	size = read_cmsgs(m, &from.tos);
	if (!size || size > len)
		size = len;
	if (!len) {
		fn(arg, data, 0, &from);
		return 1;
	}
	for (size_t at = 0; at < len; at += size, n++)
		fn(arg, data + at, len - at < size ? len - at : size, &from);
	return n;
}

static int udp_receive(struct wire *w, wire_rx_fn *fn, void *arg, unsigned budget)
{
	struct wire_udp *u = self(w);
	unsigned done = 0;

	while (done < budget) {
		int n;

		for (unsigned i = 0; i < RX_BUFS; i++) {
			u->msgs[i].msg_hdr.msg_namelen = sizeof(u->from[i]);
			u->msgs[i].msg_hdr.msg_controllen = sizeof(u->control[i]);
		}
		n = recvmmsg(u->s.fd, u->msgs, RX_BUFS, MSG_DONTWAIT, NULL);
		if (n < 0) {
			switch (errno) {
			case EBADF:
			case ENOTSOCK:
			case EFAULT:
				return -errno;
			default: /* nothing there, or somebody's ICMP error: not the socket's end */
				return (int)done;
			}
		}
		for (int i = 0; i < n; i++)
			done += deliver(u, (unsigned)i, fn, arg);
		if (n < RX_BUFS)
			break;
	}
	return (int)done;
}

void wire_udp_errors(struct wire *w, bool waiting, wire_error_fn *fn, void *arg)
{
	struct wire_udp *u = self(w);
	struct quote q;

	if (u->refused)
		fn(arg, &u->refusal);
	u->refused = false;
	if (!waiting && !u->failed)
		return;
	u->failed = false;
	for (unsigned n = 0; n < ERRORS_BUDGET && errqueue_read(u->s.out, &q); n++)
		fn(arg, &q);
}

int wire_udp_error_fd(const struct wire *w)
{
	return ((const struct wire_udp *)w)->s.out;
}

static int udp_fd(const struct wire *w)
{
	return ((const struct wire_udp *)w)->s.fd;
}

static bool udp_before_sleep(struct wire *w)
{
	return true;
}

static void udp_stats(struct wire *w, uint64_t *counters)
{
	counters[DP_C_DROP_WIRE_FULL] +=
		atomic_load_explicit(&self(w)->dropped, memory_order_relaxed);
}

static void udp_free(struct wire *w)
{
	struct wire_udp *u = self(w);

	udp_sockets_close(&u->s);
	free(u->tx);
	free(u->rx);
	free(u);
}

static const struct wire_ops udp_ops = {
	.name = "udp",
	.reserve = udp_reserve,
	.commit = udp_commit,
	.flush = udp_flush,
	.receive = udp_receive,
	.fd = udp_fd,
	.before_sleep = udp_before_sleep,
	.stats = udp_stats,
	.free = udp_free,
};

/* ---- making ---- */
static void rx_prepare(struct wire_udp *u)
{
	for (unsigned i = 0; i < RX_BUFS; i++) {
		u->iov[i].iov_base = u->rx + (size_t)i * RX_BUF_B;
		u->iov[i].iov_len = RX_BUF_B;
		u->msgs[i].msg_hdr.msg_iov = &u->iov[i];
		u->msgs[i].msg_hdr.msg_iovlen = 1;
		u->msgs[i].msg_hdr.msg_name = &u->from[i];
		u->msgs[i].msg_hdr.msg_control = u->control[i];
	}
}

int wire_udp_new(struct wire **ret, const struct wire_udp_config *c)
{
	struct wire_udp *u = calloc(1, sizeof(*u));
	int r = -ENOMEM;

	if (!u)
		return r;
	u->w.ops = &udp_ops;
	u->s.fd = u->s.out = -1;
	u->tx = aligned_alloc(64, 65536 + WIRE_PAYLOAD_MAX);
	u->rx = aligned_alloc(4096, (size_t)RX_BUFS * RX_BUF_B);
	if (!u->tx || !u->rx)
		goto fail;
	rx_prepare(u);
	r = udp_sockets_open(&u->s, c->port, c->lane);
	if (r < 0)
		goto fail;
	*ret = &u->w;
	return 0;
fail:
	udp_free(&u->w);
	return r;
}

uint16_t wire_udp_port(const struct wire *w)
{
	return ((const struct wire_udp *)w)->s.port;
}

uint16_t wire_udp_source(const struct wire *w)
{
	return ((const struct wire_udp *)w)->s.source;
}

unsigned wire_udp_cookies(const struct wire *w, uint64_t ret[WIRE_UDP_SOCKETS])
{
	return udp_sockets_cookies(&((const struct wire_udp *)w)->s, ret);
}

int wire_udp_steer(struct wire *w, unsigned n)
{
	return udp_sockets_steer(&self(w)->s, n);
}
