/* SPDX-License-Identifier: BSD-2-Clause */
/* A stream's bytes: OPEN and records as they come, and OPEN as the inside of one that is sealed right. */
#include <stdlib.h>
#include <string.h>

#include "crypto.h"
#include "stream.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t id[16], key[32];
static const struct stream_session session = {id, key, key, MVPN_CHACHA20_POLY1305};

static void open_one(const uint8_t *data)
{
	uint8_t again[STREAM_OPEN_B];
	struct stream_tuple t;
	uint64_t number;
	uint32_t spi;
	enum stream_kind kind;

	if (!stream_open_head(data, &spi, &number) || stream_open_open(data, &session, &kind, &t))
		return;
	stream_open_seal(again, &session, spi, number, kind, &t);
	if (memcmp(again, data, sizeof(again)) != 0)
		abort();
}

/* what is sealed comes from the input, under the right key */
static void open_inside(const uint8_t *data, size_t size)
{
	uint8_t open[STREAM_OPEN_B];
	struct stream_tuple t;

	if (size < 36)
		return;
	memcpy(t.src.addr.b, data, 16);
	memcpy(t.dst.addr.b, data + 16, 16);
	t.src.port = (uint16_t)(data[32] << 8 | data[33]);
	t.dst.port = (uint16_t)(data[34] << 8 | data[35]);
	stream_open_seal(open, &session, 1, 2, STREAM_CONNECTION, &t);
	open_one(open);
}

static void records(const uint8_t *data, size_t size)
{
	struct stream_dir *d = aligned_alloc(64, 2 * sizeof(*d));
	uint8_t open[STREAM_OPEN_B] = {0}, nonce[STREAM_NONCE_B] = {0}, *out;
	enum stream_record type;
	int len;

	stream_dirs(&d[0], &d[1], true, &session, open, nonce);
	while (size >= STREAM_HEAD_B && (len = stream_record_len(data)) > 0 && (size_t)len <= size) {
		out = malloc((size_t)len - STREAM_OVERHEAD_B + 1); /* the sanitizer sees what lies behind it */
		if (stream_unseal(d, data, (size_t)len, &type, out) >= 0)
			abort(); /* nobody guesses a tag */
		free(out);
		data += len;
		size -= (size_t)len;
	}
	free(d);
}

/* what is a datagram is written as it was read */
static void datagram(const uint8_t *data, size_t size)
{
	uint8_t head[STREAM_DATAGRAM_HEAD_MAX_B];
	struct stream_tuple t;
	int n = stream_datagram_get(data, size, &t);

	if (n >= 0 &&
	    (stream_datagram_put(head, &t) != (size_t)n || memcmp(head, data, (size_t)n) != 0))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *p = malloc(size + 1);

	aead_init();
	memcpy(p, data, size);
	if (size >= STREAM_OPEN_B)
		open_one(p);
	open_inside(p, size);
	records(p, size);
	datagram(p, size);
	free(p);
	return 0;
}
