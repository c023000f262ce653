/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Malformed super-packets from the tap: virtio-net header, then the packet. What is cut must
 * add up, inside the buffer.
 */
#include <stdlib.h>

#include "../../keyd/dp/icmp.h"
#include "../../keyd/dp/segment.h"

#define CHECK(x)                 \
	do {                     \
		if (!(x))        \
			abort(); \
	} while (0)

static void cut(struct segmenter *s, const uint8_t *buf, size_t len, uint32_t max)
{
	uint64_t payload = 0, pieces = 0;
	struct segment g;
	unsigned n = 0;

	while (segment_next(s, &g)) {
		struct packet p;

		CHECK(g.data >= buf - FRAGMENT_HEADROOM_B && g.data + g.len <= buf + len);
		CHECK(g.len <= max);
		CHECK(packet_parse(&p, g.data, g.len) == 0);
		CHECK(!g.partial || p.headers);
		if (s->cutting)
			pieces += g.len - s->fragments.nheaders;
		else if (s->mode != SEGMENT_WHOLE)
			payload += g.len - s->nheaders;
		n++;
	}
	CHECK(n > 0 && n <= PACKET_MAX_B);
	if (s->mode == SEGMENT_FRAGMENTS)
		CHECK(pieces == s->fragments.payload);
	else if (s->mode == SEGMENT_TCP || (s->mode == SEGMENT_UDP && !pieces))
		CHECK(payload == s->payload);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t error[ICMP_ERROR_MAX_B];
	struct virtio_net_hdr h;
	struct segmenter s = {0};
	uint8_t *room, *buf;
	uint32_t id = 0;
	struct packet p;
	uint32_t max;
	size_t len;

	if (size < sizeof(h) + 2)
		return 0;
	memcpy(&h, data, sizeof(h));
	max = get16(data + sizeof(h)) % 9184;
	len = size - sizeof(h) - 2;
	room = malloc(FRAGMENT_HEADROOM_B + len);
	if (!room)
		return 0;
	buf = room + FRAGMENT_HEADROOM_B;
	memcpy(buf, data + sizeof(h) + 2, len);
	if (packet_parse(&p, buf, len) == 0) {
		CHECK(icmp_error(error, &p, ICMP_E_TOO_BIG, max) <= sizeof(error));
		CHECK(icmp_error(error, &p, ICMP_E_PROHIBITED, 0) <= sizeof(error));
		if (segment_start(&s, &p, &h, max, &id) == 0)
			cut(&s, buf, len, max);
	}
	free(room);
	return 0;
}
