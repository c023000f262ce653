/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The server is killed at random points under a load of enrolments, introductions, policies and revocations. Each time the
 * store must be whole, and whatever somebody was told must still be so.
 */
#include "../sim/sim.h"

#include <pthread.h>
#include <signal.h>
#include <sodium.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#include "crypto.h"
#include "ipc.h"

#define ROUNDS 24
#define LIFE_MS 250 /* of a server, at most */
#define DEVICES_MAX 1000

static struct {
	struct sim_server s;
	/* what was acknowledged */
	struct device {
		struct sim_device d;
		bool enrolled, revoked, in_doubt; /* asked for revocation, no reply */
		bool introduced;
		uint8_t session[16]; /* with the device before it */
	} devices[DEVICES_MAX];
	unsigned n;
	uint64_t rev;
	char policy[64];
	json_int_t sessions, revocations, policies;
} t;

/* ---- the load: false once the server is dead ---- */

static bool ask(const char *verb, json_t *args, json_t **ret)
{
	*ret = NULL;
	if (ipc_request(t.s.socket, verb, args, SIM_WAIT_MS, ret) < 0)
		return false;
	assert_true(json_is_true(json_object_get(*ret, "ok")));
	return true;
}

static void address_of(unsigned i, char ret[20])
{
	snprintf(ret, 20, "10.0.%u.%u", i / 256, i % 256);
}

static bool enrol(unsigned i)
{
	struct device *x = &t.devices[i];
	char address[20], name[20], token[MVPN_TOKEN_MAX];
	const char *list[1] = {address};
	json_t *o;

	address_of(i, address);
	snprintf(name, sizeof(name), "d%u", i);
	sim_device_init(&x->d, &t.s);
	if (!ask("token-create", json_pack("{s:[s]}", "addresses", address), &o))
		return false;
	snprintf(token, sizeof(token), "%s", json_string_value(json_object_get(o, "token")));
	json_decref(o);
	if (!sim_enrol_start(&x->d, token))
		return false;
	sim_register(&x->d, name, list, 1);
	if (!sim_try(&x->d, MVPN_MSG_WELCOME))
		return false;
	assert_int_equal(x->d.naccepted, 1);
	x->enrolled = true;
	return true;
}

static bool introduce(unsigned i)
{
	struct sim_device *a = &t.devices[i].d, *b = &t.devices[i - 1].d;
	struct intro_keys ka, kb;
	struct sim_request q;
	char address[20];
	uint8_t session[16];
	bool ok;

	address_of(i - 1, address);
	sim_request(a, address, &q);
	ok = sim_try(b, MVPN_MSG_OFFER);
	if (ok) {
		sim_accept(b, session, &kb);
		ok = sim_try(a, MVPN_MSG_ANSWER);
	}
	if (!ok) {
		intro_a_free(q.a);
		return false;
	}
	assert_int_equal(sim_finish(a, &q, &ka), 0);
	assert_memory_equal(ka.tx, kb.rx, 32);
	memcpy(t.devices[i].session, session, 16);
	t.devices[i].introduced = true;
	t.sessions++;
	return true;
}

static bool apply(unsigned i)
{
	char text[64];
	json_t *o;

	snprintf(text, sizeof(text), "allow * -> *\nprotect 172.16.%u.0/24\n", i % 256);
	if (!ask("policy-apply", json_pack("{s:s}", "text", text), &o)) {
		t.policy[0] = '\0'; /* it may have been taken, or not */
		return false;
	}
	t.rev = (uint64_t)json_integer_value(json_object_get(o, "rev"));
	strcpy(t.policy, text);
	t.policies++;
	json_decref(o);
	return true;
}

static bool shut_out(unsigned i)
{
	struct device *x = &t.devices[i];
	json_t *o;

	x->in_doubt = true;
	if (!ask("device-revoke", json_pack("{s:o}", "device", json_sprintf("d%u", i)), &o))
		return false;
	x->in_doubt = false;
	x->revoked = true;
	t.revocations++;
	json_decref(o);
	return true;
}

/* one more device, and what it takes part in */
static bool load(void)
{
	unsigned i = t.n;

	if (i == DEVICES_MAX) /* a very fast disk */
		return apply((unsigned)t.policies);
	t.n++;
	if (!enrol(i))
		return false;
	if (i % 3 == 1 && t.devices[i - 1].d.ch && !t.devices[i - 1].revoked && !introduce(i))
		return false;
	if (i % 4 == 2 && !apply(i))
		return false;
	return !(i % 6 == 5 && t.devices[i - 5].enrolled) || shut_out(i - 5);
}

/* ---- killing ---- */

static void *killer(void *arg)
{
	unsigned us = 1000 + randombytes_uniform(LIFE_MS * 1000);
	struct timespec ts = {0, (long)us * 1000};

	nanosleep(&ts, NULL);
	kill(t.s.pid, SIGKILL);
	return NULL;
}

