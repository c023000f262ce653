/* SPDX-License-Identifier: BSD-2-Clause */
/* Attach, adopt, detach: on a veth in a network namespace of the test's own. */
#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shimtest.h"

static char *tc_state(void)
{
	return st_output("tc qdisc show; for d in v0 v1; do tc filter show dev $d ingress 2>&1; "
			 "tc filter show dev $d egress 2>&1; done; ip -d link show type veth");
}

static void test_tcx(void **state)
{
	struct shim *s = st_shim();
	struct shim_iface i;
	char *before, *after;

	st_need_root();
	st_need_tcx();
	before = tc_state();
	i = st_attach(s, "v0");
	assert_int_equal(i.hook, SHIM_TCX);
	assert_true(i.fresh);
	assert_int_equal(st_tcx_count("v0", ST_TCX_EGRESS), 2);
	assert_int_equal(st_tcx_count("v0", ST_TCX_INGRESS), 1);
	i = st_attach(s, "v0");
	assert_false(i.fresh);
	assert_int_equal(st_tcx_count("v0", ST_TCX_EGRESS), 2);
	assert_int_equal(st_tcx_count("v0", ST_TCX_INGRESS), 1);
	st_detach(s, "v0");
	assert_int_equal(st_tcx_count("v0", ST_TCX_EGRESS), 0);
	assert_int_equal(st_tcx_count("v0", ST_TCX_INGRESS), 0);
	after = tc_state();
	assert_string_equal(before, after);
	free(before);
	free(after);
}

/* keyd ends and starts again: the pinned links are taken over, never doubled */
static void test_reopen(void **state)
{
	struct mvpn_config c;
	struct shim *s = st_shim();
	struct shim_iface i;
	struct packet p;

	st_need_root();
	st_need_tcx();
	st_attach(s, "v0");
	st_protect(s, "10.1.0.0/16", 1, 0);
	s = st_reopen();
	assert_int_equal(st_tcx_count("v0", ST_TCX_EGRESS), 2);

	/* until the new keyd breathes, what the dead one left must not let anything through */
	assert_int_equal(shim_get_config(s, &c), 0);
	assert_int_equal(c.tap_ifindex, 0);
	assert_int_equal(c.udp_port, 7469);
	pkt_simple(&p, "10.9.9.9", "10.1.2.3");
	st_expect(s, EGRESS(s), &p, SHOT, MVPN_C_DROP_KEYD_DOWN);

	i = st_attach(s, "v0");
	assert_false(i.fresh);
	assert_int_equal(i.hook, SHIM_TCX);
	assert_int_equal(st_tcx_count("v0", ST_TCX_EGRESS), 2);
	assert_int_equal(st_tcx_count("v0", ST_TCX_INGRESS), 1);
	st_detach(s, "v0");
	assert_int_equal(st_tcx_count("v0", ST_TCX_EGRESS), 0);
	st_alive(s);
}

/* one hook was lost: attaching again makes it whole */
static void test_repair(void **state)
{
	struct shim *s = st_shim();
	struct shim_iface i;
	char *path;

	st_need_root();
	st_need_tcx();
	st_attach(s, "v0");
	path = shim_pin_if(s, "v0", "leak");
	assert_int_equal(unlink(path), 0);
	free(path);
	/* the kernel lets go of an unpinned link a moment later */
	for (int ms = 0; ms < 2000 && st_tcx_count("v0", ST_TCX_EGRESS) != 1; ms++)
		usleep(1000);
	assert_int_equal(st_tcx_count("v0", ST_TCX_EGRESS), 1);
	i = st_attach(s, "v0");
	assert_true(i.fresh);
	assert_int_equal(st_tcx_count("v0", ST_TCX_EGRESS), 2);
	st_detach(s, "v0");
}

static void clsact_round(struct shim *s)
{
	struct shim_iface i = st_attach(s, "v0");
	char *filters;

	assert_int_equal(i.hook, SHIM_CLSACT);
	assert_true(i.fresh);
	i = st_attach(s, "v0");
	assert_false(i.fresh);
	filters = st_output("tc filter show dev v0 egress | grep -c 'bpf.*handle'; "
			    "tc filter show dev v0 ingress | grep -c 'bpf.*handle'");
	assert_string_equal(filters, "2\n1\n");
	free(filters);
	filters = st_output(
		"tc filter show dev v0 egress | sed -n 's/.*pref \\([0-9]*\\) bpf.*handle.*/\\1/p' "
		"| tr '\\n' ' '");
	assert_string_equal(filters, "1 65535 ");
	free(filters);
}

