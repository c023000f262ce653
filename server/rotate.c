/* SPDX-License-Identifier: BSD-2-Clause */
#include "rotate.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>

#include "crypto.h"
#include "delegate.h"
#include "dispatch.h"
#include "introduce.h"
#include "log.h"

/* ---- log-in ---- */

struct device *rotate_find(const struct server *s, const uint8_t pk[MVPN_KEY_LEN])
{
	struct device *d = registry_by_pk(s->reg, pk);

	if (d)
		return d;
	d = registry_by_next(s->reg, pk);
	return d && d->row.next_until > wall_now() ? d : NULL;
}

bool rotate_next(const struct device *d)
{
	return d->row.next_until > wall_now();
}

bool rotate_may_enrol(struct server *s, const uint8_t pk[MVPN_KEY_LEN])
{
	return !registry_by_next(s->reg, pk) && store_key_was(s->store, pk) == -ENOENT;
}

static json_t *detail(const struct device *d, const uint8_t to[MVPN_KEY_LEN])
{
	char id[2 * MVPN_ID_LEN + 1], was[MVPN_FINGERPRINT_LEN], is[MVPN_FINGERPRINT_LEN];

	mvpn_hex(id, d->row.id, MVPN_ID_LEN);
	mvpn_fingerprint(was, delegate_identity(&d->row));
	mvpn_fingerprint(is, to);
	return json_pack("{s:s, s:s, s:s, s:s}", "device", id, "name", d->row.name, "from", was,
			 "to", is);
}

static int done_transaction(struct server *s, void *arg)
{
	const struct device *d = arg;
	struct store_device row = d->row;
	int r = store_rotate_done(s->store, &d->row);

	if (r == 0 && row.delegated) { /* it was the token's, and is its own now */
		memcpy(row.pk, row.pk_next, sizeof(row.pk));
		row.delegated = false;
		r = store_device_set_key(s->store, &row);
	}
	return r < 0 ? r
		     : audit_add(&s->audit, "device", "device-rotate", detail(d, d->row.pk_next));
}

static void send_pin(struct conn *c, const struct store_vouch *v)
{
	struct chan_buf *b = &c->s->buf;
	uint8_t vouch[MVPN_TLV_VOUCH_B];

	memcpy(vouch, v->device, MVPN_ID_LEN);
	memcpy(vouch + MVPN_ID_LEN, v->mac, sizeof(v->mac));
	chan_begin(b, MVPN_MSG_PIN, 0, 0);
	chan_put(b, MVPN_TLV_S_PUB, v->pk, sizeof(v->pk));
	chan_put(b, MVPN_TLV_VOUCH, vouch, sizeof(vouch));
	if (v->has_word)
		chan_put(b, MVPN_TLV_DELEGATION, v->word, sizeof(v->word));
	conn_send(c, b);
}

static int tell_peer(void *arg, const struct store_vouch *v)
{
	struct server *s = arg;
	struct device *peer = registry_by_id(s->reg, v->peer);

	if (peer && device_conn(peer))
		send_pin(peer->conn, v);
	return 0;
}

/* it is on record: key is what peers pin from now on */
static void rotated(struct server *s, struct device *d, const uint8_t key[MVPN_KEY_LEN])
{
	count(s, rotated);
	log_info("device %s has a new key", d->row.name);
	introduce_device_gone(s, d, MVPN_R_STALE_BOOT); /* those under way are bound to the old one */
	if (store_vouch_of(s->store, d->row.id, key, tell_peer, s) < 0)
		count(s, store_errors);
}

int rotate_login(struct conn *c, struct device *d)
{
	struct server *s = c->s;
	int r;

	if (memcmp(chan_who(c->ch)->client_pk, d->row.pk_next, MVPN_KEY_LEN))
		return 0;
	r = server_transact(s, true, done_transaction, d);
	if (r < 0)
		return r;
	registry_rotate(s->reg, d);
	d->row.delegated = false;
	rotated(s, d, d->row.pk);
	return 0;
}

struct move {
	const struct device *d;
	struct store_device row; /* with the key in use, and the token's word for it */
};

static int move_transaction(struct server *s, void *arg)
{
	const struct move *m = arg;
	int r = done_transaction(s, (void *)m->d);

	return r < 0 ? r : store_device_set_key(s->store, &m->row);
}

int rotate_to_token(struct conn *c, struct device *d, const struct delegation *dg)
{
	struct move m = {.d = d, .row = d->row};
	struct server *s = c->s;
	int r;

	memcpy(m.row.pk, chan_who(c->ch)->client_pk, sizeof(m.row.pk));
	m.row.delegated = true;
	m.row.delegation = *dg;
	r = server_transact(s, true, move_transaction, &m);
	if (r < 0)
		return r;
	registry_rotate(s->reg, d);
	registry_set_key(s->reg, d, &m.row);
	count(s, delegated);
	rotated(s, d, dg->key);
	return 0;
}

/* ---- ROTATE ---- */

struct part {
	struct device *d;
	const struct chan_msg *m;
	uint8_t pk[MVPN_KEY_LEN];
	int64_t until; /* of the last part */
	const uint8_t *word; /* a key on a token hands over; NULL: the key is the device's own */
};

