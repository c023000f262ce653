/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "crypto.h"
#include "log.h"
#include "push.h"
#include "push_frames.h"
#include "session.h"

#define RING 1024	   /* deltas kept */
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
	push_frames_free(snap->frames, snap->nframes);
	free(snap);
}

static int snapshot_prefix(void *arg, const struct mvpn_prefix *p, uint32_t value)
{
	struct push_writer *w = arg;
	const struct registry *r = w->s->reg;

	return push_write_prefix(w, p, true,
			    value && value - 1 < r->size ? r->devices[value - 1] : NULL);
}

static int snapshot_make(struct push *p)
{
	struct snapshot *snap = calloc(1, sizeof(*snap));
	struct push_writer w;
	int r;

	if (!snap)
		return -ENOMEM;
	r = push_writer_init(&w, p->s);
	if (r == 0 && !push_frame(&w, MVPN_PFX_RESET))
		r = -ENOMEM;
	if (r == 0)
		r = lpm_each(p->s->reg->owners, snapshot_prefix, &w);
	free(w.seen);
	if (r < 0) {
		push_frames_free(w.frames, w.n);
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
	c->subscribed = c->resumed = false;
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

	if (c->subscribed)
		return true; /* it gets everything in order: nothing twice, or it would go back in time */
	if (!find_state(p, c->set, &c->next_delta))
		return false;
	c->subscribed = true;
	count(c->s, resumed);
	c->resumed = c->next_delta == p->next_seq;
	return true;
}

void push_subscribe(struct conn *c)
{
	bool knows = c->knows_set;

	c->knows_set = false;
	if (!knows || !resume(c))
		start_snapshot(c);
	conn_pump(c);
}

static void send_nothing_new(struct conn *c)
{
	struct chan_buf *b = &c->s->buf;

	push_frame_begin(c->s, b, 0);
	end_change(c->s->push, b);
	conn_send(c, b);
}

bool push_step(struct conn *c)
{
	struct push *p = c->s->push;

	if (!c->subscribed || !c->tables_told)
		return false;
	if (c->snap) {
		conn_send(c, &c->snap->frames[c->snap_at++]);
		if (c->snap_at == c->snap->nframes) {
			snapshot_unref(c->snap);
			c->snap = NULL;
		}
	} else if (c->next_delta == p->next_seq) {
		if (!c->resumed)
			return false;
		send_nothing_new(c);
	} else if (p->next_seq - c->next_delta > RING) {
		count(c->s, fell_behind);
		start_snapshot(c);
	} else {
		conn_send(c, &p->ring[c->next_delta++ % RING].frame);
	}
	c->resumed = false;
	return true;
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

static int write_changes(struct push *p, struct push_writer *w)
{
	int r = push_frame(w, 0) ? 0 : w->error;

	for (unsigned i = 0; i < p->npeers && r == 0; i++)
		r = push_write_peer(w, p->peers[i].id, p->peers[i].state, p->peers[i].name);
	for (unsigned i = 0; i < p->nprefixes && r == 0; i++) {
		struct device *owner = NULL;
		bool add = registry_effective(p->s->reg, &p->prefixes[i], &owner);

		r = push_write_prefix(w, &p->prefixes[i], add, owner);
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
	struct push_writer w;
	int r;

	loop_timer_disarm(p->flush);
	if (!p->nprefixes && !p->npeers && !p->revision && !p->overflow)
		return;
	push_set(p->s, p->key, p->set);
	merge_changes(p);
	r = push_writer_init(&w, p->s);
	if (r == 0 && !p->overflow)
		r = write_changes(p, &w);
	if (r < 0 || p->overflow || w.n > RING / 4) {
		push_frames_free(w.frames, w.n);
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
		conn_pump(c);
	now = mono_ms();
	p->rest_ms = now + (now - began);
}

static void on_flush(void *arg)
{
	push_flush(arg);
	session_renew_marked(arg); /* after the news of who owns what */
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
	push_set(p->s, p->key, p->set);
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