/* ---- what must be so ---- */

static int expect_ok(void *arg, int n, char **value, char **name)
{
	assert_string_equal(value[0], "ok");
	return 0;
}

static int expect_no_row(void *arg, int n, char **value, char **name)
{
	fail_msg("a foreign key without its row");
	return 0;
}

static void check_file(void)
{
	char path[160];
	sqlite3 *db;

	snprintf(path, sizeof(path), "%s/server.db", t.s.dir);
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "PRAGMA integrity_check", expect_ok, NULL, NULL),
			 SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "PRAGMA foreign_key_check", expect_no_row, NULL, NULL),
			 SQLITE_OK);
	sqlite3_close(db);
}

static void check_devices(void)
{
	json_t *o = sim_ok(&t.s, "device-list", NULL), *list = json_object_get(o, "devices"), *row;
	const char *state[DEVICES_MAX] = {NULL};
	size_t k;

	json_array_foreach(list, k, row)
	{
		const char *name = json_string_value(json_object_get(row, "name"));

		state[atoi(name + 1)] = json_string_value(json_object_get(row, "state"));
	}
	for (unsigned i = 0; i < t.n; i++) {
		const struct device *x = &t.devices[i];

		if (!x->enrolled)
			continue;
		assert_non_null(state[i]);
		if (!x->in_doubt)
			assert_string_equal(state[i], x->revoked ? "revoked" : "active");
	}
	json_decref(o);
}

static void check_sessions(void)
{
	json_t *o = sim_ok(&t.s, "sessions", NULL), *list = json_object_get(o, "sessions"), *row,
	       *set = json_object();
	char hex[33];
	size_t k;

	json_array_foreach(list, k, row) json_object_set_new(
		set, json_string_value(json_object_get(row, "id")), json_true());
	for (unsigned i = 1; i < t.n; i++) {
		const struct device *x = &t.devices[i], *y = &t.devices[i - 1];

		if (!x->introduced || x->in_doubt || y->in_doubt)
			continue;
		mvpn_hex(hex, x->session, 16);
		if (json_is_true(json_object_get(set, hex)) == (x->revoked || y->revoked))
			fail_msg("session of d%u with d%u is %s", i, i - 1,
				 x->revoked || y->revoked ? "still there" : "forgotten");
	}
	json_decref(set);
	json_decref(o);
}

static void check_policy(void)
{
	json_t *o = sim_ok(&t.s, "policy-show", NULL);

	assert_true((uint64_t)json_integer_value(json_object_get(o, "rev")) >= t.rev);
	if (t.policy[0])
		assert_string_equal(json_string_value(json_object_get(o, "text")), t.policy);
	json_decref(o);
	o = sim_ok(&t.s, "audit", "{s:b}", "verify", 1);
	assert_true(json_is_true(json_object_get(o, "verified")));
	json_decref(o);
}

/* who was enrolled may come back, who was revoked may not */
static void check_log_in(struct device *x, unsigned i)
{
	char address[20];

	address_of(i, address);
	if (x->revoked) {
		assert_true(sim_login(&x->d));
		sim_expect_close(&x->d, MVPN_R_REVOKED);
	} else {
		sim_rejoin(&x->d, address);
		assert_int_equal(x->d.naccepted, 1);
	}
}

static void check_log_ins(void)
{
	unsigned checked = 0;

	for (unsigned i = t.n; i-- && checked < 6;)
		if (t.devices[i].enrolled && !t.devices[i].in_doubt) {
			check_log_in(&t.devices[i], i);
			checked++;
		}
}

static void nothing_acknowledged_is_lost(void **state)
{
	pthread_t thread;

	sim_server_new(&t.s);
	assert_true(apply(0));
	for (unsigned round = 0; round < ROUNDS; round++) {
		for (unsigned i = 0; i < t.n; i++)
			sim_hang_up(&t.devices[i].d);
		assert_int_equal(pthread_create(&thread, NULL, killer, NULL), 0);
		while (load())
			;
		pthread_join(thread, NULL);
		sim_server_crash(&t.s); /* it is dead: this reaps it */
		check_file();
		sim_server_start(&t.s);
		check_devices();
		check_sessions();
		check_policy();
		check_log_ins();
	}
	print_message("%u enrolments, %d sessions, %d policies, %d revocations, %d kills\n", t.n,
		      (int)t.sessions, (int)t.policies, (int)t.revocations, ROUNDS);
	assert_true(t.sessions > 0 && t.policies > 1 && t.revocations > 0);
	for (unsigned i = 0; i < t.n; i++)
		sim_device_free(&t.devices[i].d);
	sim_server_free(&t.s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_acknowledged_is_lost),
	};

	return MVPN_RUN(tests);
}
