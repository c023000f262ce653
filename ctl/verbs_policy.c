/* SPDX-License-Identifier: BSD-2-Clause */
/* server policy show, check, diff, apply, rollback, list, test. */
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctl.h"
#include "input.h"
#include "mvpn/limits.h"
#include "show.h"

#define POLICY_MAX_B (512 << 10) /* must fit into a request, escaped */

static unsigned slow(const json_t *args)
{
	return 12 * TIMEOUT_MS;
}

static char policy_file[PATH_MAX]; /* as it was given; "" if none was read */

/* args.text is the file's name: put its content there; exit_code if that fails */
static int read_policy_or(json_t *args, int exit_code)
{
	const char *path = json_string_value(json_object_get(args, "text"));
	json_t *text;
	size_t len;
	char *buf;
	int r = input_read(path, POLICY_MAX_B, &buf, &len);

	snprintf(policy_file, sizeof(policy_file), "%s", path);
	if (r < 0)
		return fail(exit_code, "policy-file", NULL,
			    "cannot read the policy from %s: %s", input_name(path), strerror(-r));
	text = json_stringn(buf, len);
	free(buf);
	if (!text)
		return fail(exit_code, "policy-file", NULL, "%s is not UTF-8 text",
			    input_name(path));
	json_object_set_new(args, "text", text);
	return 0;
}

static int read_policy(json_t *args)
{
	return read_policy_or(args, MVPN_EXIT_FAILED);
}

static int read_policy_if(json_t *args)
{
	return json_object_get(args, "text") ? read_policy(args) : 0;
}

/* the server knows lines of a text, we know of which file */
static void name_file(const char *path, json_t *reply)
{
	json_t *e = json_object_get(reply, "error");

	if (*policy_file && json_is_object(e) && json_object_get(e, "at"))
		json_object_set_new(e, "file", json_string(policy_file));
}

static void show_warnings(const json_t *r)
{
	const json_t *w;
	size_t i;

	json_array_foreach(json_object_get(r, "warnings"), i, w)
	{
		const char *text = json_is_string(w) ? json_string_value(w) : "-";
		unsigned at;
		int end = 0;

		if (*policy_file && strcmp(policy_file, "-") != 0 && sscanf(text, "line %u: %n", &at, &end) == 1 && end)
			line("warning", WARN, "%s:%u: %s", policy_file, at, text + end);
		else
			line("warning", WARN, "%s", text);
	}
}

/* As it was applied, so that `show > file` and `apply file` agree; about it on a terminal's stderr. */
static void show_policy(const json_t *r)
{
	const char *text = json_string_value(json_object_get(r, "text"));
	char at[HUMAN_B];

	if (isatty(STDERR_FILENO))
		fprintf(stderr, "# revision %llu, applied %s\n",
			(unsigned long long)number_of(r, "rev"), time_of(r, "applied_at", at));
	if (!text || !*text)
		return;
	fputs(text, stdout);
	if (text[strlen(text) - 1] != '\n')
		putchar('\n');
}

const struct verb verb_policy_show = {
	.name = "server policy show",
	.request = "policy-show",
	.summary = "the policy's text",
	.example = "server policy show --rev 3",
	.options = {{"--rev", 'r', KIND_UINT, "rev", "N", 0, INT64_MAX,
		     .help = "an earlier revision; default: the one in force"}},
	.show = show_policy,
};

static void show_checked(const json_t *r)
{
	uint64_t tests = number_of(r, "tests");

	show_warnings(r);
	if (tests)
		printf("the policy is well-formed, and %llu test%s in it pass%s\n",
		       (unsigned long long)tests, tests == 1 ? "" : "s", tests == 1 ? "es" : "");
	else
		puts("the policy is well-formed");
}

