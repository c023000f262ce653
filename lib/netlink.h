/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What keyd asks of and tells rtnetlink (and the netdev and ethtool families), by libmnl. Blocking requests on one
 * socket; events on another, for the loop. All return -errno as the kernel gave it.
 */
#ifndef MVPN_NETLINK_H
#define MVPN_NETLINK_H

#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>

#include "addr.h"

struct nl;
int nl_new(struct nl **ret);
void nl_free(struct nl *n);

struct nl_link {
	unsigned ifindex;
	char name[IFNAMSIZ];
	char kind[16]; /* "veth", "tun", "" for a plain NIC */
	char driver[32]; /* ethtool's; "" when the device has none */
	uint8_t mac[6];
	bool has_mac; /* Ethernet framing */
	uint32_t flags; /* IFF_* */
	unsigned mtu;
	unsigned rx_queues, tx_queues; /* real ones in use (ethtool channels; else the netdev's) */
	unsigned vlan_id; /* 802.1Q device: its VID, else 0 */
	unsigned parent; /* lower device's ifindex of a VLAN device, else 0 */
	unsigned master; /* ifindex of the bridge, bond or VRF that it is a member of, else 0 */
};
int nl_link_get(struct nl *n, const char *name, struct nl_link *ret); /* -ENODEV */
int nl_link_get_index(struct nl *n, unsigned ifindex, struct nl_link *ret);
int nl_link_set(struct nl *n, unsigned ifindex, bool up, unsigned mtu /* 0: keep */, unsigned txqlen /* 0: keep */);
int nl_link_no_addrgen(struct nl *n, unsigned ifindex); /* IPv6 addr_gen_mode none: no link-local, no RS */

/* NETDEV_XDP_ACT_* of <linux/netdev.h> (kernel 6.3); -EOPNOTSUPP on older kernels */
int nl_xdp_features(struct nl *n, unsigned ifindex, uint64_t *ret);

/* addresses of all devices, ownable ones only (mvpn_addr_is_ownable), no tentative or deprecated ones */
int nl_addr_list(struct nl *n, int (*fn)(void *arg, unsigned ifindex, const struct mvpn_addr *a), void *arg);

/* one more address, of scope host; -EEXIST when it is there */
int nl_addr_add(struct nl *n, unsigned ifindex, const struct mvpn_addr *a);

/* how the kernel would route to dst: output device, gateway (zero if on-link), preferred source, route's MTU (0: link's;
 * what the kernel has learned by ICMP, which anybody can forge, is left out) */
struct nl_route {
	unsigned oif;
	struct mvpn_addr gateway, src;
	unsigned mtu;
	bool local; /* dst is this host */
};
int nl_route_get(struct nl *n, const struct mvpn_addr *dst, struct nl_route *ret);
/* Devices that unicast routes into a part of that prefix lead out of, each once: for where there is none for the whole of it. How many,
 * at most max. It reads all the routes that there are. */
int nl_routes_into(struct nl *n, const struct mvpn_prefix *p, unsigned *ret_oif, unsigned max);
/* ---- policy routing (netlink_rule.c): fn is called for each; nothing may be asked of n meanwhile. -EINTR: of some, for they have changed ---- */
/* one that leads to a table; what is zero or empty it does not ask for */
struct nl_rule {
	unsigned priority, table;
	bool v6, inverted, vrf; /* vrf: to the table of the VRF that it is of, whichever */
	uint32_t mark;
	bool by_uid, by_service; /* by_service: a protocol or ports */
	unsigned uid_first, uid_last;
	struct mvpn_prefix src, dst;
	char iif[IFNAMSIZ], oif[IFNAMSIZ];
};
typedef void nl_rule_fn(void *arg, const struct nl_rule *r);
int nl_rules_each(struct nl *n, int family, nl_rule_fn *fn, void *arg);
/* a next hop of a route in any table */
struct nl_table_route {
	unsigned table;
	unsigned oif; /* 0: it refuses, or is this host's */
	struct mvpn_prefix dst; /* IPv4's is at least 96 long */
};
typedef void nl_table_route_fn(void *arg, const struct nl_table_route *r);
int nl_table_routes_each(struct nl *n, int family, nl_table_route_fn *fn, void *arg);

/* link-layer address of a neighbour; -ENOENT when unknown or unusable (INCOMPLETE, FAILED) */
int nl_neigh_get(struct nl *n, unsigned ifindex, const struct mvpn_addr *a, uint8_t ret_mac[6]);
/* As if the kernel itself had a packet for it (NTF_USE): an unknown neighbour is resolved, a stale one probed; NL_NEIGH tells the
 * outcome. For traffic that bypasses the stack. */
int nl_neigh_use(struct nl *n, unsigned ifindex, const struct mvpn_addr *a);
/* Is it there? It is asked now, whatever the kernel believes; after a moment nl_neigh_heard() tells whether it has answered since.
 * Packets to it do not wait meanwhile. One that somebody has entered for good is taken to be there. */
int nl_neigh_ask(struct nl *n, unsigned ifindex, const struct mvpn_addr *a);
bool nl_neigh_heard(struct nl *n, unsigned ifindex, const struct mvpn_addr *a);

/* changes: fd for the loop; nl_events reads all that is there and calls fn once for each change */
enum nl_change { NL_LINK = 1, NL_LINK_GONE, NL_ADDR, NL_ROUTE, NL_NEIGH, NL_OVERRUN };
typedef void nl_event_fn(void *arg, enum nl_change what, unsigned ifindex);
int nl_events_open(struct nl *n); /* returns the fd */
int nl_events(struct nl *n, nl_event_fn *fn, void *arg);

#endif
