/* SPDX-License-Identifier: BSD-2-Clause */
/* The policy language: what it lets by, and how it refuses what is not in it. */
#include "test.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "mvpn/auth.h"
#include "mvpn/ether.h"
#include "policy.h"

static bool allows_in(const struct policy *p, const char *a, const char *b)
{
	struct policy_subject sa = {a, NULL, 0}, sb = {b, NULL, 0};

	return policy_allows(p, &sa, &sb) != NULL;
}

static bool allows(const char *text, const char *a, const char *b)
{
	struct policy *p = parse(text);
	bool r = allows_in(p, a, b);

	policy_free(p);
	return r;
}

static void nothing_is_allowed_by_default(void **state)
{
	assert_false(allows("", "a", "b"));
	assert_false(allows("# a comment\n\n   \t\r\n", "a", "b"));
	assert_false(allows("protect 10.0.0.0/8\ngroup g = a, b\n", "a", "b"));
	assert_false(allows_in(NULL, "a", "b"));
}

static void a_rule_works_both_ways_unless_only(void **state)
{
	assert_true(allows("allow a -> b", "a", "b"));
	assert_true(allows("allow a -> b", "b", "a"));
	assert_true(allows("allow only a -> b\n", "a", "b"));
	assert_false(allows("allow only a -> b\n", "b", "a"));
	assert_false(allows("allow a -> b", "a", "c"));
	assert_true(allows("allow a->b#x", "b", "a"));
	assert_true(allows("allow * -> m", "m", "z"));
	assert_true(allows("allow only * -> m", "z", "m"));
	assert_false(allows("allow only * -> m", "m", "z"));
	assert_true(allows("allow only -> b", "only", "b")); /* a device of that name */
	assert_true(allows("allow only only -> only", "only", "only"));
}

static void groups_nest(void **state)
{
	static const char text[] = "group all = web, db\n"
				   "group web = www1, www2\n"
				   "allow web -> db\n"
				   "group db = pg-1\n"
				   "allow only monitor -> all";

	assert_true(allows(text, "www2", "pg-1"));
	assert_false(allows(text, "www1", "www2"));
	assert_true(allows(text, "monitor", "www1"));
	assert_true(allows(text, "monitor", "pg-1"));
	assert_false(allows(text, "pg-1", "monitor"));
	/* a device cannot become a group by its name */
	assert_false(allows(text, "web", "pg-1"));
}

static void groups_of_the_token_count(void **state)
{
	static const char *const groups[] = {"red", "blue"};
	struct policy *p = parse("group colours = blue\nallow red -> x\nallow only colours -> y\n");
	struct policy_subject s = {"dev", groups, 2}, x = {"x", NULL, 0}, y = {"y", NULL, 0};
	const struct policy_rule *rule = policy_allows(p, &s, &x);

	assert_non_null(rule);
	assert_int_equal(rule->line, 2);
	assert_non_null(policy_allows(p, &s, &y));
	assert_null(policy_allows(p, &y, &s));
	s.ngroups = 1;
	assert_null(policy_allows(p, &s, &y));
	policy_free(p);
}

static void protect_lines_are_read(void **state)
{
	struct policy *p = parse(
		"protect 10.9.0.0/24 via gw1\nprotect fd00::/8 # nobody\nprotect 0.0.0.0/0 via x\n"
		"protect 192.0.2.1");
	const struct policy_protect *pr;
	unsigned n, via = 0;

	pr = policy_protects(p, &n);
	assert_int_equal(n, 4);
	for (unsigned i = 0; i < n; i++)
		via += pr[i].nvia;
	assert_int_equal(via, 2);
	policy_free(p);
}

static void gateways_keep_their_order(void **state)
{
	struct policy *p = parse("protect 10.9.0.0/24 via gw2 ,gw1,  gw3 # in this order");
	const struct policy_protect *pr;
	unsigned n;

	pr = policy_protects(p, &n);
	assert_int_equal(n, 1);
	assert_int_equal(pr->nvia, 3);
	assert_string_equal(pr->via[0], "gw2");
	assert_string_equal(pr->via[1], "gw1");
	assert_string_equal(pr->via[2], "gw3");
	assert_false(pr->translated);
	for (unsigned i = 0; i < pr->nvia; i++)
		assert_true(policy_has_gateway(p, pr->via[i]));
	assert_false(policy_has_gateway(p, "gw"));
	policy_free(p);
}

