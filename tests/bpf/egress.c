/* SPDX-License-Identifier: BSD-2-Clause */
/* The egress program and the last hook: one packet in, the verdict and the counter out. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "loop.h"
#include "shimtest.h"

/* the verdict of egress, and the last hook's on the same packet had it come that far */
static void expect(const char *src, const char *dst, int verdict, enum mvpn_counter c)
{
	struct shim *s = st_shim();
	struct packet p;

	pkt_simple(&p, src, dst);
	st_expect(s, EGRESS(s), &p, verdict, c);
	if (verdict == NEXT)
		st_expect(s, LEAK(s), &p, NEXT, NO_COUNTER);
	else
		st_expect(s, LEAK(s), &p, SHOT, MVPN_C_LEAK);
}

static void test_destinations(void **state)
{
	st_need_root();
	expect("10.9.0.1", "10.99.0.1", NEXT, MVPN_C_PASS_UNPROTECTED);
	expect("fd09::1", "fd99::1", NEXT, MVPN_C_PASS_UNPROTECTED);
	expect("10.1.0.1", "10.99.0.1", NEXT, MVPN_C_PASS_UNPROTECTED); /* a source is no matter */
	expect("10.9.0.1", "10.1.0.1", REDIRECT, MVPN_C_TO_TAP);
	expect("fd09::1", "fd01::1", REDIRECT, MVPN_C_TO_TAP);
	expect("10.9.0.1", "10.2.0.1", REDIRECT, MVPN_C_TO_TAP_HELD);
	expect("fd09::1", "fd02::1", REDIRECT, MVPN_C_TO_TAP_HELD);
	expect("10.9.0.1", "10.3.0.1", SHOT, MVPN_C_DROP_DENIED);
	expect("10.9.0.1", "10.1.9.1", SHOT, MVPN_C_DROP_DENIED); /* longest prefix */
	expect("10.9.0.1", "10.4.0.1", SHOT, MVPN_C_DROP_NO_OWNER);
	expect("10.9.0.1", "10.5.0.1", NEXT, MVPN_C_PASS_UNPROTECTED);
	/* the same address said in IPv6 is the same address */
	expect("fd09::1", "::ffff:10.1.0.1", REDIRECT, MVPN_C_TO_TAP);
	expect("fd09::1", "::10.1.0.1", NEXT, MVPN_C_PASS_UNPROTECTED);
}

static void route4(const char *opts, unsigned len, const char *dst, int verdict, enum mvpn_counter c)
{
	struct shim *s = st_shim();
	struct packet p;

	pkt_eth(&p, 0x0800);
	pkt_ip4(&p, "10.9.0.1", dst, IPPROTO_UDP);
	p.b[p.l3] = (uint8_t)(0x45 + len / 4);
	pkt_bytes(&p, opts, len);
	pkt_udp(&p, 5000, 5000, 20);
	pkt_done(&p);
	st_expect(s, EGRESS(s), &p, verdict, c);
	st_expect(s, LEAK(s), &p, verdict == REDIRECT ? SHOT : verdict,
		  verdict == REDIRECT ? MVPN_C_LEAK : verdict == NEXT ? NO_COUNTER : c);
}

static void route6(const char *before, unsigned len, uint8_t type, uint8_t left, const char *first,
		   const char *second, int verdict, enum mvpn_counter c)
{
	const uint8_t head[8] = {IPPROTO_UDP, 4, type, left};
	struct shim *s = st_shim();
	struct in6_addr a[2];
	struct packet p;

	assert_int_equal(inet_pton(AF_INET6, first, &a[0]), 1);
	assert_int_equal(inet_pton(AF_INET6, second, &a[1]), 1);
	pkt_eth(&p, 0x86dd);
	pkt_ip6(&p, "fd09::1", "fd99::1", len ? IPPROTO_DSTOPTS : IPPROTO_ROUTING);
	pkt_bytes(&p, before, len);
	pkt_bytes(&p, head, sizeof(head));
	pkt_bytes(&p, a, sizeof(a));
	pkt_udp(&p, 5000, 5000, 20);
	pkt_done(&p);
	st_expect(s, EGRESS(s), &p, verdict, c);
	st_expect(s, LEAK(s), &p, verdict, verdict == NEXT ? NO_COUNTER : c);
}

