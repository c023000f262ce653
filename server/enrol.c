/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crypto.h"
#include "delegate.h"
#include "delegation.h"
#include "dispatch.h"
#include "enrol.h"
#include "log.h"
#include "psk.h"
#include "push.h"
#include "refusal.h"
#include "rotate.h"
#include "tables.h"

int secret_seal(const struct server *s, const uint8_t id[16], const uint8_t secret[32],
		uint8_t ret[STORE_PSK_ENC_B])
{
	return mvpn_box_seal(ret, secret, 32, id, 16, s->id.store_key);
}

int secret_open(const struct server *s, const uint8_t id[16], const uint8_t sealed[STORE_PSK_ENC_B],
		uint8_t ret[32])
{
	return mvpn_box_open(ret, sealed, STORE_PSK_ENC_B, id, 16, s->id.store_key);
}

enum mvpn_reason token_state(const struct store_token *t, int64_t now)
{
	if (t->revoked)
		return MVPN_R_TOKEN_REVOKED;
	if (!t->uses_left)
		return MVPN_R_TOKEN_USED;
	if (t->expires_at && t->expires_at <= now)
		return MVPN_R_TOKEN_EXPIRED;
	return MVPN_R_NONE;
}

bool name_is_free(const struct server *s, const char *name, const struct device *self)
{
	struct device *d = registry_by_name(s->reg, name);

	/* a device that bears a group's name would be taken for the group by a reader of the policy */
	return (!d || d == self) && !policy_has_group(s->policy, name) &&
	       !registry_group_used(s->reg, name) && store_token_group(s->store, name) == -ENOENT;
}

/* ---- handshake ---- */

static bool token_psk(struct server *s, const uint8_t id[16], uint8_t ret[32])
{
	struct store_token t;
	int r = store_token_get(s->store, id, &t);

	if (r == 0) {
		r = secret_open(s, id, t.psk_enc, ret);
		store_token_clear(&t);
	}
	if (r < 0 && r != -ENOENT) {
		count(s, store_errors);
		log_ratelimited(LOG_L_ERR, "a token could not be read from the store: %s",
				strerror(-r));
	}
	return r == 0;
}

bool enrol_psk(void *arg, const struct chan_who *who, uint8_t ret_psk[32])
{
	struct server *s = ((struct conn *)arg)->s;
	struct device *d;

	if (who->enrol)
		return token_psk(s, who->token_id, ret_psk);
	d = delegate_find(s, who);
	return d && psk_of_epoch(s, d, who->psk_epoch, ret_psk);
}

static enum mvpn_reason device_state_reason(const struct device *d)
{
	if (d && d->row.state == MVPN_DEV_REVOKED)
		return MVPN_R_REVOKED;
	if (d && d->row.state == MVPN_DEV_SUSPENDED)
		return MVPN_R_SUSPENDED;
	return MVPN_R_NONE;
}

/* a refused device comes back every few seconds; d NULL: not enrolled */
static void note_refusal(struct conn *c, const struct device *d, enum mvpn_reason reason)
{
	const struct chan_who *who = chan_who(c->ch);
	char from[MVPN_ADDRSTRLEN], fp[MVPN_FINGERPRINT_LEN];
	uint8_t key[33] = {0};

	/* who has a token that is used up can make as many keys as it likes */
	if (who->enrol)
		memcpy(key, who->token_id, 16);
	else
		memcpy(key, who->client_pk, 32);
	key[32] = (uint8_t)reason;
	mvpn_fingerprint(fp, who->client_pk);
	refusal_note(c->s, "device", who->enrol ? "enrolment-refused" : "log-in-refused", key, sizeof(key),
		     json_pack("{s:s, s:s*, s:s, s:s}", "fingerprint", fp, "name", d ? d->row.name : NULL, "from",
			       mvpn_endpoint_str(&c->from, from), "reason", mvpn_reason_name(reason)));
}

