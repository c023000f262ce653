/* SPDX-License-Identifier: BSD-2-Clause */
#include "hold.h"

#include <errno.h>
#include <stdlib.h>

#include "chunks.h"
#include "mvpn/limits.h"

#define NONE UINT32_MAX
#define PEER_SLOTS 256 /* by the low bits of the peer's index */

struct held {
	uint64_t seq; /* rises with each packet put */
	uint64_t expires_ns;
	uint64_t flow;
	struct virtio_net_hdr vh;
	uint32_t peer, len;
	uint32_t chunk;	     /* chunks_put() */
	uint32_t next, prev; /* in the order of arrival, thus of expiry */
};

struct hold {
	struct held held[MVPN_HOLD_PACKETS];
	struct chunks chunks;
	uint64_t seq;
	uint32_t first, last, free_held;
	unsigned count;
	uint16_t of_slot[PEER_SLOTS]; /* how many are held */
};

int hold_new(struct hold **ret)
{
	struct hold *h = calloc(1, sizeof(*h));

	if (!h)
		return -ENOMEM;
	if (chunks_init(&h->chunks, MVPN_HOLD_B) < 0) {
		free(h);
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < MVPN_HOLD_PACKETS; i++)
		h->held[i].next = i + 1 < MVPN_HOLD_PACKETS ? i + 1 : NONE;
	h->first = h->last = NONE;
	*ret = h;
	return 0;
}

void hold_free(struct hold *h)
{
	if (!h)
		return;
	chunks_end(&h->chunks);
	free(h);
}

/* FNV-1a over what names a flow: a collision merely makes two flows share a bound */
static uint64_t flow_of(const struct packet *p)
{
	uint64_t x = 0xcbf29ce484222325ULL;

	for (unsigned i = 0; i < 16; i++) {
		x = (x ^ p->src.b[i]) * 0x100000001b3ULL;
		x = (x ^ p->dst.b[i]) * 0x100000001b3ULL;
	}
	x = (x ^ p->proto) * 0x100000001b3ULL;
	for (unsigned i = 0; p->headers && i < 4; i++)
		x = (x ^ p->data[p->l4 + i]) * 0x100000001b3ULL;
	return x;
}

static bool flow_full(const struct hold *h, uint64_t flow, uint32_t len)
{
	unsigned packets = 0, bytes = len;

	for (uint32_t i = h->first; i != NONE; i = h->held[i].next)
		if (h->held[i].flow == flow) {
			packets++;
			bytes += h->held[i].len;
		}
	return packets >= MVPN_HOLD_FLOW_PACKETS || bytes > MVPN_HOLD_FLOW_B;
}

/* its bytes have gone */
static void held_end(struct hold *h, uint32_t i)
{
	struct held *e = &h->held[i];

	if (e->prev == NONE)
		h->first = e->next;
	else
		h->held[e->prev].next = e->next;
	if (e->next == NONE)
		h->last = e->prev;
	else
		h->held[e->next].prev = e->prev;
	e->next = h->free_held;
	h->free_held = i;
	h->count--;
	h->of_slot[e->peer % PEER_SLOTS]--;
}

int hold_put(struct hold *h, uint32_t peer, const struct packet *p, const struct virtio_net_hdr *vh,
	     uint64_t now_ns)
{
	uint64_t flow = flow_of(p);
	uint32_t i = h->free_held, chunk;
	struct held *e;

	if (i == NONE || flow_full(h, flow, p->len) ||
	    chunks_put(&h->chunks, p->data, p->len, &chunk) < 0)
		return -ENOBUFS;
	e = &h->held[i];
	h->free_held = e->next;
	e->seq = ++h->seq;
	e->expires_ns = now_ns + MVPN_HOLD_S * 1000000000ULL;
	e->flow = flow;
	e->vh = *vh;
	e->peer = peer;
	e->len = p->len;
	e->chunk = chunk;
	e->next = NONE;
	e->prev = h->last;
	if (h->last == NONE)
		h->first = i;
	else
		h->held[h->last].next = i;
	h->last = i;
	h->count++;
	h->of_slot[peer % PEER_SLOTS]++;
	return 0;
}

uint32_t hold_take(struct hold *h, uint32_t peer, uint64_t *cursor, uint8_t *data,
		   struct virtio_net_hdr *ret)
{
	if (!*cursor)
		*cursor = h->seq;
	for (uint32_t i = h->first; i != NONE; i = h->held[i].next) {
		struct held *e = &h->held[i];
		uint32_t len = e->len;

		if (e->peer != peer)
			continue;
		if (e->seq > *cursor)
			return 0;
		chunks_take(&h->chunks, e->chunk, data, len);
		*ret = e->vh;
		held_end(h, i);
		return len;
	}
	return 0;
}

unsigned hold_expire(struct hold *h, uint64_t now_ns)
{
	unsigned n = 0;

	for (; h->first != NONE && h->held[h->first].expires_ns <= now_ns; n++) {
		chunks_drop(&h->chunks, h->held[h->first].chunk);
		held_end(h, h->first);
	}
	return n;
}

unsigned hold_count(const struct hold *h)
{
	return h->count;
}

bool hold_waits(const struct hold *h, uint32_t peer)
{
	return h->of_slot[peer % PEER_SLOTS];
}

uint64_t hold_next_expiry(const struct hold *h)
{
	return h->first == NONE ? UINT64_MAX : h->held[h->first].expires_ns;
}
