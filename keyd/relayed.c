/* SPDX-License-Identifier: BSD-2-Clause */
#include "relayed.h"

#include <errno.h>
#include <string.h>

#include "channel.h"
#include "log.h"
#include "nat.h"
#include "path.h"
#include "peers.h"
#include "pmtu.h"

void relayed_ask(struct session *s)
{
	struct chan_buf b = {0};

	chan_begin(&b, MVPN_MSG_RELAY, 0, 0);
	chan_put(&b, MVPN_TLV_SESSION, s->id, MVPN_ID_LEN);
	chan_put_u32(&b, MVPN_TLV_SPI, s->rx_spi);
	channel_send(s->k, &b); /* without a channel it is asked for again when the path is silent */
	chan_buf_free(&b);
	s->relay_asked = true;
}

bool relayed_from(const struct keyd *k, const struct mvpn_endpoint *from)
{
	struct mvpn_endpoint server;

	return channel_server(k, &server) && server.port == from->port &&
	       mvpn_addr_eq(&server.addr, &from->addr);
}

/* both ends have asked */
static void open_way(struct session *s)
{
	struct peer *p = s->peer;
	struct mvpn_endpoint server;

	if (!channel_server(s->k, &server) || (p->relayed && relayed_from(s->k, &p->endpoint)))
		return;
	log_info("peer %s is reached through the server's relay", peer_label(p));
	p->relayed = true;
	path_set_endpoint(s->k, p, &server);
	if (s->awaits_path)
		sessions_path_found(p);
}

int relayed_message(struct keyd *k, const struct chan_msg *m)
{
	uint8_t id[MVPN_ID_LEN], seen[18];
	struct session *s;
	uint16_t why;

	if (!chan_get_bytes(m, MVPN_TLV_SESSION, id, sizeof(id)))
		return -EPROTO;
	s = session_by_id(k, id);
	if (!s || !s->nat || s->state == SESSION_DRAINING)
		return 0; /* gone meanwhile */
	if (chan_get_u16(m, MVPN_TLV_REASON, &why)) {
		log_ratelimited(LOG_L_WARN, "the server does not relay for %s: %s",
				peer_label(s->peer), mvpn_reason_text(why));
		return 0;
	}
	if (!chan_get_bytes(m, MVPN_TLV_ENDPOINT, seen, sizeof(seen)))
		return -EPROTO;
	memcpy(s->seen.addr.b, seen, 16);
	s->seen.port = (uint16_t)(seen[16] << 8 | seen[17]);
	if (m->flags & MVPN_RELAY_OPEN)
		open_way(s);
	else if (!s->relay_asked)
		relayed_ask(s);
	nat_punch(s); /* to where the peer is seen now, and by the way that is open */
	return 0;
}

void relayed_tick(struct keyd *k, struct peer *p)
{
	struct session *s = session_transmitting(p);

	if (s && s->nat && (p->relayed || path_is_silent(p)))
		relayed_ask(s);
}
