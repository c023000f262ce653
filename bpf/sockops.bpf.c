/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The transport shim: a TCP connection that this host opens to a protected destination gets the MSS that the tunnel's path takes
 * now, before its SYN is made. The kernel's own TCP then knows it, whatever comes after in the packet's way, and what cannot be
 * changed on the way (TCP-AO) is right from the start. Connections from outside need nothing here: the fast path clamps the
 * SYN that comes in and the SYN-ACK that goes out.
 *
 * It also keeps account of connections with protected ends, at their begin and end alone: whatever opened them, the kernel too, and
 * from whichever side.
 *
 * It hangs on the root of the cgroup tree, where every network namespace passes: `netns_cookie` is ours.
 */
#include "vmlinux.h"
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "networks.h"
#include "protect.h"
#include "sockctx.h"

#define SOL_TCP 6
#define TCP_CLOSE 7
#define TCP_MAXSEG 2
#define TCP_HLEN 20
#define MSS_MIN 88 /* the least that TCP_MAXSEG takes */

static __always_inline bool destination(struct bpf_sock_ops *ctx, __u8 to[16], __u32 *ret_ip_hlen)
{
	FIELD(v4, ctx->remote_ip4);
	FIELD(a0, ctx->remote_ip6[0]);
	FIELD(a1, ctx->remote_ip6[1]);
	FIELD(a2, ctx->remote_ip6[2]);
	FIELD(a3, ctx->remote_ip6[3]);
	FIELD(family, ctx->family);
	__u32 a[4] = {0, 0, bpf_htonl(0xffff), v4};

	if (family == AF_INET6) {
		a[0] = a0;
		a[1] = a1;
		a[2] = a2;
		a[3] = a3;
	} else if (family != AF_INET) {
		return false;
	}
	/* an IPv6 socket may be used for IPv4 */
	*ret_ip_hlen = !a[0] && !a[1] && a[2] == bpf_htonl(0xffff) ? 20 : 40;
	__builtin_memcpy(to, a, 16);
	return true;
}

/* what the application itself has asked for by TCP_MAXSEG, 0: nothing */
static __always_inline __u32 asked_for(struct bpf_sock_ops *ctx)
{
	struct bpf_sock *sk = ctx->sk;
	struct tcp_sock *tcp = sk ? bpf_skc_to_tcp_sock(sk) : NULL;

	return tcp ? tcp->rx_opt.user_mss : 0;
}

static __always_inline void fit(struct bpf_sock_ops *ctx, __u32 peer, __u32 ip_hlen)
{
	const struct mvpn_key *key = bpf_map_lookup_elem(&keys, &peer);
	__u32 mine;
	int mss;

	if (!key || key->state != MVPN_KEY_ARMED || key->mtu < ip_hlen + TCP_HLEN + MSS_MIN)
		return;
	mss = key->mtu - ip_hlen - TCP_HLEN;
	mine = asked_for(ctx);
	if (!mine || mine > (__u32)mss)
		bpf_setsockopt(ctx, SOL_TCP, TCP_MAXSEG, &mss, sizeof(mss));
}

/* `by` in the policy is about who begins: what is accepted may be answered by whoever accepts it */
static __always_inline void answers(struct bpf_sock *sk)
{
	__u32 zero = 0;
	const struct mvpn_processes *in_force = bpf_map_lookup_elem(&processes, &zero);
	struct mvpn_process *p;

	if (!in_force || !in_force->generation)
		return;
	p = bpf_sk_storage_get(&sock_process, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	if (p)
		p->flags = MVPN_SOCKET_ACCEPTED;
}

/*
 * Established. Who has passed the socket shim is known; of accepted connections, the kernel's own and any other the socket itself tells
 * whose it is, but for the process.
 */
static __always_inline void begun(struct bpf_sock_ops *ctx, bool accepted)
{
	__u64 cookie = bpf_get_socket_cookie(ctx);
	struct bpf_sock *sk = ctx->sk;
	struct tcp_sock *tcp = sk ? bpf_skc_to_tcp_sock(sk) : NULL;
	struct mvpn_socket v = {};

	bpf_sock_ops_cb_flags_set(ctx, ctx->cb_flags | BPF_SOCK_OPS_STATE_CB_FLAG);
	if (accepted && sk)
		answers(sk);
	if (!tcp || bpf_map_lookup_elem(&sockets, &cookie))
		return;
	v.since_ns = bpf_ktime_get_ns();
	v.uid = tcp->inet_conn.icsk_inet.sk.sk_uid.val;
	v.cgroup = tcp->inet_conn.icsk_inet.sk.sk_cgrp_data.cgroup->kn->id;
	v.flags = accepted ? MVPN_SOCKET_ACCEPTED : 0;
	bpf_map_update_elem(&sockets, &cookie, &v, BPF_NOEXIST);
}

static __always_inline void ended(struct bpf_sock_ops *ctx)
{
	__u64 cookie = bpf_get_socket_cookie(ctx);
	struct mvpn_socket *s = bpf_map_lookup_elem(&sockets, &cookie);

	if (!s)
		return;
	s->bytes_in = ctx->bytes_received;
	s->bytes_out = ctx->bytes_acked;
	s->srtt_us = ctx->srtt_us >> 3; /* the kernel keeps eight times as much */
	s->ended_ns = bpf_ktime_get_ns();
}

SEC("sockops")
int transport(struct bpf_sock_ops *ctx)
{
	struct mvpn_protected prot;
	__u32 ip_hlen, op = ctx->op;
	__u8 to[16];

	if (op == BPF_SOCK_OPS_STATE_CB) {
		/* asked for by begun() alone */
		if (ctx->args[1] == TCP_CLOSE)
			ended(ctx);
		return 1;
	}
	if ((op != BPF_SOCK_OPS_TCP_CONNECT_CB && op != BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB &&
	     op != BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB) ||
	    bpf_get_netns_cookie(ctx) != netns_cookie || !destination(ctx, to, &ip_hlen) ||
	    !protected_by(to, &prot) || (prot.flags & MVPN_PROT_LOCAL) || anothers(0, to))
		return 1;
	if (op == BPF_SOCK_OPS_TCP_CONNECT_CB)
		fit(ctx, prot.peer, ip_hlen);
	else
		begun(ctx, op == BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB);
	return 1;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
