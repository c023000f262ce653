/* SPDX-License-Identifier: BSD-2-Clause */
/* Key table: see keytab.h. */
#include "keytab_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "loop.h"
#include "mvpn/maps.h"
#include "secslab.h"
#include "spi.h"

struct endpoint_box {
	struct retired retired;
	struct kt_endpoint e;
};
struct frames_box {
	struct retired retired;
	struct frametab *t;
};
struct peer_chunk {
	struct kt_peer *_Atomic peer[PEER_CHUNK];
};

/* ---- retiring ---- */
void kt_retire(struct keytab *kt, struct retired *r, void (*fn)(struct retired *r))
{
	r->free = fn;
	r->epoch = atomic_fetch_add_explicit(&kt->epoch, 1, memory_order_seq_cst) + 1;
	r->next = NULL;
	*kt->retired_end = r;
	kt->retired_end = &r->next;
	kt->nretired++;
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
	kt_retire(arg, mem, plain_free);
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
		kt_retire(kt, (struct retired *)lpm, lpm_retired_free);
	frames = atomic_load(&kt->frames);
	if (frames)
		kt_retire(kt, &frames->retired, frames_box_free);
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
		kt_retire(kt, &old->retired, frames_box_free);
	return 0;
}

void kt_set_forwards(struct keytab *kt, struct fwdtab *t)
{
	struct fwdtab *old = atomic_exchange_explicit(&kt->forwards, t, memory_order_acq_rel);

	if (old)
		kt_retire(kt, (struct retired *)old, plain_free);
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
		kt_retire(kt, (struct retired *)old, lpm_retired_free);
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
	kt_retire(kt, &b->retired, peer_free);
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
		kt_retire(kt, &box_of(old, struct endpoint_box, e)->retired, endpoint_free);
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
