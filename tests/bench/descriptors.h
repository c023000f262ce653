/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BENCH_DESCRIPTORS_H
#define BENCH_DESCRIPTORS_H

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

/* As many as this process may have: each connection takes one. */
static void allow_descriptors(void)
{
	struct rlimit l;

	if (getrlimit(RLIMIT_NOFILE, &l)) {
		perror("getrlimit");
		exit(1);
	}
	l.rlim_cur = l.rlim_max;
	setrlimit(RLIMIT_NOFILE, &l);
}

#endif
