/* SPDX-License-Identifier: BSD-2-Clause */
/* Interfaces that vanish, are renamed, are many; programs of others. */
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shimtest.h"

static void test_vanished(void **state)
{
	struct shim_iface all[MVPN_IFACES_MAX], i;
	struct shim *s = st_shim();
	struct stat st;
	char *error = NULL, *dir;
	int xsks;

	st_need_root();
	for (int clsact = !st_has_tcx(); clsact < 2; clsact++) {
		s->no_tcx = clsact;
		st_attach(s, "v0");
		assert_int_equal(shim_attach_xdp(s, "v0", SHIM_XDP_GENERIC, 0, &xsks, NULL), 0);
		assert_int_equal(st_list(s, all), 1);
		assert_int_equal(all[0].ifindex, if_nametoindex("v0"));
		assert_int_equal(all[0].xdp, SHIM_XDP_GENERIC);
		st_run("ip link del v0");
		assert_int_equal(st_list(s, all), 1);
		assert_string_equal(all[0].name, "v0");
		assert_int_equal(all[0].ifindex, 0);

		/* it comes back under the same name: attached anew, nothing old in the way */
		st_veth_up(state);
		i = st_attach(s, "v0");
		assert_true(i.fresh);
		assert_int_equal(i.ifindex, if_nametoindex("v0"));
		st_run("ip link del v0");
		st_detach(s, "v0");
		dir = shim_pin_if(s, "v0", "");
		assert_int_equal(stat(dir, &st), -1);
		free(dir);
		assert_int_equal(st_list(s, all), 0);
		st_veth_up(state);
	}
	s->no_tcx = false;
	assert_int_equal(shim_detach(s, "v0", &error), -ENOENT);
	assert_non_null(strstr(error, "not attached"));
	free(error);
	error = NULL;
	assert_int_equal(shim_attach(s, "nonesuch0", &i, &error), -ENODEV);
	assert_non_null(strstr(error, "nonesuch0"));
	free(error);
	assert_int_equal(st_list(s, all), 0);
}

/* names with dots, which the BPF file system does not take, and interfaces that are renamed */
static void test_names(void **state)
{
	struct shim_iface all[MVPN_IFACES_MAX], i;
	struct shim *s = st_shim();

	st_need_root();
	st_need_tcx();
	st_run("ip link add link v0 name v0.10 type macvlan && ip link set v0.10 up");
	st_attach(s, "v0.10");
	assert_int_equal(st_list(s, all), 1);
	assert_string_equal(all[0].name, "v0.10");
	st_run("ip link set v0.10 down && ip link set v0.10 name lan0");
	assert_int_equal(st_list(s, all), 1);
	assert_string_equal(all[0].name, "lan0");
	i = st_attach(s, "lan0");
	assert_false(i.fresh);
	assert_int_equal(st_list(s, all), 1);
	assert_string_equal(all[0].name, "lan0");
	assert_int_equal(st_tcx_count("lan0", ST_TCX_EGRESS), 2);
	st_run("ip link set lan0 name lan1");
	st_detach(s, "lan1");
	assert_int_equal(st_tcx_count("lan1", ST_TCX_EGRESS), 0);
	assert_int_equal(st_list(s, all), 0);
}

static void test_too_many(void **state)
{
	struct shim *s = st_shim();
	struct shim_iface i;
	char *error = NULL;
	char name[16];

	st_need_root();
	for (int n = 0; n < MVPN_IFACES_MAX; n++) {
		st_run("ip link add d%d link v1 type macvlan", n);
		snprintf(name, sizeof(name), "d%d", n);
		st_attach(s, name);
	}
	assert_int_equal(shim_attach(s, "v0", &i, &error), -ENOSPC);
	assert_non_null(strstr(error, "v0"));
	free(error);
	for (int n = 0; n < MVPN_IFACES_MAX; n++) {
		snprintf(name, sizeof(name), "d%d", n);
		st_detach(s, name);
		st_run("ip link del d%d", n);
	}
}

static void test_before_us(void **state)
{
	struct shim *s = st_shim();
	char *names = NULL;
	int link;

	st_need_root();
	st_need_tcx();
	st_attach(s, "v0");
	assert_int_equal(shim_before_us(s, "v0", &names), 0);
	assert_null(names);
	/* somebody's program gets in before ours later on */
	LIBBPF_OPTS(bpf_link_create_opts, o, .flags = 1U << 3);
	link = bpf_link_create(bpf_program__fd(s->bpf->progs.leak_raw), (int)if_nametoindex("v0"),
			       ST_TCX_EGRESS, &o);
	assert_true(link >= 0);
	assert_int_equal(shim_before_us(s, "v0", &names), 0);
	assert_string_equal(names, "leak_raw");
	free(names);
	close(link);
	st_detach(s, "v0");
}

/* what somebody else has put there, cut within an escape: no further than to its end */
static void test_odd_pins(void **state)
{
	char name[16];

	shim_iface_unescape("v%2e0", name);
	assert_string_equal(name, "v.0");
	shim_iface_unescape("v%2\0beyond", name);
	assert_string_equal(name, "v%2");
	shim_iface_unescape("v%", name);
	assert_string_equal(name, "v%");
}

int main(void)
{
#define ON_VETH(test) cmocka_unit_test_setup_teardown(test, st_veth_up, st_veth_down)
	const struct CMUnitTest tests[] = {
		ON_VETH(test_vanished),
		ON_VETH(test_names),
		ON_VETH(test_too_many),
		ON_VETH(test_before_us),
		cmocka_unit_test(test_odd_pins),
	};

	return cmocka_run_group_tests(tests, st_setup, st_teardown);
}
