/* SPDX-License-Identifier: BSD-2-Clause */
/* Any text: what decodes must encode again, and to itself. Base32 and hexadecimal come with it. */
#include <stdlib.h>
#include <string.h>

#include "crypto.h"
#include "token.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const char *text)
{
	struct mvpn_token t, again;
	char encoded[MVPN_TOKEN_MAX];

	if (mvpn_token_decode(&t, text) < 0)
		return;
	if (mvpn_token_encode(&t, encoded) < 0 || mvpn_token_decode(&again, encoded) < 0 ||
	    memcmp(&t, &again, sizeof(t)) != 0)
		abort();
}

/*
 * raw bytes as the inside of a token, with the checksum made right: past the door that random text
 * does not open
 */
static void check_inside(const uint8_t *data, size_t size)
{
	uint8_t bin[364];
	char text[MVPN_TOKEN_MAX] = "mavp1_";

	if (size > sizeof(bin) - 4)
		return;
	memcpy(bin, data, size);
	mvpn_blake2b(bin + size, 4, NULL, 0, &(struct mvpn_part){bin, size}, 1);
	if (mvpn_base32_encode(text + 6, sizeof(text) - 6, bin, size + 4) < 0)
		abort();
	check(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t out[512], back[512];
	char *text, encoded[1024];
	int n;

	mvpn_crypto_init();
	text = malloc(size + 1);
	memcpy(text, data, size);
	text[size] = '\0';
	check(text);
	n = mvpn_base32_decode(out, sizeof(out), text);
	if (n >= 0) {
		if (mvpn_base32_encode(encoded, sizeof(encoded), out, n) < 0 ||
		    mvpn_base32_decode(back, sizeof(back), encoded) != n ||
		    memcmp(out, back, n) != 0 || strcasecmp(encoded, text) != 0)
			abort();
	}
	mvpn_unhex(out, size / 2 < sizeof(out) ? size / 2 : 0, text);
	check_inside(data, size);
	free(text);
	return 0;
}
