/* SPDX-License-Identifier: BSD-2-Clause */
/* Key table: see keytab.h. Public objects sit in boxes that carry what only the writer needs. */
#include "keytab.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "loop.h"
#include "mvpn/maps.h"
#include "secslab.h"
#include "spi.h"

/* peers a chunk: the directory of chunks never moves, so readers need no lock */
#define PEER_CHUNK 1024
#define PEER_CHUNKS (MVPN_PEERS_MAX / PEER_CHUNK + 1)

#define box_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

/*
 * what was unpublished while the table's epoch was `epoch` - 1; free once every worker has seen
 * `epoch`
 */
struct retired {
	struct retired *next;
	uint64_t epoch;
	void (*free)(struct retired *r);
};

struct session_box {
	struct retired retired;
	struct session_box *next, **prev; /* of one peer */
	struct secslab *slab;		  /* of the lanes */
	struct kt_session s;
	struct mvpn_prefix selectors[]; /* s.local, then s.remote */
};
struct endpoint_box {
	struct retired retired;
	struct kt_endpoint e;
};
struct peer_box {
	struct retired retired;
	struct session_box *sessions;
	struct kt_peer p;
};

struct frames_box {
	struct retired retired;
	struct frametab *t;
};

struct peer_chunk {
	struct kt_peer *_Atomic peer[PEER_CHUNK];
};
struct reader { /* epoch that the worker has seen; 0: offline. A cache line each. */
	_Atomic uint64_t seen;
} __attribute__((aligned(64)));

struct keytab {
	struct kt_session *_Atomic rx[MVPN_SPI_SLOTS];
	struct peer_chunk *_Atomic chunks[PEER_CHUNKS];
	struct lpm *_Atomic lpm;
	struct frames_box *_Atomic frames;
	struct fwdtab *_Atomic forwards;
	_Atomic uint64_t epoch;
	_Atomic uint32_t options; /* enum mvpn_options */
	_Atomic uint32_t echo;
	struct reader reader[MVPN_WORKERS_MAX];
	/* writer only */
	struct retired *retired, **retired_end; /* oldest first */
	unsigned nretired;
	struct spi_table *spis;
	struct secslab *lanes;
};

/* ---- retiring ---- */
static void retire(struct keytab *kt, struct retired *r, void (*fn)(struct retired *r))
{
	r->free = fn;
	r->epoch = atomic_fetch_add_explicit(&kt->epoch, 1, memory_order_seq_cst) + 1;
	r->next = NULL;
	*kt->retired_end = r;
	kt->retired_end = &r->next;
	kt->nretired++;
}

static void session_free(struct retired *r)
{
	struct session_box *b = box_of(r, struct session_box, retired);

	secslab_put(b->slab, b->s.tx);
	free(b->s.services);
	free(b->s.classes);
	free(b);
}

static void endpoint_free(struct retired *r)
{
	free(box_of(r, struct endpoint_box, retired));
}

static void peer_free(struct retired *r)
{
	free(box_of(r, struct peer_box, retired));
}

/* the beginning of a struct lpm, and of what it leaves behind, is for our link */
_Static_assert(sizeof(struct retired) <= LPM_LINK_B, "lpm.h");

static void lpm_retired_free(struct retired *r)
{
	lpm_free((struct lpm *)r);
}

static void plain_free(struct retired *r)
{
	free(r);
}

static void lpm_outgrown(void *arg, void *mem)
{
	retire(arg, mem, plain_free);
}

_Static_assert(sizeof(struct retired) <= FWDTAB_LINK_B, "fwdtab.h");

static void frames_box_free(struct retired *r)
{
	struct frames_box *b = box_of(r, struct frames_box, retired);

	frametab_free(b->t);
	free(b);
}

unsigned kt_reclaim(struct keytab *kt)
{
	uint64_t min = UINT64_MAX;
	struct retired *r;

	atomic_thread_fence(memory_order_seq_cst);
	for (unsigned i = 0; i < MVPN_WORKERS_MAX; i++) {
		uint64_t seen = atomic_load_explicit(&kt->reader[i].seen, memory_order_acquire);

		if (seen && seen < min)
			min = seen;
	}
	while ((r = kt->retired) && r->epoch <= min) {
		kt->retired = r->next;
		if (!kt->retired)
			kt->retired_end = &kt->retired;
		kt->nretired--;
		r->free(r);
	}
	return kt->nretired;
}

