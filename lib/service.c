/* SPDX-License-Identifier: BSD-2-Clause */
#include "service.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#define IPPROTO_MOBILITY 135
#define IPPROTO_HIP 139
#define IPPROTO_SHIM6 140

static const struct {
	const char *name;
	uint8_t number;
	bool ports;
} protocols[] = {
	{"tcp", IPPROTO_TCP, true},
	{"udp", IPPROTO_UDP, true},
	{"sctp", IPPROTO_SCTP, true},
	{"icmp", IPPROTO_ICMP, false},
};
#define PROTOCOLS (sizeof(protocols) / sizeof(protocols[0]))

bool mvpn_proto_has_ports(unsigned proto)
{
	for (unsigned i = 0; i < PROTOCOLS; i++)
		if (protocols[i].number == proto)
			return protocols[i].ports;
	return false;
}

/* what stands before a protocol is none: a packet is never looked up by it */
static bool is_extension(unsigned proto)
{
	return proto == IPPROTO_HOPOPTS || proto == IPPROTO_ROUTING || proto == IPPROTO_FRAGMENT ||
	       proto == IPPROTO_AH || proto == IPPROTO_DSTOPTS || proto == IPPROTO_MOBILITY ||
	       proto == IPPROTO_HIP || proto == IPPROTO_SHIM6;
}

int mvpn_proto_parse(const char *text, size_t len)
{
	unsigned v = 0;

	for (unsigned i = 0; i < PROTOCOLS; i++)
		if (len == strlen(protocols[i].name) && !memcmp(text, protocols[i].name, len))
			return protocols[i].number;
	if (!len || len > 3 || (*text == '0' && len > 1))
		return -EINVAL;
	for (size_t i = 0; i < len; i++) {
		if (text[i] < '0' || text[i] > '9')
			return -EINVAL;
		v = v * 10 + (unsigned)(text[i] - '0');
	}
	if (v > UINT8_MAX || is_extension(v) || v == IPPROTO_NONE)
		return -EINVAL;
	return v == IPPROTO_ICMPV6 ? IPPROTO_ICMP : (int)v;
}

const char *mvpn_proto_name(unsigned proto, char buf[static 8])
{
	for (unsigned i = 0; i < PROTOCOLS; i++)
		if (protocols[i].number == proto)
			return protocols[i].name;
	snprintf(buf, 8, "%u", proto & 0xff);
	return buf;
}

/* ---- lists ---- */

static bool before(const struct mvpn_service *a, const struct mvpn_service *b)
{
	return a->proto != b->proto ? a->proto < b->proto : a->lo < b->lo;
}

int mvpn_services_add(struct mvpn_service *list, unsigned *n, unsigned max, struct mvpn_service s)
{
	struct mvpn_service all = s;
	unsigned joined = 0, kept = 0, at;

	for (unsigned i = 0; i < *n; i++)
		if (list[i].proto == s.proto && list[i].lo <= s.hi + 1 && s.lo <= list[i].hi + 1) {
			all.lo = list[i].lo < all.lo ? list[i].lo : all.lo;
			all.hi = list[i].hi > all.hi ? list[i].hi : all.hi;
			joined++;
		}
	if (!joined && *n == max)
		return -ENOSPC;
	for (unsigned i = 0; i < *n; i++)
		if (list[i].proto != all.proto || list[i].hi < all.lo || list[i].lo > all.hi)
			list[kept++] = list[i];
	for (at = kept; at && before(&all, &list[at - 1]); at--)
		list[at] = list[at - 1];
	list[at] = all;
	*n = kept + 1;
	return 0;
}

/* the last range that begins at or before it */
static const struct mvpn_service *find(const struct mvpn_service *list, unsigned n, uint8_t proto,
				       uint16_t port)
{
	const struct mvpn_service key = {proto, port, port};
	unsigned lo = 0;

	while (n > lo) {
		unsigned mid = (lo + n) / 2;

		if (before(&key, &list[mid]))
			n = mid;
		else
			lo = mid + 1;
	}
	return lo && list[lo - 1].proto == proto ? &list[lo - 1] : NULL;
}

