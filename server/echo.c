/* SPDX-License-Identifier: BSD-2-Clause */
#include "echo.h"

#include <endian.h>
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "crypto.h"
#include "echo_ends.h"
#include "forward.h"
#include "htab.h"
#include "listen.h"
#include "log.h"
#include "relay.h"
#include "secmem.h"

#define AT_ONCE 256 /* packets before the channels have their turn */
#define MASTER_B 32
#define PACKET_MAX_B 65536
#define SOCKET_BUF_B (4 << 20)

struct echo {
	struct server *s;
	struct {
		int fd;
		struct loop_source *src;
	} sockets[SERVER_LISTEN_MAX];
	unsigned nsockets;
	struct htab by_id;
	uint8_t *packet; /* PACKET_MAX_B */
	uint8_t *master; /* the ends' keys are derived from it: secmem cell */
	uint64_t serial;
};

/* a channel's */
struct echo_end {
	struct hnode by_id;
	struct conn *c;
	uint32_t id;
	uint64_t serial;
	struct echo_place place;
	bool blocked; /* it says that UDP does not pass */
	uint64_t conduit_counter; /* of its last conduit */
	_Atomic uint64_t relay_rate; /* fwd_may()'s, of relayed bytes */
	/* the address of ours that it asked last, and how: it hears others from no other */
	int fd;
	bool v6;
	char control[CMSG_SPACE(sizeof(struct in6_pktinfo))] __attribute__((aligned(8)));
	size_t controllen;
};

/* a question that has come, and the address of ours that it came to */
struct question {
	uint8_t *data;
	size_t len;
	int fd;
	struct sockaddr_storage from;
	struct iovec iov;
	struct msghdr m;
	char control[CMSG_SPACE(sizeof(struct in6_pktinfo))] __attribute__((aligned(8)));
};

/* ---- ends ---- */

static uint64_t id_hash(const struct echo *e, uint32_t id)
{
	return htab_hash(&e->by_id, &id, sizeof(id));
}

static struct echo_end *find(const struct echo *e, uint32_t id)
{
	struct hnode *n = htab_first(&e->by_id, id_hash(e, id));

	for (; n; n = htab_next(n)) {
		struct echo_end *end = container_of(n, struct echo_end, by_id);

		if (end->id == id)
			return end;
	}
	return NULL;
}

uint64_t echo_serial(struct echo *e)
{
	return ++e->serial;
}

void echo_key(const struct echo *e, uint64_t serial, uint8_t ret[ECHO_KEY_B])
{
	uint64_t serial_be = htobe64(serial);
	const struct mvpn_part parts[] = {{"mavp1 echo", 10}, {&serial_be, sizeof(serial_be)}};

	mvpn_blake2b(ret, ECHO_KEY_B, e->master, MASTER_B, parts, 2);
}

static struct echo_end *end_new(struct echo *e, struct conn *c)
{
	struct echo_end *end = calloc(1, sizeof(*end));

	if (!end)
		return NULL;
	end->c = c;
	end->serial = echo_serial(e);
	echo_place_init(&end->place, mono_ms());
	do
		end->id = randombytes_random();
	while (!end->id || find(e, end->id));
	htab_add(&e->by_id, &end->by_id, id_hash(e, end->id));
	return end;
}

void echo_welcome(struct conn *c, struct chan_buf *b)
{
	struct echo *e = c->s->echo;
	uint8_t v[MVPN_TLV_ECHO_B];
	uint32_t id_be;

	if (!e || !e->nsockets)
		return;
	if (!c->echo)
		c->echo = end_new(e, c);
	if (!c->echo)
		return;
	id_be = htobe32(c->echo->id);
	memcpy(v, &id_be, sizeof(id_be));
	echo_key(e, c->echo->serial, v + sizeof(id_be));
	chan_put(b, MVPN_TLV_ECHO, v, sizeof(v));
	sodium_memzero(v, sizeof(v));
}

void echo_forget(struct conn *c)
{
	if (!c->echo)
		return;
	htab_del(&c->s->echo->by_id, &c->echo->by_id);
	free(c->echo);
	c->echo = NULL;
}

bool echo_endpoint(const struct conn *c, struct mvpn_endpoint *ret)
{
	if (!c->echo || !c->echo->place.proven.port)
		return false;
	*ret = c->echo->place.proven;
	return true;
}

/* a device on this server's own host: others reach it by an address of its own */
static void not_loopback(const struct device *d, const struct conn *to, struct mvpn_endpoint *seen)
{
	if (!mvpn_addr_is_loopback(&seen->addr) || mvpn_addr_is_loopback(&to->from.addr))
		return;
	for (unsigned i = 0; i < d->nowned; i++)
		if (d->owned[i].len == 128) {
			seen->addr = d->owned[i].addr;
			return;
		}
}

