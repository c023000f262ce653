/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Connections that have not logged in yet: each counts against the bound of all and that of its source, and while it has proven nothing the
 * oldest of them gives way when there is no room. (conn_passes, conn_give_source and conn_evict are in channel.h.)
 */
#ifndef SERVER_HALF_OPEN_H
#define SERVER_HALF_OPEN_H

#include "channel.h"

void half_open_enter(struct conn *c, struct source *src); /* which it holds from then on */
void half_open_leave(struct conn *c);			  /* it has logged in, or ends; once more is fine */

#endif
