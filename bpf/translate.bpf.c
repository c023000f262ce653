/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * On the interfaces behind a gateway: what devices send to a prefix that the policy says "source translated" of leaves with the
 * interface's own address as its source, and what is answered goes back to the device.
 *
 *   translate_out   egress: the device's address and port -> ours and one of MVPN_TRANSLATE_PORT_MIN.. that nobody has
 *   translate_in    ingress: back again, before the stack looks for a socket of this host
 *
 * TCP, UDP, ICMP echo, and ICMP errors about them, in fragments too (translate_fragment.h). What cannot be translated to such a prefix is
 * dropped: it would show the source.
 * Entries are made here and taken out by keyd, when they have been idle for too long.
 */
#include "vmlinux.h"
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "protect.h"
#include "translate_error.h"
#include "translate_fragment.h"

#define NEXT TC_ACT_UNSPEC
#define TRIES 16

/* ---- what a packet is ---- */

enum kind { CANNOT, FLOW, ERROR };

static __always_inline bool icmp_error(const struct pkt *p, __u8 type)
{
	return p->type == bpf_htons(ETH_P_IP) ? type == 3 || type == 11 || type == 12
					      : type >= 1 && type <= 4;
}

/* Sets the ports of p->flow; an echo has its identifier in the device's place. */
static __always_inline enum kind kind_of(struct __sk_buff *skb, struct pkt *p, bool out)
{
	bool v4 = p->type == bpf_htons(ETH_P_IP);
	__u8 request = v4 ? 8 : 128, reply = v4 ? 0 : 129, icmp[2];
	__be16 id;

	if (p->fragment)
		return CANNOT;
	if (p->ports)
		return FLOW;
	if (!is_icmp(p) || bpf_skb_load_bytes(skb, p->l4, icmp, 2))
		return CANNOT;
	if (icmp_error(p, icmp[0]))
		return ERROR;
	if (icmp[0] != (out ? request : reply) ||
	    bpf_skb_load_bytes(skb, p->l4 + ICMP_ID_OFF, &id, 2))
		return CANNOT;
	if (out)
		p->flow.sport = id;
	else
		p->flow.dport = id;
	return FLOW;
}

/* ---- entries ---- */

static __always_inline const struct mvpn_arrival_key *address(const struct __sk_buff *skb,
							      const struct pkt *p)
{
	struct mvpn_translate_iface k = {.ifindex = skb->ifindex,
					 .v4 = p->type == bpf_htons(ETH_P_IP)};

	return bpf_map_lookup_elem(&translate_as, &k);
}

static __always_inline void note(struct mvpn_translation *t, const struct pkt *p, bool out)
{
	t->last_ns = bpf_ktime_get_ns();
	if (!out)
		t->state |= MVPN_TRANSLATION_ANSWERED;
	if (p->flow.proto != IPPROTO_TCP)
		return;
	if (p->tcp_flags & TCP_RST)
		t->state |= MVPN_TRANSLATION_RESET;
	if (p->tcp_flags & TCP_FIN)
		t->state |= out ? MVPN_TRANSLATION_FIN_OUT : MVPN_TRANSLATION_FIN_IN;
	/* the same ports once more */
	if (out && p->tcp_flags & TCP_SYN)
		t->state = 0;
}

/* Would a socket of this host get what comes from there to that port? Not inlined: verified once. */
__noinline int taken_here(struct __sk_buff *skb, const struct mvpn_flow_key *back, bool v4)
{
	struct bpf_sock_tuple t = {};
	__u32 size = v4 ? sizeof(t.ipv4) : sizeof(t.ipv6);
	struct bpf_sock *sk;

	if (!back || (back->proto != IPPROTO_TCP && back->proto != IPPROTO_UDP))
		return false;
	if (v4) {
		__builtin_memcpy(&t.ipv4.saddr, back->src + 12, 4);
		__builtin_memcpy(&t.ipv4.daddr, back->dst + 12, 4);
		t.ipv4.sport = back->sport;
		t.ipv4.dport = back->dport;
	} else {
		__builtin_memcpy(t.ipv6.saddr, back->src, 16);
		__builtin_memcpy(t.ipv6.daddr, back->dst, 16);
		t.ipv6.sport = back->sport;
		t.ipv6.dport = back->dport;
	}
	sk = back->proto == IPPROTO_TCP ? bpf_sk_lookup_tcp(skb, &t, size, BPF_F_CURRENT_NETNS, 0)
					: bpf_sk_lookup_udp(skb, &t, size, BPF_F_CURRENT_NETNS, 0);
	if (!sk)
		return false;
	bpf_sk_release(sk);
	return true;
}

