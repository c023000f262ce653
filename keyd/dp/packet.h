/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An inner IP packet as the fast path sees it: bounded parsing, big-endian accessors and Internet
 * checksums (RFC 1071). Data may have any alignment.
 */
#ifndef MVPN_PACKET_H
#define MVPN_PACKET_H

#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "addr.h"

#define PACKET_MAX_B 65535
/*
 * IPv6 option headers (hop-by-hop, destination) that are looked behind: as many and as long in all. No sender in earnest goes
 * beyond; what does is carried as it is, but cannot be segmented.
 */
#define PACKET_OPTIONS_MAX 4
#define PACKET_OPTIONS_MAX_B 256
#define PACKET_HEADERS_MAX_B (40 + PACKET_OPTIONS_MAX_B + 60) /* IPv6 and TCP */
#define IP6_MTU_MIN 1280	 /* RFC 8200 §5: no sender need go below */

static inline uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}
static inline uint32_t get32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}
static inline void put16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}
static inline void put32(uint8_t *p, uint32_t v)
{
	put16(p, v >> 16);
	put16(p + 2, v & 0xffff);
}

/* offsets of the fields that are read or rewritten */
enum {
	IP4_TOS = 1,
	IP4_LEN = 2,
	IP4_ID = 4,
	IP4_FRAG = 6,
	IP4_TTL = 8,
	IP4_PROTO = 9,
	IP4_CHECK = 10,
	IP4_SRC = 12,
	IP4_DST = 16,
	IP6_LEN = 4,
	IP6_NEXT = 6,
	IP6_HOPS = 7,
	IP6_SRC = 8,
	IP6_DST = 24,
	TCP_SEQ = 4,
	TCP_ACK = 8,
	TCP_DOFF = 12,
	TCP_FLAGS = 13,
	TCP_WINDOW = 14,
	TCP_CHECK = 16,
	TCP_URG = 18,
	UDP_LEN = 4,
	UDP_CHECK = 6,
};
#define IP4_DF 0x4000
#define IP4_MF 0x2000
#define IP4_OFFSET 0x1fff
#define TCP_OPT_MD5 19
#define TCP_OPT_AO 29
#define TCP_F_FIN 0x01
#define TCP_F_SYN 0x02
#define TCP_F_RST 0x04
#define TCP_F_PSH 0x08
#define TCP_F_ACK 0x10
#define TCP_F_ECE 0x40
#define TCP_F_CWR 0x80

struct packet {
	uint8_t *data;
	uint32_t len;
	bool v4;
	bool fragment;	     /* IPv4 fragment, first or later, or IPv6 fragment header */
	bool later_fragment; /* not the first one: no transport header */
	bool dont_fragment;  /* IPv4 DF, or IPv6 */
	uint8_t proto;	     /* IPv6: what follows the options, maybe another extension header */
	uint16_t l4;	     /* where that begins; IPv4: where the header ends */
	uint16_t headers; /* end of a whole TCP or UDP header of an unfragmented packet; 0: there is
			     none */
	struct mvpn_addr src, dst;
};

/* end of the TCP or UDP header that begins at p->l4, 0 if it is not wholly there */
static inline uint16_t packet_headers(const struct packet *p)
{
	if (p->proto == IPPROTO_UDP)
		return p->l4 + 8u <= p->len ? (uint16_t)(p->l4 + 8) : 0;
	if (p->proto == IPPROTO_TCP && p->l4 + 20u <= p->len) {
		unsigned doff = (p->data[p->l4 + TCP_DOFF] >> 4) * 4u;

		if (doff >= 20 && p->l4 + doff <= p->len)
			return (uint16_t)(p->l4 + doff);
	}
	return 0;
}

/*
 * A routing header is not looked behind: the pseudo-header's destination is another one then (RFC 8200 §8.1), and nothing but
 * its own end may touch that sum.
 */
