/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Source routes: the address in the IP header is the next one on the way, and an option or a routing header has the last. Any program may ask
 * for one (IP_OPTIONS, IPV6_RTHDR), and its packets for a protected address would leave in clear by way of one that is not. To the tunnel
 * they are not for its peer, so they cannot be sealed either.
 */
#ifndef BPF_ROUTE_H
#define BPF_ROUTE_H

#include "parse.h"
#include "protect.h"

#define IPOPT_END 0
#define IPOPT_NOP 1
#define IPOPT_LSRR 131 /* RFC 791 §3.1 */
#define IPOPT_SSRR 137
#define IP4_OPTIONS_B 40
#define ROUTE_FIRST 4 /* of a source route's pointer, counted from 1: type, length, pointer, addresses */
#define RH_TYPE0 0     /* RFC 5095: forbidden */
#define RH_MOBILE 2    /* RFC 6275 */
#define RH_SEGMENTS 4  /* RFC 8754: the segments from the last to the first */
#define RH_HEAD_B 8

struct ip6_routing {
	__u8 next, len, type, left; /* len: in 8 bytes less 1 */
};

struct route4_walk {
	struct __sk_buff *skb;
	__u32 at, end, found;
};

/* an option; 1: the walk is over */
static long route4_step(__u32 i, struct route4_walk *w)
{
	__u8 o[3]; /* type, length, pointer */

	if (w->at >= w->end || bpf_skb_load_bytes(w->skb, w->at, o, sizeof(o)) || o[0] == IPOPT_END)
		return 1;
	if (o[0] == IPOPT_NOP) {
		w->at++;
		return 0;
	}
	if (o[0] != IPOPT_LSRR && o[0] != IPOPT_SSRR) {
		w->at += o[1];
		return o[1] < 2;
	}
	if (o[2] >= ROUTE_FIRST && o[2] + 3 <= o[1])
		w->found = w->at + o[1] - 4;
	return 1;
}

/*
 * Where the last address of a route is that is still to go, 0: there is none. By bpf_loop(), which the verifier walks through once, not for
 * each option.
 */
static __always_inline __u32 route4(struct __sk_buff *skb, const struct pkt *p)
{
	struct route4_walk w = {.skb = skb,
				.at = p->l3 + sizeof(struct ip4_hdr),
				.end = p->l3 + p->ihl * 4};

	bpf_loop(IP4_OPTIONS_B, route4_step, &w, 0);
	return w.found;
}

static __always_inline __u32 route6(struct __sk_buff *skb, const struct pkt *p)
{
	__u32 at = p->l3 + sizeof(struct ip6_hdr);
	struct ip6_routing rh;
	__u8 next = p->flow.proto;

	for (int i = 0; i < IP6_OPTIONS_MAX && (next == IPPROTO_HOPOPTS || next == IPPROTO_DSTOPTS); i++) {
		if (bpf_skb_load_bytes(skb, at, &rh, sizeof(rh)))
			return 0;
		next = rh.next;
		at += ((__u32)rh.len + 1) * 8;
	}
	if (next != IPPROTO_ROUTING || bpf_skb_load_bytes(skb, at, &rh, sizeof(rh)) || !rh.left)
		return 0;
	if (rh.type == RH_SEGMENTS || rh.type == RH_MOBILE)
		return at + RH_HEAD_B;
	return rh.type == RH_TYPE0 && rh.len >= 2 ? at + (__u32)rh.len * 8 - 8 : 0;
}

/*
 * Is it for a protected address in the end, or one of this host's, which stands for keyd where datagrams are diverted (datagram.h)? Of a
 * packet down to its addresses. Not inlined: verified once.
 */
__noinline int routed_to_protected(struct __sk_buff *skb, const struct pkt *p)
{
	struct mvpn_protected prot;
	__u8 addr[16];
	__be32 v4;
	__u32 at;

	if (!p)
		return false;
	if (p->type == bpf_htons(ETH_P_IP)) {
		at = route4(skb, p);
		if (!at || bpf_skb_load_bytes(skb, at, &v4, sizeof(v4)))
			return false;
		v4_mapped(addr, (const __u8 *)&v4);
	} else {
		at = route6(skb, p);
		if (!at || bpf_skb_load_bytes(skb, at, addr, sizeof(addr)))
			return false;
	}
	return protected_by(addr, &prot);
}

/* may it have a source route at all? All but a few packets have none. */
static __always_inline bool may_be_routed(const struct pkt *p)
{
	return p->type == bpf_htons(ETH_P_IP)
		       ? p->ihl > 5
		       : p->flow.proto == IPPROTO_ROUTING || p->flow.proto == IPPROTO_HOPOPTS ||
				 p->flow.proto == IPPROTO_DSTOPTS;
}

#endif
