/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The socket shim: whoever connects to a protected destination, or sends a datagram there, and finds no session makes keyd ask
 * for one before the first packet is made, let alone has found its neighbour and a way to the network shim. And it notes whose
 * socket that is. If the policy says `by` and means other processes, the call fails at once.
 *
 * Packet sockets may ask to go round tc, and the network shim with it (PACKET_QDISC_BYPASS): they are told yes, and do not.
 *
 * Nobody but keyd may bind a port of keyd's that applications' sockets send to (keyd/ports.h).
 *
 * What must not leave in clear, or not from this process, the network shim stops, whatever happens here. It changes no address, so
 * sockets that are open when it comes or goes notice nothing, and programs that were started before it are seen like others.
 */
#include "vmlinux.h"
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "account.h"
#include "exempt.h"
#include "level.h"
#include "networks.h"
#include "process.h"
#include "protect.h"
#include "sockctx.h"

#define SOL_PACKET 263
#define PACKET_QDISC_BYPASS 20
#define OPTION_SEEN_B 4096 /* the least page */
#define REFUSE 0 /* EPERM */
#define PROCEED 1

const volatile __u32 namespaces = MVPN_NETNS_AUTO; /* enum mvpn_namespaces */

/* containers have namespaces of their own and go by this host's routes, if this is the host */
static __always_inline bool ours(struct bpf_sock_addr *ctx)
{
	return namespaces == MVPN_NETNS_ALL || bpf_get_netns_cookie(ctx) == netns_cookie ||
	       (namespaces == MVPN_NETNS_AUTO && bpf_get_netns_cookie(NULL) == netns_cookie);
}

static __always_inline bool is_v4(const __u32 to[4])
{
	return !to[0] && !to[1] && to[2] == bpf_htonl(0xffff);
}

/* keyd's own, or the channel to a server, which egress lets pass */
static __always_inline bool is_own(struct bpf_sock_addr *ctx, const struct mvpn_flow_key *flow)
{
	__u64 cookie = bpf_get_socket_cookie(ctx);
	struct mvpn_exempt e = {.port = flow->dport, .proto = flow->proto};

	__builtin_memcpy(e.addr, flow->dst, 16);
	return bpf_map_lookup_elem(&own_sockets, &cookie) || bpf_map_lookup_elem(&exempt, &e);
}

/* what goes to keyd (stream.bpf.c), or keyd's to the other one: no packet needs a session */
static __always_inline bool by_stream(struct bpf_sock_addr *ctx, __u32 peer)
{
	bool layered;

	return (ctx->protocol == IPPROTO_TCP || ctx->protocol == IPPROTO_UDP) &&
	       bpf_get_netns_cookie(ctx) == netns_cookie && at_socket(peer, &layered) && !layered;
}

/* who it is; an entry that is there is the same process's, or the socket was handed on */
static __always_inline void record(__u64 cookie)
{
	__u32 pid = bpf_get_current_pid_tgid() >> 32;
	const struct mvpn_socket *known = bpf_map_lookup_elem(&sockets, &cookie);
	struct mvpn_socket v = {};

	if (known && known->pid == pid && !known->ended_ns)
		return;
	v.since_ns = bpf_ktime_get_ns();
	v.pid = pid;
	v.uid = (__u32)bpf_get_current_uid_gid();
	v.cgroup = bpf_get_current_cgroup_id();
	bpf_get_current_comm(v.comm, sizeof(v.comm));
	bpf_map_update_elem(&sockets, &cookie, &v, BPF_ANY);
}

enum looked { UNPROTECTED, PROTECTED, GUARDED, REFUSED };

static __always_inline enum looked look_up(struct bpf_sock_addr *ctx, const __u32 to[4])
{
	struct mvpn_flow_key flow = {};
	enum looked ret = PROTECTED;
	const struct mvpn_key *key;
	struct mvpn_protected prot;
	__u64 now;

	__builtin_memcpy(flow.dst, to, 16);
	if (!protected_by(flow.dst, &prot) || (prot.flags & MVPN_PROT_LOCAL) || anothers(0, flow.dst) ||
	    never_owned(flow.dst, bpf_htons(is_v4(to) ? ETH_P_IP : ETH_P_IPV6)))
		return UNPROTECTED;
	record(bpf_get_socket_cookie(ctx));
	flow.dport = (__be16)ctx->user_port;
	flow.proto = ctx->protocol;
	/* without keyd the indices of peers may be of its last life, and nothing passes anyway */
	if (prot.peer == MVPN_PEER_NONE || !keyd_runs(config_get()) || is_own(ctx, &flow))
		return PROTECTED;
	if (bpf_map_lookup_elem(&guards, &prot.peer)) {
		if (process_refused(ctx, &flow, prot.peer, true))
			return REFUSED;
		ret = GUARDED;
	}
	key = bpf_map_lookup_elem(&keys, &prot.peer);
	if ((key && key->state != MVPN_KEY_NONE) || by_stream(ctx, prot.peer))
		return ret;
	now = bpf_ktime_get_ns();
	if (event_due(prot.peer, now, BY_SOCKET))
		event_send(&flow, prot.peer, MVPN_EVENT_SOCKET, now, 0, 0);
	return ret;
}

