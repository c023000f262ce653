/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <pthread.h>
#include <string.h>

#include <sodium.h>

#include "aead.h"
#include "aead_impl.h"
#include "crypto.h"

#define AAD_B 16
#define TAG_B 16
#define BIT(suite) (1U << ((suite)-1))

static struct {
	pthread_once_t once;
	int error;
	uint16_t suites;
} machine = {.once = PTHREAD_ONCE_INIT};

#ifdef HAVE_IPSEC_MB
#include <intel-ipsec-mb.h>

_Static_assert(sizeof(struct gcm_key_data) <= AEAD_STATE_B,
	       "struct aead has room for the key schedule");
_Static_assert(_Alignof(struct gcm_key_data) <= 64, "and the alignment");

/*
 * Shared by all threads: of the manager the direct API reads only function pointers, which are set
 * once, here. (The job API is another matter.) Debian's library is built with SAFE_DATA
 * (imb_get_feature_flags): it clears the registers and stack that held key material before it
 * returns, and what it leaves in gcm_context_data is public.
 */
static IMB_MGR *mb;

static void init_gcm(void)
{
	const uint64_t need = IMB_FEATURE_AESNI | IMB_FEATURE_PCLMULQDQ;
	IMB_ARCH arch;

	mb = alloc_mb_mgr(0);
	if (!mb)
		return;
	if ((mb->features & need) == need) {
		init_mb_mgr_auto(mb, &arch);
		if (imb_get_errno(mb) == 0) {
			machine.suites |= BIT(MVPN_AES256_GCM);
			return;
		}
	}
	free_mb_mgr(mb);
	mb = NULL;
}

static void gcm_set(struct aead *a, const uint8_t key[32])
{
	IMB_AES256_GCM_PRE(mb, key, (struct gcm_key_data *)a->state);
}

static void gcm_seal(const struct aead *a, const uint8_t nonce[12], const void *aad, size_t aadlen,
		     const uint8_t *pt, size_t len, uint8_t *ct)
{
	struct gcm_context_data ctx;

	IMB_AES256_GCM_ENC(mb, (const struct gcm_key_data *)a->state, &ctx, ct, pt, len, nonce, aad,
			   aadlen, ct + len, TAG_B);
}

static bool gcm_open(const struct aead *a, const uint8_t nonce[12], const void *aad, size_t aadlen,
		     const uint8_t *ct, size_t len, uint8_t *pt)
{
	struct gcm_context_data ctx;
	uint8_t tag[TAG_B];

	IMB_AES256_GCM_DEC(mb, (const struct gcm_key_data *)a->state, &ctx, pt, ct, len, nonce, aad,
			   aadlen, tag, TAG_B);
	/* the library leaves the comparison to us */
	return crypto_verify_16(tag, ct + len) == 0;
}
#else
static void init_gcm(void)
{
}

static void gcm_set(struct aead *a, const uint8_t key[32])
{
}

static void gcm_seal(const struct aead *a, const uint8_t nonce[12], const void *aad, size_t aadlen,
		     const uint8_t *pt, size_t len, uint8_t *ct)
{
}

static bool gcm_open(const struct aead *a, const uint8_t nonce[12], const void *aad, size_t aadlen,
		     const uint8_t *ct, size_t len, uint8_t *pt)
{
	return false;
}
#endif

static void init_once(void)
{
	machine.error = mvpn_crypto_init();
	if (machine.error < 0)
		return;
	machine.suites = BIT(MVPN_CHACHA20_POLY1305);
	init_gcm();
}

int aead_init(void)
{
	pthread_once(&machine.once, init_once);
	return machine.error;
}

uint16_t aead_suites(void)
{
	aead_init();
	return machine.suites;
}

int aead_set(struct aead *a, unsigned suite, const uint8_t key[32], const uint8_t iv[12])
{
	if (suite < 1 || suite > 16 || !(machine.suites & BIT(suite)))
		return -ENOTSUP;
	if (suite == MVPN_AES256_GCM)
		gcm_set(a, key);
	else
		memcpy(a->state, key, 32);
	memcpy(a->iv, iv, sizeof(a->iv));
	a->suite = suite;
	return 0;
}

void aead_seal_raw(const struct aead *a, const uint8_t nonce[12], const void *aad, size_t aadlen,
		   const uint8_t *pt, size_t len, uint8_t *ct)
{
	if (a->suite == MVPN_AES256_GCM)
		gcm_seal(a, nonce, aad, aadlen, pt, len, ct);
	else if (a->suite == MVPN_CHACHA20_POLY1305)
		mvpn_chapoly_seal(ct, pt, len, aad, aadlen, nonce, a->state);
	else
		memset(ct, 0, len + TAG_B); /* no key: never plaintext, never the zero key */
}

bool aead_open_raw(const struct aead *a, const uint8_t nonce[12], const void *aad, size_t aadlen,
		   const uint8_t *ct, size_t len, uint8_t *pt)
{
	if (len < TAG_B)
		return false;
	if (a->suite == MVPN_AES256_GCM)
		return gcm_open(a, nonce, aad, aadlen, ct, len - TAG_B, pt);
	return a->suite == MVPN_CHACHA20_POLY1305 &&
	       mvpn_chapoly_open(pt, ct, len, aad, aadlen, nonce, a->state) == 0;
}

static void make_nonce(uint8_t nonce[12], const uint8_t iv[12], uint64_t counter)
{
	memcpy(nonce, iv, 12);
	for (unsigned i = 0; i < 8; i++)
		nonce[4 + i] ^= counter >> (56 - 8 * i);
}

void aead_seal(const struct aead *a, uint64_t counter, const void *aad, const uint8_t *pt,
	       size_t len, uint8_t *ct)
{
	uint8_t nonce[12];

	make_nonce(nonce, a->iv, counter);
	aead_seal_raw(a, nonce, aad, AAD_B, pt, len, ct);
}

bool aead_open(const struct aead *a, uint64_t counter, const void *aad, const uint8_t *ct,
	       size_t len, uint8_t *pt)
{
	uint8_t nonce[12];

	make_nonce(nonce, a->iv, counter);
	return aead_open_raw(a, nonce, aad, AAD_B, ct, len, pt);
}
