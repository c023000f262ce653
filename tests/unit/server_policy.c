/* SPDX-License-Identifier: BSD-2-Clause */
/* The policy that is in force at a server: whom it lets talk, what it sets, how it is replaced, and what that ends. */
#include "../sim/sim.h"

#include <string.h>

static void policy_decides(void **state)
{
	struct sim_net n;
	struct sim_request q;
	uint8_t session[16];
	json_t *o;

	sim_net_up(&n);
	sim_join(&n.c, "c", C_ADDR);
	sim_wait_prefix(&n.a, C_ADDR, &n.c);
	sim_request(&n.a, C_ADDR, &q);
	sim_expect_fail(&n.a, MVPN_R_DENIED);
	intro_a_free(q.a);
	sim_request(&n.a, "203.0.113.9", &q);
	sim_expect_fail(&n.a, MVPN_R_UNKNOWN_DST);
	intro_a_free(q.a);
	o = sim_ok(&n.s, "policy-test", "{s:s, s:s}", "src", "a", "dst", C_ADDR);
	assert_true(json_is_false(json_object_get(o, "allowed")));
	assert_int_equal(json_integer_value(json_object_get(o, "exit")), 5);
	json_decref(o);
	/* the new policy reaches everybody, and counts at once */
	sim_policy(&n.s, "group all = a, b, c\nallow only all -> c\n");
	sim_wait_rev(&n.a, 2);
	sim_introduce(&n.a, &n.c, C_ADDR, session);
	sim_wait_rev(&n.c, 2);
	sim_request(&n.c, A_ADDR, &q);
	sim_expect_fail(&n.c, MVPN_R_DENIED);
	intro_a_free(q.a);
	sim_net_down(&n);
}

/* what it sets for the whole network reaches those who are there, and those who come */
static void policy_sets_options(void **state)
{
	struct sim_net n;

	sim_net_up(&n);
	assert_int_equal(n.a.options, MVPN_OPT_DSCP_CLEAR);
	sim_policy(&n.s, "allow a -> b\nmulticast drop\n");
	sim_wait_rev(&n.a, 2);
	assert_int_equal(n.a.options, MVPN_OPT_DSCP_CLEAR | MVPN_OPT_MULTICAST_DROP);
	sim_join(&n.c, "c", C_ADDR);
	sim_wait_rev(&n.c, 2);
	assert_int_equal(n.c.options, MVPN_OPT_DSCP_CLEAR | MVPN_OPT_MULTICAST_DROP);
	sim_policy(&n.s, "allow a -> b\ndscp copy\n");
	sim_wait_rev(&n.c, 3);
	assert_int_equal(n.c.options, 0);
	sim_net_down(&n);
}

/* the line of what an error says in the i-th place */
static json_int_t place_of(const json_t *o, size_t i, const char *begins)
{
	const json_t *at = json_array_get(json_object_get(json_object_get(o, "error"), "at"), i);
	const char *text = json_string_value(json_object_get(at, "text"));

	assert_non_null(text);
	assert_memory_equal(text, begins, strlen(begins));
	return json_integer_value(json_object_get(at, "line"));
}

/* a policy whose own tests fail never replaces a good one */
static void policy_tests_guard_it(void **state)
{
	static const char bad[] = "allow * -> *\ntest deny a -> b tcp 22\ntest allow a -> b\n"
				  "test deny b -> a\n";
	static const char good[] = "allow red -> b\ntest allow c -> b\ntest deny a -> b\n";
	static const char *const verbs[] = {"policy-check", "policy-apply"};
	struct sim_net n;
	char token[MVPN_TOKEN_MAX];
	const char *message;
	json_t *o;

	sim_net_up(&n);
	for (int i = 0; i < 2; i++) {
		o = sim_call(&n.s, verbs[i], "{s:s}", "text", bad);
		assert_true(json_is_false(json_object_get(o, "ok")));
		assert_int_equal(json_integer_value(json_object_get(o, "exit")), 1);
		message = json_string_value(json_object_get(json_object_get(o, "error"), "message"));
		assert_non_null(strstr(message, "2 of 3 tests of the policy fail: line 2: test deny "
						"a -> b tcp 22: line 1 lets a begin with b"));
		assert_non_null(strstr(message, "; line 4: test deny b -> a: "));
		assert_int_equal(place_of(o, 1, "test deny b -> a: line 1 lets b begin"), 4);
		json_decref(o);
	}
	o = sim_ok(&n.s, "status", NULL);
	assert_int_equal(json_integer_value(json_object_get(o, "policy_rev")), 1);
	json_decref(o);
	/* a group that the device has from its token counts, once it is there */
	o = sim_call(&n.s, "policy-check", "{s:s}", "text", good);
	assert_true(json_is_false(json_object_get(o, "ok")));
	json_decref(o);
	sim_token(&n.s, NULL, "red", token);
	assert_true(sim_enrol_start(&n.c, token));
	sim_register(&n.c, "c", NULL, 0);
	sim_expect(&n.c, MVPN_MSG_WELCOME);
	o = sim_ok(&n.s, "policy-check", "{s:s}", "text", good);
	assert_int_equal(json_integer_value(json_object_get(o, "tests")), 2);
	assert_int_equal(json_array_size(json_object_get(o, "warnings")), 0);
	json_decref(o);
	sim_net_down(&n);
}

