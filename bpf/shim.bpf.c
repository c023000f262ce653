/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The network shim: three tc programs on each attached interface, in two forms (Ethernet, and devices without a link header).
 *
 *   egress   protected destination? -> the tap, or dropped; never out in clear
 *   leak     last egress hook: judges again what egress let by; its counter stays 0 as long as egress is there
 *   ingress  guard: cleartext that claims to come from a protected source is dropped
 *
 * On the tap there are two: `enter`, for egress is not on the way of who chooses the tap himself, and `arrive` (arrive.h).
 *
 * What is not ours gets TCX_NEXT (TC_ACT_UNSPEC), so that programs after ours still run.
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include "account.h"
#include "arrive.h"
#include "ether.h"
#include "exempt.h"
#include "maps.h"
#include "networks.h"
#include "mvpn/wire.h"
#include "own.h"
#include "parse.h"
#include "protect.h"
#include "route.h"
#include "sender.h"

#define NEXT TC_ACT_UNSPEC

/*
 * Not of this host, for a prefix that it is the gateway of, and about to leave by an attached interface: the link to those behind it is
 * gone, and the next route leads to where sealed packets come from.
 */
static __always_inline bool is_forwarded(const struct __sk_buff *skb)
{
	return skb->ingress_ifindex;
}

/* of what is protected and this peer's */
static __always_inline enum mvpn_counter judge_peer(__u32 peer)
{
	const struct mvpn_key *key;

	if (peer == MVPN_PEER_NONE)
		return MVPN_C_DROP_NO_OWNER;
	if (!keyd_runs(config_get()))
		return MVPN_C_DROP_KEYD_DOWN;
	key = bpf_map_lookup_elem(&keys, &peer);
	if (key && key->state == MVPN_KEY_DENIED)
		return MVPN_C_DROP_DENIED;
	if (key && key->state == MVPN_KEY_ARMED)
		return MVPN_C_TO_TAP;
	return MVPN_C_TO_TAP_HELD;
}

/* what a tunnel of the kernel's own packs is not its sender's */
static __always_inline void cookie_check(struct __sk_buff *skb, struct pkt *p)
{
	if (p->cookie && !is_its_sockets(skb, p))
		p->cookie = MVPN_COOKIE_TUNNEL;
}

static __always_inline enum mvpn_counter judge_frame(struct __sk_buff *skb, struct pkt *p,
						     __u32 *ret_peer)
{
	const struct mvpn_frame *f = frame_out(skb, p);
	const struct mvpn_frame_tap *tap;

	if (!f)
		return MVPN_C_PASS_NEVER;
	*ret_peer = f->peer;
	if (f->peer != MVPN_PEER_NONE && !(f->flags & MVPN_FRAME_TX))
		return MVPN_C_DROP_DENIED;
	tap = frame_tap_get();
	if (f->peer != MVPN_PEER_NONE && (!tap || !tap->ifindex))
		return MVPN_C_DROP_KEYD_DOWN;
	return judge_peer(f->peer);
}

/*
 * What is to become of a packet on its way out. Protection is decided by the destination address alone, or the last one of a source route;
 * only then are the exemptions looked at, so that unprotected traffic pays for one look-up.
 */
static __always_inline enum mvpn_counter judge(struct __sk_buff *skb, bool raw, struct pkt *p,
					       __u32 *ret_peer)
{
	struct mvpn_protected prot = {};
	enum mvpn_counter verdict;
	bool unwanted;

	switch (parse_ip(skb, raw, p)) {
	case NOT_IP:
		return raw ? MVPN_C_PASS_NEVER : judge_frame(skb, p, ret_peer);
	case CUT:
		return MVPN_C_DROP_MALFORMED;
	case PARSED:
		break;
	}
	unwanted = multicast_drops() && to_group(skb, raw, p);
	if (!unwanted) {
		if (!protected_by(p->flow.dst, &prot))
			return may_be_routed(p) && routed_to_protected(skb, p)
				       ? MVPN_C_DROP_MALFORMED
				       : MVPN_C_PASS_UNPROTECTED;
		if (prot.flags & MVPN_PROT_LOCAL)
			return is_forwarded(skb) ? MVPN_C_DROP_NO_OWNER : MVPN_C_PASS_UNPROTECTED;
		if (anothers(skb->ifindex, p->flow.dst))
			return MVPN_C_PASS_UNPROTECTED;
		if (never_owned(p->flow.dst, p->type))
			return MVPN_C_PASS_NEVER;
	}
	if (is_own(skb, prot.peer))
		return MVPN_C_PASS_OWN;
	p->cookie = bpf_get_socket_cookie(skb);
	if (parse_l4(skb, p) != PARSED)
		return MVPN_C_DROP_MALFORMED;
	if (is_nd(skb, p) || is_dhcp(skb, p) || (unwanted && is_mld(skb, p)))
		return MVPN_C_PASS_NEVER;
	if (unwanted)
		return MVPN_C_DROP_MULTICAST;
	if (is_channel(p) || is_echo(skb, p) || is_relayed(skb, p, true))
		return MVPN_C_PASS_SERVER;

	cookie_check(skb, p);
	*ret_peer = prot.peer;
	verdict = judge_peer(prot.peer);
	if ((verdict == MVPN_C_TO_TAP || verdict == MVPN_C_TO_TAP_HELD) &&
	    !sender_may(skb, p, prot.peer))
		return MVPN_C_DROP_PROCESS;
	return verdict;
}

