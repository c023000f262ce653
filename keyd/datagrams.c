/* SPDX-License-Identifier: BSD-2-Clause */
/* The sockets that stand for remote ends: whom each stands for, and what comes from applications and goes to them. */
#include "datagrams.h"

#include <errno.h>
#include <linux/errqueue.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "datagrams_out.h"
#include "answer.h"
#include "log.h"
#include "peers.h"
#include "ports.h"
#include "processes.h"
#include "sockdiag.h"

#define TURN 64	/* datagrams of one socket before the others have their turn */
#define AT_ONCE 32 /* of them in one system call */
#define TICK_MS 10000
#define DATAGRAM_MAX_B 65536
#define PORTS 65536

struct end {
	struct hnode by_there; /* if assigned */
	struct keyd *k;
	struct mvpn_endpoint there;
	struct loop_source *source;
	int fd;
	uint16_t port;
	bool assigned;
	bool resting; /* stands for nobody any more, and not yet for another: an application may be connected to it still */
	uint32_t overflow; /* datagrams that the kernel has dropped */
	uint64_t used_ms;
	uint32_t owner; /* peer that had `there` when it was assigned */
	/* since it was assigned */
	struct mvpn_endpoint here;
	uint64_t since_ms, packets, bytes, bytes_in;
};

/* for one datagram that comes; of the pages of buf only what it takes is ever used */
struct room {
	struct sockaddr_storage from;
	struct iovec iov;
	union {
		struct cmsghdr h;
		char b[CMSG_SPACE(sizeof(uint32_t))];
	} control;
	uint8_t buf[DATAGRAM_MAX_B];
};

struct datagrams {
	struct end *ends[MVPN_DATAGRAM_ENDS_MAX];
	struct end *by_port[PORTS];
	unsigned n, assigned, resting;
	struct htab by_there;
	struct loop_timer *tick;
	struct mvpn_addr own4, own6;
	bool v6; /* the sockets are IPv6's, which take IPv4 too */
	struct room room[AT_ONCE];
	struct datagrams_out *out;
	uint8_t connected[PORTS / 8]; /* ports to which an application is connected: a bit each */
};

/* ---- which is whose ---- */

static struct end *find(struct datagrams *d, const struct mvpn_endpoint *there)
{
	uint64_t hash = htab_hash(&d->by_there, there, sizeof(*there));

	for (struct hnode *n = htab_first(&d->by_there, hash); n; n = htab_next(n)) {
		struct end *e = container_of(n, struct end, by_there);

		if (!memcmp(&e->there, there, sizeof(*there)))
			return e;
	}
	return NULL;
}

/* NULL: nobody has it now */
static struct peer *owner_of(struct keyd *k, const struct mvpn_addr *there)
{
	uint32_t owner;

	return lpm_lookup(k->prefixes, there, &owner) ? peer_by_index(k, owner) : NULL;
}

static void owned(const struct end *e, int n)
{
	struct peer *p = peer_by_index(e->k, e->owner);

	if (p)
		p->datagram_ends += (unsigned)n;
}

static void grow(struct keyd *k);

static void assign(struct end *e, const struct mvpn_endpoint *there)
{
	struct datagrams *d = e->k->datagrams;
	const struct peer *p = owner_of(e->k, &there->addr);

	e->owner = p ? p->index : MVPN_PEER_NONE;
	owned(e, 1);
	e->there = *there;
	e->assigned = true;
	e->used_ms = e->since_ms = mono_ms();
	e->packets = e->bytes = e->bytes_in = 0;
	htab_add(&d->by_there, &e->by_there, htab_hash(&d->by_there, there, sizeof(*there)));
	d->assigned++;
	grow(e->k);
}

/* has the shim given it to an application in the meantime? */
static bool assigned(struct end *e)
{
	struct mvpn_endpoint there;

	if (!e->assigned && !e->resting && !shim_datagram_end(e->k->shim, e->port, &there))
		assign(e, &there);
	return e->assigned;
}

/* one device is not to have the sockets of all others */
static bool has_room(struct keyd *k, const struct mvpn_addr *there)
{
	const struct peer *p = owner_of(k, there);

	if (!p || p->datagram_ends < MVPN_DATAGRAM_ENDS_PEER_MAX)
		return true;
	log_ratelimited(LOG_L_WARN, "%s sends datagrams from more than %u ends at once: the rest is lost", peer_label(p),
			(unsigned)MVPN_DATAGRAM_ENDS_PEER_MAX);
	return false;
}

static struct end *end_get(struct keyd *k, const struct mvpn_endpoint *there)
{
	struct datagrams *d = k->datagrams;
	struct end *e = find(d, there);
	uint16_t port;
	int r;

