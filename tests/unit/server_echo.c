/* SPDX-License-Identifier: BSD-2-Clause */
/* The server's UDP port: who is answered, what it believes, that peers are told; and what it relays. */
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

/* ---- the relay ---- */

#define SPI_A 0x11223344
#define SPI_B 0x55667788

static void prove(const struct sim_device *d, const struct port *p)
{
	struct echo_msg m = {.counter = 1};

	assert_true(ask(d, p, &m, SIM_WAIT_MS));
	m.counter = 2;
	assert_true(ask(d, p, &m, SIM_WAIT_MS));
}

static void ask_relay(struct sim_device *d, const uint8_t session[16], uint32_t spi)
{
	struct chan_buf b = {0};

	chan_begin(&b, MVPN_MSG_RELAY, 0, 0);
	chan_put(&b, MVPN_TLV_SESSION, session, 16);
	chan_put_u32(&b, MVPN_TLV_SPI, spi);
	sim_send(d, &b);
	chan_buf_free(&b);
}

/* RELAY that says whether it is open, and where the peer is */
static void expect_relay(struct sim_device *d, bool open, const struct port *peer)
{
	uint8_t e[18];

	sim_expect(d, MVPN_MSG_RELAY);
	assert_int_equal(d->msg.flags, open ? MVPN_RELAY_OPEN : 0);
	assert_true(chan_get_bytes(&d->msg, MVPN_TLV_ENDPOINT, e, sizeof(e)));
	assert_int_equal(e[16] << 8 | e[17], peer->number);
}

static void expect_refusal(struct sim_device *d, unsigned reason)
{
	uint16_t why = 0;

	sim_expect(d, MVPN_MSG_RELAY);
	assert_true(chan_get_u16(&d->msg, MVPN_TLV_REASON, &why));
	assert_int_equal(why, reason);
}

static void data(const struct port *from, uint8_t type, uint32_t spi, size_t len)
{
	uint8_t p[1400] = {type};
	uint32_t be = htobe32(spi);

	memcpy(p + 4, &be, sizeof(be));
	memset(p + 16, 0xa5, len - 16);
	assert_int_equal(send(from->fd, p, len, 0), len);
}

static bool comes(const struct port *to, uint32_t spi, size_t len, int ms)
{
	struct pollfd pfd = {.fd = to->fd, .events = POLLIN};
	uint8_t p[1500];
	uint32_t be;

	if (poll(&pfd, 1, ms) != 1)
		return false;
	assert_int_equal(recv(to->fd, p, sizeof(p), 0), len);
	memcpy(&be, p + 4, sizeof(be));
	assert_int_equal(be32toh(be), spi);
	assert_int_equal(p[len - 1], 0xa5);
	return true;
}

/* a and b have a session, and their ports are proven */
struct relayed {
	struct sim_net n;
	struct port a, b;
	uint8_t session[16];
};

static void relayed_up(struct relayed *r)
{
	sim_net_up(&r->n);
	r->a = port_open(&r->n.s);
	r->b = port_open(&r->n.s);
	prove(&r->n.a, &r->a);
	prove(&r->n.b, &r->b);
	sim_introduce(&r->n.a, &r->n.b, B_ADDR, r->session);
}

static void relay_open(struct relayed *r)
{
	ask_relay(&r->n.a, r->session, SPI_A);
	expect_relay(&r->n.a, false, &r->b);
	expect_relay(&r->n.b, false, &r->a);
	data(&r->a, MVPN_TUNNEL, SPI_B, 100);
	assert_false(comes(&r->b, SPI_B, 100, QUIET_MS)); /* b has not asked */
	ask_relay(&r->n.b, r->session, SPI_B);
	expect_relay(&r->n.b, true, &r->a);
	expect_relay(&r->n.a, true, &r->b);
	data(&r->a, MVPN_TUNNEL, SPI_B, 100);
	assert_true(comes(&r->b, SPI_B, 100, SIM_WAIT_MS));
	data(&r->b, MVPN_CTRL, SPI_A, 48);
	assert_true(comes(&r->a, SPI_A, 48, SIM_WAIT_MS));
}

static void relayed_down(struct relayed *r)
{
	close(r->a.fd);
	close(r->b.fd);
	sim_net_down(&r->n);
}

