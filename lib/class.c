/* SPDX-License-Identifier: BSD-2-Clause */
#include "class.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define HEAD_B 4
#define CLASS_B 9
#define RANGE_B 6

bool mvpn_class_is_plain(const struct mvpn_class *c)
{
	return c->dscp == MVPN_DSCP_NETWORK && !c->rate_kbit;
}

static bool same_class(const struct mvpn_class *a, const struct mvpn_class *b)
{
	return a->dscp == b->dscp && a->rate_kbit == b->rate_kbit && a->burst_b == b->burst_b;
}

uint32_t mvpn_burst_default(uint32_t rate_kbit)
{
	uint64_t b = (uint64_t)rate_kbit * MVPN_LIMIT_BURST_MS / 8;

	return b < MVPN_LIMIT_BURST_MIN_B   ? MVPN_LIMIT_BURST_MIN_B
	       : b > MVPN_LIMIT_BURST_MAX_B ? MVPN_LIMIT_BURST_MAX_B
					    : (uint32_t)b;
}

/* ---- lines become ranges ---- */

void mvpn_classes_init(struct mvpn_classes *c)
{
	c->n = c->nranges[0] = c->nranges[1] = 0;
	c->rest = MVPN_CLASS_PLAIN;
}

/* Each line with a limit has its own: others only say how packets look. */
static int class_index(struct mvpn_classes *c, const struct mvpn_class *of)
{
	if (mvpn_class_is_plain(of))
		return MVPN_CLASS_PLAIN;
	for (unsigned i = 0; i < c->n && !of->rate_kbit; i++)
		if (same_class(&c->list[i], of))
			return (int)i;
	if (c->n == MVPN_CLASSES_MAX)
		return -ENOSPC;
	c->list[c->n] = *of;
	return c->n++;
}

static bool adjoin(const struct mvpn_class_range *a, const struct mvpn_class_range *b)
{
	return a->of.proto == b->of.proto && a->class == b->class && a->of.hi + 1 == b->of.lo;
}

static int range_insert(struct mvpn_classes *c, unsigned end, unsigned at,
			struct mvpn_class_range r)
{
	struct mvpn_class_range *list = c->ranges[end];

	if (c->nranges[end] == MVPN_SERVICES_MAX)
		return -ENOSPC;
	memmove(&list[at + 1], &list[at], (c->nranges[end] - at) * sizeof(*list));
	list[at] = r;
	c->nranges[end]++;
	return 0;
}

static void join(struct mvpn_classes *c, unsigned end)
{
	struct mvpn_class_range *list = c->ranges[end];
	unsigned n = 0;

	for (unsigned i = 0; i < c->nranges[end]; i++)
		if (n && adjoin(&list[n - 1], &list[i]))
			list[n - 1].of.hi = list[i].of.hi;
		else
			list[n++] = list[i];
	c->nranges[end] = (uint8_t)n;
}

/* what earlier ranges leave of it */
static int range_add(struct mvpn_classes *c, unsigned end, struct mvpn_service s, uint8_t class)
{
	const struct mvpn_class_range *list = c->ranges[end];
	uint32_t lo = s.lo;
	unsigned at = 0;
	int r = 0;

	while (at < c->nranges[end] && (list[at].of.proto < s.proto ||
					(list[at].of.proto == s.proto && list[at].of.hi < s.lo)))
		at++;
	while (lo <= s.hi && r == 0) {
		const struct mvpn_service *next =
			at < c->nranges[end] && list[at].of.proto == s.proto ? &list[at].of : NULL;
		uint32_t hi = next && next->lo <= s.hi ? next->lo - 1U : s.hi;

		if (next && next->lo <= lo) {
			lo = next->hi + 1U;
		} else {
			r = range_insert(c, end, at,
					 (struct mvpn_class_range){
						 {s.proto, (uint16_t)lo, (uint16_t)hi}, class});
			lo = hi + 1;
		}
		at++;
	}
	join(c, end);
	return r;
}

int mvpn_classes_add(struct mvpn_classes *c, const struct mvpn_class *of,
		     const struct mvpn_service *services, unsigned n, unsigned at)
{
	int class = class_index(c, of), r = 0;

	if (class < 0)
		return class;
	if (!n)
		c->rest = (uint8_t) class;
	for (unsigned i = 0; i < n; i++)
		for (unsigned end = 0; end < 2 && r == 0; end++)
			if (at & 1U << end)
				r = range_add(c, end, services[i], (uint8_t) class);
	return r;
}

