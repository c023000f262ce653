/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The socket level: TCP connections that this host opens to a peer whose streams are sealed above TCP go to keyd instead, which
 * carries them to the keyd of the peer; and at the other end keyd's connection to the application passes for the client's. Likewise
 * datagrams (datagram.h).
 *
 *   connect4,6       the destination becomes keyd, at an address of this host's that may stand beside the true one: so the
 *   sendmsg4,6       connection's own address is the right one, and nothing is routed differently
 *   recvmsg4,6       who a datagram from keyd is from
 *   stream_ops       its own port is known now: keyd is told where the connection was going to; and who stands behind one that
 *                    keyd makes
 *   syn              it waits until keyd knows what the other end says (syn.h)
 *   stream_owner     for keyd, when the policy has changed: whose the connections are that are open
 *   stream_sends     what goes to keyd without having been asked where: a datagram of a socket that was connect()ed before, or is raw
 *   stream_lo, stream_arrives  what is not from a socket here does not get between programs and keyd (local.h)
 *   getpeername4,6   both applications see the other's true address, from accept() too
 *
 * Without keyd's listener the connection is refused, before anybody else could take it in.
 */
#include "vmlinux.h"
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "datagram.h"
#include "local.h"
#include "networks.h"
#include "process.h"
#include "protect.h"
#include "sockctx.h"

#define SOCK_DGRAM 2
#define PROCEED 1
#define REFUSE 0 /* EPERM */

struct ends {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, MVPN_DIVERTED_MAX);
	__type(key, struct mvpn_end);
	__type(value, struct mvpn_end);
};
struct ends diverted SEC(".maps");
struct ends delivered SEC(".maps");

static __always_inline bool zero(const __u8 a[16])
{
	const __u64 *w = (const __u64 *)a;

	return !w[0] && !w[1];
}

/* is it keyd that takes what goes there? */
static __always_inline bool is_keyd(struct bpf_sock_addr *ctx, const __u32 to[4], bool v4,
				    __be16 port)
{
	bool tcp = ctx->protocol == IPPROTO_TCP;
	struct bpf_sock_tuple t = {};
	struct bpf_sock *sk;
	__u32 len;
	bool own;

	if (v4) {
		t.ipv4.saddr = t.ipv4.daddr = to[3];
		t.ipv4.dport = port;
		len = sizeof(t.ipv4);
	} else {
		__builtin_memcpy(t.ipv6.saddr, to, 16);
		__builtin_memcpy(t.ipv6.daddr, to, 16);
		t.ipv6.dport = port;
		len = sizeof(t.ipv6);
	}
	sk = tcp ? bpf_sk_lookup_tcp(ctx, &t, len, BPF_F_CURRENT_NETNS, 0)
		 : bpf_sk_lookup_udp(ctx, &t, len, BPF_F_CURRENT_NETNS, 0);
	if (!sk)
		return false;
	own = bpf_sk_storage_get(&own_streams, sk, NULL, 0);
	bpf_sk_release(sk);
	return own;
}

/* a channel, which egress knows: the server's host may be a device at this level, too */
static __always_inline bool to_server(const struct mvpn_end *end)
{
	struct mvpn_exempt e = {.port = end->port, .proto = IPPROTO_TCP};

	__builtin_memcpy(e.addr, end->addr, 16);
	return bpf_map_lookup_elem(&exempt, &e);
}

/* how connections and datagrams for that end are diverted; NULL: it goes where it wanted to, or with *ret_refused nowhere */
static __always_inline const struct mvpn_diversion *
diversion(struct bpf_sock_addr *ctx, const struct mvpn_end *end, bool v4, bool *ret_refused)
{
	struct mvpn_flow_key flow = {};
	const struct mvpn_diversion *d;
	struct mvpn_protected prot;
	const struct mvpn_key *key;
	struct bpf_sock *sk;
	__u32 socket_peer;

	if (bpf_get_netns_cookie(ctx) != netns_cookie)
		return NULL;
	sk = ctx->sk;
	if (!protected_by(end->addr, &prot) || (prot.flags & MVPN_PROT_LOCAL) || anothers(0, end->addr)) {
		*ret_refused = ctx->protocol == IPPROTO_UDP && datagram_forged(end) && sk &&
			       !bpf_sk_storage_get(&own_streams, sk, NULL, 0) &&
			       !datagram_connected(bpf_sk_storage_get(&true_peers, sk, NULL, 0), end);
		return NULL;
	}
	d = bpf_map_lookup_elem(&levels, &prot.peer);
	if (!d || !sk || bpf_sk_storage_get(&own_streams, sk, NULL, 0) ||
	    (ctx->protocol == IPPROTO_UDP ? datagram_passes(ctx, d, end, v4) : to_server(end)))
		return NULL;
	*ret_refused = true;
	flow.dport = (__be16)ctx->user_port;
	flow.proto = ctx->protocol;
	/* the socket shim has told of it, when it comes first as it should */
	if (process_refused(ctx, &flow, prot.peer, false))
		return NULL;
	socket_peer = d->socket_peer;
	key = bpf_map_lookup_elem(&keys, &socket_peer);
	if ((key && key->state == MVPN_KEY_DENIED) || zero(v4 ? d->local4 : d->local6))
		return NULL;
	return d;
}

