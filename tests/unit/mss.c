/* SPDX-License-Identifier: BSD-2-Clause */
#include "test.h"

#include "inner.h"
#include "../../keyd/dp/mss.h"

static uint8_t data[2000];

/* a SYN with these options; what its MSS option, `at` bytes into them, says after clamping */
static unsigned clamp(bool v6, unsigned flags, bool partial, const char *options, unsigned noptions,
		      unsigned at, unsigned mtu)
{
	struct inner i = {INNER_TCP, .v6 = v6};
	uint16_t l4 = inner_l4(&i);
	struct packet p;
	uint32_t len;
	uint16_t sum;
	bool changed;

	i.tcp_options = noptions;
	i.flags = (uint8_t)flags;
	len = inner_build(data, &i, partial);
	memcpy(data + l4 + 20, options, noptions);
	if (!partial) {
		put16(data + l4 + 16, 0);
		sum = inner_sum(data + l4, len - l4, inner_pseudo(data, len - l4));
		put16(data + l4 + 16, (uint16_t)~sum);
	}
	sum = get16(data + l4 + 16);
	assert_int_equal(packet_parse(&p, data, len), 0);
	changed = mss_clamp(&p, partial, mtu);
	assert_null(inner_fault(data, len, partial));
	if (partial || !changed)
		assert_int_equal(get16(data + l4 + 16), sum);
	return get16(data + l4 + 20 + at + 2);
}

static void lowered_to_what_fits(void **state)
{
	for (unsigned partial = 0; partial < 2; partial++) {
		assert_int_equal(clamp(false, TCP_F_SYN, partial, "\2\4\x05\xb4", 4, 0, 1440),
				 1400);
		assert_int_equal(clamp(true, TCP_F_SYN, partial, "\2\4\x05\xb4", 4, 0, 1440), 1380);
		assert_int_equal(clamp(false, TCP_F_SYN | TCP_F_ACK, partial,
				       "\1\3\3\7\2\4\x23\x28\4\2\1\1", 12, 4, 1220),
				 1180);
		/* at an odd place */
		assert_int_equal(
			clamp(false, TCP_F_SYN, partial, "\1\2\4\x05\xb4\1\1\1", 8, 1, 1440), 1400);
		assert_int_equal(clamp(true, TCP_F_SYN, partial, "\1\3\3\7\1\2\4\xff\xff\1\1\1", 12,
				       5, 1280),
				 1220);
	}
}

static void left_alone(void **state)
{
	/* fits already */
	assert_int_equal(clamp(false, TCP_F_SYN, false, "\2\4\x02\x18", 4, 0, 1440), 536);
	assert_int_equal(clamp(false, TCP_F_SYN, false, "\2\4\x05\x78", 4, 0, 1440), 1400);
	/* no SYN: it means something else, or nothing */
	assert_int_equal(clamp(false, TCP_F_ACK, false, "\2\4\x05\xb4", 4, 0, 1440), 1460);
	/* no MSS option: lengths that end before it, or lie */
	assert_int_equal(clamp(false, TCP_F_SYN, false, "\0\1\1\1\2\4\x05\xb4", 8, 4, 1440), 1460);
	assert_int_equal(clamp(false, TCP_F_SYN, false, "\3\0\1\1\2\4\x05\xb4", 8, 4, 1440), 1460);
	assert_int_equal(clamp(false, TCP_F_SYN, false, "\3\1\1\1\2\4\x05\xb4", 8, 4, 1440), 1460);
	assert_int_equal(clamp(false, TCP_F_SYN, false, "\x08\x0a\1\1\2\4\x05\xb4", 8, 4, 1440),
			 1460);
	assert_int_equal(clamp(false, TCP_F_SYN, false, "\2\3\x05\xb4", 4, 0, 1440), 1460);
	assert_int_equal(clamp(false, TCP_F_SYN, false, "\1\1\1\2", 4, 0, 1440), 0x0102);
	/* TCP-AO (RFC 5925) covers options, MD5 signatures (RFC 2385) do not */
	assert_int_equal(clamp(false, TCP_F_SYN, false, "\2\4\x05\xb4\x1d\4\1\2", 8, 0, 1440),
			 1460);
	assert_int_equal(clamp(false, TCP_F_SYN, false, "\2\4\x05\xb4\x13\4\1\2", 8, 0, 1440),
			 1400);
	/* a path too small to be one */
	assert_int_equal(clamp(false, TCP_F_SYN, false, "\2\4\x05\xb4", 4, 0, 100), 1460);
}

static void fragments_and_other_protocols(void **state)
{
	struct inner i = {INNER_TCP}, udp = {INNER_UDP, .payload = 40};
	struct packet p;

	i.tcp_options = 4;
	i.frag = IP4_MF;
	i.flags = TCP_F_SYN;
	inner_build(data, &i, false);
	memcpy(data + 40, "\2\4\x05\xb4", 4);
	assert_int_equal(packet_parse(&p, data, 44), 0);
	assert_false(mss_clamp(&p, false, 1000));
	assert_int_equal(packet_parse(&p, data, inner_build(data, &udp, false)), 0);
	assert_false(mss_clamp(&p, false, 1000));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lowered_to_what_fits),
		cmocka_unit_test(left_alone),
		cmocka_unit_test(fragments_and_other_protocols),
	};

	return MVPN_RUN(tests);
}
