/* SPDX-License-Identifier: BSD-2-Clause */
/* Between intro.c and intro_keys.c. */
#ifndef MVPN_INTRO_IMPL_H
#define MVPN_INTRO_IMPL_H

#include "intro.h"
#include "noise.h"

/* Values that the two directions' keys are bound to, of both ends. */
struct intro_bound {
	const struct intro_pair *pair;
	const uint8_t *req;
	size_t req_len;
	uint8_t suite;
	uint32_t spi_a, spi_b;
};
void intro_ctx(uint8_t ret[32], const struct intro_bound *b);
void intro_directions(uint8_t ret_ab[32], uint8_t ret_ba[32], const uint8_t k1[32],
		      const uint8_t k2[32], const uint8_t h[32], const uint8_t ctx[32]);
/* both, from a finished handshake */
int intro_derive(struct noise *n, const struct intro_bound *b, uint8_t ret_ab[32],
		 uint8_t ret_ba[32]);

#endif
