/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * In: a datagram from the wire → its session by SPI → replay check → opened → crypto-routing →
 * coalesced for the tap.
 */
#include <endian.h>
#include <sodium.h>

#include "class.h"
#include "echo_msg.h"
#include "ether.h"
#include "mss.h"
#include "pass.h"
#include "permit.h"
#include "worker.h"

/* ---- runs: statistics are published once for many packets ---- */
void open_run_end(struct worker *w)
{
	struct rx_run *r = &w->run;

	if (!r->session)
		return;
	if (r->packets) {
		kt_add(&r->lane->packets, r->packets);
		kt_add(&r->lane->bytes, r->bytes);
		count(w, DP_C_RX_PACKETS, r->packets);
		count(w, DP_C_RX_BYTES, r->bytes);
	}
	memset(r, 0, sizeof(*r));
}

static void run_begin(struct worker *w, struct kt_session *s, struct kt_rx_lane *l)
{
	if (w->run.lane == l)
		return;
	open_run_end(w);
	w->run.session = s;
	w->run.lane = l;
	w->run.peer = kt_lookup_peer(w->kt, s->peer);
}

void open_finish(struct worker *w)
{
	open_run_end(w);
	coalesce_flush(&w->coalescer);
}

/* ---- opening ---- */
static void lane_advance(struct worker *w, const struct kt_session *s, struct kt_rx_lane *l)
{
	l->prev = l->cur;
	l->prev_until_ns = w->now + MVPN_GEN_OLD_S * 1000000000ULL;
	l->cur = l->next;
	l->gen++;
	intro_lane_next(l->l_next);
	intro_lane_aead(&l->next, s->suite, l->l_next);
}

/*
 * keys of a generation further ahead than the next: only after so long a loss that every packet
 * of one went missing
 */
static bool open_skipped(struct worker *w, const struct kt_session *s, struct kt_rx_lane *l,
			 unsigned ahead, uint64_t counter, const uint8_t *data, size_t len,
			 uint8_t *pt)
{
	uint8_t chain[32];
	struct aead a;
	bool ok;

	if (ahead > MVPN_GEN_SKIP_MAX || w->now < l->skip_after_ns)
		return false;
	l->skip_after_ns = w->now + MVPN_GEN_SKIP_MS * 1000000ULL;
	memcpy(chain, l->l_next, sizeof(chain));
	for (unsigned i = 1; i < ahead; i++)
		intro_lane_next(chain);
	intro_lane_aead(&a, s->suite, chain);
	ok = aead_open(&a, counter, data, data + sizeof(struct mvpn_hdr),
		       len - sizeof(struct mvpn_hdr), pt);
	for (unsigned i = 0; ok && i < ahead; i++)
		lane_advance(w, s, l);
	sodium_memzero(chain, sizeof(chain));
	sodium_memzero(&a, sizeof(a));
	return ok;
}

static bool lane_open(struct worker *w, const struct kt_session *s, struct kt_rx_lane *l,
		      uint16_t gen, uint64_t counter, const uint8_t *data, size_t len, uint8_t *pt)
{
	const uint8_t *ct = data + sizeof(struct mvpn_hdr);
	int ahead = (int16_t)(uint16_t)(gen - l->gen);

	if (l->prev.suite && w->now >= l->prev_until_ns)
		sodium_memzero(&l->prev, sizeof(l->prev));
	len -= sizeof(struct mvpn_hdr);
	if (!ahead)
		return aead_open(&l->cur, counter, data, ct, len, pt);
	if (ahead == -1)
		return l->prev.suite && aead_open(&l->prev, counter, data, ct, len, pt);
	if (ahead < 1)
		return false;
	if (ahead > 1)
		return open_skipped(w, s, l, (unsigned)ahead, counter, data,
				    len + sizeof(struct mvpn_hdr), pt);
	if (!aead_open(&l->next, counter, data, ct, len, pt))
		return false;
	lane_advance(w, s, l);
	return true;
}

/* the bound is one on a key, and each lane has its own */
static void failed(struct worker *w, const struct kt_session *s, struct kt_rx_lane *l)
{
	struct dp_event e = {.type = DP_EV_REKEY, .peer = s->peer, .rx_spi = s->rx_spi};

	count(w, DP_C_RX_AUTH_FAIL, 1);
	kt_add(&l->auth_fail, 1);
	if (atomic_load_explicit(&l->auth_fail, memory_order_relaxed) == MVPN_OPEN_FAIL_MAX)
		worker_event(w, &e);
}

