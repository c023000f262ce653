/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <sodium.h>
#include <string.h>

#include "crypto.h"
#include "enrol.h"
#include "log.h"
#include "psk.h"
#include "restored.h"

#define AHEAD_MAX 64 /* epochs that a device may be before the store: a few hashes */

/* of the epoch after: nobody makes it who has not the server's keys, and they make the same again from an older copy of the store */
static int after(const struct server *s, const uint8_t id[MVPN_ID_LEN], uint8_t psk[MVPN_KEY_LEN])
{
	const struct mvpn_part parts[] = {{"mavp1 next psk", 14}, {id, MVPN_ID_LEN}, {psk, MVPN_KEY_LEN}};
	uint8_t next[MVPN_KEY_LEN];
	int r = mvpn_blake2b(next, sizeof(next), s->id.store_key, 32, parts, 3);

	memcpy(psk, next, sizeof(next));
	sodium_memzero(next, sizeof(next));
	return r;
}

bool psk_of_epoch(struct server *s, const struct device *d, uint32_t epoch,
		  uint8_t ret[MVPN_KEY_LEN])
{
	const struct store_device *row = &d->row;
	uint32_t at = row->psk_epoch;
	int r;

	if (epoch < at || epoch - at > AHEAD_MAX)
		return false;
	if (row->has_psk_next && epoch > at) {
		r = secret_open(s, row->id, row->psk_next_enc, ret);
		at++;
	} else {
		r = secret_open(s, row->id, row->psk_enc, ret);
	}
	for (; r == 0 && at < epoch; at++)
		r = after(s, row->id, ret);
	return r == 0;
}

static int record(struct server *s, void *arg)
{
	return store_device_set_psk(s->store, arg);
}

static int record_used(struct server *s, void *arg)
{
	const struct store_device *row = arg;
	char id[2 * MVPN_ID_LEN + 1];
	int r = record(s, arg);

	mvpn_hex(id, row->id, MVPN_ID_LEN);
	return r < 0 ? r
		     : audit_add(&s->audit, "device", "device-psk-renewed",
				 json_pack("{s:s, s:s, s:I}", "device", id, "name", row->name,
					   "epoch", (json_int_t)row->psk_epoch));
}

int psk_used(struct conn *c, struct device *d)
{
	uint32_t epoch = chan_who(c->ch)->psk_epoch, told = d->row.psk_epoch + d->row.has_psk_next;
	struct store_device row = d->row;
	uint8_t psk[MVPN_KEY_LEN];
	int r = -EINVAL;

	if (epoch == row.psk_epoch)
		return 0;
	if (psk_of_epoch(c->s, d, epoch, psk))
		r = secret_seal(c->s, row.id, psk, row.psk_enc);
	sodium_memzero(psk, sizeof(psk));
	row.psk_epoch = epoch;
	row.psk_at = wall_now();
	row.has_psk_next = false;
	if (r == 0)
		r = server_transact(c->s, true, record_used, &row);
	if (r < 0)
		return r;
	d->row = row;
	if (epoch > told)
		restored_sign(c->s, d, "channel PSK of epoch", epoch, told);
	return 0;
}

static void make_next(struct server *s, struct device *d)
{
	struct store_device row = d->row;
	uint8_t psk[MVPN_KEY_LEN];
	int r = secret_open(s, row.id, row.psk_enc, psk);

	if (r == 0)
		r = after(s, row.id, psk);
	if (r == 0)
		r = secret_seal(s, row.id, psk, row.psk_next_enc);
	sodium_memzero(psk, sizeof(psk));
	row.has_psk_next = true;
	if (r == 0)
		r = server_transact(s, true, record, &row);
	if (r == 0)
		d->row = row;
	else
		log_ratelimited(LOG_L_ERR, "the channel PSK of %s could not be renewed; it keeps "
					   "the one that it has",
				row.name);
}

void psk_welcome(struct conn *c, struct chan_buf *b)
{
	struct server *s = c->s;
	struct device *d = c->dev;
	uint8_t psk[MVPN_KEY_LEN];

	if (s->conf->psk_s && d->row.state == MVPN_DEV_ACTIVE && !d->row.has_psk_next &&
	    wall_now() - d->row.psk_at >= (int64_t)s->conf->psk_s)
		make_next(s, d);
	if (!d->row.has_psk_next || secret_open(s, d->row.id, d->row.psk_next_enc, psk) < 0)
		return;
	chan_put(b, MVPN_TLV_PSK, psk, sizeof(psk));
	chan_put_u32(b, MVPN_TLV_PSK_EPOCH, d->row.psk_epoch + 1);
	sodium_memzero(psk, sizeof(psk));
}
