/* SPDX-License-Identifier: BSD-2-Clause */
/* Several gateways to one prefix: who is told of them, and sessions with those that stand by. */
#include "../sim/sim.h"

#include <string.h>

#define BEHIND "10.9.0.0/24"
#define HOST "10.9.0.5"

/* what the last message says of the gateways to BEHIND; 0: nothing */
static unsigned told(const struct sim_device *d, const uint8_t *ret[MVPN_GATEWAYS_MAX])
{
	struct mvpn_prefix p;
	struct chan_tlv t;
	unsigned n = 0;
	size_t pos = 0;

	assert_int_equal(mvpn_prefix_parse(&p, BEHIND), 0);
	while (chan_tlv_next(&d->msg, &pos, &t)) {
		if (t.type != MVPN_TLV_GATEWAYS || t.value[0] != p.len ||
		    memcmp(t.value + 1, p.addr.b, 16))
			continue;
		for (n = 0; MVPN_TLV_GATEWAYS_HEAD_B + n * 16 < t.len; n++)
			ret[n] = t.value + MVPN_TLV_GATEWAYS_HEAD_B + n * 16;
	}
	return n;
}

/* takes in PREFIXES until one says that these are the gateways, in this order; y NULL: that x is the only one */
static void wait_gateways(struct sim_device *d, const struct sim_device *x,
			  const struct sim_device *y)
{
	const uint8_t *ids[MVPN_GATEWAYS_MAX];
	unsigned n;

	do {
		sim_expect(d, MVPN_MSG_PREFIXES);
		n = told(d, ids);
	} while (n != (y ? 2 : 1) || memcmp(ids[0], x->id, 16) ||
		 (y && memcmp(ids[1], y->id, 16)));
	assert_true(sim_has_prefix(d, BEHIND, x));
}

static void net_up(struct sim_net *n)
{
	sim_net_up(n);
	sim_join(&n->c, "c", C_ADDR);
	sim_policy(&n->s, "allow a -> b\nallow a -> c\nprotect " BEHIND " via b, c");
	wait_gateways(&n->a, &n->b, &n->c);
}

static void all_hear_of_all_in_order(void **state)
{
	struct sim_net n;

	net_up(&n);
	wait_gateways(&n.c, &n.b, &n.c);
	sim_policy(&n.s, "allow a -> b\nprotect " BEHIND " via c, b");
	wait_gateways(&n.a, &n.c, &n.b);
	sim_policy(&n.s, "allow a -> b\nprotect " BEHIND " via c, nobody");
	wait_gateways(&n.a, &n.c, NULL);
	/* one that does not exist yet */
	sim_policy(&n.s, "allow a -> b\nprotect " BEHIND " via nobody, b, c");
	wait_gateways(&n.a, &n.b, &n.c);
	json_decref(sim_ok(&n.s, "device-rename", "{s:s, s:s}", "device", "c", "name", "nobody"));
	wait_gateways(&n.a, &n.c, &n.b);
	sim_policy(&n.s, "allow a -> b");
	sim_wait_no_prefix(&n.a, BEHIND);
	sim_net_down(&n);
}

/* who is removed leaves the prefix to the others */
static void the_next_one_takes_its_place(void **state)
{
	struct sim_net n;

	net_up(&n);
	sim_hang_up(&n.b);
	json_decref(sim_ok(&n.s, "device-revoke", "{s:s}", "device", "b"));
	json_decref(sim_ok(&n.s, "device-remove", "{s:s}", "device", "b"));
	wait_gateways(&n.a, &n.c, NULL);
	sim_net_down(&n);
}

