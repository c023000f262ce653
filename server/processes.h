/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The `by` lines on their way to the devices: each hears which of its processes may send what to which others. And what they have
 * refused, on its way into the audit trail.
 */
#ifndef SERVER_PROCESSES_H
#define SERVER_PROCESSES_H

#include "tables.h"

extern const struct table_kind processes_table;
/* Is there a line about processes that one of the two would have to tell apart, and cannot? */
bool processes_beyond(const struct policy *p, const struct device *a, const struct device *b);
/* PROCESSES of a device: refusals */
int processes_message(struct conn *c, const struct chan_msg *m);

#endif
