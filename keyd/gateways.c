/* SPDX-License-Identifier: BSD-2-Clause */
#include "gateways_sets.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "control.h"
#include "log.h"
#include "peers.h"
#include "sessions.h"
#include "streams.h"

#define MS_NS 1000000ULL
#define STALL_MS (MVPN_GATEWAY_SILENT_MS / 2) /* we did not run meanwhile: nobody's silence */
#define PING_TOKEN 0			      /* nobody waits for that answer in particular */

/* ---- which one ---- */

static void use(struct keyd *k, struct gateway_set *set, unsigned i, const char *why)
{
	struct peer *from = k->peers[set->member[set->current]], *to = k->peers[set->member[i]];
	char text[MVPN_ADDRSTRLEN];
	uint32_t owner;

	set->current = i;
	/* not committed yet, or another device's by now */
	if (!lpm_get(k->prefixes, &set->prefix, &owner) || owner != from->index ||
	    lpm_set(k->prefixes, &set->prefix, to->index))
		return;
	from->gateway->current--;
	to->gateway->current++;
	peer_owns(k, &set->prefix, from->index, -1);
	peer_owns(k, &set->prefix, to->index, 1);
	/* an entry that is there is replaced; one that found no room is dropped as before */
	shim_protect(k->shim, &set->prefix, to->index, 0);
	k->counters[KC_GATEWAY_CHANGED]++;
	log_warn("%s goes through %s now: %s %s", mvpn_prefix_str(&set->prefix, text),
		 peer_label(to), peer_label(from), why);
	dp_flush_held(k->dp, from->index); /* what waits for the other one */
	sessions_prefix_new(k, &set->prefix, to->index);
}

/* connections that live in the gateway's keyd, not in packets, are at their end when it is given up; it has a moment to come back */
static void leave(struct keyd *k, struct gateway_set *set, bool now)
{
	if (!set->left_ms || (!now && mono_ms() < set->left_ms + MVPN_GATEWAY_LEFT_MS))
		return;
	set->left_ms = 0;
	for (unsigned i = 0; i < set->n; i++)
		if (set->member[i] == set->left && i != set->current && gateways_badness(k, set, i))
			streams_gateway_left(k, &set->prefix, k->peers[set->left]);
}

static void choose_better(struct keyd *k, struct gateway_set *set)
{
	unsigned now = gateways_badness(k, set, set->current), best = set->current;

	for (unsigned i = 0; i < set->n; i++)
		if (gateways_badness(k, set, i) < gateways_badness(k, set, best))
			best = i;
	if (best != set->current) {
		leave(k, set, true);
		set->left = set->member[set->current];
		set->left_ms = mono_ms();
		use(k, set, best, now == 2 ? "has failed" : "does not reach it");
	}
}

/* the first one that is well, but one that has failed before only when it has proved itself */
static void choose(struct keyd *k, struct gateway_set *set, uint64_t now)
{
	unsigned i;

	leave(k, set, false);
	if (gateways_badness(k, set, set->current)) {
		choose_better(k, set);
		return;
	}
	for (i = 0; i < set->current; i++) {
		const struct gateway *g = gateway_of(k, set->member[i]);

		if (!gateways_badness(k, set, i) && session_transmitting(k->peers[set->member[i]]) &&
		    (!g->well_ms || now >= g->well_ms + g->back_ms)) {
			use(k, set, i, "comes after it");
			return;
		}
	}
}

static void choose_all(struct keyd *k)
{
	struct gateways *g = k->gateways;

	for (unsigned i = 0; i < g->n; i++)
		if (!g->sets[i].self && !g->sets[i].stale)
			choose(k, &g->sets[i], mono_ms());
}

/* ---- who is well ---- */

/* once more: how long it has to be well until it is preferred again */
static void doubt(struct gateway *g, uint64_t now)
{
	if (!g->back_ms || now >= g->well_ms + MVPN_GATEWAY_CALM_MS)
		g->back_ms = MVPN_GATEWAY_BACK_MS;
	else if (g->back_ms < MVPN_GATEWAY_BACK_MAX_MS)
		g->back_ms *= 2;
}