void enrol_channel_up(struct conn *c)
{
	const struct chan_who *who = chan_who(c->ch);
	struct server *s = c->s;
	struct device *d = delegate_find(s, who);
	enum mvpn_reason reason = device_state_reason(d);
	struct store_token t;

	if (reason == MVPN_R_NONE && d && !who->enrol && !who->delegated && delegate_expired(d) &&
	    memcmp(who->client_pk, d->row.pk_next, MVPN_KEY_LEN))
		reason = MVPN_R_DELEGATION;
	if (reason == MVPN_R_NONE && who->enrol) {
		if (store_token_get(s->store, who->token_id, &t) < 0) {
			reason = MVPN_R_INTERNAL;
		} else {
			reason = token_state(&t, wall_now());
			store_token_clear(&t);
		}
	}
	if (reason == MVPN_R_NONE)
		return;
	if (who->enrol)
		count(s, enrol_refused);
	else
		count(s, login_refused);
	note_refusal(c, d, reason);
	log_ratelimited(LOG_L_WARN, "%s of %s refused: %s", who->enrol ? "enrolment" : "log-in",
			d ? d->row.name : "a new device", mvpn_reason_text(reason));
	conn_close(c, reason);
}

/* ---- enrolment ---- */

struct enrolment {
	struct conn *c;
	struct store_token token;
	struct device *old; /* enrolling again */
	const struct delegation *delegation; /* NULL: the key is its own */
	struct store_device row;
	struct mvpn_prefix scopes[DEVICE_PREFIXES_MAX / 4];
	unsigned nscopes;
	enum mvpn_reason reason;
};

/* the token's addresses, those that the device does not have yet */
static void parse_scopes(struct enrolment *e)
{
	char *save = NULL;

	for (char *p = e->token.addresses ? strtok_r(e->token.addresses, " ", &save) : NULL;
	     p && e->nscopes < sizeof(e->scopes) / sizeof(e->scopes[0]) &&
	     e->nscopes + (e->old ? e->old->nprefixes : 0) < DEVICE_PREFIXES_MAX;
	     p = strtok_r(NULL, " ", &save)) {
		struct mvpn_prefix *prefix = &e->scopes[e->nscopes];

		if (mvpn_prefix_parse(prefix, p) == 0 &&
		    !(e->old && registry_prefix_has(e->old, prefix, PREFIX_SCOPE)))
			e->nscopes++;
	}
}

static json_t *enrol_detail(const struct enrolment *e)
{
	char id[33], token[33], fp[MVPN_FINGERPRINT_LEN], from[MVPN_ADDRSTRLEN];

	mvpn_hex(id, e->row.id, 16);
	mvpn_hex(token, e->token.id, 16);
	mvpn_fingerprint(fp, delegate_identity(&e->row));
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:b, s:b, s:b, s:b}", "device", id, "name", e->row.name,
			 "fingerprint", fp, "token", token, "from",
			 mvpn_endpoint_str(&e->c->from, from), "pending",
			 e->row.state == MVPN_DEV_PENDING, "again", e->old != NULL,
			 "ephemeral", e->row.ephemeral_s != 0, "delegated", e->row.delegated);
}

static int enrol_transaction(struct server *s, void *arg)
{
	struct enrolment *e = arg;
	int r = store_token_take(s->store, e->token.id, wall_now());

	if (r == -ENOENT) {
		/* somebody took the last use since the handshake */
		e->reason = MVPN_R_TOKEN_USED;
		return -ECANCELED;
	}
	if (r == 0 && e->old)
		r = store_device_reenrol(s->store, &e->row);
	if (r == 0 && e->old && e->delegation)
		r = store_device_set_key(s->store, &e->row);
	if (r == 0 && e->old && e->old->row.state != e->row.state)
		r = store_device_set_state(s->store, e->row.id, e->row.state);
	if (r == 0 && !e->old)
		r = store_device_add(s->store, &e->row);
	if (r == 0 && e->token.group[0])
		r = store_member_add(s->store, e->row.id, e->token.group);
	for (unsigned i = 0; i < e->nscopes && r == 0; i++)
		r = store_prefix_add(s->store, e->row.id, &e->scopes[i], PREFIX_SCOPE);
	return r < 0 ? r : audit_add(&s->audit, "device", "device-enrol", enrol_detail(e));
}

