/* SPDX-License-Identifier: BSD-2-Clause */
/* What a server under load asks for before it does a handshake. */
#include "test.h"

#include <errno.h>
#include <limits.h>

#include "chan_impl.h"
#include "chan_pair.h"

/* a pair whose server asks for what `demand` says, so often */
struct gated {
	struct chan_pair p; /* first: arg of psk_fn, too */
	uint8_t ticket[MVPN_TICKET_B];
	int demand[4];
	unsigned ndemands, asked, tickets, works;
	bool ticket_good;
};

static int gate(void *arg, const struct chan_proof *proof)
{
	struct gated *g = arg;

	if (proof && proof->ticket) {
		g->tickets++;
		assert_memory_equal(proof->ticket, g->ticket, MVPN_TICKET_B);
		assert_int_equal(proof->psk_epoch, 3);
		g->ticket_good = chan_proof_by(proof, g->p.server_psk);
	} else if (proof) {
		g->works++;
	}
	return g->asked < g->ndemands ? g->demand[g->asked++] : 0;
}

static void init(struct gated *g, bool with_ticket)
{
	struct chan_client c = {.psk_epoch = 3, .ticket = with_ticket ? g->ticket : NULL};

	memset(g, 0, sizeof(*g));
	memset(g->ticket, 0x5a, sizeof(g->ticket));
	chan_pair_init(&g->p, false);
	chan_free(g->p.client);
	c.s = g->p.c;
	c.server_pk = g->p.server_pk;
	c.psk = g->p.psk;
	assert_int_equal(chan_new_client(&g->p.client, &c), 0);
	chan_set_gate(g->p.server, gate);
}

/* both ways, with the work that is asked for */
static int run(struct gated *g)
{
	int r;

	while ((r = chan_pair_run(&g->p)) == 0 && chan_wants_work(g->p.client))
		assert_int_equal(chan_work(g->p.client, UINT_MAX), 1);
	return r;
}

static void assert_up(struct gated *g)
{
	struct chan_msg m;

	assert_int_equal(chan_state(g->p.client), CHAN_UP);
	assert_int_equal(chan_state(g->p.server), CHAN_UP);
	chan_pair_send(g->p.client, MVPN_MSG_HEARTBEAT, 9);
	assert_int_equal(chan_pair_run(&g->p), 0);
	assert_int_equal(chan_next(g->p.server, &m), 1);
	assert_int_equal(m.reqid, 9);
}

static void work_opens_the_gate(void **state)
{
	struct gated g;

	for (size_t chunk = 0; chunk < 3; chunk++) {
		init(&g, false);
		g.p.chunk = chunk;
		g.demand[0] = 10 | CHAN_DEMAND_TICKET;
		g.demand[1] = 12;
		g.ndemands = 2;
		assert_int_equal(run(&g), 0);
		assert_up(&g);
		assert_int_equal(g.works, 2);
		assert_int_equal(g.tickets, 0);
		chan_pair_free(&g.p);
	}
}

static void a_ticket_opens_it_without_work(void **state)
{
	struct gated g;

	init(&g, true);
	g.demand[0] = CHAN_WORK_BITS_MAX | CHAN_DEMAND_TICKET;
	g.ndemands = 1;
	assert_int_equal(chan_pair_run(&g.p), 0);
	assert_up(&g);
	assert_int_equal(g.tickets, 1);
	assert_true(g.ticket_good);
	chan_pair_free(&g.p);
	/* of who has not the PSK, or where only work counts */
	init(&g, true);
	g.p.server_psk[0] ^= 1;
	g.demand[0] = 8 | CHAN_DEMAND_TICKET;
	g.demand[1] = 8;
	g.ndemands = 2;
	assert_int_equal(run(&g), -EBADMSG);
	assert_int_equal(g.tickets, 1);
	assert_false(g.ticket_good);
	assert_int_equal(g.works, 1);
	chan_pair_free(&g.p);
}

static void the_client_works_in_parts(void **state)
{
	struct gated g;
	unsigned parts = 0;
	size_t len;

	init(&g, false);
	g.demand[0] = 12;
	g.ndemands = 1;
	assert_int_equal(chan_pair_run(&g.p), 0);
	assert_true(chan_wants_work(g.p.client));
	while (chan_work(g.p.client, 1) == 0) {
		assert_true(chan_wants_work(g.p.client));
		assert_int_equal(g.p.client->secret->client.n, ++parts); /* no more than it was asked for; luck may make it few */
	}
	assert_int_equal(g.p.client->secret->client.n, parts);
	assert_false(chan_wants_work(g.p.client));
	chan_output(g.p.client, &len);
	assert_int_equal(len, 2 + 9);
	assert_int_equal(chan_work(g.p.client, 1), -EINVAL);
	assert_int_equal(chan_pair_run(&g.p), 0);
	assert_up(&g);
	chan_pair_free(&g.p);
}

