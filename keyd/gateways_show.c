/* SPDX-License-Identifier: BSD-2-Clause */
/* What people see of gateways: `gateways`, `explain`, `peers`, and what `status` and `doctor` say of prefixes that no gateway reaches. */
#include <stdio.h>

#include "control.h"
#include "gateways_sets.h"
#include "peers.h"
#include "sessions.h"

#define AWAY "it does not reach the hosts there"

static json_t *since_json(uint64_t ms)
{
	return json_real((double)(mono_ms() - ms) / 1000);
}

static unsigned count_away(const struct keyd *k, const struct peer *p)
{
	unsigned n = 0;

	for (unsigned i = 0; i < k->gateways->n; i++)
		for (unsigned m = 0; m < k->gateways->sets[i].n; m++)
			n += k->gateways->sets[i].member[m] == p->index &&
			     k->gateways->sets[i].away_ms[m];
	return n;
}

json_t *gateways_show(const struct keyd *k, const struct peer *p)
{
	const struct gateway *g = p->gateway;

	if (!g)
		return json_null();
	return json_pack("{s:s, s:o, s:o, s:i, s:i, s:i}", "state", g->failed ? "failed" : "well",
			 "why", g->failed ? json_string(mvpn_reason_name(g->why)) : json_null(),
			 "since_s", g->failed ? since_json(g->since_ms) : json_null(), "prefixes",
			 (int)g->sets, "in_use", (int)g->current, "unreached",
			 (int)count_away(k, p));
}

bool gateways_translated(const struct keyd *k, const struct mvpn_addr *dst)
{
	uint32_t slot;

	return lpm_lookup(k->gateways->by_prefix, dst, &slot) &&
	       k->gateways->sets[slot - 1].translated;
}

static json_t *show_one(const struct keyd *k, const struct gateway_set *set, unsigned i)
{
	const struct peer *p = k->peers[set->member[i]];
	const char *state = "well", *why = NULL;
	uint64_t since = 0;

	if (p->gateway->failed) {
		state = "failed";
		why = mvpn_reason_text(p->gateway->why);
		since = p->gateway->since_ms;
	} else if (set->away_ms[i]) {
		state = "away";
		why = AWAY ": `mvpnctl doctor` on it says why";
		since = set->away_since_ms[i];
	}
	return json_pack("{s:s, s:s, s:s?, s:o, s:b, s:b, s:b}", "name", peer_label(p), "state",
			 state, "why", why, "since_s", since ? since_json(since) : json_null(),
			 "in_use", i == set->current, "session", session_transmitting(p) != NULL,
			 "streams", !p->gateway->stream_failed_ms);
}

static json_t *show_all(const struct keyd *k, const struct gateway_set *set)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < set->n; i++)
		json_array_append_new(list, show_one(k, set, i));
	return list;
}

json_t *gateways_explain(struct keyd *k, const struct mvpn_addr *dst)
{
	struct gateways *g = k->gateways;
	uint32_t slot;

	if (!lpm_lookup(g->by_prefix, dst, &slot) || g->sets[slot - 1].self)
		return NULL;
	return show_all(k, &g->sets[slot - 1]);
}

json_t *show_gateways(struct keyd *k)
{
	struct gateways *g = k->gateways;
	json_t *list = json_array();
	char prefix[MVPN_ADDRSTRLEN], why[GATEWAYS_WHY_B];

	for (unsigned i = 0; i < g->n; i++) {
		struct gateway_set *set = &g->sets[i];
		bool lost = set->self && gateways_way_lost(k, set, why, sizeof(why));

		json_array_append_new(
			list, json_pack("{s:s, s:b, s:b, s:o, s:o, s:o}", "prefix",
					mvpn_prefix_str(&set->prefix, prefix), "translated",
					set->translated, "self", set->self, "lost",
					lost ? json_string(why) : json_null(), "since_s",
					lost ? since_json(set->way.lost_ms) : json_null(),
					"gateways", set->self ? json_array() : show_all(k, set)));
	}
	return json_pack("{s:o}", "gateways", list);
}

/* no gateway to it is well, and somebody uses it or has just tried to */
static bool dead(const struct keyd *k, const struct gateway_set *set, uint64_t now)
{
	const struct gateway *in_use;

	for (unsigned i = 0; i < set->n; i++)
		if (!gateways_badness(k, set, i))
			return false;
	in_use = gateway_of(k, set->member[set->current]);
	return !set->self && !set->stale &&
	       (!in_use->failed || now < in_use->failed_ms + MVPN_GATEWAY_DEAD_MS);
}

bool gateways_dead(struct keyd *k, char *ret, size_t size)
{
	uint64_t now = mono_ms();
	unsigned more = 0;
	size_t len = 0;

	for (unsigned i = 0; i < k->gateways->n; i++) {
		const struct gateway_set *set = &k->gateways->sets[i];
		const struct gateway *g;
		char prefix[MVPN_ADDRSTRLEN];
		uint64_t since;

		if (set->self || !dead(k, set, now))
			continue;
		if (len) {
			more++;
			continue;
		}
		g = gateway_of(k, set->member[set->current]);
		since = g->failed ? g->since_ms : set->away_since_ms[set->current];
		len = (size_t)snprintf(ret, size, "hosts in %s are not reached for %llu s: %s: %s",
				       mvpn_prefix_str(&set->prefix, prefix),
				       (unsigned long long)(now - since) / 1000,
				       peer_label(k->peers[set->member[set->current]]),
				       g->failed ? mvpn_reason_text(g->why) : AWAY);
	}
	if (more && len < size)
		snprintf(ret + len, size - len, ", and %u more", more);
	return len;
}
