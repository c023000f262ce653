/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The primitives mvpn uses, on libsodium. mvpn_crypto_init() first, once. All compares of secrets are constant-time;
 * functions wipe their temporaries.
 */
#ifndef MVPN_CRYPTO_H
#define MVPN_CRYPTO_H

#include <stddef.h>
#include <stdint.h>

#include "mvpn/auth.h"

int mvpn_crypto_init(void); /* 0 or -EIO; safe to call again */

/* BLAKE2b (RFC 7693) over a list of parts; key may be NULL. len 1..64. */
struct mvpn_part {
	const void *data;
	size_t len;
};
int mvpn_blake2b(uint8_t *ret, size_t len, const uint8_t *key, size_t keylen, const struct mvpn_part *parts, size_t n);
/* X25519 (RFC 7748): -EINVAL for a public value of low order (all-zero result) */
int mvpn_x25519(uint8_t ret[32], const uint8_t sk[32], const uint8_t pk[32]);
int mvpn_x25519_public(uint8_t ret[32], const uint8_t sk[32]);
void mvpn_keypair(uint8_t sk[32], uint8_t pk[32]);
/* ChaCha20-Poly1305-IETF (RFC 8439), nonce 12 bytes; seal appends the tag, open returns -EBADMSG */
int mvpn_chapoly_seal(uint8_t *out, const uint8_t *in, size_t len, const void *ad, size_t adlen, const uint8_t nonce[12],
		      const uint8_t key[32]);
int mvpn_chapoly_open(uint8_t *out, const uint8_t *in, size_t len, const void *ad, size_t adlen, const uint8_t nonce[12],
		      const uint8_t key[32]); /* len includes the tag */
/* XChaCha20-Poly1305 for what is stored: out = nonce[24] ‖ ciphertext ‖ tag; MVPN_BOX_OVERHEAD more than the plaintext */
#define MVPN_BOX_OVERHEAD 40
int mvpn_box_seal(uint8_t *out, const uint8_t *in, size_t len, const void *ad, size_t adlen, const uint8_t key[32]);
int mvpn_box_open(uint8_t *out, const uint8_t *in, size_t len, const void *ad, size_t adlen, const uint8_t key[32]);
/* SHA-256, HMAC-SHA-256 (RFC 2104) and Noise's HKDF (Noise §4.3) with 1..3 outputs of 32 bytes */
void mvpn_sha256(uint8_t ret[32], const struct mvpn_part *parts, size_t n);
void mvpn_hmac_sha256(uint8_t ret[32], const uint8_t *key, size_t keylen, const struct mvpn_part *parts, size_t n);
void mvpn_hkdf(const uint8_t ck[32], const uint8_t *ikm, size_t ikmlen, unsigned n, uint8_t out1[32], uint8_t out2[32],
	       uint8_t out3[32]);
/* fingerprint of a public key: BLAKE2b-160 in base32 groups of four, "ABCD-EFGH-…", 40 bytes with the NUL */
#define MVPN_FINGERPRINT_LEN 40
void mvpn_fingerprint(char ret[static MVPN_FINGERPRINT_LEN], const uint8_t pk[32]);
/* RFC 4648 base32 without padding, upper case out, either case in; returns length or -EINVAL */
int mvpn_base32_encode(char *ret, size_t retlen, const void *data, size_t len);
int mvpn_base32_decode(uint8_t *ret, size_t retlen, const char *s);
void mvpn_hex(char *ret, const void *data, size_t len); /* 2·len + 1 bytes */
int mvpn_unhex(void *ret, size_t len, const char *s);	 /* exactly 2·len digits, else -EINVAL */

#endif
