/* SPDX-License-Identifier: BSD-2-Clause */
#include "lpm.h"

#include <endian.h>
#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define SIZE_MIN 16
#define SIZE_MAX_SLOTS (1U << 30)
#define EMPTY 0xff /* no prefix is that long */
#define WORDS 3	   /* of a bitmap of lengths */
#define V4_LEN 96
#define AT_ONCE 4 /* lengths whose slots are fetched together: the misses of one look-up overlap */

/*
 * A slot's key is written once in the life of its table: `len` last, for readers. What is deleted keeps its slot, marked, so that
 * no chain is ever cut or moved under a reader; making the table anew clears such slots away.
 */
struct slot {
	uint64_t hi, lo; /* the address, most significant half first, in host order */
	_Atomic uint32_t value;
	_Atomic uint8_t len; /* EMPTY: free */
	_Atomic bool gone;
};

struct table {
	char link[LPM_LINK_B];
	uint32_t size, used; /* size: a power of two, at least 4/3 of the slots in use */
	struct slot slots[];
};

struct lpm {
	char link[LPM_LINK_B];
	struct table *_Atomic table;
	/* lengths that are there, bit 128 - len: so the longest comes first. IPv4 looks at `v4`, IPv6 at `v6`. */
	_Atomic uint64_t v4[WORDS], v6[WORDS];
	/* writer only */
	uint64_t
		seed; /* prefixes are chosen by others: they must not choose the chains too; readers read it */
	uint32_t count;
	uint32_t per_v4[129], per_v6[129];
	void (*retire)(void *arg, void *mem);
	void *retire_arg;
};

_Static_assert(offsetof(struct lpm, link) == 0 && offsetof(struct table, link) == 0,
	       "lpm.h says so");

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

static uint64_t mix(uint64_t x)
{
	/* finalizer of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014) */
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
	return x ^ (x >> 31);
}

static uint32_t home(const struct lpm *l, const struct table *t, uint64_t hi, uint64_t lo,
		     unsigned len)
{
	return (uint32_t)mix(mix(hi ^ l->seed) ^ lo ^ ((uint64_t)len << 56)) & (t->size - 1);
}

/*
 * The slot that holds the key, or the free one where it belongs; the search begins at i. *ret_free is what it was found as: the
 * writer may give a free one to another key while a reader looks at it.
 */
static struct slot *find_from(struct table *t, uint32_t i, uint64_t hi, uint64_t lo, unsigned len,
			      bool *ret_free)
{
	for (;; i = (i + 1) & (t->size - 1)) {
		struct slot *s = &t->slots[i];
		unsigned has = atomic_load_explicit(&s->len, memory_order_acquire);

		*ret_free = has == EMPTY;
		if (*ret_free || (s->lo == lo && s->hi == hi && has == len))
			return s;
	}
}

static struct slot *find(const struct lpm *l, struct table *t, const struct mvpn_prefix *p,
			 bool *ret_free)
{
	uint64_t hi = load_be64(p->addr.b), lo = load_be64(p->addr.b + 8);

	return find_from(t, home(l, t, hi, lo, p->len), hi, lo, p->len, ret_free);
}

static bool gone(const struct slot *s)
{
	return atomic_load_explicit(&s->gone, memory_order_acquire);
}

/* the writer's view of the table */
static struct table *table_of(const struct lpm *l)
{
	return atomic_load_explicit(&l->table, memory_order_acquire);
}

static struct table *table_new(uint32_t size)
{
	struct table *t = malloc(sizeof(*t) + size * sizeof(t->slots[0]));

	if (!t)
		return NULL;
	t->size = size;
	t->used = 0;
	memset(t->slots, 0xff, size * sizeof(t->slots[0])); /* all EMPTY */
	return t;
}

