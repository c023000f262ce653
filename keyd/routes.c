/* SPDX-License-Identifier: BSD-2-Clause */
#include "routes.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define RULES_MAX 256	/* that are not about the plain tables */
#define ROUTES_MAX 4096 /* in the tables that they name */
/* a VLAN device on an attached interface, a bridge or bond of which one is a member: the packet passes the attached one, too */
#define STACKED_MAX 4

struct routes {
	struct keyd *k;
	struct nl_rule rules[RULES_MAX];
	struct nl_table_route routes[ROUTES_MAX];
	bool astray[ROUTES_MAX]; /* of each: by what is not attached */
	unsigned nrules, nroutes;
	bool cut;
};

/* ---- devices ---- */

static const struct attachment *attached_as(const struct keyd *k, unsigned ifindex)
{
	for (unsigned i = 0; i < k->nifaces; i++)
		if (k->ifaces[i]->ifindex == ifindex)
			return k->ifaces[i];
	return NULL;
}

static const struct attachment *attached_below(struct keyd *k, const struct nl_link *top)
{
	struct nl_link l = *top;

	for (unsigned i = 0; i < STACKED_MAX; i++) {
		const struct attachment *a = attached_as(k, l.ifindex);

		if (a || !l.parent || nl_link_get_index(k->nl, l.parent, &l))
			return a;
	}
	return NULL;
}

static const struct attachment *attached_member(struct keyd *k, unsigned master)
{
	struct nl_link l;

	for (unsigned i = 0; i < k->nifaces; i++)
		if (k->ifaces[i]->ifindex && !nl_link_get_index(k->nl, k->ifaces[i]->ifindex, &l) &&
		    l.master == master)
			return k->ifaces[i];
	return NULL;
}

const struct attachment *routes_attached(struct keyd *k, unsigned oif, char ret_name[static IFNAMSIZ])
{
	const struct attachment *a;
	struct nl_link l;

	ret_name[0] = '\0';
	if (nl_link_get_index(k->nl, oif, &l))
		return NULL;
	memcpy(ret_name, l.name, IFNAMSIZ);
	a = attached_below(k, &l);
	return a ? a : attached_member(k, l.ifindex);
}

/* ---- rules, and the routes in their tables ---- */

static bool is_plain(unsigned table)
{
	return table == RT_TABLE_MAIN || table == RT_TABLE_DEFAULT || table == RT_TABLE_LOCAL;
}

static void rule_add(void *arg, const struct nl_rule *r)
{
	struct routes *x = arg;

	if (!r->vrf && is_plain(r->table))
		return;
	if (x->nrules == RULES_MAX)
		x->cut = true;
	else
		x->rules[x->nrules++] = *r;
}

static bool is_v6(const struct nl_table_route *r)
{
	return !mvpn_addr_is_v4(&r->dst.addr) || r->dst.len < 96;
}

/* the rule that leads to that route's table: one that names it, else the one for VRFs, whose tables no rule names; NULL: none does */
static const struct nl_rule *rule_to(const struct routes *x, const struct nl_table_route *r)
{
	const struct nl_rule *vrf = NULL;

	for (unsigned i = 0; i < x->nrules; i++) {
		if (x->rules[i].v6 != is_v6(r))
			continue;
		if (x->rules[i].vrf)
			vrf = &x->rules[i];
		else if (x->rules[i].table == r->table)
			return &x->rules[i];
	}
	return vrf;
}

static void route_add(void *arg, const struct nl_table_route *r)
{
	struct routes *x = arg;

	if (is_plain(r->table) || !rule_to(x, r))
		return;
	if (x->nroutes == ROUTES_MAX)
		x->cut = true;
	else
		x->routes[x->nroutes++] = *r;
}

static bool leads_astray(struct routes *x, unsigned oif)
{
	char name[IFNAMSIZ];

	return oif && !routes_attached(x->k, oif, name) && *name && strcmp(name, x->k->conf.tap) != 0;
}

