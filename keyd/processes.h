/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which processes may send what to whom: the policy's lines with `by`, from the server (PROCESSES), kept on disk, put into the BPF maps.
 * The last ones hold while the server cannot be reached.
 */
#ifndef MVPN_PROCESSES_H
#define MVPN_PROCESSES_H

#include <jansson.h>

#include "keyd.h"
#include "process_table.h"
#include "traits.h"

#define PROCESS_PASSWD "/etc/passwd"

struct process_audit;

struct processes {
	struct process_table *table; /* in force; NULL: none */
	bool unknown;		     /* it is not known what is: nothing passes to any peer */
	uint8_t *incoming;	     /* being received after RESET */
	size_t incoming_len;
	bool incoming_bad; /* more than MVPN_PROCESS_TABLE_B */
	struct traits traits;
	struct shim_traits *maps; /* as they are in the maps */
	uint64_t generation;	  /* of the numbering in the maps; 0: never any */
	bool judge_again; /* connections that were let pass just before the lines changed may not have come to keyd yet */
	bool failed; /* the maps do not have what is in force: nothing is sent, and it is tried again */
	unsigned cut;		  /* lines that nobody meets, for want of numbers */
	struct process_audit *audit;
};

int processes_init(struct keyd *k); /* reads the kept lines; after peers_init() */
void processes_free(struct keyd *k);
int processes_message(struct keyd *k, const struct chan_msg *m); /* PROCESSES: 0 or -EPROTO */
void processes_lost(struct keyd *k); /* the channel: what was not committed will not be */
/* interfaces or lines have changed */
void processes_apply(struct keyd *k);
void processes_tick(struct keyd *k); /* users and programs may have changed */

/* ---- process_audit.c ---- */
int process_audit_init(struct keyd *k);
void process_audit_free(struct process_audit *a);
/* of a connection at the socket level that is about to be cut; rule: the line's text, NULL: that of the line with `by`; socket: the
 * application's, whose process is looked for, NULL: none */
void process_audit_stream(struct process_audit *a, const struct mvpn_refusal *e, const char *rule,
			  const struct mvpn_flow_key *socket);

/* ---- control_process.c ---- */
/* what a question says of a process; NULL: nothing */
struct process_asked {
	const char *value[MVPN_BY_KINDS];
	bool elsewhere; /* in another network namespace than keyd's */
};
/* from a verb's arguments: NULL, or what is wrong with them */
const char *process_asked_of(json_t *args, struct process_asked *ret);
/* May such a process send that there? false: it is refused. *ret_rule: by which line, or null: none is about it */
bool processes_explain(struct keyd *k, const struct peer *p, uint8_t proto, uint16_t port,
		       const struct process_asked *who, json_t *why, json_t **ret_rule);
/* May a process with these traits, by the lines there are (NULL: none)? false: not, by line *ret_line */
bool processes_may(const struct mvpn_guard *g, uint64_t traits, uint8_t proto, uint16_t port, uint32_t *ret_line);
json_t *processes_rule(struct keyd *k, uint32_t line); /* {line, text}; null for 0 */

#endif
