/* SPDX-License-Identifier: BSD-2-Clause */
/* Opened packets go to the interface of their destination address, and the guard there lets them, and nothing like them, pass. */
#include <errno.h>
#include <net/if.h>
#include <string.h>

#include "shimtest.h"

static const uint8_t mac[6] = {2, 0, 0, 0, 0, 9};

static struct shim_arrival arrival(const char *to, const char *iface)
{
	struct shim_arrival a = {
		.ifindex = if_nametoindex(iface), .ethernet = true, .attached = true};

	memcpy(a.mac, mac, sizeof(mac));
	if (to)
		assert_int_equal(mvpn_addr_parse(&a.to, to), 0);
	return a;
}

/* as the tap has it: without a link header */
static void bare(struct packet *p, const char *src, const char *dst)
{
	pkt_simple(p, src, dst);
	pkt_bare(p);
}

static int run(int prog, const struct packet *p, uint32_t *mark, struct packet *ret)
{
	struct __sk_buff ctx = {.mark = *mark}, out = {0};
	LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = p->b, .data_size_in = p->len,
		    .data_out = ret->b, .data_size_out = sizeof(ret->b), .ctx_in = &ctx,
		    .ctx_size_in = sizeof(ctx), .ctx_out = &out, .ctx_size_out = sizeof(out),
		    .repeat = 1);

	assert_int_equal(bpf_prog_test_run_opts(prog, &o), 0);
	ret->len = o.data_size_out;
	*mark = out.mark;
	return (int)o.retval;
}

static int arrive(const char *src, const char *dst, uint32_t *mark, struct packet *ret)
{
	struct packet p;

	*mark = 0;
	bare(&p, src, dst);
	return run(bpf_program__fd(st_shim()->bpf->progs.arrive), &p, mark, ret);
}

static void test_interface(void **state)
{
	struct shim_arrival list[2];
	struct packet after, whole;
	struct shim *s = st_shim();
	uint32_t mark;

	st_need_root();
	list[0] = arrival("10.5.0.1", "lo");
	list[1] = arrival("fd05::1", "lo");
	assert_int_equal(shim_arrivals_set(s, list, 2), 0);
	/* with a link header of that interface, and otherwise as it was */
	assert_int_equal(arrive("10.1.0.1", "10.5.0.1", &mark, &after), REDIRECT);
	assert_int_equal(mark, st_mark());
	pkt_simple(&whole, "10.1.0.1", "10.5.0.1");
	assert_int_equal(after.len, whole.len);
	assert_memory_equal(after.b, mac, 6);
	assert_memory_equal(after.b + 12, whole.b + 12, whole.len - 12);
	assert_int_equal(arrive("fd01::1", "fd05::1", &mark, &after), REDIRECT);
	pkt_simple(&whole, "fd01::1", "fd05::1");
	assert_memory_equal(after.b + 12, whole.b + 12, whole.len - 12);
	/* others stay on the tap, until there is a place for the rest */
	assert_int_equal(arrive("10.1.0.1", "10.5.0.2", &mark, &after), NEXT);
	assert_int_equal(mark, 0);
	list[1] = arrival(NULL, "lo");
	assert_int_equal(shim_arrivals_set(s, list, 2), 0);
	assert_int_equal(arrive("10.1.0.1", "10.5.0.2", &mark, &after), REDIRECT);
	assert_int_equal(arrive("fd01::1", "fd05::1", &mark, &after), REDIRECT);
	assert_int_equal(shim_arrivals_set(s, NULL, 0), 0);
	assert_int_equal(arrive("10.1.0.1", "10.5.0.1", &mark, &after), NEXT);
}

static void test_other_devices(void **state)
{
	struct shim_arrival one;
	struct shim *s = st_shim();
	struct packet after;
	uint32_t mark;

	st_need_root();
	/* nobody would take the mark off there */
	one = arrival("10.5.0.1", "lo");
	one.attached = false;
	assert_int_equal(shim_arrivals_set(s, &one, 1), 0);
	assert_int_equal(arrive("10.1.0.1", "10.5.0.1", &mark, &after), REDIRECT);
	assert_int_equal(mark, 0);
	one.ethernet = false;
	assert_int_equal(shim_arrivals_set(s, &one, 1), 0);
	assert_int_equal(arrive("10.1.0.1", "10.5.0.1", &mark, &after), REDIRECT);
	assert_int_equal(after.b[0], 0x45);
}

