/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Prefixes that the policy gives gateways (`via`). The first one that is enrolled is the effective owner, as of any other prefix
 * (owners.c); those behind it stand by: they own the prefix, too, so sessions with them are for it. One alone is told like several, so that
 * it looks whether it reaches the hosts there, and says so.
 */
#ifndef SERVER_GATEWAYS_H
#define SERVER_GATEWAYS_H

#include "registry.h"

struct gateway_set {
	struct mvpn_prefix prefix;
	unsigned n;			   /* 1 at least */
	bool translated;
	uint32_t value[MVPN_GATEWAYS_MAX]; /* index + 1 */
};

/* NULL: the prefix has no gateway that is enrolled */
const struct gateway_set *gateways_of(const struct registry *r, const struct mvpn_prefix *p);

/* ---- for owners.c ---- */
/* the sets of a policy, and how many; -ENOMEM */
int gateways_read(const struct registry *r, const struct policy *p, struct gateway_set **ret,
		  unsigned *ret_n);
/* Before owners change, who stands by in a set that is not among the new ones does so no more; afterwards the new ones do, and
 * take the place of the old. */
void gateways_leave(struct registry *r, struct gateway_set *sets, unsigned n);
int gateways_enter(struct registry *r, struct gateway_set *sets, unsigned n);
/* d is no gateway of the prefix any more; index + 1 of who is the first one then, 0: the prefix has no set */
uint32_t gateways_drop(struct registry *r, const struct mvpn_prefix *p, const struct device *d);

#endif
