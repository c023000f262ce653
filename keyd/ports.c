/* SPDX-License-Identifier: BSD-2-Clause */
#include "ports.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "log.h"
#include "loop.h"
#include "shim.h"
#include "sockdiag.h"

#define PORTS 65536
#define FIRST 1024
#define BEGIN 29999 /* down from here, then from the top: what gateways translate to and what Kubernetes takes comes last */
#define LOOK_MS 10000
#define RANGE "/proc/sys/net/ipv4/ip_local_port_range"

typedef uint8_t port_set[PORTS / 8];

struct ports {
	port_set tcp, udp;  /* whose sockets there are */
	port_set connected; /* UDP ports to which an application is connected */
	uint16_t next;	    /* to be tried */
	bool gone, warned;
	uint64_t gone_ms, looked_ms; /* the last one is gone since; looked for who is connected */
};

static bool has(const port_set s, uint16_t port)
{
	return s[port / 8] & 1 << port % 8;
}

static void put(port_set s, uint16_t port, bool in)
{
	if (in)
		s[port / 8] |= (uint8_t)(1 << port % 8);
	else
		s[port / 8] &= (uint8_t)~(1 << port % 8);
}

static uint8_t *of(struct ports *p, uint8_t proto)
{
	return proto == IPPROTO_TCP ? p->tcp : p->udp;
}

/* what an earlier life has kept is gone, too */
static struct ports *ports_get(struct keyd *k)
{
	if (k->ports)
		return k->ports;
	k->ports = calloc(1, sizeof(*k->ports));
	if (k->ports) {
		k->ports->gone = true;
		k->ports->gone_ms = k->ports->looked_ms = mono_ms();
		k->ports->next = BEGIN;
	}
	return k->ports;
}

/* ---- a port ---- */

/* what the kernel chooses from for whoever names no port */
static void range(unsigned *ret_lo, unsigned *ret_hi)
{
	FILE *f = fopen(RANGE, "re");

	if (!f || fscanf(f, "%u %u", ret_lo, ret_hi) != 2) {
		*ret_lo = 32768;
		*ret_hi = 60999;
	}
	if (f)
		fclose(f);
}

static int bind_to(int fd, bool v6, uint16_t port)
{
	struct sockaddr_in6 any6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	struct sockaddr_in any4 = {.sin_family = AF_INET, .sin_port = htons(port)};

	return (v6 ? bind(fd, (struct sockaddr *)&any6, sizeof(any6))
		   : bind(fd, (struct sockaddr *)&any4, sizeof(any4))) < 0
		       ? -errno
		       : 0;
}

/* -EADDRINUSE, or an application may still send there: -EEXIST to this keyd, -EPERM to one of another network */
static int try(struct keyd *k, int fd, bool v6, uint8_t proto, uint16_t port)
{
	int r = shim_port_keep(k->shim, proto, port);

	if (r < 0)
		return r;
	r = bind_to(fd, v6, port);
	if (r < 0)
		shim_port_give(k->shim, proto, port);
	return r;
}

/* on from the last one */
static int outside(struct keyd *k, int fd, bool v6, uint8_t proto, uint16_t *ret_port)
{
	struct ports *p = k->ports;
	unsigned lo, hi;

	range(&lo, &hi);
	for (unsigned n = FIRST; n < PORTS; n++) {
		uint16_t port = p->next;
		int r;

		p->next = port > FIRST ? port - 1 : PORTS - 1;
		if (port >= lo && port <= hi)
			continue;
		r = try(k, fd, v6, proto, port);
		if (r == 0)
			*ret_port = port;
		if (r != -EADDRINUSE && r != -EEXIST && r != -EPERM)
			return r;
	}
	return -EADDRINUSE;
}

/* The kernel may choose it for another program once keyd is no more: better than nothing, and said. */
static int inside(struct keyd *k, int fd, bool v6, uint8_t proto, uint16_t *ret_port)
{
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);
	struct mvpn_endpoint e;
	int r = bind_to(fd, v6, 0);

	if (r == 0 && getsockname(fd, (struct sockaddr *)&sa, &len) < 0)
		r = -errno;
	if (r == 0)
		r = mvpn_endpoint_from_sockaddr(&e, (struct sockaddr *)&sa);
	if (r == 0)
		r = shim_port_keep(k->shim, proto, e.port);
	if (r < 0)
		return r == -EEXIST ? -EADDRINUSE : r;
	if (!k->ports->warned)
		log_warn("no port is free outside " RANGE ", where keyd's ports for the socket level "
			 "should be: leave some out of it");
	k->ports->warned = true;
	*ret_port = e.port;
	return 0;
}

int ports_bind(struct keyd *k, int fd, bool v6, uint8_t proto, uint16_t *ret_port)
{
	struct ports *p = ports_get(k);
	int r = p ? outside(k, fd, v6, proto, ret_port) : -ENOMEM;

	if (r == -EADDRINUSE)
		r = inside(k, fd, v6, proto, ret_port);
	if (r == 0)
		put(of(p, proto), *ret_port, true);
	return r;
}

void ports_gone(struct keyd *k, uint8_t proto, uint16_t port)
{
	put(of(k->ports, proto), port, false);
	k->ports->gone = true;
	k->ports->gone_ms = mono_ms();
}

/* ---- those that are gone ---- */

static void mark(void *arg, uint16_t port)
{
	put(arg, port, true);
}

static int look(struct ports *p)
{
	struct sockdiag *d;
	int r = sockdiag_new(&d);

	memset(p->connected, 0, sizeof(p->connected));
	if (r == 0) {
		r = sockdiag_udp_connected(d, mark, p->connected);
		sockdiag_free(d);
	}
	if (r < 0)
		log_ratelimited(LOG_L_WARN, "cannot see which UDP sockets are connected: %s",
				strerror(-r));
	return r;
}

static int give_up(void *arg, uint8_t proto, uint16_t port)
{
	struct keyd *k = arg;
	struct ports *p = k->ports;

	if (has(of(p, proto), port))
		return 0;
	if (proto == IPPROTO_UDP && has(p->connected, port))
		p->gone = true;
	else
		shim_port_give(k->shim, proto, port);
	return 0;
}

/* a TCP that has sent a SYN there sends it again, and is refused, after 64 s at most */
void ports_tick(struct keyd *k, uint64_t now_ms)
{
	struct ports *p = ports_get(k);

	if (!p || !p->gone || now_ms - p->gone_ms < MVPN_DATAGRAM_IDLE_S * 1000 ||
	    now_ms - p->looked_ms < LOOK_MS)
		return;
	p->looked_ms = now_ms;
	if (look(p) < 0)
		return;
	p->gone = false;
	shim_ports_each(k->shim, give_up, k);
}

void ports_free(struct keyd *k)
{
	free(k->ports);
	k->ports = NULL;
}