/* ---- what every authentic packet tells ---- */
/* `from` is where the peer receives */
static void learn_endpoint(struct worker *w, struct kt_session *s, const struct mvpn_endpoint *from)
{
	struct kt_endpoint *ep =
		w->run.peer ? atomic_load_explicit(&w->run.peer->endpoint, memory_order_acquire)
			    : NULL;
	unsigned i = s->rx_spi % ENDPOINT_SEEN;
	struct dp_event e = {
		.type = DP_EV_ENDPOINT, .peer = s->peer, .rx_spi = s->rx_spi, .from = *from};

	if (ep && ep->to.port == from->port &&
	    !memcmp(&ep->to.addr, &from->addr, sizeof(from->addr)))
		return;
	if (w->endpoint_seen[i].spi == s->rx_spi &&
	    w->now - w->endpoint_seen[i].at_ns < MVPN_ENDPOINT_GAP_MS * 1000000ULL)
		return;
	if (worker_event(w, &e)) {
		w->endpoint_seen[i].spi = s->rx_spi;
		w->endpoint_seen[i].at_ns = w->now;
	}
}

static void authentic(struct worker *w, struct kt_session *s, const struct mvpn_endpoint *from,
		      bool newest)
{
	atomic_store_explicit(&w->run.lane->last_ns, w->now, memory_order_relaxed);
	if (!atomic_load_explicit(&s->confirmed, memory_order_relaxed) &&
	    !atomic_exchange(&s->confirmed, true)) {
		struct dp_event e = {.type = DP_EV_CONFIRMED,
				     .peer = s->peer,
				     .rx_spi = s->rx_spi,
				     .from = *from};

		if (!worker_event(w, &e))
			atomic_store(&s->confirmed, false);
	}
	if (newest)
		learn_endpoint(w, s, from);
}

/*
 * Where a packet's sender receives. Only lane 0 is sent from the port that the peer receives on; of the others the address counts.
 */
static struct mvpn_endpoint back_to(const struct worker *w, unsigned lane,
				    const struct wire_from *from)
{
	struct mvpn_endpoint back = from->ep;
	struct kt_endpoint *ep = lane && w->run.peer ? atomic_load_explicit(&w->run.peer->endpoint,
									    memory_order_acquire)
						     : NULL;

	if (ep)
		back.port = ep->to.port;
	return back;
}

/* ---- what was in it ---- */
/* what the other end's stack may send is its own path's matter; what ours may send to it is limited here */
static void clamp(struct worker *w, const struct packet *p, bool partial)
{
	const struct kt_endpoint *ep =
		w->run.peer ? atomic_load_explicit(&w->run.peer->endpoint, memory_order_acquire)
			    : NULL;

	if (ep)
		mss_clamp(p, partial, seal_inner_max(ep));
}

/*
 * What the path did to the outer ECN field becomes the inner packet's. The outer one is not
 * authenticated: who changes it could as well have dropped the packet. false: drop it.
 */
static bool leave_ecn(struct worker *w, struct packet *p, uint8_t outer)
{
	uint8_t inner = packet_tos(p) & ECN_MASK, becomes = ecn_leave(inner, outer);

	if (becomes & ECN_ODD)
		count(w, DP_C_RX_ECN_ODD, 1);
	if (becomes & ECN_DROP) {
		count(w, DP_C_RX_ECN_DROP, 1);
		return false;
	}
	becomes &= ECN_MASK;
	if (becomes != inner) {
		packet_set_ecn(p, becomes);
		count(w, DP_C_RX_ECN_CE, becomes == ECN_CE);
	}
	return true;
}

/* clearly over its class's limit? Then it is counted */
static bool over_limit(struct worker *w, struct kt_class *c, size_t len)
{
	if (!c || !c->rate_kbit || class_received(c, len, w->now))
		return false;
	count(w, DP_C_RX_LIMIT, 1);
	return true;
}

