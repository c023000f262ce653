/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Cuts what the tap gives into packets that fit the path, in the tap's own buffer: each segment's
 * headers are written directly in front of its payload, over the tail of the segment before, which
 * must be sealed (copied out) by then.
 *
 *   TCP           segments of min(gso_size, what fits), also when the packet was no super-packet
 *   UDP GSO       exactly by gso_size: datagrams have boundaries; one that does not fit goes in fragments
 *   else          as it is, or in fragments where it may be fragmented (fragment.h)
 */
#ifndef MVPN_SEGMENT_H
#define MVPN_SEGMENT_H

#include <linux/virtio_net.h>

#include "fragment.h"

enum segment_mode { SEGMENT_WHOLE, SEGMENT_TCP, SEGMENT_UDP, SEGMENT_FRAGMENTS };

struct segmenter {
	struct packet p;
	enum segment_mode mode;
	bool partial; /* the L4 checksum field has the pseudo-header's sum only */
	bool cutting; /* `fragments` has the packet or the datagram that is being fragmented */
	uint8_t headers[PACKET_HEADERS_MAX_B];
	uint16_t nheaders;
	uint16_t id;	  /* IPv4 identification of the first segment */
	uint32_t size;	  /* payload of each segment but the last */
	uint32_t offset;  /* payload done */
	uint32_t payload; /* payload in all */
	uint32_t index;
	uint64_t ip_sum, pseudo_sum; /* of the constant fields */
	uint32_t max;
	uint32_t *ip6_id; /* the caller's: the next identification of a fragmented IPv6 packet */
	struct fragmenter fragments;
};

struct segment {
	uint8_t *data;
	uint32_t len;
	bool partial; /* send with MVPN_F_CSUM_PARTIAL */
};

/*
 * p is parsed already and has FRAGMENT_HEADROOM_B in front; `max` is the largest inner packet that the path takes.
 * *ip6_id counts up with each IPv6 packet that is fragmented. -EMSGSIZE: does not fit and may not be cut; -EINVAL: header *h
 * contradicts the packet.
 */
int segment_start(struct segmenter *s, const struct packet *p, const struct virtio_net_hdr *h,
		  uint32_t max, uint32_t *ip6_id);
/* false: that was all */
bool segment_next(struct segmenter *s, struct segment *ret);

#endif
