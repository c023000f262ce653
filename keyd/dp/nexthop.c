/* SPDX-License-Identifier: BSD-2-Clause */
#include "nexthop.h"

#include <string.h>

#include "frame.h"

/*
 * Devices whose frames we can write: the tag of a VLAN device would be missing, others have no
 * Ethernet header.
 */
static bool can_frame(const struct nl_link *l)
{
	return l->has_mac && !l->vlan_id && (l->flags & IFF_UP) && (l->flags & IFF_RUNNING) &&
	       !(l->flags & (IFF_LOOPBACK | IFF_NOARP | IFF_POINTOPOINT));
}

int nexthop_resolve(struct nl *nl, const struct mvpn_endpoint *to, struct kt_endpoint *ret)
{
	struct kt_endpoint ep = {.to = *to};
	const struct mvpn_addr *via;
	struct nl_route route;
	struct nl_link link;
	int r;

	r = nl_route_get(nl, &to->addr, &route);
	if (r < 0)
		return r;
	r = nl_link_get_index(nl, route.oif, &link);
	if (r < 0)
		return r;
	ep.mtu = route.mtu && route.mtu < link.mtu ? route.mtu : link.mtu;
	ep.link_mtu = ep.mtu;

	if (!route.local && can_frame(&link) && ep.mtu <= FRAME_MTU_MAX &&
	    !mvpn_addr_is_zero(&route.src) &&
	    mvpn_addr_is_v4(&route.src) == mvpn_addr_is_v4(&to->addr)) {
		via = mvpn_addr_is_zero(&route.gateway) ? &to->addr : &route.gateway;
		ep.has_hop = nl_neigh_get(nl, route.oif, via, ep.dmac) >= 0;
		/*
		 * AF_XDP bypasses the neighbour table, so nothing else would keep the entry
		 * alive; a refusal costs only that
		 */
		nl_neigh_use(nl, route.oif, via);
	}
	if (ep.has_hop) {
		ep.ifindex = route.oif;
		ep.src = route.src;
		memcpy(ep.smac, link.mac, sizeof(ep.smac));
	}
	*ret = ep;
	return 0;
}
