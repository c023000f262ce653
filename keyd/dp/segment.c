/* SPDX-License-Identifier: BSD-2-Clause */
#include "segment.h"

#include "tap.h"

/* a TCP segment below this is a sign of a nonsensical path MTU, not of a path */
#define TCP_PAYLOAD_MIN 64

int segment_finish_checksum(const struct packet *p, const struct virtio_net_hdr *h)
{
	uint32_t start = h->csum_start, field = start + h->csum_offset;
	uint16_t sum;

	if (start < p->l4 || start >= p->len || field + 2 > p->len)
		return -EINVAL;
	sum = (uint16_t)~sum_fold(sum_bytes(0, p->data + start, p->len - start));
	if (!sum)
		sum = 0xffff; /* RFC 768: zero means that there is none; elsewhere both are the same */
	sum_store(p->data + field, sum);
	return 0;
}

static unsigned check_offset(const struct packet *p)
{
	return p->proto == IPPROTO_TCP ? TCP_CHECK : UDP_CHECK;
}

/* the open checksum is the plain TCP or UDP one, which the receiver can be told to finish */
static bool plain_partial(const struct packet *p, const struct virtio_net_hdr *h)
{
	return p->headers && h->csum_start == p->l4 && h->csum_offset == check_offset(p);
}

static void template(struct segmenter *s, enum segment_mode mode, uint16_t nheaders, uint32_t size)
{
	const struct packet *p = &s->p;
	uint8_t *t = s->headers;

	s->mode = mode;
	s->nheaders = nheaders;
	s->size = size;
	s->payload = p->len - nheaders;
	memcpy(t, p->data, nheaders);
	if (p->v4) {
		s->id = get16(t + IP4_ID);
		s->frag = get16(t + IP4_FRAG);
		put16(t + IP4_LEN, 0);
		put16(t + IP4_ID, 0);
		put16(t + IP4_CHECK, 0);
		if (mode == SEGMENT_FRAGMENTS)
			put16(t + IP4_FRAG, 0);
		s->ip_sum = sum_bytes(0, t, p->l4);
	}
	if (mode != SEGMENT_FRAGMENTS) {
		s->partial = true;
		s->pseudo_sum = sum_pseudo(t, p->v4, p->proto);
	}
}

/* RFC 2385, RFC 5925: covers the segment as it was sent */
static bool is_signed(const struct packet *p)
{
	unsigned i = p->l4 + 20u;

	while (i + 1 < p->headers && p->data[i] != 0) {
		if (p->data[i] == TCP_OPT_MD5 || p->data[i] == TCP_OPT_AO)
			return true;
		if (p->data[i] != 1 && p->data[i + 1] < 2)
			return false;
		i += p->data[i] == 1 ? 1 : p->data[i + 1];
	}
	return false;
}

/*
 * Each piece gets a checksum of its own: a packet that was damaged before it came here must not
 * become a good one thereby.
 */
static bool may_cut(const struct packet *p, bool partial)
{
	uint64_t sum;

	if (!p->headers || p->proto != IPPROTO_TCP || is_signed(p))
		return false;
	if (partial)
		return true;
	sum = sum_add16(sum_pseudo(p->data, p->v4, p->proto), p->len - p->l4);
	return sum_fold(sum_bytes(sum, p->data + p->l4, p->len - p->l4)) == 0xffff;
}

static int start_tcp(struct segmenter *s, uint32_t gso_size, uint32_t max)
{
	const struct packet *p = &s->p;
	uint32_t size;

	if (!p->headers || p->proto != IPPROTO_TCP)
		return -EINVAL;
	if (p->headers + (uint32_t)TCP_PAYLOAD_MIN > max ||
	    p->data[p->l4 + TCP_FLAGS] & (TCP_F_SYN | TCP_F_RST))
		return -EMSGSIZE;
	size = max - p->headers;
	if (gso_size && gso_size < size)
		size = gso_size;
	template(s, SEGMENT_TCP, p->headers, size);
	return 0;
}

static int start_udp(struct segmenter *s, uint32_t gso_size, uint32_t max)
{
	const struct packet *p = &s->p;

	if (!p->headers || p->proto != IPPROTO_UDP || !gso_size)
		return -EINVAL;
	if (p->headers + gso_size > max && p->len > max)
		return -EMSGSIZE;
	template(s, SEGMENT_UDP, p->headers, gso_size);
	return 0;
}

static int start_fragments(struct segmenter *s, uint32_t max)
{
	const struct packet *p = &s->p;

	if (p->dont_fragment || max < p->l4 + 8u)
		return -EMSGSIZE;
	template(s, SEGMENT_FRAGMENTS, p->l4, (max - p->l4) & ~7u);
	return 0;
}