static int make_row(struct enrolment *e, const char *name)
{
	struct server *s = e->c->s;
	const struct chan_who *who = chan_who(e->c->ch);
	uint8_t psk[32], tpsk[32];
	int r = 0;

	if (e->old) {
		e->row = e->old->row;
		if (!e->token.approve)
			e->row.state = MVPN_DEV_ACTIVE;
	} else {
		char hex[2 * MVPN_ID_LEN + 1];

		if (e->delegation) /* which names it */
			delegation_device_id(e->c->ch, who->client_pk, e->row.id);
		else
			randombytes_buf(e->row.id, sizeof(e->row.id));
		mvpn_hex(hex, e->row.id, MVPN_ID_LEN);
		if (name)
			snprintf(e->row.name, sizeof(e->row.name), "%s", name);
		else
			snprintf(e->row.name, sizeof(e->row.name), "device-%.8s", hex);
		e->row.state = e->token.approve ? MVPN_DEV_PENDING : MVPN_DEV_ACTIVE;
		e->row.created_at = e->row.last_seen_at = wall_now();
	}
	memcpy(e->row.pk, who->client_pk, sizeof(e->row.pk));
	e->row.delegated = e->delegation != NULL;
	if (e->delegation)
		e->row.delegation = *e->delegation;
	e->row.psk_epoch = 0;
	e->row.psk_at = wall_now();
	e->row.has_psk_next = false;
	e->row.next_until = 0;
	memset(e->row.pk_next, 0, sizeof(e->row.pk_next));
	e->row.ephemeral_s = e->token.ephemeral_s;
	r = secret_open(s, e->token.id, e->token.psk_enc, tpsk);
	if (r == 0)
		r = chan_device_psk(e->c->ch, tpsk, psk);
	if (r == 0)
		r = secret_seal(s, e->row.id, psk, e->row.psk_enc);
	sodium_memzero(psk, sizeof(psk));
	sodium_memzero(tpsk, sizeof(tpsk));
	return r;
}

/* the store has it: now the registry */
static int enrol_remember(struct enrolment *e, struct device **ret)
{
	struct server *s = e->c->s;
	struct device *d = e->old;
	int r = 0;

	if (d) {
		if (d->row.state != e->row.state) {
			registry_set_state(s->reg, d, e->row.state);
			push_peer(s, d, false);
		}
		memcpy(d->row.psk_enc, e->row.psk_enc, sizeof(d->row.psk_enc));
		d->row.psk_epoch = e->row.psk_epoch;
		d->row.psk_at = e->row.psk_at;
		d->row.has_psk_next = false;
		registry_set_next(s->reg, d, e->row.pk_next, e->row.next_until);
		d->row.ephemeral_s = e->row.ephemeral_s;
		registry_set_key(s->reg, d, &e->row);
		count(s, reenrolled);
	} else {
		r = registry_add(s->reg, &e->row, &d);
		if (r < 0)
			return r;
		count(s, enrolled);
	}
	if (e->token.group[0] && registry_join(d, e->token.group) < 0)
		log_warn("device %s is in too many groups: %s has no effect", d->row.name,
			 e->token.group);
	for (unsigned i = 0; i < e->nscopes; i++)
		registry_prefix_add(s->reg, d, &e->scopes[i], PREFIX_SCOPE);
	/* a policy line may have waited for this name */
	if (policy_has_gateway(s->policy, d->row.name))
		registry_set_policy(s->reg, s->policy);
	tables_changed(s, TABLE_ETHER);
	tables_changed(s, TABLE_LEVELS);
	tables_changed(s, TABLE_PROCESSES);
	*ret = d;
	return 0;
}

static enum mvpn_reason enrol_new(struct enrolment *e, const char *name, struct device **ret)
{
	struct server *s = e->c->s;
	int r;