	if (e)
		return e;
	if (shim_datagram_port(k->shim, there, &port) < 0) {
		if (!has_room(k, &there->addr) || shim_datagram_take(k->shim, &port) < 0)
			return NULL;
		r = shim_datagram_assign(k->shim, port, there);
		if (r < 0)
			shim_datagram_ready(k->shim, port);
		/* an application was quicker */
		if (r < 0 && shim_datagram_port(k->shim, there, &port) < 0)
			return NULL;
	}
	e = d->by_port[port];
	return e && assigned(e) ? e : NULL;
}

/* ---- applications ---- */

static bool is_here(const struct keyd *k, const struct mvpn_addr *a)
{
	for (unsigned i = 0; i < k->naddresses; i++)
		if (mvpn_addr_eq(&k->addresses[i], a))
			return true;
	return false;
}

/* A host behind this gateway has no process that a line with `by` could mean. */
static bool may_send(const struct end *e, const struct mvpn_addr *from)
{
	struct keyd *k = e->k;
	const struct peer *p;
	uint32_t owner, line;

	if (!lpm_lookup(k->prefixes, from, &owner) || owner != KEYD_SELF)
		return false;
	if (is_here(k, from))
		return true;
	p = owner_of(k, &e->there.addr);
	return !p || !p->guard || processes_may(p->guard, 0, IPPROTO_UDP, e->there.port, &line);
}

static void from_application(struct end *e, const struct mvpn_endpoint *from, const uint8_t *data, size_t len)
{
	struct keyd *k = e->k;
	struct stream_tuple t = {.src = *from, .dst = e->there};

	if (!assigned(e) || !may_send(e, &from->addr)) {
		k->counters[KC_DATAGRAM_REFUSED]++;
		return;
	}
	t.dst = e->there;
	e->used_ms = mono_ms();
	e->here = *from;
	e->packets++;
	e->bytes += len;
	datagrams_send(k, &t, data, len);
}

/* what the kernel has dropped since, because the socket was full */
static void count_overflow(struct end *e, const struct msghdr *m)
{
	const struct cmsghdr *c = CMSG_FIRSTHDR(m);
	uint32_t n;

	if (!c || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SO_RXQ_OVFL)
		return;
	memcpy(&n, CMSG_DATA(c), sizeof(n));
	e->k->counters[KC_DATAGRAM_DROPPED] += n - e->overflow;
	e->overflow = n;
}

/* how many there were, AT_ONCE at most */
static unsigned receive_some(struct end *e)
{
	struct room *room = e->k->datagrams->room;
	struct mmsghdr m[AT_ONCE] = {};
	struct mvpn_endpoint from;
	int n;

	for (unsigned i = 0; i < AT_ONCE; i++) {
		room[i].iov = (struct iovec){room[i].buf, sizeof(room[i].buf)};
		m[i].msg_hdr = (struct msghdr){.msg_name = &room[i].from,
					       .msg_namelen = sizeof(room[i].from),
					       .msg_iov = &room[i].iov,
					       .msg_iovlen = 1,
					       .msg_control = room[i].control.b,
					       .msg_controllen = sizeof(room[i].control.b)};
	}
	n = recvmmsg(e->fd, m, AT_ONCE, MSG_DONTWAIT, NULL);
	for (int i = 0; i < n; i++) {
		count_overflow(e, &m[i].msg_hdr);
		if (!mvpn_endpoint_from_sockaddr(&from, (struct sockaddr *)&room[i].from))
			from_application(e, &from, room[i].buf, m[i].msg_len);
	}
	return n > 0 ? (unsigned)n : 0;
}

/* of ICMP's errors only "port unreachable" is one of the application's */
static bool nobody_listens(const struct msghdr *m)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR((struct msghdr *)(uintptr_t)m, c)) {
		struct sock_extended_err e;

		if ((c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_RECVERR) ||
		    (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_RECVERR)) {
			memcpy(&e, CMSG_DATA(c), sizeof(e));
			return e.ee_errno == ECONNREFUSED && (e.ee_origin == SO_EE_ORIGIN_ICMP ||
							      e.ee_origin == SO_EE_ORIGIN_ICMP6);
		}
	}
	return false;
}

/* one that could not be delivered; false: no more of them */
static bool hear_error(struct end *e)
{
	struct sockaddr_storage sa;
	union {
		struct cmsghdr h;
		char b[512];
	} control;
	struct msghdr m = {.msg_name = &sa,
			   .msg_namelen = sizeof(sa),
			   .msg_control = control.b,
			   .msg_controllen = sizeof(control.b)};
	struct stream_tuple t = {.src = e->there};

	if (recvmsg(e->fd, &m, MSG_DONTWAIT | MSG_ERRQUEUE) < 0)
		return false;
	if (e->assigned && nobody_listens(&m) && m.msg_namelen &&
	    !mvpn_endpoint_from_sockaddr(&t.dst, (struct sockaddr *)&sa))
		datagrams_return(e->k, &t);
	return true;
}

