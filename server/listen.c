/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "addr.h"
#include "channel.h"
#include "htab.h"
#include "listen.h"
#include "log.h"

#define BACKLOG 4096
#define ACCEPTS_AT_ONCE 16
#define SOURCES_MAX 16384 /* remembered; the least recently seen goes first */
#define PAUSE_MS 100	  /* after accept() failed for want of something */
#define PROVING 4	  /* times half_open_source: with its proof on the way a device is as old as so many that came after it */

struct source {
	struct hnode node;
	struct source *newer, *older; /* by last use */
	struct listener *l;
	struct mvpn_addr addr; /* host, or the /64 */
	unsigned half_open; /* and have proven nothing */
	struct unproven_list unproven; /* of these, those that the gate has not let by either */
	uint64_t at_ms, tokens; /* handshakes left, in 1/1000 */
};

struct listener {
	struct server *s;
	struct {
		int fd;
		struct loop_source *src;
		struct mvpn_endpoint at;
		struct listener *l;
	} sockets[SERVER_LISTEN_MAX];
	unsigned nsockets;
	struct loop_timer *pause;
	struct htab sources;
	struct source *newest, *oldest;
};

/* ---- sources ---- */

static void unlink_source(struct listener *l, struct source *src)
{
	*(src->newer ? &src->newer->older : &l->newest) = src->older;
	*(src->older ? &src->older->newer : &l->oldest) = src->newer;
	src->newer = src->older = NULL;
}

static void link_newest(struct listener *l, struct source *src)
{
	src->older = l->newest;
	if (src->older)
		src->older->newer = src;
	else
		l->oldest = src;
	l->newest = src;
}

static struct mvpn_addr source_key(const struct mvpn_addr *a)
{
	struct mvpn_addr key = *a;

	if (!mvpn_addr_is_v4(a))
		memset(key.b + 8, 0, 8);
	return key;
}

/* an entry without unfinished handshakes tells only a rate: it may go */
static void forget_one(struct listener *l)
{
	struct source *src = l->oldest;

	while (src && src->half_open)
		src = src->newer;
	if (!src)
		return;
	unlink_source(l, src);
	htab_del(&l->sources, &src->node);
	free(src);
}

static struct source *source_get(struct listener *l, const struct mvpn_addr *a)
{
	struct mvpn_addr key = source_key(a);
	uint64_t hash = htab_hash(&l->sources, &key, sizeof(key));
	struct source *src = NULL;

	for (struct hnode *n = htab_first(&l->sources, hash); n; n = htab_next(n)) {
		struct source *e = container_of(n, struct source, node);

		if (mvpn_addr_eq(&e->addr, &key)) {
			src = e;
			break;
		}
	}
	if (src) {
		unlink_source(l, src);
		link_newest(l, src);
		return src;
	}
	if (l->sources.count >= SOURCES_MAX)
		forget_one(l);
	src = calloc(1, sizeof(*src));
	if (!src)
		return NULL;
	src->l = l;
	src->addr = key;
	src->at_ms = mono_ms();
	src->tokens = l->s->conf->handshakes_source * 1000;
	htab_add(&l->sources, &src->node, hash);
	link_newest(l, src);
	return src;
}

void source_release(struct source *src)
{
	src->half_open--;
}

struct unproven_list *source_unproven(struct source *src)
{
	return &src->unproven;
}

/* nobody from there goes on unproven */
static bool source_busy(struct listener *l, struct source *src)
{
	const struct server_settings *conf = l->s->conf;
	uint64_t now = mono_ms(), full = conf->handshakes_source * 1000;

	if (src->half_open >= conf->half_open_source) {
		count(l->s, challenged_source);
		return true;
	}
	src->tokens += (now - src->at_ms) * conf->handshakes_source;
	src->at_ms = now;
	if (src->tokens > full)
		src->tokens = full;
	if (src->tokens < 1000) {
		count(l->s, challenged_rate);
		return true;
	}
	src->tokens -= 1000;
	return false;
}

