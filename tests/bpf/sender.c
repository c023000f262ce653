/* SPDX-License-Identifier: BSD-2-Clause */
/* Lines with `by` and packets that do not show their ports: fragments, and IPv6 with more headers. Their sender has no trait here. */
#include <string.h>

#include "shimtest.h"

#include "loop.h"

#define PORT 5432
#define ID 0x4d56
#define UDP 17

struct side {
	const char *src, *dst;
	bool v4;
};
static const struct side sides[] = {{"10.5.0.7", "10.1.0.1", true}, {"fd05::7", "fd01::1", false}};

static int up(void **state)
{
	struct mvpn_guard g = {
		.n = 1,
		.lines[0] = {.traits = {1}, .line = 1, .lo = PORT, .hi = PORT, .proto = UDP}};

	if (!st_shim())
		return 0;
	st_policy(state);
	assert_int_equal(shim_guard_set(st_shim(), 1, &g), 0);
	return shim_processes(st_shim(), &(struct mvpn_processes){5, 5});
}

static int down(void **state)
{
	if (st_shim())
		shim_processes(st_shim(), &(struct mvpn_processes){0, 0});
	return 0;
}

/* `at`: bytes of the datagram that are before it */
static void make(struct packet *p, const struct side *s, unsigned at, unsigned dport)
{
	const uint8_t l4[16] = {0x10, 0, (uint8_t)(dport >> 8), (uint8_t)dport, 0, 100},
		      extension[8] = {UDP, 0,	    (uint8_t)(at >> 8), (uint8_t)(at | 1), 0,
				      0,   ID >> 8, ID & 0xff};

	pkt_eth(p, s->v4 ? 0x0800 : 0x86dd);
	if (s->v4) {
		pkt_ip4(p, s->src, s->dst, UDP);
	} else {
		pkt_ip6(p, s->src, s->dst, 44);
		pkt_bytes(p, extension, sizeof(extension));
	}
	pkt_bytes(p, l4, sizeof(l4));
	pkt_done(p);
	if (s->v4) {
		p->b[p->l3 + 4] = ID >> 8;
		p->b[p->l3 + 5] = ID & 0xff;
		p->b[p->l3 + 6] = (uint8_t)(0x20 | at / 8 >> 8);
		p->b[p->l3 + 7] = (uint8_t)(at / 8);
	}
}

static void expect(const struct packet *p, bool passes)
{
	st_expect(st_shim(), EGRESS(st_shim()), p, passes ? REDIRECT : SHOT,
		  passes ? MVPN_C_TO_TAP : MVPN_C_DROP_PROCESS);
}

static void test_first_fragments_have_ports(void **state)
{
	struct packet p;

	st_need_root();
	for (int i = 0; i < 2; i++) {
		make(&p, &sides[i], 0, PORT);
		expect(&p, false);
		make(&p, &sides[i], 0, PORT + 1);
		expect(&p, true);
		p.len -= 12; /* they are not there */
		expect(&p, false);
	}
}

/* as the first one that a container's process was let send has it */
static void vouch(const struct side *s, uint64_t generation)
{
	struct mvpn_vouched v = {.traits = 1, .generation = generation, .at_ns = mono_ns()};
	struct mvpn_flow_key k = {.proto = UDP, .zero = {1}};
	uint8_t id[4] = {ID >> 8, ID & 0xff, ID >> 8, ID & 0xff};
	struct mvpn_addr a;

	assert_int_equal(mvpn_addr_parse(&a, s->src), 0);
	memcpy(k.src, a.b, 16);
	assert_int_equal(mvpn_addr_parse(&a, s->dst), 0);
	memcpy(k.dst, a.b, 16);
	if (s->v4)
		id[2] = id[3] = 0;
	else
		id[0] = id[1] = 0;
	memcpy(&k.sport, id, 2);
	memcpy(&k.dport, id + 2, 2);
	assert_int_equal(bpf_map_update_elem(bpf_map__fd(st_shim()->bpf->maps.vouched), &k, &v, 0),
			 0);
}

static void test_later_fragments_follow_the_first_one(void **state)
{
	struct packet p;

	st_need_root();
	for (int i = 0; i < 2; i++) {
		make(&p, &sides[i], 16, PORT + 1); /* its bytes are no ports */
		expect(&p, false);
		vouch(&sides[i], 5);
		expect(&p, true);
		make(&p, &sides[i], 0, PORT);
		expect(&p, false);
		make(&p, &sides[1 - i], 16, PORT);
		if (i == 0)
			expect(&p, false);
		vouch(&sides[i], 4); /* what that numbering meant is not known any more */
		make(&p, &sides[i], 16, PORT);
		expect(&p, false);
	}
}

/* a header that is not looked behind could hide what any line is about */
static void test_headers_hide_nothing(void **state)
{
	uint8_t routing[8] = {UDP, 0, 4, 0}, fragment[8] = {60, 0, 0, 1, 0, 0, 1, 1};
	struct packet p;

	st_need_root();
	pkt_eth(&p, 0x86dd);
	pkt_ip6(&p, sides[1].src, sides[1].dst, 43);
	pkt_bytes(&p, routing, sizeof(routing));
	pkt_udp(&p, 4096, PORT, 8);
	pkt_done(&p);
	expect(&p, false);
	pkt_eth(&p, 0x86dd);
	pkt_ip6(&p, sides[1].src, sides[1].dst, 44);
	pkt_bytes(&p, fragment, sizeof(fragment));
	pkt_bytes(&p, routing, sizeof(routing));
	pkt_udp(&p, 4096, PORT, 8);
	pkt_done(&p);
	expect(&p, false);
	/* ESP, say: no line is about it, and it is followed by nothing */
	pkt_eth(&p, 0x86dd);
	pkt_ip6(&p, sides[1].src, sides[1].dst, 50);
	pkt_bytes(&p, NULL, 32);
	pkt_done(&p);
	expect(&p, true);
}

/* who names the tap as the device to send by is asked there: it has not passed an interface that is attached */
static void test_the_tap_is_no_way_round(void **state)
{
	struct packet p;
	int prog;

	st_need_root();
	prog = bpf_program__fd(st_shim()->bpf->progs.enter);
	for (int i = 0; i < 2; i++) {
		for (unsigned on = 0; on < 2; on++) {
			make(&p, &sides[i], 0, PORT + on);
			pkt_bare(&p);
			st_expect(st_shim(), prog, &p, on ? NEXT : SHOT, on ? NO_COUNTER : MVPN_C_DROP_PROCESS);
		}
		make(&p, &sides[i], 0, PORT);
		pkt_bare(&p);
		p.len -= 12; /* its ports are not there */
		st_expect(st_shim(), prog, &p, SHOT, MVPN_C_DROP_PROCESS);
	}
	/* nobody is told apart: nothing is looked at */
	shim_processes(st_shim(), &(struct mvpn_processes){0, 0});
	st_expect(st_shim(), prog, &p, NEXT, NO_COUNTER);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_first_fragments_have_ports, up, down),
		cmocka_unit_test_setup_teardown(test_later_fragments_follow_the_first_one, up,
						down),
		cmocka_unit_test_setup_teardown(test_headers_hide_nothing, up, down),
		cmocka_unit_test_setup_teardown(test_the_tap_is_no_way_round, up, down),
	};

	return cmocka_run_group_tests(tests, st_setup, st_teardown);
}
