/* SPDX-License-Identifier: BSD-2-Clause */
/* The old key's word for the new one, to one peer: made and checked with what X25519 makes of the old key and the peer's. No state. */
#ifndef MVPN_VOUCH_H
#define MVPN_VOUCH_H

#include <stdint.h>

#define VOUCH_MAC_B 32

struct vouch {
	const uint8_t *net_id;	 /* MVPN_NET_ID_LEN */
	const uint8_t *a, *b;	 /* ids: whose key changes, and who is told */
	const uint8_t *old, *pk; /* a's keys */
	const uint8_t *b_pk;
};

/* BLAKE2b-256(key = dh, "mavp1 vouch" ‖ net ‖ A ‖ B ‖ s_old ‖ s_B ‖ s_new) */
void vouch_mac(uint8_t ret[VOUCH_MAC_B], const uint8_t dh[32], const struct vouch *v);

#endif
