/* SPDX-License-Identifier: BSD-2-Clause */
/* Names of control groups by their ids, as the tree is now. */
#ifndef MVPN_CGROUPS_H
#define MVPN_CGROUPS_H

#include <stddef.h>
#include <stdint.h>

struct cgroups;
/* walks the tree below `root`; a missing or unreadable one is empty. NULL: no memory */
struct cgroups *cgroups_read(const char *root);
void cgroups_free(struct cgroups *c);
/* path below the root, "/" the root itself; NULL: it has gone, or there are too many */
const char *cgroups_path(const struct cgroups *c, uint64_t id);
/* the systemd unit that a path is in, as `by unit` of the policy means it (lib/by.h): "" is none */
void cgroup_unit(char *ret, size_t size, const char *path);

#endif