/* what should be translated and cannot be does not go on with the device's address */
static void test_untranslated(void **state)
{
	struct shim *s = st_shim();
	struct mvpn_config c;
	struct packet after;
	uint32_t mark;

	st_need_root();
	st_protect(s, "10.6.0.0/16", 0, MVPN_PROT_LOCAL | MVPN_PROT_TRANSLATED);
	for (unsigned cannot = 0; cannot < 2; cannot++) {
		assert_int_equal(shim_get_config(s, &c), 0);
		c.flags = cannot ? MVPN_CONFIG_UNTRANSLATED : 0;
		assert_int_equal(shim_config(s, &c), 0);
		assert_int_equal(arrive("10.1.0.1", "10.6.0.1", &mark, &after), cannot ? SHOT : NEXT);
		assert_int_equal(arrive("10.1.0.1", "10.5.0.9", &mark, &after), NEXT);
	}
}

/* ---- what has been received of a flow ---- */

static int received(void *arg, const struct mvpn_flow_key *k, const struct mvpn_flow *f)
{
	uint64_t *ret = arg;

	if (k->dport == htons(2001)) {
		ret[0]++;
		ret[1] += f->bytes_in;
	}
	return 0;
}

static void udp_to_tap(const char *src, uint16_t sport, const char *dst, uint16_t dport, unsigned payload)
{
	struct packet p = {0}, after;
	uint32_t mark = 0;

	pkt_eth(&p, strchr(src, ':') ? 0x86dd : 0x0800);
	if (strchr(src, ':'))
		pkt_ip6(&p, src, dst, IPPROTO_UDP);
	else
		pkt_ip4(&p, src, dst, IPPROTO_UDP);
	pkt_udp(&p, sport, dport, payload);
	pkt_done(&p);
	if (sport == 1001) { /* out */
		assert_int_equal(st_prog_run(EGRESS(st_shim()), &p, NULL), REDIRECT);
		return;
	}
	pkt_bare(&p);
	assert_int_equal(run(bpf_program__fd(st_shim()->bpf->progs.arrive), &p, &mark, &after), NEXT);
}

/* of a flow that this host sends, and of no other: what comes makes none */
static void test_received(void **state)
{
	static const char *const ends[][2] = {{"10.5.0.1", "10.1.0.1"}, {"fd05::1", "fd01::1"}};
	struct shim *s = st_shim();

	st_need_root();
	assert_int_equal(shim_arrivals_set(s, NULL, 0), 0);
	for (unsigned v6 = 0; v6 < 2; v6++) {
		const char *here = ends[v6][0], *there = ends[v6][1];
		unsigned headers = (v6 ? 40 : 20) + 8;
		uint64_t n[2] = {0};

		udp_to_tap(there, 2001, here, 1001, 100);
		udp_to_tap(here, 1001, there, 2001, 10);
		udp_to_tap(there, 2001, here, 1001, 100);
		udp_to_tap(there, 2001, here, 1001, 1300);
		udp_to_tap(there, 2001, here, 1002, 100);
		udp_to_tap(there, 2002, here, 1001, 100);
		assert_int_equal(shim_flows_each(s, received, n), 0);
		assert_int_equal(n[0], 1 + v6);
		assert_int_equal(n[1], v6 ? 2 * headers + 1400 + 1456 : 2 * headers + 1400);
	}
}

static void test_guard(void **state)
{
	struct shim *s = st_shim();
	struct packet p, after;
	uint32_t mark;

	st_need_root();
	pkt_simple(&p, "10.1.0.1", "10.5.0.1");
	st_expect(s, INGRESS(s), &p, SHOT, MVPN_C_INGRESS_CLEAR);
	mark = st_mark();
	assert_int_equal(run(INGRESS(s), &p, &mark, &after), NEXT);
	assert_int_equal(mark, 0);
	mark = st_mark() + 1;
	assert_int_equal(run(INGRESS(s), &p, &mark, &after), SHOT);
}

static void test_bounds(void **state)
{
	struct shim_arrival list[MVPN_ARRIVALS_MAX + 1];
	struct shim *s = st_shim();

	st_need_root();
	for (unsigned i = 0; i < MVPN_ARRIVALS_MAX + 1; i++) {
		list[i] = arrival("10.5.0.1", "lo");
		list[i].to.b[15] = (uint8_t)i;
	}
	assert_int_equal(shim_arrivals_set(s, list, MVPN_ARRIVALS_MAX + 1), -ENOSPC);
	assert_int_equal(shim_arrivals_set(s, list, MVPN_ARRIVALS_MAX), 0);
	/* all of them others: both sets fit for a moment */
	for (unsigned i = 0; i < MVPN_ARRIVALS_MAX; i++)
		list[i].to.b[14] = 1;
	assert_int_equal(shim_arrivals_set(s, list, MVPN_ARRIVALS_MAX), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_interface, st_policy),
		cmocka_unit_test_setup(test_other_devices, st_policy),
		cmocka_unit_test_setup(test_untranslated, st_policy),
		cmocka_unit_test_setup(test_received, st_policy),
		cmocka_unit_test_setup(test_guard, st_policy),
		cmocka_unit_test(test_bounds),
	};

	return cmocka_run_group_tests(tests, st_setup, st_teardown);
}
