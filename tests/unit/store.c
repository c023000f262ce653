/* SPDX-License-Identifier: BSD-2-Clause */
/* The SQLite store: what survives, what is unique, what is taken once; and the audit chain. */
#include "test.h"

#include <errno.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../server/audit.h"
#include "../../server/store.h"
#include "crypto.h"

static char dir[64], path[96];

static int make_dir(void **state)
{
	strcpy(dir, "/tmp/mvpn-store-XXXXXX");
	mvpn_crypto_init();
	return mkdtemp(dir) ? (snprintf(path, sizeof(path), "%s/server.db", dir), 0) : -1;
}

static int remove_dir(void **state)
{
	static const char *const suffixes[] = {"", "-wal", "-shm"};
	char name[128];

	for (int i = 0; i < 3; i++) {
		snprintf(name, sizeof(name), "%s%s", path, suffixes[i]);
		unlink(name);
	}
	return rmdir(dir);
}

static struct store *open_store(void)
{
	struct store *st = NULL;
	char *error = NULL;

	if (store_open(path, &st, &error) < 0)
		fail_msg("%s", error);
	return st;
}

static struct store_device device(uint8_t n, const char *name)
{
	struct store_device d = {.state = MVPN_DEV_ACTIVE, .boot_gen = UINT64_MAX, .created_at = 5};

	memset(d.id, n, sizeof(d.id));
	memset(d.pk, n, sizeof(d.pk));
	snprintf(d.name, sizeof(d.name), "%s", name);
	return d;
}

static int last_device(void *arg, const struct store_device *d)
{
	*(struct store_device *)arg = *d;
	return 0;
}

static int count_rows(void *arg, const struct store_session *s)
{
	++*(int *)arg;
	return 0;
}

static void the_file_is_private_and_kept(void **state)
{
	struct store *st = open_store();
	struct store_device d = device(1, "one"), got = {0};
	struct stat sb;
	char *value;

	assert_int_equal(stat(path, &sb), 0);
	assert_int_equal(sb.st_mode & 0777, 0600);
	assert_int_equal(store_begin(st, true), 0);
	assert_int_equal(store_device_add(st, &d), 0);
	assert_int_equal(store_meta_set(st, "name", "x"), 0);
	assert_int_equal(store_commit(st), 0);
	/* not committed: gone */
	assert_int_equal(store_begin(st, false), 0);
	assert_int_equal(store_device_set_name(st, d.id, "two"), 0);
	store_rollback(st);
	store_close(st);
	st = open_store();
	assert_int_equal(store_device_each(st, last_device, &got), 0);
	assert_string_equal(got.name, "one");
	assert_true(got.boot_gen == UINT64_MAX);
	assert_int_equal(store_meta_get(st, "name", &value), 0);
	assert_string_equal(value, "x");
	free(value);
	assert_int_equal(store_meta_get(st, "none", &value), -ENOENT);
	store_close(st);
}

static void uniqueness_is_the_stores(void **state)
{
	struct store *st = open_store();
	struct store_device one = device(1, "one"), same_name = device(2, "one"),
			    same_key = device(3, "x");
	struct mvpn_prefix p;

	memcpy(same_key.pk, one.pk, 32);
	assert_int_equal(mvpn_prefix_parse(&p, "10.0.0.1"), 0);
	assert_int_equal(store_device_add(st, &one), 0);
	assert_int_equal(store_device_add(st, &same_name), -EEXIST);
	assert_int_equal(store_device_add(st, &same_key), -EEXIST);
	strcpy(same_name.name, "two");
	assert_int_equal(store_device_add(st, &same_name), 0);
	assert_int_equal(store_prefix_add(st, one.id, &p, PREFIX_CLAIM), 0);
	assert_int_equal(store_prefix_add(st, same_name.id, &p, PREFIX_ADMIN), -EEXIST);
	assert_int_equal(store_prefix_add(st, same_name.id, &p, PREFIX_SCOPE),
			 0); /* a scope owns nothing */
	assert_int_equal(store_device_remove(st, one.id), 0);
	assert_int_equal(store_prefix_add(st, same_name.id, &p, PREFIX_ADMIN), 0);
	assert_int_equal(store_device_remove(st, one.id), -ENOENT);
	store_close(st);
}

static struct store_token token(uint8_t n, uint64_t uses, int64_t expires)
{
	struct store_token t = {.uses_left = uses, .expires_at = expires};

	memset(t.id, n, sizeof(t.id));
	return t;
}