/* a device is asked about once */
static void classify(struct routes *x)
{
	for (unsigned i = 0, n; i < x->nroutes; i++) {
		for (n = 0; n < i && x->routes[n].oif != x->routes[i].oif; n++)
			;
		x->astray[i] = n < i ? x->astray[n] : leads_astray(x, x->routes[i].oif);
	}
}

struct routes *routes_new(struct keyd *k)
{
	struct routes *x = calloc(1, sizeof(*x));
	int r = x ? 0 : -ENOMEM;

	if (x)
		x->k = k;
	if (!r)
		r = nl_rules_each(k->nl, AF_INET, rule_add, x);
	if (!r)
		r = nl_rules_each(k->nl, AF_INET6, rule_add, x);
	if (!r && x->nrules)
		r = nl_table_routes_each(k->nl, AF_INET, route_add, x);
	if (!r && x->nrules)
		r = nl_table_routes_each(k->nl, AF_INET6, route_add, x);
	if (r && r != -EINTR) { /* a change meanwhile: what was seen is told of */
		routes_free(x);
		return NULL;
	}
	classify(x);
	return x;
}

void routes_free(struct routes *x)
{
	free(x);
}

bool routes_cut(const struct routes *x)
{
	return x->cut;
}

/* ---- what is asked ---- */

__attribute__((format(printf, 2, 3))) static void put(char text[static ROUTES_RULE_B], const char *fmt, ...)
{
	size_t at = strlen(text);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text + at, ROUTES_RULE_B - at, fmt, ap);
	va_end(ap);
}

static void rule_text(char ret[static ROUTES_RULE_B], const struct nl_rule *r)
{
	char text[MVPN_ADDRSTRLEN];

	ret[0] = '\0';
	put(ret, "rule %u:%s", r->priority, r->inverted ? " not" : "");
	if (r->src.len)
		put(ret, " from %s", mvpn_prefix_str(&r->src, text));
	if (r->dst.len)
		put(ret, " to %s", mvpn_prefix_str(&r->dst, text));
	if (r->mark)
		put(ret, " fwmark 0x%x", r->mark);
	if (r->by_uid)
		put(ret, " uidrange %u-%u", r->uid_first, r->uid_last);
	if (*r->iif)
		put(ret, " iif %s", r->iif);
	if (*r->oif)
		put(ret, " oif %s", r->oif);
	if (r->by_service)
		put(ret, " of a protocol or port");
	if (r->vrf)
		put(ret, " of a VRF");
}

/* does a longer route of the same table take all of it? */
static bool is_hidden(const struct routes *x, const struct nl_table_route *r, const struct mvpn_prefix *dst)
{
	for (unsigned i = 0; i < x->nroutes; i++) {
		const struct nl_table_route *o = &x->routes[i];

		if (o->table == r->table && is_v6(o) == is_v6(r) && o->dst.len > r->dst.len && o->dst.len <= dst->len &&
		    mvpn_prefix_contains(&o->dst, &dst->addr))
			return true;
	}
	return false;
}

bool routes_astray(struct routes *x, const struct mvpn_prefix *dst, struct routes_way *ret)
{
	for (unsigned i = 0; i < x->nroutes; i++) {
		const struct nl_table_route *r = &x->routes[i];
		const struct nl_rule *rule = rule_to(x, r);

		if (!x->astray[i] || !mvpn_prefix_overlaps(&r->dst, dst) ||
		    is_v6(r) != !(mvpn_addr_is_v4(&dst->addr) && dst->len >= 96) ||
		    (rule->dst.len && !mvpn_prefix_overlaps(&rule->dst, dst)) || is_hidden(x, r, dst))
			continue;
		routes_attached(x->k, r->oif, ret->iface);
		rule_text(ret->rule, rule);
		ret->table = r->table;
		return true;
	}
	return false;
}
