/* SPDX-License-Identifier: BSD-2-Clause */
#include "tap.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "mvpn/wire.h"

/* Linux 6.2; older headers lack them */
#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

#define TAP_OFFLOADS (TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN)
/* super-packets; a full queue is the only sign of congestion that a sender gets */
#define TAP_TXQUEUELEN 1000

/*
 * The device is ours, so its own settings are; a kernel without the setting, or /proc
 * read-only, is no reason to fail.
 */
static void tap_sysctl(const char *family, const char *name, const char *key, const char *value)
{
	char path[128];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/sys/net/%s/conf/%s/%s", family, name, key);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	n = write(fd, value, strlen(value));
	(void)n;
	close(fd);
}

/*
 * No address, no routes: what is captured is redirected here, what comes out has passed
 * crypto-routing.
 */
static int tap_up(const char *name, unsigned *ret_ifindex)
{
	struct ifreq ifr = {0};
	int fd, r = 0;

	tap_sysctl("ipv6", name, "addr_gen_mode", "1");
	tap_sysctl("ipv6", name, "accept_ra", "0");
	tap_sysctl("ipv4", name, "rp_filter", "0");
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	ifr.ifr_qlen = TAP_TXQUEUELEN;
	if (ioctl(fd, SIOCSIFTXQLEN, &ifr) < 0 || ioctl(fd, SIOCGIFFLAGS, &ifr) < 0)
		goto fail;
	ifr.ifr_flags |= IFF_UP | IFF_NOARP;
	if (ioctl(fd, SIOCSIFFLAGS, &ifr) < 0 || ioctl(fd, SIOCGIFINDEX, &ifr) < 0)
		goto fail;
	if (ret_ifindex)
		*ret_ifindex = (unsigned)ifr.ifr_ifindex;
	close(fd);
	return 0;
fail:
	r = -errno;
	close(fd);
	return r;
}

static int offloads(struct tap_queue *q, int fd, int kind)
{
	if (kind == IFF_TAP)
		return ioctl(fd, TUNSETOFFLOAD, 0UL);
	q->uso = ioctl(fd, TUNSETOFFLOAD,
		       (unsigned long)(TAP_OFFLOADS | TUN_F_USO4 | TUN_F_USO6)) == 0;
	return q->uso ? 0 : ioctl(fd, TUNSETOFFLOAD, (unsigned long)TAP_OFFLOADS);
}

static int open_queue(struct tap_queue *q, const char *name, int kind, bool first,
		      unsigned *ret_ifindex)
{
	struct ifreq ifr = {0};
	int fd, r;

	fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return -errno;
	ifr.ifr_flags = (short)(kind | IFF_NO_PI | IFF_VNET_HDR | IFF_MULTI_QUEUE);
	if (first)
		ifr.ifr_flags |= IFF_TUN_EXCL;
	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	if (ioctl(fd, TUNSETIFF, &ifr) < 0)
		goto fail;
	if (offloads(q, fd, kind) < 0)
		goto fail;
	if (first) {
		if (kind == IFF_TAP)
			tap_sysctl("ipv6", name, "disable_ipv6", "1");
		r = tap_up(name, ret_ifindex);
		if (r < 0) {
			close(fd);
			return r;
		}
	}
	q->fd = fd;
	return 0;
fail:
	r = -errno;
	close(fd);
	return r;
}

int tap_steer(struct tap_queue *q)
{
	static const struct bpf_insn insns[] = {
		{.code = BPF_LDX | BPF_MEM | BPF_W,
		 .dst_reg = BPF_REG_0,
		 .src_reg = BPF_REG_1,
		 .off = offsetof(struct __sk_buff, hash)},
		{.code = BPF_ALU64 | BPF_AND | BPF_K, .dst_reg = BPF_REG_0, .imm = MVPN_LANE_MASK},
		{.code = BPF_JMP | BPF_EXIT},
	};
	int fd = bpf_prog_load(BPF_PROG_TYPE_SOCKET_FILTER, "mvpn_steer", "Dual BSD/GPL", insns,
			       sizeof(insns) / sizeof(insns[0]), NULL);
	int r = 0;

	if (fd < 0)
		return -errno;
	if (ioctl(q->fd, TUNSETSTEERINGEBPF, &fd) < 0)
		r = -errno;
	close(fd);
	return r;
}

int tap_open(struct tap_queue *q, const char *name, bool first, unsigned *ret_ifindex)
{
	return open_queue(q, name, IFF_TUN, first, ret_ifindex);
}

int tap_open_frames(struct tap_queue *q, const char *name, bool first, unsigned *ret_ifindex)
{
	return open_queue(q, name, IFF_TAP, first, ret_ifindex);
}

void tap_close(struct tap_queue *q)
{
	if (q->fd >= 0)
		close(q->fd);
	q->fd = -1;
}

ssize_t tap_read(struct tap_queue *q, uint8_t *data, struct virtio_net_hdr *ret)
{
	uint8_t *start = data - sizeof(*ret);
	/*
	 * read() is a cancellation point, which costs a threaded program two atomic operations
	 * a packet
	 */
	ssize_t n = syscall(SYS_read, q->fd, start, TAP_PACKET_MAX + sizeof(*ret));

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	if ((size_t)n <= sizeof(*ret))
		return n ? -EINVAL : -EIO;
	memcpy(ret, start, sizeof(*ret));
	return n - (ssize_t)sizeof(*ret);
}

int tap_write(struct tap_queue *q, const struct virtio_net_hdr *h, uint8_t *data, size_t len)
{
	uint8_t *start = data - sizeof(*h);

	memcpy(start, h, sizeof(*h));
	return syscall(SYS_write, q->fd, start, len + sizeof(*h)) < 0 ? -errno : 0;
}
