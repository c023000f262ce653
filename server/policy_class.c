/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Traffic classes in the policy: what an `allow` or `ethernet` line may end with.
 *
 *   [dscp copy|NAME|0-63] [limit RATE [burst SIZE]]       RATE: a number and kbit, mbit or gbit; SIZE: a number and kb or mb
 *
 * Of several lines about a pair the first that is about a packet decides, for both: as with `mode` and `level`.
 */
#include <errno.h>

#include "mvpn/auth.h"
#include "mvpn/maps.h"
#include "policy_text.h"

struct unit {
	const char *name;
	uint32_t of;
};
static const struct unit rates[] = {{"kbit", 1}, {"mbit", 1000}, {"gbit", 1000000}, {NULL, 0}};
static const struct unit sizes[] = {{"kb", 1 << 10}, {"mb", 1 << 20}, {NULL, 0}};

/* 0: it is none, or beyond 32 bits */
static uint32_t amount(const struct word *w, const struct unit *units)
{
	uint64_t v = 0;
	size_t i = 0;

	for (; i < w->len && i < 10 && w->start[i] >= '0' && w->start[i] <= '9'; i++)
		v = v * 10 + (unsigned)(w->start[i] - '0');
	for (; i && units->name; units++)
		if (word_is(&(struct word){w->start + i, w->len - i}, units->name))
			return v * units->of <= UINT32_MAX ? (uint32_t)(v * units->of) : 0;
	return 0;
}

static int read_dscp(struct reader *r, bool frames, struct mvpn_class *c)
{
	struct word w;
	int v, e = read_word(r, "a DSCP", false, &w);

	if (e < 0)
		return e;
	v = mvpn_dscp_parse(w.start, w.len);
	if (v < 0)
		return fail_at(
			r, w.start,
			"a DSCP is a name like ef, af21, cs5 or le, a number from 0 to %d, or copy",
			MVPN_DSCP_MAX);
	if (frames && v == MVPN_DSCP_COPY)
		return fail_at(r, w.start, "a frame has no DSCP that could be copied: give one");
	c->dscp = (uint8_t)v;
	return 0;
}

static int read_burst(struct reader *r, struct mvpn_class *c)
{
	struct word w;
	int e = read_word(r, "a burst", false, &w);

	if (e < 0)
		return e;
	c->burst_b = amount(&w, sizes);
	if (c->burst_b < MVPN_LIMIT_BURST_MIN_B || c->burst_b > MVPN_LIMIT_BURST_MAX_B)
		return fail_at(r, w.start, "a burst is %dkb to %dmb, like 256kb",
			       MVPN_LIMIT_BURST_MIN_B >> 10, MVPN_LIMIT_BURST_MAX_B >> 20);
	return 0;
}

int read_rate(struct reader *r, uint32_t *ret_kbit)
{
	struct word w;
	int e = read_word(r, "a rate", false, &w);

	if (e < 0)
		return e;
	*ret_kbit = amount(&w, rates);
	if (*ret_kbit < MVPN_LIMIT_MIN_KBIT || *ret_kbit > MVPN_LIMIT_MAX_KBIT)
		return fail_at(r, w.start, "a limit is %dkbit to %dgbit, like 20mbit",
			       MVPN_LIMIT_MIN_KBIT, MVPN_LIMIT_MAX_KBIT / 1000000);
	return 0;
}

static int read_limit(struct reader *r, struct mvpn_class *c)
{
	int e = read_rate(r, &c->rate_kbit);

	if (e < 0)
		return e;
	c->burst_b = mvpn_burst_default(c->rate_kbit);
	return next_is(r, "burst") ? read_burst(r, c) : 0;
}

bool class_is_next(struct reader *r)
{
	char *before = r->at;
	bool is = next_is(r, "dscp") || next_is(r, "limit");

	r->at = before;
	return is;
}

int read_class(struct reader *r, bool frames, struct mvpn_class *ret)
{
	int e = 0;

	*ret = (struct mvpn_class){.dscp = MVPN_DSCP_NETWORK};
	if (next_is(r, "dscp"))
		e = read_dscp(r, frames, ret);
	if (e == 0 && next_is(r, "limit"))
		e = read_limit(r, ret);
	return e;
}

/* ---- frames: EtherTypes are the services, the same at both ends ---- */

int policy_frame_classes(const struct policy *p, const struct policy_subject *a,
			 const struct policy_subject *b, struct mvpn_classes *ret)
{
	struct mvpn_service types[POLICY_ETHERTYPES_MAX];
	int r = 0;

	mvpn_classes_init(ret);
	for (unsigned i = 0; p && i < p->nethers; i++) {
		const struct policy_ether *e = &p->ethers[i];

		if (!policy_ether_flags(p, e, a, b))
			continue;
		for (unsigned k = 0; k < e->ntypes; k++)
			types[k] = (struct mvpn_service){0, e->types[k], e->types[k]};
		if (mvpn_classes_add(ret, &e->class, types, e->ntypes, 1) < 0)
			r = -ENOSPC;
		if (!e->ntypes)
			break;
	}
	return r;
}
