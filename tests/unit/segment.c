/* SPDX-License-Identifier: BSD-2-Clause */
#include "test.h"

#include "inner.h"
#include "../../keyd/dp/segment.h"
#include "../../keyd/dp/tap.h"

static uint8_t buffer[70000 + FRAGMENT_HEADROOM_B], original[70000], piece[70000];
static uint8_t *const super = buffer + FRAGMENT_HEADROOM_B;
static uint32_t ip6_id;

static uint32_t prepare(const struct inner *i, bool partial, struct packet *p)
{
	uint32_t len = inner_build(super, i, partial);

	memcpy(original, super, len);
	assert_int_equal(packet_parse(p, super, len), 0);
	return len;
}

/* every segment is a valid packet, in order, and together they carry the payload and nothing else
 */
static unsigned cut_tcp(const struct inner *i, bool partial, const struct virtio_net_hdr *h,
			uint32_t max, uint32_t size)
{
	uint16_t l4 = inner_l4(i), headers = inner_headers(i);
	uint32_t done = 0;
	struct segmenter s;
	struct segment g;
	struct packet p;
	unsigned n = 0;

	prepare(i, partial, &p);
	assert_int_equal(segment_start(&s, &p, h, max, &ip6_id), 0);
	while (segment_next(&s, &g)) {
		bool last;

		assert_true(g.len <= max && g.len > headers);
		memcpy(piece, g.data, g.len); /* as sealing does, before the next is cut */
		assert_null(inner_fault(piece, g.len, true));
		assert_true(g.partial);
		assert_memory_equal(piece + headers, original + headers + done, g.len - headers);
		assert_int_equal(get32(piece + l4 + 4), i->seq + done);
		assert_int_equal(get32(piece + l4 + 8), i->ack);
		done += g.len - headers;
		last = done == i->payload;
		assert_int_equal(g.len - headers, last ? i->payload - n * size : size);
		assert_int_equal(piece[l4 + 13] & (TCP_F_FIN | TCP_F_PSH),
				 last ? i->flags & (TCP_F_FIN | TCP_F_PSH) : 0);
		assert_int_equal(piece[l4 + 13] & TCP_F_CWR, n ? 0 : i->flags & TCP_F_CWR);
		if (!i->v6)
			assert_int_equal(get16(piece + 4), (uint16_t)(i->id + n));
		n++;
	}
	assert_int_equal(done, i->payload);
	return n;
}

static void tcp_super_packets(void **state)
{
	static const uint32_t payloads[] = {1, 1447, 1448, 1449, 2896, 30000, 65000};

	for (unsigned v6 = 0; v6 < 2; v6++)
		for (unsigned k = 0; k < sizeof(payloads) / sizeof(payloads[0]); k++) {
			struct inner i = {INNER_TCP, .v6 = v6, .payload = payloads[k]};
			struct virtio_net_hdr h = inner_vnet(
				&i, v6 ? VIRTIO_NET_HDR_GSO_TCPV6 : VIRTIO_NET_HDR_GSO_TCPV4, 1448);

			i.flags |= TCP_F_PSH | TCP_F_FIN | TCP_F_CWR;
			i.id = 0xfffe; /* wraps */
			assert_int_equal(cut_tcp(&i, true, &h, 1600, 1448),
					 (payloads[k] + 1447) / 1448);
			/* does not fit: cut smaller than the stack asked */
			cut_tcp(&i, true, &h, 1440, 1440 - inner_headers(&i));
			cut_tcp(&i, true, &h, 576, 576 - inner_headers(&i));
		}
}

static void tcp_with_ip_options_and_ecn_type(void **state)
{
	struct inner i = {INNER_TCP, .ip_options = 8, .payload = 5000, .tos = 0xb9};
	struct virtio_net_hdr h =
		inner_vnet(&i, VIRTIO_NET_HDR_GSO_TCPV4 | VIRTIO_NET_HDR_GSO_ECN, 1000);

	assert_int_equal(cut_tcp(&i, true, &h, 1440, 1000), 5);
}

