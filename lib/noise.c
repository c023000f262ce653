/* SPDX-License-Identifier: BSD-2-Clause */
/* Names and section numbers are those of the Noise specification, revision 34. */
#include <errno.h>
#include <string.h>

#include <sodium.h>

#include "crypto.h"
#include "noise.h"
#include "secmem.h"

enum token { END, E, S, EE, ES, SE, SS, PSK };
#define TOKENS_MAX 7
#define TAG 16

struct pattern {
	const char *name;
	bool pre_initiator_s, pre_responder_s; /* pre-messages */
	unsigned nmsg;
	uint8_t msg[3][TOKENS_MAX];
};
static const struct pattern patterns[] = {
	[NOISE_XKPSK3] =
		{
			.name = "Noise_XKpsk3_25519_ChaChaPoly_SHA256",
			.pre_responder_s = true,
			.nmsg = 3,
			.msg = {{E, ES}, {E, EE}, {S, SE, PSK}},
		},
	[NOISE_KXPSK2] =
		{
			.name = "Noise_KXpsk2_25519_ChaChaPoly_SHA256",
			.pre_initiator_s = true,
			.nmsg = 2,
			.msg = {{E}, {E, EE, SE, S, ES, PSK}},
		},
};

struct noise {
	const struct pattern *pattern; /* NULL after an error: nothing but noise_free may follow */
	bool initiator;
	bool has_k, has_s, has_dh, has_rs, has_psk, fixed_e, done;
	unsigned next;	/* message to be written or read */
	unsigned token; /* of it: above 0 after noise_read_static */
	size_t at, len; /* of it: bytes read so far, and its length */
	uint64_t n;	/* CipherState */
	uint8_t k[32];
	uint8_t h[32], ck[32]; /* SymmetricState */
	uint8_t s[32], s_pub[32], dh[32], dh_peer[32], e[32], e_pub[32], rs[32], re[32], psk[32];
};

_Static_assert(sizeof(struct noise) <= SECMEM_LARGE_B, "a handshake is one cell");

static void mix_hash(struct noise *n, const void *data, size_t len)
{
	struct mvpn_part parts[] = {{n->h, sizeof(n->h)}, {data, len}};

	mvpn_sha256(n->h, parts, 2);
}

static void mix_key(struct noise *n, const uint8_t *ikm, size_t len)
{
	mvpn_hkdf(n->ck, ikm, len, 2, n->ck, n->k, NULL);
	n->has_k = true;
	n->n = 0;
}

static void mix_key_and_hash(struct noise *n, const uint8_t psk[32])
{
	uint8_t temp_h[32];

	mvpn_hkdf(n->ck, psk, 32, 3, n->ck, temp_h, n->k);
	mix_hash(n, temp_h, sizeof(temp_h));
	n->has_k = true;
	n->n = 0;
	sodium_memzero(temp_h, sizeof(temp_h));
}

/* ChaChaPoly nonce (§12.3): 32 bits of zeros, 64-bit little-endian counter */
static void nonce_of(uint8_t nonce[12], uint64_t n)
{
	memset(nonce, 0, 4);
	for (unsigned i = 0; i < 8; i++)
		nonce[4 + i] = n >> 8 * i;
}

static size_t encrypt_and_hash(struct noise *n, const uint8_t *in, size_t len, uint8_t *out)
{
	uint8_t nonce[12];

	if (!n->has_k) {
		if (len)
			memcpy(out, in, len);
	} else {
		nonce_of(nonce, n->n++);
		mvpn_chapoly_seal(out, in, len, n->h, sizeof(n->h), nonce, n->k);
		len += TAG;
	}
	mix_hash(n, out, len);
	return len;
}

/* len counts the tag, if there is one */
static int decrypt_and_hash(struct noise *n, const uint8_t *in, size_t len, uint8_t *out)
{
	uint8_t nonce[12], h[32];

	memcpy(h, n->h, sizeof(h));
	mix_hash(n, in, len);
	if (!n->has_k) {
		if (len)
			memcpy(out, in, len);
		return 0;
	}
	nonce_of(nonce, n->n++);
	return mvpn_chapoly_open(out, in, len, h, sizeof(h), nonce, n->k);
}

static int mix_dh(struct noise *n, const uint8_t sk[32], const uint8_t pk[32])
{
	uint8_t dh[32];
	int r = mvpn_x25519(dh, sk, pk);

	if (r == 0)
		mix_key(n, dh, sizeof(dh));
	sodium_memzero(dh, sizeof(dh));
	return r < 0 ? -EBADMSG : 0;
}

