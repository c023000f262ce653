/* SPDX-License-Identifier: BSD-2-Clause */
/* What a session is for: both ends are told the same, and a policy that changes it makes the session anew. */
#include "../sim/sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aead.h"

/* the selectors in the last message */
static void selectors(const struct sim_device *d, struct intro_selectors *ret)
{
	uint16_t len;
	const uint8_t *p = chan_tlv_find(&d->msg, MVPN_TLV_SELECTORS, &len);

	assert_non_null(p);
	assert_int_equal(intro_selectors_decode(ret, p, len), 0);
}

/* an introduction, and what both ends are told that B may be used for, and A */
static void introduced_for(struct sim_net *n, const char *at_a, const char *at_b)
{
	struct intro_selectors b, a;
	struct intro_keys ka, kb;
	struct sim_request q;
	uint8_t session[16];
	char text[200];

	sim_request(&n->a, B_ADDR, &q);
	sim_expect(&n->b, MVPN_MSG_OFFER);
	selectors(&n->b, &b);
	sim_accept(&n->b, session, &kb);
	sim_expect(&n->a, MVPN_MSG_ANSWER);
	selectors(&n->a, &a);
	assert_int_equal(sim_finish(&n->a, &q, &ka), 0);
	assert_memory_equal(ka.tx, kb.rx, 32);
	assert_memory_equal(&a, &b, sizeof(a));
	assert_int_equal(a.limited, at_a != NULL);
	if (!at_a)
		return;
	mvpn_services_str(a.serv_a, a.nserv_a, text, sizeof(text));
	assert_string_equal(text, at_a);
	mvpn_services_str(a.serv_b, a.nserv_b, text, sizeof(text));
	assert_string_equal(text, at_b);
}

static void both_reset(struct sim_net *n)
{
	sim_expect(&n->a, MVPN_MSG_PEER_RESET);
	sim_expect(&n->b, MVPN_MSG_PEER_RESET);
}

static char *dump(json_t *o, const char *member)
{
	char *text = json_dumps(json_object_get(o, member), JSON_COMPACT | JSON_ENCODE_ANY);

	json_decref(o);
	return text;
}

static void expect_member(json_t *o, const char *member, const char *want)
{
	char *text = dump(o, member);

	assert_string_equal(text, want);
	free(text);
}

#define DB "allow only a -> b proto tcp port 5432\n"

/* the lines that the last message has, each "LINE who:services text" */
static void rules(const struct sim_device *d, char *ret, size_t size)
{
	struct chan_tlv t;
	size_t pos = 0, n = 0;

	*ret = '\0';
	while (chan_tlv_next(&d->msg, &pos, &t)) {
		const uint8_t *v = t.value, *text = v + MVPN_RULE_HEAD_B + MVPN_SERVICE_B * (t.type == MVPN_TLV_RULE ? v[5] : 0);

		if (t.type == MVPN_TLV_RULE)
			n += (size_t)snprintf(ret + n, size - n, "[%u %u:%u %.*s]", v[3], v[4], v[5], (int)(v + t.len - text),
					      text);
	}
}

static void both_ends_hear_the_lines(void **state)
{
	static const char want[] = "[1 1:1 allow only a -> b proto tcp port 5432][3 3:0 allow a -> b]"
				   "[4 2:2 allow only b -> a proto tcp port 22, 80-89]";
	struct intro_keys ka, kb;
	struct sim_request q;
	uint8_t session[16];
	struct sim_net n;
	char text[1000];

	sim_net_up(&n);
	sim_policy(&n.s, DB "allow a -> a\nallow a -> b\nallow only b -> a proto tcp port 22, 80-89\n");
	sim_request(&n.a, B_ADDR, &q);
	sim_expect(&n.b, MVPN_MSG_OFFER);
	rules(&n.b, text, sizeof(text));
	assert_string_equal(text, want);
	sim_accept(&n.b, session, &kb);
	sim_expect(&n.a, MVPN_MSG_ANSWER);
	rules(&n.a, text, sizeof(text));
	assert_string_equal(text, want);
	assert_int_equal(sim_finish(&n.a, &q, &ka), 0);
	sim_net_down(&n);
}

