/* SPDX-License-Identifier: BSD-2-Clause */
/* An echo: as it comes, and as the inside of one that is sealed right. What opens, sealed again, is the same bytes. */
#include <stdlib.h>
#include <string.h>

#include "crypto.h"
#include "echo_msg.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t key[ECHO_KEY_B];

static void open_one(const uint8_t *data, size_t size, enum mvpn_type type)
{
	uint8_t again[MVPN_ECHO_B];
	struct echo_msg m;
	uint32_t id;

	if (!echo_look(data, size, type, &id) || echo_open(&m, data, key))
		return;
	echo_seal(again, type, &m, key);
	if (id != m.id || memcmp(again, data, sizeof(again)) != 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t sealed[MVPN_ECHO_B], nonce[12] = {0};
	uint8_t *p = malloc(size + 1); /* the sanitizer sees what lies behind it */

	mvpn_crypto_init();
	memcpy(p, data, size);
	open_one(p, size, MVPN_ECHO);
	open_one(p, size, MVPN_ECHO_REPLY);
	free(p);
	if (size != MVPN_ECHO_B - MVPN_TAG_LEN)
		return 0;
	memcpy(sealed, data, sizeof(struct mvpn_hdr));
	nonce[0] = sealed[0];
	memcpy(nonce + 4, sealed + 8, 8);
	mvpn_chapoly_seal(sealed + 16, data + 16, size - 16, sealed, 16, nonce, key);
	open_one(sealed, sizeof(sealed), sealed[0] == MVPN_ECHO ? MVPN_ECHO : MVPN_ECHO_REPLY);
	return 0;
}
