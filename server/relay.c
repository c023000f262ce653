/* SPDX-License-Identifier: BSD-2-Clause */
#include "relay.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "echo.h"
#include "relay_device.h"
#include "relay_tcp.h"

static struct relay_pair *pair_of(struct fwd_pair *p)
{
	return (struct relay_pair *)p; /* its first member */
}

static struct relay_pair *find(const struct relay *r, const uint8_t session[16])
{
	return pair_of(fwd_find(&r->t, session));
}

static void pair_free(struct relay *r, struct relay_pair *p)
{
	relay_device_end(r->s, p);
	fwd_remove(&r->t, &p->f);
	free(p);
}

static struct relay_pair *pair_new(struct relay *r, const struct store_session *row)
{
	struct relay_pair *p;
	struct fwd_pair *idle;

	/* those that nobody has spoken of for long are over */
	while ((idle = fwd_idle(&r->t, mono_ms(), MVPN_RELAY_IDLE_S * 1000)))
		pair_free(r, pair_of(idle));
	p = r->t.count < MVPN_RELAY_PAIRS_MAX ? calloc(1, sizeof(*p)) : NULL;
	if (p)
		fwd_add(&r->t, &p->f, row->id, row->a, row->b, mono_ms());
	return p;
}

void relay_drop(struct server *s, const uint8_t session[16])
{
	struct relay_pair *p = s->relay ? find(s->relay, session) : NULL;

	if (p)
		pair_free(s->relay, p);
}

static struct fwd_half *half_of(struct relay_pair *p, const struct device *d)
{
	for (unsigned i = 0; i < 2; i++)
		if (!memcmp(p->f.half[i].device, d->row.id, 16))
			return &p->f.half[i];
	return NULL;
}

void relay_end(struct conn *c, const uint8_t session[16])
{
	struct relay_pair *p = find(c->s->relay, session);

	if (p && half_of(p, c->dev))
		pair_free(c->s->relay, p);
}

/* ---- RELAY ---- */

static struct conn *conn_of(struct server *s, const struct fwd_half *h)
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

static bool both_asked(const struct relay_pair *p)
{
	return p->f.half[0].spi && p->f.half[1].spi;
}

/* tells `to` how it stands, and where its peer is seen now */
static void tell(struct conn *to, const struct relay_pair *p, struct conn *peer)
{
	struct chan_buf *b = &to->s->buf;

	if (both_asked(p) && !p->by_device && !to->s->conf->relay_mbit) {
		count(to->s, relay_refused);
		refuse(to, p->f.session, MVPN_R_RELAY);
		return;
	}
	chan_begin(b, MVPN_MSG_RELAY, both_asked(p) ? MVPN_RELAY_OPEN : 0, 0);
	chan_put(b, MVPN_TLV_SESSION, p->f.session, 16);
	echo_put_endpoint(b, peer->dev, to);
	if (both_asked(p) && p->by_device)
		relay_device_put(b, p, to);
	conn_send(to, b);
	sodium_memzero(b->data, b->len);
}

void relay_tell(struct server *s, struct relay_pair *p)
{
	struct conn *a = conn_of(s, &p->f.half[0]), *b = conn_of(s, &p->f.half[1]);

	if (!a || !b || !both_asked(p))
		return;
	tell(a, p, b);
	tell(b, p, a);
}

/* the session's place in this exchange; NULL and *ret_reason: there is none */
static struct relay_pair *pair_for(struct conn *c, const uint8_t session[16],
				   enum mvpn_reason *ret_reason)
{
	struct relay *r = c->s->relay;
	struct store_session row;
	struct relay_pair *p;

	*ret_reason = MVPN_R_EXPIRED;
	if (store_session_get(c->s->store, session, &row) < 0 || row.state != SESSION_ACTIVE ||
	    (memcmp(row.a, c->dev->row.id, 16) && memcmp(row.b, c->dev->row.id, 16)))
		return NULL;
	*ret_reason = MVPN_R_LIMIT;
	p = find(r, session);
	return p ? p : pair_new(r, &row);
}

/* what this end says; true: the other one is to hear of it */
static bool take(struct conn *c, struct relay_pair *p, struct fwd_half *mine, uint32_t spi)
{
	struct relay *r = c->s->relay;
	bool *no_udp = &p->no_udp[fwd_end(mine)], blocked = echo_blocked(c);
	bool news = mine->spi != spi || *no_udp != blocked;

	*no_udp = blocked;
	fwd_set_spi(&r->t, mine, spi);
	fwd_touch(&r->t, &p->f, mono_ms());
	return news;
}

int relay_message(struct conn *c, const struct chan_msg *m)
{
	struct server *s = c->s;
	enum mvpn_reason reason = MVPN_R_LOCAL_POLICY;
	uint8_t session[16], silent[MVPN_ID_LEN];
	struct conn *peer;
	struct fwd_half *mine;
	struct relay_pair *p = NULL;
	uint32_t spi;
	bool news;

	if (!chan_get_bytes(m, MVPN_TLV_SESSION, session, sizeof(session)) ||
	    !chan_get_u32(m, MVPN_TLV_SPI, &spi) || !spi)
		return -EPROTO;
	if (c->budget < 0)
		reason = MVPN_R_LIMIT;
	else if (s->conf->relay_mbit || relay_devices_named(s))
		p = pair_for(c, session, &reason);
	if (!p) {
		count(s, relay_refused);
		refuse(c, session, reason);
		return 0;
	}
	mine = half_of(p, c->dev);
	news = take(c, p, mine, spi);
	if (chan_get_bytes(m, MVPN_TLV_DEVICE, silent, sizeof(silent)))
		relay_device_silent(s, p, silent, c->dev);
	peer = conn_of(s, fwd_other(mine));
	if (!peer) {
		refuse(c, session, MVPN_R_PEER_OFFLINE);
		return 0;
	}
	if (both_asked(p))
		news |= relay_device_choose(s, p);
	tell(c, p, peer);
	if (news) /* the peer says its SPI, or hears that it is open, or how */
		tell(peer, p, c);
	return 0;
}

/* ---- packets ---- */

/* the channel of the end that this is, or NULL */
static struct conn *came_from(struct server *s, const struct fwd_half *h,
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
	struct fwd_half *mine = NULL;
	struct conn *by, *to;
	uint32_t spi;

	if (!r->s->conf->relay_mbit || !fwd_sealed(data, len, &spi))
		return false;
	while ((mine = fwd_by_spi(&r->t, spi, mine))) {
		by = fwd_other(mine)->spi ? came_from(r->s, fwd_other(mine), from, sender) : NULL;
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

	if (!r)
		return -ENOMEM;
	r->s = s;
	s->relay = r;
	return fwd_init(&r->t);
}

void relay_free(struct relay *r)
{
	if (!r)
		return;
	while (r->t.first)
		pair_free(r, pair_of(r->t.first));
	fwd_free(&r->t);
	free(r);
}
