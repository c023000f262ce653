/* SPDX-License-Identifier: BSD-2-Clause */
/* Put the three tc programs on an interface: TCX links where the kernel has them, else clsact filters. */
#include <errno.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shim_priv.h"

/* <linux/bpf.h> of 6.6 and later */
#define F_BEFORE (1U << 3) /* without a relative: first of all */
#define F_AFTER (1U << 4)  /* last of all */

/* not in every libc's <net/if_arp.h> */
#ifndef ARPHRD_RAWIP
#define ARPHRD_RAWIP 519
#endif

const char *const shim_prog_names[SHIM_PROGS] = {
	[SHIM_EGRESS] = "egress",
	[SHIM_LEAK] = "leak",
	[SHIM_INGRESS] = "ingress",
};

struct dev {
	unsigned ifindex;
	bool raw; /* no link header */
};

static int dev_get(const char *iface, struct dev *ret, char **ret_error)
{
	struct ifreq ifr = {};
	int fd, r;

	if (strlen(iface) >= IFNAMSIZ || !(ret->ifindex = if_nametoindex(iface)))
		return shim_fail(ret_error, -ENODEV,
				 "there is no interface %s; `ip link` lists those there are",
				 iface);
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	memcpy(ifr.ifr_name, iface, strlen(iface));
	r = ioctl(fd, SIOCGIFHWADDR, &ifr) < 0 ? -errno : 0;
	close(fd);
	if (r < 0)
		return shim_fail(ret_error, r, "cannot ask what kind of interface %s is: %s", iface,
				 strerror(-r));
	switch (ifr.ifr_hwaddr.sa_family) {
	case ARPHRD_ETHER:
	case ARPHRD_LOOPBACK:
		ret->raw = false;
		return 0;
	case ARPHRD_NONE: /* tun, WireGuard */
	case ARPHRD_PPP:
	case ARPHRD_RAWIP:
	case ARPHRD_TUNNEL:
	case ARPHRD_TUNNEL6:
	case ARPHRD_SIT:
	case ARPHRD_IPGRE:
		ret->raw = true;
		return 0;
	default:
		return shim_fail(ret_error, -EOPNOTSUPP,
				 "%s is neither an Ethernet nor a bare IP interface (ARP type %u): "
				 "attach to "
				 "the interface above or below it",
				 iface, ifr.ifr_hwaddr.sa_family);
	}
}

static int prog_fd(struct shim *s, const struct dev *d, enum shim_prog which)
{
	switch (which) {
	case SHIM_EGRESS:
		return bpf_program__fd(d->raw ? s->bpf->progs.egress_raw : s->bpf->progs.egress);
	case SHIM_LEAK:
		return bpf_program__fd(d->raw ? s->bpf->progs.leak_raw : s->bpf->progs.leak);
	default:
		return bpf_program__fd(d->raw ? s->bpf->progs.ingress_raw : s->bpf->progs.ingress);
	}
}

/* the pin of one hook, if it is of this very interface; what an interface of the same name left is removed */
static enum shim_pinned pin_live(struct shim *s, const char *iface, unsigned ifindex,
				 enum shim_prog which, int *ret_fd)
{
	char *path = shim_pin_if(s, iface, shim_prog_names[which]);
	enum shim_pinned p = shim_pin_open(path, ret_fd);
	struct mvpn_iface mark;
	bool live = false;

	if (p == SHIM_PIN_LINK)
		live = shim_link_ifindex(*ret_fd) == ifindex;
	else if (p == SHIM_PIN_PROG)
		live = shim_iface_get(s, iface, &mark) == 0 && mark.ifindex == ifindex;
	if (p != SHIM_PIN_NONE && !live) {
		unlink(path);
		close(*ret_fd);
		p = SHIM_PIN_NONE;
	}
	free(path);
	return p;
}

/* -EOPNOTSUPP: the kernel has no TCX */
static int tcx_set(struct shim *s, const char *iface, const struct dev *d, enum shim_prog which,
		   bool *ret_fresh)
{
	LIBBPF_OPTS(bpf_link_create_opts, o, .flags = which == SHIM_LEAK ? F_AFTER : F_BEFORE);
	int prog = prog_fd(s, d, which), link = -1, r;
	char *path;

	*ret_fresh = false;
	if (pin_live(s, iface, d->ifindex, which, &link) == SHIM_PIN_LINK) {
		r = bpf_link_update(link, prog, NULL) < 0 ? -errno : 0;
		close(link);
		return r;
	}
	link = bpf_link_create(prog, (int)d->ifindex,
			       which == SHIM_INGRESS ? TCX_INGRESS : TCX_EGRESS, &o);
	if (link < 0)
		return errno == EINVAL ? -EOPNOTSUPP : -errno;
	*ret_fresh = true;
	path = shim_pin_if(s, iface, shim_prog_names[which]);
	r = path ? shim_pin_replace(link, path) : -ENOMEM;
	free(path);
	if (r < 0)
		bpf_link_detach(link);
	close(link);
	return r;
}

