/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * TCP's maximum segment size, so that segments fit the tunnel from the first one on, forwarded connections too: the option in
 * a SYN (RFC 9293 §3.7.1) is lowered, never raised or added, and the checksum follows it (RFC 1624).
 */
#ifndef MVPN_MSS_H
#define MVPN_MSS_H

#include "packet.h"

/* where the TCP option of that kind begins in p->data; 0: there is none, or no TCP header */
unsigned tcp_option(const struct packet *p, unsigned kind);

/*
 * `inner_mtu` is the largest inner packet that the path takes. `partial`: the checksum is that of the pseudo-header only, which does
 * not cover options. Leaves alone what is no SYN, and what TCP-AO has signed. Returns whether the packet was changed.
 */
bool mss_clamp(const struct packet *p, bool partial, unsigned inner_mtu);

#endif
