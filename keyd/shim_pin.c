/* SPDX-License-Identifier: BSD-2-Clause */
/* Pins below the shim's directory, and messages about BPF. */
#include <ctype.h>
#include <errno.h>
#include <net/if.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shim_priv.h"

#define LOG_TAIL_B 2048 /* enough for the verifier's last instructions and its complaint */

static char log_buf[LOG_TAIL_B];

int shim_fail(char **ret_error, int err, const char *fmt, ...)
{
	va_list ap;
	char *text;

	if (!ret_error)
		return err;
	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) >= 0)
		*ret_error = text;
	va_end(ap);
	return err;
}

static int keep_log(enum libbpf_print_level level, const char *fmt, va_list ap)
{
	size_t have = strlen(log_buf), len, drop;
	char *text, *from;

	/* the verifier's log comes as one argument of up to megabytes, and its end is what matters */
	if (level == LIBBPF_DEBUG || vasprintf(&text, fmt, ap) < 0)
		return 0;
	len = strlen(text);
	from = len < sizeof(log_buf) ? text : text + len - sizeof(log_buf) + 1;
	len = strlen(from);
	drop = have + len < sizeof(log_buf) ? 0 : have + len - sizeof(log_buf) + 1;
	memmove(log_buf, log_buf + drop, have - drop);
	memcpy(log_buf + have - drop, from, len + 1);
	free(text);
	return 0;
}

void shim_log_reset(void)
{
	libbpf_set_print(keep_log);
	log_buf[0] = 0;
}

const char *shim_log_tail(void)
{
	return log_buf;
}

char *shim_pin(const struct shim *s, const char *name)
{
	char *path;

	return asprintf(&path, "%s/%s",
			s->share_dir && shim_is_shared(name) ? s->share_dir : s->pin_dir,
			name) < 0
		       ? NULL
		       : path;
}

char *shim_pin_if(const struct shim *s, const char *iface, const char *name)
{
	char safe[3 * IFNAMSIZ + 1], *to = safe, *path;

	for (; *iface && to < safe + sizeof(safe) - 3; iface++) {
		if (*iface == '.' || *iface == '%')
			to += sprintf(to, "%%%02x", *iface);
		else
			*to++ = *iface;
	}
	*to = 0;
	return asprintf(&path, "%s/if/%s%s%s", s->pin_dir, safe, *name ? "/" : "", name) < 0 ? NULL
											     : path;
}

void shim_iface_unescape(const char *dirent, char ret[static 16])
{
	unsigned n = 0, c;

	while (*dirent) {
		if (n == IFNAMSIZ - 1) {
			n = 0;
			break;
		}
		if (*dirent == '%' && isxdigit((unsigned char)dirent[1]) && isxdigit((unsigned char)dirent[2]) &&
		    sscanf(dirent + 1, "%2x", &c) == 1 && c) {
			ret[n++] = (char)c;
			dirent += 3;
		} else {
			ret[n++] = *dirent++;
		}
	}
	ret[n] = 0;
}

int shim_pin_replace(int fd, const char *path)
{
	if (unlink(path) < 0 && errno != ENOENT)
		return -errno;
	return bpf_obj_pin(fd, path) < 0 ? -errno : 0;
}

enum shim_pinned shim_pin_open(const char *path, int *ret_fd)
{
	char proc[64], what[64] = "";
	int fd = path ? bpf_obj_get(path) : -1;

	*ret_fd = -1;
	if (fd < 0)
		return SHIM_PIN_NONE;
	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
	if (readlink(proc, what, sizeof(what) - 1) < 0)
		what[0] = 0;
	*ret_fd = fd;
	if (strstr(what, "bpf_link") || strstr(what, "bpf-link"))
		return SHIM_PIN_LINK;
	if (strstr(what, "bpf-prog"))
		return SHIM_PIN_PROG;
	if (strstr(what, "bpf-map"))
		return SHIM_PIN_MAP;
	close(fd);
	*ret_fd = -1;
	return SHIM_PIN_NONE;
}

unsigned shim_link_ifindex(int link_fd)
{
	struct bpf_link_info info = {};
	__u32 len = sizeof(info);

	if (bpf_obj_get_info_by_fd(link_fd, &info, &len) < 0)
		return 0;
	/* TCX has its ifindex where XDP has it; this libbpf's headers know only the latter */
	return info.xdp.ifindex;
}

int shim_map_set(int fd, const void *key, const void *value, uint64_t flags)
{
	if (bpf_map_update_elem(fd, key, value, flags) == 0)
		return 0;
	return errno == E2BIG ? -ENOSPC : -errno; /* a full hash table's */
}

int shim_iface_get(struct shim *s, const char *iface, struct mvpn_iface *ret)
{
	struct mvpn_iface_key k = {};

	snprintf(k.name, sizeof(k.name), "%s", iface);
	return bpf_map_lookup_elem(bpf_map__fd(s->bpf->maps.ifaces), &k, ret) < 0 ? -errno : 0;
}

int shim_iface_set(struct shim *s, const char *iface, const struct mvpn_iface *v)
{
	struct mvpn_iface_key k = {};

	snprintf(k.name, sizeof(k.name), "%s", iface);
	return shim_map_set(bpf_map__fd(s->bpf->maps.ifaces), &k, v, BPF_ANY);
}

void shim_iface_clear(struct shim *s, const char *iface)
{
	struct mvpn_iface_key k = {};

	snprintf(k.name, sizeof(k.name), "%s", iface);
	bpf_map_delete_elem(bpf_map__fd(s->bpf->maps.ifaces), &k);
}
