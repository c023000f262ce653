/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The server changes its key: whoever hears of it follows, in whatever step it comes, whenever the server dies; who does not is told
 * why it is shut out; channels and introductions go on meanwhile.
 */
#include "../sim/sim.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../../keyd/server_pins.h"
#include "crypto.h"
#include "fsutil.h"
#include "ipc.h"
#include "loop.h"
#include "mvpn/limits.h"

#define FLOW_POLICY "allow a -> b\n"
#define KILLS 16

static struct sim_net n;

static int up(void **state)
{
	sim_net_up(&n);
	return 0;
}

static int down(void **state)
{
	sim_net_down(&n);
	return 0;
}

/* ---- helpers ---- */

static json_t *show(void)
{
	return sim_ok(&n.s, "key-show", NULL);
}

static void expect_step(const char *step, int heard, int devices)
{
	json_t *o = show();

	assert_string_equal(json_string_value(json_object_get(o, "step")), step);
	assert_int_equal(json_integer_value(json_object_get(o, "heard")), heard);
	assert_int_equal(json_integer_value(json_object_get(o, "devices")), devices);
	json_decref(o);
}

static void wait_heard(const char *step, int heard)
{
	uint64_t end = mono_ms() + SIM_WAIT_MS;

	for (;;) {
		json_t *o = show();
		bool there = !strcmp(json_string_value(json_object_get(o, "step")), step) &&
			     json_integer_value(json_object_get(o, "heard")) == heard;

		json_decref(o);
		if (there)
			return;
		assert_true(mono_ms() < end);
		usleep(5000);
	}
}

static void refused(const char *verb, const char *args, bool value, const char *code)
{
	json_t *o = args ? sim_call(&n.s, verb, "{s:b}", args, value) : sim_call(&n.s, verb, NULL);

	assert_false(json_is_true(json_object_get(o, "ok")));
	assert_string_equal(json_string_value(json_object_get(json_object_get(o, "error"), "code")),
			    code);
	json_decref(o);
}

static void rotate(int after_s)
{
	json_decref(sim_ok(&n.s, "key-rotate", "{s:i}", "after_s", after_s));
}

static void now(void)
{
	json_decref(sim_ok(&n.s, "key-rotate", "{s:b}", "now", 1));
}

static void told(struct sim_device *d, uint8_t flags)
{
	sim_expect(d, MVPN_MSG_SERVER_KEY);
	assert_int_equal(d->key_flags, flags);
}

static void acknowledge(struct sim_device *d)
{
	struct chan_buf b = {0};

	chan_begin(&b, MVPN_MSG_SERVER_KEY, 0, 0);
	chan_put(&b, MVPN_TLV_S_PUB, d->key, 32);
	sim_send(d, &b);
	chan_buf_free(&b);
}

static void login_gone(struct sim_device *d)
{
	assert_false(sim_login(d));
	assert_int_equal(chan_feed(d->ch, "x", 1), -EKEYREVOKED);
}

static json_t *last_event(const char *event)
{
	json_t *o = sim_ok(&n.s, "audit", "{s:i}", "limit", 1000),
	       *list = json_object_get(o, "events"), *e, *found = NULL;
	size_t i;

	json_array_foreach(list, i, e) if (!strcmp(json_string_value(json_object_get(e, "event")),
						   event)) found = e;
	json_incref(found);
	json_decref(o);
	return found;
}

static void expect_event(const char *event, const char *actor)
{
	json_t *e = last_event(event);

	if (!e)
		fail_msg("no %s in the audit trail", event);
	assert_string_equal(json_string_value(json_object_get(e, "actor")), actor);
	json_decref(e);
}

/* with the server stopped: the last number of the line that begins so is in the past */
static void make_due(const char *line, unsigned number)
{
	char path[128], text[1024], *p;
	size_t len;
	char *data;

	snprintf(path, sizeof(path), "%s/server.key", n.s.dir);
	assert_int_equal(file_read_secret(path, sizeof(text) - 1, &data, &len), 0);
	p = strstr(data, line);
	assert_non_null(p);
	for (p = strchr(p, ' ') + 1; number--;)
		p = strchr(p, ' ') + 1;
	*p = '0'; /* the first digit of ten: decades ago */
	assert_int_equal(file_replace(path, data, len, 0600), 0);
	free(data);
}

/* ---- tests ---- */

static void a_server_that_never_changed_its_key_says_nothing(void **state)
{
	assert_int_equal(n.a.nkeys, 0);
	expect_step("alone", 2, 2);
	refused("key-cancel", NULL, false, "nothing-announced");
	refused("key-rotate", "after", true, "bad-argument");
}