/* behind extension headers of IPv6; the stack makes such super-packets for a socket with options */
static void tcp_behind_options(void **state)
{
	struct inner i = {INNER_TCP, .v6 = true, .payload = 30000};
	struct virtio_net_hdr h;

	for (i.ip_options = 8; i.ip_options <= 256; i.ip_options += 8) {
		h = inner_vnet(&i, VIRTIO_NET_HDR_GSO_TCPV6, 1000);
		assert_int_equal(cut_tcp(&i, true, &h, 1440, 1000), 30);
		cut_tcp(&i, true, &h, 1000, 1000 - inner_headers(&i));
	}
	/* a lone segment that does not fit, its sum finished and not */
	i = (struct inner){INNER_TCP, .v6 = true, .ip_options = 16, .payload = 1400};
	h = inner_vnet(&i, VIRTIO_NET_HDR_GSO_NONE, 0);
	assert_int_equal(cut_tcp(&i, true, &h, 1440, 1440 - inner_headers(&i)), 2);
	h.flags = 0;
	assert_int_equal(cut_tcp(&i, false, &h, 1440, 1440 - inner_headers(&i)), 2);
}

/*
 * a lone segment of the size that the device's MTU allows: cut in two, its finished sum
 * replaced by partial ones
 */
static void tcp_too_big_without_gso(void **state)
{
	struct inner i = {INNER_TCP, .payload = 1448};
	struct virtio_net_hdr h = inner_vnet(&i, VIRTIO_NET_HDR_GSO_NONE, 0), none = {0};

	assert_int_equal(cut_tcp(&i, true, &h, 1440, 1388), 2);
	assert_int_equal(cut_tcp(&i, false, &none, 1440, 1388), 2);
	i.v6 = true;
	assert_int_equal(cut_tcp(&i, false, &none, 1420, 1348), 2);
}

static void what_may_not_be_cut_is_refused(void **state)
{
	struct inner syn = {INNER_TCP, .payload = 2000},
		     udp = {INNER_UDP, .frag = IP4_DF, .payload = 2000};
	struct virtio_net_hdr h = inner_vnet(&syn, VIRTIO_NET_HDR_GSO_NONE, 0);
	struct segmenter s;
	struct packet p;

	syn.flags = TCP_F_SYN;
	prepare(&syn, true, &p);
	assert_int_equal(segment_start(&s, &p, &h, 1440, &ip6_id), -EMSGSIZE);
	h = inner_vnet(&udp, VIRTIO_NET_HDR_GSO_NONE, 0);
	prepare(&udp, true, &p);
	assert_int_equal(segment_start(&s, &p, &h, 1440, &ip6_id), -EMSGSIZE);
	udp.v6 = true;
	h = inner_vnet(&udp, VIRTIO_NET_HDR_GSO_NONE, 0);
	prepare(&udp, true, &p);
	assert_int_equal(segment_start(&s, &p, &h, 1440, &ip6_id), -EMSGSIZE);
	h = inner_vnet(&udp, TAP_GSO_UDP_L4, 1500);
	assert_int_equal(segment_start(&s, &p, &h, 1440, &ip6_id), -EMSGSIZE);
	udp.v6 = false;
	prepare(&udp, true, &p);
	assert_int_equal(segment_start(&s, &p, &h, 1440, &ip6_id), -EMSGSIZE);
}

/*
 * Cutting makes new checksums: it must neither heal a damaged segment nor break a signed one.
 * Without DF such a one goes in fragments.
 */
static void tcp_that_cutting_would_change(void **state)
{
	struct inner i = {INNER_TCP, .payload = 1448};
	struct virtio_net_hdr none = {0}, h;
	struct segmenter s;
	struct packet p;

	prepare(&i, false, &p);
	super[p.headers + 700] ^= 1;
	assert_int_equal(segment_start(&s, &p, &none, 1440, &ip6_id), -EMSGSIZE);
	i.frag = 0;
	prepare(&i, false, &p);
	super[p.headers + 700] ^= 1;
	assert_int_equal(segment_start(&s, &p, &none, 1440, &ip6_id), 0);
	assert_int_equal(s.mode, SEGMENT_FRAGMENTS);

	i.frag = IP4_DF;
	i.tcp_options = 20;
	h = inner_vnet(&i, VIRTIO_NET_HDR_GSO_NONE, 0);
	for (unsigned kind = 18; kind < 21; kind++) {
		prepare(&i, true, &p);
		memset(super + 40, 1, 20);
		super[42] = (uint8_t)kind;
		super[43] = 18;
		assert_int_equal(segment_start(&s, &p, &h, 1440, &ip6_id), kind == 19 ? -EMSGSIZE : 0);
	}
}

