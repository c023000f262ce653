/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "crypto.h"
#include "gateways.h"
#include "log.h"
#include "push.h"
#include "session.h"

#define FRAME_FILL_B 16000 /* small, for ten thousand channels may have one under way */
#define RING 1024	   /* deltas kept */
#define QUEUE_B 16384	 /* bytes that pushes leave queued in one channel before they wait for it */
#define DIRTY_MAX 200000 /* changes collected at once; over it everybody gets a snapshot */

struct snapshot {
	unsigned refs;
	uint64_t seq; /* deltas from here on are not in it */
	struct chan_buf *frames;
	unsigned nframes;
};

struct peer_change {
	uint8_t id[16];
	uint8_t state;
	char name[MVPN_NAME_MAX_B + 1];
	unsigned at; /* its place among those collected */
};

struct delta {
	struct chan_buf frame;
	bool last; /* of a change: the set is `set` with it */
	uint8_t set[PUSH_SET_B];
};

struct push {
	struct server *s;
	struct loop_timer *flush;
	uint64_t rest_ms;		  /* until then changes are collected */
	uint8_t key[32], set[PUSH_SET_B]; /* of the state that all deltas so far make */
	bool stale;			  /* something has changed since `latest` was made */
	struct mvpn_prefix *prefixes;	  /* collected */
	unsigned nprefixes, prefixes_size;
	struct peer_change *peers;
	unsigned npeers, peers_size;
	bool revision, overflow;
	struct delta ring[RING]; /* delta seq is in ring[seq % RING] */
	uint64_t next_seq;
	struct snapshot *latest;
};

/* ---- encoding ---- */

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

/* frames are built one after the other; a full one makes the next begin */
struct writer {
	struct push *p;
	struct chan_buf *frames;
	unsigned n, size;
	int error;
	uint8_t *seen; /* devices told already, a bit each */
};

static void begin_frame(struct server *s, struct chan_buf *b, uint8_t flags)
{
	chan_begin(b, MVPN_MSG_PREFIXES, flags, 0);
	chan_put_u64(b, MVPN_TLV_REV, s->policy_rev);
	chan_put_u32(b, MVPN_TLV_OPTIONS, policy_options(s->policy));
	chan_put_u32(b, MVPN_TLV_MAX_OFFLINE, server_max_offline_s(s));
	chan_put_u32(b, MVPN_TLV_REKEY, server_rekey_s(s));
}

static struct chan_buf *frame(struct writer *w, uint8_t flags)
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
	begin_frame(w->p->s, a, flags);
	return a;
}

/* A device is told before the first prefix that it owns. */
static void write_owner(struct writer *w, struct chan_buf *b, const struct device *owner)
{
	if (w->seen[owner->index / 8] & 1 << owner->index % 8)
		return;
	put_peer(b, owner->row.id, owner->row.state, owner->row.name);
	w->seen[owner->index / 8] |= (uint8_t)(1 << owner->index % 8);
}

