/* SPDX-License-Identifier: BSD-2-Clause */
/* Before a policy is put in force: the tests that it carries, and what it would change. */
#include "test.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "../../server/policy_lines.h"
#include "policy.h"

static void note_failure(void *arg, const struct policy_test *t, const char *why)
{
	char *to = arg, test[200];

	policy_test_str(t, test, sizeof(test));
	sprintf(to + strlen(to), "%u: %s: %s\n", t->line, test, why);
}

/* what fails, a line each */
static const char *failures(const char *text, const struct policy_resolver *by)
{
	static char out[4096];
	struct policy *p = parse(text);
	int n;

	*out = '\0';
	n = policy_run_tests(p, by, note_failure, out);
	for (const char *at = out; (at = strchr(at, '\n')); at++)
		n--;
	assert_int_equal(n, 0);
	policy_free(p);
	return out;
}

static void a_is_web(void *arg, const char *name, struct policy_subject *subject)
{
	static const char *const web[] = {"web"};

	if (!strcmp(name, "a"))
		*subject = (struct policy_subject){name, web, 1};
}

static void tests_are_run(void **state)
{
	const struct policy_resolver by = {a_is_web, NULL};
	static const char grouped[] = "group web = w1, w2\ngroup db = d1, d2\nallow only web -> db\n"
				      "test allow web -> db\ntest deny db -> web\n"
				      "test deny web -> web # not among themselves\n";

	assert_string_equal(failures("", NULL), "");
	assert_string_equal(failures("test deny a -> b", NULL), "");
	assert_string_equal(failures("test allow a -> b tcp 443\nallow a -> b", NULL), "");
	assert_string_equal(failures("test deny a -> b tcp 443\nallow only b -> a", NULL), "");
	assert_string_equal(failures(grouped, NULL), "");
	assert_string_equal(failures("# x\ntest allow a->b udp", NULL),
			    "2: test allow a -> b udp: no line lets a begin with b\n");
	assert_string_equal(failures("test deny b -> a icmp\n\nallow a -> *", NULL),
			    "1: test deny b -> a icmp: line 3 lets b begin with a: allow a -> *, for "
			    "every protocol and port\n");
	/* the first pair of a group that breaks it is named, and each test that fails */
	assert_string_equal(failures("group g = a, b\nallow c -> a\ntest allow c -> g\n"
				     "test deny g -> c\n", NULL),
			    "3: test allow c -> g: no line lets c begin with b\n"
			    "4: test deny g -> c: line 2 lets a begin with c: allow c -> a\n");
	/* groups that a device has from its token */
	assert_string_equal(failures("allow web -> b\ntest allow a -> b\ntest allow web -> b", &by),
			    "");
	assert_string_equal(failures("allow web -> b\ntest allow a -> b", NULL),
			    "2: test allow a -> b: no line lets a begin with b\n");
}

static void tests_are_bounded(void **state)
{
	char *text = malloc(1 << 18), *at = text;

	for (char g = 'g'; g <= 'h'; g++) {
		at += sprintf(at, "group %c = ", g);
		for (int i = 0; i < 3000; i++)
			at += sprintf(at, "%s%c%d", i ? ", " : "", g, i);
		*at++ = '\n';
	}
	strcpy(at, "allow x -> y\ntest deny g -> h\n");
	assert_non_null(strstr(failures(text, NULL), "4: test deny g -> h: the tests up to this line"));
	free(text);
}

static void note_line(void *arg, bool added, const struct policy_line *l)
{
	char *to = arg;

	sprintf(to + strlen(to), "%c%u %s\n", added ? '+' : '-', l->line, l->text);
}

static void note_pairs(void *arg, const struct policy_pairs *p)
{
	unsigned *seen = arg; /* a byte for each pair of one-letter names */

	for (unsigned i = 0; i < p->na; i++)
		for (unsigned k = p->a == p->b ? i + 1 : 0; k < p->nb; k++) {
			unsigned a = (unsigned)(*p->a[i]->name - 'a'), b = (unsigned)(*p->b[k]->name - 'a');
			unsigned before = p->before->begins, after = p->after->begins;

			if (a > b) {
				before = (before & 1) << 1 | before >> 1;
				after = (after & 1) << 1 | after >> 1;
			}
			seen[(a < b ? a : b) * 8 + (a < b ? b : a)] = 16 | before << 2 | after;
		}
	seen[64] += (unsigned)p->count;
}

