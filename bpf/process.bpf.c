/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Whose each socket is, where the policy asks: noted when it is made, whatever kind of IP socket it is, and of those that are there
 * already by a walk through all processes. The socket shim notes it anew at each connect() and sendmsg().
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include "process.h"

#define PROCEED 1

/* of the task that is looked at: out of memory the verifier takes it for the number that the functions below want */
static volatile __u64 task_number;

SEC("cgroup/sock_create")
int sock_made(struct bpf_sock *sk)
{
	const struct mvpn_processes *in_force = processes_get();
	struct task_struct *t = (void *)bpf_get_current_task();
	struct mvpn_process now = {}, *p;

	if (!in_force)
		return PROCEED;
	now.generation = in_force->generation;
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
	t = (void *)task_number;
	now.generation = in_force->generation;
	process_identify(&now, t);
	process_look(&now, (__u64)t);
	cookie = bpf_get_socket_cookie(sk);
	known = bpf_map_lookup_elem(&sockets, &cookie);
	if (known)
		now.flags = known->flags & MVPN_SOCKET_ACCEPTED;
	*p = now;
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
