/* SPDX-License-Identifier: BSD-2-Clause */
#include "fsutil.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "test.h"

static char dir[64];
static char path[96];

static int setup(void **state)
{
	strcpy(dir, "/tmp/mvpn-fsutil.XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/file", dir);
	return 0;
}

static unsigned entries(void)
{
	DIR *d = opendir(dir);
	unsigned n = 0;

	assert_non_null(d);
	for (struct dirent *e; (e = readdir(d));)
		n += e->d_name[0] != '.';
	closedir(d);
	return n;
}

static int teardown(void **state)
{
	unlink(path);
	return rmdir(dir);
}

static mode_t mode_of(const char *p)
{
	struct stat st;

	assert_int_equal(stat(p, &st), 0);
	return st.st_mode & 07777;
}

static void a_file_is_replaced_whole(void **state)
{
	char *text;
	size_t len;

	assert_int_equal(file_replace(path, "first", 5, 0644), 0);
	assert_int_equal(mode_of(path), 0644);
	assert_int_equal(file_replace(path, "se\0cond", 7, 0600), 0);
	assert_int_equal(mode_of(path), 0600);
	assert_int_equal(file_read(path, 100, &text, &len), 0);
	assert_int_equal(len, 7);
	assert_memory_equal(text, "se\0cond", 8); /* and a NUL after it */
	free(text);
	assert_int_equal(entries(), 1); /* no temporary is left */
	assert_int_equal(file_replace("/nonexistent/file", "x", 1, 0600), -ENOENT);
}

static void big_files_and_bounds(void **state)
{
	size_t len = 300000;
	char *data = malloc(len), *text;

	memset(data, 'x', len);
	assert_int_equal(file_replace(path, data, len, 0600), 0);
	assert_int_equal(file_read(path, len - 1, &text, NULL), -EFBIG);
	assert_int_equal(file_read(path, len, &text, &len), 0);
	assert_int_equal(len, 300000);
	assert_memory_equal(text, data, len);
	free(text);
	free(data);
	assert_int_equal(file_replace(path, "", 0, 0600), 0);
	assert_int_equal(file_read(path, 0, &text, &len), 0);
	assert_int_equal(len, 0);
	free(text);
	assert_int_equal(file_read("/nonexistent", 1, &text, NULL), -ENOENT);
	assert_int_equal(file_read(dir, 1, &text, NULL), -EISDIR);
}

static void secrets_must_be_private(void **state)
{
	char *text, *fifo = path_join(dir, "fifo");

	assert_int_equal(file_replace(path, "key", 3, 0600), 0);
	assert_int_equal(file_read_secret(path, 10, &text, NULL), 0);
	assert_string_equal(text, "key");
	free(text);
	assert_int_equal(chmod(path, 0640), 0);
	assert_int_equal(file_read_secret(path, 10, &text, NULL), -EPERM);
	assert_int_equal(chmod(path, 0604), 0);
	assert_int_equal(file_read_secret(path, 10, &text, NULL), -EPERM);
	if (geteuid() == 0) {
		assert_int_equal(chmod(path, 0600), 0);
		assert_int_equal(chown(path, 12345, 0), 0);
		assert_int_equal(file_read_secret(path, 10, &text, NULL), -EPERM);
	}
	/* a FIFO must not make us wait */
	assert_int_equal(mkfifo(fifo, 0600), 0);
	assert_int_equal(file_read_secret(fifo, 10, &text, NULL), -EPERM);
	unlink(fifo);
	free(fifo);
}

static void directories_with_parents(void **state)
{
	char *deep = path_join(dir, "a/b/c"), *mid = path_join(dir, "a/b"),
	     *top = path_join(dir, "a"), *slash = path_join(dir, "a/b/c/");

	assert_int_equal(dir_make(deep, 0700), 0);
	assert_int_equal(mode_of(deep), 0700);
	assert_int_equal(dir_make(deep, 0755), 0);
	assert_int_equal(mode_of(deep), 0700);
	assert_int_equal(dir_make(slash, 0755), 0);
	assert_int_equal(dir_make("/", 0755), 0);
	assert_int_equal(file_replace(path, "", 0, 0600), 0);
	assert_int_equal(dir_make(path, 0700), -ENOTDIR);
	rmdir(deep);
	rmdir(mid);
	rmdir(top);
	free(deep);
	free(mid);
	free(top);
	free(slash);
}

static void paths_join(void **state)
{
	static const char *const cases[][3] = {
		{"/a", "b", "/a/b"}, {"/a/", "b", "/a/b"}, {"/", "b", "/b"}, {"a", "b/c", "a/b/c"}};

	for (unsigned i = 0; i < 4; i++) {
		char *p = path_join(cases[i][0], cases[i][1]);

		assert_string_equal(p, cases[i][2]);
		free(p);
	}
}

/* up to the hard limit anybody may; what is there already stays */
static void descriptors(void **state)
{
	struct rlimit before, l;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	l = (struct rlimit){100, before.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &l), 0);
	assert_int_equal(files_allow(0), 100);
	assert_int_equal(files_allow(before.rlim_max), before.rlim_max);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &l), 0);
	assert_int_equal(files_allow(200), 200);
	assert_int_equal(files_allow(150), 200);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &l), 0);
	assert_int_equal(l.rlim_cur, 200);
	assert_int_equal(l.rlim_max, before.rlim_max);
	/* more than the kernel lets anybody have: as many as may be */
	assert_int_equal(files_allow(1ULL << 40), before.rlim_max);
	setrlimit(RLIMIT_NOFILE, &before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_file_is_replaced_whole, setup, teardown),
		cmocka_unit_test_setup_teardown(big_files_and_bounds, setup, teardown),
		cmocka_unit_test_setup_teardown(secrets_must_be_private, setup, teardown),
		cmocka_unit_test_setup_teardown(directories_with_parents, setup, teardown),
		cmocka_unit_test(paths_join),
		cmocka_unit_test(descriptors),
	};

	return MVPN_RUN(tests);
}
