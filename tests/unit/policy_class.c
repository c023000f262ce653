/* SPDX-License-Identifier: BSD-2-Clause */
/* DSCPs and limits in the policy. */
#include "test.h"

#include <stdio.h>
#include <string.h>

#include "../../server/policy.h"
#include "../../server/policy_lines.h"

static struct policy *parse(const char *text)
{
	struct policy_error e = {0};
	struct policy *p = NULL;

	if (policy_parse(text, strlen(text), &p, &e) < 0)
		fail_msg("%u:%u: %s", e.line, e.column, e.message);
	return p;
}

static const char *class_text(const struct mvpn_classes *c, int i)
{
	static char buf[MVPN_CLASSSTRLEN];

	return i == MVPN_CLASS_NONE ? "rest" : i == MVPN_CLASS_PLAIN ? "plain"
								     : mvpn_class_str(&c->list[i], buf);
}

/* the class of what goes to that service of dst */
static const char *class_at(const char *text, const char *src, const char *dst, uint8_t proto,
			    uint16_t port)
{
	struct policy_subject a = {src, NULL, 0}, b = {dst, NULL, 0};
	struct policy *p = parse(text);
	struct policy_services s;
	static char out[MVPN_CLASSSTRLEN];
	int i;

	policy_services_of(p, &a, &b, &s);
	policy_free(p);
	assert_false(s.overflow || s.classes_overflow);
	if (!s.classes.n)
		return "none";
	i = mvpn_classes_find(&s.classes, 1, proto, port);
	if (i == MVPN_CLASS_NONE)
		i = s.classes.rest;
	strcpy(out, class_text(&s.classes, i));
	return out;
}

static void first_line_about_a_packet_decides(void **state)
{
	static const char text[] = "group web = w1, w2\n"
				   "allow only web -> db proto tcp port 5432 dscp af21 limit 50mbit\n"
				   "allow w1 -> db proto tcp dscp ef\n"
				   "allow only * -> db proto udp proto tcp port 1-9 limit 100kbit burst 2mb\n";

	assert_string_equal(class_at("allow a -> b", "a", "b", 6, 22), "none");
	assert_string_equal(class_at("allow a -> b dscp ef", "a", "b", 6, 22), "dscp ef");
	assert_string_equal(class_at("allow only a -> b dscp copy limit 1gbit", "b", "a", 17, 1),
			    "dscp copy limit 1gbit");
	assert_string_equal(class_at(text, "w1", "db", 6, 5432), "dscp af21 limit 50mbit");
	assert_string_equal(class_at(text, "w1", "db", 6, 1), "dscp ef");
	assert_string_equal(class_at(text, "w2", "db", 6, 1), "limit 100kbit burst 2048kb");
	assert_string_equal(class_at(text, "w1", "db", 17, 1), "limit 100kbit burst 2048kb");
	/* a line without options decides as well */
	assert_string_equal(class_at("allow a -> b proto udp\nallow a -> b dscp 12\n", "a", "b", 17, 5),
			    "plain");
	assert_string_equal(class_at("allow a -> b\nallow a -> b dscp 12\n", "a", "b", 17, 5), "none");
	assert_string_equal(class_at("allow a -> dscp dscp 0", "a", "dscp", 17, 5), "dscp cs0");
}

static void both_ends_are_told_the_same(void **state)
{
	struct policy_subject a = {"a", NULL, 0}, b = {"b", NULL, 0};
	struct policy_services ab, ba;
	struct policy *p = parse("allow only a -> b proto tcp port 80 dscp cs1\n"
				 "allow only b -> a proto tcp port 22 dscp cs2\n");

	policy_services_of(p, &a, &b, &ab);
	policy_services_of(p, &b, &a, &ba);
	assert_int_equal(mvpn_classes_find(&ab.classes, 1, 6, 80), 0);
	assert_int_equal(mvpn_classes_find(&ab.classes, 0, 6, 80), MVPN_CLASS_NONE);
	assert_int_equal(mvpn_classes_find(&ba.classes, 0, 6, 80), 0);
	assert_int_equal(mvpn_classes_find(&ab.classes, 0, 6, 22), 1);
	assert_int_equal(mvpn_classes_find(&ba.classes, 1, 6, 22), 1);
	policy_free(p);
}

static void frames_have_classes(void **state)
{
	struct policy_subject a = {"a", NULL, 0}, b = {"b", NULL, 0}, c = {"c", NULL, 0};
	struct policy *p = parse("ethernet a -> b type 0x88b5, 0x88b6 dscp cs6\n"
				 "ethernet only b -> a type * limit 1mbit\n"
				 "ethernet a -> b type 0x88b7 dscp ef\n");
	const struct policy_ether *e;
	struct mvpn_classes classes;
	char text[100];
	unsigned n;

	assert_int_equal(policy_frame_classes(p, &b, &a, &classes), 0);
	assert_string_equal(class_text(&classes, mvpn_classes_find(&classes, 0, 0, 0x88b6)), "dscp cs6");
	assert_int_equal(mvpn_classes_find(&classes, 0, 0, 0x88b7), MVPN_CLASS_NONE);
	assert_string_equal(class_text(&classes, classes.rest), "limit 1mbit");
	assert_int_equal(policy_frame_classes(p, &a, &c, &classes), 0);
	assert_int_equal(classes.n, 0);
	e = policy_ethers(p, &n);
	policy_ether_str(&e[0], text, sizeof(text));
	assert_string_equal(text, "ethernet a -> b type 0x88b5, 0x88b6 dscp cs6");
	policy_ether_str(&e[1], text, sizeof(text));
	assert_string_equal(text, "ethernet only b -> a type * limit 1mbit");
	policy_free(p);
}

