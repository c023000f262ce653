/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Out: a super-packet from the tap → its peer and session → segments that fit the path → sealed
 * into the wire's room.
 */
#include <endian.h>

#include "class.h"
#include "ether.h"
#include "mvpn/auth.h"
#include "mss.h"
#include "permit.h"
#include "worker.h"

/* far above what a session's lifetime allows: a wrapped nonce must not be possible */
#define COUNTER_MAX (1ULL << 63)
#define UNDERLAY_MTU 1500

/* ---- one packet ---- */
static void want(struct worker *w, struct kt_peer *p, enum dp_event_type type, uint32_t spi)
{
	uint64_t last = atomic_load_explicit(&p->want_ns, memory_order_relaxed);
	struct dp_event e = {.type = type, .peer = p->index, .rx_spi = spi};

	if (last && w->now < last + MVPN_WANT_GAP_MS * 1000000ULL)
		return;
	if (atomic_compare_exchange_strong_explicit(&p->want_ns, &last, w->now,
						    memory_order_relaxed, memory_order_relaxed) &&
	    !worker_event(w, &e))
		atomic_store_explicit(&p->want_ns, 0, memory_order_relaxed);
}

/* the main thread wants to know whether packets are sent at all, without a clock of its own */
static void watched(struct worker *w, struct kt_peer *p)
{
	uint64_t at = atomic_load_explicit(&p->watch_ns, memory_order_relaxed);
	struct dp_event e = {.type = DP_EV_TRAFFIC, .peer = p->index};

	if (!at || w->now < at)
		return;
	if (atomic_compare_exchange_strong_explicit(&p->watch_ns, &at, 0, memory_order_relaxed,
						    memory_order_relaxed) &&
	    !worker_event(w, &e))
		atomic_store_explicit(&p->watch_ns, at, memory_order_relaxed);
}

static void want_rekey(struct worker *w, const struct kt_session *s)
{
	struct kt_peer *p = kt_lookup_peer(w->kt, s->peer);

	if (p)
		want(w, p, DP_EV_REKEY, s->rx_spi);
}

/*
 * The sender's generation ratchet (PROTOCOL §3). A lane that nears an end asks for the next session in time, and is used up
 * only without one: then it is false.
 */
static bool lane_ready(struct worker *w, struct kt_session *s, struct kt_tx_lane *l, unsigned mtu)
{
	uint64_t limit = mtu > UNDERLAY_MTU ? MVPN_GEN_PACKETS_JUMBO : MVPN_GEN_PACKETS;

	if (s->ratchet_packets && s->ratchet_packets < limit)
		limit = s->ratchet_packets;
	if ((s->rekey_packets && l->counter >= s->rekey_packets && w->now >= s->rekey_from_ns) ||
	    l->gen >= UINT16_MAX - MVPN_GEN_SPARE || l->counter >= COUNTER_MAX)
		want_rekey(w, s);
	if (l->counter - l->gen_first < limit &&
	    w->now < l->gen_since_ns + MVPN_GEN_S * 1000000000ULL)
		return true;
	if (l->counter >= COUNTER_MAX || l->gen == UINT16_MAX)
		return false;
	intro_lane_next(l->l);
	intro_lane_aead(&l->aead, s->suite, l->l);
	l->gen++;
	l->gen_first = l->counter;
	l->gen_since_ns = w->now;
	return true;
}

static void seal(struct kt_tx_lane *l, const struct kt_session *s, unsigned lane, unsigned type,
		 const uint8_t *pt, size_t len, uint8_t *out)
{
	struct mvpn_hdr h = {
		.type = (uint8_t)type,
		.lane = (uint8_t)lane,
		.gen = htobe16(l->gen),
		.spi = htobe32(s->tx_spi),
		.counter = htobe64(l->counter),
	};

	memcpy(out, &h, sizeof(h));
	aead_seal(&l->aead, l->counter++, out, pt, len, out + sizeof(h));
}

static unsigned overhead(const struct kt_endpoint *ep)
{
	return mvpn_addr_is_v4(&ep->to.addr) ? MVPN_OVERHEAD_IP4 : MVPN_OVERHEAD_IP6;
}

unsigned seal_inner_max(const struct kt_endpoint *ep)
{
	unsigned mtu = ep->mtu ? ep->mtu : UNDERLAY_MTU,
		 max = mtu > overhead(ep) ? mtu - overhead(ep) : 0;

	return max < WIRE_PAYLOAD_MAX - MVPN_OVERHEAD ? max : WIRE_PAYLOAD_MAX - MVPN_OVERHEAD;
}