/*
 * skb->vlan_present, afresh after a helper that changes it. In assembler, because the compiler would keep the field's address
 * in a register across the helper, and the verifier allows only offsets from the context itself.
 */
static __always_inline bool tag_present(struct __sk_buff *skb)
{
	__u64 v;

	asm volatile("%0 = *(u32 *)(%1 + %2)"
		     : "=r"(v)
		     : "r"(skb), "i"(__builtin_offsetof(struct __sk_buff, vlan_present))
		     : "memory");
	return v;
}

/* The tap takes bare IP: take every VLAN tag off, in the metadata and in the bytes, and make sure of it. */
static __always_inline bool untag(struct __sk_buff *skb, const struct pkt *p)
{
	__be16 type;

#pragma unroll
	for (int i = 0; i < VLAN_TAGS_MAX + 1; i++) {
		/* popping moves the next tag of the bytes into the metadata */
		if (i >= p->tags && !tag_present(skb))
			break;
		if (bpf_skb_vlan_pop(skb))
			return false;
	}
	return !tag_present(skb) && !bpf_skb_load_bytes(skb, ETH_TYPE_OFF, &type, 2) &&
	       type == p->type;
}

/*
 * The lane of a flow: the low bits of the hash, by which the tap chooses its queue (keyd/dp/tap.c). Always one that the session
 * has, or will have, so nothing waits for a lane; the same for all packets of a flow, so they keep their order. The other
 * bits are left as they are, for queueing disciplines.
 */
static __always_inline void choose_lane(struct __sk_buff *skb, __u32 peer)
{
	const struct mvpn_key *key = bpf_map_lookup_elem(&keys, &peer);
	const struct mvpn_config *c = config_get();
	__u32 hash = bpf_get_hash_recalc(skb), lanes = 0;

	if (key)
		lanes = key->lanes;
	if (!lanes && c)
		lanes = c->lanes;
	bpf_set_hash(skb, (hash & ~(__u32)MVPN_LANE_MASK) |
				  ((__u32)((__u64)hash * lanes >> 32) & MVPN_LANE_MASK));
}

static __always_inline int to_tap(struct __sk_buff *skb, bool raw, const struct pkt *p)
{
	const struct mvpn_config *c;

	if (!raw && (p->tags || tag_present(skb)) && !untag(skb, p)) {
		count(MVPN_C_DROP_MALFORMED, segments(skb));
		return TC_ACT_SHOT;
	}
	c = config_get();
	/* a tap that has just gone: the kernel drops what is redirected to an interface that does not exist */
	return c ? bpf_redirect(c->tap_ifindex, 0) : TC_ACT_SHOT;
}

/* whole, its VLAN tags with it */
static __always_inline int to_frame_tap(void)
{
	const struct mvpn_frame_tap *tap = frame_tap_get();

	return tap && tap->ifindex ? bpf_redirect(tap->ifindex, 0) : TC_ACT_SHOT;
}

static __always_inline bool passes(enum mvpn_counter verdict)
{
	return verdict == MVPN_C_PASS_UNPROTECTED || verdict == MVPN_C_PASS_NEVER ||
	       verdict == MVPN_C_PASS_OWN || verdict == MVPN_C_PASS_SERVER;
}

/* a verdict that does not let it pass: counted, accounted and done */
static __always_inline int hold_or_drop(struct __sk_buff *skb, bool raw, const struct pkt *p,
					__u32 peer, enum mvpn_counter verdict)
{
	count(verdict, segments(skb));
	if (verdict == MVPN_C_DROP_MALFORMED)
		return TC_ACT_SHOT;
	flow_account(skb, p, peer, verdict);
	if (verdict == MVPN_C_TO_TAP_HELD)
		event_miss(skb, p, peer, verdict);
	if (verdict == MVPN_C_DROP_PROCESS)
		sender_refused(skb, p, peer);
	if (verdict != MVPN_C_TO_TAP && verdict != MVPN_C_TO_TAP_HELD)
		return TC_ACT_SHOT;
	choose_lane(skb, peer);
	return p->frame ? to_frame_tap() : to_tap(skb, raw, p);
}

static __always_inline int egress_any(struct __sk_buff *skb, bool raw)
{
	struct pkt p = {};
	__u32 peer = MVPN_PEER_NONE;
	enum mvpn_counter verdict = judge(skb, raw, &p, &peer);

	if (!passes(verdict))
		return hold_or_drop(skb, raw, &p, peer, verdict);
	count(verdict, segments(skb));
	skb->cb[0] = MVPN_LET_BY;
	return NEXT;
}

/*
 * What egress has let by and is protected all the same became so this very instant: it gets the new verdict. Without
 * egress's stamp there was no egress, and that is a leak.
 */
