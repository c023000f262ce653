/* SPDX-License-Identifier: BSD-2-Clause */
#include "clock.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <time.h>

static uint64_t now_ns = 1000000000000;
static bool ours;
void (*sim_clock_looks)(void);

int __real_clock_gettime(clockid_t id, struct timespec *ts);
int __wrap_clock_gettime(clockid_t id, struct timespec *ts);
int __wrap_clock_gettime(clockid_t id, struct timespec *ts)
{
	if (!ours)
		return __real_clock_gettime(id, ts);
	*ts = (struct timespec){(time_t)(now_ns / 1000000000), (long)(now_ns % 1000000000)};
	return 0;
}

int __real_epoll_wait(int fd, struct epoll_event *events, int max, int timeout_ms);
int __wrap_epoll_wait(int fd, struct epoll_event *events, int max, int timeout_ms);
int __wrap_epoll_wait(int fd, struct epoll_event *events, int max, int timeout_ms)
{
	int n = __real_epoll_wait(fd, events, max, 0);

	if (sim_clock_looks)
		sim_clock_looks();
	if (n)
		return n;
	if (timeout_ms < 0) {
		fputs("the loop would wait for ever\n", stderr);
		abort();
	}
	sim_clock_leap((uint64_t)timeout_ms);
	return 0;
}

void sim_clock_start(void)
{
	ours = true;
}

void sim_clock_stop(void)
{
	ours = false;
}

void sim_clock_set(uint64_t at_ns)
{
	now_ns = at_ns;
}

void sim_clock_leap(uint64_t ms)
{
	now_ns += ms * 1000000;
}
