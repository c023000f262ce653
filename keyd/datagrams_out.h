/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Datagrams on their way to applications: those in a row from one socket to one receiver, of one length, but for the last, which
 * may be shorter, go by one system call and are cut by the kernel (UDP_SEGMENT).
 */
#ifndef MVPN_DATAGRAMS_OUT_H
#define MVPN_DATAGRAMS_OUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addr.h"

struct datagrams_out;

/* v6: the sockets are IPv6's, which take IPv4 too. NULL: no memory. */
struct datagrams_out *datagrams_out_new(bool v6);
void datagrams_out_free(struct datagrams_out *o); /* what waits is lost; NULL is fine */
/*
 * Takes it, and sends those before it that it does not go with. `from`: its source address, with fd's port; NULL: what the
 * kernel chooses. Returns how many could not be sent.
 */
unsigned datagrams_out_put(struct datagrams_out *o, int fd, const struct mvpn_endpoint *to, const struct mvpn_addr *from,
			   const uint8_t *data, size_t len);
/* before fd is closed, and before anybody waits. Returns how many could not be sent. */
unsigned datagrams_out_flush(struct datagrams_out *o);

#endif
