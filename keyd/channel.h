/* SPDX-License-Identifier: BSD-2-Clause */
/* The channel to the server: connect, handshake, register, dispatch, heartbeat, reconnect, enrol. */
#ifndef MVPN_CHANNEL_H
#define MVPN_CHANNEL_H

#include "keyd.h"
#include "token.h"

int channel_init(struct keyd *k);
void channel_free(struct keyd *k);
/* connect (again) with the identity in k->id, now */
void channel_start(struct keyd *k);
/* there is no channel that works: what is under way is given up, and another one begun */
void channel_restart(struct keyd *k);
/* enrol with a token; the control call is answered when it is decided. -EALREADY: enrolled, or being so */
int channel_enrol(struct keyd *k, const struct mvpn_token *t, const char *name,
		  struct ipc_call *call);
/* -ENOTCONN, -ENOBUFS (the channel is then closed and made anew) */
int channel_send(struct keyd *k, const struct chan_buf *b);
/* chan_export() of the channel in use. -ENOTCONN */
int channel_export(const struct keyd *k, const char *label, const uint8_t ctx[32], uint8_t ret[32]);
/* begin a successor of the channel in use now, unless that is under way */
void channel_renew(struct keyd *k);
/* our addresses have changed: tell the server */
void channel_register(struct keyd *k);
/* where the server is, by the channel in use: false if there is none */
bool channel_server(const struct keyd *k, struct mvpn_endpoint *ret);
void channel_tick(struct keyd *k); /* each second */
/* another host logs in as this device, again and again: a copy of its disk, or of its state directory */
bool channel_has_twin(const struct keyd *k);
const char *keyd_state_name(enum keyd_state s);

#endif
