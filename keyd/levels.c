/* SPDX-License-Identifier: BSD-2-Clause */
#include "levels.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "datagrams.h"
#include "log.h"
#include "peers.h"
#include "sessions.h"

unsigned peer_level(struct keyd *k, const struct peer *p)
{
	const struct peer *twin = p->layer == MVPN_LAYER_NETWORK
					  ? p
					  : peer_by_id(k, p->id); /* levels are the device's */

	return twin && twin->level ? twin->level : MVPN_LEVEL_NETWORK;
}

#define AGAIN_MS 2000

static bool at_socket(struct keyd *k, const struct peer *p)
{
	return p->layer == MVPN_LAYER_NETWORK && peer_level(k, p) != MVPN_LEVEL_NETWORK;
}

void levels_limit(const struct session *s)
{
	unsigned level = peer_level(s->k, s->peer);

	if (s->kt && s->peer->layer == MVPN_LAYER_NETWORK)
		atomic_store_explicit(&s->kt->level,
				      level == MVPN_LEVEL_SOCKET || level == MVPN_LEVEL_BOTH ? level
											     : 0,
				      memory_order_relaxed);
}

/* the addresses of ours at which applications find keyd instead of the peer */
static void own_addresses(const struct keyd *k, struct mvpn_diversion *ret)
{
	for (unsigned i = k->naddresses; i--;)
		memcpy(mvpn_addr_is_v4(&k->addresses[i]) ? ret->local4 : ret->local6,
		       k->addresses[i].b, 16);
}

static int problem(struct keyd *k, int r, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* said once; returns r */
static int problem(struct keyd *k, int r, const char *fmt, ...)
{
	char *text;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		text = NULL;
	va_end(ap);
	if (text && (!k->levels_problem || strcmp(text, k->levels_problem) != 0))
		log_err("the policy wants TCP and UDP sealed at the socket: %s; it is refused, or "
			"sealed "
			"as packets where the policy says socket|network, and tried again",
			text);
	free(k->levels_problem);
	k->levels_problem = text;
	return r;
}

/* what becomes of connections that are not diverted */
static const char *otherwise(unsigned level)
{
	return level == MVPN_LEVEL_EITHER ? "they are sealed as packets" : "they are refused";
}

static void divert(struct keyd *k, struct peer *p)
{
	struct peer *socket_peer = peer_layer_ensure(k, p->id, MVPN_LAYER_SOCKET);
	struct mvpn_diversion d = {.port = htons(streams_port(k))};
	int r;

	if (peer_level(k, p) == MVPN_LEVEL_BOTH)
		d.flags = MVPN_DIVERSION_LAYERED;
	if (peer_level(k, p) == MVPN_LEVEL_EITHER)
		d.flags = MVPN_DIVERSION_EITHER;
	own_addresses(k, &d);
	d.socket_peer = socket_peer ? socket_peer->index : MVPN_PEER_NONE;
	r = socket_peer ? shim_divert(k->shim, p->index, &d) : -ENOSPC;
	p->diverted = !r;
	if (r)
		log_ratelimited(LOG_L_ERR, "connections to %s are not diverted (%s): %s",
				peer_label(p), strerror(-r), otherwise(p->level));
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
		return problem(k, r, "%s", error ? error : strerror(-r));
	}
	r = streams_start(k);
	if (r)
		return problem(k, r, "cannot listen on TCP port %u: %s", (unsigned)k->conf.udp_port,
			       strerror(-r));
	r = datagrams_start(k);
	return r ? problem(k, r, "no sockets for datagrams: %s", strerror(-r)) : 0;
}

void levels_stop(struct keyd *k)
{
	streams_stop(k);
	datagrams_stop(k);
	shim_undivert_all(k->shim);
	shim_streams_detach(k->shim);
	for (uint32_t i = 1; i <= k->npeers; i++)
		k->peers[i]->diverted = false;
}

bool levels_wanted(const struct keyd *k)
{
	for (uint32_t i = 1; k->nifaces && i <= k->npeers; i++)
		if (k->peers[i]->level)
			return true;
	return false;
}

const char *levels_problem(const struct keyd *k)
{
	return k->levels_problem;
}

void levels_tick(struct keyd *k, uint64_t now_ms)
{
	if (!k->levels_problem || now_ms < k->levels_again_ms)
		return;
	k->levels_again_ms = now_ms + AGAIN_MS;
	levels_apply(k);
}

static bool has_either(const struct keyd *k)
{
	for (uint32_t i = 1; i <= k->npeers; i++)
		if (k->peers[i]->level == MVPN_LEVEL_EITHER)
			return true;
	return false;
}

void levels_apply(struct keyd *k)
{
	struct mvpn_diversion own = {};
	struct mvpn_addr own4, own6;
	bool wanted = levels_wanted(k);
	int r;

	if (!wanted || start(k)) {
		levels_stop(k);
		if (wanted)
			return;
	}
	free(k->levels_problem);
	k->levels_problem = NULL;
	if (!wanted)
		return;
	own_addresses(k, &own);
	memcpy(own4.b, own.local4, 16);
	memcpy(own6.b, own.local6, 16);
	datagrams_addresses(k, &own4, &own6);
	r = shim_stream_addresses(k->shim, k->addresses, k->naddresses);
	if (r)
		log_ratelimited(LOG_L_ERR, "the programs are not told this host's addresses (%s): datagrams at the "
					   "socket level show keyd's", strerror(-r));
	for (uint32_t i = 1, peers = k->npeers; i <= peers; i++)
		if (at_socket(k, k->peers[i]))
			divert(k, k->peers[i]);
		else if (k->peers[i]->diverted)
			undivert(k, k->peers[i]);
	shim_talks_note(k->shim, has_either(k));
}

/* a level that this version does not know is the network's: sealed all the same */
static void entry(struct keyd *k, const uint8_t v[MVPN_ID_LEN + 1])
{
	uint8_t level = v[MVPN_ID_LEN];
	bool known = level == MVPN_LEVEL_SOCKET || level == MVPN_LEVEL_EITHER ||
		     level == MVPN_LEVEL_BOTH;
	struct peer *p = known ? peer_ensure(k, v) : NULL;

	if (p)
		p->next_level = level;
}

static void commit(struct keyd *k)
{
	for (uint32_t i = 1; i <= k->npeers; i++) {
		struct peer *p = k->peers[i];

		if (p->level == p->next_level)
			continue;
		p->level = p->next_level;
		for (const struct session *s = p->sessions; s; s = s->next)
			levels_limit(s);
	}
	levels_apply(k);
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
	if (m->flags & MVPN_PFX_COMMIT)
		commit(k);
}
