/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Sessions on record, and cutting them. An end that is off-line when its session is cut is owed the news: it hears it
 * right after its next WELCOME, before anything else can happen.
 */
#ifndef SERVER_SESSION_H
#define SERVER_SESSION_H

#include "channel.h"

/* inside a transaction: a new active session, which ends `replaces` (NULL: none) if that is of the same pair */
int session_record(struct server *s, const struct store_session *row, const uint8_t *replaces);
/*
 * End every session of the device and tell the peers: PEER_RESET for MVPN_R_STALE_BOOT, else REVOKE. Returns how many,
 * or -errno.
 */
int session_cut_device(struct server *s, const struct device *d, enum mvpn_reason reason);
/* end the sessions that the policy or a device's state forbids now, and tell both ends; those whose mode or services it has changed
 * are made anew, at layer SOCKET told so (services_tell()) */
struct session_cuts {
	unsigned cut, renewed;
};
struct session_cuts session_cut_forbidden(struct server *s);
/*
 * The sessions that would end if this policy were in force, and why: MVPN_R_POLICY_CHANGED if it forbids them, another reason if they
 * are made anew. 0 or -errno.
 */
int session_foresee(struct server *s, const struct policy *p,
		    void (*fn)(void *arg, const struct store_session *row, enum mvpn_reason why),
		    void *arg);
/*
 * A device has lost a prefix, and the sessions' selectors are bound into their keys: mark it; when the change has been
 * pushed, both ends of its sessions hear PEER_RESET and make new ones as they need them. (What it gains the devices take
 * in by a rekey.)
 */
void session_mark(struct server *s, struct device *d); /* NULL is fine */
unsigned session_renew_marked(struct server *s); /* how many */
/* after WELCOME: what this device missed */
void session_tell_owed(struct conn *c);
/* and then: what its sessions at layer SOCKET are for, for the policy may have changed; those that it has changed and that cannot be told so are made anew */
void session_services_missed(struct conn *c);
/* an acknowledged REVOKE: of the last one it stands for all before */
void session_revoke_heard(struct conn *c, uint16_t reqid);
/* the second heartbeat after a REVOKE was sent after it was heard: channels are ordered */
void session_heartbeat(struct conn *c);
/* ENDED from a device: 0 or -EPROTO */
int session_ended(struct conn *c, const struct chan_msg *m);

#endif
