/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the server says to keyd while two of them are introduced (tests/sim/pair.h), changed: the bytes are XORed into its messages in
 * the order in which they come, so that zeros leave them right. The first byte says in which mode, and who speaks.
 */
#include <stdlib.h>

#include "../sim/pair.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t *mask;
static size_t left;

static void spoil(uint8_t *data, size_t *len)
{
	for (size_t i = 0; i < *len && left; i++, left--)
		data[i] ^= *mask++;
}

static void forget(void)
{
	pair_teardown(NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct pair p;
	static bool known;

	if (size < 1)
		return 0;
	if (!known && (pair_setup(NULL) || atexit(forget)))
		abort();
	known = true;
	pair_up(&p, 1, data[0] % MVPN_MODES);
	p.mangle = spoil;
	mask = data + 1;
	left = size - 1;
	pair_talk(&p.node[A], data[0] & 0x40 ? 0 : 500);
	pair_talk(&p.node[B], data[0] & 0x80 ? 0 : 500);
	pair_run(&p, 3000);
	pair_down(&p);
	return 0;
}
