/* SPDX-License-Identifier: BSD-2-Clause */
/* At which level the policy wants traffic with each peer sealed: as packets, its TCP connections as streams, or both. */
#ifndef MVPN_LEVELS_H
#define MVPN_LEVELS_H

#include "keyd.h"

void levels_message(struct keyd *k, const struct chan_msg *m); /* LEVELS */
/* interfaces, addresses or levels have changed: connections are diverted, or no longer */
void levels_apply(struct keyd *k);
void levels_stop(struct keyd *k); /* nothing is diverted, and all streams end */
bool levels_wanted(const struct keyd *k); /* a device is at the socket level, and an interface attached */
/* why what programs send there is not taken; NULL: it is. Good until levels_apply() */
const char *levels_problem(const struct keyd *k);
void levels_tick(struct keyd *k, uint64_t now_ms); /* each second: tries again what did not go */
void levels_limit(const struct session *s);    /* a session for packets: does TCP pass by it? */
unsigned peer_level(struct keyd *k, const struct peer *p); /* enum mvpn_level, of any layer's peer */

#endif
