/* SPDX-License-Identifier: BSD-2-Clause */
/* What the policy asks of processes, numbered for the BPF maps (mvpn/maps.h, "who may send"), and what it means on this device. */
#ifndef MVPN_TRAITS_H
#define MVPN_TRAITS_H

#include <stdbool.h>
#include <stdint.h>

#include "by.h"
#include "mvpn/maps.h"

struct trait {
	unsigned kind; /* enum mvpn_by */
	char value[MVPN_BY_MAX_B + 1];
	bool used; /* by the lines in force */
	bool was;  /* by those before: sockets may still have the bit */
	bool found; /* there is such a user, or such a file; of groups nobody needs to know */
};
struct traits {
	struct trait list[MVPN_TRAITS_MAX];
};

/* A new numbering: numbers of the last one go on, those that were given up then are free again. */
void traits_begin(struct traits *t);
/* its bit; -1: all are in use */
int traits_number(struct traits *t, unsigned kind, const char *value);

/* what to put into the maps */
struct shim_traits {
	unsigned nuids, nexes, ngroups;
	uint32_t uids[MVPN_TRAITS_MAX];
	struct mvpn_exe exes[MVPN_TRAITS_MAX];
	struct mvpn_group_key groups[MVPN_TRAITS_MAX * MVPN_GROUP_DEPTH];
	uint64_t uid_traits[MVPN_TRAITS_MAX], exe_traits[MVPN_TRAITS_MAX];
	struct mvpn_group group_traits[MVPN_TRAITS_MAX * MVPN_GROUP_DEPTH];
};
/* users and files as they are now; before: what is not used any more, too. `passwd` is the file of users. */
void traits_resolve(struct traits *t, const char *passwd, bool before, struct shim_traits *ret);

/* bits of what a process meets that is this, as the policy or a person says it; `now` is what is in the maps */
uint64_t traits_met(const struct traits *t, const struct shim_traits *now, const char *passwd,
		    unsigned kind, const char *value);

#endif