/* A port of ours that no other flow to the same end has; 0: none was found. Not inlined: verified once. */
__noinline int port_take(struct __sk_buff *skb, const struct mvpn_flow_key *of,
			 const struct mvpn_arrival_key *as, bool v4)
{
	struct mvpn_flow_key flow, back = {}; /* 6.1 takes values from the stack alone */

	if (!of || !as)
		return 0;
	flow = *of;
	back.sport = flow.dport;
	back.proto = flow.proto;
	__builtin_memcpy(back.src, flow.dst, 16);
	__builtin_memcpy(back.dst, as->addr, 16);
	for (int i = 0; i < TRIES; i++) {
		/* each by itself: of neighbours whole runs are taken long before all are */
		back.dport = bpf_htons(MVPN_TRANSLATE_PORT_MIN +
				       bpf_get_prandom_u32() % MVPN_TRANSLATE_PORTS);
		if (taken_here(skb, &back, v4))
			continue;
		if (!bpf_map_update_elem(&returning, &back, &flow, BPF_NOEXIST))
			return back.dport;
	}
	return 0;
}

static __always_inline struct mvpn_share *share_of(__u32 peer)
{
	struct mvpn_share *share = bpf_map_lookup_elem(&shares, &peer), fresh = {};

	if (share)
		return share;
	bpf_map_update_elem(&shares, &peer, &fresh, BPF_NOEXIST);
	return bpf_map_lookup_elem(&shares, &peer);
}

/* may it have another flow? */
static __always_inline bool share_left(struct mvpn_share *share, __u32 peer)
{
	const struct mvpn_share_counted *c = bpf_map_lookup_elem(&shares_counted, &peer);
	__u64 flows = share->made;
	__u32 zero = 0, *most = bpf_map_lookup_elem(&translate_most, &zero);

	/* an entry of `shares` that was taken out meanwhile begins at 0 again */
	if (c)
		flows = c->flows + (share->made > c->made ? share->made - c->made : 0);
	if (most && flows < *most)
		return true;
	__sync_fetch_and_add(&share->refused, 1);
	return false;
}

/* NULL: there is no room for it, which is counted. */
static __always_inline struct mvpn_translation *entry(struct __sk_buff *skb, const struct pkt *p,
						      __u32 peer)
{
	struct mvpn_flow_key flow = p->flow; /* 6.1 takes a key from the stack alone */
	struct mvpn_translation *t = bpf_map_lookup_elem(&translated, &flow), new = {};
	const struct mvpn_arrival_key *as;
	struct mvpn_share *share;

	if (t)
		return t;
	as = address(skb, p);
	share = share_of(peer);
	if (!as || !share) {
		tally(MVPN_T_FULL);
		return NULL;
	}
	if (!share_left(share, peer)) {
		tally(MVPN_T_SHARE);
		return NULL;
	}
	__builtin_memcpy(new.addr, as->addr, 16);
	new.last_ns = bpf_ktime_get_ns();
	new.port = (__be16)port_take(skb, &flow, as, p->type == bpf_htons(ETH_P_IP));
	/* should another CPU have been faster, its entry counts, and keyd takes out what nobody points to */
	if (new.port && !bpf_map_update_elem(&translated, &flow, &new, BPF_NOEXIST))
		__sync_fetch_and_add(&share->made, 1);
	t = bpf_map_lookup_elem(&translated, &flow);
	if (!t)
		tally(MVPN_T_FULL);
	return t;
}

/* ---- the two ways ---- */

/* from a device to a prefix that is translated? */
static __always_inline bool concerned(const struct __sk_buff *skb, const struct pkt *p,
				      struct mvpn_protected *ret_from)
{
	struct mvpn_protected to;

	return skb->ingress_ifindex && protected_by(p->flow.dst, &to) &&
	       (to.flags & MVPN_PROT_TRANSLATED) && protected_by(p->flow.src, ret_from) &&
	       !(ret_from->flags & MVPN_PROT_LOCAL);
}

/* what is still to be done: functions that need much of the stack are called by the outermost one */
#define AS_A_WHOLE 100 /* none of the tc verdicts */
#define IS_ERROR 101

