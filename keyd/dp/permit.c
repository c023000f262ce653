/* SPDX-License-Identifier: BSD-2-Clause */
#include "permit.h"

#include <netinet/icmp6.h>
#include <netinet/ip_icmp.h>

#include "mvpn/auth.h"

#define IP4_FRAGMENT_UNIT 8
#define IP6_FRAGMENT_B 8
#define IP6_FRAGMENT_OFFSET 2 /* where it is in that header */

struct services {
	const struct mvpn_service *list;
	unsigned n;
};

/* what the packet goes to, and may come from */
struct ends {
	struct services to, from;
};

static struct ends ends(const struct kt_session *s, bool out)
{
	struct services here = {s->services, s->nserv_local};
	struct services there = {s->services + s->nserv_local, s->nserv_remote};

	return out ? (struct ends){there, here} : (struct ends){here, there};
}

static bool have(const struct services *s, uint8_t proto, uint16_t port)
{
	return mvpn_services_have(s->list, s->n, proto, port);
}

static bool have_proto(const struct services *s, uint8_t proto)
{
	return mvpn_services_have_proto(s->list, s->n, proto);
}

/*
 * What is behind IPv6's fragment header; IPv4 has been looked at. `at` is the part of the datagram's payload that this is, in
 * bytes.
 */
static bool fragment_behind(struct packet *p, unsigned *at)
{
	unsigned field;

	*at = 0;
	if (p->v4) {
		if (p->later_fragment)
			*at = (get16(p->data + IP4_FRAG) & IP4_OFFSET) * IP4_FRAGMENT_UNIT;
		return true;
	}
	if (p->proto != IPPROTO_FRAGMENT)
		return true;
	if (p->l4 + (unsigned)IP6_FRAGMENT_B > p->len)
		return false;
	field = get16(p->data + p->l4 + IP6_FRAGMENT_OFFSET);
	*at = field & ~7u;
	p->proto = p->data[p->l4];
	p->l4 = (uint16_t)(p->l4 + IP6_FRAGMENT_B);
	return true;
}

/* A fragment that could lie over the flags by which the first one was judged goes with none (RFC 1858 §3.2) */
static bool later_fragment(const struct ends *e, uint8_t proto, unsigned at)
{
	if (proto == IPPROTO_TCP && at <= TCP_FLAGS)
		return false;
	return have_proto(&e->to, proto) || have_proto(&e->from, proto);
}

/* ports: where the protocol has them, or 0 */
static bool plain(const struct ends *e, const struct packet *p, bool quoted)
{
	const uint8_t *l4 = p->data + p->l4;
	uint16_t sport = 0, dport = 0;

	if (mvpn_proto_has_ports(p->proto)) {
		if (p->l4 + 4u > p->len)
			return false;
		sport = get16(l4);
		dport = get16(l4 + 2);
	}
	if (have(&e->to, p->proto, dport))
		return true;
	if (!have(&e->from, p->proto, sport))
		return false;
	/* an error quotes eight bytes at least (RFC 792): it cannot be judged by the flags */
	if (p->proto != IPPROTO_TCP || quoted)
		return true;
	return p->l4 + TCP_FLAGS + 1u <= p->len &&
	       (l4[TCP_FLAGS] & (TCP_F_SYN | TCP_F_ACK)) != TCP_F_SYN;
}

/* the packet that an ICMP error carries, maybe cut */
static bool quoted(const struct kt_session *s, const struct packet *p, bool out)
{
	struct packet q = {.data = p->data + p->l4 + 8, .v4 = p->v4};
	struct ends e = ends(s, out);
	unsigned at;

	if (p->l4 + 8u > p->len)
		return false;
	q.len = p->len - p->l4 - 8u;
	if (q.len < (q.v4 ? 20u : 40u) || q.data[0] >> 4 != (q.v4 ? 4 : 6))
		return false;
	if (q.v4) {
		q.l4 = (uint16_t)((q.data[0] & 15) * 4);
		q.proto = q.data[IP4_PROTO];
		q.later_fragment = get16(q.data + IP4_FRAG) & IP4_OFFSET;
		if (q.l4 < 20 || q.proto == IPPROTO_ICMPV6)
			return false;
	} else {
		q.l4 = 40;
		q.proto = q.data[IP6_NEXT];
		packet_skip_options(&q);
	}
	if (!fragment_behind(&q, &at))
		return false;
	if (!q.v4 && q.proto == IPPROTO_ICMP)
		return false;
	if (q.proto == IPPROTO_ICMPV6)
		q.proto = IPPROTO_ICMP;
	if (at)
		return later_fragment(&e, q.proto, at);
	/* a query or its answer: there are no errors about errors */
	if (q.proto == IPPROTO_ICMP)
		return have_proto(&e.to, IPPROTO_ICMP) || have_proto(&e.from, IPPROTO_ICMP);
	return plain(&e, &q, true);
}

