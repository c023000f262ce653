/* SPDX-License-Identifier: BSD-2-Clause */
/* The table against a model that looks at every prefix. */
#include "lpm.h"

#include <errno.h>
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
	struct lpm *t, *copy;

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
	/* a clone is as good as the original, and apart from it */
	assert_int_equal(lpm_clone(t, &copy), 0);
	check_all(copy);
	while (nmodel)
		assert_int_equal(lpm_del(t, &model[--nmodel].p), 0);
	check_all(t);
	assert_true(lpm_count(copy) > 0);
	lpm_free(t);
	lpm_free(copy);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(agrees_with_brute_force),
		cmocka_unit_test(host_bits_are_refused),
		cmocka_unit_test(each_stops_when_told),
		cmocka_unit_test(a_million_prefixes),
	};

	return MVPN_RUN(tests);
}