static void udp_super_packets_keep_their_boundaries(void **state)
{
	for (unsigned v6 = 0; v6 < 2; v6++) {
		struct inner i = {INNER_UDP, .v6 = v6, .payload = 10 * 1200 + 100};
		struct virtio_net_hdr h = inner_vnet(&i, TAP_GSO_UDP_L4, 1200);
		uint16_t headers = inner_headers(&i);
		struct segmenter s;
		struct segment g;
		struct packet p;
		unsigned n = 0;

		prepare(&i, true, &p);
		assert_int_equal(segment_start(&s, &p, &h, 1440, &ip6_id), 0);
		while (segment_next(&s, &g)) {
			memcpy(piece, g.data, g.len);
			assert_true(g.partial);
			assert_null(inner_fault(piece, g.len, true));
			assert_int_equal(g.len - headers, n == 10 ? 100 : 1200);
			assert_memory_equal(piece + headers, original + headers + n * 1200,
					    g.len - headers);
			n++;
		}
		assert_int_equal(n, 11);
	}
}

static void whole_packets_pass(void **state)
{
	struct inner i = {INNER_TCP, .payload = 100};
	struct virtio_net_hdr h = inner_vnet(&i, VIRTIO_NET_HDR_GSO_NONE, 0), none = {0};
	struct segmenter s;
	struct segment g;
	struct packet p;
	uint32_t len = prepare(&i, true, &p);

	assert_int_equal(segment_start(&s, &p, &h, 1440, &ip6_id), 0);
	assert_true(segment_next(&s, &g));
	assert_true(g.partial && g.len == len && g.data == super);
	assert_false(segment_next(&s, &g));
	prepare(&i, false, &p);
	assert_int_equal(segment_start(&s, &p, &none, 1440, &ip6_id), 0);
	assert_true(segment_next(&s, &g));
	assert_false(g.partial);
	assert_memory_equal(super, original, len);
}

/* SCTP and the like: what the receiver cannot be told by the flag is finished here */
static void odd_partial_checksum_is_finished(void **state)
{
	struct inner i = {.proto = 47, .ttl = 64, .payload = 101};
	struct virtio_net_hdr h = {
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = 24, .csum_offset = 8};
	struct segmenter s;
	struct segment g;
	struct packet p;
	uint32_t len = inner_build(super, &i, false);

	put16(super + 32, 0);
	assert_int_equal(packet_parse(&p, super, len), 0);
	assert_int_equal(segment_start(&s, &p, &h, 1440, &ip6_id), 0);
	assert_true(segment_next(&s, &g));
	assert_false(g.partial);
	assert_int_equal(inner_sum(super + 24, len - 24, 0), 0xffff);

	/* UDP behind an IPv6 extension header looks the same, and a zero means none there */
	memset(super + 24, 0, len - 24);
	super[30] = super[31] = 0xff;
	assert_int_equal(segment_start(&s, &p, &h, 1440, &ip6_id), 0);
	assert_int_equal(get16(super + 32), 0xffff);

	h.csum_start = (uint16_t)len;
	assert_int_equal(segment_start(&s, &p, &h, 1440, &ip6_id), -EINVAL);
	h.csum_start = (uint16_t)(len - 4);
	assert_int_equal(segment_start(&s, &p, &h, 1440, &ip6_id), -EINVAL);
}

/* RFC 791: offsets, flags and options right; put together it is the packet, its checksum finished
 */