static void sources_are_kept_or_translated(void **state)
{
	struct policy *p = parse("protect 10.0.0.0/8 via a source translated\n"
				 "protect 10.1.0.0/16 via a, b source translated\n"
				 "protect 10.2.0.0/16 via source source kept # a device of that name\n");
	const struct policy_protect *pr;
	unsigned n;

	pr = policy_protects(p, &n);
	assert_int_equal(n, 3);
	assert_true(pr[0].translated && pr[0].nvia == 1);
	assert_true(pr[1].translated && pr[1].nvia == 2);
	assert_false(pr[2].translated);
	assert_string_equal(pr[2].via[0], "source");
	policy_free(p);
}

/* what a may do with frames of b, over all rules that name the type */
static unsigned frames(const char *text, const char *a, const char *b, unsigned type)
{
	struct policy_subject sa = {a, NULL, 0}, sb = {b, NULL, 0};
	struct policy *p = parse(text);
	const struct policy_ether *e;
	unsigned n, flags = 0;

	e = policy_ethers(p, &n);
	for (unsigned i = 0; i < n; i++) {
		bool named = !e[i].ntypes;

		for (unsigned k = 0; k < e[i].ntypes; k++)
			named |= e[i].types[k] == type;
		if (named)
			flags |= policy_ether_flags(p, &e[i], &sa, &sb);
	}
	assert_int_equal(policy_allows_layer(p, MVPN_LAYER_LINK, &sa, &sb),
			 policy_allows_layer(p, MVPN_LAYER_LINK, &sb, &sa));
	policy_free(p);
	return flags;
}

static void ethernet_lines_are_read(void **state)
{
	static const char one[] = "group plc = p1, p2\nethernet only a -> plc type 0x88B5, 0x88f7 # x\n";
	const unsigned both = MVPN_FRAME_TX | MVPN_FRAME_RX;

	assert_int_equal(frames("ethernet a -> b type 0x88b5", "a", "b", 0x88b5), both);
	assert_int_equal(frames("ethernet a->b type 0x88b5", "b", "a", 0x88b5), both);
	assert_int_equal(frames("ethernet a -> b type 0x88b5", "b", "a", 0x88b6), 0);
	assert_int_equal(frames("ethernet a -> b type 0x88b5", "a", "c", 0x88b5), 0);
	assert_int_equal(frames("ethernet * -> b type *", "x", "b", 0x88b6), both);
	assert_int_equal(frames(one, "a", "p2", 0x88f7), MVPN_FRAME_TX);
	assert_int_equal(frames(one, "p1", "a", 0x88b5), MVPN_FRAME_RX);
	assert_int_equal(frames(one, "p1", "p2", 0x88b5), 0);
	/* frames and packets are apart: neither rule gives the other */
	assert_int_equal(frames("allow a -> b", "a", "b", 0x88b5), 0);
	assert_false(allows("ethernet a -> b type *", "a", "b"));
}

static unsigned mode(const char *text, const char *a, const char *b)
{
	struct policy_subject sa = {a, NULL, 0}, sb = {b, NULL, 0};
	struct policy *p = parse(text);
	unsigned r = policy_mode_of(p, &sa, &sb);

	policy_free(p);
	return r;
}

static void mode_lines_are_read(void **state)
{
	static const char text[] = "group web = w1, w2\n"
				   "mode end-to-end w1 -> db # the first line that names them\n"
				   "mode central60 web -> db\nmode central63 * -> log";

	assert_int_equal(mode("allow * -> *", "a", "b"), MVPN_MODE_E2E);
	assert_int_equal(mode(text, "w1", "db"), MVPN_MODE_E2E);
	assert_int_equal(mode(text, "w2", "db"), MVPN_MODE_CENTRAL60);
	assert_int_equal(mode(text, "db", "w2"), MVPN_MODE_CENTRAL60);
	assert_int_equal(mode(text, "log", "db"), MVPN_MODE_CENTRAL63);
	assert_int_equal(mode(text, "w1", "w2"), MVPN_MODE_E2E);
	/* it lets nobody by */
	assert_false(allows("mode central60 a -> b", "a", "b"));
}

static unsigned level(const char *text, const char *a, const char *b)
{
	struct policy_subject sa = {a, NULL, 0}, sb = {b, NULL, 0};
	struct policy *p = parse(text);
	unsigned r = policy_level_of(p, &sa, &sb);

	policy_free(p);
	return r;
}

