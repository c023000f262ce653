/* SPDX-License-Identifier: BSD-2-Clause */
/* The stream that carries the datagrams between this host and another: made for the first one, and ended when there are no more. */
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "datagrams.h"
#include "log.h"
#include "peers.h"
#include "sessions.h"
#include "streams_class.h"

/* one that waits */
struct queued {
	struct queued *next;
	size_t len;
	uint8_t record[];
};
struct datagram_queue {
	struct queued *first, **last;
	size_t bytes;
	uint64_t used_ms;
};

/* ---- the queue ---- */

static struct datagram_queue *queue_get(struct stream *s)
{
	if (!s->queue) {
		s->queue = calloc(1, sizeof(*s->queue));
		if (s->queue)
			s->queue->last = &s->queue->first;
	}
	return s->queue;
}

static bool put(struct stream *s, const struct stream_tuple *t, const uint8_t *data, size_t len)
{
	struct datagram_queue *q = queue_get(s);
	uint8_t head[STREAM_DATAGRAM_HEAD_MAX_B];
	size_t head_len = stream_datagram_put(head, t);
	struct queued *e;

	if (!q || head_len + len > MVPN_STREAM_DATA_MAX_B ||
	    q->bytes + head_len + len > MVPN_DATAGRAM_QUEUE_B)
		return false;
	e = malloc(sizeof(*e) + head_len + len);
	if (!e)
		return false;
	e->next = NULL;
	e->len = head_len + len;
	memcpy(e->record, head, head_len);
	if (len)
		memcpy(e->record + head_len, data, len);
	*q->last = e;
	q->last = &e->next;
	q->bytes += e->len;
	q->used_ms = mono_ms();
	return true;
}

bool datagrams_waiting(const struct stream *s)
{
	return s->queue && s->queue->first;
}

static struct queued *take(struct datagram_queue *q)
{
	struct queued *e = q ? q->first : NULL;

	if (!e)
		return NULL;
	q->bytes -= e->len;
	q->first = e->next;
	if (!e->next)
		q->last = &q->first;
	return e;
}

/* to a service at `to`, or from one at `from`: nothing is remembered of any datagram (docs/control.md) */
static bool allowed(const struct session *s, bool out, const struct stream_tuple *t)
{
	return s && (session_serves(s, !out, IPPROTO_UDP, t->dst.port) ||
		     session_serves(s, out, IPPROTO_UDP, t->src.port));
}

/* It came from there, and goes back, for nobody has taken it: ends as they were. No other datagram has such ends. */
static bool is_returned(struct keyd *k, const struct peer *p, const struct stream_tuple *t, bool out)
{
	const struct peer *twin = peer_by_id(k, p->id);
	uint32_t from, to;

	if (!twin || !lpm_lookup(k->prefixes, &t->src.addr, &from) ||
	    !lpm_lookup(k->prefixes, &t->dst.addr, &to))
		return false;
	return out ? from == twin->index && to == KEYD_SELF : from == KEYD_SELF && to == twin->index;
}

/* asked now: there may have been no session when it came */
size_t datagrams_next(struct stream *s, uint8_t ret[static MVPN_STREAM_DATA_MAX_B])
{
	const struct session *session = session_transmitting(s->peer);
	struct stream_tuple t;
	struct queued *e;

	while ((e = take(s->queue))) {
		size_t len = e->len;
		int head = stream_datagram_get(e->record, len, &t);
		bool back = head >= 0 && is_returned(s->k, s->peer, &t, true);
		bool may = head >= 0 && allowed(session, !back, &t);
		bool goes = may && (back || datagram_class_passes(session, true, &t, len - (size_t)head));

		if (goes)
			memcpy(ret, e->record, len);
		free(e);
		s->k->counters[goes  ? KC_DATAGRAM_SENT
			       : may ? KC_DATAGRAM_DROPPED
				     : KC_DATAGRAM_REFUSED]++;
		if (goes)
			return len;
	}
	return 0;
}

void datagrams_free(struct stream *s)
{
	struct queued *e, *next;

	for (e = s->queue ? s->queue->first : NULL; e; e = next) {
		next = e->next;
		s->k->counters[KC_DATAGRAM_DROPPED]++;
		free(e);
	}
	free(s->queue);
	s->queue = NULL;
}

