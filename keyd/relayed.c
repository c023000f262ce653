/* SPDX-License-Identifier: BSD-2-Clause */
#include "relayed.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>

#include "asks.h"
#include "channel.h"
#include "endpoint.h"
#include "log.h"
#include "nat.h"
#include "path.h"
#include "peers.h"
#include "relay_tcp.h"
#include "relay_way.h"

static bool same(const struct mvpn_endpoint *x, const struct mvpn_endpoint *y)
{
	return x->port == y->port && mvpn_addr_eq(&x->addr, &y->addr);
}

static void send_ask(struct session *s, const uint8_t *silent)
{
	struct chan_buf b = {0};

	s->relay_asked_ms = mono_ms();
	if (endpoint_udp_blocked(s->k)) {
		relay_tcp_want(s->k);
		if (!relay_tcp_up(s->k))
			return; /* relayed_conduit_up() */
	}
	chan_begin(&b, MVPN_MSG_RELAY, 0, 0);
	chan_put(&b, MVPN_TLV_SESSION, s->id, MVPN_ID_LEN);
	chan_put_u32(&b, MVPN_TLV_SPI, s->rx_spi);
	if (silent)
		chan_put(&b, MVPN_TLV_DEVICE, silent, MVPN_ID_LEN);
	channel_send(s->k, &b); /* without a channel it is asked for again when the path is silent */
	chan_buf_free(&b);
}

void relayed_ask(struct session *s)
{
	send_ask(s, NULL);
}

void relayed_unanswered(struct session *s, const uint8_t device[MVPN_ID_LEN])
{
	send_ask(s, device);
}

bool relayed_conduit_at(const struct keyd *k, const struct mvpn_endpoint *at)
{
	struct mvpn_endpoint conduit;

	return relay_tcp_at(k, &conduit) && same(&conduit, at);
}

/* the session that goes there by a device which relays */
static const struct session *by_device(const struct peer *p, const struct mvpn_endpoint *at)
{
	const struct session *s = p->sessions;

	while (s && !relay_way_at(s, at))
		s = s->next;
	return s;
}

bool relayed_from(const struct keyd *k, const struct peer *p, const struct mvpn_endpoint *from)
{
	struct mvpn_endpoint server;

	return relayed_conduit_at(k, from) || by_device(p, from) ||
	       (channel_server(k, &server) && same(&server, from));
}

const char *relayed_via(const struct peer *p)
{
	const struct session *s = p->relayed ? by_device(p, &p->endpoint) : NULL;

	return s ? relay_way_name(s) : NULL;
}

bool relayed_by_tcp(const struct keyd *k, const struct peer *p)
{
	return p->no_udp || relayed_conduit_at(k, &p->endpoint);
}

/* both ends have asked */
static void open_way(struct session *s)
{
	struct peer *p = s->peer;
	struct mvpn_endpoint way;
	bool tcp = !s->way && endpoint_udp_blocked(s->k);

	if (!(s->way ? relay_way_open(s, &way)
	      : tcp  ? relay_tcp_at(s->k, &way)
		     : channel_server(s->k, &way)) ||
	    (p->relayed && same(&p->endpoint, &way)))
		return;
	/* the answer is late: a direct way has been found meanwhile, and works */
	if (!p->relayed && s->transmits && s->state == SESSION_ACTIVE && !tcp && !p->no_udp &&
	    !path_is_silent(p))
		return;
	log_info("peer %s is reached through %s%s", peer_label(p),
		 s->way ? "the relay " : "the server's relay",
		 s->way ? relay_way_name(s) : tcp ? ", by TCP" : "");
	p->relayed = true;
	path_set_endpoint(s->k, p, &way);
	if (s->awaits_path)
		sessions_path_found(p);
}

void relayed_way_found(struct session *s)
{
	open_way(s);
	nat_punch(s);
}

static bool way_is_good(const struct chan_msg *m)
{
	struct mvpn_relay_by by;
	uint16_t len;
	const uint8_t *p = chan_tlv_find(m, MVPN_TLV_RELAY_BY, &len);

	return !p || (len > sizeof(by) && mvpn_name_valid((const char *)p + sizeof(by), len - sizeof(by)) &&
		      (p[offsetof(struct mvpn_relay_by, port_be)] | p[offsetof(struct mvpn_relay_by, port_be) + 1]));
}

