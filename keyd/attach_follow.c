/* SPDX-License-Identifier: BSD-2-Clause */
/* What the kernel says of links, addresses, routes and neighbours, and what follows from it for attached interfaces and those they serve. */
#include "attach_impl.h"

#include <errno.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "arrivals.h"
#include "channel.h"
#include "dp/wire.h"
#include "ether.h"
#include "gateways.h"
#include "log.h"
#include "sessions.h"
#include "translate.h"

#define REFRESH_AFTER_MS 20

static void iface_gone(struct keyd *k, struct attachment *a)
{
	log_warn("interface %s is gone; it is attached again when it comes back", a->name);
	attach_wire_stop(k, a);
	shim_detach(k->shim, a->name, NULL); /* removes the pins that are left */
	a->ifindex = 0;
	a->up = false;
	ether_ports_changed(k);
}

/* The programs stay on an interface that is renamed, and so must the attachment: taken for gone, it would be detached. */
static void iface_follow(struct keyd *k, struct attachment *a)
{
	char name[IFNAMSIZ], *text = NULL;

	if (!a->ifindex || !if_indextoname(a->ifindex, name) || !strcmp(name, a->name) ||
	    attachment_find(k, name))
		return;
	log_info("interface %s is called %s now", a->name, name);
	attach_wire_stop(k, a);
	memcpy(a->name, name, sizeof(a->name));
	attach_keep(k);
	if (attach_bring_up(k, a, &text))
		log_err("interface %s: %s", a->name, text ? text : "?");
	free(text);
}

static void iface_changed(struct keyd *k, struct attachment *a)
{
	struct nl_link link;
	char *text = NULL;
	unsigned before = a->mtu;

	iface_follow(k, a);
	if (nl_link_get(k->nl, a->name, &link) || (a->ifindex && link.ifindex != a->ifindex)) {
		if (a->ifindex)
			iface_gone(k, a);
		if (nl_link_get(k->nl, a->name, &link))
			return;
	}
	if (!a->ifindex) {
		if (attach_bring_up(k, a, &text))
			log_ratelimited(LOG_L_ERR, "interface %s is there, but NOT protected: %s",
					a->name, text ? text : "?");
		else
			log_info("interface %s is back: wire %s (%s)", a->name, attach_rung(a),
				 a->reason);
		free(text);
		return;
	}
	a->up = link.flags & IFF_RUNNING;
	attach_take_mac(k, a, &link);
	a->mtu = link.mtu;
	if (!a->xdp)
		return;
	/* every queue needs its socket, and frames suit the MTU of when they were made */
	if (link.rx_queues && link.rx_queues != a->queues)
		attach_wire_failed(k, a->ifindex, -ENXIO);
	else if (wire_xdp_frame_max(before, a->shim.xdp == SHIM_XDP_GENERIC) !=
		 wire_xdp_frame_max(link.mtu, a->shim.xdp == SHIM_XDP_GENERIC))
		attach_wire_failed(k, a->ifindex, -EMSGSIZE);
}

static void on_change(void *arg, enum nl_change what, unsigned ifindex)
{
	struct keyd *k = arg;
	unsigned i;

	if (what == NL_LINK || what == NL_LINK_GONE || what == NL_OVERRUN)
		for (i = 0; i < k->nifaces; i++)
			if (what == NL_OVERRUN || k->ifaces[i]->ifindex == ifindex ||
			    !k->ifaces[i]->ifindex)
				iface_changed(k, k->ifaces[i]);
	if (what != NL_ADDR && what != NL_NEIGH)
		gateways_routes_changed(k);
	if (what == NL_ADDR || what == NL_OVERRUN)
		loop_timer_arm(k->reregister, REREGISTER_AFTER_MS);
	if (!loop_timer_armed(k->refresh))
		loop_timer_arm(k->refresh, REFRESH_AFTER_MS);
}

static void netlink_ready(void *arg, uint32_t events)
{
	struct keyd *k = arg;
	int r = nl_events(k->nl, on_change, k);

	if (r)
		log_ratelimited(LOG_L_WARN, "netlink events: %s", strerror(-r));
}

static void refresh_timer(void *arg)
{
	arrivals_refresh(arg);
	translate_refresh(arg);
	sessions_refresh_endpoints(arg);
}

static void reregister_timer(void *arg)
{
	channel_register(arg);
}

int attach_follow(struct keyd *k)
{
	int r = loop_timer_new(k->loop, refresh_timer, k, &k->refresh), fd;

	if (!r)
		r = loop_timer_new(k->loop, reregister_timer, k, &k->reregister);
	if (r)
		return r;
	fd = nl_events_open(k->nl);
	return fd < 0 ? fd : loop_add(k->loop, fd, EPOLLIN, netlink_ready, k, NULL);
}
