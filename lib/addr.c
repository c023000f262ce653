/* SPDX-License-Identifier: BSD-2-Clause */
#include "addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

static const uint8_t v4_mapped_head[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

bool mvpn_addr_is_v4(const struct mvpn_addr *a)
{
	return !memcmp(a->b, v4_mapped_head, sizeof(v4_mapped_head));
}

bool mvpn_addr_is_zero(const struct mvpn_addr *a)
{
	static const struct mvpn_addr zero;

	return !memcmp(a, &zero, sizeof(zero));
}

bool mvpn_addr_eq(const struct mvpn_addr *a, const struct mvpn_addr *b)
{
	return !memcmp(a, b, sizeof(*a));
}

bool mvpn_addr_is_loopback(const struct mvpn_addr *a)
{
	static const struct mvpn_addr one = {.b[15] = 1};

	return mvpn_addr_is_v4(a) ? a->b[12] == 127 : mvpn_addr_eq(a, &one);
}

static bool v4_is_ownable(const uint8_t b[4])
{
	/* 0/8 this network, 127/8 loopback, 169.254/16 link-local, 224/4 multicast, 240/4 reserved */
	return b[0] != 0 && b[0] != 127 && !(b[0] == 169 && b[1] == 254) && b[0] < 224;
}

bool mvpn_addr_is_ownable(const struct mvpn_addr *a)
{
	static const uint8_t zero12[12];

	if (mvpn_addr_is_v4(a))
		return v4_is_ownable(a->b + 12);
	/* ::/96 holds the unspecified address, loopback and the deprecated IPv4-compatible ones */
	if (!memcmp(a->b, zero12, sizeof(zero12)))
		return false;
	/* fe80::/10 link-local, ff00::/8 multicast */
	return !(a->b[0] == 0xfe && (a->b[1] & 0xc0) == 0x80) && a->b[0] != 0xff;
}

void mvpn_addr_from_v4(struct mvpn_addr *ret, const void *be32)
{
	memcpy(ret->b, v4_mapped_head, sizeof(v4_mapped_head));
	memcpy(ret->b + 12, be32, 4);
}

int mvpn_endpoint_from_sockaddr(struct mvpn_endpoint *ret, const struct sockaddr *sa)
{
	if (sa->sa_family == AF_INET) {
		struct sockaddr_in in;

		memcpy(&in, sa, sizeof(in));
		mvpn_addr_from_v4(&ret->addr, &in.sin_addr);
		ret->port = ntohs(in.sin_port);
		return 0;
	}
	if (sa->sa_family == AF_INET6) {
		struct sockaddr_in6 in6;

		memcpy(&in6, sa, sizeof(in6));
		memcpy(ret->addr.b, &in6.sin6_addr, 16);
		ret->port = ntohs(in6.sin6_port);
		return 0;
	}
	return -EAFNOSUPPORT;
}

socklen_t mvpn_endpoint_to_sockaddr(const struct mvpn_endpoint *e, bool v4_mapped,
				    struct sockaddr_storage *ret)
{
	memset(ret, 0, sizeof(*ret));
	if (mvpn_addr_is_v4(&e->addr) && !v4_mapped) {
		struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(e->port)};

		memcpy(&in.sin_addr, e->addr.b + 12, 4);
		memcpy(ret, &in, sizeof(in));
		return sizeof(in);
	}
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(e->port)};

	memcpy(&in6.sin6_addr, e->addr.b, 16);
	memcpy(ret, &in6, sizeof(in6));
	return sizeof(in6);
}

/* ---- text ---- */

int mvpn_addr_parse(struct mvpn_addr *ret, const char *s)
{
	uint8_t v4[4];
	struct mvpn_addr a;

	if (inet_pton(AF_INET, s, v4) == 1) {
		mvpn_addr_from_v4(ret, v4);
		return 0;
	}
	if (inet_pton(AF_INET6, s, a.b) != 1)
		return -EINVAL;
	*ret = a;
	return 0;
}

/* decimal digits only, no sign, no leading zero, at most max */
static int parse_number(const char *s, unsigned max, unsigned *ret)
{
	unsigned v = 0;

	if (!*s || (*s == '0' && s[1]))
		return -EINVAL;
	for (; *s; s++) {
		if (*s < '0' || *s > '9')
			return -EINVAL;
		v = v * 10 + (unsigned)(*s - '0');
		if (v > max)
			return -EINVAL;
	}
	*ret = v;
	return 0;
}