/* who relays, as the server says: way_is_good() */
static void take_way(struct session *s, const struct chan_msg *m)
{
	struct mvpn_relay_by by;
	char name[MVPN_NAME_MAX_B + 1] = "";
	uint16_t len;
	const uint8_t *p = chan_tlv_find(m, MVPN_TLV_RELAY_BY, &len);

	if (!p) {
		relay_way_free(s);
		return;
	}
	memcpy(&by, p, sizeof(by));
	memcpy(name, p + sizeof(by), len - sizeof(by));
	if (relay_way_told(s, &by, name))
		log_err("no memory for the way to %s by a relay", peer_label(s->peer));
	sodium_memzero(&by, sizeof(by));
}

/* nothing was in its way when it was made; now something is, at either end */
static void way_is_lost(struct session *s)
{
	s->nat = true;
	path_set_nat(s->k, s->peer, true);
}

int relayed_message(struct keyd *k, const struct chan_msg *m)
{
	uint8_t id[MVPN_ID_LEN], seen[18], no_udp = 0;
	bool open = m->flags & MVPN_RELAY_OPEN, asks;
	struct session *s;
	uint16_t why;

	if (!chan_get_bytes(m, MVPN_TLV_SESSION, id, sizeof(id)))
		return -EPROTO;
	s = session_by_id(k, id);
	if (!s || s->state == SESSION_DRAINING || s->peer->layer == MVPN_LAYER_SOCKET)
		return 0; /* gone meanwhile */
	if (chan_get_u16(m, MVPN_TLV_REASON, &why)) {
		log_ratelimited(LOG_L_WARN, "the server does not relay for %s: %s",
				peer_label(s->peer), mvpn_reason_text(why));
		s->relay_asked_ms = 0; /* maybe it is not on record yet: again with the next CONFIRM */
		if (why == MVPN_R_RELAY)
			relay_way_free(s);
		return 0;
	}
	if (!chan_get_bytes(m, MVPN_TLV_ENDPOINT, seen, sizeof(seen)) || !way_is_good(m))
		return -EPROTO;
	chan_get_u8(m, MVPN_TLV_NO_UDP, &no_udp);
	/* the peer does; else this is the answer to our own question */
	asks = !open && (!s->relay_asked_ms || mono_ms() - s->relay_asked_ms > MVPN_RELAY_GAP_MS);
	if (!s->nat && (open || asks || no_udp || endpoint_udp_blocked(k)))
		way_is_lost(s);
	if (!s->nat)
		return 0;
	s->peer->no_udp = no_udp;
	memcpy(s->seen.addr.b, seen, 16);
	s->seen.port = (uint16_t)(seen[16] << 8 | seen[17]);
	if (open) {
		take_way(s, m);
		open_way(s);
	}
	if (asks) { /* it does not hear us, or we do not hear it: who has nothing to send learns it only so */
		endpoint_suspect(k);
		asks_relay(s);
	}
	nat_punch(s); /* to where the peer is seen now, and by the way that is open */
	return 0;
}

/* the session for which a way may be asked: the one that transmits, or would */
static struct session *in_use(const struct peer *p)
{
	struct session *s = session_transmitting(p);

	if (p->layer == MVPN_LAYER_SOCKET) /* it is no UDP's */
		return NULL;
	return s ? s : p->sessions;
}

void relayed_silent(struct keyd *k, struct peer *p)
{
	struct session *s = in_use(p);

	endpoint_suspect(k);
	if (s)
		asks_relay(s);
}

void relayed_udp_changed(struct keyd *k)
{
	for (uint32_t i = 1; i <= k->npeers; i++) {
		struct peer *p = k->peers[i];
		struct session *s = in_use(p);

		if (s && (p->relayed || path_is_silent(p) ||
			  (endpoint_udp_blocked(k) && (!s->transmits || s->relay_asked_ms))))
			asks_relay(s);
	}
	/* what came through the relay a moment ago may hide the first packet of the direct way (MVPN_ENDPOINT_GAP_MS): again soon */
	if (!endpoint_udp_blocked(k))
		k->keep_ms = mono_ms() + 2 * MVPN_ENDPOINT_GAP_MS;
}

void relayed_conduit_up(struct keyd *k)
{
	for (uint32_t i = 1; i <= k->npeers; i++) {
		struct session *s = in_use(k->peers[i]);

		if (s && (s->relay_asked_ms || k->peers[i]->relayed))
			asks_relay(s);
	}
}

void relayed_tick(struct keyd *k, struct peer *p)
{
	struct session *s = in_use(p);

	if (s && s->transmits && (s->nat || endpoint_udp_blocked(k)) && (p->relayed || path_is_silent(p)))
		asks_relay(s);
}
