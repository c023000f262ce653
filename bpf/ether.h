/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Frames that are no IP packets, between two devices that policy pairs for their EtherType. Group addresses are in no pair:
 * such frames pass.
 */
#ifndef BPF_ETHER_H
#define BPF_ETHER_H

#include "arrive.h"
#include "maps.h"
#include "mvpn/ether.h"
#include "parse.h"

#define PACKET_HOST 0 /* skb->pkt_type: for the MAC address of the interface itself */
#define ETH_ALEN 6
#define ETH_GROUP 0x01 /* of the first byte: multicast, broadcast */

/* the type itself goes before every type, and an address before every address */
static __always_inline const struct mvpn_frame *frame_find(const __u8 mac[ETH_ALEN], __be16 type)
{
	struct mvpn_frame_key k = {.type = type};
	const struct mvpn_frame *f;

	__builtin_memcpy(k.mac, mac, ETH_ALEN);
	f = bpf_map_lookup_elem(&frames, &k);
	if (f)
		return f;
	k.type = ETHER_ANY;
	f = bpf_map_lookup_elem(&frames, &k);
	if (f)
		return f;
	__builtin_memset(k.mac, 0, ETH_ALEN);
	f = bpf_map_lookup_elem(&frames, &k);
	if (f)
		return f;
	k.type = type;
	return bpf_map_lookup_elem(&frames, &k);
}

/* in the flow table a MAC address is ff00::MAC, which no packet has (lib/mac.c) */
static __always_inline void flow_mac(__u8 to[16], const __u8 mac[ETH_ALEN])
{
	__builtin_memset(to, 0, 10);
	to[0] = 0xff;
	__builtin_memcpy(to + 10, mac, ETH_ALEN);
}

/*
 * The destination's entry, NULL when the frame is none of ours. It fills the flow's key; p is parsed by parse_eth() and
 * not IP.
 */
static __always_inline const struct mvpn_frame *frame_out(struct __sk_buff *skb, struct pkt *p)
{
	__u8 macs[2 * ETH_ALEN]; /* destination, source */
	const struct mvpn_frame *f;

	if (ether_never(bpf_ntohs(p->type)) || bpf_skb_load_bytes(skb, 0, macs, sizeof(macs)) ||
	    macs[0] & ETH_GROUP)
		return NULL;
	f = frame_find(macs, p->type);
	if (!f)
		return NULL;
	p->frame = true;
	p->l3 = 0;
	flow_mac(p->flow.dst, macs);
	flow_mac(p->flow.src, macs + ETH_ALEN);
	p->flow.dport = p->type;
	return f;
}

/* Does a frame from the wire, for this host, claim to come from a device that seals such frames? */
static __always_inline bool frame_in_clear(struct __sk_buff *skb, const struct pkt *p)
{
	__u8 src[ETH_ALEN];

	if (ether_never(bpf_ntohs(p->type)))
		return false;
	return skb->pkt_type == PACKET_HOST && !load_eth(skb, p, ETH_ALEN, src, ETH_ALEN) &&
	       frame_find(src, p->type);
}

/* To the attached interface that has the destination address, as if it had come from its wire. */
static __always_inline int deliver_frame(struct __sk_buff *skb)
{
	const struct mvpn_frame_tap *tap = frame_tap_get();
	struct mvpn_port_key k = {};
	struct pkt p = {};
	const __u32 *ifindex;

	if (parse_eth(skb, &p) != NOT_IP || ether_never(bpf_ntohs(p.type)) || !tap || !tap->ifindex ||
	    bpf_skb_load_bytes(skb, 0, k.mac, ETH_ALEN)) {
		count(MVPN_C_DROP_MALFORMED, 1);
		return TC_ACT_SHOT;
	}
	ifindex = bpf_map_lookup_elem(&ports, &k);
	if (!ifindex) {
		count(MVPN_C_DROP_NO_OWNER, 1);
		return TC_ACT_SHOT;
	}
	skb->mark = host_mark();
	return bpf_redirect(*ifindex, BPF_F_INGRESS);
}

#endif
