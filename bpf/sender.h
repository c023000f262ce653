/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Whose packet is it, and may that process send it there? Asked by the network shim, so that it holds for sockets that are older than
 * the policy, for raw ones and for what has none: forwarded, or by packet sockets.
 */
#ifndef BPF_SENDER_H
#define BPF_SENDER_H

#include "fragment.h"
#include "guard.h"
#include "protect.h"
#include "sockctx.h"

#define IPPROTO_RAW 255
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

/* What a packet is as lines of the policy mean it, and fragments of datagrams, too */
struct sent {
	struct mvpn_flow_key
		flow; /* as it was noted; a later fragment's has the identification in place of ports */
	__be32 id; /* of fragments */
	__u32 l4;
	__u32 proto;	   /* of a line, GUARD_ANY_PROTO */
	bool first, later; /* a fragment */
};
#define FLOW_OF_FRAGMENTS 1 /* in zero[0] of a noted flow */

static __always_inline void flow_of_fragments(struct mvpn_flow_key *k, __be32 id)
{
	k->sport = ((__be16 *)&id)[0];
	k->dport = ((__be16 *)&id)[1];
	k->zero[0] = FLOW_OF_FRAGMENTS;
}

/* What cannot be read is as nobody's. Not inlined: verified once. */
__noinline int sent_parse(struct __sk_buff *skb, const struct pkt *p, struct sent *ret)
{
	struct part t = {};
	__be16 ports[2];

	if (!p || !ret)
		return CUT;
	ret->flow = p->flow;
	ret->proto = p->flow.proto;
	ret->l4 = p->l4;
	if (p->fragment) {
		if (parse_part(skb, p, &t) != PARSED)
			return CUT;
		ret->id = t.id;
		ret->l4 = t.l4;
		ret->flow.proto = t.proto;
		ret->proto = t.proto;
		ret->later = t.at;
		ret->first = !t.at;
		if (t.at) {
			flow_of_fragments(&ret->flow, t.id);
		} else if (t.proto == IPPROTO_TCP || t.proto == IPPROTO_UDP) {
			if (bpf_skb_load_bytes(skb, t.l4, ports, sizeof(ports)))
				return CUT;
			ret->flow.sport = ports[0];
			ret->flow.dport = ports[1];
		}
	}
	if (p->type == bpf_htons(ETH_P_IPV6) && ip6_extension(ret->proto))
		ret->proto = GUARD_ANY_PROTO;
	return PARSED;
}

/*
 * Is it what the socket has sent? A tunnel of the kernel's own leaves the sender of what it packs on the packet that it makes. A raw socket may
 * send any protocol if it is of IPPROTO_RAW, a packet socket always. UDP's port tells a tunnel's datagrams from those that it packs; a
 * socket that was closed in the meantime has none. Not inlined: verified once.
 */
__noinline int is_its_sockets(struct __sk_buff *skb, const struct pkt *p)
{
	struct bpf_sock *common = skb->sk, *sk = common ? bpf_sk_fullsock(common) : NULL;
	struct sent s = {};
	__u32 port;

	if (!p || !sk || (sk->family != AF_INET && sk->family != AF_INET6) ||
	    sent_parse(skb, p, &s) != PARSED || s.proto == GUARD_ANY_PROTO)
		return 1;
	if (sk->protocol != s.proto)
		return sk->type == SOCK_RAW && sk->protocol == IPPROTO_RAW;
	if (sk->type == SOCK_RAW || s.proto != IPPROTO_UDP || s.later)
		return 1;
	port = sk->src_port;
	return !port || port == bpf_ntohs(s.flow.sport);
}

/* what the kernel itself answers: for connections whose socket has gone or is not there yet, and to what it cannot deliver */
static __always_inline bool is_kernels(struct __sk_buff *skb, const struct pkt *p,
				       const struct sent *s, const struct bpf_sock *sk)
{
	__u8 type;

	if (p->flow.proto == IPPROTO_TCP)
		return tcp_empty(skb, p);
	if (!sk || sk->type != SOCK_RAW || (sk->family != AF_INET && sk->family != AF_INET6) ||
	    (s->flow.proto != IPPROTO_ICMP && s->flow.proto != IPPROTO_ICMPV6) || s->later ||
	    bpf_skb_load_bytes(skb, s->l4, &type, 1))
		return false;
	return type != (s->flow.proto == IPPROTO_ICMP ? ICMP_ECHO_REQUEST : ICMP6_ECHO_REQUEST);
}

