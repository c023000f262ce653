/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Runs: datagrams of one size (the last may be shorter) that the kernel hands over as one, because a sender on this machine used
 * UDP_SEGMENT or GRO joined what a network card received. A socket is told the size; XDP is not, so it is found by what each
 * sealed packet begins with.
 */
#ifndef MVPN_RUN_H
#define MVPN_RUN_H

#include <stddef.h>
#include <stdint.h>

/*
 * The size of the datagrams in p, 1..len; len itself when there is but one. `guess` (0: none) is the size of an earlier run,
 * tried first. What is found is only as good as chance allows, which does not matter: each packet is authenticated by itself.
 */
size_t run_size(const uint8_t *p, size_t len, size_t guess);

#endif
