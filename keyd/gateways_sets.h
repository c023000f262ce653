/* SPDX-License-Identifier: BSD-2-Clause */
/* What gateways.c, which chooses, and gateways_told.c, which hears of them, share. */
#ifndef MVPN_GATEWAYS_SETS_H
#define MVPN_GATEWAYS_SETS_H

#include "gateways.h"

enum way_state {
	WAY_REACHED,
	WAY_NO_ROUTE,
	WAY_CLEAR, /* out of an interface that mvpn is attached to, which drops it */
	WAY_NO_CARRIER,
	WAY_SILENT, /* who has to answer there does not */
};

/* how this device reaches the hosts of a prefix of its own: gateways_reach.c */
struct gateway_way {
	enum way_state state;
	uint64_t looked_ms;
	uint64_t lost_ms; /* since when the hosts are not reached, if they are not */
	struct mvpn_addr check; /* keyd.conf's, or zero */
	unsigned ifindex;
	struct mvpn_addr next;	     /* who has to answer there; zero: nobody */
	uint64_t asked_ms, first_ms; /* last, and the first time without an answer since; 0 never, none */
	unsigned rounds;	     /* so often it is still to be told that it is reached */
};

struct gateway_set {
	struct mvpn_prefix prefix;
	unsigned n, current;
	uint32_t member[MVPN_GATEWAYS_MAX]; /* peer indices, of layer NETWORK */
	uint64_t away_ms[MVPN_GATEWAYS_MAX]; /* when it said last that it does not reach the prefix; 0: it does */
	uint64_t away_since_ms[MVPN_GATEWAYS_MAX]; /* and when it said so first */
	uint32_t left;	  /* who was in use before and was not well then ... */
	uint64_t left_ms; /* ... since; 0: nobody, or streams through it have been reset */
	uint64_t name;			    /* of the prefix, in REACH */
	struct gateway_way way;		    /* if `self` */
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
	/* gateways_reach.c */
	struct mvpn_addr checks[MVPN_GATEWAY_CHECKS_MAX];
	unsigned nchecks;
	unsigned look_set;	/* the next one to be looked at */
	uint64_t changed_ms;	/* of links or routes: what was looked at before is out of date */
	bool telling, tell_again;
	uint32_t tell_peer; /* who is told next, of which */
	unsigned tell_set;
	uint64_t tell_ms;
};

/* of a peer that is a gateway */
struct gateway {
	unsigned sets, current; /* how many, and of how many it gets the packets */
	bool wanted;		/* one of them is in use */
	bool failed;
	enum mvpn_reason why;
	uint64_t failed_ms, well_ms;   /* when that was seen last, or it came back; well_ms 0: it never failed */
	uint64_t since_ms;	       /* when it was seen first */
	uint64_t back_ms;	       /* it has to be well for so long */
	uint64_t asked_ms;	       /* the first PING that was not answered, 0 none */
	uint64_t pinged_ms, wanted_ms; /* when it was, and when a session was asked for */
	uint64_t sent, sent_ms;	       /* packets, and when there were fewer */
	uint64_t stream_failed_ms, stream_back_ms; /* streams_gateway.c: it took none then, 0: it does; not tried again for so long */
	unsigned words;		       /* REACH, since it was looked at last */
};

/* ---- gateways_reach.c ---- */
void gateways_reach_look(struct keyd *k, uint64_t now);
uint64_t gateways_prefix_name(const struct mvpn_prefix *p);
#define GATEWAYS_WHY_B 160
/* of a set of this device's own: why its hosts are not reached; false: they are */
bool gateways_way_lost(struct keyd *k, const struct gateway_set *set, char *ret, size_t size);
void gateways_checks_assign(struct keyd *k); /* to the sets that there are */

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

/* 0: well; what is farther from it is worse */
static inline unsigned gateways_badness(const struct keyd *k, const struct gateway_set *set, unsigned i)
{
	return gateway_of(k, set->member[i])->failed ? 2 : set->away_ms[i] != 0;
}

#endif
