/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin.h"
#include "crypto.h"
#include "enrol.h"
#include "listen.h"
#include "server_key.h"
#include "token.h"

#define TTL_MAX_S (10LL * 366 * 86400)
#define USES_MAX 1000000
#define EPHEMERAL_MAX_S (366LL * 86400)
#define ADDRESSES_MAX 64

struct new_token {
	struct store_token row;
	struct mvpn_token t;
	bool guessed; /* the server's address */
};

static int create_transaction(struct server *s, void *arg)
{
	struct new_token *n = arg;
	int r = store_token_add(s->store, &n->row);

	if (r < 0)
		return r;
	return audit_add(&s->audit, "admin", "token-create",
			 json_pack("{s:o, s:I, s:I, s:s, s:b, s:i}", "token", json_hex(n->row.id, 16),
				   "uses", (json_int_t)n->row.uses_left, "expires_at",
				   (json_int_t)n->row.expires_at, "group", n->row.group, "approve",
				   n->row.approve, "ephemeral_s", (int)n->row.ephemeral_s));
}

/* prefixes as one text; NULL-safe */
static bool read_addresses(struct ipc_call *call, json_t *args, struct store_token *row)
{
	json_t *list = json_object_get(args, "addresses"), *v;
	char text[MVPN_ADDRSTRLEN];
	struct mvpn_prefix p;
	const char *why;
	size_t i;

	if (!list || json_is_null(list))
		return true;
	if (!json_is_array(list) || json_array_size(list) > ADDRESSES_MAX) {
		ipc_reply_error(call, MVPN_EXIT_USAGE, "bad-argument", NULL,
				"addresses must be a list of at most %d prefixes", ADDRESSES_MAX);
		return false;
	}
	row->addresses = calloc(1, json_array_size(list) * (MVPN_ADDRSTRLEN + 1) + 1);
	if (!row->addresses)
		return true;
	json_array_foreach(list, i, v)
	{
		const char *s = json_string_value(v);

		if (!s || mvpn_prefix_parse(&p, s) < 0) {
			ipc_reply_error(call, MVPN_EXIT_USAGE, "bad-address",
					"for example 192.0.2.1 or 192.0.2.0/24",
					"\"%.60s\" is no address or prefix", s ? s : "");
			return false;
		}
		why = policy_unprotectable(&p);
		if (why) {
			ipc_reply_error(call, MVPN_EXIT_USAGE, "bad-address", NULL, "%.60s: %s", s,
					why);
			return false;
		}
		if (row->addresses[0])
			strcat(row->addresses, " ");
		strcat(row->addresses, mvpn_prefix_str(&p, text));
	}
	return true;
}

/* NAME:PORT that devices will connect to; a port is added if there is none */
static bool read_server(struct server *s, struct ipc_call *call, json_t *args, struct new_token *n)
{
	const char *text = arg_text(args, "server");
	char *ret = n->t.server;
	const char *colon, *bracket;
	size_t len;

	if (!text)
		text = s->conf->advertise;
	if (!text) {
		n->guessed = true;
		if (listener_address(s->listener, ret, sizeof(n->t.server)) == 0)
			return true;
		ipc_reply_error(
			call, MVPN_EXIT_FAILED, "no-address",
			"give --server NAME:PORT, or set advertise in [server] of server.conf",
			"no address is known by which devices can reach this server");
		return false;
	}
	len = strlen(text);
	if (!len || len > sizeof(n->t.server) - 8 || strpbrk(text, " \t\r\n/@")) {
		ipc_reply_error(call, MVPN_EXIT_USAGE, "bad-argument",
				"for example vpn.example.org:7468", "\"%.80s\" is not NAME:PORT",
				text);
		return false;
	}
	colon = strrchr(text, ':');
	bracket = strrchr(text, ']');
	if (!colon || (bracket && colon < bracket))
		snprintf(ret, sizeof(n->t.server), "%s:%d", text, MVPN_CHAN_PORT);
	else
		snprintf(ret, sizeof(n->t.server), "%s", text);
	return true;
}

static bool read_group(struct server *s, struct ipc_call *call, json_t *args,
		       struct store_token *row)
{
	const char *group = arg_text(args, "group");

