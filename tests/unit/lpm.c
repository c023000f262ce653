/* SPDX-License-Identifier: BSD-2-Clause */
/* The table against a model that looks at every prefix. */
#include "lpm.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "loop.h"
#include "test.h"

#define MODEL_MAX 400
#define BIG 1000000
#define BIG_MS \
	10000 /* a bound for the slowest sanitized build; a plain one needs a tenth of a second */

struct entry {
	struct mvpn_prefix p;
	uint32_t value;
};
static struct entry model[MODEL_MAX];
static unsigned nmodel;

static uint64_t seed = 1;
static uint32_t rnd(uint32_t below)
{
	seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
	return (uint32_t)(seed >> 33) % below;
}

static void mask(struct mvpn_prefix *p)
{
	for (unsigned i = p->len; i < 128; i++)
		p->addr.b[i / 8] &= (uint8_t) ~(0x80 >> (i % 8));
}

/* few different bytes, so that prefixes nest and collide */
static struct mvpn_addr random_addr(void)
{
	struct mvpn_addr a = {{0}};

	if (rnd(2))
		a.b[10] = a.b[11] = 0xff;
	else
		a.b[0] = 0xfd;
	for (unsigned i = 12; i < 16; i++)
		a.b[i] = (uint8_t)(rnd(3) * 0x55);
	return a;
}

static struct mvpn_prefix random_prefix(void)
{
	struct mvpn_prefix p = {.addr = random_addr()};

	p.len = (uint8_t)(rnd(4) ? 96 + rnd(33) : rnd(129));
	mask(&p);
	return p;
}

static int model_find(const struct mvpn_prefix *p)
{
	for (unsigned i = 0; i < nmodel; i++)
		if (!memcmp(&model[i].p, p, sizeof(*p)))
			return (int)i;
	return -1;
}

static const struct entry *model_lookup(const struct mvpn_addr *a)
{
	const struct entry *best = NULL;

	for (unsigned i = 0; i < nmodel; i++)
		if (mvpn_prefix_contains(&model[i].p, a) && (!best || model[i].p.len > best->p.len))
			best = &model[i];
	return best;
}

static int count_one(void *arg, const struct mvpn_prefix *p, uint32_t value)
{
	int i = model_find(p);

	assert_true(i >= 0);
	assert_int_equal(model[i].value, value);
	++*(unsigned *)arg;
	return 0;
}

static void check_all(const struct lpm *t)
{
	unsigned n = 0;

	assert_int_equal(lpm_count(t), nmodel);
	assert_int_equal(lpm_each(t, count_one, &n), 0);
	assert_int_equal(n, nmodel);
}

static void change_one(struct lpm *t)
{
	struct mvpn_prefix p = random_prefix();
	int i = model_find(&p);
	uint32_t value = rnd(1000000), got;

	assert_int_equal(lpm_get(t, &p, &got), i >= 0);
	if (rnd(5) < 2 || (i < 0 && nmodel == MODEL_MAX)) {
		/* delete: one that may be absent, or one that is there */
		if (rnd(2) && nmodel) {
			i = (int)rnd(nmodel);
			p = model[i].p;
		}
		assert_int_equal(lpm_del(t, &p), i >= 0 ? 0 : -ENOENT);
		if (i >= 0)
			model[i] = model[--nmodel];
		return;
	}
	assert_int_equal(lpm_set(t, &p, value), 0);
	if (i < 0)
		i = (int)nmodel++;
	model[i] = (struct entry){p, value};
	assert_true(lpm_get(t, &p, &got));
	assert_int_equal(got, value);
}

static void agrees_with_brute_force(void **state)
{
	struct lpm *t;

	nmodel = 0;
	assert_int_equal(lpm_new(&t), 0);
	for (unsigned i = 0; i < 20000; i++) {
		change_one(t);
		for (unsigned j = 0; j < 5; j++) {
			struct mvpn_addr a = random_addr();
			const struct entry *e = model_lookup(&a);
			uint32_t got = 0;

			assert_int_equal(lpm_lookup(t, &a, &got), e != NULL);
			if (e)
				assert_int_equal(got, e->value);
		}
		if (i % 1000 == 0)
			check_all(t);
	}
	while (nmodel)
		assert_int_equal(lpm_del(t, &model[--nmodel].p), 0);
	check_all(t);
	lpm_free(t);
	lpm_free(NULL);
}

static void host_bits_are_refused(void **state)
{
	struct mvpn_prefix p = {.len = 8}, absurd = {.len = 200};
	struct lpm *t;
	uint32_t got;

	p.addr.b[1] = 1;
	assert_int_equal(lpm_new(&t), 0);
	assert_int_equal(lpm_set(t, &p, 1), -EINVAL);
	assert_int_equal(lpm_set(t, &absurd, 1), -EINVAL);
	assert_int_equal(lpm_del(t, &absurd), -ENOENT);
	assert_false(lpm_get(t, &absurd, &got));
	assert_int_equal(lpm_count(t), 0);
	lpm_free(t);
}

static int stop_at_first(void *arg, const struct mvpn_prefix *p, uint32_t value)
{
	++*(unsigned *)arg;
	return 42;
}

static void each_stops_when_told(void **state)
{
	struct mvpn_prefix p = {.len = 128};
	struct lpm *t;
	unsigned n = 0;

	assert_int_equal(lpm_new(&t), 0);
	for (unsigned i = 0; i < 10; i++) {
		p.addr.b[15] = (uint8_t)i;
		assert_int_equal(lpm_set(t, &p, i), 0);
	}
	assert_int_equal(lpm_each(t, stop_at_first, &n), 42);
	assert_int_equal(n, 1);
	lpm_free(t);
}

