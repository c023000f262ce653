/* SPDX-License-Identifier: BSD-2-Clause */
/* Messages whose Diffie-Hellman is made on a token: OFFER, ANSWER and PIN wait for it here, with their own copy of the message. */
#ifndef MVPN_INTRO_DEFER_H
#define MVPN_INTRO_DEFER_H

#include "keyd.h"

/* as introduce_offer(), introduce_answer() and rotate_pin(), at once if the key is in memory, else when the token has computed */
int intro_when_ready(struct keyd *k, const struct chan_msg *m);
/* nothing that waits about this device counts any more: the server has ended it since; NULL: about any */
void intro_deferred_drop(struct keyd *k, const uint8_t device[MVPN_ID_LEN]);

#endif
