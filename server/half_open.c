/* SPDX-License-Identifier: BSD-2-Clause */
#include "half_open.h"

#include "listen.h"

static void unproven_add(struct unproven_list *l, struct unproven *u, struct conn *c)
{
	if (!l->end)
		l->end = &l->first;
	u->c = c;
	u->at = l->end;
	*u->at = u;
	l->end = &u->next;
}

static void unproven_del(struct unproven_list *l, struct unproven *u)
{
	if (!u->at)
		return;
	*u->at = u->next;
	if (u->next)
		u->next->at = u->at;
	else
		l->end = u->at;
	u->next = NULL;
	u->at = NULL;
}

static void leave_source(struct conn *c)
{
	if (!c->source)
		return;
	unproven_del(source_unproven(c->source), &c->of_source);
	source_release(c->source);
	c->source = NULL;
}

void conn_passes(struct conn *c, bool proven)
{
	unproven_del(&c->s->unproven, &c->of_all);
	if (c->source)
		unproven_del(source_unproven(c->source), &c->of_source);
	if (proven)
		leave_source(c);
}

void half_open_enter(struct conn *c, struct source *src)
{
	c->source = src;
	c->s->half_open++;
	c->half_open = true;
	unproven_add(&c->s->unproven, &c->of_all, c);
	unproven_add(source_unproven(src), &c->of_source, c);
}

struct source *conn_give_source(struct conn *c)
{
	struct source *src = c->source;

	conn_passes(c, false);
	c->source = NULL;
	c->half_open = false;
	return src;
}

void half_open_leave(struct conn *c)
{
	conn_passes(c, true);
	if (c->half_open)
		c->s->half_open--;
	c->half_open = false;
}

bool conn_evict(struct server *s, const struct unproven_list *l)
{
	struct conn *c = l->first ? l->first->c : NULL;

	if (!c)
		return false;
	count(s, evicted);
	half_open_leave(c);
	conn_drop(c);
	return true;
}
