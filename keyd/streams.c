/* SPDX-License-Identifier: BSD-2-Clause */
#include "streams.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "answer.h"
#include "datagrams.h"
#include "fsutil.h"
#include "log.h"
#include "peers.h"
#include "ports.h"
#include "pumps.h"
#include "secslab.h"
#include "sessions.h"

#define BACKLOG 4096
#define PROBE_AFTER_S 15 /* of silence, or up to PROBE_SPREAD_S more: those of many streams do not come at once, for a queue on the way may not hold them */
#define PROBE_SPREAD_S 20
#define PROBE_GAP_S 3 /* or up to PROBE_GAP_SPREAD_S more: some of them may be lost, and those that are do not come again together */
#define PROBE_GAP_SPREAD_S 3
#define SILENCE_TURNS 10 /* ticks after which all peers have been looked at */
#define PAUSE_MS 100 /* after accept() failed for want of something */

/* ---- sockets ---- */

void stream_socket(int fd)
{
	const int on = 1;

	/* neither can fail on a TCP socket, nor would the stream be wrong without */
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &on, sizeof(on));
}

/* No TCP_USER_TIMEOUT: it would end a stream whose reader takes nothing for so long, too, though it answers all the time. */
void stream_socket_far(int fd)
{
	const int on = 1, idle = PROBE_AFTER_S + (int)randombytes_uniform(PROBE_SPREAD_S),
		  gap = PROBE_GAP_S + (int)randombytes_uniform(PROBE_GAP_SPREAD_S),
		  probes = (MVPN_STREAM_SILENT_S - idle) / gap;

	stream_socket(fd);
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &gap, sizeof(gap));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(probes));
}

int stream_watch(struct stream *s, struct stream_half *h, uint32_t events, loop_io_fn *fn)
{
	int r = 0;

	if (events == h->events)
		return 0;
	h->events = events;
	if (!events) {
		/* not merely no events: hang-ups would be told for ever */
		loop_remove(h->source);
		h->source = NULL;
		return 0;
	}
	if (h->source)
		return loop_modify(h->source, events);
	r = loop_add(s->pump ? pump_loop(s->pump) : s->k->loop, h->fd, events, fn, s, &h->source);
	if (r)
		h->events = 0;
	return r;
}

static void half_unwatch(struct stream_half *h)
{
	loop_remove(h->source);
	h->source = NULL;
	h->events = 0;
}

void stream_unwatch(struct stream *s)
{
	half_unwatch(&s->app);
	half_unwatch(&s->net);
	loop_timer_free(s->pace);
	s->pace = NULL;
	s->paced = false;
}

static void half_close(struct stream_half *h)
{
	loop_remove(h->source);
	free(h->out);
	if (h->fd >= 0)
		close(h->fd);
}

void stream_reset(int fd)
{
	const struct linger reset = {1, 0};

	if (fd >= 0)
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
}

/* ---- one stream ---- */

void stream_link(struct stream *s)
{
	struct stream **list = &s->peer->streams;

	s->next = *list;
	s->prev = list;
	if (s->next)
		s->next->prev = &s->next;
	*list = s;
	s->peer->nstreams++;
}

void stream_unlink(struct stream *s)
{
	s->peer->nstreams--;
	*s->prev = s->next;
	if (s->next)
		s->next->prev = s->prev;
}

static void on_deadline(void *arg)
{
	struct stream *s = arg;

	/* the other keyd waits for the application there, or we for the one here: neither is the peer's silence */
	if (s->opener && s->state >= STREAM_OPENS)
		stream_abort(s, MVPN_R_EXPIRED);
	else
		stream_unreached(s, s->state == STREAM_WAITS && s->peer->error ? s->peer->error
									       : MVPN_R_PEER_SILENT);
}

/* the last few are for peers that have few */
static bool has_room(const struct streams *st, const struct peer *p)
{
	unsigned few = st->max / MVPN_STREAMS_SPARE;

	return st->count < st->max - few || (st->count < st->max && p->nstreams < few);
}