static void fragments(void **state)
{
	struct inner i = {INNER_UDP, .ip_options = 8, .payload = 4001};
	struct virtio_net_hdr h = inner_vnet(&i, VIRTIO_NET_HDR_GSO_NONE, 0);
	uint32_t l4 = inner_l4(&i), done = 0, len;
	struct segmenter s;
	struct segment g;
	struct packet p;

	len = inner_build(super, &i, true);
	memcpy(super + 20, "\x94\4\0\0\7\4\4\0",
	       8); /* router alert is copied, record route is not */
	put16(super + 10, 0);
	put16(super + 10, (uint16_t)~inner_sum(super, l4, 0));
	assert_int_equal(packet_parse(&p, super, len), 0);
	assert_int_equal(segment_start(&s, &p, &h, 1440, &ip6_id), 0);
	inner_build(original, &i, false);
	while (segment_next(&s, &g)) {
		uint16_t frag = get16(g.data + 6);

		assert_true(g.len <= 1440);
		assert_int_equal(inner_sum(g.data, l4, 0), 0xffff);
		assert_int_equal(get16(g.data + 2), g.len);
		assert_int_equal(get16(g.data + 4), i.id);
		assert_int_equal((frag & IP4_OFFSET) * 8, done);
		assert_memory_equal(g.data + 20, done ? "\x94\4\0\0\1\1\1\1" : "\x94\4\0\0\7\4\4\0",
				    8);
		assert_memory_equal(g.data + l4, original + l4 + done, g.len - l4);
		done += g.len - l4;
		assert_int_equal(!(frag & IP4_MF), done == len - l4);
		assert_false(g.partial);
	}
	assert_int_equal(done, len - l4);
}

static void fragment_of_a_fragment(void **state)
{
	struct inner i = {.proto = IPPROTO_UDP, .ttl = 64, .frag = IP4_MF | 100, .payload = 2992};
	struct virtio_net_hdr none = {0};
	uint32_t done = 0, len;
	struct segmenter s;
	struct segment g;
	struct packet p;

	len = prepare(&i, false, &p);
	assert_int_equal(p.headers, 0);
	assert_int_equal(segment_start(&s, &p, &none, 1440, &ip6_id), 0);
	while (segment_next(&s, &g)) {
		assert_int_equal(get16(g.data + 6), IP4_MF | (100 + done / 8));
		done += g.len - 20;
	}
	assert_int_equal(done, len - 20);
}

/* puts the IPv6 packet together again that these fragments are of; the next one is complete when it returns its length */
static uint32_t reassemble6(struct segmenter *s, uint32_t max, uint32_t unfragmentable, uint32_t id,
			    unsigned *ret_n)
{
	uint32_t done = 0;
	struct segment g;

	*ret_n = 0;
	while (segment_next(s, &g)) {
		uint16_t field = get16(g.data + unfragmentable + 2);
		uint32_t n = g.len - unfragmentable - 8;

		assert_true(g.len <= max);
		assert_false(g.partial);
		assert_int_equal(get16(g.data + IP6_LEN) + 40, g.len);
		assert_int_equal(field & ~7, done);
		assert_int_equal(get32(g.data + unfragmentable + 4), id);
		if (!*ret_n)
			memcpy(piece, g.data, unfragmentable);
		else
			assert_memory_equal(piece + 7, g.data + 7, unfragmentable - 7);
		piece[unfragmentable == 40 ? IP6_NEXT : 40] = g.data[unfragmentable];
		memcpy(piece + unfragmentable + done, g.data + unfragmentable + 8, n);
		done += n;
		++*ret_n;
		if (!(field & 1))
			break;
		assert_int_equal(n % 8, 0);
	}
	put16(piece + IP6_LEN, unfragmentable - 40 + done);
	return unfragmentable + done;
}

/* A path smaller than IPv6 allows: what a sender may rightly send goes in fragments; it is told of 1280 where it was more. */
static void ip6_below_its_minimum(void **state)
{
	struct inner udp = {INNER_UDP, .v6 = true, .payload = 1232},
		     tcp = {INNER_TCP, .v6 = true, .payload = 1208};
	struct virtio_net_hdr h = inner_vnet(&udp, VIRTIO_NET_HDR_GSO_NONE, 0), none = {0};
	struct segmenter s;
	struct packet p;
	uint32_t len;
	unsigned n;

	ip6_id = 0xffffffff;
	len = prepare(&udp, true, &p);
	assert_int_equal(len, 1280);
	assert_int_equal(segment_start(&s, &p, &h, 1220, &ip6_id), 0);
	assert_int_equal(reassemble6(&s, 1220, 40, 0xffffffff, &n), len);
	assert_int_equal(n, 2);
	assert_false(segment_next(&s, &(struct segment){0}));
	inner_build(original, &udp, false);
	assert_memory_equal(piece, original, len);

	assert_int_equal(cut_tcp(&tcp, false, &none, 1220, 1220 - inner_headers(&tcp)), 2);

	udp.payload = 1233;
	prepare(&udp, true, &p);
	assert_int_equal(segment_start(&s, &p, &h, 1220, &ip6_id), -EMSGSIZE);
}

