/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Prefixes that the policy gives several gateways (TLV_GATEWAYS): the first one that is well gets the packets. Sessions with all of them
 * are for the prefix, so what another one sends from there is let in, too.
 *
 *   heard     any authentic packet of the gateway's; who is in use and was not heard for MVPN_GATEWAY_PING_MS is asked
 *   failed    no answer for MVPN_GATEWAY_SILENT_MS, or no introduction: the server has no channel of it, it is silent, refused
 *   well      heard since; preferred again to one behind it after MVPN_GATEWAY_BACK_MS or more
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
/* a TLV_GATEWAYS: *ret_owner is who gets the packets, KEYD_SELF if this device is one of them. -EPROTO, -ENOSPC: the first one shall */
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

/* for `explain` and `peers`: the gateways of the longest prefix of an address, NULL: it has not several */
json_t *gateways_explain(struct keyd *k, const struct mvpn_addr *dst);
json_t *gateways_show(const struct peer *p); /* null: no gateway of such a prefix */

#endif
