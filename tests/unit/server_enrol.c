/* SPDX-License-Identifier: BSD-2-Clause */
/* Who gets into the network, by which token, under which name, and with which addresses. */
#include "../sim/sim.h"

#include <string.h>

#include "crypto.h"

static void approval_is_waited_for(void **state)
{
	struct sim_net n;
	struct sim_request q;
	const char *address = C_ADDR;
	json_t *o;

	sim_net_up(&n);
	o = sim_ok(&n.s, "token-create", "{s:b, s:[s]}", "approve", 1, "addresses", C_ADDR);
	assert_true(sim_enrol_start(&n.c, json_string_value(json_object_get(o, "token"))));
	json_decref(o);
	sim_register(&n.c, "c", &address, 1);
	sim_expect(&n.c, MVPN_MSG_WELCOME);
	assert_int_equal(n.c.state, MVPN_DEV_PENDING);
	assert_int_equal(n.c.naccepted, 0);
	sim_request(&n.c, A_ADDR, &q);
	sim_expect_fail(&n.c, MVPN_R_PENDING);
	intro_a_free(q.a);
	assert_int_equal(n.c.commits, 0);
	assert_false(sim_has_prefix(&n.a, C_ADDR, &n.c));
	json_decref(sim_ok(&n.s, "device-approve", "{s:s}", "device", "c"));
	sim_expect(&n.c, MVPN_MSG_WELCOME);
	assert_int_equal(n.c.state, MVPN_DEV_ACTIVE);
	assert_int_equal(n.c.naccepted, 1);
	sim_wait_prefix(&n.c, A_ADDR, &n.a);
	sim_wait_prefix(&n.a, C_ADDR, &n.c);
	sim_net_down(&n);
}

static void tokens_that_are_no_good(void **state)
{
	struct sim_net n;
	struct mvpn_token t;
	char token[MVPN_TOKEN_MAX], forged[MVPN_TOKEN_MAX];
	json_t *o;

	sim_net_up(&n);
	/* used */
	sim_token(&n.s, NULL, NULL, token);
	assert_true(sim_enrol_start(&n.c, token));
	sim_register(&n.c, "once", NULL, 0);
	sim_expect(&n.c, MVPN_MSG_WELCOME);
	sim_hang_up(&n.c);
	mvpn_keypair(n.c.sk, n.c.pk);
	assert_true(sim_enrol_start(&n.c, token));
	sim_expect_close(&n.c, MVPN_R_TOKEN_USED);
	/* expired */
	o = sim_ok(&n.s, "token-create", "{s:i}", "ttl_s", 1);
	snprintf(token, sizeof(token), "%s", json_string_value(json_object_get(o, "token")));
	while (sim_enrol_start(&n.c, token)) {
		json_t *list = sim_ok(&n.s, "token-list", NULL), *v;
		size_t i;
		bool expired = false;

		json_array_foreach(json_object_get(list, "tokens"), i,
				   v) if (!strcmp(json_string_value(json_object_get(v, "id")),
						  json_string_value(json_object_get(o, "id"))))
			expired =
				!strcmp(json_string_value(json_object_get(v, "state")), "expired");
		json_decref(list);
		if (expired)
			break;
		sim_hang_up(&n.c);
	}
	assert_true(sim_enrol_start(&n.c, token));
	sim_expect_close(&n.c, MVPN_R_TOKEN_EXPIRED);
	json_decref(o);
	/* revoked, by a part of its id */
	o = sim_ok(&n.s, "token-create", NULL);
	snprintf(token, sizeof(token), "%s", json_string_value(json_object_get(o, "token")));
	json_decref(sim_ok(&n.s, "token-revoke", "{s:s%}", "id",
			   json_string_value(json_object_get(o, "id")), (size_t)10));
	json_decref(o);
	assert_true(sim_enrol_start(&n.c, token));
	sim_expect_close(&n.c, MVPN_R_TOKEN_REVOKED);
	/* forged: another secret, then an id that does not exist; both end the same way */
	sim_token(&n.s, NULL, NULL, token);
	assert_int_equal(mvpn_token_decode(&t, token), 0);
	t.secret[5] ^= 1;
	assert_int_equal(mvpn_token_encode(&t, forged), 0);
	sim_enrol_start(&n.c, forged);
	sim_expect_eof(&n.c);
	t.secret[5] ^= 1;
	t.token_id[0] ^= 1;
	assert_int_equal(mvpn_token_encode(&t, forged), 0);
	sim_enrol_start(&n.c, forged);
	sim_expect_eof(&n.c);
	/* for another server */
	t.token_id[0] ^= 1;
	t.server_pk[3] ^= 1;
	assert_int_equal(mvpn_token_encode(&t, forged), 0);
	assert_false(sim_enrol_start(&n.c, forged));
	assert_int_equal(sim_counter(&n.s, "bad_auth"), 2);
	assert_int_equal(sim_counter(&n.s, "bad_mac"), 1);
	/* none of it made a device, and the good token still works */
	assert_int_equal(sim_counter(&n.s, "enrolled"), 3);
	assert_true(sim_enrol_start(&n.c, token));
	sim_register(&n.c, "c", NULL, 0);
	sim_expect(&n.c, MVPN_MSG_WELCOME);
	sim_net_down(&n);
}

