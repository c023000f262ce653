/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The `ethernet` lines on their way to the devices: each hears, of the others that such a line pairs it with and of no one
 * else, the MAC addresses, the EtherTypes and the directions.
 */
#ifndef SERVER_ETHER_H
#define SERVER_ETHER_H

#include "channel.h"

int ether_new(struct server *s);
/* policy, names or MAC addresses have changed: whoever has to do with it hears so when the loop comes round */
void ether_changed(struct server *s);
/* this device's whole table, now */
void ether_subscribe(struct conn *c);

#endif
