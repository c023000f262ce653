/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Network devices: rtnetlink for what every device has, ethtool ioctls for driver and channels,
 * genl "netdev" for XDP.
 */
#include "netlink.h"

#include <errno.h>
#include <linux/ethtool.h>
#include <linux/genetlink.h>
#include <linux/if_arp.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <string.h>
#include <sys/ioctl.h>

#include "netlink_talk.h"

/*
 * <linux/netdev.h> came with kernel 6.3; these numbers are its UAPI
 * (Documentation/netlink/specs/netdev.yaml)
 */
#define NETDEV_FAMILY "netdev"
#define NETDEV_GENL_VERSION 1
enum { NETDEV_CMD_DEV_GET = 1 };
enum { NETDEV_A_DEV_IFINDEX = 1, NETDEV_A_DEV_XDP_FEATURES = 3 };

static int attr_string(char *ret, size_t size, const struct nlattr *a)
{
	if (mnl_attr_validate(a, MNL_TYPE_NUL_STRING) < 0 || mnl_attr_get_payload_len(a) > size)
		return -1;
	memcpy(ret, mnl_attr_get_str(a), mnl_attr_get_payload_len(a));
	return 0;
}

static void link_info(const struct nlattr *info, struct nl_link *l)
{
	const struct nlattr *data = NULL, *a;

	mnl_attr_for_each_nested(a, info)
	{
		if (mnl_attr_get_type(a) == IFLA_INFO_KIND)
			attr_string(l->kind, sizeof(l->kind), a);
		else if (mnl_attr_get_type(a) == IFLA_INFO_DATA)
			data = a;
	}
	if (!data || strcmp(l->kind, "vlan"))
		return;
	mnl_attr_for_each_nested(a, data) if (mnl_attr_get_type(a) == IFLA_VLAN_ID &&
					      mnl_attr_validate(a, MNL_TYPE_U16) >= 0) l->vlan_id =
		mnl_attr_get_u16(a);
}

static void link_attr(const struct nlattr *a, struct nl_link *l, bool ether)
{
	switch (mnl_attr_get_type(a)) {
	case IFLA_IFNAME:
		attr_string(l->name, sizeof(l->name), a);
		break;
	case IFLA_ADDRESS:
		if (ether && mnl_attr_get_payload_len(a) == sizeof(l->mac)) {
			memcpy(l->mac, mnl_attr_get_payload(a), sizeof(l->mac));
			l->has_mac = true;
		}
		break;
	case IFLA_MTU:
		if (mnl_attr_validate(a, MNL_TYPE_U32) >= 0)
			l->mtu = mnl_attr_get_u32(a);
		break;
	case IFLA_NUM_RX_QUEUES:
		if (mnl_attr_validate(a, MNL_TYPE_U32) >= 0)
			l->rx_queues = mnl_attr_get_u32(a);
		break;
	case IFLA_NUM_TX_QUEUES:
		if (mnl_attr_validate(a, MNL_TYPE_U32) >= 0)
			l->tx_queues = mnl_attr_get_u32(a);
		break;
	case IFLA_LINK:
		if (mnl_attr_validate(a, MNL_TYPE_U32) >= 0)
			l->parent = mnl_attr_get_u32(a);
		break;
	case IFLA_MASTER:
		if (mnl_attr_validate(a, MNL_TYPE_U32) >= 0)
			l->master = mnl_attr_get_u32(a);
		break;
	case IFLA_LINKINFO:
		link_info(a, l);
		break;
	}
}

static int link_answer(const struct nlmsghdr *h, void *arg)
{
	const struct ifinfomsg *m = mnl_nlmsg_get_payload(h);
	struct nl_link *l = arg;
	const struct nlattr *a;

	if (h->nlmsg_type != RTM_NEWLINK || mnl_nlmsg_get_payload_len(h) < sizeof(*m))
		return MNL_CB_OK;
	l->ifindex = (unsigned)m->ifi_index;
	l->flags = m->ifi_flags;
	mnl_attr_for_each(a, h, sizeof(*m)) link_attr(a, l, m->ifi_type == ARPHRD_ETHER);
	/* of other kinds IFLA_LINK is something else: a veth's peer, a tunnel's device */
	if (strcmp(l->kind, "vlan"))
		l->parent = 0;
	return MNL_CB_OK;
}

/*
 * IFLA_NUM_*_QUEUES is what was allocated, more than what is in use on many drivers: ethtool's
 * channels are the real ones. A driver without either has one.
 */
static void link_ethtool(const struct nl *n, struct nl_link *l)
{
	struct ethtool_drvinfo drv = {.cmd = ETHTOOL_GDRVINFO};
	struct ethtool_channels ch = {.cmd = ETHTOOL_GCHANNELS};
	struct ifreq ifr = {};

	memcpy(ifr.ifr_name, l->name, sizeof(ifr.ifr_name));
	ifr.ifr_data = (void *)&drv;
	if (!ioctl(n->inet, SIOCETHTOOL, &ifr)) {
		drv.driver[sizeof(drv.driver) - 1] = 0;
		memcpy(l->driver, drv.driver, sizeof(l->driver));
	}
	ifr.ifr_data = (void *)&ch;
	if (!ioctl(n->inet, SIOCETHTOOL, &ifr)) {
		if (ch.rx_count + ch.combined_count)
			l->rx_queues = ch.rx_count + ch.combined_count;
		if (ch.tx_count + ch.combined_count)
			l->tx_queues = ch.tx_count + ch.combined_count;
	}
	if (!l->rx_queues)
		l->rx_queues = 1;
	if (!l->tx_queues)
		l->tx_queues = 1;
}
_Static_assert(sizeof(((struct nl_link *)0)->driver) ==
		       sizeof(((struct ethtool_drvinfo *)0)->driver),
	       "same size");

