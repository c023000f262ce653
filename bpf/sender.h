/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Whose packet is it, and may that process send it there? Asked by the network shim, so that it holds for sockets that are older than
 * the policy, for raw ones and for what has none: forwarded, or by packet sockets.
 */
#ifndef BPF_SENDER_H
#define BPF_SENDER_H

#include "guard.h"
#include "protect.h"
#include "sockctx.h"

#define SOCK_RAW 3
#define TCP_RST 4
#define TCP_DATA_OFF 12 /* in 32-bit words, upper half of the byte */
#define ICMP_ECHO_REQUEST 8
#define ICMP6_ECHO_REQUEST 128

/* a segment that neither begins a connection nor carries anything */
static __always_inline bool tcp_empty(struct __sk_buff *skb, const struct pkt *p)
{
	__u8 words;

	if (!p->ports || !(p->tcp_flags & (TCP_ACK | TCP_RST)) ||
	    bpf_skb_load_bytes(skb, p->l4 + TCP_DATA_OFF, &words, 1))
		return false;
	return skb->len <= p->l4 + (words >> 4) * 4;
}

/* what the kernel itself answers: for connections whose socket has gone or is not there yet, and to what it cannot deliver */
static __always_inline bool is_kernels(struct __sk_buff *skb, const struct pkt *p,
				       const struct bpf_sock *sk)
{
	__u8 type;

	if (p->flow.proto == IPPROTO_TCP)
		return tcp_empty(skb, p);
	if (!sk || sk->type != SOCK_RAW || (sk->family != AF_INET && sk->family != AF_INET6) ||
	    (p->flow.proto != IPPROTO_ICMP && p->flow.proto != IPPROTO_ICMPV6) || p->fragment ||
	    bpf_skb_load_bytes(skb, p->l4, &type, 1))
		return false;
	return type != (p->flow.proto == IPPROTO_ICMP ? ICMP_ECHO_REQUEST : ICMP6_ECHO_REQUEST);
}

/* of a container's packet: what its socket is, by the flow as it left the container, or but for the source, if that is ours now */
static __always_inline __u64 vouched_traits(const struct pkt *p, __u64 oldest)
{
	struct mvpn_flow_key k = p->flow; /* 6.1 takes a key from the stack alone */
	const struct mvpn_vouched *v = bpf_map_lookup_elem(&vouched, &k);
	struct mvpn_protected src;

	if (!v) {
		if (!protected_by(p->flow.src, &src) || !(src.flags & MVPN_PROT_LOCAL))
			return 0;
		__builtin_memset(k.src, 0, sizeof(k.src));
		v = bpf_map_lookup_elem(&vouched, &k);
	}
	return v && v->generation >= oldest && bpf_ktime_get_ns() - v->at_ns < MVPN_VOUCHED_NS
		       ? v->traits
		       : 0;
}

/* 0: refused. Not inlined: verified once. */
__noinline int sender_may(struct __sk_buff *skb, struct pkt *p, __u32 peer)
{
	const struct mvpn_processes *in_force = processes_get();
	struct mvpn_process *known = NULL;
	struct bpf_sock *common, *sk = NULL;
	__u64 v, traits = 0;

	if (!p || !in_force || !bpf_map_lookup_elem(&guards, &peer))
		return 1;
	common = skb->sk;
	if (common)
		sk = bpf_sk_fullsock(common);
	if (sk)
		known = bpf_sk_storage_get(&sock_process, sk, NULL, 0);
	if (!known && is_kernels(skb, p, sk)) {
		p->rule = SAME_RULE;
		return 1;
	}
	if (known && known->flags & MVPN_SOCKET_ACCEPTED && p->flow.proto == IPPROTO_TCP)
		return 1;
	/* what is known since an earlier numbering means something else now */
	if (known)
		traits = known->generation >= in_force->oldest ? known->traits : 0;
	else if (!common)
		traits = vouched_traits(p, in_force->oldest);
	v = guard_ask(peer, traits, p->flow.proto, bpf_ntohs(p->flow.dport), !p->fragment);
	p->rule = GUARD_LINE(v);
	if (GUARD_VERDICT(v) != GUARD_MAY_NOT)
		return 1;
	return 0;
}

__noinline int sender_refused(struct __sk_buff *skb, const struct pkt *p, __u32 peer)
{
	struct mvpn_process nobody = {}, *known = NULL;
	struct bpf_sock *common = skb->sk, *sk = common ? bpf_sk_fullsock(common) : NULL;
	struct mvpn_refusal *e;

	if (!p)
		return 0;
	if (sk)
		known = bpf_sk_storage_get(&sock_process, sk, NULL, 0);
	e = refusal_reserve(&p->flow, known ? known : &nobody, peer,
			    known ? MVPN_REFUSED_PACKET : MVPN_REFUSED_NO_SOCKET, p->rule);
	if (e)
		bpf_ringbuf_submit(e, 0);
	return 0;
}

#endif
