/* SPDX-License-Identifier: BSD-2-Clause */
/* Two shims on one host: which of them a packet is for, and that what one leaves to the other is protected there. */
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shimtest.h"

#define TOGETHER 3

static struct shim *wide, *narrow;
static char share[256], pins[2][256];

static struct shim *open_one(unsigned i)
{
	const struct shim_opts o = {.share_dir = share, .protected_max = 4096, .keys_max = 4096};
	char *error = NULL;
	struct shim *s;

	if (shim_open_with(&s, pins[i], &o, &error))
		fail_msg("%s", error);
	st_alive(s);
	st_key(s, 1, MVPN_KEY_ARMED);
	return s;
}

static int up(void **state)
{
	if (!st_shim())
		return 0;
	snprintf(share, sizeof(share), "%s-host", st_pin_dir());
	for (unsigned i = 0; i < 2; i++)
		snprintf(pins[i], sizeof(pins[i]), "%s-%u", st_pin_dir(), i);
	wide = open_one(0);
	narrow = open_one(1);
	st_protect(wide, "10.1.0.0/16", 1, 0);
	st_protect(narrow, "10.1.2.0/24", 1, 0);
	/* the tests' packets leave by lo */
	assert_int_equal(shim_attached_add(wide, if_nametoindex("lo")), 0);
	return 0;
}

static int down(void **state)
{
	if (!st_shim())
		return 0;
	shim_attached_del(wide, if_nametoindex("lo"));
	shim_attached_del(narrow, if_nametoindex("lo"));
	shim_purge(wide);
	shim_close(wide);
	if (narrow)
		shim_purge(narrow);
	shim_close(narrow);
	/* the last one has taken away what was shared */
	assert_int_not_equal(access(share, F_OK), 0);
	return 0;
}

static void sees(struct shim *s, const char *dst, int verdict)
{
	struct packet p;

	pkt_simple(&p, "10.5.0.1", dst);
	assert_int_equal(st_prog_run(EGRESS(s), &p, NULL), verdict);
	pkt_simple(&p, dst, "10.5.0.1");
	assert_int_equal(st_prog_run(INGRESS(s), &p, NULL), verdict == NEXT ? NEXT : SHOT);
}

static void test_the_narrower_has_it(void **state)
{
	struct mvpn_prefix p;

	st_need_root();
	sees(wide, "10.1.1.1", REDIRECT);
	sees(narrow, "10.1.1.1", NEXT);
	/* not on this interface yet: the wider one protects */
	sees(wide, "10.1.2.1", REDIRECT);
	assert_int_equal(shim_attached_add(narrow, if_nametoindex("lo")), 0);
	sees(wide, "10.1.2.1", NEXT);
	sees(narrow, "10.1.2.1", REDIRECT);
	sees(wide, "10.1.1.1", REDIRECT);
	/* without a keyd it is its own still, and dropped */
	assert_int_equal(shim_config(narrow, &(struct mvpn_config){.udp_port = 7490}), 0);
	sees(wide, "10.1.2.1", NEXT);
	sees(narrow, "10.1.2.1", SHOT);
	/* given up, or detached: the wider one's at once */
	assert_int_equal(mvpn_prefix_parse(&p, "10.1.2.0/24"), 0);
	assert_int_equal(shim_unprotect(narrow, &p), 0);
	sees(wide, "10.1.2.1", REDIRECT);
	st_protect(narrow, "10.1.2.0/24", 1, 0);
	sees(wide, "10.1.2.1", NEXT);
	shim_attached_del(narrow, if_nametoindex("lo"));
	sees(wide, "10.1.2.1", REDIRECT);
}

static void test_the_same_prefix(void **state)
{
	struct mvpn_prefix p;
	struct mvpn_addr a;

	st_need_root();
	assert_int_equal(shim_attached_add(narrow, if_nametoindex("lo")), 0);
	assert_int_equal(mvpn_addr_parse(&a, "10.1.1.1"), 0);
	st_protect(narrow, "10.1.0.0/16", 1, 0);
	assert_int_equal(shim_conflicts(narrow), 1);
	assert_int_equal(shim_conflicts(wide), 0);
	sees(wide, "10.1.1.1", REDIRECT);
	sees(narrow, "10.1.1.1", NEXT);
	assert_true(shim_is_anothers(narrow, &a));
	assert_false(shim_is_anothers(wide, &a));
	/* who has not got it takes nothing away */
	assert_int_equal(mvpn_prefix_parse(&p, "10.1.0.0/16"), 0);
	assert_int_equal(shim_unprotect(narrow, &p), 0);
	sees(narrow, "10.1.1.1", NEXT);
	sees(wide, "10.1.1.1", REDIRECT);
	/* and has it once it is free, when it is told again */
	st_protect(narrow, "10.1.0.0/16", 1, 0);
	assert_int_equal(shim_unprotect(wide, &p), 0);
	sees(narrow, "10.1.1.1", REDIRECT);
	st_protect(narrow, "10.1.0.0/16", 1, 0);
	st_protect(wide, "10.1.0.0/16", 1, 0);
	sees(wide, "10.1.1.1", NEXT);
	sees(narrow, "10.1.1.1", REDIRECT);
}

