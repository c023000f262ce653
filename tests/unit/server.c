/* SPDX-License-Identifier: BSD-2-Clause */
/* The server from the outside: enrolment, introductions, policy, revocation, restart. */
#include "../sim/sim.h"

#include <string.h>

#include "crypto.h"
#include "ipc.h"

#define C_ADDR "192.0.2.3"

static void expect_device(struct sim_device *d, const struct sim_device *about)
{
	uint8_t id[16];

	assert_true(chan_get_bytes(&d->msg, MVPN_TLV_DEVICE, id, 16));
	assert_memory_equal(id, about->id, 16);
}

static json_int_t session_count(struct sim_server *s)
{
	json_t *o = sim_ok(s, "sessions", NULL);
	json_int_t n = (json_int_t)json_array_size(json_object_get(o, "sessions"));

	json_decref(o);
	return n;
}

/* ---- the main way ---- */

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
	assert_int_equal(session_count(&n.s), 2);
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
	assert_int_equal(session_count(&n.s), 1); /* make before break */
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

/* ---- refusals ---- */

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
	assert_int_equal(n.a.options, 0);
	sim_policy(&n.s, "allow a -> b\nmulticast drop\n");
	sim_wait_rev(&n.a, 2);
	assert_int_equal(n.a.options, MVPN_OPT_MULTICAST_DROP);
	sim_join(&n.c, "c", C_ADDR);
	sim_wait_rev(&n.c, 2);
	assert_int_equal(n.c.options, MVPN_OPT_MULTICAST_DROP);
	sim_policy(&n.s, "allow a -> b\ndscp clear\n");
	sim_wait_rev(&n.c, 3);
	assert_int_equal(n.c.options, MVPN_OPT_DSCP_CLEAR);
	sim_net_down(&n);
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
	assert_int_equal(session_count(&n.s), 1);
	/* one that could not be put in force */
	o = sim_call(&n.s, "policy-diff", "{s:s}", "text", "allow a -> b\ntest deny a -> b\n");
	assert_int_equal(json_integer_value(json_object_get(o, "exit")), 2);
	json_decref(o);
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

struct followed {
	struct sim_net *n;
	json_int_t last; /* seq */
	unsigned old, applied;
};

/* what is on record comes first, then what this very function does */
static int on_event(void *arg, const json_t *e)
{
	struct followed *f = arg;
	const char *event = json_string_value(json_object_get(e, "event"));
	json_int_t seq = json_integer_value(json_object_get(e, "seq"));
	char text[100];

	assert_true(json_is_true(json_object_get(e, "ok")));
	assert_non_null(event);
	assert_true(!f->last || seq == f->last + 1); /* nothing is left out, nothing comes twice */
	f->last = seq;
	if (strcmp(event, "policy-apply")) {
		f->old++;
		return 0;
	}
	assert_true(json_integer_value(json_object_get(json_object_get(e, "detail"), "uid")) >= 0);
	if (f->applied == 5)
		return 1;
	snprintf(text, sizeof(text), "allow a -> b\n# %u\n", f->applied++);
	sim_policy(&f->n->s, text);
	return 0;
}

static void audit_says_who_and_why(void **state)
{
	struct sim_net n;
	json_t *o, *e, *detail;
	unsigned seen = 0;
	size_t i;

	sim_net_up(&n);
	json_decref(sim_ok(&n.s, "device-suspend", "{s:s, s:s}", "device", "a", "comment", "stolen?"));
	json_decref(sim_ok(&n.s, "device-approve", "{s:s, s:s}", "device", "a", "comment", "found"));
	json_decref(sim_ok(&n.s, "device-revoke", "{s:s}", "device", "b"));
	o = sim_ok(&n.s, "audit", NULL);
	json_array_foreach(json_object_get(o, "events"), i, e)
	{
		const char *event = json_string_value(json_object_get(e, "event")), *why;

		detail = json_object_get(e, "detail");
		why = json_string_value(json_object_get(detail, "comment"));
		/* only what an administrator does has a user */
		assert_int_equal(!strcmp(json_string_value(json_object_get(e, "actor")), "admin"),
				 json_is_integer(json_object_get(detail, "uid")));
		if (!strcmp(event, "device-suspend"))
			seen |= why && !strcmp(why, "stolen?") ? 1 : 0;
		else if (!strcmp(event, "device-approve"))
			seen |= why && !strcmp(why, "found") ? 2 : 0;
		else if (!strcmp(event, "device-revoke")) /* no reason of an earlier call sticks */
			seen |= why ? 0 : 4;
	}
	json_decref(o);
	assert_int_equal(seen, 7);
	sim_net_down(&n);
}

