/* SPDX-License-Identifier: BSD-2-Clause */
/* Multicast and broadcast, which the policy lets pass or not; and what links cannot do without. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#include "shimtest.h"

static void policy_says(struct shim *s, uint16_t flags)
{
	struct mvpn_config c;

	assert_int_equal(shim_get_config(s, &c), 0);
	c.flags = flags;
	assert_int_equal(shim_config(s, &c), 0);
}

static int dropping(void **state)
{
	st_policy(state);
	if (st_shim())
		policy_says(st_shim(), MVPN_CONFIG_MULTICAST_DROP);
	return 0;
}

static int passing(void **state)
{
	if (st_shim())
		policy_says(st_shim(), 0);
	return 0;
}

/* egress; the last hook drops it as well, but no prefix of anybody's leaks */
static void out(struct packet *p, int verdict, enum mvpn_counter c)
{
	struct shim *s = st_shim();

	st_expect(s, EGRESS(s), p, verdict, c);
	if (verdict != REDIRECT)
		st_expect(s, LEAK(s), p, verdict, verdict == NEXT ? NO_COUNTER : c);
}

static void out_to(const char *src, const char *dst, int verdict, enum mvpn_counter c)
{
	struct packet p;

	pkt_simple(&p, src, dst);
	out(&p, verdict, c);
}

static void test_groups(void **state)
{
	static const char *const v4[] = {"224.0.0.251", "239.1.2.3", "255.255.255.255"};
	static const char *const v6[] = {"ff02::1", "ff02::fb", "ff05::2", "ff0e::1234"};
	struct packet p;

	st_need_root();
	for (unsigned i = 0; i < 3; i++)
		out_to("10.9.0.1", v4[i], SHOT, MVPN_C_DROP_MULTICAST);
	for (unsigned i = 0; i < 4; i++)
		out_to("fd09::1", v6[i], SHOT, MVPN_C_DROP_MULTICAST);
	/* the broadcast address of a subnet is known by the frame's; of a protected one too */
	for (unsigned i = 0; i < 2; i++) {
		pkt_simple(&p, "10.9.0.1", i ? "10.1.255.255" : "10.99.0.255");
		out(&p, i ? REDIRECT : NEXT, i ? MVPN_C_TO_TAP : MVPN_C_PASS_UNPROTECTED);
		memset(p.b, 0xff, 6);
		out(&p, SHOT, MVPN_C_DROP_MULTICAST);
	}
	/* neither is one */
	out_to("10.9.0.1", "169.254.1.1", NEXT, MVPN_C_PASS_UNPROTECTED);
	out_to("fe80::1", "fe80::2", NEXT, MVPN_C_PASS_UNPROTECTED);
	out_to("10.9.0.1", "240.0.0.1", NEXT, MVPN_C_PASS_UNPROTECTED);
	out_to("10.9.0.1", "10.1.0.1", REDIRECT, MVPN_C_TO_TAP);
}

/* fd09::1 > ff02::16, with the router alert that the RFCs ask for; `fragment` instead of it */
static void mld(struct packet *p, uint8_t type, uint8_t hop_limit, bool fragment)
{
	pkt_eth(p, 0x86dd);
	pkt_ip6(p, "fe80::1", "ff02::16", fragment ? IPPROTO_FRAGMENT : IPPROTO_HOPOPTS);
	p->b[p->l3 + 7] = hop_limit;
	pkt_bytes(p,
		  fragment ? "\x3a\x00\x00\x01\x00\x00\x00\x01"
			   : "\x3a\x00\x05\x02\x00\x00\x01\x00",
		  8);
	pkt_bytes(p, &type, 1);
	pkt_bytes(p, NULL, 27);
	pkt_done(p);
}

