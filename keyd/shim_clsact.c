/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where the kernel has no TCX (before 6.6): filters on a clsact qdisc. Those of a network have one handle on the first free priority of
 * the hook, which several networks share; those that translate come behind, and the last hook has the greatest priority
 * there is.
 */
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/if_ether.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <time.h>

#include "shim_priv.h"

#define HANDLE_ALONE 0x6d76 /* "mv" */
#define PRIO_FIRST 1
#define PRIO_TRIES 8 /* priority 1 may hold a filter of another kind */
#define PRIO_LAST 0xffff
#define DUMP_B 32768 /* one datagram of a netlink dump */

static bool on_ingress(enum shim_prog which)
{
	return which == SHIM_INGRESS || which == SHIM_TRANSLATE_IN;
}

static struct bpf_tc_hook hook_of(unsigned ifindex, enum shim_prog which)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)ifindex,
		    .attach_point = on_ingress(which) ? BPF_TC_INGRESS : BPF_TC_EGRESS);

	return hook;
}

static uint32_t handle_of(const struct shim *s)
{
	return s->share_dir ? s->network : HANDLE_ALONE;
}

/* the priorities that it may have */
static unsigned prio_first(enum shim_prog which)
{
	if (which == SHIM_LEAK)
		return PRIO_LAST;
	return which < SHIM_PROGS ? PRIO_FIRST : PRIO_FIRST + PRIO_TRIES;
}

static unsigned prio_last(enum shim_prog which)
{
	return which == SHIM_LEAK ? PRIO_LAST : prio_first(which) + PRIO_TRIES - 1;
}

int clsact_create(unsigned ifindex, bool *ret_made)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)ifindex,
		    .attach_point = BPF_TC_INGRESS | BPF_TC_EGRESS);
	int r = bpf_tc_hook_create(&hook);

	*ret_made = r == 0;
	return r == -EEXIST ? 0 : r;
}

/* our filter's priority on that hook, 0 if it is not there */
static unsigned find(const struct shim *s, unsigned ifindex, enum shim_prog which)
{
	struct bpf_tc_hook hook = hook_of(ifindex, which);

	for (unsigned prio = prio_first(which); prio <= prio_last(which); prio++) {
		LIBBPF_OPTS(bpf_tc_opts, o, .handle = handle_of(s), .priority = prio);

		if (bpf_tc_query(&hook, &o) == 0)
			return prio;
	}
	return 0;
}

int clsact_set(const struct shim *s, unsigned ifindex, enum shim_prog which, int prog_fd,
	       bool *ret_fresh)
{
	struct bpf_tc_hook hook = hook_of(ifindex, which);
	unsigned prio = find(s, ifindex, which), last = prio;
	int r;

	*ret_fresh = prio == 0;
	if (!prio) {
		prio = prio_first(which);
		last = prio_last(which);
	}
	do {
		LIBBPF_OPTS(bpf_tc_opts, o, .prog_fd = prog_fd, .handle = handle_of(s),
			    .priority = prio, .flags = BPF_TC_F_REPLACE);

		r = bpf_tc_attach(&hook, &o);
	} while (r < 0 && prio++ < last);
	return r;
}

void clsact_unset(const struct shim *s, unsigned ifindex, enum shim_prog which)
{
	struct bpf_tc_hook hook = hook_of(ifindex, which);
	LIBBPF_OPTS(bpf_tc_opts, o, .handle = handle_of(s), .priority = find(s, ifindex, which));

	if (o.priority)
		bpf_tc_detach(&hook, &o);
}

/* counts the classifiers of one hook whose priority is below a limit; one classifier may hold several filters */
struct tally {
	unsigned below;
	int n;
};

static int tally_classifier(const struct nlmsghdr *nh, void *arg)
{
	const struct tcmsg *t = mnl_nlmsg_get_payload(nh);
	struct tally *y = arg;

	/* the kernel tells of a priority's classifier first, with handle 0, then of what is in it */
	if (nh->nlmsg_type == RTM_NEWTFILTER && !t->tcm_handle &&
	    TC_H_MAJ(t->tcm_info) >> 16 < y->below)
		y->n++;
	return MNL_CB_OK;
}

static int classifiers_below(unsigned ifindex, __u32 parent, unsigned prio)
{
	struct mnl_socket *nl = mnl_socket_open(NETLINK_ROUTE);
	char buf[DUMP_B];
	struct tally y = {.below = prio};
	struct nlmsghdr *nh = mnl_nlmsg_put_header(buf);
	unsigned seq = (unsigned)time(NULL);
	struct tcmsg *t;
	int r = -1;

	if (!nl)
		return -errno;
	nh->nlmsg_type = RTM_GETTFILTER;
	nh->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	nh->nlmsg_seq = seq;
	t = mnl_nlmsg_put_extra_header(nh, sizeof(*t));
	t->tcm_family = AF_UNSPEC;
	t->tcm_ifindex = (int)ifindex;
	t->tcm_parent = parent;
	if (mnl_socket_bind(nl, 0, MNL_SOCKET_AUTOPID) == 0 &&
	    mnl_socket_sendto(nl, nh, nh->nlmsg_len) >= 0) {
		unsigned port = mnl_socket_get_portid(nl);

		do {
			ssize_t n = mnl_socket_recvfrom(nl, buf, sizeof(buf));

			r = n < 0 ? -1
				  : mnl_cb_run(buf, (size_t)n, seq, port, tally_classifier, &y);
		} while (r > 0);
	}
	r = r < 0 ? -errno : y.n;
	mnl_socket_close(nl);
	return r;
}

#define PARENT_INGRESS TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS)
#define PARENT_EGRESS TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_EGRESS)

int clsact_before(const struct shim *s, unsigned ifindex, enum shim_prog which)
{
	unsigned prio = find(s, ifindex, which);

	return prio ? classifiers_below(ifindex, on_ingress(which) ? PARENT_INGRESS : PARENT_EGRESS,
					prio)
		    : 0;
}

void clsact_remove_unused(unsigned ifindex)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)ifindex,
		    .attach_point = BPF_TC_INGRESS | BPF_TC_EGRESS);

	/* a failed count counts as somebody's filter */
	if (classifiers_below(ifindex, PARENT_INGRESS, PRIO_LAST + 1) == 0 &&
	    classifiers_below(ifindex, PARENT_EGRESS, PRIO_LAST + 1) == 0)
		bpf_tc_hook_destroy(&hook);
}