static void differences_are_told(void **state)
{
	static const char old[] = "group g = a, b\nallow g -> c # as it was\nallow a -> d\ndscp clear\n"
				  "protect 10.0.0.0/8 via a\n\n  # x -> y\ntest deny e -> a\n";
	static const char new[] = "test deny e->a\r\ngroup  g=a,\tb\nallow only a -> d\n\tallow g->c  #\n"
				  "ethernet a-b -> c- type 0x88b5\nprotect 10.0.0.0/8";
	struct policy_lines before, after;
	char out[1000] = "";

	assert_int_equal(policy_lines(old, strlen(old), &before), 0);
	assert_int_equal(policy_lines(new, strlen(new), &after), 0);
	policy_lines_diff(&before, &after, note_line, out);
	assert_string_equal(out, "-3 allow a -> d\n+3 allow only a -> d\n-4 dscp clear\n"
				 "+5 ethernet a-b -> c- type 0x88b5\n+6 protect 10.0.0.0/8\n"
				 "-5 protect 10.0.0.0/8 via a\n");
	policy_lines_free(&after);
	*out = '\0';
	assert_int_equal(policy_lines("", 0, &after), 0);
	policy_lines_diff(&after, &before, note_line, out);
	assert_non_null(strstr(out, "+1 group g = a, b\n"));
	policy_lines_free(&before);
	policy_lines_free(&after);
}

static unsigned access_by(const struct policy *p, const struct policy_subject *a,
			  const struct policy_subject *b)
{
	return (policy_allows(p, a, b) ? POLICY_A_BEGINS : 0U) |
	       (policy_allows(p, b, a) ? POLICY_B_BEGINS : 0U);
}

/* what is told of kinds of devices is what each pair would be told */
static void pairs_that_change_are_told(void **state)
{
	static const char *const texts[] = {
		"",
		"allow * -> *",
		"allow a -> b",
		"allow only b -> a\nallow c -> *",
		"group g = a, b, c\ngroup h = d, e\nallow only g -> h\nallow f -> red",
		"allow only red -> a\nallow only * -> b\nallow c -> d",
		"group red = d\nallow only red -> *\nallow red -> c",
	};
	static const char *const names[] = {"a", "b", "c", "d", "e", "f", "g", "h"};
	static const char *const red[] = {"red"};
	struct policy_subject devices[8];
	const unsigned n = sizeof(texts) / sizeof(texts[0]);

	for (unsigned i = 0; i < 8; i++)
		devices[i] = (struct policy_subject){names[i], red, i == 4 || i == 5};
	for (unsigned t = 0; t < n * n; t++) {
		struct policy *old = t / n ? parse(texts[t / n]) : NULL, *new = parse(texts[t % n]);
		unsigned seen[65] = {0}, count = 0;

		assert_int_equal(policy_pairs_diff(old, new, devices, 8, note_pairs, seen), 0);
		for (unsigned a = 0; a < 8; a++)
			for (unsigned b = a + 1; b < 8; b++) {
				unsigned before = access_by(old, &devices[a], &devices[b]);
				unsigned after = access_by(new, &devices[a], &devices[b]);

				count += before != after;
				assert_int_equal(seen[a * 8 + b],
						 before == after ? 0 : 16 | before << 2 | after);
			}
		assert_int_equal(seen[64], count);
		policy_free(old);
		policy_free(new);
	}
}

static void add_count(void *arg, const struct policy_pairs *p)
{
	uint64_t *count = arg;

	*count += p->count;
}

/* a network of the largest size is compared by kinds, or not at all, but at once */
static void large_networks_are_compared(void **state)
{
	static const char *const web[] = {"web"};
	const unsigned n = 100000;
	struct policy_subject *devices = calloc(n, sizeof(*devices));
	char *text = malloc(1 << 20), *at = text;
	struct policy *p = parse("allow web -> db\n"), *q = parse("allow * -> *");
	uint64_t count = 0;

	for (unsigned i = 0; i < n; i++)
		devices[i] = (struct policy_subject){"h", web, i % 2};
	devices[0].name = "db";
	assert_int_equal(policy_pairs_diff(NULL, p, devices, n, add_count, &count), 0);
	assert_int_equal(count, n / 2);
	count = 0;
	assert_int_equal(policy_pairs_diff(p, q, devices, n, add_count, &count), 0);
	assert_int_equal(count, (uint64_t)n * (n - 1) / 2 - n / 2);
	policy_free(q);
	for (int i = 0; i < 10000; i++)
		at += sprintf(at, "allow x%d -> y\n", i);
	q = parse(text);
	assert_int_equal(policy_pairs_diff(p, q, devices, n, add_count, &count), -E2BIG);
	policy_free(q);
	policy_free(p);
	free(text);
	free(devices);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tests_are_run),
		cmocka_unit_test(tests_are_bounded),
		cmocka_unit_test(differences_are_told),
		cmocka_unit_test(pairs_that_change_are_told),
		cmocka_unit_test(large_networks_are_compared),
	};

	return MVPN_RUN(tests);
}