/* it is the last address of a source route that counts, and what cannot be sealed does not leave */
static void test_source_routes(void **state)
{
	static const char lsrr[] = "\x83\x0b\x04\x0a\x63\x00\x02\x0a\x01\x00\x01", /* 10.99.0.2, 10.1.0.1 */
		ssrr[] = "\x01\x89\x07\x04\x0a\x01\x00\x01", over[] = "\x01\x83\x07\x08\x0a\x01\x00\x01",
		elsewhere[] = "\x01\x83\x07\x04\x0a\x63\x00\x02", behind[] = "\x94\x04\x00\x00\x83\x07\x04\x0a\x01\x00\x01",
		ended[] = "\x00\x83\x07\x04\x0a\x01\x00\x01", options[] = "\x2b\x00\x01\x04\x00\x00\x00";

	st_need_root();
	route4(lsrr, sizeof(lsrr), "10.99.0.1", SHOT, MVPN_C_DROP_MALFORMED);
	route4(ssrr, 8, "10.99.0.1", SHOT, MVPN_C_DROP_MALFORMED);
	route4(behind, sizeof(behind), "10.99.0.1", SHOT, MVPN_C_DROP_MALFORMED);
	route4(over, 8, "10.99.0.1", NEXT, MVPN_C_PASS_UNPROTECTED); /* it has been there */
	route4(elsewhere, 8, "10.99.0.1", NEXT, MVPN_C_PASS_UNPROTECTED);
	route4(ended, 8, "10.99.0.1", NEXT, MVPN_C_PASS_UNPROTECTED);
	route4(elsewhere, 8, "10.1.0.1", REDIRECT, MVPN_C_TO_TAP);
	route6("", 0, 4, 1, "fd01::1", "fd99::1", SHOT, MVPN_C_DROP_MALFORMED);
	route6("", 0, 4, 0, "fd01::1", "fd99::1", NEXT, MVPN_C_PASS_UNPROTECTED);
	route6("", 0, 4, 1, "fd99::2", "fd99::1", NEXT, MVPN_C_PASS_UNPROTECTED);
	route6("", 0, 0, 2, "fd99::2", "fd01::1", SHOT, MVPN_C_DROP_MALFORMED);
	route6("", 0, 0, 2, "fd01::1", "fd99::2", NEXT, MVPN_C_PASS_UNPROTECTED);
	route6(options, 8, 4, 1, "fd01::1", "fd99::1", SHOT, MVPN_C_DROP_MALFORMED);
}

/* a prefix that becomes protected between the two hooks: no leak, and no packet lost */
static void test_protected_between_hooks(void **state)
{
	struct shim *s = st_shim();
	struct packet p;
	uint64_t leak, held;

	st_need_root();
	leak = st_counter(s, MVPN_C_LEAK);
	held = st_counter(s, MVPN_C_TO_TAP_HELD);
	pkt_simple(&p, "10.9.0.1", "10.2.0.1");
	assert_int_equal(st_leak_run(&p, true), REDIRECT);
	assert_int_equal(st_counter(s, MVPN_C_LEAK), leak);
	assert_int_equal(st_counter(s, MVPN_C_TO_TAP_HELD), held + 1);
	assert_int_equal(st_leak_run(&p, false), SHOT);
	assert_int_equal(st_counter(s, MVPN_C_LEAK), leak + 1);
	pkt_simple(&p, "10.9.0.1", "10.3.0.1");
	assert_int_equal(st_leak_run(&p, true), SHOT);
	assert_int_equal(st_counter(s, MVPN_C_LEAK), leak + 1);
}

