/* SPDX-License-Identifier: BSD-2-Clause */
#include "lpm.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define SIZE_MIN 16
#define EMPTY 0xff /* no prefix is that long */

struct slot {
	uint64_t hi, lo; /* the address, most significant half first, in host order */
	uint32_t value;
	uint8_t len; /* EMPTY: free */
};

struct lpm {
	struct slot *slots;
	uint32_t size, count; /* size: a power of two, at least 4/3 of count */
	uint64_t seed; /* prefixes are chosen by others: they must not choose the chains too */
	uint32_t per_len[129];
	uint8_t lens[129]; /* lengths present, longest first */
	uint8_t nlens;
};

static uint64_t load_be64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return be64toh(v);
}

static void store_be64(uint8_t *p, uint64_t v)
{
	v = htobe64(v);
	memcpy(p, &v, sizeof(v));
}

static struct slot key_of(const struct mvpn_prefix *p)
{
	return (struct slot){
		.hi = load_be64(p->addr.b), .lo = load_be64(p->addr.b + 8), .len = p->len};
}

static uint64_t mix(uint64_t x)
{
	/* finalizer of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014) */
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
	return x ^ (x >> 31);
}

static uint32_t home(const struct lpm *t, uint64_t hi, uint64_t lo, uint8_t len)
{
	return (uint32_t)mix(mix(hi ^ t->seed) ^ lo ^ ((uint64_t)len << 56)) & (t->size - 1);
}

/* the slot that holds the key, or the free one where it belongs */
static struct slot *find(const struct lpm *t, uint64_t hi, uint64_t lo, uint8_t len)
{
	uint32_t i = home(t, hi, lo, len);

	for (;; i = (i + 1) & (t->size - 1)) {
		struct slot *s = &t->slots[i];

		if (s->len == EMPTY || (s->lo == lo && s->hi == hi && s->len == len))
			return s;
	}
}

static struct slot *slots_new(uint32_t size)
{
	struct slot *s = reallocarray(NULL, size, sizeof(*s));

	if (s)
		memset(s, 0xff, size * sizeof(*s)); /* all EMPTY */
	return s;
}

int lpm_new(struct lpm **ret)
{
	struct lpm *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	t->size = SIZE_MIN;
	t->slots = slots_new(t->size);
	if (!t->slots) {
		free(t);
		return -ENOMEM;
	}
	if (getrandom(&t->seed, sizeof(t->seed), GRND_NONBLOCK) != sizeof(t->seed))
		t->seed = (uint64_t)(uintptr_t)t->slots; /* early boot: better than none */
	*ret = t;
	return 0;
}

void lpm_free(struct lpm *t)
{
	if (!t)
		return;
	free(t->slots);
	free(t);
}

int lpm_clone(const struct lpm *t, struct lpm **ret)
{
	struct lpm *c = malloc(sizeof(*c));

	if (!c)
		return -ENOMEM;
	*c = *t;
	c->slots = reallocarray(NULL, t->size, sizeof(*t->slots));
	if (!c->slots) {
		free(c);
		return -ENOMEM;
	}
	memcpy(c->slots, t->slots, t->size * sizeof(*t->slots));
	*ret = c;
	return 0;
}

static void list_lengths(struct lpm *t)
{
	t->nlens = 0;
	for (int len = 128; len >= 0; len--)
		if (t->per_len[len])
			t->lens[t->nlens++] = (uint8_t)len;
}

static int grow(struct lpm *t)
{
	struct slot *old = t->slots;
	uint32_t old_size = t->size;

	if (old_size >= 1u << 30)
		return -ENOMEM;
	t->slots = slots_new(old_size * 2);
	if (!t->slots) {
		t->slots = old;
		return -ENOMEM;
	}
	t->size = old_size * 2;
	for (uint32_t i = 0; i < old_size; i++)
		if (old[i].len != EMPTY)
			*find(t, old[i].hi, old[i].lo, old[i].len) = old[i];
	free(old);
	return 0;
}

int lpm_set(struct lpm *t, const struct mvpn_prefix *p, uint32_t value)
{
	struct slot k, *s;

	if (!mvpn_prefix_valid(p))
		return -EINVAL;
	k = key_of(p);
	s = find(t, k.hi, k.lo, k.len);
	if (s->len != EMPTY) {
		s->value = value;
		return 0;
	}
	if (t->count + 1 > t->size / 4 * 3) {
		int r = grow(t);

		if (r < 0)
			return r;
		s = find(t, k.hi, k.lo, k.len);
	}
	*s = k;
	s->value = value;
	t->count++;
	if (!t->per_len[k.len]++)
		list_lengths(t);
	return 0;
}

int lpm_del(struct lpm *t, const struct mvpn_prefix *p)
{
	struct slot k, *s;
	uint32_t hole, i, mask = t->size - 1;

	if (!mvpn_prefix_valid(p))
		return -ENOENT;
	k = key_of(p);
	s = find(t, k.hi, k.lo, k.len);
	if (s->len == EMPTY)
		return -ENOENT;
	/* Backward shift, no tombstone: each later member of the chain that may moves into the hole. */
	hole = (uint32_t)(s - t->slots);
	for (i = (hole + 1) & mask; t->slots[i].len != EMPTY; i = (i + 1) & mask) {
		uint32_t h = home(t, t->slots[i].hi, t->slots[i].lo, t->slots[i].len);

		if (((i - h) & mask) >= ((i - hole) & mask)) {
			t->slots[hole] = t->slots[i];
			hole = i;
		}
	}
	t->slots[hole].len = EMPTY;
	t->count--;
	if (!--t->per_len[k.len])
		list_lengths(t);
	return 0;
}

bool lpm_get(const struct lpm *t, const struct mvpn_prefix *p, uint32_t *ret)
{
	struct slot k;
	const struct slot *s;

	if (!mvpn_prefix_valid(p))
		return false;
	k = key_of(p);
	s = find(t, k.hi, k.lo, k.len);
	if (s->len == EMPTY)
		return false;
	*ret = s->value;
	return true;
}

bool lpm_lookup(const struct lpm *t, const struct mvpn_addr *a, uint32_t *ret)
{
	uint64_t hi = load_be64(a->b), lo = load_be64(a->b + 8);

	for (unsigned i = 0; i < t->nlens; i++) {
		uint8_t len = t->lens[i];
		const struct slot *s;

		/* lengths fall, so masking in place is enough */
		if (len <= 64) {
			hi = len ? hi & (~0ULL << (64 - len)) : 0;
			lo = 0;
		} else if (len < 128) {
			lo &= ~0ULL << (128 - len);
		}
		s = find(t, hi, lo, len);
		if (s->len != EMPTY) {
			*ret = s->value;
			return true;
		}
	}
	return false;
}

uint32_t lpm_count(const struct lpm *t)
{
	return t->count;
}

int lpm_each(const struct lpm *t, int (*fn)(void *arg, const struct mvpn_prefix *p, uint32_t value),
	     void *arg)
{
	for (uint32_t i = 0; i < t->size; i++) {
		const struct slot *s = &t->slots[i];
		struct mvpn_prefix p = {.len = s->len};
		int r;

		if (s->len == EMPTY)
			continue;
		store_be64(p.addr.b, s->hi);
		store_be64(p.addr.b + 8, s->lo);
		r = fn(arg, &p, s->value);
		if (r)
			return r;
	}
	return 0;
}
