/* SPDX-License-Identifier: BSD-2-Clause */
/* Sources that a gateway translates: what a packet looks like on either side, its checksums, and what is refused. */
#include "translated.h"

#include "loop.h"

static void there_and_back(const struct side *s, uint8_t protocol)
{
	struct packet p, after, reply;
	uint16_t as;

	make(&p, s, protocol, s->device, 4000, s->host, 80, false);
	assert_int_equal(run(out_fd, &p, LO, &after), NEXT);
	expect_addr(&after, after.l3, true, s->own);
	expect_addr(&after, after.l3, false, s->host);
	as = port(&after, l4(&after), true);
	assert_in_range(as, MVPN_TRANSLATE_PORT_MIN, 65535);
	expect_sums(&after);
	/* the same flow again goes the same way */
	assert_int_equal(run(out_fd, &p, LO, &reply), NEXT);
	assert_memory_equal(reply.b, after.b, after.len);

	make(&reply, s, protocol, s->host, 80, s->own, as, true);
	assert_int_equal(run(in_fd, &reply, 0, &after), NEXT);
	expect_addr(&after, after.l3, true, s->host);
	expect_addr(&after, after.l3, false, s->device);
	assert_int_equal(port(&after, l4(&after), false), 4000);
	expect_sums(&after);
	/* another port, another host: this host's own affair */
	make(&reply, s, protocol, s->host, 80, s->own, as ^ 1, true);
	expect_untouched(&reply, in_fd, 0);
	make(&reply, s, protocol, s->router, 80, s->own, as, true);
	expect_untouched(&reply, in_fd, 0);
}

static void test_there_and_back(void **state)
{
	st_need_root();
	for (int i = 0; i < 2; i++) {
		there_and_back(&sides[i], 6);
		there_and_back(&sides[i], 17);
		there_and_back(&sides[i], sides[i].icmp);
	}
}

static void test_no_checksum_stays_none(void **state)
{
	struct packet p, after;

	st_need_root();
	make(&p, &sides[0], 17, sides[0].device, 4000, sides[0].host, 80, false);
	put(p.b + sum_at(&p), 0);
	assert_int_equal(run(out_fd, &p, LO, &after), NEXT);
	assert_int_equal(get(after.b + sum_at(&after)), 0);
}

/* an error of a router about what a device has sent, and the device's about what it was sent */
static void errors(const struct side *s, uint8_t protocol)
{
	uint8_t error[8 + 60] = {s->icmp == ICMP ? 3 : 1, 1};
	unsigned quote = s->icmp == ICMP ? 28 : 48, at;
	struct packet p, sent, after;
	uint16_t as;

	make(&p, s, protocol, s->device, 4001, s->host, 80, false);
	assert_int_equal(run(out_fd, &p, LO, &sent), NEXT);
	as = port(&sent, l4(&sent), true);
	memcpy(error + 8, sent.b + sent.l3, quote);
	ip(&p, s, s->router, s->own, s->icmp);
	pkt_bytes(&p, error, 8 + quote);
	finish(&p);
	assert_int_equal(run(in_fd, &p, 0, &after), NEXT);
	expect_addr(&after, after.l3, false, s->device);
	expect_sums(&after);
	at = l4(&after) + 8;
	expect_addr(&after, at, true, s->device);
	expect_addr(&after, at, false, s->host);
	assert_int_equal(get(after.b + at + quote - 8 + (protocol == s->icmp ? 4 : 0)), 4001);
	if (s->icmp == ICMP)
		assert_int_equal(fold(add(0, after.b + at, 20)), 0xffff);

	make(&p, s, protocol, s->host, 80, s->device, 4001, true);
	memcpy(error + 8, p.b + p.l3, quote);
	ip(&p, s, s->device, s->host, s->icmp);
	pkt_bytes(&p, error, 8 + quote);
	finish(&p);
	assert_int_equal(run(out_fd, &p, LO, &after), NEXT);
	expect_addr(&after, after.l3, true, s->own);
	expect_sums(&after);
	at = l4(&after) + 8;
	expect_addr(&after, at, false, s->own);
	assert_int_equal(get(after.b + at + quote - 8 + (protocol == s->icmp ? 4 : 2)), as);
}

static void test_errors(void **state)
{
	st_need_root();
	for (int i = 0; i < 2; i++) {
		errors(&sides[i], 6);
		errors(&sides[i], 17);
		errors(&sides[i], sides[i].icmp);
	}
}

