/* SPDX-License-Identifier: BSD-2-Clause */
#include "tables.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "crypto.h"
#include "ether.h"
#include "levels.h"
#include "log.h"
#include "mvpn/auth.h"
#include "processes.h"

#define PART_FILL_B 60000 /* of MVPN_CHAN_PLAIN_MAX_B */
#define STEP_MS 3	  /* then others have their turn: ten thousand devices' tables take seconds */

static const struct table_kind *const kinds[TABLES] = {
	[TABLE_ETHER] = &ether_table,
	[TABLE_LEVELS] = &levels_table,
	[TABLE_PROCESSES] = &processes_table,
};

struct tables {
	struct server *s;
	struct loop_timer *timer;
	uint32_t round[TABLES]; /* of changes; struct conn has the last one that its table was made for */
};

/* ---- in the making ---- */

static struct chan_buf *new_part(struct table *t)
{
	struct chan_buf *more = reallocarray(t->parts, t->nparts + 1, sizeof(*more));

	if (!more) {
		t->error = -ENOMEM;
		return NULL;
	}
	t->parts = more;
	memset(&more[t->nparts], 0, sizeof(*more));
	chan_begin(&more[t->nparts], t->msg, t->nparts ? 0 : MVPN_PFX_RESET, 0);
	return &t->parts[t->nparts++];
}

struct chan_buf *table_room(struct table *t, size_t bytes)
{
	struct chan_buf *b = &t->parts[t->nparts - 1];

	if (!t->error && b->error)
		t->error = b->error;
	if (t->error)
		return NULL;
	return b->len + bytes > PART_FILL_B ? new_part(t) : b;
}

void table_put(struct table *t, uint16_t tlv, const void *entry, size_t len)
{
	struct chan_buf *b = table_room(t, len + 4);

	if (!b)
		return;
	chan_put(b, tlv, entry, len);
	t->n++;
}

static int table_make(const struct conn *c, const struct table_kind *k, struct table *t)
{
	int r;

	t->msg = k->msg;
	if (!new_part(t))
		return t->error;
	r = k->make(c->s, c->dev, t);
	if (r < 0)
		return r;
	if (!table_room(t, 0))
		return t->error;
	t->parts[t->nparts - 1].data[1] |= MVPN_PFX_COMMIT;
	return 0;
}

static void table_free(struct table *t)
{
	for (unsigned i = 0; i < t->nparts; i++)
		chan_buf_free(&t->parts[i]);
	free(t->parts);
}

static int table_sum(const struct table *t, uint8_t ret[32])
{
	struct mvpn_part *parts = calloc(t->nparts, sizeof(*parts));
	int r = -ENOMEM;

	for (unsigned i = 0; parts && i < t->nparts; i++)
		parts[i] = (struct mvpn_part){t->parts[i].data, t->parts[i].len};
	if (parts)
		r = mvpn_blake2b(ret, 32, NULL, 0, parts, t->nparts);
	free(parts);
	return r;
}

/* ---- on its way ---- */

static void tell(struct conn *c, enum table_what what, bool always)
{
	const struct table_kind *k = kinds[what];
	struct table t = {0};
	uint8_t sum[32];
	int r = table_make(c, k, &t);

	c->table_round[what] = c->s->tables->round[what];
	if (!r)
		r = table_sum(&t, sum);
	if (r < 0) {
		/* it would not know what is protected, and how: better it comes again */
		log_err("%s of %s were not told: %s", k->what, c->dev->row.name, strerror(-r));
		conn_drop(c);
	} else if (always || memcmp(sum, c->table_sum[what], sizeof(sum))) {
		memcpy(c->table_sum[what], sum, sizeof(sum));
		for (unsigned i = 0; i < t.nparts; i++)
			conn_send(c, &t.parts[i]);
		if (k->told)
			k->told(c, &t);
	}
	table_free(&t);
}

void tables_subscribe(struct conn *c)
{
	for (unsigned what = 0; what < TABLES && !c->doomed; what++)
		tell(c, what, true);
}

static bool is_old(const struct conn *c, enum table_what what)
{
	return c->subscribed && !c->doomed && c->dev && c->table_round[what] != c->s->tables->round[what];
}

void tables_flush(struct conn *c)
{
	for (unsigned what = 0; what < TABLES; what++)
		if (is_old(c, what))
			tell(c, what, false);
}

static void on_timer(void *arg)
{
	struct tables *t = arg;
	uint64_t end_ms = mono_ms() + STEP_MS;

	for (struct conn *c = t->s->conns; c; c = c->next)
		for (unsigned what = 0; what < TABLES; what++) {
			if (!is_old(c, what))
				continue;
			tell(c, what, false);
			if (mono_ms() >= end_ms) {
				loop_timer_arm(t->timer, 0);
				return;
			}
		}
}

void tables_changed(struct server *s, enum table_what what)
{
	s->tables->round[what]++;
	if (!loop_timer_armed(s->tables->timer))
		loop_timer_arm(s->tables->timer, 0);
}

int tables_new(struct server *s)
{
	struct tables *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	t->s = s;
	s->tables = t;
	return loop_timer_new(s->loop, on_timer, t, &t->timer);
}

void tables_free(struct tables *t)
{
	if (!t)
		return;
	loop_timer_free(t->timer);
	free(t);
}
