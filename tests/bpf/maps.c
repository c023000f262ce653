/* SPDX-License-Identifier: BSD-2-Clause */
/* The shim's maps from user space: written, walked, cleared, full. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shimtest.h"

static int count_protected(void *arg, const struct mvpn_prefix *p, const struct mvpn_protected *v)
{
	unsigned *n = arg;

	assert_int_equal(v->peer, p->addr.b[14] * 256 + p->addr.b[15]);
	assert_int_equal(p->len, 128);
	++*n;
	return 0;
}

static int remove_each(void *arg, const struct mvpn_prefix *p, const struct mvpn_protected *v)
{
	assert_int_equal(shim_unprotect(arg, p), 0);
	return 0;
}

static int stop_at_once(void *arg, const struct mvpn_prefix *p, const struct mvpn_protected *v)
{
	++*(unsigned *)arg;
	return -ECANCELED;
}

static struct mvpn_prefix nth(unsigned i)
{
	struct mvpn_prefix p = {.len = 128};

	memcpy(p.addr.b, "\xfd\x77", 2);
	p.addr.b[14] = (uint8_t)(i / 256);
	p.addr.b[15] = (uint8_t)i;
	return p;
}

static void test_protected(void **state)
{
	struct shim *s = st_shim();
	struct mvpn_prefix p;
	unsigned n = 0;

	st_need_root();
	for (unsigned i = 0; i < 4096; i++) {
		p = nth(i);
		assert_int_equal(shim_protect(s, &p, i, 0), 0);
	}
	p = nth(4096);
	assert_int_equal(shim_protect(s, &p, 1, 0), -ENOSPC);
	p = nth(7); /* what is there may still change */
	assert_int_equal(shim_protect(s, &p, 7, 0), 0);
	assert_int_equal(shim_protected_each(s, count_protected, &n), 0);
	assert_int_equal(n, 4096);
	n = 0;
	assert_int_equal(shim_protected_each(s, stop_at_once, &n), -ECANCELED);
	assert_int_equal(n, 1);
	assert_int_equal(shim_protected_each(s, remove_each, s), 0);
	n = 0;
	assert_int_equal(shim_protected_each(s, count_protected, &n), 0);
	assert_int_equal(n, 0);
	assert_int_equal(shim_unprotect(s, &p), -ENOENT);
	assert_int_equal(shim_protect(s, &p, MVPN_PEERS_MAX, 0), -EINVAL);
	p.len = 129;
	assert_int_equal(shim_protect(s, &p, 1, 0), -EINVAL);
}

static void test_keys(void **state)
{
	const struct mvpn_key k = {.state = MVPN_KEY_ARMED, .spi = 5};
	struct shim *s = st_shim();

	st_need_root();
	for (unsigned i = 1; i <= 4096; i++)
		assert_int_equal(shim_key_set(s, i, &k), 0);
	assert_int_equal(shim_key_set(s, 4097, &k), -ENOSPC);
	assert_int_equal(shim_key_clear(s, 4000), 0);
	assert_int_equal(shim_key_clear(s, 4000), -ENOENT);
	assert_int_equal(shim_key_set(s, 4097, &k), 0);
	assert_int_equal(shim_keys_clear_all(s), 0);
	assert_int_equal(shim_key_clear(s, 1), -ENOENT);
	for (unsigned i = 1; i <= 4096; i++)
		assert_int_equal(shim_key_set(s, i, &k), 0);
	assert_int_equal(shim_keys_clear_all(s), 0);
}