static void policy_diff_says_what_would_change(void **state)
{
	struct sim_net n;
	uint8_t session[16];
	json_t *o, *list;
	char *text;

	sim_net_up(&n);
	sim_join(&n.c, "c", C_ADDR);
	sim_introduce(&n.a, &n.b, B_ADDR, session);
	o = sim_ok(&n.s, "policy-diff", "{s:s}", "text", "# still\nallow  a -> b\n");
	assert_true(json_is_true(json_object_get(o, "same")));
	assert_int_equal(json_integer_value(json_object_get(o, "exit")), 0);
	json_decref(o);
	o = sim_ok(&n.s, "policy-diff", "{s:s}", "text", "allow only c -> a\n\nallow b -> c\n");
	assert_true(json_is_false(json_object_get(o, "same")));
	assert_int_equal(json_integer_value(json_object_get(o, "exit")), 1);
	text = json_dumps(json_object_get(o, "changes"), JSON_COMPACT | JSON_SORT_KEYS);
	assert_string_equal(text, "[{\"change\":\"removed\",\"line\":1,\"text\":\"allow a -> b\"},"
				  "{\"change\":\"added\",\"line\":3,\"text\":\"allow b -> c\"},"
				  "{\"change\":\"added\",\"line\":1,\"text\":\"allow only c -> a\"}]");
	free(text);
	text = json_dumps(json_object_get(o, "pairs"), JSON_COMPACT | JSON_SORT_KEYS);
	assert_string_equal(text,
			    "[{\"a\":\"a\",\"after\":\"none\",\"b\":\"b\",\"before\":\"both\"},"
			    "{\"a\":\"a\",\"after\":\"b\",\"b\":\"c\",\"before\":\"none\"},"
			    "{\"a\":\"b\",\"after\":\"both\",\"b\":\"c\",\"before\":\"none\"}]");
	free(text);
	assert_int_equal(json_integer_value(json_object_get(o, "pairs_gain")), 2);
	assert_int_equal(json_integer_value(json_object_get(o, "pairs_lose")), 1);
	list = json_object_get(o, "sessions");
	assert_int_equal(json_integer_value(json_object_get(o, "sessions_cut")), 1);
	assert_string_equal(
		json_string_value(json_object_get(json_array_get(list, 0), "b")), "b");
	json_decref(o);
	/* nothing has changed */
	assert_int_equal(sim_sessions(&n.s), 1);
	/* one that could not be put in force */
	o = sim_call(&n.s, "policy-diff", "{s:s}", "text", "allow a -> b\ntest deny a -> b\n");
	assert_int_equal(json_integer_value(json_object_get(o, "exit")), 2);
	json_decref(o);
	sim_net_down(&n);
}

#define BEHIND "protect 10.9.0.0/24 via "

/* the only session that is there ends for this reason, as `policy-diff` foresees and `policy-apply` counts; NULL: it goes on */
static void ends_for(struct sim_net *n, const char *text, const char *reason)
{
	bool cut = reason && !strcmp(reason, "policy-changed");
	json_t *o = sim_ok(&n->s, "policy-diff", "{s:s}", "text", text), *one;

	assert_int_equal(json_integer_value(json_object_get(o, "sessions_cut")), cut);
	assert_int_equal(json_integer_value(json_object_get(o, "sessions_renewed")), reason && !cut);
	assert_int_equal(json_array_size(json_object_get(o, "sessions")), reason != NULL);
	one = json_array_get(json_object_get(o, "sessions"), 0);
	if (reason) {
		assert_string_equal(json_string_value(json_object_get(one, "reason")), reason);
		assert_int_equal(json_is_true(json_object_get(one, "renewed")), !cut);
	}
	json_decref(o);
	o = sim_ok(&n->s, "policy-apply", "{s:s}", "text", text);
	assert_int_equal(json_integer_value(json_object_get(o, "sessions_cut")), cut);
	assert_int_equal(json_integer_value(json_object_get(o, "sessions_renewed")), reason && !cut);
	json_decref(o);
	assert_int_equal(sim_sessions(&n->s), !reason);
	if (!reason)
		return;
	sim_expect_about(&n->a, cut ? MVPN_MSG_REVOKE : MVPN_MSG_PEER_RESET, &n->b);
	sim_expect_about(&n->b, cut ? MVPN_MSG_REVOKE : MVPN_MSG_PEER_RESET, &n->a);
}

