/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "admin.h"
#include "channel.h"
#include "crypto.h"
#include "introduce.h"
#include "listen.h"
#include "server_key.h"

#define SESSIONS_SHOWN_MAX 50000

struct admin {
	struct ipc_server *ipc;
};

/* ---- arguments ---- */

const char *arg_text(json_t *args, const char *name)
{
	return json_string_value(json_object_get(args, name));
}

bool arg_number(struct ipc_call *call, json_t *args, const char *name, int64_t min, int64_t max,
		int64_t *ret)
{
	json_t *v = json_object_get(args, name);

	if (!v || json_is_null(v))
		return true;
	if (!json_is_integer(v) || json_integer_value(v) < min || json_integer_value(v) > max) {
		ipc_reply_error(call, MVPN_EXIT_USAGE, "bad-argument", NULL,
				"%s must be a number from %lld to %lld", name, (long long)min,
				(long long)max);
		return false;
	}
	*ret = json_integer_value(v);
	return true;
}

#define COMMENT_MAX_B 200

/* why something is done, for the audit trail; false after an error was sent */
static bool arg_comment(struct ipc_call *call, json_t *args, const char **ret)
{
	json_t *v = json_object_get(args, "comment");
	const char *text = json_string_value(v);
	bool ok = !v || (text && json_string_length(v) <= COMMENT_MAX_B);

	for (size_t i = 0; ok && text && i < json_string_length(v); i++)
		ok = (unsigned char)text[i] >= ' ' && text[i] != 127;
	if (!ok)
		ipc_reply_error(call, MVPN_EXIT_USAGE, "bad-argument", NULL,
				"comment must be one line of at most %d bytes", COMMENT_MAX_B);
	*ret = ok ? text : NULL;
	return ok;
}

struct device *arg_device(struct server *s, struct ipc_call *call, json_t *args)
{
	const char *text = arg_text(args, "device");
	struct device *d = NULL;
	int r = text ? registry_find(s->reg, text, &d) : -EINVAL;

	if (r == -EINVAL)
		ipc_reply_error(call, MVPN_EXIT_USAGE, "bad-argument", "give its name or id",
				"no device was named");
	else if (r == -ENOTUNIQ)
		ipc_reply_error(call, MVPN_EXIT_FAILED, "ambiguous", "give more digits of the id",
				"several devices have an id that starts with \"%s\"", text);
	else if (r < 0)
		ipc_reply_error(call, MVPN_EXIT_FAILED, "no-such-device",
				"mvpnctl server device list shows all", "there is no device \"%s\"",
				text);
	return r < 0 ? NULL : d;
}

void reply_store_error(struct server *s, struct ipc_call *call, int r)
{
	ipc_reply_error(call, MVPN_EXIT_FAILED, "store",
			r == -ENOSPC ? "make room on the disk of the state directory"
				     : "see the server's log; nothing was changed",
			"the store refused the change: %s (%s)", strerror(-r),
			store_error(s->store));
}

/* ---- JSON ---- */

json_t *json_hex(const void *data, size_t len)
{
	char text[129];

	mvpn_hex(text, data, len > 64 ? 64 : len);
	return json_string(text);
}

json_t *device_name_json(struct server *s, const uint8_t id[16])
{
	struct device *d = registry_by_id(s->reg, id);

	return d ? json_string(d->row.name) : json_hex(id, 16);
}

struct session_list {
	struct server *s;
	json_t *list;
};

static int add_session(void *arg, const struct store_session *row)
{
	static const char *const layers[] = {"unknown", "socket", "transport", "network",
					    "link"};
	struct session_list *l = arg;
	json_t *o =
		json_pack("{s:o, s:o, s:o, s:s, s:s, s:I, s:I, s:s, s:I}", "id", json_hex(row->id, 16),
			  "a", device_name_json(l->s, row->a), "b", device_name_json(l->s, row->b),
			  "layer", layers[row->layer < 5 ? row->layer : 0], "mode",
			  mvpn_mode_name(row->mode), "created_at",
			  (json_int_t)row->created_at, "ends_at", (json_int_t)row->ends_at, "state",
			  row->state == SESSION_ACTIVE ? "active" : "ended", "policy_rev",
			  (json_int_t)row->policy_rev);

	return json_array_append_new(l->list, o) == 0 ? 0 : -ENOMEM;
}

