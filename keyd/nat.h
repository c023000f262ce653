/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The way to a peer where its end point is not known beforehand, or not for good:
 *
 *   punching   with NAT on the way both ends send to all that they know of each other at once; the first authentic packet tells
 *              which way is open. B sends nothing sealed before it has heard A (PROTOCOL §3 step 6), only headers (MVPN_PUNCH); the
 *              first opens its own side alone (dp/opener.h), so that A's is the first to arrive at either NAT.
 *   probing    authentic packets from elsewhere move the end point only after a PING to there has been answered: whoever
 *              repeats a packet from a false source gets no more bytes sent there than came from it.
 *   keeping    behind NAT a peer that is sent nothing gets a CONFIRM now and then, or the mapping would be lost.
 */
#ifndef MVPN_NAT_H
#define MVPN_NAT_H

#include "sessions.h"

#define NAT_TOKEN (1ULL << 62) /* set in the tokens of these PINGs; the others have neither this nor PMTU_TOKEN */

/* is there NAT between this device and one that the server sees at `seen` and that calls these its own, or is UDP blocked here? */
bool nat_between(const struct keyd *k, const struct mvpn_endpoint *seen,
		 const struct mvpn_endpoint *own, unsigned n);
void nat_open(struct session *s); /* B, before its ACCEPT: its own firewall and NAT, by nothing that comes to A's NAT */
void nat_punch(struct session *s); /* once to each */
/* an authentic packet of s came from there, which is not where the peer is known to be */
void nat_probe(struct session *s, const struct mvpn_endpoint *from);
/* DP_EV_PONG: false when it answers no PING of ours */
bool nat_pong(struct peer *p, const struct dp_event *e);
void nat_forget(struct peer *p); /* its last session has ended */
void nat_tick(struct keyd *k, uint64_t now_ms); /* each second */
/* "direct", "relayed" (by relayed_via()), "relayed-tcp" (to or from the server at least in part by TCP), or "punching" while it is sought */
const char *nat_path_name(const struct session *s);

#endif
