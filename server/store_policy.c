/* SPDX-License-Identifier: BSD-2-Clause */
/* Policy revisions and audit rows. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "store_sqlite.h"

int store_policy_add(struct store *st, const struct store_policy *p)
{
	sqlite3_stmt *q = store_prepare(
		st, "INSERT INTO policies(rev, at, text, uid, comment) VALUES(?, ?, ?, ?, ?)");

	if (!q)
		return store_errno(st);
	bind_int(q, 1, (int64_t)p->rev);
	bind_int(q, 2, p->at);
	bind_text(q, 3, p->text);
	bind_int(q, 4, p->uid);
	bind_text(q, 5, p->comment);
	return store_run(st, q);
}

int store_policy_each(struct store *st, unsigned max,
		      int (*fn)(void *arg, const struct store_policy *p), void *arg)
{
	sqlite3_stmt *q = store_prepare(st, "SELECT rev, at, text, uid, comment FROM policies"
					    " ORDER BY rev DESC LIMIT ?");
	int r;

	if (!q)
		return store_errno(st);
	bind_int(q, 1, max);
	while ((r = store_step(st, q)) == 1) {
		const char *text = (const char *)sqlite3_column_text(q, 2),
			   *comment = (const char *)sqlite3_column_text(q, 4);
		struct store_policy p = {
			.rev = (uint64_t)sqlite3_column_int64(q, 0),
			.at = sqlite3_column_int64(q, 1),
			.uid = sqlite3_column_int64(q, 3),
			.text = text ? text : "",
			.comment = comment ? comment : "",
		};

		r = fn(arg, &p);
		if (r) {
			sqlite3_reset(q);
			return r;
		}
	}
	return r;
}

int store_policy_prune(struct store *st, uint64_t before)
{
	sqlite3_stmt *q = store_prepare(st, "DELETE FROM policies WHERE rev < ?");

	if (!q)
		return store_errno(st);
	bind_int(q, 1, (int64_t)before);
	return store_run(st, q);
}

static int read_policy(struct store *st, sqlite3_stmt *q, uint64_t *ret_rev, int64_t *ret_at,
		       char **ret_text)
{
	const char *text;
	char *copy;
	int r = store_step(st, q);

	if (r <= 0)
		return r < 0 ? r : -ENOENT;
	text = (const char *)sqlite3_column_text(q, 2);
	copy = strdup(text ? text : "");
	if (copy) {
		*ret_rev = (uint64_t)sqlite3_column_int64(q, 0);
		if (ret_at)
			*ret_at = sqlite3_column_int64(q, 1);
		*ret_text = copy;
	}
	sqlite3_reset(q);
	return copy ? 0 : -ENOMEM;
}

int store_policy_get(struct store *st, uint64_t rev, uint64_t *ret_rev, int64_t *ret_at,
		     char **ret_text)
{
	static const char newest[] = "SELECT rev, at, text FROM policies ORDER BY rev DESC LIMIT 1";
	static const char exact[] = "SELECT rev, at, text FROM policies WHERE rev = ?";
	sqlite3_stmt *q = store_prepare(st, rev ? exact : newest);

	if (!q)
		return store_errno(st);
	if (rev)
		bind_int(q, 1, (int64_t)rev);
	return read_policy(st, q, ret_rev, ret_at, ret_text);
}

int store_policy_before(struct store *st, uint64_t rev, uint64_t *ret_rev, char **ret_text)
{
	sqlite3_stmt *q = store_prepare(
		st, "SELECT rev, at, text FROM policies WHERE rev < ? ORDER BY rev DESC LIMIT 1");

	if (!q)
		return store_errno(st);
	bind_int(q, 1, (int64_t)rev);
	return read_policy(st, q, ret_rev, NULL, ret_text);
}

int store_audit_add(struct store *st, const struct store_audit *a)
{
	sqlite3_stmt *q = store_prepare(st, "INSERT INTO audit VALUES(?, ?, ?, ?, ?, ?, ?)");

	if (!q)
		return store_errno(st);
	bind_int(q, 1, (int64_t)a->seq);
	bind_int(q, 2, a->at);
	bind_text(q, 3, a->actor);
	bind_text(q, 4, a->event);
	bind_text(q, 5, a->json);
	bind_blob(q, 6, a->prev, sizeof(a->prev));
	bind_blob(q, 7, a->hash, sizeof(a->hash));
	return store_run(st, q);
}

int store_audit_last(struct store *st, uint64_t *ret_seq, uint8_t ret_hash[STORE_HASH_LEN])
{
	sqlite3_stmt *q =
		store_prepare(st, "SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1");
	int r;

	if (!q)
		return store_errno(st);
	r = store_step(st, q);
	if (r <= 0)
		return r < 0 ? r : -ENOENT;
	*ret_seq = (uint64_t)sqlite3_column_int64(q, 0);
	r = column_blob(q, 1, ret_hash, STORE_HASH_LEN) ? 0 : -EUCLEAN;
	sqlite3_reset(q);
	return r;
}

int store_audit_each(struct store *st, uint64_t from,
		     int (*fn)(void *arg, const struct store_audit *a), void *arg)
{
	sqlite3_stmt *q =
		store_prepare(st, "SELECT seq, at, actor, event, json, prev, hash FROM audit"
				  " WHERE seq >= ? ORDER BY seq");
	int r;

	if (!q)
		return store_errno(st);
	bind_int(q, 1, (int64_t)from);
	while ((r = store_step(st, q)) == 1) {
		struct store_audit a = {
			.seq = (uint64_t)sqlite3_column_int64(q, 0),
			.at = sqlite3_column_int64(q, 1),
			.actor = (const char *)sqlite3_column_text(q, 2),
			.event = (const char *)sqlite3_column_text(q, 3),
			.json = (const char *)sqlite3_column_text(q, 4),
		};

		if (!column_blob(q, 5, a.prev, sizeof(a.prev)) ||
		    !column_blob(q, 6, a.hash, sizeof(a.hash)) || !a.actor || !a.event || !a.json)
			r = -EUCLEAN;
		else
			r = fn(arg, &a);
		if (r) {
			sqlite3_reset(q);
			return r;
		}
	}
	return r;
}

int store_audit_forget(struct store *st, uint64_t through)
{
	sqlite3_stmt *q = store_prepare(st, "DELETE FROM audit WHERE seq <= ?");
	int r;

	if (!q)
		return store_errno(st);
	bind_int(q, 1, (int64_t)through);
	r = store_run(st, q);
	q = r < 0 ? NULL : store_prepare(st, "DELETE FROM checkpoints WHERE seq < ?");
	if (!q)
		return r < 0 ? r : store_errno(st);
	bind_int(q, 1, (int64_t)through);
	return store_run(st, q);
}

int store_checkpoint_put(struct store *st, const struct store_checkpoint *c)
{
	sqlite3_stmt *q = store_prepare(st, "INSERT OR REPLACE INTO checkpoints(seq, at, forgotten, "
					    "hash, mac) VALUES(?, ?, ?, ?, ?)");

	if (!q)
		return store_errno(st);
	bind_int(q, 1, (int64_t)c->seq);
	bind_int(q, 2, c->at);
	bind_int(q, 3, c->forgotten);
	bind_blob(q, 4, c->hash, sizeof(c->hash));
	bind_blob(q, 5, c->mac, sizeof(c->mac));
	return store_run(st, q);
}

int store_checkpoint_each(struct store *st, int (*fn)(void *arg, const struct store_checkpoint *c),
			  void *arg)
{
	sqlite3_stmt *q = store_prepare(
		st, "SELECT seq, at, forgotten, hash, mac FROM checkpoints ORDER BY seq");
	int r;

	if (!q)
		return store_errno(st);
	while ((r = store_step(st, q)) == 1) {
		struct store_checkpoint c = {
			.seq = (uint64_t)sqlite3_column_int64(q, 0),
			.at = sqlite3_column_int64(q, 1),
			.forgotten = sqlite3_column_int(q, 2),
		};

		if (!column_blob(q, 3, c.hash, sizeof(c.hash)) ||
		    !column_blob(q, 4, c.mac, sizeof(c.mac)))
			r = -EUCLEAN;
		else
			r = fn(arg, &c);
		if (r) {
			sqlite3_reset(q);
			return r;
		}
	}
	return r;
}
