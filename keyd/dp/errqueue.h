/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A UDP socket's error queue (IP_RECVERR, IPV6_RECVERR of ip(7) and ipv6(7)): ICMP errors that came back for its packets, and what
 * its own device has refused.
 */
#ifndef MVPN_ERRQUEUE_H
#define MVPN_ERRQUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addr.h"

#define QUOTE_B 64 /* enough for a data packet's header */

/* one error. Nothing here is authenticated: anybody can send ICMP. */
struct quote {
	uint8_t data[QUOTE_B]; /* the payload's beginning, as far as the error quotes it */
	size_t len;
	struct mvpn_endpoint to; /* where that packet went */
	bool too_big;
	unsigned mtu; /* that would fit, 0: not told */
};

/* also on a socket for both families */
int errqueue_enable(int fd, bool v4_only);
/* the next ICMP error; false: the queue is empty, and no error is pending on the socket any more */
bool errqueue_read(int fd, struct quote *ret);

#endif