/*
 * A sender of many datagrams pays for the look-up now and then: its socket remembers where it has just sent to. Not so where it
 * depends on the process.
 */
static __always_inline int look_up_once(struct bpf_sock_addr *ctx, const __u32 to[4])
{
	struct mvpn_sock_last *last;
	struct bpf_sock *sk = ctx->sk;
	enum looked found;
	__u64 now;

	if (!sk)
		return PROCEED;
	last = bpf_sk_storage_get(&sock_last, sk, NULL, 0);
	now = bpf_ktime_get_coarse_ns();
	if (last && now - last->at_ns < MVPN_SOCK_LAST_NS) {
		__u64 same[2], dst[2];

		__builtin_memcpy(same, last->addr, 16);
		__builtin_memcpy(dst, to, 16);
		if (same[0] == dst[0] && same[1] == dst[1])
			return PROCEED;
	}
	found = look_up(ctx, to);
	if (found != PROTECTED)
		return found == REFUSED ? REFUSE : PROCEED;
	if (!last)
		last = bpf_sk_storage_get(&sock_last, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	if (!last)
		return PROCEED;
	__builtin_memcpy(last->addr, to, 16);
	last->at_ns = now;
	return PROCEED;
}

static __always_inline void v4(struct bpf_sock_addr *ctx, __u32 to[4])
{
	FIELD(a, ctx->user_ip4);

	to[0] = to[1] = 0;
	to[2] = bpf_htonl(0xffff);
	to[3] = a;
}

/* an IPv6 socket may be used for IPv4 */
static __always_inline void v6(struct bpf_sock_addr *ctx, __u32 to[4])
{
	FIELD(a0, ctx->user_ip6[0]);
	FIELD(a1, ctx->user_ip6[1]);
	FIELD(a2, ctx->user_ip6[2]);
	FIELD(a3, ctx->user_ip6[3]);

	to[0] = a0;
	to[1] = a1;
	to[2] = a2;
	to[3] = a3;
}

SEC("cgroup/connect4")
int connect4(struct bpf_sock_addr *ctx)
{
	__u32 to[4];

	v4(ctx, to);
	return ours(ctx) && look_up(ctx, to) == REFUSED ? REFUSE : PROCEED;
}

SEC("cgroup/connect6")
int connect6(struct bpf_sock_addr *ctx)
{
	__u32 to[4];

	v6(ctx, to);
	return ours(ctx) && look_up(ctx, to) == REFUSED ? REFUSE : PROCEED;
}

SEC("cgroup/sendmsg4")
int sendmsg4(struct bpf_sock_addr *ctx)
{
	__u32 to[4];

	v4(ctx, to);
	return ours(ctx) ? look_up_once(ctx, to) : PROCEED;
}

SEC("cgroup/sendmsg6")
int sendmsg6(struct bpf_sock_addr *ctx)
{
	__u32 to[4];

	v6(ctx, to);
	return ours(ctx) ? look_up_once(ctx, to) : PROCEED;
}

/*
 * A port of keyd's to which applications are connected without knowing it is not for others, least of all when keyd has died: they would
 * get in clear what was to be sealed.
 */
static __always_inline int may_bind(struct bpf_sock_addr *ctx)
{
	struct mvpn_kept_port key = {.port = (__be16)ctx->user_port, .proto = ctx->protocol};
	struct bpf_sock *sk = ctx->sk;

	if (!key.port || !sk || bpf_get_netns_cookie(ctx) != netns_cookie ||
	    !bpf_map_lookup_elem(&kept_ports, &key))
		return PROCEED;
	return bpf_sk_storage_get(&own_streams, sk, NULL, 0) ? PROCEED : REFUSE;
}

SEC("cgroup/bind4")
int bind4(struct bpf_sock_addr *ctx)
{
	return may_bind(ctx);
}

SEC("cgroup/bind6")
int bind6(struct bpf_sock_addr *ctx)
{
	return may_bind(ctx);
}

/* raw and ping sockets pass no other hook: whose they are is noted when they are made */
SEC("cgroup/sock_create")
int create(struct bpf_sock *ctx)
{
	if ((ctx->type == SOCK_RAW || ctx->protocol == IPPROTO_ICMP || ctx->protocol == IPPROTO_ICMPV6) &&
	    bpf_get_netns_cookie(ctx) == netns_cookie)
		record(bpf_get_socket_cookie(ctx));
	return PROCEED;
}

/*
 * A program that asks for it wants speed alone, and is not refused, for some take that for an error. Length 0 gives the kernel the option as
 * the program has it: one of more than a page, of which we see the beginning, must have it, and none that another program has changed.
 */
SEC("cgroup/setsockopt")
int set_option(struct bpf_sockopt *ctx)
{
	__u8 *value = (void *)(long)ctx->optval, *end = (void *)(long)ctx->optval_end;

	if (ctx->optlen > OPTION_SEEN_B)
		ctx->optlen = 0;
	else if (ctx->level == SOL_PACKET && ctx->optname == PACKET_QDISC_BYPASS &&
		 value + sizeof(__u32) <= end && bpf_get_netns_cookie(ctx) == netns_cookie)
		__builtin_memset(value, 0, sizeof(__u32));
	return PROCEED;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
