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

#define SAMPLES 20000

/* how long pushes take: from a REQUEST to the OFFER at the other device */
struct pushes {
	double ms[SAMPLES];
	unsigned n;
};

static void push_once(struct sim_net *n, struct pushes *p)
{
	uint64_t began = mono_ns();
	struct intro_keys keys;
	struct sim_request q;
	uint8_t session[16];

	sim_request(&n->a, B_ADDR, &q);
	sim_expect(&n->b, MVPN_MSG_OFFER);
	p->ms[p->n++ % SAMPLES] = (double)(mono_ns() - began) / 1e6;
	sim_accept(&n->b, session, &keys);
	sim_expect(&n->a, MVPN_MSG_ANSWER);
	assert_int_equal(sim_finish(&n->a, &q, &keys), 0);
}

static int by_size(const void *a, const void *b)
{
	double d = *(const double *)a - *(const double *)b;

	return (d > 0) - (d < 0);
}

static double percentile(struct pushes *p, unsigned percent)
{
	unsigned n = p->n < SAMPLES ? p->n : SAMPLES;

	qsort(p->ms, n, sizeof(p->ms[0]), by_size);
	return p->ms[(n - 1) * percent / 100];
}

static void a_verify_keeps_nobody_waiting(void **state)
{
	static struct pushes quiet, beside;
	struct sim_net n;
	int status;
	pid_t pid;

	sim_net_up(&n);
	sim_server_stop(&n.s);
	add_events(&n.s, EVENTS);
	sim_server_start(&n.s);
	sim_rejoin(&n.a, A_ADDR);
	sim_rejoin(&n.b, B_ADDR);
	for (unsigned i = 0; i < 200; i++)
		push_once(&n, &quiet);
	pid = verify(&n.s);
	while (waitpid(pid, &status, WNOHANG) == 0)
		push_once(&n, &beside);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	print_message("%u pushes while %u events were verified: p50 %.2f ms, p99 %.2f ms; without: %.2f, %.2f\n", beside.n,
		      EVENTS, percentile(&beside, 50), percentile(&beside, 99), percentile(&quiet, 50),
		      percentile(&quiet, 99));
	/* in one go it would be two or three: the one before, and the one that waits for its end */
	assert_true(beside.n >= 20);
	sim_net_down(&n);
}

