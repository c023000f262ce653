/* SPDX-License-Identifier: BSD-2-Clause */
/* Sessions: who holds keys with whom. */
#include <errno.h>

#include "store_sqlite.h"

#define COLUMNS "id, a, b, layer, seq, policy_rev, created, ends, state, reason, owed, mode, services"

int store_session_add(struct store *st, const struct store_session *s)
{
	sqlite3_stmt *q = store_prepare(st, "INSERT INTO sessions(" COLUMNS ")"
					    " VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");

	if (!q)
		return store_errno(st);
	bind_blob(q, 1, s->id, 16);
	bind_blob(q, 2, s->a, 16);
	bind_blob(q, 3, s->b, 16);
	bind_int(q, 4, s->layer);
	bind_int(q, 5, (int64_t)s->seq);
	bind_int(q, 6, (int64_t)s->policy_rev);
	bind_int(q, 7, s->created_at);
	bind_int(q, 8, s->ends_at);
	bind_int(q, 9, s->state);
	bind_int(q, 10, s->reason);
	bind_int(q, 11, s->owed);
	bind_int(q, 12, s->mode);
	bind_int(q, 13, (int64_t)s->services);
	return store_run(st, q);
}

static int read_session(sqlite3_stmt *q, struct store_session *ret)
{
	struct store_session s = {0};

	if (!column_blob(q, 0, s.id, 16) || !column_blob(q, 1, s.a, 16) ||
	    !column_blob(q, 2, s.b, 16))
		return -EUCLEAN;
	s.layer = (uint8_t)sqlite3_column_int(q, 3);
	s.seq = (uint64_t)sqlite3_column_int64(q, 4);
	s.policy_rev = (uint64_t)sqlite3_column_int64(q, 5);
	s.created_at = sqlite3_column_int64(q, 6);
	s.ends_at = sqlite3_column_int64(q, 7);
	s.state = (uint8_t)sqlite3_column_int(q, 8);
	s.reason = (uint16_t)sqlite3_column_int(q, 9);
	s.owed = (uint8_t)sqlite3_column_int(q, 10);
	s.mode = (uint8_t)sqlite3_column_int(q, 11);
	s.services = (uint64_t)sqlite3_column_int64(q, 12);
	*ret = s;
	return 0;
}

int store_session_get(struct store *st, const uint8_t id[16], struct store_session *ret)
{
	sqlite3_stmt *q = store_prepare(st, "SELECT " COLUMNS " FROM sessions WHERE id = ?");
	int r;

	if (!q)
		return store_errno(st);
	bind_blob(q, 1, id, 16);
	r = store_step(st, q);
	if (r <= 0)
		return r < 0 ? r : -ENOENT;
	r = read_session(q, ret);
	sqlite3_reset(q);
	return r;
}

static int change_state(struct store *st, sqlite3_stmt *q, const uint8_t id[16], unsigned reason,
			unsigned owed)
{
	if (!q)
		return store_errno(st);
	bind_int(q, 1, reason);
	bind_int(q, 2, owed);
	bind_blob(q, 3, id, 16);
	return store_run_one(st, q);
}

int store_session_end(struct store *st, const uint8_t id[16], unsigned reason, unsigned owed)
{
	return change_state(st,
			    store_prepare(st, "UPDATE sessions SET state = 2, reason = ?, owed = ?"
					      " WHERE id = ? AND state <> 2"),
			    id, reason, owed);
}

int store_session_leave(struct store *st, const uint8_t id[16], unsigned reason, unsigned held)
{
	return change_state(st,
			    store_prepare(st, "UPDATE sessions SET state = 3, reason = ?, owed = ?"
					      " WHERE id = ? AND state <> 2"),
			    id, reason, held);
}

int store_session_paid(struct store *st, const uint8_t debtor[16], const uint8_t peer[16])
{
	sqlite3_stmt *q = store_prepare(
		st,
		"UPDATE sessions SET owed = owed & CASE WHEN a = ?1 THEN ~1 ELSE ~2 END WHERE id IN"
		" (SELECT id FROM sessions INDEXED BY sessions_owed_a"
		"  WHERE a = ?1 AND b = ?2 AND owed > 0 AND state = 2"
		"  UNION ALL SELECT id FROM sessions INDEXED BY sessions_owed_a"
		"  WHERE a = ?2 AND b = ?1 AND owed > 0 AND state = 2)");

	if (!q)
		return store_errno(st);
	bind_blob(q, 1, debtor, 16);
	bind_blob(q, 2, peer, 16);
	return store_run(st, q);
}

