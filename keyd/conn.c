/* SPDX-License-Identifier: BSD-2-Clause */
#include "conn.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "delegate.h"
#include "hsm.h"
#include "identity.h"
#include "log.h"

#define READ_B 65536
#define WORK_AT_ONCE 4096 /* some 2 ms, in which keyd does nothing else */

void conn_free(struct conn *c)
{
	if (!c)
		return;
	if (c->busy) {
		c->dead = true;
		return;
	}
	resolve_cancel(c->resolve);
	loop_remove(c->source);
	loop_timer_free(c->work);
	if (c->fd >= 0)
		close(c->fd);
	hsm_cancel(c->job);
	delegate_key_free(c->key);
	chan_free(c->chan);
	identity_free(c->fresh);
	free(c);
}

void conn_failed(struct conn *c, const char *fmt, ...)
{
	char *text = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		text = NULL;
	va_end(ap);
	channel_lost(c, text ? text : "failed");
	free(text);
	conn_free(c);
}

static const char *server_name(const struct conn *c)
{
	return c->fresh ? c->fresh->server : c->k->id->server;
}

void conn_flush(struct conn *c)
{
	const uint8_t *out;
	size_t len;
	ssize_t n;

	while ((out = chan_output(c->chan, &len)) && len) {
		n = send(c->fd, out, len, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0)
			break; /* EAGAIN waits for EPOLLOUT; real errors come by EPOLLERR */
		chan_sent(c->chan, n);
		c->said_ms = mono_ms();
	}
	chan_output(c->chan, &len);
	loop_modify(c->source, EPOLLIN | (len ? EPOLLOUT : 0));
}

/* ---- reading ---- */

static const char *handshake_error(const struct conn *c, int r)
{
	if (r == -EKEYREVOKED)
		return c->fresh ? "the token pins a key that the server has given up (it was changed since the token was made): use "
				  "another token"
				: mvpn_reason_text(MVPN_R_SERVER_KEY);
	if (c->fresh)
		return "the server closed the connection during enrolment: the token is not known "
		       "there (for another server, "
		       "forged, or removed), or the server was made anew";
	if (r == -EBADMSG)
		return "the server did not authenticate: another machine answers at its address, "
		       "or its key has changed";
	return "the server closed the connection before it showed its key: that is not the one pinned here (`mvpnctl pin` "
	       "pins another), or it is overloaded";
}

void conn_key_away(struct conn *c)
{
	const char *why = hsm_problem(c->k);

	conn_failed(c, "the key on the token cannot be used: %s", why ? why : "too much waits for it");
}

static void conn_computed(void *arg, const uint8_t dh[32]);

static void conn_messages(struct conn *c)
{
	struct chan_msg m;
	int r;

	while ((r = chan_next(c->chan, &m)) > 0) {
		r = channel_message(c, &m);
		if (c->dead)
			return;
		if (r) {
			c->k->counters[KC_BAD_MESSAGE]++;
			conn_failed(c, "message 0x%02x from the server: %s", m.type, strerror(-r));
			return;
		}
	}
	if (r < 0)
		conn_failed(c, "bytes from the server: %s", strerror(-r));
	else
		conn_flush(c);
}

/* the channel has taken bytes, or what the token has computed; before: its state then */
static void conn_fed(struct conn *c, enum chan_state before, int r)
{
	uint8_t peer[32];

	if (r) {
		conn_failed(c, "%s", before == CHAN_UP ? strerror(-r) : handshake_error(c, r));
		return;
	}
	if (!c->job && chan_wants_dh(c->chan, peer) &&
	    hsm_dh(c->k, peer, conn_computed, c, &c->job)) {
		conn_key_away(c);
		return;
	}
	if (chan_wants_work(c->chan) && !loop_timer_armed(c->work)) {
		log_ratelimited(LOG_L_INFO, "the server is under load: working for it");
		loop_timer_arm(c->work, 0);
	}
	if (before != CHAN_UP && chan_state(c->chan) == CHAN_UP) {
		c->answered = true;
		conn_flush(c);
		channel_up(c);
	}
	conn_messages(c);
}

