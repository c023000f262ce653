/* SPDX-License-Identifier: BSD-2-Clause */
#include "asks.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>

#include "path.h"
#include "relayed.h"
#include "sessions.h"

#define TURN_MS 20   /* between two turns, and up to so much more: who lost the same link does not ask in step */
#define JITTER_MS 40
#define AWAY_MS 1000 /* without a channel nothing is asked */
#define LOOK_MS 500  /* so often is looked who has traffic */

enum { ASK_WANT = 1, ASK_RELAY = 2, ASK_REKEY = 4, ASK_AGAIN = 8 };
enum { FIRST, LATER, LISTS };

struct asks {
	struct loop_timer *timer;
	struct peer *first[LISTS], *last[LISTS];
	unsigned waiting;
	int64_t budget; /* messages, in 1/1000; in debt below zero */
	uint64_t filled_ms, looked_ms;
};

/* ---- who waits ---- */

static void put(struct asks *a, struct peer *p, unsigned list)
{
	p->asks_list = (uint8_t)list;
	p->asks_next = NULL;
	p->asks_prev = a->last[list];
	*(p->asks_prev ? &p->asks_prev->asks_next : &a->first[list]) = p;
	a->last[list] = p;
}

static void take_out(struct asks *a, struct peer *p)
{
	*(p->asks_prev ? &p->asks_prev->asks_next : &a->first[p->asks_list]) = p->asks_next;
	*(p->asks_next ? &p->asks_next->asks_prev : &a->last[p->asks_list]) = p->asks_prev;
}

static uint64_t sent(const struct peer *p)
{
	const struct session *s = session_transmitting(p);
	struct kt_stats stats;

	if (!s || !s->kt)
		return 0;
	kt_session_stats(s->kt, &stats);
	return stats.tx_packets;
}

static bool packet_waits(const struct peer *p, uint64_t now)
{
	return p->wanted_ms && now < p->wanted_ms + MVPN_HOLD_S * 1000;
}

static void wait_for_turn(struct keyd *k, struct peer *p, unsigned what)
{
	struct asks *a = k->asks;
	uint64_t now = mono_ms();

	if (!p->asks) {
		k->counters[KC_ASKS_PACED]++;
		a->waiting++;
		p->asks_sent = sent(p);
		put(a, p, packet_waits(p, now) ? FIRST : LATER);
	}
	p->asks |= (uint8_t)what;
	if (p->asks_list == LATER && packet_waits(p, now)) {
		take_out(a, p);
		put(a, p, FIRST);
	}
	if (!loop_timer_armed(a->timer))
		loop_timer_arm(a->timer, TURN_MS + randombytes_uniform(JITTER_MS));
}

/* those of the others that have sent something while they waited */
static void look(struct asks *a)
{
	struct peer *next;

	for (struct peer *p = a->first[LATER]; p; p = next) {
		next = p->asks_next;
		if (sent(p) == p->asks_sent)
			continue;
		take_out(a, p);
		put(a, p, FIRST);
	}
}

/* ---- the pace ---- */

static void fill(struct asks *a, uint64_t now)
{
	a->budget += (int64_t)(now - a->filled_ms) * MVPN_ASK_RATE;
	a->filled_ms = now;
	if (a->budget > MVPN_ASK_BURST * 1000)
		a->budget = MVPN_ASK_BURST * 1000;
}

/* no one waits, or p's is not for traffic that does, and there is budget */
static bool at_once(struct keyd *k, const struct peer *p)
{
	struct asks *a = k->asks;

	fill(a, mono_ms());
	if (p->asks || a->waiting || a->budget < 1000)
		return false;
	a->budget -= 1000;
	return true;
}

static unsigned relay(struct peer *p)
{
	unsigned n = 0;

	for (struct session *s = p->sessions; s; s = s->next) {
		if (!s->relay_wanted)
			continue;
		s->relay_wanted = false;
		if (s->state == SESSION_DRAINING)
			continue;
		relayed_ask(s);
		n++;
	}
	return n;
}

/* how many messages that was; what it was about may be over by now */
static unsigned ask(struct keyd *k, struct peer *p, uint64_t now)
{
	uint8_t what = p->asks;
	unsigned n = 0;

	p->asks = 0;
	if (what & ASK_RELAY)
		n += relay(p);
	if (what & ASK_AGAIN)
		n += introduce_again(k, p);
	if (what & ASK_REKEY && path_is_silent(p))
		n += !session_rekey(k, p);
	else if (what & ASK_WANT && packet_waits(p, now))
		n += session_want_turn(k, p);
	return n;
}

static void turn(void *arg)
{
	struct keyd *k = arg;
	struct asks *a = k->asks;
	uint64_t now = mono_ms();

	if (k->state != KEYD_ONLINE) {
		loop_timer_arm(a->timer, AWAY_MS);
		return;
	}
	fill(a, now);
	if (now >= a->looked_ms + LOOK_MS) {
		a->looked_ms = now;
		look(a);
	}
	while (a->waiting && a->budget >= 1000) {
		struct peer *p = a->first[FIRST] ? a->first[FIRST] : a->first[LATER];

		take_out(a, p);
		a->waiting--;
		a->budget -= 1000 * (int64_t)ask(k, p, now);
	}
	if (a->waiting)
		loop_timer_arm(a->timer, TURN_MS + randombytes_uniform(JITTER_MS));
}

/* ---- what is asked ---- */

bool asks_want(struct keyd *k, struct peer *p)
{
	if (at_once(k, p))
		return true;
	wait_for_turn(k, p, ASK_WANT);
	return false;
}

void asks_relay(struct session *s)
{
	if (at_once(s->k, s->peer)) {
		relayed_ask(s);
		return;
	}
	s->relay_wanted = true;
	wait_for_turn(s->k, s->peer, ASK_RELAY);
}

void asks_rekey(struct keyd *k, struct peer *p)
{
	if (at_once(k, p))
		session_rekey(k, p);
	else
		wait_for_turn(k, p, ASK_REKEY);
}

void asks_again(struct keyd *k, struct peer *p)
{
	if (at_once(k, p))
		introduce_again(k, p);
	else
		wait_for_turn(k, p, ASK_AGAIN);
}

unsigned asks_waiting(const struct keyd *k)
{
	return k->asks->waiting;
}

/* ---- life ---- */

int asks_init(struct keyd *k)
{
	struct asks *a = k->asks = calloc(1, sizeof(*a));

	if (!a)
		return -ENOMEM;
	a->filled_ms = mono_ms();
	a->budget = MVPN_ASK_BURST * 1000;
	return loop_timer_new(k->loop, turn, k, &a->timer);
}

void asks_free(struct keyd *k)
{
	if (!k->asks)
		return;
	loop_timer_free(k->asks->timer);
	free(k->asks);
	k->asks = NULL;
}
