/* SPDX-License-Identifier: BSD-2-Clause */
#include "channel.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conn.h"
#include "control.h"
#include "crypto.h"
#include "delegate.h"
#include "ether.h"
#include "forwards.h"
#include "hsm.h"
#include "intro_defer.h"
#include "keystore.h"
#include "levels.h"
#include "log.h"
#include "peers.h"
#include "prefixes.h"
#include "processes.h"
#include "relayed.h"
#include "rotate.h"
#include "server_key.h"
#include "sessions.h"
#include "ticket.h"

#define VOUCH_RETRY_MS 5000
#define NEW_KEY_SPREAD_MS 10000 /* ten thousand hosts hear at once that the server has a new key, and do not come at once */
#define NEW_KEY_LOGIN_MS 2000	/* ... but who hears it by logging in has no such company */
#define SETTLED_MS 10000 /* a channel that has lived so long does not fail because of what it begins with */

const char *keyd_state_name(enum keyd_state s)
{
	static const char *const names[] = {"unenrolled", "offline",   "pending",
					    "online",	  "suspended", "revoked", "locked"};

	return names[s];
}

void channel_set_error(struct keyd *k, const char *text)
{
	free(k->server_error);
	k->server_error = text ? strdup(text) : NULL;
}

static void reconnect_later(struct keyd *k)
{
	if (k->online_since_ms && mono_ms() - k->online_since_ms > SETTLED_MS)
		k->backoff = (struct backoff){0};
	loop_timer_arm(k->reconnect, backoff_next(&k->backoff, k->return_ms));
}

void channel_take_return(struct keyd *k, const struct chan_msg *m)
{
	chan_get_u32(m, MVPN_TLV_RETURN, &k->return_ms);
}

static void offline(struct keyd *k)
{
	if (k->state == KEYD_ONLINE || k->state == KEYD_PENDING) {
		k->counters[KC_CHANNEL_LOST]++;
		k->state = KEYD_OFFLINE;
	}
	reconnect_later(k);
	k->online_since_ms = 0;
}

/* what to do about an enrolment that has come so far; the server's own reasons say it */
static const char *enrol_todo(const struct conn *c)
{
	if (c->answered)
		return "";
	return c->reached ? "is that the server that made the token, and has it still the key that it had then? Make "
			    "another: `mvpnctl server token create`"
			  : "does mvpn-server run there, and is TCP to that port let pass? The token names the address: "
			    "`mvpnctl server token create --server`";
}

/* One that counts is made again; the successor of a working one is tried anew later. */
void channel_lost(struct conn *c, const char *why)
{
	struct keyd *k = c->k;

	k->counters[KC_CHANNEL_FAILED]++;
	/* by which of its keys this device is known shows only once the server has shown its own */
	if (k->id && !c->fresh && !c->welcomed && c->answered)
		rotate_login_failed(k, c->next_key);
	else if (k->id && !c->fresh && !c->answered && c->reached)
		server_key_failed(k, chan_who(c->chan)->server_pk);
	if (k->conn != c) {
		k->next_conn = NULL;
		return;
	}
	k->conn = NULL;
	prefixes_lost(k);
	ether_lost(k);
	processes_lost(k);
	channel_set_error(k, why);
	log_ratelimited(LOG_L_WARN, "channel to the server: %s", why);
	if (c->fresh)
		control_enrol_done(k, why, enrol_todo(c));
	if (k->id)
		offline(k);
	else
		k->state = KEYD_UNENROLLED;
}

int channel_send(struct keyd *k, const struct chan_buf *b)
{
	struct conn *c = k->conn;
	int r;

	if (!c || !c->welcomed)
		return -ENOTCONN;
	r = chan_send(c->chan, b);
	if (r == -ENOBUFS) {
		conn_failed(c, "the server does not read: more than %u bytes are waiting",
			    MVPN_CHAN_OUT_MAX_B);
		return r;
	}
	if (!r)
		conn_flush(c);
	return r;
}

int channel_export(const struct keyd *k, const char *label, const uint8_t ctx[32], uint8_t ret[32])
{
	return k->conn ? chan_export(k->conn->chan, label, ctx, ret) : -ENOTCONN;
}

