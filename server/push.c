/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "push.h"
#include "session.h"

#define FRAME_FILL_B 60000 /* of MVPN_CHAN_PLAIN_MAX_B; an entry is far smaller than the rest */
#define RING 1024	   /* deltas kept */
#define QUEUE_B \
	(256 << 10)	 /* bytes that pushes leave queued in one channel before they wait for it */
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
};

struct push {
	struct server *s;
	struct loop_timer *flush;
	struct mvpn_prefix *prefixes; /* collected */
	unsigned nprefixes, prefixes_size;
	struct peer_change *peers;
	unsigned npeers, peers_size;
	bool revision, overflow;
	struct chan_buf ring[RING]; /* delta seq is in ring[seq % RING] */
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

/* frames are built one after the other; a full one makes the next begin */
struct writer {
	struct push *p;
	struct chan_buf *frames;
	unsigned n, size;
	int error;
	uint8_t *seen; /* devices told already, a bit each */
};

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
	chan_begin(a, MVPN_MSG_PREFIXES, flags, 0);
	chan_put_u64(a, MVPN_TLV_REV, w->p->s->policy_rev);
	chan_put_u32(a, MVPN_TLV_OPTIONS, policy_options(w->p->s->policy));
	chan_put_u32(a, MVPN_TLV_MAX_OFFLINE, server_max_offline_s(w->p->s));
	chan_put_u32(a, MVPN_TLV_REKEY, server_rekey_s(w->p->s));
	return a;
}

/* A device is told before the first prefix that it owns. */
static int write_prefix(struct writer *w, const struct mvpn_prefix *p, bool add,
			const struct device *owner)
{
	struct chan_buf *b = frame(w, 0);

	if (!b)
		return w->error;
	if (add && owner && !(w->seen[owner->index / 8] & 1 << owner->index % 8)) {
		put_peer(b, owner->row.id, owner->row.state, owner->row.name);
		w->seen[owner->index / 8] |= (uint8_t)(1 << owner->index % 8);
	}
	put_prefix(b, p, add, owner);
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
	w.frames[w.n - 1].data[1] |= MVPN_PFX_COMMIT;
	snap->refs = 1;
	snap->seq = p->next_seq;
	snap->frames = w.frames;
	snap->nframes = w.n;
	snapshot_unref(p->latest);
	p->latest = snap;
	return 0;
}

static struct snapshot *snapshot_get(struct push *p)
{
	/* never an older one: committing it would let go, for a moment, of what the device protects already */
	if (!p->latest || p->next_seq != p->latest->seq) {
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

void push_subscribe(struct conn *c)
{
	push_flush(c->s);
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
		conn_send(c, &p->ring[c->next_delta++ % RING]);
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
	if (!loop_timer_armed(p->flush))
		loop_timer_arm(p->flush, 0);
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
	memcpy(pc->id, d->row.id, sizeof(pc->id));
	memcpy(pc->name, d->row.name, sizeof(pc->name));
	pc->state = gone ? MVPN_DEV_REVOKED : d->row.state;
}

void push_revision(struct server *s)
{
	s->push->revision = true;
	dirty(s->push);
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
	snapshot_unref(s->push->latest);
	s->push->latest = NULL;
	for (struct conn *c = s->conns; c; c = c->next)
		if (c->subscribed)
			start_snapshot(c);
}

void push_flush(struct server *s)
{
	struct push *p = s->push;
	struct writer w;
	int r;

	loop_timer_disarm(p->flush);
	if (!p->nprefixes && !p->npeers && !p->revision && !p->overflow)
		return;
	r = writer_init(&w, p);
	if (r == 0 && !p->overflow)
		r = write_changes(&w);
	if (r < 0 || p->overflow || w.n > RING / 4) {
		frames_free(w.frames, w.n);
		everybody_again(s);
	} else {
		w.frames[w.n - 1].data[1] |= MVPN_PFX_COMMIT;
		for (unsigned i = 0; i < w.n; i++) {
			struct chan_buf *slot = &p->ring[p->next_seq++ % RING];

			chan_buf_free(slot);
			*slot = w.frames[i];
			count(s, deltas);
		}
		free(w.frames);
	}
	free(w.seen);
	p->nprefixes = p->npeers = 0;
	p->revision = p->overflow = false;
	for (struct conn *c = s->conns; c; c = c->next)
		push_pump(c);
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
	r = loop_timer_new(s->loop, on_flush, s, &p->flush);
	if (r < 0) {
		free(p);
		return r;
	}
	s->push = p;
	return 0;
}

void push_free(struct push *p)
{
	if (!p)
		return;
	for (unsigned i = 0; i < RING; i++)
		chan_buf_free(&p->ring[i]);
	snapshot_unref(p->latest);
	loop_timer_free(p->flush);
	free(p->prefixes);
	free(p->peers);
	free(p);
}
