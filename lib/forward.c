/* SPDX-License-Identifier: BSD-2-Clause */
#include "forward.h"

#include <endian.h>
#include <stdatomic.h>
#include <string.h>

#include "mvpn/limits.h"
#include "mvpn/wire.h"

int fwd_init(struct fwd_table *t)
{
	int r = htab_init(&t->by_session);

	return r ? r : htab_init(&t->by_spi);
}

void fwd_free(struct fwd_table *t)
{
	htab_free(&t->by_session);
	htab_free(&t->by_spi);
}

struct fwd_pair *fwd_find(const struct fwd_table *t, const uint8_t session[MVPN_ID_LEN])
{
	struct hnode *n =
		htab_first(&t->by_session, htab_hash(&t->by_session, session, MVPN_ID_LEN));

	for (; n; n = htab_next(n)) {
		struct fwd_pair *p = container_of(n, struct fwd_pair, by_session);

		if (!memcmp(p->session, session, MVPN_ID_LEN))
			return p;
	}
	return NULL;
}

static void unlink_pair(struct fwd_table *t, struct fwd_pair *p)
{
	*(p->prev ? &p->prev->next : &t->first) = p->next;
	*(p->next ? &p->next->prev : &t->last) = p->prev;
}

static void link_last(struct fwd_table *t, struct fwd_pair *p, uint64_t now_ms)
{
	p->next = NULL;
	p->prev = t->last;
	*(p->prev ? &p->prev->next : &t->first) = p;
	t->last = p;
	p->at_ms = now_ms;
}

void fwd_add(struct fwd_table *t, struct fwd_pair *p, const uint8_t session[MVPN_ID_LEN],
	     const uint8_t a[MVPN_ID_LEN], const uint8_t b[MVPN_ID_LEN], uint64_t now_ms)
{
	memcpy(p->session, session, MVPN_ID_LEN);
	memcpy(p->half[0].device, a, MVPN_ID_LEN);
	memcpy(p->half[1].device, b, MVPN_ID_LEN);
	p->half[0].pair = p->half[1].pair = p;
	htab_add(&t->by_session, &p->by_session,
		 htab_hash(&t->by_session, p->session, MVPN_ID_LEN));
	link_last(t, p, now_ms);
	t->count++;
}

void fwd_remove(struct fwd_table *t, struct fwd_pair *p)
{
	fwd_set_spi(t, &p->half[0], 0);
	fwd_set_spi(t, &p->half[1], 0);
	htab_del(&t->by_session, &p->by_session);
	unlink_pair(t, p);
	t->count--;
}

void fwd_set_spi(struct fwd_table *t, struct fwd_half *h, uint32_t spi)
{
	if (h->spi == spi)
		return;
	if (h->spi)
		htab_del(&t->by_spi, &h->by_spi);
	h->spi = spi;
	if (spi)
		htab_add(&t->by_spi, &h->by_spi, htab_hash(&t->by_spi, &spi, sizeof(spi)));
}

void fwd_touch(struct fwd_table *t, struct fwd_pair *p, uint64_t now_ms)
{
	unlink_pair(t, p);
	link_last(t, p, now_ms);
}

struct fwd_pair *fwd_idle(const struct fwd_table *t, uint64_t now_ms, uint64_t idle_ms)
{
	return t->first && now_ms - t->first->at_ms > idle_ms ? t->first : NULL;
}

struct fwd_half *fwd_by_spi(const struct fwd_table *t, uint32_t spi, struct fwd_half *before)
{
	struct hnode *n = before ? htab_next(&before->by_spi)
				 : htab_first(&t->by_spi, htab_hash(&t->by_spi, &spi, sizeof(spi)));

	for (; n; n = htab_next(n)) {
		struct fwd_half *h = container_of(n, struct fwd_half, by_spi);

		if (h->spi == spi)
			return h;
	}
	return NULL;
}

bool fwd_sealed(const uint8_t *data, size_t len, uint32_t *ret_spi)
{
	struct mvpn_hdr h;

	if (len < MVPN_OVERHEAD)
		return false;
	memcpy(&h, data, sizeof(h));
	if ((h.type != MVPN_TUNNEL && h.type != MVPN_CTRL && h.type != MVPN_FRAME) ||
	    h.lane & MVPN_LANE_ZERO)
		return false;
	*ret_spi = be32toh(h.spi);
	return true;
}

bool fwd_may(_Atomic uint64_t *full, size_t len, uint32_t kbit, uint64_t now_ns)
{
	uint64_t least = now_ns - MVPN_RELAY_BURST_MS * 1000000ULL, cost = len * 8000000ULL / kbit;
	uint64_t was = atomic_load_explicit(full, memory_order_relaxed), from;

	do {
		from = was > least ? was : least;
		if (from + cost > now_ns)
			return false;
	} while (!atomic_compare_exchange_weak_explicit(
		full, &was, from + cost, memory_order_relaxed, memory_order_relaxed));
	return true;
}