static void step_by_step(void **state)
{
	uint8_t first[32], second[32], session[16];

	memcpy(first, n.a.server_pk, 32);
	rotate(3600);
	told(&n.a, MVPN_KEY_NEXT | MVPN_KEY_ASK);
	assert_int_equal(n.a.key_serial, 1);
	assert_true(n.a.key_in_s > 3590 && n.a.key_in_s <= 3600);
	assert_true(n.a.key_left_s > MVPN_SERVER_KEY_DUAL_S - 10 &&
		    n.a.key_left_s <= MVPN_SERVER_KEY_DUAL_S);
	memcpy(second, n.a.key, 32);
	assert_memory_not_equal(first, second, 32);
	told(&n.b, MVPN_KEY_NEXT | MVPN_KEY_ASK);
	expect_step("announced", 0, 2);
	acknowledge(&n.a);
	wait_heard("announced", 1);
	refused("key-rotate", "now", false, "in-progress");
	sim_introduce(&n.a, &n.b, B_ADDR, session);

	/* either is good, and who has acknowledged is not asked again */
	sim_rejoin(&n.a, A_ADDR);
	told(&n.a, MVPN_KEY_NEXT);
	memcpy(n.a.server_pk, second, 32);
	sim_rejoin(&n.a, A_ADDR);
	told(&n.a, MVPN_KEY_NEXT);

	now();
	told(&n.a, 0);
	assert_memory_equal(n.a.key, second, 32);
	assert_int_equal(n.a.key_serial, 1);
	told(&n.b, MVPN_KEY_ASK);
	expect_step("switched", 1, 2);
	refused("key-cancel", NULL, false, "nothing-announced");
	refused("key-rotate", "now", false, "in-progress");
	refused("key-rotate", "now", true, "not-heard");
	sim_introduce(&n.b, &n.a, A_ADDR, session);

	/* b has not heard, and still gets in */
	sim_rejoin(&n.b, B_ADDR);
	told(&n.b, MVPN_KEY_ASK);
	assert_int_equal(sim_counter(&n.s, "old_key"), 1);
	acknowledge(&n.b);
	wait_heard("switched", 2);
	/* ... and by the old key again, restored from a backup: it may not know the new one */
	sim_rejoin(&n.b, B_ADDR);
	told(&n.b, MVPN_KEY_ASK);
	expect_step("switched", 1, 2);
	memcpy(n.b.server_pk, second, 32);
	sim_rejoin(&n.b, B_ADDR);
	told(&n.b, 0);
	expect_step("switched", 2, 2);

	now();
	told(&n.a, 0);
	assert_int_equal(n.a.key_left_s, 0);
	expect_step("alone", 2, 2);
	sim_introduce(&n.a, &n.b, B_ADDR, session);
	sim_rejoin(&n.a, A_ADDR);
	memcpy(n.b.server_pk, first, 32);
	login_gone(&n.b);
	assert_int_equal(sim_counter(&n.s, "gone_key"), 1);
	expect_event("server-key-rotate", "admin");
	expect_event("server-key-switch", "admin");
	expect_event("server-key-give-up", "admin");
	json_decref(sim_ok(&n.s, "audit", "{s:b}", "verify", 1));
}

static void cancelled(void **state)
{
	uint8_t first[32];

	memcpy(first, n.a.server_pk, 32);
	rotate(3600);
	told(&n.a, MVPN_KEY_NEXT | MVPN_KEY_ASK);
	acknowledge(&n.a);
	wait_heard("announced", 1);
	memcpy(n.a.server_pk, n.a.key, 32);
	json_decref(sim_ok(&n.s, "key-cancel", NULL));
	told(&n.a, MVPN_KEY_ASK);
	assert_memory_equal(n.a.key, first, 32);
	assert_int_equal(n.a.key_serial, 2);
	assert_int_equal(n.a.key_left_s, 0);
	login_gone(&n.a);
	memcpy(n.a.server_pk, first, 32);
	sim_rejoin(&n.a, A_ADDR);
	/* another one may be begun */
	rotate(3600);
	sim_expect(&n.b, MVPN_MSG_SERVER_KEY);
	sim_expect(&n.b, MVPN_MSG_SERVER_KEY);
	told(&n.b, MVPN_KEY_NEXT | MVPN_KEY_ASK);
	assert_int_equal(n.b.key_serial, 3);
}

static const char *token_state_of(json_t *tokens, const char *id)
{
	json_t *t;
	size_t i;

	json_array_foreach(
		json_object_get(tokens, "tokens"), i,
		t) if (!strcmp(json_string_value(json_object_get(t, "id")),
			       id)) return json_string_value(json_object_get(t, "state"));
	fail_msg("no token %s", id);
	return NULL;
}