static void open_tunnel(struct worker *w, struct kt_session *s, uint8_t *data, size_t len,
			bool partial, uint8_t outer_tos)
{
	enum permitted may;
	struct packet p;

	if (packet_parse(&p, data, len) < 0 || (partial && !p.headers) ||
	    !mvpn_prefixes_contain(s->remote, s->nremote, &p.src) ||
	    !mvpn_prefixes_contain(s->local, s->nlocal, &p.dst)) {
		coalesce_cancel(&w->coalescer);
		count(w, DP_C_RX_BAD_INNER, 1);
		kt_add(&w->run.lane->bad_inner, 1);
		return;
	}
	may = permit(s, &p, false);
	if (may != PERMITTED) {
		coalesce_cancel(&w->coalescer);
		count(w, may == NOT_A_SERVICE ? DP_C_RX_SERVICE : DP_C_RX_LEVEL, 1);
		kt_add(&w->run.lane->refused, 1);
		return;
	}
	if (s->classes && over_limit(w, class_packet(s, &p, false), len)) {
		coalesce_cancel(&w->coalescer);
		return;
	}
	if (!leave_ecn(w, &p, outer_tos)) {
		coalesce_cancel(&w->coalescer);
		return;
	}
	if (packet_is_syn(&p))
		clamp(w, &p, partial);
	w->run.packets++;
	w->run.bytes += len;
	coalesce_packet(&w->coalescer, &p, partial, s->peer);
}

/* frames are few: copied to where the tap's header has room, and never joined */
static void open_frame(struct worker *w, struct kt_session *s, const uint8_t *data, size_t len,
		       unsigned flags)
{
	static const struct virtio_net_hdr plain;
	uint16_t type = 0;
	bool ok = !flags && ether_in(w, s, data, len, &type);

	if (ok)
		memcpy(w->packet, data, len);
	coalesce_cancel(&w->coalescer);
	if (!ok) {
		count(w, DP_C_RX_BAD_INNER, 1);
		kt_add(&w->run.lane->bad_inner, 1);
		return;
	}
	if (s->classes && over_limit(w, class_frame(s, type), len))
		return;
	w->run.packets++;
	w->run.bytes += len;
	if (w->frame_tap.fd < 0 || tap_write(&w->frame_tap, &plain, w->packet, len) < 0)
		count(w, DP_C_DROP_TAP_FULL, 1);
	else
		count(w, DP_C_RX_FRAMES, 1);
}

/* to where the question came from: that is what a path is validated by */
static void pong(struct worker *w, struct kt_session *s, const struct mvpn_endpoint *from,
		 uint64_t token)
{
	struct kt_endpoint here = {.to = *from, .one_port = true};
	struct kt_endpoint *ep =
		w->run.peer ? atomic_load_explicit(&w->run.peer->endpoint, memory_order_acquire)
			    : NULL;

	if (!ep || ep->to.port != from->port ||
	    memcmp(&ep->to.addr, &from->addr, sizeof(from->addr)))
		ep = &here;
	seal_ctrl(w, s, ep, MVPN_CTRL_PONG, token, 0);
}

static void open_ctrl(struct worker *w, struct kt_session *s, const uint8_t *data, size_t len,
		      const struct mvpn_endpoint *from)
{
	struct dp_event e = {.peer = s->peer, .rx_spi = s->rx_spi, .from = *from, .at_ns = w->now};
	struct mvpn_ctrl c;

	if (len >= sizeof(c))
		memcpy(&c, data, sizeof(c));
	coalesce_cancel(&w->coalescer); /* from here on *data is something else */
	if (len < sizeof(c) || be32toh(c.pad) != len - sizeof(c))
		goto bad;
	e.token = be64toh(c.token);
	switch (c.type) {
	case MVPN_CTRL_CONFIRM:
		return; /* that it came says all */
	case MVPN_CTRL_PING:
		pong(w, s, from, e.token);
		return;
	case MVPN_CTRL_PONG:
		e.type = DP_EV_PONG;
		worker_event(w, &e);
		return;
	case MVPN_CTRL_CLOSE:
		e.type = DP_EV_CLOSE;
		worker_event(w, &e);
		return;
	case MVPN_CTRL_REACH:
		e.type = DP_EV_REACH;
		worker_event(w, &e);
		return;
	}
bad:
	count(w, DP_C_RX_BAD_INNER, 1);
}