/* sealed packets of the other's pass both ways; its own sockets and servers stay when ours change */
static void test_sealed(void **state)
{
	const struct mvpn_endpoint server = {.port = 7468};
	struct packet p;
	uint64_t cookie;

	st_need_root();
	assert_int_equal(shim_data_port(narrow, 7490), 0);
	pkt_eth(&p, 0x0800);
	pkt_ip4(&p, "10.1.1.1", "10.5.0.1", 17);
	pkt_udp(&p, 7490, 7490, 32);
	pkt_done(&p);
	assert_int_equal(st_prog_run(INGRESS(wide), &p, NULL), NEXT);
	assert_int_equal(shim_data_port(narrow, 7491), 0);
	assert_int_equal(st_prog_run(INGRESS(wide), &p, NULL), SHOT);
	cookie = 1;
	assert_int_equal(shim_own_sockets_set(wide, &cookie, 1), 0);
	cookie = 2;
	assert_int_equal(shim_own_sockets_set(narrow, &cookie, 1), 0);
	assert_int_equal(shim_exempt_set(wide, &server, 1), 0);
	assert_int_equal(shim_exempt_set(narrow, NULL, 0), 0);
	assert_int_equal(bpf_map_lookup_elem(bpf_map__fd(narrow->bpf->maps.own_sockets),
					     &(uint64_t){1}, &(uint32_t){0}),
			 0);
	assert_int_equal(shim_own_sockets_clear(wide), 0);
	assert_int_not_equal(bpf_map_lookup_elem(bpf_map__fd(wide->bpf->maps.own_sockets),
						 &(uint64_t){1}, &(uint32_t){0}),
			     0);
	assert_int_equal(bpf_map_lookup_elem(bpf_map__fd(wide->bpf->maps.own_sockets),
					     &(uint64_t){2}, &(uint32_t){0}),
			 0);
}

static int guard_run(struct shim *s, const struct packet *p, struct __sk_buff *ctx)
{
	struct __sk_buff out = {0};
	LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = p->b, .data_size_in = p->len, .ctx_in = ctx,
		    .ctx_size_in = sizeof(*ctx), .ctx_out = &out, .ctx_size_out = sizeof(out),
		    .repeat = 1);

	assert_int_equal(bpf_prog_test_run_opts(INGRESS(s), &o), 0);
	*ctx = out;
	return (int)o.retval;
}

/* what one has opened passes both guards, the first of which takes the mark off */
static void test_opened(void **state)
{
	struct __sk_buff ctx = {0};
	uint32_t zero = 0, mark = 0;
	struct packet p;

	st_need_root();
	assert_int_equal(bpf_map_lookup_elem(bpf_map__fd(wide->bpf->maps.host), &zero, &mark), 0);
	assert_int_not_equal(mark, 0);
	pkt_simple(&p, "10.1.1.1", "10.5.0.1");
	assert_int_equal(guard_run(wide, &p, &ctx), SHOT);
	ctx = (struct __sk_buff){.mark = mark};
	assert_int_equal(guard_run(narrow, &p, &ctx), NEXT);
	assert_int_equal(ctx.mark, 0);
	ctx = (struct __sk_buff){.cb = {0, ctx.cb[1]}};
	assert_int_equal(guard_run(wide, &p, &ctx), NEXT);
	ctx = (struct __sk_buff){.cb = {0, mark + 1}};
	assert_int_equal(guard_run(wide, &p, &ctx), SHOT);
}

/* a later life finds what it left, and is the same network */
static void test_restart(void **state)
{
	st_need_root();
	assert_int_equal(shim_attached_add(narrow, if_nametoindex("lo")), 0);
	shim_close(narrow);
	sees(wide, "10.1.2.1", NEXT);
	narrow = open_one(1);
	sees(wide, "10.1.2.1", NEXT);
	sees(narrow, "10.1.2.1", REDIRECT);
	assert_int_equal(shim_conflicts(narrow), 0);
}