json_t *sessions_json(struct server *s, const uint8_t *device)
{
	struct session_list l = {s, json_array()};

	if (store_session_active(s->store, device, SESSIONS_SHOWN_MAX, add_session, &l) < 0)
		count(s, store_errors);
	return l.list;
}

/* ---- verbs of the whole ---- */

static json_t *counters_json(const struct server *s)
{
	static const char *const names[] = {
#define X(name) #name,
		SERVER_COUNTERS(X)
#undef X
	};
	json_t *o = json_object();
	char key[64];

	for (int i = 0; i < SC_MAX; i++)
		json_object_set_new(o, names[i], json_integer((json_int_t)s->counters[i]));
	for (unsigned i = 1; i < MVPN_R_MAX; i++) {
		if (!strcmp(mvpn_reason_name(i), mvpn_reason_name(MVPN_R_MAX)))
			continue; /* a number that is not in use */
		snprintf(key, sizeof(key), "fail_%s", mvpn_reason_name(i));
		for (char *p = key; *p; p++)
			if (*p == '-')
				*p = '_';
		json_object_set_new(o, key, json_integer((json_int_t)s->fails[i]));
	}
	return o;
}

static unsigned channels_ready(const struct server *s)
{
	unsigned n = 0;

	for (const struct conn *c = s->conns; c; c = c->next)
		n += c->phase == CONN_READY;
	return n;
}

static void verb_status(struct server *s, struct ipc_call *call, json_t *args)
{
	char fp[MVPN_FINGERPRINT_LEN], store[4096];
	uint64_t sessions = 0, central = 0;
	json_t *problems = json_array(), *devices, *o;
	char *key_problem = server_key_problem(s);

	if (store_session_count(s->store, &sessions) < 0 ||
	    store_session_central(s->store, &central) < 0)
		count(s, store_errors);
	if (s->policy_alarm)
		json_array_append_new(problems, json_string(s->policy_alarm));
	if (s->restored_alarm)
		json_array_append_new(problems, json_string(s->restored_alarm));
	if (key_problem)
		json_array_append_new(problems, json_string(key_problem));
	free(key_problem);
	if (s->counters[SC_store_errors])
		json_array_append_new(
			problems,
			json_string("the store has refused changes: see the server's log"));
	mvpn_fingerprint(fp, s->id.pk);
	snprintf(store, sizeof(store), "sqlite:%s/server.db", s->conf->state);
	if (s->conf->store)
		snprintf(store, sizeof(store), "%s", s->conf->store);
	devices = json_pack("{s:i, s:i, s:i, s:i}", "active", s->reg->states[MVPN_DEV_ACTIVE],
			    "pending", s->reg->states[MVPN_DEV_PENDING], "suspended",
			    s->reg->states[MVPN_DEV_SUSPENDED], "revoked",
			    s->reg->states[MVPN_DEV_REVOKED]);
	o = json_pack(
		"{s:s, s:s, s:o, s:o, s:s, s:o, s:s, s:I, s:I, s:o, s:i, s:i, s:I, s:i, s:o, s:o}",
		"version", MVPN_VERSION, "name", s->id.name, "net_id", json_hex(s->id.net_id, 8),
		"public_key", json_hex(s->id.pk, 32), "fingerprint", fp, "listen",
		listener_json(s->listener), "store", store, "uptime_s",
		(json_int_t)((mono_ms() - s->started_ms) / 1000), "policy_rev",
		(json_int_t)s->policy_rev, "devices", devices, "channels",
		(int)channels_ready(s), "half_open", (int)s->half_open, "sessions",
		(json_int_t)sessions, "introductions", (int)intros_count(s->intros), "counters",
		counters_json(s), "problems", problems);
	json_object_set_new(o, "server_key", server_key_json(s));
	json_object_set_new(o, "central_sessions", json_integer((json_int_t)central));
	ipc_reply_ok(call, o);
}

