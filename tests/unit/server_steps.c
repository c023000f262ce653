/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An introduction, its four messages (REQUEST A→S, OFFER S→B, ACCEPT B→S, ANSWER S→A), and what may become of each: it is lost, it
 * comes twice or late, or A, B or the server starts anew just then. Whatever comes, nothing stays open at the server, no answer goes
 * to the wrong question, the two can be introduced right after, and a revocation reaches whoever holds keys.
 */
#include "../sim/sim.h"

#include <string.h>

#include "crypto.h"

enum fault { LOST, TWICE, LATE, A_ANEW, B_ANEW, S_ANEW, FAULTS };

struct run {
	struct sim_net n;
	struct sim_device *a, *b;
	struct sim_request q;
	struct intro_keys ka, kb;
	struct chan_buf accept;
	uint8_t session[16];
};

static void begin(struct run *r)
{
	memset(r, 0, sizeof(*r));
	sim_net_up(&r->n);
	r->a = &r->n.a;
	r->b = &r->n.b;
	sim_request_make(r->a, B_ADDR, &r->q);
}

/* ---- what both do when all goes well ---- */

static void offered(struct run *r)
{
	sim_expect(r->b, MVPN_MSG_OFFER);
	sim_accept_make(r->b, r->session, &r->kb, &r->accept);
}

static void answered(struct run *r)
{
	sim_expect(r->a, MVPN_MSG_ANSWER);
	assert_int_equal(sim_finish(r->a, &r->q, &r->ka), 0);
	assert_memory_equal(r->ka.tx, r->kb.rx, 32);
	assert_memory_equal(r->ka.rx, r->kb.tx, 32);
}

static void go_on_from_offer(struct run *r)
{
	offered(r);
	sim_send(r->b, &r->accept);
	answered(r);
}

/* the same REQUEST, as keyd sends it after MVPN_INTRO_RETRY_S */
static void ask_again(struct run *r)
{
	sim_request_send(r->a, &r->q);
	go_on_from_offer(r);
}

static void another_one(struct run *r)
{
	uint8_t session[16];

	sim_introduce(r->a, r->b, B_ADDR, session);
}

/* ---- faults ---- */

static void anew(struct sim_device *d, const char *address)
{
	sim_hang_up(d);
	d->boot_gen++;
	sim_rejoin(d, address);
}

static void server_anew(struct run *r)
{
	sim_server_crash(&r->n.s);
	sim_server_start(&r->n.s);
	sim_rejoin(r->a, A_ADDR);
	sim_rejoin(r->b, B_ADDR);
}

static void expect_silence_is_told(struct run *r)
{
	sim_expect(r->b, MVPN_MSG_CANCEL);
	sim_expect_fail(r->a, MVPN_R_PEER_SILENT);
}

static void expect_stray(struct run *r, const struct chan_buf *accept)
{
	json_int_t before = sim_counter(&r->n.s, "stray_answers");

	sim_send(r->b, accept);
	sim_wait_counter(&r->n.s, "stray_answers", before + 1);
}

static bool on_record(struct run *r)
{
	json_t *o = sim_ok(&r->n.s, "sessions", NULL), *row;
	char hex[33];
	bool found = false;
	size_t k;

	mvpn_hex(hex, r->session, 16);
	json_array_foreach(json_object_get(o, "sessions"), k, row) found |=
		!strcmp(json_string_value(json_object_get(row, "id")), hex);
	json_decref(o);
	return found;
}

/* ---- one step each ---- */

static void at_request(struct run *r, enum fault f)
{
	switch (f) {
	case LOST:
		ask_again(r);
		return;
	case TWICE:
		sim_request_send(r->a, &r->q);
		ask_again(r);
		assert_int_equal(sim_counter(&r->n.s, "duplicates"), 1);
		assert_int_equal(sim_counter(&r->n.s, "offers"), 1);
		return;
	case LATE:
		another_one(r);
		ask_again(r);
		return;
	case A_ANEW:
		anew(r->a, A_ADDR);
		sim_request_send(r->a, &r->q);
		sim_expect_fail(r->a, MVPN_R_STALE_BOOT);
		return;
	case B_ANEW:
		anew(r->b, B_ADDR);
		ask_again(r);
		return;
	default:
		server_anew(r);
		ask_again(r);
	}
}

static void at_offer(struct run *r, enum fault f)
{
	sim_request_send(r->a, &r->q);
	sim_wait_counter(&r->n.s, "offers", 1);
	switch (f) {
	case LOST:
		sim_expect(r->b, MVPN_MSG_OFFER);
		expect_silence_is_told(r);
		ask_again(r);
		return;
	case TWICE: {
		struct chan_buf other = {0};
		struct intro_keys unused;
		uint8_t session[16];

		offered(r);
		sim_accept_make(r->b, session, &unused, &other);
		sim_send(r->b, &r->accept);
		expect_stray(r, &other);
		chan_buf_free(&other);
		answered(r);
		return;
	}
	case LATE:
		offered(r);
		expect_silence_is_told(r);
		expect_stray(r, &r->accept);
		ask_again(r);
		return;
	case A_ANEW:
		anew(r->a, A_ADDR);
		offered(r);
		sim_expect(r->b, MVPN_MSG_CANCEL);
		expect_stray(r, &r->accept);
		return;
	case B_ANEW:
		anew(r->b, B_ADDR);
		sim_expect_fail(r->a, MVPN_R_PEER_OFFLINE);
		ask_again(r);
		return;
	default:
		offered(r);
		server_anew(r);
		expect_stray(r, &r->accept);
		ask_again(r);
	}
}

