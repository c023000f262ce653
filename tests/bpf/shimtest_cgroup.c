/* SPDX-License-Identifier: BSD-2-Clause */
#include "shimtest_cgroup.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char cgroup[CGROUP_PATH_MAX + 32], root[CGROUP_PATH_MAX];

static bool move_to(const char *dir)
{
	char path[sizeof(cgroup) + 16];
	FILE *f;

	snprintf(path, sizeof(path), "%s/cgroup.procs", dir);
	f = fopen(path, "we");
	if (!f)
		return false;
	fprintf(f, "%d", (int)getpid());
	return fclose(f) == 0;
}

int stc_up(void **state)
{
	struct shim *s = st_shim();

	if (!s)
		return 0;
	st_policy(state);
	if (shim_cgroup_find(s, NULL) < 0)
		return 0;
	strcpy(root, s->cgroup);
	snprintf(cgroup, sizeof(cgroup), "%s/mvpn-test-%d", root, (int)getpid());
	if (mkdir(cgroup, 0755) < 0 || !move_to(cgroup))
		return -1;
	return shim_cgroup_choose(s, cgroup, MVPN_NETNS_OWN);
}

int stc_down(void **state)
{
	if (*cgroup) {
		move_to(root);
		rmdir(cgroup);
	}
	return st_teardown(state);
}

void stc_need(void)
{
	st_need_root();
	if (*cgroup)
		return;
	print_message("skipped: no cgroup2 file system is mounted\n");
	skip();
}

const char *stc_cgroup(void)
{
	return cgroup;
}
