/* SPDX-License-Identifier: BSD-2-Clause */
/* Attach, adopt, detach: on a veth in a network namespace of the test's own. */
#include <errno.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shimtest.h"

#define TCX_INGRESS 46
#define TCX_EGRESS 47

static unsigned tcx_count(const char *iface, int type)
{
	__u32 ids[64], n = 64;

	assert_int_equal(bpf_prog_query((int)if_nametoindex(iface), type, 0, NULL, ids, &n), 0);
	return n;
}

static bool has_tcx(void)
{
	__u32 ids[64], n = 64;

	return bpf_prog_query((int)if_nametoindex("lo"), TCX_EGRESS, 0, NULL, ids, &n) == 0;
}

static void need_tcx(void)
{
	if (!has_tcx()) {
		print_message("skipped: this kernel has no TCX (6.6 and later have)\n");
		skip();
	}
}

static struct shim_iface attach(struct shim *s, const char *iface)
{
	struct shim_iface i;
	char *error = NULL;
	int r = shim_attach(s, iface, &i, &error);

	if (r < 0)
		print_error("%s\n", error ? error : strerror(-r));
	free(error);
	assert_int_equal(r, 0);
	return i;
}

static void detach(struct shim *s, const char *iface)
{
	char *error = NULL;
	int r = shim_detach(s, iface, &error);

	if (r < 0)
		print_error("%s\n", error ? error : strerror(-r));
	free(error);
	assert_int_equal(r, 0);
}

static char *tc_state(void)
{
	return st_output("tc qdisc show; for d in v0 v1; do tc filter show dev $d ingress 2>&1; "
			 "tc filter show dev $d egress 2>&1; done; ip -d link show type veth");
}

static int veth_up(void **state)
{
	if (geteuid() != 0)
		return 0;
	st_run("ip link add v0 type veth peer name v1 && ip link set v0 up && ip link set v1 up");
	return 0;
}

static int veth_down(void **state)
{
	if (geteuid() == 0)
		st_run("ip link del v0 2>/dev/null; true");
	return 0;
}

static void test_tcx(void **state)
{
	struct shim *s = *state;
	struct shim_iface i;
	char *before, *after;

	st_need_root();
	need_tcx();
	before = tc_state();
	i = attach(s, "v0");
	assert_int_equal(i.hook, SHIM_TCX);
	assert_true(i.fresh);
	assert_int_equal(tcx_count("v0", TCX_EGRESS), 2);
	assert_int_equal(tcx_count("v0", TCX_INGRESS), 1);
	i = attach(s, "v0");
	assert_false(i.fresh);
	assert_int_equal(tcx_count("v0", TCX_EGRESS), 2);
	assert_int_equal(tcx_count("v0", TCX_INGRESS), 1);
	detach(s, "v0");
	assert_int_equal(tcx_count("v0", TCX_EGRESS), 0);
	assert_int_equal(tcx_count("v0", TCX_INGRESS), 0);
	after = tc_state();
	assert_string_equal(before, after);
	free(before);
	free(after);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_tcx, veth_up, veth_down),
	};

	return cmocka_run_group_tests(tests, st_setup, st_teardown);
}
