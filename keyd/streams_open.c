/* SPDX-License-Identifier: BSD-2-Clause */
/* A stream from this end: for an application's connection that was diverted here, a session, the other keyd, OPEN and its REPLY. */
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "levels.h"
#include "log.h"
#include "peers.h"
#include "sessions.h"
#include "streams.h"

#define ANSWER_B (STREAM_NONCE_B + 2 + STREAM_OVERHEAD_B) /* nonce and REPLY */

/* ---- the other keyd's answer ---- */

/* It does not know the session, for it has restarted or given it up: once more, with a new one. */
static void session_unknown(struct stream *s)
{
	struct session *old = session_by_id(s->k, s->session);

	loop_remove(s->net.source);
	close(s->net.fd);
	s->net = (struct stream_half){.fd = -1};
	s->again = true;
	s->state = STREAM_WAITS;
	stream_unlink(s); /* the others are cut, if that was the last one */
	if (old)
		session_drop(old, MVPN_R_EXPIRED, true);
	stream_link(s);
	stream_open_begin(s);
}

/* silence there is silence here: the application's TCP asks again while it has patience */
static void refused(struct stream *s, enum mvpn_reason why)
{
	log_debug("stream to %s refused: %s", peer_label(s->peer), mvpn_reason_name(why));
	stream_abort(s, why == MVPN_R_PEER_SILENT ? MVPN_R_EXPIRED : why);
}

static void answered(struct stream *s, const uint8_t answer[static ANSWER_B])
{
	const uint8_t *record = answer + STREAM_NONCE_B;
	enum stream_record type;
	uint8_t reason[2];
	int n;

	n = stream_keys(s, answer);
	if (n == 0)
		n = stream_unseal(s->rx, record, ANSWER_B - STREAM_NONCE_B, &type, reason);
	if (n < 0 || type != STREAM_REPLY) {
		s->k->counters[KC_STREAM_BAD]++;
		stream_abort(s, MVPN_R_BAD_MESSAGE);
	} else if (s->kind == STREAM_PROBE) {
		stream_free(s);
	} else if (reason[0] || reason[1]) {
		refused(s, (unsigned)reason[0] << 8 | reason[1]);
	} else {
		const int one = 1;

		setsockopt(s->net.fd, SOL_SOCKET, SO_RCVLOWAT, &one, sizeof(one));
		s->k->counters[KC_STREAM_OPENED]++;
		stream_gateway_well(s);
		/* the pump's handler takes the place of ours */
		stream_watch(s, &s->net, 0, NULL);
		if (s->held)
			stream_answer(s);
		else
			stream_run(s);
	}
}

static void answer_ready(void *arg, uint32_t events)
{
	struct stream *s = arg;
	uint8_t answer[ANSWER_B];
	ssize_t n = recv(s->net.fd, answer, sizeof(answer), MSG_PEEK | MSG_DONTWAIT);

	if (n == sizeof(answer)) {
		if (recv(s->net.fd, answer, sizeof(answer), MSG_DONTWAIT) == n)
			answered(s, answer);
	} else if (n >= 0 || errno != EAGAIN) {
		if (n || s->again || s->kind == STREAM_PROBE)
			stream_unreached(s, MVPN_R_PEER_SILENT);
		else
			session_unknown(s);
	}
}

/* ---- the other keyd ---- */

static int send_open(struct stream *s)
{
	struct session *session = session_by_id(s->k, s->session);
	const int whole = ANSWER_B;
	struct stream_session keys;
	int r;

	if (!session)
		return -ENOKEY;
	keys = (struct stream_session){session->id, session->streams->keys,
				       session->streams->keys + 32, session->streams->suite};
	r = stream_open_seal(s->open, &keys, session->tx_spi, session->streams->next++, s->kind,
			     &s->t);
	if (r < 0)
		return r;
	setsockopt(s->net.fd, SOL_SOCKET, SO_RCVLOWAT, &whole, sizeof(whole));
	if (send(s->net.fd, s->open, sizeof(s->open), MSG_NOSIGNAL | MSG_DONTWAIT) !=
	    sizeof(s->open))
		return -ECONNRESET;
	s->state = STREAM_OPENS;
	loop_timer_arm(s->deadline, MVPN_STREAM_OPEN_S * 1000);
	stream_watch(s, &s->net, 0, NULL);
	return stream_watch(s, &s->net, EPOLLIN, answer_ready);
}