/* how many refusals of that name are on record, by events and all in all */
static json_int_t refusals(struct sim_server *s, const char *event, unsigned *ret_events)
{
	json_t *o = sim_ok(s, "audit", "{s:b}", "verify", 1), *e;
	json_int_t all = 0, last = 0;
	bool more = true;
	size_t i;

	*ret_events = 0;
	assert_true(json_is_true(json_object_get(o, "verified")));
	json_decref(o);
	while (more) {
		o = sim_ok(s, "audit", "{s:I, s:i}", "after", last, "limit", 50000);
		more = json_is_true(json_object_get(o, "more"));
		assert_in_range(json_array_size(json_object_get(o, "events")), more ? 500 : 0, 500);
		json_array_foreach(json_object_get(o, "events"), i, e)
		{
			json_t *n = json_object_get(json_object_get(e, "detail"), "count");

			/* in parts, and none is left out */
			assert_int_equal(json_integer_value(json_object_get(e, "seq")), ++last);
			if (strcmp(json_string_value(json_object_get(e, "event")), event) != 0)
				continue;
			all += n ? json_integer_value(n) : 1;
			++*ret_events;
		}
		json_decref(o);
	}
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

struct followed {
	struct sim_net *n;
	json_int_t last; /* seq */
	unsigned old, applied;
};

/* what is on record comes first, then what this very function does */
static int on_event(void *arg, const json_t *e)
{
	struct followed *f = arg;
	const char *event = json_string_value(json_object_get(e, "event"));
	json_int_t seq = json_integer_value(json_object_get(e, "seq"));
	char text[100];

	assert_true(json_is_true(json_object_get(e, "ok")));
	assert_non_null(event);
	assert_true(!f->last || seq == f->last + 1); /* nothing is left out, nothing comes twice */
	f->last = seq;
	if (strcmp(event, "policy-apply")) {
		f->old++;
		return 0;
	}
	assert_true(json_integer_value(json_object_get(json_object_get(e, "detail"), "uid")) >= 0);
	if (f->applied == 5)
		return 1;
	snprintf(text, sizeof(text), "allow a -> b\n# %u\n", f->applied++);
	sim_policy(&f->n->s, text);
	return 0;
}

static void audit_says_who_and_why(void **state)
{
	struct sim_net n;
	json_t *o, *e, *detail;
	unsigned seen = 0;
	size_t i;

	sim_net_up(&n);
	json_decref(sim_ok(&n.s, "device-suspend", "{s:s, s:s}", "device", "a", "comment", "stolen?"));
	json_decref(sim_ok(&n.s, "device-approve", "{s:s, s:s}", "device", "a", "comment", "found"));
	json_decref(sim_ok(&n.s, "device-revoke", "{s:s}", "device", "b"));
	o = sim_ok(&n.s, "audit", NULL);
	json_array_foreach(json_object_get(o, "events"), i, e)
	{
		const char *event = json_string_value(json_object_get(e, "event")), *why;

		detail = json_object_get(e, "detail");
		why = json_string_value(json_object_get(detail, "comment"));
		/* only what an administrator does has a user */
		assert_int_equal(!strcmp(json_string_value(json_object_get(e, "actor")), "admin"),
				 json_is_integer(json_object_get(detail, "uid")));
		if (!strcmp(event, "device-suspend"))
			seen |= why && !strcmp(why, "stolen?") ? 1 : 0;
		else if (!strcmp(event, "device-approve"))
			seen |= why && !strcmp(why, "found") ? 2 : 0;
		else if (!strcmp(event, "device-revoke")) /* no reason of an earlier call sticks */
			seen |= why ? 0 : 4;
	}
	json_decref(o);
	assert_int_equal(seen, 7);
	sim_net_down(&n);
}

static void audit_is_followed(void **state)
{
	struct sim_net n;
	struct followed f = {.n = &n};
	uint8_t session[16];
	json_t *o, *e, *detail;

	sim_net_up(&n);
	for (int i = 0; i < 250; i++) /* more than the stream sends at a time */
		sim_introduce(&n.a, &n.b, B_ADDR, session);
	/* why they may talk is on record */
	o = sim_ok(&n.s, "audit", "{s:i}", "limit", 1);
	e = json_array_get(json_object_get(o, "events"), 0);
	assert_string_equal(json_string_value(json_object_get(e, "event")), "introduction");
	detail = json_object_get(e, "detail");
	assert_string_equal(json_string_value(json_object_get(detail, "a")), "a");
	assert_string_equal(json_string_value(json_object_get(detail, "b")), "b");
	assert_string_equal(json_string_value(json_object_get(detail, "rule")), "allow a -> b");
	assert_int_equal(json_integer_value(json_object_get(detail, "line")), 1);
	assert_true(json_is_false(json_object_get(detail, "rekey")));
	json_decref(o);
	assert_int_equal(ipc_follow(n.s.socket, "audit",
				    json_pack("{s:b, s:b, s:i}", "follow", 1, "verify", 1, "after", 0),
				    SIM_WAIT_MS, on_event, &f),
			 1);
	assert_true(f.old > 250); /* tokens, enrolments, introductions */
	/* those after a known one */
	o = sim_ok(&n.s, "audit", "{s:I, s:i}", "after", (json_int_t)2, "limit", 3);
	assert_int_equal(json_array_size(json_object_get(o, "events")), 3);
	e = json_array_get(json_object_get(o, "events"), 0);
	assert_int_equal(json_integer_value(json_object_get(e, "seq")), 3);
	json_decref(o);
	sim_net_down(&n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_verify_keeps_nobody_waiting),
		cmocka_unit_test(every_refusal_is_on_record),
		cmocka_unit_test(more_kinds_than_are_counted_are_on_record_too),
		cmocka_unit_test(audit_says_who_and_why),
		cmocka_unit_test(audit_is_followed),
	};

	return MVPN_RUN(tests);
}
