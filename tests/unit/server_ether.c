/* SPDX-License-Identifier: BSD-2-Clause */
/* Frames at the server: who holds which MAC address, who is told, and sessions for frames. */
#include "../sim/sim.h"

#include <string.h>

#include "mvpn/ether.h"

#define BOTH (MVPN_FRAME_TX | MVPN_FRAME_RX)
#define TYPE 0x88b5

static const uint8_t mac_a[6] = {2, 0, 0, 0, 0, 0xa}, mac_a2[6] = {2, 0, 0, 0, 1, 0xa},
		     mac_b[6] = {2, 0, 0, 0, 0, 0xb}, mac_c[6] = {2, 0, 0, 0, 0, 0xc},
		     none[6] = {0};

/* d registers again, with this MAC address only */
static void claim(struct sim_device *d, const uint8_t mac[6], const char *address)
{
	memcpy(d->macs[0], mac, 6);
	d->nmacs = 1;
	sim_register(d, NULL, &address, 1);
	sim_expect(d, MVPN_MSG_WELCOME);
	sim_expect_frames(d);
}

static void net_up(struct sim_net *n, const char *policy)
{
	sim_net_up(n);
	sim_join(&n->c, "c", C_ADDR);
	claim(&n->a, mac_a, A_ADDR);
	claim(&n->b, mac_b, B_ADDR);
	claim(&n->c, mac_c, C_ADDR);
	assert_int_equal(n->a.naccepted_macs + n->b.naccepted_macs + n->c.naccepted_macs, 3);
	assert_int_equal(n->a.nframes + n->b.nframes + n->c.nframes, 0);
	sim_policy(&n->s, policy);
}

/* only those whom a rule pairs hear of each other, and what may go which way */
static void tables_follow_the_policy(void **state)
{
	struct sim_net n;

	net_up(&n, "ethernet a -> b type 0x88b5\nethernet only b -> a type 0x9000\n");
	sim_expect_frames(&n.a);
	sim_expect_frames(&n.b);
	assert_int_equal(n.a.nframes, 2);
	assert_int_equal(sim_frame_flags(&n.a, mac_b, TYPE, &n.b), BOTH);
	assert_int_equal(sim_frame_flags(&n.a, mac_b, 0x9000, &n.b), MVPN_FRAME_RX);
	assert_int_equal(n.b.nframes, 2);
	assert_int_equal(sim_frame_flags(&n.b, mac_a, TYPE, &n.a), BOTH);
	assert_int_equal(sim_frame_flags(&n.b, mac_a, 0x9000, &n.a), MVPN_FRAME_TX);
	assert_int_equal(n.c.nframes, 0);

	/* a rule for all types adds to what one for a type says */
	sim_policy(&n.s, "ethernet only a -> b type 0x88b5\nethernet only b -> a type *\n");
	sim_expect_frames(&n.a);
	assert_int_equal(n.a.nframes, 2);
	assert_int_equal(sim_frame_flags(&n.a, mac_b, TYPE, &n.b), BOTH);
	assert_int_equal(sim_frame_flags(&n.a, mac_b, ETHER_ANY, &n.b), MVPN_FRAME_RX);

	sim_policy(&n.s, "allow a -> b\n");
	sim_expect_frames(&n.a);
	assert_int_equal(n.a.nframes, 0);
	/* nothing for c in all that time, and nobody hears the same twice */
	sim_policy(&n.s, "allow b -> a\n");
	sim_expect_nothing(&n.c, 100);
	assert_int_equal(n.c.frame_commits, 2);
	assert_int_equal(n.a.frame_commits, 5);
	sim_net_down(&n);
}