/* own static with the remote key */
static int mix_static(struct noise *n, const uint8_t pk[32])
{
	if (n->has_s)
		return mix_dh(n, n->s, pk);
	if (!n->has_dh || sodium_memcmp(n->dh_peer, pk, sizeof(n->dh_peer)) != 0)
		return -ENOKEY;
	if (sodium_is_zero(n->dh, sizeof(n->dh)))
		return -EBADMSG; /* a key of low order, as mvpn_x25519() has it */
	mix_key(n, n->dh, sizeof(n->dh));
	return 0;
}

/* The tokens that both sides handle alike. -EINVAL: the PSK is missing. */
static int mix_token(struct noise *n, enum token t)
{
	switch (t) {
	case EE:
		return mix_dh(n, n->e, n->re);
	case ES:
		return n->initiator ? mix_dh(n, n->e, n->rs) : mix_static(n, n->re);
	case SE:
		return n->initiator ? mix_static(n, n->re) : mix_dh(n, n->e, n->rs);
	case SS:
		return mix_static(n, n->rs);
	case PSK:
		if (!n->has_psk)
			return -EINVAL;
		mix_key_and_hash(n, n->psk);
		return 0;
	default:
		return -EINVAL;
	}
}

static int fail(struct noise *n, int error)
{
	sodium_memzero(n, sizeof(*n));
	return error;
}

int noise_new(struct noise **ret, const struct noise_config *c)
{
	const struct pattern *p = &patterns[c->pattern];
	bool need_rs = c->initiator ? p->pre_responder_s : p->pre_initiator_s;
	struct noise *n;

	if ((need_rs && !c->rs) || (!c->s && !c->s_pub))
		return -EINVAL;
	n = secmem_alloc_large();
	if (!n)
		return -ENOMEM;
	n->pattern = p;
	n->initiator = c->initiator;
	n->has_s = c->s != NULL;
	if (c->s)
		memcpy(n->s, c->s, sizeof(n->s));
	if (c->s_pub) {
		memcpy(n->s_pub, c->s_pub, sizeof(n->s_pub));
	} else if (mvpn_x25519_public(n->s_pub, n->s) < 0) {
		noise_free(n);
		return -EINVAL;
	}
	if (need_rs) {
		memcpy(n->rs, c->rs, sizeof(n->rs));
		n->has_rs = true;
	}
	if (c->e) {
		memcpy(n->e, c->e, sizeof(n->e));
		n->fixed_e = true;
	}
	/* the protocol's name is longer than HASHLEN (§5.2) */
	mvpn_sha256(n->h, &(struct mvpn_part){p->name, strlen(p->name)}, 1);
	memcpy(n->ck, n->h, sizeof(n->ck));
	mix_hash(n, c->prologue, c->prologue_len);
	if (p->pre_initiator_s)
		mix_hash(n, n->initiator ? n->s_pub : n->rs, 32);
	if (p->pre_responder_s)
		mix_hash(n, n->initiator ? n->rs : n->s_pub, 32);
	*ret = n;
	return 0;
}

void noise_free(struct noise *n)
{
	secmem_free_large(n); /* wipes */
}

void noise_set_psk(struct noise *n, const uint8_t psk[32])
{
	memcpy(n->psk, psk, sizeof(n->psk));
	n->has_psk = true;
}

void noise_set_dh(struct noise *n, const uint8_t peer[32], const uint8_t dh[32])
{
	memcpy(n->dh_peer, peer, sizeof(n->dh_peer));
	memcpy(n->dh, dh, sizeof(n->dh));
	n->has_dh = true;
}

static bool my_turn(const struct noise *n, bool writing)
{
	bool initiators = n->next % 2 == 0;

	return n->pattern && !n->done && (initiators == n->initiator) == writing;
}

/* length of a message without its payload; the payload's tag counts */
static size_t overhead(const struct noise *n)
{
	const uint8_t *t = n->pattern->msg[n->next];
	bool k = n->has_k;
	size_t len = 0;

	for (unsigned i = 0; i < TOKENS_MAX && t[i] != END; i++) {
		if (t[i] == E)
			len += 32;
		else if (t[i] == S)
			len += 32 + (k ? TAG : 0);
		k = true; /* in psk patterns every token makes a key, e too (§9.2) */
	}
	return len + TAG;
}

static void finish_message(struct noise *n)
{
	n->token = 0;
	n->at = 0;
	n->done = ++n->next == n->pattern->nmsg;
	if (!n->done)
		return;
	/* Split() needs nothing but ck and h */
	sodium_memzero(n->k, sizeof(n->k));
	sodium_memzero(n->s, sizeof(n->s));
	sodium_memzero(n->dh, sizeof(n->dh));
	sodium_memzero(n->e, sizeof(n->e));
	sodium_memzero(n->psk, sizeof(n->psk));
}

