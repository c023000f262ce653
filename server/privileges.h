/* SPDX-License-Identifier: BSD-2-Clause */
/* What the process gives up, and what it must not leave behind. */
#ifndef SERVER_PRIVILEGES_H
#define SERVER_PRIVILEGES_H

/* no core dumps, not traceable by its own user; before any key is read */
void privileges_harden(void);
/* hand the state directory's files to the user that the server will run as; root only */
int privileges_give_state(const char *state_dir, const char *user);
/* become `user` (NULL: stay) and drop every capability: after the sockets are bound. -ENOENT no such user. */
int privileges_drop(const char *user);

#endif