static void test_clsact(void **state)
{
	struct shim *s = st_shim();
	char *before, *after;

	st_need_root();
	s->no_tcx = true;
	before = tc_state();
	clsact_round(s);
	st_detach(s, "v0");
	after = tc_state();
	assert_string_equal(before, after);
	free(before);
	free(after);
	s->no_tcx = false;
}

#define OTHERS_FILTER(hook, prio) \
	"tc filter add dev v0 " hook " prio " #prio " protocol ip u32 match u32 0 0 flowid 1:1"

/* a qdisc and a filter that were there before stay, and so does a qdisc of ours that somebody else uses by now */
static void test_clsact_shared(void **state)
{
	struct shim *s = st_shim();
	char *before, *after;

	st_need_root();
	s->no_tcx = true;
	st_run("tc qdisc add dev v0 clsact && " OTHERS_FILTER("egress", 7));
	before = tc_state();
	clsact_round(s);
	st_detach(s, "v0");
	after = tc_state();
	assert_string_equal(before, after);
	free(before);
	free(after);
	st_run("tc qdisc del dev v0 clsact");

	/* a filter of another kind on our first priority */
	st_attach(s, "v0");
	st_detach(s, "v0");
	st_run("tc qdisc add dev v0 clsact && " OTHERS_FILTER("egress", 1));
	st_attach(s, "v0");
	after = NULL;
	assert_int_equal(shim_before_us(s, "v0", &after), 0);
	assert_non_null(after);
	assert_string_equal(after, "1 filter on egress");
	free(after);
	st_detach(s, "v0");
	st_run("tc qdisc del dev v0 clsact");

	st_attach(s, "v0");
	st_run(OTHERS_FILTER("ingress", 7));
	st_detach(s, "v0");
	st_run("tc filter show dev v0 ingress | grep -q u32 && tc qdisc del dev v0 clsact");
	s->no_tcx = false;
}

static void test_xdp(void **state)
{
	struct shim_iface all[MVPN_IFACES_MAX];
	struct shim *s = st_shim();
	char *error = NULL, *before, *after;
	int xsks, again, link;

	st_need_root();
	before = st_output("ip link show v0");
	assert_int_equal(shim_attach_xdp(s, "v0", SHIM_XDP_NATIVE, 0, &xsks, &error), 0);
	/* no program that keyd starts has it */
	assert_int_equal(fcntl(xsks, F_GETFD), FD_CLOEXEC);
	assert_int_equal(st_list(s, all), 1);
	assert_int_equal(all[0].xdp, SHIM_XDP_NATIVE);
	assert_int_equal(shim_attach_xdp(s, "v0", SHIM_XDP_NATIVE, 0, &again, &error), 0);
	st_run("ip link show v0 | grep -q 'prog/xdp'");
	/* down the ladder */
	assert_int_equal(shim_attach_xdp(s, "v0", SHIM_XDP_GENERIC, 0, &again, &error), 0);
	assert_int_equal(st_list(s, all), 1);
	assert_int_equal(all[0].xdp, SHIM_XDP_GENERIC);
	shim_detach_xdp(s, "v0");
	shim_detach_xdp(s, "v0");
	after = st_output("ip link show v0");
	assert_string_equal(before, after);
	free(before);
	free(after);

	/* an MTU at which veth wants a multi-buffer program */
	st_run("ip link set v0 mtu 9000 && ip link set v1 mtu 9000");
	assert_int_equal(shim_attach_xdp(s, "v0", SHIM_XDP_NATIVE, 0, &xsks, &error), 0);
	assert_int_equal(shim_attach_xdp(s, "v0", SHIM_XDP_NATIVE, 0, &xsks, &error), 0);
	st_detach(s, "v0");

	/* somebody else's program */
	LIBBPF_OPTS(bpf_link_create_opts, o, .flags = 1U << 2);
	assert_int_equal(shim_attach_xdp(s, "v1", SHIM_XDP_NATIVE, 0, &xsks, &error), 0);
	{
		char *path = shim_pin_if(s, "v1", "xdp");
		__u32 len = sizeof(struct bpf_link_info);
		struct bpf_link_info info = {};
		int prog, ours = bpf_obj_get(path);

		assert_int_equal(bpf_obj_get_info_by_fd(ours, &info, &len), 0);
		prog = bpf_prog_get_fd_by_id(info.prog_id);
		link = bpf_link_create(prog, (int)if_nametoindex("v0"), BPF_XDP, &o);
		assert_true(link >= 0);
		close(prog);
		close(ours);
		free(path);
	}
	assert_int_equal(shim_attach_xdp(s, "v0", SHIM_XDP_NATIVE, 0, &xsks, &error), -EBUSY);
	assert_non_null(strstr(error, "another XDP program"));
	free(error);
	close(link);
	assert_int_equal(st_list(s, all), 1); /* v1 */
	st_detach(s, "v1");
}