static int link_get(struct nl *n, const char *name, unsigned ifindex, struct nl_link *ret)
{
	struct nl_link l = {};
	struct ifinfomsg *m;
	struct nlmsghdr *h = nl_request(n, RTM_GETLINK, 0, sizeof(*m), &m);
	int r;

	m->ifi_family = AF_UNSPEC;
	m->ifi_index = (int)ifindex;
	if (name)
		mnl_attr_put_strz(h, IFLA_IFNAME, name);
	r = nl_talk(n, n->route, h, link_answer, &l);
	if (r < 0)
		return r;
	if (!l.ifindex)
		return -ENODEV;
	link_ethtool(n, &l);
	*ret = l;
	return 0;
}

int nl_link_get(struct nl *n, const char *name, struct nl_link *ret)
{
	size_t len = strlen(name);

	return len > 0 && len < IFNAMSIZ ? link_get(n, name, 0, ret) : -ENODEV;
}

int nl_link_get_index(struct nl *n, unsigned ifindex, struct nl_link *ret)
{
	return ifindex ? link_get(n, NULL, ifindex, ret) : -ENODEV;
}

int nl_link_set(struct nl *n, unsigned ifindex, bool up, unsigned mtu, unsigned txqlen)
{
	struct ifinfomsg *m;
	struct nlmsghdr *h = nl_request(n, RTM_NEWLINK, 0, sizeof(*m), &m);

	m->ifi_family = AF_UNSPEC;
	m->ifi_index = (int)ifindex;
	m->ifi_flags = up ? IFF_UP : 0;
	m->ifi_change = IFF_UP;
	if (mtu)
		mnl_attr_put_u32(h, IFLA_MTU, mtu);
	if (txqlen)
		mnl_attr_put_u32(h, IFLA_TXQLEN, txqlen);
	return nl_talk(n, n->route, h, NULL, NULL);
}

int nl_link_no_addrgen(struct nl *n, unsigned ifindex)
{
	struct ifinfomsg *m;
	struct nlmsghdr *h = nl_request(n, RTM_SETLINK, 0, sizeof(*m), &m);
	struct nlattr *spec, *inet6;

	m->ifi_family = AF_UNSPEC;
	m->ifi_index = (int)ifindex;
	spec = mnl_attr_nest_start(h, IFLA_AF_SPEC);
	inet6 = mnl_attr_nest_start(h, AF_INET6);
	mnl_attr_put_u8(h, IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE);
	mnl_attr_nest_end(h, inet6);
	mnl_attr_nest_end(h, spec);
	return nl_talk(n, n->route, h, NULL, NULL);
}

/* ---- XDP features ---- */

static int family_answer(const struct nlmsghdr *h, void *arg)
{
	const struct nlattr *a;

	mnl_attr_for_each(
		a, h, sizeof(struct genlmsghdr)) if (mnl_attr_get_type(a) == CTRL_ATTR_FAMILY_ID &&
						     mnl_attr_validate(a, MNL_TYPE_U16) >= 0) *
		(uint16_t *)arg = mnl_attr_get_u16(a);
	return MNL_CB_OK;
}

static int netdev_family(struct nl *n)
{
	struct genlmsghdr *g;
	struct nlmsghdr *h;
	int r;

	if (n->netdev_family)
		return 0;
	h = nl_request(n, GENL_ID_CTRL, 0, sizeof(*g), &g);
	g->cmd = CTRL_CMD_GETFAMILY;
	g->version = 1;
	mnl_attr_put_strz(h, CTRL_ATTR_FAMILY_NAME, NETDEV_FAMILY);
	r = nl_talk(n, n->generic, h, family_answer, &n->netdev_family);
	if (r == -ENOENT || (r >= 0 && !n->netdev_family))
		return -EOPNOTSUPP;
	return r;
}

struct features {
	uint64_t bits;
	bool there;
};

static int features_answer(const struct nlmsghdr *h, void *arg)
{
	struct features *f = arg;
	const struct nlattr *a;

	mnl_attr_for_each(a, h,
			  sizeof(struct genlmsghdr)) if (mnl_attr_get_type(a) ==
								 NETDEV_A_DEV_XDP_FEATURES &&
							 mnl_attr_validate(a, MNL_TYPE_U64) >= 0)
	{
		f->bits = mnl_attr_get_u64(a);
		f->there = true;
	}
	return MNL_CB_OK;
}

int nl_xdp_features(struct nl *n, unsigned ifindex, uint64_t *ret)
{
	struct features f = {};
	struct genlmsghdr *g;
	struct nlmsghdr *h;
	int r = netdev_family(n);

	if (r < 0)
		return r;
	h = nl_request(n, n->netdev_family, 0, sizeof(*g), &g);
	g->cmd = NETDEV_CMD_DEV_GET;
	g->version = NETDEV_GENL_VERSION;
	mnl_attr_put_u32(h, NETDEV_A_DEV_IFINDEX, ifindex);
	r = nl_talk(n, n->generic, h, features_answer, &f);
	if (r < 0)
		return r;
	if (!f.there)
		return -EOPNOTSUPP;
	*ret = f.bits;
	return 0;
}