static void test_what_links_need(void **state)
{
	static const uint8_t types[] = {130, 131, 132, 143};
	struct packet p;

	st_need_root();
	/* neighbour discovery goes to groups; the address in the frame is its own */
	for (uint8_t type = 133; type <= 137; type++) {
		pkt_icmp6(&p, type, 0, 255, 32);
		memcpy(p.b, "\x33\x33\xff\0\0\1", 6);
		out(&p, NEXT, MVPN_C_PASS_NEVER);
		inet_pton(AF_INET6, "ff02::1:ff00:1", p.b + p.l3 + 24);
		out(&p, NEXT, MVPN_C_PASS_NEVER);
	}
	pkt_icmp6(&p, 135, 0, 254, 32);
	inet_pton(AF_INET6, "ff02::1:ff00:1", p.b + p.l3 + 24);
	out(&p, SHOT, MVPN_C_DROP_MULTICAST);
	for (unsigned i = 0; i < sizeof(types); i++) {
		mld(&p, types[i], 1, false);
		out(&p, NEXT, MVPN_C_PASS_NEVER);
		mld(&p, types[i], 64, false);
		out(&p, SHOT, MVPN_C_DROP_MULTICAST);
		mld(&p, types[i], 1, true);
		out(&p, SHOT, MVPN_C_DROP_MULTICAST);
	}
	mld(&p, 128, 1, false); /* echo to everybody */
	out(&p, SHOT, MVPN_C_DROP_MULTICAST);
	pkt_dhcp4(&p, 68, 67, 1, 0x63825363);
	memset(p.b + p.l3 + 16, 0xff, 4);
	out(&p, NEXT, MVPN_C_PASS_NEVER);
	pkt_dhcp6(&p, 546, 547, 1);
	inet_pton(AF_INET6, "ff02::1:2", p.b + p.l3 + 24);
	out(&p, NEXT, MVPN_C_PASS_NEVER);
	pkt_eth(&p, 0x0806);
	memset(p.b, 0xff, 6);
	pkt_bytes(&p, NULL, 46);
	out(&p, NEXT, MVPN_C_PASS_NEVER);
}

/* a member sends none, so what claims to come from one does not; what others send is their own business */
static void test_guard(void **state)
{
	struct shim *s = st_shim();
	struct packet p;

	st_need_root();
	pkt_simple(&p, "10.1.0.1", "224.0.0.251");
	st_expect(s, INGRESS(s), &p, SHOT, MVPN_C_DROP_MULTICAST);
	pkt_simple(&p, "fd01::1", "ff02::fb");
	st_expect(s, INGRESS(s), &p, SHOT, MVPN_C_DROP_MULTICAST);
	pkt_simple(&p, "10.1.0.1", "10.9.0.255");
	memset(p.b, 0xff, 6);
	st_expect(s, INGRESS(s), &p, SHOT, MVPN_C_DROP_MULTICAST);
	pkt_simple(&p, "10.1.0.1", "10.9.0.1");
	st_expect(s, INGRESS(s), &p, SHOT, MVPN_C_INGRESS_CLEAR);
	pkt_simple(&p, "10.99.0.1", "224.0.0.251");
	st_expect(s, INGRESS(s), &p, NEXT, NO_COUNTER);
	pkt_simple(&p, "fe80::1", "ff02::fb");
	st_expect(s, INGRESS(s), &p, NEXT, NO_COUNTER);
	pkt_icmp6(&p, 135, 0, 255, 32);
	memcpy(p.b + p.l3 + 8, p.b + p.l3 + 24, 16);
	inet_pton(AF_INET6, "ff02::1:ff00:1", p.b + p.l3 + 24);
	st_expect(s, INGRESS(s), &p, NEXT, NO_COUNTER);
}

/* a shim whose keyd has gone goes on as the policy said */
static void test_without_keyd(void **state)
{
	struct mvpn_config c;
	struct shim *s;

	st_need_root();
	s = st_reopen();
	assert_int_equal(shim_get_config(s, &c), 0);
	assert_int_equal(c.tap_ifindex, 0);
	out_to("10.9.0.1", "224.0.0.251", SHOT, MVPN_C_DROP_MULTICAST);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_groups, dropping, passing),
		cmocka_unit_test_setup_teardown(test_what_links_need, dropping, passing),
		cmocka_unit_test_setup_teardown(test_guard, dropping, passing),
		cmocka_unit_test_setup_teardown(test_without_keyd, dropping, passing),
	};

	return cmocka_run_group_tests(tests, st_setup, st_teardown);
}
