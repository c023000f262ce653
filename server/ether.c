/* SPDX-License-Identifier: BSD-2-Clause */
#include "ether.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "macs.h"
#include "mvpn/ether.h"

/* the directions of each type between two devices, over all rules */
struct pair {
	unsigned any; /* of types that no rule names */
	unsigned n;
	struct {
		uint16_t type;
		unsigned flags;
	} named[POLICY_ETHERTYPES_MAX];
};

static void pair_add(struct pair *p, unsigned type, unsigned flags)
{
	unsigned i = 0;

	while (i < p->n && p->named[i].type != type)
		i++;
	if (i == POLICY_ETHERTYPES_MAX)
		return; /* a policy has no more */
	if (i == p->n) {
		p->named[p->n].type = (uint16_t)type;
		p->named[p->n++].flags = 0;
	}
	p->named[i].flags |= flags;
}

static void pair_make(const struct policy *policy, const struct device *self,
		      const struct device *other, struct pair *ret)
{
	struct policy_subject a = registry_subject(self), b = registry_subject(other);
	const struct policy_ether *rules;
	unsigned n;

	ret->any = ret->n = 0;
	rules = policy_ethers(policy, &n);
	for (unsigned i = 0; i < n; i++) {
		unsigned flags = policy_ether_flags(policy, &rules[i], &a, &b);

		if (flags && !rules[i].ntypes)
			ret->any |= flags;
		for (unsigned k = 0; flags && k < rules[i].ntypes; k++)
			pair_add(ret, rules[i].types[k], flags);
	}
	for (unsigned i = 0; i < ret->n; i++)
		ret->named[i].flags |= ret->any;
}

static void put(struct table *t, const uint8_t *mac, unsigned type, unsigned flags,
		const struct device *owner)
{
	struct mvpn_ether e = {.type_be = htobe16((uint16_t)type), .flags = (uint8_t)flags};

	if (mac)
		memcpy(e.mac, mac, 6);
	if (owner)
		memcpy(e.owner, owner->row.id, 16);
	table_put(t, MVPN_TLV_ETHER, &e, sizeof(e));
}

/* false: no room */
static bool put_pair(struct table *t, const struct pair *p, const struct device *other)
{
	unsigned each = p->n + (p->any ? 1 : 0);

	if (t->n + each * other->nmacs > MVPN_FRAMES_MAX)
		return false;
	for (unsigned m = 0; m < other->nmacs; m++) {
		if (p->any)
			put(t, other->macs[m]->mac, ETHER_ANY, p->any, other);
		for (unsigned i = 0; i < p->n; i++)
			put(t, other->macs[m]->mac, p->named[i].type, p->named[i].flags, other);
	}
	return true;
}

/* whatever there was no room for is dropped, whoever it is for */
static void put_covers(struct table *t, const struct policy *policy)
{
	struct pair all = {0};
	const struct policy_ether *rules;
	unsigned n;

	rules = policy_ethers(policy, &n);
	for (unsigned i = 0; i < n; i++) {
		if (!rules[i].ntypes)
			all.any = 1;
		for (unsigned k = 0; k < rules[i].ntypes; k++)
			pair_add(&all, rules[i].types[k], 0);
	}
	if (all.any)
		put(t, NULL, ETHER_ANY, 0, NULL);
	for (unsigned i = 0; i < all.n; i++)
		put(t, NULL, all.named[i].type, 0, NULL);
	t->cut = true;
}

static int make(const struct server *s, const struct device *d, struct table *t)
{
	unsigned rules;

	policy_ethers(s->policy, &rules);
	for (uint32_t i = 0; rules && i < s->reg->size; i++) {
		const struct device *other = s->reg->devices[i];
		struct pair p;

		if (!other || other == d || !other->nmacs)
			continue;
		pair_make(s->policy, d, other, &p);
		if (!put_pair(t, &p, other)) {
			put_covers(t, s->policy);
			break;
		}
	}
	return 0;
}

static void told(struct conn *c, const struct table *t)
{
	count(c->s, frames_told);
	if (!t->cut)
		return;
	count(c->s, frames_cut);
	log_ratelimited(LOG_L_WARN,
			"the policy's ethernet lines give device %s more than %d pairs of MAC "
			"address and EtherType: frames to the rest are dropped; name fewer "
			"devices or types",
			c->dev->row.name, MVPN_FRAMES_MAX);
}

const struct table_kind ether_table = {
	.what = "the frames", .msg = MVPN_MSG_ETHER, .make = make, .told = told};
