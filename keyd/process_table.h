/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The lines of the policy about processes, as the server tells them (PROCESSES) and as they are kept: TLVs one after the other.
 * Nothing here depends on this device.
 */
#ifndef MVPN_PROCESS_TABLE_H
#define MVPN_PROCESS_TABLE_H

#include <stddef.h>
#include <stdint.h>

#include "by.h"
#include "mvpn/auth.h"
#include "service.h"

struct process_line {
	uint32_t line; /* of the policy's text */
	char *text;
	struct mvpn_service *services;
	unsigned nservices; /* 0: everything */
	struct process_by {
		unsigned kind; /* enum mvpn_by */
		char *value;
		int trait; /* processes.c: its bit; -1 none was free */
	} *by;
	unsigned nby; /* 0: all processes */
	uint8_t (*peers)[MVPN_ID_LEN];
	unsigned npeers;
};
struct process_table {
	struct process_line *lines;
	unsigned n;
};
/* -EBADMSG: malformed, or over a bound; -ENOMEM. No bytes: no lines. */
int process_table_parse(const uint8_t *tlvs, size_t len, struct process_table **ret);
void process_table_free(struct process_table *t); /* NULL is fine */
/* the line's text, or NULL */
const char *process_table_text(const struct process_table *t, uint32_t line);

#endif