static void level_lines_are_read(void **state)
{
	static const char text[] = "group web = w1, w2\n"
				   "level network w1 -> db # the first line that names them\n"
				   "level socket web -> db\n"
				   "level socket+network db -> log\nlevel network+socket a -> b\n"
				   "level socket|network x -> *\nlevel network|socket y -> *";

	assert_int_equal(level("allow * -> *", "a", "b"), MVPN_LEVEL_NETWORK);
	assert_int_equal(level(text, "w1", "db"), MVPN_LEVEL_NETWORK);
	assert_int_equal(level(text, "w2", "db"), MVPN_LEVEL_SOCKET);
	assert_int_equal(level(text, "db", "w2"), MVPN_LEVEL_SOCKET);
	assert_int_equal(level(text, "w1", "w2"), MVPN_LEVEL_NETWORK);
	assert_int_equal(level(text, "log", "db"), MVPN_LEVEL_BOTH);
	assert_int_equal(level(text, "a", "b"), MVPN_LEVEL_BOTH);
	assert_int_equal(level(text, "b", "x"), MVPN_LEVEL_EITHER);
	assert_int_equal(level(text, "b", "y"), MVPN_LEVEL_EITHER);
	/* it lets nobody by, and is no mode */
	assert_false(allows("level socket a -> b", "a", "b"));
	assert_int_equal(mode(text, "w2", "db"), MVPN_MODE_E2E);
}

static void relay_lines_are_read(void **state)
{
	static const char *const groups[] = {"edge"};
	struct policy_subject gw = {.name = "gw1"}, other = {.name = "a"},
			      member = {.name = "b", .groups = groups, .ngroups = 1};
	struct policy *p = parse("group rooms = gw1, gw2\nrelay rooms,edge limit 20mbit # two\nrelay gw1, c\n");
	const struct policy_relay *r = policy_relay_of(p, &gw);
	unsigned n;

	policy_relays(p, &n);
	assert_int_equal(n, 4);
	assert_int_equal(r->rate_kbit, 20000); /* the first line that names it */
	assert_int_equal(r->line, 2);
	assert_null(policy_relay_of(p, &other));
	assert_ptr_equal(policy_relay_of(p, &member), r + 1);
	other.name = "c";
	assert_int_equal(policy_relay_of(p, &other)->rate_kbit, MVPN_RELAY_MBIT * 1000);
	policy_free(p);
	policy_relays(NULL, &n);
	assert_int_equal(n, 0);
	assert_null(policy_relay_of(NULL, &gw));
}

static void ethernet_rules_are_said_again(void **state)
{
	struct policy *p = parse("ethernet only a->b type 0x88B5,0x9000\nethernet x -> * type *");
	const struct policy_ether *e;
	char text[80];
	unsigned n;

	e = policy_ethers(p, &n);
	assert_int_equal(n, 2);
	policy_ether_str(&e[0], text, sizeof(text));
	assert_string_equal(text, "ethernet only a -> b type 0x88b5, 0x9000");
	policy_ether_str(&e[1], text, sizeof(text));
	assert_string_equal(text, "ethernet x -> * type *");
	policy_ether_str(&e[0], text, 20); /* cut, never over the end */
	policy_free(p);
}


static void settings_hold_for_the_whole_network(void **state)
{
	static const struct {
		const char *text;
		uint32_t options;
	} cases[] = {
		{"", MVPN_OPT_DSCP_CLEAR},
		{"dscp clear\nmulticast pass\n", MVPN_OPT_DSCP_CLEAR},
		{"dscp copy", 0},
		{"\tmulticast\tdrop # no chatter\nallow dscp -> multicast",
		 MVPN_OPT_DSCP_CLEAR | MVPN_OPT_MULTICAST_DROP},
		{"multicast drop\nallow a -> b\ndscp copy\r\n", MVPN_OPT_MULTICAST_DROP},
	};

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct policy *p = parse(cases[i].text);

		assert_int_equal(policy_options(p), cases[i].options);
		policy_free(p);
	}
	assert_int_equal(policy_options(NULL), MVPN_OPT_DSCP_CLEAR);
}

