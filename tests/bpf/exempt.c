/* SPDX-License-Identifier: BSD-2-Clause */
/* What passes in clear to a protected destination, and what only looks like it. */
#include <netinet/in.h>
#include <string.h>

#include "shimtest.h"

static void test_nd(void **state)
{
	struct shim *s = st_shim();
	struct packet p;

	st_need_root();
	for (uint8_t type = 133; type <= 137; type++) {
		pkt_icmp6(&p, type, 0, 255, 32);
		st_expect(s, EGRESS(s), &p, NEXT, MVPN_C_PASS_NEVER);
		st_expect(s, LEAK(s), &p, NEXT, NO_COUNTER);
	}
	/* things that only look like it */
	pkt_icmp6(&p, 135, 0, 254, 32);
	st_expect(s, EGRESS(s), &p, REDIRECT, MVPN_C_TO_TAP);
	pkt_icmp6(&p, 135, 1, 255, 32);
	st_expect(s, EGRESS(s), &p, REDIRECT, MVPN_C_TO_TAP);
	pkt_icmp6(&p, 128, 0, 255, 32);
	st_expect(s, EGRESS(s), &p, REDIRECT, MVPN_C_TO_TAP);
	pkt_icmp6(&p, 132, 0, 255, 32);
	st_expect(s, EGRESS(s), &p, REDIRECT, MVPN_C_TO_TAP);
	pkt_icmp6(&p, 138, 0, 255, 32);
	st_expect(s, EGRESS(s), &p, REDIRECT, MVPN_C_TO_TAP);
	pkt_icmp6(&p, 135, 0, 255, 800); /* with a page of data */
	st_expect(s, EGRESS(s), &p, REDIRECT, MVPN_C_TO_TAP);
	pkt_icmp6(&p, 135, 0, 255, 800); /* that it does not admit to */
	p.b[p.l3 + 4] = 0;
	p.b[p.l3 + 5] = 32;
	st_expect(s, EGRESS(s), &p, REDIRECT, MVPN_C_TO_TAP);
	/* in IPv4 */
	pkt_eth(&p, 0x0800);
	pkt_ip4(&p, "10.9.0.1", "10.1.0.1", IPPROTO_ICMPV6);
	p.b[p.l3 + 8] = 255;
	pkt_bytes(&p, "\x87", 2);
	pkt_bytes(&p, NULL, 30);
	pkt_done(&p);
	st_expect(s, EGRESS(s), &p, REDIRECT, MVPN_C_TO_TAP);
}

