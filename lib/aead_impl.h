/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Beneath aead_seal and aead_open, with any nonce and additional data: the published test vectors
 * need it.
 */
#ifndef MVPN_AEAD_IMPL_H
#define MVPN_AEAD_IMPL_H

#include "aead.h"

void aead_seal_raw(const struct aead *a, const uint8_t nonce[12], const void *aad, size_t aadlen,
		   const uint8_t *pt, size_t len, uint8_t *ct);
bool aead_open_raw(const struct aead *a, const uint8_t nonce[12], const void *aad, size_t aadlen,
		   const uint8_t *ct, size_t len, uint8_t *pt);

#endif
