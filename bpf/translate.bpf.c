/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * On the interfaces behind a gateway: what devices send to a prefix that the policy says "source translated" of leaves with the
 * interface's own address as its source, and what is answered goes back to the device.
 *
 *   translate_out   egress: the device's address and port -> ours and one of MVPN_TRANSLATE_PORT_MIN.. that nobody has
 *   translate_in    ingress: back again, before the stack looks for a socket of this host
 *
 * TCP, UDP, ICMP echo, and ICMP errors about them. What cannot be translated to such a prefix is dropped: it would show the source.
 * Entries are made here and taken out by keyd, when they have been idle for too long.
 */
#include "vmlinux.h"
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "maps.h"
#include "parse.h"
#include "protect.h"

#define NEXT TC_ACT_UNSPEC
#define TRIES 16
#define IPPROTO_ICMP 1
#define TCP_CSUM_OFF 16
#define UDP_CSUM_OFF 6
#define ICMP_CSUM_OFF 2
#define ICMP_ID_OFF 4
#define ICMP_QUOTE_OFF 8 /* RFC 792, RFC 4443 §3 */
#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MVPN_TRANSLATIONS_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct mvpn_flow_key);
	__type(value, struct mvpn_translation);
} translated SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MVPN_TRANSLATIONS_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct mvpn_flow_key);
	__type(value, struct mvpn_flow_key);
} returning SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 2 * MVPN_TRANSLATE_IFACES_MAX); /* one of each family */
	__type(key, struct mvpn_translate_iface);
	__type(value, struct mvpn_arrival_key);
} translate_as SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, MVPN_T_MAX);
	__type(key, __u32);
	__type(value, __u64);
} translate_counters SEC(".maps");

/* ---- what a packet is ---- */

enum kind { CANNOT, FLOW, ERROR };

static __always_inline bool is_icmp(const struct pkt *p)
{
	return p->flow.proto == (p->type == bpf_htons(ETH_P_IP) ? IPPROTO_ICMP : IPPROTO_ICMPV6);
}

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

	if (parse_l4(skb, p) != PARSED || p->fragment)
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

/* ---- rewriting ---- */

/* an end of the packet: its address and port, and what becomes of them */
struct end {
	__u32 addr_off, port_off; /* from where the packet begins */
	const __u8 *old, *new;	  /* 16 bytes */
	__be16 old_port, new_port;
};

static __always_inline __u32 csum_off(const struct pkt *p)
{
	if (p->flow.proto == IPPROTO_TCP)
		return p->l4 + TCP_CSUM_OFF;
	return p->l4 + (p->flow.proto == IPPROTO_UDP ? UDP_CSUM_OFF : ICMP_CSUM_OFF);
}

/* partial sums too: the helpers know what the stack has left to the card */
static __always_inline bool rewrite_addr(struct __sk_buff *skb, const struct pkt *p,
					 const struct end *e)
{
	bool v4 = p->type == bpf_htons(ETH_P_IP);
	__u32 from[4], to[4];
	__s64 diff;

	__builtin_memcpy(from, e->old, 16);
	__builtin_memcpy(to, e->new, 16);
	diff = bpf_csum_diff(from, 16, to, 16, 0);
	/* ICMP over IPv4 has no pseudo-header */
	if (p->flow.proto != IPPROTO_ICMP || !v4)
		if (bpf_l4_csum_replace(
			    skb, csum_off(p), 0, diff,
			    BPF_F_PSEUDO_HDR |
				    (p->flow.proto == IPPROTO_UDP ? BPF_F_MARK_MANGLED_0 : 0)))
			return false;
	if (!v4)
		return !bpf_skb_store_bytes(skb, e->addr_off, e->new, 16, 0);
	return !bpf_l3_csum_replace(skb, p->l3 + __builtin_offsetof(struct ip4_hdr, csum), from[3],
				    to[3], 4) &&
	       !bpf_skb_store_bytes(skb, e->addr_off, &to[3], 4, 0);
}

