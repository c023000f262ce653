/* SPDX-License-Identifier: BSD-2-Clause */
/* Who a handshake is by: log-in of a known key, or enrolment with a token. */
#ifndef SERVER_ENROL_H
#define SERVER_ENROL_H

#include "channel.h"

/* chan_psk_fn; arg is struct conn */
bool enrol_psk(void *arg, const struct chan_who *who, uint8_t ret_psk[32]);
/* the handshake is done: who may not go on is told why */
void enrol_channel_up(struct conn *c);
/* REGISTER (m) on a new channel: the device, made by its token if need be. name NULL: make one up. MVPN_R_NONE or why not. */
enum mvpn_reason enrol_device(struct conn *c, const struct chan_msg *m, const char *name,
			      struct device **ret);

/* MVPN_R_NONE if the token can be used now */
enum mvpn_reason token_state(const struct store_token *t, int64_t now);
/* may a new device or a rename take this name? */
bool name_is_free(const struct server *s, const char *name, const struct device *self);
/* secrets of the store: sealed under the store key, bound to the row's id */
int secret_seal(const struct server *s, const uint8_t id[16], const uint8_t secret[32],
		uint8_t ret[STORE_PSK_ENC_B]);
int secret_open(const struct server *s, const uint8_t id[16], const uint8_t sealed[STORE_PSK_ENC_B],
		uint8_t ret[32]);

#endif