/* a whole packet, or a datagram's first fragment. Not inlined, like the next ones: verified once. */
__noinline int out_flow(struct __sk_buff *skb, struct pkt *p, __u32 peer)
{
	struct mvpn_translation *t;
	struct end e;

	if (!p)
		return TC_ACT_SHOT;
	switch (kind_of(skb, p, true)) {
	case CANNOT:
		return drop(MVPN_T_UNTRANSLATABLE);
	case ERROR:
		return IS_ERROR;
	case FLOW:
		break;
	}
	t = entry(skb, p, peer);
	if (!t)
		return TC_ACT_SHOT;
	note(t, p, true);
	e = (struct end){.addr_off = addr_off(p, p->l3, true),
			 .port_off = port_off(p, p->l4, true),
			 .old = p->flow.src,
			 .new = t->addr,
			 .old_port = p->flow.sport,
			 .new_port = t->port};
	if (!rewrite(skb, p, &e))
		return drop(MVPN_T_UNTRANSLATABLE);
	tally(MVPN_T_TRANSLATED);
	return NEXT;
}

/* nothing of a fragment is left but what any packet has */
static __always_inline void first_fragment(struct __sk_buff *skb, struct pkt *p,
					   const struct part *t)
{
	p->l4 = t->l4;
	p->flow.proto = t->proto;
	p->fragment = false;
	parse_ports(skb, p);
}

static __always_inline bool atomic(const struct part *t) /* RFC 6946: whole, for all its header */
{
	return !t->at && !t->more;
}

/* a flow that there is keeps its address, whichever interface it goes out of by now */
static __always_inline void as_before(struct __sk_buff *skb, struct pkt *p, __u8 to[16])
{
	const struct mvpn_translation *known;
	struct mvpn_flow_key flow;

	if (kind_of(skb, p, true) != FLOW)
		return;
	flow = p->flow;
	known = bpf_map_lookup_elem(&translated, &flow);
	if (known)
		__builtin_memcpy(to, known->addr, 16);
}

__noinline int rewrite_part(struct __sk_buff *skb, const struct pkt *p, const struct going *g,
			    bool src)
{
	struct end e = {};

	if (!p || !g)
		return TC_ACT_SHOT;
	e.addr_off = addr_off(p, p->l3, src);
	e.old = src ? p->flow.src : p->flow.dst;
	e.new = g->to;
	if (!rewrite_ip(skb, p, &e, false))
		return drop(MVPN_T_UNTRANSLATABLE);
	tally(MVPN_T_TRANSLATED);
	return NEXT;
}

/* AS_A_WHOLE: it has what a whole packet has, and is at *ret_slot */
__noinline int out_part(struct __sk_buff *skb, struct pkt *p, __u32 peer, __u32 *ret_slot)
{
	const struct mvpn_arrival_key *as;
	struct going g = {};
	struct part t = {};
	__u32 header;
	int r;

	if (!p || !ret_slot || parse_part(skb, p, &t) != PARSED)
		return drop(MVPN_T_FRAGMENT_REFUSED);
	header = l4_header_b(p, t.proto);
	if (!header)
		return drop(MVPN_T_UNTRANSLATABLE);
	if (t.at ? t.at < header : t.end < header)
		return drop(MVPN_T_FRAGMENT_REFUSED);
	if (!t.at)
		first_fragment(skb, p, &t);
	if (atomic(&t))
		return AS_A_WHOLE;
	as = address(skb, p);
	if (!as)
		return drop(MVPN_T_FULL);
	__builtin_memcpy(g.to, as->addr, 16);
	if (!t.at)
		as_before(skb, p, g.to);
	r = fragment_out(p, &t, peer, &g, ret_slot);
	if (r != FRAGMENT_TAKEN)
		return drop(r == FRAGMENT_FULL ? MVPN_T_FULL : MVPN_T_FRAGMENT_REFUSED);
	if (!rewrite_id(skb, p, t.l4, t.id, g.id))
		return drop(MVPN_T_UNTRANSLATABLE);
	return t.at ? rewrite_part(skb, p, &g, true) : AS_A_WHOLE;
}

static __always_inline int out_any(struct __sk_buff *skb, bool raw)
{
	struct mvpn_protected from;
	__u32 slot = FRAGMENT_NO_SLOT;
	struct pkt p = {};
	int r = AS_A_WHOLE;

	if (parse_ip(skb, raw, &p) != PARSED || !concerned(skb, &p, &from))
		return NEXT;
	if (parse_l4(skb, &p) != PARSED)
		return drop(MVPN_T_UNTRANSLATABLE);
	if (p.fragment)
		r = out_part(skb, &p, from.peer, &slot);
	if (r == AS_A_WHOLE)
		r = out_flow(skb, &p, from.peer);
	if (r == IS_ERROR)
		r = slot == FRAGMENT_NO_SLOT && error_out(skb, &p) ? NEXT
								   : drop(MVPN_T_UNTRANSLATABLE);
	if (r != NEXT && slot != FRAGMENT_NO_SLOT)
		fragment_out_end(from.peer, slot);
	return r;
}

