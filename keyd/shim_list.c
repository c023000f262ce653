/* SPDX-License-Identifier: BSD-2-Clause */
/* What is attached, by what is pinned, and who else sits on the same hooks. */
#include <dirent.h>
#include <errno.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shim_priv.h"

#define OTHERS_MAX 64 /* BPF_MPROG_MAX */

static void iface_read(struct shim *s, const char *name, struct shim_iface *ret)
{
	char *path = shim_pin_if(s, name, shim_prog_names[SHIM_EGRESS]);
	struct mvpn_iface mark;
	int fd;

	memset(ret, 0, sizeof(*ret));
	snprintf(ret->name, sizeof(ret->name), "%s", name);
	switch (shim_pin_open(path, &fd)) {
	case SHIM_PIN_LINK:
		ret->hook = SHIM_TCX;
		ret->ifindex = shim_link_ifindex(fd);
		close(fd);
		break;
	case SHIM_PIN_PROG:
		ret->hook = SHIM_CLSACT;
		if (shim_iface_get(s, name, &mark) == 0 && if_nametoindex(name) == mark.ifindex)
			ret->ifindex = mark.ifindex;
		close(fd);
		break;
	case SHIM_PIN_MAP:
		close(fd);
		break;
	case SHIM_PIN_NONE:
		break;
	}
	free(path);
	path = shim_pin_if(s, name, "xdp");
	if (shim_pin_open(path, &fd) == SHIM_PIN_LINK) {
		LIBBPF_OPTS(bpf_xdp_query_opts, q);
		unsigned ifindex = shim_link_ifindex(fd);

		if (ifindex && bpf_xdp_query((int)ifindex, 0, &q) == 0)
			ret->xdp = q.attach_mode == XDP_ATTACHED_SKB   ? SHIM_XDP_GENERIC
				   : q.attach_mode == XDP_ATTACHED_DRV ? SHIM_XDP_NATIVE
								       : SHIM_XDP_NONE;
	}
	if (fd >= 0)
		close(fd);
	free(path);
	/* it may have been renamed since: shim_attach() and shim_detach() follow */
	if (ret->ifindex && !if_indextoname(ret->ifindex, ret->name))
		snprintf(ret->name, sizeof(ret->name), "%s", name);
}

int shim_ifaces_each(struct shim *s, int (*fn)(void *arg, const struct shim_iface *i), void *arg)
{
	char names[MVPN_IFACES_MAX][16], *dir = shim_pin(s, "if");
	struct shim_iface i;
	struct dirent *e;
	unsigned n = 0;
	DIR *d;
	int r = 0;

	d = dir ? opendir(dir) : NULL;
	free(dir);
	if (!d)
		return -errno;
	/* names first: fn may detach */
	while (n < MVPN_IFACES_MAX && (e = readdir(d))) {
		if (e->d_name[0] == '.')
			continue;
		shim_iface_unescape(e->d_name, names[n]);
		n += names[n][0] != 0;
	}
	closedir(d);
	for (unsigned k = 0; k < n && r == 0; k++) {
		iface_read(s, names[k], &i);
		r = fn(arg, &i);
	}
	return r;
}

/* the name of a program, where we may ask (CAP_SYS_ADMIN) */
static bool prog_name(__u32 id, char *ret, size_t size)
{
	struct bpf_prog_info info = {};
	__u32 len = sizeof(info);
	int fd = bpf_prog_get_fd_by_id(id);
	bool ok;

	if (fd < 0)
		return false;
	ok = bpf_obj_get_info_by_fd(fd, &info, &len) == 0 && info.name[0];
	if (ok)
		snprintf(ret, size, "%s", info.name);
	close(fd);
	return ok;
}

static void append(char **list, const char *what)
{
	char *longer;

	if (asprintf(&longer, "%s%s%s", *list ? *list : "", *list ? ", " : "", what) < 0)
		return;
	free(*list);
	*list = longer;
}

static void append_number(char **list, unsigned n, const char *what, bool in)
{
	char text[64];

	snprintf(text, sizeof(text), "%u %s%s on %s", n, what, n == 1 ? "" : "s",
		 in ? "ingress" : "egress");
	append(list, text);
}

static int tcx_before(unsigned ifindex, int link, bool in, char **list)
{
	__u32 ids[OTHERS_MAX], n = OTHERS_MAX, len, unnamed = 0;
	struct bpf_link_info info = {};
	char name[BPF_OBJ_NAME_LEN];

	len = sizeof(info);
	if (bpf_obj_get_info_by_fd(link, &info, &len) < 0 ||
	    bpf_prog_query((int)ifindex, in ? TCX_INGRESS : TCX_EGRESS, 0, NULL, ids, &n) < 0)
		return -errno;
	for (unsigned i = 0; i < n && ids[i] != info.prog_id; i++) {
		if (prog_name(ids[i], name, sizeof(name)))
			append(list, name);
		else
			unnamed++;
	}
	if (unnamed)
		append_number(list, unnamed, "program", in);
	return 0;
}

int shim_before_us(struct shim *s, const char *iface, char **ret_names)
{
	static const enum shim_prog hooks[] = {SHIM_EGRESS, SHIM_INGRESS};
	unsigned ifindex = if_nametoindex(iface);
	char *list = NULL;
	int r = 0;

	*ret_names = NULL;
	if (!ifindex)
		return -ENODEV;
	for (unsigned i = 0; i < 2 && r == 0; i++) {
		char *path = shim_pin_if(s, iface, shim_prog_names[hooks[i]]);
		bool in = hooks[i] == SHIM_INGRESS;
		int fd = -1;
		enum shim_pinned p = shim_pin_open(path, &fd);

		free(path);
		if (p == SHIM_PIN_LINK) {
			r = tcx_before(ifindex, fd, in, &list);
		} else if (p == SHIM_PIN_PROG) {
			int n = clsact_before(s, ifindex, hooks[i]);

			if (n > 0)
				append_number(&list, (unsigned)n, "filter", in);
			r = n < 0 ? n : 0;
		} else {
			r = -ENOENT;
		}
		if (p != SHIM_PIN_NONE)
			close(fd);
	}
	if (r < 0)
		free(list);
	else
		*ret_names = list;
	return r;
}
