/* SPDX-License-Identifier: BSD-2-Clause */
/* The SQLite file: opening, schema, transactions, prepared statements. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store_sqlite.h"

#define BUSY_MS 2000 /* an operator's sqlite3 or backup may hold the lock for a moment */

static const char schema_1[] =
	"CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;"
	"CREATE TABLE users(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);"
	"CREATE TABLE groups(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);"
	"CREATE TABLE devices(id BLOB PRIMARY KEY, name TEXT NOT NULL UNIQUE, s_pub BLOB NOT NULL "
	"UNIQUE,"
	"  s_pub_next BLOB, psk_enc BLOB NOT NULL, psk_epoch INTEGER NOT NULL, state INTEGER NOT "
	"NULL,"
	"  lockcert BLOB, role TEXT, boot_gen INTEGER NOT NULL, created INTEGER NOT NULL,"
	"  last_seen INTEGER NOT NULL) WITHOUT ROWID;"
	"CREATE TABLE members(group_id INTEGER NOT NULL REFERENCES groups(id),"
	"  device_id BLOB NOT NULL REFERENCES devices(id) ON DELETE CASCADE,"
	"  PRIMARY KEY(device_id, group_id)) WITHOUT ROWID;"
	"CREATE TABLE prefixes(device_id BLOB NOT NULL REFERENCES devices(id) ON DELETE CASCADE,"
	"  cidr TEXT NOT NULL, kind INTEGER NOT NULL, PRIMARY KEY(device_id, cidr, kind)) WITHOUT "
	"ROWID;"
	"CREATE UNIQUE INDEX prefixes_owner ON prefixes(cidr) WHERE kind < 2;"
	"CREATE TABLE policies(rev INTEGER PRIMARY KEY, at INTEGER NOT NULL, text TEXT NOT NULL);"
	"CREATE TABLE tokens(id BLOB PRIMARY KEY, psk_enc BLOB NOT NULL, uses_left INTEGER NOT "
	"NULL,"
	"  expires INTEGER NOT NULL, group_id INTEGER REFERENCES groups(id), approve INTEGER NOT "
	"NULL,"
	"  revoked INTEGER NOT NULL, created INTEGER NOT NULL, addresses TEXT) WITHOUT ROWID;"
	"CREATE TABLE sessions(id BLOB PRIMARY KEY, a BLOB NOT NULL, b BLOB NOT NULL, layer "
	"INTEGER NOT NULL,"
	"  seq INTEGER NOT NULL, policy_rev INTEGER NOT NULL, created INTEGER NOT NULL, ends "
	"INTEGER NOT NULL,"
	"  state INTEGER NOT NULL, reason INTEGER NOT NULL, owed INTEGER NOT NULL) WITHOUT ROWID;"
	"CREATE INDEX sessions_a ON sessions(a, state);"
	"CREATE INDEX sessions_b ON sessions(b, state);"
	"CREATE INDEX sessions_ends ON sessions(state, ends);"
	"CREATE INDEX sessions_seq ON sessions(seq);"
	"CREATE TABLE revocations(epoch INTEGER PRIMARY KEY AUTOINCREMENT, device_id BLOB NOT NULL,"
	"  at INTEGER NOT NULL);"
	"CREATE TABLE audit(seq INTEGER PRIMARY KEY, at INTEGER NOT NULL, actor TEXT NOT NULL,"
	"  event TEXT NOT NULL, json TEXT NOT NULL, prev BLOB NOT NULL, hash BLOB NOT NULL);"
	"PRAGMA user_version = 1;";

/* who put a policy in force, and why */
static const char schema_2[] =
	"ALTER TABLE policies ADD COLUMN uid INTEGER NOT NULL DEFAULT -1;"
	"ALTER TABLE policies ADD COLUMN comment TEXT NOT NULL DEFAULT '';"
	"PRAGMA user_version = 2;";

