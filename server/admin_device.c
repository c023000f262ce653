/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "admin.h"
#include "channel.h"
#include "crypto.h"
#include "delegate.h"
#include "depart.h"
#include "dispatch.h"
#include "enrol.h"
#include "introduce.h"
#include "log.h"
#include "macs.h"
#include "push.h"
#include "relay_device.h"
#include "session.h"
#include "tables.h"

/* ---- showing ---- */

static const char *state_name(unsigned state)
{
	static const char *const names[] = {"unknown", "pending", "active", "suspended", "revoked"};

	return names[state < 5 ? state : 0];
}

static void add_group(void *arg, const char *group)
{
	json_array_append_new(arg, json_string(group));
}

static int text_cmp(const void *a, const void *b)
{
	return strcmp(json_string_value(*(json_t *const *)a),
		      json_string_value(*(json_t *const *)b));
}

/* sorted, each text once; steals list */
static json_t *sorted(json_t *list)
{
	size_t n = json_array_size(list);
	json_t **v = malloc(n * sizeof(*v) + 1), *ret = json_array();

	for (size_t i = 0; v && i < n; i++)
		v[i] = json_array_get(list, i);
	if (v && n)
		qsort(v, n, sizeof(*v), text_cmp);
	for (size_t i = 0; v && i < n; i++)
		if (!i || text_cmp(&v[i - 1], &v[i]))
			json_array_append(ret, v[i]);
	free(v);
	json_decref(list);
	return ret;
}

static json_t *owned_json(const struct device *d, bool hosts_only)
{
	json_t *list = json_array();
	char text[MVPN_ADDRSTRLEN];

	for (unsigned i = 0; i < d->nowned; i++) {
		const struct mvpn_prefix *p = &d->owned[i];

		if (!hosts_only)
			json_array_append_new(list, json_string(mvpn_prefix_str(p, text)));
		else if (p->len == 128)
			json_array_append_new(list, json_string(mvpn_addr_str(&p->addr, text)));
	}
	return sorted(list);
}

static json_t *device_json(struct server *s, const struct device *d)
{
	struct policy_subject subject = registry_subject(d);
	char fp[MVPN_FINGERPRINT_LEN];
	json_t *groups = json_array();

	for (unsigned i = 0; i < d->ngroups; i++)
		add_group(groups, d->groups[i]);
	policy_each_group(s->policy, &subject, add_group, groups);
	mvpn_fingerprint(fp, delegate_identity(&d->row));
	return json_pack(
		"{s:o, s:s, s:s, s:o, s:o, s:b, s:I, s:s, s:i, s:o, s:o}", "id", json_hex(d->row.id, 16), "name",
		d->row.name, "state", state_name(d->row.state), "addresses", owned_json(d, true),
		"groups", sorted(groups), "online", device_conn(d) != NULL, "last_seen_at",
		(json_int_t)(device_conn(d) ? wall_now() : d->row.last_seen_at), "fingerprint", fp,
		"ephemeral_s", (int)d->row.ephemeral_s, "delegated_until",
		d->row.delegated ? json_integer((json_int_t)d->row.delegation.not_after) : json_null(),
		"relays", d->relay_kbit ? json_integer(d->relay_pairs) : json_null());
}

static int by_name(const void *a, const void *b)
{
	const struct device *const *x = a, *const *y = b;

	return strcmp((*x)->row.name, (*y)->row.name);
}

void admin_device_list(struct server *s, struct ipc_call *call, json_t *args)
{
	struct device **v = malloc((s->reg->count + 1) * sizeof(*v));
	json_t *list = json_array();
	size_t n = 0;

	for (uint32_t i = 0; v && i < s->reg->size; i++)
		if (s->reg->devices[i])
			v[n++] = s->reg->devices[i];
	if (n)
		qsort(v, n, sizeof(*v), by_name);
	for (size_t i = 0; i < n; i++)
		json_array_append_new(list, device_json(s, v[i]));
	free(v);
	ipc_reply_ok(call, json_pack("{s:o}", "devices", list));
}

/* the key that it may log in with besides its own; null */
static json_t *next_key_json(const struct device *d)
{
	char fp[MVPN_FINGERPRINT_LEN];

	if (d->row.next_until <= wall_now())
		return json_null();
	mvpn_fingerprint(fp, d->row.pk_next);
	return json_pack("{s:s, s:I}", "fingerprint", fp, "until_at", (json_int_t)d->row.next_until);
}

