/* SPDX-License-Identifier: BSD-2-Clause */
/* Protocols and ports in the policy. */
#include "test.h"

#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "../../server/policy_internal.h"
#include "../../server/policy_lines.h"
#include "policy.h"

/* "SERVICES OF SRC | SERVICES OF DST", or "all" */
static const char *services(const char *text, const char *src, const char *dst)
{
	struct policy_subject a = {src, NULL, 0}, b = {dst, NULL, 0};
	char at_src[200], at_dst[200];
	struct policy *p = parse(text);
	struct policy_services s;
	static char out[420];

	policy_services_of(p, &a, &b, &s);
	mvpn_services_str(s.src, s.nsrc, at_src, sizeof(at_src));
	mvpn_services_str(s.dst, s.ndst, at_dst, sizeof(at_dst));
	snprintf(out, sizeof(out), "%s | %s", at_src, at_dst);
	if (s.all)
		strcpy(out, "all");
	policy_free(p);
	return out;
}

static void lines_about_a_pair_add_up(void **state)
{
	static const char two[] = "group web = w1, w2\nallow only web -> db proto tcp port 5432, 6432-6440\n"
				  "allow only mon -> * proto icmp proto tcp port 9100\n"
				  "allow only w2 -> db proto udp port 53 # and\n"
				  "allow w1 -> w2 proto tcp port 443";

	assert_string_equal(services("allow a -> b", "a", "b"), "all");
	assert_string_equal(services("", "a", "b"), "nothing | nothing");
	assert_string_equal(services(two, "w1", "db"), "nothing | tcp 5432, 6432-6440");
	assert_string_equal(services(two, "db", "w1"), "tcp 5432, 6432-6440 | nothing");
	assert_string_equal(services(two, "w2", "db"), "nothing | tcp 5432, 6432-6440, udp 53");
	assert_string_equal(services(two, "mon", "w1"), "nothing | icmp, tcp 9100");
	/* without "only" each may use the other's */
	assert_string_equal(services(two, "w1", "w2"), "tcp 443 | tcp 443");
	assert_string_equal(services("allow a -> b proto udp", "a", "b"), "udp | udp");
	assert_string_equal(services("allow a -> b proto 47 proto sctp port 1-65535", "b", "a"),
			    "47, sctp 1-65535 | 47, sctp 1-65535");
	assert_string_equal(services("allow a->b proto tcp port 1 , 2-3,4", "a", "b"),
			    "tcp 1-4 | tcp 1-4");
	/* one line for everything makes the others void */
	assert_string_equal(services("allow only a -> b proto tcp port 22\nallow only b -> a", "a", "b"),
			    "all");
	assert_string_equal(services("allow a -> proto proto icmp", "a", "proto"), "icmp | icmp");
}

static void flows_are_allowed_by_a_rule(void **state)
{
	struct policy *p = parse("allow only a -> b proto tcp port 22\nallow only a -> b proto udp\n"
				 "allow only b -> a proto icmp\nallow only c -> a\n");
	struct policy_subject a = {"a", NULL, 0}, b = {"b", NULL, 0}, c = {"c", NULL, 0};

	assert_int_equal(policy_allows_flow(p, &a, &b, IPPROTO_TCP, 22)->line, 1);
	assert_int_equal(policy_allows_flow(p, &a, &b, IPPROTO_TCP, 0)->line, 1);
	assert_int_equal(policy_allows_flow(p, &a, &b, 0, 0)->line, 1);
	assert_int_equal(policy_allows_flow(p, &a, &b, IPPROTO_UDP, 7)->line, 2);
	assert_int_equal(policy_allows_flow(p, &b, &a, IPPROTO_ICMP, 0)->line, 3);
	assert_null(policy_allows_flow(p, &a, &b, IPPROTO_TCP, 23));
	assert_null(policy_allows_flow(p, &a, &b, IPPROTO_ICMP, 0));
	assert_null(policy_allows_flow(p, &b, &a, IPPROTO_TCP, 22));
	assert_int_equal(policy_allows_flow(p, &c, &a, IPPROTO_TCP, 23)->line, 4);
	assert_null(policy_allows_flow(p, &a, &c, IPPROTO_TCP, 23));
	policy_free(p);
}

