/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Requests, addresses and change events. Links are in netlink_link.c, routes and neighbours in
 * netlink_route.c.
 */
#include "netlink.h"

#include <errno.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "netlink_talk.h"

#define DUMP_TRIES 8		  /* a dump cut across by a change is asked for again so often */
#define EVENTS_RCVBUF_B (1 << 20) /* some thousand changes: a full routing table may flap at once */
#define EVENTS_PER_CALL 4096	  /* datagrams; the rest waits for the loop's next turn */

static struct mnl_socket *open_socket(int bus, int flags)
{
	struct mnl_socket *s = mnl_socket_open2(bus, SOCK_CLOEXEC | flags);

	if (s && mnl_socket_bind(s, 0, MNL_SOCKET_AUTOPID) < 0) {
		int e = errno;

		mnl_socket_close(s);
		errno = e;
		return NULL;
	}
	return s;
}

int nl_new(struct nl **ret)
{
	struct nl *n = calloc(1, sizeof(*n));
	int r;

	if (!n)
		return -ENOMEM;
	n->inet = -1;
	n->route = open_socket(NETLINK_ROUTE, 0);
	if (!n->route)
		goto fail;
	n->generic = open_socket(NETLINK_GENERIC, 0);
	if (!n->generic)
		goto fail;
	n->inet = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (n->inet < 0)
		goto fail;
	*ret = n;
	return 0;
fail:
	r = -errno;
	nl_free(n);
	return r;
}

void nl_free(struct nl *n)
{
	if (!n)
		return;
	if (n->events)
		mnl_socket_close(n->events);
	if (n->generic)
		mnl_socket_close(n->generic);
	if (n->route)
		mnl_socket_close(n->route);
	if (n->inet >= 0)
		close(n->inet);
	free(n);
}

struct nlmsghdr *nl_request(struct nl *n, uint16_t type, uint16_t flags, size_t extra,
			    void *ret_extra)
{
	struct nlmsghdr *h = mnl_nlmsg_put_header(n->request);

	h->nlmsg_type = type;
	h->nlmsg_flags = NLM_F_REQUEST | flags;
	*(void **)ret_extra = mnl_nlmsg_put_extra_header(h, extra);
	return h;
}

