/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Is an ICMP error about a packet of ours? It counts only if it quotes one that this worker has sent lately: its lane, an SPI
 * that is in use and a counter that was. Even then it is a reason to probe, and no more.
 */
#include <endian.h>

#include "worker.h"

static bool sent_lately(struct worker *w, const struct quote *q, struct worker_sent **ret)
{
	const struct kt_endpoint *ep;
	struct worker_sent *s;
	struct kt_peer *p;
	struct mvpn_hdr h;
	uint64_t counter;

	if (q->len < sizeof(h))
		return false;
	memcpy(&h, q->data, sizeof(h));
	counter = be64toh(h.counter);
	s = *ret = &w->sent[be32toh(h.spi) % WORKER_SENT];
	if (!h.spi || s->spi != be32toh(h.spi) || (h.lane & MVPN_LANE_MASK) != w->index ||
	    counter >= s->next || s->next - counter > MVPN_PMTU_QUOTE_PACKETS)
		return false;
	p = kt_lookup_peer(w->kt, s->peer);
	ep = p ? atomic_load_explicit(&p->endpoint, memory_order_acquire) : NULL;
	return ep && ep->to.port == q->to.port && !memcmp(&ep->to.addr, &q->to.addr, 16);
}

void quote_take(void *arg, const struct quote *q)
{
	struct dp_event e = {.type = DP_EV_TOO_BIG, .mtu = q->mtu};
	struct worker *w = arg;
	struct worker_sent *s;

	if (!q->too_big || !sent_lately(w, q, &s)) {
		count(w, DP_C_ICMP_IGNORED, 1);
		return;
	}
	count(w, DP_C_ICMP_TOO_BIG, 1);
	if (s->hinted_ns && w->now < s->hinted_ns + MVPN_PMTU_HINT_GAP_MS * 1000000ULL)
		return;
	e.peer = s->peer;
	if (worker_event(w, &e))
		s->hinted_ns = w->now;
}