void admin_device_show(struct server *s, struct ipc_call *call, json_t *args)
{
	struct device *d = arg_device(s, call, args);
	json_t *o, *scopes = json_array(), *channel = json_null();
	char text[MVPN_ADDRSTRLEN];

	if (!d) {
		json_decref(scopes);
		return;
	}
	for (unsigned i = 0; i < d->nprefixes; i++)
		if (d->prefixes[i].kind == PREFIX_SCOPE)
			json_array_append_new(
				scopes, json_string(mvpn_prefix_str(&d->prefixes[i].p, text)));
	if (device_conn(d))
		channel = json_pack("{s:s, s:I}", "from", mvpn_endpoint_str(&d->conn->from, text),
				    "since_at", (json_int_t)d->conn->since_at);
	o = device_json(s, d);
	json_object_set_new(o, "prefixes", owned_json(d, false));
	json_object_set_new(o, "scopes", sorted(scopes));
	json_object_set_new(o, "macs", macs_json(d));
	json_object_set_new(o, "sessions", sessions_json(s, d->row.id));
	json_object_set_new(o, "channel", channel);
	json_object_set_new(o, "next_key", next_key_json(d));
	json_object_set_new(o, "enrolled_at", json_integer((json_int_t)d->row.created_at));
	ipc_reply_ok(call, o);
}

/* ---- states ---- */

struct change {
	struct device *d;
	unsigned state;
	const char *event;
};

static json_t *device_detail(const struct device *d)
{
	return json_pack("{s:o, s:s}", "device", json_hex(d->row.id, 16), "name", d->row.name);
}

static int state_transaction(struct server *s, void *arg)
{
	struct change *ch = arg;
	int r = store_device_set_state(s->store, ch->d->row.id, ch->state);

	if (r == 0 && ch->state == MVPN_DEV_REVOKED)
		r = store_revocation_add(s->store, ch->d->row.id, wall_now());
	return r < 0 ? r : audit_add(&s->audit, "admin", ch->event, device_detail(ch->d));
}

static json_t *state_reply(const struct device *d)
{
	return json_pack("{s:o, s:s, s:s}", "id", json_hex(d->row.id, 16), "name", d->row.name,
			 "state", state_name(d->row.state));
}

void admin_device_approve(struct server *s, struct ipc_call *call, json_t *args)
{
	struct change ch = {arg_device(s, call, args), MVPN_DEV_ACTIVE, "device-approve"};
	struct device *d = ch.d;
	int r;

	if (!d)
		return;
	if (d->row.state == MVPN_DEV_REVOKED) {
		ipc_reply_error(
			call, MVPN_EXIT_FAILED, "revoked",
			"remove it (mvpnctl server device remove), then enrol it with a new token",
			"%s was revoked, and a revoked key does not come back", d->row.name);
		return;
	}
	if (d->row.state != MVPN_DEV_ACTIVE) {
		r = server_transact(s, true, state_transaction, &ch);
		if (r < 0) {
			reply_store_error(s, call, r);
			return;
		}
		registry_set_state(s->reg, d, MVPN_DEV_ACTIVE);
		log_info("device %s is active", d->row.name);
		push_peer(s, d, false);
		if (device_conn(d))
			register_welcome(d->conn);
		else
			depart_offline(s, d);
	}
	ipc_reply_ok(call, state_reply(d));
}

/*
 * The device is out: on record first, then its channel, its introductions, its sessions, and the word to everybody.
 * Returns the sessions cut, or -errno with nothing done.
 */
static int shut_out(struct server *s, struct change *ch, enum mvpn_reason reason)
{
	struct device *d = ch->d;
	int r = server_transact(s, true, state_transaction, ch);

	if (r < 0)
		return r;
	registry_set_state(s->reg, d, ch->state);
	if (d->conn) {
		struct conn *c = d->conn;

		conn_detach(c);
		conn_close(c, reason);
	}
	introduce_device_gone(s, d, reason);
	r = session_cut_device(s, d, reason);
	push_peer(s, d, false);
	log_info("device %s is %s, %d sessions cut", d->row.name, state_name(ch->state),
		 r > 0 ? r : 0);
	return r > 0 ? r : 0;
}

static void change_state(struct server *s, struct ipc_call *call, struct change *ch,
			 enum mvpn_reason reason)
{
	json_t *o;
	int r = 0;

	if (ch->d->row.state != ch->state) {
		r = shut_out(s, ch, reason);
		if (r < 0) {
			reply_store_error(s, call, r);
			return;
		}
	}
	o = state_reply(ch->d);
	json_object_set_new(o, "sessions_cut", json_integer(r));
	ipc_reply_ok(call, o);
}

