/* SPDX-License-Identifier: BSD-2-Clause */
#include "test.h"

#include "inner.h"
#include "../../keyd/dp/coalesce.h"
#include "../../keyd/dp/segment.h"

#define WRITES_MAX 512
#define PEER 1

/* what came out, in order */
static struct {
	struct virtio_net_hdr h;
	uint8_t *data;
	size_t len;
} out[WRITES_MAX];
static unsigned nout;
static struct coalescer c;

static void record(void *arg, const struct virtio_net_hdr *h, uint8_t *data, size_t len)
{
	assert_true(nout < WRITES_MAX);
	out[nout].h = *h;
	out[nout].len = len;
	out[nout].data = malloc(len);
	memcpy(out[nout++].data, data, len);
	memset(data - TAP_HEADROOM, 0xee, TAP_HEADROOM); /* the header is written there */
}

static int setup(void **state)
{
	nout = 0;
	return coalesce_init(&c, true, record, NULL);
}

static int teardown(void **state)
{
	while (nout)
		free(out[--nout].data);
	coalesce_free(&c);
	return 0;
}

static void feed_raw(const uint8_t *data, size_t len, bool partial, uint32_t peer)
{
	uint8_t *room = coalesce_room(&c, len);
	struct packet p;

	memcpy(room, data, len);
	assert_int_equal(packet_parse(&p, room, len), 0);
	coalesce_packet(&c, &p, partial, peer);
}

static void feed(const struct inner *i, bool partial)
{
	static uint8_t buf[70000];

	feed_raw(buf, inner_build(buf, i, partial), partial, PEER);
}

/* a forged packet: its bytes are undefined, and it is thrown away */
static void feed_forged(size_t len)
{
	memset(coalesce_room(&c, len), 0xbd, len);
	coalesce_cancel(&c);
}

static void assert_payload(unsigned n, const struct inner *first, uint32_t payload)
{
	uint16_t headers = inner_headers(first);

	assert_int_equal(out[n].len, headers + payload);
	for (uint32_t k = 0; k < payload; k++)
		assert_int_equal(out[n].data[headers + k],
				 (uint8_t)((first->pattern + k) * 2654435761u >> 24));
}

static void next(struct inner *i, uint32_t payload)
{
	i->seq += i->payload;
	i->pattern += i->payload;
	i->id++;
	i->payload = payload;
}

/* what segment.c cuts, coalesce.c puts together again: the same super-packet, byte for byte */
static void undoes_segmentation(void **state)
{
	uint32_t id = 0;
	static uint8_t super[70000], original[70000];

	for (unsigned kind = 0; kind < 4; kind++) {
		bool udp = kind & 1, v6 = kind & 2;
		struct inner tcp = {INNER_TCP, .v6 = v6, .payload = 60000}, i = tcp;
		unsigned gso = v6 ? VIRTIO_NET_HDR_GSO_TCPV6 : VIRTIO_NET_HDR_GSO_TCPV4;
		struct segmenter s;
		struct segment g;
		struct virtio_net_hdr h;
		struct packet p;
		uint32_t len;

		if (udp) {
			i = (struct inner){INNER_UDP, .v6 = v6, .payload = 60000};
			gso = TAP_GSO_UDP_L4;
		} else {
			i.flags |= TCP_F_PSH;
		}
		h = inner_vnet(&i, gso, 1340);
		len = inner_build(super, &i, true);
		memcpy(original, super, len);
		assert_int_equal(packet_parse(&p, super, len), 0);
		assert_int_equal(segment_start(&s, &p, &h, 1440, &id), 0);
		while (segment_next(&s, &g)) {
			feed_raw(g.data, g.len, g.partial, PEER);
			feed_forged(1440);
		}
		coalesce_flush(&c);
		assert_int_equal(nout, kind + 1);
		assert_int_equal(out[kind].len, len);
		assert_memory_equal(out[kind].data, original, len);
		assert_memory_equal(&out[kind].h, &h, sizeof(h));
	}
}

