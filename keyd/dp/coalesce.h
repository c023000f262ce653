/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Joins opened packets of one flow into super-packets for the tap, after the rules of the kernel's
 * GRO: same addresses, ports, TOS, TTL, acknowledgement, window and options, consecutive sequence
 * numbers, equal sizes but the last. Only packets whose checksum the peer left open may be joined:
 * the field is rewritten anyway, and what arrived with a finished sum is handed to the stack as it
 * is, to be verified.
 *
 * Packets are decrypted straight to where their payload has to be if they continue the flow that
 * came last: then their headers lie over the end of what is there already, which is saved and put
 * back.
 */
#ifndef MVPN_COALESCE_H
#define MVPN_COALESCE_H

#include "packet.h"
#include "tap.h"

#define COALESCE_FLOWS 8

/* `data` has TAP_HEADROOM bytes before it; h as the tap wants it */
typedef void coalesce_write_fn(void *arg, const struct virtio_net_hdr *h, uint8_t *data,
			       size_t len);

struct coalesce_slot {
	uint8_t *data;
	uint32_t len; /* so far; 0: not in use */
	uint32_t peer;
	uint32_t next_seq;
	uint32_t size; /* payload of the first packet */
	uint32_t count;
	uint16_t l4, headers;
	uint16_t next_id;
	uint8_t proto;
	bool v4;
};

struct coalescer {
	coalesce_write_fn *write;
	void *arg;
	bool uso; /* the tap takes UDP super-packets */
	uint8_t *memory;
	struct coalesce_slot slot[COALESCE_FLOWS + 1]; /* one is always free */
	struct coalesce_slot *spare, *last;
	unsigned open;
	/* of the room given out */
	struct coalesce_slot *where;
	uint8_t saved[PACKET_HEADERS_MAX_B];
};

int coalesce_init(struct coalescer *c, bool uso, coalesce_write_fn *fn, void *arg); /* -ENOMEM */
void coalesce_free(struct coalescer *c);

/* Where to decrypt a packet of len <= PACKET_MAX_B bytes to; then exactly one of the two below. */
uint8_t *coalesce_room(struct coalescer *c, size_t len);
void coalesce_cancel(struct coalescer *c);
/*
 * p is parsed, at the room; `partial`: MVPN_F_CSUM_PARTIAL, only with p->headers; flows of
 * different peers are never joined
 */
void coalesce_packet(struct coalescer *c, struct packet *p, bool partial, uint32_t peer);
void coalesce_flush(struct coalescer *c); /* write everything that is open */

#endif
