/* SPDX-License-Identifier: BSD-2-Clause */
#include "loop.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "test.h"

#define NTIMERS 200

static struct loop *l;
static struct loop_source *sources[8];
static struct loop_timer *timers[NTIMERS];
static unsigned fired[NTIMERS], nfired;

static int setup(void **state)
{
	memset(sources, 0, sizeof(sources));
	memset(timers, 0, sizeof(timers));
	nfired = 0;
	return loop_new(&l);
}

static int teardown(void **state)
{
	loop_free(l);
	return 0;
}

static int ready_fd(void)
{
	int fd = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);

	assert_true(fd >= 0);
	return fd;
}

static void quit(void *arg)
{
	loop_quit(l);
}

/* ---- timers ---- */

static void note(void *arg)
{
	fired[nfired++] = (unsigned)(uintptr_t)arg;
}

static void timers_fire_in_order_of_time(void **state)
{
	struct loop_timer *end;

	/* 37 and 200 have no common factor: every time once, in a jumbled order */
	for (unsigned i = 0; i < NTIMERS; i++) {
		assert_int_equal(
			loop_timer_new(l, note, (void *)(uintptr_t)(i * 37 % NTIMERS), &timers[i]),
			0);
		assert_false(loop_timer_armed(timers[i]));
	}
	for (unsigned i = 0; i < NTIMERS; i++)
		loop_timer_arm(timers[i], (i * 37 % NTIMERS) / 10);
	/* each third is put off or called off, which takes it from the middle of the heap */
	for (unsigned i = 0; i < NTIMERS; i += 3)
		loop_timer_disarm(timers[i]);
	assert_int_equal(loop_timer_new(l, quit, NULL, &end), 0);
	loop_timer_arm(end, 30);
	assert_int_equal(loop_run(l), 0);
	assert_int_equal(nfired, NTIMERS - (NTIMERS + 2) / 3);
	for (unsigned i = 1; i < nfired; i++)
		assert_true(fired[i - 1] / 10 <= fired[i] / 10);
	for (unsigned i = 0; i < NTIMERS; i++)
		assert_false(loop_timer_armed(timers[i]));
}

static void rearm(void *arg)
{
	if (++nfired == 5)
		loop_quit(l);
	else
		loop_timer_arm(timers[0], 0);
}

static void a_timer_fires_once_and_may_arm_itself(void **state)
{
	uint64_t before = mono_ms();

	assert_int_equal(loop_timer_new(l, rearm, NULL, &timers[0]), 0);
	loop_timer_arm(timers[0], 1000000);
	loop_timer_arm(timers[0], 5); /* the later word counts */
	assert_int_equal(loop_run(l), 0);
	assert_int_equal(nfired, 5);
	assert_true(mono_ms() - before >= 5);
	assert_true(mono_ms() - before < 5000);
}

static void free_all(void *arg)
{
	for (unsigned i = 0; i < 3; i++)
		loop_timer_free(timers[i]);
	nfired++;
}

static void a_timer_may_free_itself_and_others(void **state)
{
	struct loop_timer *end;

	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(loop_timer_new(l, free_all, NULL, &timers[i]), 0);
		loop_timer_arm(timers[i], 0);
	}
	assert_int_equal(loop_timer_new(l, quit, NULL, &end), 0);
	loop_timer_arm(end, 2);
	assert_int_equal(loop_run(l), 0);
	assert_int_equal(nfired, 1);
	loop_timer_free(NULL);
	loop_timer_disarm(NULL);
}

/* ---- sources ---- */

static void remove_all(void *arg, uint32_t events)
{
	assert_true(events & EPOLLIN);
	nfired++;
	for (unsigned i = 0; i < 8; i++)
		loop_remove(sources[i]);
}

static void a_handler_may_remove_all_sources(void **state)
{
	struct loop_timer *end;
	int fds[8];

	for (unsigned i = 0; i < 8; i++) {
		fds[i] = ready_fd();
		assert_int_equal(loop_add(l, fds[i], EPOLLIN, remove_all, NULL, &sources[i]), 0);
	}
	assert_int_equal(loop_timer_new(l, quit, NULL, &end), 0);
	loop_timer_arm(end, 2);
	assert_int_equal(loop_run(l), 0);
	/* all were ready in one round: the first handler silences the others */
	assert_int_equal(nfired, 1);
	for (unsigned i = 0; i < 8; i++)
		close(fds[i]);
	loop_remove(NULL);
}

