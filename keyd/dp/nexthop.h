/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where the kernel would send a packet for a peer's endpoint, in the form the fast path needs.
 * Main thread; no packets.
 */
#ifndef MVPN_NEXTHOP_H
#define MVPN_NEXTHOP_H

#include "../keytab.h"
#include "netlink.h"

/*
 * -errno when there is no route at all. Else `to` and `mtu` are filled; has_hop and what it
 * covers only when a frame can be built without the stack: an Ethernet device that is up, no
 * VLAN on top, the neighbour known, an MTU that AF_XDP frames hold. Each call also tells the
 * kernel that the neighbour is in use, so that it is resolved, or kept fresh: resolve again on
 * NL_LINK, NL_ADDR, NL_ROUTE and NL_NEIGH.
 */
int nexthop_resolve(struct nl *nl, const struct mvpn_endpoint *to, struct kt_endpoint *ret);

#endif