static __always_inline bool rewrite(struct __sk_buff *skb, const struct pkt *p, const struct end *e)
{
	__u64 mangled = p->flow.proto == IPPROTO_UDP ? BPF_F_MARK_MANGLED_0 : 0;

	return rewrite_addr(skb, p, e) &&
	       !bpf_l4_csum_replace(skb, csum_off(p), e->old_port, e->new_port, 2 | mangled) &&
	       !bpf_skb_store_bytes(skb, e->port_off, &e->new_port, 2, 0);
}

static __always_inline __u32 addr_off(const struct pkt *p, __u32 l3, bool src)
{
	if (p->type == bpf_htons(ETH_P_IP))
		return l3 + (src ? __builtin_offsetof(struct ip4_hdr, src)
				 : __builtin_offsetof(struct ip4_hdr, dst));
	return l3 + (src ? __builtin_offsetof(struct ip6_hdr, src)
			 : __builtin_offsetof(struct ip6_hdr, dst));
}

static __always_inline __u32 port_off(const struct pkt *p, __u32 l4, bool src)
{
	return l4 + (is_icmp(p) ? ICMP_ID_OFF : src ? 0 : 2);
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
	__u32 at = bpf_get_prandom_u32();

	if (!of || !as)
		return 0;
	flow = *of;
	back.sport = flow.dport;
	back.proto = flow.proto;
	__builtin_memcpy(back.src, flow.dst, 16);
	__builtin_memcpy(back.dst, as->addr, 16);
	for (int i = 0; i < TRIES; i++) {
		at++;
		back.dport = bpf_htons(MVPN_TRANSLATE_PORT_MIN + at % MVPN_TRANSLATE_PORTS);
		if (taken_here(skb, &back, v4))
			continue;
		if (!bpf_map_update_elem(&returning, &back, &flow, BPF_NOEXIST))
			return back.dport;
	}
	return 0;
}

static __always_inline struct mvpn_translation *entry(struct __sk_buff *skb, const struct pkt *p)
{
	struct mvpn_translation *t = bpf_map_lookup_elem(&translated, &p->flow), new = {};
	const struct mvpn_arrival_key *as;

	if (t)
		return t;
	as = address(skb, p);
	if (!as)
		return NULL;
	__builtin_memcpy(new.addr, as->addr, 16);
	new.last_ns = bpf_ktime_get_ns();
	new.port = (__be16)port_take(skb, &p->flow, as, p->type == bpf_htons(ETH_P_IP));
	/* should another CPU have been faster, its entry counts, and keyd takes out what nobody points to */
	if (new.port)
		bpf_map_update_elem(&translated, &p->flow, &new, BPF_NOEXIST);
	return bpf_map_lookup_elem(&translated, &p->flow);
}

/* ---- ICMP errors: the packet that they quote has been, or would be, translated ---- */

struct quoted {
	struct mvpn_flow_key flow; /* as it was sent */
	__u32 l3, l4;
};

/* its first eight bytes behind the headers are there (RFC 792); options of IPv6 are not looked behind */
static __always_inline bool quoted(struct __sk_buff *skb, const struct pkt *p, struct quoted *q)
{
	struct pkt in = {.type = p->type};
	__be16 ports[2];
	__u8 icmp;

	q->l3 = p->l4 + ICMP_QUOTE_OFF;
	if (p->type == bpf_htons(ETH_P_IP)) {
		struct ip4_hdr ip;

		if (bpf_skb_load_bytes(skb, q->l3, &ip, sizeof(ip)) || (ip.ver_ihl & 15) < 5 ||
		    ip.frag & bpf_htons(0x1fff))
			return false;
		v4_mapped(q->flow.src, ip.src);
		v4_mapped(q->flow.dst, ip.dst);
		q->flow.proto = in.flow.proto = ip.proto;
		q->l4 = q->l3 + (ip.ver_ihl & 15) * 4;
	} else {
		struct ip6_hdr ip;

		if (bpf_skb_load_bytes(skb, q->l3, &ip, sizeof(ip)))
			return false;
		__builtin_memcpy(q->flow.src, ip.src, 16);
		__builtin_memcpy(q->flow.dst, ip.dst, 16);
		q->flow.proto = in.flow.proto = ip.next;
		q->l4 = q->l3 + sizeof(ip);
	}
	if (!is_icmp(&in)) {
		if ((q->flow.proto != IPPROTO_TCP && q->flow.proto != IPPROTO_UDP) ||
		    bpf_skb_load_bytes(skb, q->l4, ports, 4))
			return false;
		q->flow.sport = ports[0];
		q->flow.dport = ports[1];
		return true;
	}
	/* echo alone: a question of the device's, seen here on its way back; or the answer to it */
	if (bpf_skb_load_bytes(skb, q->l4, &icmp, 1) ||
	    bpf_skb_load_bytes(skb, q->l4 + ICMP_ID_OFF, ports, 2))
		return false;
	if (icmp == 8 || icmp == 128)
		q->flow.sport = ports[0];
	else
		q->flow.dport = ports[0];
	return true;
}

