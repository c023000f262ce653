/* SPDX-License-Identifier: BSD-2-Clause */
#include "thread.h"

#include <signal.h>
#include <stdio.h>

int thread_start(pthread_t *ret, const char *name, unsigned number, void *(*fn)(void *arg), void *arg)
{
	char shown[32];
	sigset_t all, old;
	int r;

	snprintf(shown, sizeof(shown), "%.11s%u", name, number);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	r = pthread_create(ret, NULL, fn, arg);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (r == 0)
		pthread_setname_np(*ret, shown);
	return -r;
}
