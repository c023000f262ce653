/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <netinet/tcp.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "channel.h"
#include "delegate.h"
#include "depart.h"
#include "dispatch.h"
#include "echo.h"
#include "enrol.h"
#include "gate.h"
#include "half_open.h"
#include "introduce.h"
#include "listen.h"
#include "log.h"
#include "push.h"
#include "relay_device.h"
#include "relay_tcp.h"
#include "tables.h"

#define READ_B 16384
#define READS_AT_ONCE 4 /* then the other connections have their turn */
#define LINGER_MS 2000	/* for the other end to read CLOSE and hang up */
#define RETIRED_MS 3000 /* a device that made a new channel hangs up the old one */
#define HEARTBEAT_JITTER_MS 2000

static void on_timer(void *arg);
static void on_io(void *arg, uint32_t events);

struct conn *device_conn(const struct device *d)
{
	return d->conn && !d->conn->doomed && d->conn->phase == CONN_READY ? d->conn : NULL;
}

/* ---- life ---- */

static void set_options(int fd)
{
	unsigned timeout_ms = MVPN_CHAN_DEAD_S * 1000;
	int on = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms, sizeof(timeout_ms));
}

int conn_new(struct server *s, int fd, const struct mvpn_endpoint *from, struct source *src,
	     bool must_prove)
{
	struct conn *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return -ENOMEM;
	c->s = s;
	c->fd = fd;
	c->from = *from;
	c->heard_ms = c->budget_ms = mono_ms();
	c->budget = (int64_t)s->conf->messages_channel * 1000;
	c->since_at = wall_now();
	r = chan_new_server(&c->ch, &s->id.chan, enrol_psk, c);
	if (r == 0)
		r = loop_timer_new(s->loop, on_timer, c, &c->timer);
	if (r == 0)
		r = loop_add_later(s->loop, fd, EPOLLIN, on_io, c, &c->io);
	if (r < 0) {
		loop_timer_free(c->timer);
		chan_free(c->ch);
		free(c);
		return r;
	}
	chan_set_gate(c->ch, gate_ask);
	c->must_prove = must_prove;
	c->next = s->conns;
	if (c->next)
		c->next->prev = c;
	s->conns = c;
	s->nconns++;
	half_open_enter(c, src);
	loop_timer_arm(c->timer, s->conf->handshake_s * 1000);
	return 0;
}

static void conn_free(struct conn *c)
{
	struct server *s = c->s;

	half_open_leave(c);
	push_unsubscribe(c);
	tables_unsubscribe(c);
	echo_forget(c);
	loop_remove(c->io);
	loop_timer_free(c->timer);
	chan_free(c->ch);
	close(c->fd);
	if (c->prev)
		c->prev->next = c->next;
	else
		s->conns = c->next;
	if (c->next)
		c->next->prev = c->prev;
	s->nconns--;
	free(c->claims);
	free(c);
}

void conn_free_all(struct server *s)
{
	while (s->conns) {
		if (s->conns->dev)
			s->conns->dev->conn = NULL;
		conn_free(s->conns);
	}
	s->doomed = NULL;
}

static void let_go(struct conn *c)
{
	if (!c->dev)
		return;
	c->dev->conn = NULL;
	c->dev = NULL;
	push_unsubscribe(c);
	tables_unsubscribe(c);
}

void conn_detach(struct conn *c)
{
	struct device *d = c->dev;

	if (d)
		relay_tcp_close(d->conduit);
	let_go(c);
	if (d)
		relay_device_gone(c->s, d);
}

/* the conduit goes on: it is the device's, and each channel of the same life stands for it */
void conn_retire(struct conn *c)
{
	let_go(c);
	if (c->doomed || c->phase == CONN_CLOSING)
		return;
	c->phase = CONN_RETIRED;
	loop_timer_arm(c->timer, RETIRED_MS);
}

static void doom(struct conn *c)
{
	if (c->doomed)
		return;
	c->doomed = true;
	c->next_doomed = c->s->doomed;
	c->s->doomed = c;
	loop_timer_arm(c->s->reaper, 0);
}

void conn_drop(struct conn *c)
{
	c->drop = true;
	doom(c);
}

/* What a connection's end means to the device: it is off-line, and its open introductions fail. */
static void device_off(struct conn *c)
{
	struct device *d = c->dev;
	struct server *s = c->s;

	if (!d)
		return;
	conn_detach(c);
	d->row.last_seen_at = wall_now();
	server_seen(s, d);
	introduce_device_gone(s, d, MVPN_R_PEER_OFFLINE);
	depart_offline(s, d);
	log_debug("device %s is off-line", d->row.name);
}

