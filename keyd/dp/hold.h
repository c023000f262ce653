/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Packets that wait for a session: bounded by flow, by worker and by time, in memory taken once
 * (PROTOCOL §3: at most 64 packets or 128 KiB a flow, 5 s, then dropped, never plaintext). One
 * worker's; no locks.
 */
#ifndef MVPN_HOLD_H
#define MVPN_HOLD_H

#include <linux/virtio_net.h>

#include "packet.h"

struct hold;

int hold_new(struct hold **ret);
void hold_free(struct hold *h);

/* Copies the packet. -ENOBUFS: over a bound. */
int hold_put(struct hold *h, uint32_t peer, const struct packet *p, const struct virtio_net_hdr *vh,
	     uint64_t now_ns);
/*
 * Takes the oldest packet of `peer` into data (room for PACKET_MAX_B): its length, 0 when there is
 * none. *cursor starts at 0; a packet put after the first call with it is not seen, so a loop ends.
 */
uint32_t hold_take(struct hold *h, uint32_t peer, uint64_t *cursor, uint8_t *data,
		   struct virtio_net_hdr *ret);
unsigned hold_expire(struct hold *h, uint64_t now_ns); /* drops what is too old; returns how many */
unsigned hold_count(const struct hold *h);
/* May a packet of `peer` be in it? At once, for every packet that is sent; now and then one of another peer's is taken for it. */
bool hold_waits(const struct hold *h, uint32_t peer);
uint64_t hold_next_expiry(const struct hold *h); /* UINT64_MAX: nothing is held */

#endif
