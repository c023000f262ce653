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

/* Of a named network, from a version that kept it elsewhere: to go on without it would be to protect nothing. */
static bool moved(const struct cmdline *c)
{
	char old[64];

	if (!c->network || c->state != c->state_default)
		return false;
	snprintf(old, sizeof(old), CMDLINE_STATE "-%s", c->network);
	if (access(old, F_OK) || !access(c->state, F_OK))
		return false;
	log_err("the state of the network %s is where it was kept before: mkdir -p " CMDLINE_STATE "/" CMDLINE_NETWORKS
		" && mv %s %s",
		c->network, old, c->state);
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
