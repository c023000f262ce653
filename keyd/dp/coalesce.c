/* SPDX-License-Identifier: BSD-2-Clause */
#include "coalesce.h"

#include <errno.h>
#include <stdlib.h>

#define SLOT_B ((size_t)(TAP_HEADROOM + PACKET_MAX_B + 63) & ~63ul) /* a full super-packet */
#define UDP_SEGMENTS_MAX 64 /* UDP_MAX_SEGMENTS of Linux 6.1 */

int coalesce_init(struct coalescer *c, bool uso, coalesce_write_fn *fn, void *arg)
{
	memset(c, 0, sizeof(*c));
	c->memory = aligned_alloc(64, (COALESCE_FLOWS + 1) * SLOT_B);
	if (!c->memory)
		return -ENOMEM;
	for (unsigned i = 0; i <= COALESCE_FLOWS; i++)
		c->slot[i].data = c->memory + i * SLOT_B + TAP_HEADROOM;
	c->spare = &c->slot[0];
	c->uso = uso;
	c->write = fn;
	c->arg = arg;
	return 0;
}

void coalesce_free(struct coalescer *c)
{
	free(c->memory);
	c->memory = NULL;
}

/* ---- writing ---- */
static unsigned check_offset(unsigned proto)
{
	return proto == IPPROTO_TCP ? TCP_CHECK : UDP_CHECK;
}

static void write_packet(struct coalescer *c, const struct packet *p, bool partial)
{
	struct virtio_net_hdr h = {0};

	if (partial) {
		h.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
		h.csum_start = p->l4;
		h.csum_offset = (uint16_t)check_offset(p->proto);
	}
	c->write(c->arg, &h, p->data, p->len);
}

/* the headers of the first packet become those of the super-packet */
static void super_headers(struct coalesce_slot *s)
{
	uint8_t *l4 = s->data + s->l4;
	uint32_t l4len = s->len - s->l4;

	if (s->v4) {
		put16(s->data + IP4_LEN, s->len);
		ip4_checksum(s->data, s->l4);
	} else {
		put16(s->data + IP6_LEN, l4len);
	}
	if (s->proto == IPPROTO_UDP)
		put16(l4 + UDP_LEN, l4len);
	sum_store(l4 + check_offset(s->proto),
		  sum_fold(sum_add16(sum_pseudo(s->data, s->v4, s->proto), l4len)));
}

static void slot_flush(struct coalescer *c, struct coalesce_slot *s)
{
	struct virtio_net_hdr h = {
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.csum_start = s->l4,
		.csum_offset = (uint16_t)check_offset(s->proto),
	};

	if (s->count > 1) {
		super_headers(s);
		h.gso_type = s->proto == IPPROTO_UDP ? TAP_GSO_UDP_L4
			     : s->v4		     ? VIRTIO_NET_HDR_GSO_TCPV4
						     : VIRTIO_NET_HDR_GSO_TCPV6;
		h.gso_size = (uint16_t)s->size;
		h.hdr_len = s->headers;
	}
	c->write(c->arg, &h, s->data, s->len);
	s->len = 0;
	c->open--;
	if (c->last == s)
		c->last = NULL;
}

void coalesce_flush(struct coalescer *c)
{
	for (unsigned i = 0; c->open && i <= COALESCE_FLOWS; i++)
		if (c->slot[i].len)
			slot_flush(c, &c->slot[i]);
}

/* ---- room ---- */
uint8_t *coalesce_room(struct coalescer *c, size_t len)
{
	struct coalesce_slot *s = c->last;

	/*
	 * with less payload than headers, these would lie over the flow's own, which they are
	 * compared with
	 */
	if (s && s->len >= 2u * s->headers && len > s->headers &&
	    s->len + len - s->headers <= PACKET_MAX_B) {
		c->where = s;
		memcpy(c->saved, s->data + s->len - s->headers, s->headers);
		return s->data + s->len - s->headers;
	}
	c->where = c->spare;
	return c->spare->data;
}

static void put_back(struct coalescer *c)
{
	struct coalesce_slot *s = c->where;

	if (s != c->spare)
		memcpy(s->data + s->len - s->headers, c->saved, s->headers);
}

void coalesce_cancel(struct coalescer *c)
{
	put_back(c);
}

/* ---- joining ---- */
static bool joinable(const struct coalescer *c, const struct packet *p, bool partial)
{
	const uint8_t *l4 = p->data + p->l4;

	/* what has options is not for joining, nor are they compared */
	if (!partial || p->len == p->headers || p->l4 != (p->v4 ? 20 : 40))
		return false;
	/* CWR means the one packet that carries it; ECE goes on for a window (RFC 3168 §6.1) */
	if (p->proto == IPPROTO_TCP)
		return (l4[TCP_FLAGS] & ~(TCP_F_PSH | TCP_F_ECE)) == TCP_F_ACK &&
		       !(l4[TCP_DOFF] & 0x0f);
	return c->uso && p->proto == IPPROTO_UDP && get16(l4 + UDP_LEN) == p->len - p->l4;
}

static bool same_flow(const struct coalesce_slot *s, const struct packet *p, uint32_t peer)
{
	unsigned at = p->v4 ? IP4_SRC : IP6_SRC;

	return s->peer == peer && s->proto == p->proto && s->v4 == p->v4 && p->headers &&
	       !memcmp(s->data + at, p->data + at, p->v4 ? 8 : 32) &&
	       !memcmp(s->data + s->l4, p->data + p->l4, 4);
}

