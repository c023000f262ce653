/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Two fast paths in one process, each in a network namespace of its own, with fixed keys instead of
 * a server:
 *
 *   A: 10.77.0.1 fd77::1 mvpn0 | v0 10.78.0.1 fd78::1
 *                                 ||
 *   B: 10.77.0.2 fd77::2 mvpn0 | v1 10.78.0.2 fd78::2
 *
 * Functions assert that they succeed.
 */
#ifndef DP_NET_H
#define DP_NET_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../../keyd/dp/dp.h"
#include "../../keyd/shim.h"

#define DP_PORT 7469

struct end {
	const char *inner4, *inner6, *outer4, *outer6, *link;
	uint32_t rx_spi;
	int ns;
	struct keytab *kt;
	struct dp *dp;
	struct kt_session *s; /* with peer 1: the other end */
	struct shim *shim;    /* for the XDP wire only */
	char pin[64];
};
extern struct end A, B;
struct end *other(const struct end *e);

void net_make(const char *veth_options); /* skips the test without root */
void net_wires_xdp(unsigned queues);	 /* AF_XDP at both ends, after net_make() */
void net_remove(void);

void enter(const struct end *e); /* the calling thread */
void leave(void);
void sh(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void set_endpoint(struct end *e, bool v6, unsigned mtu);
uint64_t dp_count(struct end *e, enum dp_counter c);
bool wait_event(struct end *e, enum dp_event_type type, struct dp_event *ret);

/* sockets in an end's namespace, bound to or connected with inner addresses */
int sock(struct end *e, int type, bool v6);
void addr_of(const struct end *e, bool v6, uint16_t port, struct sockaddr_storage *ret,
	     socklen_t *ret_len);

#endif
