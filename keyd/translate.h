/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * "source translated" at the gateway: programs on every interface that is not attached and has an address (shim_translate.c), and the
 * end of flows that are idle.
 */
#ifndef MVPN_TRANSLATE_H
#define MVPN_TRANSLATE_H

#include <jansson.h>

#include "keyd.h"

/* the policy, interfaces or addresses may have changed */
void translate_refresh(struct keyd *k);
void translate_tick(struct keyd *k);  /* each second */
void translate_count(struct keyd *k); /* keyd->counters, as they are now */
/* what hosts behind this gateway see of a flow of which `f` is one direction: "10.9.0.1:61000"; null: it is not translated */
json_t *translate_show(struct keyd *k, const struct mvpn_flow_key *f);

/* of one device {flows, refused: packets that would have begun more than it may have}; null: it has none */
json_t *translate_share(const struct peer *p);
/* a device that had as many as it may a moment ago, and wanted more; false: none */
bool translate_refused(struct keyd *k, const char **ret_who);

#endif