size_t kt_locked_b(const struct keytab *kt)
{
	struct secslab_stats st;

	secslab_stats(kt->lanes, &st);
	return st.mapped;
}

/* ---- the table ---- */
int kt_new(struct keytab **ret)
{
	/* megabytes, of which a table with few sessions touches a few pages */
	struct keytab *kt =
		mmap(NULL, sizeof(*kt), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int r;

	if (kt == MAP_FAILED)
		return -ENOMEM;
	r = spi_table_new(&kt->spis);
	if (!r)
		r = secslab_new(&kt->lanes);
	if (r) {
		spi_table_free(kt->spis);
		munmap(kt, sizeof(*kt));
		return r;
	}
	atomic_store(&kt->epoch, 1);
	kt->retired_end = &kt->retired;
	*ret = kt;
	return 0;
}

void kt_free(struct keytab *kt)
{
	struct lpm *lpm;
	struct frames_box *frames;

	if (!kt)
		return;
	for (unsigned c = 0; c < PEER_CHUNKS; c++) {
		struct peer_chunk *chunk = atomic_load(&kt->chunks[c]);

		for (unsigned i = 0; chunk && i < PEER_CHUNK; i++)
			if (atomic_load(&chunk->peer[i]))
				kt_peer_drop(kt, c * PEER_CHUNK + i);
		free(chunk);
	}
	lpm = atomic_load(&kt->lpm);
	if (lpm)
		retire(kt, (struct retired *)lpm, lpm_retired_free);
	frames = atomic_load(&kt->frames);
	if (frames)
		retire(kt, &frames->retired, frames_box_free);
	kt_set_forwards(kt, NULL);
	for (unsigned i = 0; i < MVPN_WORKERS_MAX; i++)
		kt_worker_offline(kt, i);
	kt_reclaim(kt);
	secslab_free(kt->lanes);
	spi_table_free(kt->spis);
	munmap(kt, sizeof(*kt));
}

int kt_set_frames(struct keytab *kt, struct frametab *t)
{
	struct frames_box *b = t ? calloc(1, sizeof(*b)) : NULL, *old;

	if (t && !b) {
		frametab_free(t);
		return -ENOMEM;
	}
	if (b)
		b->t = t;
	old = atomic_exchange_explicit(&kt->frames, b, memory_order_acq_rel);
	if (old)
		retire(kt, &old->retired, frames_box_free);
	return 0;
}

void kt_set_forwards(struct keytab *kt, struct fwdtab *t)
{
	struct fwdtab *old = atomic_exchange_explicit(&kt->forwards, t, memory_order_acq_rel);

	if (old)
		retire(kt, (struct retired *)old, plain_free);
}

const struct fwdtab *kt_forwards(struct keytab *kt)
{
	return atomic_load_explicit(&kt->forwards, memory_order_acquire);
}

void kt_set_prefixes(struct keytab *kt, struct lpm *lpm)
{
	struct lpm *old;

	lpm_on_retire(lpm, lpm_outgrown, kt);
	old = atomic_exchange_explicit(&kt->lpm, lpm, memory_order_acq_rel);
	if (old)
		retire(kt, (struct retired *)old, lpm_retired_free);
}

void kt_set_options(struct keytab *kt, uint32_t options)
{
	atomic_store_explicit(&kt->options, options, memory_order_relaxed);
}

void kt_set_echo(struct keytab *kt, uint32_t id)
{
	atomic_store_explicit(&kt->echo, id, memory_order_relaxed);
}

uint32_t kt_echo(const struct keytab *kt)
{
	return atomic_load_explicit(&kt->echo, memory_order_relaxed);
}

uint32_t kt_options(const struct keytab *kt)
{
	return atomic_load_explicit(&kt->options, memory_order_relaxed);
}

/* ---- peers ---- */
struct kt_peer *kt_lookup_peer(struct keytab *kt, uint32_t index)
{
	struct peer_chunk *chunk;

	if (index >= MVPN_PEERS_MAX)
		return NULL;
	chunk = atomic_load_explicit(&kt->chunks[index / PEER_CHUNK], memory_order_acquire);
	if (!chunk)
		return NULL;
	return atomic_load_explicit(&chunk->peer[index % PEER_CHUNK], memory_order_acquire);
}

struct kt_peer *kt_peer_get(struct keytab *kt, uint32_t index)
{
	struct kt_peer *p = kt_lookup_peer(kt, index);
	struct peer_chunk *chunk;
	struct peer_box *b;

	if (p || index >= MVPN_PEERS_MAX || index == MVPN_PEER_NONE)
		return p;
	chunk = atomic_load(&kt->chunks[index / PEER_CHUNK]);
	if (!chunk) {
		chunk = calloc(1, sizeof(*chunk));
		if (!chunk)
			return NULL;
		atomic_store_explicit(&kt->chunks[index / PEER_CHUNK], chunk, memory_order_release);
	}
	b = calloc(1, sizeof(*b));
	if (!b)
		return NULL;
	b->p.index = index;
	atomic_store_explicit(&chunk->peer[index % PEER_CHUNK], &b->p, memory_order_release);
	return &b->p;
}

void kt_peer_drop(struct keytab *kt, uint32_t index)
{
	struct kt_peer *p = kt_lookup_peer(kt, index);
	struct peer_box *b;

	if (!p)
		return;
	b = box_of(p, struct peer_box, p);
	while (b->sessions)
		kt_session_remove(kt, &b->sessions->s);
	kt_peer_set_endpoint(kt, index, NULL);
	atomic_store_explicit(
		&atomic_load(&kt->chunks[index / PEER_CHUNK])->peer[index % PEER_CHUNK], NULL,
		memory_order_release);
	retire(kt, &b->retired, peer_free);
}

int kt_peer_set_endpoint(struct keytab *kt, uint32_t index, const struct kt_endpoint *e)
{
	struct kt_peer *p = e ? kt_peer_get(kt, index) : kt_lookup_peer(kt, index);
	struct endpoint_box *b = NULL;
	struct kt_endpoint *old;

	if (!p)
		return e ? -ENOMEM : 0;
	if (e) {
		b = calloc(1, sizeof(*b));
		if (!b)
			return -ENOMEM;
		b->e = *e;
	}
	old = atomic_exchange_explicit(&p->endpoint, b ? &b->e : NULL, memory_order_acq_rel);
	if (old)
		retire(kt, &box_of(old, struct endpoint_box, e)->retired, endpoint_free);
	return 0;
}

/* ---- SPIs ---- */
static uint32_t now_s(void)
{
	return (uint32_t)(mono_ns() / 1000000000);
}

uint32_t kt_spi_alloc(struct keytab *kt)
{
	return spi_alloc(kt->spis, now_s());
}

void kt_spi_free(struct keytab *kt, uint32_t spi)
{
	spi_free(kt->spis, spi, now_s());
}

/* ---- sessions ---- */
static void tx_lane_init(struct kt_tx_lane *t, unsigned suite, const uint8_t k[32], unsigned lane,
			 uint64_t now)
{
	intro_lane_first(t->l, k, lane);
	intro_lane_aead(&t->aead, suite, t->l);
	t->gen_since_ns = now;
}

static void rx_lane_init(struct kt_rx_lane *r, unsigned suite, const uint8_t k[32], unsigned lane)
{
	intro_lane_first(r->l_next, k, lane);
	intro_lane_aead(&r->cur, suite, r->l_next);
	intro_lane_next(r->l_next);
	intro_lane_aead(&r->next, suite, r->l_next);
	replay_reset(&r->replay);
}

/* both halves in one cell of locked memory, the sending half first */
static int lanes_get(struct keytab *kt, struct session_box *b)
{
	size_t tx = b->s.ntx * sizeof(struct kt_tx_lane), rx = b->s.nrx * sizeof(struct kt_rx_lane);
	void *cell;
	int r = secslab_get(kt->lanes, tx + rx, &cell);

	if (r < 0)
		return r;
	b->slab = kt->lanes;
	b->s.tx = cell;
	b->s.rx = (struct kt_rx_lane *)((char *)cell + tx);
	return 0;
}

static struct session_box *session_box_new(const struct mvpn_prefix *local, unsigned nlocal,
					   const struct mvpn_prefix *remote, unsigned nremote)
{
	struct session_box *b =
		calloc(1, sizeof(*b) + (nlocal + nremote) * sizeof(b->selectors[0]));

	if (!b)
		return NULL;
	b->s.nlocal = nlocal;
	b->s.nremote = nremote;
	b->s.local = b->selectors;
	b->s.remote = b->selectors + nlocal;
	if (nlocal)
		memcpy(b->s.local, local, nlocal * sizeof(*local));
	if (nremote)
		memcpy(b->s.remote, remote, nremote * sizeof(*remote));
	return b;
}

int kt_session_new(struct keytab *kt, struct kt_session **ret, const uint8_t id[MVPN_ID_LEN],
		   uint32_t peer, uint32_t rx_spi, const struct intro_keys *k,
		   const struct mvpn_prefix *local, unsigned nlocal,
		   const struct mvpn_prefix *remote, unsigned nremote)
{
	struct session_box *b;
	struct peer_box *pb;
	struct kt_peer *p;
	uint64_t now = mono_ns();
	int r;

	if (!k->tx_lanes || k->tx_lanes > MVPN_LANES_MAX || !k->rx_lanes ||
	    k->rx_lanes > MVPN_LANES_MAX || nlocal > MVPN_SELECTORS_MAX ||
	    nremote > MVPN_SELECTORS_MAX)
		return -EINVAL;
	if (k->suite < 1 || k->suite > 16 || !(aead_suites() & 1u << (k->suite - 1)))
		return -ENOTSUP;
	p = kt_peer_get(kt, peer);
	b = session_box_new(local, nlocal, remote, nremote);
	if (!p || !b) {
		free(b);
		return -ENOMEM;
	}
	memcpy(b->s.id, id, MVPN_ID_LEN);
	b->s.peer = peer;
	b->s.rx_spi = rx_spi;
	b->s.tx_spi = k->peer_spi;
	b->s.suite = k->suite;
	b->s.ntx = k->tx_lanes;
	b->s.nrx = k->rx_lanes;
	r = lanes_get(kt, b);
	if (r < 0) {
		free(b);
		return r;
	}
	for (unsigned i = 0; i < b->s.ntx; i++)
		tx_lane_init(&b->s.tx[i], k->suite, k->tx, i, now);
	for (unsigned i = 0; i < b->s.nrx; i++)
		rx_lane_init(&b->s.rx[i], k->suite, k->rx, i);
	memset(b->s.rx_owner, KT_NOBODY, sizeof(b->s.rx_owner));

	pb = box_of(p, struct peer_box, p);
	b->next = pb->sessions;
	b->prev = &pb->sessions;
	if (b->next)
		b->next->prev = &b->next;
	pb->sessions = b;
	*ret = &b->s;
	return 0;
}

void kt_session_limit(struct kt_session *s, struct mvpn_service *services, unsigned nlocal,
		      unsigned nremote)
{
	s->services = services;
	s->nserv_local = nlocal;
	s->nserv_remote = nremote;
	s->limited = true;
}

struct kt_classes *kt_classes_new(const struct mvpn_classes *c, unsigned local)
{
	struct kt_classes *k = calloc(1, sizeof(*k));
	uint64_t now = mono_ns();

	if (!k)
		return NULL;
	k->is = *c;
	k->local = local;
	for (unsigned i = 0; i < c->n; i++) {
		struct kt_class *of = &k->of[i];

		of->dscp = c->list[i].dscp;
		of->rate_kbit = c->list[i].rate_kbit;
		of->burst_b = c->list[i].burst_b;
		/* a rekey is no reason for another burst; what the peer sends may have been on its way */
		atomic_store(&of->tx.empty_ns, now);
	}
	return k;
}

void kt_session_classes(struct kt_session *s, struct kt_classes *c)
{
	s->classes = c;
}

void kt_session_arm_rx(struct keytab *kt, struct kt_session *s)
{
	atomic_store_explicit(&kt->rx[spi_slot(s->rx_spi)], s, memory_order_release);
}

void kt_session_arm_tx(struct keytab *kt, struct kt_session *s)
{
	struct kt_peer *p = kt_lookup_peer(kt, s->peer);

	if (p)
		atomic_store_explicit(&p->tx, s, memory_order_release);
}

void kt_session_disarm_tx(struct keytab *kt, struct kt_session *s)
{
	struct kt_peer *p = kt_lookup_peer(kt, s->peer);

	if (p && atomic_load(&p->tx) == s)
		atomic_store_explicit(&p->tx, NULL, memory_order_release);
}

void kt_session_remove(struct keytab *kt, struct kt_session *s)
{
	struct session_box *b = box_of(s, struct session_box, s);
	unsigned slot = spi_slot(s->rx_spi);

	kt_session_disarm_tx(kt, s);
	if (atomic_load(&kt->rx[slot]) == s)
		atomic_store_explicit(&kt->rx[slot], NULL, memory_order_release);
	kt_spi_free(kt, s->rx_spi);
	*b->prev = b->next;
	if (b->next)
		b->next->prev = b->prev;
	retire(kt, &b->retired, session_free);
}

static uint64_t read_relaxed(const _Atomic uint64_t *v)
{
	return atomic_load_explicit(v, memory_order_relaxed);
}

void kt_session_stats(const struct kt_session *s, struct kt_stats *ret)
{
	memset(ret, 0, sizeof(*ret));
	for (unsigned i = 0; i < s->ntx; i++) {
		ret->tx_packets += read_relaxed(&s->tx[i].packets);
		ret->tx_bytes += read_relaxed(&s->tx[i].bytes);
		ret->tx_refused += read_relaxed(&s->tx[i].refused);
	}
	for (unsigned i = 0; i < s->nrx; i++) {
		const struct kt_rx_lane *l = &s->rx[i];
		uint64_t last = read_relaxed(&l->last_ns);

		ret->rx_packets += read_relaxed(&l->packets);
		ret->rx_bytes += read_relaxed(&l->bytes);
		ret->rx_auth_fail += read_relaxed(&l->auth_fail);
		ret->rx_replay += read_relaxed(&l->replayed);
		ret->rx_bad_inner += read_relaxed(&l->bad_inner);
		ret->rx_refused += read_relaxed(&l->refused);
		ret->rx_last_ns = last > ret->rx_last_ns ? last : ret->rx_last_ns;
	}
}

/* ---- workers ---- */
void kt_worker_online(struct keytab *kt, unsigned worker)
{
	atomic_store_explicit(&kt->reader[worker].seen,
			      atomic_load_explicit(&kt->epoch, memory_order_acquire),
			      memory_order_seq_cst);
	atomic_thread_fence(memory_order_seq_cst); /* before any pointer is read */
}

void kt_worker_quiescent(struct keytab *kt, unsigned worker)
{
	uint64_t epoch = atomic_load_explicit(&kt->epoch, memory_order_acquire);

	if (atomic_load_explicit(&kt->reader[worker].seen, memory_order_relaxed) == epoch)
		return;
	atomic_store_explicit(&kt->reader[worker].seen, epoch, memory_order_seq_cst);
	atomic_thread_fence(memory_order_seq_cst);
}

void kt_worker_offline(struct keytab *kt, unsigned worker)
{
	atomic_store_explicit(&kt->reader[worker].seen, 0, memory_order_release);
}

struct kt_peer *kt_lookup_dst(struct keytab *kt, const struct mvpn_addr *dst)
{
	struct lpm *lpm = atomic_load_explicit(&kt->lpm, memory_order_acquire);
	uint32_t index;

	if (!lpm || !lpm_lookup(lpm, dst, &index) || index == MVPN_PEER_NONE)
		return NULL;
	return kt_lookup_peer(kt, index);
}

const struct frametab *kt_frames(struct keytab *kt)
{
	const struct frames_box *b = atomic_load_explicit(&kt->frames, memory_order_acquire);

	return b ? b->t : NULL;
}

struct kt_session *kt_lookup_spi(struct keytab *kt, uint32_t spi)
{
	struct kt_session *s = atomic_load_explicit(&kt->rx[spi_slot(spi)], memory_order_acquire);

	return s && s->rx_spi == spi ? s : NULL;
}