static bool range_eq(const struct mvpn_class_range *a, const struct mvpn_class_range *b)
{
	return a->of.proto == b->of.proto && a->of.lo == b->of.lo && a->of.hi == b->of.hi &&
	       a->class == b->class;
}

bool mvpn_classes_eq(const struct mvpn_classes *a, const struct mvpn_classes *b)
{
	bool same = a->n == b->n && (!a->n || a->rest == b->rest);

	for (unsigned i = 0; i < a->n && same; i++)
		same = same_class(&a->list[i], &b->list[i]);
	for (unsigned end = 0; a->n && end < 2 && same; end++) {
		same = a->nranges[end] == b->nranges[end];
		for (unsigned i = 0; i < a->nranges[end] && same; i++)
			same = range_eq(&a->ranges[end][i], &b->ranges[end][i]);
	}
	return same;
}

/* ---- questions ---- */

int mvpn_classes_find(const struct mvpn_classes *c, unsigned end, uint8_t proto, uint16_t port)
{
	const struct mvpn_class_range *list = c->ranges[end];
	unsigned lo = 0, hi = c->nranges[end];

	while (lo < hi) {
		unsigned mid = (lo + hi) / 2;
		const struct mvpn_service *s = &list[mid].of;

		if (s->proto < proto || (s->proto == proto && s->hi < port))
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo == c->nranges[end] || list[lo].of.proto != proto || list[lo].of.lo > port)
		return MVPN_CLASS_NONE;
	return list[lo].class;
}

int mvpn_classes_find_proto(const struct mvpn_classes *c, unsigned end, uint8_t proto)
{
	for (unsigned i = 0; i < c->nranges[end]; i++)
		if (c->ranges[end][i].of.proto == proto)
			return c->ranges[end][i].class;
	return MVPN_CLASS_NONE;
}

/* ---- bytes ---- */

static uint8_t *put(uint8_t *p, uint32_t v, unsigned bytes)
{
	while (bytes--)
		*p++ = (uint8_t)(v >> 8 * bytes);
	return p;
}

static uint32_t get(const uint8_t **p, unsigned bytes)
{
	uint32_t v = 0;

	while (bytes--)
		v = v << 8 | *(*p)++;
	return v;
}

size_t mvpn_classes_size(const struct mvpn_classes *c)
{
	return HEAD_B + CLASS_B * c->n + RANGE_B * (size_t)(c->nranges[0] + c->nranges[1]);
}

void mvpn_classes_encode(const struct mvpn_classes *c, uint8_t *ret)
{
	ret = put(ret, c->n, 1);
	ret = put(ret, c->rest, 1);
	ret = put(ret, c->nranges[0], 1);
	ret = put(ret, c->nranges[1], 1);
	for (unsigned i = 0; i < c->n; i++) {
		ret = put(ret, c->list[i].dscp, 1);
		ret = put(ret, c->list[i].rate_kbit, 4);
		ret = put(ret, c->list[i].burst_b, 4);
	}
	for (unsigned end = 0; end < 2; end++)
		for (unsigned i = 0; i < c->nranges[end]; i++) {
			const struct mvpn_class_range *r = &c->ranges[end][i];

			ret = put(ret, r->of.proto, 1);
			ret = put(ret, r->of.lo, 2);
			ret = put(ret, r->of.hi, 2);
			ret = put(ret, r->class, 1);
		}
}

static bool class_valid(const struct mvpn_class *c)
{
	if (c->dscp > MVPN_DSCP_MAX && c->dscp != MVPN_DSCP_COPY && c->dscp != MVPN_DSCP_NETWORK)
		return false;
	if (!c->rate_kbit)
		return !c->burst_b && c->dscp != MVPN_DSCP_NETWORK;
	return c->rate_kbit >= MVPN_LIMIT_MIN_KBIT && c->rate_kbit <= MVPN_LIMIT_MAX_KBIT &&
	       c->burst_b >= MVPN_LIMIT_BURST_MIN_B && c->burst_b <= MVPN_LIMIT_BURST_MAX_B;
}

static bool ranges_valid(const struct mvpn_classes *c, unsigned end)
{
	const struct mvpn_class_range *list = c->ranges[end];

	for (unsigned i = 0; i < c->nranges[end]; i++) {
		const struct mvpn_service *s = &list[i].of, *before = i ? &list[i - 1].of : NULL;

		if (s->lo > s->hi || (list[i].class >= c->n && list[i].class != MVPN_CLASS_PLAIN))
			return false;
		if (before && (before->proto > s->proto ||
			       (before->proto == s->proto && before->hi >= s->lo)))
			return false;
		if (before && adjoin(&list[i - 1], &list[i]))
			return false;
	}
	return true;
}

