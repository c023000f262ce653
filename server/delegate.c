/* SPDX-License-Identifier: BSD-2-Clause */
#include "delegate.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "crypto.h"
#include "delegation.h"
#include "introduce.h"
#include "log.h"
#include "rotate.h"

struct device *delegate_find(const struct server *s, const struct chan_who *who)
{
	struct device *d = rotate_find(s, who->client_pk), *named;

	if (!who->delegated)
		return d;
	named = registry_by_id(s->reg, who->device_id);
	return named && (named->row.delegated || rotate_next(named)) && (!d || d == named) ? named : NULL;
}

const uint8_t *delegate_identity(const struct store_device *row)
{
	return row->delegated ? row->delegation.key : row->pk;
}

struct device *delegate_by_identity(const struct registry *r, const uint8_t key[32])
{
	for (uint32_t i = 0; i < r->size; i++) {
		struct device *d = r->devices[i];

		if (d && d->row.delegated && !memcmp(d->row.delegation.key, key, 32))
			return d;
	}
	return NULL;
}

bool delegate_expired(const struct device *d)
{
	return d->row.delegated && (int64_t)d->row.delegation.not_after <= wall_now();
}

int delegate_left_ms(const struct device *d)
{
	int64_t left = (int64_t)d->row.delegation.not_after - wall_now();

	if (!d->row.delegated || left > INT_MAX / 1000)
		return INT_MAX;
	return left > 0 ? (int)(left * 1000) : 0;
}

/* ---- REGISTER ---- */

static bool holds(struct conn *c, const struct delegation *dg, const uint8_t device_id[MVPN_ID_LEN])
{
	const uint8_t *s = chan_who(c->ch)->client_pk;
	struct delegation_of of = {c->s->id.net_id, device_id, s};
	uint8_t challenge[32];

	return delegation_challenge(c->ch, s, challenge) == 0 &&
	       !memcmp(challenge, dg->challenge, sizeof(challenge)) &&
	       delegation_verify(dg, &of) == 0;
}

enum mvpn_reason delegate_check(struct conn *c, const struct chan_msg *m,
				const uint8_t device_id[MVPN_ID_LEN], const uint8_t *key,
				struct delegation *ret)
{
	int64_t now = wall_now();
	char text[MVPN_ADDRSTRLEN];
	uint16_t len;
	const uint8_t *value = chan_tlv_find(m, MVPN_TLV_DELEGATION, &len);
	const char *what = NULL;

	if (!value || delegation_decode(ret, value, len) < 0)
		what = "brings no word of its token";
	else if (key && memcmp(ret->key, key, sizeof(ret->key)))
		what = "brings the word of another token";
	else if (!holds(c, ret, device_id))
		what = "brings a word of its token that does not hold";
	else if (ret->not_after <= (uint64_t)now)
		what = "brings a word of its token that is over (are the clocks right?)";
	else if (ret->not_after > (uint64_t)now + MVPN_DELEGATION_MAX_S)
		what = "brings a word of its token that is too long (are the clocks right?)";
	if (!what)
		return MVPN_R_NONE;
	count(c->s, delegation_refused);
	log_ratelimited(LOG_L_WARN, "a device from %s %s",
			mvpn_endpoint_str(&c->from, text), what);
	return MVPN_R_DELEGATION;
}

/* ---- taking it ---- */

static int record(struct server *s, void *arg)
{
	const struct store_device *row = arg;
	char id[2 * MVPN_ID_LEN + 1], fp[MVPN_FINGERPRINT_LEN];
	int r = store_device_set_key(s->store, row);

	mvpn_hex(id, row->id, MVPN_ID_LEN);
	mvpn_fingerprint(fp, row->pk);
	return r < 0 ? r
		     : audit_add(&s->audit, "device", "device-delegate",
				 json_pack("{s:s, s:s, s:s, s:I}", "device", id, "name", row->name,
					   "fingerprint", fp, "until",
					   (json_int_t)row->delegation.not_after));
}

int delegate_take(struct conn *c, struct device *d, const struct delegation *dg)
{
	struct store_device row = d->row;
	int r;

	memcpy(row.pk, chan_who(c->ch)->client_pk, sizeof(row.pk));
	row.delegation = *dg;
	row.delegated = true;
	r = server_transact(c->s, false, record, &row);
	if (r < 0)
		return r;
	introduce_device_gone(c->s, d, MVPN_R_STALE_BOOT); /* those under way are bound to the old key */
	registry_set_key(c->s->reg, d, &row);
	count(c->s, delegated);
	return 0;
}

void delegate_put(struct chan_buf *b, const struct device *d)
{
	uint8_t value[MVPN_TLV_DELEGATION_B];

	if (!d->row.delegated)
		return;
	delegation_encode(value, &d->row.delegation);
	chan_put(b, MVPN_TLV_DELEGATION, value, sizeof(value));
}
