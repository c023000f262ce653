/* SPDX-License-Identifier: BSD-2-Clause */
#include "shape.h"

#include <errno.h>
#include <stdlib.h>

#include "chunks.h"
#include "mvpn/limits.h"

#define NONE UINT32_MAX

struct shaped {
	struct virtio_net_hdr vh;
	uint32_t len, chunk;
	uint32_t next;
};

struct shaper {
	struct chunks chunks;
	struct shape_queue queue[MVPN_LIMIT_QUEUES];
	unsigned nqueues;
	uint32_t unused,
		fresh; /* chain of those that were used, and the first that was not: pages are touched when needed */
	struct shaped shaped[MVPN_LIMIT_QUEUE_PACKETS];
};

int shaper_new(struct shaper **ret)
{
	struct shaper *s = calloc(1, sizeof(*s));

	if (!s || chunks_init(&s->chunks, MVPN_LIMIT_QUEUE_B) < 0) {
		free(s);
		return -ENOMEM;
	}
	s->unused = NONE;
	*ret = s;
	return 0;
}

void shaper_free(struct shaper *s)
{
	if (s)
		chunks_end(&s->chunks);
	free(s);
}

static unsigned find(const struct shaper *s, uint32_t peer, unsigned class)
{
	unsigned i = 0;

	while (i < s->nqueues && (s->queue[i].peer != peer || s->queue[i].class != class))
		i++;
	return i;
}

bool shaper_waits(const struct shaper *s, uint32_t peer, unsigned class)
{
	return find(s, peer, class) < s->nqueues;
}

static uint32_t shaped_new(struct shaper *s)
{
	uint32_t i = s->unused;

	if (i != NONE)
		s->unused = s->shaped[i].next;
	else if (s->fresh < MVPN_LIMIT_QUEUE_PACKETS)
		i = s->fresh++;
	return i;
}

static void shaped_end(struct shaper *s, uint32_t i)
{
	s->shaped[i].next = s->unused;
	s->unused = i;
}

int shaper_put(struct shaper *s, uint32_t peer, unsigned class, uint32_t max,
	       const struct packet *p, const struct virtio_net_hdr *vh)
{
	unsigned at = find(s, peer, class);
	struct shape_queue *q = &s->queue[at];
	uint32_t i, chunk;

	/* a super-packet is not lost as a whole because there is room for a part of it */
	if (at == MVPN_LIMIT_QUEUES || (at < s->nqueues && q->bytes >= max))
		return -ENOBUFS;
	i = shaped_new(s);
	if (i == NONE)
		return -ENOBUFS;
	if (chunks_put(&s->chunks, p->data, p->len, &chunk) < 0) {
		shaped_end(s, i);
		return -ENOBUFS;
	}
	s->shaped[i] = (struct shaped){*vh, p->len, chunk, NONE};
	if (at == s->nqueues) {
		s->nqueues++;
		*q = (struct shape_queue){.peer = peer, .class = (uint8_t) class, .first = i};
	} else {
		s->shaped[q->last].next = i;
	}
	q->last = i;
	q->bytes += p->len;
	return 0;
}

struct shape_queue *shaper_queue(struct shaper *s, unsigned i)
{
	return i < s->nqueues ? &s->queue[i] : NULL;
}

uint32_t shaper_take(struct shaper *s, unsigned i, uint8_t *data, struct virtio_net_hdr *ret)
{
	struct shape_queue *q = &s->queue[i];
	uint32_t at = q->first, len = s->shaped[at].len;

	chunks_take(&s->chunks, s->shaped[at].chunk, data, len);
	*ret = s->shaped[at].vh;
	q->first = s->shaped[at].next;
	q->bytes -= len;
	shaped_end(s, at);
	if (q->first == NONE)
		*q = s->queue[--s->nqueues];
	return len;
}

uint64_t shaper_next_ns(const struct shaper *s)
{
	uint64_t at = UINT64_MAX;

	for (unsigned i = 0; i < s->nqueues; i++)
		if (s->queue[i].ready_ns < at)
			at = s->queue[i].ready_ns;
	return at;
}