/* for ICMP errors that quote it: see quote.c */
static void note_sent(struct worker *w, const struct kt_session *s, const struct kt_tx_lane *l)
{
	struct worker_sent *n = &w->sent[s->tx_spi % WORKER_SENT];

	if (n->spi != s->tx_spi)
		*n = (struct worker_sent){.spi = s->tx_spi, .peer = s->peer};
	n->next = l->counter;
}

/* bytes of a packet or frame of this class, or NULL, have been sealed */
static void sent(struct worker *w, struct kt_class *c, uint64_t bytes)
{
	if (c && c->rate_kbit)
		class_sent(c, bytes, w->now);
}

static void send_segments(struct worker *w, struct kt_session *s, const struct kt_endpoint *ep,
			  struct segmenter *seg, struct kt_class *class)
{
	uint32_t most = seg->p.len < seal_inner_max(ep) ? seg->p.len : seal_inner_max(ep);
	struct wire *wire = worker_wire(w, ep, most + MVPN_OVERHEAD);
	struct kt_tx_lane *l = &s->tx[w->index];
	uint64_t packets = 0, bytes = 0;
	uint8_t tos = class_tos(class, packet_tos(&seg->p),
				!(kt_options(w->kt) & MVPN_OPT_DSCP_CLEAR));
	struct segment g;

	if (!lane_ready(w, s, l, ep->mtu))
		return;
	while (segment_next(seg, &g)) {
		uint8_t *room = wire->ops->reserve(wire, ep, g.len + MVPN_OVERHEAD, tos);

		if (!room) {
			count(w, DP_C_DROP_WIRE_FULL, 1);
			continue;
		}
		seal(l, s, w->index | (g.partial ? MVPN_F_CSUM_PARTIAL : 0), MVPN_TUNNEL, g.data,
		     g.len, room);
		wire->ops->commit(wire, g.len + MVPN_OVERHEAD);
		packets++;
		bytes += g.len;
	}
	note_sent(w, s, l);
	sent(w, class, bytes);
	count(w, DP_C_TX_PACKETS, packets);
	count(w, DP_C_TX_BYTES, bytes);
	kt_add(&l->packets, packets);
	kt_add(&l->bytes, bytes);
}

/* one payload as it is. false: the lane is used up, or there is no room */
static bool send_one(struct worker *w, struct kt_session *s, const struct kt_endpoint *ep,
		     enum mvpn_type type, uint8_t tos, const uint8_t *data, size_t len)
{
	struct wire *wire = worker_wire(w, ep, len + MVPN_OVERHEAD);
	struct kt_tx_lane *l = &s->tx[w->index];
	uint8_t *room;

	if (!lane_ready(w, s, l, ep->mtu))
		return false;
	room = wire->ops->reserve(wire, ep, len + MVPN_OVERHEAD, tos);
	if (!room) {
		count(w, DP_C_DROP_WIRE_FULL, 1);
		return false;
	}
	seal(l, s, w->index, type, data, len, room);
	wire->ops->commit(wire, len + MVPN_OVERHEAD);
	note_sent(w, s, l);
	return true;
}

/* ---- one super-packet ---- */
static void hold_packet(struct worker *w, uint32_t peer, const struct packet *p,
			const struct virtio_net_hdr *h)
{
	if (hold_put(w->hold, peer, p, h, w->now) < 0)
		count(w, DP_C_HELD_DROP_FULL, 1);
	else
		count(w, DP_C_HELD, 1);
}

/* The session can be there before this worker is told to send what it holds: that goes first, and the packet behind it. */
static bool held_first(struct worker *w, uint32_t peer, const struct packet *p,
		       const struct virtio_net_hdr *h)
{
	if (w->flushing || !hold_waits(w->hold, peer))
		return false;
	hold_packet(w, peer, p, h);
	seal_flush_held(w, peer);
	return true;
}

/*
 * a session that this worker can send on, and where to; else the packet is held and a session
 * asked for
 */
