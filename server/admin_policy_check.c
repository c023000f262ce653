/* SPDX-License-Identifier: BSD-2-Clause */
/* A policy's text on its way to being in force: is it well-formed, do its own tests hold, whom does it name that nobody knows? */
#include <stdio.h>
#include <string.h>

#include "admin.h"
#include "services.h"

#define WARNINGS_MAX 100
#define PLACES_MAX 100 /* of what is wrong; all are counted */

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

static void warn_overlap(void *arg, unsigned line, const char *about)
{
	struct warn *w = arg;
	char text[800];

	if (json_array_size(w->list) == WARNINGS_MAX)
		return;
	snprintf(text, sizeof(text), "line %u: %s", line, about);
	json_array_append_new(w->list, json_string(text));
}

/* nobody shall apply that without having seen it */
static void warn_modes(struct warn *w, const struct policy *p)
{
	const struct policy_pairing *m;
	unsigned n;
	char text[300];

	m = policy_modes(p, &n);
	for (unsigned i = 0; i < n && json_array_size(w->list) < WARNINGS_MAX; i++) {
		if (m[i].value == MVPN_MODE_E2E)
			continue;
		snprintf(text, sizeof(text),
			 "line %u: %s: this server can read what %s and %s say to each other",
			 m[i].line, mvpn_mode_name(m[i].value), m[i].src, m[i].dst);
		json_array_append_new(w->list, json_string(text));
	}
}

json_t *policy_warnings(struct server *s, const struct policy *p)
{
	struct warn w = {s, json_array()};

	policy_each_name(p, warn_name, &w);
	warn_modes(&w, p);
	policy_each_overlap(p, warn_overlap, &w);
	return w.list;
}

/* ---- what is wrong, and where ---- */

/* 0: the whole line */
static json_t *place(unsigned line, unsigned column, const char *text)
{
	json_t *o = json_pack("{s:i, s:s}", "line", (int)line, "text", text);

	if (o && column)
		json_object_set_new(o, "column", json_integer(column));
	return o;
}

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
	json_t *at;
};

static void tell_failure(void *arg, const struct policy_test *t, const char *why)
{
	struct failures *f = arg;
	char test[200], whole[500];
	int n;

	policy_test_str(t, test, sizeof(test));
	snprintf(whole, sizeof(whole), "%s: %s", test, why);
	if (json_array_size(f->at) < PLACES_MAX)
		json_array_append_new(f->at, place(t->line, 0, whole));
	n = snprintf(f->text + f->len, sizeof(f->text) - f->len, "%sline %u: %s",
		     f->told ? "; " : "", t->line, whole);
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
	struct failures f = {.at = json_array()};
	int failed = policy_run_tests(p, &by, tell_failure, &f);
	unsigned n;

	if (!failed) {
		json_decref(f.at);
		return true;
	}
	policy_tests(p, &n);
	ipc_reply_error_with(call, exit, "policy-test",
			     "the policy in force is unchanged; correct the rule, or the test",
			     json_pack("{s:o}", "at", f.at),
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
	ipc_reply_error_with(call, exit, "bad-policy", "the policy in force is unchanged",
			     json_pack("{s:[o]}", "at", place(e.line, e.column, e.message)),
			     "%s%s", where, e.message);
	return NULL;
}

struct overflow {
	struct policy_subject a, b; /* no names: there is none */
	bool classes;		    /* it is of these, not of services */
};

static void note_overflow(void *arg, const struct policy_pairs *p)
{
	struct overflow *found = arg;
	const struct policy_subject *a = p->a[0], *b = p->b[p->a == p->b];

	if (p->after->services.overflow || p->after->services.classes_overflow)
		*found = (struct overflow){strcmp(a->name, b->name) < 0 ? *a : *b,
					   strcmp(a->name, b->name) < 0 ? *b : *a,
					   !p->after->services.overflow};
}

/* the last line about the two: that which is too much, or one after it */
static unsigned last_line(const struct policy *p, const struct policy_subject *a,
			  const struct policy_subject *b)
{
	unsigned n;
	const struct policy_rule *rules = policy_rules(p, &n);

	while (n-- && !policy_rule_begins(p, &rules[n], a, b) &&
	       !policy_rule_begins(p, &rules[n], b, a))
		;
	return rules[n].line;
}

static void reply_overflow(struct ipc_call *call, const struct policy *p, const struct overflow *o,
			   int exit)
{
	const char *hint = o->classes ? "give several services in one line, or the same DSCP to more of them"
				      : "join neighbouring ports, name a protocol without ports, or use fewer lines";
	char text[300];

	if (o->classes)
		snprintf(text, sizeof(text),
			 "between %s and %s the lines have more than %d limits and different DSCPs, or %d "
			 "ranges of ports for them",
			 o->a.name, o->b.name, MVPN_CLASSES_MAX, MVPN_SERVICES_MAX);
	else
		snprintf(text, sizeof(text), "between %s and %s the lines name more than %d ranges of ports",
			 o->a.name, o->b.name, MVPN_SERVICES_MAX);
	ipc_reply_error_with(call, exit, "bad-policy", hint,
			     json_pack("{s:[o]}", "at", place(last_line(p, &o->a, &o->b), 0, text)),
			     "%s", text);
}

/* What is not known here, of devices yet to come or too many of them, is refused by the session and counted. false after an error
 * was sent */
static bool services_fit_all(struct server *s, struct ipc_call *call, const struct policy *p, int exit)
{
	struct overflow found = {0};

	if (!policy_limited(p))
		return true;
	services_diff(s, NULL, p, note_overflow, &found);
	if (!found.a.name)
		return true;
	reply_overflow(call, p, &found, exit);
	return false;
}

struct policy *policy_from_text(struct server *s, struct ipc_call *call, const char *text, size_t len,
				int exit)
{
	struct policy *p = parse_text(call, text, len, exit);

	if (p && !(tests_hold(s, call, p, exit) && services_fit_all(s, call, p, exit))) {
		policy_free(p);
		return NULL;
	}
	return p;
}

struct policy *policy_arg(struct server *s, struct ipc_call *call, json_t *args, int exit,
			  const char **ret_text)
{
	json_t *v = json_object_get(args, "text");

	if (!json_is_string(v)) {
		ipc_reply_error(call, MVPN_EXIT_USAGE, "bad-argument", "give a file",
				"no policy text");
		return NULL;
	}
	*ret_text = json_string_value(v);
	return policy_from_text(s, call, *ret_text, json_string_length(v), exit);
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