static bool source_has_room(struct server *s, const struct source *src)
{
	return src->half_open < PROVING * s->conf->half_open_source || conn_evict(s, &src->unproven);
}

/* ---- accepting ---- */

static void admit(struct listener *l, int fd, const struct sockaddr_storage *ss)
{
	struct server *s = l->s;
	struct mvpn_endpoint from;
	struct source *src;
	bool busy;

	count(s, accepted);
	if (mvpn_endpoint_from_sockaddr(&from, (const struct sockaddr *)ss) < 0)
		goto refuse;
	if (s->nconns >= s->conf->max_channels) {
		count(s, refused_full);
		log_ratelimited(
			LOG_L_WARN,
			"max_channels (%llu) is reached: connections are refused; raise it in "
			"server.conf",
			(unsigned long long)s->conf->max_channels);
		goto refuse;
	}
	if (s->half_open >= s->conf->half_open && !conn_evict(s, &s->unproven)) {
		count(s, refused_half_open);
		goto refuse;
	}
	src = source_get(l, &from.addr);
	if (!src || !source_has_room(s, src))
		goto refuse;
	busy = source_busy(l, src);
	src->half_open++;
	if (conn_new(s, fd, &from, src, busy) < 0) {
		source_release(src);
		goto refuse;
	}
	return;
refuse:
	close(fd);
}

static void set_listening(struct listener *l, bool on)
{
	for (unsigned i = 0; i < l->nsockets; i++)
		loop_modify(l->sockets[i].src, on ? EPOLLIN : 0);
}

static void on_pause_over(void *arg)
{
	set_listening(arg, true);
}