static const char schema_3[] =
	"CREATE TABLE checkpoints(seq INTEGER PRIMARY KEY, at INTEGER NOT NULL, forgotten INTEGER "
	"NOT NULL,"
	"  hash BLOB NOT NULL, mac BLOB NOT NULL);"
	"PRAGMA user_version = 3;";

/* where a session's keys come from */
static const char schema_4[] =
	"ALTER TABLE sessions ADD COLUMN mode INTEGER NOT NULL DEFAULT 0;"
	"PRAGMA user_version = 4;";

/* devices that do not stay */
static const char schema_5[] =
	"ALTER TABLE tokens ADD COLUMN ephemeral INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE devices ADD COLUMN ephemeral INTEGER NOT NULL DEFAULT 0;"
	"PRAGMA user_version = 5;";

/* the next PSK of a device */
static const char schema_6[] =
	"ALTER TABLE devices ADD COLUMN psk_at INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE devices ADD COLUMN psk_next BLOB;"
	"PRAGMA user_version = 6;";

/* what a device is owed is asked at each of its log-ins, and voided at each introduction: not by reading all that has ended */
static const char schema_7[] =
	"CREATE INDEX sessions_owed_a ON sessions(a, b) WHERE owed > 0;"
	"CREATE INDEX sessions_owed_b ON sessions(b) WHERE owed > 0;"
	"PRAGMA user_version = 7;";

/* the token's word for s_pub, as on the wire */
static const char schema_8[] =
	"ALTER TABLE devices ADD COLUMN delegation BLOB;"
	"PRAGMA user_version = 8;";

/* what a session is for */
static const char schema_9[] =
	"ALTER TABLE sessions ADD COLUMN services INTEGER NOT NULL DEFAULT 0;"
	"PRAGMA user_version = 9;";

/* the next key of a device, what its old one says of it to each peer, and keys that it has no more */
static const char schema_10[] =
	"ALTER TABLE devices ADD COLUMN next_until INTEGER NOT NULL DEFAULT 0;"
	"CREATE TABLE vouches(seq INTEGER PRIMARY KEY,"
	"  device_id BLOB NOT NULL REFERENCES devices(id) ON DELETE CASCADE,"
	"  peer_id BLOB NOT NULL REFERENCES devices(id) ON DELETE CASCADE,"
	"  s_pub BLOB NOT NULL, mac BLOB NOT NULL, UNIQUE(device_id, peer_id, s_pub));"
	"CREATE INDEX vouches_peer ON vouches(peer_id);"
	"CREATE TABLE old_keys(s_pub BLOB PRIMARY KEY,"
	"  device_id BLOB NOT NULL REFERENCES devices(id) ON DELETE CASCADE) WITHOUT ROWID;"
	"CREATE INDEX old_keys_device ON old_keys(device_id);"
	"PRAGMA user_version = 10;";

/* which key of the server a device knows, and a token pins */
static const char schema_11[] =
	"ALTER TABLE devices ADD COLUMN server_pk BLOB;"
	"ALTER TABLE tokens ADD COLUMN server_pk BLOB;"
	"PRAGMA user_version = 11;";

/* what a key that signs says of the one that follows it */
static const char schema_12[] =
	"ALTER TABLE vouches ADD COLUMN word BLOB;"
	"PRAGMA user_version = 12;";

/* migrations[n] takes the schema from version n to n + 1 */
static const char *const migrations[STORE_SCHEMA_VERSION] = {schema_1, schema_2, schema_3, schema_4,
							     schema_5, schema_6, schema_7, schema_8,
							     schema_9, schema_10, schema_11, schema_12};

static int sql_errno(int rc)
{
	switch (rc & 0xff) {
	case SQLITE_OK:
	case SQLITE_ROW:
	case SQLITE_DONE:
		return 0;
	case SQLITE_CONSTRAINT:
		return -EEXIST;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return -EBUSY;
	case SQLITE_FULL:
		return -ENOSPC;
	case SQLITE_NOMEM:
		return -ENOMEM;
	case SQLITE_READONLY:
	case SQLITE_CANTOPEN:
	case SQLITE_PERM:
		return -EACCES;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return -EUCLEAN;
	default:
		return -EIO;
	}
}

