/* SPDX-License-Identifier: BSD-2-Clause */
/* What a device may not bring about for others, and what must hold after a crash in the wrong moment. */
#include "../sim/sim.h"

#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

static void say_ended(struct sim_device *d, const uint8_t session[16])
{
	struct chan_buf b = {0};
	struct sim_request q;

	chan_begin(&b, MVPN_MSG_ENDED, 0, 0);
	chan_put(&b, MVPN_TLV_SESSION, session, 16);
	sim_send(d, &b);
	chan_buf_free(&b);
	/* it has no answer, but what follows on the channel has: then the server has read both */
	sim_request(d, "203.0.113.9", &q);
	sim_expect_fail(d, MVPN_R_UNKNOWN_DST);
	intro_a_free(q.a);
}

/* A says that all is over and goes on sending: B must still hear that A was revoked. */
static void ending_a_session_does_not_hide_it(void **state)
{
	struct sim_net n;
	uint8_t session[16];

	sim_net_up(&n);
	sim_introduce(&n.a, &n.b, B_ADDR, session);
	say_ended(&n.a, session);
	assert_int_equal(sim_sessions(&n.s), 0);
	say_ended(&n.a, session); /* said twice is not said by both */
	assert_int_equal(sim_sessions(&n.s), 0);
	json_decref(sim_ok(&n.s, "device-revoke", "{s:s}", "device", "a"));
	sim_expect_about(&n.b, MVPN_MSG_REVOKE, &n.a);
	sim_net_down(&n);
}

/* The same by a rekey that A never confirms: B drops the new session and keeps the old. */
static void replacing_a_session_does_not_hide_it(void **state)
{
	struct sim_net n;
	struct sim_request q;
	struct intro_keys keys;
	uint8_t first[16], second[16];

	sim_net_up(&n);
	sim_introduce(&n.a, &n.b, B_ADDR, first);
	sim_rekey(&n.a, B_ADDR, first, &q);
	sim_expect(&n.b, MVPN_MSG_OFFER);
	sim_accept(&n.b, second, &keys);
	sim_expect(&n.a, MVPN_MSG_ANSWER);
	assert_int_equal(sim_finish(&n.a, &q, &keys), 0);
	say_ended(&n.b, second);
	say_ended(&n.a, second);
	assert_int_equal(sim_sessions(&n.s), 0);
	sim_policy(&n.s, "allow a -> nobody\n");
	sim_expect_about(&n.b, MVPN_MSG_REVOKE, &n.a);
	sim_net_down(&n);
}

static void what_both_ended_is_over(void **state)
{
	struct sim_net n;
	uint8_t session[16];

	sim_net_up(&n);
	sim_introduce(&n.a, &n.b, B_ADDR, session);
	say_ended(&n.b, session);
	say_ended(&n.a, session);
	assert_int_equal(sim_sessions(&n.s), 0);
	json_decref(sim_ok(&n.s, "device-revoke", "{s:s}", "device", "a"));
	sim_expect_nothing(&n.b, 200);
	sim_net_down(&n);
}

/* The revocation is on disk, the server died before it cut the sessions. */
static void revocation_survives_a_crash_in_its_middle(void **state)
{
	struct sim_net n;
	uint8_t session[16];
	char path[96];
	sqlite3 *db;

	sim_net_up(&n);
	sim_introduce(&n.a, &n.b, B_ADDR, session);
	sim_server_crash(&n.s);
	snprintf(path, sizeof(path), "%s/server.db", n.s.dir);
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(
		sqlite3_exec(db, "UPDATE devices SET state = 4 WHERE name = 'b'", NULL, NULL, NULL),
		SQLITE_OK);
	sqlite3_close(db);
	sim_server_start(&n.s);
	sim_hang_up(&n.a);
	sim_rejoin(&n.a, A_ADDR);
	sim_expect_about(&n.a, MVPN_MSG_REVOKE, &n.b);
	sim_net_down(&n);
}

/* An enrolment again joins another group: too many must not keep the server from starting. */
static void too_many_groups_do_no_harm(void **state)
{
	struct sim_net n;

	sim_net_up(&n);
	for (unsigned i = 0; i < 18; i++) {
		char token[MVPN_TOKEN_MAX], group[16];

		snprintf(group, sizeof(group), "group%u", i);
		sim_token(&n.s, NULL, group, token);
		sim_hang_up(&n.a);
		assert_true(sim_enrol_start(&n.a, token));
		sim_register(&n.a, NULL, NULL, 0);
		sim_expect(&n.a, MVPN_MSG_WELCOME);
	}
	sim_server_stop(&n.s);
	sim_server_start(&n.s);
	sim_hang_up(&n.a);
	sim_rejoin(&n.a, A_ADDR);
	sim_net_down(&n);
}

