/* SPDX-License-Identifier: BSD-2-Clause */
/* Any bytes as the file of the server's pins, and as what the server says of its key: at most two pins, and never none. */
#include <stdlib.h>
#include <string.h>

#include "../../keyd/server_pins.h"
#include "crypto.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void words(struct server_pins *p, const uint8_t *data, size_t size)
{
	uint8_t by[32];
	int64_t now = 1000;

	for (; size >= 4; data += 4, size -= 4) {
		struct server_word w = {.serial = data[0] % 8,
					.next = data[0] & 8,
					.left_s = data[2] * 100,
					.in_s = data[3]};
		struct server_pins before = *p;

		memset(w.pk, 1 + data[1] % 3, 32);
		memcpy(by, data[0] & 16 ? p->key : p->other, 32);
		if (server_pins_hear(p, &w, by, now) != PINS_CHANGED &&
		    memcmp(&before, p, sizeof(before)))
			abort();
		/* a channel of another than the pinned key brings no key that is not pinned yet */
		if (!(data[0] & 16) && memcmp(by, before.key, 32) &&
		    memcmp(p->key, before.key, 32) && memcmp(p->key, before.other, 32))
			abort();
		if (p->serial < before.serial || p->what > PINS_OLD ||
		    (p->what == PINS_ALONE) != (p->until == 0))
			abort();
		now += data[3];
		server_pins_expire(p, now);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t in[SERVER_PINS_FILE_B] = "MVPNSKO", out[SERVER_PINS_FILE_B];
	static const uint8_t first[32] = {1};
	struct server_pins p;

	mvpn_crypto_init();
	if (server_pins_decode(data, size, &p) == 0 &&
	    (server_pins_encode(&p, out) != size || memcmp(out, data, size)))
		abort();
	/* past the checksum */
	memcpy(in + 8, data, size < sizeof(in) - 24 ? size : sizeof(in) - 24);
	mvpn_blake2b(in + sizeof(in) - 16, 16, NULL, 0, &(struct mvpn_part){in, sizeof(in) - 16},
		     1);
	if (server_pins_decode(in, sizeof(in), &p) < 0 ||
	    server_pins_encode(&p, out) != sizeof(in) || memcmp(out, in, sizeof(in)))
		abort();
	server_pins_set(&p, first, first, 0);
	words(&p, data, size);
	return 0;
}