static void at_accept(struct run *r, enum fault f)
{
	sim_request_send(r->a, &r->q);
	offered(r);
	switch (f) {
	case LOST:
		expect_silence_is_told(r);
		assert_false(on_record(r));
		ask_again(r);
		return;
	case TWICE:
		sim_send(r->b, &r->accept);
		expect_stray(r, &r->accept);
		answered(r);
		return;
	case LATE: /* A has asked anew meanwhile: the late word is not taken for an answer to that */
		expect_silence_is_told(r);
		sim_request_send(r->a, &r->q);
		sim_expect(r->b, MVPN_MSG_OFFER);
		expect_stray(r, &r->accept);
		sim_accept(r->b, r->session, &r->kb);
		answered(r);
		return;
	case A_ANEW:
		anew(r->a, A_ADDR);
		sim_expect(r->b, MVPN_MSG_CANCEL);
		expect_stray(r, &r->accept);
		assert_false(on_record(r));
		return;
	case B_ANEW:
		anew(r->b, B_ADDR);
		expect_stray(r, &r->accept);
		sim_expect_fail(r->a, MVPN_R_PEER_OFFLINE);
		ask_again(r);
		return;
	default:
		server_anew(r);
		expect_stray(r, &r->accept);
		ask_again(r);
	}
}

static void at_answer(struct run *r, enum fault f)
{
	sim_request_send(r->a, &r->q);
	offered(r);
	sim_send(r->b, &r->accept);
	sim_wait_counter(&r->n.s, "answers", 1);
	/* before anybody can use it */
	assert_true(on_record(r));
	switch (f) {
	case LOST: /* the same question is not answered twice; another one is */
		sim_expect(r->a, MVPN_MSG_ANSWER);
		sim_request_send(r->a, &r->q);
		sim_wait_counter(&r->n.s, "duplicates", 1);
		another_one(r);
		return;
	case TWICE:
		sim_request_send(r->a, &r->q);
		sim_wait_counter(&r->n.s, "duplicates", 1);
		assert_int_equal(sim_counter(&r->n.s, "offers"), 1);
		answered(r);
		return;
	case LATE: {
		struct intro_keys ka, kb;
		struct sim_request q;
		uint8_t session[16];

		sim_request(r->a, B_ADDR, &q);
		sim_expect(r->b, MVPN_MSG_OFFER);
		sim_accept(r->b, session, &kb);
		answered(r);
		sim_expect(r->a, MVPN_MSG_ANSWER);
		assert_int_equal(sim_finish(r->a, &q, &ka), 0);
		assert_memory_equal(ka.tx, kb.rx, 32);
		assert_memory_not_equal(ka.tx, r->ka.tx, 32);
		return;
	}
	case A_ANEW:
		anew(r->a, A_ADDR);
		sim_expect_about(r->b, MVPN_MSG_PEER_RESET, r->a);
		assert_false(on_record(r));
		return;
	case B_ANEW:
		anew(r->b, B_ADDR);
		answered(r);
		sim_expect_about(r->a, MVPN_MSG_PEER_RESET, r->b);
		assert_false(on_record(r));
		return;
	default:
		server_anew(r);
		assert_true(on_record(r));
		ask_again(r);
	}
}

static void end(struct run *r)
{
	json_t *o;

	another_one(r);
	o = sim_ok(&r->n.s, "status", NULL);
	assert_int_equal(json_integer_value(json_object_get(o, "introductions")), 0);
	json_decref(o);
	json_decref(sim_ok(&r->n.s, "device-revoke", "{s:s}", "device", "b"));
	sim_expect_about(r->a, MVPN_MSG_REVOKE, r->b);
	sim_expect_close(r->b, MVPN_R_REVOKED);
	intro_a_free(r->q.a);
	chan_buf_free(&r->accept);
	sim_net_down(&r->n);
}

static void every_fault(void (*step)(struct run *r, enum fault f))
{
	static struct run r;

	for (unsigned f = 0; f < FAULTS; f++) {
		begin(&r);
		step(&r, f);
		end(&r);
	}
}

static void the_request_goes_wrong(void **state)
{
	every_fault(at_request);
}

static void the_offer_goes_wrong(void **state)
{
	every_fault(at_offer);
}

static void the_acceptance_goes_wrong(void **state)
{
	every_fault(at_accept);
}

static void the_answer_goes_wrong(void **state)
{
	every_fault(at_answer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_request_goes_wrong),
		cmocka_unit_test(the_offer_goes_wrong),
		cmocka_unit_test(the_acceptance_goes_wrong),
		cmocka_unit_test(the_answer_goes_wrong),
	};

	return MVPN_RUN(tests);
}
