/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The `ethernet` lines on their way to the devices: each hears, of the others that such a line pairs it with and of no one
 * else, the MAC addresses, the EtherTypes and the directions.
 */
#ifndef SERVER_ETHER_H
#define SERVER_ETHER_H

#include "tables.h"

extern const struct table_kind ether_table;

#endif
