/* SPDX-License-Identifier: BSD-2-Clause */
/* At which level the policy wants traffic with each peer sealed: as packets, or its TCP connections as streams. */
#ifndef MVPN_LEVELS_H
#define MVPN_LEVELS_H

#include "keyd.h"

void levels_message(struct keyd *k, const struct chan_msg *m); /* LEVELS */
/* interfaces, addresses or levels have changed: connections are diverted, or no longer */
void levels_apply(struct keyd *k);

#endif