/* who bore the name of a group would have the group's rights */
static void a_group_to_come_keeps_its_name(void **state)
{
	struct sim_net n;
	struct sim_device c;
	char token[MVPN_TOKEN_MAX];

	sim_net_up(&n);
	sim_token(&n.s, NULL, "operators", token);
	sim_device_init(&c, &n.s);
	sim_token(&n.s, NULL, NULL, token);
	assert_true(sim_enrol_start(&c, token));
	sim_register(&c, "operators", NULL, 0);
	sim_expect_close(&c, MVPN_R_NAME_TAKEN);
	sim_device_free(&c);
	sim_net_down(&n);
}

/* The policy gives a gateway what another device has: its claim is refused, not its channel. */
static void a_gateway_claims_what_another_has(void **state)
{
	static const char *const claim[] = {B_ADDR};
	struct sim_net n;
	char token[MVPN_TOKEN_MAX];

	sim_net_up(&n);
	sim_policy(&n.s, "allow a -> b\nprotect " B_ADDR " via a\n");
	sim_token(&n.s, B_ADDR, NULL, token);
	sim_hang_up(&n.a);
	assert_true(sim_enrol_start(&n.a, token));
	sim_register(&n.a, NULL, claim, 1);
	sim_expect(&n.a, MVPN_MSG_WELCOME);
	assert_int_equal(n.a.naccepted, 0);
	assert_int_equal(n.a.refused_reason, MVPN_R_ADDR_TAKEN);
	sim_wait_prefix(&n.a, B_ADDR, &n.a);
	sim_net_down(&n);
}

/* Each change goes to the disk and to everybody: new channels are no way round the limit. */
static void flapping_addresses_are_limited(void **state)
{
	struct sim_net n;

	sim_net_up(&n);
	for (unsigned i = 0; i < 199; i++) { /* the first was made when it joined */
		sim_hang_up(&n.a);
		sim_rejoin(&n.a, i % 2 ? A_ADDR : NULL);
	}
	sim_hang_up(&n.a);
	assert_true(sim_login(&n.a));
	sim_register(&n.a, NULL, (const char *const[]){A_ADDR}, 1);
	sim_expect_close(&n.a, MVPN_R_LIMIT);
	sim_rejoin(&n.a, NULL); /* no change: welcome */
	sim_net_down(&n);
}

/* what an administrator gave another device is not for a wider token to claim from, an exact one is as good */
static void claims_inside_another_s_prefix(void **state)
{
	static const char *const inside[] = {"192.0.2.70"}, *const outside[] = {"192.0.2.130"};
	char token[MVPN_TOKEN_MAX];
	struct sim_net n;
	json_t *o, *e;
	size_t i;
	bool audited = false;

	sim_net_up(&n);
	sim_policy(&n.s, "allow a -> b\nprotect 192.0.2.64/28 via b\n");
	json_decref(sim_ok(&n.s, "device-address", "{s:s, s:s}", "device", "a", "add",
			   "192.0.2.96/28"));
	sim_token(&n.s, "192.0.2.0/24", NULL, token);
	assert_true(sim_enrol_start(&n.c, token));
	sim_register(&n.c, "c", inside, 1);
	sim_expect(&n.c, MVPN_MSG_WELCOME);
	assert_int_equal(n.c.nrefused, 1);
	assert_int_equal(n.c.refused_reason, MVPN_R_ADDR_TAKEN);
	assert_int_equal(sim_counter(&n.s, "addr_refused"), 1);
	o = sim_ok(&n.s, "audit", NULL);
	json_array_foreach(json_object_get(o, "events"), i, e)
		audited |= !strcmp(json_string_value(json_object_get(e, "event")),
				   "address-refused");
	json_decref(o);
	assert_true(audited);
	sim_register(&n.c, NULL, (const char *const[]){"192.0.2.100"}, 1);
	sim_expect(&n.c, MVPN_MSG_WELCOME);
	assert_int_equal(n.c.refused_reason, MVPN_R_ADDR_TAKEN);
	sim_register(&n.c, NULL, outside, 1);
	sim_expect(&n.c, MVPN_MSG_WELCOME);
	assert_int_equal(n.c.naccepted, 1);
	/* the gateway keeps all of it, and a token does not make another */
	sim_wait_prefix(&n.a, "192.0.2.64/28", &n.b);
	assert_false(sim_has_prefix(&n.a, "192.0.2.70", &n.c));
	/* given by hand, the one address is its own inside b's prefix */
	json_decref(
		sim_ok(&n.s, "device-address", "{s:s, s:s}", "device", "c", "add", "192.0.2.70"));
	sim_wait_prefix(&n.a, "192.0.2.70", &n.c);
	sim_net_down(&n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ending_a_session_does_not_hide_it),
		cmocka_unit_test(replacing_a_session_does_not_hide_it),
		cmocka_unit_test(what_both_ended_is_over),
		cmocka_unit_test(revocation_survives_a_crash_in_its_middle),
		cmocka_unit_test(too_many_groups_do_no_harm),
		cmocka_unit_test(a_group_to_come_keeps_its_name),
		cmocka_unit_test(a_gateway_claims_what_another_has),
		cmocka_unit_test(flapping_addresses_are_limited),
		cmocka_unit_test(claims_inside_another_s_prefix),
	};

	return MVPN_RUN(tests);
}