int lpm_new(struct lpm **ret)
{
	struct lpm *l = calloc(1, sizeof(*l));
	struct table *t = table_new(SIZE_MIN);

	if (!l || !t) {
		free(l);
		free(t);
		return -ENOMEM;
	}
	atomic_store(&l->table, t);
	if (getrandom(&l->seed, sizeof(l->seed), GRND_NONBLOCK) != sizeof(l->seed))
		l->seed = (uint64_t)(uintptr_t)t; /* early boot: better than none */
	*ret = l;
	return 0;
}

void lpm_free(struct lpm *l)
{
	if (!l)
		return;
	free(table_of(l));
	free(l);
}

void lpm_on_retire(struct lpm *l, void (*fn)(void *arg, void *mem), void *arg)
{
	l->retire = fn;
	l->retire_arg = arg;
}

/* ---- lengths ---- */
static void count_in(_Atomic uint64_t words[WORDS], uint32_t per[129], unsigned len, int n)
{
	unsigned bit = 128 - len;

	per[len] += (uint32_t)n;
	if (per[len])
		atomic_fetch_or(&words[bit / 64], 1ULL << bit % 64);
	else
		atomic_fetch_and(&words[bit / 64], ~(1ULL << bit % 64));
}

/* IPv4's own lengths are not IPv6's; a prefix that IPv4 as a whole is a part of is both's */
static void count_length(struct lpm *l, const struct mvpn_prefix *p, int n)
{
	static const struct mvpn_addr any4 = {.b = {[10] = 0xff, [11] = 0xff}};
	bool in4 = p->len >= V4_LEN && mvpn_addr_is_v4(&p->addr);

	if (in4 || (p->len < V4_LEN && mvpn_prefix_contains(p, &any4)))
		count_in(l->v4, l->per_v4, p->len, n);
	if (!in4)
		count_in(l->v6, l->per_v6, p->len, n);
}

/* ---- change ---- */
static void put(struct table *t, struct slot *s, uint64_t hi, uint64_t lo, unsigned len,
		uint32_t value)
{
	s->hi = hi;
	s->lo = lo;
	atomic_store_explicit(&s->value, value, memory_order_relaxed);
	atomic_store_explicit(&s->gone, false, memory_order_relaxed);
	atomic_store_explicit(&s->len, (uint8_t)len, memory_order_release);
	t->used++;
}

/* a table of as many slots as what is live needs, published in place of the old one */
static int renew(struct lpm *l)
{
	struct table *old = table_of(l), *t;
	uint32_t size = SIZE_MIN;

	while (l->count + 1 > size / 8 * 3)
		size *= 2;
	if (size > SIZE_MAX_SLOTS)
		return -ENOMEM;
	t = table_new(size);
	if (!t)
		return -ENOMEM;
	for (uint32_t i = 0; i < old->size; i++) {
		const struct slot *s = &old->slots[i];
		bool free_one;

		if (s->len != EMPTY && !gone(s))
			put(t,
			    find_from(t, home(l, t, s->hi, s->lo, s->len), s->hi, s->lo, s->len,
				      &free_one),
			    s->hi, s->lo, s->len, s->value);
	}
	atomic_store_explicit(&l->table, t, memory_order_release);
	if (l->retire)
		l->retire(l->retire_arg, old);
	else
		free(old);
	return 0;
}

int lpm_set(struct lpm *l, const struct mvpn_prefix *p, uint32_t value)
{
	struct table *t = table_of(l);
	struct slot *s;
	bool free_one;

	if (!mvpn_prefix_valid(p))
		return -EINVAL;
	s = find(l, t, p, &free_one);
	if (free_one && t->used + 1 > t->size / 4 * 3) {
		int r = renew(l);

		if (r < 0)
			return r;
		t = table_of(l);
		s = find(l, t, p, &free_one);
	}
	if (!free_one && !gone(s)) {
		atomic_store_explicit(&s->value, value, memory_order_relaxed);
		return 0;
	}
	l->count++;
	count_length(l, p, 1);
	if (free_one) {
		put(t, s, load_be64(p->addr.b), load_be64(p->addr.b + 8), p->len, value);
		return 0;
	}
	atomic_store_explicit(&s->value, value, memory_order_relaxed);
	atomic_store_explicit(&s->gone, false, memory_order_release);
	return 0;
}