static void ready(void *arg, uint32_t events)
{
	struct end *e = arg;
	unsigned n, sum = 0;

	for (unsigned i = 0; events & EPOLLERR && i < TURN && hear_error(e); i++)
		;
	do {
		n = receive_some(e);
		sum += n;
	} while (n == AT_ONCE && sum < TURN);
	if (e->assigned)
		datagrams_flush(e->k, &e->there.addr);
}

/* The address that stands in for remote ends here. A host behind this gateway sees the one that the kernel reaches it from: NULL. */
static const struct mvpn_addr *source(const struct keyd *k, const struct mvpn_addr *to)
{
	const struct datagrams *d = k->datagrams;

	if (!is_here(k, to))
		return NULL;
	return mvpn_addr_is_v4(to) ? &d->own4 : &d->own6;
}

void datagrams_deliver(struct keyd *k, const struct stream_tuple *t, const uint8_t *data,
		       size_t len)
{
	struct end *e = k->datagrams ? end_get(k, &t->src) : NULL;

	if (!e) {
		k->counters[KC_DATAGRAM_NO_SOCKET]++;
		return;
	}
	e->used_ms = mono_ms();
	e->bytes_in += len;
	k->counters[KC_DATAGRAM_DROPPED] +=
		datagrams_out_put(k->datagrams->out, e->fd, &t->dst, source(k, &t->dst.addr), data, len);
}

void datagrams_untaken(struct keyd *k, const struct stream_tuple *t)
{
	const struct end *e = k->datagrams ? find(k->datagrams, &t->dst) : NULL;
	const struct mvpn_addr *own = e ? source(k, &t->src.addr) : NULL;
	int r;

	if (!own)
		return;
	r = answer_datagram(k->streams->answer, &t->src,
			    &(struct mvpn_endpoint){.addr = *own, .port = e->port}, ANSWER_PORT);
	if (r < 0)
		log_ratelimited(LOG_L_WARN, "an application is not told that nobody takes its datagrams: %s",
				strerror(-r));
}

void datagrams_deliver_all(struct keyd *k)
{
	if (k->datagrams)
		k->counters[KC_DATAGRAM_DROPPED] += datagrams_out_flush(k->datagrams->out);
}

/* ---- sockets ---- */

static bool has_ip6(void)
{
	int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return errno != EAFNOSUPPORT;
	close(fd);
	return true;
}

