/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin.h"
#include "class_json.h"
#include "introduce.h"
#include "log.h"
#include "processes.h"
#include "push.h"
#include "relay_device.h"
#include "services.h"
#include "session.h"
#include "tables.h"

#define KEPT 500 /* revisions */

static void reply_no_revision(struct ipc_call *call, int64_t rev)
{
	ipc_reply_error(call, MVPN_EXIT_FAILED, "no-such-revision",
			"mvpnctl server policy list shows those that are kept",
			"there is no policy revision %lld", (long long)rev);
}

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
		reply_no_revision(call, want);
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

struct apply {
	struct store_policy row;
	uint64_t from; /* revision whose text it is again, or 0 */
};

static int apply_transaction(struct server *s, void *arg)
{
	struct apply *a = arg;
	struct store_policy *p = &a->row;
	uint64_t newest = 0;
	char *text = NULL;
	json_t *detail;
	int r = store_policy_get(s->store, 0, &newest, NULL, &text);

	free(text);
	if (r < 0 && r != -ENOENT)
		return r;
	p->rev = (newest > s->policy_rev ? newest : s->policy_rev) + 1;
	p->at = wall_now();
	r = store_policy_add(s->store, p);
	if (r == 0 && p->rev > KEPT)
		r = store_policy_prune(s->store, p->rev - KEPT + 1);
	if (r < 0)
		return r;
	detail = json_pack("{s:I, s:s}", "rev", (json_int_t)p->rev, "comment", p->comment);
	if (a->from)
		json_object_set_new(detail, "from", json_integer((json_int_t)a->from));
	return audit_add(&s->audit, "admin", a->from ? "policy-rollback" : "policy-apply", detail);
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

static struct session_cuts put_in_force(struct server *s, struct policy *p, uint64_t rev)
{
	struct policy *old = s->policy;
	struct session_cuts ret;

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
	tables_changed(s, TABLE_ETHER);
	tables_changed(s, TABLE_LEVELS);
	tables_changed(s, TABLE_PROCESSES);
	introduce_recheck(s);
	relay_devices_recheck(s);
	push_flush(s); /* the sessions' rows may take a while */
	ret = session_cut_forbidden(s);
	ret.renewed += session_renew_marked(s);
	return ret;
}

static void reply_applied(struct server *s, struct ipc_call *call, bool changed,
			  struct session_cuts cuts, json_t *warnings)
{
	ipc_reply_ok(call, json_pack("{s:I, s:b, s:i, s:i, s:o}", "rev", (json_int_t)s->policy_rev,
				     "changed", changed, "sessions_cut", (int)cuts.cut,
				     "sessions_renewed", (int)cuts.renewed, "warnings", warnings));
}

/* steals p, and answers; a->row: text, comment */
static void apply(struct server *s, struct ipc_call *call, struct policy *p, struct apply *a)
{
	json_t *list = policy_warnings(s, p);
	struct session_cuts cuts = {0};
	int r;

	if (unchanged(s, a->row.text)) {
		policy_free(p);
		reply_applied(s, call, false, cuts, list);
		return;
	}
	a->row.uid = ipc_call_uid(call);
	r = server_transact(s, true, apply_transaction, a);
	if (r < 0) {
		policy_free(p);
		json_decref(list);
		reply_store_error(s, call, r);
		return;
	}
	cuts = put_in_force(s, p, a->row.rev);
	log_info("policy %" PRIu64 " is in force, %u sessions cut, %u made anew", a->row.rev,
		 cuts.cut, cuts.renewed);
	reply_applied(s, call, true, cuts, list);
}

void admin_policy_apply(struct server *s, struct ipc_call *call, json_t *args)
{
	struct apply a = {.row.comment = s->audit.comment ? s->audit.comment : ""};
	struct policy *p = policy_arg(s, call, args, MVPN_EXIT_FAILED, &a.row.text);

	if (p)
		apply(s, call, p, &a);
}

/* which revision to go back to: the one before that in force, or that in force when a newer stored one is no good */
static int rollback_target(struct server *s, uint64_t want, uint64_t *ret_rev, char **ret_text)
{
	if (want || (s->policy_alarm && s->policy))
		return store_policy_get(s->store, want ? want : s->policy_rev, ret_rev, NULL,
					ret_text);
	return store_policy_before(s->store, s->policy_rev, ret_rev, ret_text);
}

void admin_policy_rollback(struct server *s, struct ipc_call *call, json_t *args)
{
	char text[60], *old = NULL;
	struct apply a = {.row.comment = s->audit.comment ? s->audit.comment : text};
	struct policy *p = NULL;
	int64_t want = 0;
	int r;

	if (!arg_number(call, args, "rev", 1, INT64_MAX, &want))
		return;
	r = rollback_target(s, (uint64_t)want, &a.from, &old);
	if (r == -ENOENT && !want)
		ipc_reply_error(call, MVPN_EXIT_FAILED, "no-such-revision", NULL,
				"there is no policy revision before the one in force");
	else if (r == -ENOENT)
		reply_no_revision(call, want);
	else if (r < 0)
		reply_store_error(s, call, r);
	else
		p = policy_from_text(s, call, old, strlen(old), MVPN_EXIT_FAILED);
	if (p) {
		snprintf(text, sizeof(text), "back to revision %" PRIu64, a.from);
		a.row.text = old;
		apply(s, call, p, &a);
	}
	free(old);
}

struct revisions {
	struct server *s;
	json_t *list;
};

static int add_revision(void *arg, const struct store_policy *p)
{
	struct revisions *l = arg;
	unsigned lines = 0;
	json_t *o;

	for (const char *at = p->text; *at; at += strcspn(at, "\n"), at += *at == '\n')
		lines++;
	o = json_pack("{s:I, s:I, s:I, s:s, s:i, s:b}", "rev", (json_int_t)p->rev, "applied_at",
		      (json_int_t)p->at, "uid", (json_int_t)p->uid, "comment", p->comment, "lines",
		      (int)lines, "in_force", l->s->policy && p->rev == l->s->policy_rev);
	return o && json_array_append_new(l->list, o) == 0 ? 0 : -ENOMEM;
}

void admin_policy_list(struct server *s, struct ipc_call *call, json_t *args)
{
	struct revisions l = {s, json_array()};
	int r = store_policy_each(s->store, KEPT, add_revision, &l);

	if (r < 0) {
		json_decref(l.list);
		reply_store_error(s, call, r);
		return;
	}
	ipc_reply_ok(call, json_pack("{s:o}", "revisions", l.list));
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
static json_t *ethers_json(const struct policy *p, const struct policy_subject *a,
			   const struct policy_subject *b)
{
	static const char *const ways[] = {"", "out", "in", "both"};
	const struct policy_ether *e;
	json_t *list = json_array();
	char text[400];
	unsigned n;

	e = policy_ethers(p, &n);
	for (unsigned i = 0; i < n; i++) {
		unsigned flags = policy_ether_flags(p, &e[i], a, b);

		if (!flags)
			continue;
		policy_ether_str(&e[i], text, sizeof(text));
		json_array_append_new(list,
				      json_pack("{s:s, s:i, s:s}", "text", text, "line",
						(int)e[i].line, "direction", ways[flags & 3]));
	}
	return list;
}

/* args.proto; a port needs one that has ports. false after an error was sent */
static bool arg_proto(struct ipc_call *call, json_t *args, int64_t port, uint8_t *ret)
{
	const char *text = arg_text(args, "proto");
	int v = text ? mvpn_proto_parse(text, strlen(text)) : 0;

	if (v >= 0 && (!port || mvpn_proto_has_ports((unsigned)v))) {
		*ret = (uint8_t)v;
		return true;
	}
	ipc_reply_error(call, MVPN_EXIT_USAGE, "bad-argument",
			"tcp, udp and sctp have ports; icmp and numbers of protocols stand alone",
			v < 0 ? "\"%.20s\" is not a protocol" : "a port of what? proto is %.20s",
			text ? text : "missing");
	return false;
}

/* which process, one value of a kind; false after an error was sent */
static bool arg_process(struct ipc_call *call, json_t *args, struct mvpn_by_value who[MVPN_BY_KINDS],
			unsigned *ret_n)
{
	*ret_n = 0;
	for (unsigned kind = 0; kind < MVPN_BY_KINDS; kind++) {
		const char *value = arg_text(args, mvpn_by_name(kind));
		const char *wrong = value ? mvpn_by_wrong(kind, value) : NULL;

		if (wrong) {
			ipc_reply_error(call, MVPN_EXIT_USAGE, "bad-argument",
					"mvpnctl server policy test --unit x.service web1 db1 5432/tcp",
					"%s %s: %s", mvpn_by_name(kind), value, wrong);
			return false;
		}
		if (value)
			who[(*ret_n)++] = (struct mvpn_by_value){kind, value};
	}
	return true;
}

struct question {
	const struct device *a, *b;
	int64_t port;
	uint8_t proto;
	struct mvpn_by_value who[MVPN_BY_KINDS];
	unsigned nwho;
};

static json_t *answer_json(const struct policy *p, const struct question *q)
{
	struct policy_subject a = registry_subject(q->a), b = registry_subject(q->b);
	const struct policy_rule *rule;
	struct policy_services services;
	char text[200];
	json_t *o;

	policy_services_of(p, &a, &b, &services);
	rule = policy_allows_process(p, &a, &b, q->proto, (uint16_t)q->port, q->who, q->nwho);
	o = json_pack("{s:b, s:s, s:s, s:s, s:s}", "allowed", rule != NULL, "src", a.name, "dst",
		      b.name, "mode", mvpn_mode_name(policy_mode_of(p, &a, &b)), "level",
		      mvpn_level_name(policy_level_of(p, &a, &b)));
	if (rule) {
		policy_rule_str(rule, text, sizeof(text));
		json_object_set_new(o, "rule",
				    json_pack("{s:s, s:i}", "text", text, "line", (int)rule->line));
	} else {
		json_object_set_new(o, "rule", json_null());
		json_object_set_new(o, "exit", json_integer(MVPN_EXIT_DENIED));
	}
	json_object_set_new(o, "services", services_json(&services, "src", "dst"));
	json_object_set_new(o, "classes", mvpn_classes_json(&services.classes, 0, "src", "dst"));
	json_object_set_new(o, "ethernet", ethers_json(p, &a, &b));
	return o;
}

void admin_policy_test(struct server *s, struct ipc_call *call, json_t *args)
{
	struct question q = {.a = resolve(s, call, args, "src")};
	struct policy *other = NULL;
	const char *text;

	q.b = q.a ? resolve(s, call, args, "dst") : NULL;
	if (!q.a || !q.b || !arg_number(call, args, "port", 1, UINT16_MAX, &q.port) ||
	    !arg_proto(call, args, q.port, &q.proto) || !arg_process(call, args, q.who, &q.nwho))
		return;
	if (json_object_get(args, "text") &&
	    !(other = policy_arg(s, call, args, MVPN_EXIT_FAILED, &text)))
		return;
	ipc_reply_ok(call, answer_json(other ? other : s->policy, &q));
	policy_free(other);
}
