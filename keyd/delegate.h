/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The key in use of a device whose token only signs (docs/protocol.md, "Delegation"): fresh, in locked memory alone, and renewed at
 * half of the time for which the token vouches for it. The other end of it: what vouches for the key of a peer.
 */
#ifndef MVPN_DELEGATE_H
#define MVPN_DELEGATE_H

#include "conn.h"
#include "intro_msg.h"

/* the device's next key, in locked memory; free wipes, NULL is fine */
struct delegate_key {
	uint8_t sk[32], pk[32];
	uint8_t device_id[MVPN_ID_LEN]; /* for which the token vouches */
	uint64_t until_ms, due_ms;
	uint8_t word[MVPN_TLV_DELEGATION_B]; /* once the token has spoken */
};
int delegate_key_new(struct delegate_key **ret);
void delegate_key_free(struct delegate_key *key);

/* the token vouches for the key in use; it is time for the next one */
bool delegate_valid(const struct keyd *k);
bool delegate_due(const struct keyd *k);
/* the server does not take the key in use (any more): the next log-in brings another */
void delegate_void(struct keyd *k);
/* the handshake of c, which brings c->key, is done: then() once the token vouches for it on this channel, else the connection fails */
void delegate_sign(struct conn *c, void (*then)(struct conn *c));
/* the server has welcomed c: its key is the one in use */
void delegate_taken(struct conn *c);
/* seconds since the epoch until when the token vouches for the key in use, for people; 0: for none */
int64_t delegate_until(const struct keyd *k);

/* What the peer of an OFFER or ANSWER is known by: its key, or the one that vouches for that. -EKEYREJECTED: it does not; counted and
 * said in the log. */
int delegate_peer(struct keyd *k, const struct intro_msg *im, uint8_t ret_identity[32]);

#endif
