/* SPDX-License-Identifier: BSD-2-Clause */
/* lib/netlink.h against the running kernel, in a network namespace of its own:
 *
 *   t0 10.77.0.1/24 fd77::1/64  ====veth====  t1 (up, no address; answers nothing)
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "netlink.h"

#define EVENT_WAIT_MS 10000

static struct nl *nl;
static struct nl_link t0;

static void sh(const char *cmd)
{
	int r = system(cmd);

	if (r)
		print_error("'%s' gave %d\n", cmd, r);
	assert_int_equal(r, 0);
}

static struct mvpn_addr addr(const char *s)
{
	struct mvpn_addr a;

	assert_int_equal(mvpn_addr_parse(&a, s), 0);
	return a;
}

static void need_root(void)
{
	if (!nl) {
		print_message("[  SKIPPED ] netlink: needs root for a network namespace\n");
		skip();
	}
}

static int set_up(void **state)
{
	if (geteuid() || unshare(CLONE_NEWNET))
		return 0;
	sh("ip link set lo up");
	sh("ip link add t0 numrxqueues 4 numtxqueues 4 type veth peer name t1 numrxqueues 2 "
	   "numtxqueues 4");
	sh("ip link set t0 address 02:00:00:00:00:01 mtu 1400 addrgenmode none");
	sh("ip addr add 10.77.0.1/24 dev t0 && ip addr add 10.77.0.7/24 dev t0");
	sh("ip addr add fd77::1/64 dev t0 nodad");
	sh("ip link set t0 up && ip link set t1 up");
	if (nl_new(&nl) < 0 || nl_link_get(nl, "t0", &t0) < 0)
		return -1;
	return 0;
}

static int tear_down(void **state)
{
	nl_free(nl);
	return 0;
}

static void link_says_what_it_is(void **state)
{
	static const uint8_t mac[6] = {2, 0, 0, 0, 0, 1};
	struct nl_link l;

	need_root();
	assert_int_equal(nl_link_get(nl, "t0", &l), 0);
	assert_string_equal(l.name, "t0");
	assert_string_equal(l.kind, "veth");
	assert_string_equal(l.driver, "veth");
	assert_true(l.has_mac);
	assert_memory_equal(l.mac, mac, 6);
	assert_int_equal(l.mtu, 1400);
	assert_true(l.flags & IFF_UP);
	assert_int_equal(l.parent, 0);
	assert_int_equal(nl_link_get_index(nl, t0.ifindex, &l), 0);
	assert_string_equal(l.name, "t0");
	assert_int_equal(nl_link_get(nl, "lo", &l), 0);
	assert_false(l.has_mac);
	assert_int_equal(l.rx_queues, 1);
}

static void queues_are_those_in_use(void **state)
{
	struct nl_link l;

	need_root();
	sh("ip link add q0 numrxqueues 8 numtxqueues 8 type veth peer name q1 numrxqueues 1 "
	   "numtxqueues 1");
	if (!system("ethtool -L q0 rx 2 tx 3 2>/dev/null")) {
		assert_int_equal(nl_link_get(nl, "q0", &l), 0);
		assert_int_equal(l.rx_queues, 2);
		assert_int_equal(l.tx_queues, 3);
	}
	assert_int_equal(nl_link_get(nl, "q1", &l), 0);
	assert_int_equal(l.rx_queues, 1);
	sh("ip link del q0");
}

static void missing_link_is_enodev(void **state)
{
	struct nl_link l = {.ifindex = 4711};

	need_root();
	assert_int_equal(nl_link_get(nl, "nosuch0", &l), -ENODEV);
	assert_int_equal(nl_link_get(nl, "", &l), -ENODEV);
	assert_int_equal(nl_link_get(nl, "a-name-longer-than-the-kernel-has", &l), -ENODEV);
	assert_int_equal(nl_link_get_index(nl, 99999, &l), -ENODEV);
	assert_int_equal(nl_link_get_index(nl, 0, &l), -ENODEV);
	assert_int_equal(l.ifindex, 4711);
}

static void vlan_names_its_parent(void **state)
{
	struct nl_link l;

	need_root();
	if (system("ip link add link t0 name t0.42 type vlan id 42 2>/dev/null")) {
		print_message("[  SKIPPED ] vlan: the kernel has no 8021q\n");
		skip();
	}
	assert_int_equal(nl_link_get(nl, "t0.42", &l), 0);
	assert_string_equal(l.kind, "vlan");
	assert_int_equal(l.vlan_id, 42);
	assert_int_equal(l.parent, t0.ifindex);
	sh("ip link del t0.42");
}

static void link_set_changes(void **state)
{
	struct nl_link l;

	need_root();
	sh("ip link add s0 type veth peer name s1");
	assert_int_equal(nl_link_get(nl, "s0", &l), 0);
	assert_false(l.flags & IFF_UP);
	assert_int_equal(nl_link_no_addrgen(nl, l.ifindex), 0);
	assert_int_equal(nl_link_set(nl, l.ifindex, true, 1300, 77), 0);
	assert_int_equal(nl_link_get(nl, "s0", &l), 0);
	assert_int_equal(l.mtu, 1300);
	assert_true(l.flags & IFF_UP);
	sh("ip -d link show s0 | grep -q 'addrgenmode none'");
	sh("ip link show s0 | grep -q 'qlen 77'");
	assert_int_equal(nl_link_set(nl, l.ifindex, false, 0, 0), 0);
	assert_int_equal(nl_link_get(nl, "s0", &l), 0);
	assert_int_equal(l.mtu, 1300);
	assert_false(l.flags & IFF_UP);
	sh("ip link del s0");
	assert_int_equal(nl_link_set(nl, l.ifindex, true, 0, 0), -ENODEV);
}

static void xdp_features_of_veth(void **state)
{
	uint64_t f = 0;
	int r;

	need_root();
	r = nl_xdp_features(nl, t0.ifindex, &f);
	if (r == -EOPNOTSUPP) {
		print_message("[  SKIPPED ] xdp features: kernel before 6.3\n");
		skip();
	}
	assert_int_equal(r, 0);
	assert_true(f & 1);  /* NETDEV_XDP_ACT_BASIC */
	assert_false(f & 8); /* NETDEV_XDP_ACT_XSK_ZEROCOPY: veth has none */
	assert_int_equal(nl_xdp_features(nl, 99999, &f), -ENODEV);
}

