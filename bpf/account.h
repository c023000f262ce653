/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The flow table for `mvpnctl flows`, and the miss events that make keyd ask for a session. */
#ifndef BPF_ACCOUNT_H
#define BPF_ACCOUNT_H

#include "maps.h"
#include "parse.h"

static __always_inline __u64 segments(struct __sk_buff *skb)
{
	__u32 n = skb->gso_segs;

	return n ? n : 1;
}

/* what the kernel answers for a TCP socket that has gone comes from one of its own, whose the flow is not */
static __always_inline void flow_account(struct __sk_buff *skb, const struct pkt *p, __u32 peer,
					 enum mvpn_counter verdict)
{
	__u64 bytes = skb->len - p->l3, now = bpf_ktime_get_ns();
	struct mvpn_flow *f = bpf_map_lookup_elem(&flows, &p->flow);

	if (f) {
		__sync_fetch_and_add(&f->packets, segments(skb));
		__sync_fetch_and_add(&f->bytes, bytes);
		f->last_ns = now;
		f->peer = peer;
		f->verdict = verdict;
		if (p->rule != SAME_RULE)
			f->rule = p->rule;
		if (p->cookie && f->cookie != p->cookie &&
		    (!f->cookie || p->flow.proto != IPPROTO_TCP ||
		     bpf_map_lookup_elem(&sockets, &p->cookie)))
			f->cookie = p->cookie;
	} else {
		struct mvpn_flow fresh = {
			.packets = segments(skb),
			.bytes = bytes,
			.first_ns = now,
			.last_ns = now,
			.peer = peer,
			.verdict = verdict,
			.cookie = p->cookie,
			.rule = p->rule == SAME_RULE ? 0 : p->rule,
		};

		/* another CPU may have been first: one packet is then not counted */
		bpf_map_update_elem(&flows, &p->flow, &fresh, BPF_NOEXIST);
	}
}

/* Of a packet that has been opened, down to its addresses: it counts where this host has sent the other way. Not inlined: verified once. */
__noinline int flow_received(struct __sk_buff *skb, struct pkt *p)
{
	struct mvpn_flow_key k = {};
	struct mvpn_flow *f;

	if (!p || parse_l4(skb, p) != PARSED)
		return 0;
	__builtin_memcpy(k.src, p->flow.dst, sizeof(k.src));
	__builtin_memcpy(k.dst, p->flow.src, sizeof(k.dst));
	k.sport = p->flow.dport;
	k.dport = p->flow.sport;
	k.proto = p->flow.proto;
	f = bpf_map_lookup_elem(&flows, &k);
	if (f)
		__sync_fetch_and_add(&f->bytes_in, skb->len - p->l3);
	return 0;
}

/*
 * At most one a peer each MVPN_EVENT_GAP_NS, however many CPUs miss at once. One that came from a socket, which the lowest bit
 * of the time tells, does not keep back that of its first packet: by this keyd knows that something is held.
 */
#define BY_SOCKET 1ULL
static __always_inline bool event_due(__u32 peer, __u64 now, __u64 by)
{
	__u64 *last = bpf_map_lookup_elem(&event_rate, &peer);
	__u64 before;

	if (!last)
		return false;
	before = *last;
	if (before && now - before < MVPN_EVENT_GAP_NS && (by || !(before & BY_SOCKET)))
		return false;
	return __sync_val_compare_and_swap(last, before, (now & ~BY_SOCKET) | by) == before;
}

static __always_inline void event_send(const struct mvpn_flow_key *flow, __u32 peer, __u32 reason,
				       __u64 now, __u32 ifindex, __u32 len)
{
	struct mvpn_event *e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);

	if (!e) {
		count(MVPN_C_EVENT_LOST, 1);
		return;
	}
	e->at_ns = now;
	e->flow = *flow;
	e->peer = peer;
	e->reason = reason;
	e->ifindex = ifindex;
	e->len = len;
	bpf_ringbuf_submit(e, 0);
}

static __always_inline void event_miss(struct __sk_buff *skb, const struct pkt *p, __u32 peer,
				       enum mvpn_counter reason)
{
	__u64 now = bpf_ktime_get_ns();

	if (event_due(peer, now, 0))
		event_send(&p->flow, peer, reason, now, skb->ifindex, skb->len - p->l3);
}

#endif