static void tokens(void **state)
{
	json_t *early = sim_ok(&n.s, "token-create", "{s:i, s:i}", "ttl_s", 0, "uses", 9), *late,
	       *list;
	const char *old = json_string_value(json_object_get(early, "token"));

	rotate(3600);
	late = sim_ok(&n.s, "token-create", "{s:i, s:s}", "ttl_s", 0, "server", "192.0.2.9:7468");
	assert_non_null(strstr(json_string_value(json_object_get(late, "warning")),
			       "key is being changed"));
	json_decref(late);
	now();
	/* made before, and good: the device learns of the new key at once */
	assert_true(sim_enrol_start(&n.c, old));
	sim_register(&n.c, "c", NULL, 0);
	sim_expect(&n.c, MVPN_MSG_WELCOME);
	told(&n.c, MVPN_KEY_ASK);
	assert_memory_not_equal(n.c.key, n.c.server_pk, 32);
	acknowledge(&n.c);
	wait_heard("switched", 1);
	/* enrolled again it has forgotten that */
	assert_true(sim_enrol_start(&n.c, old));
	sim_register(&n.c, "c", NULL, 0);
	sim_expect(&n.c, MVPN_MSG_WELCOME);
	told(&n.c, MVPN_KEY_ASK);
	expect_step("switched", 0, 3);
	late = sim_ok(&n.s, "token-create", NULL);

	sim_server_stop(&n.s);
	make_due("old ", 1);
	sim_server_start(&n.s);
	wait_heard("alone", 3); /* of one key there is nothing to hear */
	list = sim_ok(&n.s, "token-list", NULL);
	assert_string_equal(token_state_of(list, json_string_value(json_object_get(early, "id"))),
			    "server-key");
	assert_string_equal(token_state_of(list, json_string_value(json_object_get(late, "id"))),
			    "valid");
	assert_false(sim_enrol_start(&n.c, old));
	assert_int_equal(chan_feed(n.c.ch, "x", 1), -EKEYREVOKED);
	sim_new_key(&n.c);
	assert_true(sim_enrol_start(&n.c, json_string_value(json_object_get(late, "token"))));
	json_decref(list);
	json_decref(late);
	json_decref(early);
}

/* what is due is done, also if the server was not there at its time */
static void in_time(void **state)
{
	json_t *e;

	rotate(1);
	told(&n.a, MVPN_KEY_NEXT | MVPN_KEY_ASK);
	told(&n.a, MVPN_KEY_ASK);
	expect_event("server-key-switch", "server");
	sim_server_stop(&n.s);
	make_due("old ", 1);
	sim_server_start(&n.s);
	wait_heard("alone", 2);
	expect_step("alone", 2, 2);
	e = last_event("server-key-give-up");
	assert_int_equal(
		json_integer_value(json_object_get(json_object_get(e, "detail"), "devices_left")),
		2);
	json_decref(e);
	login_gone(&n.a);
	memcpy(n.a.server_pk, n.a.key, 32);
	sim_rejoin(&n.a, A_ADDR);

	rotate(3600);
	sim_server_stop(&n.s);
	make_due("next ", 1);
	sim_server_start(&n.s);
	wait_heard("switched", 0);
	expect_step("switched", 0, 2);
	json_decref(sim_ok(&n.s, "audit", "{s:b}", "verify", 1));
}

/* the network keeps its id, which the first key gave it */
static void the_network_stays(void **state)
{
	json_t *o = sim_ok(&n.s, "status", NULL), *again;

	rotate(0);
	sim_server_stop(&n.s);
	sim_server_start(&n.s);
	again = sim_ok(&n.s, "status", NULL);
	assert_string_equal(json_string_value(json_object_get(o, "net_id")),
			    json_string_value(json_object_get(again, "net_id")));
	assert_string_not_equal(json_string_value(json_object_get(o, "public_key")),
				json_string_value(json_object_get(again, "public_key")));
	json_decref(o);
	json_decref(again);
	sim_rejoin(&n.a, A_ADDR);
}

static char *state_file(const char *name)
{
	char path[128], *data;
	size_t len;

	snprintf(path, sizeof(path), "%s/%s", n.s.dir, name);
	assert_int_equal(file_read(path, 1 << 20, &data, &len), 0);
	return data;
}

/* a crash between the file and the store: the file is what counts, and the trail says so */
static void the_file_is_ahead_of_the_store(void **state)
{
	char path[128], *before = state_file("server.key"), *after;

	rotate(3600);
	after = state_file("server.key");
	json_decref(sim_ok(&n.s, "key-cancel", NULL));
	sim_server_crash(&n.s);
	snprintf(path, sizeof(path), "%s/server.key", n.s.dir);
	assert_int_equal(file_replace(path, after, strlen(after), 0600), 0);
	sim_server_start(&n.s);
	expect_step("announced", 0, 2);
	expect_event("server-key-found", "server");
	sim_rejoin(&n.a, A_ADDR);
	told(&n.a, MVPN_KEY_NEXT | MVPN_KEY_ASK);
	json_decref(sim_ok(&n.s, "audit", "{s:b}", "verify", 1));
	free(before);
	free(after);
}