static int filter_set(struct shim *s, const char *iface, const struct dev *d, enum shim_prog which,
		      bool *ret_fresh)
{
	int prog = prog_fd(s, d, which), r;
	char *path;

	r = clsact_set(s, d->ifindex, which, prog, ret_fresh);
	if (r < 0)
		return r;
	path = shim_pin_if(s, iface, shim_prog_names[which]);
	r = path ? shim_pin_replace(prog, path) : -ENOMEM;
	free(path);
	if (r < 0 && *ret_fresh)
		clsact_unset(s, d->ifindex, which);
	return r;
}

static void unset(struct shim *s, const char *iface, unsigned ifindex, enum shim_prog which)
{
	char *path = shim_pin_if(s, iface, shim_prog_names[which]);
	enum shim_pinned p;
	int fd = -1;

	p = pin_live(s, iface, ifindex, which, &fd);
	if (p == SHIM_PIN_LINK)
		bpf_link_detach(fd);
	else if (p == SHIM_PIN_PROG)
		clsact_unset(s, ifindex, which);
	if (p != SHIM_PIN_NONE) {
		unlink(path);
		close(fd);
	}
	free(path);
}

/* All three in one manner. What this call has put there it takes away again when a later one fails. */
static int set_all(struct shim *s, const char *iface, const struct dev *d, enum shim_hook hook,
		   bool *ret_fresh, char **ret_error)
{
	bool fresh[SHIM_PROGS] = {};
	int r = 0;

	/* egress before leak: a packet between the two would be counted as leaked */
	for (int i = 0; i < SHIM_PROGS; i++) {
		r = hook == SHIM_TCX ? tcx_set(s, iface, d, i, &fresh[i])
				     : filter_set(s, iface, d, i, &fresh[i]);
		if (r < 0) {
			if (r != -EOPNOTSUPP || i > 0)
				shim_fail(ret_error, r, "cannot attach %s to %s (%s): %s%s%s",
					  shim_prog_names[i], iface,
					  hook == SHIM_TCX ? "TCX" : "clsact", strerror(-r),
					  *shim_log_tail() ? "\n" : "", shim_log_tail());
			while (i-- > 0)
				if (fresh[i])
					unset(s, iface, d->ifindex, i);
			return r;
		}
		*ret_fresh |= fresh[i];
	}
	return 0;
}

/* An interface that was renamed keeps its links: move their pins along, else attaching would double them. */
static void follow_rename(struct shim *s, const char *iface, unsigned ifindex)
{
	int fd = bpf_map__fd(s->bpf->maps.ifaces);
	struct mvpn_iface_key k, next;
	struct mvpn_iface v;
	char *from, *to;

	if (bpf_map_get_next_key(fd, NULL, &next) < 0)
		return;
	do {
		k = next;
		if (bpf_map_lookup_elem(fd, &k, &v) < 0 || v.ifindex != ifindex ||
		    strncmp(k.name, iface, sizeof(k.name)) == 0)
			continue;
		from = shim_pin_if(s, k.name, "");
		to = shim_pin_if(s, iface, "");
		/* an empty directory of that name at most: rename() replaces it, and refuses a full one */
		if (from && to && rename(from, to) == 0) {
			shim_iface_set(s, iface, &v);
			bpf_map_delete_elem(fd, &k);
		}
		free(from);
		free(to);
		return;
	} while (bpf_map_get_next_key(fd, &k, &next) == 0);
}

/* how it is attached already, 0 if it is not */
static int hook_now(struct shim *s, const char *iface, unsigned ifindex)
{
	int hook = 0, fd;

	for (int i = 0; i < SHIM_PROGS; i++) {
		enum shim_pinned p = pin_live(s, iface, ifindex, i, &fd);

		if (p == SHIM_PIN_NONE)
			continue;
		close(fd);
		hook = p == SHIM_PIN_LINK ? SHIM_TCX : SHIM_CLSACT;
	}
	return hook;
}

