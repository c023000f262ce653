/* SPDX-License-Identifier: BSD-2-Clause */
/* Lines of a policy that another one, before them, makes void. */
#include "policy.h"

#include <stdio.h>

static char heard[4000];

static void hear(void *arg, unsigned line, const char *text)
{
	size_t n = strlen(heard);

	snprintf(heard + n, sizeof(heard) - n, "%s%u: %s", n ? "\n" : "", line, text);
}

static void says(const char *text, const char *want)
{
	struct policy *p = parse(text);

	*heard = '\0';
	policy_each_overlap(p, hear, NULL);
	assert_string_equal(heard, want);
	policy_free(p);
}

#define GROUPS "group g = a, b\ngroup h = b, c\n"

static void the_first_holds_for_some_pairs(void **state)
{
	says(GROUPS "level socket g -> x\nlevel network h -> x",
	     "4: level network h -> x does not hold for all of its pairs: between b and x line 3, level socket g -> x, comes first and "
	     "holds");
	/* either way round */
	says(GROUPS "level socket x -> g\nlevel network h -> x",
	     "4: level network h -> x does not hold for all of its pairs: between x and b line 3, level socket x -> g, comes first and "
	     "holds");
	says("level socket a -> *\nlevel network * -> b",
	     "2: level network * -> b does not hold for all of its pairs: between a and b line 1, level socket a -> *, comes first and "
	     "holds");
	says("mode central60 a -> *\nmode end-to-end b -> *",
	     "2: mode end-to-end b -> * does not hold for all of its pairs: between a and b line 1, mode central60 a -> *, comes first "
	     "and holds");
	/* nobody is in both, or nobody but one device, or they say the same, or a line before both holds for whoever is */
	says(GROUPS "level socket g -> x\nlevel network h -> y\nlevel network c -> x", "");
	says(GROUPS "level socket g -> b\nlevel network h -> b\n", "");
	says(GROUPS "level socket g -> x\nlevel socket h -> x", "");
	says(GROUPS "level network b -> x\nlevel socket g -> x\nlevel network h -> x", "");
}

static void exceptions_stand_first(void **state)
{
	says(GROUPS "level network a -> x\nlevel socket g -> x\nlevel socket+network * -> *", "");
	says("mode end-to-end a -> b\nmode central60 * -> *", "");
	says("group r = a, b\nrelay a limit 10mbit\nrelay r limit 1mbit", "");
}

static void a_line_behind_its_rule_is_void(void **state)
{
	says(GROUPS "level socket g -> *\nlevel network x -> a",
	     "4: level network x -> a has no effect: line 3, level socket g -> *, comes first and holds for all of its pairs");
	says("level socket * -> *\nlevel socket a -> b",
	     "2: level socket a -> b has no effect: line 1, level socket * -> *, comes first and holds for all of its pairs");
	/* a token's device may be in the inner group alone */
	says("group o = i, x\ngroup i = a\nlevel socket o -> *\nlevel socket i -> *", "");
}

static void relays_have_the_first_limit(void **state)
{
	says(GROUPS "relay g limit 10mbit\nrelay h limit 1mbit",
	     "4: relay h does not hold for b: line 3, with another limit, comes first and holds");
	says(GROUPS "relay g limit 10mbit\nrelay a limit 1mbit",
	     "4: relay a does not hold for a: line 3, with another limit, comes first and holds");
	says(GROUPS "relay g limit 10mbit\nrelay h limit 10mbit\nrelay c limit 10mbit", "");
}

static void what_is_allowed_already(void **state)
{
	says("allow a -> b\nallow a -> b by unit x.service",
	     "2: allow only a -> b by unit x.service has no effect: line 1, allow a -> b, allows all of it to every process");
	says(GROUPS "allow * -> g proto tcp port 1-99\nallow only x -> a proto tcp port 22 limit 1mbit",
	     "4: allow only x -> a proto tcp port 22 limit 1mbit has no effect: line 3, allow * -> g proto tcp port 1-99, allows all of "
	     "it");
	says("allow a -> b\nallow only b -> a", "2: allow only b -> a has no effect: line 1, allow a -> b, allows all of it");
	/* more, of any kind; and a line of which a later one allows more */
	says("allow only a -> b\nallow a -> b\nallow only c -> d\nallow only d -> c", "");
	says("allow a -> b proto tcp port 22\nallow a -> b proto udp port 22\nallow a -> b proto tcp port 22-23\nallow a -> b", "");
	says("allow a -> b by uid 5\nallow a -> b by uid 6\nallow a -> b", "");
	says(GROUPS "allow a -> x\nallow g -> x\nallow x -> *", "");
}

static void many_lines_take_their_time(void **state)
{
	static char text[POLICY_RULES_MAX * 40];
	struct policy *p;
	size_t n = 0;

	for (unsigned i = 0; i < POLICY_RULES_MAX; i++)
		n += (size_t)sprintf(text + n, "allow only a%u -> b\n", i);
	p = parse(text);
	*heard = '\0';
	policy_each_overlap(p, hear, NULL); /* as far as it goes */
	assert_string_equal(heard, "");
	policy_free(p);
	/* large groups that have one in common, the last one */
	n = 0;
	for (unsigned g = 0; g < 2; g++) {
		n += (size_t)sprintf(text + n, "group g%u = x", g);
		for (unsigned i = 0; i < 40000; i++)
			n += (size_t)sprintf(text + n, ",%u-%u", g, i);
		n += (size_t)sprintf(text + n, "\n");
	}
	for (unsigned i = 0; i < POLICY_PAIRINGS_MAX; i++)
		n += (size_t)sprintf(text + n, "level %s g%u -> b%u\n", i % 2 ? "socket" : "network", i % 2, i);
	p = parse(text);
	policy_each_overlap(p, hear, NULL);
	assert_string_equal(heard, "");
	policy_free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_first_holds_for_some_pairs),
		cmocka_unit_test(exceptions_stand_first),
		cmocka_unit_test(a_line_behind_its_rule_is_void),
		cmocka_unit_test(relays_have_the_first_limit),
		cmocka_unit_test(what_is_allowed_already),
		cmocka_unit_test(many_lines_take_their_time),
	};

	return MVPN_RUN(tests);
}