/* ---- addresses ---- */

static char listed[1024];

static int list_one(void *arg, unsigned ifindex, const struct mvpn_addr *a)
{
	char s[MVPN_ADDRSTRLEN];
	size_t n = strlen(listed);

	snprintf(listed + n, sizeof(listed) - n, "%u=%s ", ifindex == t0.ifindex,
		 mvpn_addr_str(a, s));
	return arg ? *(int *)arg : 0;
}

static void addresses_are_ownable_and_settled(void **state)
{
	int stop = -ECANCELED;

	need_root();
	/* link-local, deprecated and temporary ones are not offered */
	sh("ip addr add fe80::77/64 dev t0 nodad; ip addr add fd77::dead/64 dev t0 nodad "
	   "preferred_lft 0");
	*listed = 0;
	assert_int_equal(nl_addr_list(nl, list_one, NULL), 0);
	assert_non_null(strstr(listed, "1=10.77.0.1 "));
	assert_non_null(strstr(listed, "1=10.77.0.7 ")); /* secondary, yet ours */
	assert_non_null(strstr(listed, "1=fd77::1 "));
	assert_null(strstr(listed, "fd77::dead"));
	assert_null(strstr(listed, "fe80"));
	assert_null(strstr(listed, "127.0.0.1"));
	*listed = 0;
	assert_int_equal(nl_addr_list(nl, list_one, &stop), -ECANCELED);
	sh("ip addr del fe80::77/64 dev t0; ip addr del fd77::dead/64 dev t0");
}

