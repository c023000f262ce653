/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * TCP options as anybody may send them: the first byte says which MTU and whether the checksum is partial. A good checksum
 * stays good, and nothing but the option and the checksum changes.
 */
#include <stdlib.h>

#include "../../keyd/dp/mss.h"

#define CHECK(x)                 \
	do {                     \
		if (!(x))        \
			abort(); \
	} while (0)

static uint16_t sum(const struct packet *p)
{
	return sum_fold(sum_bytes(sum_add16(sum_pseudo(p->data, p->v4, p->proto), p->len - p->l4),
				  p->data + p->l4, p->len - p->l4));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *buf;
	struct packet p;
	unsigned differ = 0;
	uint16_t before;
	bool partial, changed;

	if (size < 2)
		return 0;
	buf = malloc(size - 1);
	if (!buf)
		return 0;
	memcpy(buf, data + 1, size - 1);
	if (packet_parse(&p, buf, size - 1) == 0) {
		partial = data[0] & 1;
		before = sum(&p);
		changed = mss_clamp(&p, partial, data[0] * 8);
		for (size_t i = 0; i < size - 1; i++)
			differ += buf[i] != data[1 + i];
		CHECK(differ <= (partial ? 2 : 4) && (changed || !differ));
		/* zero and its negative are the same sum */
		CHECK(partial || sum(&p) % 0xffff == before % 0xffff);
	}
	free(buf);
	return 0;
}
