/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The word of a key that only signs (Ed25519, on a token) for an X25519 static key that a device uses for a day at most. No I/O,
 * no clock. Layout and reasons: docs/protocol.md, "Delegation".
 */
#ifndef MVPN_DELEGATION_H
#define MVPN_DELEGATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mvpn/auth.h"

struct chan;

struct delegation {
	uint64_t not_after; /* seconds since the epoch */
	uint8_t key[32];    /* Ed25519, whose word it is */
	uint8_t challenge[32];
	uint8_t signature[64];
};

/* what it is said of */
struct delegation_of {
	const uint8_t *net_id;	  /* MVPN_NET_ID_LEN */
	const uint8_t *device_id; /* MVPN_ID_LEN */
	const uint8_t *s;	  /* X25519 public key */
};

/* fresh with each channel, because the server's ephemeral key is in it: -ENOTCONN */
int delegation_challenge(const struct chan *c, const uint8_t s[32], uint8_t ret[32]);
/* the id of a device that this channel enrols, known to both ends before either has said it: -ENOTCONN */
int delegation_device_id(const struct chan *c, const uint8_t s[32], uint8_t ret[MVPN_ID_LEN]);

/* what the key signs, of d only not_after and challenge */
void delegation_text(uint8_t ret[static MVPN_DELEGATION_TEXT_B], const struct delegation *d,
		     const struct delegation_of *of);
void delegation_encode(uint8_t ret[static MVPN_TLV_DELEGATION_B], const struct delegation *d);
/* -EPROTO: another length */
int delegation_decode(struct delegation *ret, const void *data, size_t len);
/* The key's last word: that the device's key is s from now on, for ever. Of d only `key` is the caller's; then it is signed as any.
 * No key signs it otherwise, since an ordinary one ends, and has a channel's challenge. */
void delegation_last(struct delegation *d);
bool delegation_is_last(const struct delegation *d);
/* the signature is the key's: 0 or -EBADMSG */
int delegation_verify(const struct delegation *d, const struct delegation_of *of);

#endif