void admin_device_suspend(struct server *s, struct ipc_call *call, json_t *args)
{
	struct change ch = {arg_device(s, call, args), MVPN_DEV_SUSPENDED, "device-suspend"};

	if (!ch.d)
		return;
	if (ch.d->row.state == MVPN_DEV_REVOKED)
		ipc_reply_error(call, MVPN_EXIT_FAILED, "revoked", "nothing is left to suspend",
				"%s was revoked", ch.d->row.name);
	else
		change_state(s, call, &ch, MVPN_R_SUSPENDED);
}

void admin_device_revoke(struct server *s, struct ipc_call *call, json_t *args)
{
	struct change ch = {arg_device(s, call, args), MVPN_DEV_REVOKED, "device-revoke"};

	if (ch.d)
		change_state(s, call, &ch, MVPN_R_REVOKED);
}

static int remove_transaction(struct server *s, void *arg)
{
	struct change *ch = arg;
	int r = store_device_remove(s->store, ch->d->row.id);

	return r < 0 ? r : audit_add(&s->audit, "admin", "device-remove", device_detail(ch->d));
}

void admin_device_remove(struct server *s, struct ipc_call *call, json_t *args)
{
	struct change ch = {arg_device(s, call, args), MVPN_DEV_REVOKED, "device-revoke"};
	struct device *d = ch.d;
	json_t *o;
	int r = 0;

	if (!d)
		return;
	if (d->row.state != MVPN_DEV_REVOKED)
		r = shut_out(s, &ch, MVPN_R_REVOKED);
	if (r < 0) {
		reply_store_error(s, call, r);
		return;
	}
	r = server_transact(s, true, remove_transaction, &ch);
	if (r < 0) {
		ipc_reply_error(call, MVPN_EXIT_FAILED, "store",
				"make room on the disk if it is full, and try again",
				"%s is revoked, but the store refused to remove it: %s (%s)",
				d->row.name, strerror(-r), store_error(s->store));
		return;
	}
	o = json_pack("{s:o, s:s, s:s}", "id", json_hex(d->row.id, 16), "name", d->row.name,
		      "state", "removed");
	depart_forget(s, d);
	ipc_reply_ok(call, o);
}

/* ---- name and addresses ---- */

struct rename {
	struct device *d;
	const char *name;
};

static int rename_transaction(struct server *s, void *arg)
{
	struct rename *n = arg;
	int r = store_device_set_name(s->store, n->d->row.id, n->name);

	return r < 0 ? r
		     : audit_add(&s->audit, "admin", "device-rename",
				 json_pack("{s:o, s:s, s:s}", "device", json_hex(n->d->row.id, 16),
					   "from", n->d->row.name, "to", n->name));
}

void admin_device_rename(struct server *s, struct ipc_call *call, json_t *args)
{
	struct rename n = {arg_device(s, call, args), arg_text(args, "name")};
	struct device *d = n.d;
	int r;

	if (!d)
		return;
	if (!n.name || !mvpn_name_valid(n.name, strlen(n.name))) {
		ipc_reply_error(call, MVPN_EXIT_USAGE, "bad-argument",
				"letters, digits, '.', '_' and '-', at most 63",
				"\"%.80s\" is no name for a device", n.name ? n.name : "");
		return;
	}
	if (!name_is_free(s, n.name, d)) {
		ipc_reply_error(call, MVPN_EXIT_FAILED, "name-taken", "choose another name",
				"\"%s\" is a device or a group already", n.name);
		return;
	}
	r = server_transact(s, true, rename_transaction, &n);
	if (r < 0) {
		reply_store_error(s, call, r);
		return;
	}
	registry_rename(s->reg, d, n.name);
	/* the policy speaks of names: it may say something else about this device now */
	registry_set_policy(s->reg, s->policy);
	push_peer(s, d, false);
	push_revision(s);
	tables_changed(s, TABLE_ETHER);
	tables_changed(s, TABLE_LEVELS);
	tables_changed(s, TABLE_PROCESSES);
	introduce_recheck(s);
	relay_devices_recheck(s);
	session_cut_forbidden(s);
	ipc_reply_ok(call,
		     json_pack("{s:o, s:s}", "id", json_hex(d->row.id, 16), "name", d->row.name));
}

struct address {
	struct device *d;
	const struct mvpn_prefix *add, *del;
	int del_kind;
	bool was_claim;
};

