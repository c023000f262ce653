/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Who has certain sockets open now: a walk through the files of all processes, for what no hook has seen and for the path of a program. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include "mvpn/limits.h"
#include "mvpn/maps.h"

/* cookies of those that are asked for */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MVPN_FLOWS_ASKED_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u64);
	__type(value, __u32);
} asked SEC(".maps");

/* a task out of memory the verifier takes for the number that is wanted */
static volatile __u64 task_number;

SEC("iter/task_file")
int holder(struct bpf_iter__task_file *ctx)
{
	struct task_struct *task = ctx->task, *t;
	struct file *file = ctx->file, *exe;
	struct mm_struct *mm;
	struct mvpn_holder e = {};
	struct socket *sock;
	struct sock *sk;
	__u64 cookie;

	if (!task || !file)
		return 0;
	sock = bpf_sock_from_file(file);
	sk = sock ? sock->sk : NULL;
	if (!sk)
		return 0;
	cookie = bpf_get_socket_cookie(sk);
	if (!bpf_map_lookup_elem(&asked, &cookie))
		return 0;
	task_number = (__u64)task;
	t = (void *)task_number;
	e.cookie = cookie;
	e.pid = BPF_CORE_READ(t, tgid);
	e.uid = BPF_CORE_READ(t, cred, uid.val);
	e.cgroup = BPF_CORE_READ(t, cgroups, dfl_cgrp, kn, id);
	BPF_CORE_READ_STR_INTO(&e.comm, t, comm);
	mm = task->mm;
	exe = mm ? mm->exe_file : NULL;
	if (exe)
		bpf_d_path(&exe->f_path, e.exe, sizeof(e.exe));
	bpf_seq_write(ctx->meta->seq, &e, sizeof(e));
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
