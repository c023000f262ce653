/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Streams through gateways. Packets tell which gateways are well (gateways.c); a stream needs its keyd's TCP port, too, and its session
 * at the socket level. One that does not get as far as that goes through the next gateway, as do those that come after it for a while.
 * One that is open cannot: it is reset when its gateway has failed for good, not a minute later when TCP gives up.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gateways_sets.h"
#include "log.h"
#include "peers.h"
#include "pumps.h"

/* which of several gateways an address is behind, NULL: it has another owner, one gateway alone, or it is behind this device */
static const struct gateway_set *set_of(const struct keyd *k, const struct mvpn_addr *dst)
{
	const struct gateway_set *set;
	uint32_t slot, owner;

	if (!lpm_lookup(k->gateways->by_prefix, dst, &slot))
		return NULL;
	set = &k->gateways->sets[slot - 1];
	if (set->self || set->n < 2 || !lpm_lookup(k->prefixes, dst, &owner) ||
	    owner != set->member[set->current])
		return NULL;
	return set;
}

static bool takes_none(const struct gateway *g, uint64_t now)
{
	return g->stream_failed_ms && now < g->stream_failed_ms + g->stream_back_ms;
}

/* of several gateways p is the one for packets */
static struct peer *gateway_for(struct keyd *k, const struct mvpn_addr *dst, struct peer *p)
{
	const struct gateway_set *set = set_of(k, dst);
	uint64_t now = mono_ms();

	if (!set || !takes_none(p->gateway, now))
		return p;
	for (unsigned i = 0; i < set->n; i++) {
		struct peer *q = k->peers[set->member[i]];

		if (q->diverted && !q->gateway->failed && !set->away_ms[i] && !takes_none(q->gateway, now))
			return q;
	}
	return p;
}

struct peer *streams_peer(struct keyd *k, const struct mvpn_addr *dst)
{
	struct peer *p = NULL;
	uint32_t owner;

	if (lpm_lookup(k->prefixes, dst, &owner))
		p = peer_by_index(k, owner);
	return p ? peer_layer_ensure(k, gateway_for(k, dst, p)->id, MVPN_LAYER_SOCKET) : NULL;
}

bool streams_gateway_is(const struct keyd *k, const struct mvpn_addr *a, uint32_t index)
{
	const struct gateway_set *set = set_of(k, a);

	for (unsigned i = 0; set && i < set->n; i++)
		if (set->member[i] == index)
			return true;
	return false;
}

unsigned stream_patience_ms(const struct stream *s, unsigned usual_s)
{
	return s->opener && s->kind == STREAM_CONNECTION && set_of(s->k, &s->t.dst.addr)
		       ? MVPN_GATEWAY_STREAM_MS
		       : usual_s * 1000;
}

void stream_gateway_well(const struct stream *s)
{
	struct peer *twin = peer_by_id(s->k, s->peer->id);

	if (!twin || !twin->gateway || !twin->gateway->stream_failed_ms)
		return;
	log_info("gateway %s: takes streams again", peer_label(twin));
	twin->gateway->stream_failed_ms = 0;
}

static void failed(struct keyd *k, struct peer *twin, enum mvpn_reason why)
{
	struct gateway *g = twin->gateway;
	uint64_t now = mono_ms();

	if (takes_none(g, now))
		return; /* it was on its way before */
	if (!g->stream_failed_ms) {
		k->counters[KC_GATEWAY_STREAM_FAILED]++;
		log_warn("gateway %s takes no streams (%s): new ones go through another, if there is one",
			 peer_label(twin), mvpn_reason_text(why));
		g->stream_back_ms = MVPN_GATEWAY_BACK_MS;
	} else if (g->stream_back_ms < MVPN_GATEWAY_BACK_MAX_MS) {
		g->stream_back_ms *= 2;
	}
	g->stream_failed_ms = now;
}

static void move(struct stream *s, struct peer *to)
{
	loop_remove(s->net.source);
	if (s->net.fd >= 0)
		close(s->net.fd);
	s->net = (struct stream_half){.fd = -1};
	stream_unlink(s);
	s->peer = to;
	stream_link(s);
	s->state = STREAM_WAITS;
	s->again = false;
	loop_timer_arm(s->deadline, stream_patience_ms(s, MVPN_STREAM_OPEN_S));
	stream_open_begin(s);
}

/* true: it goes on through another gateway, or has come to its end there */
static bool elsewhere(struct stream *s, enum mvpn_reason why)
{
	struct keyd *k = s->k;
	const struct gateway_set *set = set_of(k, &s->t.dst.addr);
	struct peer *twin = peer_by_id(k, s->peer->id), *next;

	if (!s->opener || s->kind != STREAM_CONNECTION || !set || !twin || !twin->gateway)
		return false;
	failed(k, twin, why);
	next = gateway_for(k, &s->t.dst.addr, k->peers[set->member[set->current]]);
	if (next == twin || s->moves++ >= MVPN_GATEWAYS_MAX)
		return false;
	next = peer_layer_ensure(k, next->id, MVPN_LAYER_SOCKET);
	if (next)
		move(s, next);
	return next;
}

void stream_unreached(struct stream *s, enum mvpn_reason why)
{
	if (!elsewhere(s, why))
		stream_abort(s, why);
}

void streams_gateway_left(struct keyd *k, const struct mvpn_prefix *prefix, const struct peer *from)
{
	const struct peer *p = peer_layer_by_id(k, from->id, MVPN_LAYER_SOCKET);
	struct stream *s, *next;
	unsigned n = 0;

	pumps_hold(k);
	for (s = p ? p->streams : NULL; s; s = next) {
		next = s->next;
		if (!s->opener || s->kind != STREAM_CONNECTION || s->state != STREAM_RUNS ||
		    !mvpn_prefix_contains(prefix, &s->t.dst.addr) || !set_of(k, &s->t.dst.addr))
			continue;
		n++;
		k->counters[KC_STREAM_LEFT]++;
		stream_abort(s, MVPN_R_PEER_SILENT);
	}
	pumps_release(k);
	if (n)
		log_warn("%u streams through gateway %s reset", n, peer_label(from));
}
