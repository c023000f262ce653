/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The two ends' part of an introduction (PROTOCOL §3): Noise KXpsk2 relayed by the server, and the derivation of the
 * session keys. No I/O.
 */
#ifndef MVPN_INTRO_H
#define MVPN_INTRO_H

#include <stddef.h>
#include <stdint.h>

#include "addr.h"
#include "aead.h"
#include "class.h"
#include "mvpn/auth.h"
#include "mvpn/limits.h"
#include "service.h"

#define INTRO_REQ_MAX_B (sizeof(struct mvpn_req) + MVPN_CANDIDATES_MAX * sizeof(struct mvpn_candidate))
#define INTRO_MSG1_B 48
#define INTRO_MSG2_MAX_B 512

/* decoded selectors (auth.h); prefix lists of A and B */
struct intro_selectors {
	unsigned na, nb;
	struct mvpn_prefix a[MVPN_SELECTORS_MAX], b[MVPN_SELECTORS_MAX];
	bool limited; /* to the services at A and at B; else every packet between the prefixes is meant */
	unsigned nserv_a, nserv_b;
	struct mvpn_service serv_a[MVPN_SERVICES_MAX], serv_b[MVPN_SERVICES_MAX];
	struct mvpn_classes classes; /* n 0: none */
};
int intro_selectors_decode(struct intro_selectors *ret, const uint8_t *data, size_t len); /* -EINVAL */
/* returns bytes written, -ENOBUFS */
int intro_selectors_encode(const struct intro_selectors *s, uint8_t *ret, size_t size);

/* What the handshake gives. Directional keys from this end's view; kept in sodium_malloc'ed memory by the caller. */
struct intro_keys {
	uint8_t tx[32]; /* K of own direction: K_AB at A, K_BA at B */
	uint8_t rx[32];
	uint8_t suite;	       /* enum mvpn_suite */
	uint8_t tx_lanes;      /* own sending lanes as told to the peer */
	uint8_t rx_lanes;      /* the peer's */
	uint16_t peer_udpport;
	uint32_t peer_spi;     /* we transmit to it */
	uint64_t peer_boot_gen;
	unsigned ncand;
	struct mvpn_endpoint cand[MVPN_CANDIDATES_MAX]; /* the peer's */
};

/* what both ends know before the answer; statics and ids are those of A and B, whoever calls */
struct intro_pair {
	const uint8_t *session_id; /* 16 */
	const uint8_t *a_id, *b_id, *a_pk, *b_pk;
	const uint8_t *psk; /* 32 */
	const uint8_t *selectors;
	size_t selectors_len;
	const uint8_t *central; /* 32: K of REQ's central mode, for A's finish and B's accept; NULL: end to end */
};
/* what this end offers */
struct intro_self {
	const uint8_t *s; /* own static secret; NULL: on a token */
	const uint8_t *s_pub; /* its public key, if s is NULL, or to save multiplications; else NULL */
	const uint8_t *dh; /* B, if s is NULL: X25519 of it and the first 32 bytes of msg1 */
	uint32_t spi;
	uint8_t lanes;
	uint8_t suites; /* mask */
	uint16_t udpport;
	uint64_t boot_gen;
	unsigned ncand;
	const struct mvpn_endpoint *cand;
};

/* A: build REQ and msg1. `tmpl` has net_id, a_id, mode, layer, dst, proto, dport, replaces; the rest is filled from `self`
 * and a fresh nonce. The state waits for the answer. */
struct intro_a;
int intro_a_start(struct intro_a **ret, const struct mvpn_req *tmpl, const struct intro_self *self,
		  uint8_t ret_req[static INTRO_REQ_MAX_B], size_t *ret_req_len, uint8_t ret_msg1[static INTRO_MSG1_B]);
/* A: verify msg2. -EBADMSG: not authentic or not for this pair; -EPROTONOSUPPORT suite. p->b_pk is what S says; the
 * static inside the transcript must be it. -ENOKEY: intro_a_set_dh was called for another message, or not at all */
int intro_a_finish(struct intro_a *a, const struct intro_pair *p, const uint8_t *msg2, size_t len, struct intro_keys *ret);
/* A without the static secret, before it: what X25519 makes of that and the first 32 bytes of msg2 */
void intro_a_set_dh(struct intro_a *a, const uint8_t peer[32], const uint8_t dh[32]);
void intro_a_free(struct intro_a *a); /* wipes; NULL is fine */

/* Structural check of a REQ (version, lengths, layer, mode, lanes 1..16, ncand): -EINVAL. The server uses it too. */
int intro_req_check(const uint8_t *req, size_t len);
/*
 * What K of a central mode is made for: ctx of the session keys with suite and SPI of B as 0, for the server makes K before B
 * answers. K = chan_export(channel of A or B, mvpn_mode_name(mode), ctx).
 */
void intro_central_ctx(uint8_t ret[32], const struct intro_pair *p, const uint8_t *req, size_t req_len);
/* B: one step. Chooses the suite (AES-256-GCM if both have it). -EBADMSG (also: the mode is central without K, or the other
 * way round), -EPROTONOSUPPORT no common suite, -ENOKEY neither s nor dh. */
int intro_b_accept(const uint8_t *req, size_t req_len, const uint8_t *msg1, size_t msg1_len, const struct intro_pair *p,
		   const struct intro_self *self, uint8_t ret_msg2[static INTRO_MSG2_MAX_B], size_t *ret_msg2_len,
		   struct intro_keys *ret);

/* Lane chain: L[lane,0] from a directional key; the AEAD key and iv of a generation; the step to the next. */
void intro_lane_first(uint8_t ret_l[32], const uint8_t k_dir[32], unsigned lane);
int intro_lane_aead(struct aead *ret, unsigned suite, const uint8_t l[32]);
void intro_lane_next(uint8_t l[32]); /* in place: the old one is gone */

#endif