static void policy_diff_and_apply_count_alike(void **state)
{
	uint8_t session[16];
	struct sim_net n;

	sim_net_up(&n);
	sim_join(&n.c, "c", C_ADDR);
	sim_policy(&n.s, "allow a -> b\n" BEHIND "b");
	sim_introduce(&n.a, &n.b, B_ADDR, session);
	ends_for(&n, "allow a -> b\nallow a -> c\n" BEHIND "b", NULL);
	ends_for(&n, "allow a -> b proto tcp port 22\n" BEHIND "b", "selectors");
	sim_introduce(&n.a, &n.b, B_ADDR, session);
	ends_for(&n, "allow only a -> b by uid 0\n" BEHIND "b", "selectors"); /* they cannot tell */
	sim_policy(&n.s, "allow a -> b\n" BEHIND "b");
	sim_introduce(&n.a, &n.b, B_ADDR, session);
	ends_for(&n, "allow a -> b\nmode central60 a -> b\n" BEHIND "b", "mode");
	sim_policy(&n.s, "allow a -> b\n" BEHIND "b");
	sim_introduce(&n.a, &n.b, B_ADDR, session);
	/* another gateway is nothing to b, until b changes its place */
	ends_for(&n, "allow a -> b\n" BEHIND "b, c", NULL);
	ends_for(&n, "allow a -> b\n" BEHIND "c, b", "expired");
	sim_introduce(&n.a, &n.b, B_ADDR, session);
	ends_for(&n, "allow a -> b\n" BEHIND "b", "expired");
	sim_introduce(&n.a, &n.b, B_ADDR, session);
	ends_for(&n, "allow a -> b\n" BEHIND "nobody, c", "expired");
	sim_introduce(&n.a, &n.b, B_ADDR, session);
	ends_for(&n, "allow a -> b\n" BEHIND "c, b", NULL);
	ends_for(&n, "allow a -> b\n" BEHIND "c", "expired");
	sim_policy(&n.s, "allow a -> b\n" BEHIND "b");
	sim_introduce(&n.a, &n.b, B_ADDR, session);
	/* it loses its prefix, too, but a session that is forbidden is cut */
	ends_for(&n, "allow a -> c", "policy-changed");
	sim_net_down(&n);
}

static json_t *revision(json_t *o, size_t i)
{
	return json_array_get(json_object_get(o, "revisions"), i);
}

static void policies_are_rolled_back(void **state)
{
	struct sim_net n;
	uint8_t session[16];
	json_t *o;

	sim_net_up(&n);
	json_decref(sim_ok(&n.s, "policy-apply", "{s:s, s:s}", "text", "\n# one\nallow a -> nobody\n",
			   "comment", "b is away"));
	o = sim_ok(&n.s, "policy-list", NULL);
	assert_int_equal(json_array_size(json_object_get(o, "revisions")), 2);
	assert_int_equal(json_integer_value(json_object_get(revision(o, 0), "rev")), 2);
	assert_int_equal(json_integer_value(json_object_get(revision(o, 0), "lines")), 3);
	assert_true(json_integer_value(json_object_get(revision(o, 0), "uid")) >= 0);
	assert_string_equal(json_string_value(json_object_get(revision(o, 0), "comment")), "b is away");
	assert_true(json_is_true(json_object_get(revision(o, 0), "in_force")));
	assert_true(json_is_false(json_object_get(revision(o, 1), "in_force")));
	json_decref(o);
	/* as a new revision: what devices have been refused is asked again */
	o = sim_ok(&n.s, "policy-rollback", NULL);
	assert_int_equal(json_integer_value(json_object_get(o, "rev")), 3);
	json_decref(o);
	sim_wait_rev(&n.a, 3);
	sim_introduce(&n.a, &n.b, B_ADDR, session);
	/* once more undoes it, and cuts */
	o = sim_ok(&n.s, "policy-rollback", NULL);
	assert_int_equal(json_integer_value(json_object_get(o, "rev")), 4);
	assert_int_equal(json_integer_value(json_object_get(o, "sessions_cut")), 1);
	json_decref(o);
	sim_expect(&n.a, MVPN_MSG_REVOKE);
	o = sim_ok(&n.s, "policy-rollback", "{s:i}", "rev", 1);
	assert_int_equal(json_integer_value(json_object_get(o, "rev")), 5);
	json_decref(o);
	o = sim_ok(&n.s, "policy-list", NULL);
	assert_string_equal(json_string_value(json_object_get(revision(o, 0), "comment")),
			    "back to revision 1");
	json_decref(o);
	sim_net_down(&n);
}

