/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Data-plane AEAD of one key (PROTOCOL §4): AES-256-GCM by libipsec-mb's direct API where the CPU has AES-NI,
 * ChaCha20-Poly1305-IETF by libsodium everywhere. Out of place; in and out may not overlap. No allocation.
 * A struct aead is plain memory (1 KB for GCM's key schedule) that the caller keeps in locked pages.
 */
#ifndef MVPN_AEAD_H
#define MVPN_AEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mvpn/auth.h"

#define AEAD_STATE_B 1024 /* asserted against sizeof(struct gcm_key_data) in aead.c */

struct aead {
	uint8_t state[AEAD_STATE_B] __attribute__((aligned(64)));
	uint8_t iv[12];
	uint8_t suite; /* enum mvpn_suite; 0 when unset */
};

int aead_init(void);		 /* once a process; picks the CPU's implementation */
uint16_t aead_suites(void);	 /* mask of bit (suite - 1) that this machine does well */
/* -ENOTSUP leaves a as it was. One that was never set (all zero) opens nothing and seals to zeros. */
int aead_set(struct aead *a, unsigned suite, const uint8_t key[32], const uint8_t iv[12]);
/* aad is the 16 header bytes; ct gets len + 16 bytes */
void aead_seal(const struct aead *a, uint64_t counter, const void *aad, const uint8_t *pt, size_t len, uint8_t *ct);
/* len of the ciphertext with tag, >= 16; pt gets len - 16 bytes, whose content is undefined on false */
bool aead_open(const struct aead *a, uint64_t counter, const void *aad, const uint8_t *ct, size_t len, uint8_t *pt);

#endif
