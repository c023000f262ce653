/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The path to one peer: where its packets go (resolved anew when routes, links or neighbours change) and how large they may be
 * (pmtu.h, with PINGs on the transmitting session). What comes out is published in the key table and in the BPF map `keys`.
 * A peer has a path from its first session's installation to its last one's end.
 */
#ifndef MVPN_PATH_H
#define MVPN_PATH_H

#include "keyd.h"

/* the peer is at `to`; p->endpoint is set */
void path_set_endpoint(struct keyd *k, struct peer *p, const struct mvpn_endpoint *to);
/* NAT is between us: before the end point is set or refreshed */
void path_set_nat(struct keyd *k, struct peer *p, bool nat);
void path_refresh(struct keyd *k, struct peer *p); /* routes or neighbours may have changed */
void path_usable(
	struct peer *p); /* a session transmits: what is not known of the path is found out */
void path_free(struct peer *p);
/* DP_EV_PONG: false when it answers no probe of ours */
bool path_pong(struct peer *p, const struct dp_event *e);
void path_traffic(struct peer *p);	       /* DP_EV_TRAFFIC */
void path_hint(struct peer *p, unsigned mtu); /* DP_EV_TOO_BIG */

unsigned path_mtu(const struct peer *p); /* of the underlay, whole IP packets */
unsigned
path_inner_mtu(const struct peer *p); /* the largest inner packet; 0 when there is no path */
bool path_is_silent(const struct peer *p); /* no probe is answered any more */
const char *path_mtu_state(const struct peer *p);

#endif
