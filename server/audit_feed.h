/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Those who follow the audit trail over the control socket. Events are read back from the store, each follower at its own
 * pace: a slow one lags and misses nothing, and costs no memory.
 */
#ifndef SERVER_AUDIT_FEED_H
#define SERVER_AUDIT_FEED_H

#include "ipc.h"
#include "server.h"

#define AUDIT_FOLLOWERS_MAX 16 /* of MVPN_CTL_CLIENTS_MAX: others have to come in too */

int audit_feed_new(struct server *s);
void audit_feed_free(struct audit_feed *f); /* after the control socket; NULL is fine */
/* streams the events from `seq` on, until the client goes; answers an error itself */
void audit_feed_add(struct server *s, struct ipc_call *call, uint64_t seq);
/* something was committed: cheap when nobody follows */
void audit_feed_wake(struct server *s);

#endif
