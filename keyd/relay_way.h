/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The way of one session through a device that relays (docs/protocol.md): the server names the device; this end asks it, by echoes with
 * a key that the server gave to both, until the device believes where it is, and goes on asking, so that a device which is gone is noticed
 * and NAT keeps the mapping. What it does not answer the server hears, and names another one.
 */
#ifndef MVPN_RELAY_WAY_H
#define MVPN_RELAY_WAY_H

#include "sessions.h"

/* what the server has said, well formed; said again it changes nothing. -ENOMEM */
int relay_way_told(struct session *s, const struct mvpn_relay_by *by, const char *name);
void relay_way_free(struct session *s); /* it goes another way; there may be none */
/* the device's end point; false: there is no such device, or it does not pass packets on for us so far */
bool relay_way_open(const struct session *s, struct mvpn_endpoint *ret);
bool relay_way_at(const struct session *s, const struct mvpn_endpoint *at); /* is it there? */
const char *relay_way_name(const struct session *s);
void relay_way_answered(struct keyd *k, const struct dp_event *e); /* DP_EV_ECHO */

#endif