struct stream *stream_new(struct keyd *k, struct peer *p, bool opener)
{
	struct stream *s = has_room(k->streams, p) ? calloc(1, sizeof(*s)) : NULL;
	void *dirs = NULL;

	if (!s || loop_timer_new(k->loop, on_deadline, s, &s->deadline) ||
	    secslab_get(k->streams->slab, 2 * sizeof(struct stream_dir), &dirs)) {
		log_ratelimited(LOG_L_ERR,
				"no room for another stream with %s: there are %u, %u of them with it, of %u at most",
				peer_label(p), k->streams->count, p->nstreams, k->streams->max);
		k->counters[KC_STREAM_REFUSED]++;
		if (s)
			loop_timer_free(s->deadline);
		free(s);
		return NULL;
	}
	s->k = k;
	s->peer = p;
	s->opener = opener;
	s->state = opener ? STREAM_WAITS : STREAM_DELIVERS;
	s->tx = dirs;
	s->rx = s->tx + 1;
	s->app.fd = s->net.fd = -1;
	s->since_ms = s->used_ms = mono_ms();
	stream_link(s);
	k->streams->count++;
	loop_timer_arm(s->deadline, MVPN_STREAM_OPEN_S * 1000);
	return s;
}

void stream_free(struct stream *s)
{
	pump_leave(s);
	stream_unlink(s);
	datagrams_free(s);
	half_close(&s->app);
	half_close(&s->net);
	loop_timer_free(s->pace);
	loop_timer_free(s->deadline);
	secslab_put(s->k->streams->slab, s->tx);
	s->k->streams->count--;
	free(s->in);
	free(s);
}

void stream_abort(struct stream *s, enum mvpn_reason why)
{
	uint8_t reason[2] = {(uint8_t)(why >> 8), (uint8_t)why},
		record[sizeof(reason) + STREAM_OVERHEAD_B];
	bool keyed = s->state == STREAM_RUNS || s->state == STREAM_ANSWERS;
	size_t len;

	if (why == MVPN_R_SERVICE)
		stream_forbidden(s);
	pump_leave(s);
	if (keyed && !s->net.out && !s->net.broken) {
		len = stream_seal(s->tx, STREAM_ABORT, reason, sizeof(reason), record);
		if (send(s->net.fd, record, len, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)len)
			stream_reset(s->net.fd);
	} else {
		stream_reset(s->net.fd);
	}
	if (s->state != STREAM_RUNS)
		s->k->counters[KC_STREAM_REFUSED]++;
	stream_reset(s->app.fd);
	stream_unhold(s, why);
	stream_free(s);
}

int stream_keys(struct stream *s, const uint8_t nonce[static STREAM_NONCE_B])
{
	const struct session *session = session_by_id(s->k, s->session);
	struct stream_session keys = {.id = s->session};

	if (!session || !session->streams)
		return -ENOKEY;
	keys.suite = session->streams->suite;
	keys.k_opener = session->streams->keys + (s->opener ? 0 : 32);
	keys.k_acceptor = session->streams->keys + (s->opener ? 32 : 0);
	return stream_dirs(s->tx, s->rx, s->opener, &keys, s->open, nonce);
}

void stream_ended(struct stream *s)
{
	if (s->end == STREAM_FINISHED) {
		stream_free(s);
		return;
	}
	if (s->end == STREAM_TAMPERED) {
		s->k->counters[KC_STREAM_BAD]++;
		log_ratelimited(LOG_L_WARN, "a stream with %s was tampered with: cut", peer_label(s->peer));
	}
	s->k->counters[KC_STREAM_CUT] += s->end == STREAM_TRUNCATED;
	stream_abort(s, s->why);
}

/* ---- all of them ---- */

