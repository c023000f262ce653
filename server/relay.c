/* SPDX-License-Identifier: BSD-2-Clause */
#include "relay.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "echo.h"
#include "htab.h"
#include "mvpn/wire.h"
#include "relay_tcp.h"

/* one end's half of a session that is relayed */
struct half {
	struct hnode by_spi;
	struct pair *pair;
	uint8_t device[16];
	uint32_t spi; /* it receives by; 0: it has not said so yet */
	bool no_udp;  /* as the other end was told */
};

struct pair {
	struct hnode by_session;
	struct pair *prev, *next; /* by `at_ms`, the longest unheard first */
	uint8_t session[16];
	struct half half[2];
	uint64_t at_ms; /* when either end last spoke */
};

struct relay {
	struct server *s;
	struct htab by_session, by_spi;
	struct pair *first, *last;
	unsigned count;
};

static struct pair *find(const struct relay *r, const uint8_t session[16])
{
	struct hnode *n = htab_first(&r->by_session, htab_hash(&r->by_session, session, 16));

	for (; n; n = htab_next(n)) {
		struct pair *p = container_of(n, struct pair, by_session);

		if (!memcmp(p->session, session, 16))
			return p;
	}
	return NULL;
}

static void unlink_pair(struct relay *r, struct pair *p)
{
	*(p->prev ? &p->prev->next : &r->first) = p->next;
	*(p->next ? &p->next->prev : &r->last) = p->prev;
}

static void link_last(struct relay *r, struct pair *p)
{
	p->next = NULL;
	p->prev = r->last;
	*(p->prev ? &p->prev->next : &r->first) = p;
	r->last = p;
	p->at_ms = mono_ms();
}

static void set_spi(struct relay *r, struct half *h, uint32_t spi)
{
	if (h->spi == spi)
		return;
	if (h->spi)
		htab_del(&r->by_spi, &h->by_spi);
	h->spi = spi;
	if (spi)
		htab_add(&r->by_spi, &h->by_spi, htab_hash(&r->by_spi, &spi, sizeof(spi)));
}

static void pair_free(struct relay *r, struct pair *p)
{
	set_spi(r, &p->half[0], 0);
	set_spi(r, &p->half[1], 0);
	htab_del(&r->by_session, &p->by_session);
	unlink_pair(r, p);
	r->count--;
	free(p);
}

static struct pair *pair_new(struct relay *r, const struct store_session *row)
{
	struct pair *p;

	/* those that nobody has spoken of for long are over */
	while (r->first && mono_ms() - r->first->at_ms > MVPN_RELAY_IDLE_S * 1000)
		pair_free(r, r->first);
	p = r->count < MVPN_RELAY_PAIRS_MAX ? calloc(1, sizeof(*p)) : NULL;
	if (!p)
		return NULL;
	memcpy(p->session, row->id, 16);
	memcpy(p->half[0].device, row->a, 16);
	memcpy(p->half[1].device, row->b, 16);
	p->half[0].pair = p->half[1].pair = p;
	htab_add(&r->by_session, &p->by_session, htab_hash(&r->by_session, p->session, 16));
	link_last(r, p);
	r->count++;
	return p;
}

void relay_drop(struct server *s, const uint8_t session[16])
{
	struct pair *p = s->relay ? find(s->relay, session) : NULL;

	if (p)
		pair_free(s->relay, p);
}

void relay_end(struct conn *c, const uint8_t session[16])
{
	struct pair *p = find(c->s->relay, session);

	if (p && (!memcmp(p->half[0].device, c->dev->row.id, 16) ||
		  !memcmp(p->half[1].device, c->dev->row.id, 16)))
		pair_free(c->s->relay, p);
}

/* ---- RELAY ---- */

static struct conn *conn_of(struct server *s, const struct half *h)
{
	struct device *d = registry_by_id(s->reg, h->device);

	return d ? device_conn(d) : NULL;
}

static void refuse(struct conn *c, const uint8_t session[16], enum mvpn_reason reason)
{
	struct chan_buf *b = &c->s->buf;

	chan_begin(b, MVPN_MSG_RELAY, 0, 0);
	chan_put(b, MVPN_TLV_SESSION, session, 16);
	chan_put_u16(b, MVPN_TLV_REASON, (uint16_t)reason);
	conn_send(c, b);
}

/* tells `to` how it stands, and where its peer is seen now */
static void tell(struct conn *to, const struct pair *p, struct conn *peer)
{
	bool open = p->half[0].spi && p->half[1].spi;
	struct chan_buf *b = &to->s->buf;

	chan_begin(b, MVPN_MSG_RELAY, open ? MVPN_RELAY_OPEN : 0, 0);
	chan_put(b, MVPN_TLV_SESSION, p->session, 16);
	echo_put_endpoint(b, peer->dev, to);
	conn_send(to, b);
}

