/* SPDX-License-Identifier: BSD-2-Clause */
/* Longest-prefix match in the kernel against the table of user space (lib/lpm.h): the two must never disagree about a packet. */
#include <errno.h>
#include <string.h>

#include "lpm.h"
#include "shimtest.h"

#define PREFIXES 600
#define ARMED 1
#define DENIED 3

static uint64_t seed = 7;
static uint32_t rnd(uint32_t below)
{
	seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
	return (uint32_t)(seed >> 33) % below;
}

/* few different bytes, so that prefixes nest; and bits of both families that are short of nothing */
static struct mvpn_addr random_addr(void)
{
	struct mvpn_addr a = {{0}};
	bool v4 = rnd(2);

	if (v4) {
		a.b[10] = a.b[11] = 0xff;
		a.b[12] = rnd(2) ? 10 : 0x40;
	} else {
		a.b[0] = rnd(2) ? 0xfd : 0x20;
		for (unsigned i = 1; i < 16; i++)
			a.b[i] = (uint8_t)(rnd(4) ? 0 : rnd(2) * 0x81);
	}
	for (unsigned i = v4 ? 13 : 14; i < 16; i++)
		a.b[i] = (uint8_t)(rnd(3) * 0x55);
	return a;
}

static struct mvpn_prefix random_prefix(void)
{
	struct mvpn_prefix p = {.addr = random_addr()};

	p.len = (uint8_t)(mvpn_addr_is_v4(&p.addr) && rnd(20) ? 96 + 1 + rnd(32) : 1 + rnd(128));
	for (unsigned i = p.len; i < 128; i++)
		p.addr.b[i / 8] &= (uint8_t) ~(0x80 >> (i % 8));
	return p;
}

static void packet_to(struct packet *p, const struct mvpn_addr *dst)
{
	char text[MVPN_ADDRSTRLEN];

	mvpn_addr_str(dst, text);
	pkt_simple(p, strchr(text, ':') ? "fd09::1" : "10.9.0.1", text);
}

static void agree(struct shim *s, const struct lpm *model, const struct mvpn_addr *a)
{
	char text[MVPN_ADDRSTRLEN];
	uint32_t owner = 0;
	struct packet p;
	int expected = NEXT, got;

	if (lpm_lookup(model, a, &owner))
		expected = owner == ARMED ? REDIRECT : SHOT;
	packet_to(&p, a);
	got = st_prog_run(EGRESS(s), &p, NULL);
	if (got != expected)
		print_error("%s: verdict %d, expected %d\n", mvpn_addr_str(a, text), got, expected);
	assert_int_equal(got, expected);
}

static void agree_about_many(struct shim *s, const struct lpm *model)
{
	for (unsigned n = 0; n < 300; n++) {
		struct mvpn_addr a = random_addr();

		agree(s, model, &a);
	}
}

static int agree_about_one(void *arg, const struct mvpn_prefix *p, uint32_t owner)
{
	struct mvpn_addr a = p->addr;

	a.b[15] |= p->len < 128;
	if ((a.b[10] & a.b[11]) != 0xff || !mvpn_addr_is_v4(&a) ? a.b[0] == 0xfd || a.b[0] == 0x20
								: a.b[12] == 10)
		agree(st_shim(), arg, &a);
	return 0;
}

static int unprotect(void *arg, const struct mvpn_prefix *p, uint32_t owner)
{
	return shim_unprotect(arg, p);
}

static void test_as_user_space(void **state)
{
	static struct mvpn_prefix have[PREFIXES];
	struct shim *s = st_shim();
	struct lpm *model;
	unsigned n = 0;

	st_need_root();
	st_key(s, ARMED, MVPN_KEY_ARMED);
	st_key(s, DENIED, MVPN_KEY_DENIED);
	assert_int_equal(lpm_new(&model), 0);
	for (unsigned round = 0; round < 6; round++) {
		while (n < PREFIXES) {
			struct mvpn_prefix p = random_prefix();
			uint32_t owner = rnd(2) ? ARMED : DENIED;

			assert_int_equal(shim_protect(s, &p, owner, 0), 0);
			assert_int_equal(lpm_set(model, &p, owner), 0);
			have[n++] = p;
		}
		agree_about_many(s, model);
		lpm_each(model, agree_about_one, model);
		/* what a new keyd adopts is the same */
		s = st_reopen();
		st_alive(s);
		agree_about_many(s, model);
		while (n > 20) {
			int r = lpm_del(model, &have[--n]);

			assert_int_equal(shim_unprotect(s, &have[n]), r);
		}
		agree_about_many(s, model);
	}
	assert_int_equal(lpm_each(model, unprotect, s), 0);
	lpm_free(model);
}

