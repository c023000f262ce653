/* SPDX-License-Identifier: BSD-2-Clause */
/* The gateways of prefixes, as the server tells them. */
#include "gateways_sets.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "peers.h"
#include "sessions.h"
#include "translate.h"

void gateways_reset(struct keyd *k)
{
	for (unsigned i = 0; i < k->gateways->n; i++)
		k->gateways->sets[i].stale = true;
}

void gateways_forget(struct keyd *k, const struct mvpn_prefix *p)
{
	struct gateway_set *set = gateways_find(k->gateways, p);

	if (set)
		set->stale = true;
}

void gateways_lost(struct keyd *k)
{
	for (unsigned i = 0; i < k->gateways->n; i++)
		k->gateways->sets[i].stale = false;
}

/* `single`: there is no other gateway to be had, and it is only watched */
static struct gateway_set *set_new(struct keyd *k, const struct mvpn_prefix *p, bool single)
{
	struct gateways *g = k->gateways;
	unsigned size = g->size ? 2 * g->size : 8;
	struct gateway_set *sets;

	if (single && g->n >= MVPN_GATEWAY_SINGLES_MAX)
		return NULL;
	if (g->n == MVPN_GATEWAY_SETS_MAX) {
		log_ratelimited(
			LOG_L_ERR,
			"more than %d prefixes have several gateways: of the others only the "
			"first one is used",
			MVPN_GATEWAY_SETS_MAX);
		return NULL;
	}
	if (g->n == g->size) {
		sets = reallocarray(g->sets, size, sizeof(*sets));
		if (!sets)
			return NULL;
		g->sets = sets;
		g->size = size;
	}
	if (lpm_set(g->by_prefix, p, g->n + 1))
		return NULL;
	g->sets[g->n] = (struct gateway_set){.prefix = *p};
	return &g->sets[g->n++];
}

/* the gateways that a TLV names; false: there is no room for a peer */
static bool members(struct keyd *k, const uint8_t *ids, unsigned n, struct gateway_set *ret)
{
	ret->n = n;
	for (unsigned i = 0; i < n; i++, ids += MVPN_ID_LEN) {
		struct peer *p;

		if (k->id && !memcmp(ids, k->id->device_id, MVPN_ID_LEN)) {
			ret->self = true;
			continue;
		}
		p = peer_ensure(k, ids);
		if (p && !p->gateway)
			p->gateway = calloc(1, sizeof(*p->gateway));
		if (!p || !p->gateway)
			return false;
		ret->member[i] = p->index;
	}
	return true;
}

/* what its members have said of it */
static void away_keep(const struct gateway_set *old, struct gateway_set *new)
{
	new->left = old->left;
	new->left_ms = old->left_ms;
	for (unsigned i = 0; i < new->n; i++)
		for (unsigned o = 0; o < old->n; o++)
			if (old->member[o] == new->member[i]) {
				new->away_ms[i] = old->away_ms[o];
				new->away_since_ms[i] = old->away_since_ms[o];
			}
}

/* as before, if it is still one of them and none has come before it */
static unsigned go_on_with(const struct keyd *k, const struct gateway_set *old,
			   const struct gateway_set *new)
{
	unsigned i;

	for (i = 0; i <= old->current && i < new->n; i++)
		if (i == old->n || old->member[i] != new->member[i])
			break;
	if (i > old->current)
		return old->current;
	for (i = 0; i < new->n; i++)
		if (!gateway_of(k, new->member[i])->failed && !new->away_ms[i])
			return i;
	return 0;
}

