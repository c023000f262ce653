/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Cuts what the tap gives into packets that fit the path, in the tap's own buffer: each segment's
 * headers are written directly in front of its payload, over the tail of the segment before, which
 * must be sealed (copied out) by then.
 *
 *   TCP           segments of min(gso_size, what fits), also when the packet was no super-packet
 *   UDP GSO       exactly by gso_size: datagrams have boundaries
 *   else          as it is; IPv4 without DF that does not fit: fragments (RFC 791)
 */
#ifndef MVPN_SEGMENT_H
#define MVPN_SEGMENT_H

#include <linux/virtio_net.h>

#include "packet.h"

enum segment_mode { SEGMENT_WHOLE, SEGMENT_TCP, SEGMENT_UDP, SEGMENT_FRAGMENTS };

struct segmenter {
	struct packet p;
	enum segment_mode mode;
	bool partial; /* the L4 checksum field has the pseudo-header's sum only */
	uint8_t headers[PACKET_HEADERS_MAX_B];
	uint16_t nheaders;
	uint16_t id;	  /* IPv4 identification of the first segment */
	uint16_t frag;	  /* original IPv4 fragment field */
	uint32_t size;	  /* payload of each segment but the last */
	uint32_t offset;  /* payload done */
	uint32_t payload; /* payload in all */
	uint32_t index;
	uint64_t ip_sum, pseudo_sum; /* of the constant fields */
};

struct segment {
	uint8_t *data;
	uint32_t len;
	bool partial; /* send with MVPN_F_CSUM_PARTIAL */
};

/*
 * p is parsed already; `max` is the largest inner packet that the path takes. -EMSGSIZE: does not
 * fit and may not be cut; -EINVAL: header *h contradicts the packet.
 */
int segment_start(struct segmenter *s, const struct packet *p, const struct virtio_net_hdr *h,
		  uint32_t max);
/* false: that was all */
bool segment_next(struct segmenter *s, struct segment *ret);

/* Finish the checksum that *h leaves open, in software. -EINVAL when it points outside. */
int segment_finish_checksum(const struct packet *p, const struct virtio_net_hdr *h);

#endif
