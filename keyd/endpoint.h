/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * This device's own end point: is there NAT before it, and as what do others see its data port? The server says so in answer to
 * sealed questions from that very port (lib/echo_msg.h); no answer means not known, and then all is done as without NAT; but when
 * several are not answered in a row UDP to the server is blocked, which the server is told (relay_tcp.h is what follows).
 * Behind NAT the question is repeated, so that the mapping lives and its change is noticed.
 */
#ifndef MVPN_ENDPOINT_H
#define MVPN_ENDPOINT_H

#include "keyd.h"

int endpoint_init(struct keyd *k);
void endpoint_free(struct keyd *k);
void endpoint_welcome(struct keyd *k, const struct chan_msg *m);
bool endpoint_answered(struct keyd *k, const struct dp_event *e); /* DP_EV_ECHO; false: it is to no question of these */
bool endpoint_behind_nat(const struct keyd *k);
/* what is asked of the server by UDP is not answered */
bool endpoint_udp_blocked(const struct keyd *k);
const char *endpoint_udp(const struct keyd *k); /* "works", "blocked" or "unknown" */
void endpoint_suspect(struct keyd *k); /* a peer is silent: is it UDP as such? */
/* false: not known */
bool endpoint_seen(const struct keyd *k, struct mvpn_endpoint *ret);

#endif