static void a_token_is_taken_as_often_as_it_says(void **state)
{
	struct store *st = open_store();
	struct store_token two = token(1, 2, 0), brief = token(2, 9, 100),
			   void_one = token(3, 9, 0), got;

	strcpy(two.group, "web");
	two.addresses = "10.0.0.0/8 fd00::1";
	assert_int_equal(store_token_add(st, &two), 0);
	assert_int_equal(store_token_add(st, &brief), 0);
	assert_int_equal(store_token_add(st, &void_one), 0);
	assert_int_equal(store_token_take(st, two.id, 50), 0);
	assert_int_equal(store_token_take(st, two.id, 50), 0);
	assert_int_equal(store_token_take(st, two.id, 50), -ENOENT);
	assert_int_equal(store_token_take(st, brief.id, 99), 0);
	assert_int_equal(store_token_take(st, brief.id, 100), -ENOENT);
	assert_int_equal(store_token_revoke(st, void_one.id), 0);
	assert_int_equal(store_token_take(st, void_one.id, 1), -ENOENT);
	assert_int_equal(store_token_get(st, two.id, &got), 0);
	assert_string_equal(got.group, "web");
	assert_string_equal(got.addresses, two.addresses);
	assert_int_equal(got.uses_left, 0);
	store_token_clear(&got);
	assert_int_equal(store_token_prune(st, 1000), 0);
	assert_int_equal(store_token_get(st, two.id, &got), -ENOENT);
	store_close(st);
}

/* two servers on one store would race; the statement decides */
static void *take_many(void *arg)
{
	struct store *st = open_store();
	struct store_token t = token(1, 0, 0);
	int *taken = arg;

	for (int i = 0; i < 60; i++)
		if (store_begin(st, false) == 0 &&
		    store_end(st, store_token_take(st, t.id, 1)) == 0)
			++*taken;
	store_close(st);
	return NULL;
}

static void uses_are_taken_atomically(void **state)
{
	struct store *st = open_store();
	struct store_token t = token(1, 50, 0);
	pthread_t threads[3];
	int taken[3] = {0};

	assert_int_equal(store_token_add(st, &t), 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, take_many, &taken[i]), 0);
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(taken[0] + taken[1] + taken[2], 50);
	store_close(st);
}

static void sessions_end_and_are_owed(void **state)
{
	struct store *st = open_store();
	struct store_session s = {
		.layer = 3, .state = SESSION_ACTIVE, .seq = 7, .created_at = 10, .ends_at = 1000};
	uint64_t n = 0;
	int rows = 0;

	memset(s.id, 1, 16);
	memset(s.a, 0xa, 16);
	memset(s.b, 0xb, 16);
	assert_int_equal(store_session_add(st, &s), 0);
	assert_int_equal(store_session_active(st, s.b, 10, count_rows, &rows), 0);
	assert_int_equal(rows, 1);
	assert_int_equal(store_session_end(st, s.id, MVPN_R_REVOKED, OWED_A | OWED_B), 0);
	assert_int_equal(store_session_end(st, s.id, MVPN_R_REVOKED, 0), -ENOENT);
	rows = 0;
	assert_int_equal(store_session_owed(st, s.a, count_rows, &rows), 0);
	assert_int_equal(rows, 1);
	assert_int_equal(store_session_paid(st, s.a, s.b), 0);
	assert_int_equal(store_session_owed(st, s.a, count_rows, &rows), 0);
	assert_int_equal(rows, 1);
	assert_int_equal(store_session_owed(st, s.b, count_rows, &rows), 0);
	assert_int_equal(rows, 2);
	assert_int_equal(store_session_paid_all(st, s.b), 0);
	assert_int_equal(store_session_owed(st, s.b, count_rows, &rows), 0);
	assert_int_equal(rows, 2);
	/* expiry */
	memset(s.id, 2, 16);
	s.seq = 9;
	assert_int_equal(store_session_add(st, &s), 0);
	assert_int_equal(store_session_prune(st, 1001, 0), 0);
	assert_int_equal(store_session_count(st, &n), 0);
	assert_int_equal(n, 0);
	assert_int_equal(store_session_seq_max(st, &n), 0);
	assert_int_equal(n, 9);
	assert_int_equal(store_session_prune(st, 1001, 1001), 0);
	assert_int_equal(store_session_seq_max(st, &n), 0);
	assert_int_equal(n, 0);
	store_close(st);
}

static void sql(const char *text)
{
	sqlite3 *db;

	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	if (sqlite3_exec(db, text, NULL, NULL, NULL) != SQLITE_OK)
		fail_msg("%s", sqlite3_errmsg(db));
	sqlite3_close(db);
}

