/* SPDX-License-Identifier: BSD-2-Clause */
/* Inside lib/netlink*.c only: the sockets of a struct nl, and one request with its answers. */
#ifndef MVPN_NETLINK_TALK_H
#define MVPN_NETLINK_TALK_H

#include <libmnl/libmnl.h>
#include <stddef.h>
#include <stdint.h>

#include "netlink.h"

/*
 * One answer is at most NLMSG_GOODSIZE (8 KiB) or what the asker's buffer allows in a dump: 32
 * KiB is what iproute2 takes.
 */
#define NL_BUF_B 32768

/*
 * All sockets are opened by nl_new, so that they belong to one network namespace: the one the
 * caller was in then.
 */
struct nl {
	struct mnl_socket *route, *generic;
	struct mnl_socket *events; /* NULL until nl_events_open */
	int inet;		   /* for the ethtool ioctls */
	uint32_t seq;
	uint16_t netdev_family; /* generic netlink id of "netdev"; 0: not asked yet */
	_Alignas(8) char request[1024];
	_Alignas(8) char answer[NL_BUF_B];
	_Alignas(8) char event[NL_BUF_B]; /* apart: who is told of a change asks about it at once */
};

/*
 * starts a request in n->request; `extra` bytes of family header are zeroed and returned in
 * *ret_extra
 */
struct nlmsghdr *nl_request(struct nl *n, uint16_t type, uint16_t flags, size_t extra,
			    void *ret_extra);

/*
 * Sends it (NLM_F_ACK is added unless it is a dump) and calls fn, which may be NULL, for each
 * answer. fn returns MNL_CB_OK, or MNL_CB_ERROR with errno set. 0 or -errno; -EINTR: the dump
 * was cut across by a change, what fn saw is not consistent.
 */
int nl_talk(struct nl *n, struct mnl_socket *s, struct nlmsghdr *h, mnl_cb_t fn, void *arg);

/* an address attribute of the right length for family; false: neither IPv4 nor IPv6 */
bool nl_attr_addr(const struct nlattr *a, int family, struct mvpn_addr *ret);
/* puts a as 4 or 16 bytes and returns its AF_* */
int nl_put_addr(struct nlmsghdr *h, uint16_t type, const struct mvpn_addr *a);

#endif
