/* SPDX-License-Identifier: BSD-2-Clause */
#include "config.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fsutil.h"
#include "test.h"

struct settings {
	char *name, *path;
	uint64_t port;
	bool poll;
	int mode;
};
static const char *const modes[] = {"auto", "xdp", "udp", NULL};
static const struct config_key keys[] = {
	{"wire", "mode", CONFIG_ENUM, offsetof(struct settings, mode), 0, 0, modes},
	{"wire", "port", CONFIG_UINT, offsetof(struct settings, port), 1, 65535, NULL},
	{"wire", "poll", CONFIG_BOOL, offsetof(struct settings, poll), 0, 0, NULL},
	{"device", "name", CONFIG_STRING, offsetof(struct settings, name), 0, 0, NULL},
	{"device", "path", CONFIG_STRING, offsetof(struct settings, path), 0, 0, NULL},
};
#define NKEYS (sizeof(keys) / sizeof(keys[0]))

static char dir[64], path[96], fragments[96];
static struct settings s;
static char *error;

static int setup(void **state)
{
	strcpy(dir, "/tmp/mvpn-config.XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/keyd.conf", dir);
	snprintf(fragments, sizeof(fragments), "%s/keyd.conf.d", dir);
	s = (struct settings){.name = strdup("default"), .port = 7469};
	error = NULL;
	return 0;
}

static int teardown(void **state)
{
	char f[128];

	config_free(keys, NKEYS, &s);
	free(error);
	for (unsigned i = 0; i < 3; i++) {
		snprintf(f, sizeof(f), "%s/%s", fragments,
			 (const char *[]){"10.conf", "20.conf", "README"}[i]);
		unlink(f);
	}
	rmdir(fragments);
	unlink(path);
	return rmdir(dir);
}

static int load(const char *text)
{
	assert_int_equal(file_replace(path, text, strlen(text), 0644), 0);
	return config_load(path, keys, NKEYS, &s, &error);
}

static void fragment(const char *name, const char *text)
{
	char f[128];

	assert_int_equal(dir_make(fragments, 0755), 0);
	snprintf(f, sizeof(f), "%s/%s", fragments, name);
	assert_int_equal(file_replace(f, text, strlen(text), 0644), 0);
}

static void every_type_is_read(void **state)
{
	assert_int_equal(
		load("# comment\n; another\n[wire]\nmode = xdp\nport=80\n  poll = Yes ; why\n\n"
		     "[device]\nname: web 1\r\npath =\n"),
		0);
	assert_null(error);
	assert_int_equal(s.mode, 1);
	assert_int_equal(s.port, 80);
	assert_true(s.poll);
	assert_string_equal(s.name, "web 1");
	assert_string_equal(s.path, "");
}

static void what_is_absent_keeps_its_default(void **state)
{
	assert_int_equal(load("[wire]\npoll = no"), 0);
	assert_int_equal(s.port, 7469);
	assert_string_equal(s.name, "default");
	assert_null(s.path);
}

static void fragments_come_later_and_win(void **state)
{
	fragment("20.conf", "[wire]\nport = 20\n");
	fragment("10.conf", "[wire]\nport = 10\nmode = udp\n");
	fragment("README", "not read\n");
	assert_int_equal(load("[wire]\nport = 1\n"), 0);
	assert_int_equal(s.port, 20);
	assert_int_equal(s.mode, 2);
	fragment("20.conf", "[wire]\nprot = 20\n");
	assert_int_equal(load("[wire]\nport = 1\n"), -EINVAL);
	assert_non_null(strstr(error, "/keyd.conf.d/20.conf:2: unknown key 'prot'"));
}

static void a_missing_file_is_told_apart(void **state)
{
	assert_int_equal(config_load(path, keys, NKEYS, &s, &error), -ENOENT);
	assert_non_null(strstr(error, path));
	assert_string_equal(s.name, "default");
}