static void connected(void *arg, uint32_t events)
{
	struct stream *s = arg;
	socklen_t len = sizeof(int);
	int error = 0;

	if (getsockopt(s->net.fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0 || error ||
	    send_open(s) < 0) {
		char text[MVPN_ADDRSTRLEN];

		log_ratelimited(
			LOG_L_WARN,
			"no stream to %s: its keyd is not reached by TCP at %s (%s); is its "
			"data port open for TCP?",
			peer_label(s->peer), mvpn_endpoint_str(&s->peer->endpoint, text),
			strerror(error));
		stream_unreached(s, MVPN_R_PEER_SILENT);
	}
}

static bool owns(struct keyd *k, const struct peer *p, const struct mvpn_addr *a)
{
	uint32_t owner;

	return p && lpm_lookup(k->prefixes, a, &owner) && owner == p->index;
}

/* Where the other keyd is: as the server sees it; and at both levels an address of its own, to which packets are sealed. */
static struct mvpn_endpoint other_keyd(const struct stream *s, const struct session *session)
{
	const struct peer *twin = peer_by_id(s->k, s->peer->id);
	struct mvpn_endpoint to = s->peer->endpoint;

	if (peer_level(s->k, s->peer) != MVPN_LEVEL_BOTH || owns(s->k, twin, &to.addr))
		return to;
	for (unsigned i = 0; i < session->ncand; i++)
		if (owns(s->k, twin, &session->cand[i].addr)) {
			to.addr = session->cand[i].addr;
			break;
		}
	return to;
}

static void connect_out(struct stream *s, const struct session *session)
{
	const struct mvpn_endpoint there = other_keyd(s, session);
	struct sockaddr_storage to;
	socklen_t len = mvpn_endpoint_to_sockaddr(&there, false, &to);
	int r;

	if (s->kind == STREAM_CONNECTION &&
	    !session_serves(session, false, IPPROTO_TCP, s->t.dst.port)) {
		s->k->counters[KC_STREAM_REFUSED]++;
		stream_abort(s, MVPN_R_DENIED);
		return;
	}
	memcpy(s->session, session->id, sizeof(s->session));
	s->state = STREAM_CONNECTS;
	loop_timer_arm(s->deadline, stream_patience_ms(s, MVPN_STREAM_REACH_S));
	s->net.fd = socket(to.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	r = s->net.fd < 0 ? -errno : shim_stream_own(s->k->shim, s->net.fd);
	if (r == 0) {
		stream_socket_far(s->net.fd);
		r = connect(s->net.fd, (struct sockaddr *)&to, len) && errno != EINPROGRESS ? -errno
											    : 0;
	}
	if (r == 0)
		r = stream_watch(s, &s->net, EPOLLOUT, connected);
	if (r < 0) {
		log_ratelimited(LOG_L_WARN, "no stream to %s: %s", peer_label(s->peer),
				strerror(-r));
		/* for want of a descriptor it comes again */
		if (r == -ENETUNREACH || r == -EHOSTUNREACH)
			stream_unreached(s, MVPN_R_PEER_SILENT);
		else
			stream_abort(s, MVPN_R_LIMIT);
	}
}

/* ---- the session ---- */

void stream_open_begin(struct stream *s)
{
	const struct session *session = session_transmitting(s->peer);

	if (session) {
		connect_out(s, session);
		return;
	}
	if (s->peer->denied_until_ms) {
		stream_unreached(s, s->peer->error);
		return;
	}
	/* up or failed: we are told, and maybe at once. Then s is gone. */
	session_want(s->k, s->peer, &s->t.dst.addr, IPPROTO_TCP, s->t.dst.port);
}

void streams_session_up(struct peer *p)
{
	const struct session *session = session_transmitting(p);
	struct stream *s, *next;

	for (s = session ? p->streams : NULL; s; s = next) {
		next = s->next;
		if (s->state == STREAM_WAITS)
			connect_out(s, session);
	}
}

void streams_session_failed(struct peer *p, enum mvpn_reason why)
{
	struct stream *s, *next;

	/* asked for anew while the streams wait, or the peer's own introduction serves as well */
	if (why == MVPN_R_BUSY || why == MVPN_R_MODE || why == MVPN_R_STALE_BOOT)
		return;
	for (s = p->streams; s; s = next) {
		next = s->next;
		if (s->state == STREAM_WAITS)
			stream_unreached(s, why);
	}
}

void streams_probe(struct session *session)
{
	struct keyd *k = session->k;
	struct stream *s = k->streams ? stream_new(k, session->peer, true) : NULL;

	if (!s)
		return;
	s->kind = STREAM_PROBE;
	connect_out(s, session);
}
