/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Datagrams at the socket level. Each remote end has a UDP port of keyd's at this host that stands for it: datagrams for it go there,
 * and what comes from there is from it. keyd keeps ports ready; who first sends to an end takes one.
 */
#ifndef BPF_DATAGRAM_H
#define BPF_DATAGRAM_H

#include "exempt.h"
#include "maps.h"
#include "protect.h"
#include "sockctx.h"

struct {
	__uint(type, BPF_MAP_TYPE_QUEUE);
	__uint(max_entries, MVPN_DATAGRAM_ENDS_MAX);
	__type(value, __u32);
} datagram_ports SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MVPN_DATAGRAM_ENDS_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct mvpn_end);
	__type(value, __u32);
} port_of_end SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MVPN_DATAGRAM_ENDS_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct mvpn_end);
} end_of_port SEC(".maps");

/* by which this host is known: no prefixes that it is the gateway of */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MVPN_OWN_ADDRESSES_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct mvpn_arrival_key);
	__type(value, __u32);
} own_addresses SEC(".maps");

static __always_inline bool is_own_address(const __u8 a[16])
{
	struct mvpn_arrival_key k;

	__builtin_memcpy(k.addr, a, sizeof(k.addr));
	return bpf_map_lookup_elem(&own_addresses, &k);
}

__u64 datagram_no_port = 0; /* sends and connect()s refused, because no port was ready */

/* its port, in network order; 0: there is none */
static __always_inline __u32 datagram_port(const struct mvpn_end *end)
{
	__u32 port = 0, *known = bpf_map_lookup_elem(&port_of_end, end);

	if (known)
		return *known;
	if (bpf_map_pop_elem(&datagram_ports, &port)) {
		__sync_fetch_and_add(&datagram_no_port, 1);
		return 0;
	}
	if (bpf_map_update_elem(&end_of_port, &port, end, BPF_ANY))
		return 0;
	if (!bpf_map_update_elem(&port_of_end, end, &port, BPF_NOEXIST))
		return port;
	/* another CPU was first */
	bpf_map_delete_elem(&end_of_port, &port);
	bpf_map_push_elem(&datagram_ports, &port, BPF_ANY);
	known = bpf_map_lookup_elem(&port_of_end, end);
	return known ? *known : 0;
}

/* has it lately sent packets (talk.h)? */
static __always_inline bool talks_by_packet(const struct mvpn_diversion *d, const struct mvpn_end *from)
{
	const __u64 *at;

	if (!(d->flags & MVPN_DIVERSION_EITHER))
		return false;
	at = bpf_map_lookup_elem(&packet_talks, from);
	return at && bpf_ktime_get_ns() - *at < MVPN_TALK_NS;
}

/*
 * DHCP, which egress knows; keyd's own packets; answers to packets; and those of a server on this host, which has the port of its channel
 * at every address
 */
static __always_inline bool datagram_passes(struct bpf_sock_addr *ctx, const struct mvpn_diversion *d,
					    const struct mvpn_end *to, bool v4)
{
	__u16 port = bpf_ntohs((__u16)ctx->user_port);
	__u64 cookie = bpf_get_socket_cookie(ctx);
	struct mvpn_exempt e = {.proto = IPPROTO_TCP};
	struct bpf_sock *sk = ctx->sk;

	if (port == DHCP_CLIENT || port == DHCP_SERVER || port == DHCP6_CLIENT ||
	    port == DHCP6_SERVER || bpf_map_lookup_elem(&own_sockets, &cookie))
		return true;
	if (!sk || talks_by_packet(d, to))
		return true;
	e.port = bpf_htons((__u16)sk->src_port);
	__builtin_memcpy(e.addr, v4 ? d->local4 : d->local6, 16);
	return bpf_map_lookup_elem(&exempt, &e);
}

/* To a socket of keyd's by its own address: what may go to the remote end is asked where that one is named. */
static __always_inline bool datagram_forged(const struct mvpn_end *to)
{
	const __u32 *a = (const __u32 *)to->addr;
	__u32 port = to->port;
	bool loopback = !a[0] && !a[1] &&
			((a[2] == bpf_htonl(0xffff) && (bpf_ntohl(a[3]) >> 24) == 127) ||
			 (!a[2] && a[3] == bpf_htonl(1)));

	if (!bpf_map_lookup_elem(&end_of_port, &port))
		return false;
	return loopback || is_own_address(to->addr);
}

/*
 * Is that where connect() has sent it, which was asked then? To the kernel an IPv6 socket that is connected to an IPv4 end names it with each
 * datagram.
 */
static __always_inline bool datagram_connected(const struct mvpn_end *true_peer, const struct mvpn_end *to)
{
	struct mvpn_end end; /* 6.1 takes a key from the stack alone */
	const __u32 *port;

	if (!true_peer)
		return false;
	end = *true_peer;
	port = bpf_map_lookup_elem(&port_of_end, &end);
	return port && *port == to->port;
}

/* whom keyd stands in for, if a datagram from there is from keyd; NULL: it does not */
static __always_inline const struct mvpn_end *datagram_source(struct bpf_sock_addr *ctx,
							      const __u32 from[4])
{
	__u32 port = (__u16)ctx->user_port;
	const struct mvpn_end *end;
	__u8 addr[16];

	if (bpf_get_netns_cookie(ctx) != netns_cookie)
		return NULL;
	end = bpf_map_lookup_elem(&end_of_port, &port);
	if (!end)
		return NULL;
	__builtin_memcpy(addr, from, 16);
	return is_own_address(addr) ? end : NULL;
}

#endif