bool channel_server(const struct keyd *k, struct mvpn_endpoint *ret)
{
	const struct conn *c = k->conn;

	if (!c || !c->welcomed || !c->at)
		return false;
	*ret = c->list[c->at - 1];
	return true;
}

void channel_up(struct conn *c)
{
	if (c->key)
		delegate_sign(c, register_send);
	else
		register_send(c);
}

void channel_register(struct keyd *k)
{
	if (k->conn && k->conn->welcomed)
		register_send(k->conn);
}

/* ---- messages ---- */

static bool twin_recent(const struct keyd *k)
{
	return k->replaced && mono_ms() - k->replaced_ms < MVPN_TWIN_S * 1000;
}

static void twin_seen(struct keyd *k)
{
	k->replaced = twin_recent(k) ? k->replaced + 1 : 1;
	k->replaced_ms = mono_ms();
}

bool channel_has_twin(const struct keyd *k)
{
	return k->replaced >= MVPN_TWIN_TIMES && twin_recent(k);
}

static int closed_by_server(struct conn *c, const struct chan_msg *m)
{
	struct keyd *k = c->k;
	uint16_t why = MVPN_R_NONE;
	enum keyd_state state;

	chan_get_u16(m, MVPN_TLV_REASON, &why);
	if (why == MVPN_R_DELEGATION && !c->key)
		delegate_void(k);
	if (why == MVPN_R_REPLACED && c == k->conn)
		twin_seen(k);
	conn_failed(c, "closed by the server: %s", mvpn_reason_text(why));
	if (!k->id || (why != MVPN_R_REVOKED && why != MVPN_R_SUSPENDED))
		return 0;
	state = why == MVPN_R_REVOKED ? KEYD_REVOKED : KEYD_SUSPENDED;
	if (k->state != state) { /* each attempt to connect is told so again */
		log_err("this device is %s: all sessions are cut and protected traffic is dropped",
			why == MVPN_R_REVOKED ? "REVOKED; to enrol it again stop keyd, remove "
						"`identity` from its state "
						"directory and use a new token"
					      : "suspended");
		k->counters[KC_REVOKED]++;
	}
	k->state = state;
	intro_deferred_drop(k, NULL);
	sessions_drop_all(k, why);
	forwards_drop_all(k);
	return 0;
}

static int server_key_told(struct conn *c, const struct chan_msg *m)
{
	bool at_login = mono_ms() - c->started_ms < NEW_KEY_LOGIN_MS;
	uint64_t by = mono_ms() + (at_login ? 0 : randombytes_uniform(NEW_KEY_SPREAD_MS));
	bool renew;
	int r = server_key_message(c->k, m, chan_who(c->chan)->server_pk, &renew);

	if (!r && renew && c->rekey_ms > by)
		c->rekey_ms = by;
	return r;
}

/* done first, then acknowledged: until it hears so the server owes it to us */
static int revoked(struct keyd *k, const struct chan_msg *m)
{
	struct chan_buf b = {0};
	uint16_t reqid = m->reqid;
	int r = introduce_peer_gone(k, m);

	if (r)
		return r;
	chan_begin(&b, MVPN_MSG_REVOKE, 0, reqid);
	channel_send(k, &b);
	chan_buf_free(&b);
	return 0;
}

