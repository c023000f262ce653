/* SPDX-License-Identifier: BSD-2-Clause */
/* Programs on the cgroup tree, where every socket of the host passes: where that is, and pinned links to it. */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "shim_priv.h"

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71 /* Linux 5.14 */
#endif

static bool is_cgroup2(const char *dir)
{
	struct statfs fs;

	return statfs(dir, &fs) == 0 && (__u32)fs.f_type == CGROUP2_SUPER_MAGIC;
}

/* "36 25 0:31 ROOT WHERE OPTIONS … - cgroup2 …" (proc(5)); the root of the tree rather than a part of it */
int shim_cgroup_root(char where[static CGROUP_PATH_MAX])
{
	char root[CGROUP_PATH_MAX], at[CGROUP_PATH_MAX], *line = NULL;
	FILE *f = fopen("/proc/self/mountinfo", "re");
	bool found = false, whole = false;
	size_t size = 0;

	if (!f)
		return -errno;
	while (!whole && getline(&line, &size, f) > 0) {
		if (!strstr(line, " - cgroup2 ") ||
		    sscanf(line, "%*u %*u %*s %255s %255s", root, at) != 2 || !is_cgroup2(at))
			continue;
		whole = !strcmp(root, "/");
		if (!found || whole)
			strcpy(where, at);
		found = true;
	}
	free(line);
	fclose(f);
	return found ? 0 : -ENOENT;
}

int shim_cgroup_choose(struct shim *s, const char *dir, enum mvpn_namespaces which)
{
	char *copy = dir ? strdup(dir) : NULL;

	if (dir && !copy)
		return -ENOMEM;
	free(s->cgroup_asked);
	s->cgroup_asked = copy;
	s->namespaces = which;
	return 0;
}

int shim_cgroup_find(struct shim *s, char **ret_error)
{
	int r;

	if (s->cgroup_asked) {
		if (strlen(s->cgroup_asked) >= sizeof(s->cgroup) || !is_cgroup2(s->cgroup_asked))
			return shim_fail(ret_error, -ENOTDIR,
					 "%s, which keyd.conf names, is no directory of a cgroup2 "
					 "file system",
					 s->cgroup_asked);
		strcpy(s->cgroup, s->cgroup_asked);
		return 0;
	}
	r = shim_cgroup_root(s->cgroup);
	return r < 0 ? shim_fail(ret_error, r,
				 "no cgroup2 file system is mounted (mount -t cgroup2 none "
				 "/sys/fs/cgroup/unified)")
		     : 0;
}

int shim_own_netns(__u64 *ret, char **ret_error)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), r = 0;
	socklen_t len = sizeof(*ret);

	if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, ret, &len) < 0)
		r = shim_fail(ret_error, -errno, "the network namespace has no cookie: %s", strerror(errno));
	if (fd >= 0)
		close(fd);
	return r;
}

int shim_share_maps(struct shim *s, struct bpf_object *obj)
{
	struct bpf_map *map, *ours;
	int r = 0;

	for (map = NULL; r == 0 && (map = bpf_object__next_map(obj, map));) {
		ours = bpf_object__find_map_by_name(s->bpf->obj, bpf_map__name(map));
		if (ours && !bpf_map__is_internal(map))
			r = bpf_map__reuse_fd(map, bpf_map__fd(ours));
	}
	return r;
}

int shim_load(struct shim *s, struct bpf_object_skeleton *programs, const char *what, char **ret_error)
{
	int r = shim_share_maps(s, *programs->obj);

	if (r == 0)
		r = bpf_object__load_skeleton(programs);
	return r < 0 ? shim_fail(ret_error, r, "the kernel does not load the %s: %s\n%s", what, strerror(-r),
				 shim_log_tail())
		     : 0;
}

int shim_cgroup_hooks(struct shim *s, const struct shim_cgroup_hook *hooks, unsigned n, int *links, char **ret_error)
{
	int dir = open(s->cgroup, O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = dir < 0 ? -errno : 0;

	for (unsigned i = 0; i < n && r == 0; i++) {
		links[i] = bpf_link_create(bpf_program__fd(hooks[i].prog), dir, hooks[i].type, NULL);
		r = links[i] < 0 ? -errno : 0;
	}
	if (dir >= 0)
		close(dir);
	return r < 0 ? shim_fail(ret_error, r, "cannot attach to the cgroup %s: %s", s->cgroup, strerror(-r)) : 0;
}

/* whether the link is on that cgroup: its id is its directory's number */
static bool link_is_on(int link, int dir)
{
	struct bpf_link_info info = {};
	__u32 len = sizeof(info);
	struct stat st;

	return bpf_obj_get_info_by_fd(link, &info, &len) == 0 && fstat(dir, &st) == 0 &&
	       info.type == BPF_LINK_TYPE_CGROUP && info.cgroup.cgroup_id == st.st_ino;
}

/* the link of the last life with this program; -ENOLINK: there is none, or its cgroup has gone or is another */
static int adopt(const char *path, int prog, int dir)
{
	int fd, r = -ENOLINK;
	enum shim_pinned what = shim_pin_open(path, &fd);

	if (what == SHIM_PIN_NONE)
		return r;
	if (what == SHIM_PIN_LINK && link_is_on(fd, dir) && bpf_link_update(fd, prog, NULL) == 0)
		r = 0;
	if (r < 0) {
		bpf_link_detach(fd);
		unlink(path);
	}
	close(fd);
	return r;
}

int shim_cgroup_link(struct shim *s, const char *pin, int prog, enum bpf_attach_type type,
		     char **ret_error)
{
	int dir = open(s->cgroup, O_RDONLY | O_DIRECTORY | O_CLOEXEC), link, r;
	char *path = shim_pin(s, pin);

	if (dir < 0 || !path) {
		r = path ? shim_fail(ret_error, -errno, "cannot open %s: %s", s->cgroup,
				     strerror(errno))
			 : -ENOMEM;
		goto out;
	}
	r = adopt(path, prog, dir);
	if (r == 0)
		goto out;
	link = bpf_link_create(prog, dir, type, NULL);
	r = link < 0 ? -errno : shim_pin_replace(link, path);
	if (link >= 0)
		close(link);
	if (r < 0)
		shim_fail(ret_error, r, "cannot attach to the cgroup %s: %s", s->cgroup,
			  strerror(-r));
out:
	if (dir >= 0)
		close(dir);
	free(path);
	return r;
}

void shim_cgroup_unlink(struct shim *s, const char *pin)
{
	char *path = shim_pin(s, pin);
	int fd;

	if (path && shim_pin_open(path, &fd) != SHIM_PIN_NONE) {
		bpf_link_detach(fd);
		unlink(path);
		close(fd);
	}
	free(path);
}
