/* SPDX-License-Identifier: BSD-2-Clause */
#include "levels.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "log.h"
#include "peers.h"
#include "streams.h"

static bool at_socket(const struct peer *p)
{
	return p->layer == MVPN_LAYER_NETWORK && p->level == MVPN_LAYER_SOCKET;
}

/* the addresses of ours at which applications find keyd instead of the peer */
static void own_addresses(const struct keyd *k, struct mvpn_diversion *ret)
{
	for (unsigned i = k->naddresses; i--;)
		memcpy(mvpn_addr_is_v4(&k->addresses[i]) ? ret->local4 : ret->local6,
		       k->addresses[i].b, 16);
}

static void divert(struct keyd *k, struct peer *p)
{
	struct peer *socket_peer = peer_layer_ensure(k, p->id, MVPN_LAYER_SOCKET);
	struct mvpn_diversion d = {.port = htons(streams_port(k))};
	int r;

	own_addresses(k, &d);
	d.socket_peer = socket_peer ? socket_peer->index : MVPN_PEER_NONE;
	r = socket_peer ? shim_divert(k->shim, p->index, &d) : -ENOSPC;
	p->diverted = !r;
	if (r)
		log_ratelimited(LOG_L_ERR,
				"connections to %s are not diverted (%s): they are sealed as packets",
				peer_label(p), strerror(-r));
}

static void undivert(struct keyd *k, struct peer *p)
{
	shim_undivert(k->shim, p->index);
	p->diverted = false;
}

static int start(struct keyd *k)
{
	const char *error;
	int r;

	r = shim_streams_attach(k->shim);
	if (r) {
		shim_streams(k->shim, &error);
		log_ratelimited(LOG_L_ERR,
				"the policy wants streams sealed at the socket: %s; they are sealed as "
				"packets",
				error ? error : strerror(-r));
		return r;
	}
	r = streams_start(k);
	if (r)
		log_ratelimited(LOG_L_ERR,
				"cannot listen on TCP port %u for streams: %s; they are sealed as "
				"packets",
				(unsigned)k->conf.udp_port, strerror(-r));
	return r;
}

static void stop(struct keyd *k)
{
	streams_stop(k);
	shim_streams_detach(k->shim);
}

void levels_apply(struct keyd *k)
{
	unsigned n = 0;

	for (uint32_t i = 1; i <= k->npeers; i++)
		n += at_socket(k->peers[i]);
	if (!n || !k->nifaces) {
		stop(k);
		return;
	}
	if (start(k)) {
		stop(k);
		return;
	}
	for (uint32_t i = 1, peers = k->npeers; i <= peers; i++)
		if (at_socket(k->peers[i]))
			divert(k, k->peers[i]);
		else if (k->peers[i]->diverted)
			undivert(k, k->peers[i]);
}

/* a level that this version does not know is the network's: sealed all the same */
static void entry(struct keyd *k, const uint8_t v[MVPN_ID_LEN + 1])
{
	struct peer *p = v[MVPN_ID_LEN] == MVPN_LAYER_SOCKET ? peer_ensure(k, v) : NULL;

	if (p)
		p->next_level = v[MVPN_ID_LEN];
}

void levels_message(struct keyd *k, const struct chan_msg *m)
{
	struct chan_tlv t;
	size_t at = 0;

	if (m->flags & MVPN_PFX_RESET)
		for (uint32_t i = 1; i <= k->npeers; i++)
			k->peers[i]->next_level = 0;
	while (chan_tlv_next(m, &at, &t))
		if (t.type == MVPN_TLV_LEVEL)
			entry(k, t.value);
	if (!(m->flags & MVPN_PFX_COMMIT))
		return;
	for (uint32_t i = 1; i <= k->npeers; i++)
		k->peers[i]->level = k->peers[i]->next_level;
	levels_apply(k);
}
