/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The conduit (lib/conduit.h): sealed packets to and from the server's relay by TCP, where UDP to the server is blocked. To the data path it
 * is a UDP end point on the loopback interface: what the workers send there goes by the conduit, and what comes by the conduit
 * goes from there to the data port. Only packets from the data port are heard. It is there while somebody needs it.
 */
#ifndef MVPN_RELAY_TCP_H
#define MVPN_RELAY_TCP_H

#include "keyd.h"

int relay_tcp_init(struct keyd *k);
void relay_tcp_free(struct keyd *k);
/* the server's word about this channel: what a conduit is begun with; id 0: there is no channel that it could be */
void relay_tcp_welcome(struct keyd *k, uint32_t id, const uint8_t *echo_key);
void relay_tcp_want(struct keyd *k); /* a session needs it, for MVPN_CONDUIT_IDLE_S: relayed_conduit_up() once it is there */
bool relay_tcp_wanted(const struct keyd *k);
bool relay_tcp_up(const struct keyd *k);
/* where the data path reaches it: false while it cannot */
bool relay_tcp_at(const struct keyd *k, struct mvpn_endpoint *ret);
void relay_tcp_tick(struct keyd *k, uint64_t now_ms); /* each second */

#endif