static void test_dhcp(void **state)
{
	const uint32_t cookie = 0x63825363;
	struct shim *s = st_shim();
	struct packet p;

	st_need_root();
	pkt_dhcp4(&p, 68, 67, 1, cookie);
	st_expect(s, EGRESS(s), &p, NEXT, MVPN_C_PASS_NEVER);
	st_expect(s, LEAK(s), &p, NEXT, NO_COUNTER);
	pkt_dhcp4(&p, 67, 68, 2, cookie);
	st_expect(s, EGRESS(s), &p, NEXT, MVPN_C_PASS_NEVER);
	pkt_dhcp4(&p, 67, 67, 1, cookie);
	st_expect(s, EGRESS(s), &p, NEXT, MVPN_C_PASS_NEVER);
	pkt_dhcp6(&p, 546, 547, 5);
	st_expect(s, EGRESS(s), &p, NEXT, MVPN_C_PASS_NEVER);
	pkt_dhcp6(&p, 547, 546, 7);
	st_expect(s, EGRESS(s), &p, NEXT, MVPN_C_PASS_NEVER);

	pkt_dhcp4(&p, 68, 67, 1, 0);
	st_expect(s, EGRESS(s), &p, REDIRECT, MVPN_C_TO_TAP);
	pkt_dhcp4(&p, 68, 67, 9, cookie);
	st_expect(s, EGRESS(s), &p, REDIRECT, MVPN_C_TO_TAP);
	pkt_dhcp4(&p, 1068, 67, 1, cookie);
	st_expect(s, EGRESS(s), &p, REDIRECT, MVPN_C_TO_TAP);
	pkt_dhcp4(&p, 68, 53, 1, cookie);
	st_expect(s, EGRESS(s), &p, REDIRECT, MVPN_C_TO_TAP);
	pkt_dhcp4(&p, 68, 68, 1, cookie);
	st_expect(s, EGRESS(s), &p, REDIRECT, MVPN_C_TO_TAP);
	pkt_dhcp4(&p, 68, 67, 1, cookie);
	p.b[p.l3 + 9] = IPPROTO_TCP;
	st_expect(s, EGRESS(s), &p, REDIRECT, MVPN_C_TO_TAP);
	pkt_dhcp4(&p, 68, 67, 1, cookie);
	p.b[p.l3 + 6] = 0x20; /* more fragments */
	st_expect(s, EGRESS(s), &p, REDIRECT, MVPN_C_TO_TAP);
	pkt_dhcp6(&p, 546, 547, 0);
	st_expect(s, EGRESS(s), &p, REDIRECT, MVPN_C_TO_TAP);
	pkt_dhcp6(&p, 546, 547, 14);
	st_expect(s, EGRESS(s), &p, REDIRECT, MVPN_C_TO_TAP);
	pkt_dhcp6(&p, 546, 53, 1);
	st_expect(s, EGRESS(s), &p, REDIRECT, MVPN_C_TO_TAP);
}

/* the channel's end points, for one test */
static int server(void **state)
{
	struct mvpn_endpoint e[2];

	if (!st_shim())
		return 0;
	st_policy(state);
	return mvpn_endpoint_parse(&e[0], "10.1.0.7:7468", 0) ||
	       mvpn_endpoint_parse(&e[1], "[fd01::7]:7468", 0) || shim_exempt_set(st_shim(), e, 2);
}

static void test_channel(void **state)
{
	struct shim *s = st_shim();
	struct packet p;

	st_need_root();
	pkt_tcp4(&p, "10.9.0.1", 40000, "10.1.0.7", 7468, PKT_SYN);
	st_expect(s, EGRESS(s), &p, NEXT, MVPN_C_PASS_SERVER);
	st_expect(s, LEAK(s), &p, NEXT, NO_COUNTER);
	pkt_tcp4(&p, "10.1.0.7", 7468, "10.1.0.8", 40000,
		 PKT_SYN | PKT_ACK); /* we are the server */
	st_expect(s, EGRESS(s), &p, NEXT, MVPN_C_PASS_SERVER);
	pkt_eth(&p, 0x86dd);
	pkt_ip6(&p, "fd09::1", "fd01::7", IPPROTO_TCP);
	pkt_tcp(&p, 40000, 7468, PKT_ACK);
	pkt_done(&p);
	st_expect(s, EGRESS(s), &p, NEXT, MVPN_C_PASS_SERVER);
	/* the hop-by-hop header that the kernel adds to super-packets over 64 KB */
	pkt_eth(&p, 0x86dd);
	pkt_ip6(&p, "fd09::1", "fd01::7", 0);
	pkt_bytes(&p, "\x06\x00\xc2\x04\x00\x01\x00\x00", 8);
	pkt_tcp(&p, 40000, 7468, PKT_ACK);
	pkt_done(&p);
	st_expect(s, EGRESS(s), &p, NEXT, MVPN_C_PASS_SERVER);
}

static void pkt_echo(struct packet *p, const char *from, unsigned sport, const char *to,
		     unsigned dport, uint8_t type, unsigned len)
{
	pkt_eth(p, 0x0800);
	pkt_ip4(p, from, to, IPPROTO_UDP);
	pkt_udp(p, sport, dport, len);
	p->b[p->l3 + 20 + 8] = type;
	pkt_done(p);
}

