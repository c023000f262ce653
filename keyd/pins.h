/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Pins of peer keys, trust on first use: a log of lines in the state directory, the last of an id counts. When most lines are of keys that
 * have changed since it is written anew, as a whole or not at all.
 */
#ifndef MVPN_PINS_H
#define MVPN_PINS_H

#include <stdbool.h>
#include <stdint.h>

#include "mvpn/auth.h"

struct pins_kept {
	uint32_t lines, ids;
};
/* each id once; 0 without a file. -errno: what fn returned, -EFBIG, -ENOMEM … */
int pins_load(const char *dir, struct pins_kept *ret,
	      int (*fn)(void *arg, const uint8_t id[MVPN_ID_LEN], const uint8_t pk[32]), void *arg);
/* durable: on the disk when it returns */
int pins_append(const char *dir, struct pins_kept *kept, const uint8_t id[MVPN_ID_LEN], const uint8_t pk[32],
		bool durable);

#endif
