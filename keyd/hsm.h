/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The device's private key on a PKCS#11 token: what keyd asks of it. A helper process does the operations, one at a time, and is
 * killed and started anew when it fails or takes too long; the loop never waits for it.
 */
#ifndef MVPN_HSM_H
#define MVPN_HSM_H

#include "keyd.h"

/* out is NULL if there will be none: hsm_problem() says why. Called from the loop, never from within what asks. */
typedef void hsm_done_fn(void *arg, const uint8_t *out);
struct hsm_job;

/* if the configuration names a token and the identity is there, or may come to be; nothing otherwise */
int hsm_start(struct keyd *k);
/* although the key is not there yet; -ENOKEY the configuration names none */
int hsm_open(struct keyd *k);
void hsm_free(struct keyd *k);
/* why the token cannot be used, whether or not the key is there; NULL: it can */
const char *hsm_state(const struct keyd *k);
/* why the key cannot be used now, and what to do; NULL: it can, or it is in no token */
const char *hsm_problem(const struct keyd *k);
/* look for the token at once, with the PIN as it is now (`reload`) */
void hsm_retry(struct keyd *k);

/* X25519 of the key and `peer`, 32 bytes; Ed25519 of the text, 64. -ENOKEY there is a problem, -ENOBUFS too many wait */
int hsm_dh(struct keyd *k, const uint8_t peer[32], hsm_done_fn *fn, void *arg, struct hsm_job **ret);
int hsm_sign(struct keyd *k, const uint8_t text[MVPN_DELEGATION_TEXT_B], hsm_done_fn *fn, void *arg,
	     struct hsm_job **ret);
void hsm_cancel(struct hsm_job *j); /* NULL is fine; fn will not be called */

/* For enrolment, and for a key that moves there: find it or make it. fn gets its public half, or NULL (hsm_problem), and whether it signs or computes
 * X25519. -EALREADY, -ENOKEY no token configured */
typedef void hsm_make_fn(struct keyd *k, const uint8_t pk[32], bool signs);
int hsm_make(struct keyd *k, hsm_make_fn *fn);

#endif
