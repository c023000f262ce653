/* SPDX-License-Identifier: BSD-2-Clause */
#include "answer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dp/icmp.h"

#define TTL 64
#define TCP_B 20
#define UDP_B 8

static const enum icmp_error errors[] = {
	[ANSWER_HOST] = ICMP_E_HOST, [ANSWER_PORT] = ICMP_E_PORT, [ANSWER_PROHIBITED] = ICMP_E_PROHIBITED};
_Static_assert(ANSWER_MAX_B >= ICMP_ERROR_MAX_B, "errors fit");

struct answer {
	int raw4, raw6; /* -1: no such family */
};

/* ---- packets ---- */

/* header and `len` bytes of `proto`, which are summed at `check`; returns the packet's length */
static size_t ip_packet(uint8_t *ret, const struct mvpn_addr *from, const struct mvpn_addr *to,
			uint8_t proto, const uint8_t *l4, size_t len, unsigned check)
{
	bool v4 = mvpn_addr_is_v4(from);
	size_t head = v4 ? 20 : 40;

	memset(ret, 0, head);
	if (v4) {
		ret[0] = 0x45;
		put16(ret + IP4_LEN, (unsigned)(head + len));
		put16(ret + IP4_FRAG, IP4_DF);
		ret[IP4_TTL] = TTL;
		ret[IP4_PROTO] = proto;
		memcpy(ret + IP4_SRC, from->b + 12, 4);
		memcpy(ret + IP4_DST, to->b + 12, 4);
		ip4_checksum(ret, 20);
	} else {
		ret[0] = 0x60;
		put16(ret + IP6_LEN, (unsigned)len);
		ret[IP6_NEXT] = proto;
		ret[IP6_HOPS] = TTL;
		memcpy(ret + IP6_SRC, from->b, 16);
		memcpy(ret + IP6_DST, to->b, 16);
	}
	memcpy(ret + head, l4, len);
	put16(ret + head + check, 0);
	sum_store(ret + head + check,
		  (uint16_t)~sum_fold(sum_bytes(sum_add16(sum_pseudo(ret, v4, proto), (unsigned)len),
						ret + head, len)));
	return head + len;
}

uint32_t answer_syn_number(const struct answer_syn *s)
{
	return get32(s->tcp + TCP_SEQ);
}

size_t answer_again_packet(uint8_t *ret, const struct answer_syn *s)
{
	return ip_packet(ret, &s->from.addr, &s->at.addr, IPPROTO_TCP, s->tcp, s->len, TCP_CHECK);
}

size_t answer_reset_packet(uint8_t *ret, const struct answer_syn *s)
{
	uint8_t tcp[TCP_B] = {[TCP_DOFF] = TCP_B / 4 << 4, [TCP_FLAGS] = TCP_F_RST | TCP_F_ACK};

	put16(tcp, s->at.port);
	put16(tcp + 2, s->from.port);
	put32(tcp + TCP_ACK, answer_syn_number(s) + 1);
	return ip_packet(ret, &s->at.addr, &s->from.addr, IPPROTO_TCP, tcp, sizeof(tcp), TCP_CHECK);
}

static size_t unreachable(uint8_t *ret, uint8_t *about, size_t len, enum answer_error what)
{
	struct packet p;

	return packet_parse(&p, about, len) ? 0 : icmp_error(ret, &p, errors[what], 0);
}

size_t answer_unreachable_packet(uint8_t *ret, const struct answer_syn *s, enum answer_error what)
{
	uint8_t about[40 + ANSWER_TCP_MAX_B];

	return unreachable(ret, about, answer_again_packet(about, s), what);
}

/* of the datagram only its ends are quoted: no kernel asks for more */
size_t answer_datagram_packet(uint8_t *ret, const struct mvpn_endpoint *from,
			      const struct mvpn_endpoint *at, enum answer_error what)
{
	uint8_t about[40 + UDP_B], udp[UDP_B] = {0};

	put16(udp, from->port);
	put16(udp + 2, at->port);
	put16(udp + UDP_LEN, UDP_B);
	return unreachable(ret, about,
			   ip_packet(about, &from->addr, &at->addr, IPPROTO_UDP, udp, sizeof(udp),
				     UDP_CHECK),
			   what);
}

/* ---- and how they go ---- */

/* IPPROTO_RAW: with the header that is given, and nothing is received */
static int raw(int family)
{
	return socket(family, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_RAW);
}

int answer_new(struct answer **ret)
{
	struct answer *a = calloc(1, sizeof(*a));
	int r;

	if (!a)
		return -ENOMEM;
	a->raw4 = raw(AF_INET);
	a->raw6 = a->raw4 < 0 ? -1 : raw(AF_INET6);
	if (a->raw4 < 0 || (a->raw6 < 0 && errno != EAFNOSUPPORT)) {
		r = -errno;
		answer_free(a);
		return r;
	}
	*ret = a;
	return 0;
}

int answer_fd(const struct answer *a, unsigned i)
{
	return i ? a->raw6 : a->raw4;
}

void answer_free(struct answer *a)
{
	if (!a)
		return;
	if (a->raw4 >= 0)
		close(a->raw4);
	if (a->raw6 >= 0)
		close(a->raw6);
	free(a);
}

static int out(const struct answer *a, const struct mvpn_addr *to, const uint8_t *packet, size_t len)
{
	const struct mvpn_endpoint e = {.addr = *to};
	struct sockaddr_storage sa;
	socklen_t sa_len = mvpn_endpoint_to_sockaddr(&e, false, &sa);
	int fd = mvpn_addr_is_v4(to) ? a->raw4 : a->raw6;

	if (fd < 0)
		return -EAFNOSUPPORT;
	if (!len)
		return -EINVAL;
	return sendto(fd, packet, len, MSG_DONTWAIT | MSG_NOSIGNAL, (struct sockaddr *)&sa, sa_len) < 0
		       ? -errno
		       : 0;
}

int answer_again(const struct answer *a, const struct answer_syn *s)
{
	uint8_t packet[ANSWER_MAX_B];

	return out(a, &s->at.addr, packet, answer_again_packet(packet, s));
}

int answer_reset(const struct answer *a, const struct answer_syn *s)
{
	uint8_t packet[ANSWER_MAX_B];

	return out(a, &s->from.addr, packet, answer_reset_packet(packet, s));
}

int answer_unreachable(const struct answer *a, const struct answer_syn *s, enum answer_error what)
{
	uint8_t packet[ANSWER_MAX_B];

	return out(a, &s->from.addr, packet, answer_unreachable_packet(packet, s, what));
}

int answer_datagram(const struct answer *a, const struct mvpn_endpoint *from,
		    const struct mvpn_endpoint *at, enum answer_error what)
{
	uint8_t packet[ANSWER_MAX_B];

	return out(a, &from->addr, packet, answer_datagram_packet(packet, from, at, what));
}