const struct verb verb_policy_check = {
	.name = "server policy check",
	.request = "policy-check",
	.summary = "is a policy well-formed, and do its tests hold? changes nothing",
	.example = "server policy check policy.txt",
	.operands = {{"FILE|-", .kind = KIND_TEXT, .member = "text", .required = true,
		      .help = "file with the policy; - is standard input"}},
	.prepare = read_policy,
	.timeout_ms = slow,
	.complete = name_file,
	.show = show_checked,
};

/* ---- server policy diff ---- */

/* who may begin a session, in words that need no column's name, what for, and with which DSCPs and limits */
static void access_cell(struct table *t, const json_t *pair, const char *member,
			const char *services_member, const char *classes_member)
{
	const char *who = text_of(pair, member), *a = text_of(pair, "a"), *b = text_of(pair, "b");
	char *services = services_text(json_object_get(pair, services_member), "a", a, "b", b);
	char *classes = classes_text(json_object_get(pair, classes_member), "a", a, "b", b);

	table_cell(t, PLAIN, "%s%s%s%s%s",
		   !strcmp(who, "a")   ? "only ->"
		   : !strcmp(who, "b") ? "only <-"
				       : who,
		   *services ? ", " : "", services, *classes ? ", " : "", classes);
	free(services);
	free(classes);
}

static void show_pairs(const json_t *r)
{
	static const char *const headers[] = {"A", "B", "BEFORE", "AFTER", NULL};
	const json_t *list = json_object_get(r, "pairs"), *p;
	struct table *t = table_new(headers);
	size_t i;

	json_array_foreach(list, i, p)
	{
		table_cell(t, STRONG, "%s", text_of(p, "a"));
		table_cell(t, STRONG, "%s", text_of(p, "b"));
		access_cell(t, p, "before", "before_services", "before_classes");
		access_cell(t, p, "after", "after_services", "after_classes");
	}
	putchar('\n');
	table_print(t, "no pair of devices gains or loses");
	if (json_array_size(list))
		putchar('\n');
	line("gain", PLAIN, "%llu pairs", (unsigned long long)number_of(r, "pairs_gain"));
	line("lose", PLAIN, "%llu pairs", (unsigned long long)number_of(r, "pairs_lose"));
}

/* the word for a reason to make a session anew */
static const char *reason_words(const char *reason)
{
	if (!strcmp(reason, "mode"))
		return "its keys come from elsewhere";
	if (!strcmp(reason, "selectors"))
		return "it is for something else";
	return !strcmp(reason, "expired") ? "a prefix leaves one of the two" : reason;
}

static void show_ends(const json_t *r, const char *label, const char *count, bool renewed)
{
	const json_t *c;
	size_t i;

	line(label, PLAIN, "%llu sessions", (unsigned long long)number_of(r, count));
	json_array_foreach(json_object_get(r, "sessions"), i, c)
	{
		if (flag_of(c, "renewed") == renewed)
			line("", PLAIN, "%s - %s%s%s", text_of(c, "a"), text_of(c, "b"),
			     renewed ? ": " : "", renewed ? reason_words(text_of(c, "reason")) : "");
	}
}

static void show_diff(const json_t *r)
{
	const json_t *c;
	size_t i;

	show_warnings(r);
	if (flag_of(r, "same")) {
		printf("the same as revision %llu, but for comments, blanks and order\n",
		       (unsigned long long)number_of(r, "rev"));
		return;
	}
	json_array_foreach(json_object_get(r, "changes"), i, c)
	{
		bool added = !strcmp(text_of(c, "change"), "added");

		line(added ? "added" : "removed", added ? GOOD : BAD, "%s", text_of(c, "text"));
	}
	if (json_is_false(json_object_get(r, "pairs_known")))
		line("pairs", WARN, "too many devices and lines to say who gains or loses");
	else
		show_pairs(r);
	show_ends(r, "cut", "sessions_cut", false);
	show_ends(r, "made anew", "sessions_renewed", true);
}

static int read_policy_for_diff(json_t *args)
{
	return read_policy_or(args, MVPN_EXIT_USAGE);
}