static int part_transaction(struct server *s, void *arg)
{
	struct part *p = arg;
	struct store_vouch v;
	struct chan_tlv t;
	size_t pos = 0;
	int r = p->m->flags & MVPN_PFX_RESET
			? store_rotate_begin(s->store, p->d->row.id, p->pk)
			: 0;

	memcpy(v.device, p->d->row.id, sizeof(v.device));
	memcpy(v.pk, p->pk, sizeof(v.pk));
	v.has_word = p->word != NULL;
	if (p->word)
		memcpy(v.word, p->word, sizeof(v.word));
	while (r == 0 && chan_tlv_next(p->m, &pos, &t)) {
		if (t.type != MVPN_TLV_VOUCH || !registry_by_id(s->reg, t.value))
			continue;
		memcpy(v.peer, t.value, sizeof(v.peer));
		memcpy(v.mac, t.value + MVPN_ID_LEN, sizeof(v.mac));
		r = store_vouch_add(s->store, &v);
	}
	if (r < 0 || !(p->m->flags & MVPN_PFX_COMMIT))
		return r;
	r = store_rotate_commit(s->store, p->d->row.id, p->until);
	return r < 0 ? r
		     : audit_add(&s->audit, "device", "device-rotate-begin", detail(p->d, p->pk));
}

static void answer(struct conn *c, uint16_t reqid, const uint8_t pk[MVPN_KEY_LEN],
		   enum mvpn_reason reason)
{
	struct chan_buf *b = &c->s->buf;

	chan_begin(b, MVPN_MSG_ROTATE, 0, reqid);
	chan_put(b, MVPN_TLV_S_PUB, pk, MVPN_KEY_LEN);
	if (reason != MVPN_R_NONE)
		chan_put_u16(b, MVPN_TLV_REASON, (uint16_t)reason);
	conn_send(c, b);
}

/* may it be this device's next key? */
static bool acceptable(struct server *s, const struct device *d, const uint8_t pk[MVPN_KEY_LEN],
		       bool first)
{
	struct device *next = registry_by_next(s->reg, pk);

	if (!first)
		return next == d;
	return (!next || next == d) && !registry_by_pk(s->reg, pk) &&
	       !sodium_is_zero(pk, MVPN_KEY_LEN) && store_key_was(s->store, pk) == -ENOENT;
}

/* the key that signs for this device's says that the next one is its own; NULL: it does not */
static const uint8_t *last_word(struct conn *c, const struct chan_msg *m, const uint8_t pk[MVPN_KEY_LEN])
{
	const struct store_device *row = &c->dev->row;
	struct delegation_of of = {c->s->id.net_id, row->id, pk};
	struct delegation dg;
	uint16_t len;
	const uint8_t *word = chan_tlv_find(m, MVPN_TLV_DELEGATION, &len);

	return word && delegation_decode(&dg, word, len) == 0 && delegation_is_last(&dg) &&
			       !memcmp(dg.key, row->delegation.key, sizeof(dg.key)) && delegation_verify(&dg, &of) == 0
		       ? word
		       : NULL;
}

int rotate_message(struct conn *c, const struct chan_msg *m)
{
	struct server *s = c->s;
	struct device *d = c->dev;
	struct part p = {.d = d, .m = m, .until = wall_now() + MVPN_ROTATE_S};
	bool first = m->flags & MVPN_PFX_RESET, last = m->flags & MVPN_PFX_COMMIT;

	if (!chan_get_bytes(m, MVPN_TLV_S_PUB, p.pk, sizeof(p.pk)))
		return -EPROTO;
	/* an administrator compares the fingerprint of one that waits for approval */
	if (d->row.state != MVPN_DEV_ACTIVE) {
		answer(c, m->reqid, p.pk, MVPN_R_PENDING);
		return 0;
	}
	p.word = d->row.delegated ? last_word(c, m, p.pk) : NULL;
	if (d->row.delegated && !p.word) {
		answer(c, m->reqid, p.pk, MVPN_R_DELEGATION);
		return 0;
	}
	if (delegate_by_identity(s->reg, p.pk)) { /* the token of another device */
		answer(c, m->reqid, p.pk, MVPN_R_REPLACED);
		return 0;
	}
	if (!acceptable(s, d, p.pk, first))
		return first ? -EPROTO : 0; /* its first part was refused */
	if (first && device_changes_too_often(d)) {
		answer(c, m->reqid, p.pk, MVPN_R_LIMIT);
		return 0;
	}
	if (server_transact(s, last, part_transaction, &p) < 0) {
		answer(c, m->reqid, p.pk, MVPN_R_INTERNAL);
		return 0;
	}
	if (first || last)
		registry_set_next(s->reg, d, p.pk, last ? p.until : 0);
	if (last)
		answer(c, m->reqid, p.pk, MVPN_R_NONE);
	return 0;
}

/* ---- pins of the peers ---- */

static int tell_one(void *arg, const struct store_vouch *v)
{
	send_pin(arg, v);
	return 0;
}

void rotate_tell(struct conn *c)
{
	if (store_vouch_for(c->s->store, c->dev->row.id, tell_one, c) < 0)
		count(c->s, store_errors);
}

int rotate_pin_heard(struct conn *c, const struct chan_msg *m)
{
	uint8_t device[MVPN_ID_LEN], pk[MVPN_KEY_LEN];
	struct server *s = c->s;

	if (!chan_get_bytes(m, MVPN_TLV_DEVICE, device, sizeof(device)) ||
	    !chan_get_bytes(m, MVPN_TLV_S_PUB, pk, sizeof(pk)))
		return -EPROTO;
	if (store_begin(s->store, false) == 0 &&
	    store_end(s->store, store_vouch_heard(s->store, device, c->dev->row.id, pk)) < 0)
		count(s, store_errors);
	return 0;
}