void streams_cut(struct peer *p, enum mvpn_reason why)
{
	struct keyd *k = p->streams ? p->streams->k : NULL;

	if (!k)
		return;
	pumps_hold(k);
	while (p->streams)
		stream_abort(p->streams, why);
	pumps_release(k);
}

/* something came lately: data, or an answer to a probe, of a window that is closed, too */
static bool heard(const struct stream *s, unsigned silent_ms)
{
	struct tcp_info info;
	socklen_t len = sizeof(info);

	return getsockopt(s->net.fd, IPPROTO_TCP, TCP_INFO, &info, &len) < 0 ||
	       info.tcpi_last_ack_recv < silent_ms || info.tcpi_last_data_recv < silent_ms;
}

/* an idle one TCP ends by itself, at the latest then */
void streams_cut_silent(struct peer *p, unsigned silent_ms)
{
	struct stream *s, *next;
	struct keyd *k = NULL;
	unsigned n = 0;

	for (s = p->streams; s; s = next) {
		next = s->next;
		if (s->state != STREAM_RUNS || heard(s, silent_ms))
			continue;
		k = s->k;
		if (!n++)
			pumps_hold(k);
		k->counters[KC_STREAM_CUT]++;
		s->net.broken = true;
		stream_abort(s, MVPN_R_PEER_SILENT);
	}
	if (!n)
		return;
	pumps_release(k);
	log_ratelimited(LOG_L_WARN, "%u connections at the socket level with %s cut: nothing has come back on them for %u s", n,
			peer_label(p), silent_ms / 1000);
}

void streams_tick(struct keyd *k)
{
	if (!k->streams)
		return;
	k->streams->turn = (k->streams->turn + 1) % SILENCE_TURNS;
	for (uint32_t i = 1 + k->streams->turn; i <= k->npeers; i += SILENCE_TURNS)
		streams_cut_silent(k->peers[i], MVPN_STREAM_SILENT_S * 1000);
}

unsigned streams_count(const struct keyd *k)
{
	unsigned n = 0;

	for (uint32_t i = 1; k->streams && i <= k->npeers; i++)
		for (const struct stream *s = k->peers[i]->streams; s; s = s->next)
			n += s->state == STREAM_RUNS && s->kind == STREAM_CONNECTION;
	return n;
}

uint16_t streams_port(const struct keyd *k)
{
	return k->streams ? k->streams->port : 0;
}

static void listen_for(struct streams *st, uint32_t events)
{
	loop_modify(st->local_source, events);
	loop_modify(st->remote_source, events);
}

static void on_pause_over(void *arg)
{
	listen_for(arg, EPOLLIN);
}

int streams_accept(struct keyd *k, int listener, struct sockaddr_storage *from)
{
	socklen_t len = sizeof(*from);
	int fd = accept4(listener, (struct sockaddr *)from, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd >= 0 || errno == EAGAIN || errno == ECONNABORTED || errno == EINTR)
		return fd;
	k->counters[KC_STREAM_REFUSED]++;
	log_ratelimited(LOG_L_ERR,
			"accepting a stream: %s, with %u streams; raise LimitNOFILE= of the "
			"service if it stays so",
			strerror(errno), k->streams->count);
	/* the connection stays in the backlog: without a pause we would spin on it */
	listen_for(k->streams, 0);
	loop_timer_arm(k->streams->pause, PAUSE_MS);
	return -1;
}

/* Of other keyds, on the data port's number: the kernel hands over a connection once something has come on it. */
static int listen_remote(struct keyd *k, int fd, bool v6)
{
	const struct mvpn_endpoint any6 = {.port = (uint16_t)k->conf.udp_port},
				   any4 = {{.b = {[10] = 0xff, [11] = 0xff}}, any6.port};
	const int on = 1, patience_s = MVPN_STREAM_OPEN_S;
	struct sockaddr_storage sa;
	socklen_t len = mvpn_endpoint_to_sockaddr(v6 ? &any6 : &any4, false, &sa);

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	/* who says nothing costs the kernel a request, and us nothing */
	setsockopt(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, &patience_s, sizeof(patience_s));
	return bind(fd, (struct sockaddr *)&sa, len) < 0 ? -errno : 0;
}

