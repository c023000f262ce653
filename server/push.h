/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The protected set on its way to every channel. Changes are collected until the loop comes round, those of one prefix or device merged, encoded once
 * as a delta, kept in a ring, and copied to each channel as fast as it reads. A new channel gets a snapshot (shared by
 * all that come before the next change), then the deltas after it. A channel that falls out of the ring gets a snapshot
 * again: nothing queues without bound. The last part of each change carries what the whole set is then, in 32 bytes (SET); a
 * device that comes back with the SET of a state that is still known is told only what has changed since.
 *
 * While changes keep coming, telling them takes at most half of the time.
 */
#ifndef SERVER_PUSH_H
#define SERVER_PUSH_H

#include "channel.h"

int push_new(struct server *s);
void push_free(struct push *p);

/* a prefix has another effective owner now */
void push_prefix(struct server *s, const struct mvpn_prefix *p);
/* a device's state or name has changed; `gone`: it is about to be removed and is told as revoked */
void push_peer(struct server *s, const struct device *d, bool gone);
/* the policy's revision has changed: an empty commit goes out if nothing else does */
void push_revision(struct server *s);
/* encode what has been collected now: before a message that must come after it */
void push_flush(struct server *s);

/* From now on: the whole set, or what is new to a device that knows a state of it (conn.set), then changes. Again: the whole
 * set once more, unless it said that it is up to date. */
void push_subscribe(struct conn *c);
void push_unsubscribe(struct conn *c);
/* its next part, behind its tables; false: none is due */
bool push_step(struct conn *c);

#endif
