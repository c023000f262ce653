/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Both directions of a stream that runs: a connection's on its pump, those of datagrams on the main thread. A side is read only while the other one takes what it gives, so that each direction holds
 * at most one record here, besides what the two sockets hold.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "datagrams.h"
#include "keytab.h"
#include "pumps.h"
#include "streams_class.h"

static void app_ready(void *arg, uint32_t events);
static void net_ready(void *arg, uint32_t events);

/* nothing to be done there but to hear of a reset: an end of both directions must not be told for ever */
#define NOTHING EPOLLET

static struct stream_room *room(const struct stream *s)
{
	return s->pump ? pump_room(s->pump) : &s->k->streams->room;
}

/* ---- what a socket does not take at once ---- */

/* 0; -errno */
static int flush(struct stream_half *h)
{
	while (h->out_at < h->out_len) {
		ssize_t n = send(h->fd, h->out + h->out_at, h->out_len - h->out_at,
				 MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0)
			return errno == EAGAIN ? 0 : -errno;
		h->out_at += (size_t)n;
	}
	free(h->out);
	h->out = NULL;
	return 0;
}

static int give(struct stream_half *h, const uint8_t *data, size_t len)
{
	ssize_t n = send(h->fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);

	if (n < 0 && errno != EAGAIN)
		return -errno;
	if (n < 0)
		n = 0;
	if ((size_t)n == len)
		return 0;
	h->out = malloc(len - (size_t)n);
	if (!h->out)
		return -ENOMEM;
	h->out_len = len - (size_t)n;
	h->out_at = 0;
	memcpy(h->out, data + n, h->out_len);
	return 0;
}

/* ---- application to network ---- */

/* a record each, and as many as fit go down together: TCP would make a packet of each */
static int seal_datagrams(struct stream *s)
{
	struct stream_room *m = room(s);
	size_t at = 0, len;

	while (at + STREAM_RECORD_MAX_B <= sizeof(m->sealed) && (len = datagrams_next(s, m->plain))) {
		kt_add(&s->sent, len);
		at += stream_seal(s->tx, STREAM_DATAGRAM, m->plain, len, m->sealed + at);
	}
	return at ? give(&s->net, m->sealed, at) ?: 1 : 0;
}

/*
 * A full record is whole segments, as many as TCP hands down at once. A little more, and each would leave a small packet behind it, and
 * come in two parts.
 */
static size_t record_for(int fd)
{
	int mss = 0;
	socklen_t len = sizeof(mss);

	getsockopt(fd, IPPROTO_TCP, TCP_MAXSEG, &mss, &len);
	if (mss <= STREAM_OVERHEAD_B || mss > MVPN_STREAM_BATCH_B)
		return MVPN_STREAM_DATA_MAX_B;
	return (size_t)(MVPN_STREAM_BATCH_B / mss * mss - STREAM_OVERHEAD_B);
}

/* 1: go on; 0: not now; -errno */
static int seal_some(struct stream *s)
{
	struct stream_room *m = room(s);
	ssize_t n;

	if (s->app.ended || s->net.out)
		return 0;
	if (s->kind == STREAM_DATAGRAMS)
		return seal_datagrams(s);
	if (!stream_class_open(s))
		return 0;
	n = recv(s->app.fd, m->plain, s->record_b, MSG_DONTWAIT);
	if (n < 0)
		return errno == EAGAIN ? 0 : -errno;
	s->app.ended = n == 0;
	kt_add(&s->sent, (uint64_t)n);
	stream_class_sent(s, (size_t)n);
	return give(&s->net, m->sealed,
		    stream_seal(s->tx, n ? STREAM_DATA : STREAM_FINAL, m->plain, (size_t)n,
				m->sealed)) ?:
		       1;
}

/* ---- network to application ---- */

static int open_record(struct stream *s, const uint8_t *record, size_t len)
{
	uint8_t *plain = room(s)->plain;
	enum stream_record type;
	int n = stream_unseal(s->rx, record, len, &type, plain);

	if (n < 0) {
		s->net.broken = true;
		s->end = STREAM_TAMPERED;
		return n;
	}
	if ((s->kind == STREAM_DATAGRAMS) != (type == STREAM_DATAGRAM) && type != STREAM_ABORT)
		return -EPROTO;
	switch (type) {
	case STREAM_DATAGRAM:
		kt_add(&s->received, (uint64_t)n);
		return datagrams_receive(s, plain, (size_t)n);
	case STREAM_DATA:
		kt_add(&s->received, (uint64_t)n);
		return give(&s->app, plain, (size_t)n);
	case STREAM_FINAL:
		s->shut = true;
		return 0;
	case STREAM_ABORT:
		s->net.broken = true;
		s->why = n == 2 ? (unsigned)plain[0] << 8 | plain[1] : MVPN_R_NONE;
		return -ECONNRESET;
	case STREAM_REPLY:
		break;
	}
	return -EPROTO;
}

static int keep(struct stream *s, const uint8_t *data, size_t len)
{
	free(s->in);
	s->in = len ? malloc(len) : NULL;
	s->in_len = len;
	if (len && !s->in)
		return -ENOMEM;
	if (len)
		memcpy(s->in, data, len);
	return 0;
}

