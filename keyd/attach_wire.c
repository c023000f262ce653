/* SPDX-License-Identifier: BSD-2-Clause */
/* Which wire an attached interface gets: down the ladder from zero-copy AF_XDP to the UDP socket, and why. */
#include "attach.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dp/frame.h"
#include "log.h"

#define XDP_ZEROCOPY_FEATURE (1 << 3) /* NETDEV_XDP_ACT_XSK_ZEROCOPY, <linux/netdev.h> of 6.3 */

void attach_own_sockets(struct keyd *k)
{
	uint64_t cookies[MVPN_WORKERS_MAX];
	unsigned n = dp_socket_cookies(k->dp, cookies, MVPN_WORKERS_MAX);
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

	if (!strcmp(link->kind, "veth")) {
		snprintf(why, size,
			 "auto: veth, where attaching XDP takes segmentation offload from all "
			 "other traffic");
		return false;
	}
	if (!link->has_mac) {
		snprintf(why, size, "auto: %s has no Ethernet framing", link->name);
		return false;
	}
	if (!nl_xdp_features(k->nl, link->ifindex, &features) &&
	    (features & XDP_ZEROCOPY_FEATURE)) {
		snprintf(why, size, "auto: driver %s has zero-copy AF_XDP", link->driver);
		return true;
	}
	snprintf(why, size,
		 "auto: driver %s shows no zero-copy AF_XDP; copies would cost more than they save",
		 link->driver[0] ? link->driver : "(unknown)");
	return false;
}

static void xsk_error(const char *name, unsigned mtu, int r, char **ret_error)
{
	int n = r == -EMSGSIZE
			? asprintf(ret_error,
				   "the MTU of %s, %u, is beyond what an AF_XDP frame holds, %u",
				   name, mtu, (unsigned)FRAME_MTU_MAX)
			: asprintf(ret_error, "AF_XDP sockets on %s: %s", name, strerror(-r));

	if (n < 0)
		*ret_error = NULL;
}

/* one rung: XDP in this mode and a socket on every queue */
static int xdp_rung(struct keyd *k, struct attachment *a, enum shim_xdp mode, char **ret_error)
{
	struct dp_xsk_info info;
	struct nl_link link;
	int map, r;

	r = shim_attach_xdp(k->shim, a->name, mode, &map, ret_error);
	if (r)
		return r;
	/* counted now: some drivers add queues when XDP attaches */
	r = nl_link_get(k->nl, a->name, &link);
	if (!r) {
		a->queues = link.rx_queues ? link.rx_queues : 1;
		if (a->want_queues && a->want_queues < a->queues) {
			r = -EINVAL;
			if (asprintf(ret_error,
				     "%s has %u receive queues and each needs a socket, or packets "
				     "are lost: reduce them with "
				     "`ethtool -L %s combined %u` first",
				     a->name, a->queues, a->name, a->want_queues) < 0)
				*ret_error = NULL;
		}
	}
	if (!r)
		r = dp_xsk_add(k->dp, a->ifindex, a->queues, map, &info);
	if (r) {
		shim_detach_xdp(k->shim, a->name);
		if (!*ret_error)
			xsk_error(a->name, link.mtu, r, ret_error);
		return r;
	}
	a->shim.xdp = mode;
	a->xdp = true;
	a->zerocopy = info.zerocopy;
	return 0;
}

int attach_wire_start(struct keyd *k, struct attachment *a, const struct nl_link *link,
		      char **ret_error)
{
	char *native = NULL, *generic = NULL;
	bool xdp = a->want == WIRE_XDP;
	int r;

	a->xdp = false;
	a->queues = dp_workers(k->dp);
	snprintf(a->reason, sizeof(a->reason), "asked for");
	if (a->want == WIRE_AUTO)
		xdp = auto_xdp(k, link, a->reason, sizeof(a->reason));
	if (!xdp)
		return 0;
	r = xdp_rung(k, a, SHIM_XDP_NATIVE, &native);
	if (r) {
		r = xdp_rung(k, a, SHIM_XDP_GENERIC, &generic);
		if (!r)
			snprintf(a->reason, sizeof(a->reason), "native XDP refused: %s",
				 native ? native : "?");
	}
	if (r && a->want == WIRE_AUTO) {
		snprintf(a->reason, sizeof(a->reason), "auto: AF_XDP refused: %s",
			 generic ? generic : "?");
		a->xdp = false;
		r = 0;
	}
	if (r && asprintf(ret_error, "no AF_XDP wire on %s: native: %s; generic: %s", a->name,
			  native ? native : "?", generic ? generic : "?") < 0)
		*ret_error = NULL;
	free(native);
	free(generic);
	return r;
}
