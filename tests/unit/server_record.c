/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Introductions that B has accepted wait for one another until they are put on record together. So that it is known what comes in
 * one round of the server's loop, the server is stopped while things are sent to it.
 */
#include "../sim/sim.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "crypto.h"
#include "ipc_socket.h"

#define ASKING 24

static bool on_record(struct sim_server *s, const uint8_t session[16])
{
	json_t *o = sim_ok(s, "sessions", NULL), *row;
	char hex[33];
	bool found = false;
	size_t k;

	mvpn_hex(hex, session, 16);
	json_array_foreach(json_object_get(o, "sessions"), k, row) found |=
		!strcmp(json_string_value(json_object_get(row, "id")), hex);
	json_decref(o);
	return found;
}

/* audit events of that name; the trail must be whole */
static unsigned audited(struct sim_server *s, const char *event)
{
	json_t *o = sim_ok(s, "audit", "{s:b, s:i}", "verify", 1, "limit", 10000), *row;
	unsigned n = 0;
	size_t k;

	assert_true(json_is_true(json_object_get(o, "verified")));
	json_array_foreach(json_object_get(o, "events"), k, row) n +=
		!strcmp(json_string_value(json_object_get(row, "event")), event);
	json_decref(o);
	return n;
}

/* ---- together ---- */

struct asking {
	struct sim_device d;
	struct sim_request q;
	struct intro_keys ka, kb;
	uint8_t session[16];
	struct chan_buf accept;
};

static void ask_all(struct sim_device *b, struct asking *x, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		sim_request(&x[i].d, B_ADDR, &x[i].q);
		sim_expect(b, MVPN_MSG_OFFER);
		sim_accept_make(b, x[i].session, &x[i].kb, &x[i].accept);
	}
}

static void expect_answer(struct sim_server *s, struct asking *x)
{
	sim_expect(&x->d, MVPN_MSG_ANSWER);
	assert_true(on_record(s, x->session));
	assert_int_equal(sim_finish(&x->d, &x->q, &x->ka), 0);
	assert_memory_equal(x->ka.tx, x->kb.rx, 32);
	assert_memory_equal(x->ka.rx, x->kb.tx, 32);
	chan_buf_free(&x->accept);
}

/* what is accepted in one go costs one transaction, and each is answered, on record and audited as if it were alone */
static void many_in_one_go(void **state)
{
	static struct asking x[ASKING];
	struct sim_server s;
	struct sim_device b;
	json_int_t before;

	sim_server_new(&s);
	sim_policy(&s, "allow asking -> b\n");
	sim_device_init(&b, &s);
	sim_join(&b, "b", B_ADDR);
	for (unsigned i = 0; i < ASKING; i++) {
		char token[MVPN_TOKEN_MAX];

		sim_token(&s, NULL, "asking", token);
		sim_device_init(&x[i].d, &s);
		assert_true(sim_enrol_start(&x[i].d, token));
		sim_register(&x[i].d, NULL, NULL, 0);
		sim_expect(&x[i].d, MVPN_MSG_WELCOME);
	}
	ask_all(&b, x, ASKING);
	before = sim_counter(&s, "records");
	sim_server_pause(&s);
	for (unsigned i = 0; i < ASKING; i++)
		sim_send(&b, &x[i].accept);
	sim_server_resume(&s);
	for (unsigned i = 0; i < ASKING; i++)
		expect_answer(&s, &x[i]);
	/* one, if they came in one read */
	assert_in_range(sim_counter(&s, "records") - before, 1, 3);
	assert_int_equal(sim_counter(&s, "answers"), ASKING);
	assert_int_equal(audited(&s, "introduction"), ASKING);
	for (unsigned i = 0; i < ASKING; i++)
		sim_device_free(&x[i].d);
	sim_device_free(&b);
	sim_server_free(&s);
}

/* ---- what happens between ACCEPT and the store ---- */

struct pair {
	struct sim_net n;
	struct sim_request q;
	struct intro_keys kb;
	uint8_t session[16];
	struct chan_buf accept;
};

static void begin(struct pair *p)
{
	memset(p, 0, sizeof(*p));
	sim_net_up(&p->n);
	sim_request(&p->n.a, B_ADDR, &p->q);
	sim_expect(&p->n.b, MVPN_MSG_OFFER);
	sim_accept_make(&p->n.b, p->session, &p->kb, &p->accept);
}

/* nobody has the other's word: no row, no event, nothing open, and B was told */
static void end_undone(struct pair *p)
{
	json_t *o;

	sim_expect(&p->n.b, MVPN_MSG_CANCEL);
	assert_false(on_record(&p->n.s, p->session));
	assert_int_equal(audited(&p->n.s, "introduction"), 0);
	assert_int_equal(sim_counter(&p->n.s, "answers"), 0);
	o = sim_ok(&p->n.s, "status", NULL);
	assert_int_equal(json_integer_value(json_object_get(o, "introductions")), 0);
	json_decref(o);
	chan_buf_free(&p->accept);
	intro_a_free(p->q.a);
	sim_net_down(&p->n);
}

static void the_asking_one_goes(void **state)
{
	struct pair p;

	begin(&p);
	sim_server_pause(&p.n.s);
	sim_send(&p.n.b, &p.accept);
	sim_hang_up(&p.n.a);
	sim_server_resume(&p.n.s);
	end_undone(&p);
}

static void the_policy_forbids_it(void **state)
{
	static const char verb[] =
		"{\"verb\":\"policy-apply\",\"args\":{\"text\":\"allow b -> b\\n\"}}\n";
	struct pair p;
	int fd;

	begin(&p);
	fd = ipc_socket_connect(p.n.s.socket, SIM_WAIT_MS);
	assert_true(fd >= 0);
	json_decref(sim_ok(&p.n.s, "status", NULL)); /* that one is accepted, too */
	sim_server_pause(&p.n.s);
	sim_send(&p.n.b, &p.accept);
	assert_int_equal(send(fd, verb, sizeof(verb) - 1, 0), sizeof(verb) - 1);
	sim_server_resume(&p.n.s);
	sim_expect_fail(&p.n.a, MVPN_R_DENIED);
	end_undone(&p);
	close(fd);
}

static void b_says_it_twice(void **state)
{
	struct chan_buf reject = {0};
	struct intro_keys ka;
	struct pair p;

	begin(&p);
	chan_begin(&reject, MVPN_MSG_REJECT, 0, 0);
	chan_put(&reject, MVPN_TLV_SESSION, p.session, 16);
	sim_server_pause(&p.n.s);
	sim_send(&p.n.b, &p.accept);
	sim_send(&p.n.b, &p.accept);
	sim_send(&p.n.b, &reject);
	sim_server_resume(&p.n.s);
	sim_expect(&p.n.a, MVPN_MSG_ANSWER);
	assert_int_equal(sim_finish(&p.n.a, &p.q, &ka), 0);
	assert_int_equal(sim_counter(&p.n.s, "stray_answers"), 2);
	assert_int_equal(audited(&p.n.s, "introduction"), 1);
	sim_expect_nothing(&p.n.a, 50);
	chan_buf_free(&reject);
	chan_buf_free(&p.accept);
	sim_net_down(&p.n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(many_in_one_go),
		cmocka_unit_test(the_asking_one_goes),
		cmocka_unit_test(the_policy_forbids_it),
		cmocka_unit_test(b_says_it_twice),
	};

	return MVPN_RUN(tests);
}
