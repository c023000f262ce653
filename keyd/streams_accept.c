/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A stream from the other end: OPEN, checked before anything is made for it, the application's connection, REPLY. The kernel hands
 * over a connection once something has come on it, and OPEN comes in one piece: who sends anything else is closed at once.
 */
#include <errno.h>
#include <sodium.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "log.h"
#include "peers.h"
#include "sessions.h"
#include "streams.h"

#define ACCEPTS_A_TURN 64

/* ---- REPLY ---- */

static int reply(struct stream *s, enum mvpn_reason why)
{
	uint8_t reason[2] = {(uint8_t)(why >> 8), (uint8_t)why},
		answer[STREAM_NONCE_B + sizeof(reason) + STREAM_OVERHEAD_B];
	int r;

	randombytes_buf(answer, STREAM_NONCE_B);
	r = stream_keys(s, answer);
	if (r < 0)
		return r;
	stream_seal(s->tx, STREAM_REPLY, reason, sizeof(reason), answer + STREAM_NONCE_B);
	return send(s->net.fd, answer, sizeof(answer), MSG_NOSIGNAL | MSG_DONTWAIT) ==
			       sizeof(answer)
		       ? 0
		       : -ECONNRESET;
}

static void refuse(struct stream *s, enum mvpn_reason why)
{
	s->k->counters[KC_STREAM_REFUSED]++;
	reply(s, why);
	stream_free(s);
}

/* ---- the application ---- */

/* how connect() to the application ended, for the one that is waiting for it */
static enum mvpn_reason why_not(int error)
{
	switch (error) {
	case ENETUNREACH:
	case EHOSTUNREACH:
	case EHOSTDOWN:
		return MVPN_R_STREAM_UNREACHABLE;
	case ETIMEDOUT:
		return MVPN_R_PEER_SILENT;
	case EADDRNOTAVAIL:
		return MVPN_R_STREAM_ADDRESS;
	case EACCES:
	case EPERM:
		return MVPN_R_DENIED;
	case EMFILE:
	case ENFILE:
	case ENOBUFS:
	case ENOMEM:
		return MVPN_R_LIMIT;
	default:
		return MVPN_R_STREAM_REFUSED;
	}
}

static void delivered(void *arg, uint32_t events)
{
	struct stream *s = arg;
	socklen_t len = sizeof(int);
	int error = 0;

	if (getsockopt(s->app.fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0 || error) {
		refuse(s, why_not(error));
		return;
	}
	stream_watch(s, &s->app, 0, NULL);
	if (reply(s, MVPN_R_NONE) < 0) {
		stream_abort(s, MVPN_R_INTERNAL);
		return;
	}
	s->k->counters[KC_STREAM_ACCEPTED]++;
	stream_run(s);
}

/* From the destination's own address, so that the kernel needs no other route, and in the client's name. */
static int deliver_here(struct stream *s, int fd)
{
	struct mvpn_endpoint from;
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);
	int r;

	if (getsockname(fd, (struct sockaddr *)&sa, &len) < 0)
		return -errno;
	r = mvpn_endpoint_from_sockaddr(&from, (struct sockaddr *)&sa);
	if (r == 0)
		r = shim_deliver_as(s->k->shim, &from, &s->t.src);
	if (r < 0)
		return r;
	len = mvpn_endpoint_to_sockaddr(&s->t.dst, false, &sa);
	if (connect(fd, (struct sockaddr *)&sa, len) < 0 && errno != EINPROGRESS) {
		r = -errno;
		shim_deliver_as(s->k->shim, &from, NULL);
	}
	return r;
}

/* A host behind this gateway: it sees the address that the kernel reaches it from. */
static int deliver_on(struct stream *s, int fd)
{
	struct sockaddr_storage sa;
	socklen_t len = mvpn_endpoint_to_sockaddr(&s->t.dst, false, &sa);

	stream_socket_far(fd);
	s->k->counters[KC_STREAM_FORWARDED]++;
	return connect(fd, (struct sockaddr *)&sa, len) < 0 && errno != EINPROGRESS ? -errno : 0;
}

static int deliver(struct stream *s)
{
	struct mvpn_endpoint from = {.addr = s->t.dst.addr};
	struct sockaddr_storage sa;
	socklen_t len = mvpn_endpoint_to_sockaddr(&from, false, &sa);
	int fd = socket(sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), r;

	if (fd < 0)
		return -errno;
	s->app.fd = fd;
	stream_socket(fd);
	if (bind(fd, (struct sockaddr *)&sa, len) == 0)
		r = deliver_here(s, fd);
	else
		r = errno == EADDRNOTAVAIL ? deliver_on(s, fd) : -errno;
	return r < 0 ? r : stream_watch(s, &s->app, EPOLLOUT, delivered);
}

