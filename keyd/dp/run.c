/* SPDX-License-Identifier: BSD-2-Clause */
#include "run.h"

#include <stdbool.h>
#include <string.h>

#include "mvpn/wire.h"

#define SPI_AT offsetof(struct mvpn_hdr, spi)

/* may a sealed packet begin here? */
static bool plausible(const uint8_t *p)
{
	return p[0] >= MVPN_TUNNEL && p[0] <= MVPN_FRAME && !(p[1] & MVPN_LANE_ZERO);
}

/* and one of the same session as `first`: 41 bits that would have to agree by chance */
static bool alike(const uint8_t *p, const uint8_t *first)
{
	return plausible(p) && !memcmp(p + SPI_AT, first + SPI_AT, sizeof(mvpn_be32));
}

/* the smallest step at which a header like the first one stands, 0: none */
static size_t search(const uint8_t *p, size_t len)
{
	const uint8_t *at = p + MVPN_OVERHEAD + SPI_AT,
		      *end = p + len - MVPN_OVERHEAD + SPI_AT + 1; /* of where an SPI may begin */

	while (at < end && (at = memchr(at, p[SPI_AT], (size_t)(end - at)))) {
		if (alike(at - SPI_AT, p))
			return (size_t)(at - SPI_AT - p);
		at++;
	}
	return 0;
}

/*
 * A session that ends after the first packet (rekey) changes the SPI: then the second and the third must agree. Two packets of
 * two sessions are not told apart; our own senders do not join them.
 */
static bool changes(const uint8_t *p, size_t len, size_t step)
{
	return step <= len && len - step >= step + MVPN_OVERHEAD && plausible(p + step) &&
	       alike(p + 2 * step, p + step);
}

size_t run_size(const uint8_t *p, size_t len, size_t guess)
{
	size_t step;

	if (len < 2 * MVPN_OVERHEAD)
		return len;
	if (guess >= MVPN_OVERHEAD && guess <= len - MVPN_OVERHEAD && alike(p + guess, p))
		return guess;
	step = search(p, len);
	if (step)
		return step;
	return guess >= MVPN_OVERHEAD && changes(p, len, guess) ? guess : len;
}