/*
 * `mine`: the end of the quoted packet that is translated. The checksum of the quoted transport header is left as it is: nobody can
 * check it, for most of what it is over is not quoted.
 */
static __always_inline bool rewrite_quoted(struct __sk_buff *skb, const struct pkt *p,
					   const struct quoted *q, bool src, const __u8 addr[16],
					   __be16 port)
{
	struct pkt in = {.type = p->type, .l3 = q->l3, .l4 = q->l4};
	__be16 old_port = src ? q->flow.sport : q->flow.dport;
	bool v4 = p->type == bpf_htons(ETH_P_IP);
	__u32 from[4], to[4];
	__s64 diff;

	in.flow.proto = q->flow.proto;
	__builtin_memcpy(from, src ? q->flow.src : q->flow.dst, 16);
	__builtin_memcpy(to, addr, 16);
	if (v4) {
		/* the sum over the quoted header stays what it was, and so does that over all */
		if (bpf_l3_csum_replace(skb, q->l3 + __builtin_offsetof(struct ip4_hdr, csum),
					from[3], to[3], 4) ||
		    bpf_skb_store_bytes(skb, addr_off(p, q->l3, src), &to[3], 4, 0))
			return false;
	} else {
		diff = bpf_csum_diff(from, 16, to, 16, 0);
		if (bpf_l4_csum_replace(skb, csum_off(p), 0, diff, 0) ||
		    bpf_skb_store_bytes(skb, addr_off(p, q->l3, src), to, 16, 0))
			return false;
	}
	return !bpf_l4_csum_replace(skb, csum_off(p), old_port, port, 2) &&
	       !bpf_skb_store_bytes(skb, port_off(&in, q->l4, src), &port, 2, 0);
}

/* A device about what it was sent: that is known to the other end by our address. Not inlined, like the next: verified once. */
__noinline int error_out(struct __sk_buff *skb, const struct pkt *p)
{
	struct quoted q = {};
	const struct mvpn_translation *t;
	struct mvpn_flow_key flow = {};
	struct mvpn_translation as;
	struct end e;

	if (!p || !quoted(skb, p, &q))
		return false;
	__builtin_memcpy(flow.src, q.flow.dst, 16);
	__builtin_memcpy(flow.dst, q.flow.src, 16);
	flow.sport = q.flow.dport;
	flow.dport = q.flow.sport;
	flow.proto = q.flow.proto;
	t = bpf_map_lookup_elem(&translated, &flow);
	if (!t)
		return false;
	as = *t;
	e = (struct end){.addr_off = addr_off(p, p->l3, true), .old = p->flow.src, .new = as.addr};
	return rewrite_quoted(skb, p, &q, false, as.addr, as.port) && rewrite_addr(skb, p, &e);
}

/* a router or the other end about what a device has sent */
__noinline int error_in(struct __sk_buff *skb, const struct pkt *p)
{
	struct quoted q = {};
	const struct mvpn_flow_key *found;
	struct mvpn_flow_key back = {}, flow;
	struct end e;

	if (!p || !quoted(skb, p, &q))
		return false;
	__builtin_memcpy(back.src, q.flow.dst, 16);
	__builtin_memcpy(back.dst, q.flow.src, 16);
	back.sport = q.flow.dport;
	back.dport = q.flow.sport;
	back.proto = q.flow.proto;
	found = bpf_map_lookup_elem(&returning, &back);
	if (!found)
		return false;
	flow = *found;
	e = (struct end){
		.addr_off = addr_off(p, p->l3, false), .old = p->flow.dst, .new = flow.src};
	return rewrite_quoted(skb, p, &q, true, flow.src, flow.sport) && rewrite_addr(skb, p, &e);
}