static struct kt_session *ready(struct worker *w, struct kt_peer *peer, const struct packet *p,
				const struct virtio_net_hdr *h, struct kt_endpoint **ret_ep)
{
	struct kt_session *s = atomic_load_explicit(&peer->tx, memory_order_acquire);

	*ret_ep = atomic_load_explicit(&peer->endpoint, memory_order_acquire);
	if (s && *ret_ep && w->index < s->ntx) {
		if (held_first(w, peer->index, p, h))
			return NULL;
		watched(w, peer);
		return s;
	}
	hold_packet(w, peer->index, p, h);
	want(w, peer, s ? DP_EV_REKEY : DP_EV_WANT, s ? s->rx_spi : 0);
	return NULL;
}

/* false: it waits for its class's tokens now, or more wait than may */
static bool within_limit(struct worker *w, const struct kt_session *s, struct kt_class *c,
			 const struct packet *p, const struct virtio_net_hdr *h)
{
	unsigned class = (unsigned)(c - s->classes->of);

	if (!c->rate_kbit || w->waited ||
	    (class_open_ns(c) <= w->now && !shaper_waits(w->shaper, s->peer, class)))
		return true;
	if (shaper_put(w->shaper, s->peer, class, class_queue_max(c), p, h) == 0) {
		count(w, DP_C_SHAPED, 1);
		return false;
	}
	count(w, DP_C_DROP_LIMIT, 1);
	atomic_fetch_add_explicit(&c->tx.dropped, 1, memory_order_relaxed);
	return false;
}

static void seal_packet(struct worker *w, struct kt_peer *peer, const struct packet *p,
			const struct virtio_net_hdr *h)
{
	struct kt_class *class = NULL;
	struct kt_endpoint *ep;
	struct kt_session *s;
	struct segmenter seg;
	enum permitted may;

	if (atomic_load_explicit(&peer->denied, memory_order_relaxed)) {
		count(w, DP_C_HELD_DROP_DENIED, 1);
		worker_icmp(w, p, ICMP_E_PROHIBITED, 0);
		return;
	}
	s = ready(w, peer, p, h, &ep);
	if (!s)
		return;
	if (!mvpn_prefixes_contain(s->local, s->nlocal, &p->src)) {
		count(w, DP_C_DROP_BAD_SRC, 1);
		return;
	}
	may = permit(s, p, true);
	if (may != PERMITTED) {
		count(w, may == NOT_A_SERVICE ? DP_C_DROP_SERVICE : DP_C_DROP_LEVEL, 1);
		kt_add(&s->tx[w->index].refused, 1);
		worker_icmp(w, p, ICMP_E_PROHIBITED, 0);
		return;
	}
	if (s->classes)
		class = class_packet(s, p, true);
	if (class && !within_limit(w, s, class, p, h))
		return;
	if (packet_is_syn(p))
		mss_clamp(p, h->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM, seal_inner_max(ep));
	switch (segment_start(&seg, p, h, seal_inner_max(ep), &w->ip6_id)) {
	case 0:
		send_segments(w, s, ep, &seg, class);
		return;
	case -EMSGSIZE:
		count(w, DP_C_DROP_TOO_BIG, 1);
		worker_icmp(w, p, ICMP_E_TOO_BIG, seal_inner_max(ep));
		return;
	default:
		count(w, DP_C_DROP_MALFORMED_TAP, 1);
	}
}

void seal_super(struct worker *w, const struct virtio_net_hdr *h, size_t len)
{
	struct kt_peer *peer;
	struct packet p;

	if (packet_parse(&p, w->packet, len) < 0) {
		count(w, DP_C_DROP_MALFORMED_TAP, 1);
		return;
	}
	peer = kt_lookup_dst(w->kt, &p.dst);
	if (peer)
		seal_packet(w, peer, &p, h);
	else
		count(w, DP_C_DROP_NO_PEER, 1);
}

/* nobody can be told that a frame does not fit or is refused: counted, and that is all */
void seal_frame(struct worker *w, struct kt_peer *peer, const struct packet *p, uint16_t type)
{
	static const struct virtio_net_hdr held = {.flags = ETHER_HELD};
	struct kt_class *class = NULL;
	struct kt_endpoint *ep;
	struct kt_session *s;

	if (atomic_load_explicit(&peer->denied, memory_order_relaxed)) {
		count(w, DP_C_HELD_DROP_DENIED, 1);
		return;
	}
	s = ready(w, peer, p, &held, &ep);
	if (!s)
		return;
	if (p->len > seal_inner_max(ep)) {
		count(w, DP_C_DROP_TOO_BIG, 1);
		return;
	}
	if (s->classes)
		class = class_frame(s, type);
	if (class && !within_limit(w, s, class, p, &held))
		return;
	if (!send_one(w, s, ep, MVPN_FRAME, class_tos(class, 0, false), p->data, p->len))
		return;
	sent(w, class, p->len);
	count(w, DP_C_TX_FRAMES, 1);
	count(w, DP_C_TX_PACKETS, 1);
	count(w, DP_C_TX_BYTES, p->len);
	kt_add(&s->tx[w->index].packets, 1);
	kt_add(&s->tx[w->index].bytes, p->len);
}