static int write_e(struct noise *n, uint8_t *out)
{
	if (!n->fixed_e)
		randombytes_buf(n->e, sizeof(n->e));
	if (mvpn_x25519_public(n->e_pub, n->e) < 0)
		return -EINVAL;
	memcpy(out, n->e_pub, sizeof(n->e_pub));
	mix_hash(n, n->e_pub, sizeof(n->e_pub));
	mix_key(n, n->e_pub, sizeof(n->e_pub));
	return sizeof(n->e_pub);
}

int noise_write(struct noise *n, const void *payload, size_t payload_len, uint8_t *out,
		size_t out_size)
{
	size_t len = 0;
	int r;

	if (!my_turn(n, true))
		return fail(n, -EINVAL);
	if (payload_len > out_size || out_size - payload_len < overhead(n))
		return fail(n, -ENOBUFS);
	for (const uint8_t *t = n->pattern->msg[n->next]; *t != END; t++) {
		if (*t == E)
			r = write_e(n, out + len);
		else if (*t == S)
			r = encrypt_and_hash(n, n->s_pub, sizeof(n->s_pub), out + len);
		else
			r = mix_token(n, *t);
		if (r < 0)
			return fail(n, r);
		len += r;
	}
	len += encrypt_and_hash(n, payload, payload_len, out + len);
	finish_message(n);
	return len;
}

static int read_e(struct noise *n, const uint8_t *in)
{
	memcpy(n->re, in, sizeof(n->re));
	mix_hash(n, n->re, sizeof(n->re));
	mix_key(n, n->re, sizeof(n->re));
	return sizeof(n->re);
}

static int read_s(struct noise *n, const uint8_t *in)
{
	size_t len = sizeof(n->rs) + (n->has_k ? TAG : 0);
	int r = decrypt_and_hash(n, in, len, n->rs);

	if (r < 0)
		return r;
	n->has_rs = true;
	return len;
}

/* Reads on from the token where the last call stopped; the caller has checked the length. */
static int read_tokens(struct noise *n, const uint8_t *msg, bool stop_after_s)
{
	const uint8_t *t = n->pattern->msg[n->next];

	while (t[n->token] != END) {
		enum token now = t[n->token++];
		int r;

		if (now == E)
			r = read_e(n, msg + n->at);
		else if (now == S)
			r = read_s(n, msg + n->at);
		else
			r = mix_token(n, now);
		if (r < 0)
			return r;
		n->at += r;
		if (now == S && stop_after_s)
			return 0;
	}
	return stop_after_s ? -EINVAL : 0;
}

int noise_read_static(struct noise *n, const uint8_t *msg, size_t len, uint8_t ret_rs[32])
{
	int r;

	if (!my_turn(n, false) || n->token > 0 || len < overhead(n))
		return fail(n, -EINVAL);
	n->len = len;
	r = read_tokens(n, msg, true);
	if (r < 0)
		return fail(n, r);
	memcpy(ret_rs, n->rs, sizeof(n->rs));
	return 0;
}

int noise_read(struct noise *n, const uint8_t *msg, size_t len, uint8_t *payload,
	       size_t payload_size)
{
	bool again = n->token > 0;
	size_t sealed;
	int r;

	/* the length of a half-read message was checked in its first half, when overhead() knew it */
	if (!my_turn(n, false) || (again ? len != n->len : len < overhead(n)))
		return fail(n, -EINVAL);
	r = read_tokens(n, msg, false);
	if (r < 0)
		return fail(n, r);
	sealed = len - n->at;
	if (sealed - TAG > payload_size)
		return fail(n, -ENOBUFS);
	r = decrypt_and_hash(n, msg + n->at, sealed, payload);
	if (r < 0)
		return fail(n, r);
	finish_message(n);
	return sealed - TAG;
}

bool noise_done(const struct noise *n)
{
	return n->done;
}

const uint8_t *noise_remote_static(const struct noise *n)
{
	return n->has_rs ? n->rs : NULL;
}

int noise_split(struct noise *n, uint8_t k1[32], uint8_t k2[32], uint8_t h[32], uint8_t x[32])
{
	uint8_t x_unused[32];

	if (!n->done)
		return -EINVAL;
	mvpn_hkdf(n->ck, NULL, 0, 3, k1, k2, x ? x : x_unused);
	memcpy(h, n->h, sizeof(n->h));
	sodium_memzero(x_unused, sizeof(x_unused));
	return 0;
}
