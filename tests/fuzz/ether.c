/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Whatever comes out of the frame tap, or out of a packet that a peer sealed: a header within the bytes, of a type that may be
 * sealed; and the table finds for it what was put there.
 */
#include <stdlib.h>

#include "../../keyd/dp/ether.h"
#include "../../keyd/frametab.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct frame_right r = {.peer = 7, .flags = MVPN_FRAME_RX}, got;
	struct frametab *t;
	struct ether e;

	if (ether_parse(&e, data, size) < 0)
		return 0;
	if (size < ETHER_HEAD_B || e.dst != data || e.src != data + 6 || ether_never(e.type))
		abort();
	if (frametab_new(&t) < 0)
		return 0;
	if (frametab_find(t, e.src, e.type, &got) || frametab_is_local(t, e.src))
		abort();
	if (frametab_set(t, e.src, e.type, &r) < 0 || frametab_set_local(t, e.dst) < 0)
		abort();
	if (!frametab_find(t, e.src, e.type, &got) || got.peer != 7 || got.flags != MVPN_FRAME_RX ||
	    !frametab_is_local(t, e.dst))
		abort();
	frametab_free(t);
	return 0;
}