/* ---- killed whenever ---- */

static atomic_bool killed; /* or about to be: set before the signal is sent */

static void *killer(void *arg)
{
	struct timespec ts = {0, (long)(500 + randombytes_uniform(60000)) * 1000};

	nanosleep(&ts, NULL);
	atomic_store(&killed, true);
	kill(n.s.pid, SIGKILL);
	return NULL;
}

/* Whoever is not served any more: only a server that was killed does so. That it takes connections does not tell, for one that is
 * dying does so as long as its sockets are being closed. */
static bool cut_off(void)
{
	assert_true(atomic_load(&killed));
	return false;
}

static bool ask(const char *verb, const char *arg)
{
	json_t *reply = NULL, *args = arg ? json_pack("{s:b}", arg, 1) : NULL;

	if (ipc_request(n.s.socket, verb, args, SIM_WAIT_MS, &reply) < 0)
		return cut_off();
	json_decref(reply); /* refused at the wrong step, which is fine */
	return true;
}

/* as keyd does: by the pinned key, then by the other one; false: the server is dead */
static bool visit(struct sim_device *d, struct server_pins *p)
{
	const uint8_t *keys[] = {p->key, p->other};
	unsigned tries = p->what == PINS_ALONE ? 1 : 2, before = d->nkeys, i = 0;
	struct server_word w = {0};

	do {
		if (i == tries)
			return cut_off();
		memcpy(d->server_pk, keys[i++], 32);
	} while (!sim_login(d));
	sim_register(d, NULL, NULL, 0);
	if (!sim_try(d, MVPN_MSG_WELCOME))
		return cut_off();
	/* SERVER_KEY is on its way, unless the server never changed its key; PREFIXES comes after it */
	if (!sim_try(d, MVPN_MSG_PREFIXES))
		return cut_off();
	if (d->nkeys == before)
		return true;
	w = (struct server_word){.serial = d->key_serial,
				 .next = d->key_flags & MVPN_KEY_NEXT,
				 .left_s = d->key_left_s,
				 .in_s = d->key_in_s};
	memcpy(w.pk, d->key, 32);
	assert_int_not_equal(server_pins_hear(p, &w, d->server_pk, time(NULL)), PINS_REFUSED);
	if (d->key_flags & MVPN_KEY_ASK)
		acknowledge(d);
	return true;
}

static void killed_at_any_moment(void **state)
{
	static const char *const steps[][2] = {{"key-rotate", NULL},
					       {"key-rotate", "now"},
					       {"key-rotate", "now"},
					       {"key-cancel", NULL}};
	struct server_pins p;
	unsigned changes = 0;
	pthread_t thread;

	server_pins_set(&p, n.a.server_pk, n.a.server_pk, 0);
	json_decref(sim_ok(&n.s, "device-remove", "{s:s}", "device",
			   "b")); /* which hears nothing, and would stop it */
	for (unsigned round = 0; round < KILLS; round++) {
		atomic_store(&killed, false);
		assert_int_equal(pthread_create(&thread, NULL, killer, NULL), 0);
		while (visit(&n.a, &p)) {
			const char *const *step = steps[randombytes_uniform(4)];

			if (!ask(step[0], step[1]))
				break;
			changes++;
		}
		pthread_join(thread, NULL);
		sim_server_crash(&n.s);
		atomic_store(&killed, false);
		sim_server_start(&n.s);
		assert_true(visit(&n.a, &p));
		json_decref(sim_ok(&n.s, "audit", "{s:b}", "verify", 1));
	}
	print_message("%u steps, %d kills, serial %d\n", changes, KILLS, (int)p.serial);
	assert_true(p.serial > 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_server_that_never_changed_its_key_says_nothing,
						up, down),
		cmocka_unit_test_setup_teardown(step_by_step, up, down),
		cmocka_unit_test_setup_teardown(cancelled, up, down),
		cmocka_unit_test_setup_teardown(tokens, up, down),
		cmocka_unit_test_setup_teardown(in_time, up, down),
		cmocka_unit_test_setup_teardown(the_network_stays, up, down),
		cmocka_unit_test_setup_teardown(the_file_is_ahead_of_the_store, up, down),
		cmocka_unit_test_setup_teardown(killed_at_any_moment, up, down),
	};

	return MVPN_RUN(tests);
}