const struct verb verb_policy_diff = {
	.name = "server policy diff",
	.request = "policy-diff",
	.summary = "what would a policy change? changes nothing",
	.more = "Lines added and removed, pairs of devices that gain or lose, and sessions that\n"
		"would be cut, or made anew. Exits as diff does: 0 the same, 1 different, 2 and above trouble.",
	.example = "server policy diff policy.txt",
	.operands = {{"FILE|-", .kind = KIND_TEXT, .member = "text", .required = true,
		      .help = "file with the policy; - is standard input"}},
	.prepare = read_policy_for_diff,
	.timeout_ms = slow,
	.complete = name_file,
	.show = show_diff,
};

/* ---- server policy apply, rollback, list, test ---- */

static void show_applied(const json_t *r)
{
	uint64_t cut = number_of(r, "sessions_cut"), renewed = number_of(r, "sessions_renewed");

	show_warnings(r);
	if (json_is_false(json_object_get(r, "changed")))
		printf("nothing changed: revision %llu says the same\n",
		       (unsigned long long)number_of(r, "rev"));
	else
		printf("revision %llu is in force, %llu session%s cut, %llu made anew\n",
		       (unsigned long long)number_of(r, "rev"), (unsigned long long)cut,
		       cut == 1 ? "" : "s", (unsigned long long)renewed);
}

const struct verb verb_policy_apply = {
	.name = "server policy apply",
	.request = "policy-apply",
	.summary = "put a policy in force",
	.more = "Sessions that the new policy forbids are cut at once; those that it wants otherwise\n"
		"are made anew.\n"
		"A policy that is not well-formed, or whose own tests fail, changes nothing.",
	.example = "server policy apply policy.txt",
	.operands = {{"FILE|-", .kind = KIND_TEXT, .member = "text", .required = true,
		      .help = "file with the policy; - is standard input"}},
	.options = {COMMENT},
	.prepare = read_policy,
	.timeout_ms = slow,
	.complete = name_file,
	.show = show_applied,
};

const struct verb verb_policy_rollback = {
	.name = "server policy rollback",
	.request = "policy-rollback",
	.summary = "put an earlier policy in force again",
	.more = "It becomes a new revision, so that the next rollback goes back to what is in force\n"
		"now. Sessions that it forbids are cut at once.",
	.example = "server policy rollback --rev 3",
	.options = {{"--rev", 'r', KIND_UINT, "rev", "N", 1, INT64_MAX,
		     .help = "revision to take; default: the one before that in force"},
		    COMMENT},
	.timeout_ms = slow,
	.show = show_applied,
};

/* the name of a user of this machine, which is the server's too */
static const char *user_of(const json_t *o, char buf[static HUMAN_B])
{
	const json_t *uid = json_object_get(o, "uid");
	json_int_t v = json_integer_value(uid);
	const struct passwd *pw = json_is_integer(uid) && v >= 0 && v < UINT32_MAX ? getpwuid((uid_t)v)
										   : NULL;

	if (pw)
		snprintf(buf, HUMAN_B, "%s", pw->pw_name);
	else if (v >= 0 && json_is_integer(uid))
		snprintf(buf, HUMAN_B, "%lld", (long long)v);
	else
		return "-";
	return buf;
}

static void show_revisions(const json_t *r)
{
	static const char *const headers[] = {">REV", "APPLIED", "BY", ">LINES", "IN FORCE", "COMMENT", NULL};
	struct table *t = table_new(headers);
	const json_t *p;
	size_t i;

	json_array_foreach(json_object_get(r, "revisions"), i, p)
	{
		bool now = flag_of(p, "in_force");
		char b[HUMAN_B];

		table_cell(t, now ? STRONG : PLAIN, "%llu", (unsigned long long)number_of(p, "rev"));
		table_cell(t, PLAIN, "%s", time_of(p, "applied_at", b));
		table_cell(t, PLAIN, "%s", user_of(p, b));
		table_cell(t, PLAIN, "%llu", (unsigned long long)number_of(p, "lines"));
		table_cell(t, now ? GOOD : PLAIN, "%s", now ? "yes" : "no");
		table_cell(t, PLAIN, "%s", text_of(p, "comment"));
	}
	table_print(t, "no policy was ever applied: nothing is allowed");
}

