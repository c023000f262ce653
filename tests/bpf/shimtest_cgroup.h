/* SPDX-License-Identifier: BSD-2-Clause */
/* For programs on the cgroup tree: a cgroup of the test's own, with nothing in it but the test. */
#ifndef SHIMTEST_CGROUP_H
#define SHIMTEST_CGROUP_H

#include "shimtest.h"

/* for cmocka's group setup and teardown, after st_setup(): st_policy(), and the test's process in that cgroup */
int stc_up(void **state);
int stc_down(void **state);
void stc_need(void);		/* skips without root or a cgroup2 file system */
const char *stc_cgroup(void); /* "": there is none */

#endif
