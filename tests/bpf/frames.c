/* SPDX-License-Identifier: BSD-2-Clause */
/* Frames that are no IP packets: what egress, the last hook, the guard and the delivery make of them. */
#include <errno.h>
#include <net/if.h>
#include <string.h>

#include "mvpn/ether.h"
#include "shimtest.h"

#define TYPE 0x88b5
#define BOTH (MVPN_FRAME_TX | MVPN_FRAME_RX)

/* pkt_eth() writes 02::01 > 02::02: to, from */
static const uint8_t dst[6] = {2, 0, 0, 0, 0, 1}, src[6] = {2, 0, 0, 0, 0, 2}, none[6] = {0};

static void frame(struct packet *p, uint16_t type)
{
	pkt_eth(p, type);
	pkt_bytes(p, NULL, 46);
}

/* the verdict of egress, and the last hook's on the same frame had it come that far */
static void expect(uint16_t type, int verdict, enum mvpn_counter c)
{
	struct shim *s = st_shim();
	struct packet p;

	frame(&p, type);
	st_expect(s, EGRESS(s), &p, verdict, c);
	if (verdict == NEXT)
		st_expect(s, LEAK(s), &p, NEXT, NO_COUNTER);
	else
		st_expect(s, LEAK(s), &p, SHOT, MVPN_C_LEAK);
}

static int forget(void *arg, const uint8_t mac[6], uint16_t type, const struct mvpn_frame *v)
{
	return shim_frame_unset(arg, mac, type);
}

/* st_policy() for frames: 1 armed, 2 without a session, 3 denied */
static int rules(void **state)
{
	struct shim *s = st_shim();
	char *error = NULL;

	if (!s)
		return 0;
	st_policy(state);
	assert_int_equal(shim_frames_each(s, forget, s), 0);
	if (!if_nametoindex("d0"))
		st_run("ip link add d0 type veth peer name d1");
	assert_int_equal(shim_frame_tap(s, if_nametoindex("d0"), &error), 0);
	return 0;
}

static void test_destinations(void **state)
{
	struct shim *s = st_shim();

	st_need_root();
	expect(TYPE, NEXT, MVPN_C_PASS_NEVER);
	assert_int_equal(shim_frame_set(s, dst, TYPE, 1, BOTH), 0);
	expect(TYPE, REDIRECT, MVPN_C_TO_TAP);
	expect(0x88b6, NEXT, MVPN_C_PASS_NEVER);
	assert_int_equal(shim_frame_set(s, dst, TYPE, 2, BOTH), 0);
	expect(TYPE, REDIRECT, MVPN_C_TO_TAP_HELD);
	assert_int_equal(shim_frame_set(s, dst, TYPE, 3, BOTH), 0);
	expect(TYPE, SHOT, MVPN_C_DROP_DENIED);
	/* the other direction only: not sealed, so not at all */
	assert_int_equal(shim_frame_set(s, dst, TYPE, 1, MVPN_FRAME_RX), 0);
	expect(TYPE, SHOT, MVPN_C_DROP_DENIED);
	assert_int_equal(shim_frame_set(s, dst, TYPE, MVPN_PEER_NONE, BOTH), 0);
	expect(TYPE, SHOT, MVPN_C_DROP_NO_OWNER);
	/* the source's entry is no matter on the way out */
	assert_int_equal(shim_frame_unset(s, dst, TYPE), 0);
	assert_int_equal(shim_frame_set(s, src, TYPE, 1, BOTH), 0);
	expect(TYPE, NEXT, MVPN_C_PASS_NEVER);
}

/* an entry of the type itself goes before one of every type, and that before what covers the rest */
static void test_order(void **state)
{
	struct shim *s = st_shim();

	st_need_root();
	assert_int_equal(shim_frame_set(s, none, TYPE, MVPN_PEER_NONE, 0), 0);
	expect(TYPE, SHOT, MVPN_C_DROP_NO_OWNER);
	expect(0x88b6, NEXT, MVPN_C_PASS_NEVER);
	assert_int_equal(shim_frame_set(s, none, ETHER_ANY, MVPN_PEER_NONE, 0), 0);
	expect(0x88b6, SHOT, MVPN_C_DROP_NO_OWNER);
	assert_int_equal(shim_frame_set(s, dst, ETHER_ANY, 1, BOTH), 0);
	expect(TYPE, REDIRECT, MVPN_C_TO_TAP);
	expect(0x88b6, REDIRECT, MVPN_C_TO_TAP);
	assert_int_equal(shim_frame_set(s, dst, TYPE, 3, BOTH), 0);
	expect(TYPE, SHOT, MVPN_C_DROP_DENIED);
	expect(0x88b6, REDIRECT, MVPN_C_TO_TAP);
}

