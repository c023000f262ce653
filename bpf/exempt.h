/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What passes in clear although an end of it is protected. Each exemption is as narrow as its protocol allows, because
 * whatever can be made to look like one gets past: no fragment is ever exempt, and none on a field that is not there.
 */
#ifndef BPF_EXEMPT_H
#define BPF_EXEMPT_H

#include "maps.h"
#include "mvpn/wire.h"
#include "parse.h"

#define ND_HOP_LIMIT 255  /* RFC 4861 §7.1: proof that no router forwarded it */
#define ND_TYPE_FIRST 133 /* router solicitation */
#define ND_TYPE_LAST 137  /* redirect */
#define ND_LEN_MAX \
	128 /* a unicast solicitation or advertisement with its options; not room for data */
#define MLD_TYPE_FIRST 130 /* RFC 2710: query, report, done */
#define MLD_TYPE_LAST 132
#define MLD2_REPORT 143 /* RFC 3810 */
#define DHCP_SERVER 67
#define DHCP_CLIENT 68
#define DHCP_COOKIE_OFF 236 /* RFC 2131 §3 */
#define DHCP_COOKIE 0x63825363
#define DHCP6_CLIENT 546
#define DHCP6_SERVER 547
#define DHCP6_TYPE_LAST 13 /* RFC 8415 §7.3: relay-reply */

/*
 * Multicast, limited broadcast, link-local: no device can own such an address, but a protected default route covers
 * them. Neighbour discovery, mDNS and routing protocols live there.
 */
static __always_inline bool never_owned(const __u8 a[16], __be16 type)
{
	if (type == bpf_htons(ETH_P_IP))
		return (a[12] & 0xf0) == 224 || (a[12] == 169 && a[13] == 254) ||
		       (a[12] & a[13] & a[14] & a[15]) == 255;
	return a[0] == 0xff || (a[0] == 0xfe && (a[1] & 0xc0) == 0x80);
}

static __always_inline bool is_nd(struct __sk_buff *skb, const struct pkt *p)
{
	__u8 icmp[2]; /* type, code */

	if (p->type != bpf_htons(ETH_P_IPV6) || p->flow.proto != IPPROTO_ICMPV6 || p->fragment ||
	    p->hop_limit != ND_HOP_LIMIT || p->l4 != p->l3 + sizeof(struct ip6_hdr) ||
	    bpf_ntohs(p->payload_len) > ND_LEN_MAX || skb->len > p->l4 + ND_LEN_MAX)
		return false;
	if (bpf_skb_load_bytes(skb, p->l4, icmp, 2))
		return false;
	return icmp[0] >= ND_TYPE_FIRST && icmp[0] <= ND_TYPE_LAST && !icmp[1];
}

/*
 * Multicast listener discovery: a switch that snoops it would else keep neighbour discovery's own groups from this host
 * (RFC 4861 §7.2.1). What a report may hold is bounded by nothing but the link, so it is exempt only from `multicast drop`.
 */
static __always_inline bool is_mld(struct __sk_buff *skb, const struct pkt *p)
{
	__u8 type;

	if (p->type != bpf_htons(ETH_P_IPV6) || p->flow.proto != IPPROTO_ICMPV6 || p->fragment ||
	    p->hop_limit != 1 || bpf_skb_load_bytes(skb, p->l4, &type, 1))
		return false;
	return (type >= MLD_TYPE_FIRST && type <= MLD_TYPE_LAST) || type == MLD2_REPORT;
}

/* To a group, by its address or, which tells broadcasts of a subnet too, by the frame's. */
static __always_inline bool to_group(struct __sk_buff *skb, bool raw, const struct pkt *p)
{
	const __u8 *a = p->flow.dst;
	__u8 mac;

	if (p->type == bpf_htons(ETH_P_IP)
		    ? (a[12] & 0xf0) == 224 || (a[12] & a[13] & a[14] & a[15]) == 255
		    : a[0] == 0xff)
		return true;
	return !raw && !load_eth(skb, p, 0, &mac, 1) && (mac & 1);
}

static __always_inline bool multicast_drops(void)
{
	const struct mvpn_config *c = config_get();

	return c && (c->flags & MVPN_CONFIG_MULTICAST_DROP);
}

