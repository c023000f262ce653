/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What this device asks the server for about its peers, at a pace that the server bears (it refuses more than messages_channel a
 * second): sessions for packets that wait, and when paths fall silent, a link's with thousands of them at once, a relay and another
 * session for each; once more what has not been answered, of all of them when the channel is back or this device has another key. A few go at once; over that each peer waits for its turn, those to which something is sent first.
 */
#ifndef MVPN_ASKS_H
#define MVPN_ASKS_H

#include "keyd.h"

int asks_init(struct keyd *k);
void asks_free(struct keyd *k);
/* a session for a packet to p: true: ask now; false: session_want_turn() is called in its turn */
bool asks_want(struct keyd *k, struct peer *p);
/* relayed_ask(), in its turn */
void asks_relay(struct session *s);
/* session_rekey(), in its turn, if p's path is silent still */
void asks_rekey(struct keyd *k, struct peer *p);
/* introduce_again(), in its turn */
void asks_again(struct keyd *k, struct peer *p);
unsigned asks_waiting(const struct keyd *k); /* peers */

#endif
