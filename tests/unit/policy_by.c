/* SPDX-License-Identifier: BSD-2-Clause */
/* Processes in the policy. */
#include "test.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "../../server/policy.h"

static struct policy *parse(const char *text)
{
	struct policy_error e = {0};
	struct policy *p = NULL;

	if (policy_parse(text, strlen(text), &p, &e) < 0)
		fail_msg("%u:%u: %s", e.line, e.column, e.message);
	return p;
}

static void refuses(const char *text, unsigned column, const char *message)
{
	struct policy_error e = {0};
	struct policy *p = NULL;

	assert_int_equal(policy_parse(text, strlen(text), &p, &e), -EINVAL);
	if (!strstr(e.message, message) || e.column != column)
		fail_msg("%s: column %u: %s", text, e.column, e.message);
}

static void says_what_it_was_told(void **state)
{
	struct policy *p = parse(
		"allow a -> b proto tcp port 5432 by unit pg.service,other@1.service  uid 5 , postgres\n"
		"allow only a -> b by exe /usr/bin/psql cgroup /x.slice/y#no more\n"
		"allow a -> b");
	static const char *const want[] = {
		"allow only a -> b proto tcp port 5432 by unit pg.service, other@1.service uid 5, "
		"postgres",
		"allow only a -> b by exe /usr/bin/psql cgroup /x.slice/y", "allow a -> b"};
	const struct policy_rule *r;
	char text[300];
	unsigned n;

	r = policy_rules(p, &n);
	assert_int_equal(n, 3);
	for (unsigned i = 0; i < n; i++) {
		policy_rule_str(&r[i], text, sizeof(text));
		assert_string_equal(text, want[i]);
	}
	policy_rule_str(&r[0], text, 30); /* does not write beyond */
	assert_true(strlen(text) < 30);
	policy_free(p);
}

static void bad_lines(void **state)
{
	refuses("allow a -> b by", 16, "missing");
	refuses("allow a -> b by name x", 17, "unit, cgroup, uid or exe");
	refuses("allow a -> b by unit", 21, "missing");
	refuses("allow a -> b by unit pg", 22, ".service, .scope or .slice");
	refuses("allow a -> b by unit .service", 22, ".service, .scope or .slice");
	refuses("allow a -> b by unit a/b.service", 22, "letters");
	refuses("allow a -> b by unit pg.service,", 33, "missing");
	refuses("allow a -> b by uid 4294967295", 21, "below");
	refuses("allow a -> b by uid a:b", 21, "letters");
	refuses("allow a -> b by exe psql", 21, "begins with /");
	refuses("allow a -> b by exe /usr/../bin", 21, "no //");
	refuses("allow a -> b by cgroup /", 24, "below it");
	refuses("allow a -> b by cgroup /a//b", 24, "no //");
	refuses("allow a -> b by cgroup /1/2/3/4/5/6/7/8/9/10/11/12/13", 24, "too long");
	refuses("allow a -> b by exe /x->y", 21, "one of ,#=>");
	refuses("allow a -> b by uid 1 exe /a uid 2", 30, "again");
	refuses("allow a -> b by uid 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17", 60, "more than 16");
	refuses("allow a -> b by uid 1 proto tcp", 23, "unit, cgroup, uid or exe");
	refuses("test allow a -> b tcp by uid", 29, "missing");
}

/* who of a, as "kind=value" pairs, may do tcp `port` at b: the line, 0 none */
static unsigned asked(const struct policy *p, const char *from, const char *to, uint16_t port,
		      unsigned n, const struct mvpn_by_value *who)
{
	struct policy_subject a = {from, NULL, 0}, b = {to, NULL, 0};
	const struct policy_rule *r =
		policy_allows_process(p, &a, &b, port ? IPPROTO_TCP : 0, port, who, n);

	return r ? r->line : 0;
}