int gateways_told(struct keyd *k, const uint8_t *v, size_t len, struct mvpn_prefix *ret_prefix,
		  uint32_t *ret_owner)
{
	struct gateway_set new = {.told = true}, *set;
	size_t ids = len - MVPN_TLV_GATEWAYS_HEAD_B;

	new.prefix.len = v[0];
	memcpy(new.prefix.addr.b, v + 1, sizeof(new.prefix.addr.b));
	new.translated = v[17] & MVPN_GATEWAYS_TRANSLATED;
	*ret_prefix = new.prefix;
	set = gateways_find(k->gateways, &new.prefix);
	if (!members(k, v + MVPN_TLV_GATEWAYS_HEAD_B, (unsigned)(ids / MVPN_ID_LEN), &new) ||
	    (!set && !(set = set_new(k, &new.prefix, new.n == 1 && !new.translated))))
		return -ENOSPC;
	new.name = gateways_prefix_name(&new.prefix);
	if (!new.self && set->n && !set->self) {
		away_keep(set, &new);
		new.current = go_on_with(k, set, &new);
	} else if (new.self && set->self) {
		new.way = set->way;
	}
	*set = new;
	*ret_owner = set->self ? KEYD_SELF : set->member[set->current];
	return 0;
}

static void purge(struct gateways *g)
{
	for (unsigned i = 0; i < g->n;) {
		if (!g->sets[i].stale) {
			i++;
			continue;
		}
		lpm_del(g->by_prefix, &g->sets[i].prefix);
		g->sets[i] = g->sets[--g->n];
		if (i < g->n)
			lpm_set(g->by_prefix, &g->sets[i].prefix,
				i + 1); /* replaces: cannot fail */
	}
}

/* who is a gateway, of how many, and does its session have the prefix? */
static void recount(struct keyd *k)
{
	struct gateways *g = k->gateways;

	for (uint32_t i = 1; i <= k->npeers; i++)
		if (k->peers[i]->gateway)
			k->peers[i]->gateway->sets = k->peers[i]->gateway->current = 0;
	for (unsigned i = 0; i < g->n; i++) {
		struct gateway_set *set = &g->sets[i];

		for (unsigned m = 0; !set->self && m < set->n; m++) {
			gateway_of(k, set->member[m])->sets++;
			gateway_of(k, set->member[m])->current += m == set->current;
			if (set->told)
				sessions_prefix_new(k, &set->prefix, set->member[m]);
		}
		set->told = false;
	}
	for (uint32_t i = 1; i <= k->npeers; i++)
		if (k->peers[i]->gateway && !k->peers[i]->gateway->sets) {
			free(k->peers[i]->gateway);
			k->peers[i]->gateway = NULL;
		}
}

uint32_t gateways_flags(const struct keyd *k, const struct mvpn_prefix *p)
{
	const struct gateway_set *set = gateways_find(k->gateways, p);

	return set && set->self && set->translated && !set->stale ? MVPN_PROT_TRANSLATED : 0;
}

bool gateways_translate(const struct keyd *k)
{
	for (unsigned i = 0; i < k->gateways->n; i++)
		if (k->gateways->sets[i].self && k->gateways->sets[i].translated)
			return true;
	return false;
}

/* an entry of this device's own that only differs by its flags */
static void protect_self(struct keyd *k)
{
	uint32_t owner;

	for (unsigned i = 0; i < k->gateways->n; i++) {
		const struct mvpn_prefix *p = &k->gateways->sets[i].prefix;

		if (k->gateways->sets[i].self && lpm_get(k->prefixes, p, &owner) &&
		    owner == KEYD_SELF)
			shim_protect(k->shim, p, MVPN_PEER_NONE,
				     MVPN_PROT_LOCAL | gateways_flags(k, p));
	}
}

void gateways_committed(struct keyd *k)
{
	struct gateways *g = k->gateways;

	if (!g->n && !loop_timer_armed(g->timer)) {
		translate_refresh(k);
		return;
	}
	protect_self(k);
	purge(g);
	gateways_checks_assign(k);
	recount(k);
	translate_refresh(k);
	if (!g->n)
		loop_timer_disarm(g->timer);
	else if (!loop_timer_armed(g->timer)) {
		g->looked_ms = mono_ms();
		loop_timer_arm(g->timer, MVPN_GATEWAY_LOOK_MS);
	}
}