	e->reason = token_state(&e->token, wall_now());
	if (e->reason != MVPN_R_NONE)
		return e->reason;
	if (!e->old && name && !name_is_free(s, name, NULL))
		return MVPN_R_NAME_TAKEN;
	if (!e->old && s->reg->count >= s->conf->max_devices)
		return MVPN_R_LIMIT;
	r = make_row(e, name);
	if (r < 0) {
		log_err("enrolment failed, the token's secret does not open: was store.key "
			"replaced?");
		return MVPN_R_INTERNAL;
	}
	parse_scopes(e);
	r = server_transact(s, true, enrol_transaction, e);
	if (r == 0)
		r = enrol_remember(e, ret);
	if (r < 0)
		return e->reason != MVPN_R_NONE ? e->reason : MVPN_R_INTERNAL;
	log_info("device %s enrolled%s%s", (*ret)->row.name, e->old ? " again" : "",
		 e->row.state == MVPN_DEV_PENDING ? ", awaits approval" : "");
	return MVPN_R_NONE;
}

static enum mvpn_reason log_in(struct conn *c, const struct chan_msg *m, struct device *d)
{
	const struct chan_who *who = chan_who(c->ch);
	struct delegation dg;
	enum mvpn_reason reason;

	if (!d)
		return MVPN_R_REVOKED; /* removed since the handshake */
	if (who->delegated) {
		reason = delegate_check(c, m, d->row.id, d->row.delegated ? d->row.delegation.key : d->row.pk_next, &dg);
		if (reason != MVPN_R_NONE) {
			count(c->s, login_refused);
			note_refusal(c, d, reason);
			return reason;
		}
		if (device_changes_too_often(d)) {
			count(c->s, too_many_messages);
			return MVPN_R_LIMIT;
		}
		if ((d->row.delegated ? delegate_take(c, d, &dg) : rotate_to_token(c, d, &dg)) < 0)
			return MVPN_R_INTERNAL;
	}
	if (psk_used(c, d) < 0 || rotate_login(c, d) < 0)
		return MVPN_R_INTERNAL;
	count(c->s, login);
	return MVPN_R_NONE;
}

/* a key that signs is the device, whichever key it signs for; one that is signed for does not enrol without */
static enum mvpn_reason find_enrolling(struct enrolment *e, const struct chan_msg *m,
				       struct delegation *dg)
{
	struct conn *c = e->c;
	const uint8_t *pk = chan_who(c->ch)->client_pk;
	struct device *same = registry_by_pk(c->s->reg, pk);
	uint8_t id[MVPN_ID_LEN];
	enum mvpn_reason reason;

	e->old = same;
	if (!chan_tlv_find(m, MVPN_TLV_DELEGATION, NULL))
		return same && same->row.delegated ? MVPN_R_DELEGATION : device_state_reason(same);
	if (delegation_device_id(c->ch, pk, id) < 0)
		return MVPN_R_INTERNAL;
	reason = delegate_check(c, m, id, NULL, dg);
	if (reason != MVPN_R_NONE)
		return reason;
	e->delegation = dg;
	e->old = delegate_by_identity(c->s->reg, dg->key);
	return same && same != e->old ? MVPN_R_DELEGATION : device_state_reason(e->old);
}

enum mvpn_reason enrol_device(struct conn *c, const struct chan_msg *m, const char *name,
			      struct device **ret)
{
	const struct chan_who *who = chan_who(c->ch);
	struct server *s = c->s;
	struct device *d = delegate_find(s, who);
	struct enrolment e = {.c = c};
	struct delegation dg;
	enum mvpn_reason reason = device_state_reason(d);

	if (reason != MVPN_R_NONE)
		return reason;
	if (!who->enrol) {
		*ret = d;
		return log_in(c, m, d);
	}
	if (!rotate_may_enrol(s, who->client_pk))
		return MVPN_R_REVOKED;
	if (store_token_get(s->store, who->token_id, &e.token) < 0)
		return MVPN_R_INTERNAL;
	reason = find_enrolling(&e, m, &dg);
	if (reason == MVPN_R_NONE)
		reason = enrol_new(&e, name, ret);
	d = e.old;
	store_token_clear(&e.token);
	sodium_memzero(&e, sizeof(e));
	if (reason != MVPN_R_NONE) {
		count(s, enrol_refused);
		note_refusal(c, d, reason);
	}
	return reason;
}