static void point_to_point_lists_our_own_end(void **state)
{
	need_root();
	sh("ip addr add 10.78.0.1 peer 10.78.0.2 dev t1");
	*listed = 0;
	assert_int_equal(nl_addr_list(nl, list_one, NULL), 0);
	assert_non_null(strstr(listed, "0=10.78.0.1 "));
	assert_null(strstr(listed, "10.78.0.2"));
	sh("ip addr del 10.78.0.1 peer 10.78.0.2 dev t1");
}

static void one_more_address(void **state)
{
	struct mvpn_addr v4, v6;

	need_root();
	mvpn_addr_parse(&v4, "192.0.0.8");
	mvpn_addr_parse(&v6, "fd77::8");
	assert_int_equal(nl_addr_add(nl, t0.ifindex, &v4), 0);
	assert_int_equal(nl_addr_add(nl, t0.ifindex, &v4), -EEXIST);
	assert_int_equal(nl_addr_add(nl, t0.ifindex, &v6), 0);
	assert_int_equal(nl_addr_add(nl, 9999, &v4), -ENODEV);
	sh("ip -4 addr show dev t0 scope host | grep -q 'inet 192.0.0.8/32'; ip addr del "
	   "192.0.0.8/32 dev t0; "
	   "ip addr del fd77::8/128 dev t0");
}

/* ---- routes ---- */

static void route_on_link_and_by_gateway(void **state)
{
	struct mvpn_addr a, want;
	struct nl_route r;

	need_root();
	sh("ip route add 10.99.0.0/16 via 10.77.0.2 mtu 1280");
	sh("ip route add fd99::/16 via fd77::2");
	a = addr("10.77.0.9");
	assert_int_equal(nl_route_get(nl, &a, &r), 0);
	assert_int_equal(r.oif, t0.ifindex);
	assert_true(mvpn_addr_is_zero(&r.gateway));
	want = addr("10.77.0.1");
	assert_true(mvpn_addr_eq(&r.src, &want));
	assert_int_equal(r.mtu, 0);
	assert_false(r.local);

	a = addr("10.99.1.1");
	assert_int_equal(nl_route_get(nl, &a, &r), 0);
	want = addr("10.77.0.2");
	assert_true(mvpn_addr_eq(&r.gateway, &want));
	assert_int_equal(r.mtu, 1280);

	a = addr("fd99::1");
	assert_int_equal(nl_route_get(nl, &a, &r), 0);
	want = addr("fd77::2");
	assert_true(mvpn_addr_eq(&r.gateway, &want));
	want = addr("fd77::1");
	assert_true(mvpn_addr_eq(&r.src, &want));

	a = addr("10.77.0.1");
	assert_int_equal(nl_route_get(nl, &a, &r), 0);
	assert_true(r.local);
	sh("ip route del 10.99.0.0/16; ip route del fd99::/16");
}

static void ipv4_behind_an_ipv6_router(void **state)
{
	struct mvpn_addr a = addr("10.98.1.1"), want = addr("fd77::2");
	struct nl_route r;

	need_root();
	sh("ip route add 10.98.0.0/16 via inet6 fd77::2 dev t0");
	assert_int_equal(nl_route_get(nl, &a, &r), 0);
	assert_true(mvpn_addr_eq(&r.gateway, &want));
	sh("ip route del 10.98.0.0/16");
}

static void refusing_routes_are_errors(void **state)
{
	struct mvpn_addr a4 = addr("10.97.0.1"), a6 = addr("fd97::1");
	struct nl_route r;

	need_root();
	assert_int_equal(nl_route_get(nl, &a4, &r), -ENETUNREACH);
	assert_int_equal(nl_route_get(nl, &a6, &r), -ENETUNREACH);
	sh("ip route add unreachable 10.97.0.0/16; ip route add prohibit fd97::/16");
	assert_int_equal(nl_route_get(nl, &a4, &r), -EHOSTUNREACH);
	assert_int_equal(nl_route_get(nl, &a6, &r), -EACCES);
	sh("ip route del 10.97.0.0/16; ip route del fd97::/16");
}

