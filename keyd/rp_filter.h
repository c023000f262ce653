/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reverse path filtering (RFC 3704) as it concerns the tap. The way back to the sender of what comes out of it leads over
 * another interface: strict filtering drops that, and loose filtering too, on a device without an address. The host's own setting
 * is not ours to change, but the kernel takes the larger of it and the device's (0 off, 1 strict, 2 loose): so the
 * tap is made loose and gets an address where anything is filtered.
 */
#ifndef KEYD_RP_FILTER_H
#define KEYD_RP_FILTER_H

#include "keyd.h"

/* now and then, because whoever sets up new devices on this host may come after us */
void rp_filter_mend(struct keyd *k);
/* it could not be mended: IPv4 packets that come out of the tap are dropped */
bool rp_filter_stops(const struct keyd *k);

#endif