/* ---- the two ways ---- */

static __always_inline void tally(enum mvpn_translate_counter which)
{
	__u32 k = which;
	__u64 *n = bpf_map_lookup_elem(&translate_counters, &k);

	if (n)
		++*n;
}

static __always_inline int drop(enum mvpn_translate_counter why)
{
	tally(why);
	return TC_ACT_SHOT;
}

/* from a device to a prefix that is translated? */
static __always_inline bool concerned(const struct __sk_buff *skb, const struct pkt *p)
{
	struct mvpn_protected to, from;

	return skb->ingress_ifindex && protected_by(p->flow.dst, &to) &&
	       (to.flags & MVPN_PROT_TRANSLATED) && protected_by(p->flow.src, &from) &&
	       !(from.flags & MVPN_PROT_LOCAL);
}

static __always_inline int out_any(struct __sk_buff *skb, bool raw)
{
	struct mvpn_translation *t, as;
	struct pkt p = {};
	struct end e;

	if (parse_ip(skb, raw, &p) != PARSED || !concerned(skb, &p))
		return NEXT;
	switch (kind_of(skb, &p, true)) {
	case CANNOT:
		return drop(MVPN_T_UNTRANSLATABLE);
	case ERROR:
		if (!error_out(skb, &p))
			return drop(MVPN_T_UNTRANSLATABLE);
		tally(MVPN_T_TRANSLATED);
		return NEXT;
	case FLOW:
		break;
	}
	t = entry(skb, &p);
	if (!t)
		return drop(MVPN_T_FULL);
	note(t, &p, true);
	as = *t;
	e = (struct end){.addr_off = addr_off(&p, p.l3, true),
			 .port_off = port_off(&p, p.l4, true),
			 .old = p.flow.src,
			 .new = as.addr,
			 .old_port = p.flow.sport,
			 .new_port = as.port};
	if (!rewrite(skb, &p, &e))
		return drop(MVPN_T_UNTRANSLATABLE);
	tally(MVPN_T_TRANSLATED);
	return NEXT;
}

static __always_inline bool ours(const __u8 a[16], const struct mvpn_arrival_key *as)
{
	const __u64 *x = (const __u64 *)as->addr;
	__u64 y[2];

	__builtin_memcpy(y, a, 16);
	return x[0] == y[0] && x[1] == y[1];
}

static __always_inline int in_any(struct __sk_buff *skb, bool raw)
{
	const struct mvpn_flow_key *found;
	const struct mvpn_arrival_key *as;
	struct mvpn_translation *t;
	struct mvpn_flow_key flow;
	struct pkt p = {};
	struct end e;

	if (!raw)
		find_header(skb, &p);
	if (p.headless || parse_ip(skb, raw, &p) != PARSED)
		return NEXT;
	as = address(skb, &p);
	if (!as || !ours(p.flow.dst, as))
		return NEXT;
	switch (kind_of(skb, &p, false)) {
	case CANNOT:
		return NEXT;
	case ERROR:
		if (error_in(skb, &p))
			tally(MVPN_T_TRANSLATED);
		return NEXT;
	case FLOW:
		break;
	}
	found = bpf_map_lookup_elem(&returning, &p.flow);
	if (!found)
		return NEXT;
	flow = *found;
	t = bpf_map_lookup_elem(&translated, &flow);
	if (t)
		note(t, &p, false);
	e = (struct end){.addr_off = addr_off(&p, p.l3, false),
			 .port_off = port_off(&p, p.l4, false),
			 .old = p.flow.dst,
			 .new = flow.src,
			 .old_port = p.flow.dport,
			 .new_port = flow.sport};
	if (!rewrite(skb, &p, &e))
		return drop(MVPN_T_UNTRANSLATABLE);
	tally(MVPN_T_TRANSLATED);
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