static void tables_follow_the_addresses(void **state)
{
	struct sim_net n;

	net_up(&n, "ethernet a -> b type 0x88b5\n");
	sim_expect_frames(&n.b);
	assert_int_equal(sim_frame_flags(&n.b, mac_a, TYPE, &n.a), BOTH);
	claim(&n.a, mac_a2, A_ADDR);
	sim_expect_frames(&n.b);
	assert_int_equal(n.b.nframes, 1);
	assert_int_equal(sim_frame_flags(&n.b, mac_a2, TYPE, &n.a), BOTH);
	/* a device that is away, or revoked, keeps its addresses protected; one that is removed does not */
	json_decref(sim_ok(&n.s, "device-revoke", "{s:s}", "device", "a"));
	sim_expect_nothing(&n.b, 100);
	assert_int_equal(n.b.nframes, 1);
	json_decref(sim_ok(&n.s, "device-remove", "{s:s}", "device", "a"));
	sim_expect_frames(&n.b);
	assert_int_equal(n.b.nframes, 0);
	sim_net_down(&n);
}

static bool audited(struct sim_server *s, const char *event)
{
	json_t *o = sim_ok(s, "audit", NULL), *row;
	bool found = false;
	size_t i;

	json_array_foreach(json_object_get(o, "events"), i, row) found |=
		!strcmp(json_string_value(json_object_get(row, "event")), event);
	json_decref(o);
	return found;
}

static void a_held_address_is_not_given_twice(void **state)
{
	static const uint8_t group[6] = {1, 0, 0x5e, 0, 0, 1};
	struct sim_net n;

	net_up(&n, "ethernet a -> b type 0x88b5\n");
	claim(&n.c, mac_a, C_ADDR);
	assert_int_equal(n.c.naccepted_macs, 0);
	assert_int_equal(n.c.nrefused_macs, 1);
	assert_int_equal(n.c.refused_mac_reason, MVPN_R_MAC_TAKEN);
	claim(&n.c, group, C_ADDR);
	assert_int_equal(n.c.refused_mac_reason, MVPN_R_MAC_INVALID);
	claim(&n.c, none, C_ADDR);
	assert_int_equal(n.c.refused_mac_reason, MVPN_R_MAC_INVALID);
	assert_int_equal(sim_counter(&n.s, "mac_refused"), 3);
	assert_true(audited(&n.s, "mac-refused"));
	assert_true(audited(&n.s, "device-macs"));

	/* who is away keeps it, over a restart of the server too */
	sim_hang_up(&n.a);
	sim_hang_up(&n.b);
	sim_hang_up(&n.c);
	sim_server_stop(&n.s);
	sim_server_start(&n.s);
	sim_rejoin(&n.c, C_ADDR);
	claim(&n.c, mac_a, C_ADDR);
	assert_int_equal(n.c.refused_mac_reason, MVPN_R_MAC_TAKEN);
	/* until it is revoked */
	json_decref(sim_ok(&n.s, "device-revoke", "{s:s}", "device", "a"));
	claim(&n.c, mac_a, C_ADDR);
	assert_int_equal(n.c.naccepted_macs, 1);
	sim_net_down(&n);
}

/* more than a device can be told of: the types are protected whoever they go to, and dropped */
static void too_many_are_covered(void **state)
{
	char policy[2000] = "ethernet * -> * type 0x9000";
	struct sim_net n;

	for (unsigned i = 1; i < 30; i++)
		sprintf(policy + strlen(policy), ", 0x%x", 0x9000 + i);
	net_up(&n, policy);
	sim_expect_frames(&n.a);
	assert_int_equal(n.a.nframes, 60);
	assert_int_equal(sim_frame_flags(&n.a, none, 0x9000, NULL), -1);
	for (unsigned i = 0; i < 20; i++) {
		struct sim_device *d = malloc(sizeof(*d));
		char name[8], address[24];

		sim_device_init(d, &n.s);
		sprintf(name, "d%u", i);
		sprintf(address, "192.0.2.%u", 100 + i);
		for (d->nmacs = 0; d->nmacs < 8; d->nmacs++)
			memcpy(d->macs[d->nmacs], (uint8_t[6]){2, 1, 0, 0, (uint8_t)i, (uint8_t)d->nmacs},
			       6);
		sim_join(d, name, address);
		sim_device_free(d);
		free(d);
	}
	while (sim_frame_flags(&n.a, none, 0x9000, NULL) < 0)
		sim_expect_frames(&n.a);
	assert_true(n.a.nframes <= MVPN_FRAMES_MAX + 30);
	assert_int_equal(sim_frame_flags(&n.a, none, 0x901d, NULL), 0);
	assert_int_equal(sim_frame_flags(&n.a, mac_b, 0x9000, &n.b), BOTH);
	assert_true(sim_counter(&n.s, "frames_cut") > 0);
	sim_net_down(&n);
}