const struct verb verb_policy_list = {
	.name = "server policy list",
	.request = "policy-list",
	.summary = "revisions of the policy: when, by whom, why",
	.example = "server policy list",
	.show = show_revisions,
};

static void show_test(const json_t *r)
{
	const json_t *rule = json_object_get(r, "rule");
	bool allowed = flag_of(r, "allowed");
	const json_t *e;
	char b[HUMAN_B], *services, *classes;
	size_t i;

	line("verdict", allowed ? GOOD : BAD, "%s", allowed ? "allowed" : "refused");
	if (json_is_object(rule) && has_text(rule, "text"))
		line("rule", PLAIN, "line %llu: %s", (unsigned long long)number_of(rule, "line"),
		     text_of(rule, "text"));
	else if (has_text(r, "rule"))
		line("rule", PLAIN, "line %llu: %s", (unsigned long long)number_of(r, "line"),
		     text_of(r, "rule"));
	else
		line("rule", PLAIN, "none lets SRC begin that");
	services = services_text(json_object_get(r, "services"), "src", text_of(r, "src"), "dst",
				 text_of(r, "dst"));
	if (*services && strcmp(services, "- at both"))
		line("only for", PLAIN, "%s", services);
	free(services);
	classes = classes_text(json_object_get(r, "classes"), "src", text_of(r, "src"), "dst",
			       text_of(r, "dst"));
	if (*classes)
		line("classes", PLAIN, "%s", classes);
	free(classes);
	if (*server_knows(r, b))
		line("keys", BAD, "%s", b);
	json_array_foreach(json_object_get(r, "ethernet"), i, e)
		line(i ? "" : "frames", PLAIN, "line %llu: %s (%s)",
		     (unsigned long long)number_of(e, "line"), text_of(e, "text"),
		     text_of(e, "direction"));
}

/* args.proto is PROTO or PORT/PROTO: PORT into a member of its own. What a protocol is the server says */
static int prepare_test(json_t *args)
{
	const char *text = json_string_value(json_object_get(args, "proto"));
	const char *slash = text ? strchr(text, '/') : NULL;
	unsigned long port;
	char *end;

	if (!slash)
		return read_policy_if(args);
	port = *text >= '0' && *text <= '9' ? strtoul(text, &end, 10) : 0;
	if (!port || port > UINT16_MAX || end != slash)
		return usage_error(&verb_policy_test,
				   "'%s' is not PORT/PROTO, like 5432/tcp: a port is a number from 1 to 65535",
				   text);
	json_object_set_new(args, "port", json_integer((json_int_t)port));
	json_object_set_new(args, "proto", json_string(slash + 1));
	return read_policy_if(args);
}

const struct verb verb_policy_test = {
	.name = "server policy test",
	.request = "policy-test",
	.summary = "may SRC talk to DST, and by which rule?",
	.more = "Exits with 5 if not.",
	.example = "server policy test web1 db1 5432/tcp",
	.operands = {{"SRC", .kind = KIND_TEXT, .member = "src", .required = true,
		      .help = "name of a device, or an address"},
		     {"DST", .kind = KIND_TEXT, .member = "dst", .required = true,
		      .help = "name of a device, or an address"},
		     {"[PORT/]PROTO", .kind = KIND_TEXT, .member = "proto",
		      .help = "may it begin that? tcp, udp, sctp, icmp or a protocol's number"}},
	.options = {{"--file", 'f', KIND_TEXT, "text", "FILE|-",
		     .help = "by the policy in it; default: by the one in force"},
		    PROCESS_OPTIONS},
	.prepare = prepare_test,
	.timeout_ms = slow,
	.complete = name_file,
	.show = show_test,
};