	if (!group || !*group)
		return true;
	if (!mvpn_name_valid(group, strlen(group))) {
		ipc_reply_error(call, MVPN_EXIT_USAGE, "bad-argument",
				"letters, digits, '.', '_' and '-', at most 63",
				"\"%.80s\" is no name for a group", group);
		return false;
	}
	if (registry_by_name(s->reg, group)) {
		ipc_reply_error(call, MVPN_EXIT_FAILED, "name-taken",
				"choose another name for the group", "\"%s\" is a device", group);
		return false;
	}
	snprintf(row->group, sizeof(row->group), "%s", group);
	return true;
}

static int make_secrets(struct server *s, struct new_token *n)
{
	uint8_t psk[32];
	int r;

	randombytes_buf(n->t.token_id, sizeof(n->t.token_id));
	randombytes_buf(n->t.secret, sizeof(n->t.secret));
	memcpy(n->t.net_id, s->id.net_id, sizeof(n->t.net_id));
	memcpy(n->t.server_pk, s->id.pk, sizeof(n->t.server_pk));
	n->row.has_server_pk = true;
	memcpy(n->row.server_pk, s->id.pk, sizeof(n->row.server_pk));
	memcpy(n->row.id, n->t.token_id, sizeof(n->row.id));
	mvpn_token_psk(psk, n->t.secret);
	r = secret_seal(s, n->row.id, psk, n->row.psk_enc);
	sodium_memzero(psk, sizeof(psk));
	return r;
}

/* the next key is announced, and the token would be good for longer than the one that it pins */
static bool outlives_key(const struct server *s, const struct store_token *row)
{
	const struct keyfile *f = s->id.keys;

	return f->other == KEYFILE_NEXT && (!row->expires_at || row->expires_at > f->until);
}

static void create(struct server *s, struct ipc_call *call, struct new_token *n,
		   char text[MVPN_TOKEN_MAX])
{
	uint64_t have = 0;
	int r = store_token_count(s->store, &have);
	json_t *o;

	if (r == 0 && have >= s->conf->max_tokens) {
		ipc_reply_error(call, MVPN_EXIT_FAILED, "limit",
				"old tokens go by themselves; or raise max_tokens in server.conf",
				"there are %llu tokens already", (unsigned long long)have);
		return;
	}
	if (r == 0)
		r = make_secrets(s, n);
	if (r == 0)
		r = mvpn_token_encode(&n->t, text);
	if (r == 0)
		r = server_transact(s, true, create_transaction, n);
	if (r < 0) {
		reply_store_error(s, call, r);
		return;
	}
	o = json_pack("{s:s, s:o, s:I, s:s}", "token", text, "id", json_hex(n->row.id, 16),
		      "expires_at", (json_int_t)n->row.expires_at, "server", n->t.server);
	if (n->guessed)
		json_object_set_new(
			o, "warning",
			json_string("the server's address was guessed: set advertise in "
				    "server.conf if devices reach it by another"));
	else if (outlives_key(s, &n->row))
		json_object_set_new(o, "warning",
				    json_string("the server's key is being changed, and this token pins the present one: it is good until "
						"that is given up only (mvpnctl server key show)"));
	ipc_reply_ok(call, o);
}

void admin_token_create(struct server *s, struct ipc_call *call, json_t *args)
{
	struct new_token n = {0};
	char text[MVPN_TOKEN_MAX];
	int64_t ttl = MVPN_TOKEN_TTL_S, uses = 1, ephemeral = 0;

	if (json_is_true(json_object_get(args, "ephemeral")))
		ephemeral = MVPN_EPHEMERAL_S;

	if (!arg_number(call, args, "ttl_s", 0, TTL_MAX_S, &ttl) ||
	    !arg_number(call, args, "uses", 1, USES_MAX, &uses) ||
	    !arg_number(call, args, "ephemeral_s", 1, EPHEMERAL_MAX_S, &ephemeral) ||
	    !read_group(s, call, args, &n.row) || !read_server(s, call, args, &n) ||
	    !read_addresses(call, args, &n.row)) {
		store_token_clear(&n.row);
		return;
	}
	n.row.approve = json_is_true(json_object_get(args, "approve"));
	n.row.ephemeral_s = (uint32_t)ephemeral;
	n.row.uses_left = (uint64_t)uses;
	n.row.created_at = wall_now();
	n.row.expires_at = ttl ? n.row.created_at + ttl : 0; /* 0: never */
	n.t.expiry = (uint64_t)n.row.expires_at;
	create(s, call, &n, text);
	store_token_clear(&n.row);
	sodium_memzero(&n, sizeof(n));
	sodium_memzero(text, sizeof(text));
}

