/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin.h"
#include "ether.h"
#include "introduce.h"
#include "log.h"
#include "push.h"
#include "session.h"

#define WARNINGS_MAX 100

void admin_policy_show(struct server *s, struct ipc_call *call, json_t *args)
{
	int64_t want = 0, at = 0;
	uint64_t rev = 0;
	char *text = NULL;
	int r;

	if (!arg_number(call, args, "rev", 0, INT64_MAX, &want))
		return;
	r = store_policy_get(s->store, want ? (uint64_t)want : s->policy_rev, &rev, &at, &text);
	if (r == -ENOENT && want) {
		ipc_reply_error(
			call, MVPN_EXIT_FAILED, "no-such-revision",
			"mvpnctl server policy show without a number shows the one in force",
			"there is no policy revision %lld", (long long)want);
		return;
	}
	if (r < 0 && r != -ENOENT) {
		reply_store_error(s, call, r);
		return;
	}
	ipc_reply_ok(call, json_pack("{s:I, s:s, s:I}", "rev", (json_int_t)rev, "text",
				     text ? text : "", "applied_at", (json_int_t)at));
	free(text);
}

struct warn {
	struct server *s;
	json_t *list;
};

static void warn_name(void *arg, unsigned line, const char *name)
{
	struct warn *w = arg;
	char text[200];

	if (registry_by_name(w->s->reg, name) || registry_group_used(w->s->reg, name) ||
	    json_array_size(w->list) == WARNINGS_MAX)
		return;
	snprintf(text, sizeof(text), "line %u: no device or group is named \"%s\" (yet)", line,
		 name);
	json_array_append_new(w->list, json_string(text));
}

json_t *policy_warnings(struct server *s, const struct policy *p)
{
	struct warn w = {s, json_array()};

	policy_each_name(p, warn_name, &w);
	return w.list;
}

/* ---- a policy that somebody sends ---- */

static void know_device(void *arg, const char *name, struct policy_subject *subject)
{
	const struct server *s = arg;
	const struct device *d = registry_by_name(s->reg, name);

	if (d)
		*subject = registry_subject(d);
}

struct failures {
	char text[900]; /* fits into an error's message */
	size_t len;
	unsigned told;
};

static void tell_failure(void *arg, const struct policy_test *t, const char *why)
{
	struct failures *f = arg;
	char test[200];
	int n;

	policy_test_str(t, test, sizeof(test));
	n = snprintf(f->text + f->len, sizeof(f->text) - f->len, "%sline %u: %s: %s",
		     f->told ? "; " : "", t->line, test, why);
	if (n < 0 || f->len + (size_t)n >= sizeof(f->text)) {
		f->text[f->len] = '\0'; /* whole ones only: the first always fits */
		return;
	}
	f->len += (size_t)n;
	f->told++;
}

/* false after an error was sent */
static bool tests_hold(struct server *s, struct ipc_call *call, const struct policy *p, int exit)
{
	struct policy_resolver by = {know_device, s};
	struct failures f = {0};
	int failed = policy_run_tests(p, &by, tell_failure, &f);
	unsigned n;

	if (!failed)
		return true;
	policy_tests(p, &n);
	ipc_reply_error(call, exit, "policy-test",
			"the policy in force is unchanged; correct the rule, or the test",
			"%d of %u tests of the policy fail: %s%s", failed, n, f.text,
			(unsigned)failed > f.told ? "; …" : "");
	return false;
}

/* NULL after an error was sent */
static struct policy *parse_text(struct ipc_call *call, const char *text, size_t len, int exit)
{
	struct policy_error e = {0};
	struct policy *p = NULL;
	char where[40] = "";

	if (policy_parse(text, len, &p, &e) == 0)
		return p;
	if (e.column)
		snprintf(where, sizeof(where), "%u:%u: ", e.line, e.column);
	else if (e.line)
		snprintf(where, sizeof(where), "%u: ", e.line);
	ipc_reply_error(call, exit, "bad-policy", "the policy in force is unchanged",
			"%s%s", where, e.message);
	return NULL;
}

struct policy *policy_arg(struct server *s, struct ipc_call *call, json_t *args, int exit,
			  const char **ret_text)
{
	json_t *v = json_object_get(args, "text");
	struct policy *p;

	if (!json_is_string(v)) {
		ipc_reply_error(call, MVPN_EXIT_USAGE, "bad-argument", "give a file",
				"no policy text");
		return NULL;
	}
	*ret_text = json_string_value(v);
	p = parse_text(call, *ret_text, json_string_length(v), exit);
	if (p && !tests_hold(s, call, p, exit)) {
		policy_free(p);
		return NULL;
	}
	return p;
}

void admin_policy_check(struct server *s, struct ipc_call *call, json_t *args)
{
	const char *text;
	struct policy *p = policy_arg(s, call, args, MVPN_EXIT_FAILED, &text);
	unsigned ntests;

	if (!p)
		return;
	policy_tests(p, &ntests);
	ipc_reply_ok(call, json_pack("{s:o, s:i}", "warnings", policy_warnings(s, p), "tests",
				     (int)ntests));
	policy_free(p);
}

struct apply {
	uint64_t rev;
	const char *text;
};

static int apply_transaction(struct server *s, void *arg)
{
	struct apply *a = arg;
	uint64_t newest = 0;
	char *text = NULL;
	int r = store_policy_get(s->store, 0, &newest, NULL, &text);

	free(text);
	if (r < 0 && r != -ENOENT)
		return r;
	a->rev = (newest > s->policy_rev ? newest : s->policy_rev) + 1;
	r = store_policy_add(s->store, a->rev, wall_now(), a->text);
	return r < 0 ? r
		     : audit_add(&s->audit, "admin", "policy-apply",
				 json_pack("{s:I}", "rev", (json_int_t)a->rev));
}

