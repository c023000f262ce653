/* SPDX-License-Identifier: BSD-2-Clause */
#include "secslab.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test.h"

#ifdef __SANITIZE_ADDRESS__
#define SANITIZED 1 /* mlock() does nothing, and freed cells cannot be looked at */
#include <sanitizer/asan_interface.h>
#else
#define SANITIZED 0
#endif

#define MANY 3000
#define LANE 5504
#define LOCKED_B \
	(32      \
	 << 20) /* about what MANY of LANE take; Debian lets users lock 8 MB and more than a quarter of memory */

static struct secslab *s;

static int setup(void **state)
{
	return secslab_new(&s);
}

static int teardown(void **state)
{
	struct secslab_stats st;

	secslab_stats(s, &st);
	secslab_free(s);
	return st.cells || st.chunks || st.bytes || st.mapped;
}

static void need_lock(size_t bytes)
{
	struct rlimit l;

	getrlimit(RLIMIT_MEMLOCK, &l);
	if (geteuid() && l.rlim_cur < bytes) {
		print_message("skipped: ulimit -l is below %zu KB\n", bytes >> 10);
		skip();
	}
}

static char *get(size_t size)
{
	void *p = NULL;

	assert_int_equal(secslab_get(s, size, &p), 0);
	assert_int_equal((uintptr_t)p % 64, 0);
	for (size_t i = 0; i < size; i++)
		assert_int_equal(((char *)p)[i], 0);
	return p;
}

static struct secslab_stats stats(void)
{
	struct secslab_stats st;

	secslab_stats(s, &st);
	return st;
}

/* cells do not overlap, and a new one is zero whoever had it before */
static void cells_of_several_sizes(void **state)
{
	static char *p[MANY];
	static const size_t sizes[] = {1, 64, LANE, 2 * LANE, 4 * LANE};
	unsigned seed = 1;

	need_lock(LOCKED_B);
	for (unsigned n = 0; n < 4 * MANY; n++) {
		unsigned i = (seed = seed * 1103515245 + 12345) >> 8;
		size_t size = sizes[i % MANY % 5];

		i %= MANY;
		if (p[i]) {
			for (size_t b = 0; b < size; b++)
				assert_int_equal(p[i][b], (char)i);
			secslab_put(s, p[i]);
			p[i] = NULL;
		} else {
			p[i] = get(size);
			memset(p[i], (int)i, size);
		}
	}
	for (unsigned i = 0; i < MANY; i++)
		secslab_put(s, p[i]);
	secslab_put(s, NULL);
}

/* many cells take few mappings and little more than their own memory; empty chunks go */
static void chunks_grow_and_go(void **state)
{
	static char *p[MANY];
	struct secslab_stats st;

	need_lock(LOCKED_B);
	p[0] = get(LANE);
	assert_true(stats().mapped <= 64 << 10);
	for (unsigned i = 1; i < MANY; i++)
		p[i] = get(LANE);
	st = stats();
	assert_int_equal(st.cells, MANY);
	assert_int_equal(st.bytes, (size_t)MANY * LANE);
	assert_true(st.chunks < 16);
	assert_true(st.mapped < 2 * st.bytes);
	for (unsigned i = 1; i < MANY; i++)
		secslab_put(s, p[i]);
	assert_true(stats().chunks <= 2); /* the one in use and a spare */
	secslab_put(s, p[0]);
	assert_int_equal(stats().chunks, 0);
}

static void one_that_comes_and_goes_keeps_its_chunk(void **state)
{
	char *stays = get(100), *p[700];
	size_t mapped;

	for (unsigned n = 0; n < 700; n++)
		p[n] = get(100);
	mapped = stats().mapped;
	assert_true(stats().chunks > 1);
	for (unsigned n = 0; n < 700; n++) {
		secslab_put(s, p[n]);
		secslab_put(s, get(100));
		assert_true(stats().mapped <= mapped);
	}
	secslab_put(s, stays);
}

static bool is_locked(const void *p)
{
	char line[256];
	bool in = false, locked = false;
	FILE *f = fopen("/proc/self/smaps", "re");
	unsigned long from, to;

	assert_non_null(f);
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
			in = (uintptr_t)p >= from && (uintptr_t)p < to;
		else if (in && !strncmp(line, "VmFlags:", 8))
			locked = (SANITIZED || strstr(line, " lo ")) && strstr(line, " dd ") &&
				 strstr(line, " wf ");
	}
	fclose(f);
	return locked;
}

static void locked_and_left_out_of_dumps(void **state)
{
	char *p = get(LANE);

	assert_true(is_locked(p));
	secslab_put(s, p);
}

static void a_lock_that_is_refused(void **state)
{
	pid_t child;
	int status;

	if (SANITIZED) {
		print_message("skipped: the address sanitizer makes mlock() do nothing\n");
		skip();
	}
	child = fork();
	if (!child) {
		struct rlimit none = {0, 0};
		struct secslab_stats st;
		void *p = NULL;
		int r;

		setrlimit(RLIMIT_MEMLOCK, &none);
		if (!geteuid() && setuid(65534))
			_exit(1);
		r = secslab_get(s, LANE, &p);
		secslab_stats(s, &st);
		_exit(r == -ENOMEM && !p && !st.cells && !st.chunks && !st.mapped ? 0 : 2);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_int_equal(secslab_get(s, 0, (void **)&(void *){NULL}), -EINVAL);
}

static sigjmp_buf back;

static void on_fault(int signo)
{
	siglongjmp(back, 1);
}

#if !SANITIZED
static void overruns_fault(void **state)
{
	struct sigaction sa = {.sa_handler = on_fault, .sa_flags = SA_NODEFER}, old;
	volatile char *p = get(4 * LANE), *at;
	bool low = false, high = false;

	sigaction(SIGSEGV, &sa, &old);
	if (sigsetjmp(back, 1))
		low = true;
	else
		for (at = p; at > p - (128 << 10); at -= 64)
			(void)*at;
	if (sigsetjmp(back, 1))
		high = true;
	else
		for (at = p; at < p + (128 << 10); at += 64)
			(void)*at;
	sigaction(SIGSEGV, &old, NULL);
	assert_true(low && high);
	secslab_put(s, (void *)p);
}

/* what was in a cell is gone when it has come back, not when it is given out again */
static void wiped_at_once(void **state)
{
	char *stays = get(LANE), *p = get(LANE);

	memset(p, 0xa5, LANE);
	secslab_put(s, p);
	for (unsigned i = 0; i < LANE; i++)
		assert_int_equal(p[i], 0);
	secslab_put(s, stays);
}
#else
static void overruns_fault(void **state)
{
	char *p = get(LANE), *q = get(LANE);

	(void)on_fault;
	(void)back;
	assert_false(__asan_address_is_poisoned(p) || __asan_address_is_poisoned(p + LANE - 1));
	assert_true(__asan_address_is_poisoned(p - 1) && __asan_address_is_poisoned(p + LANE));
	secslab_put(s, p);
	assert_true(__asan_address_is_poisoned(p));
	secslab_put(s, q);
}

static void wiped_at_once(void **state)
{
	print_message("skipped: the address sanitizer lets nobody look\n");
	skip();
}
#endif

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		T(cells_of_several_sizes),
		T(chunks_grow_and_go),
		T(one_that_comes_and_goes_keeps_its_chunk),
		T(locked_and_left_out_of_dumps),
		T(a_lock_that_is_refused),
		T(overruns_fault),
		T(wiped_at_once),
	};

	return MVPN_RUN(tests);
}
