/* SPDX-License-Identifier: BSD-2-Clause */
/* Shared by the store_*.c files only. */
#ifndef SERVER_STORE_SQLITE_H
#define SERVER_STORE_SQLITE_H

#include <sqlite3.h>

#include "store.h"

#define STORE_STATEMENTS_MAX 96

struct store {
	sqlite3 *db;
	bool in_transaction, durable;
	char error[200]; /* words of the last failure: a rollback makes the database forget them */
	/* prepared once, found by the address of their text */
	struct {
		const char *sql;
		sqlite3_stmt *stmt;
	} prepared[STORE_STATEMENTS_MAX];
	unsigned nprepared;
};

/* the statement, reset and unbound; sql must be a constant. NULL: store_errno() says why */
sqlite3_stmt *store_prepare(struct store *st, const char *sql);
int store_errno(struct store *st); /* of the last failure */
/* run a statement that gives no row; resets it. 0 or -errno */
int store_run(struct store *st, sqlite3_stmt *q);
/* as store_run, -ENOENT if no row was changed */
int store_run_one(struct store *st, sqlite3_stmt *q);
/* 1 a row, 0 the end (reset), -errno (reset) */
int store_step(struct store *st, sqlite3_stmt *q);

void bind_blob(sqlite3_stmt *q, int i, const void *data, size_t len);
void bind_text(sqlite3_stmt *q, int i, const char *text);
void bind_int(sqlite3_stmt *q, int i, int64_t v);
bool column_blob(sqlite3_stmt *q, int i, void *ret, size_t len); /* false: wrong length */
void column_text(sqlite3_stmt *q, int i, char *ret, size_t size);

#endif