static const char *state_name(const struct server *s, const struct store_token *t)
{
	enum mvpn_reason reason = token_state(t, wall_now());

	if (reason == MVPN_R_NONE && t->has_server_pk && !server_key_good(s, t->server_pk))
		reason = MVPN_R_SERVER_KEY;
	switch (reason) {
	case MVPN_R_SERVER_KEY:
		return mvpn_reason_name(reason);
	case MVPN_R_TOKEN_REVOKED:
		return "revoked";
	case MVPN_R_TOKEN_USED:
		return "used";
	case MVPN_R_TOKEN_EXPIRED:
		return "expired";
	default:
		return "valid";
	}
}

struct token_list {
	struct server *s;
	json_t *list;
};

static int list_token(void *arg, const struct store_token *t)
{
	const struct token_list *l = arg;
	json_t *addresses = json_array(), *o;
	char *copy = t->addresses ? strdup(t->addresses) : NULL, *save = NULL;

	for (char *p = copy ? strtok_r(copy, " ", &save) : NULL; p; p = strtok_r(NULL, " ", &save))
		json_array_append_new(addresses, json_string(p));
	free(copy);
	o = json_pack("{s:o, s:I, s:I, s:s, s:o, s:b, s:i, s:s, s:I}", "id", json_hex(t->id, 16),
		      "uses_left", (json_int_t)t->uses_left, "expires_at",
		      (json_int_t)t->expires_at, "group", t->group, "addresses", addresses,
		      "approve", t->approve, "ephemeral_s", (int)t->ephemeral_s, "state", state_name(l->s, t), "created_at",
		      (json_int_t)t->created_at);
	return json_array_append_new(l->list, o) == 0 ? 0 : -ENOMEM;
}

void admin_token_list(struct server *s, struct ipc_call *call, json_t *args)
{
	struct token_list l = {s, json_array()};
	int r = store_token_each(s->store, list_token, &l);

	if (r < 0) {
		json_decref(l.list);
		reply_store_error(s, call, r);
		return;
	}
	ipc_reply_ok(call, json_pack("{s:o}", "tokens", l.list));
}

struct find {
	const char *text;
	uint8_t id[16];
	unsigned hits;
};

static int match_token(void *arg, const struct store_token *t)
{
	struct find *f = arg;
	char hex[33];

	mvpn_hex(hex, t->id, 16);
	if (!strncasecmp(hex, f->text, strlen(f->text))) {
		memcpy(f->id, t->id, 16);
		f->hits++;
	}
	return 0;
}

static int revoke_transaction(struct server *s, void *arg)
{
	const uint8_t *id = arg;
	int r = store_token_revoke(s->store, id);

	return r < 0 ? r
		     : audit_add(&s->audit, "admin", "token-revoke",
				 json_pack("{s:o}", "token", json_hex(id, 16)));
}

void admin_token_revoke(struct server *s, struct ipc_call *call, json_t *args)
{
	struct find f = {.text = arg_text(args, "id")};
	int r;

	if (!f.text || strlen(f.text) < 4) {
		ipc_reply_error(call, MVPN_EXIT_USAGE, "bad-argument",
				"mvpnctl server token list shows all",
				"give the token's id, or at least 4 digits of it");
		return;
	}
	r = store_token_each(s->store, match_token, &f);
	if (r == 0 && f.hits != 1) {
		ipc_reply_error(call, MVPN_EXIT_FAILED, f.hits ? "ambiguous" : "no-such-token",
				f.hits ? "give more digits of the id"
				       : "mvpnctl server token list shows all",
				f.hits ? "several tokens have an id that starts with \"%.40s\""
				       : "there is no token \"%.40s\"",
				f.text);
		return;
	}
	if (r == 0)
		r = server_transact(s, true, revoke_transaction, f.id);
	if (r < 0)
		reply_store_error(s, call, r);
	else
		ipc_reply_ok(call, json_pack("{s:o}", "id", json_hex(f.id, 16)));
}
