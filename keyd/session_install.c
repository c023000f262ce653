/* SPDX-License-Identifier: BSD-2-Clause */
#include "session_life.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "levels.h"
#include "peers.h"
#include "secmem.h"
#include "spi.h"
#include "streams.h"

/* our own first */
static struct mvpn_service *services_copy(const struct intro_selectors *sel, bool initiator)
{
	const struct mvpn_service *own = initiator ? sel->serv_a : sel->serv_b,
				  *peers = initiator ? sel->serv_b : sel->serv_a;
	unsigned nown = initiator ? sel->nserv_a : sel->nserv_b,
		 npeers = initiator ? sel->nserv_b : sel->nserv_a;
	struct mvpn_service *list = calloc(nown + npeers, sizeof(*list));

	if (list) {
		memcpy(list, own, nown * sizeof(*list));
		memcpy(list + nown, peers, npeers * sizeof(*list));
	}
	return list;
}

static int streams_new(struct session *s, const struct intro_keys *keys)
{
	s->streams = calloc(1, sizeof(*s->streams));
	if (!s->streams)
		return -ENOMEM;
	s->streams->keys = secmem_alloc();
	if (!s->streams->keys)
		return -ENOMEM;
	memcpy(s->streams->keys, keys->tx, 32);
	memcpy(s->streams->keys + 32, keys->rx, 32);
	s->streams->suite = keys->suite;
	return 0;
}

void session_streams_free(struct session_streams *st)
{
	if (st) {
		secmem_free(st->keys);
		free(st->services);
		free(st->classes);
	}
	free(st);
}

static int packets_new(struct keyd *k, struct session *s, const struct session_spec *spec)
{
	const struct intro_selectors *sel = spec->selectors;
	const struct mvpn_prefix *local = spec->initiator ? sel->a : sel->b;
	const struct mvpn_prefix *remote = spec->initiator ? sel->b : sel->a;
	int r = kt_session_new(k->kt, &s->kt, spec->id, s->peer->index, spec->rx_spi, spec->keys,
			       local, spec->initiator ? sel->na : sel->nb, remote,
			       spec->initiator ? sel->nb : sel->na);

	if (r)
		return r;
	s->kt->keyd_here = (uint16_t)k->conf.udp_port;
	s->kt->keyd_there = spec->keys->peer_udpport;
	levels_limit(s);
	s->kt->ratchet_packets = k->conf.ratchet_packets;
	/* the responder steps in later than the initiator, as with time */
	s->kt->rekey_packets = k->conf.rekey_packets;
	if (!spec->initiator)
		s->kt->rekey_packets += k->conf.rekey_packets / 5;
	s->kt->rekey_from_ns = mono_ns() + MVPN_REKEY_GAP_MS * 1000000ULL;
	return 0;
}

/* takes the list over */
static void limit(struct session *s, const struct intro_selectors *sel, bool initiator,
		  struct mvpn_service *services)
{
	s->limited = true;
	s->services = services;
	s->nserv_local = initiator ? sel->nserv_a : sel->nserv_b;
	s->nserv_remote = initiator ? sel->nserv_b : sel->nserv_a;
	if (s->kt)
		kt_session_limit(s->kt, services, s->nserv_local, s->nserv_remote);
	else
		s->streams->services = services;
}

bool session_serves(const struct session *s, bool here, uint8_t proto, uint16_t port)
{
	return !s->limited ||
	       mvpn_services_have(s->services + (here ? 0 : s->nserv_local),
				  here ? s->nserv_local : s->nserv_remote, proto, port);
}

/* ---- SERVICES ---- */

/* is it for that already? */
static bool is_for(const struct session *s, const struct intro_selectors *sel, const struct mvpn_service *services)
{
	static const struct mvpn_classes none;
	unsigned nlocal = s->initiator ? sel->nserv_a : sel->nserv_b, nremote = s->initiator ? sel->nserv_b : sel->nserv_a;

	return s->limited == sel->limited &&
	       mvpn_classes_eq(s->streams->classes ? &s->streams->classes->is : &none, &sel->classes) &&
	       (!s->limited || (mvpn_services_eq(s->services, s->nserv_local, services, nlocal) &&
				mvpn_services_eq(s->services + s->nserv_local, s->nserv_remote, services + nlocal, nremote)));
}

