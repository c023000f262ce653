/* SPDX-License-Identifier: BSD-2-Clause */
#include "levels.h"

#include <stdlib.h>
#include <string.h>

#include "crypto.h"
#include "mvpn/auth.h"

#define FRAME_FILL_B 60000 /* of MVPN_CHAN_PLAIN_MAX_B */

struct level {
	uint8_t id[MVPN_ID_LEN], level;
};
_Static_assert(sizeof(struct level) == MVPN_ID_LEN + 1, "as TLV_LEVEL has it");

/* what one device is told: the others with which it is not at the network's level, whether or not they may talk; NULL: no memory */
static struct level *table_make(const struct server *s, const struct device *d, unsigned *ret_n)
{
	struct policy_subject self = registry_subject(d);
	struct level *t;
	unsigned lines, n = 0;

	policy_levels(s->policy, &lines);
	t = calloc(lines ? s->reg->size + 1 : 1, sizeof(*t));
	for (uint32_t i = 0; t && lines && i < s->reg->size; i++) {
		const struct device *other = s->reg->devices[i];
		struct policy_subject o;
		unsigned level;

		if (!other || other == d)
			continue;
		o = registry_subject(other);
		level = policy_level_of(s->policy, &self, &o);
		if (level == MVPN_LEVEL_NETWORK)
			continue;
		memcpy(t[n].id, other->row.id, MVPN_ID_LEN);
		t[n++].level = (uint8_t)level;
	}
	*ret_n = n;
	return t;
}

static void send_table(struct conn *c, const struct level *t, unsigned n)
{
	struct chan_buf *b = &c->s->buf;
	unsigned at = 0;

	do {
		unsigned end = at + FRAME_FILL_B / (sizeof(*t) + 4);

		if (end > n)
			end = n;
		chan_begin(b, MVPN_MSG_LEVELS,
			   (at ? 0 : MVPN_PFX_RESET) | (end == n ? MVPN_PFX_COMMIT : 0), 0);
		for (; at < end; at++)
			chan_put(b, MVPN_TLV_LEVEL, &t[at], sizeof(*t));
		conn_send(c, b);
	} while (at < n);
}

static void tell(struct conn *c, bool always)
{
	uint8_t sum[32] = {0};
	struct level *t;
	unsigned n;

	t = table_make(c->s, c->dev, &n);
	if (!t) {
		conn_drop(c); /* it would miss what is to be sealed where: better it comes again */
		return;
	}
	if (n)
		mvpn_blake2b(sum, sizeof(sum), NULL, 0, &(struct mvpn_part){t, n * sizeof(*t)}, 1);
	if (always || memcmp(sum, c->levels_sum, sizeof(sum))) {
		memcpy(c->levels_sum, sum, sizeof(sum));
		send_table(c, t, n);
	}
	free(t);
}

void levels_subscribe(struct conn *c)
{
	if (!c->doomed)
		tell(c, true);
}

static void on_timer(void *arg)
{
	struct server *s = arg;

	for (struct conn *c = s->conns; c; c = c->next)
		if (c->subscribed && !c->doomed && c->dev)
			tell(c, false);
}

int levels_new(struct server *s)
{
	return loop_timer_new(s->loop, on_timer, s, &s->levels);
}

void levels_changed(struct server *s)
{
	if (!loop_timer_armed(s->levels))
		loop_timer_arm(s->levels, 0);
}
