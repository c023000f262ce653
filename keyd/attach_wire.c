/* SPDX-License-Identifier: BSD-2-Clause */
/* Which wire an attached interface gets: down the ladder from zero-copy AF_XDP to the UDP socket, and why. */
#include "attach.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dp/frame.h"
#include "dp/wire.h"
#include "log.h"
#include "sessions.h"

#define XDP_ZEROCOPY_FEATURE (1 << 3) /* NETDEV_XDP_ACT_XSK_ZEROCOPY, <linux/netdev.h> of 6.3 */

void attach_own_sockets(struct keyd *k)
{
	uint64_t cookies[DP_SOCKETS_MAX];
	unsigned n = dp_socket_cookies(k->dp, cookies, DP_SOCKETS_MAX);
	int r = shim_own_sockets_set(k->shim, cookies, n);

	if (r)
		log_err("cannot tell the shim which sockets are ours: %s; sealed packets would be "
			"taken for the host's own",
			strerror(-r));
}

/* which wire `auto` takes, and why, in words for `status` */
static bool auto_xdp(struct keyd *k, const struct nl_link *link, char *why, size_t size)
{
	uint64_t features = 0;
	int r;

	if (!link->has_mac) {
		snprintf(why, size, "auto: %s has no Ethernet framing", link->name);
		return false;
	}
	r = nl_xdp_features(k->nl, link->ifindex, &features);
	if (!r && (features & XDP_ZEROCOPY_FEATURE)) {
		snprintf(why, size, "auto: driver %s has zero-copy AF_XDP", link->driver);
		return true;
	}
	if (!strcmp(link->kind, "veth"))
		snprintf(why, size,
			 "auto: veth has no zero-copy AF_XDP, and attaching XDP costs all other "
			 "traffic a copy or its segmentation offload");
	else
		snprintf(why, size,
			 "auto: driver %s %s (XDP features %#llx); copies would cost more than "
			 "they save",
			 link->driver[0] ? link->driver : "(unknown)",
			 r ? "does not tell of zero-copy AF_XDP" : "has no zero-copy AF_XDP",
			 (unsigned long long)features);
	return false;
}

static void xsk_error(const char *name, unsigned mtu, int r, char **ret_error)
{
	int n = r == -EMSGSIZE
			? asprintf(ret_error,
				   "the MTU of %s, %u, is beyond what an AF_XDP frame holds, %u, "
				   "and packets in several frames need Linux 6.6",
				   name, mtu, (unsigned)FRAME_MTU_MAX)
		: r == -EAGAIN
			? asprintf(ret_error,
				   "a queue of %s still has an AF_XDP socket after %u ms: another "
				   "program's (`ss --xdp` lists them)",
				   name, DP_XSK_BUSY_MS)
			: asprintf(ret_error, "AF_XDP sockets on %s: %s", name, strerror(-r));

	if (n < 0)
		*ret_error = NULL;
}

/* one socket on every queue. -EAGAIN: one is busy */
static int sockets_add(struct keyd *k, struct attachment *a, const struct nl_link *link,
		       enum shim_xdp mode, int map, char **ret_error)
{
	struct dp_xsk_config c = {
		.ifindex = a->ifindex, .xsks_map = map, .generic = mode == SHIM_XDP_GENERIC};
	struct dp_xsk_info info;
	int r;

	a->queues = link->rx_queues ? link->rx_queues : 1;
	if (a->want_queues && a->want_queues < a->queues) {
		if (asprintf(ret_error,
			     "%s has %u receive queues and each needs a socket, or packets are "
			     "lost: reduce them with `ethtool -L %s combined %u` first",
			     a->name, a->queues, a->name, a->want_queues) < 0)
			*ret_error = NULL;
		return -EINVAL;
	}
	c.nqueues = a->queues;
	r = dp_xsk_add(k->dp, &c, &info);
	if (r == -EBUSY)
		r = -EAGAIN;
	if (r) {
		xsk_error(a->name, link->mtu, r, ret_error);
		return r;
	}
	a->xdp = true;
	a->zerocopy = info.zerocopy;
	a->sends = info.sends;
	r = k->conf.busy_poll ? shim_defer(k->shim, a->name) : 0;
	if (r)
		log_warn("interrupts of %s are not deferred: %s; busy polling goes on without",
			 a->name, strerror(-r));
	return 0;
}

/* one rung: XDP in this mode, and the sockets */
static int xdp_rung(struct keyd *k, struct attachment *a, enum shim_xdp mode, char **ret_error)
{
	struct nl_link link;
	int map, r;

	r = shim_attach_xdp(k->shim, a->name, mode,
			    wire_xdp_frame_max(a->mtu, mode == SHIM_XDP_GENERIC), &map, ret_error);
	if (r)
		return r;
	a->shim.xdp = mode;
	/* counted now: some drivers add queues when XDP attaches */
	r = nl_link_get(k->nl, a->name, &link);
	if (!r)
		r = sockets_add(k, a, &link, mode, map, ret_error);
	if (r && r != -EAGAIN)
		shim_detach_xdp(k->shim, a->name);
	return r;
}

/*
 * Native first, but on veth: there the kernel copies each packet for a native program and not always for a generic one, joined
 * packets come as one, and the far end keeps its segmentation offload: measured (docs/benchmarks.md). Only busy polling needs
 * native mode, and an old kernel, which cannot receive what is joined.
 */