/* the device's flow of which it is an answer; false: this host's own affair, or an ICMP error */
static __always_inline bool whose(struct __sk_buff *skb, struct pkt *p, struct mvpn_flow_key *ret)
{
	const struct mvpn_flow_key *found;
	struct mvpn_flow_key back;

	if (kind_of(skb, p, false) != FLOW)
		return false;
	back = p->flow; /* 6.1 takes a key from the stack alone */
	found = bpf_map_lookup_elem(&returning, &back);
	if (found)
		*ret = *found;
	return found;
}

__noinline int in_rewrite(struct __sk_buff *skb, const struct pkt *p,
			  const struct mvpn_flow_key *flow)
{
	struct mvpn_translation *t;
	struct mvpn_flow_key key;
	struct end e;

	if (!p || !flow)
		return TC_ACT_SHOT;
	key = *flow; /* 6.1 takes a key from the stack alone */
	e = (struct end){.addr_off = addr_off(p, p->l3, false),
			 .port_off = port_off(p, p->l4, false),
			 .old = p->flow.dst,
			 .new = key.src,
			 .old_port = p->flow.dport,
			 .new_port = key.sport};
	t = bpf_map_lookup_elem(&translated, &key);
	if (t)
		note(t, p, false);
	if (!rewrite(skb, p, &e))
		return drop(MVPN_T_UNTRANSLATABLE);
	tally(MVPN_T_TRANSLATED);
	return NEXT;
}

__noinline int in_flow(struct __sk_buff *skb, struct pkt *p)
{
	struct mvpn_flow_key flow = {};
	__u8 type;

	if (!p)
		return NEXT;
	if (whose(skb, p, &flow))
		return in_rewrite(skb, p, &flow);
	return is_icmp(p) && !bpf_skb_load_bytes(skb, p->l4, &type, 1) && icmp_error(p, type)
		       ? IS_ERROR
		       : NEXT;
}

/* What the stack would not put together is its own affair, too. */
__noinline int in_fragment(struct __sk_buff *skb, struct pkt *p)
{
	struct mvpn_flow_key flow = {};
	struct going g = {};
	struct part t = {};
	__u32 header;

	if (!p || parse_part(skb, p, &t) != PARSED)
		return NEXT;
	header = l4_header_b(p, t.proto);
	if (!header || (t.at ? t.at < header : t.end < header))
		return NEXT;
	if (!t.at) {
		first_fragment(skb, p, &t);
		if (atomic(&t))
			return AS_A_WHOLE;
		if (!whose(skb, p, &flow))
			return NEXT;
		__builtin_memcpy(g.to, flow.src, 16);
	}
	switch (fragment_in(p, &t, &g)) {
	case FRAGMENT_TAKEN:
		return t.at ? rewrite_part(skb, p, &g, false) : in_rewrite(skb, p, &flow);
	case FRAGMENT_UNKNOWN:
		tally(MVPN_T_FRAGMENT_ALONE);
		return NEXT;
	default:
		return drop(MVPN_T_FRAGMENT_REFUSED);
	}
}

static __always_inline int in_any(struct __sk_buff *skb, bool raw)
{
	const struct mvpn_arrival_key *as;
	struct pkt p = {};
	int r = AS_A_WHOLE;

	if (!raw)
		find_header(skb, &p);
	if (p.headless || parse_ip(skb, raw, &p) != PARSED)
		return NEXT;
	as = address(skb, &p);
	if (!as || !same_addr(p.flow.dst, as->addr) || parse_l4(skb, &p) != PARSED)
		return NEXT;
	if (p.fragment)
		r = in_fragment(skb, &p);
	if (r == AS_A_WHOLE)
		r = in_flow(skb, &p);
	if (r != IS_ERROR)
		return r;
	error_in(skb, &p);
	return NEXT;
}

SEC("tc")
int translate_out(struct __sk_buff *skb)
{
	return out_any(skb, false);
}

SEC("tc")
int translate_out_raw(struct __sk_buff *skb)
{
	return out_any(skb, true);
}

SEC("tc")
int translate_in(struct __sk_buff *skb)
{
	return in_any(skb, false);
}

SEC("tc")
int translate_in_raw(struct __sk_buff *skb)
{
	return in_any(skb, true);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
