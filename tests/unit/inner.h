/* SPDX-License-Identifier: BSD-2-Clause */
/* Inner packets for the tests of the fast path: built here byte by byte, not with its own code. */
#ifndef TEST_INNER_H
#define TEST_INNER_H

#include <linux/virtio_net.h>
#include <string.h>

#include "../../keyd/dp/packet.h"

struct inner {
	bool v6;
	uint8_t proto;
	uint16_t sport, dport;
	uint32_t seq, ack;
	uint8_t flags;	      /* TCP */
	unsigned tcp_options; /* bytes, a multiple of 4 */
	uint16_t id, frag;
	uint8_t tos, ttl;
	unsigned ip_options; /* IPv6: bytes of a destination options header, a multiple of 8 */
	uint32_t payload;
	uint32_t pattern; /* first value of the payload's counting bytes */
};

#define INNER_TCP                                                                 \
	.proto = IPPROTO_TCP, .sport = 4000, .dport = 80, .seq = 1000, .ack = 77, \
	.flags = TCP_F_ACK, .tcp_options = 12, .id = 7, .frag = IP4_DF, .ttl = 64
#define INNER_UDP .proto = IPPROTO_UDP, .sport = 4000, .dport = 53, .id = 7, .ttl = 64

/* RFC 1071, the slow and obvious way */
static inline uint16_t inner_sum(const uint8_t *p, size_t len, uint32_t sum)
{
	for (size_t i = 0; i < len; i++)
		sum += i % 2 ? p[i] : (uint32_t)p[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

static inline uint8_t inner_proto(const uint8_t *ip)
{
	if (ip[0] >> 4 == 4)
		return ip[9];
	return ip[6] == IPPROTO_DSTOPTS ? ip[40] : ip[6];
}

static inline uint16_t inner_pseudo(const uint8_t *ip, size_t l4len)
{
	bool v6 = ip[0] >> 4 == 6;
	uint32_t sum = (uint32_t)l4len + inner_proto(ip);

	return inner_sum(v6 ? ip + 8 : ip + 12, v6 ? 32 : 8, sum);
}

static inline uint16_t inner_l4(const struct inner *i)
{
	return (uint16_t)((i->v6 ? 40 : 20) + i->ip_options);
}

static inline uint16_t inner_headers(const struct inner *i)
{
	return (uint16_t)(inner_l4(i) + (i->proto == IPPROTO_TCP   ? 20 + i->tcp_options
					 : i->proto == IPPROTO_UDP ? 8
								   : 0));
}

/* whole packet; the L4 checksum is the pseudo-header's sum only if `partial`. Returns its length.
 */
static inline uint32_t inner_build(uint8_t *d, const struct inner *i, bool partial)
{
	uint16_t l4 = inner_l4(i), headers = inner_headers(i), at;
	uint32_t len = headers + i->payload;

	memset(d, 0, headers);
	if (i->v6) {
		put32(d, 0x60000000 | (uint32_t)i->tos << 20);
		put16(d + 4, len - 40);
		d[6] = i->ip_options ? IPPROTO_DSTOPTS : i->proto;
		d[7] = i->ttl;
		if (i->ip_options) { /* and PadN */
			d[40] = i->proto;
			d[41] = (uint8_t)(i->ip_options / 8 - 1);
			d[42] = 1;
			d[43] = (uint8_t)(i->ip_options - 4);
		}
		memcpy(d + 8,
		       "\xfd\1\0\0\0\0\0\0\0\0\0\0\0\0\0\1\xfd\2\0\0\0\0\0\0\0\0\0\0\0\0\0\2", 32);
	} else {
		d[0] = (uint8_t)(0x40 | l4 / 4);
		d[1] = i->tos;
		put16(d + 2, len);
		put16(d + 4, i->id);
		put16(d + 6, i->frag);
		d[8] = i->ttl;
		d[9] = i->proto;
		memcpy(d + 12, "\x0a\0\0\1\x0a\0\0\2", 8);
		memset(d + 20, 1, i->ip_options);
		put16(d + 10, (uint16_t)~inner_sum(d, l4, 0));
	}
	for (uint32_t n = 0; n < i->payload; n++)
		d[headers + n] = (uint8_t)((i->pattern + n) * 2654435761u >> 24);
	if (i->proto != IPPROTO_TCP && i->proto != IPPROTO_UDP)
		return len;
	put16(d + l4, i->sport);
	put16(d + l4 + 2, i->dport);
	if (i->proto == IPPROTO_TCP) {
		put32(d + l4 + 4, i->seq);
		put32(d + l4 + 8, i->ack);
		d[l4 + 12] = (uint8_t)((20 + i->tcp_options) / 4 << 4);
		d[l4 + 13] = i->flags;
		put16(d + l4 + 14, 500);
		memset(d + l4 + 20, 1, i->tcp_options);
	} else {
		put16(d + l4 + 4, len - l4);
	}
	at = (uint16_t)(l4 + (i->proto == IPPROTO_TCP ? 16 : 6));
	put16(d + at, inner_pseudo(d, len - l4));
	if (!partial)
		put16(d + at, (uint16_t)~inner_sum(d + l4, len - l4, 0));
	return len;
}

/* what is wrong with a packet that claims to be whole; NULL: nothing */
static inline const char *inner_fault(const uint8_t *d, size_t len, bool partial)
{
	bool v6 = d[0] >> 4 == 6;
	unsigned l4 = v6 ? 40 : (d[0] & 15) * 4u, proto = inner_proto(d), at;

	if (v6 && d[6] == IPPROTO_DSTOPTS)
		l4 += (d[41] + 1) * 8u;
	if (len < l4 || (v6 ? get16(d + 4) + 40u : get16(d + 2)) != len)
		return "length";
	if (!v6 && inner_sum(d, l4, 0) != 0xffff)
		return "IPv4 checksum";
	if (proto != IPPROTO_TCP && proto != IPPROTO_UDP)
		return NULL;
	if (proto == IPPROTO_UDP && get16(d + l4 + 4) != len - l4)
		return "UDP length";
	at = l4 + (proto == IPPROTO_TCP ? 16 : 6);
	if (partial)
		return get16(d + at) == inner_pseudo(d, len - l4) ? NULL : "pseudo-header sum";
	return inner_sum(d + l4, len - l4, inner_pseudo(d, len - l4)) == 0xffff ? NULL
										: "L4 checksum";
}

static inline struct virtio_net_hdr inner_vnet(const struct inner *i, unsigned gso_type,
					       uint16_t gso_size)
{
	return (struct virtio_net_hdr){
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.gso_type = (uint8_t)gso_type,
		.gso_size = gso_size,
		.hdr_len = inner_headers(i),
		.csum_start = inner_l4(i),
		.csum_offset = i->proto == IPPROTO_TCP ? 16 : 6,
	};
}

#endif
