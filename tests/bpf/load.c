/* SPDX-License-Identifier: BSD-2-Clause */
/* Every program is loaded, with maps of its own: does this kernel's verifier take it, and how much does it walk through? */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <string.h>

#include "process.skel.h"
#include "shim.skel.h"
#include "shimtest.h"
#include "sock.skel.h"
#include "sockops.skel.h"
#include "stream.skel.h"
#include "translate.skel.h"
#include "whose.skel.h"
#include "wire.skel.h"

/*
 * Instructions that the verifier may walk through, some third more than it does on 6.1 and on 6.18: a jump in a program is a jump in
 * what it costs to load, and mostly in every packet's cost. The kernel's own limit is a million.
 */
static const struct bound {
	const char *program;
	unsigned most;
} bounds[] = {
	{"egress", 16000},
	{"egress_raw", 13500},
	{"leak", 16000},
	{"leak_raw", 13500},
	{"ingress", 8500},
	{"ingress_raw", 7500},
	{"deliver", 400},
	{"arrive", 4500},
	{"enter", 13500},
	{"wire", 900},
	{"wire_frags", 900},
	{"transport", 4700},
	{"connect4", 8500},
	{"connect6", 8500},
	{"sendmsg4", 10000},
	{"sendmsg6", 10000},
	{"bind4", 1000},
	{"bind6", 1000},
	{"create", 1000},
	{"set_option", 100},
	{"stream_connect4", 8000},
	{"stream_connect6", 10000},
	{"stream_sendmsg4", 8000},
	{"stream_sendmsg6", 10000},
	{"stream_getpeername4", 100},
	{"stream_getpeername6", 100},
	{"stream_recvmsg4", 4200},
	{"stream_recvmsg6", 4200},
	{"stream_ops", 400},
	{"stream_owner", 400},
	{"stream_sends", 8000},
	{"stream_syn", 500},
	{"stream_lo", 8000},
	{"stream_arrives", 8000},
	{"sock_made", 2400},
	{"sock_found", 2400},
	{"sock_sends", 4900},
	{"holder", 300},
	{"translate_out", 14000},
	{"translate_out_raw", 14000},
	{"translate_in", 6300},
	{"translate_in_raw", 6000},
};

static unsigned bound_of(const char *program)
{
	for (unsigned i = 0; i < sizeof(bounds) / sizeof(bounds[0]); i++)
		if (strcmp(bounds[i].program, program) == 0)
			return bounds[i].most;
	fail_msg("%s has no bound", program);
	return 0;
}

static void load(const char *name, const void *elf, size_t size)
{
	const struct bpf_object_open_opts o = {.sz = sizeof(o), .object_name = name};
	struct bpf_object *obj = bpf_object__open_mem(elf, size, &o);
	struct bpf_program *prog;
	unsigned over = 0;

	assert_non_null(obj);
	assert_int_equal(bpf_object__load(obj), 0);
	for (prog = NULL; (prog = bpf_object__next_program(obj, prog));) {
		const char *program = bpf_program__name(prog);
		unsigned most = bound_of(program);
		struct bpf_prog_info info = {};
		__u32 len = sizeof(info);

		assert_int_equal(bpf_obj_get_info_by_fd(bpf_program__fd(prog), &info, &len), 0);
		print_message(
			"%s/%s: %u instructions verified, at most %u; %u bytes of machine code\n",
			name, program, info.verified_insns, most, info.jited_prog_len);
		over += info.verified_insns > most;
	}
	bpf_object__close(obj);
	assert_int_equal(over, 0);
}

#define LOADS(object)                                             \
	static void test_##object(void **state)                   \
	{                                                         \
		size_t size;                                      \
		const void *elf = object##_bpf__elf_bytes(&size); \
                                                                  \
		st_need_root();                                   \
		load(#object, elf, size);                         \
	}
LOADS(shim)
LOADS(wire)
LOADS(sockops)
LOADS(sock)
LOADS(stream)
LOADS(process)
LOADS(translate)
LOADS(whose)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_shim),	  cmocka_unit_test(test_wire),
		cmocka_unit_test(test_sockops),	  cmocka_unit_test(test_sock),
		cmocka_unit_test(test_stream),	  cmocka_unit_test(test_process),
		cmocka_unit_test(test_translate), cmocka_unit_test(test_whose),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
