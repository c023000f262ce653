/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Cuts one IP packet into fragments, in the packet's own buffer: each fragment's headers are written directly in front
 * of its payload, over the tail of the one before, which must be copied out by then.
 *
 *   IPv4   RFC 791 §3.1, unless DF is set; a fragment may be cut again
 *   IPv6   RFC 8200 §4.5, and only packets of up to 1280 bytes: the path of the tunnel may be smaller than every IPv6
 *          link must be, and §5 asks the layer below to make up for that. A sender is told to go down to 1280, never below.
 */
#ifndef MVPN_FRAGMENT_H
#define MVPN_FRAGMENT_H

#include "packet.h"

/* writable bytes in front of the packet: IPv6 grows by the Fragment header */
#define FRAGMENT_HEADROOM_B 8
/* what each fragment repeats; a longer chain of IPv6 hop-by-hop and routing headers is refused */
#define FRAGMENT_HEADERS_MAX_B 256

struct fragmenter {
	bool v4;
	uint8_t headers[FRAGMENT_HEADERS_MAX_B];
	uint16_t nheaders;
	uint16_t
		first; /* bytes into the original packet at which this one begins, if it is a fragment */
	uint16_t flags;	 /* IPv4: the flags of the original */
	bool more;	 /* the original is not the last fragment */
	uint8_t *data;	 /* payload of the packet */
	uint32_t size;	 /* payload of each fragment but the last, a multiple of 8 */
	uint32_t offset; /* payload done */
	uint32_t payload;
	uint64_t ip_sum; /* IPv4: of the constant fields */
};

/*
 * `id` identifies an IPv6 packet that is no fragment yet. -EMSGSIZE: may not be cut, or not so small; -EINVAL: its headers
 * or its place in the original make no sense. Touches only the struct.
 */
int fragment_start(struct fragmenter *f, const struct packet *p, uint32_t max, uint32_t id);
/* the next one: NULL when that was all */
uint8_t *fragment_next(struct fragmenter *f, uint32_t *ret_len);

#endif