int nl_talk(struct nl *n, struct mnl_socket *s, struct nlmsghdr *h, mnl_cb_t fn, void *arg)
{
	const struct nlmsghdr *first = (const struct nlmsghdr *)n->answer;
	unsigned portid = mnl_socket_get_portid(s);
	ssize_t len;
	int r;

	if ((h->nlmsg_flags & NLM_F_DUMP) != NLM_F_DUMP)
		h->nlmsg_flags |= NLM_F_ACK;
	h->nlmsg_seq = ++n->seq;
	if (mnl_socket_sendto(s, h, h->nlmsg_len) < 0)
		return -errno;
	do {
		len = mnl_socket_recvfrom(s, n->answer, sizeof(n->answer));
		if (len < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		/* the rest of a request that was given up half-way */
		if (len < (ssize_t)sizeof(*first) || first->nlmsg_seq != n->seq)
			continue;
		r = mnl_cb_run(n->answer, (size_t)len, n->seq, portid, fn, arg);
		if (r < 0)
			return -errno;
		if (r == MNL_CB_STOP)
			return 0;
	} while (true);
}

bool nl_attr_addr(const struct nlattr *a, int family, struct mvpn_addr *ret)
{
	unsigned len = mnl_attr_get_payload_len(a);

	if (family == AF_INET && len == 4)
		mvpn_addr_from_v4(ret, mnl_attr_get_payload(a));
	else if (family == AF_INET6 && len == 16)
		memcpy(ret->b, mnl_attr_get_payload(a), 16);
	else
		return false;
	return true;
}

int nl_put_addr(struct nlmsghdr *h, uint16_t type, const struct mvpn_addr *a)
{
	if (mvpn_addr_is_v4(a)) {
		mnl_attr_put(h, type, 4, a->b + 12);
		return AF_INET;
	}
	mnl_attr_put(h, type, 16, a->b);
	return AF_INET6;
}

/* ---- addresses ---- */

/*
 * Gathered first and handed out only when the dump was consistent: fn is never called twice for
 * one address.
 */
struct addrs {
	struct {
		unsigned ifindex;
		struct mvpn_addr addr;
	} * v;
	size_t n, cap;
};

static int addr_add(struct addrs *l, unsigned ifindex, const struct mvpn_addr *a)
{
	if (l->n == l->cap) {
		size_t cap = l->cap ? 2 * l->cap : 16;
		void *v = reallocarray(l->v, cap, sizeof(*l->v));

		if (!v)
			return -ENOMEM;
		l->v = v;
		l->cap = cap;
	}
	l->v[l->n].ifindex = ifindex;
	l->v[l->n].addr = *a;
	l->n++;
	return 0;
}

/*
 * IFA_F_TEMPORARY and IFA_F_SECONDARY are one bit: a second IPv4 address of a subnet is as good
 * as the first.
 */
static bool addr_usable(int family, uint32_t flags)
{
	if (flags & (IFA_F_TENTATIVE | IFA_F_DADFAILED | IFA_F_DEPRECATED))
		return false;
	return family == AF_INET || !(flags & IFA_F_TEMPORARY);
}

static int addr_answer(const struct nlmsghdr *h, void *arg)
{
	const struct ifaddrmsg *m = mnl_nlmsg_get_payload(h);
	struct mvpn_addr local = {}, addr = {};
	bool has_local = false, has_addr = false;
	uint32_t flags = m->ifa_flags;
	struct nlattr *a;

	if (h->nlmsg_type != RTM_NEWADDR || mnl_nlmsg_get_payload_len(h) < sizeof(*m))
		return MNL_CB_OK;
	mnl_attr_for_each(a, h, sizeof(*m))
	{
		switch (mnl_attr_get_type(a)) {
		case IFA_LOCAL:
			has_local = nl_attr_addr(a, m->ifa_family, &local);
			break;
		case IFA_ADDRESS: /* the far end of a point-to-point link, if IFA_LOCAL is there too */
			has_addr = nl_attr_addr(a, m->ifa_family, &addr);
			break;
		case IFA_FLAGS:
			if (mnl_attr_validate(a, MNL_TYPE_U32) >= 0)
				flags = mnl_attr_get_u32(a);
			break;
		}
	}
	if (!has_local)
		local = addr;
	if ((has_local || has_addr) && addr_usable(m->ifa_family, flags) &&
	    mvpn_addr_is_ownable(&local)) {
		int r = addr_add(arg, m->ifa_index, &local);

		if (r < 0) {
			errno = -r;
			return MNL_CB_ERROR;
		}
	}
	return MNL_CB_OK;
}

int nl_addr_list(struct nl *n, int (*fn)(void *arg, unsigned ifindex, const struct mvpn_addr *a),
		 void *arg)
{
	struct addrs l = {};
	int r = -EINTR;

	for (int i = 0; i < DUMP_TRIES && r == -EINTR; i++) {
		struct ifaddrmsg *m;
		struct nlmsghdr *h = nl_request(n, RTM_GETADDR, NLM_F_DUMP, sizeof(*m), &m);

		m->ifa_family = AF_UNSPEC;
		l.n = 0;
		r = nl_talk(n, n->route, h, addr_answer, &l);
	}
	for (size_t i = 0; i < l.n && r >= 0; i++)
		r = fn(arg, l.v[i].ifindex, &l.v[i].addr);
	free(l.v);
	return r < 0 ? r : 0;
}

int nl_addr_add(struct nl *n, unsigned ifindex, const struct mvpn_addr *a)
{
	struct ifaddrmsg *m;
	struct nlmsghdr *h = nl_request(n, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, sizeof(*m), &m);
	bool v4 = mvpn_addr_is_v4(a);

	m->ifa_prefixlen = v4 ? 32 : 128;
	m->ifa_scope = RT_SCOPE_HOST;
	m->ifa_index = ifindex;
	m->ifa_family = (uint8_t)nl_put_addr(h, IFA_LOCAL, a);
	return nl_talk(n, n->route, h, NULL, NULL);
}

/* ---- events ---- */

int nl_events_open(struct nl *n)
{
	static const int groups[] = {RTNLGRP_LINK,	 RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR,
				     RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE,  RTNLGRP_NEIGH};
	int rcvbuf = EVENTS_RCVBUF_B, r;

	if (n->events)
		return mnl_socket_get_fd(n->events);
	n->events = open_socket(NETLINK_ROUTE, SOCK_NONBLOCK);
	if (!n->events)
		return -errno;
	/* beyond rmem_max only with privilege; without it overruns come sooner, and are reported */
	if (setsockopt(mnl_socket_get_fd(n->events), SOL_SOCKET, SO_RCVBUFFORCE, &rcvbuf,
		       sizeof(rcvbuf)) < 0)
		setsockopt(mnl_socket_get_fd(n->events), SOL_SOCKET, SO_RCVBUF, &rcvbuf,
			   sizeof(rcvbuf));
	for (size_t i = 0; i < MNL_ARRAY_SIZE(groups); i++) {
		int g = groups[i];

		if (mnl_socket_setsockopt(n->events, NETLINK_ADD_MEMBERSHIP, &g, sizeof(g)) < 0) {
			r = -errno;
			mnl_socket_close(n->events);
			n->events = NULL;
			return r;
		}
	}
	return mnl_socket_get_fd(n->events);
}

static unsigned route_oif(const struct nlmsghdr *h)
{
	struct nlattr *a;

	mnl_attr_for_each(a, h, sizeof(struct rtmsg)) if (mnl_attr_get_type(a) == RTA_OIF &&
							  mnl_attr_validate(a, MNL_TYPE_U32) >=
								  0) return mnl_attr_get_u32(a);
	return 0;
}

static void event_one(const struct nlmsghdr *h, nl_event_fn *fn, void *arg)
{
	const void *p = mnl_nlmsg_get_payload(h);
	size_t len = mnl_nlmsg_get_payload_len(h);

	switch (h->nlmsg_type) {
	case RTM_NEWLINK:
	case RTM_DELLINK: {
		const struct ifinfomsg *m = p;

		/* a port that leaves a bridge is a DELLINK of family AF_BRIDGE: the device stays */
		if (len >= sizeof(*m) && m->ifi_family == AF_UNSPEC)
			fn(arg, h->nlmsg_type == RTM_NEWLINK ? NL_LINK : NL_LINK_GONE,
			   (unsigned)m->ifi_index);
		break;
	}
	case RTM_NEWADDR:
	case RTM_DELADDR:
		if (len >= sizeof(struct ifaddrmsg))
			fn(arg, NL_ADDR, ((const struct ifaddrmsg *)p)->ifa_index);
		break;
	case RTM_NEWROUTE:
	case RTM_DELROUTE:
		if (len >= sizeof(struct rtmsg))
			fn(arg, NL_ROUTE, route_oif(h));
		break;
	case RTM_NEWNEIGH:
	case RTM_DELNEIGH: {
		const struct ndmsg *m = p;

		/* AF_BRIDGE: a bridge's forwarding table */
		if (len >= sizeof(*m) && (m->ndm_family == AF_INET || m->ndm_family == AF_INET6))
			fn(arg, NL_NEIGH, (unsigned)m->ndm_ifindex);
		break;
	}
	}
}

int nl_events(struct nl *n, nl_event_fn *fn, void *arg)
{
	if (!n->events)
		return -EBADF;
	for (int i = 0; i < EVENTS_PER_CALL; i++) {
		int len = (int)mnl_socket_recvfrom(n->events, n->event, sizeof(n->event));

		if (len < 0 && errno == EAGAIN)
			break;
		if (len < 0 &&
		    (errno == ENOBUFS || errno == ENOSPC)) /* ENOSPC: one was cut, libmnl says */
			fn(arg, NL_OVERRUN, 0);
		else if (len < 0 && errno != EINTR)
			return -errno;
		for (const struct nlmsghdr *h = (const void *)n->event; mnl_nlmsg_ok(h, len);
		     h = mnl_nlmsg_next(h, &len))
			event_one(h, fn, arg);
	}
	return 0;
}