static bool flush(struct conn *c)
{
	for (;;) {
		size_t len;
		const uint8_t *p = chan_output(c->ch, &len);
		ssize_t n;

		if (!len)
			break;
		n = send(c->fd, p, len, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0)
			return false;
		chan_sent(c->ch, (size_t)n);
	}
	return true;
}

/* bytes that the socket has not taken yet */
static size_t conn_queued(struct conn *c)
{
	size_t len;

	chan_output(c->ch, &len);
	return len;
}

static void update_events(struct conn *c)
{
	/* whoever else has written what was queued: something waits for the room that this made */
	bool want = conn_queued(c) > 0 || c->awaits_room;

	if (want == c->want_out)
		return;
	c->want_out = want;
	loop_modify(c->io, EPOLLIN | (want ? (uint32_t)EPOLLOUT : 0));
}

void conn_reaper(void *arg)
{
	struct server *s = arg;

	while (s->doomed) {
		struct conn *c = s->doomed;

		s->doomed = c->next_doomed;
		device_off(c);
		if (c->phase != CONN_CLOSING || c->drop || !flush(c)) {
			conn_free(c);
			continue;
		}
		/* CLOSE must not be lost to a reset: hang up this way only, and wait for the other end */
		c->doomed = false;
		half_open_leave(c);
		update_events(c);
		if (!conn_queued(c))
			shutdown(c->fd, SHUT_WR);
		loop_timer_arm(c->timer, LINGER_MS);
	}
}

void conn_close(struct conn *c, enum mvpn_reason reason)
{
	struct chan_buf b = {0};

	if (c->doomed || c->phase == CONN_CLOSING)
		return;
	if (chan_state(c->ch) == CHAN_UP) {
		chan_begin(&b, MVPN_MSG_CLOSE, 0, 0);
		chan_put_u16(&b, MVPN_TLV_REASON, (uint16_t)reason);
		chan_put(&b, MVPN_TLV_TEXT, mvpn_reason_text(reason),
			 strlen(mvpn_reason_text(reason)));
		chan_send(c->ch, &b);
		chan_buf_free(&b);
		flush(c); /* what it does not take now the reaper writes */
		c->phase = CONN_CLOSING;
	}
	doom(c);
}

/* ---- sending ---- */

void conn_send(struct conn *c, const struct chan_buf *b)
{
	int r;

	if (c->doomed || c->phase == CONN_CLOSING)
		return;
	r = chan_send(c->ch, b);
	if (r < 0) {
		if (r == -ENOBUFS)
			count(c->s, slow_reader);
		else
			log_err("message type %u to %s was not sent: %s", b->len ? b->data[0] : 0,
				c->dev ? c->dev->row.name : "a device", strerror(-r));
		conn_drop(c);
		return;
	}
	if (!flush(c))
		conn_drop(c);
	else
		update_events(c);
}

bool conn_has_room(struct conn *c)
{
	c->awaits_room = conn_queued(c) >= CONN_ROOM_B;
	return !c->doomed && !c->awaits_room;
}

void conn_pump(struct conn *c)
{
	bool more;

	do {
		more = conn_has_room(c) && tables_step(c);
		more |= conn_has_room(c) && push_step(c);
	} while (more);
}

/* ---- receiving ---- */

static void dead_channel(struct conn *c, int r)
{
	struct server *s = c->s;
	bool up = c->phase != CONN_HANDSHAKE;
	char text[MVPN_ADDRSTRLEN];

	mvpn_endpoint_str(&c->from, text);
	switch (r) {
	case -EPERM:
		count(s, bad_mac);
		break;
	case -EKEYREVOKED:
		flush(c);
		count(s, gone_key);
		log_ratelimited(LOG_L_WARN, "%s still pins a key that this server has given up: `mvpnctl pin` there, or a new token", text);
		break;
	case -EACCES:
		count(s, bad_proof);
		break;
	case -EPROTONOSUPPORT:
		count(s, bad_version);
		log_ratelimited(LOG_L_WARN, "%s speaks no version of the protocol that we know",
				text);
		break;
	case -EBADMSG:
		if (up)
			count(s, bad_frame);
		else
			count(s, bad_auth);
		log_ratelimited(LOG_L_WARN, "%s from %s does not authenticate",
				up ? "a frame" : "the handshake", text);
		break;
	default:
		if (up)
			count(s, bad_message);
		else
			count(s, bad_hello);
		log_ratelimited(LOG_L_WARN, "malformed %s from %s: closed",
				up ? "message" : "handshake", text);
	}
	conn_drop(c);
}