static void only_these(void **state)
{
	static const struct mvpn_by_value pg = {MVPN_BY_UNIT, "pg.service"},
					  root = {MVPN_BY_UID, "0"},
					  psql[] = {{MVPN_BY_EXE, "/usr/bin/psql"}, {MVPN_BY_UID, "5"}},
					  other[] = {{MVPN_BY_EXE, "/usr/bin/psql"}, {MVPN_BY_UID, "6"}},
					  in = {MVPN_BY_CGROUP, "/x/y/z"}, out = {MVPN_BY_CGROUP, "/x/yz"};
	struct policy *p = parse("allow a -> b proto tcp port 5432 by unit pg.service, q.service\n"
				 "allow a -> b proto tcp port 5432 by exe /usr/bin/psql uid 4, 5\n"
				 "allow a -> b proto tcp port 80 by cgroup /x/y\n"
				 "allow a -> b proto tcp port 22\n");

	assert_int_equal(asked(p, "a", "b", 5432, 1, &pg), 1);
	assert_int_equal(asked(p, "a", "b", 5432, 1, &root), 0);
	assert_int_equal(asked(p, "a", "b", 5432, 2, psql), 2);
	assert_int_equal(asked(p, "a", "b", 5432, 2, other), 0);
	assert_int_equal(asked(p, "a", "b", 5432, 1, psql), 0); /* its user is not said */
	assert_int_equal(asked(p, "a", "b", 80, 1, &in), 3);
	assert_int_equal(asked(p, "a", "b", 80, 1, &out), 0);
	assert_int_equal(asked(p, "a", "b", 22, 1, &root), 4);
	/* of the device as a whole: some process may */
	assert_int_equal(asked(p, "a", "b", 5432, 0, NULL), 1);
	/* b may not begin with what a's processes were given */
	assert_int_equal(asked(p, "b", "a", 5432, 1, &pg), 0);
	assert_int_equal(asked(p, "b", "a", 22, 1, &pg), 4);
	assert_true(policy_by_pair(p, &(struct policy_subject){"a", NULL, 0},
				   &(struct policy_subject){"b", NULL, 0}));
	assert_false(policy_by_pair(p, &(struct policy_subject){"b", NULL, 0},
				    &(struct policy_subject){"a", NULL, 0}));
	policy_free(p);
}

static void failed(void *arg, const struct policy_test *t, const char *why)
{
	policy_test_str(t, arg, 200);
}

static void tests_name_processes(void **state)
{
	char text[200] = "";
	struct policy *p = parse("allow a -> b proto tcp port 5432 by unit pg.service\n"
				 "test allow a -> b\n"
				 "test allow a -> b tcp 5432 by unit pg.service uid 7\n"
				 "test allow a -> b by unit pg.service\n"
				 "test deny a -> b by uid 7\n"
				 "test deny b -> a\n"
				 "test deny a -> b tcp port 5432 by unit q.service\n"
				 "test allow a -> b proto tcp by uid 0, 1 exe /x");

	assert_int_equal(policy_run_tests(p, NULL, failed, text), 1);
	assert_string_equal(text, "test allow a -> b tcp by uid 0, 1 exe /x");
	policy_free(p);
}

/* as bpf/process.h walks: whoever is given a part of the tree is in a service or scope, and makes no units */
static void units_of_a_control_group(void **state)
{
	static const struct {
		const char *path, *units;
	} cases[] = {
		{"/system.slice/pg.service", "system.slice pg.service "},
		{"/system.slice/pg.service/workers.scope", "system.slice pg.service "},
		{"/user.slice/user-7.slice/user@7.service/app.slice/x.service",
		 "user.slice user-7.slice user@7.service "},
		{"/docker/0123", "docker "},
		{"/a.slice", "a.slice "},
		{"/", ""},
		{"", ""},
	};

	for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		char unit[MVPN_GROUP_NAME_B], all[200] = "";

		for (unsigned n = 0; mvpn_by_unit_in(cases[i].path, n, unit); n++)
			snprintf(all + strlen(all), sizeof(all) - strlen(all), "%s ", unit);
		assert_string_equal(all, cases[i].units);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(says_what_it_was_told),
		cmocka_unit_test(bad_lines),
		cmocka_unit_test(only_these),
		cmocka_unit_test(tests_name_processes),
		cmocka_unit_test(units_of_a_control_group),
	};

	return cmocka_run_group_tests_name("policy_by", tests, NULL, NULL);
}