static void a_change_makes_the_session_anew(void **state)
{
	struct sim_net n;

	sim_net_up(&n);
	introduced_for(&n, NULL, NULL);
	sim_policy(&n.s, DB);
	both_reset(&n);
	introduced_for(&n, "nothing", "tcp 5432");
	/* it says the same in other words */
	sim_policy(&n.s, "group dbs = b\nallow only a -> dbs proto tcp port 5432 # as before\n");
	sim_expect_nothing(&n.a, 300);
	sim_expect_nothing(&n.b, 300);
	sim_policy(&n.s, DB "allow a -> b proto icmp\n");
	both_reset(&n);
	introduced_for(&n, "icmp", "icmp, tcp 5432");
	/* what changed while the server was away */
	sim_server_crash(&n.s);
	sim_server_start(&n.s);
	sim_rejoin(&n.a, A_ADDR);
	sim_rejoin(&n.b, B_ADDR);
	sim_expect_nothing(&n.a, 100);
	sim_policy(&n.s, DB);
	both_reset(&n);
	sim_policy(&n.s, "allow a -> b\n");
	introduced_for(&n, NULL, NULL);
	sim_policy(&n.s, "");
	sim_expect(&n.a, MVPN_MSG_REVOKE);
	sim_expect(&n.b, MVPN_MSG_REVOKE);
	sim_net_down(&n);
}

/* SERVICES of that session, with what A may be used for, and B */
static void told_services(struct sim_device *d, const uint8_t session[16], const char *at_a, const char *at_b)
{
	struct intro_selectors sel;
	uint8_t id[16];
	char text[200];

	sim_expect(d, MVPN_MSG_SERVICES);
	assert_true(chan_get_bytes(&d->msg, MVPN_TLV_SESSION, id, sizeof(id)));
	assert_memory_equal(id, session, sizeof(id));
	selectors(d, &sel);
	assert_int_equal(sel.na + sel.nb, 0);
	assert_int_equal(sel.limited, at_a != NULL);
	if (!at_a)
		return;
	mvpn_services_str(sel.serv_a, sel.nserv_a, text, sizeof(text));
	assert_string_equal(text, at_a);
	mvpn_services_str(sel.serv_b, sel.nserv_b, text, sizeof(text));
	assert_string_equal(text, at_b);
}

/* a session at the socket's level, which `from` begins */
static void stream_session_of(struct sim_device *from, struct sim_device *to, const char *address, uint8_t ret_session[16])
{
	struct sim_request q;
	struct intro_keys ka, kb;

	sim_request_socket(from, address, &q);
	sim_expect(to, MVPN_MSG_OFFER);
	sim_accept(to, ret_session, &kb);
	sim_expect(from, MVPN_MSG_ANSWER);
	assert_int_equal(sim_finish(from, &q, &ka), 0);
}

static void stream_session(struct sim_net *n, uint8_t ret_session[16])
{
	stream_session_of(&n->a, &n->b, B_ADDR, ret_session);
}

/* it says so in its next REGISTER */
static void knows_services(struct sim_device *d, const char *address, bool knows)
{
	d->knows_services = knows;
	sim_hang_up(d);
	sim_rejoin(d, address);
}

static void a_session_of_streams_is_told(void **state)
{
	uint8_t session[16];
	struct sim_net n;

	sim_net_up(&n);
	knows_services(&n.a, A_ADDR, true);
	knows_services(&n.b, B_ADDR, true);
	stream_session(&n, session);
	sim_policy(&n.s, DB);
	told_services(&n.a, session, "nothing", "tcp 5432");
	told_services(&n.b, session, "nothing", "tcp 5432");
	/* who was away hears it when it is back, and again until the session has a successor */
	sim_hang_up(&n.b);
	sim_policy(&n.s, DB "allow only a -> b proto tcp port 22");
	told_services(&n.a, session, "nothing", "tcp 22, 5432");
	sim_rejoin(&n.b, B_ADDR);
	told_services(&n.b, session, "nothing", "tcp 22, 5432");
	sim_expect_nothing(&n.a, 100);
	sim_server_crash(&n.s);
	sim_server_start(&n.s);
	sim_rejoin(&n.a, A_ADDR);
	told_services(&n.a, session, "nothing", "tcp 22, 5432");
	sim_rejoin(&n.b, B_ADDR);
	told_services(&n.b, session, "nothing", "tcp 22, 5432");
	/* everything, as it was when the session was made: but it has been told something else since */
	sim_policy(&n.s, "allow a -> b");
	told_services(&n.a, session, NULL, NULL);
	told_services(&n.b, session, NULL, NULL);
	/* it is on record all the while */
	sim_policy(&n.s, "");
	sim_expect(&n.a, MVPN_MSG_REVOKE);
	sim_expect(&n.b, MVPN_MSG_REVOKE);
	sim_net_down(&n);
}

