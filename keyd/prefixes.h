/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef MVPN_PREFIXES_H
#define MVPN_PREFIXES_H

#include "keyd.h"

int peers_message(struct keyd *k, const struct chan_msg *m); /* a PREFIXES message; -EPROTO if malformed */
void prefixes_lost(struct keyd *k); /* the channel: what was not committed will not be */
void prefixes_write(struct keyd *k); /* all of keyd->prefixes into the BPF map */

#endif
