/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which worker opens the packets of a receive lane: its owner, the only one that touches the lane's keys, replay window and
 * counters. The first packet decides. When the lane's packets come in at another worker (RSS has moved the flow, the number of
 * queues has changed), that one hands them over, and soon it is given the lane:
 *
 *   owner O                           worker W, where the lane's packets come in now
 *     | <-- PACKET … PACKET ------------- |
 *     | --- OFFER ----------------------> |  after MVPN_LANE_OFFER_AFTER authentic ones without one of O's own
 *     | <-- TAKE ------------------------ |  from here on W keeps the lane's packets in a ring to itself
 *     | owner = W                         |  once all packets before TAKE have been opened
 *     |                                   |  W opens what it kept, and then what comes in
 *
 * No packet is lost or overtaken: a worker looks at what others hand over only when its own wires are empty, because what is
 * still there came first. An offer is always answered, and a lane has one offer at most.
 */
#include <endian.h>

#include "worker.h"

/*
 * Under an overload the wires are never empty: what was in them when the first packet was handed over has been opened after so
 * many turns at the latest (a receive ring of 4096 frames).
 */
#define PATIENCE (4096 / RX_BUDGET)

/* ---- the lanes that are being given to this worker ---- */
static bool awaited(const struct worker *w, uint32_t spi, unsigned lane)
{
	for (unsigned i = 0; i < w->nawaited; i++)
		if (w->awaited[i].spi == spi && w->awaited[i].lane == lane)
			return true;
	return false;
}

/* it is w's, or was nobody's: of no worker yet, or of one that has been taken back */
static bool owned(struct worker *w, struct kt_session *s, unsigned lane)
{
	uint8_t owner = atomic_load_explicit(&s->rx_owner[lane], memory_order_acquire);

	return owner == w->index ||
	       (owner >= w->nteam && atomic_compare_exchange_strong_explicit(
					     &s->rx_owner[lane], &owner, (uint8_t)w->index,
					     memory_order_acq_rel, memory_order_relaxed));
}

/* what w has kept to itself has been opened, so nothing of a lane that has come can be overtaken any more */
static void awaited_settle(struct worker *w)
{
	for (unsigned i = 0; i < w->nawaited;) {
		struct kt_session *s = kt_lookup_spi(w->kt, w->awaited[i].spi);

		if (!s || owned(w, s, w->awaited[i].lane))
			w->awaited[i] = w->awaited[--w->nawaited];
		else
			i++;
	}
}

/* ---- per packet ---- */
bool owner_is(struct worker *w, struct kt_session *s, unsigned lane)
{
	return (!w->nawaited || !awaited(w, s->rx_spi, lane)) && owned(w, s, lane);
}

void owner_send(struct worker *w, struct kt_session *s, unsigned lane, const uint8_t *data,
		size_t len, const struct wire_from *from)
{
	unsigned to = atomic_load_explicit(&s->rx_owner[lane], memory_order_relaxed);

	if (w->nawaited && awaited(w, s->rx_spi, lane))
		to = w->index;
	if (to >= w->nteam || !relay_packet(w->team[to]->in[w->index], from, data, len)) {
		count(w, DP_C_RX_RELAY_FULL, 1);
		return;
	}
	count(w, DP_C_RX_RELAYED, 1);
	w->to_wake |= 1u << to;
}

void owner_opened(struct worker *w, struct kt_session *s, unsigned lane)
{
	struct kt_rx_lane *l = &s->rx[lane];
	unsigned by = w->relayed_by;

	if (by == w->index) {
		l->foreign = 0;
		return;
	}
	l->foreign = l->foreign_by == by ? l->foreign + 1 : 1;
	l->foreign_by = (uint8_t)by;
	if (l->foreign < MVPN_LANE_OFFER_AFTER || l->offered ||
	    w->offers[by] == MVPN_LANE_OFFERS_MAX)
		return;
	l->foreign = 0;
	l->offered = true;
	w->offers[by]++;
	relay_tell(w->team[by]->in[w->index], RELAY_OFFER, s->rx_spi, lane);
	w->to_wake |= 1u << by;
}

/* ---- messages ---- */
static void offered(struct worker *w, unsigned by, uint32_t spi, unsigned lane)
{
	bool take = w->nawaited < MVPN_LANES_AWAITED_MAX;

	if (take) {
		w->awaited[w->nawaited].spi = spi;
		w->awaited[w->nawaited++].lane = (uint8_t)lane;
	}
	relay_tell(w->team[by]->in[w->index], take ? RELAY_TAKE : RELAY_DECLINE, spi, lane);
	w->to_wake |= 1u << by;
}

static void answered(struct worker *w, unsigned by, uint32_t spi, unsigned lane, bool taken)
{
	struct kt_session *s = kt_lookup_spi(w->kt, spi);

	w->offers[by]--;
	if (!s) /* gone meanwhile, for both */
		return;
	s->rx[lane].offered = false;
	if (!taken)
		return;
	open_run_end(w);
	atomic_store_explicit(&s->rx_owner[lane], (uint8_t)by, memory_order_release);
	count(w, DP_C_LANES_MOVED, 1);
	w->to_wake |= 1u << by;
}

static void handle(struct worker *w, struct relay_entry *e)
{
	switch (e->kind) {
	case RELAY_PACKET:
		open_datagram(w, e->data, e->len, &e->from);
		break;
	case RELAY_OFFER:
		offered(w, w->relayed_by, e->spi, e->lane);
		break;
	case RELAY_TAKE:
	case RELAY_DECLINE:
		answered(w, w->relayed_by, e->spi, e->lane, e->kind == RELAY_TAKE);
		break;
	}
}

static bool drain(struct worker *w, unsigned from)
{
	struct relay *r = w->in[from];
	struct relay_entry *e;
	bool any = false;

	w->relayed_by = from;
	for (; (e = relay_peek(r)); relay_done(r, e)) {
		handle(w, e);
		any = true;
	}
	w->relayed_by = w->index;
	return any;
}

/* what was kept, up to the first packet of a lane that has not come yet */
static bool drain_kept(struct worker *w)
{
	struct relay *r = w->in[w->index];
	struct relay_entry *e;
	bool any = false;

	for (; (e = relay_peek(r)); relay_done(r, e)) {
		struct kt_session *s;
		struct mvpn_hdr h;

		memcpy(&h, e->data, sizeof(h)); /* open_datagram() has seen that it is that long */
		s = kt_lookup_spi(w->kt, be32toh(h.spi));
		if (s && !owned(w, s, h.lane & MVPN_LANE_MASK))
			return any;
		open_kept(w, s, e->data, e->len, &e->from);
		any = true;
	}
	awaited_settle(w);
	return any;
}

bool owner_relays(struct worker *w, bool wires_empty)
{
	bool any = w->nawaited && drain_kept(w), pending = false;

	for (unsigned i = 0; i < w->nteam; i++)
		pending |= i != w->index && relay_peek(w->in[i]);
	if (!pending) {
		w->relays_late = 0;
		return any;
	}
	if (!wires_empty && ++w->relays_late < PATIENCE)
		return true;
	w->relays_late = 0;
	for (unsigned i = 0; i < w->nteam; i++)
		if (i != w->index)
			any |= drain(w, i);
	return any;
}

void owner_wake(struct worker *w)
{
	for (; w->to_wake; w->to_wake &= w->to_wake - 1) {
		unsigned i = (unsigned)__builtin_ctz(w->to_wake);

		if (i != w->index)
			worker_wake(w->team[i]);
	}
}