/* the session's place in this exchange; NULL and *ret_reason: there is none */
static struct pair *pair_for(struct conn *c, const uint8_t session[16],
			     enum mvpn_reason *ret_reason)
{
	struct relay *r = c->s->relay;
	struct store_session row;
	struct pair *p;

	*ret_reason = MVPN_R_EXPIRED;
	if (store_session_get(c->s->store, session, &row) < 0 || row.state != SESSION_ACTIVE ||
	    (memcmp(row.a, c->dev->row.id, 16) && memcmp(row.b, c->dev->row.id, 16)))
		return NULL;
	*ret_reason = MVPN_R_LIMIT;
	p = find(r, session);
	return p ? p : pair_new(r, &row);
}

int relay_message(struct conn *c, const struct chan_msg *m)
{
	struct relay *r = c->s->relay;
	enum mvpn_reason reason = MVPN_R_LOCAL_POLICY;
	uint8_t session[16];
	struct conn *peer;
	struct half *mine;
	struct pair *p = NULL;
	uint32_t spi;
	bool news;

	if (!chan_get_bytes(m, MVPN_TLV_SESSION, session, sizeof(session)) ||
	    !chan_get_u32(m, MVPN_TLV_SPI, &spi) || !spi)
		return -EPROTO;
	if (c->budget < 0)
		reason = MVPN_R_LIMIT;
	else if (c->s->conf->relay_mbit)
		p = pair_for(c, session, &reason);
	if (!p) {
		count(c->s, relay_refused);
		refuse(c, session, reason);
		return 0;
	}
	mine = &p->half[memcmp(p->half[0].device, c->dev->row.id, 16) != 0];
	news = mine->spi != spi || mine->no_udp != echo_blocked(c);
	mine->no_udp = echo_blocked(c);
	set_spi(r, mine, spi);
	unlink_pair(r, p);
	link_last(r, p);
	peer = conn_of(c->s, &p->half[mine == &p->half[0]]);
	if (!peer) {
		refuse(c, session, MVPN_R_PEER_OFFLINE);
		return 0;
	}
	tell(c, p, peer);
	if (news) /* the peer says its SPI, or hears that it is open, or how */
		tell(peer, p, c);
	return 0;
}

/* ---- packets ---- */

/* the channel of the end that this is, or NULL */
static struct conn *came_from(struct server *s, const struct half *h,
			      const struct mvpn_endpoint *from, const struct device *sender)
{
	struct conn *c = conn_of(s, h);
	struct mvpn_endpoint e;

	if (!c || sender)
		return c && c->dev == sender ? c : NULL;
	return echo_endpoint(c, &e) && e.port == from->port && mvpn_addr_eq(&e.addr, &from->addr)
		       ? c
		       : NULL;
}

/* as any router with a full queue, or too small a link: lost */
static bool forward(struct conn *to, const uint8_t *data, size_t len)
{
	return to->dev->conduit ? relay_tcp_send(to->dev->conduit, data, len)
			       : echo_send(to, data, len);
}

bool relay_packet(struct relay *r, const uint8_t *data, size_t len,
		  const struct mvpn_endpoint *from, const struct device *sender)
{
	struct mvpn_hdr h;
	struct conn *by, *to;
	struct hnode *n;
	uint32_t spi;

	if (len < MVPN_OVERHEAD)
		return false;
	memcpy(&h, data, sizeof(h));
	if ((h.type != MVPN_TUNNEL && h.type != MVPN_CTRL && h.type != MVPN_FRAME) ||
	    h.lane & MVPN_LANE_ZERO)
		return false;
	spi = be32toh(h.spi);
	for (n = htab_first(&r->by_spi, htab_hash(&r->by_spi, &spi, sizeof(spi))); n;
	     n = htab_next(n)) {
		struct half *mine = container_of(n, struct half, by_spi);
		struct half *other = &mine->pair->half[mine == &mine->pair->half[0]];

		if (mine->spi != spi || !other->spi)
			continue;
		by = came_from(r->s, other, from, sender);
		if (!by)
			continue;
		to = conn_of(r->s, mine);
		if (to && echo_may_relay(by, len) && forward(to, data, len))
			count(r->s, relayed);
		else
			count(r->s, relay_limited);
		return true;
	}
	return false;
}

/* ---- making ---- */

int relay_new(struct server *s)
{
	struct relay *r = calloc(1, sizeof(*r));
	int e;

	if (!r)
		return -ENOMEM;
	r->s = s;
	s->relay = r;
	e = htab_init(&r->by_session);
	return e ? e : htab_init(&r->by_spi);
}

void relay_free(struct relay *r)
{
	if (!r)
		return;
	while (r->first)
		pair_free(r, r->first);
	htab_free(&r->by_session);
	htab_free(&r->by_spi);
	free(r);
}

