/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What programs and keyd say to each other at the socket level goes over lo, from socket to socket. Who writes packets himself (CAP_NET_RAW)
 * could speak there in the name of others, past the lines with `by`; so could a container, or a host on a link that is not attached, with
 * IPv6 packets from this host's own address, which the kernel takes from anywhere. Neither is let.
 */
#ifndef BPF_LOCAL_H
#define BPF_LOCAL_H

#include "datagram.h"
#include "sender.h"
#include "syn.h"

#define SOCK_STREAM 1
#define TCP_FIN_OR_SYN 3

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct mvpn_end);
} true_peers SEC(".maps");

static __always_inline bool is_kept(__u8 proto, __be16 port)
{
	struct mvpn_kept_port key = {.port = port, .proto = proto};

	return bpf_map_lookup_elem(&kept_ports, &key);
}

/* a connection's two ends: src and sport, dst and dport */
struct ends_asked {
	__u8 src[16], dst[16];
	__be16 sport, dport;
};

/* what finds the socket at dst; its length */
static __always_inline __u32 ends_tuple(struct bpf_sock_tuple *t, const __u8 src[16], const __u8 dst[16], __be16 sport, __be16 dport)
{
	if (!*(const __u64 *)src && *(const __u32 *)(src + 8) == bpf_htonl(0xffff)) {
		__builtin_memcpy(&t->ipv4.saddr, src + 12, 4);
		__builtin_memcpy(&t->ipv4.daddr, dst + 12, 4);
		t->ipv4.sport = sport;
		t->ipv4.dport = dport;
		return sizeof(t->ipv4);
	}
	__builtin_memcpy(t->ipv6.saddr, src, 16);
	__builtin_memcpy(t->ipv6.daddr, dst, 16);
	t->ipv6.sport = sport;
	t->ipv6.dport = dport;
	return sizeof(t->ipv6);
}

/* Is the socket at dst keyd's, or one whose other end is? Not inlined: verified once. */
__noinline int is_streams(struct __sk_buff *skb, const struct ends_asked *a)
{
	struct bpf_sock_tuple t = {};
	struct bpf_sock *sk;
	__u32 len;
	int ret;

	if (!a)
		return 0;
	len = ends_tuple(&t, a->src, a->dst, a->sport, a->dport);
	sk = bpf_sk_lookup_tcp(skb, &t, len, BPF_F_CURRENT_NETNS, 0);
	if (!sk)
		return 0;
	ret = bpf_sk_storage_get(&own_streams, sk, NULL, 0) || bpf_sk_storage_get(&true_peers, sk, NULL, 0);
	bpf_sk_release(sk);
	return ret;
}

/* on either side: what the socket that it pretends to be of, or the one that it is for, has to do with keyd */
static __always_inline bool of_stream(struct __sk_buff *skb, const struct mvpn_flow_key *k)
{
	struct ends_asked a = {.sport = k->sport, .dport = k->dport};

	__builtin_memcpy(a.src, k->src, 16);
	__builtin_memcpy(a.dst, k->dst, 16);
	if (is_streams(skb, &a))
		return true;
	__builtin_memcpy(a.src, k->dst, 16);
	__builtin_memcpy(a.dst, k->src, 16);
	a.sport = k->dport;
	a.dport = k->sport;
	return is_streams(skb, &a);
}

/* May it be between a program and keyd? What hides behind headers that are not looked behind may be, too. */
static __always_inline bool is_between(struct __sk_buff *skb, const struct sent *s)
{
	__u8 proto = s->flow.proto;

	if (s->proto == GUARD_ANY_PROTO)
		return is_own_address(s->flow.src);
	if (s->later || (proto != IPPROTO_TCP && proto != IPPROTO_UDP))
		return false;
	return is_kept(proto, s->flow.sport) || is_kept(proto, s->flow.dport) ||
	       (proto == IPPROTO_TCP && of_stream(skb, &s->flow));
}

/* A program's UDP socket has been asked where it names the remote end, not where it names keyd's port by another address of this host's. */
static __always_inline bool is_astray(const struct sent *s)
{
	__u32 port = s->flow.dport;

	return s->flow.proto == IPPROTO_UDP && s->proto != GUARD_ANY_PROTO && !s->later &&
	       bpf_map_lookup_elem(&end_of_port, &port) && !is_own_address(s->flow.dst);
}

/* On lo, of all that enters it: true if it is not what a socket of the kernel's makes. */
static __always_inline bool is_forged(struct __sk_buff *skb)
{
	struct bpf_sock *common = skb->sk, *sk = common ? bpf_sk_fullsock(common) : NULL;
	struct pkt p = {};
	struct sent s = {};
	bool inet;

	if (!sk)
		return false;
	inet = sk->family == AF_INET || sk->family == AF_INET6;
	if ((inet && sk->type == SOCK_STREAM) || bpf_sk_storage_get(&own_streams, sk, NULL, 0))
		return false;
	switch (parse_ip(skb, false, &p)) {
	case NOT_IP:
		return false;
	case CUT:
		return true;
	case PARSED:
		break;
	}
	if (parse_l4(skb, &p) != PARSED || sent_parse(skb, &p, &s) != PARSED)
		return true;
	if (inet && sk->type != SOCK_RAW)
		return is_astray(&s);
	/* the kernel's own answers are a raw socket's */
	return !(inet && p.ports && !(p.tcp_flags & TCP_FIN_OR_SYN) && tcp_empty(skb, &p)) &&
	       is_between(skb, &s);
}

/* the port of keyd's that the packet says it is from, if it is of this network namespace. Not inlined: verified once. */
__noinline int is_keyds_port(struct __sk_buff *skb, const struct mvpn_flow_key *k)
{
	struct bpf_sock_tuple t = {};
	struct bpf_sock *sk;
	__u32 len;
	int ret;

	if (!k)
		return 0;
	len = ends_tuple(&t, k->dst, k->src, k->dport, k->sport);
	sk = bpf_sk_lookup_udp(skb, &t, len, BPF_F_CURRENT_NETNS, 0);
	if (!sk)
		return 0;
	ret = !!bpf_sk_storage_get(&own_streams, sk, NULL, 0);
	bpf_sk_release(sk);
	return ret;
}

/* To a socket here by another interface, from an address of this host's: to keyd's, or as if from a port of keyd's. */
static __always_inline bool is_from_elsewhere(struct __sk_buff *skb)
{
	struct bpf_sock *common = skb->sk, *sk = common ? bpf_sk_fullsock(common) : NULL;
	struct pkt p = {};
	struct sent s = {};

	if (skb->ifindex == LOOPBACK_IFINDEX || !sk || parse_ip(skb, true, &p) != PARSED ||
	    !is_own_address(p.flow.src))
		return false;
	if (bpf_sk_storage_get(&own_streams, sk, NULL, 0))
		return true;
	if (sk->protocol != IPPROTO_UDP || parse_l4(skb, &p) != PARSED || sent_parse(skb, &p, &s) != PARSED)
		return false;
	return s.proto == GUARD_ANY_PROTO ||
	       (is_kept(IPPROTO_UDP, s.flow.sport) && is_keyds_port(skb, &s.flow));
}

#endif
