/* SPDX-License-Identifier: BSD-2-Clause */
/* Peers that wait for time to pass: a packet that wants a session, a refusal, a session that lacks a prefix. All others cost
 * nothing each second. */
#include "sessions.h"

#include "peers.h"

/* ---- selectors that lack a prefix ---- */

static bool covered(const struct mvpn_prefix *list, unsigned n, const struct mvpn_prefix *p)
{
	unsigned i;

	for (i = 0; i < n; i++)
		if (list[i].len <= p->len && mvpn_prefix_contains(&list[i], &p->addr))
			return true;
	return false;
}

/* to be looked at again; one of several is enough, the next session has all */
static void uncovered(struct keyd *k, struct peer *p, const struct mvpn_prefix *prefix, bool own,
		      unsigned tries)
{
	p->uncovered = *prefix;
	p->has_uncovered = true;
	p->uncovered_own = own;
	p->uncovered_tries = tries;
	peer_watch(k, p);
}

/* Does p's session have that prefix? If not, it is made anew, once and `tries` times more should that one lack it too. */
static void outgrown(struct keyd *k, struct peer *p, struct mvpn_prefix prefix, bool own,
		     unsigned tries)
{
	const struct session *s = session_transmitting(p);
	const struct mvpn_prefix *have;
	unsigned n;
	int r;

	p->has_uncovered = false;
	/* frames name no prefix, and a stream's addresses are looked up when it comes */
	if (p->layer != MVPN_LAYER_NETWORK || (s && !s->initiator))
		return;
	/* one that is being made may have been begun without it */
	if (p->intro)
		uncovered(k, p, &prefix, own, tries);
	if (!s || p->intro)
		return;
	have = own ? s->kt->local : s->kt->remote;
	n = own ? s->kt->nlocal : s->kt->nremote;
	/* a list that is full was cut by the server, and would be again */
	if (n >= MVPN_SELECTORS_MAX || covered(have, n, &prefix))
		return;
	r = session_rekey(k, p);
	if (r || tries)
		uncovered(k, p, &prefix, own, r ? tries : tries - 1);
}

void sessions_prefix_new(struct keyd *k, const struct mvpn_prefix *prefix, uint32_t owner)
{
	struct peer *p = owner == KEYD_SELF ? NULL : peer_by_index(k, owner);
	uint32_t i;

	if (p)
		outgrown(k, p, *prefix, false, 1);
	for (i = 1; owner == KEYD_SELF && i <= k->npeers; i++)
		outgrown(k, k->peers[i], *prefix, true, 1);
}

static int prefix_check(void *arg, const struct mvpn_prefix *prefix, uint32_t owner)
{
	sessions_prefix_new(arg, prefix, owner);
	return 0;
}

void sessions_prefixes_changed(struct keyd *k)
{
	if (k->nsessions)
		lpm_each(k->prefixes, prefix_check, k);
}

/* ---- each second ---- */

void peer_watch(struct keyd *k, struct peer *p)
{
	if (p->watched)
		return;
	p->watched = true;
	p->watched_next = k->watched;
	k->watched = p;
}

/* false: there is nothing more to wait for */
static bool watch_one(struct keyd *k, struct peer *p, uint64_t now)
{
	if (p->denied_until_ms && now >= p->denied_until_ms)
		peer_undeny(k, p);
	session_want_again(k, p);
	if (p->has_uncovered && now >= p->backoff_until_ms)
		outgrown(k, p, p->uncovered, p->uncovered_own, p->uncovered_tries);
	return p->denied_until_ms || p->wanted_ms || p->has_uncovered || now < p->backoff_until_ms;
}

void watch_tick(struct keyd *k, uint64_t now)
{
	struct peer *p = k->watched, *next;

	k->watched = NULL;
	for (; p; p = next) {
		next = p->watched_next;
		p->watched = false;
		if (watch_one(k, p, now))
			peer_watch(k, p);
	}
}
