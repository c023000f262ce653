/* SPDX-License-Identifier: BSD-2-Clause */
#include "nat.h"

#include <endian.h>
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "endpoint.h"
#include "log.h"
#include "path.h"
#include "peers.h"
#include "pmtu.h"
#include "relayed.h"

/* a peer's; made when it is needed first */
struct nat_probe {
	struct keyd *k;
	struct peer *peer;
	struct loop_timer *timer;
	struct mvpn_endpoint to;
	uint32_t rx_spi;
	uint64_t token;
	unsigned tries; /* 0: none under way */
};

static bool same(const struct mvpn_endpoint *x, const struct mvpn_endpoint *y)
{
	return x->port == y->port && mvpn_addr_eq(&x->addr, &y->addr);
}

static bool listed(const struct mvpn_endpoint *e, const struct mvpn_endpoint *list, unsigned n)
{
	while (n--)
		if (same(e, &list[n]))
			return true;
	return false;
}

bool nat_between(const struct keyd *k, const struct mvpn_endpoint *seen,
		 const struct mvpn_endpoint *own, unsigned n)
{
	return endpoint_behind_nat(k) || endpoint_udp_blocked(k) || (n && !listed(seen, own, n));
}

/* ---- punching ---- */

/* both NATs may be on one link: addresses of one /24 */
static bool one_link(const struct keyd *k, const struct mvpn_endpoint *to)
{
	struct mvpn_endpoint own;

	return endpoint_seen(k, &own) && !memcmp(&own.addr, &to->addr, sizeof(own.addr) - 1);
}

/* to there nat_open() has sent: what A sends now must come first */
static bool opened(const struct session *s, const struct mvpn_endpoint *to)
{
	return same(to, &s->seen) && mvpn_addr_is_v4(&to->addr);
}

static struct mvpn_hdr punch(const struct session *s)
{
	return (struct mvpn_hdr){.type = MVPN_PUNCH, .spi = htobe32(s->tx_spi)};
}

void nat_open(struct session *s)
{
	const struct mvpn_hdr h = punch(s);

	/* not sent: as lost */
	if (s->nat && opened(s, &s->seen))
		dp_send_opener(s->k->dp, &s->seen, one_link(s->k, &s->seen), &h, sizeof(h));
	else
		dp_send_plain(s->k->dp, &s->seen, &h, sizeof(h));
}

static void punch_to(struct session *s, const struct mvpn_endpoint *to)
{
	const struct mvpn_hdr h = punch(s);

	/* B may speak once it has heard A */
	if (s->initiator || s->state != SESSION_UNCONFIRMED)
		dp_send_ctrl_to(s->k->dp, s->rx_spi, session_word(s), 0, to);
	else if (s->confirms > 1 || !opened(s, to))
		dp_send_plain(s->k->dp, to, &h, sizeof(h));
}

void nat_punch(struct session *s)
{
	unsigned i;

	punch_to(s, &s->seen);
	if (!same(&s->seen, &s->peer->endpoint))
		punch_to(s, &s->peer->endpoint);
	for (i = 0; i < s->ncand; i++)
		if (!same(&s->cand[i], &s->seen) && !same(&s->cand[i], &s->peer->endpoint))
			punch_to(s, &s->cand[i]);
}

const char *nat_path_name(const struct session *s)
{
	bool open = !s->awaits_path && (s->transmits || s->state != SESSION_UNCONFIRMED);

	if (s->nat && s->peer->relayed)
		return relayed_by_tcp(s->k, s->peer) ? "relayed-tcp" : "relayed";
	return !s->nat || open ? "direct" : "punching";
}

/* ---- probing ---- */

static void ping(struct nat_probe *b)
{
	dp_send_ctrl_to(b->k->dp, b->rx_spi, MVPN_CTRL_PING, b->token, &b->to);
	b->tries++;
	loop_timer_arm(b->timer, MVPN_PROBE_GAP_MS);
}

static void on_timer(void *arg)
{
	struct nat_probe *b = arg;

	if (b->tries < MVPN_PROBE_TRIES)
		ping(b);
	else
		b->tries = 0;
}

static struct nat_probe *probe_get(struct keyd *k, struct peer *p)
{
	struct nat_probe *b = p->probe;

	if (b)
		return b;
	b = calloc(1, sizeof(*b));
	if (!b || loop_timer_new(k->loop, on_timer, b, &b->timer)) {
		free(b);
		log_err("no memory to follow peer %s to another address", peer_label(p));
		return NULL;
	}
	b->k = k;
	b->peer = p;
	p->probe = b;
	return b;
}

void nat_probe(struct session *s, const struct mvpn_endpoint *from)
{
	struct nat_probe *b = probe_get(s->k, s->peer);

	/* one after the other: another place is heard of again if the peer really is there */
	if (!b || b->tries)
		return;
	b->to = *from;
	b->rx_spi = s->rx_spi;
	randombytes_buf(&b->token, sizeof(b->token));
	b->token = (b->token & ~PMTU_TOKEN) | NAT_TOKEN;
	ping(b);
}

bool nat_pong(struct peer *p, const struct dp_event *e)
{
	struct nat_probe *b = p->probe;
	char text[MVPN_ADDRSTRLEN];

	if (!(e->token & NAT_TOKEN) || e->token & PMTU_TOKEN)
		return false;
	if (!b || !b->tries || e->token != b->token)
		return true;
	b->tries = 0;
	loop_timer_disarm(b->timer);
	log_info("peer %s has moved to %s", peer_label(p), mvpn_endpoint_str(&b->to, text));
	p->relayed = relayed_from(b->k, p, &b->to);
	path_set_endpoint(b->k, p, &b->to);
	sessions_path_found(p);
	return true;
}

void nat_forget(struct peer *p)
{
	p->relayed = p->no_udp = false;
	if (!p->probe)
		return;
	loop_timer_free(p->probe->timer);
	free(p->probe);
	p->probe = NULL;
}

/* ---- keeping ---- */

static void keep(struct keyd *k, struct peer *p)
{
	const struct session *s = session_transmitting(p);
	struct kt_stats stats;

	if (!s || !s->kt)
		return;
	kt_session_stats(s->kt, &stats);
	if (stats.tx_packets == p->kept_packets)
		dp_send_ctrl(k->dp, s->rx_spi, MVPN_CTRL_CONFIRM, 0, 0);
	p->kept_packets = stats.tx_packets;
}

void nat_tick(struct keyd *k, uint64_t now_ms)
{
	uint32_t i;

	if (now_ms < k->keep_ms)
		return;
	k->keep_ms = now_ms + MVPN_KEEPALIVE_S * 1000;
	for (i = 1; i <= k->npeers; i++) {
		if (endpoint_behind_nat(k))
			keep(k, k->peers[i]);
		relayed_tick(k, k->peers[i]);
	}
}
