/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The far side of this device as one of several gateways: does it reach the hosts behind it? What peers ask it, it answers all the
 * same; so it says (MVPN_CTRL_REACH), in each session, when that changes and as long as it does not.
 *
 *   route      to the prefix (keyd.conf's `check` address in it, or one of its first hosts), or into a part of it, that does not lead
 *              out of an interface that mvpn is attached to: there it would be dropped
 *   carrier    of the device that it leads out of
 *   answer     of the `check` address, or of the router that the route goes by: asked by ARP or neighbour discovery
 */
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "attach.h"
#include "control.h"
#include "gateways_sets.h"
#include "log.h"
#include "peers.h"
#include "sessions.h"

#define FIRST_HOSTS \
	4 /* one of them at least is neither this device nor the network's own address */
#define PART_OIFS 8

/* ---- what has to answer ---- */

int gateways_checks_parse(const char *text, struct mvpn_addr ret[static MVPN_GATEWAY_CHECKS_MAX],
			  unsigned *ret_n, const char **ret_bad)
{
	char word[MVPN_ADDRSTRLEN];
	size_t len;

	for (*ret_n = 0; text && *(text += strspn(text, " \t")); text += len) {
		len = strcspn(text, " \t");
		*ret_bad = text;
		if (len >= sizeof(word))
			return -EINVAL;
		if (*ret_n == MVPN_GATEWAY_CHECKS_MAX)
			return -E2BIG;
		memcpy(word, text, len);
		word[len] = 0;
		if (mvpn_addr_parse(&ret[*ret_n], word) || !mvpn_addr_is_ownable(&ret[*ret_n]))
			return -EINVAL;
		++*ret_n;
	}
	return 0;
}

void gateways_checks_assign(struct keyd *k)
{
	struct gateways *g = k->gateways;
	uint32_t slot;

	for (unsigned i = 0; i < g->n; i++)
		memset(&g->sets[i].way.check, 0, sizeof(g->sets[i].way.check));
	for (unsigned i = 0; i < g->nchecks; i++)
		if (lpm_lookup(g->by_prefix, &g->checks[i], &slot))
			g->sets[slot - 1].way.check = g->checks[i];
}

void gateways_checks(struct keyd *k)
{
	struct gateways *g = k->gateways;
	const char *bad;

	/* conf_load() has looked at it */
	gateways_checks_parse(k->conf.check, g->checks, &g->nchecks, &bad);
	if (g->by_prefix)
		gateways_checks_assign(k);
	gateways_routes_changed(k);
}

/* ---- the way ---- */

static enum way_state device_state(struct keyd *k, unsigned oif, bool *ret_ethernet)
{
	struct nl_link link;

	if (attached_index(k, oif) || oif == dp_tap_ifindex(k->dp))
		return WAY_CLEAR;
	if (nl_link_get_index(k->nl, oif, &link))
		return WAY_NO_ROUTE;
	*ret_ethernet = link.has_mac;
	return link.flags & IFF_RUNNING ? WAY_REACHED : WAY_NO_CARRIER;
}

/* of the kernel, to one of the first hosts; -errno: to none. One that is this device itself says nothing of the others. */
static int route_to_first(struct keyd *k, const struct mvpn_prefix *p, struct nl_route *ret)
{
	unsigned bits = 128U - p->len, hosts = bits > 2 ? FIRST_HOSTS : bits ? 1U << bits : 0;
	struct mvpn_addr a = p->addr;
	int r = hosts ? -ENETUNREACH : nl_route_get(k->nl, &a, ret);

	for (unsigned i = bits > 1; i < hosts && (r || ret->local); i++) {
		a.b[15] = (uint8_t)(p->addr.b[15] + i);
		r = nl_route_get(k->nl, &a, ret);
	}
	return r;
}

static enum way_state to_a_part(struct keyd *k, const struct gateway_set *set,
				unsigned *ret_ifindex)
{
	unsigned oif[PART_OIFS];
	int n = nl_routes_into(k->nl, &set->prefix, oif, PART_OIFS);
	enum way_state state = WAY_NO_ROUTE;
	bool ethernet;

	for (int i = 0; i < n && state != WAY_REACHED; i++) {
		*ret_ifindex = oif[i];
		state = device_state(k, oif[i], &ethernet);
	}
	return state;
}

/* the route of the whole leads out of an attached interface: that one is for the rest, if there are routes into parts */
static enum way_state by_a_part(struct keyd *k, const struct gateway_set *set, unsigned *ret_ifindex)
{
	unsigned ifindex = 0;
	enum way_state part = to_a_part(k, set, &ifindex);

	if (!ifindex)
		return WAY_CLEAR;
	*ret_ifindex = ifindex;
	return part;
}

/* by what is known here; who has to answer is another question */
static enum way_state look_up(struct keyd *k, struct gateway_set *set)
{
	struct gateway_way *w = &set->way;
	bool checked = !mvpn_addr_is_zero(&w->check), ethernet = false;
	struct mvpn_addr next = {};
	struct nl_route route = {};
	enum way_state state;
	int r = checked ? nl_route_get(k->nl, &w->check, &route)
			: route_to_first(k, &set->prefix, &route);

	w->ifindex = 0;
	if (r == 0 && route.local && (checked || set->prefix.len == 128)) {
		state = WAY_REACHED; /* this device itself */
	} else if (r < 0 || route.local) {
		state = checked ? WAY_NO_ROUTE : to_a_part(k, set, &w->ifindex);
	} else {
		w->ifindex = route.oif;
		state = device_state(k, route.oif, &ethernet);
		if (ethernet && (checked || !mvpn_addr_is_zero(&route.gateway)))
			next = mvpn_addr_is_zero(&route.gateway) ? w->check : route.gateway;
		if (state == WAY_CLEAR && !checked)
			state = by_a_part(k, set, &w->ifindex);
	}
	if (!mvpn_addr_eq(&next, &w->next))
		w->asked_ms = w->first_ms = 0;
	w->next = next;
	return state;
}

/* false: it has been asked, twice at least, and does not */
static bool answers(struct keyd *k, struct gateway_way *w, uint64_t now)
{
	if (mvpn_addr_is_zero(&w->next))
		return true;
	if (w->first_ms && nl_neigh_heard(k->nl, w->ifindex, &w->next))
		w->first_ms = 0;
	if (!w->asked_ms || now >= w->asked_ms + MVPN_REACH_LOOK_MS) {
		if (nl_neigh_ask(k->nl, w->ifindex, &w->next) == 0 && !w->first_ms)
			w->first_ms = now;
		w->asked_ms = now;
	}
	return !w->first_ms || now < w->first_ms + MVPN_REACH_SILENT_MS;
}

/* returns the text's length, which is less than size */
static size_t why(struct keyd *k, const struct gateway_set *set, char *ret, size_t size)
{
	const struct gateway_way *w = &set->way;
	char prefix[MVPN_ADDRSTRLEN], next[MVPN_ADDRSTRLEN];
	struct nl_link link;

	if (!w->ifindex || nl_link_get_index(k->nl, w->ifindex, &link))
		link.name[0] = 0;
	mvpn_prefix_str(&set->prefix, prefix);
	switch (w->state) {
	case WAY_REACHED:
		snprintf(ret, size, "%s is reached", prefix);
		break;
	case WAY_NO_ROUTE:
		snprintf(ret, size, "%s is not reached: there is no route", prefix);
		break;
	case WAY_CLEAR:
		snprintf(ret, size,
			 "%s is not reached: the route leads out of %s, which mvpn is "
			 "attached to",
			 prefix, link.name);
		break;
	case WAY_NO_CARRIER:
		snprintf(ret, size, "%s is not reached: %s is down or has no carrier", prefix,
			 link.name);
		break;
	case WAY_SILENT:
		snprintf(ret, size, "%s is not reached: %s on %s does not answer", prefix,
			 mvpn_addr_str(&w->next, next), link.name);
		break;
	}
	return strlen(ret);
}

static void look_at(struct keyd *k, struct gateway_set *set, uint64_t now)
{
	struct gateway_way *w = &set->way;
	enum way_state before = w->state, state = before == WAY_SILENT ? WAY_REACHED : before;
	char text[GATEWAYS_WHY_B];

	if (now >= w->looked_ms + MVPN_REACH_LOOK_MS || w->looked_ms <= k->gateways->changed_ms) {
		state = look_up(k, set);
		w->looked_ms = now;
	}
	if (state == WAY_REACHED && !answers(k, w, now))
		state = WAY_SILENT;
	w->state = state;
	if (state == before)
		return;
	why(k, set, text, sizeof(text));
	log_at(state == WAY_REACHED ? LOG_L_INFO : LOG_L_WARN, "%s", text);
	if ((state == WAY_REACHED) == (before == WAY_REACHED))
		return;
	w->rounds = MVPN_REACH_ROUNDS;
	w->lost_ms = now;
	k->counters[KC_PREFIX_LOST] += state != WAY_REACHED;
	k->gateways->tell_again = true;
}

/* ---- what peers are told ---- */

uint64_t gateways_prefix_name(const struct mvpn_prefix *p)
{
	static const char label[] = "mavp1 reach";
	uint8_t text[sizeof(label) - 1 + 1 + 16], hash[32];
	uint64_t name = 0;

	memcpy(text, label, sizeof(label) - 1);
	text[sizeof(label) - 1] = p->len;
	memcpy(text + sizeof(label), p->addr.b, 16);
	crypto_generichash(hash, sizeof(hash), text, sizeof(text), NULL, 0);
	for (unsigned i = 0; i < 8; i++)
		name = name << 8 | hash[i];
	return name & ~MVPN_REACH_NOT;
}

static bool to_be_told(const struct gateway_set *set)
{
	return set->self && (set->way.state != WAY_REACHED || set->way.rounds);
}

static void round_over(struct gateways *g)
{
	g->telling = false;
	for (unsigned i = 0; i < g->n; i++)
		if (g->sets[i].self && g->sets[i].way.state == WAY_REACHED && g->sets[i].way.rounds)
			g->sets[i].way.rounds--;
}

static bool round_begins(struct gateways *g, uint64_t now)
{
	bool any = false;

	if (!g->tell_again && now < g->tell_ms + MVPN_REACH_TELL_MS)
		return false;
	for (unsigned i = 0; i < g->n && !any; i++)
		any = to_be_told(&g->sets[i]);
	g->tell_again = false;
	g->tell_ms = now;
	g->tell_peer = 1;
	g->tell_set = 0;
	return any;
}

/* each peer of each, so many at a time as the fast path takes without losing anything else */
static void tell(struct keyd *k, uint64_t now)
{
	struct gateways *g = k->gateways;
	unsigned words = 0;

	if (!g->telling)
		g->telling = round_begins(g, now);
	if (!g->telling)
		return;
	for (; g->tell_peer <= k->npeers; g->tell_peer++, g->tell_set = 0) {
		const struct peer *p = k->peers[g->tell_peer];
		const struct session *s =
			p->layer == MVPN_LAYER_NETWORK ? session_transmitting(p) : NULL;

		for (; s && g->tell_set < g->n; g->tell_set++) {
			const struct gateway_set *set = &g->sets[g->tell_set];

			if (!to_be_told(set))
				continue;
			if (words++ == MVPN_REACH_TELLS ||
			    dp_send_ctrl(k->dp, s->rx_spi, MVPN_CTRL_REACH,
					 set->name | (set->way.state ? MVPN_REACH_NOT : 0), 0))
				return;
		}
	}
	round_over(g);
}

void gateways_routes_changed(struct keyd *k)
{
	k->gateways->changed_ms = mono_ms();
}

void gateways_reach_look(struct keyd *k, uint64_t now)
{
	struct gateways *g = k->gateways;
	unsigned n = g->n < MVPN_REACH_LOOKS ? g->n : MVPN_REACH_LOOKS;

	for (; n; n--, g->look_set++) {
		if (g->look_set >= g->n)
			g->look_set = 0;
		if (g->sets[g->look_set].self)
			look_at(k, &g->sets[g->look_set], now);
	}
	tell(k, now);
}

/* ---- what is to be seen ---- */

unsigned gateways_own(const struct keyd *k)
{
	unsigned n = 0;

	for (unsigned i = 0; i < k->gateways->n; i++)
		n += k->gateways->sets[i].self;
	return n;
}

bool gateways_way_lost(struct keyd *k, const struct gateway_set *set, char *ret, size_t size)
{
	if (set->way.state == WAY_REACHED)
		return false;
	why(k, set, ret, size);
	return true;
}

bool gateways_unreached(struct keyd *k, char *ret, size_t size)
{
	unsigned more = 0;
	size_t len = 0;

	for (unsigned i = 0; i < k->gateways->n; i++) {
		const struct gateway_set *set = &k->gateways->sets[i];

		if (!set->self || set->way.state == WAY_REACHED)
			continue;
		if (len) {
			more++;
			continue;
		}
		len = why(k, set, ret, size);
		len += (size_t)snprintf(ret + len, size - len, ", for %llu s",
					(unsigned long long)(mono_ms() - set->way.lost_ms) / 1000);
	}
	if (more)
		snprintf(ret + len, size - len, ", and %u more", more);
	return len;
}