static int udp_socket(const struct datagrams *d)
{
	const int off = 0;
	int fd = socket(d->v6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	if (d->v6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	return fd;
}

static void end_free(struct end *e)
{
	loop_remove(e->source);
	if (e->assigned)
		owned(e, -1);
	if (e->fd >= 0)
		close(e->fd);
	if (e->port)
		ports_gone(e->k, IPPROTO_UDP, e->port);
	free(e);
}

static int end_add(struct keyd *k)
{
	struct datagrams *d = k->datagrams;
	struct end *e = calloc(1, sizeof(*e));
	const int on = 1;
	int r;

	if (!e)
		return -ENOMEM;
	e->k = k;
	r = e->fd = udp_socket(d);
	if (r < 0)
		goto fail;
	setsockopt(e->fd, SOL_SOCKET, SO_RXQ_OVFL, &on, sizeof(on));
	/* the socket's own family's, and IPv4's on IPv6's too */
	setsockopt(e->fd, IPPROTO_IP, IP_RECVERR, &on, sizeof(on));
	setsockopt(e->fd, IPPROTO_IPV6, IPV6_RECVERR, &on, sizeof(on));
	r = shim_stream_own(k->shim, e->fd);
	if (r == 0)
		r = ports_bind(k, e->fd, d->v6, IPPROTO_UDP, &e->port);
	if (r == 0)
		r = loop_add(k->loop, e->fd, EPOLLIN, ready, e, &e->source);
	if (r < 0)
		goto fail;
	d->ends[d->n++] = e;
	d->by_port[e->port] = e;
	return shim_datagram_ready(k->shim, e->port);
fail:
	end_free(e);
	return r;
}

/* so that enough are ready */
static void grow(struct keyd *k)
{
	struct datagrams *d = k->datagrams;

	while (d->n < MVPN_DATAGRAM_ENDS_MAX &&
	       d->n - d->assigned - d->resting < MVPN_DATAGRAM_READY) {
		int r = end_add(k);

		if (r < 0) {
			log_ratelimited(LOG_L_ERR,
					"no socket for datagrams of another remote end: %s, with %u; "
					"raise LimitNOFILE= of the service if it stays so",
					strerror(-r), d->n);
			return;
		}
	}
}

/* ---- ends that nobody speaks with ---- */

static void mark(void *arg, uint16_t port)
{
	struct datagrams *d = arg;

	d->connected[port / 8] |= (uint8_t)(1 << port % 8);
}

static bool is_connected(const struct datagrams *d, uint16_t port)
{
	return d->connected[port / 8] & 1 << port % 8;
}

static bool look_who_is_connected(struct datagrams *d)
{
	struct sockdiag *diag;
	int r = sockdiag_new(&diag);

	memset(d->connected, 0, sizeof(d->connected));
	if (r == 0) {
		r = sockdiag_udp_connected(diag, mark, d);
		sockdiag_free(diag);
	}
	if (r < 0)
		log_ratelimited(LOG_L_WARN, "cannot see which UDP sockets are connected: %s",
				strerror(-r));
	return r == 0;
}

/* Who has connected to it goes on for as long as it is; else it rests for as long again, then stands for another. */
static void look_after(struct end *e, uint64_t now)
{
	struct datagrams *d = e->k->datagrams;

	if (is_connected(d, e->port)) {
		e->used_ms = now;
	} else if (e->assigned) {
		shim_datagram_release(e->k->shim, e->port, &e->there);
		htab_del(&d->by_there, &e->by_there);
		owned(e, -1);
		e->assigned = false;
		e->resting = true;
		e->used_ms = now;
		d->assigned--;
		d->resting++;
	} else {
		while (recv(e->fd, NULL, 0, MSG_DONTWAIT | MSG_TRUNC) >= 0)
			;
		e->resting = false;
		d->resting--;
		shim_datagram_ready(e->k->shim, e->port);
	}
}

static void on_tick(void *arg)
{
	struct keyd *k = arg;
	struct datagrams *d = k->datagrams;
	uint64_t now = mono_ms();
	bool looked = false;

	loop_timer_arm(d->tick, TICK_MS);
	k->counters[KC_DATAGRAM_NO_SOCKET] += shim_datagram_refused(k->shim);
	for (unsigned i = 0; i < d->n; i++) {
		struct end *e = d->ends[i];

		assigned(e);
		if ((!e->assigned && !e->resting) ||
		    now - e->used_ms < MVPN_DATAGRAM_IDLE_S * 1000)
			continue;
		if (!looked && !look_who_is_connected(d))
			break;
		looked = true;
		look_after(e, now);
	}
	grow(k);
	datagrams_tick(k, now);
}

/* ---- all of them ---- */

void datagrams_addresses(struct keyd *k, const struct mvpn_addr *own4, const struct mvpn_addr *own6)
{
	if (k->datagrams) {
		k->datagrams->own4 = *own4;
		k->datagrams->own6 = *own6;
	}
}

void datagrams_each(const struct keyd *k, void (*fn)(void *arg, const struct datagram_use *u),
		    void *arg)
{
	const struct datagrams *d = k->datagrams;

	for (unsigned i = 0; d && i < d->n; i++) {
		const struct end *e = d->ends[i];
		struct datagram_use u = {e->here,  e->there,	{.port = e->port}, e->packets,
					 e->bytes, e->bytes_in, e->since_ms, e->used_ms};

		u.keyd.addr = mvpn_addr_is_v4(&e->there.addr) ? d->own4 : d->own6;
		if (e->assigned && e->packets)
			fn(arg, &u);
	}
}

unsigned datagrams_ends(const struct keyd *k)
{
	return k->datagrams ? k->datagrams->assigned : 0;
}

int datagrams_start(struct keyd *k)
{
	int r;

	if (k->datagrams)
		return 0;
	k->datagrams = calloc(1, sizeof(*k->datagrams));
	if (!k->datagrams)
		return -ENOMEM;
	k->datagrams->v6 = has_ip6();
	k->datagrams->out = datagrams_out_new(k->datagrams->v6);
	r = k->datagrams->out ? htab_init(&k->datagrams->by_there) : -ENOMEM;
	if (r == 0)
		r = loop_timer_new(k->loop, on_tick, k, &k->datagrams->tick);
	if (r < 0) {
		datagrams_stop(k);
		return r;
	}
	grow(k);
	loop_timer_arm(k->datagrams->tick, TICK_MS);
	return k->datagrams->n ? 0 : -EMFILE;
}

void datagrams_stop(struct keyd *k)
{
	struct datagrams *d = k->datagrams;

	if (!d)
		return;
	for (unsigned i = 0; i < d->n; i++)
		end_free(d->ends[i]);
	loop_timer_free(d->tick);
	htab_free(&d->by_there);
	datagrams_out_free(d->out);
	free(d);
	k->datagrams = NULL;
}