static void test_keyd_down(void **state)
{
	struct shim *s = st_shim();
	struct mvpn_config c;

	st_need_root();
	assert_int_equal(shim_get_config(s, &c), 0);
	c.tap_ifindex = 0;
	assert_int_equal(shim_config(s, &c), 0);
	expect("10.9.0.1", "10.1.0.1", SHOT, MVPN_C_DROP_KEYD_DOWN);
	expect("10.9.0.1", "10.2.0.1", SHOT, MVPN_C_DROP_KEYD_DOWN);
	expect("10.9.0.1", "10.99.0.1", NEXT, MVPN_C_PASS_UNPROTECTED);
	st_breathed(s, MVPN_ALIVE_S + 1);
	expect("10.9.0.1", "10.1.0.1", SHOT, MVPN_C_DROP_KEYD_DOWN);
	/* breath of the near future, as seen from another CPU */
	st_breathed(s, -1);
	expect("10.9.0.1", "10.1.0.1", REDIRECT, MVPN_C_TO_TAP);
	st_alive(s);
}

static void test_default_route(void **state)
{
	struct shim *s = st_shim();
	struct mvpn_prefix all = {.len = 0};

	st_need_root();
	assert_int_equal(shim_protect(s, &all, 1, 0), 0);
	expect("10.9.0.1", "192.0.2.1", REDIRECT, MVPN_C_TO_TAP);
	expect("10.9.0.1", "224.0.0.251", NEXT, MVPN_C_PASS_NEVER);
	expect("10.9.0.1", "255.255.255.255", NEXT, MVPN_C_PASS_NEVER);
	expect("10.9.0.1", "169.254.1.1", NEXT, MVPN_C_PASS_NEVER);
	expect("fe80::1", "ff02::fb", NEXT, MVPN_C_PASS_NEVER);
	expect("fe80::1", "fe80::2", NEXT, MVPN_C_PASS_NEVER);
	expect("fd09::1", "fec0::2", REDIRECT, MVPN_C_TO_TAP);
	expect("fd09::1", "::ffff:224.0.0.1", REDIRECT, MVPN_C_TO_TAP);
	assert_int_equal(shim_unprotect(s, &all), 0);
	expect("10.9.0.1", "192.0.2.1", NEXT, MVPN_C_PASS_UNPROTECTED);
}

static void test_non_ip(void **state)
{
	static const uint16_t types[] = {0x0806 /* ARP */, 0x88cc /* LLDP */, 0x888e /* EAPOL */,
					 0x8847 /* MPLS */, 60 /* 802.3 length */};
	struct shim *s = st_shim();
	struct packet p;

	st_need_root();
	for (unsigned i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		pkt_eth(&p, types[i]);
		pkt_bytes(&p, NULL, 46);
		st_expect(s, EGRESS(s), &p, NEXT, MVPN_C_PASS_NEVER);
		st_expect(s, LEAK(s), &p, NEXT, NO_COUNTER);
	}
}

static void test_vlan(void **state)
{
	struct shim *s = st_shim();
	struct packet p, out;

	st_need_root();
	for (unsigned tags = 1; tags <= 3; tags++) {
		for (int protected = 0; protected < 2; protected ++) {
			pkt_eth(&p, tags > 1 ? 0x88a8 : 0x8100);
			for (unsigned i = tags; i > 0; i--)
				pkt_vlan(&p, i == tags && tags > 1 ? 0x88a8 : 0x8100, 10,
					 i > 1 ? 0x8100 : 0x0800);
			pkt_ip4(&p, "10.9.0.1", protected ? "10.1.0.1" : "10.99.0.1", IPPROTO_UDP);
			pkt_udp(&p, 1000, 2000, 30);
			pkt_done(&p);
			st_expect(s, EGRESS(s), &p, protected ? REDIRECT : NEXT,
				  protected ? MVPN_C_TO_TAP : MVPN_C_PASS_UNPROTECTED);
			st_expect(s, LEAK(s), &p, protected ? SHOT : NEXT,
				  protected ? MVPN_C_LEAK : NO_COUNTER);
			if (!protected)
				continue;
			/* no tag goes into the tap */
			assert_int_equal(st_prog_run(EGRESS(s), &p, &out), REDIRECT);
			assert_int_equal(out.len, p.len - 4 * tags);
			assert_memory_equal(out.b, p.b, 12);
			assert_memory_equal(out.b + 12, "\x08\x00\x45", 3);
			assert_memory_equal(out.b + 14, p.b + p.l3, p.len - p.l3);
		}
	}
	pkt_eth(&p, 0x0800);
	for (int i = 0; i < 4; i++)
		pkt_vlan(&p, 0x8100, 10, 0x8100);
	memcpy(p.b + p.len - 2, "\x08\x00", 2);
	pkt_ip4(&p, "10.9.0.1", "10.1.0.1", IPPROTO_UDP);
	pkt_udp(&p, 1000, 2000, 30);
	st_expect(s, EGRESS(s), &p, SHOT, MVPN_C_DROP_MALFORMED);
	/* tagged ARP */
	pkt_eth(&p, 0x8100);
	pkt_vlan(&p, 0x8100, 10, 0x0806);
	pkt_bytes(&p, NULL, 28);
	st_expect(s, EGRESS(s), &p, NEXT, MVPN_C_PASS_NEVER);
}