bool mvpn_services_have(const struct mvpn_service *list, unsigned n, uint8_t proto, uint16_t port)
{
	const struct mvpn_service *s = find(list, n, proto, port);

	return s && port <= s->hi;
}

bool mvpn_services_have_proto(const struct mvpn_service *list, unsigned n, uint8_t proto)
{
	return find(list, n, proto, UINT16_MAX);
}

bool mvpn_services_cover(const struct mvpn_service *a, unsigned na, const struct mvpn_service *b,
			 unsigned nb)
{
	for (unsigned i = 0; i < nb; i++) {
		const struct mvpn_service *s = find(a, na, b[i].proto, b[i].lo);

		if (!s || b[i].hi > s->hi)
			return false;
	}
	return true;
}

bool mvpn_services_eq(const struct mvpn_service *a, unsigned na, const struct mvpn_service *b,
		      unsigned nb)
{
	return na == nb && mvpn_services_cover(a, na, b, nb) && mvpn_services_cover(b, nb, a, na);
}

bool mvpn_services_valid(const struct mvpn_service *list, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		const struct mvpn_service *s = &list[i];

		if (s->lo > s->hi || is_extension(s->proto) || s->proto == IPPROTO_NONE ||
		    s->proto == IPPROTO_ICMPV6)
			return false;
		if ((!mvpn_proto_has_ports(s->proto) || !s->lo) && (s->lo || s->hi != UINT16_MAX))
			return false;
		if (i && (before(s, s - 1) ||
			  (s->proto == s[-1].proto && s->lo <= s[-1].hi + 1)))
			return false;
	}
	return true;
}

/* ---- text ---- */

static int ports_str(const struct mvpn_service *s, char *buf, size_t size)
{
	if (!s->lo && s->hi == UINT16_MAX)
		return snprintf(buf, size, "%s", "");
	return snprintf(buf, size, s->lo == s->hi ? " %u" : " %u-%u", s->lo, s->hi);
}

const char *mvpn_service_str(const struct mvpn_service *s, char buf[static MVPN_SERVICESTRLEN])
{
	char name[8], ports[16];

	ports_str(s, ports, sizeof(ports));
	snprintf(buf, MVPN_SERVICESTRLEN, "%s%s", mvpn_proto_name(s->proto, name), ports);
	return buf;
}

void mvpn_services_str(const struct mvpn_service *list, unsigned n, char *buf, size_t size)
{
	static const char more[] = ", …";
	size_t len = 0;

	snprintf(buf, size, "nothing");
	for (unsigned i = 0; i < n; i++) {
		bool same = i && list[i].proto == list[i - 1].proto;
		char one[MVPN_SERVICESTRLEN], ports[16];
		const char *text = mvpn_service_str(&list[i], one);
		size_t add;

		ports_str(&list[i], ports, sizeof(ports));
		if (same)
			text = ports + 1;
		add = strlen(text) + (i ? 2 : 0);
		if (len + add + (i + 1 < n ? sizeof(more) : 1) > size) {
			snprintf(buf + len, size - len, "%s", i ? more : "…");
			return;
		}
		snprintf(buf + len, size - len, "%s%s", i ? ", " : "", text);
		len += add;
	}
}

void mvpn_service_encode(uint8_t ret[static MVPN_SERVICE_B], const struct mvpn_service *s)
{
	ret[0] = s->proto;
	ret[1] = (uint8_t)(s->lo >> 8);
	ret[2] = (uint8_t)s->lo;
	ret[3] = (uint8_t)(s->hi >> 8);
	ret[4] = (uint8_t)s->hi;
}

void mvpn_service_decode(struct mvpn_service *ret, const uint8_t v[static MVPN_SERVICE_B])
{
	*ret = (struct mvpn_service){
		.proto = v[0], .lo = (uint16_t)(v[1] << 8 | v[2]), .hi = (uint16_t)(v[3] << 8 | v[4])};
}
