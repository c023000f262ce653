/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Whose a socket is: the process's user, program and control groups, and so which traits it has that the policy asks for. A task is
 * a number here: what is behind it is read as memory, for the same code is used for the current one and for all others.
 */
#ifndef BPF_PROCESS_H
#define BPF_PROCESS_H

#include "guard.h"
#include "sockctx.h"
#include <bpf/bpf_core_read.h>

static __always_inline struct cgroup *cgroup_of(struct task_struct *t)
{
	return BPF_CORE_READ(t, cgroups, dfl_cgrp);
}

/* which process: not what it is asked for */
static __always_inline void process_identify(struct mvpn_process *p, struct task_struct *t)
{
	struct file *exe = BPF_CORE_READ(t, mm, exe_file);

	p->pid = BPF_CORE_READ(t, tgid);
	p->uid = BPF_CORE_READ(t, cred, uid.val);
	p->cgroup = BPF_CORE_READ(cgroup_of(t), kn, id);
	p->inode = 0;
	p->dev = 0;
	if (exe) {
		p->inode = BPF_CORE_READ(exe, f_inode, i_ino);
		p->dev = BPF_CORE_READ(exe, f_inode, i_sb, s_dev);
	}
}

static __always_inline bool process_same(const struct mvpn_process *a, const struct mvpn_process *b)
{
	return a->pid == b->pid && a->uid == b->uid && a->cgroup == b->cgroup &&
	       a->inode == b->inode && a->dev == b->dev;
}

/* the name of the group `level` levels below the root; its length with the NUL, 0: too long, or there is none */
static __always_inline int group_name(struct cgroup *group, int level, char *ret,
				      const char **ret_where)
{
	struct cgroup **list = (void *)group + bpf_core_field_offset(struct cgroup, ancestors);
	struct cgroup *at = NULL;
	int len;

	bpf_probe_read_kernel(&at, sizeof(at), list + level);
	*ret_where = BPF_CORE_READ(at, kn, name);
	len = bpf_probe_read_kernel_str(ret, MVPN_GROUP_NAME_B, *ret_where);
	return len > 1 && len < MVPN_GROUP_NAME_B ? len : 0;
}

static __always_inline bool is_slice(const char *name, int len)
{
	char end[8] = "";

	if (len <= (int)sizeof(".slice"))
		return false;
	bpf_probe_read_kernel(end, sizeof(".slice"), name + len - sizeof(".slice"));
	return end[0] == '.' && end[1] == 's' && end[2] == 'l' && end[3] == 'i' && end[4] == 'c' &&
	       end[5] == 'e';
}

/* on the way from the root; by bpf_loop(), which the verifier walks through once, not for each level */
struct group_walk {
	struct cgroup *group;
	__u64 traits;
	int level; /* of the group that the process is in */
	__u32 node;
	bool path, slices;
	int unit; /* level of the first one that is no slice, or of the last */
	struct mvpn_group_key k;
};

/*
 * A path of the policy goes by nodes; a unit is a group inside slices alone, as systemd's own are: whoever is given a part of the
 * tree (a user's manager, a container) is in a service or scope, and makes none.
 */
static long group_step(__u32 i, struct group_walk *w)
{
	const struct mvpn_group *g;
	const char *name;
	int len;

	if ((int)i >= w->level || (!w->path && !w->slices))
		return 1;
	__builtin_memset(&w->k, 0, sizeof(w->k));
	len = group_name(w->group, (int)i + 1, w->k.name, &name);
	if (!len)
		return 1;
	w->k.under = w->node;
	g = w->path ? bpf_map_lookup_elem(&groups, &w->k) : NULL;
	w->path = g;
	if (g) {
		w->traits |= g->traits;
		w->node = g->node;
	}
	if (!w->slices)
		return 0;
	w->k.under = MVPN_GROUP_UNIT;
	g = bpf_map_lookup_elem(&groups, &w->k);
	if (g)
		w->traits |= g->traits;
	w->unit = (int)i + 1;
	w->slices = is_slice(name, len);
	return 0;
}

