/* SPDX-License-Identifier: BSD-2-Clause */
/* Lists of protocols and ports: one form for what is the same, and nothing found that is not in it. */
#include "test.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "service.h"

static struct mvpn_service list[8];
static unsigned n;

static int add(unsigned proto, unsigned lo, unsigned hi)
{
	return mvpn_services_add(list, &n, 8,
				 (struct mvpn_service){(uint8_t)proto, (uint16_t)lo, (uint16_t)hi});
}

static const char *text(void)
{
	static char buf[200];

	mvpn_services_str(list, n, buf, sizeof(buf));
	return buf;
}

static void ranges_are_joined(void **state)
{
	n = 0;
	assert_string_equal(text(), "nothing");
	add(IPPROTO_UDP, 53, 53);
	add(IPPROTO_TCP, 6432, 6440);
	add(IPPROTO_TCP, 22, 22);
	add(IPPROTO_ICMP, 0, 65535);
	assert_string_equal(text(), "icmp, tcp 22, 6432-6440, udp 53");
	add(IPPROTO_TCP, 23, 30);
	add(IPPROTO_TCP, 6441, 6441);
	add(IPPROTO_UDP, 53, 53);
	assert_string_equal(text(), "icmp, tcp 22-30, 6432-6441, udp 53");
	add(IPPROTO_TCP, 29, 6431);
	assert_string_equal(text(), "icmp, tcp 22-6441, udp 53");
	add(IPPROTO_TCP, 0, 65535);
	add(47, 0, 65535);
	assert_string_equal(text(), "icmp, tcp, udp 53, 47");
	assert_true(mvpn_services_valid(list, n));
	assert_true(mvpn_services_have(list, n, 47, 0));
	assert_true(mvpn_services_have(list, n, IPPROTO_TCP, 65535));
	assert_false(mvpn_services_have(list, n, IPPROTO_UDP, 54));
	assert_false(mvpn_services_have(list, n, IPPROTO_SCTP, 53));
	assert_true(mvpn_services_have_proto(list, n, IPPROTO_UDP));
	assert_false(mvpn_services_have_proto(list, n, 46));
}

static void the_list_is_bounded(void **state)
{
	n = 0;
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(add(IPPROTO_TCP, 10 * i + 1, 10 * i + 2), 0);
	assert_int_equal(add(IPPROTO_TCP, 1000, 1000), -ENOSPC);
	assert_int_equal(add(IPPROTO_UDP, 1, 1), -ENOSPC);
	assert_int_equal(add(IPPROTO_TCP, 3, 30), 0); /* joins */
	assert_int_equal(n, 5);
}

/* whatever comes in whatever order, the list says of each port what was put in */
static void as_a_set_would_say(void **state)
{
	srandom(7);
	for (unsigned run = 0; run < 500; run++) {
		bool in[64] = {false};

		n = 0;
		for (unsigned i = 0; i < 10; i++) {
			unsigned lo = (unsigned)random() % 64, hi = lo + (unsigned)random() % 6;

			hi = hi > 63 ? 63 : hi;
			if (add(IPPROTO_TCP, lo + 1, hi + 1) < 0)
				continue;
			for (unsigned k = lo; k <= hi; k++)
				in[k] = true;
		}
		assert_true(mvpn_services_valid(list, n));
		for (unsigned k = 0; k < 64; k++)
			assert_int_equal(mvpn_services_have(list, n, IPPROTO_TCP, (uint16_t)(k + 1)),
					 in[k]);
		assert_true(mvpn_services_cover(list, n, list, n));
	}
}

static void forms_that_are_not_one(void **state)
{
	static const struct mvpn_service bad[][2] = {
		{{6, 22, 21}},		       {{6, 0, 5}},
		{{6, 1, 5}, {6, 6, 7}},	       {{6, 1, 5}, {6, 3, 9}},
		{{17, 1, 1}, {6, 1, 1}},       {{1, 0, 5}},
		{{47, 1, 65535}},	       {{58, 0, 65535}},
		{{44, 0, 65535}},	       {{59, 0, 65535}},
		{{6, 0, 65535}, {6, 0, 65535}}};

	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(mvpn_services_valid(bad[i], bad[i][1].proto ? 2 : 1));
	assert_true(mvpn_services_valid(bad[0], 0));
}

static void protocols_have_names(void **state)
{
	static const char *const bad[] = {"", "TCP", "tcpx", "0", "00", "06x", "256", "43", "44", "60", "59", "1000"};
	char buf[8];

	assert_int_equal(mvpn_proto_parse("tcp", 3), IPPROTO_TCP);
	assert_int_equal(mvpn_proto_parse("47", 2), 47);
	assert_int_equal(mvpn_proto_parse("58", 2), IPPROTO_ICMP);
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(mvpn_proto_parse(bad[i], strlen(bad[i])), -EINVAL);
	assert_string_equal(mvpn_proto_name(132, buf), "sctp");
	assert_string_equal(mvpn_proto_name(255, buf), "255");
}

static void what_does_not_fit_is_left_out(void **state)
{
	char buf[24];

	n = 0;
	for (unsigned i = 0; i < 8; i++)
		add(IPPROTO_TCP, 1000 * i + 1, 1000 * i + 1);
	mvpn_services_str(list, n, buf, sizeof(buf));
	assert_string_equal(buf, "tcp 1, 1001, 2001, …");
	mvpn_services_str(list, 1, buf, 6);
	assert_string_equal(buf, "tcp 1");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ranges_are_joined),
		cmocka_unit_test(the_list_is_bounded),
		cmocka_unit_test(as_a_set_would_say),
		cmocka_unit_test(forms_that_are_not_one),
		cmocka_unit_test(protocols_have_names),
		cmocka_unit_test(what_does_not_fit_is_left_out),
	};

	return MVPN_RUN(tests);
}
