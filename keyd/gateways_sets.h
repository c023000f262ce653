/* SPDX-License-Identifier: BSD-2-Clause */
/* What gateways.c, which chooses, and gateways_told.c, which hears of them, share. */
#ifndef MVPN_GATEWAYS_SETS_H
#define MVPN_GATEWAYS_SETS_H

#include "gateways.h"

struct gateway_set {
	struct mvpn_prefix prefix;
	unsigned n, current;
	uint32_t member[MVPN_GATEWAYS_MAX]; /* peer indices, of layer NETWORK */
	bool self;			    /* this device is one of them, and asks nobody */
	bool translated;		    /* hosts there see the gateway's address */
	bool told, stale;		    /* since the last commit; gone with the next one */
};

struct gateways {
	struct lpm *by_prefix; /* slot in `sets` + 1 */
	struct gateway_set *sets;
	unsigned n, size;
	struct loop_timer *timer;
	uint64_t looked_ms;
};

/* of a peer that is a gateway */
struct gateway {
	unsigned sets, current; /* how many, and of how many it gets the packets */
	bool wanted;		/* one of them is in use */
	bool failed;
	enum mvpn_reason why;
	uint64_t failed_ms, well_ms;   /* since then; well_ms 0: it never failed */
	uint64_t back_ms;	       /* it has to be well for so long */
	uint64_t asked_ms;	       /* the first PING that was not answered, 0 none */
	uint64_t pinged_ms, wanted_ms; /* when it was, and when a session was asked for */
	uint64_t sent, sent_ms;	       /* packets, and when there were fewer */
};

static inline struct gateway_set *gateways_find(const struct gateways *g,
						const struct mvpn_prefix *p)
{
	uint32_t slot;

	return lpm_get(g->by_prefix, p, &slot) ? &g->sets[slot - 1] : NULL;
}

static inline struct gateway *gateway_of(const struct keyd *k, uint32_t index)
{
	return k->peers[index]->gateway;
}

#endif
