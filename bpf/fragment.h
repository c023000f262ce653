/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Fragments (RFC 791 §3.1, RFC 8200 §4.5): which part of a datagram one is, and whether it is one that anybody may send. */
#ifndef BPF_FRAGMENT_H
#define BPF_FRAGMENT_H

#include "parse.h"

#define IP_OFFSET 0x1fff /* in 8 bytes */
#define IP_MORE 0x2000
#define IP6_OFFSET 0xfff8
#define IP6_MORE 1
#define FRAGMENT_UNIT 8
#define FRAGMENT_TCP_B \
	20 /* of the transport header, that the first one must have: RFC 1858 §3, RFC 7112 */
#define FRAGMENT_L4_B 8

struct ip6_fragment {
	__u8 next, zero;
	__be16 at;
	__be32 id;
};

struct part {
	__u64 head; /* of the first one: its first eight bytes; 0 if it has fewer */
	__be32 id;  /* IPv4's is in its first two bytes */
	__u32 l4;   /* what follows the headers that every fragment has */
	__u32 at;   /* of the datagram behind those headers: bytes that are before it ... */
	__u32 end;  /* ... and those up to its end */
	__u8 proto;
	bool more;
};

/* Of p->fragment, after parse_l4(). CUT: it says what its length contradicts. Not inlined: verified once. */
__noinline int parse_part(struct __sk_buff *skb, const struct pkt *p, struct part *ret)
{
	__u32 len;

	if (!p || !ret)
		return CUT;
	ret->id = 0;
	if (p->type == bpf_htons(ETH_P_IP)) {
		struct ip4_hdr ip;
		__u16 at;

		if (bpf_skb_load_bytes(skb, p->l3, &ip, sizeof(ip)))
			return CUT;
		at = bpf_ntohs(ip.frag);
		*(__be16 *)&ret->id = ip.id;
		ret->l4 = p->l4;
		ret->at = (at & IP_OFFSET) * FRAGMENT_UNIT;
		ret->more = at & IP_MORE;
		ret->proto = ip.proto;
		len = bpf_ntohs(ip.len);
	} else {
		struct ip6_fragment f;

		if (bpf_skb_load_bytes(skb, p->l4, &f, sizeof(f)))
			return CUT;
		ret->id = f.id;
		ret->l4 = p->l4 + sizeof(f);
		ret->at = bpf_ntohs(f.at) & IP6_OFFSET;
		ret->more = bpf_ntohs(f.at) & IP6_MORE;
		ret->proto = f.next;
		len = sizeof(struct ip6_hdr) + bpf_ntohs(p->payload_len);
	}
	if (p->l3 + len > skb->len || ret->l4 - p->l3 >= len)
		return CUT;
	ret->end = ret->at + len - (ret->l4 - p->l3);
	ret->head = 0;
	if (!ret->at && ret->end >= sizeof(ret->head))
		bpf_skb_load_bytes(skb, ret->l4, &ret->head, sizeof(ret->head));
	return ret->end > 65535 || (ret->more && ret->end % FRAGMENT_UNIT) ? CUT : PARSED;
}

/* how much of it the first fragment must have, and none of the later ones may lie over; 0: a protocol whose header is not known here */
static __always_inline __u32 l4_header_b(const struct pkt *p, __u8 proto)
{
	if (proto == IPPROTO_TCP)
		return FRAGMENT_TCP_B;
	if (proto == IPPROTO_UDP ||
	    proto == (p->type == bpf_htons(ETH_P_IP) ? IPPROTO_ICMP : IPPROTO_ICMPV6))
		return FRAGMENT_L4_B;
	return 0;
}

#endif
