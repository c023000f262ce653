/* SPDX-License-Identifier: BSD-2-Clause */
/* The server's relay: for whom it passes packets on, by UDP and by TCP, and for how long. */
#include "relayed.h"

#include "conduit.h"
#include "crypto.h"

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

/* ---- by TCP ---- */

struct tcp {
	int fd;
	uint8_t hello[CONDUIT_HELLO_B], key[CONDUIT_KEY_B];
};

static void say_udp(struct sim_device *d, bool blocked)
{
	struct chan_buf b = {0};

	chan_begin(&b, MVPN_MSG_UDP, blocked ? MVPN_UDP_BLOCKED : 0, 0);
	sim_send(d, &b);
	chan_buf_free(&b);
}

static bool reads(const struct tcp *t, void *ret, size_t len, int ms)
{
	struct pollfd p = {.fd = t->fd, .events = POLLIN};

	return poll(&p, 1, ms) == 1 && recv(t->fd, ret, len, MSG_WAITALL) == (ssize_t)len;
}

static void writes(const struct tcp *t, const void *data, size_t len)
{
	assert_int_equal(send(t->fd, data, len, MSG_NOSIGNAL), len);
}

static struct tcp tcp_greet(struct sim_device *d, uint64_t counter)
{
	struct tcp t = {.fd = sim_connect(d->server)};

	conduit_key(t.key, d->echo + 4);
	conduit_hello(t.hello, echo_id(d), counter, t.key);
	return t;
}

static struct tcp tcp_up(struct sim_device *d, uint64_t counter)
{
	struct tcp t = tcp_greet(d, counter);
	uint8_t ready[CONDUIT_READY_B];

	/* in two parts, as TCP may */
	writes(&t, t.hello, 1);
	writes(&t, t.hello + 1, sizeof(t.hello) - 1);
	assert_true(reads(&t, ready, sizeof(ready), SIM_WAIT_MS));
	assert_int_equal(conduit_ready_check(ready, t.hello, t.key), 0);
	return t;
}

static void tcp_data(const struct tcp *t, uint32_t spi, size_t len)
{
	uint8_t p[2 + 1400] = {(uint8_t)(len >> 8), (uint8_t)len, MVPN_TUNNEL};
	uint32_t be = htobe32(spi);

	memcpy(p + 2 + 4, &be, sizeof(be));
	memset(p + 2 + 16, 0xa5, len - 16);
	writes(t, p, 2 + len);
}

static bool tcp_comes(const struct tcp *t, uint32_t spi, size_t len, int ms)
{
	uint8_t p[2 + 1400];
	uint32_t be;

	if (!reads(t, p, 2 + len, ms))
		return false;
	assert_int_equal(p[0] << 8 | p[1], len);
	memcpy(&be, p + 2 + 4, sizeof(be));
	assert_int_equal(be32toh(be), spi);
	return true;
}

static void closed(struct tcp *t)
{
	sim_expect_fd_eof(t->fd);
}

static void expect_no_udp(struct sim_device *d, bool no_udp)
{
	uint8_t v = 0;

	assert_int_equal(chan_get_u8(&d->msg, MVPN_TLV_NO_UDP, &v) && v, no_udp);
}

