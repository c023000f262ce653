/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Whatever a peer that has keys may seal: a run of inner packets, each after two bytes of length
 * and one of flags (forged, partial checksum, peer). What reaches the tap must be whole packets
 * with headers that the kernel can use, and as many payload bytes as were accepted.
 */
#include <stdlib.h>

#include "../../keyd/dp/coalesce.h"

#define CHECK(x)                 \
	do {                     \
		if (!(x))        \
			abort(); \
	} while (0)

static uint64_t bytes_out, bytes_headers;

static void tap(void *arg, const struct virtio_net_hdr *h, uint8_t *data, size_t len)
{
	struct packet p;

	CHECK(packet_parse(&p, data, len) == 0);
	memset(data - TAP_HEADROOM, 0, TAP_HEADROOM);
	bytes_out += len;
	if (!h->flags) {
		CHECK(h->gso_type == VIRTIO_NET_HDR_GSO_NONE);
		return;
	}
	CHECK(p.headers && h->csum_start == p.l4 && h->csum_start + h->csum_offset + 2u <= len);
	if (h->gso_type != VIRTIO_NET_HDR_GSO_NONE) {
		CHECK(h->hdr_len == p.headers && h->gso_size &&
		      len > (size_t)h->hdr_len + h->gso_size);
		/* each joined packet but the first left its headers behind */
		bytes_headers += (uint64_t)p.headers * ((len - p.headers - 1) / h->gso_size);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct coalescer c;
	uint64_t bytes_in = 0;

	bytes_out = bytes_headers = 0;
	if (size < 1 || coalesce_init(&c, data[0] & 1, tap, NULL) < 0)
		return 0;
	data++;
	size--;
	while (size >= 3) {
		size_t len = get16(data);
		uint8_t flags = data[2], *room;
		struct packet p;

		data += 3;
		size -= 3;
		if (len > size)
			len = size;
		if (!len)
			continue;
		room = coalesce_room(&c, len);
		memcpy(room, data, len);
		/* as open_tunnel() does */
		if (flags & 1 || packet_parse(&p, room, len) < 0 || (flags & 2 && !p.headers)) {
			coalesce_cancel(&c);
		} else {
			bytes_in += len;
			coalesce_packet(&c, &p, flags & 2, flags >> 2 & 1);
		}
		if (flags & 0x80)
			coalesce_flush(&c);
		data += len;
		size -= len;
	}
	coalesce_flush(&c);
	CHECK(bytes_in == bytes_out + bytes_headers);
	coalesce_free(&c);
	return 0;
}
