/* SPDX-License-Identifier: BSD-2-Clause */
#include "fragment.h"

#define IP6_FRAGMENT_B 8
#define IP6_MORE 1 /* of the field that has the offset in its upper 13 bits */

/*
 * RFC 8200 §4.5, the Per-Fragment headers: up to the last hop-by-hop or routing header, or to a Fragment header that is
 * there already. *ret_next: where the type of what follows them stands.
 */
static int per_fragment_headers(const struct packet *p, uint16_t *ret_end, uint16_t *ret_next)
{
	unsigned at = 40, next_at = IP6_NEXT, len;

	*ret_end = 40;
	*ret_next = IP6_NEXT;
	for (;;) {
		uint8_t type = p->data[next_at];

		if (type != IPPROTO_HOPOPTS && type != IPPROTO_ROUTING && type != IPPROTO_DSTOPTS &&
		    type != IPPROTO_FRAGMENT)
			return 0;
		if (at + 8 > p->len)
			return -EINVAL;
		len = type == IPPROTO_FRAGMENT ? IP6_FRAGMENT_B : (p->data[at + 1] + 1) * 8u;
		if (at + len > p->len)
			return -EINVAL;
		if (type == IPPROTO_FRAGMENT) {
			*ret_end = (uint16_t)at;
			*ret_next = (uint16_t)next_at;
			return 0;
		}
		next_at = at;
		at += len;
		if (type != IPPROTO_DSTOPTS) {
			*ret_end = (uint16_t)at;
			*ret_next = (uint16_t)next_at;
		}
	}
}

static int start6(struct fragmenter *f, const struct packet *p, uint32_t id)
{
	uint16_t end, next_at;
	uint8_t *fragment;
	bool again;
	int r;

	if (p->len > IP6_MTU_MIN)
		return -EMSGSIZE;
	r = per_fragment_headers(p, &end, &next_at);
	if (r < 0)
		return r;
	if (end + IP6_FRAGMENT_B > FRAGMENT_HEADERS_MAX_B)
		return -EMSGSIZE;
	again = p->data[next_at] == IPPROTO_FRAGMENT;
	f->nheaders = (uint16_t)(end + IP6_FRAGMENT_B);
	memcpy(f->headers, p->data, end);
	fragment = f->headers + end;
	if (again) {
		memcpy(fragment, p->data + end, IP6_FRAGMENT_B);
		f->first = get16(fragment + 2) & ~7u;
		f->more = get16(fragment + 2) & IP6_MORE;
		end += IP6_FRAGMENT_B;
	} else {
		fragment[0] = f->headers[next_at];
		f->headers[next_at] = IPPROTO_FRAGMENT;
		fragment[1] = 0;
		put32(fragment + 4, id);
	}
	f->data = p->data + end;
	f->payload = p->len - end;
	return 0;
}

static int start4(struct fragmenter *f, const struct packet *p)
{
	unsigned field = get16(p->data + IP4_FRAG);

	if (field & IP4_DF)
		return -EMSGSIZE;
	f->nheaders = p->l4;
	f->first = (uint16_t)((field & IP4_OFFSET) * 8);
	f->more = field & IP4_MF;
	f->flags = field & ~(unsigned)(IP4_OFFSET | IP4_MF);
	memcpy(f->headers, p->data, p->l4);
	put16(f->headers + IP4_LEN, 0);
	put16(f->headers + IP4_FRAG, 0);
	put16(f->headers + IP4_CHECK, 0);
	f->ip_sum = sum_bytes(0, f->headers, p->l4);
	f->data = p->data + p->l4;
	f->payload = p->len - p->l4;
	return 0;
}

int fragment_start(struct fragmenter *f, const struct packet *p, uint32_t max, uint32_t id)
{
	int r;

	f->v4 = p->v4;
	f->first = 0;
	f->more = false;
	f->offset = 0;
	r = p->v4 ? start4(f, p) : start6(f, p, id);
	if (r < 0)
		return r;
	if (f->first + f->payload > PACKET_MAX_B)
		return -EINVAL;
	if (max < f->nheaders + 8u)
		return -EMSGSIZE;
	f->size = (max - f->nheaders) & ~7u;
	return 0;
}

/*
 * RFC 791 §3.1: options without the copy flag are in the first fragment only; a NOP takes their
 * place
 */
static void drop_uncopied_options(struct fragmenter *f)
{
	unsigned i = 20, ihl = f->nheaders;
	uint8_t *ip = f->headers;

	while (i < ihl && ip[i] != 0) {
		unsigned len = ip[i] == 1 || i + 1 >= ihl ? 1 : ip[i + 1];

		if (len < 1 || i + len > ihl)
			len = ihl - i;
		if (!(ip[i] & 0x80))
			memset(ip + i, 1, len);
		i += len;
	}
	f->ip_sum = sum_bytes(0, ip, ihl);
}

static void write4(const struct fragmenter *f, uint8_t *ip, uint32_t len, bool more)
{
	unsigned field = f->flags | (f->first + f->offset) / 8 | (more ? IP4_MF : 0);

	put16(ip + IP4_LEN, len);
	put16(ip + IP4_FRAG, field);
	sum_store(ip + IP4_CHECK, (uint16_t)~sum_fold(sum_add16(sum_add16(f->ip_sum, len), field)));
}

static void write6(const struct fragmenter *f, uint8_t *ip, uint32_t len, bool more)
{
	put16(ip + IP6_LEN, len - 40);
	put16(ip + f->nheaders - IP6_FRAGMENT_B + 2,
	      (f->first + f->offset) | (more ? IP6_MORE : 0));
}

uint8_t *fragment_next(struct fragmenter *f, uint32_t *ret_len)
{
	uint32_t n = f->payload - f->offset;
	uint8_t *ip = f->data + f->offset - f->nheaders;
	bool more = f->more;

	if (!n)
		return NULL;
	if (n > f->size) {
		n = f->size;
		more = true;
	}
	if (f->v4 && f->offset == f->size)
		drop_uncopied_options(f);
	memcpy(ip, f->headers, f->nheaders);
	if (f->v4)
		write4(f, ip, f->nheaders + n, more);
	else
		write6(f, ip, f->nheaders + n, more);
	f->offset += n;
	*ret_len = f->nheaders + n;
	return ip;
}