int mvpn_classes_decode(struct mvpn_classes *ret, const uint8_t *p, size_t len)
{
	struct mvpn_classes c = {0};

	if (len < HEAD_B)
		return -EINVAL;
	c.n = (uint8_t)get(&p, 1);
	c.rest = (uint8_t)get(&p, 1);
	c.nranges[0] = (uint8_t)get(&p, 1);
	c.nranges[1] = (uint8_t)get(&p, 1);
	if (!c.n || c.n > MVPN_CLASSES_MAX || (c.rest >= c.n && c.rest != MVPN_CLASS_PLAIN) ||
	    c.nranges[0] > MVPN_SERVICES_MAX || c.nranges[1] > MVPN_SERVICES_MAX ||
	    len != mvpn_classes_size(&c))
		return -EINVAL;
	for (unsigned i = 0; i < c.n; i++) {
		c.list[i].dscp = (uint8_t)get(&p, 1);
		c.list[i].rate_kbit = get(&p, 4);
		c.list[i].burst_b = get(&p, 4);
		if (!class_valid(&c.list[i]))
			return -EINVAL;
	}
	for (unsigned end = 0; end < 2; end++) {
		for (unsigned i = 0; i < c.nranges[end]; i++) {
			struct mvpn_class_range *r = &c.ranges[end][i];

			r->of.proto = (uint8_t)get(&p, 1);
			r->of.lo = (uint16_t)get(&p, 2);
			r->of.hi = (uint16_t)get(&p, 2);
			r->class = (uint8_t)get(&p, 1);
		}
		if (!ranges_valid(&c, end))
			return -EINVAL;
	}
	*ret = c;
	return 0;
}

/* ---- text ---- */

/* RFC 2474, 2597, 3246, 8622 */
static const struct {
	const char *name;
	uint8_t dscp;
} dscps[] = {
	{"cs0", 0},
	{"cs1", 8},
	{"cs2", 16},
	{"cs3", 24},
	{"cs4", 32},
	{"cs5", 40},
	{"cs6", 48},
	{"cs7", 56},
	{"af11", 10},
	{"af12", 12},
	{"af13", 14},
	{"af21", 18},
	{"af22", 20},
	{"af23", 22},
	{"af31", 26},
	{"af32", 28},
	{"af33", 30},
	{"af41", 34},
	{"af42", 36},
	{"af43", 38},
	{"ef", 46},
	{"le", 1},
	{"copy", MVPN_DSCP_COPY},
};
#define DSCPS (sizeof(dscps) / sizeof(dscps[0]))

const char *mvpn_dscp_name(unsigned dscp, char buf[static 8])
{
	for (unsigned i = 0; i < DSCPS; i++)
		if (dscps[i].dscp == dscp)
			return dscps[i].name;
	snprintf(buf, 8, "%u", dscp & 0xff);
	return buf;
}

int mvpn_dscp_parse(const char *text, size_t len)
{
	unsigned v = 0;

	for (unsigned i = 0; i < DSCPS; i++)
		if (len == strlen(dscps[i].name) && !memcmp(text, dscps[i].name, len))
			return dscps[i].dscp;
	if (!len || len > 2)
		return -EINVAL;
	for (size_t i = 0; i < len; i++) {
		if (text[i] < '0' || text[i] > '9')
			return -EINVAL;
		v = v * 10 + (unsigned)(text[i] - '0');
	}
	return v > MVPN_DSCP_MAX ? -EINVAL : (int)v;
}

const char *mvpn_class_str(const struct mvpn_class *c, char buf[static MVPN_CLASSSTRLEN])
{
	static const char *const units[] = {"kbit", "mbit", "gbit"};
	uint32_t rate = c->rate_kbit;
	unsigned unit = 0;
	char name[8];
	int n = 0;

	buf[0] = '\0';
	if (c->dscp != MVPN_DSCP_NETWORK)
		n = snprintf(buf, MVPN_CLASSSTRLEN, "dscp %s", mvpn_dscp_name(c->dscp, name));
	if (!rate)
		return buf;
	for (; unit < 2 && rate % 1000 == 0; unit++)
		rate /= 1000;
	n += snprintf(buf + n, MVPN_CLASSSTRLEN - (size_t)n, "%slimit %u%s", n ? " " : "", rate,
		      units[unit]);
	if (c->burst_b != mvpn_burst_default(c->rate_kbit))
		snprintf(buf + n, MVPN_CLASSSTRLEN - (size_t)n, " burst %ukb", c->burst_b >> 10);
	return buf;
}
