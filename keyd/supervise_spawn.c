/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "supervise.h"

#define ARGS_MAX 24

extern char **environ;

/* what systemd has told the parent, and is not for the children */
static bool is_ours(const char *variable)
{
	static const char *const names[] = {"NOTIFY_SOCKET=", "WATCHDOG_USEC=", "WATCHDOG_PID=", "LISTEN_FDS=", "LISTEN_PID="};

	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!strncmp(variable, names[i], strlen(names[i])))
			return true;
	return false;
}

void supervise_env_free(char **env)
{
	for (char **e = env; e && *e; e++)
		free(*e);
	free(env);
}

char **supervise_env(const char *notify)
{
	size_t have = 0, n = 0;
	char **env;

	while (environ[have])
		have++;
	env = calloc(have + 2, sizeof(*env));
	if (!env)
		return NULL;
	if (asprintf(&env[n], "NOTIFY_SOCKET=%s", notify) < 0)
		env[n] = NULL;
	for (size_t i = 0; i < have && env[n]; i++)
		if (!is_ours(environ[i]))
			env[++n] = strdup(environ[i]);
	if (env[n])
		return env;
	supervise_env_free(env);
	return NULL;
}

static void add(const char **argv, unsigned *n, const char *option, const char *value)
{
	if (!value)
		return;
	argv[(*n)++] = option;
	argv[(*n)++] = value;
}

int supervise_spawn(const struct network *n, char *const *env, pid_t *ret)
{
	const struct cmdline *c = &n->args;
	const char *argv[ARGS_MAX] = {"keyd"};
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attr;
	unsigned argc = 1;
	char parent[16];
	sigset_t hup;
	int r;

	snprintf(parent, sizeof(parent), "%d", (int)c->supervisor);
	add(argv, &argc, "--supervised-by", parent);
	add(argv, &argc, "--network", c->network);
	add(argv, &argc, "--state", c->state);
	add(argv, &argc, "--config", c->network || c->config_must ? c->config : NULL);
	add(argv, &argc, "--socket", c->socket);
	add(argv, &argc, "--pin", c->pin);
	add(argv, &argc, "--share", c->share);
	for (unsigned i = 0; i < CMDLINE_HIDE; i++)
		add(argv, &argc, "--hide", c->hide[i]);
	if (c->latency)
		argv[argc++] = "--latency";
	/* SIGHUP waits until the child can take it; others end a child that is not up yet */
	sigemptyset(&hup);
	sigaddset(&hup, SIGHUP);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK);
	posix_spawnattr_setsigmask(&attr, &hup);
	posix_spawn_file_actions_init(&files);
	r = -posix_spawn_file_actions_addclosefrom_np(&files, STDERR_FILENO + 1);
	if (r == 0)
		r = -posix_spawn(ret, "/proc/self/exe", &files, &attr, (char *const *)argv, env);
	posix_spawn_file_actions_destroy(&files);
	posix_spawnattr_destroy(&attr);
	return r;
}

int supervised_begin(const struct cmdline *c)
{
	char name[16] = "mvpn-keyd"; /* the kernel has no more */

	if (c->network)
		snprintf(name, sizeof(name), "keyd-%.10s", c->network);
	prctl(PR_SET_NAME, name);
	if (prctl(PR_SET_PDEATHSIG, SIGTERM))
		return -errno;
	return getppid() == c->supervisor ? 0 : -ESRCH;
}