static void times_are_read(void **state)
{
	struct policy *p = parse("rekey 90m # minutes\nmax-offline 24h");

	assert_int_equal(policy_rekey_s(p, 1), 5400);
	assert_int_equal(policy_max_offline_s(p, 1), 86400);
	policy_free(p);
	p = parse("allow rekey -> max-offline\nrekey 600s");
	assert_int_equal(policy_rekey_s(p, 1), 600);
	assert_int_equal(policy_max_offline_s(p, 7), 7);
	assert_int_equal(policy_rekey_s(NULL, 7), 7);
	policy_free(p);
}

static void errors_say_where(void **state)
{
	static const struct {
		const char *text;
		unsigned line, column;
		const char *word;
	} bad[] = {
		{"allow a b", 1, 9, "->"},
		{"allow a ->", 1, 11, "missing"},
		{"\n  allow a -> b c", 2, 16, "unexpected"},
		{"mode central61 a -> b", 1, 6, "end-to-end, central60 or central63"},
		{"mode central60 only a -> b", 1, 21, "leave \"only\" out"},
		{"mode central60 a -> b c", 1, 23, "unexpected"},
		{"mode a -> b", 1, 6, "not \"a\""},
		{"level above a -> b", 1, 7, "or socket+network, not \"above\""},
		{"level socket|above a -> b", 1, 7, "or socket+network"},
		{"level socket+socket a -> b", 1, 7, "or socket+network"},
		{"level socket+ a -> b", 1, 7, "or socket+network"},
		{"level transport a -> b", 1, 7, "seals nothing"},
		{"level network+transport a -> b", 1, 15, "seals nothing"},
		{"level socket only a -> b", 1, 19, "leave \"only\" out"},
		{"level socket a -> b c", 1, 21, "unexpected"},
		{"relay", 1, 6, "missing"},
		{"relay a b", 1, 9, "unexpected"},
		{"relay a,", 1, 9, "missing"},
		{"relay *", 1, 7, "found"},
		{"relay a limit", 1, 14, "missing"},
		{"relay a limit 7mb", 1, 15, "kbit"},
		{"relay a, b limit 1mbit burst 1mb", 1, 24, "unexpected"},
		{"relay a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a", 1, 39, "use groups"},
		{"deny a -> b", 1, 1, "unknown statement"},
		{"allow a* -> b", 1, 8, "->"},
		{"allow *x -> b", 1, 7, "alone"},
		{"allow a -> !", 1, 12, "found"},
		{"group = a", 1, 7, "found"},
		{"group g", 1, 8, "="},
		{"group g =", 1, 10, "missing"},
		{"group g = a,", 1, 13, "missing"},
		{"group g = a b", 1, 13, "unexpected"},
		{"group g = *", 1, 11, "found"},
		{"group g = a\ngroup g = b", 2, 0, "line 1"},
		{"group g = g", 1, 0, "contains itself"},
		{"group x = z\ngroup g = h\ngroup h = i\ngroup i = g", 0, 0, "contains itself"},
		{"protect", 1, 8, "missing"},
		{"protect 10.0.0.1/8", 1, 9, "not a prefix"},
		{"protect host via g", 1, 9, "not a prefix"},
		{"protect 10.0.0.0/8 by g", 1, 20, "via"},
		{"protect 10.0.0.0/8 via", 1, 23, "missing"},
		{"protect 10.0.0.0/8 via a b", 1, 26, "unexpected"},
		{"protect 10.0.0.0/8 via a,", 1, 26, "missing"},
		{"protect 10.0.0.0/8 via a source", 1, 32, "missing"},
		{"protect 10.0.0.0/8 via a source lost", 1, 33, "kept"},
		{"protect 10.0.0.0/8 via a source kept x", 1, 38, "unexpected"},
		{"protect 10.0.0.0/8 source kept", 1, 20, "via"},
		{"protect 10.0.0.0/8 via a, b, a", 1, 30, "twice"},
		{"protect 10.0.0.0/8 via a, b, c, d, e", 1, 36, "more than 4"},
		{"protect 127.0.0.0/8", 1, 9, "loopback"},
		{"protect 127.1.2.3", 1, 9, "loopback"},
		{"protect fe80::/10", 1, 9, "link-local"},
		{"protect ff02::1", 1, 9, "multicast"},
		{"protect ::/0", 1, 9, "IPv4 too"},
		{"protect 10.0.0.0/8\nprotect 10.0.0.0/8 via x", 2, 0, "line 1"},
		{"group g = a\nprotect 10.0.0.0/8 via g", 2, 0, "is a group"},
		{"dscp", 1, 5, "missing"},
		{"dscp keep", 1, 6, "dscp is clear or copy, not \"keep\""},
		{"multicast copy", 1, 11, "multicast is pass or drop"},
		{"dscp copy clear", 1, 11, "unexpected"},
		{"dscp =", 1, 6, "found"},
		{"multicast drop\n\nmulticast drop", 3, 1, "line 1 already"},
		{"dscp copy\n  dscp clear", 2, 3, "line 1 already"},
		{"rekey 1h\nrekey 1h", 2, 1, "line 1 already"},
		{"rekey", 1, 6, "missing"},
		{"rekey 60", 1, 7, "10m to 24h, like"},
		{"rekey m", 1, 7, "10m to 24h"},
		{"rekey 1d", 1, 7, "10m to 24h"},
		{"rekey 9m", 1, 7, "10m to 24h"},
		{"rekey 25h", 1, 7, "10m to 24h"},
		{"rekey 1h 30m", 1, 10, "unexpected"},
		{"rekey 99999999999999999999h", 1, 7, "10m to 24h"},
		{"max-offline 59s", 1, 13, "1m to 24h"},
		{"max-offline 15mm", 1, 13, "1m to 24h"},
		{"allow .a -> b", 1, 7, "start"},
		{"allow 0123456789012345678901234567890123456789012345678901234567890123 -> b", 1,
		 7, "longer"},
		{"allow a \xe2\x86\x92 b", 1, 9, "->"},
		{"ethernet a -> b", 1, 16, "missing"},
		{"ethernet a -> b 0x88b5", 1, 17, "expected \"type\""},
		{"ethernet a -> b type", 1, 21, "missing"},
		{"ethernet a -> b type 88b5", 1, 22, "written like"},
		{"ethernet a -> b type 0x88b5a", 1, 22, "written like"},
		{"ethernet a -> b type 0xg", 1, 22, "written like"},
		{"ethernet a -> b type 0x88b5,", 1, 29, "missing"},
		{"ethernet a -> b type 0x88b5, *", 1, 30, "found"},
		{"ethernet a -> b type *, 0x88b5", 1, 23, "unexpected"},
		{"ethernet a -> b type 0x88b5 0x88b6", 1, 29, "unexpected"},
		{"ethernet a -> b type 0x88b5, 0x88B5", 1, 30, "twice"},
		{"ethernet a -> b type 0x0800", 1, 22, "IPv4"},
		{"ethernet a -> b type 0x86dd", 1, 22, "IPv6"},
		{"ethernet a -> b type 0x806", 1, 22, "ARP"},
		{"ethernet a -> b type 0x8100", 1, 22, "VLAN"},
		{"ethernet a -> b type 0x88a8", 1, 22, "VLAN"},
		{"ethernet a -> b type 0x888e", 1, 22, "802.1X"},
		{"ethernet a -> b type 0x88cc", 1, 22, "LLDP"},
		{"ethernet a -> b type 0x8809", 1, 22, "aggregation"},
		{"ethernet a -> b type 0x05ff", 1, 22, "length"},
		{"test", 1, 5, "missing"},
		{"test a -> b", 1, 6, "allow or deny"},
		{"test allow a b", 1, 14, "->"},
		{"test allow only a -> b", 1, 6, "no \"only\""},
		{"test deny * -> b", 1, 11, "not *"},
		{"test deny b -> *", 1, 16, "not *"},
		{"test deny a -> b http", 1, 18, "tcp, udp, sctp, icmp"},
		{"test deny a -> b tcp 0", 1, 22, "1 to 65535"},
		{"test deny a -> b tcp 65536", 1, 22, "1 to 65535"},
		{"test deny a -> b tcp http", 1, 22, "1 to 65535"},
		{"test deny a -> b tcp 99999999999999999999", 1, 22, "1 to 65535"},
		{"test deny a -> b udp 53 54", 1, 25, "unexpected"},
		{"test deny a -> b icmp 8", 1, 23, "unexpected"},
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct policy_error e = {0};
		struct policy *p = NULL;

		if (policy_parse(bad[i].text, strlen(bad[i].text), &p, &e) != -EINVAL)
			fail_msg("accepted: %s", bad[i].text);
		if ((bad[i].line && e.line != bad[i].line) || e.column != bad[i].column ||
		    !strstr(e.message, bad[i].word))
			fail_msg("\"%s\" gave %u:%u: %s", bad[i].text, e.line, e.column, e.message);
	}
	struct policy_error e = {0};
	struct policy *p = NULL;

	assert_int_equal(policy_parse("allow a\0-> b", 12, &p, &e), -EINVAL);
	assert_non_null(strstr(e.message, "NUL"));
}

