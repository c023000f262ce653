/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What connect() of an application says. Its SYN waits (bpf/syn.h) while the stream is opened, and then has the answer of the other
 * end: it passes, or comes back refused or unreachable; or it has none, and TCP sends it again, which opens another stream, until its
 * own patience is over.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "answer.h"
#include "log.h"
#include "peers.h"
#include "streams.h"

#define SYNS_A_TURN 64
#define ACCEPTS_A_TURN 64

/* a SYN that waits, or has passed and is not accepted yet */
struct stream_held {
	struct hnode by_from;
	struct stream *stream;
	struct answer_syn syn;
};

static struct stream_held *find(struct streams *st, const struct mvpn_endpoint *from)
{
	for (struct hnode *n = htab_first(&st->held, htab_hash(&st->held, from, sizeof(*from))); n;
	     n = htab_next(n)) {
		struct stream_held *h = container_of(n, struct stream_held, by_from);

		if (!memcmp(&h->syn.from, from, sizeof(*from)))
			return h;
	}
	return NULL;
}

/* ---- answers ---- */

/* nothing is said where the other end has said nothing, or will know more later */
static bool silent(enum mvpn_reason why)
{
	return why == MVPN_R_NONE || why == MVPN_R_EXPIRED || why == MVPN_R_REPLACED ||
	       why == MVPN_R_BUSY || why == MVPN_R_LIMIT || why == MVPN_R_INTERNAL;
}

static enum answer_error unreachable(enum mvpn_reason why)
{
	switch (why) {
	case MVPN_R_PEER_OFFLINE:
	case MVPN_R_PEER_SILENT:
	case MVPN_R_UNKNOWN_DST:
	case MVPN_R_BAD_MESSAGE:
	case MVPN_R_KEY_AWAY:
	case MVPN_R_STREAM_ADDRESS:
	case MVPN_R_STREAM_UNREACHABLE:
		return ANSWER_HOST;
	default: /* policy, or what the two devices think of each other */
		return ANSWER_PROHIBITED;
	}
}

static void answer(struct streams *st, const struct answer_syn *syn, enum mvpn_reason why)
{
	int r;

	if (silent(why))
		return;
	r = why == MVPN_R_STREAM_REFUSED || why == MVPN_R_SHUTDOWN
		    ? answer_reset(st->answer, syn)
		    : answer_unreachable(st->answer, syn, unreachable(why));
	if (r < 0)
		log_ratelimited(LOG_L_WARN, "an application is not told that its connection failed: %s",
				strerror(-r));
}

/* A reset ends it. What else is said may be lost, when the program is just busy with its socket: its SYN comes again. */
void stream_unhold(struct stream *s, enum mvpn_reason why)
{
	struct stream_held *h = s->held;
	struct streams *st = s->k->streams;

	if (!h)
		return;
	answer(st, &h->syn, why);
	if (why == MVPN_R_STREAM_REFUSED || s->state >= STREAM_ANSWERS)
		shim_undiverted(s->k->shim, &h->syn.from);
	htab_del(&st->held, &h->by_from);
	free(h);
	s->held = NULL;
}

static int pass(struct stream *s)
{
	const struct answer_syn *syn = &s->held->syn;
	int r = shim_syn_passes(s->k->shim, &syn->from, answer_syn_number(syn));

	return r < 0 ? r : answer_again(s->k->streams->answer, syn);
}

void stream_answer(struct stream *s)
{
	int r;

	s->state = STREAM_ANSWERS;
	loop_timer_arm(s->deadline, MVPN_STREAM_ANSWER_S * 1000);
	r = pass(s);
	if (r < 0) {
		log_ratelimited(LOG_L_WARN, "an application is not told that its connection is there: %s",
				strerror(-r));
		stream_abort(s, MVPN_R_INTERNAL);
	}
}

/* ---- SYNs ---- */

static void begin(struct keyd *k, const struct answer_syn *syn)
{
	struct stream_held *h;
	struct mvpn_endpoint to;
	struct stream *s;
	struct peer *p;

	if (shim_diverted(k->shim, &syn->from, &to) < 0) {
		k->counters[KC_STREAM_STRANGER]++; /* it came here by itself */
		answer(k->streams, syn, MVPN_R_STREAM_REFUSED);
		return;
	}
	p = streams_peer(k, &to.addr);
	if (!p) {
		answer(k->streams, syn, MVPN_R_UNKNOWN_DST);
		return;
	}
	h = calloc(1, sizeof(*h));
	s = h ? stream_new(k, p, true) : NULL;
	if (!s) {
		free(h);
		return; /* it comes again */
	}
	s->t.src = syn->from;
	s->t.dst = to;
	loop_timer_arm(s->deadline, stream_patience_ms(s, MVPN_STREAM_OPEN_S));
	s->held = h;
	h->stream = s;
	h->syn = *syn;
	htab_add(&k->streams->held, &h->by_from,
		 htab_hash(&k->streams->held, &syn->from, sizeof(syn->from)));
	stream_open_begin(s);
}

static void on_syn(void *arg, const struct mvpn_syn *e)
{
	struct keyd *k = arg;
	struct answer_syn syn;
	struct stream_held *h;

	memset(&syn, 0, sizeof(syn));
	if (e->len < 20 || e->len > sizeof(syn.tcp))
		return;
	shim_end_get(&syn.from, &e->from);
	shim_end_get(&syn.at, &e->at);
	syn.len = e->len;
	memcpy(syn.tcp, e->tcp, e->len);
	h = find(k->streams, &syn.from);
	if (h && answer_syn_number(&h->syn) == answer_syn_number(&syn)) {
		if (h->stream->state == STREAM_ANSWERS)
			pass(h->stream);
		return;
	}
	if (h) /* the program has given that one up */
		stream_abort(h->stream, MVPN_R_NONE);
	begin(k, &syn);
}

void streams_syns_ready(void *arg, uint32_t events)
{
	struct keyd *k = arg;

	shim_syns(k->shim, SYNS_A_TURN, on_syn, k);
}

/* ---- what has passed ---- */

static void take(struct keyd *k, int fd, const struct mvpn_endpoint *from)
{
	struct stream_held *h = find(k->streams, from);
	struct stream *s = h ? h->stream : NULL;
	const int none = 0;

	if (!s || s->state != STREAM_ANSWERS) {
		stream_reset(fd);
		close(fd);
		return;
	}
	setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, &none, sizeof(none));
	stream_socket(fd);
	s->app.fd = fd;
	stream_unhold(s, MVPN_R_NONE);
	stream_run(s);
}

void streams_local_ready(void *arg, uint32_t events)
{
	struct keyd *k = arg;
	struct sockaddr_storage sa;
	struct mvpn_endpoint from;

	for (unsigned i = 0; i < ACCEPTS_A_TURN; i++) {
		int fd = streams_accept(k, k->streams->local, &sa);

		if (fd < 0)
			return;
		if (mvpn_endpoint_from_sockaddr(&from, (struct sockaddr *)&sa))
			close(fd);
		else
			take(k, fd, &from);
	}
}