int channel_message(struct conn *c, const struct chan_msg *m)
{
	struct keyd *k = c->k;

	if (m->type == MVPN_MSG_CLOSE)
		return closed_by_server(c, m);
	if (m->type == MVPN_MSG_WELCOME)
		return register_welcome(c, m);
	if (m->type == MVPN_MSG_HEARTBEAT) {
		k->server_heard_ms = mono_ms();
		channel_take_return(k, m);
		return 0;
	}
	if (!c->welcomed)
		return -EPROTO;
	switch (m->type) {
	case MVPN_MSG_PREFIXES:
		return peers_message(k, m);
	case MVPN_MSG_ETHER:
		return ether_message(k, m);
	case MVPN_MSG_LEVELS:
		levels_message(k, m);
		return 0;
	case MVPN_MSG_PROCESSES:
		return processes_message(k, m);
	case MVPN_MSG_ROTATE:
		return rotate_message(k, m);
	case MVPN_MSG_SERVER_KEY:
		return server_key_told(c, m);
	case MVPN_MSG_OFFER:
	case MVPN_MSG_ANSWER:
	case MVPN_MSG_PIN:
		return intro_when_ready(k, m);
	case MVPN_MSG_FAIL:
		return introduce_fail(k, m);
	case MVPN_MSG_CANCEL:
		return introduce_cancel(k, m);
	case MVPN_MSG_RELAY:
		return relayed_message(k, m);
	case MVPN_MSG_FORWARD:
		return forwards_message(k, m);
	case MVPN_MSG_PEER_RESET:
		return introduce_peer_gone(k, m);
	case MVPN_MSG_REVOKE:
		return revoked(k, m);
	case MVPN_MSG_SERVICES:
		return session_services_message(k, m);
	}
	return 0; /* of a later version */
}

/* ---- log in, enrol ---- */

/* with the key in use, or the next one of rotate.c, or, if the token is to vouch for it and it is time, one of its own. -ENOKEY: the
 * token is missing */
static int conn_login(struct keyd *k, bool next_key, struct conn **ret)
{
	struct chan_client cc = {
		.s = k->id->on_token ? NULL : next_key ? k->id->next_sk : k->id->sk,
		.s_pub = next_key ? k->id->next_pk : k->id->pk,
		.server_pk = server_key_to(k),
		.psk = k->id->psk,
		.psk_epoch = k->id->psk_epoch,
		.boot_gen = k->boot_gen,
		.ticket = ticket_get(k),
	};
	struct delegate_key *key = NULL;
	int r = 0;

	if (!next_key && (k->id->delegates ? !delegate_valid(k) && hsm_problem(k) : hsm_problem(k) != NULL))
		return -ENOKEY;
	if (next_key ? k->id->next_signs : k->id->delegates && delegate_due(k) && !hsm_problem(k)) {
		r = delegate_key_new(&key);
		if (r)
			return r;
		cc.s = key->sk;
		cc.s_pub = key->pk;
		cc.device_id = k->id->device_id;
	}
	r = conn_new(k, &cc, k->id->server, ret);
	if (r) {
		delegate_key_free(key);
		return r;
	}
	(*ret)->key = key;
	(*ret)->next_key = next_key;
	rotate_login_tried(k, next_key);
	return 0;
}

void channel_start(struct keyd *k)
{
	int r;

	if (k->conn || !k->id)
		return;
	r = conn_login(k, rotate_connect_with_next(k), &k->conn);
	if (r == -ENOKEY)
		channel_set_error(k, hsm_problem(k)); /* hsm.c begins when the token is there */
	if (!r || r == -ENOKEY)
		return;
	log_ratelimited(LOG_L_ERR, "cannot begin a channel to %s: %s", k->id->server, strerror(-r));
	channel_set_error(k, strerror(-r));
	reconnect_later(k);
}

void channel_restart(struct keyd *k)
{
	conn_free(k->next_conn);
	conn_free(k->conn);
	k->conn = k->next_conn = NULL;
	channel_start(k);
}

static void reconnect_timer(void *arg)
{
	channel_start(arg);
}

/* takes fresh over, which has its key, or the token's that will vouch for one */
static int enrol_begin(struct keyd *k, struct identity *fresh, const uint8_t token_id[16])
{
	struct delegate_key *key = NULL;
	struct chan_client cc = {
		.enrol = true,
		.boot_gen = k->boot_gen,
		.s = fresh->on_token ? NULL : fresh->sk,
		.s_pub = fresh->pk,
		.server_pk = fresh->server_pk,
		.psk = fresh->psk,
	};
	int r = fresh->delegates ? delegate_key_new(&key) : 0;

	memcpy(cc.token_id, token_id, sizeof(cc.token_id));
	if (key) {
		cc.s = key->sk;
		cc.s_pub = key->pk;
	}
	if (!r)
		r = conn_new(k, &cc, fresh->server, &k->conn);
	if (r) {
		delegate_key_free(key);
		identity_free(fresh);
		return r;
	}
	k->conn->fresh = fresh;
	k->conn->key = key;
	return 0;
}