/* the server's answers to echoes, and a device's questions; nothing else on that port */
static void test_echo(void **state)
{
	struct shim *s = st_shim();
	struct packet p;

	st_need_root();
	pkt_echo(&p, "10.9.0.1", 7469, "10.1.0.7", 7468, 0x51, 64);
	st_expect(s, EGRESS(s), &p, NEXT, MVPN_C_PASS_SERVER);
	st_expect(s, LEAK(s), &p, NEXT, NO_COUNTER);
	pkt_echo(&p, "10.1.0.7", 7468, "10.1.0.8", 20001, 0x52, 64); /* we are the server */
	st_expect(s, EGRESS(s), &p, NEXT, MVPN_C_PASS_SERVER);

	pkt_echo(&p, "10.9.0.1", 7469, "10.1.0.7", 7468, 0x52, 64);
	st_expect(s, EGRESS(s), &p, REDIRECT, MVPN_C_TO_TAP);
	pkt_echo(&p, "10.9.0.1", 7469, "10.1.0.7", 7468, 0x41, 64);
	st_expect(s, EGRESS(s), &p, REDIRECT, MVPN_C_TO_TAP);
	pkt_echo(&p, "10.9.0.1", 7469, "10.1.0.7", 7468, 0x51, 65);
	st_expect(s, EGRESS(s), &p, REDIRECT, MVPN_C_TO_TAP);
	pkt_echo(&p, "10.9.0.1", 7469, "10.1.0.7", 7467, 0x51, 64);
	st_expect(s, EGRESS(s), &p, REDIRECT, MVPN_C_TO_TAP);
	pkt_echo(&p, "10.9.0.1", 7469, "10.1.0.8", 7468, 0x51, 64);
	st_expect(s, EGRESS(s), &p, REDIRECT, MVPN_C_TO_TAP);
}

/* what the server relays, on its own host; another host's program cannot send so */
static void test_relayed(void **state)
{
	static const uint8_t sealed[] = {0x41, 0x43, 0x44, 0x50};
	struct shim *s = st_shim();
	struct packet p;

	st_need_root();
	for (unsigned i = 0; i < sizeof(sealed); i++) {
		pkt_echo(&p, "10.1.0.7", 7468, "10.1.0.8", 7469, sealed[i], 100);
		st_expect(s, EGRESS(s), &p, NEXT, MVPN_C_PASS_SERVER);
		pkt_echo(&p, "10.1.0.8", 7469, "10.1.0.7", 7468, sealed[i], 100);
		st_expect(s, INGRESS(s), &p, NEXT, MVPN_C_PASS_SERVER);
		st_expect(s, EGRESS(s), &p, REDIRECT, MVPN_C_TO_TAP);
	}
	pkt_echo(&p, "10.1.0.8", 7469, "10.1.0.7", 7468, 0x42, 100);
	st_expect(s, INGRESS(s), &p, SHOT, MVPN_C_INGRESS_CLEAR);
	pkt_echo(&p, "10.1.0.7", 7468, "10.1.0.8", 7469, 0x42, 100);
	st_expect(s, EGRESS(s), &p, REDIRECT, MVPN_C_TO_TAP);
	pkt_echo(&p, "10.1.0.7", 7468, "10.1.0.8", 7469, 0x41, 15);
	st_expect(s, EGRESS(s), &p, REDIRECT, MVPN_C_TO_TAP);
	pkt_echo(&p, "10.1.0.7", 7467, "10.1.0.8", 7469, 0x41, 100);
	st_expect(s, EGRESS(s), &p, REDIRECT, MVPN_C_TO_TAP);
}

