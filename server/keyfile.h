/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * server.key as bytes: the server's present key and, while it is changed for another, the other one too, in one file, so that there
 * is no moment at which a crash leaves half of a change. No I/O. Of a server that never changed its key: one line. Lines:
 *
 *   SECRET                       64 hex digits
 *   serial N                     of the last change
 *   next SECRET ACTIVE UNTIL     becomes the present key at ACTIVE, and that one is given up at UNTIL: seconds since the epoch
 *   old SECRET UNTIL             the one before, given up at UNTIL; instead of `next`
 *   gone PUBLIC                  given up, the newest first
 */
#ifndef SERVER_KEYFILE_H
#define SERVER_KEYFILE_H

#include <stddef.h>
#include <stdint.h>

#include "chan.h"

#define KEYFILE_MAX_B 1024

enum keyfile_other { KEYFILE_ALONE, KEYFILE_NEXT, KEYFILE_OLD };

struct keyfile {
	uint8_t sk[32], other_sk[32];
	uint8_t other; /* enum keyfile_other: what other_sk is */
	uint64_t serial;
	int64_t active_at, until; /* 0: not of this step */
	unsigned ngone;
	uint8_t gone[CHAN_GONE_MAX][32];
};

/* locked memory; free wipes, NULL is fine */
struct keyfile *keyfile_new(void);
void keyfile_free(struct keyfile *f);
/* -EINVAL: damaged, or of a later version */
int keyfile_decode(const char *text, size_t len, struct keyfile *ret);
size_t keyfile_encode(const struct keyfile *f, char ret[static KEYFILE_MAX_B]);
/* pk is one that was given up; of more than CHAN_GONE_MAX the oldest is forgotten */
void keyfile_give_up(struct keyfile *f, const uint8_t pk[32]);

#endif