static bool icmp_is_error(bool v4, uint8_t type)
{
	if (v4)
		return type == ICMP_DEST_UNREACH || type == ICMP_TIME_EXCEEDED ||
		       type == ICMP_PARAMETERPROB;
	return type >= ICMP6_DST_UNREACH && type <= ICMP6_PARAM_PROB;
}

static bool icmp_is_answer(bool v4, uint8_t type)
{
	return v4 ? type == ICMP_ECHOREPLY || type == ICMP_TIMESTAMPREPLY : type == ICMP6_ECHO_REPLY;
}

static bool icmp(const struct kt_session *s, const struct ends *e, const struct packet *p, bool out)
{
	uint8_t type;

	if (have_proto(&e->to, IPPROTO_ICMP))
		return true;
	if (p->l4 >= p->len)
		return false;
	type = p->data[p->l4];
	if (icmp_is_error(p->v4, type))
		return quoted(s, p, !out);
	return have_proto(&e->from, IPPROTO_ICMP) && icmp_is_answer(p->v4, type);
}

bool permit_flow(const struct packet *whole, struct permit_flow *ret)
{
	struct packet p = *whole;
	unsigned at;
	bool ok = fragment_behind(&p, &at);

	*ret = (struct permit_flow){p.proto == IPPROTO_ICMPV6 ? IPPROTO_ICMP : p.proto, 0, 0};
	if (!ok || at)
		return false;
	if (!mvpn_proto_has_ports(p.proto))
		return true;
	if (p.l4 + 4u > p.len)
		return false;
	ret->sport = get16(p.data + p.l4);
	ret->dport = get16(p.data + p.l4 + 2);
	return true;
}

/* behind another extension header (RFC 8200 §4.1) could be TCP */
static bool hides(const struct packet *p)
{
	return !p->v4 && (p->proto == IPPROTO_HOPOPTS || p->proto == IPPROTO_ROUTING ||
			  p->proto == IPPROTO_FRAGMENT || p->proto == IPPROTO_DSTOPTS ||
			  p->proto == IPPROTO_MH);
}

/* TCP where it is sealed above TCP: from keyd to keyd alone, if at all */
static bool stream(const struct kt_session *s, uint8_t level, const struct packet *p, unsigned at,
		   bool out)
{
	const struct mvpn_service here = {IPPROTO_TCP, s->keyd_here, s->keyd_here},
				  there = {IPPROTO_TCP, s->keyd_there, s->keyd_there};
	struct ends e = {.to = {out ? &there : &here, 1}, .from = {out ? &here : &there, 1}};

	if (level != MVPN_LEVEL_BOTH)
		return false;
	return at ? later_fragment(&e, IPPROTO_TCP, at) : plain(&e, p, false);
}

static bool service(const struct kt_session *s, struct packet *p, unsigned at, bool out)
{
	struct ends e = ends(s, out);

	/* each family has its own ICMP, and lists have one name for both */
	if (p->proto == (p->v4 ? IPPROTO_ICMPV6 : IPPROTO_ICMP))
		return false;
	if (p->proto == IPPROTO_ICMPV6)
		p->proto = IPPROTO_ICMP;
	if (at)
		return later_fragment(&e, p->proto, at);
	return p->proto == IPPROTO_ICMP ? icmp(s, &e, p, out) : plain(&e, p, false);
}

enum permitted permit_packet(const struct kt_session *s, const struct packet *whole, bool out)
{
	uint8_t level = atomic_load_explicit(&s->level, memory_order_relaxed);
	struct packet p = *whole;
	unsigned at;

	if (!fragment_behind(&p, &at))
		return s->limited ? NOT_A_SERVICE : NOT_AT_THIS_LEVEL;
	if (level && hides(&p))
		return NOT_AT_THIS_LEVEL;
	if (level && p.proto == IPPROTO_UDP)
		return NOT_AT_THIS_LEVEL;
	if (level && p.proto == IPPROTO_TCP)
		return stream(s, level, &p, at, out) ? PERMITTED : NOT_AT_THIS_LEVEL;
	return !s->limited || service(s, &p, at, out) ? PERMITTED : NOT_A_SERVICE;
}