/* this host's own, not a device's, not to where it is asked for */
static void test_others_are_left_alone(void **state)
{
	const struct side *s = &sides[0];
	struct packet p;

	st_need_root();
	make(&p, s, 6, s->device, 4000, s->host, 80, false);
	expect_untouched(&p, out_fd, 0);
	make(&p, s, 6, "10.9.0.1", 4000, s->host, 80, false);
	expect_untouched(&p, out_fd, LO);
	make(&p, s, 6, s->device, 4000, "10.5.0.9", 80, false);
	expect_untouched(&p, out_fd, LO);
	make(&p, s, 6, s->own, 4000, s->host, 80, false);
	expect_untouched(&p, out_fd, LO);
	pkt_eth(&p, 0x0806);
	pkt_bytes(&p, NULL, 28);
	expect_untouched(&p, out_fd, LO);
	expect_untouched(&p, in_fd, 0);
}

static void test_what_cannot_is_dropped(void **state)
{
	const struct side *s = &sides[0];
	uint8_t unreachable[8 + 28] = {3, 1, [8] = 0x45};
	struct packet p;

	st_need_root();
	ip(&p, s, s->device, s->host, 47);
	pkt_bytes(&p, NULL, 40);
	pkt_done(&p);
	expect_dropped(&p, MVPN_T_UNTRANSLATABLE);
	ip(&p, s, s->device, s->host, ICMP);
	pkt_bytes(&p, unreachable, sizeof(unreachable));
	finish(&p);
	expect_dropped(&p, MVPN_T_UNTRANSLATABLE);
	ip(&p, s, s->device, s->host, ICMP);
	pkt_bytes(&p, unreachable, 8);
	finish(&p);
	expect_dropped(&p, MVPN_T_UNTRANSLATABLE);
	/* no address to translate to */
	assert_int_equal(
		shim_translate_set(st_shim(),
				   &(struct shim_behind){.ifindex = LO, .addr = {.b = {0xfd}}}, 1),
		0);
	make(&p, s, 17, s->device, 4003, s->host, 80, false);
	expect_dropped(&p, MVPN_T_FULL);
}

static void one_more(void *arg, const struct mvpn_flow_key *flow)
{
	++*(unsigned *)arg;
}

/* one round over all flows, at that time; how many are left */
static unsigned sweep(uint64_t now_ns)
{
	unsigned flows = 0;

	while (!shim_translate_sweep(st_shim(), 1000, now_ns, one_more, &flows))
		;
	return flows;
}

/* no two flows to one end have the same port, there is an end to them, and room again when they are idle */
static void test_ports_run_out(void **state)
{
	static bool seen[65536];
	const struct side *s = &sides[0];
	unsigned got = 0, refused = 0;
	struct packet p, after;

	st_need_root();
	memset(seen, 0, sizeof(seen));
	assert_int_equal(shim_translate_most(st_shim(), MVPN_TRANSLATIONS_MAX), 0);
	sweep(UINT64_MAX); /* what other tests have left */
	for (unsigned i = 0; i < MVPN_TRANSLATE_PORTS + 500; i++) {
		uint16_t as;

		make(&p, s, 17, s->device, (uint16_t)(1000 + i), s->host, 53, false);
		if (run(out_fd, &p, LO, &after) == SHOT) {
			refused++;
			continue;
		}
		as = port(&after, l4(&after), true);
		assert_in_range(as, MVPN_TRANSLATE_PORT_MIN, 65535);
		assert_false(seen[as]);
		seen[as] = true;
		got++;
	}
	assert_in_range(got, MVPN_TRANSLATE_PORTS / 2, MVPN_TRANSLATE_PORTS);
	assert_int_equal(counted(MVPN_T_FULL), refused);
	/* to another end the same ports */
	make(&p, s, 17, s->device, 1000, s->host, 54, false);
	assert_int_equal(run(out_fd, &p, LO, &after), NEXT);

	assert_int_equal(sweep(mono_ns()), got + 1);
	assert_int_equal(sweep(mono_ns() + MVPN_TRANSLATE_UDP_S * 1000000000ULL + 1), 0);
	assert_int_equal(sweep(mono_ns()), 0);
	make(&p, s, 17, s->device, 1000, s->host, 53, false);
	assert_int_equal(run(out_fd, &p, LO, &after), NEXT);
}

