/* SPDX-License-Identifier: BSD-2-Clause */
/* Next and old keys of devices, and what an old key says of the next one to each peer. */
#include <errno.h>

#include "store_sqlite.h"

int store_rotate_begin(struct store *st, const uint8_t id[16], const uint8_t pk[32])
{
	sqlite3_stmt *q = store_prepare(
		st, "DELETE FROM vouches WHERE device_id = ?1 AND s_pub ="
		    " (SELECT s_pub_next FROM devices WHERE id = ?1)");
	int r;

	if (!q)
		return store_errno(st);
	bind_blob(q, 1, id, 16);
	r = store_run(st, q);
	if (r < 0)
		return r;
	q = store_prepare(st,
			  "UPDATE devices SET s_pub_next = ?, next_until = 0 WHERE id = ?");
	if (!q)
		return store_errno(st);
	bind_blob(q, 1, pk, 32);
	bind_blob(q, 2, id, 16);
	return store_run_one(st, q);
}

int store_rotate_commit(struct store *st, const uint8_t id[16], int64_t until)
{
	sqlite3_stmt *q = store_prepare(st, "UPDATE devices SET next_until = ? WHERE id = ?");

	if (!q)
		return store_errno(st);
	bind_int(q, 1, until);
	bind_blob(q, 2, id, 16);
	return store_run_one(st, q);
}

/* a peer that was away for more than the last of them raises its alarm */
static int prune(struct store *st, const uint8_t id[16])
{
	sqlite3_stmt *q = store_prepare(
		st, "DELETE FROM vouches WHERE device_id = ?1 AND seq NOT IN"
		    " (SELECT seq FROM vouches v WHERE v.device_id = ?1 AND v.peer_id = vouches.peer_id"
		    "  ORDER BY seq DESC LIMIT ?2)");

	if (!q)
		return store_errno(st);
	bind_blob(q, 1, id, 16);
	bind_int(q, 2, MVPN_VOUCHES_MAX);
	return store_run(st, q);
}

int store_rotate_done(struct store *st, const struct store_device *d)
{
	sqlite3_stmt *q = store_prepare(st, "INSERT OR REPLACE INTO old_keys VALUES(?, ?)");
	int r;

	if (!q)
		return store_errno(st);
	bind_blob(q, 1, d->pk, sizeof(d->pk));
	bind_blob(q, 2, d->id, 16);
	r = store_run(st, q);
	if (r < 0)
		return r;
	q = store_prepare(st, "UPDATE devices SET s_pub = ?, s_pub_next = NULL, next_until = 0"
			      " WHERE id = ?");
	if (!q)
		return store_errno(st);
	bind_blob(q, 1, d->pk_next, sizeof(d->pk_next));
	bind_blob(q, 2, d->id, 16);
	r = store_run_one(st, q);
	return r < 0 ? r : prune(st, d->id);
}

int store_key_was(struct store *st, const uint8_t pk[32])
{
	sqlite3_stmt *q = store_prepare(st, "SELECT 1 FROM old_keys WHERE s_pub = ?");
	int r;

	if (!q)
		return store_errno(st);
	bind_blob(q, 1, pk, 32);
	r = store_step(st, q);
	sqlite3_reset(q);
	return r < 0 ? r : r == 1 ? 0 : -ENOENT;
}

/* ---- vouches ---- */

int store_vouch_add(struct store *st, const struct store_vouch *v)
{
	sqlite3_stmt *q = store_prepare(st, "INSERT OR REPLACE INTO vouches(device_id, peer_id,"
					    " s_pub, mac, word) VALUES(?, ?, ?, ?, ?)");

	if (!q)
		return store_errno(st);
	bind_blob(q, 1, v->device, 16);
	bind_blob(q, 2, v->peer, 16);
	bind_blob(q, 3, v->pk, 32);
	bind_blob(q, 4, v->mac, 32);
	if (v->has_word)
		bind_blob(q, 5, v->word, sizeof(v->word));
	return store_run(st, q);
}

int store_vouch_heard(struct store *st, const uint8_t device[16], const uint8_t peer[16],
		      const uint8_t pk[32])
{
	sqlite3_stmt *q = store_prepare(
		st, "DELETE FROM vouches WHERE device_id = ? AND peer_id = ? AND s_pub = ?");

	if (!q)
		return store_errno(st);
	bind_blob(q, 1, device, 16);
	bind_blob(q, 2, peer, 16);
	bind_blob(q, 3, pk, 32);
	return store_run(st, q);
}

/* q has its arguments */
static int each(struct store *st, sqlite3_stmt *q, store_vouch_fn *fn, void *arg)
{
	int r;

	while ((r = store_step(st, q)) == 1) {
		struct store_vouch v;
		bool ok = column_blob(q, 0, v.device, 16) && column_blob(q, 1, v.peer, 16) &&
			  column_blob(q, 2, v.pk, 32) && column_blob(q, 3, v.mac, 32);

		v.has_word = column_blob(q, 4, v.word, sizeof(v.word));
		r = ok ? fn(arg, &v) : -EUCLEAN;
		if (r) {
			sqlite3_reset(q);
			return r;
		}
	}
	return r;
}

int store_vouch_of(struct store *st, const uint8_t device[16], const uint8_t pk[32], store_vouch_fn *fn, void *arg)
{
	sqlite3_stmt *q = store_prepare(st, "SELECT device_id, peer_id, s_pub, mac, word FROM vouches"
					    " WHERE device_id = ? AND s_pub = ?");

	if (!q)
		return store_errno(st);
	bind_blob(q, 1, device, 16);
	bind_blob(q, 2, pk, 32);
	return each(st, q, fn, arg);
}

int store_vouch_for(struct store *st, const uint8_t peer[16], store_vouch_fn *fn, void *arg)
{
	sqlite3_stmt *q = store_prepare(st, "SELECT device_id, peer_id, vouches.s_pub, mac, word FROM vouches"
					    " JOIN devices ON id = device_id WHERE peer_id = ?"
					    " AND vouches.s_pub IS NOT devices.s_pub_next ORDER BY seq");

	if (!q)
		return store_errno(st);
	bind_blob(q, 1, peer, 16);
	return each(st, q, fn, arg);
}
