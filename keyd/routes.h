/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Policy routing: what the kernel's rules (a mark, a user, a source, an interface that it came by, a VRF) may send another way than the route
 * that it takes for the destination alone. For people: nothing is decided by it.
 */
#ifndef MVPN_ROUTES_H
#define MVPN_ROUTES_H

#include "attach.h"
#include "keyd.h"

#define ROUTES_RULE_B 160 /* a rule in words */

/* a device that a rule leads to */
struct routes_way {
	char rule[ROUTES_RULE_B], iface[IFNAMSIZ];
	unsigned table;
};

struct routes;
/* as they are now; NULL: no memory, or the kernel does not say. For one answer. */
struct routes *routes_new(struct keyd *k);
void routes_free(struct routes *x);
/* there were more rules or routes than are looked at */
bool routes_cut(const struct routes *x);
/* a way to dst, or to a part of what begins there, by an interface that is not attached; false: no rule has one */
bool routes_astray(struct routes *x, const struct mvpn_prefix *dst, struct routes_way *ret);

/* the device of a way, and what is attached to it, or below it, or as a member of it; NULL: nothing, in clear */
const struct attachment *routes_attached(struct keyd *k, unsigned oif, char ret_name[static IFNAMSIZ]);

#endif
