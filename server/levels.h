/* SPDX-License-Identifier: BSD-2-Clause */
/* The `level` lines on their way to the devices: each hears with which others its TCP connections are sealed above TCP. */
#ifndef SERVER_LEVELS_H
#define SERVER_LEVELS_H

#include "channel.h"

int levels_new(struct server *s);
/* policy or names have changed: whoever has to do with it hears so when the loop comes round */
void levels_changed(struct server *s);
/* this device's whole table, now */
void levels_subscribe(struct conn *c);

#endif
