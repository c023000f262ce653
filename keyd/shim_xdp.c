/* SPDX-License-Identifier: BSD-2-Clause */
/* The XDP program of an interface: its own XSKMAP, the shim's config, spis and counters. */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shim_priv.h"
#include "wire.skel.h"

static struct shim_wire **wire_find(struct shim *s, const char *iface)
{
	struct shim_wire **w = &s->wires;

	while (*w && strcmp((*w)->name, iface) != 0)
		w = &(*w)->next;
	return w;
}

static void wire_forget(struct shim *s, const char *iface)
{
	struct shim_wire **at = wire_find(s, iface), *w = *at;

	if (!w)
		return;
	*at = w->next;
	close(w->xsks_map);
	free(w);
}

/* remember a copy of the descriptor, which shim_close() closes */
static int wire_remember(struct shim *s, const char *iface, int xsks_map)
{
	struct shim_wire *w = *wire_find(s, iface);
	int fd = fcntl(xsks_map, F_DUPFD_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	if (w) {
		close(w->xsks_map);
	} else {
		w = calloc(1, sizeof(*w));
		if (!w) {
			close(fd);
			return -ENOMEM;
		}
		snprintf(w->name, sizeof(w->name), "%s", iface);
		w->next = s->wires;
		s->wires = w;
	}
	w->xsks_map = fd;
	return fd;
}

static int wire_load(struct shim *s, int xsks, unsigned frame_max, struct wire_bpf **ret,
		     char **ret_error)
{
	struct wire_bpf *w = wire_bpf__open();
	int r;

	if (!w)
		return shim_fail(ret_error, -errno, "cannot open the XDP program: %s",
				 strerror(errno));
	w->rodata->frame_max = frame_max;
	r = bpf_map__reuse_fd(w->maps.config, bpf_map__fd(s->bpf->maps.config));
	if (r == 0)
		r = bpf_map__reuse_fd(w->maps.spis, bpf_map__fd(s->bpf->maps.spis));
	if (r == 0)
		r = bpf_map__reuse_fd(w->maps.counters, bpf_map__fd(s->bpf->maps.counters));
	if (r == 0 && xsks >= 0)
		r = bpf_map__reuse_fd(w->maps.xsks, xsks);
	if (r == 0)
		r = wire_bpf__load(w);
	if (r < 0) {
		shim_fail(ret_error, r, "the kernel does not load the XDP program: %s\n%s",
			  strerror(-r), shim_log_tail());
		wire_bpf__destroy(w);
		return r;
	}
	*ret = w;
	return 0;
}

/* The link of this very interface in this very mode, -1 when there is none: any other that is pinned is taken away. */
static int link_live(const char *path, unsigned ifindex, enum shim_xdp mode)
{
	LIBBPF_OPTS(bpf_xdp_query_opts, q);
	int fd;

	switch (shim_pin_open(path, &fd)) {
	case SHIM_PIN_NONE:
		return -1;
	case SHIM_PIN_LINK:
		if (shim_link_ifindex(fd) == ifindex && bpf_xdp_query((int)ifindex, 0, &q) == 0 &&
		    q.attach_mode ==
			    (mode == SHIM_XDP_NATIVE ? XDP_ATTACHED_DRV : XDP_ATTACHED_SKB))
			return fd;
		bpf_link_detach(fd);
		break;
	default:
		break;
	}
	unlink(path);
	close(fd);
	return -1;
}

/*
 * Update the link in place or make one. The plain program first, the multi-buffer one where the MTU needs it; but in generic
 * mode the plain one would make the kernel move each joined packet into one piece.
 */
static int link_set(struct wire_bpf *w, const char *path, unsigned ifindex, enum shim_xdp mode)
{
	bool frags_first = mode == SHIM_XDP_GENERIC && !w->rodata->frame_max;
	LIBBPF_OPTS(bpf_link_create_opts, o,
		    .flags = mode == SHIM_XDP_NATIVE ? XDP_FLAGS_DRV_MODE : XDP_FLAGS_SKB_MODE);
	int progs[] = {bpf_program__fd(frags_first ? w->progs.wire_frags : w->progs.wire),
		       bpf_program__fd(frags_first ? w->progs.wire : w->progs.wire_frags)};
	int link = link_live(path, ifindex, mode), r = -EINVAL;

	for (unsigned i = 0; i < 2 && link >= 0; i++) {
		r = bpf_link_update(link, progs[i], NULL) < 0 ? -errno : 0;
		if (r == 0) {
			close(link);
			return 0;
		}
	}
	if (link >= 0) {
		close(link);
		return r;
	}
	for (unsigned i = 0; i < 2 && link < 0; i++) {
		link = bpf_link_create(progs[i], (int)ifindex, BPF_XDP, &o);
		if (link >= 0)
			break;
		/* the first answer tells more, unless the second gets further */
		if (i == 0 || errno == EBUSY)
			r = -errno;
	}
	if (link < 0)
		return r;
	r = shim_pin_replace(link, path);
	if (r < 0)
		bpf_link_detach(link);
	close(link);
	return r;
}

static int explain(char **ret_error, int r, const char *iface, enum shim_xdp mode)
{
	const char *how = mode == SHIM_XDP_NATIVE ? "native" : "generic";

	if (r == -EBUSY || r == -EEXIST)
		return shim_fail(ret_error, -EBUSY,
				 "%s has another XDP program already (`ip link show %s` names it): "
				 "remove it, or "
				 "attach with --wire udp",
				 iface, iface);
	return shim_fail(ret_error, r, "cannot attach XDP to %s in %s mode: %s%s%s", iface, how,
			 strerror(-r), *shim_log_tail() ? ": " : "", shim_log_tail());
}

int shim_attach_xdp(struct shim *s, const char *iface, enum shim_xdp mode, unsigned frame_max,
		    int *ret_xsks_map, char **ret_error)
{
	unsigned ifindex = if_nametoindex(iface);
	char *dir = shim_pin_if(s, iface, "");
	char *link_path = shim_pin_if(s, iface, "xdp"), *xsks_path = shim_pin_if(s, iface, "xsks");
	struct wire_bpf *w = NULL;
	int xsks = -1, r = -ENOMEM;

	shim_log_reset();
	if (!dir || !link_path || !xsks_path)
		goto out;
	r = -EINVAL;
	if (mode != SHIM_XDP_NATIVE && mode != SHIM_XDP_GENERIC)
		goto out;
	if (!ifindex || strlen(iface) >= IFNAMSIZ) {
		r = shim_fail(ret_error, -ENODEV, "there is no interface %s", iface);
		goto out;
	}
	if (mkdir(dir, 0700) < 0 && errno != EEXIST) {
		r = shim_fail(ret_error, -errno, "cannot make %s: %s", dir, strerror(errno));
		goto out;
	}
	if (shim_pin_open(xsks_path, &xsks) != SHIM_PIN_MAP && xsks >= 0) {
		close(xsks);
		xsks = -1;
	}
	r = wire_load(s, xsks, frame_max, &w, ret_error);
	if (r < 0)
		goto out;
	r = link_set(w, link_path, ifindex, mode);
	if (r < 0) {
		r = explain(ret_error, r, iface, mode);
		goto out;
	}
	if (xsks < 0)
		r = shim_pin_replace(bpf_map__fd(w->maps.xsks), xsks_path);
	if (r == 0)
		r = wire_remember(s, iface, bpf_map__fd(w->maps.xsks));
	if (r < 0) {
		shim_detach_xdp(s, iface);
		shim_fail(ret_error, r, "cannot keep the XSKMAP of %s: %s", iface, strerror(-r));
		goto out;
	}
	*ret_xsks_map = r;
	r = 0;
out:
	if (r < 0 && dir)
		rmdir(dir); /* only if nothing is in it */
	wire_bpf__destroy(w);
	if (xsks >= 0)
		close(xsks);
	free(dir);
	free(link_path);
	free(xsks_path);
	return r;
}

void shim_detach_xdp(struct shim *s, const char *iface)
{
	char *link_path = shim_pin_if(s, iface, "xdp"), *xsks_path = shim_pin_if(s, iface, "xsks");
	int fd;

	if (link_path && shim_pin_open(link_path, &fd) != SHIM_PIN_NONE) {
		bpf_link_detach(fd);
		unlink(link_path);
		close(fd);
	}
	if (xsks_path)
		unlink(xsks_path);
	wire_forget(s, iface);
	free(link_path);
	free(xsks_path);
}