static bool same_ip(const struct coalesce_slot *s, const struct packet *p)
{
	const uint8_t *a = s->data, *b = p->data;

	if (!p->v4)
		return !memcmp(a, b, 4) && a[IP6_HOPS] == b[IP6_HOPS];
	/*
	 * with DF the identification means nothing (RFC 6864 §4.1); without, it must count up
	 * as the stack would cut it
	 */
	return a[IP4_TOS] == b[IP4_TOS] && a[IP4_TTL] == b[IP4_TTL] &&
	       get16(a + IP4_FRAG) == get16(b + IP4_FRAG) &&
	       (p->dont_fragment || get16(b + IP4_ID) == s->next_id);
}

static bool same_tcp(const struct coalesce_slot *s, const struct packet *p)
{
	const uint8_t *a = s->data + s->l4, *b = p->data + p->l4;

	return get32(b + TCP_SEQ) == s->next_seq && !memcmp(a + TCP_ACK, b + TCP_ACK, 4) &&
	       a[TCP_DOFF] == b[TCP_DOFF] && !((a[TCP_FLAGS] ^ b[TCP_FLAGS]) & TCP_F_ECE) &&
	       !memcmp(a + TCP_WINDOW, b + TCP_WINDOW, 2) &&
	       !memcmp(a + TCP_URG, b + TCP_URG, s->headers - s->l4 - TCP_URG);
}

/* p, joinable and of the same flow, continues s */
static bool continues(const struct coalesce_slot *s, const struct packet *p)
{
	uint32_t payload = p->len - p->headers;

	return p->headers == s->headers && payload <= s->size && s->len + payload <= PACKET_MAX_B &&
	       same_ip(s, p) &&
	       (p->proto == IPPROTO_UDP ? s->count < UDP_SEGMENTS_MAX : same_tcp(s, p));
}

/* the payload is in place; *p's headers are readable */
static void append(struct coalescer *c, struct coalesce_slot *s, uint32_t payload, bool push)
{
	s->len += payload;
	s->next_seq += payload;
	s->next_id++;
	s->count++;
	c->last = s;
	if (push)
		s->data[s->l4 + TCP_FLAGS] |= TCP_F_PSH;
	if (push || payload < s->size)
		slot_flush(c, s);
}

static bool pushes(const struct packet *p)
{
	return p->proto == IPPROTO_TCP && p->data[p->l4 + TCP_FLAGS] & TCP_F_PSH;
}

static void slot_open(struct coalescer *c, const struct packet *p, uint32_t peer)
{
	struct coalesce_slot *s = c->spare;

	s->len = p->len;
	s->peer = peer;
	s->size = p->len - p->headers;
	s->next_seq = p->proto == IPPROTO_TCP ? get32(p->data + p->l4 + TCP_SEQ) + s->size : 0;
	s->next_id = p->v4 ? (uint16_t)(get16(p->data + IP4_ID) + 1) : 0;
	s->count = 1;
	s->l4 = p->l4;
	s->headers = p->headers;
	s->proto = p->proto;
	s->v4 = p->v4;
	c->open++;
	c->last = s;
	for (unsigned i = 0; i <= COALESCE_FLOWS; i++)
		if (!c->slot[i].len)
			c->spare = &c->slot[i];
}

static struct coalesce_slot *find(struct coalescer *c, const struct packet *p, uint32_t peer)
{
	if (p->proto != IPPROTO_TCP && p->proto != IPPROTO_UDP)
		return NULL;
	for (unsigned i = 0; c->open && i <= COALESCE_FLOWS; i++)
		if (c->slot[i].len && same_flow(&c->slot[i], p, peer))
			return &c->slot[i];
	return NULL;
}

/* the flow whose turn it is when all slots are open: any, they end with the batch anyway */
static void make_free(struct coalescer *c)
{
	struct coalesce_slot *victim = c->last;

	for (unsigned i = 0; i <= COALESCE_FLOWS; i++)
		if (c->slot[i].len && &c->slot[i] != c->last)
			victim = &c->slot[i];
	slot_flush(c, victim);
}

void coalesce_packet(struct coalescer *c, struct packet *p, bool partial, uint32_t peer)
{
	struct coalesce_slot *s = c->where;
	bool join = joinable(c, p, partial), push = pushes(p);

	if (s != c->spare) {
		uint32_t payload = p->len - p->headers;

		if (join && same_flow(s, p, peer) && continues(s, p)) {
			put_back(c);
			append(c, s, payload, push);
			return;
		}
		memcpy(c->spare->data, p->data, p->len);
		p->data = c->spare->data;
		put_back(c);
	}
	s = find(c, p, peer);
	if (s && join && continues(s, p)) {
		memcpy(s->data + s->len, p->data + p->headers, p->len - p->headers);
		append(c, s, p->len - p->headers, push);
		return;
	}
	if (s) /* what came before goes before */
		slot_flush(c, s);
	if (!join || push) {
		write_packet(c, p, partial);
		return;
	}
	if (c->open == COALESCE_FLOWS)
		make_free(c);
	slot_open(c, p, peer);
}
