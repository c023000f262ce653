/* SPDX-License-Identifier: BSD-2-Clause */
/* Devices, their groups and prefixes. */
#include <errno.h>

#include "store_sqlite.h"

/* value must live until the statement has run */
static void bind_delegation(sqlite3_stmt *q, int i, const struct store_device *d,
			    uint8_t value[MVPN_TLV_DELEGATION_B])
{
	if (!d->delegated)
		return; /* NULL */
	delegation_encode(value, &d->delegation);
	bind_blob(q, i, value, MVPN_TLV_DELEGATION_B);
}

int store_device_add(struct store *st, const struct store_device *d)
{
	sqlite3_stmt *q = store_prepare(
		st,
		"INSERT INTO devices(id, name, s_pub, psk_enc, psk_epoch, state, boot_gen, created,"
		" last_seen, ephemeral, psk_at, delegation)"
		" VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
	uint8_t delegation[MVPN_TLV_DELEGATION_B];

	if (!q)
		return store_errno(st);
	bind_blob(q, 1, d->id, sizeof(d->id));
	bind_text(q, 2, d->name);
	bind_blob(q, 3, d->pk, sizeof(d->pk));
	bind_blob(q, 4, d->psk_enc, sizeof(d->psk_enc));
	bind_int(q, 5, d->psk_epoch);
	bind_int(q, 6, d->state);
	bind_int(q, 7, (int64_t)d->boot_gen);
	bind_int(q, 8, d->created_at);
	bind_int(q, 9, d->last_seen_at);
	bind_int(q, 10, d->ephemeral_s);
	bind_int(q, 11, d->psk_at);
	bind_delegation(q, 12, d, delegation);
	return store_run(st, q);
}

int store_device_set_key(struct store *st, const struct store_device *d)
{
	sqlite3_stmt *q =
		store_prepare(st, "UPDATE devices SET s_pub = ?, delegation = ? WHERE id = ?");
	uint8_t delegation[MVPN_TLV_DELEGATION_B];

	if (!q)
		return store_errno(st);
	bind_blob(q, 1, d->pk, sizeof(d->pk));
	bind_delegation(q, 2, d, delegation);
	bind_blob(q, 3, d->id, sizeof(d->id));
	return store_run_one(st, q);
}

int store_device_set_psk(struct store *st, const struct store_device *d)
{
	sqlite3_stmt *q = store_prepare(st, "UPDATE devices SET psk_enc = ?, psk_epoch = ?,"
					    " psk_at = ?, psk_next = ? WHERE id = ?");

	if (!q)
		return store_errno(st);
	bind_blob(q, 1, d->psk_enc, sizeof(d->psk_enc));
	bind_int(q, 2, d->psk_epoch);
	bind_int(q, 3, d->psk_at);
	if (d->has_psk_next)
		bind_blob(q, 4, d->psk_next_enc, sizeof(d->psk_next_enc));
	bind_blob(q, 5, d->id, 16);
	return store_run_one(st, q);
}

int store_device_reenrol(struct store *st, const struct store_device *d)
{
	sqlite3_stmt *q = store_prepare(st, "UPDATE devices SET psk_enc = ?, psk_epoch = 0,"
					    " psk_next = NULL, s_pub_next = NULL, next_until = 0,"
					    " ephemeral = ?, psk_at = ? WHERE id = ?");

	if (!q)
		return store_errno(st);
	bind_blob(q, 1, d->psk_enc, sizeof(d->psk_enc));
	bind_int(q, 2, d->ephemeral_s);
	bind_int(q, 3, d->psk_at);
	bind_blob(q, 4, d->id, 16);
	return store_run_one(st, q);
}

int store_device_set_server_pk(struct store *st, const uint8_t id[16], const uint8_t pk[32])
{
	sqlite3_stmt *q = store_prepare(st, "UPDATE devices SET server_pk = ? WHERE id = ?");

	if (!q)
		return store_errno(st);
	bind_blob(q, 1, pk, 32);
	bind_blob(q, 2, id, 16);
	return store_run_one(st, q);
}

int store_device_set_state(struct store *st, const uint8_t id[16], unsigned state)
{
	sqlite3_stmt *q = store_prepare(st, "UPDATE devices SET state = ? WHERE id = ?");

	if (!q)
		return store_errno(st);
	bind_int(q, 1, state);
	bind_blob(q, 2, id, 16);
	return store_run_one(st, q);
}

int store_device_set_name(struct store *st, const uint8_t id[16], const char *name)
{
	sqlite3_stmt *q = store_prepare(st, "UPDATE devices SET name = ? WHERE id = ?");

	if (!q)
		return store_errno(st);
	bind_text(q, 1, name);
	bind_blob(q, 2, id, 16);
	return store_run_one(st, q);
}

int store_device_seen(struct store *st, const uint8_t id[16], uint64_t boot_gen, int64_t at)
{
	sqlite3_stmt *q =
		store_prepare(st, "UPDATE devices SET boot_gen = ?, last_seen = ? WHERE id = ?");

	if (!q)
		return store_errno(st);
	bind_int(q, 1, (int64_t)boot_gen);
	bind_int(q, 2, at);
	bind_blob(q, 3, id, 16);
	return store_run_one(st, q);
}

int store_device_remove(struct store *st, const uint8_t id[16])
{
	sqlite3_stmt *q = store_prepare(st, "DELETE FROM devices WHERE id = ?");

	if (!q)
		return store_errno(st);
	bind_blob(q, 1, id, 16);
	return store_run_one(st, q);
}

int store_device_each(struct store *st, int (*fn)(void *arg, const struct store_device *d),
		      void *arg)
{
	sqlite3_stmt *q =
		store_prepare(st, "SELECT id, name, s_pub, psk_enc, psk_epoch, state, boot_gen,"
				  " created, last_seen, ephemeral, psk_at, psk_next, delegation,"
				  " s_pub_next, next_until, server_pk FROM devices");
	int r;

	if (!q)
		return store_errno(st);
	while ((r = store_step(st, q)) == 1) {
		struct store_device d = {0};
		uint8_t delegation[MVPN_TLV_DELEGATION_B];
		bool ok = column_blob(q, 0, d.id, sizeof(d.id)) &&
			  column_blob(q, 2, d.pk, sizeof(d.pk)) &&
			  column_blob(q, 3, d.psk_enc, sizeof(d.psk_enc));

		column_text(q, 1, d.name, sizeof(d.name));
		d.psk_epoch = (uint32_t)sqlite3_column_int64(q, 4);
		d.state = (uint8_t)sqlite3_column_int(q, 5);
		d.boot_gen = (uint64_t)sqlite3_column_int64(q, 6);
		d.created_at = sqlite3_column_int64(q, 7);
		d.last_seen_at = sqlite3_column_int64(q, 8);
		d.ephemeral_s = (uint32_t)sqlite3_column_int64(q, 9);
		d.psk_at = sqlite3_column_int64(q, 10);
		d.has_psk_next = column_blob(q, 11, d.psk_next_enc, sizeof(d.psk_next_enc));
		d.delegated = column_blob(q, 12, delegation, sizeof(delegation));
		if (d.delegated)
			ok = ok && !delegation_decode(&d.delegation, delegation, sizeof(delegation));
		if (column_blob(q, 13, d.pk_next, sizeof(d.pk_next)))
			d.next_until = sqlite3_column_int64(q, 14);
		column_blob(q, 15, d.server_pk, sizeof(d.server_pk));
		r = ok ? fn(arg, &d) : -EUCLEAN;
		if (r) {
			sqlite3_reset(q);
			return r;
		}
	}
	return r;
}

int store_member_add(struct store *st, const uint8_t id[16], const char *group)
{
	sqlite3_stmt *q = store_prepare(st, "INSERT OR IGNORE INTO groups(name) VALUES(?)");
	int r;

	if (!q)
		return store_errno(st);
	bind_text(q, 1, group);
	r = store_run(st, q);
	if (r < 0)
		return r;
	q = store_prepare(st, "INSERT OR IGNORE INTO members(device_id, group_id)"
			      " SELECT ?, id FROM groups WHERE name = ?");
	if (!q)
		return store_errno(st);
	bind_blob(q, 1, id, 16);
	bind_text(q, 2, group);
	return store_run(st, q);
}

int store_member_each(struct store *st,
		      int (*fn)(void *arg, const uint8_t id[16], const char *group), void *arg)
{
	sqlite3_stmt *q = store_prepare(st, "SELECT device_id, name FROM members"
					    " JOIN groups ON groups.id = group_id ORDER BY name");
	int r;

	if (!q)
		return store_errno(st);
	while ((r = store_step(st, q)) == 1) {
		char group[MVPN_NAME_MAX_B + 1];
		uint8_t id[16];

		column_text(q, 1, group, sizeof(group));
		r = column_blob(q, 0, id, sizeof(id)) ? fn(arg, id, group) : -EUCLEAN;
		if (r) {
			sqlite3_reset(q);
			return r;
		}
	}
	return r;
}

int store_revocation_add(struct store *st, const uint8_t id[16], int64_t at)
{
	sqlite3_stmt *q = store_prepare(st, "INSERT INTO revocations(device_id, at) VALUES(?, ?)");

	if (!q)
		return store_errno(st);
	bind_blob(q, 1, id, 16);
	bind_int(q, 2, at);
	return store_run(st, q);
}

static int prefix_change(struct store *st, sqlite3_stmt *q, const uint8_t id[16],
			 const struct mvpn_prefix *p, int kind)
{
	char text[MVPN_ADDRSTRLEN];

	if (!q)
		return store_errno(st);
	bind_blob(q, 1, id, 16);
	bind_text(q, 2, mvpn_prefix_str(p, text));
	bind_int(q, 3, kind);
	return store_run_one(st, q);
}

int store_prefix_add(struct store *st, const uint8_t id[16], const struct mvpn_prefix *p, int kind)
{
	return prefix_change(st, store_prepare(st, "INSERT INTO prefixes VALUES(?, ?, ?)"), id, p,
			     kind);
}

int store_prefix_del(struct store *st, const uint8_t id[16], const struct mvpn_prefix *p, int kind)
{
	return prefix_change(st,
			     store_prepare(st,
					   "DELETE FROM prefixes WHERE device_id = ? AND cidr = ?"
					   " AND kind = ?"),
			     id, p, kind);
}

int store_prefix_each(struct store *st,
		      int (*fn)(void *arg, const uint8_t id[16], const struct mvpn_prefix *p,
				int kind),
		      void *arg)
{
	sqlite3_stmt *q = store_prepare(st, "SELECT device_id, cidr, kind FROM prefixes");
	int r;

	if (!q)
		return store_errno(st);
	while ((r = store_step(st, q)) == 1) {
		char text[MVPN_ADDRSTRLEN];
		struct mvpn_prefix p;
		uint8_t id[16];

		column_text(q, 1, text, sizeof(text));
		if (!column_blob(q, 0, id, sizeof(id)) || mvpn_prefix_parse(&p, text) < 0)
			r = -EUCLEAN;
		else
			r = fn(arg, id, &p, sqlite3_column_int(q, 2));
		if (r) {
			sqlite3_reset(q);
			return r;
		}
	}
	return r;
}
