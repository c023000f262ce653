/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The life of one network's keyd, as its supervisor sees it: when it is started, ended, given up. Rules without any effect of their own, which
 * supervise.c carries out. Times are of one clock, in ms.
 */
#ifndef MVPN_KEYD_CHILD_H
#define MVPN_KEYD_CHILD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "notice.h"

enum child_state {
	CHILD_WAITS, /* no process; until due_ms */
	CHILD_STARTS, /* not ready yet; until due_ms at most */
	CHILD_RUNS, /* is silent until due_ms at most */
	CHILD_ENDS, /* was told to, and is killed at due_ms */
};

struct child {
	enum child_state state;
	bool wanted;  /* false: once it has ended that is all */
	bool tried;   /* was ready, or has failed, since there is a supervisor */
	bool aborted; /* it ends because it was silent */
	bool told;    /* `why` is of this life */
	pid_t pid;    /* 0: no process */
	unsigned failures; /* in a row */
	unsigned starts;
	uint64_t due_ms, ready_ms, silent_ms;
	char why[NOTICE_STATUS_B]; /* it has ended last, or is not ready; "": it runs, and what was is forgotten */
};

enum child_act { CHILD_NOTHING, CHILD_START, CHILD_ABORT, CHILD_TERMINATE, CHILD_KILL };

void child_init(struct child *c, uint64_t now_ms); /* wanted, and due at once */
/* what is to be done by now; the state is changed already, CHILD_START is answered by child_started() or child_failed() */
enum child_act child_due(struct child *c, uint64_t now_ms);
void child_started(struct child *c, pid_t pid, uint64_t now_ms);
/* it could not be started; `why` is cut if it is long */
void child_failed(struct child *c, const char *why, uint64_t now_ms);
/* true: it is ready from now on. silent_ms: how long it may be silent */
bool child_heard(struct child *c, const struct notice *n, uint64_t now_ms, uint64_t silent_ms);
/* with the status of waitpid() */
void child_ended(struct child *c, int status, uint64_t now_ms);
/* not wanted any more; or wanted again */
enum child_act child_unwant(struct child *c, uint64_t now_ms);
void child_want(struct child *c);
void child_try_now(struct child *c, uint64_t now_ms); /* if it waits: somebody has changed something */

#endif
