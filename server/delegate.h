/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Devices whose key only signs, on a token: it vouches for the X25519 key that they use, for a day at most (docs/protocol.md,
 * "Delegation"). Such a device logs in with the key that it has been vouched for, or with a new one and its own id.
 */
#ifndef SERVER_DELEGATE_H
#define SERVER_DELEGATE_H

#include "channel.h"

/* the device that a handshake is about: by its id if it brings a new key, else by its key. NULL: nobody, or the key is another's */
struct device *delegate_find(const struct server *s, const struct chan_who *who);
/* what a device is known by, here and at its peers: the key on its token, or its X25519 key */
const uint8_t *delegate_identity(const struct store_device *row);
/* another device that has this key on its token; or NULL */
struct device *delegate_by_identity(const struct registry *r, const uint8_t key[32]);
/* its token's word is over, and no new one has come */
bool delegate_expired(const struct device *d);
/* milliseconds until then, INT_MAX at most; INT_MAX: its key is its own */
int delegate_left_ms(const struct device *d);

/* REGISTER of a log-in or enrolment: the DELEGATION in it, which must be there, holds for this device and channel, and is of its
 * token's key (NULL: any, it enrols) */
enum mvpn_reason delegate_check(struct conn *c, const struct chan_msg *m,
				const uint8_t device_id[MVPN_ID_LEN], const uint8_t *key,
				struct delegation *ret);
/* the new key is in force, with what vouches for it: introductions under way begin anew. 0, or -errno of the store */
int delegate_take(struct conn *c, struct device *d, const struct delegation *dg);
/* TLV DELEGATION of the device's key, if it has one */
void delegate_put(struct chan_buf *b, const struct device *d);

#endif
