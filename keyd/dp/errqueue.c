/* SPDX-License-Identifier: BSD-2-Clause */
#include "errqueue.h"

#include <errno.h>
#include <linux/errqueue.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#define ICMP_UNREACH 3
#define ICMP_FRAG_NEEDED 4
#define ICMP6_TOO_BIG 2

int errqueue_enable(int fd, bool v4_only)
{
	int on = 1;

	if (setsockopt(fd, IPPROTO_IP, IP_RECVERR, &on, sizeof(on)) < 0 ||
	    (!v4_only && setsockopt(fd, IPPROTO_IPV6, IPV6_RECVERR, &on, sizeof(on)) < 0))
		return -errno;
	return 0;
}

static bool is_error(const struct cmsghdr *c)
{
	return ((c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_RECVERR) ||
		(c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_RECVERR)) &&
	       c->cmsg_len >= CMSG_LEN(sizeof(struct sock_extended_err));
}

/* false: not by ICMP. What the device refuses the sender is told at once, and here once more. */
static bool parse(struct msghdr *m, struct quote *q)
{
	struct sock_extended_err e;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		if (!is_error(c))
			continue;
		memcpy(&e, CMSG_DATA(c), sizeof(e));
		if (e.ee_origin == SO_EE_ORIGIN_ICMP)
			q->too_big = e.ee_type == ICMP_UNREACH && e.ee_code == ICMP_FRAG_NEEDED;
		else if (e.ee_origin == SO_EE_ORIGIN_ICMP6)
			q->too_big = e.ee_type == ICMP6_TOO_BIG;
		else
			return false;
		q->mtu = q->too_big ? e.ee_info : 0;
		return true;
	}
	return false;
}

bool errqueue_read(int fd, struct quote *ret)
{
	for (;;) {
		struct sockaddr_storage to;
		char control[256] __attribute__((aligned(8)));
		struct iovec iov = {.iov_base = ret->data, .iov_len = sizeof(ret->data)};
		struct msghdr m = {.msg_name = &to,
				   .msg_namelen = sizeof(to),
				   .msg_iov = &iov,
				   .msg_iovlen = 1,
				   .msg_control = control,
				   .msg_controllen = sizeof(control)};
		ssize_t n = recvmsg(fd, &m, MSG_ERRQUEUE | MSG_DONTWAIT);
		socklen_t len = sizeof(int);
		int pending;

		if (n < 0) {
			/* one that found no room in the queue would keep poll() awake */
			getsockopt(fd, SOL_SOCKET, SO_ERROR, &pending, &len);
			return false;
		}
		ret->len = (size_t)n;
		if (parse(&m, ret) &&
		    mvpn_endpoint_from_sockaddr(&ret->to, (struct sockaddr *)&to) >= 0)
			return true;
	}
}
