/* SPDX-License-Identifier: BSD-2-Clause */
/* Between keyd (hsm.c) and its helper (hsm_helper.c): packets of fixed size on a socket pair, one question at a time. */
#ifndef MVPN_HSM_MSG_H
#define MVPN_HSM_MSG_H

#include <stdbool.h>
#include <stdint.h>

#include "mvpn/auth.h"

#define HSM_FD 3	   /* where the helper finds the socket */
#define HSM_URI_MAX_B 512  /* with the NUL */
#define HSM_PATH_MAX_B 512
#define HSM_TEXT_MAX_B 256

enum hsm_op {
	HSM_OPEN = 1, /* find the token, log in, find the key: its public key comes back */
	HSM_MAKE,     /* the same, and make the key if it is not there */
	HSM_DH,	      /* X25519 of the key and the first 32 bytes of `data` */
	HSM_SIGN,     /* Ed25519 of `data` */
	HSM_CHECK,    /* is the key still there? */
};

/* what a key is for; in the order of keyd.conf's token_key */
enum hsm_use { HSM_ANY, HSM_SIGNS, HSM_COMPUTES };

struct hsm_request {
	uint32_t op, seq;
	uint32_t use; /* of the key that is looked for; HSM_ANY: a new one signs, if the token can */
	uint8_t data[MVPN_DELEGATION_TEXT_B];
	char uri[HSM_URI_MAX_B];
	char pin_file[HSM_PATH_MAX_B]; /* empty: none */
};

/* r: 0, or -ENODEV no token, -EACCES the PIN, -ENOENT no such key, -EIO anything else; text says more */
struct hsm_reply {
	uint32_t seq;
	int32_t r;
	uint32_t use; /* of the key that was found or made */
	uint8_t out[64];
	char text[HSM_TEXT_MAX_B];
};

#endif