static void rules_are_written_as_read(void **state)
{
	static const char *const lines[] = {
		"allow a -> b dscp ef",
		"allow only a -> * dscp copy limit 20mbit",
		"allow a -> b proto icmp proto tcp port 22, 80-81 dscp 7 limit 64kbit burst 33kb",
		"allow a -> b limit 3gbit",
		"allow only a -> b proto tcp port 22 by uid 0, 5 exe /bin/x dscp ef",
	};

	for (unsigned i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		struct policy *p = parse(lines[i]);
		struct policy_subject a = {"a", NULL, 0}, b = {"b", NULL, 0};
		char text[100];

		policy_rule_str(policy_allows(p, &a, &b), text, sizeof(text));
		assert_string_equal(text, lines[i]);
		/* the end is what is never left out */
		policy_rule_str(policy_allows(p, &a, &b), text, 50);
		assert_true(strlen(text) < 50);
		policy_free(p);
	}
}

static void errors_say_where(void **state)
{
	static const struct {
		const char *text;
		unsigned column;
		const char *message;
	} cases[] = {
		{"allow a -> b dscp", 18, "missing"},
		{"allow a -> b dscp 64", 19, "a DSCP is a name like ef"},
		{"allow a -> b dscp af14", 19, "a DSCP is a name like ef"},
		{"allow a -> b dscp clear", 19, "or copy"},
		{"allow a -> b dscp ef dscp ef", 22, "unexpected"},
		{"allow a -> b dscp ef proto tcp", 22, "unexpected"},
		{"allow a -> b limit 20mbit dscp ef", 27, "unexpected"},
		{"allow a -> b limit", 19, "missing"},
		{"allow a -> b limit 20", 20, "64kbit to 1000gbit"},
		{"allow a -> b limit mbit", 20, "64kbit to 1000gbit"},
		{"allow a -> b limit 63kbit", 20, "64kbit to 1000gbit"},
		{"allow a -> b limit 1001gbit", 20, "64kbit to 1000gbit"},
		{"allow a -> b limit 99999999999999999999mbit", 20, "64kbit to 1000gbit"},
		{"allow a -> b limit 5000gbit", 20, "64kbit to 1000gbit"},
		{"allow a -> b limit 20Mbit", 20, "64kbit to 1000gbit"},
		{"allow a -> b limit 20mbit burst", 32, "missing"},
		{"allow a -> b limit 20mbit burst 31kb", 33, "32kb to 64mb"},
		{"allow a -> b limit 20mbit burst 65mb", 33, "32kb to 64mb"},
		{"allow a -> b limit 20mbit burst 5000mb", 33, "32kb to 64mb"},
		{"allow a -> b burst 64kb", 14, "unexpected"},
		{"ethernet a -> b type 0x88b5 dscp copy", 34, "a frame has no DSCP"},
		{"ethernet a -> b type * limit 1", 30, "64kbit to 1000gbit"},
	};

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct policy_error e = {0};
		struct policy *p = NULL;

		if (policy_parse(cases[i].text, strlen(cases[i].text), &p, &e) == 0)
			fail_msg("\"%s\" is taken", cases[i].text);
		if (e.column != cases[i].column || !strstr(e.message, cases[i].message))
			fail_msg("\"%s\": %u:%u: %s", cases[i].text, e.line, e.column, e.message);
	}
}

static void note_pair(void *arg, const struct policy_pairs *p)
{
	++*(unsigned *)arg;
	assert_true(policy_services_cover(&p->before->services, &p->after->services));
	assert_false(mvpn_classes_eq(&p->before->services.classes, &p->after->services.classes));
}

static unsigned differs(const char *old, const char *new)
{
	static const struct policy_subject devices[] = {{"a", NULL, 0}, {"b", NULL, 0}};
	struct policy *p = parse(old), *q = parse(new);
	unsigned n = 0;

	assert_int_equal(policy_pairs_diff(p, q, devices, 2, note_pair, &n), 0);
	policy_free(p);
	policy_free(q);
	return n;
}

static void pairs_differ_by_classes(void **state)
{
	assert_int_equal(differs("allow a -> b", "allow a -> b dscp ef"), 1);
	assert_int_equal(differs("allow a -> b limit 1mbit", "allow a -> b limit 2mbit"), 1);
	assert_int_equal(differs("allow a -> b limit 1mbit", "allow a -> b limit 1000kbit"), 0);
	assert_int_equal(differs("allow a -> b", "allow a -> b\nallow b -> a dscp ef"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(first_line_about_a_packet_decides),
		cmocka_unit_test(both_ends_are_told_the_same),
		cmocka_unit_test(frames_have_classes),
		cmocka_unit_test(rules_are_written_as_read),
		cmocka_unit_test(errors_say_where),
		cmocka_unit_test(pairs_differ_by_classes),
	};

	return MVPN_RUN(tests);
}