void echo_seen(const struct device *d, const struct conn *to, uint8_t ret[ECHO_SEEN_B])
{
	struct mvpn_endpoint seen = {d->conn->from.addr, d->udp_port};

	echo_endpoint(d->conn, &seen);
	not_loopback(d, to, &seen);
	memcpy(ret, seen.addr.b, 16);
	ret[16] = (uint8_t)(seen.port >> 8);
	ret[17] = (uint8_t)seen.port;
}

void echo_put_endpoint(struct chan_buf *b, const struct device *d, const struct conn *to)
{
	uint8_t v[ECHO_SEEN_B];

	echo_seen(d, to, v);
	chan_put(b, MVPN_TLV_ENDPOINT, v, sizeof(v));
	if (echo_blocked(d->conn))
		chan_put_u8(b, MVPN_TLV_NO_UDP, 1);
}

bool echo_blocked(const struct conn *c)
{
	return c->echo && c->echo->blocked;
}

int echo_udp(struct conn *c, const struct chan_msg *m)
{
	if (c->echo)
		c->echo->blocked = m->flags & MVPN_UDP_BLOCKED;
	return 0;
}

struct conn *echo_find(const struct echo *e, uint32_t id, uint8_t ret_key[ECHO_KEY_B])
{
	struct echo_end *end = find(e, id);

	if (!end)
		return NULL;
	echo_key(e, end->serial, ret_key);
	return end->c;
}

bool echo_may_conduit(struct conn *c, uint64_t counter)
{
	if (counter <= c->echo->conduit_counter)
		return false;
	c->echo->conduit_counter = counter;
	return true;
}

bool echo_may_relay(struct conn *c, size_t len)
{
	return fwd_may(&c->echo->relay_rate, len, (uint32_t)c->s->conf->relay_mbit * 1000, mono_ns());
}

/* ---- questions ---- */

/* from the address that was asked, for NAT lets no other answer in; by whatever route */
static void from_there(struct msghdr *m)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		struct in6_pktinfo i6;
		struct in_pktinfo i4;

		if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
			memcpy(&i6, CMSG_DATA(c), sizeof(i6));
			if (!IN6_IS_ADDR_LINKLOCAL(&i6.ipi6_addr))
				i6.ipi6_ifindex = 0;
			memcpy(CMSG_DATA(c), &i6, sizeof(i6));
		} else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
			memcpy(&i4, CMSG_DATA(c), sizeof(i4));
			i4.ipi_spec_dst = i4.ipi_addr;
			i4.ipi_ifindex = 0;
			memcpy(CMSG_DATA(c), &i4, sizeof(i4));
		}
	}
}

/* false: no answer. It replaces the question. */
static bool answer(struct echo *e, struct question *q)
{
	struct mvpn_endpoint from;
	struct echo_end *end = NULL;
	uint8_t key[ECHO_KEY_B];
	uint32_t id;
	bool ok;

	if (mvpn_endpoint_from_sockaddr(&from, (struct sockaddr *)&q->from) == 0 &&
	    echo_look(q->data, q->len, MVPN_ECHO, &id))
		end = find(e, id);
	if (!end)
		return false;
	echo_key(e, end->serial, key);
	ok = echo_place_answer(&end->place, q->data, &from, key, mono_ms());
	if (ok) {
		from_there(&q->m);
		end->fd = q->fd;
		end->v6 = q->from.ss_family == AF_INET6;
		memcpy(end->control, q->control, sizeof(end->control));
		end->controllen = q->m.msg_controllen;
	}
	sodium_memzero(key, sizeof(key));
	return ok;
}

/* ---- sockets ---- */