static int address_transaction(struct server *s, void *arg)
{
	struct address *a = arg;
	char text[MVPN_ADDRSTRLEN];
	json_t *detail = device_detail(a->d);
	int r = 0;

	if (a->del)
		r = store_prefix_del(s->store, a->d->row.id, a->del, a->del_kind);
	if (r == 0 && a->add && a->was_claim)
		r = store_prefix_del(s->store, a->d->row.id, a->add, PREFIX_CLAIM);
	if (r == 0 && a->add)
		r = store_prefix_add(s->store, a->d->row.id, a->add, PREFIX_ADMIN);
	if (a->del)
		json_object_set_new(detail, "del", json_string(mvpn_prefix_str(a->del, text)));
	if (a->add)
		json_object_set_new(detail, "add", json_string(mvpn_prefix_str(a->add, text)));
	if (r < 0) {
		json_decref(detail);
		return r;
	}
	return audit_add(&s->audit, "admin", "device-address", detail);
}

/* false after an error was sent */
static bool check_add(struct server *s, struct ipc_call *call, struct address *a)
{
	struct device *owner = registry_prefix_other(s->reg, a->add, a->d);
	const char *why = policy_unprotectable(a->add);
	char text[MVPN_ADDRSTRLEN];

	mvpn_prefix_str(a->add, text);
	if (why)
		ipc_reply_error(call, MVPN_EXIT_USAGE, "bad-address", NULL, "%s: %s", text, why);
	else if (owner)
		ipc_reply_error(call, MVPN_EXIT_FAILED, "address-taken",
				"take it from that device first: mvpnctl server device address "
				"DEVICE --del",
				"%s belongs to %s", text, owner->row.name);
	else if (a->d->nprefixes >= DEVICE_PREFIXES_MAX)
		ipc_reply_error(call, MVPN_EXIT_FAILED, "limit", "join prefixes to larger ones",
				"%s has %d prefixes already", a->d->row.name, DEVICE_PREFIXES_MAX);
	else
		return true;
	return false;
}

static bool check_del(struct ipc_call *call, struct address *a)
{
	static const int kinds[] = {PREFIX_ADMIN, PREFIX_SCOPE, PREFIX_CLAIM};
	char text[MVPN_ADDRSTRLEN];

	for (int i = 0; i < 3; i++)
		if (registry_prefix_has(a->d, a->del, kinds[i])) {
			a->del_kind = kinds[i];
			return true;
		}
	ipc_reply_error(
		call, MVPN_EXIT_FAILED, "no-such-prefix",
		"mvpnctl server device show lists them; prefixes of protect lines go with the "
		"policy",
		"%s does not have %s", a->d->row.name, mvpn_prefix_str(a->del, text));
	return false;
}

static bool read_prefix(struct ipc_call *call, json_t *args, const char *name,
			struct mvpn_prefix *p, const struct mvpn_prefix **ret)
{
	json_t *v = json_object_get(args, name);

	if (!v || json_is_null(v))
		return true;
	if (!json_is_string(v) || mvpn_prefix_parse(p, json_string_value(v)) < 0) {
		ipc_reply_error(
			call, MVPN_EXIT_USAGE, "bad-address",
			"for example 192.0.2.1 or 192.0.2.0/24; bits after the length must be 0",
			"\"%.60s\" is no address or prefix",
			json_is_string(v) ? json_string_value(v) : "");
		return false;
	}
	*ret = p;
	return true;
}

void admin_device_address(struct server *s, struct ipc_call *call, json_t *args)
{
	struct address a = {.d = arg_device(s, call, args)};
	struct device *d = a.d;
	struct mvpn_prefix add, del;
	int r = 0;

	if (!d || !read_prefix(call, args, "add", &add, &a.add) ||
	    !read_prefix(call, args, "del", &del, &a.del) || (a.add && !check_add(s, call, &a)) ||
	    (a.del && !check_del(call, &a)))
		return;
	if (a.add && registry_prefix_has(d, a.add, PREFIX_ADMIN))
		a.add = NULL;
	a.was_claim = a.add && registry_prefix_has(d, a.add, PREFIX_CLAIM);
	if (a.add || a.del)
		r = server_transact(s, true, address_transaction, &a);
	if (r < 0) {
		reply_store_error(s, call, r);
		return;
	}
	if (a.del)
		registry_prefix_del(s->reg, d, a.del, a.del_kind);
	if (a.add)
		registry_prefix_add(s->reg, d, a.add, PREFIX_ADMIN);
	if (a.was_claim)
		registry_prefix_del(s->reg, d, a.add, PREFIX_CLAIM);
	/* what it claims may be judged otherwise now */
	if ((a.add || a.del) && device_conn(d))
		register_welcome(d->conn);
	ipc_reply_ok(call, json_pack("{s:o, s:o}", "id", json_hex(d->row.id, 16), "prefixes",
				     owned_json(d, false)));
}