static void test_fragments(void **state)
{
	struct shim *s = st_shim();
	struct packet p;

	st_need_root();
	for (unsigned frag = 0; frag < 3; frag++) {
		static const uint8_t bits[3][2] = {{0x20, 0}, {0x20, 185}, {0, 185}};

		pkt_simple(&p, "10.9.0.1", "10.1.0.1");
		memcpy(p.b + p.l3 + 6, bits[frag], 2);
		st_expect(s, EGRESS(s), &p, REDIRECT, MVPN_C_TO_TAP);
		pkt_simple(&p, "10.9.0.1", "10.99.0.1");
		memcpy(p.b + p.l3 + 6, bits[frag], 2);
		st_expect(s, EGRESS(s), &p, NEXT, MVPN_C_PASS_UNPROTECTED);
	}
}

/* cut after each byte: a protected packet never passes; what cannot be known is dropped */
static void cut(struct packet *p)
{
	struct shim *s = st_shim();
	unsigned whole = p->len;

	/* BPF_PROG_RUN itself refuses an untagged packet without a whole IP header; a tagged one it takes */
	unsigned first = p->l3 > 14 ? 15 : p->l3 + (p->b[p->l3] == 0x45 ? 20 : 40);

	for (p->len = first; p->len < whole; p->len++) {
		int v = st_prog_run(EGRESS(s), p, NULL);

		assert_true(v == SHOT || v == REDIRECT);
		assert_int_equal(st_prog_run(LEAK(s), p, NULL), SHOT);
		assert_int_equal(st_prog_run(EGRESS(s), p, NULL), v);
	}
}

static void test_cut(void **state)
{
	struct shim *s = st_shim();
	struct packet p;
	uint64_t before;

	st_need_root();
	before = st_counter(s, MVPN_C_DROP_MALFORMED);
	pkt_simple(&p, "10.9.0.1", "10.1.0.1");
	cut(&p);
	pkt_simple(&p, "fd09::1", "fd01::1");
	cut(&p);
	pkt_tcp4(&p, "10.9.0.1", 1, "10.1.0.1", 2, PKT_ACK);
	cut(&p);
	pkt_eth(&p, 0x8100);
	pkt_vlan(&p, 0x8100, 3, 0x0800);
	pkt_ip4(&p, "10.9.0.1", "10.1.0.1", IPPROTO_UDP);
	pkt_udp(&p, 1, 2, 10);
	cut(&p);
	pkt_eth(&p, 0x88a8);
	pkt_vlan(&p, 0x88a8, 3, 0x86dd);
	pkt_ip6(&p, "fd09::1", "fd01::1", IPPROTO_UDP);
	pkt_udp(&p, 1, 2, 10);
	cut(&p);
	assert_true(st_counter(s, MVPN_C_DROP_MALFORMED) > before);
	pkt_dhcp4(&p, 68, 67, 1, 0x63825363);
	p.len = p.l3 + 28 + 239; /* one byte short of what makes it DHCP */
	cut(&p);

	/* absurd headers */
	pkt_simple(&p, "10.9.0.1", "10.1.0.1");
	p.b[p.l3] = 0x44; /* header of 16 bytes */
	st_expect(s, EGRESS(s), &p, SHOT, MVPN_C_DROP_MALFORMED);
	p.b[p.l3] = 0x65; /* IPv6 says the version, IPv4 the Ethernet header */
	st_expect(s, EGRESS(s), &p, SHOT, MVPN_C_DROP_MALFORMED);
	pkt_simple(&p, "10.9.0.1", "10.1.0.1");
	p.len = p.l3 + 28;
	p.b[p.l3] = 0x4f; /* options beyond the end */
	st_expect(s, EGRESS(s), &p, SHOT, MVPN_C_DROP_MALFORMED);
	pkt_simple(&p, "fd09::1", "fd01::1");
	p.b[p.l3] = 0x45;
	st_expect(s, EGRESS(s), &p, SHOT, MVPN_C_DROP_MALFORMED);
	pkt_simple(&p, "fd09::1", "fd01::1");
	p.b[p.l3 + 6] = 60; /* destination options that run on and on */
	p.b[p.l3 + 40] = 60;
	p.b[p.l3 + 41] = 255;
	st_expect(s, EGRESS(s), &p, SHOT, MVPN_C_DROP_MALFORMED);
}

