/* SPDX-License-Identifier: BSD-2-Clause */
#include "session_life.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "asks.h"
#include "channel.h"
#include "control.h"
#include "crypto.h"
#include "gateways.h"
#include "log.h"
#include "nat.h"
#include "path.h"
#include "peers.h"
#include "relay_tcp.h"
#include "relay_way.h"
#include "relayed.h"
#include "spi.h"
#include "streams.h"

#define SLEEP_S 2 /* whole seconds of two clocks are compared */

int sessions_init(struct keyd *k)
{
	k->by_slot = calloc(MVPN_SPI_SLOTS, sizeof(*k->by_slot));
	if (!k->by_slot)
		return -ENOMEM;
	return htab_init(&k->sessions_by_id) ?: htab_init(&k->intros_by_nonce) ?: asks_init(k);
}

void sessions_free(struct keyd *k)
{
	uint32_t i;

	for (i = 1; i <= k->npeers; i++)
		introduce_abort(k, k->peers[i]);
	sessions_drop_all(k, MVPN_R_SHUTDOWN);
	htab_free(&k->sessions_by_id);
	htab_free(&k->intros_by_nonce);
	asks_free(k);
	free(k->by_slot);
}

struct session *session_by_spi(struct keyd *k, uint32_t rx_spi)
{
	struct session *s = k->by_slot[spi_slot(rx_spi)];

	return s && s->rx_spi == rx_spi ? s : NULL;
}

struct session *session_by_id(struct keyd *k, const uint8_t id[MVPN_ID_LEN])
{
	struct hnode *n;

	for (n = htab_first(&k->sessions_by_id, htab_hash(&k->sessions_by_id, id, MVPN_ID_LEN)); n;
	     n = htab_next(n)) {
		struct session *s = container_of(n, struct session, by_id);

		if (!memcmp(s->id, id, MVPN_ID_LEN))
			return s;
	}
	return NULL;
}

struct session *session_transmitting(const struct peer *p)
{
	struct session *s;

	for (s = p->sessions; s; s = s->next)
		if (s->transmits)
			return s;
	return NULL;
}

void sessions_refresh_endpoints(struct keyd *k)
{
	uint32_t i;

	for (i = 1; i <= k->npeers; i++)
		path_refresh(k, k->peers[i]);
}

/* ---- drop ---- */

static void tell_server(struct keyd *k, const struct session *s, enum mvpn_reason why)
{
	struct chan_buf b = {0};

	chan_begin(&b, MVPN_MSG_ENDED, 0, 0);
	chan_put(&b, MVPN_TLV_SESSION, s->id, MVPN_ID_LEN);
	chan_put_u16(&b, MVPN_TLV_REASON, why);
	channel_send(k, &b);
	chan_buf_free(&b);
}

void session_drop(struct session *s, enum mvpn_reason why, bool tell)
{
	struct keyd *k = s->k;
	struct peer *p = s->peer;
	struct session **at;
	struct session *heir = NULL;
	char id[2 * MVPN_ID_LEN + 1];
	bool transmitted = s->transmits;

	mvpn_hex(id, s->id, MVPN_ID_LEN);
	log_debug("session %.8s with %s dropped: %s", id, peer_label(p), mvpn_reason_name(why));
	if (tell)
		tell_server(k, s, why);
	for (at = &p->sessions; *at != s; at = &(*at)->next)
		;
	*at = s->next;
	if (transmitted)
		shim_key_clear(k->shim, p->index);
	shim_spi_clear(k->shim, s->rx_spi);
	k->by_slot[spi_slot(s->rx_spi)] = NULL;
	htab_del(&k->sessions_by_id, &s->by_id);
	if (s->kt)
		kt_session_remove(k->kt, s->kt);
	else
		kt_spi_free(k->kt, s->rx_spi);
	streams_session_changed(p);
	session_streams_free(s->streams);
	free(s->rules);
	relay_way_free(s);
	loop_timer_free(s->timer);
	k->nsessions--;
	free(s);
	if (!p->sessions) {
		path_free(p);
		nat_forget(p);
		streams_cut(p, why);
	}
	/* a successor that was never confirmed leaves the field to its predecessor, which the peer may be draining all the same */
	for (heir = transmitted ? p->sessions : NULL; heir; heir = heir->next)
		if (heir->state == SESSION_ACTIVE) {
			session_inherit(heir);
			break;
		}
}

void sessions_drop_peer(struct keyd *k, struct peer *p, enum mvpn_reason why, bool tell)
{
	struct session **last;

	while (p->sessions) {
		/* oldest first: none of them inherits */
		for (last = &p->sessions; (*last)->next; last = &(*last)->next)
			;
		session_drop(*last, why, tell);
	}
}