/* b may not begin any more, but the session that it has begun is as good as one of a's */
static void whoever_has_begun_is_told(void **state)
{
	uint8_t session[16];
	struct sim_net n;

	sim_net_up(&n);
	knows_services(&n.a, A_ADDR, true);
	knows_services(&n.b, B_ADDR, true);
	stream_session_of(&n.b, &n.a, A_ADDR, session);
	sim_policy(&n.s, DB);
	told_services(&n.a, session, "tcp 5432", "nothing");
	told_services(&n.b, session, "tcp 5432", "nothing");
	sim_net_down(&n);
}

static void who_cannot_be_told_makes_it_anew(void **state)
{
	uint8_t session[16];
	struct sim_net n;

	sim_net_up(&n);
	knows_services(&n.a, A_ADDR, true);
	stream_session(&n, session);
	sim_policy(&n.s, DB);
	both_reset(&n);
	stream_session(&n, session);
	/* an old one takes the place of one that knew, while it was away */
	knows_services(&n.b, B_ADDR, true);
	sim_hang_up(&n.b);
	sim_policy(&n.s, "allow only a -> b proto tcp port 22");
	told_services(&n.a, session, "nothing", "tcp 22");
	n.b.knows_services = false;
	sim_rejoin(&n.b, B_ADDR);
	both_reset(&n);
	sim_net_down(&n);
}

/* the class of what goes to tcp 5432 at B, as both ends are told */
static void introduced_with(struct sim_net *n, const char *class)
{
	struct intro_selectors b, a;
	struct intro_keys keys;
	struct sim_request q;
	uint8_t session[16];
	char text[MVPN_CLASSSTRLEN] = "";
	int i;

	sim_request(&n->a, B_ADDR, &q);
	sim_expect(&n->b, MVPN_MSG_OFFER);
	selectors(&n->b, &b);
	sim_accept(&n->b, session, &keys);
	sim_expect(&n->a, MVPN_MSG_ANSWER);
	selectors(&n->a, &a);
	assert_int_equal(sim_finish(&n->a, &q, &keys), 0);
	assert_memory_equal(&a, &b, sizeof(a));
	i = a.classes.n ? mvpn_classes_find(&a.classes, 1, 6, 5432) : MVPN_CLASS_PLAIN;
	if (i == MVPN_CLASS_NONE)
		i = a.classes.rest;
	if (i != MVPN_CLASS_PLAIN)
		mvpn_class_str(&a.classes.list[i], text);
	assert_string_equal(text, class);
}

static void another_class_makes_the_session_anew(void **state)
{
	struct sim_net n;
	json_t *o;

	sim_net_up(&n);
	introduced_with(&n, "");
	sim_policy(&n.s, "allow a -> b dscp ef\n");
	both_reset(&n);
	introduced_with(&n, "dscp ef");
	sim_policy(&n.s, "allow a -> b dscp 46 # the same\n");
	sim_expect_nothing(&n.a, 300);
	sim_policy(&n.s, "allow a -> b proto tcp port 5432 dscp ef limit 2mbit\nallow a -> b\n");
	both_reset(&n);
	introduced_with(&n, "dscp ef limit 2mbit");
	o = sim_ok(&n.s, "policy-test", "{s:s, s:s}", "src", "a", "dst", "b");
	expect_member(o, "classes",
		      "[{\"class\":\"dscp ef limit 2mbit\",\"dscp\":\"ef\",\"limit_kbit\":2000,\"burst_b\":32768,"
		      "\"src\":[\"tcp 5432\"],\"dst\":[\"tcp 5432\"],\"rest\":false}]");
	o = sim_ok(&n.s, "policy-diff", "{s:s}", "text", "allow a -> b");
	expect_member(o, "pairs",
		      "[{\"a\":\"a\",\"b\":\"b\",\"before\":\"both\",\"after\":\"both\",\"before_classes\":[{"
		      "\"class\":\"dscp ef limit 2mbit\",\"dscp\":\"ef\",\"limit_kbit\":2000,\"burst_b\":32768,"
		      "\"a\":[\"tcp 5432\"],\"b\":[\"tcp 5432\"],\"rest\":false}]}]");
	sim_net_down(&n);
}

/* a pair has so many; and no more than that is said of a pair that is not known yet */
static void classes_of_a_pair_are_bounded(void **state)
{
	char text[8000], *at = text;
	struct sim_net n;
	json_t *o;

	sim_net_up(&n);
	for (unsigned i = 0; i <= MVPN_CLASSES_MAX; i++)
		at += sprintf(at, "allow a -> x proto tcp port %u dscp %u\n", 1 + 2 * i, i);
	sim_policy(&n.s, text); /* no x yet */
	at += sprintf(at, "group x = b\n");
	o = sim_call(&n.s, "policy-check", "{s:s}", "text", text);
	expect_member(json_incref(json_object_get(o, "error")), "message",
		      "\"between a and b the lines have more than 16 limits and different DSCPs, or 64 ranges of "
		      "ports for them\"");
	json_decref(o);
	sim_net_down(&n);
}

