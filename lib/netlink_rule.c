/* SPDX-License-Identifier: BSD-2-Clause */
/* Policy routing: the rules, and the routes of all their tables. */
#include "netlink.h"

#include <errno.h>
#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <string.h>

#include "netlink_talk.h"

struct walk {
	nl_rule_fn *rule;
	nl_table_route_fn *route;
	void *arg;
};

static uint32_t u32(const struct nlattr *a)
{
	return mnl_attr_validate(a, MNL_TYPE_U32) >= 0 ? mnl_attr_get_u32(a) : 0;
}

static void name_get(const struct nlattr *a, char ret[static IFNAMSIZ])
{
	size_t len = mnl_attr_get_payload_len(a);

	if (len && len <= IFNAMSIZ && mnl_attr_validate(a, MNL_TYPE_NUL_STRING) >= 0)
		memcpy(ret, mnl_attr_get_payload(a), len);
}

static void prefix_put(struct mvpn_prefix *ret, const struct nlattr *a, int family, unsigned len)
{
	if (nl_attr_addr(a, family, &ret->addr))
		ret->len = (uint8_t)(family == AF_INET ? len + 96 : len);
}

static void rule_attr(const struct nlattr *a, const struct fib_rule_hdr *m, struct nl_rule *r)
{
	struct fib_rule_uid_range uids;

	switch (mnl_attr_get_type(a)) {
	case FRA_PRIORITY:
		r->priority = u32(a);
		break;
	case FRA_TABLE:
		r->table = u32(a);
		break;
	case FRA_FWMARK:
		r->mark = u32(a);
		break;
	case FRA_SRC:
		prefix_put(&r->src, a, m->family, m->src_len);
		break;
	case FRA_DST:
		prefix_put(&r->dst, a, m->family, m->dst_len);
		break;
	case FRA_IIFNAME:
		name_get(a, r->iif);
		break;
	case FRA_OIFNAME:
		name_get(a, r->oif);
		break;
	case FRA_L3MDEV:
		r->vrf = mnl_attr_validate(a, MNL_TYPE_U8) >= 0 && mnl_attr_get_u8(a);
		break;
	case FRA_UID_RANGE:
		if (mnl_attr_get_payload_len(a) != sizeof(uids))
			break;
		memcpy(&uids, mnl_attr_get_payload(a), sizeof(uids));
		r->by_uid = true;
		r->uid_first = uids.start;
		r->uid_last = uids.end;
		break;
	case FRA_IP_PROTO:
	case FRA_SPORT_RANGE:
	case FRA_DPORT_RANGE:
		r->by_service = true;
		break;
	}
}

static int rule_answer(const struct nlmsghdr *h, void *arg)
{
	const struct fib_rule_hdr *m = mnl_nlmsg_get_payload(h);
	const struct walk *w = arg;
	struct nl_rule r = {};
	const struct nlattr *a;

	if (h->nlmsg_type != RTM_NEWRULE || mnl_nlmsg_get_payload_len(h) < sizeof(*m))
		return MNL_CB_OK;
	r.v6 = m->family == AF_INET6;
	r.table = m->table;
	r.inverted = m->flags & FIB_RULE_INVERT;
	mnl_attr_for_each(a, h, sizeof(*m)) rule_attr(a, m, &r);
	if (m->action == FR_ACT_TO_TBL)
		w->rule(w->arg, &r);
	return MNL_CB_OK;
}

int nl_rules_each(struct nl *n, int family, nl_rule_fn *fn, void *arg)
{
	struct walk w = {.rule = fn, .arg = arg};
	struct fib_rule_hdr *m;
	struct nlmsghdr *h = nl_request(n, RTM_GETRULE, NLM_F_DUMP, sizeof(*m), &m);

	m->family = (uint8_t)family;
	return nl_talk(n, n->route, h, rule_answer, &w);
}

/* each of several next hops is told of by itself */
static void hops(const struct nlattr *a, const struct walk *w, struct nl_table_route *r)
{
	const struct rtnexthop *hop = mnl_attr_get_payload(a);
	int left = mnl_attr_get_payload_len(a);

	for (; RTNH_OK(hop, left); left -= RTNH_ALIGN(hop->rtnh_len), hop = RTNH_NEXT(hop)) {
		r->oif = (unsigned)hop->rtnh_ifindex;
		w->route(w->arg, r);
	}
}

static int table_answer(const struct nlmsghdr *h, void *arg)
{
	const struct rtmsg *m = mnl_nlmsg_get_payload(h);
	const struct nlattr *a, *several = NULL;
	const struct walk *w = arg;
	struct nl_table_route r = {};

	if (h->nlmsg_type != RTM_NEWROUTE || mnl_nlmsg_get_payload_len(h) < sizeof(*m) ||
	    m->rtm_type == RTN_BROADCAST || m->rtm_type == RTN_MULTICAST || m->rtm_type == RTN_ANYCAST)
		return MNL_CB_OK;
	r.table = m->rtm_table;
	if (m->rtm_family == AF_INET)
		r.dst = (struct mvpn_prefix){.addr.b = {[10] = 0xff, [11] = 0xff}, .len = 96};
	mnl_attr_for_each(a, h, sizeof(*m))
	{
		switch (mnl_attr_get_type(a)) {
		case RTA_TABLE:
			r.table = u32(a);
			break;
		case RTA_DST:
			prefix_put(&r.dst, a, m->rtm_family, m->rtm_dst_len);
			break;
		case RTA_OIF:
			r.oif = m->rtm_type == RTN_UNICAST ? u32(a) : 0;
			break;
		case RTA_MULTIPATH:
			several = a;
			break;
		}
	}
	if (several)
		hops(several, w, &r);
	else
		w->route(w->arg, &r);
	return MNL_CB_OK;
}

int nl_table_routes_each(struct nl *n, int family, nl_table_route_fn *fn, void *arg)
{
	struct walk w = {.route = fn, .arg = arg};
	struct rtmsg *m;
	struct nlmsghdr *h = nl_request(n, RTM_GETROUTE, NLM_F_DUMP, sizeof(*m), &m);

	m->rtm_family = (unsigned char)family;
	return nl_talk(n, n->route, h, table_answer, &w);
}
