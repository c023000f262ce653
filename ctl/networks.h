/* SPDX-License-Identifier: BSD-2-Clause */
/* The other networks of this host, in `status` (verb_networks.c). */
#ifndef MVPN_CTL_NETWORKS_H
#define MVPN_CTL_NETWORKS_H

#include <jansson.h>

/* `path` is the socket of the keyd that has answered: `other_networks` is added */
void networks_complete(const char *path, json_t *reply);
void networks_line(const json_t *reply);

#endif
