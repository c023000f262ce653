/* SPDX-License-Identifier: BSD-2-Clause */
/* The server's UDP port: who is answered, what it believes, that peers are told. */
#include "dataport.h"

/* the port of A's end point, as the OFFER to B says */
static uint16_t offered_port(struct sim_net *n)
{
	struct intro_keys keys;
	struct sim_request q;
	uint8_t session[16], e[18];

	sim_request(&n->a, B_ADDR, &q);
	sim_expect(&n->b, MVPN_MSG_OFFER);
	assert_true(chan_get_bytes(&n->b.msg, MVPN_TLV_ENDPOINT, e, sizeof(e)));
	sim_accept(&n->b, session, &keys);
	sim_expect(&n->a, MVPN_MSG_ANSWER);
	assert_int_equal(sim_finish(&n->a, &q, &keys), 0);
	return (uint16_t)(e[16] << 8 | e[17]);
}

static void peers_are_told_what_was_proven(void **state)
{
	struct echo_msg m = {.counter = 1};
	struct sim_net n;
	struct port p, other;

	sim_net_up(&n);
	p = port_open(&n.s);
	other = port_open(&n.s);
	assert_int_equal(offered_port(&n), MVPN_DATA_PORT); /* as registered */
	assert_true(ask(&n.a, &p, &m, SIM_WAIT_MS));
	assert_int_equal(m.counter, 1);
	assert_int_equal(m.seen.port, p.number);
	/* whoever sends from a false address does not hear the cookie */
	assert_int_equal(offered_port(&n), MVPN_DATA_PORT);
	m.counter = 2;
	assert_true(ask(&n.a, &p, &m, SIM_WAIT_MS));
	assert_int_equal(offered_port(&n), p.number);
	/* the cookie of one place proves nothing about another */
	m.counter = 3;
	assert_true(ask(&n.a, &other, &m, SIM_WAIT_MS));
	assert_int_equal(m.seen.port, other.number);
	assert_int_equal(offered_port(&n), p.number);
	m.counter = 4;
	assert_true(ask(&n.a, &other, &m, SIM_WAIT_MS));
	assert_int_equal(offered_port(&n), other.number);
	close(p.fd);
	close(other.fd);
	sim_net_down(&n);
}

static void only_new_questions_of_devices_are_answered(void **state)
{
	struct echo_msg m = {.counter = 5};
	struct sim_device stranger;
	struct sim_net n;
	struct port p;

	sim_net_up(&n);
	p = port_open(&n.s);
	assert_true(ask(&n.a, &p, &m, SIM_WAIT_MS));
	m.counter = 5; /* again */
	assert_false(ask(&n.a, &p, &m, QUIET_MS));
	m.counter = 4;
	assert_false(ask(&n.a, &p, &m, QUIET_MS));
	stranger = n.a;
	stranger.echo[10] ^= 1; /* another key */
	m.counter = 6;
	assert_false(ask(&stranger, &p, &m, QUIET_MS));
	stranger = n.a;
	stranger.echo[0] ^= 1; /* another id */
	assert_false(ask(&stranger, &p, &m, QUIET_MS));
	assert_int_equal(send(p.fd, "", 0, 0), 0);
	assert_int_equal(send(p.fd, "\x51 short", 7, 0), 7);
	m.counter = 7;
	assert_true(ask(&n.a, &p, &m, SIM_WAIT_MS));
	assert_int_equal(sim_counter(&n.s, "echoes"), 2);
	assert_int_equal(sim_counter(&n.s, "echo_refused"), 6);
	/* those of a channel that has ended are nobody's */
	sim_hang_up(&n.a);
	sim_wait_counter(&n.s, "closed_by_peer", 1);
	m.counter = 8;
	assert_false(ask(&n.a, &p, &m, QUIET_MS));
	close(p.fd);
	sim_net_down(&n);
}

static void one_device_is_answered_so_often(void **state)
{
	struct echo_msg m = {0};
	struct sim_net n;
	struct port p;
	unsigned answered = 0;

	sim_net_up(&n);
	p = port_open(&n.s);
	for (uint64_t i = 1; i <= 3 * MVPN_ECHO_RATE; i++) {
		m.counter = i;
		answered += ask(&n.a, &p, &m, 10);
	}
	assert_in_range(answered, MVPN_ECHO_RATE, 2 * MVPN_ECHO_RATE);
	close(p.fd);
	sim_net_down(&n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(peers_are_told_what_was_proven),
		cmocka_unit_test(only_new_questions_of_devices_are_answered),
		cmocka_unit_test(one_device_is_answered_so_often),
	};

	return MVPN_RUN(tests);
}