static void lone_packets_are_unchanged(void **state)
{
	static uint8_t buf[2000];
	struct inner i = {INNER_TCP, .payload = 1000};
	uint32_t len = inner_build(buf, &i, true);

	feed(&i, true);
	assert_int_equal(nout, 0); /* waits for more, */
	coalesce_flush(&c);	   /* but not beyond the batch */
	assert_int_equal(nout, 1);
	assert_int_equal(out[0].len, len);
	assert_memory_equal(out[0].data, buf, len);
	assert_int_equal(out[0].h.flags, VIRTIO_NET_HDR_F_NEEDS_CSUM);
	assert_int_equal(out[0].h.gso_type, VIRTIO_NET_HDR_GSO_NONE);
	assert_int_equal(out[0].h.csum_start, 20);
	assert_int_equal(out[0].h.csum_offset, 16);

	/* a finished checksum is the stack's to verify: at once, with no flag */
	i.sport++;
	feed(&i, false);
	assert_int_equal(nout, 2);
	assert_int_equal(out[1].h.flags, 0);
	assert_null(inner_fault(out[1].data, out[1].len, false));
}

static void push_and_short_end_a_super_packet(void **state)
{
	struct inner i = {INNER_TCP, .payload = 1000}, first = i;

	feed(&i, true);
	next(&i, 1000);
	i.flags |= TCP_F_PSH;
	feed(&i, true);
	assert_int_equal(nout, 1);
	assert_payload(0, &first, 2000);
	assert_true(out[0].data[20 + 13] & TCP_F_PSH);
	assert_null(inner_fault(out[0].data, out[0].len, true));

	next(&i, 1000);
	i.flags &= (uint8_t)~TCP_F_PSH;
	first = i;
	feed(&i, true);
	next(&i, 400);
	feed(&i, true);
	assert_int_equal(nout, 2);
	assert_payload(1, &first, 1400);
	assert_int_equal(out[1].h.gso_size, 1000);
}

/* each of these differs in what GRO may not lose: two packets, in order */
static void differences_separate(void **state)
{
	for (unsigned k = 0; k < 12; k++) {
		struct inner i = {INNER_TCP, .payload = 1000}, first = i;
		static uint8_t buf[4000];
		uint32_t len, peer = PEER;

		feed(&first, true);
		next(&i, 1000);
		if (k == 0)
			i.ack++;
		if (k == 1)
			i.seq++; /* a gap */
		if (k == 2)
			i.seq -= 1000; /* again */
		if (k == 3)
			i.tos = 3; /* congestion experienced */
		if (k == 4)
			i.ttl--;
		if (k == 5)
			i.tcp_options = 8;
		if (k == 6)
			i.flags |= TCP_F_FIN;
		if (k == 7)
			i.payload = 1001; /* larger than the first */
		if (k == 8)
			i.frag = 0;
		if (k == 9)
			peer = PEER + 1; /* never joins what different peers sent */
		if (k == 10)
			i.flags |= TCP_F_CWR; /* means this one packet */
		if (k == 11)
			i.flags |= TCP_F_ECE; /* the first has none */
		len = inner_build(buf, &i, true);
		feed_raw(buf, len, true, peer);
		coalesce_flush(&c);
		assert_int_equal(nout, 2);
		assert_payload(0, &first, 1000);
		assert_int_equal(out[1].len, len);
		assert_memory_equal(out[1].data, buf, len);
		teardown(NULL);
		setup(NULL);
	}
}

/* a receiver that has seen congestion says so in every packet for a window: no reason to slow down more */
static void congestion_echo_joins(void **state)
{
	struct inner i = {INNER_TCP, .payload = 1000}, first;

	i.flags |= TCP_F_ECE;
	first = i;
	feed(&i, true);
	next(&i, 1000);
	feed(&i, true);
	coalesce_flush(&c);
	assert_int_equal(nout, 1);
	assert_payload(0, &first, 2000);
	assert_int_equal(out[0].data[20 + 13], TCP_F_ACK | TCP_F_ECE);
	assert_int_equal(out[0].h.gso_type, VIRTIO_NET_HDR_GSO_TCPV4);
}

/* an ACK, or a packet whose sum is finished, does not overtake the data of its flow */
static void order_within_a_flow(void **state)
{
	struct inner i = {INNER_TCP, .payload = 1000}, first = i;

	feed(&i, true);
	next(&i, 1000);
	feed(&i, true);
	next(&i, 0);
	feed(&i, true);
	assert_int_equal(nout, 2);
	assert_payload(0, &first, 2000);
	assert_int_equal(out[1].len, inner_headers(&i));
	assert_null(inner_fault(out[1].data, out[1].len, true));
}