static void verb_sessions(struct server *s, struct ipc_call *call, json_t *args)
{
	ipc_reply_ok(call, json_pack("{s:o}", "sessions", sessions_json(s, NULL)));
}

static const struct {
	const char *verb;
	admin_fn *fn;
	const char *args; /* names allowed, each followed by a space */
} verbs[] = {
	{"status", verb_status, ""},
	{"token-create", admin_token_create, "ttl_s uses group addresses approve ephemeral ephemeral_s server "},
	{"token-list", admin_token_list, ""},
	{"token-revoke", admin_token_revoke, "id comment "},
	{"device-list", admin_device_list, ""},
	{"device-show", admin_device_show, "device "},
	{"device-approve", admin_device_approve, "device comment "},
	{"device-suspend", admin_device_suspend, "device comment "},
	{"device-revoke", admin_device_revoke, "device comment "},
	{"device-remove", admin_device_remove, "device comment "},
	{"device-rename", admin_device_rename, "device name "},
	{"device-address", admin_device_address, "device add del "},
	{"policy-show", admin_policy_show, "rev "},
	{"policy-check", admin_policy_check, "text "},
	{"policy-diff", admin_policy_diff, "text "},
	{"policy-apply", admin_policy_apply, "text comment "},
	{"policy-rollback", admin_policy_rollback, "rev comment "},
	{"policy-list", admin_policy_list, ""},
	{"policy-test", admin_policy_test, "src dst proto port unit uid exe cgroup text "},
	{"sessions", verb_sessions, ""},
	{"key-show", admin_key_show, ""},
	{"key-rotate", admin_key_rotate, "after_s now comment "},
	{"key-cancel", admin_key_cancel, "comment "},
	{"audit", admin_audit, "verify limit after follow "},
};

/* an argument that nobody reads is a mistake of whoever sent it */
static const char *unknown_arg(const char *allowed, json_t *args)
{
	const char *name;
	json_t *value;

	json_object_foreach(args, name, value)
	{
		const char *p = strstr(allowed, name);
		size_t len = strlen(name);

		while (p && !((p == allowed || p[-1] == ' ') && p[len] == ' '))
			p = strstr(p + 1, name);
		if (!p || !len)
			return name;
	}
	return NULL;
}

static void on_call(void *arg, struct ipc_call *call, const char *verb, json_t *args)
{
	struct server *s = arg;
	const char *odd;

	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		if (strcmp(verbs[i].verb, verb))
			continue;
		odd = unknown_arg(verbs[i].args, args);
		if (odd)
			ipc_reply_error(call, MVPN_EXIT_USAGE, "bad-argument", NULL,
					"%s knows no argument \"%.60s\"", verb, odd);
		else if (arg_comment(call, args, &s->audit.comment)) {
			s->audit.uid = ipc_call_uid(call);
			verbs[i].fn(s, call, args);
			s->audit.comment = NULL;
		}
		return;
	}
	ipc_reply_error(call, MVPN_EXIT_USAGE, "unknown-verb", "is mvpnctl newer than the server?",
			"this server knows no verb \"%.60s\"", verb);
}

int admin_new(struct server *s)
{
	struct admin *a = calloc(1, sizeof(*a));
	int r;

	if (!a)
		return -ENOMEM;
	r = ipc_server_new(s->loop, s->conf->socket, on_call, s, &a->ipc);
	if (r < 0) {
		free(a);
		return r;
	}
	s->admin = a;
	return 0;
}

void admin_free(struct admin *a)
{
	if (!a)
		return;
	ipc_server_free(a->ipc);
	free(a);
}