/* the lane is ours */
static void open_lane(struct worker *w, struct kt_session *s, const struct mvpn_hdr *h,
		      uint8_t *data, size_t len, const struct wire_from *from)
{
	unsigned lane = h->lane & MVPN_LANE_MASK;
	struct kt_rx_lane *l = &s->rx[lane];
	uint64_t counter = be64toh(h->counter);
	struct mvpn_endpoint back;
	uint8_t *pt;
	bool newest;

	run_begin(w, s, l);
	if (!replay_check(&l->replay, counter)) {
		count(w, DP_C_RX_REPLAY, 1);
		kt_add(&l->replayed, 1);
		return;
	}
	newest = counter >= l->replay.next;
	len -= MVPN_OVERHEAD;
	pt = coalesce_room(&w->coalescer, len);
	if (!lane_open(w, s, l, be16toh(h->gen), counter, data, len + MVPN_OVERHEAD, pt)) {
		coalesce_cancel(&w->coalescer);
		failed(w, s, l);
		return;
	}
	replay_update(&l->replay, counter);
	back = back_to(w, lane, from);
	authentic(w, s, &back, newest);
	owner_opened(w, s, lane);
	if (h->type == MVPN_TUNNEL)
		open_tunnel(w, s, pt, len, h->lane & MVPN_F_CSUM_PARTIAL, from->tos);
	else if (h->type == MVPN_FRAME)
		open_frame(w, s, pt, len, h->lane & MVPN_F_CSUM_PARTIAL);
	else
		open_ctrl(w, s, pt, len, &back);
}

void open_kept(struct worker *w, struct kt_session *s, uint8_t *data, size_t len,
	       const struct wire_from *from)
{
	struct mvpn_hdr h;

	memcpy(&h, data, sizeof(h));
	if (s)
		open_lane(w, s, &h, data, len, from);
	else
		count(w, DP_C_RX_UNKNOWN_SPI, 1);
}

/* An answer to one of our questions? The main thread looks whether it is authentic: it must not be kept busy by what is not. */
static bool open_answer(struct worker *w, const uint8_t *data)
{
	struct dp_event e = {.type = DP_EV_ECHO};
	uint64_t *after;
	uint32_t id;

	if (!echo_look(data, sizeof(e.data), MVPN_ECHO_REPLY, &id) ||
	    (id != kt_echo(w->kt) && !kt_lookup_spi(w->kt, id)))
		return false;
	after = &w->echo_after_ns[id % ECHO_GATES];
	count(w, DP_C_RX_ECHO, 1);
	if (w->now < *after)
		return true;
	*after = w->now + MVPN_ECHO_HEAR_MS * 1000000ULL;
	memcpy(e.data, data, sizeof(e.data));
	worker_event(w, &e);
	return true;
}

/* of the types that belong to no session; false: it is none of them */
static bool open_plain(struct worker *w, const uint8_t *data, size_t len, const struct wire_from *from)
{
	struct mvpn_hdr h;

	if (len < sizeof(h))
		return false;
	memcpy(&h, data, sizeof(h));
	if (h.type == MVPN_PUNCH && len == sizeof(h)) {
		count(w, DP_C_RX_PUNCH, 1);
		return true;
	}
	if (len != MVPN_ECHO_B)
		return false;
	return (h.type == MVPN_ECHO_REPLY && open_answer(w, data)) ||
	       (h.type == MVPN_ECHO && pass_question(w, data, from));
}

void open_datagram(void *arg, uint8_t *data, size_t len, const struct wire_from *from)
{
	struct worker *w = arg;
	struct kt_session *s;
	struct mvpn_hdr h;

	if (open_plain(w, data, len, from))
		return;
	if (len < MVPN_OVERHEAD || len - MVPN_OVERHEAD > PACKET_MAX_B) {
		count(w, DP_C_RX_SHORT, 1);
		return;
	}
	memcpy(&h, data, sizeof(h));
	if ((h.type != MVPN_TUNNEL && h.type != MVPN_CTRL && h.type != MVPN_FRAME) ||
	    h.lane & MVPN_LANE_ZERO) {
		count(w, DP_C_RX_BAD_TYPE, 1);
		return;
	}
	s = kt_lookup_spi(w->kt, be32toh(h.spi));
	if (!s) {
		count(w, DP_C_RX_UNKNOWN_SPI, !pass_sealed(w, be32toh(h.spi), data, len, from));
		return;
	}
	if ((h.lane & MVPN_LANE_MASK) >= s->nrx)
		count(w, DP_C_RX_AUTH_FAIL, 1); /* no key was tried: it is no lane's */
	else if (owner_is(w, s, h.lane & MVPN_LANE_MASK))
		open_lane(w, s, &h, data, len, from);
	else
		owner_send(w, s, h.lane & MVPN_LANE_MASK, data, len, from);
}
