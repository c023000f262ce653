/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* ICMP errors on a gateway that translates: the packet that they quote has been, or would be, translated. */
#ifndef BPF_TRANSLATE_ERROR_H
#define BPF_TRANSLATE_ERROR_H

#include "rewrite.h"
#include "translate_maps.h"

#define ICMP_QUOTE_OFF 8 /* RFC 792, RFC 4443 §3 */

struct quoted {
	struct mvpn_flow_key flow; /* as it was sent */
	__u32 l3, l4;
};

/*
 * Its first eight bytes behind the headers are there (RFC 792); options of IPv6 are not looked behind, and of fragments the first one
 * alone has them.
 */
static __always_inline bool quoted(struct __sk_buff *skb, const struct pkt *p, struct quoted *q)
{
	struct pkt in = {.type = p->type};
	__be16 ports[2];
	__u8 icmp;

	q->l3 = p->l4 + ICMP_QUOTE_OFF;
	if (p->type == bpf_htons(ETH_P_IP)) {
		struct ip4_hdr ip;

		if (bpf_skb_load_bytes(skb, q->l3, &ip, sizeof(ip)) || (ip.ver_ihl & 15) < 5 ||
		    ip.frag & bpf_htons(IP_OFFSET))
			return false;
		v4_mapped(q->flow.src, ip.src);
		v4_mapped(q->flow.dst, ip.dst);
		q->flow.proto = in.flow.proto = ip.proto;
		q->l4 = q->l3 + (ip.ver_ihl & 15) * 4;
	} else {
		struct ip6_hdr ip;

		if (bpf_skb_load_bytes(skb, q->l3, &ip, sizeof(ip)))
			return false;
		__builtin_memcpy(q->flow.src, ip.src, 16);
		__builtin_memcpy(q->flow.dst, ip.dst, 16);
		q->flow.proto = ip.next;
		q->l4 = q->l3 + sizeof(ip);
		if (ip.next == IPPROTO_FRAGMENT) {
			struct ip6_fragment f;

			if (bpf_skb_load_bytes(skb, q->l4, &f, sizeof(f)) ||
			    f.at & bpf_htons(IP6_OFFSET))
				return false;
			q->flow.proto = f.next;
			q->l4 += sizeof(f);
		}
		in.flow.proto = q->flow.proto;
	}
	if (!is_icmp(&in)) {
		if ((q->flow.proto != IPPROTO_TCP && q->flow.proto != IPPROTO_UDP) ||
		    bpf_skb_load_bytes(skb, q->l4, ports, 4))
			return false;
		q->flow.sport = ports[0];
		q->flow.dport = ports[1];
		return true;
	}
	/* echo alone: a question of the device's, seen here on its way back; or the answer to it */
	if (bpf_skb_load_bytes(skb, q->l4, &icmp, 1) ||
	    bpf_skb_load_bytes(skb, q->l4 + ICMP_ID_OFF, ports, 2))
		return false;
	if (icmp == 8 || icmp == 128)
		q->flow.sport = ports[0];
	else
		q->flow.dport = ports[0];
	return true;
}

/*
 * `mine`: the end of the quoted packet that is translated. The checksum of the quoted transport header is left as it is: nobody can
 * check it, for most of what it is over is not quoted.
 */
static __always_inline bool rewrite_quoted(struct __sk_buff *skb, const struct pkt *p,
					   const struct quoted *q, bool src, const __u8 addr[16],
					   __be16 port)
{
	struct pkt in = {.type = p->type, .l3 = q->l3, .l4 = q->l4};
	__be16 old_port = src ? q->flow.sport : q->flow.dport;
	bool v4 = p->type == bpf_htons(ETH_P_IP);
	__u32 from[4], to[4];
	__s64 diff;

	in.flow.proto = q->flow.proto;
	__builtin_memcpy(from, src ? q->flow.src : q->flow.dst, 16);
	__builtin_memcpy(to, addr, 16);
	if (v4) {
		/* the sum over the quoted header stays what it was, and so does that over all */
		if (bpf_l3_csum_replace(skb, q->l3 + __builtin_offsetof(struct ip4_hdr, csum),
					from[3], to[3], 4) ||
		    bpf_skb_store_bytes(skb, addr_off(p, q->l3, src), &to[3], 4, 0))
			return false;
	} else {
		diff = bpf_csum_diff(from, 16, to, 16, 0);
		if (bpf_l4_csum_replace(skb, csum_off(p), 0, diff, 0) ||
		    bpf_skb_store_bytes(skb, addr_off(p, q->l3, src), to, 16, 0))
			return false;
	}
	return !bpf_l4_csum_replace(skb, csum_off(p), old_port, port, 2) &&
	       !bpf_skb_store_bytes(skb, port_off(&in, q->l4, src), &port, 2, 0);
}

/* A device about what it was sent: that is known to the other end by our address. Not inlined, like the next: verified once. */
__noinline int error_out(struct __sk_buff *skb, const struct pkt *p)
{
	struct quoted q = {};
	const struct mvpn_translation *t;
	struct mvpn_flow_key flow = {};
	struct mvpn_translation as;
	struct end e;

	if (!p || !quoted(skb, p, &q))
		return false;
	__builtin_memcpy(flow.src, q.flow.dst, 16);
	__builtin_memcpy(flow.dst, q.flow.src, 16);
	flow.sport = q.flow.dport;
	flow.dport = q.flow.sport;
	flow.proto = q.flow.proto;
	t = bpf_map_lookup_elem(&translated, &flow);
	if (!t)
		return false;
	as = *t;
	e = (struct end){.addr_off = addr_off(p, p->l3, true), .old = p->flow.src, .new = as.addr};
	if (!rewrite_quoted(skb, p, &q, false, as.addr, as.port) || !rewrite_addr(skb, p, &e))
		return false;
	tally(MVPN_T_TRANSLATED);
	return true;
}

/* a router or the other end about what a device has sent */
__noinline int error_in(struct __sk_buff *skb, const struct pkt *p)
{
	struct quoted q = {};
	const struct mvpn_flow_key *found;
	struct mvpn_flow_key back = {}, flow;
	struct end e;

	if (!p || !quoted(skb, p, &q))
		return false;
	__builtin_memcpy(back.src, q.flow.dst, 16);
	__builtin_memcpy(back.dst, q.flow.src, 16);
	back.sport = q.flow.dport;
	back.dport = q.flow.sport;
	back.proto = q.flow.proto;
	found = bpf_map_lookup_elem(&returning, &back);
	if (!found)
		return false;
	flow = *found;
	e = (struct end){
		.addr_off = addr_off(p, p->l3, false), .old = p->flow.dst, .new = flow.src};
	if (!rewrite_quoted(skb, p, &q, true, flow.src, flow.sport) || !rewrite_addr(skb, p, &e))
		return false;
	tally(MVPN_T_TRANSLATED);
	return true;
}

#endif
