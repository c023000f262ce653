/* SPDX-License-Identifier: BSD-2-Clause */
#include "cgroups.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "by.h"
#include "mvpn/limits.h"

#define PATH_B 512
#define DEPTH_MAX 24

struct group {
	uint64_t id;
	char *path;
};
struct cgroups {
	struct group *list;
	size_t n, size;
};

/* false: no room */
static bool add(struct cgroups *c, uint64_t id, const char *path)
{
	struct group *more;
	char *copy;

	if (c->n == MVPN_CGROUPS_MAX)
		return false;
	if (c->n == c->size) {
		more = reallocarray(c->list, c->size ? c->size * 2 : 64, sizeof(*more));
		if (!more)
			return false;
		c->list = more;
		c->size = c->size ? c->size * 2 : 64;
	}
	copy = strdup(*path ? path : "/");
	if (!copy)
		return false;
	c->list[c->n++] = (struct group){id, copy};
	return true;
}

/* takes fd; `path` has PATH_B bytes and is as before when it returns */
static bool walk(struct cgroups *c, int fd, char *path, unsigned depth)
{
	size_t len = strlen(path);
	DIR *d = fdopendir(fd);
	struct dirent *e;
	struct stat st;
	bool room;

	if (!d) {
		close(fd);
		return true;
	}
	room = fstat(fd, &st) < 0 || add(c, st.st_ino, path);
	while (room && depth < DEPTH_MAX && (e = readdir(d))) {
		int sub;

		if (e->d_type != DT_DIR || e->d_name[0] == '.' ||
		    (size_t)snprintf(path + len, PATH_B - len, "/%s", e->d_name) >= PATH_B - len)
			continue;
		sub = openat(fd, e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (sub >= 0)
			room = walk(c, sub, path, depth + 1);
	}
	path[len] = '\0';
	closedir(d);
	return room;
}

static int by_id(const void *a, const void *b)
{
	uint64_t x = ((const struct group *)a)->id, y = ((const struct group *)b)->id;

	return x < y ? -1 : x > y;
}

struct cgroups *cgroups_read(const char *root)
{
	struct cgroups *c = calloc(1, sizeof(*c));
	int fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char path[PATH_B] = "";

	if (c && fd >= 0)
		walk(c, fd, path, 0);
	else if (fd >= 0)
		close(fd);
	if (c && c->n)
		qsort(c->list, c->n, sizeof(*c->list), by_id);
	return c;
}

void cgroups_free(struct cgroups *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < c->n; i++)
		free(c->list[i].path);
	free(c->list);
	free(c);
}

const char *cgroups_path(const struct cgroups *c, uint64_t id)
{
	const struct group wanted = {.id = id};
	const struct group *g =
		c->n ? bsearch(&wanted, c->list, c->n, sizeof(*c->list), by_id) : NULL;

	return g ? g->path : NULL;
}

void cgroup_unit(char *ret, size_t size, const char *path)
{
	char unit[MVPN_GROUP_NAME_B];

	snprintf(ret, size, "%s", "");
	for (unsigned n = 0; mvpn_by_unit_in(path, n, unit); n++)
		if (!mvpn_by_wrong(MVPN_BY_UNIT, unit))
			snprintf(ret, size, "%s", unit);
}
