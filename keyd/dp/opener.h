/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A datagram that this host's own NAT passes on, and so takes the answer's way for open, and that does not reach the peer's. It must not: a NAT
 * that keeps a record of what came unasked, as Linux's does when no firewall drops that, has this tuple taken when the host behind it
 * sends the other way, and gives it another port, which nobody knows.
 *
 * It lives for two hops (TTL). Where the two NATs are on one link the second hop is the peer's NAT, and would still take it for its own:
 * then it carries a Record Route option (RFC 791 §3.1) with room for this host and one router more, and a rest that is too short
 * for an address, at which the second router drops it before it looks whose it is.
 */
#ifndef MVPN_OPENER_H
#define MVPN_OPENER_H

#include <stdbool.h>
#include <stddef.h>

#include "addr.h"

/* by a UDP socket to an IPv4 address: 0 or -errno */
int opener_send(int fd, const struct mvpn_endpoint *to, bool one_link, const void *data, size_t len);

#endif
