/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Prefixes that the policy gives gateways (TLV_GATEWAYS): of several the first one that is well gets the packets. Sessions with all of them
 * are for the prefix, so what another one sends from there is let in, too. One alone is watched likewise, so that people hear of it when the
 * hosts behind it are not reached.
 *
 *   heard     any authentic packet of the gateway's; who is in use and was not heard for MVPN_GATEWAY_PING_MS is asked
 *   failed    no answer for MVPN_GATEWAY_SILENT_MS, or no introduction: the server has no channel of it, it is silent, refused
 *   well      heard since; preferred again to one behind it after MVPN_GATEWAY_BACK_MS or more
 *
 *   away      it says that it does not reach the hosts there (gateways_reach.c): used only if all others have failed or say so, too
 *
 * While any of a prefix's gateways has a session the others are kept ready with one. Nothing is asked for prefixes that nobody uses.
 */
#ifndef MVPN_GATEWAYS_H
#define MVPN_GATEWAYS_H

#include <jansson.h>

#include "keyd.h"

int gateways_init(struct keyd *k);
void gateways_free(struct keyd *k);

/* ---- from prefixes.c, in the order in which a change comes ---- */
void gateways_reset(struct keyd *k); /* the whole set follows */
void gateways_forget(struct keyd *k, const struct mvpn_prefix *p); /* it is told anew, or gone */
/* a TLV_GATEWAYS: *ret_owner is who gets the packets, KEYD_SELF if this device is one of them. -ENOSPC: the first one shall. The caller has checked it */
int gateways_told(struct keyd *k, const uint8_t *v, size_t len, struct mvpn_prefix *ret_prefix,
		  uint32_t *ret_owner);
void gateways_committed(struct keyd *k);
void gateways_lost(struct keyd *k); /* what was not committed will not be */

/* more MVPN_PROT_ flags of a prefix of this device's own; and is any of them translated? */
uint32_t gateways_flags(const struct keyd *k, const struct mvpn_prefix *p);
bool gateways_translate(const struct keyd *k);
/* do hosts at that address see the gateway's in place of a device's? */
bool gateways_translated(const struct keyd *k, const struct mvpn_addr *dst);

/* an introduction has failed; peers that are no gateways, or at other layers, do not matter */
void gateways_failed(struct keyd *k, const struct peer *p, enum mvpn_reason why);

/* ---- whether gateways reach the hosts that they stand before ---- */
void gateways_routes_changed(struct keyd *k); /* or links: of this device */
void gateways_reach_heard(struct keyd *k, struct peer *p, uint64_t token); /* DP_EV_REACH */
/* keyd.conf's `check`, addresses with spaces between: -EINVAL and the first that is none, -E2BIG */
int gateways_checks_parse(const char *text, struct mvpn_addr ret[static MVPN_GATEWAY_CHECKS_MAX],
			  unsigned *ret_n, const char **ret_bad);
void gateways_checks(struct keyd *k); /* they have changed */
#define GATEWAYS_TEXT_B 320
/* a line for people about prefixes that this device should reach and does not; false: none */
unsigned gateways_own(const struct keyd *k); /* prefixes that it is a gateway to */
bool gateways_unreached(struct keyd *k, char *ret, size_t size);

/* likewise of prefixes that this device does not reach, because none of their gateways is well */
bool gateways_dead(struct keyd *k, char *ret, size_t size);

/* for `explain` and `peers`: the gateways of the longest prefix of an address, NULL: it has none, or this device is one */
json_t *gateways_explain(struct keyd *k, const struct mvpn_addr *dst);
json_t *gateways_show(const struct keyd *k, const struct peer *p); /* null: no gateway of such a prefix */

#endif
