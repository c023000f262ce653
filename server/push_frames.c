/* SPDX-License-Identifier: BSD-2-Clause */
#include "push_frames.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "crypto.h"
#include "gateways.h"

#define FRAME_FILL_B 16000 /* small, for ten thousand channels may have one under way */

/* ---- frames ---- */

static void put_peer(struct chan_buf *b, const uint8_t id[16], unsigned state, const char *name)
{
	uint8_t v[17 + MVPN_NAME_MAX_B];
	size_t len = strlen(name);

	memcpy(v, id, 16);
	v[16] = (uint8_t)state;
	memcpy(v + 17, name, len);
	chan_put(b, MVPN_TLV_PEER, v, 17 + len);
}

static void put_prefix(struct chan_buf *b, const struct mvpn_prefix *p, bool add,
		       const struct device *owner)
{
	uint8_t v[34] = {add, p->len};

	memcpy(v + 2, p->addr.b, 16);
	if (add && owner)
		memcpy(v + 18, owner->row.id, 16);
	chan_put(b, MVPN_TLV_PREFIX, v, sizeof(v));
}

/* beside a prefix that has several */
static void put_gateways(struct chan_buf *b, const struct registry *r, const struct gateway_set *set)
{
	uint8_t v[MVPN_TLV_GATEWAYS_HEAD_B + 16 * MVPN_GATEWAYS_MAX] = {set->prefix.len};
	size_t len = MVPN_TLV_GATEWAYS_HEAD_B;

	memcpy(v + 1, set->prefix.addr.b, 16);
	v[17] = set->translated ? MVPN_GATEWAYS_TRANSLATED : 0;
	for (unsigned i = 0; i < set->n; i++, len += 16)
		memcpy(v + len, r->devices[set->value[i] - 1]->row.id, 16);
	chan_put(b, MVPN_TLV_GATEWAYS, v, len);
}

void push_frame_begin(struct server *s, struct chan_buf *b, uint8_t flags)
{
	chan_begin(b, MVPN_MSG_PREFIXES, flags, 0);
	chan_put_u64(b, MVPN_TLV_REV, s->policy_rev);
	chan_put_u32(b, MVPN_TLV_OPTIONS, policy_options(s->policy));
	chan_put_u32(b, MVPN_TLV_MAX_OFFLINE, server_max_offline_s(s));
	chan_put_u32(b, MVPN_TLV_REKEY, server_rekey_s(s));
}

struct chan_buf *push_frame(struct push_writer *w, uint8_t flags)
{
	struct chan_buf *a;

	if (w->n && w->frames[w->n - 1].len < FRAME_FILL_B)
		return &w->frames[w->n - 1];
	if (w->n == w->size) {
		unsigned size = w->size ? w->size * 2 : 1;

		a = realloc(w->frames, size * sizeof(*a));
		if (!a) {
			w->error = -ENOMEM;
			return NULL;
		}
		w->frames = a;
		w->size = size;
	}
	a = &w->frames[w->n++];
	memset(a, 0, sizeof(*a));
	push_frame_begin(w->s, a, flags);
	return a;
}

/* A device is told before the first prefix that it owns. */
static void write_owner(struct push_writer *w, struct chan_buf *b, const struct device *owner)
{
	if (w->seen[owner->index / 8] & 1 << owner->index % 8)
		return;
	put_peer(b, owner->row.id, owner->row.state, owner->row.name);
	w->seen[owner->index / 8] |= (uint8_t)(1 << owner->index % 8);
}

int push_write_prefix(struct push_writer *w, const struct mvpn_prefix *p, bool add,
			const struct device *owner)
{
	const struct registry *r = w->s->reg;
	const struct gateway_set *set = add ? gateways_of(r, p) : NULL;
	struct chan_buf *b = push_frame(w, 0);

	if (!b)
		return w->error;
	if (add && owner)
		write_owner(w, b, owner);
	for (unsigned i = 1; set && i < set->n; i++)
		write_owner(w, b, r->devices[set->value[i] - 1]);
	put_prefix(b, p, add, owner);
	if (set)
		put_gateways(b, r, set);
	return b->error;
}

int push_write_peer(struct push_writer *w, const uint8_t id[16], unsigned state, const char *name)
{
	struct chan_buf *b = push_frame(w, 0);

	if (!b)
		return w->error;
	put_peer(b, id, state, name);
	return b->error;
}

int push_writer_init(struct push_writer *w, struct server *s)
{
	memset(w, 0, sizeof(*w));
	w->s = s;
	w->seen = calloc(1, s->reg->size / 8 + 1);
	return w->seen ? 0 : -ENOMEM;
}

void push_frames_free(struct chan_buf *frames, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		chan_buf_free(&frames[i]);
	free(frames);
}

/* ---- what the whole set is ---- */

static void mix(uint8_t sum[PUSH_SET_B], const uint8_t key[32], const struct mvpn_part *parts,
		size_t n)
{
	uint8_t h[PUSH_SET_B];

	mvpn_blake2b(h, sizeof(h), key, 32, parts, n);
	for (unsigned i = 0; i < sizeof(h); i++)
		sum[i] ^= h[i];
}

struct set_sum {
	const struct registry *r;
	const uint8_t *key;
	uint8_t sum[PUSH_SET_B];
};

static int mix_prefix(void *arg, const struct mvpn_prefix *prefix, uint32_t value)
{
	struct set_sum *x = arg;
	const struct registry *r = x->r;
	const struct device *d = value && value - 1 < r->size ? r->devices[value - 1] : NULL;
	const struct gateway_set *set = gateways_of(r, prefix);
	uint8_t behind[1 + 16 * (MVPN_GATEWAYS_MAX - 1)] = {set && set->translated};
	size_t len = set ? 1 : 0;

	for (unsigned i = 1; set && i < set->n; i++, len += 16)
		memcpy(behind + len, r->devices[set->value[i] - 1]->row.id, 16);
	mix(x->sum, x->key,
	    (struct mvpn_part[]){{"prefix", 6},
				 {&prefix->len, 1},
				 {prefix->addr.b, 16},
				 {d ? d->row.id : NULL, d ? 16 : 0},
				 {behind, len}},
	    5);
	return 0;
}

void push_set(const struct server *s, const uint8_t key[32], uint8_t ret[PUSH_SET_B])
{
	const struct registry *r = s->reg;
	uint32_t settings[] = {policy_options(s->policy), server_max_offline_s(s),
			       server_rekey_s(s)};
	struct set_sum x = {.r = r, .key = key};

	lpm_each(r->owners, mix_prefix, &x);
	for (uint32_t i = 0; i < r->size; i++) {
		const struct device *d = r->devices[i];

		if (d && d->nowned)
			mix(x.sum, key,
			    (struct mvpn_part[]){{"device", 6},
						 {d->row.id, 16},
						 {&d->row.state, 1},
						 {d->row.name, strlen(d->row.name)}},
			    4);
	}
	mvpn_blake2b(ret, PUSH_SET_B, key, 32,
		     (struct mvpn_part[]){{"set", 3},
					  {x.sum, sizeof(x.sum)},
					  {&s->policy_rev, sizeof(s->policy_rev)},
					  {settings, sizeof(settings)}},
		     4);
}