/* ---- policy routing ---- */

static struct {
	struct nl_rule rule;
	struct nl_table_route route;
	unsigned nrules, nroutes;
} ruled;

static void rule_seen(void *arg, const struct nl_rule *r)
{
	if (r->table == 1000) {
		ruled.rule = *r;
		ruled.nrules++;
	}
}

static void route_seen(void *arg, const struct nl_table_route *r)
{
	if (r->table == 1000) {
		ruled.route = *r;
		ruled.nroutes++;
	}
}

static void rules_and_the_routes_of_their_tables(void **state)
{
	struct mvpn_prefix p;

	need_root();
	sh("ip rule add pref 50 not from 10.9.0.0/16 fwmark 0x9 uidrange 7-8 iif t0 table 1000");
	sh("ip route add 10.96.0.0/16 table 1000 nexthop via 10.77.0.2 nexthop via 10.77.0.3");
	assert_int_equal(nl_rules_each(nl, AF_INET, rule_seen, NULL), 0);
	assert_int_equal(ruled.nrules, 1);
	assert_int_equal(mvpn_prefix_parse(&p, "10.9.0.0/16"), 0);
	assert_memory_equal(&ruled.rule.src, &p, sizeof(p));
	assert_true(ruled.rule.inverted && ruled.rule.by_uid && !ruled.rule.by_service && !ruled.rule.vrf && !ruled.rule.v6);
	assert_int_equal(ruled.rule.priority, 50);
	assert_int_equal(ruled.rule.mark, 9);
	assert_int_equal(ruled.rule.uid_first * 10 + ruled.rule.uid_last, 78);
	assert_string_equal(ruled.rule.iif, "t0");
	assert_string_equal(ruled.rule.oif, "");
	assert_int_equal(nl_table_routes_each(nl, AF_INET, route_seen, NULL), 0);
	assert_int_equal(ruled.nroutes, 2);
	assert_int_equal(ruled.route.oif, t0.ifindex);
	assert_int_equal(mvpn_prefix_parse(&p, "10.96.0.0/16"), 0);
	assert_memory_equal(&ruled.route.dst, &p, sizeof(p));
	/* it refuses; and a default route is for all of its family */
	sh("ip -6 rule add pref 50 dport 53 table 1000; ip -6 route add blackhole default table 1000");
	assert_int_equal(nl_rules_each(nl, AF_INET6, rule_seen, NULL), 0);
	assert_int_equal(ruled.nrules, 2);
	assert_true(ruled.rule.by_service && ruled.rule.v6 && !ruled.rule.src.len);
	assert_int_equal(nl_table_routes_each(nl, AF_INET6, route_seen, NULL), 0);
	assert_int_equal(ruled.nroutes, 3);
	assert_true(!ruled.route.oif && !ruled.route.dst.len);
	sh("ip rule del pref 50; ip -6 rule del pref 50; ip route flush table 1000; ip -6 route flush table 1000");
}

/* ---- neighbours ---- */

static void neighbours_usable_or_not(void **state)
{
	static const uint8_t want[6] = {2, 0, 0, 0, 0, 9};
	struct mvpn_addr a4 = addr("10.77.0.9"), a6 = addr("fd77::9"), no = addr("10.77.0.10");
	uint8_t mac[6] = {};

	need_root();
	assert_int_equal(nl_neigh_get(nl, t0.ifindex, &no, mac), -ENOENT);
	sh("ip neigh replace 10.77.0.9 lladdr 02:00:00:00:00:09 dev t0 nud permanent");
	sh("ip neigh replace fd77::9 lladdr 02:00:00:00:00:09 dev t0 nud stale");
	assert_int_equal(nl_neigh_get(nl, t0.ifindex, &a4, mac), 0);
	assert_memory_equal(mac, want, 6);
	memset(mac, 0, 6);
	assert_int_equal(nl_neigh_get(nl, t0.ifindex, &a6, mac), 0);
	assert_memory_equal(mac, want, 6);
	sh("ip neigh replace fd77::9 lladdr 02:00:00:00:00:09 dev t0 nud failed");
	assert_int_equal(nl_neigh_get(nl, t0.ifindex, &a6, mac), -ENOENT);
	/* using an unknown one makes the kernel look for it: incomplete, hence not usable */
	assert_int_equal(nl_neigh_use(nl, t0.ifindex, &no), 0);
	sh("ip neigh show 10.77.0.10 dev t0 nud all | grep -Eq 'INCOMPLETE|FAILED'");
	assert_int_equal(nl_neigh_get(nl, t0.ifindex, &no, mac), -ENOENT);
}