static __always_inline bool port_pair(const struct pkt *p, __u16 client, __u16 server)
{
	__u16 s = bpf_ntohs(p->flow.sport), d = bpf_ntohs(p->flow.dport);

	/* server to server is a relay's */
	return (s == client && d == server) || (s == server && d == client) ||
	       (s == server && d == server);
}

/* Of a UDP datagram. Not inlined: the verifier walks through it once. */
__noinline int dhcp_message(struct __sk_buff *skb, const struct pkt *p)
{
	__u32 payload;
	__be32 cookie;
	bool v6;
	__u8 op;

	if (!p)
		return false;
	v6 = p->type == bpf_htons(ETH_P_IPV6);
	payload = p->l4 + sizeof(struct udp_hdr);
	if (!port_pair(p, v6 ? DHCP6_CLIENT : DHCP_CLIENT, v6 ? DHCP6_SERVER : DHCP_SERVER) ||
	    bpf_skb_load_bytes(skb, payload, &op, 1) || !op)
		return false;
	if (v6)
		return op <= DHCP6_TYPE_LAST;
	return op <= 2 && !bpf_skb_load_bytes(skb, payload + DHCP_COOKIE_OFF, &cookie, 4) &&
	       cookie == bpf_htonl(DHCP_COOKIE);
}

static __always_inline bool is_dhcp(struct __sk_buff *skb, const struct pkt *p)
{
	return p->ports && p->flow.proto == IPPROTO_UDP && dhcp_message(skb, p);
}

/*
 * The channel to a server, at either end. A server never opens a connection from its own port, so what comes from there
 * with a bare SYN is somebody else's.
 */
static __always_inline bool is_channel(const struct pkt *p)
{
	struct mvpn_exempt e;

	if (!p->ports || p->flow.proto != IPPROTO_TCP)
		return false;
	e.proto = p->flow.proto;
	e.zero = 0;
	__builtin_memcpy(e.addr, p->flow.dst, 16);
	e.port = p->flow.dport;
	if (bpf_map_lookup_elem(&exempt, &e))
		return true;
	if ((p->tcp_flags & TCP_SYN) && !(p->tcp_flags & TCP_ACK))
		return false;
	__builtin_memcpy(e.addr, p->flow.src, 16);
	e.port = p->flow.sport;
	return bpf_map_lookup_elem(&exempt, &e);
}

/*
 * An echo on its way to a server, or its answer: where the server runs on a member. Of exactly that length, so that nothing else
 * fits into it, and to or from the channel's own port.
 */
static __always_inline bool is_echo(struct __sk_buff *skb, const struct pkt *p)
{
	struct mvpn_exempt e;
	__u8 type;

	if (!p->ports || p->flow.proto != IPPROTO_UDP ||
	    skb->len != p->l4 + sizeof(struct udp_hdr) + MVPN_ECHO_B ||
	    bpf_skb_load_bytes(skb, p->l4 + sizeof(struct udp_hdr), &type, 1) ||
	    (type != MVPN_ECHO && type != MVPN_ECHO_REPLY))
		return false;
	e.proto = IPPROTO_TCP; /* the channel's */
	e.zero = 0;
	__builtin_memcpy(e.addr, type == MVPN_ECHO ? p->flow.dst : p->flow.src, 16);
	e.port = type == MVPN_ECHO ? p->flow.dport : p->flow.sport;
	return bpf_map_lookup_elem(&exempt, &e);
}

/*
 * What the server on this host relays by UDP, out from its end point or in to it: sealed between two devices. By its type alone, for
 * nobody else has that end point.
 */
static __always_inline bool is_relayed(struct __sk_buff *skb, const struct pkt *p, bool out)
{
	struct mvpn_exempt e;
	__u8 type;

	if (!p->ports || p->flow.proto != IPPROTO_UDP ||
	    skb->len < p->l4 + sizeof(struct udp_hdr) + sizeof(struct mvpn_hdr) ||
	    bpf_skb_load_bytes(skb, p->l4 + sizeof(struct udp_hdr), &type, 1) ||
	    (type != MVPN_TUNNEL && type != MVPN_CTRL && type != MVPN_FRAME && type != MVPN_PUNCH))
		return false;
	e.proto = IPPROTO_TCP; /* the channel's */
	e.zero = 0;
	__builtin_memcpy(e.addr, out ? p->flow.src : p->flow.dst, 16);
	e.port = out ? p->flow.sport : p->flow.dport;
	return bpf_map_lookup_elem(&exempt, &e);
}

#endif