static void note_failure(void *arg, const struct policy_test *t, const char *why)
{
	char *to = arg, test[100];

	policy_test_str(t, test, sizeof(test));
	sprintf(to + strlen(to), "%u: %s: %s\n", t->line, test, why);
}

static const char *failures(const char *text)
{
	static char out[2000];
	struct policy *p = parse(text);

	*out = '\0';
	policy_run_tests(p, NULL, note_failure, out);
	policy_free(p);
	return out;
}

#define WEB "allow only web -> db proto tcp port 5432, 6432-6440\n"

static void tests_name_protocols_and_ports(void **state)
{
	assert_string_equal(failures(WEB "test allow web -> db tcp 5432\ntest allow web -> db proto tcp port 6440\n"
				     "test deny web -> db tcp 22\ntest deny web -> db udp\n"
				     "test deny db -> web tcp 5432\ntest allow web -> db\n"
				     "test allow web -> db tcp\ntest deny web -> db icmp\n"
				     "test deny web -> db 47\n"),
			    "");
	assert_string_equal(failures(WEB "test deny web -> db tcp 6433"),
			    "2: test deny web -> db tcp 6433: line 1 lets web begin with db: allow only web -> db "
			    "proto tcp port 5432, 6432-6440\n");
	assert_string_equal(failures(WEB "test allow web -> db tcp 22"),
			    "2: test allow web -> db tcp 22: no line lets web begin that with db; line 1 is for "
			    "something else: allow only web -> db proto tcp port 5432, 6432-6440\n");
	assert_non_null(strstr(failures(WEB "test deny web -> db"), "line 1 lets web"));
}

static void note_pair(void *arg, const struct policy_pairs *p)
{
	bool web_is_a = !strcmp(p->a[0]->name, "web");
	const struct policy_access *access[] = {p->before, p->after};
	char *to = arg, text[100];

	for (unsigned i = 0; i < 2; i++) {
		const struct policy_services *s = &access[i]->services;

		if (web_is_a)
			mvpn_services_str(s->dst, s->ndst, text, sizeof(text));
		else
			mvpn_services_str(s->src, s->nsrc, text, sizeof(text));
		sprintf(to + strlen(to), "%s%s%s%s", i ? " > " : "", access[i]->begins ? "" : "no ",
			s->all ? "all " : "", text);
	}
	strcat(to, "\n");
}

static const char *diff(const char *old, const char *new)
{
	static const struct policy_subject devices[] = {{"db", NULL, 0}, {"web", NULL, 0}};
	struct policy *p = parse(old), *q = parse(new);
	static char out[1000];

	*out = '\0';
	assert_int_equal(policy_pairs_diff(p, q, devices, 2, note_pair, out), 0);
	policy_free(p);
	policy_free(q);
	return out;
}

static void pairs_differ_by_services(void **state)
{
	assert_string_equal(diff(WEB, "allow only web -> db proto tcp port 6432-6440, 5432"), "");
	assert_string_equal(diff(WEB, "allow only web -> db proto tcp port 5432"),
			    "tcp 5432, 6432-6440 > tcp 5432\n");
	assert_string_equal(diff(WEB, "allow only web -> db"),
			    "tcp 5432, 6432-6440 > all nothing\n");
	assert_string_equal(diff("", WEB), "no nothing > tcp 5432, 6432-6440\n");
	assert_string_equal(diff("allow web -> db", "allow web -> db\n" WEB), "");
}

