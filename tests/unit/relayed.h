/* SPDX-License-Identifier: BSD-2-Clause */
/* Two devices that have a session, proven data ports, and want it relayed. */
#ifndef MVPN_TESTS_RELAYED_H
#define MVPN_TESTS_RELAYED_H

#include "dataport.h"

#define SPI_A 0x11223344
#define SPI_B 0x55667788

static inline void prove(const struct sim_device *d, const struct port *p)
{
	struct echo_msg m = {.counter = 1};

	assert_true(ask(d, p, &m, SIM_WAIT_MS));
	m.counter = 2;
	assert_true(ask(d, p, &m, SIM_WAIT_MS));
}

static inline void ask_relay(struct sim_device *d, const uint8_t session[16], uint32_t spi)
{
	struct chan_buf b = {0};

	chan_begin(&b, MVPN_MSG_RELAY, 0, 0);
	chan_put(&b, MVPN_TLV_SESSION, session, 16);
	chan_put_u32(&b, MVPN_TLV_SPI, spi);
	sim_send(d, &b);
	chan_buf_free(&b);
}

/* RELAY that says whether it is open, and where the peer is */
static inline void expect_relay(struct sim_device *d, bool open, const struct port *peer)
{
	uint8_t e[18];

	sim_expect(d, MVPN_MSG_RELAY);
	assert_int_equal(d->msg.flags, open ? MVPN_RELAY_OPEN : 0);
	assert_true(chan_get_bytes(&d->msg, MVPN_TLV_ENDPOINT, e, sizeof(e)));
	assert_int_equal(e[16] << 8 | e[17], peer->number);
}

static inline void expect_refusal(struct sim_device *d, unsigned reason)
{
	uint16_t why = 0;

	sim_expect(d, MVPN_MSG_RELAY);
	assert_true(chan_get_u16(&d->msg, MVPN_TLV_REASON, &why));
	assert_int_equal(why, reason);
}

static inline void data(const struct port *from, uint8_t type, uint32_t spi, size_t len)
{
	uint8_t p[1400] = {type};
	uint32_t be = htobe32(spi);

	memcpy(p + 4, &be, sizeof(be));
	memset(p + 16, 0xa5, len - 16);
	assert_int_equal(send(from->fd, p, len, 0), len);
}

static inline bool comes(const struct port *to, uint32_t spi, size_t len, int ms)
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

static inline void relayed_ports(struct relayed *r)
{
	r->a = port_open(&r->n.s);
	r->b = port_open(&r->n.s);
	prove(&r->n.a, &r->a);
	prove(&r->n.b, &r->b);
	sim_introduce(&r->n.a, &r->n.b, B_ADDR, r->session);
}

static inline void relayed_up(struct relayed *r)
{
	sim_net_up(&r->n);
	relayed_ports(r);
}

/* a device has that rate */
static inline void relayed_up_at(struct relayed *r, uint64_t mbit)
{
	sim_net_up(&r->n);
	sim_server_stop(&r->n.s);
	r->n.s.relay_mbit = mbit;
	sim_server_start(&r->n.s);
	sim_rejoin(&r->n.a, A_ADDR);
	sim_rejoin(&r->n.b, B_ADDR);
	relayed_ports(r);
}

static inline void relayed_down(struct relayed *r)
{
	close(r->a.fd);
	close(r->b.fd);
	sim_net_down(&r->n);
}

#endif