static void on_write(void *arg, uint32_t events)
{
	assert_true(events & EPOLLOUT);
	assert_false(events & EPOLLIN);
	nfired++;
	loop_quit(l);
}

static void modify_changes_what_is_awaited(void **state)
{
	int fd = ready_fd();

	assert_int_equal(loop_add(l, fd, EPOLLIN, on_write, NULL, &sources[0]), 0);
	assert_int_equal(loop_modify(sources[0], EPOLLOUT), 0);
	assert_int_equal(loop_run(l), 0);
	assert_int_equal(nfired, 1);
	assert_int_equal(loop_add(l, -1, EPOLLIN, on_write, NULL, &sources[1]), -EBADF);
	close(fd);
}

/* ---- signals ---- */

static unsigned nlater, later_before;

static void on_stranger(void *arg, uint32_t events)
{
	nlater++;
}

/* once it has been heard the test is over */
static void on_friend(void *arg, uint32_t events)
{
	later_before = nlater;
	loop_quit(l);
}

static void sources_for_later_do_not_keep_the_others_waiting(void **state)
{
	struct loop_source *later[500], *s;
	int fd = ready_fd(), fds[500];

	for (unsigned i = 0; i < 500; i++) {
		fds[i] = ready_fd();
		assert_int_equal(loop_add_later(l, fds[i], EPOLLIN, on_stranger, NULL, &later[i]), 0);
	}
	nlater = 0;
	assert_int_equal(loop_add(l, fd, EPOLLIN, on_friend, NULL, &s), 0);
	for (unsigned i = 0; i < 100; i++) {
		unsigned before = nlater;

		assert_int_equal(loop_run(l), 0);
		assert_in_range(later_before - before, 0, 16);
	}
	/* but they are heard, each of them */
	assert_true(nlater > 400);
	loop_remove(s);
	for (unsigned i = 0; i < 500; i++) {
		loop_remove(later[i]);
		close(fds[i]);
	}
	close(fd);
}

static void on_ready(void *arg, uint32_t events)
{
	nfired++;
}

static void it_can_be_turned_by_hand(void **state)
{
	struct loop_timer *t;
	int fd = ready_fd();

	assert_int_equal(loop_wait_ms(l), -1);
	assert_int_equal(loop_add(l, fd, EPOLLIN, on_ready, NULL, &sources[0]), 0);
	assert_int_equal(loop_wait(l, -1), 0);
	assert_int_equal(nfired, 0);
	loop_handle(l);
	assert_int_equal(nfired, 1);
	/* it is ready, and then it is gone */
	assert_int_equal(loop_wait(l, -1), 0);
	loop_remove(sources[0]);
	loop_handle(l);
	assert_int_equal(nfired, 1);
	close(fd);
	assert_int_equal(loop_timer_new(l, note, NULL, &t), 0);
	loop_timer_arm(t, 20);
	assert_in_range(loop_wait_ms(l), 1, 20);
	assert_int_equal(loop_wait(l, 0), 0);
	loop_handle(l);
	assert_int_equal(nfired, 1);
	while (loop_wait_ms(l))
		assert_int_equal(loop_wait(l, loop_wait_ms(l)), 0);
	loop_handle(l);
	assert_int_equal(nfired, 2);
}

static void on_hup(void *arg, int signo)
{
	assert_ptr_equal(arg, &nfired);
	assert_int_equal(signo, SIGHUP);
	nfired++;
	raise(SIGTERM);
}

static void signals_are_handled_or_end_the_loop(void **state)
{
	static const int signals[] = {SIGHUP, 0};

	assert_int_equal(loop_signals(l, signals, on_hup, &nfired), 0);
	raise(SIGHUP);
	assert_int_equal(loop_run(l), 0);
	assert_int_equal(nfired, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(timers_fire_in_order_of_time, setup, teardown),
		cmocka_unit_test_setup_teardown(a_timer_fires_once_and_may_arm_itself, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_timer_may_free_itself_and_others, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_handler_may_remove_all_sources, setup, teardown),
		cmocka_unit_test_setup_teardown(modify_changes_what_is_awaited, setup, teardown),
		cmocka_unit_test_setup_teardown(sources_for_later_do_not_keep_the_others_waiting, setup, teardown),
		cmocka_unit_test_setup_teardown(it_can_be_turned_by_hand, setup, teardown),
		cmocka_unit_test_setup_teardown(signals_are_handled_or_end_the_loop, setup,
						teardown),
	};

	return MVPN_RUN(tests);
}