static void failed(struct keyd *k, struct peer *p, enum mvpn_reason why, uint64_t now)
{
	struct gateway *g = p->gateway;

	g->why = why;
	g->failed_ms = now;
	g->asked_ms = 0;
	if (g->failed)
		return;
	g->failed = true;
	g->since_ms = now;
	doubt(g, now);
	k->counters[KC_GATEWAY_FAILED]++;
	log_info("gateway %s: %s", peer_label(p), mvpn_reason_text(why));
}

void gateways_failed(struct keyd *k, const struct peer *p, enum mvpn_reason why)
{
	struct peer *twin = peer_by_id(k, p->id);

	if (p->layer == MVPN_LAYER_LINK || !twin || !twin->gateway || session_transmitting(twin) ||
	    why == MVPN_R_BUSY || why == MVPN_R_MODE || why == MVPN_R_STALE_BOOT)
		return;
	failed(k, twin, why, mono_ms());
	choose_all(k);
}

static uint64_t heard_ms(const struct peer *p)
{
	uint64_t last = 0;

	for (const struct session *s = p->sessions; s; s = s->next) {
		struct kt_stats st;

		kt_session_stats(s->kt, &st);
		last = st.rx_last_ns > last ? st.rx_last_ns : last;
	}
	return last / MS_NS;
}

/* by packets, or by streams, which go round that session */
static void note_sent(struct gateway *g, const struct session *s, uint64_t now)
{
	const struct peer *streams = peer_layer_by_id(s->k, s->peer->id, MVPN_LAYER_SOCKET);
	struct kt_stats st;

	kt_session_stats(s->kt, &st);
	if (st.tx_packets != g->sent || (streams && streams->streams))
		g->sent_ms = now;
	g->sent = st.tx_packets;
}

/* in our own time: no packet waits for it */
static void want(struct keyd *k, struct peer *p, uint64_t now)
{
	uint64_t packet_ms = p->wanted_ms;

	if (p->gateway->wanted_ms && now < p->gateway->wanted_ms + MVPN_INTRO_BACKOFF_S * 1000)
		return;
	p->gateway->wanted_ms = now;
	session_want(k, p, NULL, 0, 0);
	p->wanted_ms = packet_ms;
}

static void look_at(struct keyd *k, struct peer *p, uint64_t now)
{
	const struct session *s = session_transmitting(p);
	struct gateway *g = p->gateway;
	uint64_t heard, gap;

	if (p->state == MVPN_DEV_REVOKED || p->state == MVPN_DEV_SUSPENDED)
		failed(k, p, p->state == MVPN_DEV_REVOKED ? MVPN_R_REVOKED : MVPN_R_SUSPENDED, now);
	if (!s) {
		g->asked_ms = 0;
		want(k, p, now);
		return;
	}
	heard = heard_ms(p);
	note_sent(g, s, now);
	if (heard >= g->asked_ms)
		g->asked_ms = 0;
	if (g->failed && heard > g->failed_ms) {
		g->failed = false;
		g->well_ms = now;
	}
	if (g->asked_ms && now >= g->asked_ms + MVPN_GATEWAY_SILENT_MS)
		failed(k, p, MVPN_R_PEER_SILENT, now);
	gap = g->current && now < g->sent_ms + MVPN_GATEWAY_BUSY_MS ? MVPN_GATEWAY_PING_MS
								    : MVPN_GATEWAY_IDLE_MS;
	if (now < heard + gap || now < g->pinged_ms + (g->asked_ms ? MVPN_GATEWAY_PING_MS : gap))
		return;
	dp_send_ctrl(k->dp, s->rx_spi, MVPN_CTRL_PING, PING_TOKEN, 0);
	g->pinged_ms = now;
	if (!g->asked_ms)
		g->asked_ms = now;
}

/* ---- who reaches the hosts behind it ---- */