static void share(void *arg, uint32_t peer, const struct mvpn_share *of)
{
	((struct mvpn_share *)arg)[peer] = *of;
}

static bool another(const char *device, uint16_t port)
{
	struct packet p, after;

	make(&p, &sides[0], 17, device, port, sides[0].host, 53, false);
	return run(out_fd, &p, LO, &after) == NEXT;
}

/* one device has no more than its share, whatever addresses it sends from; others go on, and it does as its flows end */
static void test_one_device_has_its_share(void **state)
{
	struct mvpn_share_counted c = {.flows = 3};
	struct mvpn_share of[3] = {{0}};

	st_need_root();
	assert_int_equal(shim_translate_most(st_shim(), 10), 0);
	for (uint16_t i = 0; i < 10; i++)
		assert_true(another(i & 1 ? "10.1.0.7" : "10.1.0.8", (uint16_t)(4000 + i)));
	assert_false(another("10.1.0.7", 5000));
	assert_false(another("10.1.0.9", 5000));
	assert_int_equal(counted(MVPN_T_SHARE), 2);
	assert_true(another("10.1.0.7", 4001)); /* which it has */
	assert_true(another("10.2.0.7", 4000));
	shim_shares_each(st_shim(), share, of);
	assert_int_equal(of[1].made, 10);
	assert_int_equal(of[1].refused, 2);
	assert_int_equal(of[2].made, 1);
	/* as keyd counts, while another one is begun */
	c.made = 9;
	assert_int_equal(shim_share_counted(st_shim(), 1, &c), 0);
	for (uint16_t i = 0; i < 6; i++)
		assert_true(another("10.1.0.7", (uint16_t)(6000 + i)));
	assert_false(another("10.1.0.7", 7000));
	assert_int_equal(shim_share_counted(st_shim(), 1, NULL), 0);
	assert_true(another("10.1.0.7", 7000));
	/* of a count that was longer ago than the entry */
	c.made = 1000;
	assert_int_equal(shim_share_counted(st_shim(), 1, &c), 0);
	assert_true(another("10.1.0.7", 7001));
	sweep(UINT64_MAX);
}

/* another keyd takes the flows up, and one that translates nothing leaves no program */
static void test_flows_outlive_keyd(void **state)
{
	struct shim_behind behind = {.ifindex = LO};
	const struct side *s = &sides[0];
	struct packet p, before, after;
	char path[256], *left;

	st_need_root();
	make(&p, s, 6, s->device, 4000, s->host, 80, false);
	assert_int_equal(run(out_fd, &p, LO, &before), NEXT);
	close(out_fd);
	st_reopen();
	out_fd = prog_of("out"); /* still there */
	close(out_fd);
	assert_int_equal(shim_translate_start(st_shim(), NULL), 0);
	assert_int_equal(mvpn_addr_parse(&behind.addr, s->own), 0);
	assert_int_equal(shim_translate_most(st_shim(), MVPN_TRANSLATIONS_EACH), 0);
	assert_int_equal(shim_translate_set(st_shim(), &behind, 1), 0);
	out_fd = prog_of("out");
	assert_int_equal(run(out_fd, &p, LO, &after), NEXT);
	assert_memory_equal(after.b, before.b, before.len);
	st_reopen();
	shim_translate_stop(st_shim());
	snprintf(path, sizeof(path), "%s/translate-%d-out", st_pin_dir(), LO);
	assert_int_equal(access(path, F_OK), -1);
	left = st_output("tc filter show dev lo egress 2>/dev/null; tc qdisc show dev lo clsact");
	assert_string_equal(left, "");
	free(left);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_there_and_back, up, down),
		cmocka_unit_test_setup_teardown(test_no_checksum_stays_none, up, down),
		cmocka_unit_test_setup_teardown(test_errors, up, down),
		cmocka_unit_test_setup_teardown(test_others_are_left_alone, up, down),
		cmocka_unit_test_setup_teardown(test_what_cannot_is_dropped, up, down),
		cmocka_unit_test_setup_teardown(test_ports_run_out, up, down),
		cmocka_unit_test_setup_teardown(test_one_device_has_its_share, up, down),
		cmocka_unit_test_setup_teardown(test_flows_outlive_keyd, up, down),
	};

	return cmocka_run_group_tests(tests, st_setup, st_teardown);
}