static __always_inline int leak_any(struct __sk_buff *skb, bool raw)
{
	struct pkt p = {};
	__u32 peer = MVPN_PEER_NONE;
	enum mvpn_counter verdict = judge(skb, raw, &p, &peer);

	if (passes(verdict))
		return NEXT;
	if (skb->cb[0] != MVPN_LET_BY && verdict != MVPN_C_DROP_MALFORMED &&
	    verdict != MVPN_C_DROP_MULTICAST) {
		count(MVPN_C_LEAK, segments(skb));
		return TC_ACT_SHOT;
	}
	return hold_or_drop(skb, raw, &p, peer, verdict);
}

/*
 * On the tap, of all that enters it: any program may name the device that its packet leaves by (IP_PKTINFO, SO_BINDTODEVICE; packet sockets),
 * and it is sealed there without egress having seen it. Only who may send is asked here; the rest the fast path judges anyway.
 */
static __always_inline int enter_tap(struct __sk_buff *skb)
{
	const struct mvpn_processes *in_force = processes_get();
	struct mvpn_protected prot;
	struct pkt p = {};

	if (!in_force || !in_force->generation || parse_ip(skb, true, &p) != PARSED ||
	    !protected_by(p.flow.dst, &prot))
		return NEXT;
	p.cookie = bpf_get_socket_cookie(skb);
	if (parse_l4(skb, &p) != PARSED)
		return hold_or_drop(skb, true, &p, prot.peer, MVPN_C_DROP_MALFORMED);
	cookie_check(skb, &p);
	return sender_may(skb, &p, prot.peer)
		       ? NEXT
		       : hold_or_drop(skb, true, &p, prot.peer, MVPN_C_DROP_PROCESS);
}

static __always_inline bool to_data_port(const struct pkt *p)
{
	const struct mvpn_config *c = config_get();

	if (!p->ports || p->flow.proto != IPPROTO_UDP)
		return false;
	/* our own, or that of another network on this host */
	return (c && c->udp_port && p->flow.dport == bpf_htons(c->udp_port)) ||
	       bpf_map_lookup_elem(&data_ports, &p->flow.dport);
}

static __always_inline int ingress_any(struct __sk_buff *skb, bool raw)
{
	bool unwanted = false;
	struct pkt p = {};
	struct mvpn_protected prot = {};
	enum parsed r;

	if (was_opened(skb))
		return NEXT;
	if (!raw)
		find_header(skb, &p);
	r = parse_ip(skb, raw, &p);
	if (r == NOT_IP && (raw || !frame_in_clear(skb, &p)))
		return NEXT;
	if (r == NOT_IP) {
		count(MVPN_C_INGRESS_CLEAR, segments(skb));
		return TC_ACT_SHOT;
	}
	if (r == PARSED) {
		if (!protected_by(p.flow.src, &prot) || never_owned(p.flow.src, p.type) ||
		    anothers(skb->ifindex, p.flow.src))
			return NEXT;
		/* no member sends such a one: it is not attached, or not the sender */
		unwanted = multicast_drops() && to_group(skb, raw, &p);
		if (!unwanted && never_owned(p.flow.dst, p.type))
			return NEXT;
		r = parse_l4(skb, &p);
	}
	if (r == CUT) {
		count(MVPN_C_DROP_MALFORMED, segments(skb));
		return TC_ACT_SHOT;
	}
	if (to_data_port(&p) || is_nd(skb, &p) || is_dhcp(skb, &p) || (unwanted && is_mld(skb, &p)))
		return NEXT;
	if (unwanted) {
		count(MVPN_C_DROP_MULTICAST, segments(skb));
		return TC_ACT_SHOT;
	}
	if (is_channel(&p) || is_echo(skb, &p) || is_relayed(skb, &p, false)) {
		count(MVPN_C_PASS_SERVER, segments(skb));
		return NEXT;
	}
	if (is_stream_in(skb, &p) && !layered(prot.peer)) {
		count(MVPN_C_PASS_OWN, segments(skb));
		return NEXT;
	}
	count(MVPN_C_INGRESS_CLEAR, segments(skb));
	return TC_ACT_SHOT;
}

SEC("tc")
int egress(struct __sk_buff *skb)
{
	return egress_any(skb, false);
}

SEC("tc")
int egress_raw(struct __sk_buff *skb)
{
	return egress_any(skb, true);
}

SEC("tc")
int leak(struct __sk_buff *skb)
{
	return leak_any(skb, false);
}

SEC("tc")
int leak_raw(struct __sk_buff *skb)
{
	return leak_any(skb, true);
}

SEC("tc")
int ingress(struct __sk_buff *skb)
{
	return ingress_any(skb, false);
}

SEC("tc")
int ingress_raw(struct __sk_buff *skb)
{
	return ingress_any(skb, true);
}

/* on the frame tap: what the fast path has opened */
SEC("tc")
int deliver(struct __sk_buff *skb)
{
	return deliver_frame(skb);
}

SEC("tc")
int enter(struct __sk_buff *skb)
{
	return enter_tap(skb);
}

/* the same as `deliver`, on the tap */
SEC("tc")
int arrive(struct __sk_buff *skb)
{
	return deliver_ip(skb);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
