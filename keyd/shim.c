/* SPDX-License-Identifier: BSD-2-Clause */
/* Load the programs, adopt or make the pinned maps, and take it all away again. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "fsutil.h"
#include "shim_priv.h"

#define BPFFS "/sys/fs/bpf"

int shim_mount(const char *pin_dir, char **ret_error)
{
	struct statfs fs;

	if (strncmp(pin_dir, BPFFS "/", strlen(BPFFS) + 1) != 0)
		return 0;
	if (statfs(BPFFS, &fs) == 0 && (__u32)fs.f_type == BPF_FS_MAGIC)
		return 0;
	if (mount("bpf", BPFFS, "bpf", 0, "mode=0700") == 0)
		return 0;
	return shim_fail(ret_error, -errno,
			 "cannot mount the BPF file system on " BPFFS ": %s; mount it by hand "
			 "(mount -t bpf bpf " BPFFS ") or run as root",
			 strerror(errno));
}

/* Whoever owns a directory on the way to the pins could put others in their place: bpffs may be everybody's to write. */
static int dirs_owned(const char *pin_dir, char **ret_error)
{
	char *path = strdup(pin_dir), *slash;
	struct stat st, above;
	int r = path ? 0 : -ENOMEM;

	while (!r && !stat(path, &st) && (slash = strrchr(path, '/')) && slash != path) {
		char *parent = strndup(path, (size_t)(slash - path));

		if (!parent || stat(parent, &above) < 0 || above.st_dev != st.st_dev) {
			free(parent);
			break; /* where the file system is mounted: systemd does so for root alone */
		}
		free(parent);
		if (st.st_uid != geteuid() || st.st_mode & (S_IWGRP | S_IWOTH))
			r = shim_fail(ret_error, -EPERM,
				      "the pin directory %s is user %u's and has mode %o: others could change what is "
				      "pinned there; remove it (rm -r %s)",
				      path, st.st_uid, st.st_mode & 07777, path);
		*slash = '\0';
	}
	free(path);
	return r;
}

static int dirs_make(const char *pin_dir, char **ret_error)
{
	struct statfs fs;
	char *ifs;
	int r;

	r = shim_mount(pin_dir, ret_error);
	if (r < 0)
		return r;
	ifs = path_join(pin_dir, "if");
	if (!ifs)
		return -ENOMEM;
	r = dir_make(pin_dir, 0700); /* itself first: parents are made passable */
	if (r == 0)
		r = dir_make(ifs, 0700);
	free(ifs);
	if (r < 0)
		return shim_fail(ret_error, r, "cannot make the pin directory %s: %s", pin_dir,
				 strerror(-r));
	if (statfs(pin_dir, &fs) < 0 || (__u32)fs.f_type != BPF_FS_MAGIC)
		return shim_fail(
			ret_error, -EINVAL,
			"the pin directory %s is not on a BPF file system; choose one below " BPFFS,
			pin_dir);
	return dirs_owned(pin_dir, ret_error);
}

/* Take over the pinned map, if there is one and it is what this program expects. */
static int map_adopt(struct shim *s, struct bpf_map *map, char **ret_error)
{
	const char *name = bpf_map__name(map);
	struct bpf_map_info info = {};
	__u32 len = sizeof(info);
	char *path = shim_pin(s, name);
	int fd = -1, r = 0;

	if (!path)
		return -ENOMEM;
	fd = bpf_obj_get(path);
	if (fd < 0) {
		r = errno == ENOENT
			    ? 0
			    : shim_fail(ret_error, -errno, "cannot open the pinned map %s: %s",
					path, strerror(errno));
		goto out;
	}
	if (bpf_obj_get_info_by_fd(fd, &info, &len) < 0) {
		r = shim_fail(ret_error, -errno, "%s is no map: %s; remove it", path,
			      strerror(errno));
		goto out;
	}
	if (info.type != bpf_map__type(map) || info.key_size != bpf_map__key_size(map) ||
	    info.value_size != bpf_map__value_size(map) ||
	    info.max_entries != bpf_map__max_entries(map)) {
		r = shim_fail(ret_error, -ESTALE,
			      "the pinned map %s has another layout (type %u, key %u B, value %u "
			      "B, %u entries) "
			      "than this version needs (%u, %u B, %u B, %u): detach every "
			      "interface with the "
			      "version that made it, or remove %s",
			      path, info.type, info.key_size, info.value_size, info.max_entries,
			      bpf_map__type(map), bpf_map__key_size(map), bpf_map__value_size(map),
			      bpf_map__max_entries(map), s->pin_dir);
		goto out;
	}
	r = bpf_map__reuse_fd(map, fd);
	if (r < 0)
		r = shim_fail(ret_error, r, "cannot take over the pinned map %s: %s", path,
			      strerror(-r));
out:
	if (fd >= 0)
		close(fd);
	free(path);
	return r;
}

