/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Of several networks that one keyd runs (supervise.h), each one's process has a mount namespace of its own, in which the others' state,
 * credentials and control sockets are not. What is mounted there cannot be undone without CAP_SYS_ADMIN, which keyd gives up (privileges.h),
 * and /proc/PID/root of another keyd is closed by its not being dumpable. Why not Landlock: a rule holds for all that is below a directory, and
 * the named networks' state is below that of the first one; nor does it, on Linux 6.1, know of truncate() and of sockets.
 */
#ifndef MVPN_KEYD_ISOLATE_H
#define MVPN_KEYD_ISOLATE_H

#include "cmdline.h"

/*
 * By one thread, once the own directories are there: c->hide[] and the credentials of others are hidden, the own state and the directory of
 * the own socket stay. -ENOTRECOVERABLE: this process sees less than it should, and cannot go on. Other errors: nothing is hidden. Both
 * with a message.
 */
int isolate(const struct cmdline *c, char **ret_error);

#endif
