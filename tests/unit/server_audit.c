/* SPDX-License-Identifier: BSD-2-Clause */
/* The audit trail of a server at work: long ones, and what comes again and again. */
#include "../sim/sim.h"

#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../server/audit.h"
#include "crypto.h"
#include "ipc.h"
#include "loop.h"

#define EVENTS 200000

static void add_events(struct sim_server *s, unsigned n)
{
	struct audit a = {0};
	struct store *st;
	char path[128], *error;

	snprintf(path, sizeof(path), "%s/server.db", s->dir);
	assert_int_equal(store_open(path, &st, &error), 0);
	assert_int_equal(audit_open(&a, st), 0);
	assert_int_equal(store_begin(st, false), 0);
	while (n--)
		assert_int_equal(audit_add(&a, "test", "event", json_pack("{s:i}", "n", (int)n)), 0);
	assert_int_equal(store_commit(st), 0);
	store_close(st);
}

/* in a process of its own: 0 if the trail is whole */
static pid_t verify(struct sim_server *s)
{
	pid_t pid = fork();
	json_t *o;

	assert_true(pid >= 0);
	if (pid)
		return pid;
	if (ipc_request(s->socket, "audit", json_pack("{s:b, s:i}", "verify", 1, "limit", 1), 60000, &o) < 0)
		_exit(1);
	_exit(json_is_true(json_object_get(o, "verified")) ? 0 : 2);
}

static void a_verify_keeps_nobody_waiting(void **state)
{
	unsigned introduced = 0;
	uint8_t session[16];
	struct sim_net n;
	double worst = 0;
	int status;
	pid_t pid;

	sim_net_up(&n);
	sim_server_stop(&n.s);
	add_events(&n.s, EVENTS);
	sim_server_start(&n.s);
	sim_rejoin(&n.a, A_ADDR);
	sim_rejoin(&n.b, B_ADDR);
	pid = verify(&n.s);
	while (waitpid(pid, &status, WNOHANG) == 0) {
		uint64_t began = mono_ns();
		double ms;

		sim_introduce(&n.a, &n.b, B_ADDR, session);
		ms = (double)(mono_ns() - began) / 1e6;
		worst = ms > worst ? ms : worst;
		introduced++;
	}
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	print_message("%u introductions while %u events were verified, the slowest in %.1f ms\n", introduced, EVENTS,
		      worst);
	/* in one go it would be two or three: the one before, and the one that waits for its end */
	assert_true(introduced >= 20);
	sim_net_down(&n);
}

/* how many refusals of that name are on record, by events and all in all */
static json_int_t refusals(struct sim_server *s, const char *event, unsigned *ret_events)
{
	json_t *o = sim_ok(s, "audit", "{s:b, s:i}", "verify", 1, "limit", 5000), *e;
	json_int_t all = 0;
	size_t i;

	*ret_events = 0;
	assert_true(json_is_true(json_object_get(o, "verified")));
	json_array_foreach(json_object_get(o, "events"), i, e)
	{
		json_t *n = json_object_get(json_object_get(e, "detail"), "count");

		if (strcmp(json_string_value(json_object_get(e, "event")), event) != 0)
			continue;
		all += n ? json_integer_value(n) : 1;
		++*ret_events;
	}
	json_decref(o);
	return all;
}

static void every_refusal_is_on_record(void **state)
{
	unsigned events;
	struct sim_request q;
	struct sim_net n;

	sim_net_up(&n);
	sim_join(&n.c, "c", NULL);
	for (unsigned i = 0; i < 50; i++) {
		sim_request(&n.c, i % 2 ? A_ADDR : B_ADDR, &q);
		sim_expect_fail(&n.c, MVPN_R_DENIED);
		intro_a_free(q.a);
	}
	/* the first of each kind at once */
	assert_int_equal(refusals(&n.s, "introduction-failed", &events), 2);
	json_decref(sim_ok(&n.s, "device-suspend", "{s:s}", "device", "c"));
	for (unsigned i = 0; i < 10; i++) {
		assert_true(sim_login(&n.c));
		sim_expect_close(&n.c, MVPN_R_SUSPENDED);
	}
	assert_int_equal(refusals(&n.s, "log-in-refused", &events), 1);
	/* the rest when their time is over, or the server stops */
	sim_server_stop(&n.s);
	sim_server_start(&n.s);
	assert_int_equal(refusals(&n.s, "introduction-failed", &events), 50);
	assert_int_equal(events, 4);
	assert_int_equal(refusals(&n.s, "log-in-refused", &events), 10);
	assert_int_equal(events, 2);
	sim_net_down(&n);
}

static void more_kinds_than_are_counted_are_on_record_too(void **state)
{
	static const char *const addresses[] = {A_ADDR};
	unsigned events;
	struct sim_net n;

	sim_net_up(&n);
	sim_join(&n.c, "c", NULL);
	for (unsigned i = 0; i < 5; i++) {
		sim_register(&n.c, NULL, addresses, 1);
		sim_expect(&n.c, MVPN_MSG_WELCOME);
		assert_int_equal(n.c.nrefused, 1);
	}
	/* 300 tokens that are revoked, each of them used twice */
	for (unsigned i = 0; i < 300; i++) {
		struct sim_device d;
		char token[MVPN_TOKEN_MAX], id[33];
		struct mvpn_token t;

		sim_token(&n.s, NULL, NULL, token);
		sim_device_init(&d, &n.s);
		assert_int_equal(mvpn_token_decode(&t, token), 0);
		mvpn_hex(id, t.token_id, 16);
		json_decref(sim_ok(&n.s, "token-revoke", "{s:s}", "id", id));
		for (unsigned k = 0; k < 2; k++) {
			assert_true(sim_enrol_start(&d, token));
			sim_expect_close(&d, MVPN_R_TOKEN_REVOKED);
		}
		sim_device_free(&d);
	}
	sim_server_stop(&n.s);
	sim_server_start(&n.s);
	assert_int_equal(refusals(&n.s, "address-refused", &events), 5);
	assert_int_equal(events, 2);
	assert_int_equal(refusals(&n.s, "enrolment-refused", &events), 600);
	sim_net_down(&n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_verify_keeps_nobody_waiting),
		cmocka_unit_test(every_refusal_is_on_record),
		cmocka_unit_test(more_kinds_than_are_counted_are_on_record_too),
	};

	return MVPN_RUN(tests);
}