static bool generic_first(const struct keyd *k, const struct attachment *a,
			  const struct nl_link *link)
{
	return !strcmp(link->kind, "veth") && !k->conf.busy_poll &&
	       !wire_xdp_frame_max(a->mtu, true);
}

static int climb(struct keyd *k, struct attachment *a, const struct nl_link *link, char **ret_error)
{
	bool generic = generic_first(k, a, link);
	const enum shim_xdp first = generic ? SHIM_XDP_GENERIC : SHIM_XDP_NATIVE,
			    second = generic ? SHIM_XDP_NATIVE : SHIM_XDP_GENERIC;
	const char *names[] = {[SHIM_XDP_NATIVE] = "native", [SHIM_XDP_GENERIC] = "generic"};
	char *error[2] = {NULL, NULL};
	int r = xdp_rung(k, a, first, &error[0]);

	if (!r && generic && a->want == WIRE_XDP)
		snprintf(a->reason, sizeof(a->reason),
			 "asked for; generic XDP is faster than native on veth, and leaves the far "
			 "end its segmentation offload");
	if (r && r != -EAGAIN) {
		r = xdp_rung(k, a, second, &error[1]);
		if (!r)
			snprintf(a->reason, sizeof(a->reason), "%s XDP refused: %s", names[first],
				 error[0] ? error[0] : "?");
	}
	if (r &&
	    asprintf(ret_error, "no AF_XDP wire on %s: %s: %s%s%s%s%s", a->name, names[first],
		     error[0] ? error[0] : "?", error[1] ? "; " : "", error[1] ? names[second] : "",
		     error[1] ? ": " : "", error[1] ? error[1] : "") < 0)
		*ret_error = NULL;
	free(error[0]);
	free(error[1]);
	return r;
}

/* the UDP wire: `queues` asks for so many workers at least */
static int udp_workers(struct keyd *k, struct attachment *a, char **ret_error)
{
	int r = dp_workers_grow(k->dp, a->want_queues);

	if (r && asprintf(ret_error, "%u workers: %s (at most %u)", a->want_queues, strerror(-r),
			  MVPN_WORKERS_MAX) < 0)
		*ret_error = NULL;
	return r;
}

static int choose(struct keyd *k, struct attachment *a, const struct nl_link *link,
		  char **ret_error)
{
	bool xdp = a->want == WIRE_XDP;
	char *error = NULL;
	int r;

	a->xdp = a->sends = false;
	shim_undefer(k->shim, a->name); /* what a keyd that was killed has left */
	snprintf(a->reason, sizeof(a->reason), "asked for");
	if (a->want == WIRE_AUTO)
		xdp = auto_xdp(k, link, a->reason, sizeof(a->reason));
	if (!xdp)
		return udp_workers(k, a, ret_error);
	r = climb(k, a, link, &error);
	if (r == -EAGAIN && (!a->busy_until_ms || mono_ms() < a->busy_until_ms)) {
		if (!a->busy_until_ms)
			a->busy_until_ms = mono_ms() + DP_XSK_BUSY_MS;
		snprintf(a->reason, sizeof(a->reason),
			 "a queue still has an AF_XDP socket, closed lately or another program's: "
			 "trying again");
		loop_timer_arm(k->rewire, DP_XSK_RETRY_MS);
		free(error);
		return 0;
	}
	a->busy_until_ms = 0;
	if (r) {
		shim_detach_xdp(k->shim, a->name);
		snprintf(a->reason, sizeof(a->reason), "%s%s", a->want == WIRE_AUTO ? "auto: " : "",
			 error ? error : "AF_XDP refused");
	}
	if (a->want == WIRE_AUTO)
		r = 0;
	if (r)
		*ret_error = error;
	else
		free(error);
	return r;
}

static int start(struct keyd *k, struct attachment *a, const struct nl_link *link, char **ret_error)
{
	unsigned before = dp_workers(k->dp);
	int r = choose(k, a, link, ret_error);

	if (dp_workers(k->dp) > before)
		sessions_workers_grown(k);
	return r;
}

int attach_wire_start(struct keyd *k, struct attachment *a, const struct nl_link *link,
		      char **ret_error)
{
	a->busy_until_ms = 0;
	return start(k, a, link, ret_error);
}

void attach_wire_stop(struct keyd *k, struct attachment *a)
{
	if (a->busy_until_ms) {
		a->busy_until_ms = 0;
		shim_detach_xdp(k->shim, a->name);
		attach_settled(k, a, -ECANCELED, "another request came in between");
	}
	if (!a->xdp)
		return;
	dp_xsk_del(k->dp, a->ifindex);
	shim_detach_xdp(k->shim, a->name);
	shim_undefer(k->shim, a->name);
	a->xdp = a->sends = false;
}

void attach_wire_retry(void *arg)
{
	struct keyd *k = arg;
	struct attachment *list[MVPN_IFACES_MAX];
	unsigned n = k->nifaces;

	/* a copy: what is settled may be detached */
	memcpy(list, k->ifaces, sizeof(list));
	for (unsigned i = 0; i < n; i++) {
		struct attachment *a = list[i];
		struct nl_link link;
		char *error = NULL;
		int r;

		if (!a->busy_until_ms || nl_link_get(k->nl, a->name, &link))
			continue;
		r = start(k, a, &link, &error);
		if (a->busy_until_ms)
			continue;
		attach_own_sockets(k);
		attach_settled(k, a, r, error);
		free(error);
	}
}