/* where to instead of `to`, which is overwritten; false: it goes where it wanted to, or with *ret_refused nowhere */
static __always_inline bool divert(struct bpf_sock_addr *ctx, __u32 to[4], __be16 *ret_port,
				   bool connects, bool *ret_refused)
{
	bool v4 = !to[0] && !to[1] && to[2] == bpf_htonl(0xffff);
	struct mvpn_end end = {.port = (__be16)ctx->user_port};
	const struct mvpn_diversion *d;
	struct bpf_sock *sk;
	__be16 port;

	__builtin_memcpy(end.addr, to, 16);
	d = diversion(ctx, &end, v4, ret_refused);
	sk = ctx->sk;
	if (!d || !sk)
		return false;
	__builtin_memcpy(to, v4 ? d->local4 : d->local6, 16);
	port = ctx->protocol == IPPROTO_TCP ? d->port : datagram_port(&end);
	if (!port || !is_keyd(ctx, to, v4, port) ||
	    (connects && !bpf_sk_storage_get(&true_peers, sk, &end, BPF_SK_STORAGE_GET_F_CREATE)))
		return false;
	*ret_port = port;
	return true;
}

/* may it be diverted? */
static __always_inline bool connects(struct bpf_sock_addr *ctx)
{
	struct bpf_sock *sk = ctx->sk;

	/* what an earlier connect() has left */
	if (sk)
		bpf_sk_storage_delete(&true_peers, sk);
	return (ctx->type == SOCK_STREAM && ctx->protocol == IPPROTO_TCP) ||
	       (ctx->type == SOCK_DGRAM && ctx->protocol == IPPROTO_UDP);
}

static __always_inline int divert4(struct bpf_sock_addr *ctx, bool connecting)
{
	FIELD(ip4, ctx->user_ip4);
	__u32 to[4] = {0, 0, bpf_htonl(0xffff), ip4};
	bool refused = false;
	__be16 port = 0;

	if (!divert(ctx, to, &port, connecting, &refused))
		return refused ? REFUSE : PROCEED;
	ctx->user_ip4 = to[3];
	ctx->user_port = port;
	return PROCEED;
}

static __always_inline int divert6(struct bpf_sock_addr *ctx, bool connecting)
{
	FIELD(a0, ctx->user_ip6[0]);
	FIELD(a1, ctx->user_ip6[1]);
	FIELD(a2, ctx->user_ip6[2]);
	FIELD(a3, ctx->user_ip6[3]);
	__u32 to[4] = {a0, a1, a2, a3};
	bool refused = false;
	__be16 port = 0;

	if (!divert(ctx, to, &port, connecting, &refused))
		return refused ? REFUSE : PROCEED;
	ctx->user_ip6[0] = to[0];
	ctx->user_ip6[1] = to[1];
	ctx->user_ip6[2] = to[2];
	ctx->user_ip6[3] = to[3];
	ctx->user_port = port;
	return PROCEED;
}

SEC("cgroup/connect4")
int stream_connect4(struct bpf_sock_addr *ctx)
{
	return connects(ctx) ? divert4(ctx, true) : PROCEED;
}

SEC("cgroup/connect6")
int stream_connect6(struct bpf_sock_addr *ctx)
{
	return connects(ctx) ? divert6(ctx, true) : PROCEED;
}

SEC("cgroup/sendmsg4")
int stream_sendmsg4(struct bpf_sock_addr *ctx)
{
	return ctx->protocol == IPPROTO_UDP ? divert4(ctx, false) : PROCEED;
}

SEC("cgroup/sendmsg6")
int stream_sendmsg6(struct bpf_sock_addr *ctx)
{
	return ctx->protocol == IPPROTO_UDP ? divert6(ctx, false) : PROCEED;
}

/* ---- who the other end is ---- */

