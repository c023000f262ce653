/* SPDX-License-Identifier: BSD-2-Clause */
/* The key table's sessions: made with their keys, published to the workers, taken out again. */
#include "keytab_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "loop.h"
#include "secslab.h"
#include "spi.h"

static void session_free(struct retired *r)
{
	struct session_box *b = box_of(r, struct session_box, retired);

	secslab_put(b->slab, b->s.tx);
	free(b->s.services);
	free(b->s.classes);
	free(b);
}

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
	kt_retire(kt, &b->retired, session_free);
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