static void a_million_prefixes(void **state)
{
	struct mvpn_prefix p = {.len = 128};
	uint64_t before = mono_ms();
	struct lpm *t;
	uint32_t got;

	assert_int_equal(lpm_new(&t), 0);
	p.addr.b[10] = p.addr.b[11] = 0xff;
	for (uint32_t i = 0; i < BIG; i++) {
		p.addr.b[12] = 10;
		p.addr.b[13] = (uint8_t)(i >> 16);
		p.addr.b[14] = (uint8_t)(i >> 8);
		p.addr.b[15] = (uint8_t)i;
		assert_int_equal(lpm_set(t, &p, i), 0);
	}
	assert_int_equal(lpm_count(t), BIG);
	assert_true(lpm_lookup(t, &p.addr, &got));
	assert_int_equal(got, BIG - 1);
	assert_true(mono_ms() - before < BIG_MS);
	lpm_free(t);
}

/*
 * One changes, others look up: what stays is always found, what comes and goes is found with a value it had. Tables that were outgrown
 * are kept until the readers are done; the address sanitizer sees to the rest.
 */
#define STAYS 1000
static _Atomic bool stop;
static void *left[64];
static unsigned nleft;

static void keep(void *arg, void *mem)
{
	memset(mem, 0xee, LPM_LINK_B);
	assert_true(nleft < 64);
	left[nleft++] = mem;
}

static struct mvpn_prefix numbered(unsigned n, unsigned len)
{
	struct mvpn_prefix p = {.len = (uint8_t)len,
				.addr.b = {0xfd, 0, (uint8_t)(n >> 8), (uint8_t)n}};

	mask(&p);
	return p;
}

static void *reader(void *arg)
{
	const struct lpm *t = arg;
	unsigned bad = 0;

	for (unsigned n = 0; !atomic_load(&stop); n++) {
		struct mvpn_prefix p = numbered(n % STAYS, 128);
		uint32_t got = 0;

		if (!lpm_lookup(t, &p.addr, &got) ||
		    (got != n % STAYS && got != 1000000 + n % STAYS))
			bad++;
		p.addr.b[1] = 1; /* come and go */
		if (lpm_lookup(t, &p.addr, &got) && got / 10 != n % STAYS)
			bad++;
	}
	return (void *)(uintptr_t)bad;
}

static void readers_beside_the_writer(void **state)
{
	struct lpm *t;
	pthread_t r[2];

	nleft = 0;
	atomic_store(&stop, false);
	assert_int_equal(lpm_new(&t), 0);
	lpm_on_retire(t, keep, NULL);
	for (unsigned n = 0; n < STAYS; n++) {
		struct mvpn_prefix wide = numbered(n, 32);

		assert_int_equal(lpm_set(t, &wide, n), 0);
	}
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&r[i], NULL, reader, t), 0);
	for (unsigned round = 0; round < 40; round++) {
		for (unsigned n = 0; n < STAYS; n++) {
			struct mvpn_prefix p = numbered(n, 128), q = numbered(n, 120);

			q.addr.b[1] = p.addr.b[1] = 1;
			assert_int_equal(lpm_set(t, &p, n * 10 + round % 10), 0);
			assert_int_equal(lpm_set(t, &q, n * 10 + round % 10), 0);
			/* a longer one over one that stays: the reader may see either */
			q = numbered(n, 100);
			assert_int_equal(lpm_set(t, &q, 1000000 + n), 0);
		}
		for (unsigned n = 0; n < STAYS; n++) {
			struct mvpn_prefix p = numbered(n, 128), q = numbered(n, 120);

			q.addr.b[1] = p.addr.b[1] = 1;
			assert_int_equal(lpm_del(t, &p), 0);
			assert_int_equal(lpm_del(t, &q), 0);
			q = numbered(n, 100);
			assert_int_equal(lpm_del(t, &q), 0);
		}
	}
	atomic_store(&stop, true);
	for (unsigned i = 0; i < 2; i++) {
		void *bad;

		pthread_join(r[i], &bad);
		assert_null(bad);
	}
	assert_int_equal(lpm_count(t), STAYS);
	while (nleft)
		free(left[--nleft]);
	lpm_free(t);
}

/* what was deleted does not fill the table for ever */
static void churn_takes_no_room(void **state)
{
	struct mvpn_prefix p = {.len = 128, .addr.b = {0xfd}};
	struct lpm *t;

	nleft = 0;
	assert_int_equal(lpm_new(&t), 0);
	lpm_on_retire(t, keep, NULL);
	for (unsigned i = 0; i < 400; i++) {
		p.addr.b[14] = (uint8_t)(i >> 8);
		p.addr.b[15] = (uint8_t)i;
		assert_int_equal(lpm_set(t, &p, i), 0);
		assert_int_equal(lpm_del(t, &p), 0);
		assert_int_equal(lpm_del(t, &p), -ENOENT);
	}
	assert_true(nleft && nleft <= 400 / 11 + 1); /* each time that 12 of 16 slots are used */
	while (nleft)
		free(left[--nleft]);
	lpm_free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(agrees_with_brute_force),
		cmocka_unit_test(host_bits_are_refused),
		cmocka_unit_test(each_stops_when_told),
		cmocka_unit_test(a_million_prefixes),
		cmocka_unit_test(readers_beside_the_writer),
		cmocka_unit_test(churn_takes_no_room),
	};

	return MVPN_RUN(tests);
}