/* it is somebody's now, and is heard before strangers */
static int hear_first(struct conn *c)
{
	loop_remove(c->io);
	c->io = NULL;
	return loop_add(c->s->loop, c->fd, EPOLLIN | (c->want_out ? (uint32_t)EPOLLOUT : 0), on_io, c, &c->io);
}

static void handshake_done(struct conn *c)
{
	if (hear_first(c) < 0) {
		conn_drop(c);
		return;
	}
	half_open_leave(c);
	set_options(c->fd); /* not before: a flood should cost few system calls */
	count(c->s, handshake_ok);
	c->phase = CONN_LOGIN;
	/* REGISTER is due as soon as the handshake was */
	loop_timer_arm(c->timer, c->s->conf->handshake_s * 1000);
	enrol_channel_up(c);
}

static void handle_bytes(struct conn *c, const uint8_t *data, size_t len)
{
	struct chan_msg m;
	int r = chan_feed(c->ch, data, len);

	if (r == 0 && !flush(c)) {
		conn_drop(c);
		return;
	}
	if (r == 0 && c->phase == CONN_HANDSHAKE && chan_state(c->ch) == CHAN_UP)
		handshake_done(c);
	while (r == 0 && !c->doomed && c->phase != CONN_CLOSING &&
	       (r = chan_next(c->ch, &m)) == 1) {
		c->heard_ms = mono_ms();
		r = dispatch_message(c, &m);
		if (r == -EPROTO)
			conn_close(c, MVPN_R_BAD_MESSAGE);
	}
	if (r < 0 && !c->doomed)
		dead_channel(c, r);
	else if (r == -EPROTO)
		count(c->s, bad_message);
}

static void on_input(struct conn *c)
{
	uint8_t buf[READ_B];

	if (c->phase == CONN_HANDSHAKE && !c->looked && relay_tcp_takes(c)) {
		conn_drop(c);
		return;
	}
	for (int i = 0; i < READS_AT_ONCE && !c->doomed; i++) {
		ssize_t n = recv(c->fd, buf, sizeof(buf), MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n <= 0) {
			if (c->phase != CONN_CLOSING && c->phase != CONN_RETIRED)
				count(c->s, closed_by_peer);
			conn_drop(c);
			return;
		}
		if (c->phase != CONN_CLOSING)
			handle_bytes(c, buf, (size_t)n);
		if ((size_t)n < sizeof(buf))
			break;
	}
}

static void on_io(void *arg, uint32_t events)
{
	struct conn *c = arg;

	if (c->doomed)
		return;
	if (events & EPOLLOUT) {
		if (!flush(c)) {
			conn_drop(c);
			return;
		}
		if (c->phase == CONN_CLOSING && !conn_queued(c))
			shutdown(c->fd, SHUT_WR);
		conn_pump(c);
	}
	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
		on_input(c);
	if (!c->doomed)
		update_events(c);
}

void conn_beat_in(struct conn *c, int ms)
{
	int left_ms = delegate_left_ms(c->dev);

	loop_timer_arm(c->timer, left_ms < ms ? left_ms : ms);
}

static void on_timer(void *arg)
{
	struct conn *c = arg;
	uint64_t now = mono_ms();
	struct chan_buf *b = &c->s->buf;

	if (c->doomed)
		return;
	if (c->phase == CONN_RETIRED) {
		conn_close(c, MVPN_R_REPLACED);
		return;
	}
	if (c->phase != CONN_READY) {
		if (c->phase != CONN_CLOSING)
			count(c->s, handshake_timeout);
		conn_drop(c);
		return;
	}
	if (now - c->heard_ms >= MVPN_CHAN_DEAD_S * 1000) {
		count(c->s, dead_peer);
		log_info("device %s was silent for %d s: channel closed", c->dev->row.name,
			 MVPN_CHAN_DEAD_S);
		conn_drop(c);
		return;
	}
	if (delegate_expired(c->dev)) {
		log_info("device %s: its token's word is over: channel closed", c->dev->row.name);
		conn_close(c, MVPN_R_DELEGATION);
		return;
	}
	chan_begin(b, MVPN_MSG_HEARTBEAT, 0, 0);
	chan_put_u64(b, MVPN_TLV_TIME, (uint64_t)wall_now());
	gate_put_return(c->s, b);
	conn_send(c, b);
	/* jitter spreads the channels of a restart over time */
	conn_beat_in(c, MVPN_CHAN_HEARTBEAT_S * 1000 - randombytes_uniform(HEARTBEAT_JITTER_MS));
}