static void conn_work(void *arg)
{
	struct conn *c = arg;
	int r = chan_work(c->chan, WORK_AT_ONCE);

	if (r < 0)
		conn_failed(c, "the server asks for work that cannot be done: %s", strerror(-r));
	else if (r)
		conn_flush(c);
	else
		loop_timer_arm(c->work, 0);
}

static void conn_computed(void *arg, const uint8_t dh[32])
{
	struct conn *c = arg;

	c->job = NULL;
	c->busy = true;
	if (dh)
		conn_fed(c, CHAN_HANDSHAKE, chan_give_dh(c->chan, dh));
	else
		conn_key_away(c);
	c->busy = false;
	if (c->dead)
		conn_free(c);
}

static void conn_read(struct conn *c)
{
	static uint8_t buf[READ_B];
	enum chan_state before = chan_state(c->chan);
	ssize_t n = recv(c->fd, buf, sizeof(buf), MSG_DONTWAIT);
	int r;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		if (before == CHAN_UP && !n && !c->welcomed && !c->key)
			delegate_void(c->k); /* a server that was restored may not know the key */
		if (before != CHAN_UP && !n)
			conn_failed(c, "%s", handshake_error(c, 0));
		else if (!n && !c->welcomed && !c->fresh)
			conn_failed(c, "the server closed the connection during log-in: it does not know this device (removed?)");
		else
			conn_failed(c, "%s",
				    n ? strerror(errno) : "the server closed the connection");
		return;
	}
	c->heard_ms = mono_ms();
	r = chan_feed(c->chan, buf, n);
	conn_fed(c, before, r);
}

/* ---- connect ---- */

static void conn_next_address(struct conn *c);

static void conn_ready(struct conn *c, uint32_t events)
{
	int error = 0;
	socklen_t len = sizeof(error);
	char text[MVPN_ADDRSTRLEN];

	if (c->connecting) {
		getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &len);
		if (error && c->at < c->nlist) {
			conn_next_address(c);
			return;
		}
		if (error) {
			conn_failed(c, "cannot connect to %s: %s",
				    mvpn_endpoint_str(&c->list[c->nlist - 1], text),
				    strerror(error));
			return;
		}
		c->connecting = false;
		c->reached = true;
		c->heard_ms = mono_ms();
	}
	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
		conn_read(c);
	else
		conn_flush(c);
}

static void conn_io(void *arg, uint32_t events)
{
	struct conn *c = arg;

	c->busy = true;
	conn_ready(c, events);
	c->busy = false;
	if (c->dead)
		conn_free(c);
}

static int conn_socket(const struct mvpn_endpoint *to)
{
	int on = 1, timeout_ms = MVPN_CHAN_DEAD_S * 1000;
	int fd = socket(mvpn_addr_is_v4(&to->addr) ? AF_INET : AF_INET6,
			SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms, sizeof(timeout_ms));
	return fd;
}

static void conn_next_address(struct conn *c)
{
	struct sockaddr_storage ss;
	socklen_t len;
	int r;

	loop_remove(c->source);
	c->source = NULL;
	if (c->fd >= 0)
		close(c->fd);
	c->fd = conn_socket(&c->list[c->at]);
	r = c->fd < 0 ? c->fd : 0;
	len = mvpn_endpoint_to_sockaddr(&c->list[c->at++], false, &ss);
	c->connecting = true;
	if (!r && connect(c->fd, (struct sockaddr *)&ss, len) && errno != EINPROGRESS)
		r = -errno;
	if (!r)
		r = loop_add(c->k->loop, c->fd, EPOLLIN | EPOLLOUT, conn_io, c, &c->source);
	if (!r)
		return;
	if (c->at < c->nlist)
		conn_next_address(c);
	else
		conn_failed(c, "cannot connect to %s: %s", server_name(c), strerror(-r));
}

/* the server on this host has every address of it, and devices come to any of them */
struct server_here {
	struct mvpn_endpoint *list;
	unsigned given, n;
	bool here;
};

