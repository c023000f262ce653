/* SPDX-License-Identifier: BSD-2-Clause */
#include "datagrams_out.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define SEGMENTS_MAX 64	 /* UDP_MAX_SEGMENTS of Linux 6.1 */
#define TOGETHER_B 65000 /* what one IP packet takes, less any headers and options */
#define ROOM_B 65536

struct datagrams_out {
	bool v6, ended; /* ended: the last one was shorter */
	int fd;
	struct mvpn_endpoint to;
	struct mvpn_addr from; /* zero: the kernel's choice */
	unsigned n;
	size_t each, len;
	uint8_t data[ROOM_B];
};

struct datagrams_out *datagrams_out_new(bool v6)
{
	struct datagrams_out *o = calloc(1, sizeof(*o));

	if (o)
		o->v6 = v6;
	return o;
}

void datagrams_out_free(struct datagrams_out *o)
{
	free(o);
}

/* ---- sending ---- */

union control {
	struct cmsghdr h;
	char b[CMSG_SPACE(sizeof(struct in6_pktinfo)) + CMSG_SPACE(sizeof(uint16_t))];
};

static void put_control(struct msghdr *m, int level, int type, const void *data, size_t len)
{
	struct cmsghdr *c = (struct cmsghdr *)((char *)m->msg_control + m->msg_controllen);

	c->cmsg_level = level;
	c->cmsg_type = type;
	c->cmsg_len = CMSG_LEN(len);
	memcpy(CMSG_DATA(c), data, len);
	m->msg_controllen += CMSG_SPACE(len);
}

static void put_source(const struct datagrams_out *o, struct msghdr *m)
{
	struct in6_pktinfo info6 = {};
	struct in_pktinfo info4 = {};

	if (o->v6) {
		memcpy(&info6.ipi6_addr, o->from.b, 16);
		put_control(m, IPPROTO_IPV6, IPV6_PKTINFO, &info6, sizeof(info6));
	} else {
		memcpy(&info4.ipi_spec_dst, o->from.b + 12, 4);
		put_control(m, IPPROTO_IP, IP_PKTINFO, &info4, sizeof(info4));
	}
}

/* of the data, as datagrams of `each` bytes */
static bool send_some(const struct datagrams_out *o, size_t at, size_t len, size_t each)
{
	static const struct mvpn_addr any;
	const uint16_t size = (uint16_t)each;
	union control control = {};
	struct sockaddr_storage sa;
	struct iovec iov = {(void *)(uintptr_t)(o->data + at), len};
	struct msghdr m = {.msg_name = &sa,
			   .msg_namelen = mvpn_endpoint_to_sockaddr(&o->to, o->v6, &sa),
			   .msg_iov = &iov,
			   .msg_iovlen = 1,
			   .msg_control = &control};

	if (memcmp(&o->from, &any, sizeof(any)))
		put_source(o, &m);
	if (len > each)
		put_control(&m, IPPROTO_UDP, UDP_SEGMENT, &size, sizeof(size));
	if (!m.msg_controllen)
		m.msg_control = NULL;
	/* the first time it may say what became of an earlier one */
	return sendmsg(o->fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)len ||
	       (errno == ECONNREFUSED &&
		sendmsg(o->fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)len);
}

/* the way to a host behind a gateway may not take them together: its MTU is less than `each` */
static unsigned send_each(const struct datagrams_out *o)
{
	unsigned lost = 0;

	for (size_t at = 0; at < o->len; at += o->each) {
		size_t len = o->len - at < o->each ? o->len - at : o->each;

		lost += !send_some(o, at, len, len);
	}
	return lost;
}

unsigned datagrams_out_flush(struct datagrams_out *o)
{
	unsigned n = o->n;

	o->n = 0;
	if (!n || send_some(o, 0, o->len, o->each))
		return 0;
	return n > 1 ? send_each(o) : 1;
}

/* ---- collecting ---- */

static bool goes_with(const struct datagrams_out *o, int fd, const struct mvpn_endpoint *to,
		      const struct mvpn_addr *from, size_t len)
{
	return o->n && o->n < SEGMENTS_MAX && !o->ended && fd == o->fd && len && len <= o->each &&
	       o->len + len <= TOGETHER_B && !memcmp(to, &o->to, sizeof(*to)) &&
	       mvpn_addr_eq(from, &o->from);
}

unsigned datagrams_out_put(struct datagrams_out *o, int fd, const struct mvpn_endpoint *to,
			   const struct mvpn_addr *from, const uint8_t *data, size_t len)
{
	static const struct mvpn_addr any;
	unsigned lost = 0;

	from = from ? from : &any;
	if (len > ROOM_B)
		return 1;
	if (!goes_with(o, fd, to, from, len)) {
		lost = datagrams_out_flush(o);
		o->fd = fd;
		o->to = *to;
		o->from = *from;
		o->each = len;
		o->len = 0;
	}
	if (len)
		memcpy(o->data + o->len, data, len);
	o->len += len;
	o->n++;
	o->ended = len < o->each;
	return lost;
}