/* its classes stay till it has a successor, which it gets for their sake, too */
int session_services_message(struct keyd *k, const struct chan_msg *m)
{
	uint16_t len;
	const uint8_t *p = chan_tlv_find(m, MVPN_TLV_SELECTORS, &len);
	struct mvpn_service *services, *before;
	uint8_t id[MVPN_ID_LEN];
	struct intro_selectors sel;
	struct session *s;

	if (!p || intro_selectors_decode(&sel, p, len) || !chan_get_bytes(m, MVPN_TLV_SESSION, id, sizeof(id)))
		return -EPROTO;
	s = session_by_id(k, id);
	if (!s || !s->streams)
		return 0; /* it has ended meanwhile */
	services = services_copy(&sel, s->initiator);
	if (!services) {
		session_drop(s, MVPN_R_INTERNAL, true); /* and its streams, if it was the last */
		return 0;
	}
	if (is_for(s, &sel, services)) {
		free(services);
		return 0;
	}
	before = s->streams->services;
	limit(s, &sel, s->initiator, services);
	s->limited = sel.limited;
	free(before);
	streams_services(s);
	if (s->transmits)
		session_renew(s);
	return 0;
}

/* answers may overtake each other: in the order of the server's numbers */
static void link_session(struct session *s)
{
	struct keyd *k = s->k;
	struct session **at = &s->peer->sessions;

	while (*at && (*at)->seq > s->seq)
		at = &(*at)->next;
	s->next = *at;
	*at = s;
	k->by_slot[spi_slot(s->rx_spi)] = s;
	htab_add(&k->sessions_by_id, &s->by_id, htab_hash(&k->sessions_by_id, s->id, MVPN_ID_LEN));
	k->nsessions++;
}

/* room for one more: the oldest that is replaced, or was never used, goes before its time */
static void make_room(struct peer *p)
{
	struct session *s, *oldest = NULL;
	unsigned n = 0;

	for (s = p->sessions; s; s = s->next, n++)
		if (!s->transmits)
			oldest = s;
	if (n >= MVPN_SESSIONS_PEER_MAX && oldest)
		session_drop(oldest, MVPN_R_REPLACED, true);
}

int session_install(struct keyd *k, struct peer *p, const struct session_spec *spec,
		    struct session **ret)
{
	const struct intro_selectors *sel = spec->selectors;
	struct mvpn_service *services = sel->limited ? services_copy(sel, spec->initiator) : NULL;
	struct kt_classes *classes =
		sel->classes.n ? kt_classes_new(&sel->classes, !spec->initiator) : NULL;
	struct session *s = calloc(1, sizeof(*s));
	int r = -ENOMEM;

	if (!s || (sel->limited && !services) || (sel->classes.n && !classes)) {
		free(services);
		free(classes);
		free(s);
		return r;
	}
	make_room(p);
	s->k = k;
	s->peer = p;
	s->initiator = spec->initiator;
	r = session_life_new(s, spec->ttl_s);
	if (!r)
		r = p->layer == MVPN_LAYER_SOCKET ? streams_new(s, spec->keys)
						  : packets_new(k, s, spec);
	if (r) {
		session_streams_free(s->streams);
		loop_timer_free(s->timer);
		free(services);
		free(classes);
		free(s);
		return r;
	}
	if (s->kt)
		kt_session_classes(s->kt, classes);
	else
		s->streams->classes = classes;
	if (services)
		limit(s, sel, spec->initiator, services);
	memcpy(s->id, spec->id, MVPN_ID_LEN);
	s->mode = spec->mode;
	s->seq = spec->seq;
	s->rx_spi = spec->rx_spi;
	s->tx_spi = spec->keys->peer_spi;
	s->nat = s->kt && spec->nat;
	s->no_udp = s->kt && spec->no_udp;
	s->seen = spec->endpoint;
	s->ncand = spec->keys->ncand;
	memcpy(s->cand, spec->keys->cand, s->ncand * sizeof(*s->cand));
	link_session(s);
	*ret = s;
	session_begin(s);
	return 0;
}
