/* SPDX-License-Identifier: BSD-2-Clause */
/* What the process of one network sees of the files of the others, once it is kept apart from them. */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../keyd/isolate.h"
#include "fsutil.h"

static const char *const files[] = {
	"state/identity",	    "state/networks/lab/identity", "state/networks/two/identity", "run/networks/lab/keyd.sock",
	"run/networks/two/keyd.sock", "run/networks.notify",	   "cred/mvpn.pin",		  "cred/mvpn-lab.pin",
	"cred/mvpn-two.pin",	    "cred/other",
};
#define NFILES (sizeof(files) / sizeof(files[0]))

static char dir[64], paths[8][128];

static const char *at(const char *name)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

static int up(void **state)
{
	static const char *const dirs[] = {"state/networks/lab", "state/networks/two", "run/networks/lab", "run/networks/two", "cred"};

	strcpy(dir, "/tmp/mvpn-isolate.XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	for (unsigned i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++)
		if (dir_make(at(dirs[i]), 0700))
			return -1;
	for (unsigned i = 0; i < NFILES; i++)
		if (file_replace(at(files[i]), "secret", 6, 0600))
			return -1;
	return 0;
}

static int down(void **state)
{
	char command[96];

	snprintf(command, sizeof(command), "rm -r %s", dir);
	return system(command);
}

static struct cmdline of(const char *network)
{
	static const char *const names[] = {"state", "state/networks", "run/networks", "keyd.conf", "run/keyd.sock", "", "cred", "run/networks.notify"};
	struct cmdline c = {.network = network, .supervisor = getppid()};

	for (unsigned i = 0; i < 8; i++)
		snprintf(paths[i], sizeof(paths[i]), "%s/%s", dir, names[i]);
	c.config = paths[3];
	c.state = c.hide[0] = paths[0];
	c.hide[1] = paths[2];
	if (network) {
		snprintf(paths[5], sizeof(paths[5]), "%s/state/networks/%s", dir, network);
		snprintf(paths[4], sizeof(paths[4]), "%s/run/networks/%s/keyd.sock", dir, network);
		c.state = paths[5];
		c.socket = paths[4];
	} else {
		c.hide[0] = paths[1];
	}
	return c;
}

/* which of `files` can be read, "1" or "0" for each; what is written into the own state is there for others */
static void sees(const char *network, const char *want)
{
	char *error = NULL, got[NFILES + 1] = "", made[160];
	struct cmdline c = of(network);
	pid_t pid = fork();
	int status, r;

	assert_true(pid >= 0);
	snprintf(made, sizeof(made), "%s/made", c.state);
	if (!pid) {
		setenv("CREDENTIALS_DIRECTORY", paths[6], 1);
		setenv("NOTIFY_SOCKET", paths[7], 1);
		r = isolate(&c, &error);
		if (r)
			fprintf(stderr, "%s\n", error ? error : strerror(-r));
		for (unsigned i = 0; i < NFILES; i++)
			got[i] = access(at(files[i]), R_OK) ? '0' : '1';
		if (strcmp(got, want) != 0)
			fprintf(stderr, "%s sees %s, not %s\n", network ? network : "the first", got, want);
		if (!r && file_replace(made, "x", 1, 0600))
			r = -EIO;
		/* what is not its own cannot be made either */
		if (!r && (!mkdir(at("state/networks/third"), 0700) || errno != EROFS))
			r = -EIO;
		_exit(r || strcmp(got, want) != 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(unlink(made), 0);
	for (unsigned i = 0; i < NFILES; i++)
		assert_int_equal(access(at(files[i]), R_OK), 0);
}

static bool may_mount(void)
{
	pid_t pid = fork();
	int status;

	if (!pid)
		_exit(unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL));
	return waitpid(pid, &status, 0) == pid && status == 0;
}

static void each_sees_its_own(void **state)
{
	if (!may_mount()) {
		print_message("no CAP_SYS_ADMIN\n");
		skip();
	}
	sees(NULL, "1000011001");
	sees("lab", "0101010101");
	sees("two", "0010110011");
}

static void refused(const struct cmdline *c, const char *why)
{
	char *error = NULL;

	assert_int_equal(isolate(c, &error), -EINVAL);
	assert_non_null(error);
	assert_non_null(strstr(error, why));
	free(error);
}

/* and nothing is changed */
static void what_would_hide_too_much(void **state)
{
	struct cmdline c = of("lab");
	char conf[128];

	c.hide[0] = "state";
	refused(&c, "is no absolute path");
	c = of("lab");
	snprintf(conf, sizeof(conf), "%s/lab.conf", c.hide[0]);
	c.config = conf;
	refused(&c, "has the configuration in it");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(each_sees_its_own, up, down),
		cmocka_unit_test_setup_teardown(what_would_hide_too_much, up, down),
	};

	return MVPN_RUN(tests);
}