int lpm_del(struct lpm *l, const struct mvpn_prefix *p)
{
	struct slot *s;
	bool free_one;

	if (!mvpn_prefix_valid(p))
		return -ENOENT;
	s = find(l, table_of(l), p, &free_one);
	if (free_one || gone(s))
		return -ENOENT;
	atomic_store_explicit(&s->gone, true, memory_order_release);
	l->count--;
	count_length(l, p, -1);
	return 0;
}

/* ---- look up ---- */
bool lpm_get(const struct lpm *l, const struct mvpn_prefix *p, uint32_t *ret)
{
	const struct slot *s;
	bool free_one;

	if (!mvpn_prefix_valid(p))
		return false;
	s = find(l, table_of(l), p, &free_one);
	if (free_one || gone(s))
		return false;
	*ret = atomic_load_explicit(&s->value, memory_order_relaxed);
	return true;
}

struct probe {
	uint64_t hi, lo;
	uint32_t at;
	unsigned len;
};

/* the next lengths of the bitmap, at most AT_ONCE, their slots on the way from memory */
static unsigned probes_of(const struct lpm *l, struct table *t, uint64_t hi, uint64_t lo,
			  unsigned word, uint64_t *bits, struct probe ret[AT_ONCE])
{
	unsigned n = 0;

	for (; *bits && n < AT_ONCE; *bits &= *bits - 1, n++) {
		unsigned len = 128 - 64 * word - (unsigned)__builtin_ctzll(*bits);
		struct probe *p = &ret[n];

		p->len = len;
		p->hi = len >= 64 ? hi : len ? hi & (~0ULL << (64 - len)) : 0;
		p->lo = len > 64 ? lo & (~0ULL << (128 - len)) : 0;
		p->at = home(l, t, p->hi, p->lo, len);
		__builtin_prefetch(&t->slots[p->at]);
	}
	return n;
}

bool lpm_lookup(const struct lpm *l, const struct mvpn_addr *a, uint32_t *ret)
{
	uint64_t hi = load_be64(a->b), lo = load_be64(a->b + 8);
	const _Atomic uint64_t *lengths = !hi && lo >> 32 == 0xffff ? l->v4 : l->v6;
	struct table *t = table_of(l);
	struct probe p[AT_ONCE];

	for (unsigned word = 0; word < WORDS; word++) {
		uint64_t bits = atomic_load_explicit(&lengths[word], memory_order_relaxed);

		while (bits) {
			unsigned n = probes_of(l, t, hi, lo, word, &bits, p);

			for (unsigned i = 0; i < n; i++) {
				bool free_one;
				struct slot *s = find_from(t, p[i].at, p[i].hi, p[i].lo, p[i].len,
							   &free_one);

				if (free_one || gone(s))
					continue;
				*ret = atomic_load_explicit(&s->value, memory_order_relaxed);
				return true;
			}
		}
	}
	return false;
}

uint32_t lpm_count(const struct lpm *l)
{
	return l->count;
}

int lpm_each(const struct lpm *l, int (*fn)(void *arg, const struct mvpn_prefix *p, uint32_t value),
	     void *arg)
{
	const struct table *t = table_of(l);

	for (uint32_t i = 0; i < t->size; i++) {
		const struct slot *s = &t->slots[i];
		struct mvpn_prefix p = {.len = s->len};
		int r;

		if (s->len == EMPTY || gone(s))
			continue;
		store_be64(p.addr.b, s->hi);
		store_be64(p.addr.b + 8, s->lo);
		r = fn(arg, &p, s->value);
		if (r)
			return r;
	}
	return 0;
}
