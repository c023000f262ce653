/* SPDX-License-Identifier: BSD-2-Clause */
/* Enrolment tokens. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "store_sqlite.h"

#define COLUMNS                                                                            \
	"tokens.id, psk_enc, uses_left, expires, groups.name, approve, revoked, created, " \
	"addresses, ephemeral, server_pk"

void store_token_clear(struct store_token *t)
{
	free(t->addresses);
	t->addresses = NULL;
}

static int ensure_group(struct store *st, const char *name)
{
	sqlite3_stmt *q = store_prepare(st, "INSERT OR IGNORE INTO groups(name) VALUES(?)");

	if (!q)
		return store_errno(st);
	bind_text(q, 1, name);
	return store_run(st, q);
}

int store_token_add(struct store *st, const struct store_token *t)
{
	sqlite3_stmt *q;
	int r = t->group[0] ? ensure_group(st, t->group) : 0;

	if (r < 0)
		return r;
	q = store_prepare(st, "INSERT INTO tokens VALUES(?, ?, ?, ?,"
			      " (SELECT id FROM groups WHERE name = ?), ?, ?, ?, ?, ?, ?)");
	if (!q)
		return store_errno(st);
	bind_blob(q, 1, t->id, sizeof(t->id));
	bind_blob(q, 2, t->psk_enc, sizeof(t->psk_enc));
	bind_int(q, 3, (int64_t)t->uses_left);
	bind_int(q, 4, t->expires_at);
	bind_text(q, 5, t->group);
	bind_int(q, 6, t->approve);
	bind_int(q, 7, t->revoked);
	bind_int(q, 8, t->created_at);
	bind_text(q, 9, t->addresses);
	bind_int(q, 10, t->ephemeral_s);
	if (t->has_server_pk)
		bind_blob(q, 11, t->server_pk, sizeof(t->server_pk));
	return store_run(st, q);
}

static int read_token(sqlite3_stmt *q, struct store_token *ret)
{
	const char *addresses = (const char *)sqlite3_column_text(q, 8);
	struct store_token t = {0};

	if (!column_blob(q, 0, t.id, sizeof(t.id)) ||
	    !column_blob(q, 1, t.psk_enc, sizeof(t.psk_enc)))
		return -EUCLEAN;
	t.uses_left = (uint64_t)sqlite3_column_int64(q, 2);
	t.expires_at = sqlite3_column_int64(q, 3);
	column_text(q, 4, t.group, sizeof(t.group));
	t.approve = sqlite3_column_int(q, 5);
	t.revoked = sqlite3_column_int(q, 6);
	t.created_at = sqlite3_column_int64(q, 7);
	t.ephemeral_s = (uint32_t)sqlite3_column_int64(q, 9);
	t.has_server_pk = column_blob(q, 10, t.server_pk, sizeof(t.server_pk));
	if (addresses && !(t.addresses = strdup(addresses)))
		return -ENOMEM;
	*ret = t;
	return 0;
}

int store_token_get(struct store *st, const uint8_t id[16], struct store_token *ret)
{
	sqlite3_stmt *q = store_prepare(st, "SELECT " COLUMNS " FROM tokens LEFT JOIN groups"
					    " ON groups.id = group_id WHERE tokens.id = ?");
	int r;

	if (!q)
		return store_errno(st);
	bind_blob(q, 1, id, 16);
	r = store_step(st, q);
	if (r <= 0)
		return r < 0 ? r : -ENOENT;
	r = read_token(q, ret);
	sqlite3_reset(q);
	return r;
}

int store_token_take(struct store *st, const uint8_t id[16], int64_t now)
{
	sqlite3_stmt *q = store_prepare(
		st, "UPDATE tokens SET uses_left = uses_left - 1 WHERE id = ? AND uses_left > 0"
		    " AND revoked = 0 AND (expires = 0 OR expires > ?) RETURNING uses_left");
	int r;

	if (!q)
		return store_errno(st);
	bind_blob(q, 1, id, 16);
	bind_int(q, 2, now);
	r = store_step(st, q);
	if (r <= 0)
		return r < 0 ? r : -ENOENT;
	/* RETURNING gives its rows after all changes are made; the statement must still be finished */
	while ((r = store_step(st, q)) == 1)
		;
	return r;
}

int store_token_revoke(struct store *st, const uint8_t id[16])
{
	sqlite3_stmt *q = store_prepare(st, "UPDATE tokens SET revoked = 1 WHERE id = ?");

	if (!q)
		return store_errno(st);
	bind_blob(q, 1, id, 16);
	return store_run_one(st, q);
}

int store_token_each(struct store *st, int (*fn)(void *arg, const struct store_token *t), void *arg)
{
	sqlite3_stmt *q = store_prepare(st, "SELECT " COLUMNS " FROM tokens LEFT JOIN groups"
					    " ON groups.id = group_id ORDER BY tokens.id");
	int r;

	if (!q)
		return store_errno(st);
	while ((r = store_step(st, q)) == 1) {
		struct store_token t;

		r = read_token(q, &t);
		if (r == 0) {
			r = fn(arg, &t);
			store_token_clear(&t);
		}
		if (r) {
			sqlite3_reset(q);
			return r;
		}
	}
	return r;
}

int store_token_count(struct store *st, uint64_t *ret)
{
	sqlite3_stmt *q = store_prepare(st, "SELECT count(*) FROM tokens");
	int r = q ? store_step(st, q) : store_errno(st);

	if (r < 0)
		return r;
	*ret = (uint64_t)sqlite3_column_int64(q, 0);
	sqlite3_reset(q);
	return 0;
}

int store_token_adopt(struct store *st, const uint8_t pk[32])
{
	sqlite3_stmt *q = store_prepare(st, "UPDATE tokens SET server_pk = ? WHERE server_pk IS NULL");

	if (!q)
		return store_errno(st);
	bind_blob(q, 1, pk, 32);
	return store_run(st, q);
}

int store_token_group(struct store *st, const char *group)
{
	sqlite3_stmt *q =
		store_prepare(st, "SELECT 1 FROM tokens JOIN groups"
				  " ON groups.id = group_id WHERE groups.name = ? LIMIT 1");
	int r;

	if (!q)
		return store_errno(st);
	bind_text(q, 1, group);
	r = store_step(st, q);
	if (r <= 0)
		return r < 0 ? r : -ENOENT;
	sqlite3_reset(q);
	return 0;
}

int store_token_prune(struct store *st, int64_t before)
{
	sqlite3_stmt *q =
		store_prepare(st, "DELETE FROM tokens WHERE (expires > 0 AND expires < ?1) OR"
				  " (created < ?1 AND (uses_left = 0 OR revoked = 1))");

	if (!q)
		return store_errno(st);
	bind_int(q, 1, before);
	return store_run(st, q);
}
