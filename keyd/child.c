/* SPDX-License-Identifier: BSD-2-Clause */
#include "child.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "mvpn/limits.h"

void child_init(struct child *c, uint64_t now_ms)
{
	*c = (struct child){.state = CHILD_WAITS, .wanted = true, .due_ms = now_ms};
}

static void to(struct child *c, enum child_state state, uint64_t due_ms)
{
	c->state = state;
	c->due_ms = due_ms;
}

static enum child_act abort_it(struct child *c, const char *why, uint64_t silent_ms, uint64_t now_ms)
{
	snprintf(c->why, sizeof(c->why), "%s for %u s, and was aborted", why, (unsigned)(silent_ms / 1000));
	c->told = c->aborted = true;
	to(c, CHILD_ENDS, now_ms + MVPN_CHILD_END_MS);
	return CHILD_ABORT;
}

enum child_act child_due(struct child *c, uint64_t now_ms)
{
	if (now_ms < c->due_ms)
		return CHILD_NOTHING;
	switch (c->state) {
	case CHILD_WAITS:
		return c->wanted ? CHILD_START : CHILD_NOTHING;
	case CHILD_STARTS:
		return abort_it(c, "was not ready", MVPN_CHILD_START_MS, now_ms);
	case CHILD_RUNS:
		return abort_it(c, "was silent", c->silent_ms, now_ms);
	case CHILD_ENDS:
		c->due_ms = now_ms + MVPN_CHILD_END_MS;
		return CHILD_KILL;
	}
	return CHILD_NOTHING;
}

void child_started(struct child *c, pid_t pid, uint64_t now_ms)
{
	c->pid = pid;
	c->starts++;
	c->told = c->aborted = false;
	to(c, CHILD_STARTS, now_ms + MVPN_CHILD_START_MS);
}

static uint64_t wait_ms(unsigned failures)
{
	uint64_t ms = MVPN_CHILD_AGAIN_MS;

	while (failures-- && ms < MVPN_CHILD_AGAIN_MAX_MS)
		ms *= 2;
	return ms < MVPN_CHILD_AGAIN_MAX_MS ? ms : MVPN_CHILD_AGAIN_MAX_MS;
}

static void again(struct child *c, uint64_t now_ms)
{
	c->tried = true;
	to(c, CHILD_WAITS, now_ms + wait_ms(c->failures++));
}

void child_failed(struct child *c, const char *why, uint64_t now_ms)
{
	snprintf(c->why, sizeof(c->why), "%s", why);
	again(c, now_ms);
}

bool child_heard(struct child *c, const struct notice *n, uint64_t now_ms, uint64_t silent_ms)
{
	bool ready = n->ready && c->state == CHILD_STARTS;

	if (*n->status) {
		snprintf(c->why, sizeof(c->why), "%s", n->status);
		c->told = true;
	}
	if (ready) {
		c->why[0] = '\0';
		c->told = false;
		c->tried = true;
		c->ready_ms = now_ms;
		c->silent_ms = silent_ms;
		to(c, CHILD_RUNS, now_ms + silent_ms);
	} else if (n->watchdog && c->state == CHILD_RUNS) {
		c->due_ms = now_ms + silent_ms;
	}
	return ready;
}

static void explain(struct child *c, int status)
{
	if (c->told)
		return;
	if (WIFSIGNALED(status))
		snprintf(c->why, sizeof(c->why), "was ended by signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
	else
		snprintf(c->why, sizeof(c->why), "has ended with status %d", WEXITSTATUS(status));
}

void child_ended(struct child *c, int status, uint64_t now_ms)
{
	bool asked = c->state == CHILD_ENDS && !c->aborted;

	c->pid = 0;
	if (asked) { /* to be started anew at once if it is wanted again */
		c->failures = 0;
		to(c, CHILD_WAITS, now_ms);
		return;
	}
	explain(c, status);
	if (c->ready_ms && now_ms - c->ready_ms >= wait_ms(c->failures))
		c->failures = 0; /* it has run for longer than it would wait */
	c->ready_ms = 0;
	again(c, now_ms);
}

enum child_act child_unwant(struct child *c, uint64_t now_ms)
{
	c->wanted = false;
	if (!c->pid || c->state == CHILD_ENDS)
		return CHILD_NOTHING;
	to(c, CHILD_ENDS, now_ms + MVPN_CHILD_END_MS);
	return CHILD_TERMINATE;
}

void child_want(struct child *c)
{
	c->wanted = true;
}

void child_try_now(struct child *c, uint64_t now_ms)
{
	if (c->state != CHILD_WAITS)
		return;
	c->failures = 0;
	to(c, CHILD_WAITS, now_ms);
}