static __always_inline const struct mvpn_vouched *vouched_get(const struct mvpn_flow_key *k,
							      __u64 oldest, __u64 now)
{
	const struct mvpn_vouched *v = bpf_map_lookup_elem(&vouched, k);

	return v && v->generation >= oldest && now - v->at_ns < MVPN_VOUCHED_NS ? v : NULL;
}

/* a datagram was judged whole, or by its first fragment, which has the ports: that holds for the others. Not inlined, for its stack. */
__noinline int vouch_for_others(const struct sent *s, __u64 traits, __u64 generation)
{
	struct mvpn_vouched v = {.traits = traits, .generation = generation};
	struct mvpn_flow_key k;

	if (!s)
		return 0;
	v.at_ns = bpf_ktime_get_ns();
	k = s->flow;
	flow_of_fragments(&k, s->id);
	bpf_map_update_elem(&vouched, &k, &v, BPF_ANY);
	return 0;
}

/* of a container's packet: what its socket is, by the flow as it left the container, or but for the source, if that is ours now */
__noinline __u64 vouched_traits(const struct sent *s, __u64 oldest)
{
	__u64 now = bpf_ktime_get_ns();
	const struct mvpn_vouched *v;
	struct mvpn_protected src;
	struct mvpn_flow_key k; /* 6.1 takes a key from the stack alone */

	if (!s)
		return 0;
	k = s->flow;
	v = vouched_get(&k, oldest, now);
	if (!v && !s->later) {
		if (!protected_by(k.src, &src) || !(src.flags & MVPN_PROT_LOCAL))
			return 0;
		__builtin_memset(k.src, 0, sizeof(k.src));
		v = vouched_get(&k, oldest, now);
	}
	if (!v)
		return 0;
	if (s->first)
		vouch_for_others(s, v->traits, v->generation);
	return v->traits;
}

/* 0: refused. Not inlined: verified once. */
__noinline int sender_may(struct __sk_buff *skb, struct pkt *p, __u32 peer)
{
	const struct mvpn_processes *in_force = processes_get();
	struct mvpn_process *known = NULL;
	struct bpf_sock *common, *sk = NULL;
	__u64 v, traits = 0;
	struct sent s = {};
	bool readable;

	if (!p || !in_force || !bpf_map_lookup_elem(&guards, &peer))
		return 1;
	common = skb->sk;
	if (common && p->cookie != MVPN_COOKIE_TUNNEL)
		sk = bpf_sk_fullsock(common);
	if (sk)
		known = bpf_sk_storage_get(&sock_process, sk, NULL, 0);
	readable = sent_parse(skb, p, &s) == PARSED;
	if (!known && readable && is_kernels(skb, p, &s, sk)) {
		if (s.first)
			vouch_for_others(&s, ~0ULL, in_force->generation);
		p->rule = SAME_RULE;
		return 1;
	}
	if (known && known->flags & MVPN_SOCKET_ACCEPTED && p->flow.proto == IPPROTO_TCP)
		return 1;
	/* what is known since an earlier numbering means something else now */
	if (known)
		traits = known->generation >= in_force->oldest ? known->traits : 0;
	else if (readable && (!common || s.later))
		traits = vouched_traits(&s, in_force->oldest);
	if (!readable)
		s.proto = GUARD_ANY_PROTO;
	v = guard_ask(peer, traits, s.proto, bpf_ntohs(s.flow.dport), !s.later);
	p->rule = GUARD_LINE(v);
	if (GUARD_VERDICT(v) != GUARD_MAY_NOT)
		return 1;
	return 0;
}

__noinline int sender_refused(struct __sk_buff *skb, const struct pkt *p, __u32 peer)
{
	struct mvpn_process nobody = {}, *known = NULL;
	struct bpf_sock *common = skb->sk, *sk = NULL;
	struct mvpn_refusal *e;
	struct sent s = {};

	if (!p)
		return 0;
	if (common && p->cookie != MVPN_COOKIE_TUNNEL)
		sk = bpf_sk_fullsock(common);
	if (sent_parse(skb, p, &s) != PARSED)
		s.flow = p->flow;
	if (s.later)
		s.flow.sport = s.flow.dport = s.flow.zero[0] = 0; /* for people there is no port */
	if (sk)
		known = bpf_sk_storage_get(&sock_process, sk, NULL, 0);
	e = refusal_reserve(&s.flow, known ? known : &nobody, peer,
			    known ? MVPN_REFUSED_PACKET : MVPN_REFUSED_NO_SOCKET, p->rule);
	if (e)
		bpf_ringbuf_submit(e, 0);
	return 0;
}

#endif