/* each error names file, line and what would be right */
static void errors_say_where_and_what(void **state)
{
	static const struct {
		const char *text, *want;
	} cases[] = {
		{"[wire]\nfoo = 1\n",
		 "keyd.conf:2: unknown key 'foo' in [wire]; known: mode, port, poll"},
		{"[wire]\nprot = 1\n",
		 ":2: unknown key 'prot' in [wire]; did you mean 'port'? known: mode, port, poll"},
		{"\n[wier]\nport = 1\n",
		 ":2: unknown section [wier]; did you mean [wire]? known: [wire], [device]"},
		{"[empty]\n", ":1: unknown section [empty]; known: [wire], [device]"},
		{"port = 1\n", ":1: 'port' stands before any [section]"},
		{"[wire]\nport = 0\n",
		 ":2: '0' is no value for port in [wire]; a number from 1 to 65535"},
		{"[wire]\nport = 65536\n", ":2: '65536' is no value for port"},
		{"[wire]\nport = 99999999999999999999999\n",
		 ":2: '99999999999999999999999' is no value"},
		{"[wire]\nport = -1\n", ":2: '-1' is no value"},
		{"[wire]\nport =\n", ":2: '' is no value"},
		{"[wire]\nport = 80 # http\n", ":2: '80 # http' is no value"},
		{"[wire]\npoll = maybe\n", ":2: 'maybe' is no value for poll in [wire]; yes or no"},
		{"[wire]\nmode = XDP\n",
		 ":2: 'XDP' is no value for mode in [wire]; one of: auto, xdp, udp"},
		{"[wire]\n\nport\n", ":3: expected \"key = value\""},
		{"[wire\nport = 1\n", ":1: expected \"key = value\""},
		{"[wire] x\nport = 1\n", ":1: text after ']'"},
		{"[wire]\nport = 1\nfoo = 1\nport = 0\n",
		 ":3: unknown key 'foo'"}, /* the first one */
	};

	for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		assert_int_equal(load(cases[i].text), -EINVAL);
		assert_non_null(error);
		if (!strstr(error, cases[i].want))
			fail_msg("case %u: \"%s\" lacks \"%s\"", i, error, cases[i].want);
		free(error);
		error = NULL;
	}
}

static void an_indented_line_is_not_a_continuation(void **state)
{
	assert_int_equal(load("[device]\nname = a\n\tpath = b\n"), 0);
	assert_string_equal(s.name, "a");
	assert_string_equal(s.path, "b");
}

static void absurd_files_are_refused(void **state)
{
	size_t len = 2 << 20;
	char *big = malloc(len + 1);

	memset(big, 'x', len);
	big[len] = 0;
	assert_int_equal(load(big), -EFBIG);
	free(error);
	memcpy(big, "[wire]\n", 7);
	big[10000] = 0;
	assert_int_equal(load(big), -EINVAL);
	assert_non_null(strstr(error, ":2: line is longer than"));
	free(error);
	free(big);
	assert_int_equal(file_replace(path, "[wire]\n\0port = 0\n", 17, 0644), 0);
	assert_int_equal(config_load(path, keys, NKEYS, &s, &error), -EINVAL);
	assert_non_null(strstr(error, "NUL"));
}

/* one that may hold more, and mistakes */
static void some_of_it_is_read(void **state)
{
	assert_int_equal(load("[wire]\nport = 1\nnoise\nprot = 2\n[other]\nport = 3\n[device] junk\nname = b\n[wire]\nport = x\n"), -EINVAL);
	free(error);
	error = NULL;
	config_free(keys, NKEYS, &s);
	fragment("10.conf", "[device]\npath = c\n[x\n");
	assert_int_equal(config_load_some(path, keys, NKEYS, &s, &error), 0);
	assert_null(error);
	assert_int_equal(s.port, 1);
	assert_string_equal(s.name, "b");
	assert_string_equal(s.path, "c");
	unlink(path);
	assert_int_equal(config_load_some(path, keys, NKEYS, &s, &error), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(every_type_is_read, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_absent_keeps_its_default, setup, teardown),
		cmocka_unit_test_setup_teardown(fragments_come_later_and_win, setup, teardown),
		cmocka_unit_test_setup_teardown(a_missing_file_is_told_apart, setup, teardown),
		cmocka_unit_test_setup_teardown(errors_say_where_and_what, setup, teardown),
		cmocka_unit_test_setup_teardown(an_indented_line_is_not_a_continuation, setup,
						teardown),
		cmocka_unit_test_setup_teardown(some_of_it_is_read, setup, teardown),
		cmocka_unit_test_setup_teardown(absurd_files_are_refused, setup, teardown),
	};

	return MVPN_RUN(tests);
}