int store_session_paid_all(struct store *st, const uint8_t debtor[16])
{
	sqlite3_stmt *q = store_prepare(
		st,
		"UPDATE sessions SET owed = owed & CASE WHEN a = ?1 THEN ~1 ELSE ~2 END WHERE id IN"
		" (SELECT id FROM sessions INDEXED BY sessions_owed_a"
		"  WHERE a = ?1 AND owed > 0 AND state = 2"
		"  UNION ALL SELECT id FROM sessions INDEXED BY sessions_owed_b"
		"  WHERE b = ?1 AND owed > 0 AND state = 2)");

	if (!q)
		return store_errno(st);
	bind_blob(q, 1, debtor, 16);
	return store_run(st, q);
}

static int each(struct store *st, sqlite3_stmt *q, store_session_fn *fn, void *arg)
{
	int r;

	while ((r = store_step(st, q)) == 1) {
		struct store_session s;

		r = read_session(q, &s);
		if (r == 0)
			r = fn(arg, &s);
		if (r) {
			sqlite3_reset(q);
			return r;
		}
	}
	return r;
}

int store_session_active(struct store *st, const uint8_t *device, unsigned max,
			 store_session_fn *fn, void *arg)
{
	static const char all[] = "SELECT " COLUMNS " FROM sessions WHERE state = 1"
				  " ORDER BY seq DESC LIMIT ?2";
	static const char one[] = "SELECT " COLUMNS " FROM sessions WHERE (a = ?1 AND state = 1) OR"
				  " (b = ?1 AND state = 1) ORDER BY seq DESC LIMIT ?2";
	sqlite3_stmt *q = store_prepare(st, device ? one : all);

	if (!q)
		return store_errno(st);
	if (device)
		bind_blob(q, 1, device, 16);
	bind_int(q, 2, max);
	return each(st, q, fn, arg);
}

int store_session_held(struct store *st, const uint8_t *device, store_session_fn *fn, void *arg)
{
	static const char all[] = "SELECT " COLUMNS " FROM sessions WHERE state IN (1, 3)"
				  " ORDER BY a, b";
	static const char one[] = "SELECT " COLUMNS " FROM sessions WHERE"
				  " (a = ?1 AND state IN (1, 3)) OR (b = ?1 AND state IN (1, 3))"
				  " ORDER BY a, b";
	sqlite3_stmt *q = store_prepare(st, device ? one : all);

	if (!q)
		return store_errno(st);
	if (device)
		bind_blob(q, 1, device, 16);
	return each(st, q, fn, arg);
}

int store_session_owed(struct store *st, const uint8_t device[16], store_session_fn *fn, void *arg)
{
	sqlite3_stmt *q = store_prepare(
		st, "SELECT " COLUMNS " FROM sessions INDEXED BY sessions_owed_a"
		    " WHERE a = ?1 AND owed > 0 AND state = 2 AND owed & 1"
		    " UNION ALL SELECT " COLUMNS " FROM sessions INDEXED BY sessions_owed_b"
		    " WHERE b = ?1 AND owed > 0 AND state = 2 AND owed & 2");

	if (!q)
		return store_errno(st);
	bind_blob(q, 1, device, 16);
	return each(st, q, fn, arg);
}

int store_session_prune(struct store *st, int64_t now, int64_t forget_before)
{
	sqlite3_stmt *q = store_prepare(st, "UPDATE sessions SET state = 2, reason = ?, owed = 0"
					    " WHERE state IN (1, 3) AND ends < ?");
	int r;

	if (!q)
		return store_errno(st);
	bind_int(q, 1, MVPN_R_EXPIRED);
	bind_int(q, 2, now);
	r = store_run(st, q);
	if (r < 0)
		return r;
	q = store_prepare(st, "DELETE FROM sessions WHERE state = 2 AND ends < ?");
	if (!q)
		return store_errno(st);
	bind_int(q, 1, forget_before);
	return store_run(st, q);
}

static int one_number(struct store *st, const char *sql, uint64_t *ret)
{
	sqlite3_stmt *q = store_prepare(st, sql);
	int r = q ? store_step(st, q) : store_errno(st);

	if (r < 0)
		return r;
	*ret = (uint64_t)sqlite3_column_int64(q, 0);
	sqlite3_reset(q);
	return 0;
}

int store_session_count(struct store *st, uint64_t *ret)
{
	return one_number(st, "SELECT count(*) FROM sessions WHERE state = 1", ret);
}

int store_session_central(struct store *st, uint64_t *ret)
{
	return one_number(st, "SELECT count(*) FROM sessions WHERE state = 1 AND mode > 0", ret);
}

int store_session_seq_max(struct store *st, uint64_t *ret)
{
	return one_number(st, "SELECT coalesce(max(seq), 0) FROM sessions", ret);
}
