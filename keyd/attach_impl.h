/* SPDX-License-Identifier: BSD-2-Clause */
/* What attach.c and attach_follow.c share. */
#ifndef MVPN_ATTACH_IMPL_H
#define MVPN_ATTACH_IMPL_H

#include "attach.h"

/* netlink changes come in bursts (a flap, DHCP): act once */
#define REREGISTER_AFTER_MS 200

void attach_keep(struct keyd *k); /* the list, for the next life */
/* a->name has an interface: the shim, then the wire. 0 or -errno with *ret_error; a->ifindex is set once the shim is on it */
int attach_bring_up(struct keyd *k, struct attachment *a, char **ret_error);
/* the server hears of another address, and until it has said that it is ours nothing is delivered there */
void attach_take_mac(struct keyd *k, struct attachment *a, const struct nl_link *link);
/* ---- attach_follow.c ---- */
int attach_follow(struct keyd *k); /* begin to */

#endif