/* ---- held packets, and those that have waited ---- */

/* one at w->packet that was kept for the peer. false: it is for nobody any more */
static bool seal_kept(struct worker *w, struct kt_peer *peer, uint32_t len,
		      const struct virtio_net_hdr *h)
{
	struct kt_peer *to;
	struct packet p;

	if (h->flags & ETHER_HELD) {
		ether_out(w, len, peer);
		return true;
	}
	/* the prefix may have gone to another since */
	to = packet_parse(&p, w->packet, len) < 0 ? NULL : kt_lookup_dst(w->kt, &p.dst);
	if (!to) {
		count(w, DP_C_DROP_NO_PEER, 1);
		return false;
	}
	seal_packet(w, to, &p, h);
	return true;
}

void seal_flush_held(struct worker *w, uint32_t index)
{
	struct kt_peer *peer = kt_lookup_peer(w->kt, index);
	struct virtio_net_hdr h;
	uint64_t cursor = 0;
	uint32_t len;

	/* one that still cannot go is held again, behind the cursor */
	w->flushing = true;
	while (peer && (len = hold_take(w->hold, index, &cursor, w->packet, &h)))
		count(w, DP_C_HELD_SENT, seal_kept(w, peer, len, &h));
	w->flushing = false;
}

/* when the first packet of the queue may go; now: its session has no such limit any more */
static uint64_t shaped_open_ns(struct worker *w, const struct shape_queue *q)
{
	const struct kt_peer *peer = kt_lookup_peer(w->kt, q->peer);
	const struct kt_session *s =
		peer ? atomic_load_explicit(&peer->tx, memory_order_acquire) : NULL;

	return s && s->classes && q->class < s->classes->is.n && s->classes->of[q->class].rate_kbit
		       ? class_open_ns(&s->classes->of[q->class])
		       : w->now;
}

bool seal_shaped(struct worker *w)
{
	struct virtio_net_hdr h;
	struct shape_queue *q;
	bool any = false;

	for (unsigned i = 0; (q = shaper_queue(w->shaper, i));) {
		struct kt_peer *peer = kt_lookup_peer(w->kt, q->peer);
		uint32_t len;

		q->ready_ns = shaped_open_ns(w, q);
		if (q->ready_ns > w->now) {
			i++;
			continue;
		}
		len = shaper_take(w->shaper, i, w->packet, &h);
		any = true;
		w->waited = true;
		if (peer)
			seal_kept(w, peer, len, &h);
		else
			count(w, DP_C_DROP_NO_PEER, 1);
		w->waited = false;
	}
	return any;
}

void seal_drop_held(struct worker *w, uint32_t index, bool prohibited)
{
	struct virtio_net_hdr h;
	uint64_t cursor = 0;
	struct packet p;
	uint32_t len;

	while ((len = hold_take(w->hold, index, &cursor, w->packet, &h))) {
		count(w, DP_C_HELD_DROP_DENIED, 1);
		if (prohibited && !(h.flags & ETHER_HELD) && packet_parse(&p, w->packet, len) == 0)
			worker_icmp(w, &p, ICMP_E_PROHIBITED, 0);
	}
}

/* ---- control ---- */
bool seal_ctrl(struct worker *w, struct kt_session *s, const struct kt_endpoint *ep,
	       enum mvpn_ctrl_type type, uint64_t token, unsigned pad)
{
	struct mvpn_ctrl c = {.type = (uint8_t)type, .pad = htobe32(pad), .token = htobe64(token)};
	size_t len = sizeof(c) + pad;

	if (len + MVPN_OVERHEAD > WIRE_PAYLOAD_MAX)
		return false;
	if (w->index >= s->ntx) {
		want_rekey(w, s); /* a PING has come to a worker that cannot answer it */
		return false;
	}
	memcpy(w->scratch, &c, sizeof(c));
	memset(w->scratch + sizeof(c), 0, pad);
	return send_one(w, s, ep, MVPN_CTRL, 0, w->scratch, len);
}
