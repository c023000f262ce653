/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <string.h>

#include <sodium.h>

#include "crypto.h"

_Static_assert(MVPN_BOX_OVERHEAD == crypto_aead_xchacha20poly1305_ietf_NPUBBYTES +
					    crypto_aead_xchacha20poly1305_ietf_ABYTES,
	       "a box is its nonce, the ciphertext and the tag");

int mvpn_crypto_init(void)
{
	return sodium_init() < 0 ? -EIO : 0;
}

int mvpn_blake2b(uint8_t *ret, size_t len, const uint8_t *key, size_t keylen,
		 const struct mvpn_part *parts, size_t n)
{
	crypto_generichash_blake2b_state st;

	if (len < 1 || len > 64 || keylen > 64 || (keylen && !key))
		return -EINVAL;
	if (crypto_generichash_blake2b_init(&st, key, keylen, len) != 0)
		return -EINVAL;
	for (size_t i = 0; i < n; i++)
		crypto_generichash_blake2b_update(&st, parts[i].data, parts[i].len);
	crypto_generichash_blake2b_final(&st, ret, len);
	sodium_memzero(&st, sizeof(st));
	return 0;
}

int mvpn_x25519(uint8_t ret[32], const uint8_t sk[32], const uint8_t pk[32])
{
	return crypto_scalarmult_curve25519(ret, sk, pk) == 0 ? 0 : -EINVAL;
}

int mvpn_x25519_public(uint8_t ret[32], const uint8_t sk[32])
{
	return crypto_scalarmult_curve25519_base(ret, sk) == 0 ? 0 : -EINVAL;
}

void mvpn_keypair(uint8_t sk[32], uint8_t pk[32])
{
	randombytes_buf(sk, 32);
	crypto_scalarmult_curve25519_base(pk, sk);
}

int mvpn_chapoly_seal(uint8_t *out, const uint8_t *in, size_t len, const void *ad, size_t adlen,
		      const uint8_t nonce[12], const uint8_t key[32])
{
	crypto_aead_chacha20poly1305_ietf_encrypt(out, NULL, in, len, ad, adlen, NULL, nonce, key);
	return 0;
}

int mvpn_chapoly_open(uint8_t *out, const uint8_t *in, size_t len, const void *ad, size_t adlen,
		      const uint8_t nonce[12], const uint8_t key[32])
{
	if (crypto_aead_chacha20poly1305_ietf_decrypt(out, NULL, NULL, in, len, ad, adlen, nonce,
						      key) != 0)
		return -EBADMSG;
	return 0;
}

int mvpn_box_seal(uint8_t *out, const uint8_t *in, size_t len, const void *ad, size_t adlen,
		  const uint8_t key[32])
{
	/* 192 bits of random nonce: no count of boxes under one key comes near a collision */
	randombytes_buf(out, crypto_aead_xchacha20poly1305_ietf_NPUBBYTES);
	crypto_aead_xchacha20poly1305_ietf_encrypt(
		out + crypto_aead_xchacha20poly1305_ietf_NPUBBYTES, NULL, in, len, ad, adlen, NULL,
		out, key);
	return 0;
}

int mvpn_box_open(uint8_t *out, const uint8_t *in, size_t len, const void *ad, size_t adlen,
		  const uint8_t key[32])
{
	const size_t npub = crypto_aead_xchacha20poly1305_ietf_NPUBBYTES;

	if (len < MVPN_BOX_OVERHEAD)
		return -EBADMSG;
	if (crypto_aead_xchacha20poly1305_ietf_decrypt(out, NULL, NULL, in + npub, len - npub, ad,
						       adlen, in, key) != 0)
		return -EBADMSG;
	return 0;
}

void mvpn_sha256(uint8_t ret[32], const struct mvpn_part *parts, size_t n)
{
	crypto_hash_sha256_state st;

	crypto_hash_sha256_init(&st);
	for (size_t i = 0; i < n; i++)
		crypto_hash_sha256_update(&st, parts[i].data, parts[i].len);
	crypto_hash_sha256_final(&st, ret);
	sodium_memzero(&st, sizeof(st));
}

