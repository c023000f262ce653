/* SPDX-License-Identifier: BSD-2-Clause */
/* What keyd may do: much to begin with, and then no more than attaching, AF_XDP and locked keys need. */
#ifndef MVPN_KEYD_PRIVILEGES_H
#define MVPN_KEYD_PRIVILEGES_H

#include <stdint.h>

void privileges_harden(void); /* no core dumps, no file for others */
/* before the first worker; -EPERM: they are not there, which was said, or cannot be given up */
int privileges_drop(uint16_t udp_port);

/*
 * Of a process that only starts others: none is in effect any more, and those that they begin with are what it can give. -EPERM as above.
 */
int privileges_supervise(void);

#endif