static void test_never(void **state)
{
	static const uint16_t types[] = {0x0000, 0x002e, 0x05ff, 0x0806, 0x8809, 0x888e, 0x88cc};
	struct shim *s = st_shim();
	struct packet p;

	st_need_root();
	assert_int_equal(shim_frame_set(s, dst, ETHER_ANY, 1, BOTH), 0);
	assert_int_equal(shim_frame_set(s, src, ETHER_ANY, 1, BOTH), 0);
	for (unsigned i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		expect(types[i], NEXT, MVPN_C_PASS_NEVER);
		frame(&p, types[i]);
		memset(p.b, 0, 6);
		st_expect(s, INGRESS(s), &p, NEXT, NO_COUNTER);
	}
	/* IP is judged by its addresses, whoever the frame is for */
	pkt_simple(&p, "10.9.0.1", "10.99.0.1");
	st_expect(s, EGRESS(s), &p, NEXT, MVPN_C_PASS_UNPROTECTED);
	/* groups are in no pair, not even where all addresses are covered */
	assert_int_equal(shim_frame_set(s, none, ETHER_ANY, MVPN_PEER_NONE, 0), 0);
	frame(&p, TYPE);
	p.b[0] |= 1;
	st_expect(s, EGRESS(s), &p, NEXT, MVPN_C_PASS_NEVER);
}

/* the type behind the tag decides, and the tag stays on */
static void test_vlan(void **state)
{
	struct shim *s = st_shim();
	struct packet p, after;

	st_need_root();
	assert_int_equal(shim_frame_set(s, dst, TYPE, 1, BOTH), 0);
	pkt_eth(&p, 0x8100);
	pkt_vlan(&p, 0x8100, 7, TYPE);
	pkt_bytes(&p, NULL, 46);
	assert_int_equal(st_prog_run(EGRESS(s), &p, &after), REDIRECT);
	assert_int_equal(after.len, p.len);
	assert_memory_equal(after.b, p.b, p.len);
	pkt_eth(&p, 0x8100);
	pkt_vlan(&p, 0x8100, 7, 0x88b6);
	pkt_bytes(&p, NULL, 46);
	st_expect(s, EGRESS(s), &p, NEXT, MVPN_C_PASS_NEVER);
}

static void test_keyd_down(void **state)
{
	struct shim *s = st_shim();
	struct mvpn_config c = {.udp_port = 7469};

	st_need_root();
	assert_int_equal(shim_frame_set(s, dst, TYPE, 1, BOTH), 0);
	assert_int_equal(shim_config(s, &c), 0);
	expect(TYPE, SHOT, MVPN_C_DROP_KEYD_DOWN);
	expect(0x88b6, NEXT, MVPN_C_PASS_NEVER);
	st_alive(s);
	expect(TYPE, REDIRECT, MVPN_C_TO_TAP);
	/* it runs, and has no tap for frames */
	assert_int_equal(shim_frame_tap(s, 0, NULL), 0);
	expect(TYPE, SHOT, MVPN_C_DROP_KEYD_DOWN);
}

static int guard_run(const struct packet *p, uint32_t mark, uint32_t *ret_mark)
{
	struct __sk_buff ctx = {.mark = mark}, out = {0};
	LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = p->b, .data_size_in = p->len, .ctx_in = &ctx,
		    .ctx_size_in = sizeof(ctx), .ctx_out = &out, .ctx_size_out = sizeof(out),
		    .repeat = 1);

	assert_int_equal(bpf_prog_test_run_opts(INGRESS(st_shim()), &o), 0);
	*ret_mark = out.mark;
	return (int)o.retval;
}

