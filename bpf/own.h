/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Packets of keyd's own sockets. */
#ifndef BPF_OWN_H
#define BPF_OWN_H

#include "level.h"
#include "maps.h"
#include "parse.h"

enum own { OWN_NOT, OWN_PACKET, OWN_STREAM };

/*
 * What keyd sends is sealed already: by the UDP sockets of the fast path, and by TCP connections that carry streams (docs/protocol.md,
 * "Streams"). Not inlined: the verifier walks through it once.
 */
__noinline int own_kind(struct __sk_buff *skb)
{
	struct bpf_sock *common = skb->sk, *sk;
	__u64 cookie;

	if (!common)
		return OWN_NOT;
	cookie = bpf_get_socket_cookie(skb);
	if (bpf_map_lookup_elem(&own_sockets, &cookie))
		return OWN_PACKET;
	sk = bpf_sk_fullsock(common);
	if (!sk)
		sk = bpf_get_listener_sock(common); /* a SYN-ACK is a request's */
	return sk && bpf_sk_storage_get(&own_streams, sk, NULL, 0) ? OWN_STREAM : OWN_NOT;
}

/* may it leave as it is? */
static __always_inline bool is_own(struct __sk_buff *skb, __u32 peer)
{
	int own = own_kind(skb);

	return own == OWN_PACKET || (own == OWN_STREAM && !layered(peer));
}

/*
 * What is left of a connection that has ended is no socket to BPF, and the kernel lets a new one take its place, as it does when a port
 * is used again: then it is the listener's.
 */
static __always_inline struct bpf_sock *tcp_socket(struct __sk_buff *skb, struct bpf_sock_tuple *t, bool v4)
{
	__u32 len = v4 ? sizeof(t->ipv4) : sizeof(t->ipv6);
	struct bpf_sock *sk = bpf_sk_lookup_tcp(skb, t, len, BPF_F_CURRENT_NETNS, 0);

	if (sk)
		return sk;
	if (v4)
		t->ipv4.sport = 0;
	else
		t->ipv6.sport = 0;
	return bpf_sk_lookup_tcp(skb, t, len, BPF_F_CURRENT_NETNS, 0);
}

/* to a TCP connection of keyd's that carries streams, wherever it came from: what is no record of theirs is refused there */
static __always_inline bool is_stream_in(struct __sk_buff *skb, const struct pkt *p)
{
	struct bpf_sock_tuple t = {};
	struct bpf_sock *sk;
	bool own;

	if (!p->ports || p->flow.proto != IPPROTO_TCP)
		return false;
	if (p->type == bpf_htons(ETH_P_IP)) {
		__builtin_memcpy(&t.ipv4.saddr, p->flow.src + 12, 4);
		__builtin_memcpy(&t.ipv4.daddr, p->flow.dst + 12, 4);
		t.ipv4.sport = p->flow.sport;
		t.ipv4.dport = p->flow.dport;
		sk = tcp_socket(skb, &t, true);
	} else {
		__builtin_memcpy(t.ipv6.saddr, p->flow.src, 16);
		__builtin_memcpy(t.ipv6.daddr, p->flow.dst, 16);
		t.ipv6.sport = p->flow.sport;
		t.ipv6.dport = p->flow.dport;
		sk = tcp_socket(skb, &t, false);
	}
	if (!sk)
		return false;
	own = bpf_sk_storage_get(&own_streams, sk, NULL, 0);
	bpf_sk_release(sk);
	return own;
}

#endif