static __always_inline int say4(struct bpf_sock_addr *ctx, const struct mvpn_end *end)
{
	__u32 ip4;

	if (!end)
		return PROCEED;
	__builtin_memcpy(&ip4, end->addr + 12, 4);
	ctx->user_ip4 = ip4;
	ctx->user_port = end->port;
	return PROCEED;
}

static __always_inline int say6(struct bpf_sock_addr *ctx, const struct mvpn_end *end)
{
	__u32 a[4];

	if (!end)
		return PROCEED;
	__builtin_memcpy(a, end->addr, 16);
	ctx->user_ip6[0] = a[0];
	ctx->user_ip6[1] = a[1];
	ctx->user_ip6[2] = a[2];
	ctx->user_ip6[3] = a[3];
	ctx->user_port = end->port;
	return PROCEED;
}

static __always_inline const struct mvpn_end *true_peer(struct bpf_sock_addr *ctx)
{
	struct bpf_sock *sk = ctx->sk;

	return sk ? bpf_sk_storage_get(&true_peers, sk, NULL, 0) : NULL;
}

SEC("cgroup/getpeername4")
int stream_getpeername4(struct bpf_sock_addr *ctx)
{
	return say4(ctx, true_peer(ctx));
}

SEC("cgroup/getpeername6")
int stream_getpeername6(struct bpf_sock_addr *ctx)
{
	return say6(ctx, true_peer(ctx));
}

SEC("cgroup/recvmsg4")
int stream_recvmsg4(struct bpf_sock_addr *ctx)
{
	FIELD(ip4, ctx->user_ip4);
	__u32 from[4] = {0, 0, bpf_htonl(0xffff), ip4};

	return say4(ctx, datagram_source(ctx, from));
}

SEC("cgroup/recvmsg6")
int stream_recvmsg6(struct bpf_sock_addr *ctx)
{
	FIELD(a0, ctx->user_ip6[0]);
	FIELD(a1, ctx->user_ip6[1]);
	FIELD(a2, ctx->user_ip6[2]);
	FIELD(a3, ctx->user_ip6[3]);
	__u32 from[4] = {a0, a1, a2, a3};

	return say6(ctx, datagram_source(ctx, from));
}

/* ---- ports that are known only once the connection is on its way ---- */

static __always_inline bool end_of(struct bpf_sock_ops *ctx, bool local, struct mvpn_end *ret)
{
	FIELD(lv4, ctx->local_ip4);
	FIELD(l0, ctx->local_ip6[0]);
	FIELD(l1, ctx->local_ip6[1]);
	FIELD(l2, ctx->local_ip6[2]);
	FIELD(l3, ctx->local_ip6[3]);
	FIELD(rv4, ctx->remote_ip4);
	FIELD(r0, ctx->remote_ip6[0]);
	FIELD(r1, ctx->remote_ip6[1]);
	FIELD(r2, ctx->remote_ip6[2]);
	FIELD(r3, ctx->remote_ip6[3]);
	FIELD(family, ctx->family);
	FIELD(lport, ctx->local_port);	 /* host order */
	FIELD(rport, ctx->remote_port); /* network order, in the upper half of what a little-endian machine reads */
	__u32 a[4] = {0, 0, bpf_htonl(0xffff), local ? lv4 : rv4};

	if (family == AF_INET6) {
		a[0] = local ? l0 : r0;
		a[1] = local ? l1 : r1;
		a[2] = local ? l2 : r2;
		a[3] = local ? l3 : r3;
	} else if (family != AF_INET) {
		return false;
	}
	__builtin_memcpy(ret->addr, a, 16);
	ret->port = local ? bpf_htons((__u16)lport) : bpf_htons((__u16)bpf_ntohl(rport));
	ret->zero = 0;
	return true;
}

static __always_inline void connecting(struct bpf_sock_ops *ctx)
{
	struct bpf_sock *sk = ctx->sk;
	const struct mvpn_end *to = sk ? bpf_sk_storage_get(&true_peers, sk, NULL, 0) : NULL;
	struct mvpn_end self;

	if (!end_of(ctx, true, &self))
		return;
	/* what an earlier one from that port has left would let this one pass in its name */
	if (to)
		bpf_map_update_elem(&diverted, &self, to, BPF_ANY);
	else
		bpf_map_delete_elem(&diverted, &self);
}

static __always_inline void accepted(struct bpf_sock_ops *ctx)
{
	struct bpf_sock *sk = ctx->sk;
	const struct mvpn_end *found;
	struct mvpn_end from, client;

	if (!sk || !end_of(ctx, false, &from))
		return;
	found = bpf_map_lookup_elem(&delivered, &from);
	if (!found)
		return;
	client = *found;
	bpf_sk_storage_get(&true_peers, sk, &client, BPF_SK_STORAGE_GET_F_CREATE);
	bpf_map_delete_elem(&delivered, &from);
}

