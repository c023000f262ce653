/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Devices that relay (`relay` in the policy): for each pair one that is on-line, has UDP, is no end of it and has no NAT before it; of
 * several the one that a hash of the two ends and it puts first, so that pairs are spread, and the next session of a pair goes the same
 * way. The server tells it of the two ends (FORWARD), and the ends of it (RELAY). When it goes away, refuses, or does not answer an end, the pair
 * goes to another one, or to the server itself.
 */
#ifndef SERVER_RELAY_DEVICE_H
#define SERVER_RELAY_DEVICE_H

#include "relay.h"

bool relay_devices_named(const struct server *s); /* does the policy have any? */
/* Both ends have asked: what relays is told so. true: it is not what the ends were told last. */
bool relay_device_choose(struct server *s, struct relay_pair *p);
/* that end's questions are not answered by the device */
void relay_device_silent(struct server *s, struct relay_pair *p, const uint8_t device[MVPN_ID_LEN],
			 const struct device *end);
void relay_device_put(struct chan_buf *b, const struct relay_pair *p, const struct conn *to); /* TLV_RELAY_BY */
void relay_device_end(struct server *s, struct relay_pair *p); /* it is relayed no more */
int relay_device_message(struct conn *c, const struct chan_msg *m); /* FORWARD: 0 or -EPROTO */

/* it is on-line, or what the policy says of it may have changed; it is not, or must not relay any more */
void relay_device_up(struct server *s, struct device *d);
void relay_device_gone(struct server *s, struct device *d);
void relay_devices_recheck(struct server *s); /* of all: the policy has changed */

#endif