/* the test's frames arrive on lo, whose own address is zero */
static void test_guard(void **state)
{
	struct shim *s = st_shim();
	struct packet p;
	uint32_t mark;

	st_need_root();
	assert_int_equal(shim_frame_set(s, src, TYPE, 1, BOTH), 0);
	frame(&p, TYPE);
	memset(p.b, 0, 6);
	st_expect(s, INGRESS(s), &p, SHOT, MVPN_C_INGRESS_CLEAR);
	/* only in one direction, and without keyd: a pair's frames are never in clear */
	assert_int_equal(shim_frame_set(s, src, TYPE, 1, MVPN_FRAME_TX), 0);
	st_expect(s, INGRESS(s), &p, SHOT, MVPN_C_INGRESS_CLEAR);
	frame(&p, 0x88b6);
	memset(p.b, 0, 6);
	st_expect(s, INGRESS(s), &p, NEXT, NO_COUNTER);
	/* for somebody else, seen in passing */
	frame(&p, TYPE);
	st_expect(s, INGRESS(s), &p, NEXT, NO_COUNTER);
	/* from somebody else */
	memset(p.b, 0, 6);
	p.b[11] ^= 1;
	st_expect(s, INGRESS(s), &p, NEXT, NO_COUNTER);
	p.b[11] ^= 1;
	/* what was opened here has the mark, and loses it */
	assert_int_equal(guard_run(&p, st_mark(), &mark), NEXT);
	assert_int_equal(mark, 0);
	assert_int_equal(guard_run(&p, st_mark() + 1, &mark), SHOT);
	/* no mark is none when there is no tap */
	assert_int_equal(shim_frame_tap(s, 0, NULL), 0);
	assert_int_equal(guard_run(&p, 0, &mark), SHOT);
}

static void test_deliver(void **state)
{
	struct shim_port port = {.ifindex = if_nametoindex("lo")};
	struct shim *s = st_shim();
	int prog = st_shim() ? bpf_program__fd(s->bpf->progs.deliver) : -1;
	struct packet p;

	st_need_root();
	memcpy(port.mac, dst, 6);
	frame(&p, TYPE);
	assert_int_equal(shim_ports_set(s, NULL, 0), 0);
	st_expect(s, prog, &p, SHOT, MVPN_C_DROP_NO_OWNER);
	assert_int_equal(shim_ports_set(s, &port, 1), 0);
	st_expect(s, prog, &p, REDIRECT, NO_COUNTER);
	frame(&p, 0x0806);
	st_expect(s, prog, &p, SHOT, MVPN_C_DROP_MALFORMED);
	pkt_simple(&p, "10.9.0.1", "10.99.0.1");
	st_expect(s, prog, &p, SHOT, MVPN_C_DROP_MALFORMED);
	assert_int_equal(shim_frame_tap(s, 0, NULL), 0);
	frame(&p, TYPE);
	st_expect(s, prog, &p, SHOT, MVPN_C_DROP_MALFORMED);
}

/* the tables outlive keyd, the way to the fast path does not */
static void test_reopened(void **state)
{
	struct shim *s = st_shim();

	st_need_root();
	assert_int_equal(shim_frame_set(s, dst, TYPE, 1, BOTH), 0);
	s = st_reopen();
	st_alive(s);
	expect(TYPE, SHOT, MVPN_C_DROP_KEYD_DOWN);
	assert_int_equal(shim_frame_set(s, dst, TYPE, MVPN_PEERS_MAX, BOTH), -EINVAL);
}

static void test_ports_are_exactly_those(void **state)
{
	struct shim_port many[MVPN_MACS_MAX];
	struct shim *s = st_shim();
	int fd = st_shim() ? bpf_map__fd(s->bpf->maps.ports) : -1;
	struct mvpn_port_key k = {0};
	uint32_t ifindex;

	st_need_root();
	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < MVPN_MACS_MAX; i++)
			many[i] = (struct shim_port){{2, (uint8_t)round, 0, 0, 0, (uint8_t)i}, i + 1};
		assert_int_equal(shim_ports_set(s, many, MVPN_MACS_MAX), 0);
	}
	memcpy(k.mac, many[3].mac, 6);
	assert_int_equal(bpf_map_lookup_elem(fd, &k, &ifindex), 0);
	assert_int_equal(ifindex, 4);
	k.mac[1] = 0;
	assert_true(bpf_map_lookup_elem(fd, &k, &ifindex) < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_destinations, rules),
		cmocka_unit_test_setup(test_order, rules),
		cmocka_unit_test_setup(test_never, rules),
		cmocka_unit_test_setup(test_vlan, rules),
		cmocka_unit_test_setup(test_keyd_down, rules),
		cmocka_unit_test_setup(test_guard, rules),
		cmocka_unit_test_setup(test_deliver, rules),
		cmocka_unit_test_setup(test_ports_are_exactly_those, rules),
		cmocka_unit_test_setup(test_reopened, rules),
	};

	return cmocka_run_group_tests(tests, st_setup, st_teardown);
}