/* the token has found or made the key */
static void enrol_key(struct keyd *k, const uint8_t pk[32], bool signs)
{
	struct identity *fresh = k->enrol_fresh;
	int r;

	k->enrol_fresh = NULL;
	if (!pk) {
		identity_free(fresh);
		control_enrol_done(k, hsm_problem(k), "mvpnctl identity show");
		return;
	}
	fresh->on_token = !signs;
	fresh->delegates = signs;
	memcpy(signs ? fresh->token_pk : fresh->pk, pk, 32);
	r = enrol_begin(k, fresh, k->enrol_token_id);
	if (r)
		control_enrol_done(k, strerror(-r), "");
}

int channel_enrol(struct keyd *k, const struct mvpn_token *t, const char *name,
		  struct ipc_call *call)
{
	struct identity *fresh;
	int r;

	if (k->id || k->conn || k->enrol_fresh)
		return -EALREADY;
	fresh = identity_new();
	if (!fresh)
		return -ENOMEM;
	if (!k->hsm)
		mvpn_keypair(fresh->sk, fresh->pk);
	mvpn_token_psk(fresh->psk, t->secret);
	memcpy(fresh->server_pk, t->server_pk, 32);
	memcpy(fresh->net_id, t->net_id, sizeof(fresh->net_id));
	snprintf(fresh->server, sizeof(fresh->server), "%s", t->server);
	snprintf(fresh->name, sizeof(fresh->name), "%s", name ? name : "");
	if (!k->hsm) {
		r = enrol_begin(k, fresh, t->token_id);
	} else {
		r = hsm_make(k, enrol_key);
		if (r) {
			identity_free(fresh);
		} else {
			k->enrol_fresh = fresh;
			memcpy(k->enrol_token_id, t->token_id, sizeof(k->enrol_token_id));
		}
	}
	if (!r)
		k->enrol_call = call;
	return r;
}

int channel_init(struct keyd *k)
{
	k->max_offline_s = MVPN_MAX_OFFLINE_S;
	k->rekey_s = MVPN_SESSION_REKEY_S;
	k->return_ms = BACKOFF_UNTOLD;
	ticket_load(k);
	k->state = k->id		? KEYD_OFFLINE
		   : keystore_locked(k) ? KEYD_LOCKED
					: KEYD_UNENROLLED;
	return loop_timer_new(k->loop, reconnect_timer, k, &k->reconnect);
}

void channel_free(struct keyd *k)
{
	conn_free(k->next_conn);
	conn_free(k->conn);
	k->conn = k->next_conn = NULL;
	loop_timer_free(k->reconnect);
	identity_free(k->enrol_fresh);
	k->enrol_fresh = NULL;
	free(k->addresses);
	channel_set_error(k, NULL);
}

/* time for the next key, and the token is there */
static bool vouch_now(struct keyd *k, uint64_t now)
{
	if (!k->id->delegates || !delegate_due(k) || hsm_problem(k) || now < k->vouch_try_ms)
		return false;
	k->vouch_try_ms = now + VOUCH_RETRY_MS;
	return true;
}

void channel_renew(struct keyd *k)
{
	uint64_t now = mono_ms();

	if (!k->conn || !k->conn->welcomed || k->next_conn)
		return;
	if (now > k->conn->rekey_ms) /* next try, should this one fail */
		k->conn->rekey_ms = now + MVPN_CHAN_HEARTBEAT_S * 1000;
	conn_login(k, rotate_renew_with_next(k), &k->next_conn);
}

void channel_tick(struct keyd *k)
{
	uint64_t now = mono_ms();

	if (k->next_conn)
		conn_tick(k->next_conn, now);
	if (!k->conn)
		return;
	if (k->conn->welcomed && !k->next_conn && (now > k->conn->rekey_ms || vouch_now(k, now)))
		channel_renew(k);
	conn_tick(k->conn, now);
}