static bool unchanged(struct server *s, const char *text)
{
	uint64_t rev;
	char *old;
	bool same;

	if (!s->policy || s->policy_alarm ||
	    store_policy_get(s->store, s->policy_rev, &rev, NULL, &old) < 0)
		return false;
	same = !strcmp(old, text);
	free(old);
	return same;
}

static int put_in_force(struct server *s, struct policy *p, uint64_t rev)
{
	struct policy *old = s->policy;

	s->policy = p;
	s->policy_rev = rev;
	free(s->policy_alarm);
	s->policy_alarm = NULL;
	if (registry_set_policy(s->reg, p) < 0)
		log_err("out of memory: the protected prefixes of policy %" PRIu64
			" are incomplete; restart the server",
			rev);
	policy_free(old);
	push_revision(s);
	ether_changed(s);
	introduce_recheck(s);
	return session_cut_forbidden(s);
}

void admin_policy_apply(struct server *s, struct ipc_call *call, json_t *args)
{
	struct apply a = {0};
	struct policy *p = policy_arg(s, call, args, MVPN_EXIT_FAILED, &a.text);
	json_t *list;
	int r, cut = 0;

	if (!p)
		return;
	list = policy_warnings(s, p);
	if (unchanged(s, a.text)) {
		policy_free(p);
		ipc_reply_ok(call,
			     json_pack("{s:I, s:b, s:i, s:o}", "rev", (json_int_t)s->policy_rev,
				       "changed", 0, "sessions_cut", 0, "warnings", list));
		return;
	}
	r = server_transact(s, true, apply_transaction, &a);
	if (r < 0) {
		policy_free(p);
		json_decref(list);
		reply_store_error(s, call, r);
		return;
	}
	cut = put_in_force(s, p, a.rev);
	log_info("policy %" PRIu64 " is in force, %d sessions cut", a.rev, cut > 0 ? cut : 0);
	ipc_reply_ok(call, json_pack("{s:I, s:b, s:i, s:o}", "rev", (json_int_t)a.rev, "changed", 1,
				     "sessions_cut", cut > 0 ? cut : 0, "warnings", list));
}

/* a device by name, id or an address that it owns; NULL after an error was sent */
static struct device *resolve(struct server *s, struct ipc_call *call, json_t *args,
			      const char *arg)
{
	const char *text = arg_text(args, arg);
	struct device *d = NULL;
	struct mvpn_addr a;

	if (!text) {
		ipc_reply_error(call, MVPN_EXIT_USAGE, "bad-argument", NULL, "%s is missing", arg);
		return NULL;
	}
	if (mvpn_addr_parse(&a, text) == 0) {
		if (!registry_owner_of(s->reg, &a, &d))
			ipc_reply_error(
				call, MVPN_EXIT_FAILED, "not-protected",
				"traffic to it is not touched; mvpnctl server device list shows "
				"who owns what",
				"%s is not a protected address", text);
		else if (!d)
			ipc_reply_error(call, MVPN_EXIT_FAILED, "no-owner",
					"traffic to it is dropped until a device owns it",
					"%s is protected, but no device owns it", text);
		return d;
	}
	if (registry_find(s->reg, text, &d) < 0)
		ipc_reply_error(call, MVPN_EXIT_FAILED, "no-such-device",
				"mvpnctl server device list shows all",
				"there is no device \"%.80s\"", text);
	return d;
}

/* the ethernet lines about the two, as src sees them */
static json_t *ethers_json(struct server *s, const struct policy_subject *a,
			   const struct policy_subject *b)
{
	static const char *const ways[] = {"", "out", "in", "both"};
	const struct policy_ether *e;
	json_t *list = json_array();
	char text[400];
	unsigned n;

	e = policy_ethers(s->policy, &n);
	for (unsigned i = 0; i < n; i++) {
		unsigned flags = policy_ether_flags(s->policy, &e[i], a, b);

		if (!flags)
			continue;
		policy_ether_str(&e[i], text, sizeof(text));
		json_array_append_new(list,
				      json_pack("{s:s, s:i, s:s}", "text", text, "line",
						(int)e[i].line, "direction", ways[flags & 3]));
	}
	return list;
}

void admin_policy_test(struct server *s, struct ipc_call *call, json_t *args)
{
	struct device *a = resolve(s, call, args, "src"),
		      *b = a ? resolve(s, call, args, "dst") : NULL;
	const struct policy_rule *rule;
	struct policy_subject sa, sb;
	char text[200];
	json_t *o;

	if (!a || !b)
		return;
	sa = registry_subject(a);
	sb = registry_subject(b);
	rule = policy_allows(s->policy, &sa, &sb);
	o = json_pack("{s:b, s:s, s:s}", "allowed", rule != NULL, "src", a->row.name, "dst",
		      b->row.name);
	if (rule) {
		policy_rule_str(rule, text, sizeof(text));
		json_object_set_new(o, "rule",
				    json_pack("{s:s, s:i}", "text", text, "line", (int)rule->line));
	} else {
		json_object_set_new(o, "rule", json_null());
		json_object_set_new(o, "exit", json_integer(MVPN_EXIT_DENIED));
	}
	json_object_set_new(o, "ethernet", ethers_json(s, &sa, &sb));
	ipc_reply_ok(call, o);
}