static void rules_are_written_as_read(void **state)
{
	static const char text[] = "allow only a -> b proto icmp proto tcp port 22, 80-90 proto udp proto 47";
	struct policy_subject a = {"a", NULL, 0}, b = {"b", NULL, 0};
	struct policy *p = parse(text);
	char out[100];

	policy_rule_str(policy_allows(p, &a, &b), out, sizeof(out));
	assert_string_equal(out, text);
	policy_rule_str(policy_allows(p, &a, &b), out, 40);
	assert_string_equal(out, "allow only a -> b proto icmp …");
	policy_free(p);
}

static void too_many_ranges(void **state)
{
	struct policy_error e = {0};
	struct policy_subject a = {"a", NULL, 0}, b = {"b", NULL, 0};
	struct policy_services s;
	struct policy *p;
	char text[4000] = "allow a -> b proto tcp port 1", *at = text + strlen(text);

	for (int i = 1; i < MVPN_SERVICES_MAX; i++)
		at += sprintf(at, ", %d", 1 + 2 * i);
	strcpy(at, "\nallow a -> b proto udp port 1");
	p = parse(text);
	policy_services_of(p, &a, &b, &s);
	assert_true(s.overflow);
	assert_int_equal(s.ndst, MVPN_SERVICES_MAX);
	policy_free(p);
	strcpy(at, ", 1000");
	assert_true(policy_parse(text, strlen(text), &p, &e) < 0);
	assert_non_null(strstr(e.message, "more than 64 ranges"));
	assert_int_equal(e.column, at - text + 3);
}

static void errors_say_where(void **state)
{
	static const struct {
		const char *text;
		unsigned column;
		const char *word;
	} bad[] = {
		{"allow a -> b tcp 22", 14, "unexpected"},
		{"allow a -> b proto", 19, "missing"},
		{"allow a -> b proto tpc", 20, "a protocol is"},
		{"allow a -> b proto 44", 20, "extension"},
		{"allow a -> b proto tcp port", 28, "missing"},
		{"allow a -> b proto tcp port 0", 29, "1 to 65535"},
		{"allow a -> b proto tcp port 65536", 29, "1 to 65535"},
		{"allow a -> b proto tcp port 80-79", 29, "before it begins"},
		{"allow a -> b proto tcp port 80-", 32, "1 to 65535"},
		{"allow a -> b proto tcp port 80,", 32, "missing"},
		{"allow a -> b proto tcp port 80 443", 32, "unexpected"},
		{"allow a -> b proto tcp port ssh", 29, "1 to 65535"},
		{"allow a -> b proto icmp port 8", 25, "have ports"},
		{"allow a -> b port 80", 14, "unexpected"},
		{"test allow a -> b icmp 8", 24, "unexpected"},
		{"test allow a -> b proto tcp port 80-81", 34, "1 to 65535"},
	};

	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct policy_error e = {0};
		struct policy *p = NULL;

		assert_true(policy_parse(bad[i].text, strlen(bad[i].text), &p, &e) < 0);
		if (e.column != bad[i].column || !strstr(e.message, bad[i].word))
			fail_msg("%s: %u: %s", bad[i].text, e.column, e.message);
	}
}

/* ---- the index leaves no line out, and brings few others ---- */

#define LINES 5000

static const char *pick(const char *const *names, unsigned n, uint32_t *seed)
{
	*seed = *seed * 1103515245 + 12345;
	return names[(*seed >> 16) % n];
}

/* is the line about the two, asked without the index? */
static bool about(const struct policy *p, const struct policy_rule *r, const struct policy_subject *a,
		  const struct policy_subject *b)
{
	return (policy_name_matches(p, r->src, a) && policy_name_matches(p, r->dst, b)) ||
	       (policy_name_matches(p, r->src, b) && policy_name_matches(p, r->dst, a));
}

static void walk_is_whole(const struct policy *p, const struct policy_subject *a, const struct policy_subject *b)
{
	const struct policy_rule *r;
	struct policy_walk w;
	unsigned next = 0;

	policy_walk(&w, p, a, b);
	while ((r = policy_walk_next(&w))) {
		for (; &p->rules[next] != r; next++) {
			assert_true(next < p->nrules); /* in order, none twice */
			assert_false(about(p, &p->rules[next], a, b));
		}
		next++;
	}
	for (; next < p->nrules; next++)
		assert_false(about(p, &p->rules[next], a, b));
}

