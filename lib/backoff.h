/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * When a lost channel is tried again: after a random wait below a bound ("full jitter"), so that devices that were lost together do not
 * come together. The first bound is the server's, which knows how many they are; without its word it is a second. It doubles with each
 * attempt, from 200 ms at least, up to MVPN_CHAN_RECONNECT_MAX_S.
 */
#ifndef MVPN_BACKOFF_H
#define MVPN_BACKOFF_H

struct backoff {
	unsigned bound_ms; /* of the last wait; 0: there was none since it went well */
};

#define BACKOFF_UNTOLD (~0U)

/* how long to wait now, in ms; `first_ms` is the server's bound or BACKOFF_UNTOLD */
unsigned backoff_next(struct backoff *b, unsigned first_ms);

#endif