static int verify(struct audit *a, uint64_t *ret_seq)
{
	struct audit_verify *v;
	int r;

	assert_int_equal(audit_verify_new(a, &v), 0);
	do
		r = audit_verify_step(v, ret_seq);
	while (r > 0);
	audit_verify_free(v);
	return r;
}

static void a_changed_trail_is_noticed(void **state)
{
	static const char *const tampering[][2] = {
		{"UPDATE audit SET event = 'nothing' WHERE seq = 5",
		 "UPDATE audit SET event = 'event' WHERE seq = 5"},
		{"UPDATE audit SET at = at + 1 WHERE seq = 2",
		 "UPDATE audit SET at = at - 1 WHERE seq = 2"},
		{"UPDATE audit SET json = '{}' WHERE seq = 9",
		 "UPDATE audit SET json = '{\"n\":8}' WHERE seq = 9"},
		{"UPDATE audit SET seq = 11 WHERE seq = 10",
		 "UPDATE audit SET seq = 10 WHERE seq = 11"},
		{"DELETE FROM audit WHERE seq = 10",
		 NULL}, /* the newest: the open trail knows better */
	};
	struct store *st = open_store();
	struct audit a;
	uint64_t bad = 0;
	json_t *list;

	assert_int_equal(audit_open(&a, st), 0);
	for (int i = 0; i < 10; i++)
		assert_int_equal(audit_add(&a, "test", "event", json_pack("{s:i}", "n", i)), 0);
	assert_int_equal(verify(&a, &bad), 0);
	for (int i = 0; i < 5; i++) {
		sql(tampering[i][0]);
		assert_int_equal(verify(&a, &bad), -EBADMSG);
		assert_true(bad >= 2);
		if (tampering[i][1]) {
			sql(tampering[i][1]);
			assert_int_equal(verify(&a, &bad), 0);
		}
	}
	assert_int_equal(audit_list(&a, 8, 3, &list), 0);
	assert_int_equal(json_array_size(list), 2);
	json_decref(list);
	store_close(st);
}

static int forget(struct audit *a, uint64_t keep, int64_t before)
{
	int r, n;

	assert_int_equal(store_begin(a->st, false), 0);
	n = audit_prune(a, keep, before);
	r = store_end(a->st, n < 0 ? n : 0);
	assert_int_equal(r, 0);
	return n;
}

static void what_is_forgotten_leaves_a_checkpoint(void **state)
{
	static const uint8_t key[32] = "not in the store", other[32] = "of another server";
	static const char *const tampering[][2] = {
		/* more of the beginning is gone than was forgotten; an hourly checkpoint does not hide it */
		{"CREATE TABLE t AS SELECT * FROM audit; DELETE FROM audit WHERE seq <= 40",
		 "DELETE FROM audit; INSERT INTO audit SELECT * FROM t; DROP TABLE t"},
		{"CREATE TABLE t AS SELECT * FROM audit; CREATE TABLE u AS SELECT * FROM checkpoints;"
		 "DELETE FROM audit WHERE seq <= 40; DELETE FROM checkpoints WHERE seq < 40;"
		 "UPDATE checkpoints SET forgotten = 1 WHERE seq = 40",
		 "DELETE FROM audit; INSERT INTO audit SELECT * FROM t; DROP TABLE t;"
		 "DELETE FROM checkpoints; INSERT INTO checkpoints SELECT * FROM u; DROP TABLE u"},
		{"UPDATE checkpoints SET at = at + 1 WHERE seq = 40",
		 "UPDATE checkpoints SET at = at - 1 WHERE seq = 40"},
		{"UPDATE checkpoints SET forgotten = 0", "UPDATE checkpoints SET forgotten = (seq < 40)"},
	};
	struct store *st = open_store();
	struct audit a = {.key = key};
	uint64_t bad = 0;
	json_t *list;

	assert_int_equal(audit_open(&a, st), 0);
	for (int i = 1; i <= 60; i++) {
		assert_int_equal(audit_add(&a, "test", "event", json_pack("{s:i}", "n", i)), 0);
		if (i == 10 || i == 40)
			assert_int_equal(audit_checkpoint(&a), 0);
	}
	assert_int_equal(verify(&a, &bad), 0);
	assert_int_equal(forget(&a, 100, 0), 0);
	assert_int_equal(forget(&a, 40, 0), 20);
	assert_int_equal(verify(&a, &bad), 0);
	assert_int_equal(audit_list(&a, 1, 100, &list), 0);
	assert_int_equal(json_array_size(list), 41); /* and that it was forgotten */
	assert_int_equal(json_integer_value(json_object_get(json_array_get(list, 0), "seq")), 21);
	json_decref(list);
	for (int i = 0; i < 4; i++) {
		sql(tampering[i][0]);
		assert_int_equal(verify(&a, &bad), -EBADMSG);
		sql(tampering[i][1]);
		assert_int_equal(verify(&a, &bad), 0);
	}
	/* all are old, but the newest stays */
	assert_int_equal(forget(&a, 100, INT64_MAX), 40);
	assert_int_equal(forget(&a, 1, 0), 1);
	assert_int_equal(verify(&a, &bad), 0);
	/* the newest are cut off, and nobody remembers but a checkpoint */
	assert_int_equal(audit_checkpoint(&a), 0);
	assert_int_equal(audit_add(&a, "test", "event", NULL), 0);
	sql("DELETE FROM audit WHERE seq >= 63");
	assert_int_equal(audit_open(&a, st), 0);
	assert_int_equal(verify(&a, &bad), -EBADMSG);
	/* another server's key */
	a.key = other;
	assert_int_equal(verify(&a, &bad), -EBADMSG);
	store_close(st);
}

