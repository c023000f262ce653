/* SPDX-License-Identifier: BSD-2-Clause */
/* The `level` lines on their way to the devices: each hears with which others its TCP connections are sealed above TCP. */
#ifndef SERVER_LEVELS_H
#define SERVER_LEVELS_H

#include "tables.h"

extern const struct table_kind levels_table;

#endif
