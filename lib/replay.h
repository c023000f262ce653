/* SPDX-License-Identifier: BSD-2-Clause */
/* Anti-replay window of one lane, RFC 6479: a ring of words, so that sliding clears whole words. Check, open, update. */
#ifndef MVPN_REPLAY_H
#define MVPN_REPLAY_H

#include <stdbool.h>
#include <stdint.h>
#include "mvpn/limits.h"

#define REPLAY_WORDS (MVPN_REPLAY_BITS / 64)
struct replay {
	uint64_t next; /* highest accepted counter + 1 */
	uint64_t bits[REPLAY_WORDS];
};

void replay_reset(struct replay *r);
bool replay_check(const struct replay *r, uint64_t counter); /* true: new and inside the window */
bool replay_update(struct replay *r, uint64_t counter);      /* marks; false if it was not acceptable */

#endif