/* the maps that are shared are the same ones for networks that start at once, and what tells our own sockets is agreed upon */
static void test_together(void **state)
{
	struct seen {
		uint32_t claims, mark;
	} first = {0}, seen;
	struct bpf_map_info info = {};
	__u32 len = sizeof(info), zero = 0;
	char dir[300];
	int pipes[2], go[2];

	st_need_root();
	snprintf(share, sizeof(share), "%s-together", st_pin_dir());
	assert_int_equal(pipe(pipes), 0);
	assert_int_equal(pipe(go), 0);
	for (unsigned i = 0; i < TOGETHER; i++) {
		snprintf(dir, sizeof(dir), "%s-together%u", st_pin_dir(), i);
		if (fork())
			continue;
		const struct shim_opts o = {.share_dir = share, .protected_max = 64, .keys_max = 64};
		struct shim *s;
		char *error = NULL;

		close(go[1]);
		if (read(go[0], &zero, 1) || shim_open_with(&s, dir, &o, &error)) {
			print_error("%s\n", error);
			_exit(2);
		}
		if (shim_data_port(s, (uint16_t)(7000 + i)) ||
		    bpf_map_lookup_elem(bpf_map__fd(s->bpf->maps.host), &zero, &seen.mark) ||
		    bpf_obj_get_info_by_fd(bpf_map__fd(s->bpf->maps.claims), &info, &len))
			_exit(1);
		seen.claims = info.id;
		_exit(write(pipes[1], &seen, sizeof(seen)) != sizeof(seen));
	}
	close(go[1]); /* now */
	for (unsigned i = 0; i < TOGETHER; i++) {
		int status;

		assert_true(wait(&status) > 0);
		assert_int_equal(status, 0);
		assert_int_equal(read(pipes[0], &seen, sizeof(seen)), sizeof(seen));
		if (!i)
			first = seen;
		assert_memory_equal(&seen, &first, sizeof(seen));
	}
	close(go[0]);
	close(pipes[0]);
	close(pipes[1]);
	for (unsigned i = 0; i < TOGETHER; i++) {
		const struct shim_opts o = {.share_dir = share, .protected_max = 64, .keys_max = 64};
		struct shim *s;

		snprintf(dir, sizeof(dir), "%s-together%u", st_pin_dir(), i);
		assert_int_equal(shim_open_with(&s, dir, &o, NULL), 0);
		assert_int_equal(shim_purge(s), 0);
		shim_close(s);
	}
	assert_int_not_equal(access(share, F_OK), 0);
}

static void filters(const char *expected)
{
	char *seen = st_output(
		"tc filter show dev v0 egress 2>/dev/null | grep -c 'bpf.*handle'; "
		"tc filter show dev v0 ingress 2>/dev/null | grep -c 'bpf.*handle'; true");

	assert_string_equal(seen, expected);
	free(seen);
}

/* clsact, where links do not tell whose a program is: each network's stay when another's come and go, and so do those that translate */
static void test_filters_side_by_side(void **state)
{
	struct shim_behind behind = {.raw = false};

	st_need_root();
	st_veth_up(state);
	wide->no_tcx = narrow->no_tcx = true;
	behind.ifindex = if_nametoindex("v0");
	assert_int_equal(mvpn_addr_parse(&behind.addr, "10.5.0.1"), 0);
	st_attach(wide, "v0");
	filters("2\n1\n");
	st_attach(narrow, "v0");
	st_attach(narrow, "v0");
	filters("4\n2\n");
	assert_int_equal(shim_translate_start(wide, NULL), 0);
	assert_int_equal(shim_translate_set(wide, &behind, 1), 0);
	filters("5\n3\n");
	assert_int_equal(shim_translate_set(wide, NULL, 0), 0);
	filters("4\n2\n");
	st_detach(wide, "v0");
	filters("2\n1\n");
	st_detach(narrow, "v0");
	filters("0\n0\n");
	shim_translate_stop(wide);
	st_veth_down(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_the_narrower_has_it, up, down),
		cmocka_unit_test_setup_teardown(test_the_same_prefix, up, down),
		cmocka_unit_test_setup_teardown(test_sealed, up, down),
		cmocka_unit_test_setup_teardown(test_opened, up, down),
		cmocka_unit_test_setup_teardown(test_restart, up, down),
		cmocka_unit_test(test_together),
		cmocka_unit_test_setup_teardown(test_filters_side_by_side, up, down),
	};

	return cmocka_run_group_tests(tests, st_setup, st_teardown);
}
