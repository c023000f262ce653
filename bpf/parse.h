/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Packet headers, byte for byte, and what tc programs learn from an skb. The bytes decide, never skb->protocol: an
 * AF_PACKET socket chooses the latter freely. Everything is copied out with bpf_skb_load_bytes(), which sees headers
 * beyond the linear part too.
 */
#ifndef BPF_PARSE_H
#define BPF_PARSE_H

#include "vmlinux.h"
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "mvpn/maps.h"

#define ETH_HLEN 14
#define ETH_TYPE_OFF 12
#define ETH_P_IP 0x0800
#define ETH_P_IPV6 0x86dd
#define ETH_P_8021Q 0x8100
#define ETH_P_8021AD 0x88a8
#define VLAN_HLEN 4
#define VLAN_TAGS_MAX 3 /* in the packet's bytes, besides the one in the skb's metadata */

#define IPPROTO_HOPOPTS 0
#define IPPROTO_ICMP 1
#define IPPROTO_TCP 6
#define IPPROTO_UDP 17
#define IPPROTO_FRAGMENT 44
#define IPPROTO_ICMPV6 58
#define IPPROTO_DSTOPTS 60
#define IPPROTO_ROUTING 43
#define TCP_DATA_OFF 12 /* in 32-bit words, upper half of the byte */
#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10
#define IP_FRAGMENT_BITS 0x3fff /* more-fragments and offset; not don't-fragment */
#define IP6_OPTIONS_MAX 3	/* option headers walked before L4 */

struct ip4_hdr {
	__u8 ver_ihl, tos;
	__be16 len, id, frag;
	__u8 ttl, proto;
	__be16 csum;
	__u8 src[4], dst[4];
};
struct ip6_hdr {
	__be32 ver_class_flow;
	__be16 payload_len;
	__u8 next, hop_limit;
	__u8 src[16], dst[16];
};
struct udp_hdr {
	__be16 sport, dport, len, csum;
};
_Static_assert(sizeof(struct ip4_hdr) == 20, "RFC 791");
_Static_assert(sizeof(struct ip6_hdr) == 40, "RFC 8200");
_Static_assert(sizeof(struct udp_hdr) == 8, "RFC 768");

static __always_inline bool is_vlan(__be16 type)
{
	return type == bpf_htons(ETH_P_8021Q) || type == bpf_htons(ETH_P_8021AD);
}

#define SAME_RULE 0xffffffff /* as the flow's packet before: it is the kernel's own */
struct pkt {
	__u64 cookie;		   /* of the sending socket, 0: none, or not looked at; MVPN_COOKIE_TUNNEL */
	__u32 rule;		   /* line of the policy that its process is judged by, 0: none; SAME_RULE */
	struct mvpn_flow_key flow; /* addresses after parse_ip(), ports after parse_l4() */
	__u32 l3;		   /* offset of the IP header */
	__u32 l4;		   /* offset of what follows it; see `whole` */
	__be16 type;		   /* ETH_P_IP or ETH_P_IPV6 */
	__be16 payload_len;	   /* IPv6 */
	__u8 tags;		   /* VLAN tags in the packet's bytes */
	__u8 hop_limit;
	__u8 ihl; /* IPv4: 32-bit words */
	__u8 tcp_flags;
	bool fragment;
	bool headless; /* offset 0 is behind the Ethernet header: find_header() */
	bool frame; /* no IP packet, and protected as it is */
	bool ports; /* not a fragment, and the L4 ports were there to be read */
};

enum parsed { PARSED, NOT_IP, CUT };

static __always_inline void v4_mapped(__u8 to[16], const __u8 from[4])
{
	__builtin_memset(to, 0, 10);
	to[10] = to[11] = 0xff;
	__builtin_memcpy(to + 12, from, 4);
}

/*
 * Where generic XDP has copied a packet for want of headroom, Linux forgets how long its Ethernet header is (skb->mac_len, seen
 * on 6.18), and a tc program on ingress sees the packet from behind it: what is IP would look like anything else, and pass.
 * So the header is looked for where the kernel says that it begins.
 */
static __always_inline void find_header(struct __sk_buff *skb, struct pkt *p)
{
	struct {
		__u64 a;
		__u32 b;
		__u16 c;
	} mac, first; /* the compiler has no memcmp() here */

	if (bpf_skb_load_bytes_relative(skb, 0, &mac, ETH_HLEN, BPF_HDR_START_MAC))
		return;
	p->headless = bpf_skb_load_bytes(skb, 0, &first, ETH_HLEN) || mac.a != first.a ||
		      mac.b != first.b || mac.c != first.c;
}

/* a part of the Ethernet header */
static __always_inline long load_eth(struct __sk_buff *skb, const struct pkt *p, __u32 off,
				     void *to, __u32 len)
{
	return p->headless ? bpf_skb_load_bytes_relative(skb, off, to, len, BPF_HDR_START_MAC)
			   : bpf_skb_load_bytes(skb, off, to, len);
}