/* B has heard of the services that held when A asked */
static void a_change_under_way(void **state)
{
	struct sim_net n;
	struct sim_request q;

	sim_net_up(&n);
	sim_request(&n.a, B_ADDR, &q);
	sim_expect(&n.b, MVPN_MSG_OFFER);
	sim_policy(&n.s, DB);
	sim_expect(&n.b, MVPN_MSG_CANCEL);
	sim_expect_fail(&n.a, MVPN_R_STALE_BOOT);
	intro_a_free(q.a);
	introduced_for(&n, "nothing", "tcp 5432");
	sim_net_down(&n);
}

static void people_are_told(void **state)
{
	struct sim_net n;
	json_t *o;

	sim_net_up(&n);
	expect_member(sim_ok(&n.s, "policy-test", "{s:s, s:s}", "src", "a", "dst", "b"), "services",
		      "null");
	expect_member(sim_ok(&n.s, "policy-diff", "{s:s}", "text", DB), "pairs",
		      "[{\"a\":\"a\",\"b\":\"b\",\"before\":\"both\",\"after\":\"a\","
		      "\"after_services\":{\"a\":[],\"b\":[\"tcp 5432\"]}}]");
	sim_policy(&n.s, DB);
	expect_member(sim_ok(&n.s, "policy-diff", "{s:s}", "text", DB "allow only a -> b proto udp"),
		      "pairs_gain", "1");
	expect_member(sim_ok(&n.s, "policy-diff", "{s:s}", "text",
			     "allow only a -> b proto tcp port 5433"),
		      "pairs_lose", "1");
	expect_member(sim_ok(&n.s, "policy-test", "{s:s, s:s}", "src", "a", "dst", "b"), "services",
		      "{\"src\":[],\"dst\":[\"tcp 5432\"]}");
	expect_member(sim_ok(&n.s, "policy-test", "{s:s, s:s, s:s, s:i}", "src", "a", "dst", "b",
			     "proto", "tcp", "port", 5432),
		      "rule", "{\"text\":\"allow only a -> b proto tcp port 5432\",\"line\":1}");
	expect_member(sim_ok(&n.s, "policy-test", "{s:s, s:s, s:s, s:i}", "src", "a", "dst", "b",
			     "proto", "tcp", "port", 22),
		      "allowed", "false");
	o = sim_call(&n.s, "policy-test", "{s:s, s:s, s:s, s:i}", "src", "a", "dst", "b", "proto",
		     "icmp", "port", 22);
	expect_member(json_incref(json_object_get(o, "error")), "code", "\"bad-argument\"");
	json_decref(o);
	sim_net_down(&n);
}

/* lines that each are well-formed may be too much for a pair; of a pair that is not known yet what fits is allowed */
static void ranges_of_a_pair_are_bounded(void **state)
{
	char text[8000], *at = text;
	struct sim_net n;
	json_t *o;

	sim_net_up(&n);
	for (unsigned i = 0; i <= MVPN_SERVICES_MAX; i++)
		at += sprintf(at, "allow only x -> b proto tcp port %u\n", 1 + 2 * i);
	sim_policy(&n.s, text); /* no x yet */
	at += sprintf(at, "group x = a\n");
	o = sim_call(&n.s, "policy-check", "{s:s}", "text", text);
	expect_member(json_incref(json_object_get(o, "error")), "message",
		      "\"between a and b the lines name more than 64 ranges of ports\"");
	/* the last of these lines */
	expect_member(json_incref(json_object_get(o, "error")), "at",
		      "[{\"line\":65,\"text\":\"between a and b the lines name more than 64 ranges of ports\"}]");
	json_decref(o);
	sim_net_down(&n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_ends_hear_the_lines),
		cmocka_unit_test(a_change_makes_the_session_anew),
		cmocka_unit_test(a_session_of_streams_is_told),
		cmocka_unit_test(whoever_has_begun_is_told),
		cmocka_unit_test(who_cannot_be_told_makes_it_anew),
		cmocka_unit_test(another_class_makes_the_session_anew),
		cmocka_unit_test(classes_of_a_pair_are_bounded),
		cmocka_unit_test(a_change_under_way),
		cmocka_unit_test(people_are_told),
		cmocka_unit_test(ranges_of_a_pair_are_bounded),
	};

	if (aead_init() < 0)
		return 1;
	return MVPN_RUN(tests);
}
