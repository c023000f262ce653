/* SPDX-License-Identifier: BSD-2-Clause */
#include "relay_way.h"

#include <endian.h>
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "echo_ends.h"
#include "log.h"
#include "nat.h"
#include "peers.h"
#include "relayed.h"
#include "secmem.h"

#define PUNCHES \
	5 /* by this way, at doubling intervals, until the session is confirmed: the peer may be later than we */

struct relay_way {
	struct session *s;
	struct loop_timer *timer;
	uint8_t device[MVPN_ID_LEN];
	char name[MVPN_NAME_MAX_B + 1];
	struct mvpn_endpoint at;
	struct echo_asker ask; /* its key a secmem cell */
	unsigned tries;	       /* questions since the last answer */
	unsigned punches;
	bool proven; /* it knows where we are */
	uint64_t asked_ms,
		packets; /* when it was asked last, and what the session had moved by then */
};

static void ask(struct relay_way *w)
{
	uint8_t question[MVPN_ECHO_B];
	struct kt_stats stats;

	kt_session_stats(w->s->kt, &stats);
	w->packets = stats.tx_packets + stats.rx_packets;
	w->asked_ms = mono_ms();
	echo_ask(&w->ask, question);
	dp_send_plain(w->s->k->dp, &w->at, question, sizeof(question)); /* not sent: as lost */
	loop_timer_arm(w->timer, MVPN_RELAY_ASK_MS << w->tries++);
}

/* it is asked on, and complained of, until the server names another one */
static void silent(struct relay_way *w)
{
	struct session *s = w->s;

	log_ratelimited(LOG_L_WARN,
			"device %s should relay for %s, and does not answer: the server is asked "
			"for another way",
			w->name, peer_label(s->peer));
	s->k->counters[KC_RELAY_SILENT]++;
	w->tries = 0;
	w->proven = false;
	loop_timer_arm(w->timer, MVPN_RELAY_WATCH_S * 1000);
	relayed_unanswered(s, w->device);
}

static bool due(const struct relay_way *w)
{
	struct kt_stats stats;

	kt_session_stats(w->s->kt, &stats);
	return stats.tx_packets + stats.rx_packets != w->packets ||
	       mono_ms() - w->asked_ms >= MVPN_KEEPALIVE_S * 1000;
}

static void on_timer(void *arg)
{
	struct relay_way *w = arg;
	struct session *s = w->s;

	if (w->tries || !w->proven) {
		if (w->tries < MVPN_RELAY_ASK_TRIES)
			ask(w);
		else
			silent(w);
		return;
	}
	if (s->state == SESSION_UNCONFIRMED && w->punches < PUNCHES) {
		nat_punch(s);
		loop_timer_arm(w->timer, MVPN_RELAY_ASK_MS << w->punches++);
		return;
	}
	/* a direct way has been found, or another session has taken its place */
	if (s->state == SESSION_DRAINING || !s->peer->relayed ||
	    !relay_way_at(s, &s->peer->endpoint))
		relay_way_free(s);
	else if (due(w))
		ask(w);
	else
		loop_timer_arm(w->timer, MVPN_RELAY_WATCH_S * 1000);
}

void relay_way_answered(struct keyd *k, const struct dp_event *e)
{
	struct session *s;
	struct relay_way *w;
	struct mvpn_endpoint seen;
	enum echo_heard heard;
	uint32_t id;

	s = echo_look(e->data, sizeof(e->data), MVPN_ECHO_REPLY, &id) ? session_by_spi(k, id)
								      : NULL;
	w = s ? s->way : NULL;
	heard = w ? echo_answered(&w->ask, e->data, &seen) : ECHO_BAD;
	if (heard == ECHO_BAD)
		return;
	w->tries = 0;
	if (heard == ECHO_NEW_COOKIE) {
		w->proven = false;
		ask(w); /* with the cookie, at once */
		return;
	}
	loop_timer_arm(w->timer, MVPN_RELAY_WATCH_S * 1000);
	if (w->proven)
		return;
	w->proven = true;
	w->punches = 0;
	relayed_way_found(s);
	if (s->state == SESSION_UNCONFIRMED)
		loop_timer_arm(w->timer, MVPN_RELAY_ASK_MS);
}

/* ---- what the server says ---- */

static bool is_told(const struct relay_way *w, const struct mvpn_relay_by *by)
{
	return w && !memcmp(w->device, by->device, sizeof(by->device)) &&
	       !memcmp(w->at.addr.b, by->addr, sizeof(by->addr)) &&
	       w->at.port == be16toh(by->port_be) &&
	       !sodium_memcmp(w->ask.key, by->key, sizeof(by->key));
}

static struct relay_way *way_new(struct session *s, const struct mvpn_relay_by *by)
{
	struct relay_way *w = calloc(1, sizeof(*w));

	if (!w)
		return NULL;
	w->s = s;
	w->ask.key = secmem_alloc();
	if (!w->ask.key || loop_timer_new(s->k->loop, on_timer, w, &w->timer)) {
		secmem_free(w->ask.key);
		free(w);
		return NULL;
	}
	memcpy(w->ask.key, by->key, sizeof(by->key));
	w->ask.id = s->rx_spi;
	w->ask.counter = mono_ns(); /* above those of an earlier way with that key */
	memcpy(w->device, by->device, sizeof(w->device));
	memcpy(w->at.addr.b, by->addr, sizeof(by->addr));
	w->at.port = be16toh(by->port_be);
	return w;
}

int relay_way_told(struct session *s, const struct mvpn_relay_by *by, const char *name)
{
	struct relay_way *w = s->way;

	if (is_told(w, by))
		return 0;
	w = way_new(s, by);
	if (!w)
		return -ENOMEM;
	relay_way_free(s);
	s->way = w;
	snprintf(w->name, sizeof(w->name), "%s", name);
	ask(w);
	return 0;
}

void relay_way_free(struct session *s)
{
	struct relay_way *w = s->way;

	if (!w)
		return;
	s->way = NULL;
	loop_timer_free(w->timer);
	secmem_free(w->ask.key);
	free(w);
}

/* ---- what the others see ---- */

bool relay_way_open(const struct session *s, struct mvpn_endpoint *ret)
{
	if (!s->way || !s->way->proven)
		return false;
	*ret = s->way->at;
	return true;
}

bool relay_way_at(const struct session *s, const struct mvpn_endpoint *at)
{
	return s->way && s->way->at.port == at->port && mvpn_addr_eq(&s->way->at.addr, &at->addr);
}

const char *relay_way_name(const struct session *s)
{
	return s->way->name;
}
