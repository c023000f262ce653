/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * This device's key is changed without losing a session (docs/protocol.md, "Rotation"), in this order: the next key is kept beside the
 * present one, ROTATE tells the server of it and brings every peer the old key's word for it, and the first channel that the next key
 * logs in makes it the key. Both are kept until then, so that after a crash at any moment one of them logs in; what was not
 * finished goes on by itself.
 */
#ifndef MVPN_ROTATE_H
#define MVPN_ROTATE_H

#include <jansson.h>

#include "keyd.h"

int rotate_init(struct keyd *k);
void rotate_free(struct keyd *k);

/* A key in a file is followed by another one, or moves to the token, which signs for what is then used; from there it moves to a
 * file. The call is answered when it is over (control_rotate_done).
 * -EOPNOTSUPP the key is on a token, and is not to move, or of the kind that does not sign, -EROFS in a credential, -ENOTCONN, -EALREADY,
 * -ENOKEY no token is configured, -EAGAIN it is away, or why the next one cannot be kept */
enum rotate_to { ROTATE_TO_SAME, ROTATE_TO_TOKEN, ROTATE_TO_FILE };
int rotate_begin(struct keyd *k, struct ipc_call *call, enum rotate_to to);

/* ---- what channel.c asks and tells ---- */
bool rotate_connect_with_next(const struct keyd *k); /* there is no channel */
bool rotate_renew_with_next(const struct keyd *k);   /* there is one: its successor */
/* a log-in is tried with the next key, or one has failed */
void rotate_login_tried(struct keyd *k, bool next);
void rotate_login_failed(struct keyd *k, bool next);
/* the first WELCOME of a channel, before it is in use */
void rotate_channel_new(struct keyd *k, bool next);
/* any WELCOME, and the state is online; true: with another key, and what was under way with the old one begins anew */
bool rotate_online(struct keyd *k);
int rotate_message(struct keyd *k, const struct chan_msg *m); /* ROTATE, the answer */
void rotate_tick(struct keyd *k);

/* the key in use is kept until then, for peers that vouched to it and are heard only now: it is about to be another one */
void rotate_keep_before(struct keyd *k, uint64_t until_ms);

/* secret and public half of the key before, while it is kept; NULL */
const uint8_t *rotate_before(const struct keyd *k);

/* ---- pins ---- */
/* a peer's key is pinned, which it was not before */
void rotate_pinned(struct keyd *k, const struct peer *p);
/* rotate_pin.c */
int rotate_pin(struct keyd *k, const struct chan_msg *m); /* PIN: a peer's new key */
/* the key that this device's must meet to check that message; NULL: none is needed */
const uint8_t *rotate_pin_key(struct keyd *k, const struct chan_msg *m);

json_t *rotate_show(const struct keyd *k); /* null, or what is under way */

/* control_identity.c's: error is NULL when this device has the new key; before: the key that it had */
void control_rotate_done(struct keyd *k, struct ipc_call *call, const char *error,
			 const uint8_t before[32], unsigned told);

#endif
