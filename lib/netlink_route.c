/* SPDX-License-Identifier: BSD-2-Clause */
/* Routes and neighbours, as the kernel itself would choose them. */
#include "netlink.h"

#include <errno.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <string.h>

#include "netlink_talk.h"

struct route {
	struct nl_route r;
	int error; /* of a route whose purpose is to refuse */
	bool there;
	bool learned; /* an exception that ICMP or a redirect has made: its MTU is hearsay, and it expires */
};

/* RTA_VIA: an IPv4 destination behind an IPv6 router (RFC 5549), or the other way about */
static void route_via(const struct nlattr *a, struct mvpn_addr *ret)
{
	const struct rtvia *via = mnl_attr_get_payload(a);
	size_t len = mnl_attr_get_payload_len(a);

	if (len == sizeof(*via) + 4 && via->rtvia_family == AF_INET)
		mvpn_addr_from_v4(ret, via->rtvia_addr);
	else if (len == sizeof(*via) + 16 && via->rtvia_family == AF_INET6)
		memcpy(ret->b, via->rtvia_addr, 16);
}

/* IPv4 answers a refusing route with its error, IPv6 with the route itself */
static int type_error(unsigned type)
{
	switch (type) {
	case RTN_UNICAST:
	case RTN_LOCAL:
		return 0;
	case RTN_UNREACHABLE:
		return -EHOSTUNREACH;
	case RTN_PROHIBIT:
		return -EACCES;
	case RTN_BLACKHOLE:
		return -EINVAL;
	default: /* multicast, broadcast, anycast: nothing that could be one peer */
		return -ENETUNREACH;
	}
}

static void route_attr(const struct nlattr *a, int family, struct nl_route *r)
{
	const struct nlattr *m;

	switch (mnl_attr_get_type(a)) {
	case RTA_OIF:
		if (mnl_attr_validate(a, MNL_TYPE_U32) >= 0)
			r->oif = mnl_attr_get_u32(a);
		break;
	case RTA_GATEWAY:
		nl_attr_addr(a, family, &r->gateway);
		break;
	case RTA_VIA:
		route_via(a, &r->gateway);
		break;
	case RTA_PREFSRC:
		nl_attr_addr(a, family, &r->src);
		break;
	case RTA_METRICS:
		mnl_attr_for_each_nested(m, a) if (mnl_attr_get_type(m) == RTAX_MTU &&
						   mnl_attr_validate(m, MNL_TYPE_U32) >= 0) r->mtu =
			mnl_attr_get_u32(m);
		break;
	}
}

static int route_answer(const struct nlmsghdr *h, void *arg)
{
	const struct rtmsg *m = mnl_nlmsg_get_payload(h);
	struct route *r = arg;
	const struct nlattr *a;

	if (h->nlmsg_type != RTM_NEWROUTE || mnl_nlmsg_get_payload_len(h) < sizeof(*m))
		return MNL_CB_OK;
	r->there = true;
	r->error = type_error(m->rtm_type);
	r->r.local = m->rtm_type == RTN_LOCAL;
	mnl_attr_for_each(a, h, sizeof(*m))
	{
		route_attr(a, m->rtm_family, &r->r);
		if (mnl_attr_get_type(a) == RTA_CACHEINFO &&
		    mnl_attr_get_payload_len(a) >= sizeof(struct rta_cacheinfo))
			r->learned = ((const struct rta_cacheinfo *)mnl_attr_get_payload(a))
					     ->rta_expires != 0;
	}
	return MNL_CB_OK;
}

int nl_route_get(struct nl *n, const struct mvpn_addr *dst, struct nl_route *ret)
{
	struct route route = {};
	struct rtmsg *m;
	struct nlmsghdr *h = nl_request(n, RTM_GETROUTE, 0, sizeof(*m), &m);
	int r;

	m->rtm_family = (unsigned char)nl_put_addr(h, RTA_DST, dst);
	m->rtm_dst_len = m->rtm_family == AF_INET ? 32 : 128;
	r = nl_talk(n, n->route, h, route_answer, &route);
	if (r < 0)
		return r;
	if (!route.there)
		return -ENETUNREACH;
	if (route.error)
		return route.error;
	*ret = route.r;
	if (route.learned)
		ret->mtu = 0;
	return 0;
}

struct into {
	const struct mvpn_prefix *prefix;
	unsigned *oif, n, max;
};

static int into_answer(const struct nlmsghdr *h, void *arg)
{
	const struct rtmsg *m = mnl_nlmsg_get_payload(h);
	struct into *w = arg;
	struct mvpn_addr dst;
	struct nl_route r = {};
	const struct nlattr *a;
	bool inside = false;

	if (h->nlmsg_type != RTM_NEWROUTE || mnl_nlmsg_get_payload_len(h) < sizeof(*m) ||
	    m->rtm_type != RTN_UNICAST ||
	    (m->rtm_family == AF_INET ? m->rtm_dst_len + 96U : m->rtm_dst_len) < w->prefix->len)
		return MNL_CB_OK;
	mnl_attr_for_each(a, h, sizeof(*m))
	{
		if (mnl_attr_get_type(a) == RTA_DST)
			inside = nl_attr_addr(a, m->rtm_family, &dst) &&
				 mvpn_prefix_contains(w->prefix, &dst);
		else
			route_attr(a, m->rtm_family, &r);
	}
	for (unsigned i = 0; i < w->n; i++)
		inside = inside && w->oif[i] != r.oif;
	if (inside && r.oif && w->n < w->max)
		w->oif[w->n++] = r.oif;
	return MNL_CB_OK;
}