static int keep_error(struct store *st, int rc)
{
	int r = sql_errno(rc);

	if (r < 0)
		snprintf(st->error, sizeof(st->error), "%s", sqlite3_errmsg(st->db));
	return r;
}

int store_errno(struct store *st)
{
	int r = keep_error(st, sqlite3_errcode(st->db));

	return r ? r : -EIO;
}

const char *store_error(const struct store *st)
{
	return st->error[0] ? st->error : sqlite3_errmsg(st->db);
}

static int exec(struct store *st, const char *sql)
{
	return keep_error(st, sqlite3_exec(st->db, sql, NULL, NULL, NULL));
}

static int read_version(struct store *st, int *ret)
{
	sqlite3_stmt *q;
	int r;

	if (sqlite3_prepare_v2(st->db, "PRAGMA user_version", -1, &q, NULL) != SQLITE_OK)
		return store_errno(st);
	r = sqlite3_step(q) == SQLITE_ROW ? 0 : store_errno(st);
	if (r == 0)
		*ret = sqlite3_column_int(q, 0);
	sqlite3_finalize(q);
	return r;
}

static int migrate(struct store *st, char **ret_error)
{
	int version = 0, r = exec(st, "BEGIN IMMEDIATE");

	if (r < 0)
		return r;
	r = read_version(st, &version);
	if (r == 0 && version > STORE_SCHEMA_VERSION) {
		if (asprintf(ret_error,
			     "the store has schema version %d, this program knows up to %d: run "
			     "the newer "
			     "mvpn-server, or restore a backup",
			     version, STORE_SCHEMA_VERSION) < 0)
			*ret_error = NULL;
		r = -EPROTONOSUPPORT;
	}
	while (r == 0 && version < STORE_SCHEMA_VERSION)
		r = exec(st, migrations[version++]);
	if (r == 0)
		r = exec(st, "COMMIT");
	if (r < 0) {
		char *message = *ret_error ? NULL : strdup(store_error(st));

		if (message)
			*ret_error = message;
		exec(st, "ROLLBACK");
	}
	return r;
}

int store_open(const char *path, struct store **ret, char **ret_error)
{
	struct store *st = calloc(1, sizeof(*st));
	int fd, r;

	*ret_error = NULL;
	if (!st)
		return -ENOMEM;
	/* made by hand first, so that it never exists with wider permissions */
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0) {
		r = -errno;
		free(st);
		return r;
	}
	close(fd);
	r = sql_errno(
		sqlite3_open_v2(path, &st->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL));
	if (r < 0)
		goto fail;
	sqlite3_busy_timeout(st->db, BUSY_MS);
	r = exec(st,
		 "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;"
		 "PRAGMA secure_delete = ON; PRAGMA trusted_schema = OFF;");
	if (r == 0)
		r = migrate(st, ret_error);
	if (r < 0)
		goto fail;
	st->durable = true;
	*ret = st;
	return 0;
fail:
	if (!*ret_error && st->db)
		*ret_error = strdup(store_error(st));
	store_close(st);
	return r;
}

void store_close(struct store *st)
{
	if (!st)
		return;
	for (unsigned i = 0; i < st->nprepared; i++)
		sqlite3_finalize(st->prepared[i].stmt);
	sqlite3_close(st->db);
	free(st);
}

/* ---- statements ---- */

sqlite3_stmt *store_prepare(struct store *st, const char *sql)
{
	sqlite3_stmt *q;

	for (unsigned i = 0; i < st->nprepared; i++)
		if (st->prepared[i].sql == sql) {
			q = st->prepared[i].stmt;
			sqlite3_reset(q);
			sqlite3_clear_bindings(q);
			return q;
		}
	if (st->nprepared == STORE_STATEMENTS_MAX ||
	    sqlite3_prepare_v3(st->db, sql, -1, SQLITE_PREPARE_PERSISTENT, &q, NULL) != SQLITE_OK)
		return NULL;
	st->prepared[st->nprepared].sql = sql;
	st->prepared[st->nprepared++].stmt = q;
	return q;
}