/* another port, another address, another protocol, the wrong way round */
static void test_channel_lookalikes(void **state)
{
	struct shim *s = st_shim();
	struct packet p;

	st_need_root();
	pkt_tcp4(&p, "10.9.0.1", 40000, "10.1.0.7", 80, PKT_SYN);
	st_expect(s, EGRESS(s), &p, REDIRECT, MVPN_C_TO_TAP);
	pkt_tcp4(&p, "10.9.0.1", 7468, "10.1.0.7", 80, PKT_SYN);
	st_expect(s, EGRESS(s), &p, REDIRECT, MVPN_C_TO_TAP);
	pkt_tcp4(&p, "10.9.0.1", 40000, "10.1.0.8", 7468, PKT_SYN);
	st_expect(s, EGRESS(s), &p, REDIRECT, MVPN_C_TO_TAP);
	pkt_tcp4(&p, "10.1.0.7", 7468, "10.1.0.8", 80,
		 PKT_SYN); /* a server opens nothing from its port */
	st_expect(s, EGRESS(s), &p, REDIRECT, MVPN_C_TO_TAP);
	pkt_eth(&p, 0x0800);
	pkt_ip4(&p, "10.9.0.1", "10.1.0.7", IPPROTO_UDP);
	pkt_udp(&p, 40000, 7468, 20);
	pkt_done(&p);
	st_expect(s, EGRESS(s), &p, REDIRECT, MVPN_C_TO_TAP);
	assert_int_equal(shim_exempt_clear(s), 0);
	pkt_tcp4(&p, "10.9.0.1", 40000, "10.1.0.7", 7468, PKT_SYN);
	st_expect(s, EGRESS(s), &p, REDIRECT, MVPN_C_TO_TAP);
}

/* the ports are not known, or not where they seem to be */
static void test_channel_hidden_ports(void **state)
{
	struct shim *s = st_shim();
	struct packet p;

	st_need_root();
	/* fragments, and headers cut before the ports can be known */
	pkt_tcp4(&p, "10.9.0.1", 40000, "10.1.0.7", 7468, PKT_ACK);
	p.b[p.l3 + 6] = 0x20;
	st_expect(s, EGRESS(s), &p, REDIRECT, MVPN_C_TO_TAP);
	pkt_tcp4(&p, "10.9.0.1", 40000, "10.1.0.7", 7468, PKT_ACK);
	p.b[p.l3 + 6] = 0;
	p.b[p.l3 + 7] = 100;
	st_expect(s, EGRESS(s), &p, REDIRECT, MVPN_C_TO_TAP);
	pkt_tcp4(&p, "10.9.0.1", 40000, "10.1.0.7", 7468, PKT_ACK);
	p.len = p.l3 + 20 + 12;
	st_expect(s, EGRESS(s), &p, REDIRECT, MVPN_C_TO_TAP);
	/* an IPv6 fragment header, a routing header */
	for (int next = 43; next <= 44; next++) {
		pkt_eth(&p, 0x86dd);
		pkt_ip6(&p, "fd09::1", "fd01::7", (uint8_t)next);
		pkt_bytes(&p, "\x06\x00\x00\x00\x00\x00\x00\x01", 8);
		pkt_tcp(&p, 40000, 7468, PKT_ACK);
		pkt_done(&p);
		st_expect(s, EGRESS(s), &p, REDIRECT, MVPN_C_TO_TAP);
	}
	/* IPv4 options: the ports are behind them, not where they usually are */
	pkt_eth(&p, 0x0800);
	pkt_ip4(&p, "10.9.0.1", "10.1.0.7", IPPROTO_TCP);
	p.b[p.l3] = 0x46;
	pkt_bytes(&p, "\x9c\x40\x1d\x2c", 4); /* 40000 -> 7468 as an option */
	pkt_tcp(&p, 40000, 80, PKT_ACK);
	pkt_done(&p);
	st_expect(s, EGRESS(s), &p, REDIRECT, MVPN_C_TO_TAP);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_nd, st_policy),
		cmocka_unit_test_setup(test_dhcp, st_policy),
		cmocka_unit_test_setup(test_channel, server),
		cmocka_unit_test_setup(test_echo, server),
		cmocka_unit_test_setup(test_relayed, server),
		cmocka_unit_test_setup(test_channel_lookalikes, server),
		cmocka_unit_test_setup(test_channel_hidden_ports, server),
	};

	return cmocka_run_group_tests(tests, st_setup, st_teardown);
}