static void a_device_without_udp_is_relayed_by_tcp(void **state)
{
	struct relayed r;
	struct tcp a, b;

	relayed_up(&r);
	relay_open(&r);
	say_udp(&r.n.a, true);
	a = tcp_up(&r.n.a, 1);
	ask_relay(&r.n.a, r.session, SPI_A); /* b hears of it, though it is open already */
	expect_relay(&r.n.a, true, &r.b);
	expect_no_udp(&r.n.a, false);
	expect_relay(&r.n.b, true, &r.a);
	expect_no_udp(&r.n.b, true);
	tcp_data(&a, SPI_B, 1400);
	assert_true(comes(&r.b, SPI_B, 1400, SIM_WAIT_MS));
	data(&r.b, MVPN_TUNNEL, SPI_A, 100);
	assert_true(tcp_comes(&a, SPI_A, 100, SIM_WAIT_MS));
	/* both */
	b = tcp_up(&r.n.b, 1);
	tcp_data(&a, SPI_B, 500);
	assert_true(tcp_comes(&b, SPI_B, 500, SIM_WAIT_MS));
	tcp_data(&b, SPI_A, 600);
	assert_true(tcp_comes(&a, SPI_A, 600, SIM_WAIT_MS));
	/* what is not for the other end is for nobody */
	tcp_data(&a, SPI_A, 100);
	tcp_data(&a, SPI_B + 1, 100);
	assert_false(tcp_comes(&a, SPI_A, 100, QUIET_MS));
	assert_int_equal(sim_counter(&r.n.s, "relayed"), 6);
	/* without its conduit it is reached by UDP again */
	close(a.fd);
	sim_wait_counter(&r.n.s, "conduits", 2);
	say_udp(&r.n.a, false);
	ask_relay(&r.n.a, r.session, SPI_A);
	expect_relay(&r.n.a, true, &r.b);
	expect_relay(&r.n.b, true, &r.a);
	expect_no_udp(&r.n.b, false);
	tcp_data(&b, SPI_A, 100);
	assert_true(comes(&r.a, SPI_A, 100, SIM_WAIT_MS));
	close(b.fd);
	relayed_down(&r);
}

static void only_devices_have_conduits(void **state)
{
	struct relayed r;
	struct tcp t;
	json_int_t half_open;
	json_t *status;

	relayed_up(&r);
	t = tcp_up(&r.n.a, 7);
	close(t.fd);
	t = tcp_greet(&r.n.a, 7); /* again */
	writes(&t, t.hello, sizeof(t.hello));
	closed(&t);
	for (unsigned i = 0; i < CONDUIT_HELLO_B; i += 3) { /* changed on the way */
		t = tcp_greet(&r.n.a, 8 + i);
		if (!i) {
			t.hello[1] ^= 1;
		} else {
			t.hello[i] ^= 1;
		}
		writes(&t, t.hello, sizeof(t.hello));
		closed(&t);
	}
	assert_int_equal(sim_counter(&r.n.s, "conduits"), 1);
	assert_int_equal(sim_counter(&r.n.s, "conduit_refused"), 1 + (CONDUIT_HELLO_B + 2) / 3);
	status = sim_ok(&r.n.s, "status", NULL);
	half_open = json_integer_value(json_object_get(status, "half_open"));
	json_decref(status);
	assert_int_equal(half_open, 0);
	/* no sealed packet has this length */
	t = tcp_up(&r.n.a, 100);
	writes(&t, "\x00\x1f", 2);
	closed(&t);
	t = tcp_up(&r.n.a, 101);
	writes(&t, "\x24\x01", 2);
	closed(&t);
	/* a newer one takes the place of the older; both go with the device */
	t = tcp_up(&r.n.a, 102);
	{
		struct tcp newer = tcp_up(&r.n.a, 103);

		closed(&t);
		sim_hang_up(&r.n.a);
		closed(&newer);
	}
	relayed_down(&r);
}

/* nothing grows, and nobody else waits, when the end of a conduit reads nothing */
static void a_conduit_that_is_not_read_loses_packets(void **state)
{
	struct relayed r;
	struct tcp a;

	relayed_up_at(&r, 10000);
	relay_open(&r);
	a = tcp_up(&r.n.a, 1);
	for (unsigned i = 0; i < 20000 && !sim_counter(&r.n.s, "conduit_full"); i++)
		for (unsigned n = 0; n < 200; n++)
			data(&r.b, MVPN_TUNNEL, SPI_A, 1400);
	assert_true(sim_counter(&r.n.s, "conduit_full") > 0);
	close(a.fd);
	relayed_down(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_the_two_ends_are_relayed),
		cmocka_unit_test(a_relay_ends_with_its_session),
		cmocka_unit_test(sessions_of_others_are_not_relayed),
		cmocka_unit_test(a_device_has_its_rate),
		cmocka_unit_test(a_device_without_udp_is_relayed_by_tcp),
		cmocka_unit_test(only_devices_have_conduits),
		cmocka_unit_test(a_conduit_that_is_not_read_loses_packets),
	};

	return MVPN_RUN(tests);
}