/* without DF the identification has to be what cutting again would give */
static void ipv4_identification(void **state)
{
	struct inner i = {INNER_TCP, .payload = 1000};

	i.frag = 0;
	feed(&i, true);
	next(&i, 1000);
	feed(&i, true);
	next(&i, 1000);
	i.id++;
	feed(&i, true);
	coalesce_flush(&c);
	assert_int_equal(nout, 2);
	assert_int_equal(out[0].h.gso_size, 1000);
	assert_int_equal(out[1].h.gso_type, VIRTIO_NET_HDR_GSO_NONE);
}

/*
 * more flows than slots, in turn, with forged packets between: nothing is lost, every flow is
 * in order
 */
static void many_flows(void **state)
{
	struct inner flow[COALESCE_FLOWS + 3];
	uint32_t seen[COALESCE_FLOWS + 3] = {0};

	for (unsigned f = 0; f < COALESCE_FLOWS + 3; f++) {
		flow[f] = (struct inner){INNER_TCP, .payload = 1000, .pattern = f * 77};
		flow[f].sport = (uint16_t)(100 + f);
	}
	for (unsigned round = 0; round < 20; round++)
		for (unsigned f = 0; f < COALESCE_FLOWS + 3; f++) {
			if (round % 5 == 4 && f % 3)
				continue;
			feed(&flow[f], true);
			next(&flow[f], 1000);
			feed_forged(900 + 100 * f);
		}
	coalesce_flush(&c);
	for (unsigned n = 0; n < nout; n++) {
		unsigned f = get16(out[n].data + 20) - 100u;
		uint32_t payload = (uint32_t)out[n].len - 52;

		assert_null(inner_fault(out[n].data, out[n].len, true));
		assert_int_equal(get32(out[n].data + 24), 1000 + seen[f]);
		for (uint32_t k = 0; k < payload; k++)
			assert_int_equal(out[n].data[52 + k],
					 (uint8_t)((f * 77 + seen[f] + k) * 2654435761u >> 24));
		seen[f] += payload;
	}
	for (unsigned f = 0; f < COALESCE_FLOWS + 3; f++)
		assert_int_equal(seen[f], flow[f].seq - 1000);
}

/* never beyond what an IP packet can hold */
static void full(void **state)
{
	struct inner i = {INNER_TCP, .payload = 1388};
	uint32_t total = 0;

	for (unsigned n = 0; n < 100; n++, next(&i, 1388))
		feed(&i, true);
	coalesce_flush(&c);
	assert_int_equal(nout, 3);
	for (unsigned n = 0; n < nout; n++) {
		assert_null(inner_fault(out[n].data, out[n].len, true));
		total += (uint32_t)out[n].len - 52;
	}
	assert_int_equal(total, 138800);
}

/*
 * Little payload, so the next packet's room begins inside the headers of the first. Its ports are
 * what an IPv4 header begins with: were they compared with what lies there now, they would match.
 */
static void headers_are_compared_as_they_came(void **state)
{
	struct inner first = {INNER_UDP, .payload = 20}, i = first;

	i.sport = 0x4500;
	i.dport = 20 + 8 + 20;
	i.id++;
	feed(&first, true);
	feed(&i, true);
	coalesce_flush(&c);
	assert_int_equal(nout, 2);
	for (unsigned n = 0; n < 2; n++) {
		assert_int_equal(out[n].len, 48);
		assert_null(inner_fault(out[n].data, 48, true));
	}
	assert_int_equal(get16(out[0].data + 20) + get16(out[1].data + 20), first.sport + i.sport);
}

static void udp_without_kernel_support(void **state)
{
	struct inner i = {INNER_UDP, .payload = 1000};

	c.uso = false;
	feed(&i, true);
	feed(&i, true);
	assert_int_equal(nout, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(undoes_segmentation, setup, teardown),
		cmocka_unit_test_setup_teardown(lone_packets_are_unchanged, setup, teardown),
		cmocka_unit_test_setup_teardown(push_and_short_end_a_super_packet, setup, teardown),
		cmocka_unit_test_setup_teardown(differences_separate, setup, teardown),
		cmocka_unit_test_setup_teardown(congestion_echo_joins, setup, teardown),
		cmocka_unit_test_setup_teardown(order_within_a_flow, setup, teardown),
		cmocka_unit_test_setup_teardown(ipv4_identification, setup, teardown),
		cmocka_unit_test_setup_teardown(many_flows, setup, teardown),
		cmocka_unit_test_setup_teardown(full, setup, teardown),
		cmocka_unit_test_setup_teardown(headers_are_compared_as_they_came, setup, teardown),
		cmocka_unit_test_setup_teardown(udp_without_kernel_support, setup, teardown),
	};

	return MVPN_RUN(tests);
}
