/* SPDX-License-Identifier: BSD-2-Clause */
#include "relay.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

_Static_assert((RELAY_B & (RELAY_B - 1)) == 0, "positions wrap with the counters");

static uint32_t size_of(uint32_t len)
{
	return (uint32_t)(sizeof(struct relay_entry) + len + 7) & ~7u;
}

int relay_new(struct relay **ret)
{
	void *p = mmap(NULL, sizeof(struct relay) + RELAY_B, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		return -ENOMEM;
	*ret = p;
	return 0;
}

void relay_free(struct relay *r)
{
	if (r)
		munmap(r, sizeof(*r) + RELAY_B);
}

static struct relay_entry *at(struct relay *r, uint32_t position)
{
	return (struct relay_entry *)(r->memory + position % RELAY_B);
}

/* room for an entry with `len` bytes of data that leaves `spare` bytes free; NULL: there is none */
static struct relay_entry *reserve(struct relay *r, uint32_t len, uint32_t spare,
				   uint32_t *ret_tail)
{
	uint32_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);
	uint32_t used = tail - atomic_load_explicit(&r->head, memory_order_acquire);
	uint32_t size = size_of(len), to_end = RELAY_B - tail % RELAY_B;
	uint32_t skip = size > to_end ? to_end : 0;

	if (len > RELAY_B / 4 || used + skip + size + spare > RELAY_B)
		return NULL;
	if (skip)
		at(r, tail)->kind = RELAY_END; /* positions are multiples of 8: one byte fits */
	*ret_tail = tail + skip + size;
	return at(r, tail + skip);
}

bool relay_packet(struct relay *r, const struct wire_from *from, const uint8_t *data, size_t len)
{
	uint32_t tail;
	struct relay_entry *e = reserve(r, (uint32_t)len, RELAY_SPARE_B, &tail);

	if (!e)
		return false;
	e->kind = RELAY_PACKET;
	e->len = (uint32_t)len;
	e->from = *from;
	memcpy(e->data, data, len);
	atomic_store_explicit(&r->tail, tail, memory_order_release);
	return true;
}

bool relay_tell(struct relay *r, enum relay_kind kind, uint32_t spi, unsigned lane)
{
	uint32_t tail;
	struct relay_entry *e = reserve(r, 0, 0, &tail);

	if (!e)
		return false;
	e->kind = (uint8_t)kind;
	e->lane = (uint8_t)lane;
	e->spi = spi;
	e->len = 0;
	atomic_store_explicit(&r->tail, tail, memory_order_release);
	return true;
}

struct relay_entry *relay_peek(struct relay *r)
{
	uint32_t head = atomic_load_explicit(&r->head, memory_order_relaxed);

	for (;;) {
		if (head == atomic_load_explicit(&r->tail, memory_order_acquire))
			return NULL;
		if (at(r, head)->kind != RELAY_END)
			return at(r, head);
		head += RELAY_B - head % RELAY_B;
		atomic_store_explicit(&r->head, head, memory_order_release);
	}
}

void relay_done(struct relay *r, const struct relay_entry *e)
{
	uint32_t head = atomic_load_explicit(&r->head, memory_order_relaxed);

	atomic_store_explicit(&r->head, head + size_of(e->len), memory_order_release);
}
