/* SPDX-License-Identifier: BSD-2-Clause */
/* Names of control groups by number, on an ordinary directory: the walk asks nothing more. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "test.h"

#include "../../keyd/cgroups.h"

static void test_paths(void **state)
{
	char dir[] = "/tmp/mvpn-cgroups-XXXXXX", path[128], sub[192];
	struct cgroups *c;
	struct stat top, leaf;

	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/system.slice", dir);
	assert_int_equal(mkdir(path, 0700), 0);
	snprintf(sub, sizeof(sub), "%s/db.service", path);
	assert_int_equal(mkdir(sub, 0700), 0);
	assert_int_equal(stat(dir, &top), 0);
	assert_int_equal(stat(sub, &leaf), 0);
	c = cgroups_read(dir);
	assert_string_equal(cgroups_path(c, top.st_ino), "/");
	assert_string_equal(cgroups_path(c, leaf.st_ino), "/system.slice/db.service");
	assert_null(cgroups_path(c, 1ULL << 60));
	cgroups_free(c);
	rmdir(sub);
	rmdir(path);
	rmdir(dir);
	c = cgroups_read(dir);
	assert_non_null(c);
	assert_null(cgroups_path(c, top.st_ino));
	cgroups_free(c);
}

static void test_units(void **state)
{
	static const struct {
		const char *path, *unit;
	} cases[] = {
		{"/", ""},
		{"/docker/0123", ""},
		{"/system.slice/db.service", "db.service"},
		{"/system.slice/db.service/workers", "db.service"},
		{"/user.slice/user-1000.slice/user@1000.service/app.slice/run.scope", "user@1000.service"},
		{"/user.slice", "user.slice"},
		{"/.service", ""},
	};
	char unit[64], tiny[4];

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		cgroup_unit(unit, sizeof(unit), cases[i].path);
		assert_string_equal(unit, cases[i].unit);
	}
	cgroup_unit(tiny, sizeof(tiny), "/db.service");
	assert_string_equal(tiny, "db.");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_paths),
		cmocka_unit_test(test_units),
	};

	return MVPN_RUN(tests);
}