/* how long keys and the server's word hold: at once for who is there, in new sessions, and back when the line is gone */
static void policy_sets_times(void **state)
{
	struct sim_net n;
	struct sim_request q;
	struct intro_keys keys;
	uint8_t session[16];
	uint32_t ttl = 0;

	sim_net_up(&n);
	assert_int_equal(n.a.max_offline_s, 900);
	sim_policy(&n.s, "allow a -> b\nrekey 20m\nmax-offline 90s\n");
	sim_wait_rev(&n.a, 2);
	assert_int_equal(n.a.max_offline_s, 90);
	sim_request(&n.a, B_ADDR, &q);
	sim_expect(&n.b, MVPN_MSG_OFFER);
	assert_true(chan_get_u32(&n.b.msg, MVPN_TLV_TTL, &ttl));
	assert_int_equal(ttl, 1200);
	sim_accept(&n.b, session, &keys);
	sim_expect(&n.a, MVPN_MSG_ANSWER);
	assert_true(chan_get_u32(&n.a.msg, MVPN_TLV_TTL, &ttl));
	assert_int_equal(ttl, 1200);
	assert_int_equal(sim_finish(&n.a, &q, &keys), 0);
	sim_policy(&n.s, "allow a -> b\n");
	sim_wait_rev(&n.a, 3);
	assert_int_equal(n.a.max_offline_s, 900);
	sim_net_down(&n);
}

static void new_policy_cuts_what_it_forbids(void **state)
{
	struct sim_net n;
	uint8_t session[16];
	json_t *o;
	uint16_t reason;

	sim_net_up(&n);
	sim_introduce(&n.a, &n.b, B_ADDR, session);
	o = sim_ok(&n.s, "policy-apply", "{s:s}", "text", "allow a -> nobody\n");
	assert_int_equal(json_integer_value(json_object_get(o, "sessions_cut")), 1);
	assert_int_equal(json_array_size(json_object_get(o, "warnings")), 1);
	json_decref(o);
	sim_expect_about(&n.a, MVPN_MSG_REVOKE, &n.b);
	assert_true(chan_get_u16(&n.a.msg, MVPN_TLV_REASON, &reason));
	assert_int_equal(reason, MVPN_R_POLICY_CHANGED);
	sim_expect_about(&n.b, MVPN_MSG_REVOKE, &n.a);
	assert_int_equal(sim_sessions(&n.s), 0);
	o = sim_ok(&n.s, "policy-check", "{s:s}", "text", "level socket a -> *\nlevel network * -> b\nallow a -> b\nallow a -> b by uid 1\n");
	assert_int_equal(json_array_size(json_object_get(o, "warnings")), 2);
	assert_non_null(strstr(json_string_value(json_array_get(json_object_get(o, "warnings"), 0)), "line 2: level network * -> b does not hold"));
	assert_non_null(strstr(json_string_value(json_array_get(json_object_get(o, "warnings"), 1)), "line 4: allow only a -> b by uid 1 has no effect"));
	json_decref(o);
	/* the same text again changes nothing */
	o = sim_ok(&n.s, "policy-apply", "{s:s}", "text", "allow a -> nobody\n");
	assert_true(json_is_false(json_object_get(o, "changed")));
	json_decref(o);
	sim_net_down(&n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(policy_decides),
		cmocka_unit_test(policy_sets_options),
		cmocka_unit_test(policy_tests_guard_it),
		cmocka_unit_test(policy_diff_says_what_would_change),
		cmocka_unit_test(policy_diff_and_apply_count_alike),
		cmocka_unit_test(policies_are_rolled_back),
		cmocka_unit_test(policy_sets_times),
		cmocka_unit_test(new_policy_cuts_what_it_forbids),
	};

	return MVPN_RUN(tests);
}
