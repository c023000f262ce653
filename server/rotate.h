/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A device changes its key (docs/protocol.md, "Rotation"). ROTATE on the channel of the present one names the next; the log-in by the
 * next makes it the device's own, and the old one void for good. It is on record before the device hears that it may use it,
 * and the device has both until the next has served, so that whoever crashes whenever can log in with what it has.
 */
#ifndef SERVER_ROTATE_H
#define SERVER_ROTATE_H

#include "channel.h"

/* the device that this key logs in: its own, or its next one while that is good; NULL */
struct device *rotate_find(const struct server *s, const uint8_t pk[MVPN_KEY_LEN]);
bool rotate_next(const struct device *d); /* it has a next one that is good */
/* neither an old key of some device nor a next one */
bool rotate_may_enrol(struct server *s, const uint8_t pk[MVPN_KEY_LEN]);
/* a log-in has been authenticated: if it was by the next key, that is the device's now. 0 or -errno */
int rotate_login(struct conn *c, struct device *d);
/* a log-in with a key for which the next one has signed (delegate.c), which is on a token: likewise */
int rotate_to_token(struct conn *c, struct device *d, const struct delegation *dg);

/* messages of the device; 0 or -EPROTO */
int rotate_message(struct conn *c, const struct chan_msg *m);
int rotate_pin_heard(struct conn *c, const struct chan_msg *m);
/* after WELCOME: keys of peers that have changed while it was away */
void rotate_tell(struct conn *c);

#endif
