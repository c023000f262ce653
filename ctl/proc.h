/* SPDX-License-Identifier: BSD-2-Clause */
/* Processes of this host, by /proc: what keyd, which has few rights, cannot see. */
#ifndef MVPN_CTL_PROC_H
#define MVPN_CTL_PROC_H

#include <jansson.h>

/* each flow's "process" gets its "exe" where its socket is closed, and so keyd has none; as far as we may look */
void proc_complete(const char *path, json_t *reply);

/*
 * "uid", "exe", "cgroup" and "netns" of that process into `args`, but for what no line of a policy could name. 0; -ESRCH: there is none of that
 * number
 */
int proc_asked(json_t *args, unsigned pid);

#endif