int store_step(struct store *st, sqlite3_stmt *q)
{
	int rc = sqlite3_step(q);

	if (rc == SQLITE_ROW)
		return 1;
	rc = keep_error(st, rc);
	sqlite3_reset(q);
	return rc;
}

int store_run(struct store *st, sqlite3_stmt *q)
{
	int r;

	if (!q)
		return store_errno(st);
	r = store_step(st, q);
	if (r == 1) {
		sqlite3_reset(q);
		r = 0;
	}
	return r;
}

int store_run_one(struct store *st, sqlite3_stmt *q)
{
	int r = store_run(st, q);

	return r == 0 && !sqlite3_changes(st->db) ? -ENOENT : r;
}

void bind_blob(sqlite3_stmt *q, int i, const void *data, size_t len)
{
	sqlite3_bind_blob(q, i, data, (int)len, SQLITE_STATIC);
}

void bind_text(sqlite3_stmt *q, int i, const char *text)
{
	sqlite3_bind_text(q, i, text, -1, SQLITE_STATIC);
}

void bind_int(sqlite3_stmt *q, int i, int64_t v)
{
	sqlite3_bind_int64(q, i, v);
}

bool column_blob(sqlite3_stmt *q, int i, void *ret, size_t len)
{
	const void *p = sqlite3_column_blob(q, i);

	if (!p || (size_t)sqlite3_column_bytes(q, i) != len)
		return false;
	memcpy(ret, p, len);
	return true;
}

void column_text(sqlite3_stmt *q, int i, char *ret, size_t size)
{
	const char *p = (const char *)sqlite3_column_text(q, i);

	snprintf(ret, size, "%s", p ? p : "");
}

/* ---- transactions ---- */

int store_begin(struct store *st, bool durable)
{
	int r;

	if (st->in_transaction)
		return -EINVAL;
	st->error[0] = '\0';
	if (durable != st->durable) {
		r = exec(st, durable ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = NORMAL");
		if (r < 0)
			return r;
		st->durable = durable;
	}
	r = store_run(st, store_prepare(st, "BEGIN IMMEDIATE"));
	st->in_transaction = r == 0;
	return r;
}

int store_commit(struct store *st)
{
	int r = store_run(st, store_prepare(st, "COMMIT"));

	if (r < 0)
		store_rollback(st);
	st->in_transaction = false;
	return r;
}

void store_rollback(struct store *st)
{
	if (!sqlite3_get_autocommit(st->db))
		exec(st, "ROLLBACK");
	st->in_transaction = false;
}

int store_end(struct store *st, int r)
{
	if (r == 0)
		return store_commit(st);
	store_rollback(st);
	return r;
}

/* ---- meta ---- */

int store_meta_get(struct store *st, const char *key, char **ret)
{
	sqlite3_stmt *q = store_prepare(st, "SELECT value FROM meta WHERE key = ?");
	int r;

	if (!q)
		return store_errno(st);
	bind_text(q, 1, key);
	r = store_step(st, q);
	if (r <= 0)
		return r < 0 ? r : -ENOENT;
	*ret = strdup((const char *)sqlite3_column_text(q, 0));
	sqlite3_reset(q);
	return *ret ? 0 : -ENOMEM;
}

int store_meta_set(struct store *st, const char *key, const char *value)
{
	sqlite3_stmt *q = store_prepare(st, "INSERT INTO meta VALUES(?, ?) ON CONFLICT(key) DO "
					    "UPDATE SET value = excluded.value");

	if (!q)
		return store_errno(st);
	bind_text(q, 1, key);
	bind_text(q, 2, value);
	return store_run(st, q);
}
