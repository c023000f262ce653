/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Deferred interrupts of an interface whose AF_XDP sockets are polled: the driver leaves its interrupts off while somebody polls
 * (Linux, Documentation/networking/napi.rst, "Software IRQ coalescing"). Two settings of the device, which are given back as
 * they were. What they were is kept with the pins, so that a keyd that was killed does not take its own values for the
 * administrator's.
 */
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "shim_priv.h"

#define NUMBER_MAX_B 24

static int setting_open(const char *iface, const char *name, int flags)
{
	char path[64 + IFNAMSIZ];
	int fd;

	snprintf(path, sizeof(path), "/sys/class/net/%s/%s", iface, name);
	fd = open(path, flags | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int setting_get(const char *iface, const char *name, uint64_t *ret)
{
	char text[NUMBER_MAX_B];
	int fd = setting_open(iface, name, O_RDONLY);
	ssize_t n;

	if (fd < 0)
		return fd;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n <= 0)
		return -EIO;
	text[n] = '\0';
	*ret = strtoull(text, NULL, 10);
	return 0;
}

static int setting_put(const char *iface, const char *name, uint64_t value)
{
	char text[NUMBER_MAX_B];
	int len = snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
	int fd = setting_open(iface, name, O_WRONLY), r = 0;

	if (fd < 0)
		return fd;
	if (write(fd, text, (size_t)len) != len)
		r = -errno;
	close(fd);
	return r;
}

/* /sys may show another network namespace's devices: the same index and the same address are no accident */
static bool is_ours(const char *iface, const struct mvpn_iface *mark)
{
	char path[64 + IFNAMSIZ], shown[18] = "", own[18];
	struct ifreq ifr = {};
	const uint8_t *m = (const uint8_t *)ifr.ifr_hwaddr.sa_data;
	uint64_t ifindex;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool known;
	FILE *f;

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", iface);
	known = fd >= 0 && ioctl(fd, SIOCGIFHWADDR, &ifr) == 0;
	if (fd >= 0)
		close(fd);
	snprintf(path, sizeof(path), "/sys/class/net/%s/address", iface);
	f = known ? fopen(path, "re") : NULL;
	if (!f)
		return false;
	known = fgets(shown, sizeof(shown), f) != NULL;
	fclose(f);
	snprintf(own, sizeof(own), "%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4],
		 m[5]);
	return known && !strcmp(own, shown) && !setting_get(iface, "ifindex", &ifindex) &&
	       ifindex == mark->ifindex;
}

int shim_defer(struct shim *s, const char *iface)
{
	struct mvpn_iface mark;
	uint64_t irqs, flush;
	int r = shim_iface_get(s, iface, &mark);

	if (r < 0 || mark.flags & MVPN_IFACE_DEFERS)
		return r;
	if (!is_ours(iface, &mark))
		return -ENODEV;
	r = setting_get(iface, "napi_defer_hard_irqs", &irqs);
	if (!r)
		r = setting_get(iface, "gro_flush_timeout", &flush);
	if (r)
		return r;
	mark.flags |= MVPN_IFACE_DEFERS;
	mark.defer_hard_irqs = irqs;
	mark.gro_flush_ns = flush;
	r = shim_iface_set(s, iface, &mark);
	if (!r)
		r = setting_put(iface, "napi_defer_hard_irqs", MVPN_DEFER_HARD_IRQS);
	if (!r)
		r = setting_put(iface, "gro_flush_timeout", MVPN_DEFER_FLUSH_NS);
	if (r)
		shim_undefer(s, iface);
	return r;
}

void shim_undefer(struct shim *s, const char *iface)
{
	struct mvpn_iface mark;

	if (shim_iface_get(s, iface, &mark) < 0 || !(mark.flags & MVPN_IFACE_DEFERS))
		return;
	if (is_ours(iface, &mark)) {
		setting_put(iface, "gro_flush_timeout", mark.gro_flush_ns);
		setting_put(iface, "napi_defer_hard_irqs", mark.defer_hard_irqs);
	}
	mark.flags &= ~MVPN_IFACE_DEFERS;
	mark.defer_hard_irqs = mark.gro_flush_ns = 0;
	shim_iface_set(s, iface, &mark);
}
