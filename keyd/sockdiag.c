/* SPDX-License-Identifier: BSD-2-Clause */
#include "sockdiag.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "addr.h"

#define ANSWER_B 4096
#define ESTABLISHED 1 /* TCP_ESTABLISHED, which a UDP socket is that is connected */

struct sockdiag {
	struct mnl_socket *s;
	uint32_t seq;
	_Alignas(8) char buf[ANSWER_B];
};

int sockdiag_new(struct sockdiag **ret)
{
	struct sockdiag *d = calloc(1, sizeof(*d));
	int r = -ENOMEM;

	if (!d)
		return r;
	d->s = mnl_socket_open2(NETLINK_SOCK_DIAG, SOCK_CLOEXEC);
	if (!d->s || mnl_socket_bind(d->s, 0, MNL_SOCKET_AUTOPID) < 0) {
		r = -errno;
		sockdiag_free(d);
		return r;
	}
	*ret = d;
	return 0;
}

void sockdiag_free(struct sockdiag *d)
{
	if (!d)
		return;
	if (d->s)
		mnl_socket_close(d->s);
	free(d);
}

static void put_addr(__be32 to[4], const uint8_t b[16], bool v4)
{
	memcpy(to, v4 ? b + 12 : b, v4 ? 4 : 16);
}

static void ask(struct inet_diag_req_v2 *q, const struct mvpn_flow_key *flow, uint64_t cookie)
{
	struct inet_diag_sockid *id = &q->id;
	struct mvpn_addr src;
	bool v4, tcp = flow->proto == IPPROTO_TCP;

	memcpy(src.b, flow->src, sizeof(src.b));
	v4 = mvpn_addr_is_v4(&src);
	q->sdiag_family = v4 ? AF_INET : AF_INET6;
	q->sdiag_protocol = flow->proto;
	q->idiag_states = ~0U;
	q->idiag_ext = tcp ? 1 << (INET_DIAG_INFO - 1) : 0;
	/* of UDP the kernel takes the two ends the other way round, and always has */
	put_addr(id->idiag_src, tcp ? flow->src : flow->dst, v4);
	put_addr(id->idiag_dst, tcp ? flow->dst : flow->src, v4);
	id->idiag_sport = tcp ? flow->sport : flow->dport;
	id->idiag_dport = tcp ? flow->dport : flow->sport;
	id->idiag_cookie[0] = cookie ? (uint32_t)cookie : INET_DIAG_NOCOOKIE;
	id->idiag_cookie[1] = cookie ? (uint32_t)(cookie >> 32) : INET_DIAG_NOCOOKIE;
}

static int answer(const struct nlmsghdr *h, void *arg)
{
	const struct inet_diag_msg *m = mnl_nlmsg_get_payload(h);
	struct socket_info *ret = arg;
	const struct nlattr *a;
	struct tcp_info info = {};

	if (mnl_nlmsg_get_payload_len(h) < sizeof(*m)) {
		errno = EBADMSG;
		return MNL_CB_ERROR;
	}
	*ret = (struct socket_info){
		.cookie = (uint64_t)m->id.idiag_cookie[1] << 32 | m->id.idiag_cookie[0],
		.uid = m->idiag_uid,
		.inode = m->idiag_inode,
	};
	mnl_attr_for_each(a, h, sizeof(*m))
	{
		size_t len = mnl_attr_get_payload_len(a);

		if (mnl_attr_get_type(a) == INET_DIAG_CGROUP_ID && len == sizeof(uint64_t)) {
			ret->cgroup = mnl_attr_get_u64(a);
		} else if (mnl_attr_get_type(a) == INET_DIAG_INFO) {
			/* newer kernels say more, older ones less */
			memcpy(&info, mnl_attr_get_payload(a),
			       len < sizeof(info) ? len : sizeof(info));
			ret->tcp = len >= offsetof(struct tcp_info, tcpi_segs_out);
		}
	}
	ret->bytes_in = info.tcpi_bytes_received;
	ret->bytes_out = info.tcpi_bytes_acked;
	ret->rtt_us = info.tcpi_rtt;
	return MNL_CB_STOP;
}

static struct inet_diag_req_v2 *request(struct sockdiag *d, struct nlmsghdr **ret, unsigned flags)
{
	struct nlmsghdr *h = mnl_nlmsg_put_header(d->buf);
	struct inet_diag_req_v2 *q;

	h->nlmsg_type = SOCK_DIAG_BY_FAMILY;
	h->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
	h->nlmsg_seq = ++d->seq;
	q = mnl_nlmsg_put_extra_header(h, sizeof(*q));
	memset(q, 0, sizeof(*q));
	*ret = h;
	return q;
}

int sockdiag_get(struct sockdiag *d, const struct mvpn_flow_key *flow, uint64_t cookie,
		 struct socket_info *ret)
{
	struct inet_diag_req_v2 *q;
	struct nlmsghdr *h;
	ssize_t n;

	if (flow->proto != IPPROTO_TCP && flow->proto != IPPROTO_UDP)
		return -EPROTONOSUPPORT;
	q = request(d, &h, 0);
	ask(q, flow, cookie);
	if (mnl_socket_sendto(d->s, h, h->nlmsg_len) < 0)
		return -errno;
	/* the kernel has answered before the request returns */
	n = mnl_socket_recvfrom(d->s, d->buf, sizeof(d->buf));
	if (n < 0)
		return -errno;
	return mnl_cb_run(d->buf, (size_t)n, d->seq, mnl_socket_get_portid(d->s), answer, ret) < 0
		       ? -errno
		       : 0;
}

struct port_fn {
	void (*fn)(void *arg, uint16_t port);
	void *arg;
};

static int connected(const struct nlmsghdr *h, void *arg)
{
	const struct inet_diag_msg *m = mnl_nlmsg_get_payload(h);
	const struct port_fn *f = arg;

	if (mnl_nlmsg_get_payload_len(h) >= sizeof(*m))
		f->fn(f->arg, ntohs(m->id.idiag_dport));
	return MNL_CB_OK;
}

int sockdiag_udp_connected(struct sockdiag *d, void (*fn)(void *arg, uint16_t port), void *arg)
{
	static const uint8_t families[] = {AF_INET, AF_INET6};
	struct port_fn f = {fn, arg};

	for (unsigned i = 0; i < 2; i++) {
		struct nlmsghdr *h;
		struct inet_diag_req_v2 *q = request(d, &h, NLM_F_DUMP);
		int more = MNL_CB_OK;

		q->sdiag_family = families[i];
		q->sdiag_protocol = IPPROTO_UDP;
		q->idiag_states = 1 << ESTABLISHED;
		if (mnl_socket_sendto(d->s, h, h->nlmsg_len) < 0)
			return -errno;
		while (more > MNL_CB_STOP) {
			ssize_t n = mnl_socket_recvfrom(d->s, d->buf, sizeof(d->buf));

			more = n < 0 ? MNL_CB_ERROR
				     : mnl_cb_run(d->buf, (size_t)n, d->seq,
						  mnl_socket_get_portid(d->s), connected, &f);
			if (more == MNL_CB_ERROR)
				return -errno;
		}
	}
	return 0;
}
