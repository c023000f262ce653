/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Where the policy says `socket|network`, datagrams from a remote end may come as packets, because no socket shim has seen them: a container's,
 * or a host's behind a gateway. Answers must go back the same way, from whichever port (TFTP's are from another): by a stream they would come from
 * an end that nobody has asked.
 */
#ifndef BPF_TALK_H
#define BPF_TALK_H

#include "fragment.h"
#include "maps.h"
#include "protect.h"

__u32 talks_noted = 0; /* set by keyd: is there such a level? */

/* where UDP's header is, 0: there is none; a first fragment has it */
static __always_inline __u32 talk_udp(struct __sk_buff *skb, const struct pkt *p)
{
	__u32 l4 = p->l3 + sizeof(struct ip6_hdr);
	struct ip6_fragment f;
	__be16 frag;

	if (p->type == bpf_htons(ETH_P_IP)) {
		if (p->flow.proto != IPPROTO_UDP || p->ihl < 5 ||
		    bpf_skb_load_bytes(skb, p->l3 + __builtin_offsetof(struct ip4_hdr, frag), &frag, 2) ||
		    frag & bpf_htons(IP_OFFSET))
			return 0;
		return p->l3 + p->ihl * 4;
	}
	if (p->flow.proto == IPPROTO_UDP)
		return l4;
	if (p->flow.proto != IPPROTO_FRAGMENT || bpf_skb_load_bytes(skb, l4, &f, sizeof(f)) ||
	    f.next != IPPROTO_UDP || f.at & bpf_htons(IP6_OFFSET))
		return 0;
	return l4 + sizeof(f);
}

/* Of a packet that has been opened, down to its addresses. Not inlined: verified once. */
__noinline int talk_note(struct __sk_buff *skb, const struct pkt *p)
{
	const struct mvpn_diversion *d;
	struct mvpn_protected prot;
	struct mvpn_end from = {};
	__be16 port;
	__u64 now;
	__u32 l4;

	if (!p)
		return 0;
	l4 = talk_udp(skb, p);
	if (!l4 || bpf_skb_load_bytes(skb, l4, &port, sizeof(port)) ||
	    !protected_by(p->flow.src, &prot))
		return 0;
	d = bpf_map_lookup_elem(&levels, &prot.peer);
	if (!d || !(d->flags & MVPN_DIVERSION_EITHER))
		return 0;
	__builtin_memcpy(from.addr, p->flow.src, 16);
	from.port = port;
	now = bpf_ktime_get_ns();
	bpf_map_update_elem(&packet_talks, &from, &now, BPF_ANY);
	return 0;
}

#endif