/* what is added and forgotten between two steps is no tampering; what was changed meanwhile is found */
static void a_trail_is_verified_while_it_changes(void **state)
{
	static const uint8_t key[32] = "not in the store";
	struct store *st = open_store();
	struct audit a = {.key = key};
	struct audit_verify *v;
	uint64_t bad = 0;
	unsigned steps = 0;
	int r;

	assert_int_equal(audit_open(&a, st), 0);
	assert_int_equal(store_begin(st, false), 0);
	for (int i = 1; i <= 5000; i++)
		assert_int_equal(audit_add(&a, "test", "event", NULL), 0);
	assert_int_equal(store_commit(st), 0);
	assert_int_equal(audit_verify_new(&a, &v), 0);
	while ((r = audit_verify_step(v, &bad)) > 0) {
		assert_int_equal(audit_add(&a, "test", "event", NULL), 0);
		if (steps == 1)
			assert_int_equal(forget(&a, 4500, 0), 502);
		if (steps == 2)
			assert_int_equal(audit_checkpoint(&a), 0);
		steps++;
	}
	assert_int_equal(r, 0);
	assert_in_range(steps, 19, 25);
	audit_verify_free(v);
	assert_int_equal(audit_verify_new(&a, &v), 0);
	assert_int_equal(audit_verify_step(v, &bad), 1);
	sql("UPDATE audit SET event = 'nothing' WHERE seq = 4000");
	while ((r = audit_verify_step(v, &bad)) > 0)
		;
	assert_int_equal(r, -EBADMSG);
	assert_int_equal(bad, 4000);
	audit_verify_free(v);
	store_close(st);
}

static void what_is_no_store_of_ours_is_refused(void **state)
{
	struct store *st = open_store();
	char *error = NULL;
	FILE *f;

	store_close(st);
	sql("PRAGMA user_version = 99");
	assert_int_equal(store_open(path, &st, &error), -EPROTONOSUPPORT);
	assert_non_null(strstr(error, "99"));
	free(error);
	remove_dir(state);
	assert_int_equal(mkdir(dir, 0700), 0);
	f = fopen(path, "w");
	for (int i = 0; i < 2000; i++)
		fputs("not a database ", f);
	fclose(f);
	assert_int_equal(store_open(path, &st, &error), -EUCLEAN);
	assert_non_null(error);
	free(error);
}

/* the operator reads it after the transaction was rolled back */
static void the_reason_of_a_failure_outlives_the_rollback(void **state)
{
	struct store *st = open_store();
	struct store_device d = device(1, "one");

	assert_int_equal(store_begin(st, true), 0);
	assert_int_equal(store_device_add(st, &d), 0);
	assert_int_equal(store_end(st, store_device_add(st, &d)), -EEXIST);
	assert_non_null(strstr(store_error(st), "UNIQUE"));
	store_close(st);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, make_dir, remove_dir)
	const struct CMUnitTest tests[] = {
		T(the_file_is_private_and_kept),
		T(uniqueness_is_the_stores),
		T(a_token_is_taken_as_often_as_it_says),
		T(uses_are_taken_atomically),
		T(sessions_end_and_are_owed),
		T(a_changed_trail_is_noticed),
		T(what_is_forgotten_leaves_a_checkpoint),
		T(a_trail_is_verified_while_it_changes),
		T(what_is_no_store_of_ours_is_refused),
		T(the_reason_of_a_failure_outlives_the_rollback),
	};

	return MVPN_RUN(tests);
}
