/* SPDX-License-Identifier: BSD-2-Clause */
/* The server from the outside: introductions, revocation, restart. */
#include "../sim/sim.h"

#include <string.h>

#include "crypto.h"

static void two_devices_enrol_and_are_introduced(void **state)
{
	struct sim_net n;
	uint8_t session[16], other[16];
	json_t *o;

	sim_net_up(&n);
	assert_string_equal(n.a.name, "a");
	assert_true(sim_has_prefix(&n.a, A_ADDR, &n.a));
	assert_true(sim_has_prefix(&n.b, A_ADDR, &n.a));
	sim_introduce(&n.a, &n.b, B_ADDR, session);
	/* and the other way, which is another session */
	sim_introduce(&n.b, &n.a, A_ADDR, other);
	assert_memory_not_equal(session, other, 16);
	assert_int_equal(sim_sessions(&n.s), 2);
	assert_int_equal(sim_counter(&n.s, "answers"), 2);
	o = sim_ok(&n.s, "device-show", "{s:s}", "device", "b");
	assert_true(json_is_true(json_object_get(o, "online")));
	assert_string_equal(json_string_value(json_array_get(json_object_get(o, "addresses"), 0)),
			    B_ADDR);
	json_decref(o);
	sim_net_down(&n);
}

static void offer_and_answer_carry_what_both_need(void **state)
{
	struct sim_net n;
	struct sim_request q;
	struct intro_keys keys;
	struct intro_selectors sel;
	uint8_t session[16], endpoint[18];
	uint64_t seq = 0, later = 0;
	uint16_t len;
	uint32_t ttl = 0;
	const uint8_t *p;

	sim_net_up(&n);
	sim_policy(&n.s, "allow a -> b\nprotect 10.9.0.0/24 via b\n");
	sim_wait_prefix(&n.a, "10.9.0.0/24", &n.b);
	sim_request(&n.a, "10.9.0.77", &q);
	sim_expect(&n.b, MVPN_MSG_OFFER);
	assert_true(chan_get_u64(&n.b.msg, MVPN_TLV_SEQ, &seq));
	assert_true(chan_get_u32(&n.b.msg, MVPN_TLV_TTL, &ttl));
	assert_int_equal(ttl, 3600);
	assert_true(chan_get_bytes(&n.b.msg, MVPN_TLV_ENDPOINT, endpoint, 18));
	assert_memory_equal(endpoint + 10, "\xff\xff\x7f\x00\x00\x01\x1d\x2d",
			    8); /* 127.0.0.1:7469 */
	p = chan_tlv_find(&n.b.msg, MVPN_TLV_REQ, &len);
	assert_int_equal(len, q.req_len);
	assert_memory_equal(p, q.req, len); /* verbatim */
	p = chan_tlv_find(&n.b.msg, MVPN_TLV_SELECTORS, &len);
	assert_int_equal(intro_selectors_decode(&sel, p, len), 0);
	assert_int_equal(sel.na, 1);
	assert_int_equal(sel.nb, 2);
	assert_int_equal(sel.b[0].len, 120); /* the prefix that was asked for comes first */
	sim_accept(&n.b, session, &keys);
	sim_expect(&n.a, MVPN_MSG_ANSWER);
	assert_true(chan_get_u64(&n.a.msg, MVPN_TLV_SEQ, &later));
	assert_int_equal(seq, later);
	assert_int_equal(sim_finish(&n.a, &q, &keys), 0);
	sim_net_down(&n);
}

static void rekey_ends_the_session_that_it_replaces(void **state)
{
	struct sim_net n;
	struct sim_request q;
	struct intro_keys keys;
	uint8_t first[16], second[16];
	json_t *o, *list;
	char hex[33];

	sim_net_up(&n);
	sim_introduce(&n.a, &n.b, B_ADDR, first);
	sim_rekey(&n.a, B_ADDR, first, &q);
	sim_expect(&n.b, MVPN_MSG_OFFER);
	assert_int_equal(sim_sessions(&n.s), 1); /* make before break */
	sim_accept(&n.b, second, &keys);
	sim_expect(&n.a, MVPN_MSG_ANSWER);
	assert_int_equal(sim_finish(&n.a, &q, &keys), 0);
	o = sim_ok(&n.s, "sessions", NULL);
	list = json_object_get(o, "sessions");
	assert_int_equal(json_array_size(list), 1);
	mvpn_hex(hex, second, 16);
	assert_string_equal(json_string_value(json_object_get(json_array_get(list, 0), "id")), hex);
	json_decref(o);
	sim_net_down(&n);
}