/* r0 10.78.0.1 ====veth==== r1 10.78.0.2 in a namespace of its own, which answers while it is up */
static void neighbours_that_answer(void **state)
{
	struct mvpn_addr there = addr("10.78.0.2"), nobody = addr("10.78.0.3"), entered = addr("10.78.0.4");
	struct nl_link r0;

	need_root();
	sh("ip netns add nl-$PPID && ip link add r0 type veth peer name r1 netns nl-$PPID");
	sh("ip addr add 10.78.0.1/24 dev r0 && ip link set r0 up");
	sh("ip -n nl-$PPID addr add 10.78.0.2/24 dev r1 && ip -n nl-$PPID link set r1 up");
	assert_int_equal(nl_link_get(nl, "r0", &r0), 0);
	sh("ip neigh replace 10.78.0.4 lladdr 02:00:00:00:00:04 dev r0 nud permanent");
	for (int i = 0; i < 2; i++) { /* unknown, then known */
		assert_int_equal(nl_neigh_ask(nl, r0.ifindex, &there), 0);
		for (int ms = 0; ms < EVENT_WAIT_MS && !nl_neigh_heard(nl, r0.ifindex, &there); ms++)
			usleep(1000);
		assert_true(nl_neigh_heard(nl, r0.ifindex, &there));
	}
	sh("ip -n nl-$PPID addr del 10.78.0.2/24 dev r1");
	assert_int_equal(nl_neigh_ask(nl, r0.ifindex, &there), 0);
	assert_int_equal(nl_neigh_ask(nl, r0.ifindex, &there), 0);
	assert_false(nl_neigh_heard(nl, r0.ifindex, &there));
	assert_int_equal(nl_neigh_ask(nl, r0.ifindex, &nobody), 0);
	assert_false(nl_neigh_heard(nl, r0.ifindex, &nobody));
	assert_int_equal(nl_neigh_ask(nl, r0.ifindex, &entered), 0);
	assert_true(nl_neigh_heard(nl, r0.ifindex, &entered));
	assert_true(nl_neigh_ask(nl, 9999, &there) < 0);
	sh("ip link del r0; ip netns del nl-$PPID");
}

static void routes_into_a_prefix(void **state)
{
	struct mvpn_prefix p4, p6, host;
	unsigned oif[4] = {};

	need_root();
	mvpn_prefix_parse(&p4, "10.96.0.0/16");
	mvpn_prefix_parse(&p6, "fd96::/32");
	mvpn_prefix_parse(&host, "10.96.1.1");
	assert_int_equal(nl_routes_into(nl, &p4, oif, 4), 0);
	sh("ip route add 10.96.1.0/24 dev t0 && ip route add 10.96.2.0/24 dev t0 && ip route add 10.96.3.0/24 dev t1");
	sh("ip route add unreachable 10.96.4.0/24 && ip route add 10.0.0.0/8 dev lo && ip route add fd96::/48 dev t0");
	assert_int_equal(nl_routes_into(nl, &p4, oif, 4), 2);
	assert_true((oif[0] == t0.ifindex) != (oif[1] == t0.ifindex));
	assert_int_equal(nl_routes_into(nl, &p4, oif, 1), 1);
	assert_int_equal(nl_routes_into(nl, &host, oif, 4), 0);
	assert_int_equal(nl_routes_into(nl, &p6, oif, 4), 1);
	assert_int_equal(oif[0], t0.ifindex);
	sh("for i in 1 2 3 4; do ip route del 10.96.$i.0/24; done; ip route del 10.0.0.0/8; ip route del fd96::/48");
}

