/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One keyd for several networks: a parent that runs the keyd of each as a process of its own, and nothing else. It reads no packet, holds no key
 * and hears no peer or server; its capabilities are what a child is started with, and none is in effect. A child that ends is started
 * again, whatever the others do; none outlives the parent.
 */
#ifndef MVPN_KEYD_SUPERVISE_H
#define MVPN_KEYD_SUPERVISE_H

#include "networks.h"

/* until it is told to end; an exit code */
int supervise(struct host *h);

/* ---- supervise_spawn.c ---- */

/* the environment of the children, who tell `notify` how they are: malloc'ed, NULL at the end; NULL: no memory */
char **supervise_env(const char *notify);
void supervise_env_free(char **env);
/* 0 or -errno */
int supervise_spawn(const struct network *n, char *const *env, pid_t *ret);
/* In the child: it ends when its supervisor does, and ps(1) names its network. -ESRCH: that has gone already */
int supervised_begin(const struct cmdline *c);

#endif
