/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What this device relays for others, if the policy lets it: sealed packets that come to the data port with an SPI which is none of
 * our sessions', but one of a pair that the server has opened here. They go out of the data port as they came. On an interface with
 * AF_XDP the program leaves them to the stack, as it does with every SPI that is not ours: so they always come in and leave by the UDP
 * socket, and a packet for ourselves is looked up no longer than before.
 */
#ifndef MVPN_DP_PASS_H
#define MVPN_DP_PASS_H

#include "worker.h"

/* false: it is nobody's; else it has been passed on, or dropped and counted */
bool pass_sealed(struct worker *w, uint32_t spi, const uint8_t *data, size_t len,
		    const struct wire_from *from);
/* an echo's question, MVPN_ECHO_B long: to the main thread, which answers. false: it is of nobody that is known */
bool pass_question(struct worker *w, const uint8_t *data, const struct wire_from *from);

#endif
