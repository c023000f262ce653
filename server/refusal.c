/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "channel.h"
#include "crypto.h"
#include "loop.h"
#include "refusal.h"

#define REFUSAL_MS 10000 /* so much is not on record yet if the server dies */
#define KINDS_MAX 256	 /* counted at a time; one more has the oldest put on record first */

struct kind {
	uint8_t hash[16];
	const char *actor, *event; /* of the program's text */
	json_t *detail;		   /* of the latest */
	uint64_t count;		   /* not on record yet */
	uint64_t began_ms;
};

struct refusals {
	struct loop_timer *timer;
	struct kind kinds[KINDS_MAX]; /* oldest first */
	unsigned n;
};

static int record(struct server *s, void *arg)
{
	struct kind *k = arg;

	if (k->count > 1)
		json_object_set_new(k->detail, "count", json_integer((json_int_t)k->count));
	return audit_add(&s->audit, k->actor, k->event, json_incref(k->detail));
}

/* the oldest ones that have had their time, or all of them */
static void forget(struct server *s, unsigned n)
{
	struct refusals *f = s->refusals;

	for (unsigned i = 0; i < n; i++) {
		if (f->kinds[i].count)
			server_transact(s, false, record, &f->kinds[i]);
		json_decref(f->kinds[i].detail);
	}
	f->n -= n;
	memmove(f->kinds, f->kinds + n, f->n * sizeof(f->kinds[0]));
}

static void on_timer(void *arg)
{
	struct server *s = arg;
	struct refusals *f = s->refusals;
	uint64_t now = mono_ms();
	unsigned n = 0;

	while (n < f->n && now - f->kinds[n].began_ms >= REFUSAL_MS)
		n++;
	forget(s, n);
	if (f->n)
		loop_timer_arm(f->timer, REFUSAL_MS - (now - f->kinds[0].began_ms));
}

void refusal_note(struct server *s, const char *actor, const char *event, const void *key, size_t key_len,
		  json_t *detail)
{
	struct mvpn_part parts[] = {{event, strlen(event) + 1}, {key, key_len}};
	struct refusals *f = s->refusals;
	struct kind new = {.actor = actor, .event = event, .detail = detail, .began_ms = mono_ms(), .count = 1};

	if (!detail || mvpn_blake2b(new.hash, sizeof(new.hash), NULL, 0, parts, 2) < 0) {
		json_decref(detail);
		return;
	}
	for (unsigned i = 0; i < f->n; i++) {
		struct kind *k = &f->kinds[i];

		if (memcmp(k->hash, new.hash, sizeof(k->hash)))
			continue;
		json_decref(k->detail);
		k->detail = detail;
		k->count++;
		return;
	}
	if (f->n == KINDS_MAX)
		forget(s, 1);
	/* what cannot be put on record now is counted, and tried again with the others like it */
	if (server_transact(s, false, record, &new) == 0)
		new.count = 0;
	f->kinds[f->n++] = new;
	if (!loop_timer_armed(f->timer))
		loop_timer_arm(f->timer, REFUSAL_MS);
}

void refusals_flush(struct server *s)
{
	forget(s, s->refusals->n);
}

int refusals_new(struct server *s)
{
	struct refusals *f = calloc(1, sizeof(*f));

	if (!f)
		return -ENOMEM;
	s->refusals = f;
	return loop_timer_new(s->loop, on_timer, s, &f->timer);
}

void refusals_free(struct refusals *f)
{
	if (!f)
		return;
	for (unsigned i = 0; i < f->n; i++)
		json_decref(f->kinds[i].detail);
	loop_timer_free(f->timer);
	free(f);
}

void refusal_note_claims(struct conn *c, const char *event, const char *name, json_t *list)
{
	char text[MVPN_ADDRSTRLEN], id[33], *key;
	json_t *detail;

	mvpn_hex(id, c->dev->row.id, 16);
	detail = json_pack("{s:s, s:s, s:o}", "device", id, "name", c->dev->row.name, name, list);
	key = json_dumps(detail, JSON_COMPACT | JSON_SORT_KEYS);
	if (key) {
		json_object_set_new(detail, "from", json_string(mvpn_endpoint_str(&c->from, text)));
		refusal_note(c->s, "device", event, key, strlen(key), detail);
	} else {
		json_decref(detail);
	}
	free(key);
}
