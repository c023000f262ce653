/* SPDX-License-Identifier: BSD-2-Clause */
/* The server's echo: who is answered, what it believes, and that peers are told. */
#include "../sim/sim.h"

#include <arpa/inet.h>
#include <endian.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "crypto.h"
#include "echo_msg.h"

#define QUIET_MS 100

/* a data port */
struct port {
	int fd;
	uint16_t number;
};

static struct port port_open(const struct sim_server *s)
{
	struct sockaddr_in sin = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(sin);
	struct port p = {.fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)};

	assert_true(p.fd >= 0);
	assert_int_equal(bind(p.fd, (struct sockaddr *)&sin, sizeof(sin)), 0);
	assert_int_equal(getsockname(p.fd, (struct sockaddr *)&sin, &len), 0);
	p.number = ntohs(sin.sin_port);
	sin.sin_port = htons(s->port);
	assert_int_equal(connect(p.fd, (struct sockaddr *)&sin, sizeof(sin)), 0);
	return p;
}

static uint32_t echo_id(const struct sim_device *d)
{
	uint32_t be;

	memcpy(&be, d->echo, sizeof(be));
	return be32toh(be);
}

static bool hears(const struct port *p, uint8_t ret[MVPN_ECHO_B + 1], int ms)
{
	struct pollfd pfd = {.fd = p->fd, .events = POLLIN};

	if (poll(&pfd, 1, ms) != 1)
		return false;
	assert_int_equal(recv(p->fd, ret, MVPN_ECHO_B + 1, 0), MVPN_ECHO_B); /* not longer than asked */
	return true;
}

/* true if it was answered; *m becomes the answer */
static bool ask(const struct sim_device *d, const struct port *p, struct echo_msg *m, int ms)
{
	uint8_t q[MVPN_ECHO_B], a[MVPN_ECHO_B + 1];
	uint32_t id;

	m->id = echo_id(d);
	memset(&m->seen, 0, sizeof(m->seen));
	echo_seal(q, MVPN_ECHO, m, d->echo + 4);
	assert_int_equal(send(p->fd, q, sizeof(q), 0), sizeof(q));
	if (!hears(p, a, ms))
		return false;
	assert_true(echo_look(a, MVPN_ECHO_B, MVPN_ECHO_REPLY, &id));
	assert_int_equal(id, m->id);
	assert_int_equal(echo_open(m, a, d->echo + 4), 0);
	return true;
}

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
