/* SPDX-License-Identifier: BSD-2-Clause */
#include "proc.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "by.h"

#define SLACK_S 2.0 /* clocks that count a suspended machine's time, or not, and ticks */

static bool link_of(const char *path, char ret[static PATH_MAX])
{
	ssize_t n = readlink(path, ret, PATH_MAX - 1);

	if (n < 0)
		return false;
	ret[n] = '\0';
	return true;
}

static bool first_line(const char *path, char *ret, int size)
{
	FILE *f = fopen(path, "re");
	bool got = f && fgets(ret, size, f);

	if (f)
		fclose(f);
	return got;
}

/* how long it has been running; negative: there is none of that number */
static double age_s(long pid)
{
	char path[64], line[1024], *rest;
	unsigned long long ticks;
	double up;

	snprintf(path, sizeof(path), "/proc/%ld/stat", pid);
	if (!first_line(path, line, sizeof(line)))
		return -1;
	rest = strrchr(line, ')'); /* its name may hold anything */
	if (!rest || sscanf(rest + 1,
			    "%*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s "
			    "%*s %*s %*s %*s %*s %llu",
			    &ticks) != 1)
		return -1;
	if (!first_line("/proc/uptime", line, sizeof(line)) || sscanf(line, "%lf", &up) != 1)
		return -1;
	return up - (double)ticks / (double)sysconf(_SC_CLK_TCK);
}

static void add_text(json_t *process, const char *member, const char *text)
{
	json_t *s = json_string(text);

	/* what is no UTF-8 is left out */
	json_object_set_new(process, member, s ? s : json_null());
}

static void exe_of(json_t *process)
{
	long pid = (long)json_integer_value(json_object_get(process, "pid"));
	double since_s = json_number_value(json_object_get(process, "since_s"));
	char path[64], exe[PATH_MAX];

	json_object_set_new(process, "exe", json_null());
	snprintf(path, sizeof(path), "/proc/%ld/exe", pid);
	/* a number is used again: who began after the socket is another */
	if (pid > 0 && age_s(pid) + SLACK_S >= since_s && link_of(path, exe))
		add_text(process, "exe", exe);
}

void proc_complete(const char *path, json_t *reply)
{
	json_t *f, *process;
	size_t i;

	json_array_foreach(json_object_get(reply, "flows"), i, f)
	{
		process = json_object_get(f, "process");
		if (json_is_object(process) && !json_is_string(json_object_get(process, "exe")))
			exe_of(process);
	}
}

/* ---- of one process ---- */

/* the line of a file that begins so, after that; false: there is none */
static bool line_with(const char *path, const char *begin, char ret[static PATH_MAX])
{
	FILE *f = fopen(path, "re");
	size_t len = strlen(begin);
	bool found = false;

	while (f && !found && fgets(ret, PATH_MAX, f))
		found = !strncmp(ret, begin, len);
	if (f)
		fclose(f);
	if (!found)
		return false;
	memmove(ret, ret + len, strlen(ret + len) + 1);
	ret[strcspn(ret, "\n")] = '\0';
	return true;
}

static void add_by(json_t *args, unsigned kind, const char *value)
{
	if (!mvpn_by_wrong(kind, value))
		json_object_set_new(args, mvpn_by_name(kind), json_string(value));
}

int proc_asked(json_t *args, unsigned pid)
{
	char path[64], text[PATH_MAX];
	struct stat ns;

	snprintf(path, sizeof(path), "/proc/%u/status", pid);
	if (!line_with(path, "Uid:\t", text))
		return -ESRCH;
	text[strcspn(text, "\t")] = '\0'; /* the real one is the first */
	add_by(args, MVPN_BY_UID, text);
	snprintf(path, sizeof(path), "/proc/%u/exe", pid);
	if (link_of(path, text))
		add_by(args, MVPN_BY_EXE, text);
	snprintf(path, sizeof(path), "/proc/%u/cgroup", pid);
	if (line_with(path, "0::", text)) {
		/* lines of the policy name no more levels than this; those below are in what they name */
		while (mvpn_by_wrong(MVPN_BY_CGROUP, text) && strrchr(text, '/'))
			*strrchr(text, '/') = '\0';
		add_by(args, MVPN_BY_CGROUP, text);
	}
	snprintf(path, sizeof(path), "/proc/%u/ns/net", pid);
	if (!stat(path, &ns))
		json_object_set_new(args, "netns", json_integer((json_int_t)ns.st_ino));
	return 0;
}
