/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Outer headers: what is written is byte for byte what the RFCs say, and nothing else than that
 * is read.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "../../keyd/dp/frame.h"

#define PORT 7469
#define TOS 0xb9 /* EF, ECT(1) */

static struct kt_endpoint endpoint(const char *src, const char *dst)
{
	struct kt_endpoint e = {
		.has_hop = true, .smac = {2, 0, 0, 0, 0, 1}, .dmac = {2, 0, 0, 0, 0, 2}};

	assert_int_equal(mvpn_addr_parse(&e.src, src), 0);
	assert_int_equal(mvpn_addr_parse(&e.to.addr, dst), 0);
	e.to.port = PORT;
	return e;
}

/*
 * a frame in exactly as much memory as it needs, so that a sanitizer sees any byte read beyond;
 * the caller frees it
 */
static uint8_t *make(const struct kt_endpoint *e, const void *payload, size_t len, size_t *ret_len)
{
	uint8_t room[FRAME_HEAD_MAX + 2048], *p = room + FRAME_HEAD_MAX, *f;
	size_t head = frame_start(p, e, PORT, TOS);

	memset(p, 0xaa, sizeof(room) - FRAME_HEAD_MAX);
	memcpy(p, payload, len);
	frame_finish(p, len, head);
	*ret_len = head + len;
	f = malloc(*ret_len);
	memcpy(f, p - head, *ret_len);
	return f;
}

static bool parse(uint8_t *f, size_t len)
{
	struct wire_from from;
	uint8_t *p;
	size_t n;

	return frame_parse(f, len, PORT, &from, &p, &n);
}

