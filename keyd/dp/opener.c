/* SPDX-License-Identifier: BSD-2-Clause */
#include "opener.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <string.h>
#include <sys/socket.h>

#define HOPS 2
#define ROUTERS 2 /* this host, and its NAT */
#define ROUTE_B (IPOPT_MINOFF - 1 + 4 * ROUTERS + 1)

static bool both_families(int fd)
{
	int domain = AF_INET;
	socklen_t len = sizeof(domain);

	return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 && domain == AF_INET6;
}

int opener_send(int fd, const struct mvpn_endpoint *to, bool one_link, const void *data, size_t len)
{
	static const int hops = HOPS;
	static const uint8_t route[ROUTE_B] = {IPOPT_RR, ROUTE_B, IPOPT_MINOFF};
	char control[CMSG_SPACE(sizeof(hops)) + CMSG_SPACE(sizeof(route))] __attribute__((aligned(8))) = {0};
	struct sockaddr_storage ss;
	struct iovec iov = {.iov_base = (void *)data, .iov_len = len};
	struct msghdr m = {.msg_name = &ss,
			   .msg_iov = &iov,
			   .msg_iovlen = 1,
			   .msg_control = control,
			   .msg_controllen = CMSG_SPACE(sizeof(hops)) + (one_link ? CMSG_SPACE(sizeof(route)) : 0)};
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);

	if (!mvpn_addr_is_v4(&to->addr))
		return -EAFNOSUPPORT;
	m.msg_namelen = mvpn_endpoint_to_sockaddr(to, both_families(fd), &ss);
	*c = (struct cmsghdr){CMSG_LEN(sizeof(hops)), IPPROTO_IP, IP_TTL};
	memcpy(CMSG_DATA(c), &hops, sizeof(hops));
	if (one_link) {
		c = CMSG_NXTHDR(&m, c);
		*c = (struct cmsghdr){CMSG_LEN(sizeof(route)), IPPROTO_IP, IP_RETOPTS};
		memcpy(CMSG_DATA(c), route, sizeof(route));
	}
	if (sendmsg(fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
		return 0;
	/* of the one before it: what drops it says so by ICMP, which is an error of the socket, once */
	return sendmsg(fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}