/* whole records at the beginning of what is there, as far as the application takes them */
static int open_some(struct stream *s, size_t have)
{
	uint8_t *at = room(s)->sealed, *end = at + have;
	int r = 0, len;

	while (r == 0 && !s->app.out && end - at >= STREAM_HEAD_B) {
		len = stream_record_len(at);
		if (len < 0)
			return len;
		if (len > end - at)
			break;
		r = open_record(s, at, (size_t)len);
		at += len;
	}
	return r ?: keep(s, at, (size_t)(end - at));
}

/* is there a whole record among what was kept? */
static bool has_record(const struct stream *s)
{
	int len = s->in_len >= STREAM_HEAD_B ? stream_record_len(s->in) : 0;

	return len < 0 || (len && (size_t)len <= s->in_len);
}

static int receive_some(struct stream *s)
{
	struct stream_room *m = room(s);
	size_t have = s->in_len;
	ssize_t n = 0;
	int r;

	if (s->app.out || (s->net.ended && !has_record(s)))
		return 0;
	if (have)
		memcpy(m->sealed, s->in, have);
	if (!has_record(s)) {
		n = recv(s->net.fd, m->sealed + have, sizeof(m->sealed) - have, MSG_DONTWAIT);
		if (n < 0 && errno == EAGAIN)
			return 0;
		s->net.ended = n == 0;
		if (n < 0 || (!n && !s->shut)) {
			s->net.broken = true; /* truncated, by whomever */
			s->end = STREAM_TRUNCATED;
			return -ECONNRESET;
		}
	}
	r = open_some(s, have + (size_t)n);
	return r < 0 ? r : n > 0 || has_record(s);
}

/* ---- both ---- */

/*
 * Both directions have ended, and everything is with the sockets. The connection to the other keyd ends in the same order: closed any
 * sooner it would leave a rest in the kernel that is nobody's, whose packets the shim could not tell from a stranger's.
 */
static bool finished(struct stream *s)
{
	if (s->shut && !s->app.out)
		shutdown(s->app.fd, SHUT_WR); /* again does no harm */
	if (s->app.ended && !s->net.out)
		shutdown(s->net.fd, SHUT_WR);
	return s->shut && !s->app.out && s->app.ended && !s->net.out && s->net.ended;
}

int stream_rewatch(struct stream *s)
{
	uint32_t app = (s->app.ended || s->net.out || s->paced ? 0 : EPOLLIN) | (s->app.out ? EPOLLOUT : 0),
		 net = (s->net.ended || s->app.out ? 0 : EPOLLIN) |
		       (s->net.out || datagrams_waiting(s) ? EPOLLOUT : 0);

	if (s->kind == STREAM_DATAGRAMS)
		return stream_watch(s, &s->net, net ?: NOTHING, net_ready);
	return stream_watch(s, &s->app, app ?: NOTHING, app_ready) ?:
		       stream_watch(s, &s->net, net ?: NOTHING, net_ready);
}

static void over(struct stream *s)
{
	if (s->pump)
		pump_over(s);
	else
		stream_ended(s);
}

static void move(struct stream *s, int r)
{
	struct pump *pump = s->pump;
	uint64_t before = s->sent + s->received,
		 end = before + (pump ? pump_turn_b(pump) : MVPN_STREAM_TURN_B), moved;
	int out = 1, in = 1;

	if (r == 0 && s->app.out)
		r = flush(&s->app);
	if (r == 0 && s->net.out)
		r = flush(&s->net);
	/* what is kept here no event tells of; of what has nothing more now one will */
	while (r == 0 && (out || in) &&
	       (s->sent + s->received < end || (in && has_record(s)))) {
		out = out ? seal_some(s) : 0;
		in = out < 0 || !in ? 0 : receive_some(s);
		r = out < 0 ? out : in < 0 ? in : 0;
	}
	if (s->kind == STREAM_DATAGRAMS)
		datagrams_deliver_all(s->k);
	moved = s->sent + s->received - before;
	if (moved)
		atomic_store_explicit(&s->used_ms, mono_ms(), memory_order_relaxed);
	if (r == 0 && finished(s))
		s->end = STREAM_FINISHED;
	else if (r == 0)
		r = stream_rewatch(s);
	if (r < 0 || s->end)
		over(s);
	if (pump)
		pump_turn(pump, s, moved);
}

static void app_ready(void *arg, uint32_t events)
{
	move(arg, events & EPOLLERR ? -ECONNRESET : 0);
}

static void net_ready(void *arg, uint32_t events)
{
	struct stream *s = arg;

	s->net.broken = events & EPOLLERR;
	if (s->net.broken)
		s->end = STREAM_TRUNCATED;
	move(s, s->net.broken ? -ECONNRESET : 0);
}

void stream_move(struct stream *s)
{
	move(s, 0);
}

void stream_run(struct stream *s)
{
	s->state = STREAM_RUNS;
	loop_timer_free(s->deadline);
	s->deadline = NULL;
	s->record_b = record_for(s->net.fd);
	stream_class_begin(s);
	if (s->kind == STREAM_DATAGRAMS)
		move(s, 0);
	else if (pump_take(s) < 0)
		stream_abort(s, MVPN_R_LIMIT);
}
