/* SPDX-License-Identifier: BSD-2-Clause */
#include "wire_udp_socket.h"

#include <errno.h>
#include <linux/filter.h>
#include <stddef.h>
#include <unistd.h>

#include "dp.h"
#include "mvpn/wire.h"

#define SOCKET_BUF_B (8 << 20) /* bursts of super-packets from many peers */

static int set_int(int fd, int level, int name, int value)
{
	return setsockopt(fd, level, name, &value, sizeof(value)) < 0 ? -errno : 0;
}

static void big_buffer(int fd, int force, int name)
{
	if (set_int(fd, SOL_SOCKET, force, SOCKET_BUF_B) < 0)
		set_int(fd, SOL_SOCKET, name, SOCKET_BUF_B);
}

/*
 * DF on every packet, and no opinion of the kernel about the path's MTU: that is ours to find
 * (RFC 8899)
 */
static int probe_mtu(const struct udp_sockets *s, int fd)
{
	int r = set_int(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE);

	if (!r && !s->v4_only)
		r = set_int(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_PROBE);
	return r;
}

/* ECN needs it; without, what the path says is not heard */
static int see_tos(const struct udp_sockets *s)
{
	int r = set_int(s->fd, IPPROTO_IP, IP_RECVTOS, 1);

	if (!r && !s->v4_only)
		r = set_int(s->fd, IPPROTO_IPV6, IPV6_RECVTCLASS, 1);
	return r;
}

/* both families, unless the kernel has only IPv4 */
static int open_socket(struct udp_sockets *s, int *ret_fd)
{
	int fd = s->v4_only ? -1 : socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd >= 0 && set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0) < 0) {
		close(fd);
		fd = -1;
	}
	if (fd < 0) {
		s->v4_only = true;
		fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	}
	*ret_fd = fd;
	return fd < 0 ? -errno : 0;
}

static int bind_socket(const struct udp_sockets *s, int fd, uint16_t port, uint16_t *ret_port)
{
	union address a = {0};
	socklen_t len = s->v4_only ? sizeof(a.in) : sizeof(a.in6);
	struct mvpn_endpoint e;

	a.sa.sa_family = s->v4_only ? AF_INET : AF_INET6;
	if (s->v4_only)
		a.in.sin_port = htons(port);
	else
		a.in6.sin6_port = htons(port);
	if (bind(fd, &a.sa, len) < 0 || getsockname(fd, &a.sa, &len) < 0)
		return -errno;
	if (mvpn_endpoint_from_sockaddr(&e, &a.sa) < 0)
		return -EIO;
	*ret_port = e.port;
	return 0;
}

static int open_in(struct udp_sockets *s, uint16_t port, bool join)
{
	int r = open_socket(s, &s->fd);

	if (r < 0)
		return r;
	big_buffer(s->fd, SO_RCVBUFFORCE, SO_RCVBUF);
	set_int(s->fd, SOL_UDP_, UDP_GRO, 1); /* without it datagrams come one by one */
	r = see_tos(s);
	/*
	 * set after the bind, SO_REUSEPORT lets our own workers join without letting us join a
	 * stranger
	 */
	if (!r && join)
		r = set_int(s->fd, SOL_SOCKET, SO_REUSEPORT, 1);
	if (!r)
		r = bind_socket(s, s->fd, port, &s->port);
	if (!r)
		r = set_int(s->fd, SOL_SOCKET, SO_REUSEPORT, 1);
	return r;
}

static int open_out(struct udp_sockets *s, unsigned lane)
{
	int r = 0;

	s->out = s->fd;
	s->source = s->port;
	if (lane) {
		r = open_socket(s, &s->out);
		if (r < 0)
			return r;
		set_int(s->out, SOL_SOCKET, SO_RCVBUF, 0); /* nobody sends there */
		if (s->port + lane > UINT16_MAX ||
		    bind_socket(s, s->out, (uint16_t)(s->port + lane), &s->source) < 0)
			r = bind_socket(s, s->out, 0, &s->source);
	}
	big_buffer(s->out, SO_SNDBUFFORCE, SO_SNDBUF);
	if (r >= 0)
		r = errqueue_enable(s->out, s->v4_only);
	if (r >= 0)
		r = probe_mtu(s, s->out);
	/* it sends too, what must come from the data port; ICMP errors about that are not heard */
	if (r >= 0 && s->out != s->fd)
		r = probe_mtu(s, s->fd);
	return r;
}

int udp_sockets_open(struct udp_sockets *s, uint16_t port, unsigned lane)
{
	int r = open_in(s, port, lane > 0);

	return r < 0 ? r : open_out(s, lane);
}

void udp_sockets_close(struct udp_sockets *s)
{
	if (s->out >= 0 && s->out != s->fd)
		close(s->out);
	if (s->fd >= 0)
		close(s->fd);
}

unsigned udp_sockets_cookies(const struct udp_sockets *s, uint64_t ret[WIRE_UDP_SOCKETS])
{
	socklen_t len = sizeof(*ret);
	unsigned n = 0;

	n += getsockopt(s->fd, SOL_SOCKET, SO_COOKIE, &ret[n], &len) == 0;
	if (s->out != s->fd)
		n += getsockopt(s->out, SOL_SOCKET, SO_COOKIE, &ret[n], &len) == 0;
	return n;
}

int udp_sockets_steer(const struct udp_sockets *s, unsigned n)
{
	/* the packet is looked at from the UDP payload on; one that is too short goes to the first */
	struct sock_filter lane_mod_n[] = {
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, offsetof(struct mvpn_hdr, lane)),
		BPF_STMT(BPF_ALU | BPF_AND | BPF_K, MVPN_LANE_MASK),
		BPF_STMT(BPF_ALU | BPF_MOD | BPF_K, n),
		BPF_STMT(BPF_RET | BPF_A, 0),
	};
	struct sock_fprog prog = {.len = sizeof(lane_mod_n) / sizeof(lane_mod_n[0]),
				  .filter = lane_mod_n};

	return setsockopt(s->fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &prog, sizeof(prog)) < 0
		       ? -errno
		       : 0;
}