static void who_stands_by_is_introduced_when_meant(void **state)
{
	struct intro_keys ka, kb;
	struct intro_selectors sel;
	uint8_t session[16];
	struct sim_request q;
	struct mvpn_addr host;
	struct sim_net n;
	const uint8_t *p;
	uint16_t len;

	net_up(&n);
	sim_introduce(&n.a, &n.b, HOST, session);
	sim_request_make(&n.a, HOST, &q);
	q.meant = n.c.id;
	sim_request_send(&n.a, &q);
	sim_expect(&n.c, MVPN_MSG_OFFER);
	p = chan_tlv_find(&n.c.msg, MVPN_TLV_SELECTORS, &len);
	assert_int_equal(intro_selectors_decode(&sel, p, len), 0);
	assert_int_equal(mvpn_addr_parse(&host, HOST), 0);
	assert_true(mvpn_prefixes_contain(sel.b, sel.nb, &host));
	sim_accept(&n.c, session, &kb);
	sim_expect(&n.a, MVPN_MSG_ANSWER);
	assert_int_equal(sim_finish(&n.a, &q, &ka), 0);
	assert_memory_equal(ka.tx, kb.rx, 32);
	/* the policy still decides, and nobody is meant who is no gateway to it */
	sim_request_make(&n.c, A_ADDR, &q);
	q.meant = n.b.id;
	sim_request_send(&n.c, &q);
	sim_expect_fail(&n.c, MVPN_R_UNKNOWN_DST);
	intro_a_free(q.a);
	/* it stands by no more: its session goes, for it names the prefix */
	sim_policy(&n.s, "allow a -> b\nallow a -> c\nprotect " BEHIND " via b");
	sim_expect_about(&n.a, MVPN_MSG_PEER_RESET, &n.c);
	sim_request_make(&n.a, HOST, &q);
	q.meant = n.c.id;
	sim_request_send(&n.a, &q);
	sim_expect_fail(&n.a, MVPN_R_UNKNOWN_DST);
	intro_a_free(q.a);
	sim_net_down(&n);
}

/* also of a prefix with one gateway, and it is taken back */
static void that_sources_are_translated_is_told(void **state)
{
	const uint8_t *ids[MVPN_GATEWAYS_MAX];
	struct sim_net n;

	sim_net_up(&n);
	for (unsigned i = 0; i < 2; i++) {
		sim_policy(&n.s, "allow a -> b\nprotect " BEHIND " via b source translated");
		do
			sim_expect(&n.a, MVPN_MSG_PREFIXES);
		while (told(&n.a, ids) != 1);
		assert_memory_equal(ids[0], n.b.id, 16);
		assert_int_equal(ids[0][-1], MVPN_GATEWAYS_TRANSLATED);
		sim_policy(&n.s, "allow a -> b\nprotect " BEHIND " via b source kept");
		wait_gateways(&n.a, &n.b, NULL); /* one alone is told of, too */
		assert_int_equal(told(&n.a, ids), 1);
		assert_int_equal(ids[0][-1], 0);
	}
	sim_net_down(&n);
}

/* a device that comes back after a change of those that stand by hears of it */
static void who_stands_by_is_part_of_the_state(void **state)
{
	struct sim_net n;
	unsigned resets;

	net_up(&n);
	n.a.says_set = true;
	sim_hang_up(&n.a);
	sim_policy(&n.s, "allow a -> b\nprotect " BEHIND " via b");
	sim_policy(&n.s, "allow a -> b\nallow a -> c\nprotect " BEHIND " via b, c");
	sim_server_crash(&n.s);
	sim_server_start(&n.s);
	resets = n.a.resets;
	sim_rejoin(&n.a, A_ADDR);
	wait_gateways(&n.a, &n.b, &n.c);
	assert_int_equal(n.a.resets, resets + 1);
	sim_net_down(&n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_hear_of_all_in_order),
		cmocka_unit_test(the_next_one_takes_its_place),
		cmocka_unit_test(who_stands_by_is_introduced_when_meant),
		cmocka_unit_test(who_stands_by_is_part_of_the_state),
		cmocka_unit_test(that_sources_are_translated_is_told),
	};

	return MVPN_RUN(tests);
}