/* from an address of the peer's to one of ours, or in a prefix that we are the gateway of */
static bool addresses_fit(struct keyd *k, const struct stream *s)
{
	const struct peer *twin = peer_by_id(k, s->peer->id);
	uint32_t from, to;

	return twin && lpm_lookup(k->prefixes, &s->t.src.addr, &from) && from == twin->index &&
	       lpm_lookup(k->prefixes, &s->t.dst.addr, &to) && to == KEYD_SELF;
}

static int serve(struct keyd *k, struct stream *s, const struct session *session)
{
	if (!addresses_fit(k, s))
		return -EADDRNOTAVAIL;
	/* the opener should have known */
	if (!session_serves(session, true, IPPROTO_TCP, s->t.dst.port))
		return -EACCES;
	return deliver(s);
}

/* ---- datagrams ---- */

/* one does for all of a peer's: who opens more of them takes no room from others */
static void datagrams_make_room(const struct peer *p)
{
	struct stream *oldest = NULL;
	unsigned n = 0;

	for (struct stream *s = p->streams; s; s = s->next) {
		if (s->kind != STREAM_DATAGRAMS || s->opener)
			continue;
		oldest = s;
		n++;
	}
	if (n >= MVPN_DATAGRAM_STREAMS_MAX)
		stream_abort(oldest, MVPN_R_REPLACED);
}

static void take_datagrams(struct stream *s)
{
	datagrams_make_room(s->peer);
	s->kind = STREAM_DATAGRAMS;
	if (reply(s, MVPN_R_NONE) < 0)
		stream_abort(s, MVPN_R_INTERNAL);
	else
		stream_run(s);
}

/* ---- OPEN ---- */

/* whose it is, and that it is new; NULL: a stranger's */
static struct session *check(struct keyd *k, const uint8_t open[static STREAM_OPEN_B],
			     enum stream_kind *ret_kind, struct stream_tuple *ret)
{
	struct session *s;
	struct stream_session keys;
	uint64_t number;
	uint32_t spi;
	int r;

	if (!stream_open_head(open, &spi, &number))
		return NULL;
	s = session_by_spi(k, spi);
	if (!s || !s->streams || !replay_check(&s->streams->seen, number))
		return NULL;
	keys = (struct stream_session){s->id, s->streams->keys + 32, s->streams->keys,
				       s->streams->suite};
	r = stream_open_open(open, &keys, ret_kind, ret);
	if (r < 0 && r != -EPROTO)
		return NULL;
	replay_update(&s->streams->seen, number);
	return r < 0 ? NULL : s;
}

static void take(struct keyd *k, int fd)
{
	uint8_t open[STREAM_OPEN_B];
	struct stream_tuple t;
	struct session *session = NULL;
	struct peer *p;
	enum stream_kind kind;
	struct stream *s;
	int r;

	if (recv(fd, open, sizeof(open), MSG_DONTWAIT) == sizeof(open))
		session = check(k, open, &kind, &t);
	s = session ? stream_new(k, session->peer, false) : NULL;
	if (!s) {
		k->counters[KC_STREAM_STRANGER] += !session;
		close(fd);
		return;
	}
	p = session->peer;
	s->net.fd = fd;
	s->t = t;
	memcpy(s->open, open, sizeof(s->open));
	memcpy(s->session, session->id, sizeof(s->session));
	session_stream_seen(session); /* may replace sessions, not end this one */
	stream_socket_far(fd);
	if (kind == STREAM_DATAGRAMS) {
		take_datagrams(s);
		return;
	}
	s->kind = kind;
	if (kind == STREAM_PROBE) {
		reply(s, MVPN_R_NONE);
		stream_free(s);
		return;
	}
	r = serve(k, s, session);
	if (r < 0) {
		log_ratelimited(LOG_L_WARN, "stream from %s refused: %s", peer_label(p),
				strerror(-r));
		refuse(s, why_not(-r));
	}
}

void streams_remote_ready(void *arg, uint32_t events)
{
	struct keyd *k = arg;
	struct sockaddr_storage from;

	for (unsigned i = 0; i < ACCEPTS_A_TURN; i++) {
		int fd = streams_accept(k, k->streams->remote, &from);

		if (fd < 0)
			return;
		take(k, fd);
	}
}