static int write_prefix(struct writer *w, const struct mvpn_prefix *p, bool add,
			const struct device *owner)
{
	const struct registry *r = w->p->s->reg;
	const struct gateway_set *set = add ? gateways_of(r, p) : NULL;
	struct chan_buf *b = frame(w, 0);

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

static int writer_init(struct writer *w, struct push *p)
{
	memset(w, 0, sizeof(*w));
	w->p = p;
	w->seen = calloc(1, p->s->reg->size / 8 + 1);
	return w->seen ? 0 : -ENOMEM;
}

static void frames_free(struct chan_buf *frames, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		chan_buf_free(&frames[i]);
	free(frames);
}

/* ---- what the whole set is ---- */

static void mix(uint8_t sum[PUSH_SET_B], const struct push *p, const struct mvpn_part *parts,
		size_t n)
{
	uint8_t h[PUSH_SET_B];

	mvpn_blake2b(h, sizeof(h), p->key, sizeof(p->key), parts, n);
	for (unsigned i = 0; i < sizeof(h); i++)
		sum[i] ^= h[i];
}

struct set_sum {
	const struct push *p;
	uint8_t sum[PUSH_SET_B];
};

static int mix_prefix(void *arg, const struct mvpn_prefix *prefix, uint32_t value)
{
	struct set_sum *x = arg;
	const struct registry *r = x->p->s->reg;
	const struct device *d = value && value - 1 < r->size ? r->devices[value - 1] : NULL;
	const struct gateway_set *set = gateways_of(r, prefix);
	uint8_t behind[1 + 16 * (MVPN_GATEWAYS_MAX - 1)] = {set && set->translated};
	size_t len = set ? 1 : 0;

	for (unsigned i = 1; set && i < set->n; i++, len += 16)
		memcpy(behind + len, r->devices[set->value[i] - 1]->row.id, 16);
	mix(x->sum, x->p,
	    (struct mvpn_part[]){{"prefix", 6},
				 {&prefix->len, 1},
				 {prefix->addr.b, 16},
				 {d ? d->row.id : NULL, d ? 16 : 0},
				 {behind, len}},
	    5);
	return 0;
}

/* A sum, so that the order does not matter: it is the same after a restart. Its key is secret: nobody can choose names or
 * addresses so that a change leaves it as it was. */
static void set_make(struct push *p)
{
	const struct registry *r = p->s->reg;
	uint32_t settings[] = {policy_options(p->s->policy), server_max_offline_s(p->s),
			       server_rekey_s(p->s)};
	struct set_sum x = {.p = p};

	lpm_each(r->owners, mix_prefix, &x);
	for (uint32_t i = 0; i < r->size; i++) {
		const struct device *d = r->devices[i];

		if (d && d->nowned)
			mix(x.sum, p,
			    (struct mvpn_part[]){{"device", 6},
						 {d->row.id, 16},
						 {&d->row.state, 1},
						 {d->row.name, strlen(d->row.name)}},
			    4);
	}
	mvpn_blake2b(p->set, sizeof(p->set), p->key, sizeof(p->key),
		     (struct mvpn_part[]){{"set", 3},
					  {x.sum, sizeof(x.sum)},
					  {&p->s->policy_rev, sizeof(p->s->policy_rev)},
					  {settings, sizeof(settings)}},
		     4);
}

static void end_change(struct push *p, struct chan_buf *last)
{
	last->data[1] |= MVPN_PFX_COMMIT;
	chan_put(last, MVPN_TLV_SET, p->set, sizeof(p->set));
}

/* ---- snapshots ---- */

static void snapshot_unref(struct snapshot *snap)
{
	if (!snap || --snap->refs)
		return;
	frames_free(snap->frames, snap->nframes);
	free(snap);
}

static int snapshot_prefix(void *arg, const struct mvpn_prefix *p, uint32_t value)
{
	struct writer *w = arg;
	const struct registry *r = w->p->s->reg;

	return write_prefix(w, p, true,
			    value && value - 1 < r->size ? r->devices[value - 1] : NULL);
}

static int snapshot_make(struct push *p)
{
	struct snapshot *snap = calloc(1, sizeof(*snap));
	struct writer w;
	int r;

	if (!snap)
		return -ENOMEM;
	r = writer_init(&w, p);
	if (r == 0 && !frame(&w, MVPN_PFX_RESET))
		r = -ENOMEM;
	if (r == 0)
		r = lpm_each(p->s->reg->owners, snapshot_prefix, &w);
	free(w.seen);
	if (r < 0) {
		frames_free(w.frames, w.n);
		free(snap);
		return r;
	}
	/* what is collected and not told yet may be in it: then it is told once more */
	end_change(p, &w.frames[w.n - 1]);
	snap->refs = 1;
	snap->seq = p->next_seq;
	snap->frames = w.frames;
	snap->nframes = w.n;
	snapshot_unref(p->latest);
	p->latest = snap;
	p->stale = false;
	return 0;
}

static struct snapshot *snapshot_get(struct push *p)
{
	/* never an older one: committing it would let go, for a moment, of what the device protects already */
	if (!p->latest || p->stale || p->next_seq != p->latest->seq) {
		int r = snapshot_make(p);

		if (r < 0) {
			log_err("the protected set was not encoded: %s", strerror(-r));
			return NULL;
		}
	}
	p->latest->refs++;
	return p->latest;
}

/* ---- channels ---- */

void push_unsubscribe(struct conn *c)
{
	snapshot_unref(c->snap);
	c->snap = NULL;
	c->subscribed = false;
}

static void start_snapshot(struct conn *c)
{
	push_unsubscribe(c);
	c->snap = snapshot_get(c->s->push);
	if (!c->snap) {
		conn_drop(c); /* it would miss prefixes: better it comes again */
		return;
	}
	c->snap_at = 0;
	c->next_delta = c->snap->seq;
	c->subscribed = true;
	count(c->s, snapshots);
}

/* the delta after the state that the device knows; false: too long ago, or never heard of */
static bool find_state(const struct push *p, const uint8_t set[PUSH_SET_B], uint64_t *ret)
{
	uint64_t n = p->next_seq < RING ? p->next_seq : RING;

	*ret = p->next_seq;
	if (!memcmp(set, p->set, PUSH_SET_B))
		return true;
	for (; n; n--, --*ret) {
		const struct delta *d = &p->ring[(*ret - 1) % RING];

		if (d->last && !memcmp(set, d->set, PUSH_SET_B))
			return true;
	}
	return false;
}

static bool resume(struct conn *c)
{
	struct push *p = c->s->push;
	struct chan_buf *b = &c->s->buf;

	if (c->subscribed)
		return true; /* it gets everything in order: nothing twice, or it would go back in time */
	if (!find_state(p, c->set, &c->next_delta))
		return false;
	c->subscribed = true;
	count(c->s, resumed);
	if (c->next_delta == p->next_seq) {
		begin_frame(c->s, b, 0);
		end_change(p, b);
		conn_send(c, b);
	}
	return true;
}

void push_subscribe(struct conn *c)
{
	bool knows = c->knows_set;

	c->knows_set = false;
	if (!knows || !resume(c))
		start_snapshot(c);
	push_pump(c);
}

void push_pump(struct conn *c)
{
	struct push *p = c->s->push;

	while (c->subscribed && !c->doomed && conn_queued(c) < QUEUE_B) {
		if (c->snap) {
			conn_send(c, &c->snap->frames[c->snap_at++]);
			if (c->snap && c->snap_at == c->snap->nframes) {
				snapshot_unref(c->snap);
				c->snap = NULL;
			}
			continue;
		}
		if (c->next_delta == p->next_seq)
			break;
		if (p->next_seq - c->next_delta > RING) {
			count(c->s, fell_behind);
			start_snapshot(c);
			continue;
		}
		conn_send(c, &p->ring[c->next_delta++ % RING].frame);
	}
}

/* ---- changes ---- */

static void *more(void *array, unsigned n, unsigned *size, size_t elem)
{
	unsigned bigger = *size ? *size * 2 : 16;
	void *a;

	if (n < *size)
		return array;
	a = n < DIRTY_MAX ? realloc(array, bigger * elem) : NULL;
	if (a)
		*size = bigger;
	return a;
}

static void dirty(struct push *p)
{
	uint64_t now = mono_ms();

	p->stale = true;
	if (!loop_timer_armed(p->flush))
		loop_timer_arm(p->flush, now < p->rest_ms ? p->rest_ms - now : 0);
}

void push_prefix(struct server *s, const struct mvpn_prefix *prefix)
{
	struct push *p = s->push;
	void *a = more(p->prefixes, p->nprefixes, &p->prefixes_size, sizeof(*p->prefixes));

	dirty(p);
	if (!a) {
		p->overflow = true;
		return;
	}
	p->prefixes = a;
	p->prefixes[p->nprefixes++] = *prefix;
}

void push_peer(struct server *s, const struct device *d, bool gone)
{
	struct push *p = s->push;
	void *a = more(p->peers, p->npeers, &p->peers_size, sizeof(*p->peers));
	struct peer_change *pc;

	dirty(p);
	if (!a) {
		p->overflow = true;
		return;
	}
	p->peers = a;
	pc = &p->peers[p->npeers++];
	pc->at = p->npeers;
	memcpy(pc->id, d->row.id, sizeof(pc->id));
	memcpy(pc->name, d->row.name, sizeof(pc->name));
	pc->state = gone ? MVPN_DEV_REVOKED : d->row.state;
}

void push_revision(struct server *s)
{
	s->push->revision = true;
	dirty(s->push);
}

static int by_prefix(const void *x, const void *y)
{
	return policy_prefix_cmp(x, y);
}

/* by device, and of one the latest first */
static int by_device(const void *x, const void *y)
{
	const struct peer_change *a = x, *b = y;
	int c = memcmp(a->id, b->id, sizeof(a->id));

	return c ? c : (a->at < b->at) - (a->at > b->at);
}

/* What was collected of one prefix or device several times is told once, as it is now: the last word counts. */
static void merge_changes(struct push *p)
{
	unsigned n = 0;

	if (p->nprefixes)
		qsort(p->prefixes, p->nprefixes, sizeof(*p->prefixes), by_prefix);
	for (unsigned i = 0; i < p->nprefixes; i++)
		if (!n || policy_prefix_cmp(&p->prefixes[n - 1], &p->prefixes[i]))
			p->prefixes[n++] = p->prefixes[i];
	p->nprefixes = n;
	n = 0;
	if (p->npeers)
		qsort(p->peers, p->npeers, sizeof(*p->peers), by_device);
	for (unsigned i = 0; i < p->npeers; i++)
		if (!n || memcmp(p->peers[n - 1].id, p->peers[i].id, sizeof(p->peers[i].id)) != 0)
			p->peers[n++] = p->peers[i];
	p->npeers = n;
}

static int write_changes(struct writer *w)
{
	struct push *p = w->p;
	int r = 0;

	if (!frame(w, 0))
		return -ENOMEM;
	for (unsigned i = 0; i < p->npeers && r == 0; i++) {
		struct chan_buf *b = frame(w, 0);

		if (!b)
			return -ENOMEM;
		put_peer(b, p->peers[i].id, p->peers[i].state, p->peers[i].name);
		r = b->error;
	}
	for (unsigned i = 0; i < p->nprefixes && r == 0; i++) {
		struct device *owner = NULL;
		bool add = registry_effective(p->s->reg, &p->prefixes[i], &owner);

		r = write_prefix(w, &p->prefixes[i], add, owner);
	}
	return r;
}

static void everybody_again(struct server *s)
{
	/* what has changed is in no delta: no state of before can be continued */
	for (unsigned i = 0; i < RING; i++)
		s->push->ring[i].last = false;
	snapshot_unref(s->push->latest);
	s->push->latest = NULL;
	for (struct conn *c = s->conns; c; c = c->next)
		if (c->subscribed)
			start_snapshot(c);
}

void push_flush(struct server *s)
{
	struct push *p = s->push;
	uint64_t began = mono_ms(), now;
	struct writer w;
	int r;

	loop_timer_disarm(p->flush);
	if (!p->nprefixes && !p->npeers && !p->revision && !p->overflow)
		return;
	set_make(p);
	merge_changes(p);
	r = writer_init(&w, p);
	if (r == 0 && !p->overflow)
		r = write_changes(&w);
	if (r < 0 || p->overflow || w.n > RING / 4) {
		frames_free(w.frames, w.n);
		everybody_again(s);
	} else {
		end_change(p, &w.frames[w.n - 1]);
		for (unsigned i = 0; i < w.n; i++) {
			struct delta *slot = &p->ring[p->next_seq++ % RING];

			chan_buf_free(&slot->frame);
			slot->frame = w.frames[i];
			slot->last = i == w.n - 1;
			memcpy(slot->set, p->set, sizeof(slot->set));
			count(s, deltas);
		}
		free(w.frames);
	}
	free(w.seen);
	p->nprefixes = p->npeers = 0;
	p->revision = p->overflow = false;
	for (struct conn *c = s->conns; c; c = c->next)
		push_pump(c);
	now = mono_ms();
	p->rest_ms = now + (now - began);
	/* after the news of who owns what */
	session_renew_marked(s);
}

static void on_flush(void *arg)
{
	push_flush(arg);
}

int push_new(struct server *s)
{
	struct push *p = calloc(1, sizeof(*p));
	int r;

	if (!p)
		return -ENOMEM;
	p->s = s;
	mvpn_blake2b(p->key, sizeof(p->key), s->id.store_key, 32,
		     &(struct mvpn_part){"mavp1 set", 9}, 1);
	r = loop_timer_new(s->loop, on_flush, s, &p->flush);
	if (r < 0) {
		free(p);
		return r;
	}
	s->push = p;
	set_make(p);
	return 0;
}

void push_free(struct push *p)
{
	if (!p)
		return;
	for (unsigned i = 0; i < RING; i++)
		chan_buf_free(&p->ring[i].frame);
	snapshot_unref(p->latest);
	loop_timer_free(p->flush);
	free(p->prefixes);
	free(p->peers);
	sodium_memzero(p->key, sizeof(p->key));
	free(p);
}
