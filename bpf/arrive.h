/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the fast path has opened arrives where it would have arrived in clear: on the interface that has the destination address,
 * so that firewall rules, sockets bound to a device and programs that ask for the interface see what they saw before.
 */
#ifndef BPF_ARRIVE_H
#define BPF_ARRIVE_H

#include "account.h"
#include "maps.h"
#include "parse.h"
#include "protect.h"
#include "talk.h"

static __always_inline const struct mvpn_frame_tap *frame_tap_get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&frame_tap, &zero);
}

static __always_inline __u32 host_mark(void)
{
	__u32 zero = 0, *mark = bpf_map_lookup_elem(&host, &zero);

	return mark ? *mark : 0;
}

/*
 * On an attached interface: is this from the fast path? No wire carries a mark: drivers give new packets none, and the kernel
 * takes it off what crosses from another network namespace. The stack and others' programs after us must not see it either, but
 * another network's guard, which comes next, must: it finds the mark in the control block.
 */
static __always_inline bool was_opened(struct __sk_buff *skb)
{
	__u32 mark;

	if (!skb->mark && !skb->cb[1])
		return false;
	mark = host_mark();
	if (!mark || (skb->mark != mark && skb->cb[1] != mark))
		return false;
	skb->mark = 0;
	skb->cb[1] = mark;
	return true;
}

static __always_inline const struct mvpn_arrival *arrival_of(const struct pkt *p)
{
	struct mvpn_arrival_key k;
	const struct mvpn_arrival *to;

	__builtin_memcpy(k.addr, p->flow.dst, sizeof(k.addr));
	to = bpf_map_lookup_elem(&arrivals, &k);
	if (to)
		return to;
	__builtin_memset(&k, 0, sizeof(k));
	return bpf_map_lookup_elem(&arrivals, &k);
}

static __always_inline bool untranslated(void)
{
	const struct mvpn_config *c = config_get();

	return c && (c->flags & MVPN_CONFIG_UNTRANSLATED);
}

/* On the tap. Nobody to ask for an interface, or no room for a link header: it arrives on the tap itself. */
static __always_inline int deliver_ip(struct __sk_buff *skb)
{
	const struct mvpn_arrival *to;
	struct mvpn_protected prot;
	struct {
		__u8 dst[6], src[6];
		__be16 type;
	} eth = {};
	struct pkt p = {};

	if (parse_ip(skb, true, &p) != PARSED)
		return TC_ACT_UNSPEC;
	if (untranslated() && protected_by(p.flow.dst, &prot) && (prot.flags & MVPN_PROT_TRANSLATED))
		return TC_ACT_SHOT;
	if (*(volatile __u32 *)&talks_noted)
		talk_note(skb, &p);
	flow_received(skb, &p);
	to = arrival_of(&p);
	if (!to)
		return TC_ACT_UNSPEC;
	if (to->ethernet) {
		__builtin_memcpy(eth.dst, to->mac, sizeof(eth.dst));
		eth.type = p.type;
		if (bpf_skb_change_head(skb, sizeof(eth), 0))
			return TC_ACT_UNSPEC;
		if (bpf_skb_store_bytes(skb, 0, &eth, sizeof(eth), 0))
			return TC_ACT_SHOT;
	}
	if (to->attached)
		skb->mark = host_mark();
	return bpf_redirect(to->ifindex, BPF_F_INGRESS);
}

#endif
