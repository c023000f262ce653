/* SPDX-License-Identifier: BSD-2-Clause */
/* Any bytes as server.key: what is read is written so that it is read as the same. */
#include <stdlib.h>
#include <string.h>

#include "../../server/keyfile.h"
#include "crypto.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* to be filled with digits, of which random bytes have too few */
	static const char form[] =
		"0000000000000000000000000000000000000000000000000000000000000000\n";
	struct keyfile f, again;
	char text[KEYFILE_MAX_B], in[sizeof(form) - 1 + 512];
	size_t len = size < 512 ? size : 512;

	mvpn_crypto_init();
	keyfile_decode((const char *)data, size, &f);
	memcpy(in, form, sizeof(form) - 1);
	memcpy(in + sizeof(form) - 1, data, len);
	if (keyfile_decode(in, sizeof(form) - 1 + len, &f) < 0)
		return 0;
	len = keyfile_encode(&f, text);
	if (len > sizeof(text) || keyfile_decode(text, len, &again) < 0 ||
	    memcmp(&f, &again, sizeof(f)))
		abort();
	return 0;
}