static void no_line_is_left_out(void **state)
{
	static const char *const names[] = {"*", "a", "b", "c", "d", "web", "db", "all", "odd", "red"};
	static const char *const groups[] = {"red", "web", "blue"};
	char text[4000];
	uint32_t seed = 1;

	for (unsigned t = 0; t < 200; t++) {
		char *at = text + sprintf(text, "group web = a, b\ngroup db = c, red\ngroup all = web, db, x\ngroup odd = web\n");
		struct policy *p;

		for (unsigned i = 0; i < t % 40; i++)
			at += sprintf(at, "allow %s%s -> %s\n", i % 3 ? "" : "only ", pick(names, 10, &seed),
				      pick(names, 10, &seed));
		p = parse(text);
		for (unsigned i = 1; i < 10; i++)
			for (unsigned k = 1; k < 10; k++) {
				struct policy_subject a = {names[i], groups, (i + t) % 4}, b = {names[k], groups + 1, t % 3};

				walk_is_whole(p, &a, &b);
			}
		policy_free(p);
	}
}

static unsigned walked(const struct policy *p, const char *a, const char *b)
{
	struct policy_subject sa = {a, NULL, 0}, sb = {b, NULL, 0};
	struct policy_walk w;
	unsigned n = 0;

	policy_walk(&w, p, &sa, &sb);
	while (policy_walk_next(&w))
		n++;
	return n;
}

/* however long a policy is, an introduction looks at the lines about the two */
static void few_lines_are_looked_at(void **state)
{
	char *text = malloc(LINES * 80), *at = text;
	struct policy *p;

	at += sprintf(at, "group every = h0");
	for (unsigned i = 1; i < 100; i++)
		at += sprintf(at, ", h%u", i);
	at += sprintf(at, "\n");
	for (unsigned i = 0; i < LINES / 2; i++)
		at += sprintf(at, "allow h%u -> h%u proto tcp port %u\nallow every -> s%u proto tcp port 443\n", i, i + 1,
			      i + 1, i);
	p = parse(text);
	assert_int_equal(walked(p, "h7", "h8"), 2); /* the other one is about h8 and h9 */
	assert_int_equal(walked(p, "h7", "s9"), 2);
	assert_int_equal(walked(p, "x", "y"), 0);
	policy_free(p);
	free(text);
}

/* a device of more groups than the index follows is decided all the same */
static void many_groups_are_enough(void **state)
{
	char text[20000], *at = text;
	struct policy_subject a = {"a", NULL, 0}, b = {"b", NULL, 0};
	struct policy *p;

	for (unsigned i = 0; i < 2 * POLICY_WALK_NAMES; i++)
		at += sprintf(at, "group g%u = a\nallow g%u -> n%u\n", i, i, i);
	sprintf(at, "allow only b -> g%u\n", 2 * POLICY_WALK_NAMES - 1);
	p = parse(text);
	assert_non_null(policy_allows(p, &b, &a));
	assert_null(policy_allows(p, &a, &b));
	walk_is_whole(p, &a, &b);
	policy_free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_about_a_pair_add_up),
		cmocka_unit_test(flows_are_allowed_by_a_rule),
		cmocka_unit_test(tests_name_protocols_and_ports),
		cmocka_unit_test(pairs_differ_by_services),
		cmocka_unit_test(rules_are_written_as_read),
		cmocka_unit_test(too_many_ranges),
		cmocka_unit_test(errors_say_where),
		cmocka_unit_test(no_line_is_left_out),
		cmocka_unit_test(few_lines_are_looked_at),
		cmocka_unit_test(many_groups_are_enough),
	};

	return MVPN_RUN(tests);
}
