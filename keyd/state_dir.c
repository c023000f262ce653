/* SPDX-License-Identifier: BSD-2-Clause */
#include "state_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "fsutil.h"
#include "log.h"

static int lock(const char *dir)
{
	char *path = path_join(dir, "lock");
	int fd = path ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600) : -1;

	free(path);
	if (fd < 0)
		return -errno;
	if (flock(fd, LOCK_EX | LOCK_NB)) {
		close(fd);
		return -EBUSY;
	}
	return fd;
}

#define BELOW "/" CMDLINE_NETWORKS "/"

static bool has(const char *dir, const char *name)
{
	char *path = path_join(dir, name);
	bool is = path && !access(path, F_OK);

	free(path);
	return is;
}

/*
 * Of a named network, from a version that kept it elsewhere: to go on without it would be to protect nothing. It may have been gone on
 * without it already.
 */
static bool moved(const struct cmdline *c)
{
	size_t len = strlen(c->state_default), tail = c->network ? strlen(BELOW) + strlen(c->network) : 0;
	bool there = !access(c->state, F_OK);
	char old[sizeof(c->state_default)];

	if (!tail || tail >= len || strcmp(c->state, c->state_default) != 0)
		return false;
	snprintf(old, sizeof(old), "%.*s-%s", (int)(len - tail), c->state_default, c->network);
	if (access(old, F_OK) || (there && (has(c->state, "identity") || !has(old, "identity"))))
		return false;
	log_err("the state of the network %s is where it was kept before: %s%s%smkdir -p %.*s && mv %s %s", c->network,
		there ? "rm -r " : "", there ? c->state : "", there ? " && " : "", (int)(len - strlen(c->network) - 1), c->state_default,
		old, c->state);
	return true;
}

static int fail(const char *what, const char *dir, int r)
{
	log_err("%s %s: %s", what, dir, strerror(-r));
	return r;
}

int state_open(const struct cmdline *c)
{
	int r;

	if (moved(c))
		return -ENOENT;
	r = dir_make(c->state, 0700);
	if (!r)
		r = lock(c->state);
	if (r == -EBUSY && c->supervisor && c->network) {
		log_err("another keyd runs with the state directory %s: the unit mvpn-keyd@%s, perhaps, which has no place beside "
			"[keyd] networks: systemctl disable --now it",
			c->state, c->network);
		return r;
	}
	if (r == -EBUSY)
		return fail("another keyd runs with the state directory", c->state, r);
	return r < 0 ? fail("cannot use the state directory", c->state, r) : r;
}
