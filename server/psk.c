/* SPDX-License-Identifier: BSD-2-Clause */
#include <sodium.h>
#include <string.h>

#include "crypto.h"
#include "enrol.h"
#include "log.h"
#include "psk.h"

bool psk_of_epoch(struct server *s, const struct device *d, uint32_t epoch,
		  uint8_t ret[MVPN_KEY_LEN])
{
	if (epoch == d->row.psk_epoch)
		return secret_open(s, d->row.id, d->row.psk_enc, ret) == 0;
	return d->row.has_psk_next && epoch == d->row.psk_epoch + 1 &&
	       secret_open(s, d->row.id, d->row.psk_next_enc, ret) == 0;
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
	struct store_device row = d->row;
	int r;

	if (chan_who(c->ch)->psk_epoch == row.psk_epoch)
		return 0;
	memcpy(row.psk_enc, row.psk_next_enc, sizeof(row.psk_enc));
	row.psk_epoch++;
	row.psk_at = wall_now();
	row.has_psk_next = false;
	r = server_transact(c->s, true, record_used, &row);
	if (r == 0)
		d->row = row;
	return r;
}

static void make_next(struct server *s, struct device *d)
{
	struct store_device row = d->row;
	uint8_t psk[MVPN_KEY_LEN];
	int r;

	randombytes_buf(psk, sizeof(psk));
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
