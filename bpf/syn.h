/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * connect() succeeds once the other end has taken the connection, not when keyd has: the SYN of a diverted connection goes to keyd
 * and no further. keyd opens the stream, then has it pass or answers it as the other end did (keyd/streams_syn.c). If keyd dies
 * meanwhile its listener does, and what TCP sends once more is refused.
 */
#ifndef BPF_SYN_H
#define BPF_SYN_H

#include "maps.h"
#include "parse.h"

#define LOOPBACK_IFINDEX 1
#define TCP_HEAD_B 20
#define TCP_SEQ 4
#define TCP_SYN_ALONE 0x02
#define TCP_SYN_RST_ACK 0x16
#define SYN_PASSES 0xffff /* the whole of it */
#define SYN_STAYS 0

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, MVPN_SYN_RING_B);
} syns SEC(".maps");

/* whose SYN passes, by its sequence number: what comes from that port later is another connection's */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, MVPN_DIVERTED_MAX);
	__type(key, struct mvpn_end);
	__type(value, __be32);
} answered SEC(".maps");

/* network header: both addresses */
static __always_inline bool syn_ends(struct __sk_buff *skb, struct mvpn_end *from,
				     struct mvpn_end *at)
{
	if (skb->protocol == bpf_htons(ETH_P_IP)) {
		from->addr[10] = from->addr[11] = at->addr[10] = at->addr[11] = 0xff;
		return !bpf_skb_load_bytes_relative(skb, 12, from->addr + 12, 4, BPF_HDR_START_NET) &&
		       !bpf_skb_load_bytes_relative(skb, 16, at->addr + 12, 4, BPF_HDR_START_NET);
	}
	return !bpf_skb_load_bytes_relative(skb, 8, from->addr, 16, BPF_HDR_START_NET) &&
	       !bpf_skb_load_bytes_relative(skb, 24, at->addr, 16, BPF_HDR_START_NET);
}

/* a segment to keyd's listener, from its TCP header on */
static __always_inline int syn_hold(struct __sk_buff *skb)
{
	struct mvpn_end from = {}, at = {};
	__u8 head[TCP_HEAD_B];
	struct mvpn_syn *e;
	const __be32 *seq;
	__be32 own;
	__u32 len;

	if (bpf_skb_load_bytes(skb, 0, head, sizeof(head)))
		return SYN_STAYS;
	if ((head[13] & TCP_SYN_RST_ACK) != TCP_SYN_ALONE)
		return SYN_PASSES;
	if (skb->ifindex != LOOPBACK_IFINDEX || !syn_ends(skb, &from, &at))
		return SYN_STAYS;
	__builtin_memcpy(&from.port, head, 2);
	__builtin_memcpy(&at.port, head + 2, 2);
	__builtin_memcpy(&own, head + TCP_SEQ, 4);
	seq = bpf_map_lookup_elem(&answered, &from);
	if (seq && *seq == own)
		return SYN_PASSES;
	len = (head[TCP_DATA_OFF] >> 4) * 4;
	/* the bound is to be of the very register that the helper takes: 6.1 follows no other */
	asm volatile("" : "+r"(len));
	if (len < TCP_HEAD_B)
		return SYN_STAYS;
	e = bpf_ringbuf_reserve(&syns, sizeof(*e), 0);
	if (!e)
		return SYN_STAYS; /* it comes again */
	__builtin_memset(e, 0, sizeof(*e));
	e->from = from;
	e->at = at;
	e->len = len;
	if (bpf_skb_load_bytes(skb, 0, e->tcp, len)) {
		bpf_ringbuf_discard(e, 0);
		return SYN_STAYS;
	}
	bpf_ringbuf_submit(e, 0);
	return SYN_STAYS;
}

#endif
