/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What one worker hands to another: a single-producer single-consumer ring of bytes, in which each entry lies in one piece,
 * so that a datagram can be opened where it is. Its memory is touched only as far as it is used.
 */
#ifndef MVPN_RELAY_H
#define MVPN_RELAY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "wire.h"

/* what a worker receives in two turns (16 runs of 64 KB each); a power of two, and far above the largest entry */
#define RELAY_B (2u << 20)
/* kept free of packets, so that no message about a lane ever finds the ring full (MVPN_LANE_OFFERS_MAX bounds them) */
#define RELAY_SPARE_B 16384

enum relay_kind {
	RELAY_END = 0, /* nothing more up to the end of the memory: go on at its beginning */
	RELAY_PACKET,  /* a datagram of a lane that the reader owns, or owned a moment ago */
	RELAY_OFFER, /* the writer owns the lane, and its packets come in at the reader: does it want it? */
	RELAY_TAKE, /* answer: yes; all packets of the lane that the writer handed over lie before this */
	RELAY_DECLINE, /* answer: no */
};

struct relay_entry {
	uint8_t kind; /* enum relay_kind */
	uint8_t lane; /* of the messages */
	uint16_t zero;
	uint32_t spi; /* likewise: the receiving SPI */
	uint32_t len; /* of data */
	struct wire_from from;
	uint8_t data[] __attribute__((aligned(8)));
};

struct relay {
	_Atomic uint32_t head __attribute__((aligned(64))); /* consumer: bytes, modulo 2^32 */
	_Atomic uint32_t tail __attribute__((aligned(64))); /* producer */
	uint8_t memory[] __attribute__((aligned(64)));
};

int relay_new(struct relay **ret); /* -ENOMEM */
void relay_free(struct relay *r);

/* producer; false: no room */
bool relay_packet(struct relay *r, const struct wire_from *from, const uint8_t *data, size_t len);
bool relay_tell(struct relay *r, enum relay_kind kind, uint32_t spi, unsigned lane);
/* consumer: the oldest entry, or NULL; it stays until relay_done(), and may be written to */
struct relay_entry *relay_peek(struct relay *r);
void relay_done(struct relay *r, const struct relay_entry *e);

#endif