/* ---- the stream ---- */

/* either end's carries both directions; the one that has been there longest, so that two ends soon use the same */
static struct stream *stream_of(struct peer *p)
{
	struct stream *found = NULL;

	for (struct stream *s = p->streams; s; s = s->next)
		if (s->kind == STREAM_DATAGRAMS)
			found = s;
	return found;
}

void datagrams_send(struct keyd *k, const struct stream_tuple *t, const uint8_t *data, size_t len)
{
	struct peer *p = streams_peer(k, &t->dst.addr);
	struct stream *s;
	bool fresh;

	if (!p || p->denied_until_ms) {
		k->counters[KC_DATAGRAM_REFUSED]++;
		return;
	}
	s = stream_of(p);
	fresh = !s;
	if (fresh)
		s = stream_new(k, p, true);
	if (!s || !put(s, t, data, len)) {
		k->counters[KC_DATAGRAM_DROPPED]++;
		if (s && fresh)
			stream_free(s);
		return;
	}
	s->kind = STREAM_DATAGRAMS;
	if (fresh) {
		s->t = *t; /* for whom a session is asked */
		stream_open_begin(s);
	} else if (s->state == STREAM_RUNS && s->queue->bytes >= MVPN_DATAGRAM_QUEUE_B / 2) {
		stream_move(s);
	}
}

/* only by a stream that is there, and runs: the one that it came by, or its like */
void datagrams_return(struct keyd *k, const struct stream_tuple *t)
{
	struct peer *p = streams_peer(k, &t->src.addr);
	struct stream *s = p ? stream_of(p) : NULL;

	if (s && s->state == STREAM_RUNS && put(s, t, NULL, 0))
		stream_move(s);
}

void datagrams_flush(struct keyd *k, const struct mvpn_addr *to)
{
	struct peer *p = streams_peer(k, to);
	struct stream *s = p ? stream_of(p) : NULL;

	if (s && s->state == STREAM_RUNS && datagrams_waiting(s))
		stream_move(s);
}

/* from an address of the peer's to one of ours */
static bool addresses_fit(struct keyd *k, const struct peer *p, const struct stream_tuple *t)
{
	const struct peer *twin = peer_by_id(k, p->id);
	uint32_t from, to;

	return twin && lpm_lookup(k->prefixes, &t->src.addr, &from) &&
	       (from == twin->index || streams_gateway_is(k, &t->src.addr, twin->index)) &&
	       lpm_lookup(k->prefixes, &t->dst.addr, &to) && to == KEYD_SELF;
}

int datagrams_receive(struct stream *s, const uint8_t *record, size_t len)
{
	const struct session *session = session_transmitting(s->peer);
	struct datagram_queue *q = queue_get(s);
	struct stream_tuple t;
	int head = stream_datagram_get(record, len, &t);

	if (head < 0)
		return head;
	if (q)
		q->used_ms = mono_ms();
	if ((size_t)head == len && is_returned(s->k, s->peer, &t, false)) {
		datagrams_untaken(s->k, &t);
		return 0;
	}
	if (!addresses_fit(s->k, s->peer, &t) || !allowed(session, false, &t)) {
		s->k->counters[KC_DATAGRAM_REFUSED]++;
		return 0;
	}
	if (!datagram_class_passes(session, false, &t, len - (size_t)head)) {
		s->k->counters[KC_DATAGRAM_DROPPED]++;
		return 0;
	}
	s->k->counters[KC_DATAGRAM_RECEIVED]++;
	datagrams_deliver(s->k, &t, record + head, len - (size_t)head);
	return 0;
}

void datagrams_tick(struct keyd *k, uint64_t now_ms)
{
	for (uint32_t i = 1; i <= k->npeers; i++) {
		struct stream *s, *next;

		for (s = k->peers[i]->streams; s; s = next) {
			next = s->next;
			if (s->kind != STREAM_DATAGRAMS || s->state != STREAM_RUNS ||
			    datagrams_waiting(s))
				continue;
			if (now_ms - (s->queue ? s->queue->used_ms : s->since_ms) >
			    MVPN_DATAGRAM_IDLE_S * 1000)
				stream_abort(s, MVPN_R_EXPIRED);
		}
	}
}
