/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Several networks on one host: keyd.conf's own, and those that it names in [keyd] networks. Each has a keyd of its own, whose command line
 * is made here; all defaults are what `--network NAME` gives, beside what the host's keyd.conf and command line say.
 */
#ifndef MVPN_KEYD_NETWORKS_H
#define MVPN_KEYD_NETWORKS_H

#include <stdbool.h>

#include "cmdline.h"
#include "mvpn/ctl.h"
#include "mvpn/limits.h"

/* the named ones */
struct networks {
	unsigned n;
	char names[MVPN_NETWORKS_MAX - 1][MVPN_NETWORK_MAX + 1];
};

/* ---- networks_list.c ---- */

/* names with commas or blanks between; NULL: none. -EINVAL with what is wrong with them */
int networks_parse(const char *text, struct networks *ret, char **ret_error);
bool networks_have(const struct networks *l, const char *name);

/* ---- networks.c ---- */

/* what the host's command line and keyd.conf say of all networks, whatever else is wrong in that file */
struct host {
	const struct cmdline *args;
	char *socket, *pin_dir, *share_dir, *list;
	struct networks networks;
};

/* host_free(), whatever is returned */
int host_read(const struct cmdline *args, struct host *ret, char **ret_error);
void host_free(struct host *h);
char *host_path(const struct host *h, const char *name); /* beside the control socket; malloc'ed, NULL: no memory */

/* of one network */
struct network {
	struct cmdline args;
	char name[MVPN_NETWORK_MAX + 1]; /* "": keyd.conf's own */
	char *paths[6];			 /* that args points to */
	const char *socket;		 /* by default */
};

/* name "": keyd.conf's own */
int network_new(const struct host *h, const char *name, struct network **ret);
void network_free(struct network *n); /* NULL is fine */
const char *network_label(const struct network *n); /* for people */

/* ---- networks_all.c ---- */

struct settings;
/* -EINVAL with a message that names both files: the two cannot run together */
int networks_clash(const struct network *n, const struct settings *s, const struct network *other,
		   const struct settings *others, char **ret_error);
/* --check-config and --guard, of every network: exit codes */
int networks_check(const struct host *h);
int networks_guard(const struct host *h);

#endif