/* For diverted connections; no instant at which a SYN could pass. */
static int listen_local(struct keyd *k, int fd, bool v6)
{
	int r = shim_syns_hold(k->shim, fd);

	return r < 0 ? r : ports_bind(k, fd, v6, IPPROTO_TCP, &k->streams->port);
}

/* on every address, of both families if there are two */
static int listener(struct keyd *k, int (*how)(struct keyd *k, int fd, bool v6))
{
	int fd = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), r;
	const int off = 0;
	bool v6 = fd >= 0;

	if (!v6)
		fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (v6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	r = shim_stream_own(k->shim, fd);
	if (r == 0)
		r = how(k, fd, v6);
	if (r == 0 && listen(fd, BACKLOG) < 0)
		r = -errno;
	if (r < 0) {
		close(fd);
		return r;
	}
	return fd;
}

/* each has two sockets, and when they had all descriptors there would be no channel any more */
static unsigned streams_room(void)
{
	uint64_t files = files_allow(0),
		 room = files > MVPN_KEYD_FILES ? (files - MVPN_KEYD_FILES) / 2 : 0;

	if (room >= MVPN_STREAMS_MAX)
		return MVPN_STREAMS_MAX;
	log_ratelimited(LOG_L_WARN,
			"%llu streams at once, not %d: %llu descriptors are allowed; raise LimitNOFILE= of "
			"the service",
			(unsigned long long)room, MVPN_STREAMS_MAX, (unsigned long long)files);
	return (unsigned)room;
}

int streams_start(struct keyd *k)
{
	struct streams *st;
	int r;

	if (k->streams)
		return 0;
	st = calloc(1, sizeof(*st));
	if (!st)
		return -ENOMEM;
	k->streams = st;
	st->local = st->remote = -1;
	st->max = streams_room();
	r = secslab_new(&st->slab);
	if (!r)
		r = htab_init(&st->held);
	if (!r)
		r = answer_new(&st->answer);
	for (unsigned i = 0; !r && i < 2; i++)
		if (answer_fd(st->answer, i) >= 0)
			r = shim_stream_own(k->shim, answer_fd(st->answer, i));
	if (!r)
		r = loop_timer_new(k->loop, on_pause_over, st, &st->pause);
	if (!r)
		r = pumps_start(k);
	if (!r)
		r = st->remote = listener(k, listen_remote);
	if (r >= 0)
		r = st->local = listener(k, listen_local);
	if (r >= 0)
		r = loop_add(k->loop, st->remote, EPOLLIN, streams_remote_ready, k,
			     &st->remote_source);
	if (!r)
		r = loop_add(k->loop, st->local, EPOLLIN, streams_local_ready, k,
			     &st->local_source);
	if (!r)
		r = loop_add(k->loop, shim_syns_fd(k->shim), EPOLLIN, streams_syns_ready, k,
			     &st->syns_source);
	if (r < 0)
		streams_stop(k);
	return r;
}

void streams_stop(struct keyd *k)
{
	struct streams *st = k->streams;

	if (!st)
		return;
	for (uint32_t i = 1; i <= k->npeers; i++)
		streams_cut(k->peers[i], MVPN_R_SHUTDOWN);
	pumps_stop(k);
	loop_remove(st->syns_source);
	loop_remove(st->local_source);
	loop_remove(st->remote_source);
	if (st->local >= 0)
		close(st->local);
	if (st->port)
		ports_gone(k, IPPROTO_TCP, st->port);
	if (st->remote >= 0)
		close(st->remote);
	loop_timer_free(st->pause);
	answer_free(st->answer);
	htab_free(&st->held);
	secslab_free(st->slab);
	free(st);
	k->streams = NULL;
}
