/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The ticket by which a server under load lets this device pass first (lib/chan_proof.c). It is no secret: it is worth nothing
 * without the channel PSK. Kept in the state directory, for the day when every host starts at once.
 */
#ifndef MVPN_TICKET_H
#define MVPN_TICKET_H

#include "keyd.h"

void ticket_load(struct keyd *k);
void ticket_take(struct keyd *k, const struct chan_msg *m, bool keep); /* from WELCOME */
const uint8_t *ticket_get(const struct keyd *k); /* NULL: none */

#endif
