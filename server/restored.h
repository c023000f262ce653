/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Signs that the store was restored from an old copy: a device knows what this server has said later than the store. What it knows
 * goes on to be good; but policies and revocations that came after the copy are gone, and only people can say them again.
 */
#ifndef SERVER_RESTORED_H
#define SERVER_RESTORED_H

#include "channel.h"

/* the first sign of a server's life is logged, put on record, and a problem in `status` from then on */
void restored_sign(struct server *s, const struct device *d, const char *what, uint64_t theirs, uint64_t ours);
/* REGISTER: the newest policy that the device has heard of */
void restored_policy(struct server *s, const struct device *d, uint64_t rev);

#endif