/* whatever else a packet says, its destination decides: no mutation of a protected one gets past either hook */
static void test_mutations(void **state)
{
	static const char *const to[] = {"10.1.0.1", "fd01::1"};
	struct shim *s = st_shim();
	struct packet seed, p;
	unsigned r = 1;

	st_need_root();
	for (unsigned n = 0; n < 20000; n++) {
		unsigned dst, flips;

		pkt_simple(&seed, n % 2 ? "fd09::1" : "10.9.0.1", to[n % 2]);
		dst = seed.l3 + (n % 2 ? 24 : 16);
		p = seed;
		flips = 1 + n / 2 % 8;
		for (unsigned i = 0; i < flips; i++) {
			unsigned at;

			r = r * 1103515245 + 12345; /* the same packets each time */
			at = seed.l3 + (r >> 8) % (seed.len - seed.l3);
			if (at < dst || at >= dst + (n % 2 ? 16 : 4))
				p.b[at] = (uint8_t)(r >> 20);
		}
		assert_int_not_equal(st_prog_run(EGRESS(s), &p, NULL), NEXT);
		assert_int_equal(st_prog_run(LEAK(s), &p, NULL), SHOT);
	}
}

struct seen {
	unsigned n;
	struct mvpn_event last;
};

static void on_event(void *arg, const struct mvpn_event *e)
{
	struct seen *seen = arg;

	seen->n++;
	seen->last = *e;
}

static void test_events(void **state)
{
	struct seen seen = {};
	struct shim *s = st_shim();
	struct packet p;
	struct timespec gap = {.tv_nsec = MVPN_EVENT_GAP_NS + 5000000};
	uint64_t since, took;

	st_need_root();
	st_protect(s, "10.20.0.0/16", 20, 0);
	st_protect(s, "10.21.0.0/16", 21, 0);
	assert_true(shim_events(s, on_event, &seen) >= 0);
	pkt_simple(&p, "10.9.0.1", "10.20.0.1");
	/* if it takes longer than the gap, because the machine is busy with others, there may be another one */
	do {
		memset(&seen, 0, sizeof(seen));
		nanosleep(&gap, NULL);
		since = mono_ns();
		for (int i = 0; i < 50; i++)
			assert_int_equal(st_prog_run(EGRESS(s), &p, NULL), REDIRECT);
		took = mono_ns() - since;
		assert_true(shim_events(s, on_event, &seen) >= 0);
	} while (took >= MVPN_EVENT_GAP_NS);
	assert_int_equal(seen.n, 1);
	assert_int_equal(seen.last.peer, 20);
	assert_int_equal(seen.last.reason, MVPN_C_TO_TAP_HELD);
	assert_int_equal(seen.last.len, p.len - p.l3);
	assert_int_equal(seen.last.flow.proto, IPPROTO_UDP);
	assert_int_equal(seen.last.flow.sport, htons(1000));
	assert_int_equal(seen.last.flow.dport, htons(2000));
	assert_memory_equal(seen.last.flow.dst, "\0\0\0\0\0\0\0\0\0\0\xff\xff\x0a\x14\0\x01", 16);
	/* another peer's is not held back by this one's, and after the gap there is a next */
	pkt_simple(&p, "10.9.0.1", "10.21.0.1");
	assert_int_equal(st_prog_run(EGRESS(s), &p, NULL), REDIRECT);
	assert_int_equal(shim_events(s, on_event, &seen), 1);
	assert_int_equal(seen.last.peer, 21);
	nanosleep(&gap, NULL); /* the limit is a time */
	assert_int_equal(st_prog_run(EGRESS(s), &p, NULL), REDIRECT);
	assert_int_equal(shim_events(s, on_event, &seen), 1);
	/* none for what is armed, denied or passed */
	expect("10.9.0.1", "10.1.0.1", REDIRECT, MVPN_C_TO_TAP);
	expect("10.9.0.1", "10.3.0.1", SHOT, MVPN_C_DROP_DENIED);
	assert_int_equal(shim_events(s, on_event, &seen), 0);
}