/* a session for frames: with empty selectors, by the ethernet lines alone, beside the one for packets */
static void sessions_for_frames(void **state)
{
	struct sim_net n;
	struct sim_request q;
	struct intro_keys ka, kb;
	struct intro_selectors sel;
	uint8_t session[16], layer;
	const uint8_t *p;
	uint16_t len;

	net_up(&n, "ethernet only a -> b type 0x88b5\nallow a -> c\n");
	sim_request(&n.a, B_ADDR, &q);
	sim_expect_fail(&n.a, MVPN_R_DENIED);
	intro_a_free(q.a);
	sim_request_link(&n.a, &n.c, &q);
	sim_expect_fail(&n.a, MVPN_R_DENIED);
	intro_a_free(q.a);
	sim_request_link(&n.b, &n.a, &q);
	sim_expect(&n.a, MVPN_MSG_OFFER);
	p = chan_tlv_find(&n.a.msg, MVPN_TLV_SELECTORS, &len);
	assert_int_equal(intro_selectors_decode(&sel, p, len), 0);
	assert_int_equal(sel.na + sel.nb, 0);
	sim_accept(&n.a, session, &kb);
	sim_expect(&n.b, MVPN_MSG_ANSWER);
	assert_int_equal(sim_finish(&n.b, &q, &ka), 0);
	assert_memory_equal(ka.tx, kb.rx, 32);

	/* the line goes, and with it the session, and no other */
	sim_policy(&n.s, "allow a -> b\n");
	sim_expect(&n.a, MVPN_MSG_REVOKE);
	assert_true(chan_get_u8(&n.a.msg, MVPN_TLV_LAYER, &layer));
	assert_int_equal(layer, MVPN_LAYER_LINK);
	sim_expect(&n.b, MVPN_MSG_REVOKE);
	sim_introduce(&n.a, &n.b, B_ADDR, session);
	sim_net_down(&n);
}

static void policy_test_names_the_lines(void **state)
{
	struct sim_net n;
	json_t *o, *e;

	net_up(&n, "allow a -> b\nethernet only a -> b type *\n");
	o = sim_ok(&n.s, "policy-test", "{s:s, s:s}", "src", "b", "dst", "a");
	assert_int_equal(json_array_size(json_object_get(o, "ethernet")), 1);
	e = json_array_get(json_object_get(o, "ethernet"), 0);
	assert_string_equal(json_string_value(json_object_get(e, "text")),
			    "ethernet only a -> b type *");
	assert_string_equal(json_string_value(json_object_get(e, "direction")), "in");
	assert_int_equal(json_integer_value(json_object_get(e, "line")), 2);
	json_decref(o);
	o = sim_ok(&n.s, "device-show", "{s:s}", "device", "a");
	assert_string_equal(json_string_value(json_array_get(json_object_get(o, "macs"), 0)),
			    "02:00:00:00:00:0a");
	json_decref(o);
	sim_net_down(&n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tables_follow_the_policy),
		cmocka_unit_test(tables_follow_the_addresses),
		cmocka_unit_test(a_held_address_is_not_given_twice),
		cmocka_unit_test(too_many_are_covered),
		cmocka_unit_test(sessions_for_frames),
		cmocka_unit_test(policy_test_names_the_lines),
	};

	return MVPN_RUN(tests);
}