static void collect(void *arg, unsigned line, const char *name)
{
	char *to = arg;

	sprintf(to + strlen(to), "%u%s ", line, name);
}

static void names_used_are_listed(void **state)
{
	struct policy *p = parse("group g = a, b\nallow g -> *\nprotect 10.0.0.0/8 via gw\n");
	char names[100] = "";

	policy_each_name(p, collect, names);
	assert_string_equal(names, "1a 1b 3gw ");
	assert_true(policy_has_group(p, "g"));
	assert_false(policy_has_group(p, "a"));
	policy_free(p);
}

static void bounds_hold(void **state)
{
	size_t size = POLICY_TEXT_MAX_B + 10;
	char *text = malloc(size), *at = text;
	struct policy_error e;
	struct policy *p = NULL;

	memset(text, ' ', size);
	assert_int_equal(policy_parse(text, size, &p, &e), -EINVAL);
	/* groups of groups multiply: bounded, and quickly refused */
	at += sprintf(at, "group g0 = ");
	for (int i = 0; i < 500; i++)
		at += sprintf(at, "%sd%d", i ? "," : "", i);
	for (int i = 1; i < 500; i++) {
		at += sprintf(at, "\ngroup g%d = e%d", i, i);
		for (int k = 0; k < 3 && k < i; k++)
			at += sprintf(at, ", g%d", i - 1 - k);
	}
	assert_int_equal(policy_parse(text, (size_t)(at - text), &p, &e), -EINVAL);
	assert_non_null(strstr(e.message, "members"));
	/* lines */
	at = text;
	for (int i = 0; i <= POLICY_RULES_MAX; i++)
		at += sprintf(at, "allow a -> b\n");
	assert_int_equal(policy_parse(text, (size_t)(at - text), &p, &e), -EINVAL);
	assert_int_equal(e.line, POLICY_RULES_MAX + 1);
	/* EtherTypes, over all lines */
	at = text;
	for (int i = 0; i <= POLICY_ETHERTYPES_MAX; i++)
		at += sprintf(at, "ethernet a -> b type 0x%x\n", 0x9000 + i);
	assert_int_equal(policy_parse(text, (size_t)(at - text), &p, &e), -EINVAL);
	assert_int_equal(e.line, POLICY_ETHERTYPES_MAX + 1);
	at = text;
	for (int i = 0; i <= POLICY_ETHERS_MAX; i++)
		at += sprintf(at, "ethernet a -> b type *\n");
	assert_int_equal(policy_parse(text, (size_t)(at - text), &p, &e), -EINVAL);
	assert_int_equal(e.line, POLICY_ETHERS_MAX + 1);
	at = text;
	for (int i = 0; i <= POLICY_TESTS_MAX; i++)
		at += sprintf(at, "test deny a -> b\n");
	assert_int_equal(policy_parse(text, (size_t)(at - text), &p, &e), -EINVAL);
	assert_int_equal(e.line, POLICY_TESTS_MAX + 1);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_is_allowed_by_default),
		cmocka_unit_test(a_rule_works_both_ways_unless_only),
		cmocka_unit_test(groups_nest),
		cmocka_unit_test(groups_of_the_token_count),
		cmocka_unit_test(protect_lines_are_read),
		cmocka_unit_test(gateways_keep_their_order),
		cmocka_unit_test(sources_are_kept_or_translated),
		cmocka_unit_test(ethernet_lines_are_read),
		cmocka_unit_test(mode_lines_are_read),
		cmocka_unit_test(level_lines_are_read),
		cmocka_unit_test(relay_lines_are_read),
		cmocka_unit_test(ethernet_rules_are_said_again),
		cmocka_unit_test(settings_hold_for_the_whole_network),
		cmocka_unit_test(times_are_read),
		cmocka_unit_test(errors_say_where),
		cmocka_unit_test(names_used_are_listed),
		cmocka_unit_test(bounds_hold),
	};

	return MVPN_RUN(tests);
}