void sessions_drop_all(struct keyd *k, enum mvpn_reason why)
{
	uint32_t i;

	for (i = 1; i <= k->npeers; i++)
		sessions_drop_peer(k, k->peers[i], why, false);
}

unsigned sessions_central(const struct keyd *k)
{
	const struct session *s;
	unsigned n = 0;
	uint32_t i;

	for (i = 1; i <= k->npeers; i++)
		for (s = k->peers[i]->sessions; s; s = s->next)
			n += s->mode != MVPN_MODE_E2E;
	return n;
}

void sessions_drop_central(struct keyd *k)
{
	struct session *s, *next;
	uint32_t i;

	for (i = 1; i <= k->npeers; i++)
		for (s = k->peers[i]->sessions; s; s = next) {
			next = s->next;
			if (s->mode == MVPN_MODE_E2E)
				continue;
			dp_send_ctrl(k->dp, s->rx_spi, MVPN_CTRL_CLOSE, 0, 0);
			session_drop(s, MVPN_R_MODE_REFUSED, true);
		}
}

/* ---- events of the fast path ---- */

void sessions_dp_event(struct keyd *k, const struct dp_event *e)
{
	struct session *s = session_by_spi(k, e->rx_spi);
	struct peer *p = peer_by_index(k, e->peer);

	switch (e->type) {
	case DP_EV_WANT:
		if (p)
			session_want(k, p, NULL, 0, 0);
		break;
	case DP_EV_CONFIRMED:
		if (s)
			session_confirmed(s, &e->from);
		break;
	case DP_EV_ENDPOINT:
		/* the peer may have come to the direct way a moment later */
		if (s && (s->transmits || s->awaits_path) &&
		    (s->awaits_path || !relayed_from(k, s->peer, &e->from)))
			nat_probe(s, &e->from);
		break;
	case DP_EV_PONG:
		if (s && !path_pong(s->peer, e) && !nat_pong(s->peer, e))
			control_pong(k, s->peer, e);
		break;
	case DP_EV_TRAFFIC:
		if (p)
			path_traffic(p);
		break;
	case DP_EV_TOO_BIG:
		if (p)
			path_hint(p, e->mtu);
		break;
	case DP_EV_CLOSE:
		if (s)
			session_drop(s, MVPN_R_SHUTDOWN, true);
		break;
	case DP_EV_REACH:
		if (s)
			gateways_reach_heard(k, s->peer, e->token);
		break;
	case DP_EV_REKEY:
		/* of an earlier session: it has its successor */
		if (s && s == session_transmitting(s->peer))
			session_rekey(k, s->peer);
		break;
	case DP_EV_ECHO: /* no session's: main.c */
	case DP_EV_ASKED:
	case DP_EV_ERROR:
		break;
	}
}

/* CLOCK_BOOTTIME runs on while the machine sleeps, the clock of sessions does not */
static bool has_slept(void)
{
	static int64_t before_s;
	struct timespec boot;
	int64_t asleep_s;
	bool more;

	clock_gettime(CLOCK_BOOTTIME, &boot);
	asleep_s = boot.tv_sec - (int64_t)(mono_ms() / 1000);
	more = before_s && asleep_s > before_s + SLEEP_S;
	if (!before_s || more)
		before_s = asleep_s ? asleep_s : 1;
	return more;
}

/* Revocations were missed, and another copy of a suspended virtual machine may go on from here: no key outlives it
 * (PROTOCOL §5). */
static void woken(struct keyd *k)
{
	const struct session *s;
	uint32_t i;

	log_warn("this machine has slept: %u sessions are made anew", k->nsessions);
	for (i = 1; i <= k->npeers; i++)
		if ((s = session_transmitting(k->peers[i])))
			dp_send_ctrl(k->dp, s->rx_spi, MVPN_CTRL_CLOSE, 0, 0);
	sessions_drop_all(k, MVPN_R_EXPIRED);
	channel_register(k); /* finds out whether the channel still lives */
}

/* The server may be cut off by whoever wants a revocation not to arrive: without its heartbeat sessions end (PROTOCOL §3). */
void sessions_tick(struct keyd *k)
{
	uint64_t now = mono_ms();

	watch_tick(k, now);
	nat_tick(k, now);
	relay_tcp_tick(k, now);
	if (has_slept())
		woken(k);
	if (!k->nsessions || now < sessions_offline_end_ms(k))
		return;
	log_err("the server has not been heard for %u s: %u sessions dropped; protected traffic "
		"stops until it is reachable "
		"again",
		k->max_offline_s, k->nsessions);
	k->counters[KC_SESSIONS_DROPPED_OFFLINE] += k->nsessions;
	sessions_drop_all(k, MVPN_R_EXPIRED);
}
