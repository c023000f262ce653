/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The device's private key on a PKCS#11 token: what keyd asks of it. A helper process does the operations, one at a time, and is
 * killed and started anew when it fails or takes too long; the loop never waits for it.
 */
#ifndef MVPN_HSM_H
#define MVPN_HSM_H

#include "keyd.h"

/* dh is NULL if there will be none: hsm_problem() says why. Called from the loop, never from within hsm_dh. */
typedef void hsm_dh_fn(void *arg, const uint8_t dh[32]);
struct hsm_dh;

/* if the configuration names a token and the identity is there, or may come to be; nothing otherwise */
int hsm_start(struct keyd *k);
void hsm_free(struct keyd *k);
/* why the key cannot be used now, and what to do; NULL: it can, or it is in no token */
const char *hsm_problem(const struct keyd *k);
/* look for the token at once, with the PIN as it is now (`reload`) */
void hsm_retry(struct keyd *k);

/* X25519 of the key and `peer`. -ENOKEY there is a problem, -ENOBUFS too many wait */
int hsm_dh(struct keyd *k, const uint8_t peer[32], hsm_dh_fn *fn, void *arg, struct hsm_dh **ret);
void hsm_dh_cancel(struct hsm_dh *d); /* NULL is fine; fn will not be called */

/* For enrolment: find the key or make it. fn gets its public half, or NULL (hsm_problem). -EALREADY, -ENOKEY no token configured */
typedef void hsm_make_fn(struct keyd *k, const uint8_t pk[32]);
int hsm_make(struct keyd *k, hsm_make_fn *fn);

#endif