static void test_event_ring_full(void **state)
{
	struct seen seen = {};
	struct shim *s = st_shim();
	const unsigned fits = MVPN_EVENT_RING_B / (sizeof(struct mvpn_event) + 8);
	char dst[32];
	struct packet p;
	uint64_t lost;

	st_need_root();
	assert_true(shim_events(s, on_event, &seen) >= 0);
	lost = st_counter(s, MVPN_C_EVENT_LOST);
	/* a peer each, so that the rate limit does not hold them back; the trie here holds fewer */
	for (unsigned i = 0; i < fits + 20; i++) {
		snprintf(dst, sizeof(dst), "10.50.%u.%u", i % 2000 / 250, i % 250);
		st_protect(s, dst, 1000 + i, 0);
		pkt_simple(&p, "10.9.0.1", dst);
		assert_int_equal(st_prog_run(EGRESS(s), &p, NULL), REDIRECT);
	}
	assert_true(st_counter(s, MVPN_C_EVENT_LOST) >= lost + 20);
	memset(&seen, 0, sizeof(seen));
	assert_true(shim_events(s, on_event, &seen) > 0);
	assert_true(seen.n <= fits);
}

struct want {
	uint8_t last;
	struct mvpn_flow flow;
	unsigned n;
};

static int find_flow(void *arg, const struct mvpn_flow_key *k, const struct mvpn_flow *f)
{
	struct want *w = arg;

	if (k->dst[15] == w->last && k->dst[13] == 77) {
		w->flow = *f;
		w->n++;
	}
	return 0;
}

static void test_flows(void **state)
{
	struct want w = {.last = 5};
	struct shim *s = st_shim();
	struct packet p;

	st_need_root();
	st_protect(s, "10.77.0.0/16", 1, 0);
	pkt_simple(&p, "10.9.0.1", "10.77.0.5");
	for (int i = 0; i < 10; i++)
		assert_int_equal(st_prog_run(EGRESS(s), &p, NULL), REDIRECT);
	assert_int_equal(shim_flows_each(s, find_flow, &w), 0);
	assert_int_equal(w.n, 1);
	assert_int_equal(w.flow.packets, 10);
	assert_int_equal(w.flow.bytes, 10 * (p.len - p.l3));
	assert_int_equal(w.flow.peer, 1);
	assert_int_equal(w.flow.verdict, MVPN_C_TO_TAP);
	assert_true(w.flow.first_ns && w.flow.last_ns >= w.flow.first_ns);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_destinations, st_policy),
		cmocka_unit_test_setup(test_source_routes, st_policy),
		cmocka_unit_test_setup(test_protected_between_hooks, st_policy),
		cmocka_unit_test_setup(test_keyd_down, st_policy),
		cmocka_unit_test_setup(test_default_route, st_policy),
		cmocka_unit_test_setup(test_non_ip, st_policy),
		cmocka_unit_test_setup(test_vlan, st_policy),
		cmocka_unit_test_setup(test_fragments, st_policy),
		cmocka_unit_test_setup(test_cut, st_policy),
		cmocka_unit_test_setup(test_mutations, st_policy),
		cmocka_unit_test_setup(test_events, st_policy),
		cmocka_unit_test_setup(test_event_ring_full, st_policy),
		cmocka_unit_test_setup(test_flows, st_policy),
	};

	return cmocka_run_group_tests(tests, st_setup, st_teardown);
}