static inline void packet_skip_options(struct packet *p)
{
	unsigned at = p->l4, len;

	for (unsigned n = 0; n < PACKET_OPTIONS_MAX; n++) {
		if (p->proto != IPPROTO_HOPOPTS && p->proto != IPPROTO_DSTOPTS)
			return;
		if (at + 8 > p->len)
			return;
		len = (p->data[at + 1] + 1) * 8u;
		if (at + len > p->len || at + len > 40 + PACKET_OPTIONS_MAX_B)
			return;
		p->proto = p->data[at];
		at += len;
		p->l4 = (uint16_t)at;
	}
}

static inline bool packet_is_syn(const struct packet *p)
{
	return p->proto == IPPROTO_TCP && p->headers && p->data[p->l4 + TCP_FLAGS] & TCP_F_SYN;
}

/* -EINVAL: not exactly one IP packet of len bytes. Only `headers` vouches for the transport header.
 */
static inline int packet_parse(struct packet *p, uint8_t *data, size_t len)
{
	if (len < 20 || len > PACKET_MAX_B)
		return -EINVAL;
	p->data = data;
	p->len = (uint32_t)len;
	p->fragment = p->later_fragment = false;
	if (data[0] >> 4 == 4) {
		unsigned ihl = (data[0] & 15) * 4u, frag = get16(data + IP4_FRAG);

		if (ihl < 20 || ihl > len || get16(data + IP4_LEN) != len)
			return -EINVAL;
		p->v4 = true;
		p->proto = data[IP4_PROTO];
		p->l4 = (uint16_t)ihl;
		p->dont_fragment = frag & IP4_DF;
		p->fragment = frag & (IP4_MF | IP4_OFFSET);
		p->later_fragment = frag & IP4_OFFSET;
		memset(p->src.b, 0, 10);
		p->src.b[10] = p->src.b[11] = 0xff;
		memcpy(p->dst.b, p->src.b, 12);
		memcpy(p->src.b + 12, data + IP4_SRC, 4);
		memcpy(p->dst.b + 12, data + IP4_DST, 4);
	} else {
		if (data[0] >> 4 != 6 || len < 40 || get16(data + IP6_LEN) + 40u != len)
			return -EINVAL;
		p->v4 = false;
		p->proto = data[IP6_NEXT];
		p->l4 = 40;
		p->dont_fragment = true;
		packet_skip_options(p);
		p->fragment = p->proto == IPPROTO_FRAGMENT;
		memcpy(p->src.b, data + IP6_SRC, 16);
		memcpy(p->dst.b, data + IP6_DST, 16);
	}
	p->headers = p->fragment ? 0 : packet_headers(p);
	return 0;
}

/* sums are kept in the byte order of memory: ones' complement does not care (RFC 1071 §2B) */
static inline uint64_t sum_bytes(uint64_t sum, const uint8_t *p, size_t len)
{
	uint32_t w;
	uint16_t h = 0;

	for (; len >= 4; len -= 4, p += 4) {
		memcpy(&w, p, 4);
		sum += w;
	}
	if (len >= 2) {
		memcpy(&h, p, 2);
		sum += h;
		p += 2;
		len -= 2;
	}
	if (len) {
		h = 0;
		memcpy(&h, p, 1);
		sum += h;
	}
	return sum;
}
static inline uint64_t sum_add16(uint64_t sum, unsigned host)
{
	return sum + htons((uint16_t)host);
}
static inline uint16_t sum_fold(uint64_t sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)((sum & 0xffff) + (sum >> 16));
}
static inline void sum_store(uint8_t *p, uint16_t folded)
{
	memcpy(p, &folded, 2);
}
/* the pseudo-header's sum without the length (RFC 9293 §3.1, RFC 8200 §8.1) */
static inline uint64_t sum_pseudo(const uint8_t *ip, bool v4, unsigned proto)
{
	return sum_add16(v4 ? sum_bytes(0, ip + IP4_SRC, 8) : sum_bytes(0, ip + IP6_SRC, 32),
			 proto);
}
static inline void ip4_checksum(uint8_t *ip, unsigned ihl)
{
	put16(ip + IP4_CHECK, 0);
	sum_store(ip + IP4_CHECK, (uint16_t)~sum_fold(sum_bytes(0, ip, ihl)));
}

#endif