static bool receive(int fd, struct question *q)
{
	ssize_t n;

	q->iov = (struct iovec){q->data, PACKET_MAX_B};
	q->fd = fd;
	q->m = (struct msghdr){.msg_name = &q->from,
			       .msg_namelen = sizeof(q->from),
			       .msg_iov = &q->iov,
			       .msg_iovlen = 1,
			       .msg_control = q->control,
			       .msg_controllen = sizeof(q->control)};
	do
		n = recvmsg(fd, &q->m, MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	q->len = n < 0 ? 0 : (size_t)n;
	return n >= 0;
}

bool echo_send(struct conn *to, const uint8_t *data, size_t len)
{
	struct echo_end *end = to->echo;
	struct iovec iov = {(void *)data, len};
	struct sockaddr_storage ss;
	struct msghdr m = {.msg_name = &ss, .msg_iov = &iov, .msg_iovlen = 1};

	if (!end || !end->place.proven.port)
		return false;
	m.msg_namelen = mvpn_endpoint_to_sockaddr(&end->place.proven, end->v6, &ss);
	m.msg_control = end->control;
	m.msg_controllen = end->controllen;
	return sendmsg(end->fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0;
}

/* a packet of a relayed session, whole; false: it is none */
static bool pass_on(struct echo *e, const struct question *q)
{
	struct mvpn_endpoint from;

	return mvpn_endpoint_from_sockaddr(&from, (struct sockaddr *)&q->from) == 0 &&
	       !(q->m.msg_flags & MSG_TRUNC) &&
	       relay_packet(e->s->relay, q->data, q->len, &from, NULL);
}

static void on_socket(struct echo *e, int fd)
{
	struct question q;

	q.data = e->packet;
	for (unsigned i = 0; i < AT_ONCE && receive(fd, &q); i++) {
		if (pass_on(e, &q))
			continue;
		if (!answer(e, &q)) {
			count(e->s, echo_refused);
			continue;
		}
		count(e->s, echoes);
		q.iov.iov_len = MVPN_ECHO_B;
		/* a full socket: it is asked again */
		if (sendmsg(fd, &q.m, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
			log_ratelimited(LOG_L_DEBUG, "an echo could not be answered: %s",
					strerror(errno));
	}
}

static void on_readable(void *arg, uint32_t events)
{
	struct echo *e = arg;

	for (unsigned i = 0; i < e->nsockets; i++)
		on_socket(e, e->sockets[i].fd);
}

/* what is passed on is never fragmented: the ends find out what fits. Bursts of it must find room. */
static int whole(int fd, bool v6)
{
	int probe = IP_PMTUDISC_PROBE, probe6 = IPV6_PMTUDISC_PROBE, size = SOCKET_BUF_B;

	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	if (v6 && setsockopt(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, &probe6, sizeof(probe6)) < 0)
		return -1;
	return setsockopt(fd, IPPROTO_IP, IP_MTU_DISCOVER, &probe, sizeof(probe));
}

static int open_socket(struct echo *e, const struct mvpn_endpoint *at)
{
	struct sockaddr_storage ss;
	socklen_t len = mvpn_endpoint_to_sockaddr(at, false, &ss);
	int fd = socket(ss.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	bool v6 = ss.ss_family == AF_INET6;
	int on = 1, only = !mvpn_addr_is_zero(&at->addr), r;

	if (fd < 0)
		return -errno;
	if ((v6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof(only)) < 0) ||
	    setsockopt(fd, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_RECVPKTINFO : IP_PKTINFO, &on,
		       sizeof(on)) < 0 ||
	    whole(fd, v6) < 0 ||
	    bind(fd, (struct sockaddr *)&ss, len) < 0)
		r = -errno;
	else
		r = loop_add(e->s->loop, fd, EPOLLIN, on_readable, e, &e->sockets[e->nsockets].src);
	if (r < 0) {
		close(fd);
		return r;
	}
	e->sockets[e->nsockets++].fd = fd;
	return 0;
}

/* ---- making ---- */

int echo_new(struct server *s)
{
	struct mvpn_endpoint at[SERVER_LISTEN_MAX];
	unsigned n = listener_endpoints(s->listener, at);
	struct echo *e = calloc(1, sizeof(*e));
	char text[MVPN_ADDRSTRLEN];
	int r;

	if (!e)
		return -ENOMEM;
	e->s = s;
	s->echo = e;
	r = htab_init(&e->by_id);
	e->packet = malloc(PACKET_MAX_B);
	e->master = r ? NULL : secmem_alloc();
	if (!e->master || !e->packet)
		return r ? r : -ENOMEM;
	randombytes_buf(e->master, MASTER_B);
	for (unsigned i = 0; i < n; i++) {
		r = open_socket(e, &at[i]);
		if (r < 0)
			log_warn("UDP %s: %s; devices behind NAT will not learn how they are seen",
				 mvpn_endpoint_str(&at[i], text), strerror(-r));
	}
	return 0;
}

void echo_free(struct echo *e)
{
	if (!e)
		return;
	for (unsigned i = 0; i < e->nsockets; i++) {
		loop_remove(e->sockets[i].src);
		close(e->sockets[i].fd);
	}
	htab_free(&e->by_id);
	secmem_free(e->master);
	free(e->packet);
	free(e);
}