int segment_start(struct segmenter *s, const struct packet *p, const struct virtio_net_hdr *h,
		  uint32_t max)
{
	unsigned gso = h->gso_type & ~VIRTIO_NET_HDR_GSO_ECN;
	bool partial;
	int r;

	s->p = *p;
	s->offset = s->index = 0;
	s->partial = false;
	if (gso == VIRTIO_NET_HDR_GSO_TCPV4 || gso == VIRTIO_NET_HDR_GSO_TCPV6) {
		if ((gso == VIRTIO_NET_HDR_GSO_TCPV4) != p->v4 || !h->gso_size)
			return -EINVAL;
		return start_tcp(s, h->gso_size, max);
	}
	if (gso == TAP_GSO_UDP_L4)
		return start_udp(s, h->gso_size, max);
	if (gso != VIRTIO_NET_HDR_GSO_NONE)
		return -EINVAL;

	partial = h->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM;
	if (p->len > max && may_cut(p, partial))
		return start_tcp(s, 0, max);
	if (p->len > max && p->dont_fragment)
		return -EMSGSIZE;
	if (partial && (p->len > max || !plain_partial(p, h))) {
		r = segment_finish_checksum(p, h);
		if (r < 0)
			return r;
		partial = false;
	}
	if (p->len > max)
		return start_fragments(s, max);
	s->mode = SEGMENT_WHOLE;
	s->partial = partial;
	return 0;
}

/*
 * RFC 791 §3.1: options without the copy flag are in the first fragment only; a NOP takes their
 * place
 */
static void drop_uncopied_options(uint8_t *ip, unsigned ihl)
{
	unsigned i = 20;

	while (i < ihl && ip[i] != 0) {
		unsigned len = ip[i] == 1 || i + 1 >= ihl ? 1 : ip[i + 1];

		if (len < 1 || i + len > ihl)
			len = ihl - i;
		if (!(ip[i] & 0x80))
			memset(ip + i, 1, len);
		i += len;
	}
}

static void write_ip(struct segmenter *s, uint8_t *ip, uint32_t len, uint32_t l4len)
{
	uint64_t sum = s->ip_sum;
	unsigned id, frag;

	if (!s->p.v4) {
		put16(ip + IP6_LEN, l4len);
		return;
	}
	id = s->id;
	if (s->mode != SEGMENT_FRAGMENTS)
		id = (id + s->index) & 0xffff;
	put16(ip + IP4_LEN, len);
	put16(ip + IP4_ID, id);
	sum = sum_add16(sum_add16(sum, len), id);
	if (s->mode == SEGMENT_FRAGMENTS) {
		frag = (s->frag & ~(IP4_OFFSET | IP4_MF)) +
		       ((s->frag & IP4_OFFSET) + s->offset / 8);
		if (s->offset + (l4len) < s->payload)
			frag |= IP4_MF;
		else
			frag |= s->frag & IP4_MF;
		put16(ip + IP4_FRAG, frag);
		sum = sum_add16(sum, frag);
	}
	sum_store(ip + IP4_CHECK, (uint16_t)~sum_fold(sum));
}

static void write_tcp(struct segmenter *s, uint8_t *tcp, bool last)
{
	put32(tcp + TCP_SEQ, get32(s->headers + s->p.l4 + TCP_SEQ) + s->offset);
	if (!last)
		tcp[TCP_FLAGS] &= (uint8_t) ~(TCP_F_FIN | TCP_F_PSH);
	if (s->index)
		tcp[TCP_FLAGS] &= (uint8_t)~TCP_F_CWR;
}

bool segment_next(struct segmenter *s, struct segment *ret)
{
	uint32_t n, l4len;
	uint8_t *data;

	ret->partial = s->partial;
	if (s->mode == SEGMENT_WHOLE) {
		ret->data = s->p.data;
		ret->len = s->p.len;
		return s->index++ == 0;
	}
	/* a header without payload is still one segment */
	if (s->index && s->offset >= s->payload)
		return false;
	n = s->payload - s->offset;
	if (n > s->size)
		n = s->size;
	data = s->p.data + s->offset;
	memcpy(data, s->headers, s->nheaders);
	if (s->mode == SEGMENT_FRAGMENTS && s->index == 1) {
		drop_uncopied_options(s->headers, s->p.l4);
		s->ip_sum = sum_bytes(0, s->headers, s->p.l4);
		memcpy(data, s->headers, s->nheaders);
	}
	l4len = s->nheaders - s->p.l4 + n;
	write_ip(s, data, s->nheaders + n, l4len);
	if (s->mode == SEGMENT_TCP)
		write_tcp(s, data + s->p.l4, s->offset + n == s->payload);
	if (s->mode == SEGMENT_UDP)
		put16(data + s->p.l4 + UDP_LEN, l4len);
	if (s->mode != SEGMENT_FRAGMENTS)
		sum_store(data + s->p.l4 + check_offset(&s->p),
			  sum_fold(sum_add16(s->pseudo_sum, l4len)));
	ret->data = data;
	ret->len = s->nheaders + n;
	s->offset += n;
	s->index++;
	return true;
}
