/* SPDX-License-Identifier: BSD-2-Clause */
#include "icmp.h"

#define ICMP4_QUOTE_MAX 548  /* RFC 1812 §4.3.2.3: the whole error in 576 bytes */
#define ICMP6_QUOTE_MAX 1232 /* RFC 4443 §2.4(c): in 1280 */
#define ICMP_TTL 64
#define ICMP6_REDIRECT 137

/* an error itself, or a redirect; also when that cannot be known */
static bool icmp6_error(const struct packet *p)
{
	unsigned next = p->proto, at = p->l4;

	while (next == IPPROTO_HOPOPTS || next == IPPROTO_ROUTING || next == IPPROTO_DSTOPTS ||
	       next == IPPROTO_FRAGMENT) {
		const uint8_t *ext = p->data + at;

		if (at + 8 > p->len || (next == IPPROTO_FRAGMENT && get16(ext + 2) & ~7u))
			return true;
		at += next == IPPROTO_FRAGMENT ? 8 : (ext[1] + 1) * 8u;
		next = ext[0];
	}
	if (next != IPPROTO_ICMPV6)
		return false;
	return at >= p->len || p->data[at] < 128 || p->data[at] == ICMP6_REDIRECT;
}

static bool answerable(const struct packet *p)
{
	const uint8_t *l4 = p->data + p->l4;

	if (p->later_fragment || p->len < p->l4 + 8u)
		return false;
	if (p->v4) {
		if (p->src.b[12] == 0 || p->src.b[12] >= 224 || p->dst.b[12] >= 224)
			return false;
		/* queries may be answered: echo, timestamp */
		return p->proto != IPPROTO_ICMP || l4[0] == 8 || l4[0] == 0 || l4[0] == 13;
	}
	if (p->src.b[0] == 0xff || p->dst.b[0] == 0xff || mvpn_addr_is_zero(&p->src))
		return false;
	return !icmp6_error(p);
}

/* codes of "destination unreachable"; of ICMPv6 "too big" is a type of its own */
static const uint8_t code4[] = {[ICMP_E_TOO_BIG] = 4, [ICMP_E_PROHIBITED] = 13, [ICMP_E_HOST] = 1, [ICMP_E_PORT] = 3};
static const uint8_t code6[] = {[ICMP_E_TOO_BIG] = 0, [ICMP_E_PROHIBITED] = 1, [ICMP_E_HOST] = 3, [ICMP_E_PORT] = 4};

static size_t icmp4(uint8_t *out, const struct packet *p, enum icmp_error what, unsigned mtu)
{
	size_t quote = p->len < ICMP4_QUOTE_MAX ? p->len : ICMP4_QUOTE_MAX;
	uint8_t *icmp = out + 20;

	memset(out, 0, 28);
	out[0] = 0x45;
	out[IP4_TOS] = 0xc0; /* internetwork control, as the stack sends its own */
	put16(out + IP4_LEN, (unsigned)(28 + quote));
	put16(out + IP4_FRAG, IP4_DF);
	out[IP4_TTL] = ICMP_TTL;
	out[IP4_PROTO] = IPPROTO_ICMP;
	memcpy(out + IP4_SRC, p->data + IP4_DST, 4);
	memcpy(out + IP4_DST, p->data + IP4_SRC, 4);
	ip4_checksum(out, 20);
	icmp[0] = 3;
	icmp[1] = code4[what];
	if (what == ICMP_E_TOO_BIG)
		put16(icmp + 6, mtu);
	memcpy(icmp + 8, p->data, quote);
	sum_store(icmp + 2, (uint16_t)~sum_fold(sum_bytes(0, icmp, 8 + quote)));
	return 28 + quote;
}

static size_t icmp6(uint8_t *out, const struct packet *p, enum icmp_error what, unsigned mtu)
{
	size_t quote = p->len < ICMP6_QUOTE_MAX ? p->len : ICMP6_QUOTE_MAX;
	uint8_t *icmp = out + 40;
	uint64_t sum;

	memset(out, 0, 48);
	out[0] = 0x60;
	put16(out + IP6_LEN, (unsigned)(8 + quote));
	out[IP6_NEXT] = IPPROTO_ICMPV6;
	out[IP6_HOPS] = ICMP_TTL;
	memcpy(out + IP6_SRC, p->data + IP6_DST, 16);
	memcpy(out + IP6_DST, p->data + IP6_SRC, 16);
	icmp[0] = what == ICMP_E_TOO_BIG ? 2 : 1;
	icmp[1] = code6[what];
	if (what == ICMP_E_TOO_BIG)
		put32(icmp + 4, mtu > IP6_MTU_MIN ? mtu : IP6_MTU_MIN);
	memcpy(icmp + 8, p->data, quote);
	sum = sum_add16(sum_pseudo(out, false, IPPROTO_ICMPV6), (unsigned)(8 + quote));
	sum_store(icmp + 2, (uint16_t)~sum_fold(sum_bytes(sum, icmp, 8 + quote)));
	return 48 + quote;
}

size_t icmp_error(uint8_t *out, const struct packet *p, enum icmp_error what, unsigned mtu)
{
	if (!answerable(p))
		return 0;
	return p->v4 ? icmp4(out, p, what, mtu) : icmp6(out, p, what, mtu);
}