void mvpn_hmac_sha256(uint8_t ret[32], const uint8_t *key, size_t keylen,
		      const struct mvpn_part *parts, size_t n)
{
	crypto_auth_hmacsha256_state st;

	crypto_auth_hmacsha256_init(&st, key, keylen);
	for (size_t i = 0; i < n; i++)
		crypto_auth_hmacsha256_update(&st, parts[i].data, parts[i].len);
	crypto_auth_hmacsha256_final(&st, ret);
	sodium_memzero(&st, sizeof(st));
}

void mvpn_hkdf(const uint8_t ck[32], const uint8_t *ikm, size_t ikmlen, unsigned n,
	       uint8_t out1[32], uint8_t out2[32], uint8_t out3[32])
{
	uint8_t *out[3] = {out1, out2, out3};
	uint8_t prk[32], t[32];

	/* an output may overwrite ck: it is read only here */
	mvpn_hmac_sha256(prk, ck, 32, &(struct mvpn_part){ikm, ikmlen}, 1);
	for (uint8_t i = 1; i <= n; i++) {
		struct mvpn_part parts[] = {{t, i > 1 ? sizeof(t) : 0}, {&i, 1}};

		mvpn_hmac_sha256(t, prk, sizeof(prk), parts, 2);
		memcpy(out[i - 1], t, sizeof(t));
	}
	sodium_memzero(prk, sizeof(prk));
	sodium_memzero(t, sizeof(t));
}

void mvpn_fingerprint(char ret[static MVPN_FINGERPRINT_LEN], const uint8_t pk[32])
{
	uint8_t digest[20];
	char text[33];

	mvpn_blake2b(digest, sizeof(digest), NULL, 0, &(struct mvpn_part){pk, 32}, 1);
	mvpn_base32_encode(text, sizeof(text), digest, sizeof(digest));
	for (unsigned i = 0; i < 8; i++) {
		memcpy(ret + 5 * i, text + 4 * i, 4);
		ret[5 * i + 4] = i < 7 ? '-' : '\0';
	}
}

static const char base32_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

int mvpn_base32_encode(char *ret, size_t retlen, const void *data, size_t len)
{
	const uint8_t *in = data;
	size_t n = 0, need = len / 5 * 8 + (len % 5 * 8 + 4) / 5;
	uint32_t acc = 0;
	unsigned bits = 0;

	if (len > INT32_MAX / 2 || retlen < need + 1)
		return -EINVAL;
	for (size_t i = 0; i < len; i++) {
		acc = acc << 8 | in[i];
		for (bits += 8; bits >= 5; bits -= 5)
			ret[n++] = base32_digits[acc >> (bits - 5) & 31];
	}
	if (bits)
		ret[n++] = base32_digits[acc << (5 - bits) & 31];
	ret[n] = '\0';
	return n;
}

static int base32_digit(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a';
	return c >= '2' && c <= '7' ? c - '2' + 26 : -1;
}

int mvpn_base32_decode(uint8_t *ret, size_t retlen, const char *s)
{
	size_t n = 0;
	uint32_t acc = 0;
	unsigned bits = 0;

	for (; *s; s++) {
		int d = base32_digit(*s);

		if (d < 0)
			return -EINVAL;
		acc = acc << 5 | d;
		bits += 5;
		if (bits < 8)
			continue;
		bits -= 8;
		if (n == retlen)
			return -EINVAL;
		ret[n++] = acc >> bits;
	}
	/* one text for each value: no digit that carries no bit, no bit set that means nothing */
	if (bits >= 5 || (acc & ((1U << bits) - 1)))
		return -EINVAL;
	return n;
}

void mvpn_hex(char *ret, const void *data, size_t len)
{
	sodium_bin2hex(ret, 2 * len + 1, data, len);
}

int mvpn_unhex(void *ret, size_t len, const char *s)
{
	const char *end;
	size_t n;

	if (strlen(s) != 2 * len || sodium_hex2bin(ret, len, s, 2 * len, NULL, &n, &end) != 0)
		return -EINVAL;
	return n == len && *end == '\0' ? 0 : -EINVAL;
}
