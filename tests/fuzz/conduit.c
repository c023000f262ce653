/* SPDX-License-Identifier: BSD-2-Clause */
/* Packets by TCP: whatever comes, in whatever pieces, the same packets come out, and put into a queue they give the same bytes. */
#include <stdlib.h>
#include <string.h>

#include "crypto.h"
#include "mvpn/wire.h"
#include "conduit.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void again(void *arg, uint8_t *packet, size_t len)
{
	if (len < MVPN_OVERHEAD || len > MVPN_CONDUIT_PACKET_MAX_B)
		abort();
	packet[len - 1] ^= 1; /* the sanitizer sees what lies behind it */
	packet[len - 1] ^= 1;
	conduit_put(arg, packet, len);
}

static int feed(const uint8_t *data, size_t size, size_t piece, struct conduit_out *out)
{
	struct conduit_in *in = calloc(1, sizeof(*in));
	int r = 0;

	for (size_t at = 0, n; at < size && !r; at += n) {
		uint8_t *copy;

		n = size - at < piece ? size - at : piece;
		copy = malloc(n);
		memcpy(copy, data + at, n);
		r = conduit_take(in, copy, n, again, out);
		free(copy);
	}
	free(in);
	return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t key[CONDUIT_KEY_B];
	struct conduit_out whole = {0}, parts = {0};
	size_t len, other;
	uint64_t counter;
	uint32_t id;
	const uint8_t *p, *q;

	mvpn_crypto_init();
	if (size >= CONDUIT_HELLO_B && !conduit_hello_look(data, &id, &counter) &&
	    !conduit_hello_check(data, key)) {
		uint8_t same[CONDUIT_HELLO_B];

		conduit_hello(same, id, counter, key);
		if (memcmp(same, data, sizeof(same)) != 0)
			abort();
	}
	if (!size || size > 65536)
		return 0;
	if (feed(data, size, size, &whole) != feed(data, size, 1 + data[size - 1], &parts))
		abort();
	p = conduit_output(&whole, &len);
	q = conduit_output(&parts, &other);
	if (len != other || (len && (memcmp(p, q, len) || memcmp(p, data, len))))
		abort();
	conduit_out_free(&whole);
	conduit_out_free(&parts);
	return 0;
}