static void expect(struct shim *s, const char *dst, int verdict)
{
	struct mvpn_addr a;
	struct packet p;

	assert_int_equal(mvpn_addr_parse(&a, dst), 0);
	packet_to(&p, &a);
	assert_int_equal(st_prog_run(EGRESS(s), &p, NULL), verdict);
}

/* default routes, networks shorter than the entries of prefix_lengths, and ::/0, which IPv4 is a part of */
static void test_short(void **state)
{
	struct shim *s = st_shim();
	struct mvpn_prefix p;

	st_need_root();
	st_key(s, ARMED, MVPN_KEY_ARMED);
	st_key(s, DENIED, MVPN_KEY_DENIED);
	st_protect(s, "0.0.0.0/0", ARMED, 0);
	expect(s, "198.51.100.1", REDIRECT);
	expect(s, "2001:db8::1", NEXT);
	st_protect(s, "::/0", DENIED, 0);
	expect(s, "198.51.100.1", REDIRECT);
	expect(s, "2001:db8::1", SHOT);
	mvpn_prefix_parse(&p, "0.0.0.0/0");
	assert_int_equal(shim_unprotect(s, &p), 0);
	expect(s, "198.51.100.1", SHOT);
	st_protect(s, "192.0.0.0/3", ARMED, 0);
	st_protect(s, "2000::/3", ARMED, 0);
	expect(s, "198.51.100.1", REDIRECT);
	expect(s, "2001:db8::1", REDIRECT);
	expect(s, "10.1.1.1", SHOT);
	expect(s, "fd12::1", SHOT);
	mvpn_prefix_parse(&p, "::/0");
	assert_int_equal(shim_unprotect(s, &p), 0);
	expect(s, "10.1.1.1", NEXT);
	expect(s, "fd12::1", NEXT);
	assert_int_equal(shim_unprotect(s, &p), -ENOENT);
}

/* a full map refuses, and forgets nothing of what it has */
static void test_full(void **state)
{
	struct shim *s = st_shim();
	struct mvpn_prefix p = {.len = 128, .addr.b = {0xfd, 1}};
	unsigned n = 0;

	st_need_root();
	st_key(s, ARMED, MVPN_KEY_ARMED);
	st_protect(s, "203.0.113.0/24", ARMED, 0);
	for (;; n++) {
		int r;

		p.addr.b[14] = (uint8_t)(n >> 8);
		p.addr.b[15] = (uint8_t)n;
		r = shim_protect(s, &p, ARMED, 0);
		if (r) {
			assert_int_equal(r, -ENOSPC);
			break;
		}
	}
	assert_true(n > 3000);
	expect(s, "203.0.113.9", REDIRECT);
	expect(s, "fd01::1", REDIRECT);
	/* one goes, one comes, of a length that there was not yet */
	p.addr.b[14] = p.addr.b[15] = 1;
	assert_int_equal(shim_unprotect(s, &p), 0);
	st_protect(s, "198.51.0.0/16", ARMED, 0);
	expect(s, "198.51.100.1", REDIRECT);
}

/* bits of lengths that are gone are cleared when as many prefixes have gone as are left, and then nothing is missing */
static void test_stale_lengths(void **state)
{
	struct shim *s = st_shim();
	struct mvpn_prefix p = {.len = 128, .addr.b = {0x20, 1}}, gone;
	struct mvpn_lengths before, after;
	__u32 entry = mvpn_lengths_entry(0x2001000000000000, 0);
	int fd = bpf_map__fd(s ? s->bpf->maps.prefix_lengths : NULL);

	st_need_root();
	st_key(s, ARMED, MVPN_KEY_ARMED);
	mvpn_prefix_parse(&gone, "2001::/77");
	assert_int_equal(shim_protect(s, &gone, ARMED, 0), 0);
	assert_int_equal(shim_unprotect(s, &gone), 0);
	st_protect(s, "2001::/64", ARMED, 0);
	assert_int_equal(bpf_map_lookup_elem(fd, &entry, &before), 0);
	for (unsigned n = 0; n < 5000; n++) {
		p.addr.b[15] = (uint8_t)n;
		assert_int_equal(shim_protect(s, &p, ARMED, 0), 0);
		assert_int_equal(shim_unprotect(s, &p), 0);
	}
	assert_int_equal(bpf_map_lookup_elem(fd, &entry, &after), 0);
	assert_true(before.bits[0] >> (128 - 77) & 1);
	assert_false(after.bits[0] >> (128 - 77) & 1);
	assert_true(after.bits[1] & 1);
	expect(s, "2001::5", REDIRECT);
}

#define T(f) cmocka_unit_test_setup_teardown(f, st_setup, st_teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_as_user_space),
		T(test_short),
		T(test_full),
		T(test_stale_lengths),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