static int map_pin(struct shim *s, struct bpf_map *map, char **ret_error)
{
	char *path = shim_pin(s, bpf_map__name(map));
	int r = 0;

	if (!path)
		return -ENOMEM;
	if (bpf_obj_pin(bpf_map__fd(map), path) < 0 && errno != EEXIST)
		r = shim_fail(ret_error, -errno, "cannot pin the map %s: %s", path,
			      strerror(errno));
	free(path);
	return r;
}

static int event_in(void *arg, void *data, size_t size)
{
	struct shim *s = arg;

	if (size >= sizeof(struct mvpn_event) && s->on_event)
		s->on_event(s->on_event_arg, data);
	return 0;
}

static int refusal_in(void *arg, void *data, size_t size)
{
	struct shim *s = arg;

	if (size >= sizeof(struct mvpn_refusal) && s->on_refusal)
		s->on_refusal(s->on_refusal_arg, data);
	return 0;
}

/*
 * What the last keyd left must not be acted upon: until this one has breathed, protected traffic is dropped. Its tap's
 * index could even belong to another interface by now.
 */
static int config_reset(struct shim *s)
{
	struct mvpn_config c;
	int r = shim_get_config(s, &c);

	if (r < 0)
		return r;
	c.alive_ns = 0;
	c.tap_ifindex = 0;
	r = shim_config(s, &c);
	if (r == 0)
		r = shim_frame_tap(s, 0, NULL);
	return r < 0 ? r : shim_arrivals_set(s, NULL, 0);
}

static int load(struct shim *s, const struct shim_opts *o, char **ret_error)
{
	struct bpf_map *map;
	int r;

	shim_log_reset();
	s->bpf = shim_bpf__open();
	if (!s->bpf)
		return shim_fail(ret_error, -errno, "cannot open the BPF programs: %s%s",
				 strerror(errno), shim_log_tail());
	if (o->protected_max)
		bpf_map__set_max_entries(s->bpf->maps.protected, o->protected_max);
	if (o->keys_max)
		bpf_map__set_max_entries(s->bpf->maps.keys, o->keys_max);
	for (map = NULL; (map = bpf_object__next_map(s->bpf->obj, map));) {
		r = bpf_map__is_internal(map) ? 0 : map_adopt(s, map, ret_error);
		if (r < 0)
			return r;
	}
	r = shim_bpf__load(s->bpf);
	if (r < 0)
		return shim_fail(ret_error, r,
				 "the kernel does not load the BPF programs: %s (needs CAP_BPF, "
				 "CAP_NET_ADMIN, CAP_PERFMON, Linux 6.1, and no lockdown for confidentiality: "
				 "/sys/kernel/security/lockdown)\n%s",
				 strerror(-r), shim_log_tail());
	for (map = NULL; (map = bpf_object__next_map(s->bpf->obj, map));) {
		r = bpf_map__is_internal(map) ? 0 : map_pin(s, map, ret_error);
		if (r < 0)
			return r;
	}
	return 0;
}

/* FNV-1a: no two networks of a host have one pin directory, and it stays the same for life; never 0 */
static uint32_t network_of(const char *pin_dir)
{
	uint32_t h = 2166136261;

	for (; *pin_dir; pin_dir++)
		h = (h ^ (uint8_t)*pin_dir) * 16777619;
	return h ? h : 1;
}