int mvpn_prefix_parse(struct mvpn_prefix *ret, const char *s)
{
	char host[INET6_ADDRSTRLEN];
	struct mvpn_prefix p;
	const char *slash = strchr(s, '/');
	size_t n = slash ? (size_t)(slash - s) : strlen(s);
	unsigned len, max;

	if (n >= sizeof(host))
		return -EINVAL;
	memcpy(host, s, n);
	host[n] = 0;
	if (mvpn_addr_parse(&p.addr, host))
		return -EINVAL;
	/* "::ffff:10.0.0.0/104" is written in IPv6 and counts in IPv6; "10.0.0.0/8" in IPv4 */
	max = strchr(host, ':') ? 128 : 32;
	len = max;
	if (slash && parse_number(slash + 1, max, &len))
		return -EINVAL;
	p.len = (uint8_t)(len + 128 - max);
	if (!mvpn_prefix_valid(&p))
		return -EINVAL;
	*ret = p;
	return 0;
}

int mvpn_endpoint_parse(struct mvpn_endpoint *ret, const char *s, uint16_t default_port)
{
	char host[INET6_ADDRSTRLEN];
	struct mvpn_endpoint e;
	const char *begin = s, *end, *port = NULL;
	unsigned n = default_port;

	if (*s == '[') {
		begin = s + 1;
		end = strchr(begin, ']');
		if (!end || (end[1] && end[1] != ':'))
			return -EINVAL;
		if (end[1])
			port = end + 2;
	} else {
		const char *colon = strchr(s, ':');

		/* two colons and no brackets: a lone IPv6 address */
		if (colon && !strchr(colon + 1, ':'))
			port = colon + 1;
		end = port ? colon : s + strlen(s);
	}
	if ((size_t)(end - begin) >= sizeof(host))
		return -EINVAL;
	memcpy(host, begin, (size_t)(end - begin));
	host[end - begin] = 0;
	if (mvpn_addr_parse(&e.addr, host) || (*s == '[' && !strchr(host, ':')))
		return -EINVAL;
	if (port && (parse_number(port, 65535, &n) || !n))
		return -EINVAL;
	e.port = (uint16_t)n;
	*ret = e;
	return 0;
}

const char *mvpn_addr_str(const struct mvpn_addr *a, char buf[static MVPN_ADDRSTRLEN])
{
	bool v4 = mvpn_addr_is_v4(a);

	if (!inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? a->b + 12 : a->b, buf, MVPN_ADDRSTRLEN))
		buf[0] = 0;
	return buf;
}

const char *mvpn_prefix_str(const struct mvpn_prefix *p, char buf[static MVPN_ADDRSTRLEN])
{
	/* a prefix shorter than /96 covers more than IPv4 even if its address looks mapped */
	bool v4 = mvpn_addr_is_v4(&p->addr) && p->len >= 96;
	size_t n;

	if (!inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? p->addr.b + 12 : p->addr.b, buf,
		       MVPN_ADDRSTRLEN))
		buf[0] = 0;
	n = strlen(buf);
	snprintf(buf + n, MVPN_ADDRSTRLEN - n, "/%u", v4 ? p->len - 96u : p->len);
	return buf;
}

const char *mvpn_endpoint_str(const struct mvpn_endpoint *e, char buf[static MVPN_ADDRSTRLEN])
{
	char host[MVPN_ADDRSTRLEN];

	mvpn_addr_str(&e->addr, host);
	/* the longest host is 45 bytes, so that brackets and a port always fit */
	snprintf(buf, MVPN_ADDRSTRLEN, mvpn_addr_is_v4(&e->addr) ? "%.45s:%u" : "[%.45s]:%u", host,
		 e->port);
	return buf;
}

/* ---- prefixes ---- */

static bool bits_equal(const uint8_t *a, const uint8_t *b, unsigned n)
{
	unsigned bytes = n / 8, rest = n % 8;

	if (memcmp(a, b, bytes))
		return false;
	return !rest || !((a[bytes] ^ b[bytes]) >> (8 - rest));
}

bool mvpn_prefix_contains(const struct mvpn_prefix *p, const struct mvpn_addr *a)
{
	return bits_equal(p->addr.b, a->b, p->len);
}

bool mvpn_prefixes_contain(const struct mvpn_prefix *p, unsigned n, const struct mvpn_addr *a)
{
	for (unsigned i = 0; i < n; i++)
		if (mvpn_prefix_contains(&p[i], a))
			return true;
	return false;
}

bool mvpn_prefix_overlaps(const struct mvpn_prefix *a, const struct mvpn_prefix *b)
{
	return bits_equal(a->addr.b, b->addr.b, a->len < b->len ? a->len : b->len);
}

bool mvpn_prefix_valid(const struct mvpn_prefix *p)
{
	if (p->len > 128)
		return false;
	for (unsigned i = p->len; i < 128;) {
		if (i % 8 == 0) {
			if (p->addr.b[i / 8])
				return false;
			i += 8;
			continue;
		}
		if (p->addr.b[i / 8] & (0xffu >> (i % 8)))
			return false;
		i = (i / 8 + 1) * 8;
	}
	return true;
}

struct mvpn_prefix mvpn_prefix_host(const struct mvpn_addr *a)
{
	return (struct mvpn_prefix){.addr = *a, .len = 128};
}