static void test_small_maps(void **state)
{
	struct mvpn_endpoint e = {.addr.b = {0xfd}, .port = 1};
	uint64_t cookies[MVPN_OWN_SOCKETS_MAX + 1];
	struct shim *s = st_shim();
	struct mvpn_exempt key;
	__u32 one;
	int fd;

	st_need_root();
	for (unsigned i = 0; i < MVPN_EXEMPT_MAX; i++, e.port++)
		assert_int_equal(shim_exempt_add(s, &e), 0);
	assert_int_equal(shim_exempt_add(s, &e), -ENOSPC);
	assert_int_equal(shim_exempt_clear(s), 0);
	assert_int_equal(shim_exempt_add(s, &e), 0);
	assert_int_equal(shim_exempt_add(s, &e), 0); /* again is no error */
	assert_int_equal(shim_exempt_clear(s), 0);
	for (uint64_t c = 1; c <= MVPN_OWN_SOCKETS_MAX; c++)
		assert_int_equal(shim_own_socket_add(s, c), 0);
	assert_int_equal(shim_own_socket_add(s, 1000), -ENOSPC);
	assert_int_equal(shim_own_sockets_clear(s), 0);
	assert_int_equal(shim_own_socket_add(s, 1000), 0);
	assert_int_equal(shim_own_sockets_clear(s), 0);
	assert_int_equal(shim_spi_set(s, 0), -EINVAL);
	/* a full set replaced by another full one, half of it the same */
	for (uint64_t i = 0; i < MVPN_OWN_SOCKETS_MAX + 1; i++)
		cookies[i] = 5000 + i;
	assert_int_equal(shim_own_sockets_set(s, cookies, MVPN_OWN_SOCKETS_MAX), 0);
	assert_int_equal(shim_own_sockets_set(s, cookies + 1, MVPN_OWN_SOCKETS_MAX), 0);
	fd = bpf_map__fd(s->bpf->maps.own_sockets);
	assert_int_equal(bpf_map_lookup_elem(fd, &cookies[0], &one), -ENOENT);
	for (unsigned i = 1; i <= MVPN_OWN_SOCKETS_MAX; i++)
		assert_int_equal(bpf_map_lookup_elem(fd, &cookies[i], &one), 0);
	assert_int_equal(shim_own_sockets_set(s, cookies, MVPN_OWN_SOCKETS_MAX + 1), -ENOSPC);
	assert_int_equal(shim_own_sockets_set(s, NULL, 0), 0);
	assert_int_equal(bpf_map_lookup_elem(fd, &cookies[5], &one), -ENOENT);
	assert_int_equal(shim_exempt_set(s, &e, 1), 0);
	e.port++;
	assert_int_equal(shim_exempt_set(s, &e, 1), 0);
	assert_int_equal(shim_exempt_set(s, NULL, 0), 0);
	assert_int_equal(bpf_map_get_next_key(bpf_map__fd(s->bpf->maps.exempt), NULL, &key),
			 -ENOENT);
}

/* each counter has a name of its own */
/* only a keyd that runs breathes, and nothing else of the configuration changes */
static void test_breath(void **state)
{
	struct shim *s = st_shim();
	struct mvpn_config c = {.udp_port = 7469}, got;

	assert_int_equal(shim_config(s, &c), 0);
	assert_int_equal(shim_breathe(s), 0);
	assert_int_equal(shim_get_config(s, &got), 0);
	assert_memory_equal(&got, &c, sizeof(c));

	c.tap_ifindex = 5;
	c.alive_ns = 1;
	assert_int_equal(shim_config(s, &c), 0);
	assert_int_equal(shim_breathe(s), 0);
	assert_int_equal(shim_get_config(s, &got), 0);
	assert_true(got.alive_ns > c.alive_ns);
	got.alive_ns = c.alive_ns;
	assert_memory_equal(&got, &c, sizeof(c));
}

static void test_names(void **state)
{
	for (unsigned i = 0; i < MVPN_C_MAX; i++) {
		assert_non_null(shim_counter_names[i]);
		for (unsigned k = 0; k < i; k++)
			assert_string_not_equal(shim_counter_names[i], shim_counter_names[k]);
	}
}

/* an operator sees names: in `bpftool map dump` of each pinned map */
static void test_bpftool(void **state)
{
	struct shim *s = st_shim();
	char *out;

	st_need_root();
	st_protect(s, "10.1.0.0/16", 1, 0);
	st_key(s, 1, MVPN_KEY_ARMED);
	out = st_output(
		"PATH=$PATH:/usr/sbin; cd %s && for m in protected keys config counters; do "
		"bpftool map dump pinned %s/$m; done; stat -c %%a .",
		st_pin_dir(), st_pin_dir());
	assert_non_null(strstr(out, "\"prefixlen\": 112"));
	assert_non_null(strstr(out, "\"epoch\": 0"));
	assert_non_null(strstr(out, "\"udp_port\": 7469"));
	assert_non_null(strstr(out, "700\n"));
	free(out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_protected),  cmocka_unit_test(test_keys),
		cmocka_unit_test(test_small_maps), cmocka_unit_test(test_names),
		cmocka_unit_test(test_bpftool),	   cmocka_unit_test(test_breath),
	};

	return cmocka_run_group_tests(tests, st_setup, st_teardown);
}