static int attach_clsact(struct shim *s, const char *iface, const struct dev *d,
			 struct mvpn_iface *mark, bool *ret_fresh, char **ret_error)
{
	bool made;
	int r = clsact_create(d->ifindex, &made);

	if (r < 0)
		return shim_fail(ret_error, r, "cannot make the clsact qdisc on %s: %s\n%s", iface,
				 strerror(-r), shim_log_tail());
	if (made) {
		mark->flags |= MVPN_IFACE_MADE_CLSACT;
		r = shim_iface_set(s, iface, mark);
	}
	if (r == 0)
		r = set_all(s, iface, d, SHIM_CLSACT, ret_fresh, ret_error);
	if (r < 0 && made)
		clsact_remove_unused(d->ifindex);
	return r;
}

int shim_attach(struct shim *s, const char *iface, struct shim_iface *ret, char **ret_error)
{
	struct shim_iface out = {};
	struct mvpn_iface mark;
	struct dev d;
	char *dir;
	int r, hook;

	shim_log_reset();
	r = dev_get(iface, &d, ret_error);
	if (r < 0)
		return r;
	follow_rename(s, iface, d.ifindex);
	hook = hook_now(s, iface, d.ifindex);
	if (shim_iface_get(s, iface, &mark) < 0 || mark.ifindex != d.ifindex)
		mark = (struct mvpn_iface){.ifindex = d.ifindex};
	r = shim_iface_set(s, iface, &mark);
	if (r < 0)
		return shim_fail(ret_error, r, "cannot note that %s is attached: %s%s", iface,
				 strerror(-r),
				 r == -ENOSPC ? " (too many interfaces; detach one first)" : "");
	dir = shim_pin_if(s, iface, "");
	if (!dir)
		return -ENOMEM;
	r = mkdir(dir, 0700) < 0 && errno != EEXIST ? -errno : 0;
	if (r < 0) {
		shim_fail(ret_error, r, "cannot make %s: %s", dir, strerror(-r));
		goto out;
	}
	out.hook = hook ? hook : s->no_tcx ? SHIM_CLSACT : SHIM_TCX;
	if (out.hook == SHIM_TCX)
		r = set_all(s, iface, &d, SHIM_TCX, &out.fresh, ret_error);
	if (out.hook == SHIM_TCX && r == -EOPNOTSUPP && !hook)
		out.hook = SHIM_CLSACT;
	if (out.hook == SHIM_CLSACT)
		r = attach_clsact(s, iface, &d, &mark, &out.fresh, ret_error);
out:
	if (r < 0 && !hook) {
		rmdir(dir); /* it stays when an XDP pin is there */
		shim_iface_clear(s, iface);
	}
	free(dir);
	if (r < 0)
		return r;
	r = shim_attached_add(s, d.ifindex);
	if (r < 0)
		return shim_fail(ret_error, r,
				 "cannot tell the other networks on this host that %s is attached: %s",
				 iface, strerror(-r));
	out.ifindex = d.ifindex;
	snprintf(out.name, sizeof(out.name), "%s", iface);
	if (ret)
		*ret = out;
	return 0;
}

int shim_detach(struct shim *s, const char *iface, char **ret_error)
{
	unsigned ifindex = strlen(iface) < IFNAMSIZ ? if_nametoindex(iface) : 0;
	char *dir = shim_pin_if(s, iface, "");
	struct mvpn_iface mark;
	struct stat st;
	int r = 0;

	if (!dir)
		return -ENOMEM;
	if (ifindex)
		follow_rename(s, iface, ifindex);
	if (strlen(iface) >= IFNAMSIZ || stat(dir, &st) < 0) {
		free(dir);
		return shim_fail(ret_error, -ENOENT,
				 "%s is not attached; `mvpnctl status` lists what is", iface);
	}
	shim_log_reset();
	if (shim_iface_get(s, iface, &mark) == 0)
		shim_attached_del(s, mark.ifindex);
	shim_detach_xdp(s, iface);
	shim_undefer(s, iface);
	for (int i = SHIM_PROGS - 1; i >= 0; i--)
		unset(s, iface, ifindex, i);
	if (ifindex && shim_iface_get(s, iface, &mark) == 0 && mark.ifindex == ifindex &&
	    (mark.flags & MVPN_IFACE_MADE_CLSACT))
		clsact_remove_unused(ifindex);
	if (rmdir(dir) < 0)
		r = shim_fail(ret_error, -errno, "cannot remove the pins in %s: %s", dir,
			      strerror(errno));
	shim_iface_clear(s, iface);
	free(dir);
	return r;
}