/* destination options before a routing header go with each fragment, those behind it are payload */
static void ip6_extension_headers(void **state)
{
	static const uint8_t chain[] = {IPPROTO_ROUTING, 0, 1, 4, 0, 0, 0, 0,
					IPPROTO_DSTOPTS, 0, 4, 0, 0, 0, 0, 0,
					59,		 0, 1, 4, 0, 0, 0, 0};
	struct inner i = {.v6 = true, .proto = IPPROTO_DSTOPTS, .payload = 1230};
	struct virtio_net_hdr none = {0};
	struct segmenter s;
	struct segment g;
	struct packet p;
	uint32_t len;

	len = inner_build(super, &i, false);
	memcpy(super + 40, chain, sizeof(chain));
	memcpy(original, super, len);
	assert_int_equal(packet_parse(&p, super, len), 0);
	assert_int_equal(segment_start(&s, &p, &none, 600, &ip6_id), 0);
	for (uint32_t done = 0; segment_next(&s, &g); done += g.len - 64) {
		assert_memory_equal(g.data + 40, chain, 8);
		assert_int_equal(g.data[48], IPPROTO_FRAGMENT);
		assert_int_equal(g.data[56], IPPROTO_DSTOPTS);
		assert_memory_equal(g.data + 64, original + 56 + done, g.len - 64);
	}
	/* a chain that ends nowhere */
	memcpy(super, original, len);
	super[41] = 200;
	assert_int_equal(packet_parse(&p, super, len), 0);
	assert_int_equal(segment_start(&s, &p, &none, 600, &ip6_id), -EINVAL);
}

static void ip6_fragment_of_a_fragment(void **state)
{
	struct inner i = {.v6 = true, .proto = IPPROTO_FRAGMENT, .payload = 8 + 1232};
	struct virtio_net_hdr none = {0};
	uint32_t len, done = 0;
	struct segmenter s;
	struct segment g;
	struct packet p;

	len = inner_build(super, &i, false);
	memcpy(super + 40, "\x11\0\x10\x01\xca\xfe\xba\xbe", 8); /* UDP, 4096 bytes in, more to come */
	memcpy(original, super, len);
	assert_int_equal(packet_parse(&p, super, len), 0);
	assert_int_equal(segment_start(&s, &p, &none, 1220, &ip6_id), 0);
	while (segment_next(&s, &g)) {
		assert_int_equal(g.data[IP6_NEXT], IPPROTO_FRAGMENT);
		assert_int_equal(get16(g.data + 42), (4096 + done) | 1);
		assert_memory_equal(g.data + 44, "\xca\xfe\xba\xbe", 4);
		assert_memory_equal(g.data + 48, original + 48 + done, g.len - 48);
		done += g.len - 48;
	}
	assert_int_equal(done, 1232);
	/* beyond what any packet can have */
	put16(super + 42, 0xfff9);
	memcpy(super, original, 40);
	assert_int_equal(segment_start(&s, &p, &none, 1220, &ip6_id), -EINVAL);
}

