/* SPDX-License-Identifier: BSD-2-Clause */
#include "tables.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "crypto.h"
#include "ether.h"
#include "levels.h"
#include "mvpn/auth.h"

#define FRAME_FILL_B 60000 /* of MVPN_CHAN_PLAIN_MAX_B */
#define STEP_MS 3	   /* then others have their turn: ten thousand devices' tables take seconds */

static const struct table_kind *const kinds[TABLES] = {
	[TABLE_ETHER] = &ether_table,
	[TABLE_LEVELS] = &levels_table,
};

struct tables {
	struct server *s;
	struct loop_timer *timer;
	uint32_t round[TABLES]; /* of changes; struct conn has the last one that its table was made for */
};

static void send_table(struct conn *c, const struct table_kind *k, const struct table *t)
{
	unsigned each = FRAME_FILL_B / (unsigned)(k->entry_b + 4), at = 0;
	const uint8_t *entries = t->entries;
	struct chan_buf *b = &c->s->buf;

	do {
		unsigned end = t->n - at > each ? at + each : t->n;

		chan_begin(b, k->msg, (at ? 0 : MVPN_PFX_RESET) | (end == t->n ? MVPN_PFX_COMMIT : 0), 0);
		for (; at < end; at++)
			chan_put(b, k->tlv, entries + at * k->entry_b, k->entry_b);
		conn_send(c, b);
	} while (at < t->n);
	if (k->told)
		k->told(c, t);
}

static void tell(struct conn *c, enum table_what what, bool always)
{
	const struct table_kind *k = kinds[what];
	struct table t = {0};
	uint8_t sum[32];

	c->table_round[what] = c->s->tables->round[what];
	if (k->make(c->s, c->dev, &t) < 0) {
		conn_drop(c); /* it would miss what is protected, and how: better it comes again */
		return;
	}
	mvpn_blake2b(sum, sizeof(sum), NULL, 0, &(struct mvpn_part){t.entries, t.n * k->entry_b}, 1);
	if (always || memcmp(sum, c->table_sum[what], sizeof(sum))) {
		memcpy(c->table_sum[what], sum, sizeof(sum));
		send_table(c, k, &t);
	}
	free(t.entries);
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