int nl_routes_into(struct nl *n, const struct mvpn_prefix *p, unsigned *ret_oif, unsigned max)
{
	struct into w = {.prefix = p, .oif = ret_oif, .max = max};
	struct rtmsg *m;
	struct nlmsghdr *h = nl_request(n, RTM_GETROUTE, NLM_F_DUMP, sizeof(*m), &m);
	int r;

	m->rtm_family = mvpn_addr_is_v4(&p->addr) && p->len >= 96 ? AF_INET : AF_INET6;
	r = nl_talk(n, n->route, h, into_answer, &w);
	return r < 0 && r != -EINTR ? r : (int)w.n; /* a change meanwhile makes the caller look again */
}

/* ---- neighbours ---- */

struct neigh {
	uint8_t mac[6];
	bool usable;
	uint16_t state;
	uint8_t flags;
};

static int neigh_answer(const struct nlmsghdr *h, void *arg)
{
	const struct ndmsg *m = mnl_nlmsg_get_payload(h);
	struct neigh *ret = arg;
	const struct nlattr *a;

	if (h->nlmsg_type != RTM_NEWNEIGH || mnl_nlmsg_get_payload_len(h) < sizeof(*m))
		return MNL_CB_OK;
	ret->state = m->ndm_state;
	ret->flags = m->ndm_flags;
	/* what the kernel would send to without asking first: NUD_VALID of net/neighbour.h */
	if (!(m->ndm_state &
	      (NUD_PERMANENT | NUD_NOARP | NUD_REACHABLE | NUD_PROBE | NUD_STALE | NUD_DELAY)))
		return MNL_CB_OK;
	mnl_attr_for_each(a, h, sizeof(*m)) if (mnl_attr_get_type(a) == NDA_LLADDR &&
						mnl_attr_get_payload_len(a) == sizeof(ret->mac))
	{
		memcpy(ret->mac, mnl_attr_get_payload(a), sizeof(ret->mac));
		ret->usable = true;
	}
	return MNL_CB_OK;
}

static struct nlmsghdr *neigh_request(struct nl *n, uint16_t type, uint16_t flags, unsigned ifindex,
				      const struct mvpn_addr *a, struct ndmsg **ret)
{
	struct nlmsghdr *h = nl_request(n, type, flags, sizeof(**ret), ret);

	(*ret)->ndm_ifindex = (int)ifindex;
	(*ret)->ndm_family = (uint8_t)nl_put_addr(h, NDA_DST, a);
	return h;
}

static int neigh_find(struct nl *n, unsigned ifindex, const struct mvpn_addr *a, struct neigh *ret)
{
	struct ndmsg *m;
	struct nlmsghdr *h = neigh_request(n, RTM_GETNEIGH, 0, ifindex, a, &m);

	memset(ret, 0, sizeof(*ret));
	return nl_talk(n, n->route, h, neigh_answer, ret);
}

int nl_neigh_get(struct nl *n, unsigned ifindex, const struct mvpn_addr *a, uint8_t ret_mac[6])
{
	struct neigh ng;
	int r = neigh_find(n, ifindex, a, &ng);

	if (r < 0)
		return r;
	if (!ng.usable)
		return -ENOENT;
	memcpy(ret_mac, ng.mac, sizeof(ng.mac));
	return 0;
}

int nl_neigh_use(struct nl *n, unsigned ifindex, const struct mvpn_addr *a)
{
	struct ndmsg *m;
	struct nlmsghdr *h = neigh_request(n, RTM_NEWNEIGH, NLM_F_CREATE, ifindex, a, &m);

	m->ndm_flags = NTF_USE;
	return nl_talk(n, n->route, h, NULL, NULL);
}

int nl_neigh_ask(struct nl *n, unsigned ifindex, const struct mvpn_addr *a)
{
	struct nlmsghdr *h;
	struct neigh ng;
	struct ndmsg *m;
	int r = neigh_find(n, ifindex, a, &ng);

	if (r < 0 && r != -ENOENT)
		return r;
	if (ng.state & (NUD_PERMANENT | NUD_NOARP | NUD_PROBE))
		return 0;
	if (r < 0 || !ng.usable)
		return nl_neigh_use(n, ifindex, a);
	h = neigh_request(n, RTM_NEWNEIGH, NLM_F_REPLACE, ifindex, a, &m);
	m->ndm_state = NUD_PROBE;
	m->ndm_flags = ng.flags & NTF_ROUTER; /* of IPv6: what is not said is taken back */
	return nl_talk(n, n->route, h, NULL, NULL);
}

bool nl_neigh_heard(struct nl *n, unsigned ifindex, const struct mvpn_addr *a)
{
	struct neigh ng;

	return neigh_find(n, ifindex, a, &ng) == 0 &&
	       ng.state & (NUD_PERMANENT | NUD_NOARP | NUD_REACHABLE);
}
