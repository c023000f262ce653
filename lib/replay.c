/* SPDX-License-Identifier: BSD-2-Clause */
#include <string.h>

#include "replay.h"

/*
 * One word is always being filled, so the window proper is a word shorter than the ring (RFC 6479
 * §2).
 */
#define WINDOW (MVPN_REPLAY_BITS - 64)

_Static_assert((REPLAY_WORDS & (REPLAY_WORDS - 1)) == 0, "a ring of words: a power of two");

void replay_reset(struct replay *r)
{
	memset(r, 0, sizeof(*r));
}

static bool too_old(const struct replay *r, uint64_t counter)
{
	/* the highest counter is next - 1; the oldest acceptable one is WINDOW - 1 below it */
	return counter < r->next && r->next - counter > WINDOW;
}

bool replay_check(const struct replay *r, uint64_t counter)
{
	if (counter == UINT64_MAX) /* next could not be told from "none yet" */
		return false;
	if (counter >= r->next)
		return true;
	if (too_old(r, counter))
		return false;
	return !(r->bits[counter / 64 % REPLAY_WORDS] >> counter % 64 & 1);
}

bool replay_update(struct replay *r, uint64_t counter)
{
	if (!replay_check(r, counter))
		return false;
	if (counter >= r->next) {
		uint64_t word = counter / 64, top = r->next ? (r->next - 1) / 64 : 0;
		uint64_t slide = word - top;

		if (slide > REPLAY_WORDS)
			slide = REPLAY_WORDS;
		for (uint64_t i = 0; i < slide; i++)
			r->bits[(word - i) % REPLAY_WORDS] = 0;
		r->next = counter + 1;
	}
	r->bits[counter / 64 % REPLAY_WORDS] |= 1ULL << counter % 64;
	return true;
}
