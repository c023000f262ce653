/* SPDX-License-Identifier: BSD-2-Clause */
#include "frame.h"

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/udp.h>
#include <string.h>

#define TTL 64
#define LABEL_BITS 20
#define LABEL_MULTIPLIER 0x9e3779b97f4a7c15ULL /* 2^64 / golden ratio: spreads every bit upwards */
#define VLAN_TAGS_MAX 2
#define IP4_MORE_OR_OFFSET 0x3fff /* any fragment: MF, or an offset */
#define IP4_DF 0x4000

/* RFC 1071. The carry is folded at the end: 2^32 words fit before the sum could overflow. */
static uint64_t sum_words(uint64_t sum, const uint8_t *p, size_t len)
{
	uint64_t w;
	uint32_t half;

	for (; len >= 8; p += 8, len -= 8) {
		memcpy(&w, p, 8);
		sum += (w >> 32) + (uint32_t)w;
	}
	if (len >= 4) {
		memcpy(&half, p, 4);
		sum += half;
		p += 4;
		len -= 4;
	}
	half = 0;
	memcpy(&half, p, len); /* zero-padded on the right in memory order, as the RFC wants */
	return sum + half;
}

static uint16_t sum_fold(uint64_t sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

/*
 * RFC 6437: a flow has one label, so that routers can share out flows without reordering one. The flow is the outer one,
 * a lane to a peer, and the label is made of what its header shows anyway: it says nothing of what is inside.
 */
static uint32_t flow_label(const struct kt_endpoint *ep, uint16_t sport)
{
	uint64_t x = (uint64_t)sport << 16 | ep->to.port, w;

	for (unsigned i = 0; i < 16; i += 8) {
		memcpy(&w, ep->src.b + i, 8);
		x = (x ^ w) * LABEL_MULTIPLIER;
		x ^= x >> 32;
		memcpy(&w, ep->to.addr.b + i, 8);
		x = (x ^ w) * LABEL_MULTIPLIER;
		x ^= x >> 32;
	}
	x = x * LABEL_MULTIPLIER >> (64 - LABEL_BITS);
	return x ? (uint32_t)x : 1; /* zero means that there is none */
}

size_t frame_start(uint8_t *payload, const struct kt_endpoint *ep, uint16_t sport, uint8_t tos)
{
	struct udphdr udp = {.source = htons(sport), .dest = htons(ep->to.port)};
	struct ethhdr eth;
	uint8_t *p = payload - sizeof(udp);

	memcpy(eth.h_dest, ep->dmac, ETH_ALEN);
	memcpy(eth.h_source, ep->smac, ETH_ALEN);
	memcpy(p, &udp, sizeof(udp));
	if (mvpn_addr_is_v4(&ep->to.addr)) {
		/*
		 * DF: the outer packet is never fragmented; so its id need not be unique (RFC
		 * 6864 §4.1)
		 */
		struct iphdr ip = {.version = 4,
				   .ihl = 5,
				   .tos = tos,
				   .frag_off = htons(IP4_DF),
				   .ttl = TTL,
				   .protocol = IPPROTO_UDP};

		memcpy(&ip.saddr, ep->src.b + 12, 4);
		memcpy(&ip.daddr, ep->to.addr.b + 12, 4);
		p -= sizeof(ip);
		memcpy(p, &ip, sizeof(ip));
		eth.h_proto = htons(ETH_P_IP);
	} else {
		struct ip6_hdr ip = {
			.ip6_flow = htonl(6u << 28 | (uint32_t)tos << 20 | flow_label(ep, sport)),
			.ip6_nxt = IPPROTO_UDP,
			.ip6_hlim = TTL};

		memcpy(&ip.ip6_src, ep->src.b, 16);
		memcpy(&ip.ip6_dst, ep->to.addr.b, 16);
		p -= sizeof(ip);
		memcpy(p, &ip, sizeof(ip));
		eth.h_proto = htons(ETH_P_IPV6);
	}
	p -= sizeof(eth);
	memcpy(p, &eth, sizeof(eth));
	return (size_t)(payload - p);
}

static void finish_ip4(uint8_t *payload, size_t udp_len)
{
	uint8_t *ip = payload - sizeof(struct udphdr) - sizeof(struct iphdr);
	uint16_t tot_len = htons((uint16_t)(sizeof(struct iphdr) + udp_len)), sum = 0;

	memcpy(ip + offsetof(struct iphdr, tot_len), &tot_len, 2);
	memcpy(ip + offsetof(struct iphdr, check), &sum, 2);
	sum = sum_fold(sum_words(0, ip, sizeof(struct iphdr)));
	memcpy(ip + offsetof(struct iphdr, check), &sum, 2);
}

/*
 * Over IPv4 the UDP sum is left out: AEAD covers the payload. Over IPv6 a zero sum is only for
 * tunnels whose receiver was told to take it (RFC 8200 §8.1, RFC 6936), and hosts and
 * middleboxes drop it by default; the peer may read us by an ordinary UDP socket. So there it
 * is computed.
 */
static void finish_ip6(uint8_t *payload, size_t udp_len)
{
	uint8_t *udp = payload - sizeof(struct udphdr), *ip = udp - sizeof(struct ip6_hdr);
	uint16_t plen = htons((uint16_t)udp_len), sum = 0;
	uint64_t pseudo;

	memcpy(ip + offsetof(struct ip6_hdr, ip6_plen), &plen, 2);
	memcpy(udp + offsetof(struct udphdr, check), &sum, 2);
	pseudo = (uint64_t)htonl((uint32_t)udp_len) + htonl(IPPROTO_UDP);
	pseudo = sum_words(pseudo, ip + offsetof(struct ip6_hdr, ip6_src), 32);
	sum = sum_fold(sum_words(pseudo, udp, udp_len));
	if (!sum)
		sum = 0xffff; /* zero means "none" */
	memcpy(udp + offsetof(struct udphdr, check), &sum, 2);
}

void frame_finish(uint8_t *payload, size_t len, size_t head_len)
{
	size_t udp_len = sizeof(struct udphdr) + len;
	uint16_t be = htons((uint16_t)udp_len);

	memcpy(payload - sizeof(struct udphdr) + offsetof(struct udphdr, len), &be, 2);
	if (head_len == FRAME_HEAD_IP4)
		finish_ip4(payload, udp_len);
	else
		finish_ip6(payload, udp_len);
}

/* ---- reading ---- */

static uint16_t be16_at(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

/* Returns where UDP begins and cuts *len to what IP says is there; NULL: not for us. */
static uint8_t *parse_ip4(uint8_t *p, size_t *len, struct wire_from *ret)
{
	size_t total;

	if (*len < sizeof(struct iphdr) || p[0] != 0x45)
		return NULL;
	total = be16_at(p + offsetof(struct iphdr, tot_len));
	if (total < sizeof(struct iphdr) || total > *len ||
	    p[offsetof(struct iphdr, protocol)] != IPPROTO_UDP ||
	    be16_at(p + offsetof(struct iphdr, frag_off)) & IP4_MORE_OR_OFFSET ||
	    sum_fold(sum_words(0, p, sizeof(struct iphdr))))
		return NULL;
	mvpn_addr_from_v4(&ret->ep.addr, p + offsetof(struct iphdr, saddr));
	ret->tos = p[offsetof(struct iphdr, tos)];
	*len = total - sizeof(struct iphdr);
	return p + sizeof(struct iphdr);
}

static uint8_t *parse_ip6(uint8_t *p, size_t *len, struct wire_from *ret)
{
	size_t plen;

	if (*len < sizeof(struct ip6_hdr) || p[0] >> 4 != 6)
		return NULL;
	plen = be16_at(p + offsetof(struct ip6_hdr, ip6_plen));
	if (plen > *len - sizeof(struct ip6_hdr) ||
	    p[offsetof(struct ip6_hdr, ip6_nxt)] != IPPROTO_UDP)
		return NULL;
	memcpy(ret->ep.addr.b, p + offsetof(struct ip6_hdr, ip6_src), 16);
	ret->tos = (uint8_t)(p[0] << 4 | p[1] >> 4);
	/* a v4-mapped source on the wire is forged: it would pass for the IPv4 host */
	if (mvpn_addr_is_v4(&ret->ep.addr))
		return NULL;
	*len = plen;
	return p + sizeof(struct ip6_hdr);
}

bool frame_parse(uint8_t *frame, size_t len, uint16_t dport, struct wire_from *ret_from,
		 uint8_t **ret_payload, size_t *ret_len)
{
	struct wire_from from;
	uint8_t *p = frame;
	uint16_t proto;
	size_t udp_len;

	if (len < sizeof(struct ethhdr))
		return false;
	proto = be16_at(p + offsetof(struct ethhdr, h_proto));
	p += sizeof(struct ethhdr);
	len -= sizeof(struct ethhdr);
	for (int i = 0; i < VLAN_TAGS_MAX && (proto == ETH_P_8021Q || proto == ETH_P_8021AD); i++) {
		if (len < 4)
			return false;
		proto = be16_at(p + 2); /* after priority and VID */
		p += 4;
		len -= 4;
	}
	if (proto == ETH_P_IP)
		p = parse_ip4(p, &len, &from);
	else if (proto == ETH_P_IPV6)
		p = parse_ip6(p, &len, &from);
	else
		return false;
	if (!p || len < sizeof(struct udphdr) ||
	    be16_at(p + offsetof(struct udphdr, dest)) != dport)
		return false;
	udp_len = be16_at(p + offsetof(struct udphdr, len));
	if (udp_len < sizeof(struct udphdr) || udp_len > len)
		return false;
	from.ep.port = be16_at(p + offsetof(struct udphdr, source));
	*ret_from = from;
	*ret_payload = p + sizeof(struct udphdr);
	*ret_len = udp_len - sizeof(struct udphdr);
	return true;
}