static void revocation_reaches_peers_and_stays(void **state)
{
	struct sim_net n;
	struct sim_request q;
	uint8_t session[16];
	json_t *o;

	sim_net_up(&n);
	sim_introduce(&n.a, &n.b, B_ADDR, session);
	o = sim_ok(&n.s, "device-revoke", "{s:s}", "device", "b");
	assert_int_equal(json_integer_value(json_object_get(o, "sessions_cut")), 1);
	json_decref(o);
	sim_expect_close(&n.b, MVPN_R_REVOKED);
	sim_expect_about(&n.a, MVPN_MSG_REVOKE, &n.b);
	/* its address stays protected, and nobody is introduced to it */
	sim_request(&n.a, B_ADDR, &q);
	sim_expect_fail(&n.a, MVPN_R_REVOKED);
	intro_a_free(q.a);
	assert_true(sim_login(&n.b));
	sim_expect_close(&n.b, MVPN_R_REVOKED);
	o = sim_call(&n.s, "device-approve", "{s:s}", "device", "b");
	assert_true(json_is_false(json_object_get(o, "ok")));
	json_decref(o);
	json_decref(sim_ok(&n.s, "device-remove", "{s:s}", "device", "b"));
	sim_wait_no_prefix(&n.a, B_ADDR);
	assert_false(sim_login(&n.b) && (sim_expect_eof(&n.b), false));
	sim_net_down(&n);
}

static void who_missed_the_news_hears_it_on_return(void **state)
{
	struct sim_net n;
	uint8_t session[16];

	sim_net_up(&n);
	sim_introduce(&n.a, &n.b, B_ADDR, session);
	sim_hang_up(&n.a);
	sim_wait_counter(&n.s, "closed_by_peer", 1);
	json_decref(sim_ok(&n.s, "device-revoke", "{s:s}", "device", "b"));
	sim_server_stop(&n.s);
	sim_server_start(&n.s);
	sim_rejoin(&n.a, A_ADDR);
	sim_expect_about(&n.a, MVPN_MSG_REVOKE, &n.b);
	sim_net_down(&n);
}

static void suspended_device_comes_back(void **state)
{
	struct sim_net n;
	uint8_t session[16];

	sim_net_up(&n);
	json_decref(sim_ok(&n.s, "device-suspend", "{s:s}", "device", "b"));
	sim_expect_close(&n.b, MVPN_R_SUSPENDED);
	assert_true(sim_login(&n.b));
	sim_expect_close(&n.b, MVPN_R_SUSPENDED);
	json_decref(sim_ok(&n.s, "device-approve", "{s:s}", "device", "b"));
	sim_rejoin(&n.b, B_ADDR);
	assert_int_equal(n.b.state, MVPN_DEV_ACTIVE);
	sim_introduce(&n.a, &n.b, B_ADDR, session);
	sim_net_down(&n);
}

static void a_lost_prefix_renews_the_sessions(void **state)
{
	struct sim_net n;
	uint8_t session[16];

	sim_net_up(&n);
	json_decref(
		sim_ok(&n.s, "device-address", "{s:s, s:s}", "device", "b", "add", "10.7.0.0/16"));
	sim_wait_prefix(&n.a, "10.7.0.0/16", &n.b);
	sim_introduce(&n.a, &n.b, "10.7.1.1", session);
	/* what is gained does not disturb: the devices take it in by a rekey */
	json_decref(
		sim_ok(&n.s, "device-address", "{s:s, s:s}", "device", "b", "add", "10.8.0.0/16"));
	sim_wait_prefix(&n.a, "10.8.0.0/16", &n.b);
	sim_expect_nothing(&n.a, 50);
	assert_int_equal(sim_sessions(&n.s), 1);
	/* the session's keys are bound to what is lost */
	json_decref(
		sim_ok(&n.s, "device-address", "{s:s, s:s}", "device", "b", "del", "10.7.0.0/16"));
	sim_expect_about(&n.a, MVPN_MSG_PEER_RESET, &n.b);
	sim_expect_about(&n.b, MVPN_MSG_PEER_RESET, &n.a);
	assert_int_equal(sim_sessions(&n.s), 0);
	sim_introduce(&n.a, &n.b, B_ADDR, session);
	sim_net_down(&n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(two_devices_enrol_and_are_introduced),
		cmocka_unit_test(offer_and_answer_carry_what_both_need),
		cmocka_unit_test(rekey_ends_the_session_that_it_replaces),
		cmocka_unit_test(revocation_reaches_peers_and_stays),
		cmocka_unit_test(who_missed_the_news_hears_it_on_return),
		cmocka_unit_test(suspended_device_comes_back),
		cmocka_unit_test(a_lost_prefix_renews_the_sessions),
	};

	return MVPN_RUN(tests);
}