/* Datagrams that fit what the sender knows, but not the path: each goes in fragments of its own, its checksum whole. */
static void udp_super_packets_in_fragments(void **state)
{
	for (unsigned v6 = 0; v6 < 2; v6++) {
		struct inner i = {INNER_UDP, .v6 = v6, .payload = 5 * 1200 + 100}, one = i;
		struct virtio_net_hdr h = inner_vnet(&i, TAP_GSO_UDP_L4, 1200);
		uint32_t id = ip6_id = 5, done = 0, len;
		uint16_t l4 = inner_l4(&i);
		struct segmenter s;
		struct segment g;
		struct packet p;
		unsigned n;

		prepare(&i, true, &p);
		assert_int_equal(segment_start(&s, &p, &h, 1100, &ip6_id), 0);
		for (unsigned k = 0; k < 5; k++) {
			if (v6) {
				len = reassemble6(&s, 1100, 40, id++, &n);
				assert_int_equal(n, 2);
			} else {
				for (len = 0, n = 0; n < 2; n++) {
					assert_true(segment_next(&s, &g));
					assert_true(g.len <= 1100);
					assert_int_equal(get16(g.data + IP4_ID), i.id + k);
					assert_int_equal(get16(g.data + IP4_FRAG),
							 n ? len / 8 : IP4_MF);
					assert_int_equal(inner_sum(g.data, l4, 0), 0xffff);
					if (!n)
						memcpy(piece, g.data, l4);
					memcpy(piece + l4 + len, g.data + l4, g.len - l4);
					len += g.len - l4;
				}
				len += l4;
				put16(piece + IP4_LEN, len);
				put16(piece + IP4_FRAG, 0);
				put16(piece + IP4_CHECK, 0);
				put16(piece + IP4_CHECK, (uint16_t)~inner_sum(piece, l4, 0));
			}
			assert_int_equal(len, l4 + 8u + 1200);
			assert_null(inner_fault(piece, len, false));
			assert_memory_equal(piece + l4 + 8, original + l4 + 8 + done, 1200);
			done += 1200;
		}
		/* the last one fits */
		assert_true(segment_next(&s, &g));
		one.payload = 100;
		assert_int_equal(g.len, l4 + 8u + one.payload);
		assert_true(g.partial);
		assert_memory_equal(g.data + l4 + 8, original + l4 + 8 + done, 100);
		assert_false(segment_next(&s, &g));
	}
}

static void contradictions_are_malformed(void **state)
{
	struct inner tcp = {INNER_TCP, .payload = 3000}, udp = {INNER_UDP, .payload = 3000};
	struct virtio_net_hdr h = inner_vnet(&tcp, VIRTIO_NET_HDR_GSO_TCPV6, 1000);
	struct segmenter s;
	struct packet p;

	prepare(&tcp, true, &p);
	assert_int_equal(segment_start(&s, &p, &h, 1440, &ip6_id), -EINVAL); /* wrong family */
	h.gso_type = VIRTIO_NET_HDR_GSO_TCPV4;
	h.gso_size = 0;
	assert_int_equal(segment_start(&s, &p, &h, 1440, &ip6_id), -EINVAL);
	h.gso_type = TAP_GSO_UDP_L4;
	h.gso_size = 1000;
	assert_int_equal(segment_start(&s, &p, &h, 1440, &ip6_id), -EINVAL);
	h.gso_type = VIRTIO_NET_HDR_GSO_UDP; /* UFO was never asked for */
	assert_int_equal(segment_start(&s, &p, &h, 1440, &ip6_id), -EINVAL);
	h.gso_type = VIRTIO_NET_HDR_GSO_TCPV4;
	prepare(&udp, true, &p);
	assert_int_equal(segment_start(&s, &p, &h, 1440, &ip6_id), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tcp_super_packets),
		cmocka_unit_test(tcp_with_ip_options_and_ecn_type),
		cmocka_unit_test(tcp_behind_options),
		cmocka_unit_test(tcp_too_big_without_gso),
		cmocka_unit_test(what_may_not_be_cut_is_refused),
		cmocka_unit_test(tcp_that_cutting_would_change),
		cmocka_unit_test(udp_super_packets_keep_their_boundaries),
		cmocka_unit_test(whole_packets_pass),
		cmocka_unit_test(odd_partial_checksum_is_finished),
		cmocka_unit_test(fragments),
		cmocka_unit_test(fragment_of_a_fragment),
		cmocka_unit_test(ip6_below_its_minimum),
		cmocka_unit_test(ip6_extension_headers),
		cmocka_unit_test(ip6_fragment_of_a_fragment),
		cmocka_unit_test(udp_super_packets_in_fragments),
		cmocka_unit_test(contradictions_are_malformed),
	};

	return MVPN_RUN(tests);
}