SEC("sockops")
int stream_ops(struct bpf_sock_ops *ctx)
{
	if (ctx->op != BPF_SOCK_OPS_TCP_CONNECT_CB &&
	    ctx->op != BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB)
		return 1;
	if (bpf_get_netns_cookie(ctx) != netns_cookie)
		return 1;
	if (ctx->op == BPF_SOCK_OPS_TCP_CONNECT_CB)
		connecting(ctx);
	else
		accepted(ctx);
	return 1;
}

/* ---- whose those that are open are ---- */

SEC("iter/tcp")
int stream_owner(struct bpf_iter__tcp *ctx)
{
	struct sock_common *common = ctx->sk_common;
	struct tcp_sock *sk = common ? bpf_skc_to_tcp_sock(common) : NULL;
	struct mvpn_stream_owner e = {};
	const struct mvpn_process *known;

	if (!sk || !bpf_sk_storage_get(&true_peers, sk, NULL, 0))
		return 0;
	if (common->skc_family == AF_INET6) {
		__builtin_memcpy(e.self.addr, &common->skc_v6_rcv_saddr, 16);
	} else {
		__be32 v4 = common->skc_rcv_saddr;

		e.self.addr[10] = e.self.addr[11] = 0xff;
		__builtin_memcpy(e.self.addr + 12, &v4, 4);
	}
	e.self.port = bpf_htons(common->skc_num);
	known = bpf_sk_storage_get(&sock_process, sk, NULL, 0);
	if (known)
		e.who = *known;
	bpf_seq_write(ctx->meta->seq, &e, sizeof(e));
	return 0;
}

/*
 * The lines with `by` are asked at connect() and sendmsg(); where they have come since, or a raw socket has been given keyd's port, they are
 * asked here, of whom the socket was then, as the network shim does for packets (sender.h). -EPERM at the program.
 */
SEC("cgroup_skb/egress")
int stream_sends(struct __sk_buff *skb)
{
	const struct mvpn_processes *in_force = processes_get();
	struct bpf_sock *common = skb->sk, *sk = common ? bpf_sk_fullsock(common) : NULL;
	struct mvpn_process nobody = {};
	const struct mvpn_process *known;
	const struct mvpn_end *end;
	struct mvpn_protected prot;
	struct mvpn_refusal *e;
	struct pkt p = {};
	__u32 port;
	__u64 v;

	if (!in_force || !in_force->generation || !sk || parse_ip(skb, true, &p) != PARSED ||
	    parse_l4(skb, &p) != PARSED || p.flow.proto != IPPROTO_UDP || !p.ports)
		return PROCEED;
	port = p.flow.dport;
	end = bpf_map_lookup_elem(&end_of_port, &port);
	if (!end || !is_own_address(p.flow.dst) || bpf_sk_storage_get(&own_streams, sk, NULL, 0) ||
	    !protected_by(end->addr, &prot))
		return PROCEED;
	known = bpf_sk_storage_get(&sock_process, sk, NULL, 0);
	v = guard_ask(prot.peer, known && known->generation >= in_force->oldest ? known->traits : 0,
		      IPPROTO_UDP, bpf_ntohs(end->port), 1);
	if (GUARD_VERDICT(v) != GUARD_MAY_NOT)
		return PROCEED;
	count(MVPN_C_DROP_PROCESS, 1);
	__builtin_memcpy(p.flow.dst, end->addr, 16);
	p.flow.dport = end->port;
	e = refusal_reserve(&p.flow, known ? known : &nobody, prot.peer, MVPN_REFUSED_PACKET, GUARD_LINE(v));
	if (e)
		bpf_ringbuf_submit(e, 0);
	return REFUSE;
}

SEC("tc")
int stream_lo(struct __sk_buff *skb)
{
	if (!is_forged(skb))
		return TC_ACT_UNSPEC;
	count(MVPN_C_DROP_PROCESS, 1);
	return TC_ACT_SHOT;
}

SEC("cgroup_skb/ingress")
int stream_arrives(struct __sk_buff *skb)
{
	if (!is_from_elsewhere(skb))
		return PROCEED;
	count(MVPN_C_INGRESS_CLEAR, 1);
	return REFUSE;
}

SEC("socket")
int stream_syn(struct __sk_buff *skb)
{
	return syn_hold(skb);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