static __always_inline void group_look(struct group_walk *w, struct task_struct *t)
{
	struct cgroup *group = cgroup_of(t);

	w->group = group;
	w->level = BPF_CORE_READ(group, level);
	w->path = w->slices = true;
	bpf_loop(MVPN_GROUP_DEPTH, group_step, w, 0);
}

/* What it is asked for; a kernel thread is nothing of it. Not inlined: verified once. */
__noinline int process_look(struct mvpn_process *p, __u64 task)
{
	struct task_struct *t = (void *)task;
	struct group_walk w = {};
	struct mvpn_exe exe = {};
	const __u64 *found;
	__u32 uid;

	if (!p)
		return 0;
	group_look(&w, t);
	p->unit = (__u16)w.unit;
	p->traits = 0;
	if (BPF_CORE_READ(t, flags) & PF_KTHREAD)
		return 0;
	exe.inode = p->inode;
	exe.dev = p->dev;
	uid = p->uid; /* 6.1 takes a key from the stack alone */
	found = bpf_map_lookup_elem(&uids, &uid);
	if (found)
		w.traits |= *found;
	found = p->inode ? bpf_map_lookup_elem(&exes, &exe) : NULL;
	if (found)
		w.traits |= *found;
	p->traits = w.traits;
	return 0;
}

/* of what has just been refused by the current task */
__noinline int refusal_by_current(const struct mvpn_flow_key *flow, const struct mvpn_process *who,
				  __u32 peer, __u32 line)
{
	struct task_struct *t = (void *)bpf_get_current_task();
	struct mvpn_refusal *e;
	const char *name;

	if (!flow || !who)
		return 0;
	e = refusal_reserve(flow, who, peer, MVPN_REFUSED_CALL, line);
	if (!e)
		return 0;
	BPF_CORE_READ_STR_INTO(&e->comm, t, comm);
	bpf_probe_read_kernel_str(e->exe, sizeof(e->exe),
				  BPF_CORE_READ(t, mm, exe_file, f_path.dentry, d_name.name));
	if (who->unit)
		group_name(cgroup_of(t), who->unit, e->unit, &name);
	bpf_ringbuf_submit(e, 0);
	return 0;
}

/*
 * Is what the current process wants to send there refused? What is not about `by` passes. The socket is told whose it is, for the
 * network shim, which sees its packets.
 */
static __always_inline bool process_refused(struct bpf_sock_addr *ctx,
					    const struct mvpn_flow_key *flow, __u32 peer, bool tell)
{
	const struct mvpn_processes *in_force = processes_get();
	struct task_struct *t = (void *)bpf_get_current_task();
	struct bpf_sock *sk = ctx->sk;
	struct mvpn_process now = {}, *known;
	__u64 v;

	if (!in_force || !sk || !bpf_map_lookup_elem(&guards, &peer) ||
	    bpf_sk_storage_get(&own_streams, sk, NULL, 0))
		return false;
	process_identify(&now, t);
	known = bpf_sk_storage_get(&sock_process, sk, NULL, 0);
	if (known && known->generation == in_force->generation && process_same(known, &now)) {
		now.traits = known->traits;
		now.unit = known->unit;
	} else {
		now.generation = in_force->generation;
		if (bpf_get_netns_cookie(ctx) != netns_cookie)
			now.flags = MVPN_SOCKET_ELSEWHERE;
		process_look(&now, (__u64)t);
		known = bpf_sk_storage_get(&sock_process, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
		if (known)
			*known = now;
	}
	v = guard_ask(peer, now.traits, flow->proto, bpf_ntohs(flow->dport), 1);
	if (GUARD_VERDICT(v) != GUARD_MAY_NOT)
		return false;
	if (tell) {
		count(MVPN_C_REFUSE_PROCESS, 1);
		refusal_by_current(flow, &now, peer, GUARD_LINE(v));
	}
	return true;
}

#endif
