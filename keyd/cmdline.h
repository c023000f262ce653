/* SPDX-License-Identifier: BSD-2-Clause */
/* keyd's command line: a person's, and the one by which a supervising keyd starts the keyd of each network (supervise.h). */
#ifndef MVPN_KEYD_CMDLINE_H
#define MVPN_KEYD_CMDLINE_H

#include <stdbool.h>
#include <sys/types.h>

#define CMDLINE_STATE "/var/lib/mvpn"
#define CMDLINE_CONFIG_DIR "/etc/mvpn"
#define CMDLINE_NETWORKS "networks" /* the directory of the named ones, beside what is the host's: below state and sockets */

#define CMDLINE_HIDE 2 /* directories */

struct cmdline {
	const char *state, *config; /* never NULL: by default of the network's name */
	const char *socket, *pin, *share; /* NULL: not given */
	const char *network; /* NULL: not given */
	const char *hide[CMDLINE_HIDE]; /* NULL, or a directory of the other networks', with or without something of the own one in it */
	pid_t supervisor; /* 0: none. With it and a network, paths that are given are defaults, over which the configuration wins */
	bool config_must; /* the file has to exist */
	bool check, guard, latency;
	char state_default[64], config_default[64];
};

/* 0, or -EINVAL after it was said. --version and --help end the program. */
int cmdline_parse(int argc, char **argv, struct cmdline *ret);

#endif
