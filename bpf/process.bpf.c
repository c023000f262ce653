/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Whose each socket is, where the policy asks: noted when it is made, whatever kind of IP socket it is, and of those that are there
 * already by a walk through all processes. The socket shim notes it anew at each connect() and sendmsg().
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include "process.h"
#include "protect.h"

#define PROCEED 1

/* of the task and the socket that are looked at: out of memory the verifier takes them for the numbers that are wanted */
static volatile __u64 task_number, sock_number;

SEC("cgroup/sock_create")
int sock_made(struct bpf_sock *sk)
{
	const struct mvpn_processes *in_force = processes_get();
	struct task_struct *t = (void *)bpf_get_current_task();
	struct mvpn_process now = {}, *p;

	if (!in_force)
		return PROCEED;
	now.generation = in_force->generation;
	if (bpf_get_netns_cookie(sk) != netns_cookie)
		now.flags = MVPN_SOCKET_ELSEWHERE;
	process_identify(&now, t);
	process_look(&now, (__u64)t);
	p = bpf_sk_storage_get(&sock_process, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	if (p)
		*p = now;
	return PROCEED;
}

/*
 * A socket that several processes have is that one's who has used it last, as far as it is known, else any one's. What was accepted
 * stays so: the transport shim remembers.
 */
SEC("iter/task_file")
int sock_found(struct bpf_iter__task_file *ctx)
{
	const struct mvpn_processes *in_force = processes_get();
	struct task_struct *task = ctx->task, *t;
	struct file *file = ctx->file;
	const struct mvpn_socket *known;
	struct mvpn_process now = {}, *p;
	struct socket *sock;
	struct sock *sk;
	__u64 cookie;

	if (!in_force || !task || !file)
		return 0;
	sock = bpf_sock_from_file(file);
	sk = sock ? sock->sk : NULL;
	if (!sk)
		return 0;
	p = bpf_sk_storage_get(&sock_process, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	if (!p || (p->generation == in_force->generation && p->pid != (__u32)task->tgid))
		return 0;
	task_number = (__u64)task;
	sock_number = (__u64)sk;
	t = (void *)task_number;
	now.generation = in_force->generation;
	process_identify(&now, t);
	process_look(&now, (__u64)t);
	cookie = bpf_get_socket_cookie(sk);
	known = bpf_map_lookup_elem(&sockets, &cookie);
	if (known)
		now.flags = known->flags & MVPN_SOCKET_ACCEPTED;
	if (BPF_CORE_READ((struct sock *)sock_number, __sk_common.skc_net.net, net_cookie) != netns_cookie)
		now.flags |= MVPN_SOCKET_ELSEWHERE;
	*p = now;
	return 0;
}

static __always_inline void vouch(const struct mvpn_flow_key *flow, const struct mvpn_process *p)
{
	struct mvpn_vouched *known = bpf_map_lookup_elem(&vouched, flow), v = {};

	v.traits = p->traits;
	v.generation = p->generation;
	v.at_ns = bpf_ktime_get_ns();
	if (known)
		*known = v;
	else
		bpf_map_update_elem(&vouched, flow, &v, BPF_ANY);
}

/*
 * What a container sends has no socket any more when this host forwards it: so its flow is noted here, on the way out of the container,
 * just before. It drops nothing; what has not been noted the network shim refuses.
 */
SEC("cgroup_skb/egress")
int sock_sends(struct __sk_buff *skb)
{
	struct bpf_sock *common = skb->sk, *sk = common ? bpf_sk_fullsock(common) : NULL;
	const struct mvpn_process *known;
	struct mvpn_protected prot;
	struct mvpn_flow_key k;
	struct pkt p = {};

	known = sk ? bpf_sk_storage_get(&sock_process, sk, NULL, 0) : NULL;
	if (!known || !(known->flags & MVPN_SOCKET_ELSEWHERE) ||
	    parse_ip(skb, true, &p) != PARSED || !protected_by(p.flow.dst, &prot) ||
	    !bpf_map_lookup_elem(&guards, &prot.peer) || parse_l4(skb, &p) != PARSED)
		return PROCEED;
	k = p.flow;
	vouch(&k, known);
	__builtin_memset(k.src, 0, sizeof(k.src));
	vouch(&k, known);
	return PROCEED;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