static void away(struct keyd *k, struct gateway_set *set, unsigned m, uint64_t said_ms, uint64_t now)
{
	struct peer *p = k->peers[set->member[m]];
	bool before = set->away_ms[m];
	char text[MVPN_ADDRSTRLEN];

	set->away_ms[m] = said_ms;
	if (before == !!said_ms)
		return;
	if (said_ms) {
		set->away_since_ms[m] = now;
		doubt(p->gateway, now);
		k->counters[KC_GATEWAY_AWAY]++;
	} else {
		p->gateway->well_ms = now;
	}
	log_info("gateway %s %s %s", peer_label(p), said_ms ? "does not reach" : "reaches again",
		 mvpn_prefix_str(&set->prefix, text));
}

void gateways_reach_heard(struct keyd *k, struct peer *p, uint64_t token)
{
	struct gateways *g = k->gateways;
	uint64_t now = mono_ms();

	if (!p->gateway || p->gateway->words++ >= MVPN_REACH_TELLS)
		return;
	for (unsigned i = 0; i < g->n; i++) {
		struct gateway_set *set = &g->sets[i];

		if (set->name != (token & ~MVPN_REACH_NOT) || set->self || set->stale)
			continue;
		for (unsigned m = 0; m < set->n; m++)
			if (set->member[m] == p->index)
				away(k, set, m, token & MVPN_REACH_NOT ? now : 0, now);
		choose(k, set, now);
	}
}

/* what nobody has said again is so no more: it would have been told */
static void forget_away(struct keyd *k, struct gateway_set *set, uint64_t now)
{
	for (unsigned m = 0; m < set->n; m++)
		if (set->away_ms[m] && now >= set->away_ms[m] + MVPN_REACH_OLD_MS)
			away(k, set, m, 0, now);
}

/* has one of them a session? Then all are to have one. */
static bool in_use(struct keyd *k, const struct gateway_set *set)
{
	for (unsigned i = 0; i < set->n; i++) {
		const struct peer *p = k->peers[set->member[i]],
				  *s = peer_layer_by_id(k, p->id, MVPN_LAYER_SOCKET);

		if (p->sessions || (s && s->sessions))
			return true;
	}
	return false;
}

static void look(void *arg)
{
	struct keyd *k = arg;
	struct gateways *g = k->gateways;
	uint64_t now = mono_ms();
	bool stalled = now > g->looked_ms + STALL_MS;

	for (unsigned i = 0; i < g->n; i++) {
		if (g->sets[i].self)
			continue;
		forget_away(k, &g->sets[i], now);
		for (unsigned m = 0; in_use(k, &g->sets[i]) && m < g->sets[i].n; m++)
			gateway_of(k, g->sets[i].member[m])->wanted = true;
	}
	for (uint32_t i = 1; i <= k->npeers; i++) {
		struct peer *p = k->peers[i];

		if (!p->gateway)
			continue;
		p->gateway->words = 0;
		if (!p->gateway->wanted)
			continue;
		p->gateway->wanted = false;
		if (stalled)
			p->gateway->asked_ms = 0;
		look_at(k, p, now);
	}
	g->looked_ms = now;
	choose_all(k);
	gateways_reach_look(k, now);
	loop_timer_arm(g->timer, MVPN_GATEWAY_LOOK_MS);
}

/* ---- life ---- */

int gateways_init(struct keyd *k)
{
	int r;

	k->gateways = calloc(1, sizeof(*k->gateways));
	if (!k->gateways)
		return -ENOMEM;
	gateways_checks(k);
	r = lpm_new(&k->gateways->by_prefix);
	return r ? r : loop_timer_new(k->loop, look, k, &k->gateways->timer);
}

void gateways_free(struct keyd *k)
{
	struct gateways *g = k->gateways;

	if (!g)
		return;
	for (uint32_t i = 1; i <= k->npeers; i++) {
		free(k->peers[i]->gateway);
		k->peers[i]->gateway = NULL;
	}
	lpm_free(g->by_prefix);
	loop_timer_free(g->timer);
	free(g->sets);
	free(g);
	k->gateways = NULL;
}
