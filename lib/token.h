/* SPDX-License-Identifier: BSD-2-Clause */
/* Enrolment tokens (PROTOCOL §2): "mavp1_" + base32. Pins the server's key out of band. */
#ifndef MVPN_TOKEN_H
#define MVPN_TOKEN_H

#include <stdint.h>
#include "mvpn/auth.h"

#define MVPN_TOKEN_MAX 640	    /* text, with the NUL */
#define MVPN_TOKEN_SERVER_MAX 256 /* "name:port" or "addr:port" with the NUL */

struct mvpn_token {
	uint8_t net_id[MVPN_NET_ID_LEN];
	uint8_t token_id[16];
	uint8_t secret[32];
	uint8_t server_pk[32];
	uint64_t expiry; /* wall clock seconds; 0 never */
	char server[MVPN_TOKEN_SERVER_MAX];
};

int mvpn_token_encode(const struct mvpn_token *t, char ret[static MVPN_TOKEN_MAX]);
/* surrounding white space is ignored; -EINVAL not a token, -EBADMSG checksum (mistyped or cut), -EPROTONOSUPPORT version */
int mvpn_token_decode(struct mvpn_token *ret, const char *text);
/* BLAKE2b-256("mavp1 enrol" ‖ secret): all that the server keeps */
void mvpn_token_psk(uint8_t ret[32], const uint8_t secret[32]);

#endif
