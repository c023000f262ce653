/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Devices that go for good. Those enrolled by an ephemeral token go by themselves, once they have been without a channel for
 * their time; a restart of the server begins it anew.
 */
#ifndef SERVER_DEPART_H
#define SERVER_DEPART_H

#include "server.h"

int depart_new(struct server *s);
/* its channel has closed */
void depart_offline(struct server *s, struct device *d);
/* the store has forgotten it, its channel is closed and its sessions are cut: now the others and the registry; frees d */
void depart_forget(struct server *s, struct device *d);

#endif
