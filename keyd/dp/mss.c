/* SPDX-License-Identifier: BSD-2-Clause */
#include "mss.h"

#define OPT_END 0
#define OPT_NOP 1
#define OPT_MSS 2
#define OPT_MSS_LEN 4
#define MSS_MIN 88 /* the least that Linux takes from TCP_MAXSEG: below it a path makes no sense */

unsigned tcp_option(const struct packet *p, unsigned kind)
{
	unsigned i = p->l4 + 20u, len;

	if (p->proto != IPPROTO_TCP)
		return 0;
	for (; i < p->headers && p->data[i] != OPT_END; i += len) {
		if (p->data[i] == OPT_NOP) {
			len = 1;
			continue;
		}
		len = i + 1 < p->headers ? p->data[i + 1] : 0;
		if (len < 2 || i + len > p->headers)
			return 0;
		if (p->data[i] == kind)
			return i;
	}
	return 0;
}

/* RFC 1624 eqn. 3, in the byte order of memory: HC' = ~(~HC + ~m + m') */
static void sum_replace(uint8_t *check, uint16_t from, uint16_t to)
{
	uint16_t old;

	memcpy(&old, check, sizeof(old));
	sum_store(check, (uint16_t)~sum_fold((uint64_t)(uint16_t)~old + (uint16_t)~from + to));
}

bool mss_clamp(const struct packet *p, bool partial, unsigned inner_mtu)
{
	unsigned at, headers = p->l4 + 20u, max = inner_mtu > headers ? inner_mtu - headers : 0;
	uint8_t *mss;
	uint16_t from, to;

	if (!packet_is_syn(p) || max < MSS_MIN)
		return false;
	at = tcp_option(p, OPT_MSS);
	if (!at || p->data[at + 1] != OPT_MSS_LEN || get16(p->data + at + 2) <= max ||
	    tcp_option(p, TCP_OPT_AO))
		return false;
	mss = p->data + at + 2;
	memcpy(&from, mss, sizeof(from));
	put16(mss, max);
	memcpy(&to, mss, sizeof(to));
	if (partial)
		return true;
	/* behind an odd number of NOPs the value lies across two words of the sum */
	if ((at - p->l4) % 2) {
		from = __builtin_bswap16(from);
		to = __builtin_bswap16(to);
	}
	sum_replace(p->data + p->l4 + TCP_CHECK, from, to);
	return true;
}
