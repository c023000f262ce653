/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What `by` in the policy asks of a process, in words:
 *
 *   unit    systemd's name of a system unit: "postgres-client.service"; its control group and all within
 *   cgroup  path of a control group from the root of the version 2 tree, and all within
 *   uid     number, or name in /etc/passwd of the device
 *   exe     path of the program that the process executes, as the device sees it
 */
#ifndef MVPN_LIB_BY_H
#define MVPN_LIB_BY_H

#include <stdbool.h>
#include <stddef.h>

#include "mvpn/by.h"
#include "mvpn/limits.h"

struct mvpn_by_value {
	unsigned kind; /* enum mvpn_by */
	const char *value;
};

const char *mvpn_by_name(unsigned kind);	      /* "unit"; "?" beyond the end */
int mvpn_by_kind(const char *word, size_t len);	      /* enum mvpn_by, or -1 */
const char *mvpn_by_wrong(unsigned kind, const char *value); /* why it is none of that kind; NULL: it is */
/* does a process that is `has` (of the same kind) meet it? */
bool mvpn_by_meets(unsigned kind, const char *asked, const char *has);
/* the n-th unit, from 0 on, that a control group is in: the slices from the root on, and what is in the last of them. false: no more */
bool mvpn_by_unit_in(const char *cgroup, unsigned n, char ret[static MVPN_GROUP_NAME_B]);

#endif