static void no_work_no_handshake(void **state)
{
	static const uint8_t wrong[2 + 9] = {0, 9, 1, 1, 2, 3, 4, 5, 6, 7, 8};
	static const uint8_t lengths[][3] = {{0, 8, 1}, {0, 9, 2}, {0, 9, 3}, {0, 9, 0}, {0, 77, 1}};
	static const uint8_t two[22] = {0, 9, 1, [11] = 0, 9, 1};
	struct gated g;

	init(&g, false);
	g.demand[0] = 20;
	g.ndemands = 1;
	assert_int_equal(chan_pair_run(&g.p), 0);
	assert_int_equal(chan_feed(g.p.server, wrong, sizeof(wrong)), -EACCES);
	assert_chan_dead(g.p.server, -EACCES);
	assert_int_equal(g.works, 0);
	chan_pair_free(&g.p);
	for (unsigned i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		init(&g, false);
		g.demand[0] = 20;
		g.ndemands = 1;
		assert_int_equal(chan_pair_run(&g.p), 0);
		assert_int_equal(chan_feed(g.p.server, lengths[i], 3), -EPROTO);
		chan_pair_free(&g.p);
	}
	/* nothing may follow a proof before it is answered */
	init(&g, false);
	g.demand[0] = 1;
	g.ndemands = 1;
	assert_int_equal(chan_pair_run(&g.p), 0);
	assert_int_equal(chan_feed(g.p.server, two, sizeof(two)), -EPROTO);
	chan_pair_free(&g.p);
}

static void what_was_sent_once_is_worth_nothing_elsewhere(void **state)
{
	struct gated g, h;
	uint8_t hello[256], proof[256];
	size_t hello_len, proof_len;

	for (int ticket = 0; ticket < 2; ticket++) {
		init(&g, ticket);
		g.demand[0] = 16 | CHAN_DEMAND_TICKET;
		g.ndemands = 1;
		hello_len = chan_pair_pending(&g.p, hello);
		assert_int_equal(chan_pair_move(&g.p, g.p.client, g.p.server), 0);
		assert_int_equal(chan_pair_move(&g.p, g.p.server, g.p.client), 0);
		if (!ticket)
			assert_int_equal(chan_work(g.p.client, UINT_MAX), 1);
		proof_len = chan_pair_pending(&g.p, proof);
		/* another connection, with the same HELLO and proof, to the same server */
		init(&h, false);
		chan_free(h.p.server);
		memcpy(h.p.server_psk, g.p.server_psk, 32);
		assert_int_equal(chan_new_server(&h.p.server, &g.p.keys, chan_pair_psk, &h), 0);
		chan_set_gate(h.p.server, gate);
		h.demand[0] = h.demand[1] = 16 | CHAN_DEMAND_TICKET;
		h.ndemands = 2;
		assert_int_equal(chan_feed(h.p.server, hello, hello_len), 0);
		assert_int_equal(chan_feed(h.p.server, proof, proof_len), ticket ? 0 : -EACCES);
		assert_int_equal(h.tickets, ticket);
		assert_false(h.ticket_good);
		assert_int_equal(h.works, 0);
		chan_pair_free(&g.p);
		chan_pair_free(&h.p);
	}
}

static void the_client_does_not_work_for_ever(void **state)
{
	uint8_t challenge[2 + 18] = {0, 18, CHAN_WORK_BITS_MAX + 1};
	struct gated g;
	int r = 0;

	init(&g, false);
	assert_int_equal(chan_feed(g.p.client, challenge, sizeof(challenge)), -EPROTO);
	chan_pair_free(&g.p);
	init(&g, false);
	challenge[2] = 0;
	assert_int_equal(chan_feed(g.p.client, challenge, sizeof(challenge)), -EPROTO);
	chan_pair_free(&g.p);
	/* the next one while the last is not done, and ever new ones */
	init(&g, false);
	challenge[2] = 1;
	assert_int_equal(chan_feed(g.p.client, challenge, sizeof(challenge)), 0);
	assert_int_equal(chan_feed(g.p.client, challenge, sizeof(challenge)), -EPROTO);
	chan_pair_free(&g.p);
	init(&g, false);
	for (unsigned i = 0; i < 17 && r == 0; i++) {
		r = chan_feed(g.p.client, challenge, sizeof(challenge));
		if (r == 0)
			assert_int_equal(chan_work(g.p.client, UINT_MAX), 1);
	}
	assert_int_equal(r, -EPROTO);
	chan_pair_free(&g.p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(work_opens_the_gate),
		cmocka_unit_test(a_ticket_opens_it_without_work),
		cmocka_unit_test(the_client_works_in_parts),
		cmocka_unit_test(no_work_no_handshake),
		cmocka_unit_test(what_was_sent_once_is_worth_nothing_elsewhere),
		cmocka_unit_test(the_client_does_not_work_for_ever),
	};

	return MVPN_RUN(tests);
}