/* Ethernet and VLAN headers: sets l3, type and tags. */
static __always_inline enum parsed parse_eth(struct __sk_buff *skb, struct pkt *p)
{
	__u32 off = p->headless ? -2 : ETH_TYPE_OFF; /* of the type, from where the packet begins for us */

	if (load_eth(skb, p, ETH_TYPE_OFF, &p->type, 2))
		return CUT;
#pragma unroll
	for (int i = 0; i < VLAN_TAGS_MAX; i++) {
		if (!is_vlan(p->type))
			break;
		off += VLAN_HLEN;
		p->tags++;
		if (bpf_skb_load_bytes(skb, off, &p->type, 2))
			return CUT;
	}
	if (is_vlan(p->type))
		return CUT; /* more tags than anyone uses: what they hide cannot be known */
	p->l3 = off + 2;
	return p->type == bpf_htons(ETH_P_IP) || p->type == bpf_htons(ETH_P_IPV6) ? PARSED : NOT_IP;
}

/* Devices without a link header: the version nibble says what it is. */
static __always_inline enum parsed parse_raw(struct __sk_buff *skb, struct pkt *p)
{
	__u8 first;

	if (bpf_skb_load_bytes(skb, 0, &first, 1))
		return CUT;
	p->l3 = 0;
	if (first >> 4 == 4)
		p->type = bpf_htons(ETH_P_IP);
	else if (first >> 4 == 6)
		p->type = bpf_htons(ETH_P_IPV6);
	else
		return NOT_IP;
	return PARSED;
}

/*
 * Down to the addresses. CUT: it says it is IP, but the addresses are not there. The caller has zeroed *p.
 * On IPv6 flow.proto is still the base header's next header.
 */
static __always_inline enum parsed parse_ip(struct __sk_buff *skb, bool raw, struct pkt *p)
{
	enum parsed r = raw ? parse_raw(skb, p) : parse_eth(skb, p);

	if (r != PARSED)
		return r;
	if (p->type == bpf_htons(ETH_P_IP)) {
		struct ip4_hdr ip;

		if (bpf_skb_load_bytes(skb, p->l3, &ip, sizeof(ip)) || ip.ver_ihl >> 4 != 4)
			return CUT;
		v4_mapped(p->flow.src, ip.src);
		v4_mapped(p->flow.dst, ip.dst);
		p->flow.proto = ip.proto;
		p->ihl = ip.ver_ihl & 15;
		p->hop_limit = ip.ttl;
		p->fragment = ip.frag & bpf_htons(IP_FRAGMENT_BITS);
	} else {
		struct ip6_hdr ip;

		if (bpf_skb_load_bytes(skb, p->l3, &ip, sizeof(ip)) ||
		    (ip.ver_class_flow & bpf_htonl(0xf0000000)) != bpf_htonl(0x60000000))
			return CUT;
		__builtin_memcpy(p->flow.src, ip.src, 16);
		__builtin_memcpy(p->flow.dst, ip.dst, 16);
		p->flow.proto = ip.next;
		p->hop_limit = ip.hop_limit;
		p->payload_len = ip.payload_len;
	}
	return PARSED;
}

/* one that is followed by another, so that what the packet is for is behind it (RFC 8200 §4.1) */
static __always_inline bool ip6_extension(__u8 next)
{
	return next == IPPROTO_HOPOPTS || next == IPPROTO_ROUTING || next == IPPROTO_FRAGMENT ||
	       next == IPPROTO_DSTOPTS;
}

/*
 * IPv6 options before L4: hop-by-hop (the kernel adds one to super-packets over 64 KB) and destination options. A routing
 * header is not followed: the address in the base header is then not the last one, so nothing may be exempt by it.
 */
static __always_inline void skip_options(struct __sk_buff *skb, struct pkt *p)
{
	__u8 opt[2]; /* next header, length in 8 bytes less 1 */

#pragma unroll
	for (int i = 0; i < IP6_OPTIONS_MAX; i++) {
		if (p->flow.proto != IPPROTO_HOPOPTS && p->flow.proto != IPPROTO_DSTOPTS)
			break;
		if (bpf_skb_load_bytes(skb, p->l4, opt, 2))
			return;
		p->flow.proto = opt[0];
		p->l4 += ((__u32)opt[1] + 1) * 8;
	}
	if (p->flow.proto == IPPROTO_FRAGMENT)
		p->fragment = true;
}

/* at p->l4, of TCP and UDP */
static __always_inline void parse_ports(struct __sk_buff *skb, struct pkt *p)
{
	if (p->flow.proto == IPPROTO_UDP) {
		struct udp_hdr udp;

		if (bpf_skb_load_bytes(skb, p->l4, &udp, sizeof(udp)))
			return;
		p->flow.sport = udp.sport;
		p->flow.dport = udp.dport;
		p->ports = true;
	} else if (p->flow.proto == IPPROTO_TCP) {
		struct {
			__be16 sport, dport;
			__be32 seq, ack;
			__u8 off, flags;
		} tcp;

		if (bpf_skb_load_bytes(skb, p->l4, &tcp, 14))
			return;
		p->flow.sport = tcp.sport;
		p->flow.dport = tcp.dport;
		p->tcp_flags = tcp.flags;
		p->ports = true;
	}
}

/* Ports, for exemptions and for the flow table. CUT: the IP header itself is absurd. Not inlined: verified once. */
__noinline int parse_l4(struct __sk_buff *skb, struct pkt *p)
{
	if (!p)
		return CUT;
	if (p->type == bpf_htons(ETH_P_IP)) {
		if (p->ihl < 5)
			return CUT;
		p->l4 = p->l3 + p->ihl * 4;
	} else {
		p->l4 = p->l3 + sizeof(struct ip6_hdr);
		skip_options(skb, p);
	}
	if (p->l4 > skb->len)
		return CUT;
	if (!p->fragment)
		parse_ports(skb, p);
	return PARSED;
}

#endif
