/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Frames in the policy:
 *
 *   ethernet [only] NAME -> NAME type TYPE [, TYPE]… [dscp …] [limit …]   TYPE is 0x and one to four hex digits, or * alone;
 *                                                                        policy_class.c
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mvpn/auth.h"
#include "mvpn/ether.h"
#include "policy_text.h"

/* why frames of this type must pass whatever the policy says, or NULL */
static const char *unprotectable(unsigned type)
{
	static const struct {
		unsigned type;
		const char *why;
	} list[] = {
		{ETHER_IP4, "IPv4 is protected by `allow` and `protect`"},
		{ETHER_IP6, "IPv6 is protected by `allow` and `protect`"},
		{ETHER_ARP, "without ARP no address is found"},
		{ETHER_VLAN, "a VLAN tag is looked through: name the type behind it"},
		{ETHER_QINQ, "a VLAN tag is looked through: name the type behind it"},
		{ETHER_EAPOL, "802.1X is spoken with the switch, before anything else"},
		{ETHER_LLDP, "LLDP is spoken with the switch"},
		{ETHER_SLOW, "link aggregation is spoken with the switch"},
	};

	if (type < ETHER_TYPE_MIN)
		return "below 0x0600 it is a length (IEEE 802.3), not a type";
	for (unsigned i = 0; i < sizeof(list) / sizeof(list[0]); i++)
		if (type == list[i].type)
			return list[i].why;
	return NULL;
}

static int type_value(struct reader *r, const struct word *w, unsigned *ret)
{
	char *end = NULL;
	unsigned v = (unsigned)strtoul(w->start, &end, 16); /* cut or too long: refused below */
	bool ok = w->len > 2 && w->len <= 6 && w->start[0] == '0' && (w->start[1] | 0x20) == 'x' &&
		  end == w->start + w->len;
	const char *why;

	if (!ok)
		return fail_at(r, w->start, "an EtherType is written like 0x88b5, or * for all");
	why = unprotectable(v);
	if (why)
		return fail_at(r, w->start, "EtherType 0x%04x cannot be protected: %s", v, why);
	*ret = v;
	return 0;
}

static bool listed(const uint16_t *list, unsigned n, unsigned type)
{
	for (unsigned i = 0; i < n; i++)
		if (list[i] == type)
			return true;
	return false;
}

static int add_type(struct reader *r, struct policy_ether *rule, const struct word *w)
{
	struct policy *p = r->p;
	unsigned type = 0;
	int e = type_value(r, w, &type);

	if (e < 0)
		return e;
	if (listed(rule->types, rule->ntypes, type))
		return fail_at(r, w->start, "EtherType 0x%04x is named twice", type);
	if (!listed(p->types, p->ntypes, type)) {
		if (p->ntypes == POLICY_ETHERTYPES_MAX)
			return fail_at(r, w->start, "more than %d EtherTypes: use *",
				       POLICY_ETHERTYPES_MAX);
		p->types[p->ntypes++] = (uint16_t)type;
	}
	rule->types[rule->ntypes++] = (uint16_t)type;
	return 0;
}

static int read_types(struct reader *r, struct policy_ether *rule)
{
	struct word w;
	int e = read_word(r, "an EtherType or *", true, &w);

	if (e < 0 || *w.start == '*')
		return e;
	for (;;) {
		e = add_type(r, rule, &w);
		skip_space(r);
		if (e < 0 || *r->at != ',')
			return e;
		r->at++;
		e = read_word(r, "an EtherType", false, &w);
		if (e < 0)
			return e;
	}
}

int read_ethernet(struct reader *r)
{
	struct policy *p = r->p;
	struct policy_ether rule = {.line = r->line};
	struct word src, dst, key = {0};
	int e = read_pair(r, &rule.only, &src, &dst);

	if (e == 0)
		e = read_word(r, "\"type\"", false, &key);
	if (e == 0 && !word_is(&key, "type"))
		e = fail_at(r, key.start, "expected \"type\" and an EtherType, like type 0x88b5");
	if (e == 0)
		e = read_types(r, &rule);
	if (e == 0)
		e = read_class(r, true, &rule.class);
	if (e == 0)
		e = expect_end(r);
	if (e == 0 && p->nethers == POLICY_ETHERS_MAX)
		e = fail_at(r, src.start, "more than %d ethernet lines: use groups",
			    POLICY_ETHERS_MAX);
	if (e == 0)
		e = grow(&p->ethers, p->nethers, sizeof(*p->ethers));
	if (e < 0)
		return e;
	rule.src = cut(&src);
	rule.dst = cut(&dst);
	p->ethers[p->nethers++] = rule;
	e = note_name(r, rule.src);
	return e ? e : note_name(r, rule.dst);
}

/* ---- questions ---- */

const struct policy_ether *policy_ethers(const struct policy *p, unsigned *ret_count)
{
	*ret_count = p ? p->nethers : 0;
	return p ? p->ethers : NULL;
}

unsigned policy_ether_flags(const struct policy *p, const struct policy_ether *e,
			    const struct policy_subject *a, const struct policy_subject *b)
{
	bool there = policy_name_matches(p, e->src, a) && policy_name_matches(p, e->dst, b);
	bool back = policy_name_matches(p, e->src, b) && policy_name_matches(p, e->dst, a);

	if (!there && !back)
		return 0;
	if (!e->only || (there && back))
		return MVPN_FRAME_TX | MVPN_FRAME_RX;
	return there ? MVPN_FRAME_TX : MVPN_FRAME_RX;
}

bool policy_allows_layer(const struct policy *p, unsigned layer, const struct policy_subject *src,
			 const struct policy_subject *dst)
{
	if (layer != MVPN_LAYER_LINK)
		return policy_allows(p, src, dst);
	for (unsigned i = 0; p && i < p->nethers; i++)
		if (policy_ether_flags(p, &p->ethers[i], src, dst))
			return true;
	return false;
}

void policy_ether_str(const struct policy_ether *e, char *ret, size_t size)
{
	char class[MVPN_CLASSSTRLEN];
	int n = snprintf(ret, size, "ethernet %s%s -> %s type %s", e->only ? "only " : "", e->src,
			 e->dst, e->ntypes ? "" : "*");

	for (unsigned i = 0; i < e->ntypes && n >= 0 && (size_t)n < size; i++)
		n += snprintf(ret + n, size - (size_t)n, "%s0x%04x", i ? ", " : "", e->types[i]);
	if (n >= 0 && (size_t)n < size && !mvpn_class_is_plain(&e->class))
		snprintf(ret + n, size - (size_t)n, " %s", mvpn_class_str(&e->class, class));
}
