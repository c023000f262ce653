/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * keyd/dp/nexthop.h in a network namespace of its own: n0 10.88.0.1/24 fd88::1/64 ==veth== n1
 * (up, answers nothing).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../keyd/dp/nexthop.h"

static struct nl *nl;
static struct nl_link n0;
static const uint8_t own_mac[6] = {2, 0, 0, 0, 0, 1}, gw_mac[6] = {2, 0, 0, 0, 0, 9};

static void sh(const char *cmd)
{
	int r = system(cmd);

	if (r)
		print_error("'%s' gave %d\n", cmd, r);
	assert_int_equal(r, 0);
}

static void need_root(void)
{
	if (!nl) {
		print_message("[  SKIPPED ] nexthop: needs root for a network namespace\n");
		skip();
	}
}

static int resolve(const char *to, struct kt_endpoint *ret)
{
	struct mvpn_endpoint e;

	assert_int_equal(mvpn_endpoint_parse(&e, to, 7469), 0);
	memset(ret, 0x5a, sizeof(*ret));
	return nexthop_resolve(nl, &e, ret);
}

static void assert_addr(const struct mvpn_addr *a, const char *want)
{
	char s[MVPN_ADDRSTRLEN];

	assert_string_equal(mvpn_addr_str(a, s), want);
}

static int set_up(void **state)
{
	if (geteuid() || unshare(CLONE_NEWNET))
		return 0;
	sh("ip link set lo up; ip link add n0 type veth peer name n1");
	sh("ip link set n0 address 02:00:00:00:00:01 mtu 1480 addrgenmode none up; ip link set n1 "
	   "addrgenmode none up");
	sh("ip addr add 10.88.0.1/24 dev n0; ip addr add fd88::1/64 dev n0 nodad");
	return nl_new(&nl) < 0 || nl_link_get(nl, "n0", &n0) < 0 ? -1 : 0;
}

static int tear_down(void **state)
{
	nl_free(nl);
	return 0;
}

static void on_link_neighbour(void **state)
{
	struct kt_endpoint e;

	need_root();
	sh("ip neigh replace 10.88.0.2 lladdr 02:00:00:00:00:09 dev n0 nud permanent");
	assert_int_equal(resolve("10.88.0.2:7000", &e), 0);
	assert_true(e.has_hop);
	assert_int_equal(e.ifindex, n0.ifindex);
	assert_int_equal(e.mtu, 1480);
	assert_int_equal(e.to.port, 7000);
	assert_addr(&e.to.addr, "10.88.0.2");
	assert_addr(&e.src, "10.88.0.1");
	assert_memory_equal(e.smac, own_mac, 6);
	assert_memory_equal(e.dmac, gw_mac, 6);
}

static void behind_a_gateway(void **state)
{
	struct kt_endpoint e;

	need_root();
	sh("ip neigh replace 10.88.0.9 lladdr 02:00:00:00:00:09 dev n0 nud stale");
	sh("ip neigh replace fd88::9 lladdr 02:00:00:00:00:09 dev n0 nud reachable");
	sh("ip route replace 192.0.2.0/24 via 10.88.0.9 mtu 1300; ip route replace 2001:db8::/32 "
	   "via fd88::9");
	assert_int_equal(resolve("192.0.2.7", &e), 0);
	assert_true(e.has_hop);
	assert_memory_equal(e.dmac, gw_mac, 6);
	assert_int_equal(e.mtu, 1300);
	assert_int_equal(resolve("[2001:db8::5]:7469", &e), 0);
	assert_true(e.has_hop);
	assert_memory_equal(e.dmac, gw_mac, 6);
	assert_addr(&e.src, "fd88::1");
	assert_int_equal(e.mtu, 1480);
}

static void unknown_neighbour_is_asked_for(void **state)
{
	struct kt_endpoint e;

	need_root();
	assert_int_equal(resolve("10.88.0.77", &e), 0);
	assert_false(e.has_hop);
	assert_int_equal(e.mtu, 1480);
	assert_addr(&e.to.addr, "10.88.0.77");
	sh("ip neigh show 10.88.0.77 dev n0 nud all | grep -Eq 'INCOMPLETE|FAILED'");
}

static void no_frame_for_loopback_vlan_and_l3(void **state)
{
	struct kt_endpoint e;

	need_root();
	assert_int_equal(resolve("127.0.0.1", &e), 0);
	assert_false(e.has_hop);
	assert_true(e.mtu >= 1500);
	assert_int_equal(resolve("10.88.0.1", &e), 0); /* ourselves */
	assert_false(e.has_hop);
	if (!system("ip tuntap add n3 mode tun 2>/dev/null")) {
		sh("ip link set n3 up mtu 1420; ip route add 198.51.100.0/24 dev n3");
		assert_int_equal(resolve("198.51.100.1", &e), 0);
		assert_false(e.has_hop);
		assert_int_equal(e.mtu, 1420);
	}
	if (!system("ip link add link n0 name n0.5 type vlan id 5 2>/dev/null")) {
		sh("ip addr add 10.89.0.1/24 dev n0.5; ip link set n0.5 up;"
		   "ip neigh add 10.89.0.2 lladdr 02:00:00:00:00:09 dev n0.5 nud permanent");
		assert_int_equal(resolve("10.89.0.2", &e), 0);
		assert_false(e.has_hop);
	}
}

static void no_frame_beyond_what_af_xdp_holds(void **state)
{
	struct kt_endpoint e;

	need_root();
	sh("ip neigh replace 10.88.0.2 lladdr 02:00:00:00:00:09 dev n0 nud permanent; ip link set "
	   "n0 mtu 9000");
	assert_int_equal(resolve("10.88.0.2", &e), 0);
	assert_false(e.has_hop);
	assert_int_equal(e.mtu, 9000);
	sh("ip link set n0 mtu 1480");
}

static void no_frame_while_the_link_is_down(void **state)
{
	struct kt_endpoint e;

	need_root();
	sh("ip neigh replace 10.88.0.2 lladdr 02:00:00:00:00:09 dev n0 nud permanent; ip link set "
	   "n1 down");
	assert_int_equal(resolve("10.88.0.2", &e), 0);
	assert_false(e.has_hop);
	sh("ip link set n1 up");
}

static void no_route_is_an_error(void **state)
{
	struct kt_endpoint e;

	need_root();
	assert_int_equal(resolve("203.0.113.1", &e), -ENETUNREACH);
	assert_int_equal(e.mtu, 0x5a5a5a5a); /* untouched */
	sh("ip route add prohibit 203.0.113.0/24");
	assert_int_equal(resolve("203.0.113.1", &e), -EACCES);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(on_link_neighbour),
		cmocka_unit_test(behind_a_gateway),
		cmocka_unit_test(unknown_neighbour_is_asked_for),
		cmocka_unit_test(no_frame_for_loopback_vlan_and_l3),
		cmocka_unit_test(no_frame_beyond_what_af_xdp_holds),
		cmocka_unit_test(no_frame_while_the_link_is_down),
		cmocka_unit_test(no_route_is_an_error),
	};

	return cmocka_run_group_tests_name("nexthop", tests, set_up, tear_down);
}
