/* SPDX-License-Identifier: BSD-2-Clause */
#include "arrivals.h"

#include <errno.h>
#include <string.h>

#include "attach.h"
#include "log.h"

struct arrivals {
	struct keyd *k;
	struct shim_arrival list[MVPN_ARRIVALS_MAX];
	unsigned n;
	bool full;
};

/* Does what an attached interface receives come up through this one: its bridge, its bond, a VLAN on it? */
static bool above_attached(struct keyd *k, const struct nl_link *l)
{
	struct nl_link member;

	if (l->parent && attached_index(k, l->parent))
		return true;
	for (unsigned i = 0; i < k->nifaces; i++)
		if (k->ifaces[i]->ifindex &&
		    !nl_link_get_index(k->nl, k->ifaces[i]->ifindex, &member) &&
		    member.master == l->ifindex)
			return true;
	return false;
}

static void add(struct arrivals *x, const struct mvpn_addr *to, const struct nl_link *l)
{
	struct shim_arrival *a = &x->list[x->n];

	if (x->n == MVPN_ARRIVALS_MAX) {
		x->full = true;
		return;
	}
	*a = (struct shim_arrival){
		.to = *to,
		.ifindex = l->ifindex,
		.ethernet = l->has_mac,
		.attached = attached_index(x->k, l->ifindex),
	};
	memcpy(a->mac, l->mac, sizeof(a->mac));
	x->n++;
}

static int add_address(void *arg, unsigned ifindex, const struct mvpn_addr *addr)
{
	struct arrivals *x = arg;
	struct nl_link l;

	if (!nl_link_get_index(x->k->nl, ifindex, &l) &&
	    (attached_index(x->k, ifindex) || above_attached(x->k, &l)))
		add(x, addr, &l);
	return 0;
}

/* With one interface there is no question. With several what goes to no address of this host arrives on the tap. */
static void add_rest(struct arrivals *x)
{
	struct nl_link l;

	if (x->k->nifaces == 1 && x->k->ifaces[0]->ifindex &&
	    !nl_link_get_index(x->k->nl, x->k->ifaces[0]->ifindex, &l) && !l.master)
		add(x, &(struct mvpn_addr){0}, &l);
}

void arrivals_refresh(struct keyd *k)
{
	struct arrivals x = {.k = k};
	int r = 0;

	if (k->conf.arrival == ARRIVE_INTERFACE) {
		add_rest(&x);
		r = nl_addr_list(k->nl, add_address, &x);
	}
	if (!r)
		r = shim_arrivals_set(k->shim, x.list, x.n);
	if (r)
		log_ratelimited(
			LOG_L_WARN,
			"cannot tell the programs on which interfaces packets of peers arrive: %s; "
			"firewall rules that name an interface may see them on %s",
			strerror(-r), k->conf.tap);
	if (x.full)
		log_ratelimited(
			LOG_L_WARN,
			"more than %u addresses: packets of peers to the rest of them arrive on %s",
			MVPN_ARRIVALS_MAX - 1, k->conf.tap);
}