static void audit_is_followed(void **state)
{
	struct sim_net n;
	struct followed f = {.n = &n};
	uint8_t session[16];
	json_t *o, *e, *detail;

	sim_net_up(&n);
	for (int i = 0; i < 250; i++) /* more than the stream sends at a time */
		sim_introduce(&n.a, &n.b, B_ADDR, session);
	/* why they may talk is on record */
	o = sim_ok(&n.s, "audit", "{s:i}", "limit", 1);
	e = json_array_get(json_object_get(o, "events"), 0);
	assert_string_equal(json_string_value(json_object_get(e, "event")), "introduction");
	detail = json_object_get(e, "detail");
	assert_string_equal(json_string_value(json_object_get(detail, "a")), "a");
	assert_string_equal(json_string_value(json_object_get(detail, "b")), "b");
	assert_string_equal(json_string_value(json_object_get(detail, "rule")), "allow a -> b");
	assert_int_equal(json_integer_value(json_object_get(detail, "line")), 1);
	assert_true(json_is_false(json_object_get(detail, "rekey")));
	json_decref(o);
	assert_int_equal(ipc_follow(n.s.socket, "audit",
				    json_pack("{s:b, s:b, s:i}", "follow", 1, "verify", 1, "after", 0),
				    SIM_WAIT_MS, on_event, &f),
			 1);
	assert_true(f.old > 250); /* tokens, enrolments, introductions */
	/* those after a known one */
	o = sim_ok(&n.s, "audit", "{s:I, s:i}", "after", (json_int_t)2, "limit", 3);
	assert_int_equal(json_array_size(json_object_get(o, "events")), 3);
	e = json_array_get(json_object_get(o, "events"), 0);
	assert_int_equal(json_integer_value(json_object_get(e, "seq")), 3);
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
	sim_expect(&n.a, MVPN_MSG_REVOKE);
	expect_device(&n.a, &n.b);
	assert_true(chan_get_u16(&n.a.msg, MVPN_TLV_REASON, &reason));
	assert_int_equal(reason, MVPN_R_POLICY_CHANGED);
	sim_expect(&n.b, MVPN_MSG_REVOKE);
	expect_device(&n.b, &n.a);
	assert_int_equal(session_count(&n.s), 0);
	/* the same text again changes nothing */
	o = sim_ok(&n.s, "policy-apply", "{s:s}", "text", "allow a -> nobody\n");
	assert_true(json_is_false(json_object_get(o, "changed")));
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
	sim_expect(&n.a, MVPN_MSG_REVOKE);
	expect_device(&n.a, &n.b);
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
	sim_expect(&n.a, MVPN_MSG_REVOKE);
	expect_device(&n.a, &n.b);
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

/* ---- tokens ---- */

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

/* ---- addresses ---- */

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
	assert_int_equal(session_count(&n.s), 1);
	/* the session's keys are bound to what is lost */
	json_decref(
		sim_ok(&n.s, "device-address", "{s:s, s:s}", "device", "b", "del", "10.7.0.0/16"));
	sim_expect(&n.a, MVPN_MSG_PEER_RESET);
	expect_device(&n.a, &n.b);
	sim_expect(&n.b, MVPN_MSG_PEER_RESET);
	expect_device(&n.b, &n.a);
	assert_int_equal(session_count(&n.s), 0);
	sim_introduce(&n.a, &n.b, B_ADDR, session);
	sim_net_down(&n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(two_devices_enrol_and_are_introduced),
		cmocka_unit_test(offer_and_answer_carry_what_both_need),
		cmocka_unit_test(rekey_ends_the_session_that_it_replaces),
		cmocka_unit_test(policy_decides),
		cmocka_unit_test(policy_sets_options),
		cmocka_unit_test(policy_tests_guard_it),
		cmocka_unit_test(policy_diff_says_what_would_change),
		cmocka_unit_test(policies_are_rolled_back),
		cmocka_unit_test(audit_says_who_and_why),
		cmocka_unit_test(audit_is_followed),
		cmocka_unit_test(policy_sets_times),
		cmocka_unit_test(new_policy_cuts_what_it_forbids),
		cmocka_unit_test(revocation_reaches_peers_and_stays),
		cmocka_unit_test(who_missed_the_news_hears_it_on_return),
		cmocka_unit_test(suspended_device_comes_back),
		cmocka_unit_test(approval_is_waited_for),
		cmocka_unit_test(tokens_that_are_no_good),
		cmocka_unit_test(names_are_unique),
		cmocka_unit_test(enrolling_again_keeps_the_device),
		cmocka_unit_test(addresses_of_others_are_refused),
		cmocka_unit_test(a_lost_prefix_renews_the_sessions),
	};

	return MVPN_RUN(tests);
}
