/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * frame_parse: what it accepts lies within the frame. The input changes (by XOR) a good frame, IPv4
 * or IPv6 by its first byte, and the second says how much of it there is: so the fuzzer begins
 * where frames are accepted, sums and all.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../keyd/dp/frame.h"

#define PORT 7469
#define PAYLOAD_B 24

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct kt_endpoint e = {.to.port = PORT, .has_hop = true};
	uint8_t room[FRAME_HEAD_MAX + PAYLOAD_B] = {}, *payload = room + FRAME_HEAD_MAX, *f, *p;
	struct wire_from from;
	size_t head, len, n;

	if (size < 2)
		return 0;
	mvpn_addr_parse(&e.src, data[0] & 1 ? "192.0.2.1" : "2001:db8::1");
	mvpn_addr_parse(&e.to.addr, data[0] & 1 ? "192.0.2.2" : "2001:db8::2");
	head = frame_start(payload, &e, PORT, 0);
	frame_finish(payload, PAYLOAD_B, head);
	len = head + PAYLOAD_B;
	len -= data[1] % (len + 1);
	f = malloc(len); /* exactly: the sanitizer sees the next byte */
	memcpy(f, payload - head, len);
	for (size_t i = 2; i < size && i - 2 < len; i++)
		f[i - 2] ^= data[i];
	if (frame_parse(f, len, PORT, &from, &p, &n) && (p < f + FRAME_HEAD_IP4 || p + n > f + len))
		abort();
	free(f);
	return 0;
}
