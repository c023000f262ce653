/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Packets that wait for their limit's tokens: a queue for each class of a peer, so that one does not hold up another, in memory taken
 * once. One worker's; no locks.
 */
#ifndef MVPN_SHAPE_H
#define MVPN_SHAPE_H

#include <linux/virtio_net.h>

#include "packet.h"

struct shaper;

struct shape_queue {
	uint32_t peer;
	uint8_t class;	    /* of its session's; the next session may mean something else by it */
	uint64_t ready_ns;  /* the caller's: it is looked at again then */
	uint32_t bytes;
	uint32_t first, last; /* the shaper's own */
};

int shaper_new(struct shaper **ret);
void shaper_free(struct shaper *s);

bool shaper_waits(const struct shaper *s, uint32_t peer, unsigned class); /* does a packet of that? */
/* Copies the packet to the end of its queue. -ENOBUFS: `max` bytes or more wait there, or another bound is reached. */
int shaper_put(struct shaper *s, uint32_t peer, unsigned class, uint32_t max, const struct packet *p,
	       const struct virtio_net_hdr *vh);
/* queues are numbered from 0 until one is empty: it goes, and the last one has its number */
struct shape_queue *shaper_queue(struct shaper *s, unsigned i); /* NULL: there are no more */
/* the oldest packet of queue i into data (room for PACKET_MAX_B): its length */
uint32_t shaper_take(struct shaper *s, unsigned i, uint8_t *data, struct virtio_net_hdr *ret);
uint64_t shaper_next_ns(const struct shaper *s); /* the first ready_ns; UINT64_MAX: nothing waits */

#endif