/* the plainest checksum there is, to check the fast one */
static uint16_t plain_sum(const uint8_t *p, size_t len, uint32_t sum)
{
	for (size_t i = 0; i < len; i++)
		sum += i & 1 ? p[i] : (uint32_t)p[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

static void ipv4_bytes(void **state)
{
	static const uint8_t want[] =
		{
			2,    0,    0,	  0,	  0, 2,	 2,    0, 0,	0,
			0,    1,    0x08, 0x00, /* Ethernet */
			0x45, TOS,  0,	  28 + 4, 0, 0,	 0x40, 0, 64,	17,
			0x66, 0x4a, 10,	  0,	  0, 1,	 10,   0, 0x40, 0x7f, /* IPv4 */
			0x1d, 0x2d, 0x1d, 0x2d,	  0, 12, 0,    0,	      /* UDP */
			'm',  'v',  'p',  'n',
		};
	struct kt_endpoint e = endpoint("10.0.0.1", "10.0.64.127");
	size_t len;
	uint8_t *f = make(&e, "mvpn", 4, &len);

	assert_int_equal(len, sizeof(want));
	assert_int_equal(plain_sum(f + 14, 20, 0), 0xffff);
	f[24] = want[24]; /* the sum was just checked */
	f[25] = want[25];
	assert_memory_equal(f, want, len);
	free(f);
}

static void ipv6_bytes_and_sum(void **state)
{
	struct kt_endpoint e = endpoint("fd00::1", "fd00::2");
	uint8_t payload[1500];

	for (size_t i = 0; i < sizeof(payload); i++)
		payload[i] = (uint8_t)(i * 37 + 0xc1);
	for (size_t n = 0; n <= 1400; n += n < 40 ? 1 : 97) {
		size_t len;
		uint8_t *f = make(&e, payload, n, &len);

		assert_int_equal(len, FRAME_HEAD_IP6 + n);
		assert_int_equal(f[12] << 8 | f[13], 0x86dd);
		assert_int_equal(f[14], 0x60 | TOS >> 4);
		assert_int_equal(f[15] & 0xf0, (TOS & 15) << 4);
		assert_int_equal(f[18] << 8 | f[19], 8 + n);
		assert_int_equal(f[20], 17);
		assert_int_equal(f[21], 64);
		assert_int_equal(f[58] << 8 | f[59], 8 + n);
		/* source, destination, length and protocol before it, RFC 8200 §8.1 */
		assert_int_equal(plain_sum(f + 22, len - 22, (uint32_t)(8 + n + 17)), 0xffff);
		free(f);
	}
}

static uint32_t label_of(const struct kt_endpoint *e, uint16_t sport, uint8_t tos)
{
	uint8_t room[FRAME_HEAD_MAX],
		*f = room + FRAME_HEAD_MAX - frame_start(room + FRAME_HEAD_MAX, e, sport, tos);

	return (uint32_t)(f[15] & 15) << 16 | (uint32_t)f[16] << 8 | f[17];
}

/* one label for each outer flow, whatever is in it, and flows that are alike get different ones */
static void ipv6_flow_labels(void **state)
{
	uint32_t seen[512];
	unsigned n = 0, same = 0;

	for (unsigned host = 0; host < 32; host++)
		for (uint16_t lane = 0; lane < 16; lane++) {
			struct kt_endpoint e = endpoint("fd00::1", "fd00::2");

			e.to.addr.b[15] = (uint8_t)host;
			seen[n] = label_of(&e, PORT + lane, TOS);
			assert_int_not_equal(seen[n], 0);
			assert_int_equal(seen[n], label_of(&e, PORT + lane, 0));
			for (unsigned k = 0; k < n; k++)
				same += seen[k] == seen[n];
			n++;
		}
	assert_true(same <= 3); /* of 2^20; by chance one in eight runs has one */
}

/* RFC 768: a sum that comes out as zero is sent as all ones */
static void ipv6_sum_is_never_zero(void **state)
{
	struct kt_endpoint e = endpoint("fd00::1", "fd00::2");
	uint8_t payload[2] = {};
	size_t len;
	uint8_t *f = make(&e, payload, 2, &len);

	payload[0] = f[60]; /* adding the sum itself makes it ffff, whose complement is zero */
	payload[1] = f[61];
	free(f);
	f = make(&e, payload, 2, &len);
	assert_int_equal(f[60], 0xff);
	assert_int_equal(f[61], 0xff);
	free(f);
}

static void reads_what_it_writes(void **state)
{
	static const char *const pairs[][2] = {{"192.0.2.1", "192.0.2.2"},
					       {"2001:db8::1", "2001:db8::2"}};

	for (int i = 0; i < 2; i++) {
		struct kt_endpoint e = endpoint(pairs[i][0], pairs[i][1]);
		struct wire_from from;
		uint8_t *p, *f;
		size_t len, n;

		f = make(&e, "some payload", 12, &len);
		memset(&from, 0, sizeof(from));
		assert_true(frame_parse(f, len, PORT, &from, &p, &n));
		assert_int_equal(n, 12);
		assert_memory_equal(p, "some payload", 12);
		assert_true(mvpn_addr_eq(&from.ep.addr, &e.src));
		assert_int_equal(from.ep.port, PORT);
		assert_int_equal(from.tos, TOS);
		assert_false(frame_parse(f, len, PORT + 1, &from, &p, &n));
		for (size_t cut = 0; cut < len; cut++) { /* exactly sized, as above */
			uint8_t *c = malloc(cut ? cut : 1);

			memcpy(c, f, cut);
			assert_false(parse(c, cut));
			free(c);
		}
		free(f);
	}
}

static void trailing_padding_is_cut(void **state)
{
	struct kt_endpoint e = endpoint("192.0.2.1", "192.0.2.2");
	struct wire_from from;
	uint8_t padded[60] = {}, *p, *f;
	size_t len, n;

	f = make(&e, "x", 1, &len);
	memcpy(padded, f, len);
	free(f);
	assert_true(frame_parse(padded, sizeof(padded), PORT, &from, &p, &n));
	assert_int_equal(n, 1);
}

static void vlan_tags_are_skipped(void **state)
{
	static const uint8_t tag[] = {0x81, 0x00, 0x20, 42};
	struct kt_endpoint e = endpoint("2001:db8::1", "2001:db8::2");
	uint8_t tagged[256];
	size_t len;
	uint8_t *f = make(&e, "tagged", 6, &len);

	memcpy(tagged, f, len);
	free(f);
	for (int tags = 1; tags <= 3; tags++) {
		memmove(tagged + 16, tagged + 12, len - 12);
		memcpy(tagged + 12, tag, 4);
		len += 4;
		assert_int_equal(parse(tagged, len), tags <= 2);
		assert_false(parse(tagged, 16));
	}
}

struct change {
	const char *what;
	size_t at;
	uint8_t to;
};

static void refuses(const struct kt_endpoint *e, const struct change *c, size_t n, bool fix_sum)
{
	for (size_t i = 0; i < n; i++) {
		size_t len;
		uint8_t *f = make(e, "payload", 7, &len);

		assert_int_not_equal(f[c[i].at], c[i].to);
		f[c[i].at] = c[i].to;
		if (fix_sum) {
			uint16_t s;

			f[24] = f[25] = 0;
			s = (uint16_t)~plain_sum(f + 14, 20, 0);
			f[24] = (uint8_t)(s >> 8);
			f[25] = (uint8_t)s;
		}
		if (parse(f, len))
			fail_msg("accepted: %s", c[i].what);
		free(f);
	}
}

static void refuses_ipv4_that_is_not_ours(void **state)
{
	static const struct change c[] = {
		{"ARP", 13, 0x06},
		{"version 6", 14, 0x65},
		{"options", 14, 0x46},
		{"header of 16", 14, 0x44},
		{"longer than the frame", 16, 1},
		{"shorter than the header", 17, 19},
		{"shorter than UDP", 17, 27},
		{"more fragments", 20, 0x20},
		{"fragment offset", 21, 1},
		{"TCP", 23, 6},
		{"other port", 37, 0},
		{"UDP longer than IP", 39, 16},
		{"UDP shorter than its header", 39, 7},
	};
	static const struct change bad_sum[] = {{"corrupt source", 29, 77},
						{"corrupt TTL", 22, 63}};
	struct kt_endpoint e = endpoint("192.0.2.1", "192.0.2.2");

	refuses(&e, c, sizeof(c) / sizeof(*c), true);
	refuses(&e, bad_sum, 2, false);
}

static void refuses_ipv6_that_is_not_ours(void **state)
{
	static const struct change c[] = {
		{"version 4", 14, 0x40},       {"longer than the frame", 19, 16},
		{"shorter than UDP", 19, 7},   {"fragment header", 20, 44},
		{"hop-by-hop options", 20, 0}, {"UDP longer than IP", 59, 16},
		{"UDP below 8", 59, 7},
	};
	struct kt_endpoint e = endpoint("2001:db8::1", "2001:db8::2");
	size_t len;
	uint8_t *f;

	refuses(&e, c, sizeof(c) / sizeof(*c), false);
	/* ::ffff:192.0.2.1 as an IPv6 source would pass for the IPv4 host */
	f = make(&e, "payload", 7, &len);
	memset(f + 22, 0, 10);
	memset(f + 32, 0xff, 2);
	assert_false(parse(f, len));
	free(f);
}

/*
 * any bytes: never beyond the frame (the sanitizer build sees that), and the payload lies
 * inside it
 */
static void survives_noise(void **state)
{
	struct kt_endpoint e[2] = {endpoint("192.0.2.1", "192.0.2.2"),
				   endpoint("2001:db8::1", "2001:db8::2")};

	srandom(1);
	for (int i = 0; i < 200000; i++) {
		struct wire_from from;
		size_t len, n;
		uint8_t *p, *f = make(&e[i & 1], "payload", 7, &len);

		for (long k = random() % 4; k >= 0; k--)
			f[(size_t)random() % len] = (uint8_t)random();
		if (frame_parse(f, len, PORT, &from, &p, &n))
			assert_true(p >= f + FRAME_HEAD_IP4 && p + n <= f + len);
		free(f);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ipv4_bytes),
		cmocka_unit_test(ipv6_bytes_and_sum),
		cmocka_unit_test(ipv6_flow_labels),
		cmocka_unit_test(ipv6_sum_is_never_zero),
		cmocka_unit_test(reads_what_it_writes),
		cmocka_unit_test(trailing_padding_is_cut),
		cmocka_unit_test(vlan_tags_are_skipped),
		cmocka_unit_test(refuses_ipv4_that_is_not_ours),
		cmocka_unit_test(refuses_ipv6_that_is_not_ours),
		cmocka_unit_test(survives_noise),
	};

	return cmocka_run_group_tests_name("frame", tests, NULL, NULL);
}
