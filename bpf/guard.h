/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * May this process send that there? What the lines of the policy with `by` say (maps.h, "who may send"), and what is told of those
 * that may not.
 */
#ifndef BPF_GUARD_H
#define BPF_GUARD_H

#include "maps.h"
#include "parse.h"

enum guard_verdict { GUARD_NONE, GUARD_MAY, GUARD_MAY_NOT };
/* what guard_ask() returns: the verdict, and the line that it is by */
#define GUARD_VERDICT(v) ((__u32)((v) >> 32))
#define GUARD_LINE(v) ((__u32)(v))

struct guard_asked {
	const struct mvpn_guard *g;
	__u64 traits, ret;
	__u32 proto, dport, ports;
};
#define GUARD_ANY_PROTO \
	256 /* behind headers that are not looked behind: it may be any, and all lines have to be met */

static __always_inline bool guard_about(const struct mvpn_guard_line *l,
					const struct guard_asked *a)
{
	return !l->proto || a->proto == GUARD_ANY_PROTO ||
	       (l->proto == a->proto && (!a->ports || (a->dport >= l->lo && a->dport <= l->hi)));
}

static __always_inline bool guard_met(const struct mvpn_guard_line *l, __u64 traits)
{
	const __u64 *t = l->traits;

	return !(l->flags & MVPN_GUARD_NOBODY) && (!t[0] || traits & t[0]) &&
	       (!t[1] || traits & t[1]) && (!t[2] || traits & t[2]) && (!t[3] || traits & t[3]);
}

/* 1: it is decided */
static long guard_line(__u32 i, struct guard_asked *a)
{
	const struct mvpn_guard_line *l = &a->g->lines[i];

	if (i >= MVPN_GUARD_LINES || i >= a->g->n)
		return 1;
	if (!guard_about(l, a))
		return 0;
	if (a->proto == GUARD_ANY_PROTO) {
		a->ret = (__u64)(guard_met(l, a->traits) ? GUARD_MAY : GUARD_MAY_NOT) << 32 |
			 l->line;
		return GUARD_VERDICT(a->ret) == GUARD_MAY_NOT;
	}
	if (guard_met(l, a->traits)) {
		a->ret = (__u64)GUARD_MAY << 32 | l->line;
		return 1;
	}
	if (!a->ret)
		a->ret = (__u64)GUARD_MAY_NOT << 32 | l->line;
	return 0;
}

/*
 * ports: `dport` (host order) is known, or the protocol has none; of a later fragment it is not, and every line about its protocol
 * counts. By bpf_loop(), which the verifier walks through once, not for each line.
 */
__noinline __u64 guard_ask(__u32 peer, __u64 traits, __u32 proto, __u32 dport, __u32 ports)
{
	struct guard_asked a = {.g = bpf_map_lookup_elem(&guards, &peer),
				.traits = traits,
				.proto = proto == IPPROTO_ICMPV6 ? IPPROTO_ICMP : proto,
				.dport = dport,
				.ports = ports};

	if (a.g)
		bpf_loop(MVPN_GUARD_LINES, guard_line, &a, 0);
	return a.ret;
}

static __always_inline const struct mvpn_processes *processes_get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&processes, &zero);
}

/* An event to fill and submit; NULL: one like it was told just now, or the ring is full */
static __always_inline struct mvpn_refusal *refusal_reserve(const struct mvpn_flow_key *flow,
							    const struct mvpn_process *who,
							    __u32 peer, __u32 why, __u32 line)
{
	struct mvpn_refused_key k = {.peer = peer,
				     .pid = who->pid,
				     .port = flow->dport,
				     .proto = flow->proto,
				     .why = why};
	struct mvpn_refused_state *s = bpf_map_lookup_elem(&refused, &k), fresh = {};
	__u64 now = bpf_ktime_get_ns(), alike = 1;
	struct mvpn_refusal *e;

	if (s) {
		__sync_fetch_and_add(&s->count, 1);
		if (now - s->told_ns < MVPN_REFUSED_GAP_NS)
			return NULL;
		s->told_ns = now;
		alike = s->count;
	} else {
		fresh.told_ns = now;
		bpf_map_update_elem(&refused, &k, &fresh, BPF_ANY);
	}
	e = bpf_ringbuf_reserve(&refusals, sizeof(*e), 0);
	if (!e) {
		count(MVPN_C_EVENT_LOST, 1);
		return NULL;
	}
	if (s)
		__sync_fetch_and_add(&s->count, -alike);
	__builtin_memset(e, 0, sizeof(*e));
	e->at_ns = now;
	e->count = alike;
	e->flow = *flow;
	e->cgroup = who->cgroup;
	e->inode = who->inode;
	e->peer = peer;
	e->line = line;
	e->why = why;
	e->pid = who->pid;
	e->uid = who->uid;
	e->dev = who->dev;
	return e;
}

#endif
