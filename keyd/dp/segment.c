/* SPDX-License-Identifier: BSD-2-Clause */
#include "segment.h"

#include "mss.h"
#include "tap.h"

/* a TCP segment below this is a sign of a nonsensical path MTU, not of a path */
#define TCP_PAYLOAD_MIN 64

/* the one that *h leaves open, in software. -EINVAL when it points outside */
static int finish_checksum(const struct packet *p, const struct virtio_net_hdr *h)
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
		put16(t + IP4_LEN, 0);
		put16(t + IP4_ID, 0);
		put16(t + IP4_CHECK, 0);
		s->ip_sum = sum_bytes(0, t, p->l4);
	}
	s->partial = true;
	s->pseudo_sum = sum_pseudo(t, p->v4, p->proto);
}

/* RFC 2385, RFC 5925: covers the segment as it was sent */
static bool is_signed(const struct packet *p)
{
	return tcp_option(p, TCP_OPT_MD5) || tcp_option(p, TCP_OPT_AO);
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

/* whether datagrams of that size may go in fragments */
static bool may_fragment(const struct packet *p, uint32_t size)
{
	return p->v4 ? !p->dont_fragment : size <= IP6_MTU_MIN;
}

static int start_udp(struct segmenter *s, uint32_t gso_size, uint32_t max)
{
	const struct packet *p = &s->p;
	uint32_t size;

	if (!p->headers || p->proto != IPPROTO_UDP || !gso_size)
		return -EINVAL;
	size = p->headers + gso_size < p->len ? p->headers + gso_size : p->len;
	if (size > max && (!may_fragment(p, size) || max < p->l4 + FRAGMENT_HEADROOM_B + 8u))
		return -EMSGSIZE;
	template(s, SEGMENT_UDP, p->headers, gso_size);
	return 0;
}

/* a packet that is too big as it is */
static int start_smaller(struct segmenter *s, const struct virtio_net_hdr *h, bool partial)
{
	int r;

	if (may_cut(&s->p, partial)) {
		r = start_tcp(s, 0, s->max);
		if (r != -EMSGSIZE)
			return r;
	}
	r = fragment_start(&s->fragments, &s->p, s->max, *s->ip6_id);
	if (r < 0)
		return r;
	++*s->ip6_id;
	s->mode = SEGMENT_FRAGMENTS;
	s->cutting = true;
	return partial ? finish_checksum(&s->p, h) : 0;
}

int segment_start(struct segmenter *s, const struct packet *p, const struct virtio_net_hdr *h,
		  uint32_t max, uint32_t *ip6_id)
{
	unsigned gso = h->gso_type & ~VIRTIO_NET_HDR_GSO_ECN;
	bool partial = h->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM;

	s->p = *p;
	s->offset = s->index = 0;
	s->partial = s->cutting = false;
	s->max = max;
	s->ip6_id = ip6_id;
	if (gso == VIRTIO_NET_HDR_GSO_TCPV4 || gso == VIRTIO_NET_HDR_GSO_TCPV6) {
		if ((gso == VIRTIO_NET_HDR_GSO_TCPV4) != p->v4 || !h->gso_size)
			return -EINVAL;
		return start_tcp(s, h->gso_size, max);
	}
	if (gso == TAP_GSO_UDP_L4)
		return start_udp(s, h->gso_size, max);
	if (gso != VIRTIO_NET_HDR_GSO_NONE)
		return -EINVAL;
	if (p->len > max)
		return start_smaller(s, h, partial);
	s->mode = SEGMENT_WHOLE;
	if (!partial || plain_partial(p, h)) {
		s->partial = partial;
		return 0;
	}
	return finish_checksum(p, h);
}

static void write_ip(struct segmenter *s, uint8_t *ip, uint32_t len)
{
	unsigned id = (s->id + s->index) & 0xffff;

	if (!s->p.v4) {
		put16(ip + IP6_LEN, len - 40);
		return;
	}
	put16(ip + IP4_LEN, len);
	put16(ip + IP4_ID, id);
	sum_store(ip + IP4_CHECK, (uint16_t)~sum_fold(sum_add16(sum_add16(s->ip_sum, len), id)));
}

static void write_tcp(struct segmenter *s, uint8_t *tcp, bool last)
{
	put32(tcp + TCP_SEQ, get32(s->headers + s->p.l4 + TCP_SEQ) + s->offset);
	if (!last)
		tcp[TCP_FLAGS] &= (uint8_t) ~(TCP_F_FIN | TCP_F_PSH);
	if (s->index)
		tcp[TCP_FLAGS] &= (uint8_t)~TCP_F_CWR;
}

static bool next_fragment(struct segmenter *s, struct segment *ret)
{
	ret->data = fragment_next(&s->fragments, &ret->len);
	ret->partial = false;
	return ret->data;
}

/* the datagram *g is too big: its first fragment instead */
static bool cut_datagram(struct segmenter *s, struct segment *g)
{
	struct virtio_net_hdr h = {.csum_start = s->p.l4, .csum_offset = UDP_CHECK};
	struct packet p;

	s->cutting = packet_parse(&p, g->data, g->len) == 0 &&
		     finish_checksum(&p, &h) == 0 &&
		     fragment_start(&s->fragments, &p, s->max, *s->ip6_id) == 0;
	++*s->ip6_id;
	return s->cutting && next_fragment(s, g);
}

bool segment_next(struct segmenter *s, struct segment *ret)
{
	uint32_t n, l4len;
	uint8_t *data;

	if (s->cutting && next_fragment(s, ret))
		return true;
	if (s->mode == SEGMENT_FRAGMENTS)
		return false;
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
	l4len = s->nheaders - s->p.l4 + n;
	write_ip(s, data, s->nheaders + n);
	if (s->mode == SEGMENT_TCP)
		write_tcp(s, data + s->p.l4, s->offset + n == s->payload);
	else
		put16(data + s->p.l4 + UDP_LEN, l4len);
	sum_store(data + s->p.l4 + check_offset(&s->p), sum_fold(sum_add16(s->pseudo_sum, l4len)));
	ret->data = data;
	ret->len = s->nheaders + n;
	s->offset += n;
	s->index++;
	return s->mode != SEGMENT_UDP || ret->len <= s->max || cut_datagram(s, ret);
}