static bool among(const struct server_here *s, const struct mvpn_addr *addr)
{
	for (unsigned i = 0; i < s->given; i++)
		if (mvpn_addr_eq(addr, &s->list[i].addr))
			return true;
	return false;
}

static int own_address(void *arg, unsigned ifindex, const struct mvpn_addr *addr)
{
	struct server_here *s = arg;

	s->here |= among(s, addr);
	if (s->n == MVPN_EXEMPT_MAX)
		return 0;
	s->list[s->n] = (struct mvpn_endpoint){*addr, s->list[0].port};
	s->n++;
	return 0;
}

/* more end points that are the server's, if one of these is on this host */
static unsigned exempt_here(struct keyd *k, struct mvpn_endpoint *list, unsigned n)
{
	struct server_here s = {.list = list, .given = n, .n = n};

	for (unsigned i = 0; i < n; i++)
		s.here |= mvpn_addr_is_loopback(&list[i].addr);
	return !nl_addr_list(k->nl, own_address, &s) && s.here ? s.n : n;
}

static void resolved(void *arg, const struct mvpn_endpoint *list, unsigned n, const char *error)
{
	struct conn *c = arg;
	const struct conn *now = c->k->conn;
	struct mvpn_endpoint exempt[MVPN_EXEMPT_MAX];
	unsigned nexempt = n;
	int r;

	c->resolve = NULL;
	if (!n) {
		conn_failed(c, "cannot resolve %s: %s", server_name(c), error);
		return;
	}
	memcpy(c->list, list, n * sizeof(*list));
	c->nlist = n;
	/* the channel itself must never be captured, or it could not come up */
	memcpy(exempt, list, n * sizeof(*list));
	if (now && now != c &&
	    now->at) /* the channel in use too, should its address be in the answer no more */
		exempt[nexempt++] = now->list[now->at - 1];
	nexempt = exempt_here(c->k, exempt, nexempt);
	r = shim_exempt_set(c->k->shim, exempt, nexempt);
	if (r)
		log_err("cannot exempt the channel from protection: %s; it may be captured by "
			"itself",
			strerror(-r));
	conn_next_address(c);
}

int conn_new(struct keyd *k, const struct chan_client *cc, const char *server, struct conn **ret)
{
	struct conn *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return -ENOMEM;
	c->k = k;
	c->fd = -1;
	c->started_ms = c->heard_ms = c->said_ms = mono_ms();
	r = chan_new_client(&c->chan, cc);
	if (!r)
		r = loop_timer_new(k->loop, conn_work, c, &c->work);
	if (!r)
		r = resolve_start(&c->resolve, k->loop, server, MVPN_CHAN_PORT, resolved, c);
	if (r) {
		conn_free(c);
		return r;
	}
	*ret = c;
	return 0;
}

/* ---- time ---- */

void conn_tick(struct conn *c, uint64_t now)
{
	struct chan_buf b = {0};
	char text[MVPN_ADDRSTRLEN];

	if (!c->welcomed) {
		if (now <= c->started_ms + 2 * MVPN_CHAN_HANDSHAKE_S * 1000)
			return;
		if (c->resolve) {
			conn_failed(c, "the name server does not answer for %s", server_name(c));
		} else if (c->connecting && c->at < c->nlist) {
			/* a host whose packets vanish, IPv6 without a route above all, must not hide the next one */
			c->started_ms = now;
			conn_next_address(c);
		} else {
			conn_failed(c, "no answer from the server at %s in %u s",
				    mvpn_endpoint_str(&c->list[c->at - 1], text),
				    2 * MVPN_CHAN_HANDSHAKE_S);
		}
		return;
	}
	if (now > c->heard_ms + MVPN_CHAN_DEAD_S * 1000) {
		conn_failed(c, "the server was silent for %u s", MVPN_CHAN_DEAD_S);
		return;
	}
	if (now > c->said_ms + MVPN_CHAN_HEARTBEAT_S * 1000) {
		chan_begin(&b, MVPN_MSG_HEARTBEAT, 0, 0);
		if (!chan_send(c->chan, &b))
			conn_flush(c);
		chan_buf_free(&b);
	}
}