int shim_open_with(struct shim **ret, const char *pin_dir, const struct shim_opts *o,
		   char **ret_error)
{
	struct shim *s = calloc(1, sizeof(*s));
	int r, lock = -1;

	if (!s || !(s->pin_dir = strdup(pin_dir))) {
		free(s);
		return -ENOMEM;
	}
	s->deliver_link = s->arrive_link = s->enter_link = -1;
	s->network = network_of(pin_dir);
	s->no_tcx = o->no_tcx || getenv("MVPN_NO_TCX");
	if (o->share_dir && !(s->share_dir = strdup(o->share_dir))) {
		r = -ENOMEM;
		goto fail;
	}
	r = dirs_make(pin_dir, ret_error);
	if (r < 0)
		goto fail;
	if (s->share_dir)
		lock = r = shim_share_lock(s->share_dir);
	if (r < 0) {
		shim_fail(ret_error, r, "cannot have the directory %s, which the networks of this host share: %s%s", s->share_dir,
			  strerror(-r), r == -ETIMEDOUT ? "; the keyd of another one starts or ends, and does not get on" : "");
		goto fail;
	}
	r = load(s, o, ret_error);
	if (r < 0)
		goto fail;
	r = shim_lengths_init(s);
	if (r < 0) {
		shim_fail(ret_error, r, "cannot read the BPF map protected: %s", strerror(-r));
		goto fail;
	}
	r = config_reset(s);
	if (r == 0)
		r = shim_networks_init(s);
	if (r < 0) {
		shim_fail(ret_error, r, "cannot write the BPF map config: %s", strerror(-r));
		goto fail;
	}
	if (lock >= 0)
		close(lock);
	lock = -1;
	s->ring = ring_buffer__new(bpf_map__fd(s->bpf->maps.events), event_in, s, NULL);
	if (!s->ring) {
		r = shim_fail(ret_error, -errno, "cannot map the BPF event ring: %s",
			      strerror(errno));
		goto fail;
	}
	r = ring_buffer__add(s->ring, bpf_map__fd(s->bpf->maps.refusals), refusal_in, s);
	if (r < 0) {
		shim_fail(ret_error, r, "cannot map the BPF ring of refusals: %s", strerror(-r));
		goto fail;
	}
	*ret = s;
	return 0;
fail:
	if (lock >= 0)
		close(lock);
	shim_close(s);
	return r;
}

int shim_open(struct shim **ret, const char *pin_dir, char **ret_error)
{
	const struct shim_opts o = {};

	return shim_open_with(ret, pin_dir, &o, ret_error);
}

int shim_open_shared(struct shim **ret, const char *pin_dir, const char *share_dir,
		     char **ret_error)
{
	const struct shim_opts o = {.share_dir = share_dir};

	return shim_open_with(ret, pin_dir, &o, ret_error);
}

void shim_close(struct shim *s)
{
	struct shim_wire *w;

	if (!s)
		return;
	while ((w = s->wires)) {
		s->wires = w->next;
		close(w->xsks_map);
		free(w);
	}
	if (s->deliver_link >= 0)
		close(s->deliver_link);
	if (s->arrive_link >= 0)
		close(s->arrive_link);
	if (s->enter_link >= 0)
		close(s->enter_link);
	free(s->transport_error);
	free(s->socket_error);
	free(s->cgroup_asked);
	shim_streams_detach(s);
	shim_translate_leave(s->translate);
	free(s->streams_error);
	shim_process_detach(s);
	shim_holders_free(s);
	free(s->process_error);
	ring_buffer__free(s->ring);
	shim_bpf__destroy(s->bpf);
	free(s->lengths);
	free(s->share_dir);
	free(s->pin_dir);
	free(s);
}

/* Everything below dir that is ours to remove; links and programs go with their pins. */
static int remove_tree(const char *dir)
{
	struct dirent *e;
	DIR *d = opendir(dir);
	int r = 0;

	if (!d)
		return errno == ENOENT ? 0 : -errno;
	while ((e = readdir(d))) {
		char *path;

		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		path = path_join(dir, e->d_name);
		if (!path) {
			r = -ENOMEM;
			break;
		}
		if (unlink(path) < 0) {
			int err = errno,
			    sub = err == EISDIR || err == EPERM ? remove_tree(path) : -err;

			if (sub < 0 && r == 0)
				r = sub;
		}
		free(path);
	}
	closedir(d);
	if (r == 0 && rmdir(dir) < 0)
		r = -errno;
	return r;
}

static int detach_one(void *arg, const struct shim_iface *i)
{
	return shim_detach(arg, i->name, NULL);
}

int shim_purge(struct shim *s)
{
	int r = shim_ifaces_each(s, detach_one, s);
	char *parent, *slash;

	if (r < 0)
		return r;
	shim_networks_leave(s);
	r = remove_tree(s->pin_dir);
	/* /sys/fs/bpf/mvpn, unless another version or instance is in it */
	if (r == 0 && strncmp(s->pin_dir, BPFFS "/", strlen(BPFFS) + 1) == 0 &&
	    (parent = strdup(s->pin_dir))) {
		slash = strrchr(parent, '/');
		*slash = 0;
		if (strlen(parent) > strlen(BPFFS))
			rmdir(parent);
		free(parent);
	}
	return r;
}
