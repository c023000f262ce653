/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One key on a PKCS#11 token, for X25519 or for Ed25519, found by its URI (RFC 7512) among the modules that p11-kit knows. Blocks as long as the
 * token does: for the helper process only. Errors and texts are those of struct hsm_reply.
 */
#ifndef MVPN_HSM_P11_H
#define MVPN_HSM_P11_H

#include <stddef.h>

#include "hsm_msg.h"

struct p11;

/* pin may be NULL: the token needs none, or asks for it itself (a key pad). Never a second try with the last one that a card has. */
int p11_open(struct p11 **ret, const char *uri, const char *pin, size_t pin_len, bool make,
	     enum hsm_use use, uint8_t ret_pk[32], uint32_t *ret_use, char text[HSM_TEXT_MAX_B]);
int p11_dh(struct p11 *p, const uint8_t peer[32], uint8_t ret[32], char text[HSM_TEXT_MAX_B]);
int p11_sign(struct p11 *p, const void *data, size_t len, uint8_t ret[64],
	     char text[HSM_TEXT_MAX_B]);
int p11_check(struct p11 *p, char text[HSM_TEXT_MAX_B]);
void p11_free(struct p11 *p); /* NULL is fine */

#endif