static void only_the_two_ends_are_relayed(void **state)
{
	struct relayed r;
	struct port other;

	relayed_up(&r);
	relay_open(&r);
	other = port_open(&r.n.s);
	data(&other, MVPN_TUNNEL, SPI_B, 100); /* from elsewhere */
	data(&r.a, MVPN_TUNNEL, SPI_A, 100);   /* to itself */
	data(&r.a, MVPN_TUNNEL, SPI_B + 1, 100);
	data(&r.a, MVPN_TRANSPORT, SPI_B, 100); /* nothing that is sealed */
	data(&r.a, MVPN_TUNNEL, SPI_B, MVPN_OVERHEAD - 1);
	assert_false(comes(&r.b, SPI_B, 100, QUIET_MS));
	assert_false(comes(&r.a, SPI_A, 100, 0));
	assert_false(comes(&other, SPI_A, 100, 0)); /* nobody is answered */
	assert_int_equal(sim_counter(&r.n.s, "relayed"), 2);
	close(other.fd);
	relayed_down(&r);
}

static void a_relay_ends_with_its_session(void **state)
{
	struct chan_buf b = {0};
	struct relayed r;

	relayed_up(&r);
	relay_open(&r);
	chan_begin(&b, MVPN_MSG_ENDED, 0, 0);
	chan_put(&b, MVPN_TLV_SESSION, r.session, 16);
	sim_send(&r.n.b, &b);
	ask_relay(&r.n.b, r.session, SPI_B); /* of a session that has been left */
	expect_refusal(&r.n.b, MVPN_R_EXPIRED);
	data(&r.a, MVPN_TUNNEL, SPI_B, 100);
	assert_false(comes(&r.b, SPI_B, 100, QUIET_MS));
	sim_introduce(&r.n.a, &r.n.b, B_ADDR, r.session);
	relay_open(&r);
	json_decref(sim_ok(&r.n.s, "device-revoke", "{s:s}", "device", "b"));
	data(&r.a, MVPN_TUNNEL, SPI_B, 100);
	assert_false(comes(&r.b, SPI_B, 100, QUIET_MS));
	chan_buf_free(&b);
	relayed_down(&r);
}

static void sessions_of_others_are_not_relayed(void **state)
{
	static const uint8_t unknown[16] = {1};
	struct relayed r;

	relayed_up(&r);
	sim_device_free(&r.n.c);
	sim_device_init(&r.n.c, &r.n.s);
	sim_join(&r.n.c, "c", NULL);
	ask_relay(&r.n.c, r.session, SPI_A);
	expect_refusal(&r.n.c, MVPN_R_EXPIRED);
	ask_relay(&r.n.a, unknown, SPI_A);
	expect_refusal(&r.n.a, MVPN_R_EXPIRED);
	assert_int_equal(sim_counter(&r.n.s, "relay_refused"), 2);
	ask_relay(&r.n.a, r.session, 0); /* no SPI: malformed */
	sim_expect_close(&r.n.a, MVPN_R_BAD_MESSAGE);
	relayed_down(&r);
}

/* 1 Mb/s: 250 ms of it at once, 31 KB, and what comes to it while they are sent */
static void a_device_has_its_rate(void **state)
{
	struct relayed r;
	unsigned got = 0;

	relayed_up(&r);
	relay_open(&r);
	for (unsigned i = 0; i < 100; i++)
		data(&r.a, MVPN_TUNNEL, SPI_B, 1400);
	while (comes(&r.b, SPI_B, 1400, QUIET_MS))
		got++;
	assert_in_range(got, 10, 60);
	assert_true(sim_counter(&r.n.s, "relay_limited") > 0);
	relayed_down(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(peers_are_told_what_was_proven),
		cmocka_unit_test(only_new_questions_of_devices_are_answered),
		cmocka_unit_test(one_device_is_answered_so_often),
		cmocka_unit_test(only_the_two_ends_are_relayed),
		cmocka_unit_test(a_relay_ends_with_its_session),
		cmocka_unit_test(sessions_of_others_are_not_relayed),
		cmocka_unit_test(a_device_has_its_rate),
	};

	return MVPN_RUN(tests);
}
