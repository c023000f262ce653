/* SPDX-License-Identifier: BSD-2-Clause */
/* The transport shim: on the root of the cgroup tree, by a pinned link, for the connections of our network namespace alone. */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "shim_priv.h"
#include "sockops.skel.h"

#define PIN_NAME "transport"
#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71 /* Linux 5.14 */
#endif

/* "36 25 0:31 ROOT WHERE OPTIONS … - cgroup2 …" (proc(5)); the root of the tree rather than a part of it */
static int cgroup_find(char where[static CGROUP_PATH_MAX])
{
	char root[CGROUP_PATH_MAX], at[CGROUP_PATH_MAX], *line = NULL;
	FILE *f = fopen("/proc/self/mountinfo", "re");
	bool found = false, whole = false;
	struct statfs fs;
	size_t size = 0;

	if (!f)
		return -errno;
	while (!whole && getline(&line, &size, f) > 0) {
		if (!strstr(line, " - cgroup2 ") ||
		    sscanf(line, "%*u %*u %*s %255s %255s", root, at) != 2 || statfs(at, &fs) < 0 ||
		    (__u32)fs.f_type != CGROUP2_SUPER_MAGIC)
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

static int own_netns(__u64 *ret)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), r = 0;
	socklen_t len = sizeof(*ret);

	if (fd < 0)
		return -errno;
	if (getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, ret, &len) < 0)
		r = -errno;
	close(fd);
	return r;
}

/* with the shim's maps, all of them: none is made */
static int load(struct shim *s, struct sockops_bpf **ret, char **ret_error)
{
	struct sockops_bpf *b;
	struct bpf_map *map, *ours;
	__u64 cookie;
	int r = own_netns(&cookie);

	if (r < 0)
		return shim_fail(ret_error, r, "the network namespace has no cookie: %s",
				 strerror(-r));
	b = sockops_bpf__open();
	if (!b)
		return shim_fail(ret_error, -errno, "cannot open the sockops program: %s",
				 strerror(errno));
	b->rodata->netns_cookie = cookie;
	for (map = NULL; r == 0 && (map = bpf_object__next_map(b->obj, map));) {
		ours = bpf_object__find_map_by_name(s->bpf->obj, bpf_map__name(map));
		if (ours && !bpf_map__is_internal(map))
			r = bpf_map__reuse_fd(map, bpf_map__fd(ours));
	}
	if (r == 0)
		r = sockops_bpf__load(b);
	if (r < 0) {
		shim_fail(ret_error, r, "the kernel does not load the sockops program: %s\n%s",
			  strerror(-r), shim_log_tail());
		sockops_bpf__destroy(b);
		return r;
	}
	*ret = b;
	return 0;
}

/* the link of the last life with this program; -ENOLINK: there is none, or its cgroup has gone */
static int adopt(const char *path, int prog)
{
	int fd, r = -ENOLINK;

	switch (shim_pin_open(path, &fd)) {
	case SHIM_PIN_NONE:
		return r;
	case SHIM_PIN_LINK:
		if (bpf_link_update(fd, prog, NULL) == 0)
			r = 0;
		break;
	default:
		break;
	}
	close(fd);
	if (r < 0)
		unlink(path);
	return r;
}

static int attach(struct shim *s, const char *path, int prog, char **ret_error)
{
	int dir = open(s->cgroup, O_RDONLY | O_DIRECTORY | O_CLOEXEC), link, r;

	if (dir < 0)
		return shim_fail(ret_error, -errno, "cannot open %s: %s", s->cgroup,
				 strerror(errno));
	link = bpf_link_create(prog, dir, BPF_CGROUP_SOCK_OPS, NULL);
	r = link < 0 ? -errno : shim_pin_replace(link, path);
	if (link >= 0)
		close(link);
	close(dir);
	return r < 0 ? shim_fail(ret_error, r, "cannot attach to the cgroup %s: %s", s->cgroup,
				 strerror(-r))
		     : 0;
}

static int transport_set(struct shim *s, char **ret_error)
{
	struct sockops_bpf *b = NULL;
	char *path;
	int r = cgroup_find(s->cgroup);

	if (r < 0)
		return shim_fail(ret_error, r,
				 "no cgroup2 file system is mounted (mount -t cgroup2 none "
				 "/sys/fs/cgroup/unified)");
	path = shim_pin(s, PIN_NAME);
	r = path ? load(s, &b, ret_error) : -ENOMEM;
	if (r == 0) {
		r = adopt(path, bpf_program__fd(b->progs.transport));
		if (r == -ENOLINK)
			r = attach(s, path, bpf_program__fd(b->progs.transport), ret_error);
	}
	sockops_bpf__destroy(b);
	free(path);
	return r;
}

int shim_transport_attach(struct shim *s)
{
	int r;

	if (s->transport)
		return 0;
	free(s->transport_error);
	s->transport_error = NULL;
	shim_log_reset();
	r = transport_set(s, &s->transport_error);
	s->transport = r == 0;
	return r;
}

void shim_transport_detach(struct shim *s)
{
	char *path = shim_pin(s, PIN_NAME);
	int fd;

	if (path && shim_pin_open(path, &fd) != SHIM_PIN_NONE) {
		bpf_link_detach(fd);
		unlink(path);
		close(fd);
	}
	free(path);
	s->transport = false;
}

const char *shim_transport(const struct shim *s, const char **ret_error)
{
	*ret_error = s->transport_error;
	return s->transport ? s->cgroup : NULL;
}
