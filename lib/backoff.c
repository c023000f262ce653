/* SPDX-License-Identifier: BSD-2-Clause */
#include "backoff.h"

#include <sodium.h>

#include "mvpn/limits.h"

#define LEAST_MS 50 /* for a server that is started anew at once, and against a busy loop */
#define UNTOLD_MS 1000
#define AGAIN_MIN_MS 200 /* few devices wait little for a server that is not up yet */
#define MOST_MS (MVPN_CHAN_RECONNECT_MAX_S * 1000U)

unsigned backoff_next(struct backoff *b, unsigned first_ms)
{
	if (!b->bound_ms)
		b->bound_ms = first_ms == BACKOFF_UNTOLD ? UNTOLD_MS : first_ms;
	else
		b->bound_ms = 2 * b->bound_ms < AGAIN_MIN_MS ? AGAIN_MIN_MS : 2 * b->bound_ms;
	if (!b->bound_ms)
		b->bound_ms = 1;
	if (b->bound_ms > MOST_MS)
		b->bound_ms = MOST_MS;
	return LEAST_MS + randombytes_uniform(b->bound_ms);
}
