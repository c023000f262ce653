/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <stdlib.h>

#include "audit_check.h"

struct check {
	struct audit_checks *all;
	struct check *next;
	struct ipc_call *call;
	struct audit_asked asked;
	audit_checked_fn *done;
	struct audit_verify *v;
};

struct audit_checks {
	struct server *s;
	struct loop_timer *timer;
	struct check *first, **end; /* the first has the next step, then it is the last */
};

static void append(struct audit_checks *k, struct check *c)
{
	c->next = NULL;
	*k->end = c;
	k->end = &c->next;
}

static void unlink_check(struct check *c)
{
	struct check **at = &c->all->first;

	while (*at != c)
		at = &(*at)->next;
	*at = c->next;
	if (!c->next)
		c->all->end = at;
}

static void on_gone(void *arg)
{
	struct check *c = arg;

	unlink_check(c);
	audit_verify_free(c->v);
	free(c);
}

static void on_timer(void *arg)
{
	struct audit_checks *k = arg;
	struct check *c = k->first;
	uint64_t bad = 0;
	int r;

	if (!c)
		return;
	unlink_check(c);
	r = audit_verify_step(c->v, &bad);
	if (r > 0) {
		append(k, c);
	} else {
		ipc_call_on_gone(c->call, NULL, NULL);
		c->done(k->s, c->call, &c->asked, r, bad);
		audit_verify_free(c->v);
		free(c);
	}
	if (k->first)
		loop_timer_arm(k->timer, 0);
}

int audit_check(struct server *s, struct ipc_call *call, const struct audit_asked *asked, audit_checked_fn *done)
{
	struct audit_checks *k = s->checks;
	struct check *c = calloc(1, sizeof(*c));
	int r = c ? audit_verify_new(&s->audit, &c->v) : -ENOMEM;

	if (r < 0) {
		free(c);
		return r;
	}
	c->all = k;
	c->call = call;
	c->asked = *asked;
	c->done = done;
	append(k, c);
	ipc_call_on_gone(call, on_gone, c);
	loop_timer_arm(k->timer, 0);
	return 0;
}

int audit_checks_new(struct server *s)
{
	struct audit_checks *k = calloc(1, sizeof(*k));

	if (!k)
		return -ENOMEM;
	k->s = s;
	k->end = &k->first;
	s->checks = k;
	return loop_timer_new(s->loop, on_timer, k, &k->timer);
}

void audit_checks_free(struct audit_checks *k)
{
	if (!k)
		return;
	while (k->first)
		on_gone(k->first);
	loop_timer_free(k->timer);
	free(k);
}
