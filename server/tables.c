/* SPDX-License-Identifier: BSD-2-Clause */
#include "tables.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "crypto.h"
#include "ether.h"
#include "introduce.h"
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
	if (!t)
		return;
	for (unsigned i = 0; i < t->nparts; i++)
		chan_buf_free(&t->parts[i]);
	free(t->parts);
	free(t);
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

static void tables_soon(struct server *s)
{
	if (!loop_timer_armed(s->tables->timer))
		loop_timer_arm(s->tables->timer, 0);
}

/* what it is to be told next, after the one of last time; TABLES: it is up to date */
static unsigned next_old(const struct conn *c)
{
	for (unsigned i = 1; c->tables_on && i <= TABLES; i++) {
		unsigned what = (c->table_last + i) % TABLES;

		if (c->table_due[what] || c->table_round[what] != c->s->tables->round[what])
			return what;
	}
	return TABLES;
}

static bool up_to_date(const struct conn *c)
{
	return !c->telling && next_old(c) == TABLES;
}

static void ended(struct conn *c)
{
	if (!up_to_date(c))
		return;
	c->tables_told = true;
	introduce_tables_told(c->s, c->dev);
}

/* it is made; and is on its way, if it is another one than last time */
static void begin(struct conn *c, enum table_what what)
{
	const struct table_kind *k = kinds[what];
	struct table *t = calloc(1, sizeof(*t));
	bool always = c->table_due[what];
	uint8_t sum[32];
	int r = t ? table_make(c, k, t) : -ENOMEM;

	c->table_last = what;
	c->table_due[what] = false;
	c->table_round[what] = c->s->tables->round[what];
	if (!r)
		r = table_sum(t, sum);
	if (r < 0) {
		/* it would not know what is protected, and how: better it comes again */
		log_err("%s of %s were not told: %s", k->what, c->dev->row.name, strerror(-r));
		conn_drop(c);
		table_free(t);
		return;
	}
	if (always || memcmp(sum, c->table_sum[what], sizeof(sum))) {
		memcpy(c->table_sum[what], sum, sizeof(sum));
		c->telling = t;
		c->telling_at = 0;
		return;
	}
	table_free(t);
	ended(c);
}

bool tables_step(struct conn *c)
{
	struct table *t = c->telling;

	if (!t) {
		if (next_old(c) != TABLES)
			tables_soon(c->s);
		return false;
	}
	conn_send(c, &t->parts[c->telling_at]);
	chan_buf_free(&t->parts[c->telling_at]);
	if (++c->telling_at < t->nparts)
		return true;
	if (kinds[c->table_last]->told)
		kinds[c->table_last]->told(c, t);
	table_free(t);
	c->telling = NULL;
	ended(c);
	return true;
}

/* one more is begun; false: none is old, or another one is on its way */
static bool turn(struct conn *c)
{
	unsigned what = c->telling || c->doomed ? TABLES : next_old(c);

	if (what == TABLES)
		return false;
	begin(c, what);
	conn_pump(c);
	return true;
}

/* whether or not there is room: most are what they were */
bool tables_flush(struct conn *c)
{
	while (turn(c))
		;
	return up_to_date(c);
}

void tables_subscribe(struct conn *c)
{
	c->tables_on = true;
	memset(c->table_due, true, sizeof(c->table_due));
	tables_flush(c);
}

void tables_unsubscribe(struct conn *c)
{
	table_free(c->telling);
	c->telling = NULL;
	c->tables_on = c->tables_told = false;
}

static void on_timer(void *arg)
{
	struct tables *t = arg;
	uint64_t end_ms = mono_ms() + STEP_MS;

	for (struct conn *c = t->s->conns; c; c = c->next)
		while (conn_has_room(c) && turn(c))
			if (mono_ms() >= end_ms) {
				tables_soon(t->s);
				return;
			}
}

void tables_changed(struct server *s, enum table_what what)
{
	s->tables->round[what]++;
	tables_soon(s);
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