static void on_accept(struct listener *l, int fd)
{
	for (int i = 0; i < ACCEPTS_AT_ONCE; i++) {
		struct sockaddr_storage ss;
		socklen_t len = sizeof(ss);
		int conn = accept4(fd, (struct sockaddr *)&ss, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (conn >= 0) {
			admit(l, conn, &ss);
			continue;
		}
		if (errno == EAGAIN || errno == ECONNABORTED || errno == EINTR)
			return;
		count(l->s, accept_failed);
		log_ratelimited(LOG_L_ERR,
				"accept: %s; raise LimitNOFILE= of the service if it stays so",
				strerror(errno));
		/* the connection stays in the backlog: without a pause we would spin on it */
		set_listening(l, false);
		loop_timer_arm(l->pause, PAUSE_MS);
		return;
	}
}

static void on_socket(void *arg, uint32_t events)
{
	struct listener *l = *(struct listener **)arg;

	for (unsigned i = 0; i < l->nsockets; i++)
		if (&l->sockets[i].l == arg)
			on_accept(l, l->sockets[i].fd);
}

static int open_socket(struct listener *l, const char *text)
{
	struct mvpn_endpoint ep;
	struct sockaddr_storage ss;
	socklen_t len;
	int fd, on = 1, off = 0, r;
	unsigned i = l->nsockets;

	r = server_listen_parse(&ep, text);
	if (r < 0)
		return r;
	len = mvpn_endpoint_to_sockaddr(&ep, false, &ss);
	fd = socket(ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (ss.ss_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, mvpn_addr_is_zero(&ep.addr) ? &off : &on,
			   sizeof(on));
	if (bind(fd, (struct sockaddr *)&ss, len) < 0 || listen(fd, BACKLOG) < 0 ||
	    getsockname(fd, (struct sockaddr *)&ss, &len) < 0) {
		r = -errno;
		close(fd);
		return r;
	}
	mvpn_endpoint_from_sockaddr(&l->sockets[i].at, (struct sockaddr *)&ss);
	l->sockets[i].fd = fd;
	l->sockets[i].l = l;
	r = loop_add_later(l->s->loop, fd, EPOLLIN, on_socket, &l->sockets[i].l, &l->sockets[i].src);
	if (r < 0) {
		close(fd);
		return r;
	}
	l->nsockets++;
	return 0;
}

int listener_new(struct server *s, char **ret_error)
{
	struct listener *l = calloc(1, sizeof(*l));
	int r = -ENOMEM;

	if (!l)
		return r;
	l->s = s;
	r = htab_init(&l->sources);
	if (r == 0)
		r = loop_timer_new(s->loop, on_pause_over, l, &l->pause);
	for (unsigned i = 0; i < s->conf->nlistens && r == 0; i++) {
		r = open_socket(l, s->conf->listens[i]);
		/* a host without IPv6 */
		if (r == -EAFNOSUPPORT && !strncmp(s->conf->listens[i], "[::]:", 5)) {
			char v4[32];

			snprintf(v4, sizeof(v4), "0.0.0.0%s", s->conf->listens[i] + 4);
			r = open_socket(l, v4);
		}
		if (r < 0 &&
		    asprintf(ret_error, "cannot listen on %s: %s%s", s->conf->listens[i],
			     strerror(-r),
			     r == -EADDRINUSE	   ? "; is another mvpn-server running? (ss -ltnp)"
			     : r == -EADDRNOTAVAIL ? "; this host has no such address (ip addr)"
						   : "") < 0)
			*ret_error = NULL;
	}
	if (r < 0) {
		listener_free(l);
		return r;
	}
	s->listener = l;
	return 0;
}

void listener_free(struct listener *l)
{
	if (!l)
		return;
	for (unsigned i = 0; i < l->nsockets; i++) {
		loop_remove(l->sockets[i].src);
		close(l->sockets[i].fd);
	}
	while (l->oldest) {
		struct source *src = l->oldest;

		unlink_source(l, src);
		free(src);
	}
	loop_timer_free(l->pause);
	htab_free(&l->sources);
	free(l);
}

/* 0.0.0.0, which is not all zeros as ::ffff:0.0.0.0 */
static bool is_any4(const struct mvpn_addr *a)
{
	static const uint8_t zero[4];

	return mvpn_addr_is_v4(a) && !memcmp(a->b + 12, zero, 4);
}

int listener_address(const struct listener *l, char *ret, size_t size)
{
	struct mvpn_endpoint best = {.port = l->nsockets ? l->sockets[0].at.port : 0};
	char text[MVPN_ADDRSTRLEN];
	struct ifaddrs *list;

	for (unsigned i = 0; i < l->nsockets; i++)
		if (!mvpn_addr_is_zero(&l->sockets[i].at.addr) &&
		    !is_any4(&l->sockets[i].at.addr)) {
			snprintf(ret, size, "%s", mvpn_endpoint_str(&l->sockets[i].at, text));
			return 0;
		}
	if (getifaddrs(&list) < 0)
		return -errno;
	for (struct ifaddrs *i = list; i; i = i->ifa_next) {
		struct mvpn_endpoint ep;

		if (!i->ifa_addr || !(i->ifa_flags & IFF_UP) ||
		    mvpn_endpoint_from_sockaddr(&ep, i->ifa_addr) < 0 ||
		    !mvpn_addr_is_ownable(&ep.addr))
			continue;
		if (mvpn_addr_is_zero(&best.addr) ||
		    (!mvpn_addr_is_v4(&best.addr) && mvpn_addr_is_v4(&ep.addr)))
			best.addr = ep.addr;
	}
	freeifaddrs(list);
	if (mvpn_addr_is_zero(&best.addr) || !best.port)
		return -ENOENT;
	snprintf(ret, size, "%s", mvpn_endpoint_str(&best, text));
	return 0;
}

unsigned listener_endpoints(const struct listener *l, struct mvpn_endpoint *ret)
{
	for (unsigned i = 0; i < l->nsockets; i++)
		ret[i] = l->sockets[i].at;
	return l->nsockets;
}

json_t *listener_json(const struct listener *l)
{
	json_t *list = json_array();
	char text[MVPN_ADDRSTRLEN];

	for (unsigned i = 0; i < l->nsockets; i++)
		json_array_append_new(list,
				      json_string(mvpn_endpoint_str(&l->sockets[i].at, text)));
	return list;
}
