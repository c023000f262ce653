/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Who makes or takes away the maps that networks share has their directory to itself: keyds that start together, as at boot, find the same
 * ones.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "fsutil.h"
#include "loop.h"
#include "shim_priv.h"

#define LOOK_MS 10

static int lock(int fd, uint64_t until_ms)
{
	while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return -errno;
		if (mono_ms() >= until_ms)
			return -ETIMEDOUT;
		nanosleep(&(struct timespec){.tv_nsec = LOOK_MS * 1000000}, NULL);
	}
	return 0;
}

/* it may have been taken away, and made anew, while we waited */
static bool is_still(int fd, const char *dir)
{
	struct stat held, there;

	return fstat(fd, &held) == 0 && stat(dir, &there) == 0 && held.st_ino == there.st_ino && held.st_dev == there.st_dev;
}

int shim_share_lock(const char *dir)
{
	uint64_t until_ms = mono_ms() + MVPN_SHARE_WAIT_MS;

	for (;;) {
		int r = dir_make(dir, 0700), fd;

		if (r < 0)
			return r;
		fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd < 0 && errno == ENOENT && mono_ms() < until_ms)
			continue;
		if (fd < 0)
			return -errno;
		r = lock(fd, until_ms);
		if (r == 0 && is_still(fd, dir))
			return fd;
		close(fd);
		if (r < 0)
			return r;
	}
}

static uint32_t map_id(int fd)
{
	struct bpf_map_info info = {};
	__u32 len = sizeof(info);

	return fd >= 0 && bpf_obj_get_info_by_fd(fd, &info, &len) == 0 ? info.id : 0;
}

int shim_share_check(struct shim *s)
{
	char *path = shim_pin(s, bpf_map__name(s->bpf->maps.claims));
	int fd = path ? bpf_obj_get(path) : -1;
	uint32_t pinned = map_id(fd), ours = map_id(bpf_map__fd(s->bpf->maps.claims));

	free(path);
	if (fd >= 0)
		close(fd);
	return pinned && pinned == ours ? 0 : -ESTALE;
}