/* ---- events ---- */

struct seen {
	unsigned count[NL_OVERRUN + 1];
	unsigned last[NL_OVERRUN + 1];
	struct nl_link link; /* asked for inside the callback */
};

static void on_event(void *arg, enum nl_change what, unsigned ifindex)
{
	struct seen *s = arg;

	s->count[what]++;
	s->last[what] = ifindex;
	if (what == NL_LINK)
		nl_link_get_index(nl, ifindex, &s->link);
}

static void wait_event(struct seen *s, enum nl_change what)
{
	struct pollfd p = {.fd = nl_events_open(nl), .events = POLLIN};

	while (!s->count[what]) {
		assert_int_equal(poll(&p, 1, EVENT_WAIT_MS), 1);
		assert_int_equal(nl_events(nl, on_event, s), 0);
	}
}

static void changes_are_told(void **state)
{
	struct seen s = {};
	unsigned e0;

	need_root();
	assert_true(nl_events_open(nl) >= 0);
	assert_int_equal(nl_events_open(nl), nl_events_open(nl));
	sh("ip link add e0 type veth peer name e1");
	wait_event(&s, NL_LINK);
	assert_non_null(strchr("e", s.link.name[0]));
	assert_int_equal(nl_link_get(nl, "e0", &s.link), 0);
	e0 = s.link.ifindex;
	sh("ip addr add 10.79.0.1/24 dev e0 && ip link set e0 up && ip link set e1 up");
	wait_event(&s, NL_ADDR);
	assert_int_equal(s.last[NL_ADDR], e0);
	wait_event(&s, NL_ROUTE);
	sh("ip neigh add 10.79.0.2 lladdr 02:00:00:00:00:02 dev e0");
	memset(&s, 0, sizeof(s));
	wait_event(&s, NL_NEIGH);
	assert_int_equal(s.last[NL_NEIGH], e0);
	sh("ip link del e0");
	wait_event(&s, NL_LINK_GONE);
	assert_int_equal(s.count[NL_OVERRUN], 0);
}

static void overrun_is_told(void **state)
{
	struct nl *small;
	struct seen s = {};
	int fd, bytes = 4096;

	need_root();
	assert_int_equal(nl_new(&small), 0);
	fd = nl_events_open(small);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes)), 0);
	sh("for i in $(seq 50); do echo link set t0 mtu $((1300 + i)); done | ip -batch -");
	for (int i = 0; i < 3; i++)
		assert_int_equal(nl_events(small, on_event, &s), 0);
	assert_true(s.count[NL_OVERRUN] > 0);
	sh("ip link set t0 mtu 1400");
	nl_free(small);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(link_says_what_it_is),
		cmocka_unit_test(queues_are_those_in_use),
		cmocka_unit_test(missing_link_is_enodev),
		cmocka_unit_test(vlan_names_its_parent),
		cmocka_unit_test(link_set_changes),
		cmocka_unit_test(xdp_features_of_veth),
		cmocka_unit_test(addresses_are_ownable_and_settled),
		cmocka_unit_test(point_to_point_lists_our_own_end),
		cmocka_unit_test(one_more_address),
		cmocka_unit_test(route_on_link_and_by_gateway),
		cmocka_unit_test(ipv4_behind_an_ipv6_router),
		cmocka_unit_test(refusing_routes_are_errors),
		cmocka_unit_test(rules_and_the_routes_of_their_tables),
		cmocka_unit_test(neighbours_usable_or_not),
		cmocka_unit_test(neighbours_that_answer),
		cmocka_unit_test(routes_into_a_prefix),
		cmocka_unit_test(changes_are_told),
		cmocka_unit_test(overrun_is_told),
	};

	return cmocka_run_group_tests_name("netlink", tests, set_up, tear_down);
}
