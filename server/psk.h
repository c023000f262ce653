/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The channel PSK of a device is renewed by the server: WELCOME carries the next one, on record before it is sent; the one before
 * is good until the next has been used. So whoever crashes whenever can log in with what it has. Each comes from the one before and
 * the server's store key: a store that was restored from an old copy knows those that it has not seen yet.
 */
#ifndef SERVER_PSK_H
#define SERVER_PSK_H

#include "channel.h"

/* that of the epoch which the device named; false: there is none */
bool psk_of_epoch(struct server *s, const struct device *d, uint32_t epoch,
		  uint8_t ret[MVPN_KEY_LEN]);
/* a log-in has been authenticated: if it was by the next one, that is the device's now. 0 or -errno */
int psk_used(struct conn *c, struct device *d);
/* into WELCOME: the next one, until it is used; made when the present one is old enough */
void psk_welcome(struct conn *c, struct chan_buf *b);

#endif