static void names_are_unique(void **state)
{
	struct sim_net n;
	char token[MVPN_TOKEN_MAX];

	sim_net_up(&n);
	sim_policy(&n.s, "group web = a\nallow web -> b\n");
	sim_token(&n.s, NULL, NULL, token);
	assert_true(sim_enrol_start(&n.c, token));
	sim_register(&n.c, "a", NULL, 0);
	sim_expect_close(&n.c, MVPN_R_NAME_TAKEN);
	assert_true(sim_enrol_start(&n.c, token));
	sim_register(&n.c, "web", NULL, 0); /* a group's name is not for a device to take */
	sim_expect_close(&n.c, MVPN_R_NAME_TAKEN);
	assert_true(sim_enrol_start(&n.c, token));
	sim_register(&n.c, NULL, NULL, 0);
	sim_expect(&n.c, MVPN_MSG_WELCOME);
	assert_memory_equal(n.c.name, "device-", 7);
	sim_net_down(&n);
}

static void enrolling_again_keeps_the_device(void **state)
{
	struct sim_net n;
	char token[MVPN_TOKEN_MAX];
	uint8_t before[16], old_psk[32];
	const char *address = A_ADDR;

	sim_net_up(&n);
	memcpy(before, n.a.id, 16);
	memcpy(old_psk, n.a.psk, 32);
	sim_token(&n.s, NULL, "blue", token);
	assert_true(sim_enrol_start(&n.a, token));
	sim_register(&n.a, "other", &address, 1);
	sim_expect(&n.a, MVPN_MSG_WELCOME);
	assert_memory_equal(n.a.id, before, 16);
	assert_string_equal(n.a.name, "a");
	assert_int_equal(n.a.naccepted, 1); /* what the first token gave is kept */
	assert_memory_not_equal(n.a.psk, old_psk, 32);
	sim_rejoin(&n.a, A_ADDR);
	memcpy(n.a.psk, old_psk, 32);
	sim_login(&n.a);
	sim_expect_eof(&n.a); /* the old PSK is void */
	sim_net_down(&n);
}

static void addresses_of_others_are_refused(void **state)
{
	static const char *const claims[] = {B_ADDR, "198.51.100.7", "127.0.0.1", C_ADDR};
	struct sim_net n;
	char token[MVPN_TOKEN_MAX];
	json_t *o;

	sim_net_up(&n);
	sim_token(&n.s, "192.0.2.0/24", NULL, token);
	assert_true(sim_enrol_start(&n.c, token));
	sim_register(&n.c, "c", claims, 1);
	sim_expect(&n.c, MVPN_MSG_WELCOME);
	assert_int_equal(n.c.refused_reason, MVPN_R_ADDR_TAKEN);
	sim_register(&n.c, NULL, claims + 1, 3);
	sim_expect(&n.c, MVPN_MSG_WELCOME);
	assert_int_equal(n.c.naccepted, 1);
	assert_int_equal(n.c.nrefused, 2);
	assert_int_equal(n.c.refused_reason, MVPN_R_ADDR_NOT_OWNED);
	sim_wait_prefix(&n.a, C_ADDR, &n.c);
	assert_true(sim_has_prefix(&n.a, B_ADDR, &n.b));
	assert_int_equal(sim_counter(&n.s, "addr_refused"), 3);
	/* what is not claimed any more is released */
	sim_register(&n.c, NULL, NULL, 0);
	sim_wait_no_prefix(&n.a, C_ADDR);
	/* given by an administrator: kept without a claim */
	json_decref(
		sim_ok(&n.s, "device-address", "{s:s, s:s}", "device", "c", "add", "10.5.0.0/16"));
	sim_wait_prefix(&n.a, "10.5.0.0/16", &n.c);
	o = sim_call(&n.s, "device-address", "{s:s, s:s}", "device", "b", "add", "10.5.0.0/16");
	assert_true(json_is_false(json_object_get(o, "ok")));
	json_decref(o);
	json_decref(
		sim_ok(&n.s, "device-address", "{s:s, s:s}", "device", "c", "del", "10.5.0.0/16"));
	sim_wait_no_prefix(&n.a, "10.5.0.0/16");
	sim_net_down(&n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(approval_is_waited_for),
		cmocka_unit_test(tokens_that_are_no_good),
		cmocka_unit_test(names_are_unique),
		cmocka_unit_test(enrolling_again_keeps_the_device),
		cmocka_unit_test(addresses_of_others_are_refused),
	};

	return MVPN_RUN(tests);
}
