/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The way through a relay, for pairs that find no direct one: what is sealed for the peer goes to the data port of another device that
 * the server names (relay_way.h), or to the server's UDP port, or by the conduit where UDP is blocked (relay_tcp.h), and is passed
 * on there by its SPI. A direct way is looked for all the while, and taken when it is found.
 */
#ifndef MVPN_RELAYED_H
#define MVPN_RELAYED_H

#include "sessions.h"

void relayed_ask(struct session *s); /* asks.c: there is no way so far, or not any more */
int relayed_message(struct keyd *k, const struct chan_msg *m); /* RELAY: 0 or -EPROTO */
/* did this come through the relay, from that peer? */
bool relayed_from(const struct keyd *k, const struct peer *p, const struct mvpn_endpoint *from);
/* the name of the device that relays what goes to the peer; NULL: the server does, or nobody */
const char *relayed_via(const struct peer *p);
void relayed_way_found(struct session *s); /* relay_way.c: that device passes on what we send */
void relayed_unanswered(struct session *s, const uint8_t device[MVPN_ID_LEN]); /* it does not answer */
bool relayed_conduit_at(const struct keyd *k, const struct mvpn_endpoint *at); /* is it the conduit? */
bool relayed_by_tcp(const struct keyd *k, const struct peer *p); /* its packets go or come by TCP */
void relayed_silent(struct keyd *k, struct peer *p); /* it answers no probe any more */
void relayed_udp_changed(struct keyd *k);	     /* UDP is blocked, or not any more */
void relayed_conduit_up(struct keyd *k);
void relayed_tick(struct keyd *k, struct peer *p); /* each MVPN_KEEPALIVE_S */

#endif
