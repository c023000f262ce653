/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* An end of a packet becomes another one: addresses, ports, and all checksums that are over them. */
#ifndef BPF_REWRITE_H
#define BPF_REWRITE_H

#include "fragment.h"

#define TCP_CSUM_OFF 16
#define UDP_CSUM_OFF 6
#define ICMP_CSUM_OFF 2
#define ICMP_ID_OFF 4

static __always_inline bool is_icmp(const struct pkt *p)
{
	return p->flow.proto == (p->type == bpf_htons(ETH_P_IP) ? IPPROTO_ICMP : IPPROTO_ICMPV6);
}

/* an end of the packet: its address and port, and what becomes of them */
struct end {
	__u32 addr_off, port_off; /* from where the packet begins */
	const __u8 *old, *new;	  /* 16 bytes */
	__be16 old_port, new_port;
};

static __always_inline __u32 csum_off(const struct pkt *p)
{
	if (p->flow.proto == IPPROTO_TCP)
		return p->l4 + TCP_CSUM_OFF;
	return p->l4 + (p->flow.proto == IPPROTO_UDP ? UDP_CSUM_OFF : ICMP_CSUM_OFF);
}

/*
 * In the IP header alone. `summed`: a sum that is in the packet has been made fit IPv6's; IPv4's header has one of its own.
 */
static __always_inline bool rewrite_ip(struct __sk_buff *skb, const struct pkt *p,
				       const struct end *e, bool summed)
{
	__u32 from, to;

	if (p->type != bpf_htons(ETH_P_IP))
		return !bpf_skb_store_bytes(skb, e->addr_off, e->new, 16,
					    summed ? 0 : BPF_F_RECOMPUTE_CSUM);
	__builtin_memcpy(&from, e->old + 12, 4);
	__builtin_memcpy(&to, e->new + 12, 4);
	return !bpf_l3_csum_replace(skb, p->l3 + __builtin_offsetof(struct ip4_hdr, csum), from, to,
				    4) &&
	       !bpf_skb_store_bytes(skb, e->addr_off, &to, 4, 0);
}

/* partial sums too: the helpers know what the stack has left to the card */
static __always_inline bool rewrite_addr(struct __sk_buff *skb, const struct pkt *p,
					 const struct end *e)
{
	__u32 from[4], to[4];
	__s64 diff;

	__builtin_memcpy(from, e->old, 16);
	__builtin_memcpy(to, e->new, 16);
	diff = bpf_csum_diff(from, 16, to, 16, 0);
	/* ICMP over IPv4 has no pseudo-header */
	if (p->flow.proto != IPPROTO_ICMP || p->type != bpf_htons(ETH_P_IP))
		if (bpf_l4_csum_replace(
			    skb, csum_off(p), 0, diff,
			    BPF_F_PSEUDO_HDR |
				    (p->flow.proto == IPPROTO_UDP ? BPF_F_MARK_MANGLED_0 : 0)))
			return false;
	return rewrite_ip(skb, p, e, true);
}

static __always_inline bool rewrite(struct __sk_buff *skb, const struct pkt *p, const struct end *e)
{
	__u64 mangled = p->flow.proto == IPPROTO_UDP ? BPF_F_MARK_MANGLED_0 : 0;

	return rewrite_addr(skb, p, e) &&
	       !bpf_l4_csum_replace(skb, csum_off(p), e->old_port, e->new_port, 2 | mangled) &&
	       !bpf_skb_store_bytes(skb, e->port_off, &e->new_port, 2, 0);
}

static __always_inline __u32 addr_off(const struct pkt *p, __u32 l3, bool src)
{
	if (p->type == bpf_htons(ETH_P_IP))
		return l3 + (src ? __builtin_offsetof(struct ip4_hdr, src)
				 : __builtin_offsetof(struct ip4_hdr, dst));
	return l3 + (src ? __builtin_offsetof(struct ip6_hdr, src)
			 : __builtin_offsetof(struct ip6_hdr, dst));
}

static __always_inline __u32 port_off(const struct pkt *p, __u32 l4, bool src)
{
	return l4 + (is_icmp(p) ? ICMP_ID_OFF : src ? 0 : 2);
}

/* the identification of a fragment, which no transport's checksum is over */
static __always_inline bool rewrite_id(struct __sk_buff *skb, const struct pkt *p, __u32 l4,
				       __be32 old, __be32 new)
{
	__u32 off;

	if (old == new)
		return true;
	if (p->type != bpf_htons(ETH_P_IP)) {
		off = l4 - sizeof(struct ip6_fragment) +
		      __builtin_offsetof(struct ip6_fragment, id);
		return !bpf_skb_store_bytes(skb, off, &new, 4, BPF_F_RECOMPUTE_CSUM);
	}
	off = p->l3 + __builtin_offsetof(struct ip4_hdr, id);
	return !bpf_l3_csum_replace(skb, p->l3 + __builtin_offsetof(struct ip4_hdr, csum),
				    *(__be16 *)&old, *(__be16 *)&new, 2) &&
	       !bpf_skb_store_bytes(skb, off, &new, 2, 0);
}

#endif
