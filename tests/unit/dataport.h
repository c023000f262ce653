/* SPDX-License-Identifier: BSD-2-Clause */
/* A device's data port, and what it asks the server from there. */
#ifndef MVPN_TESTS_DATAPORT_H
#define MVPN_TESTS_DATAPORT_H

#include "../sim/sim.h"

#include <arpa/inet.h>
#include <endian.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "echo_msg.h"

#define QUIET_MS 100

/* a data port */
struct port {
	int fd;
	uint16_t number;
};

static inline struct port port_open(const struct sim_server *s)
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

static inline uint32_t echo_id(const struct sim_device *d)
{
	uint32_t be;

	memcpy(&be, d->echo, sizeof(be));
	return be32toh(be);
}

static inline bool hears(const struct port *p, uint8_t ret[MVPN_ECHO_B + 1], int ms)
{
	struct pollfd pfd = {.fd = p->fd, .events = POLLIN};

	if (poll(&pfd, 1, ms) != 1)
		return false;
	assert_int_equal(recv(p->fd, ret, MVPN_ECHO_B + 1, 0), MVPN_ECHO_B); /* not longer than asked */
	return true;
}

/* true if it was answered; *m becomes the answer */
static inline bool ask(const struct sim_device *d, const struct port *p, struct echo_msg *m, int ms)
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

#endif