/* a map of another layout is refused with a message, and nothing is overwritten */
static void test_stale(void **state)
{
	const struct shim_opts other = {.protected_max = 4096, .keys_max = 8192};
	struct shim *s = st_shim(), *s2 = NULL;
	char *error = NULL;

	st_need_root();
	st_protect(s, "10.77.0.0/16", 1, 0);
	assert_int_equal(shim_open_with(&s2, st_pin_dir(), &other, &error), -ESTALE);
	assert_null(s2);
	assert_non_null(strstr(error, "/keys has another layout"));
	assert_non_null(strstr(error, st_pin_dir()));
	free(error);
	error = NULL;
	assert_int_equal(shim_open(&s2, "/tmp/mvpn-not-bpffs", &error), -EINVAL);
	assert_non_null(strstr(error, "/tmp/mvpn-not-bpffs"));
	free(error);
	st_run("rmdir /tmp/mvpn-not-bpffs/if /tmp/mvpn-not-bpffs");
}

/* a child's cmocka assertion would jump into the parent's run of the tests */
#define MUST(what)                                                                             \
	do {                                                                                   \
		if (!(what)) {                                                                 \
			print_error("line %d: %s: %s\n", __LINE__, #what, error ? error : ""); \
			_exit(1);                                                              \
		}                                                                              \
	} while (0)

/* what keyd can do with the capabilities that it keeps: everything but naming the programs of others */
static void with_few_caps(struct shim *s)
{
	LIBBPF_OPTS(bpf_link_create_opts, o, .flags = 1U << 3);
	char *names = NULL, *error = NULL;
	struct shim_iface i;
	int xsks, link;

	capng_clear(CAPNG_SELECT_BOTH);
	capng_updatev(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED, CAP_NET_ADMIN, CAP_BPF,
		      CAP_PERFMON, -1);
	MUST(capng_apply(CAPNG_SELECT_BOTH) == 0);
	for (int clsact = !st_has_tcx(); clsact < 2; clsact++) {
		s->no_tcx = clsact;
		MUST(shim_attach(s, "v0", &i, &error) == 0 && i.fresh);
		MUST(shim_attach(s, "v0", &i, &error) == 0 && !i.fresh);
		MUST(i.hook == (clsact ? SHIM_CLSACT : SHIM_TCX));
		MUST(shim_attach_xdp(s, "v0", SHIM_XDP_GENERIC, 0, &xsks, &error) == 0);
		MUST(shim_attach_xdp(s, "v0", SHIM_XDP_GENERIC, 0, &xsks, &error) == 0);
		if (!clsact) {
			link = bpf_link_create(bpf_program__fd(s->bpf->progs.leak_raw),
					       (int)if_nametoindex("v0"), ST_TCX_EGRESS, &o);
			MUST(link >= 0);
			MUST(shim_before_us(s, "v0", &names) == 0 && names);
			MUST(strcmp(names, "1 program on egress") == 0);
			free(names);
			close(link);
		}
		MUST(shim_detach(s, "v0", &error) == 0);
	}
}

static void test_few_caps(void **state)
{
	struct shim *s = st_shim();
	int status;
	pid_t pid;

	st_need_root();
	pid = fork();
	if (pid == 0) {
		with_few_caps(s);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

int main(void)
{
#define ON_VETH(test) cmocka_unit_test_setup_teardown(test, st_veth_up, st_veth_down)
	const struct CMUnitTest tests[] = {
		ON_VETH(test_tcx),    ON_VETH(test_reopen),	   ON_VETH(test_repair),
		ON_VETH(test_clsact), ON_VETH(test_clsact_shared), ON_VETH(test_xdp),
		ON_VETH(test_stale),  ON_VETH(test_few_caps),
	};

	return cmocka_run_group_tests(tests, st_setup, st_teardown);
}
