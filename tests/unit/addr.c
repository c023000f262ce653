/* SPDX-License-Identifier: BSD-2-Clause */
#include "addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "test.h"

static struct mvpn_addr addr(const char *s)
{
	struct mvpn_addr a;

	assert_int_equal(mvpn_addr_parse(&a, s), 0);
	return a;
}

static struct mvpn_prefix prefix(const char *s)
{
	struct mvpn_prefix p;

	assert_int_equal(mvpn_prefix_parse(&p, s), 0);
	return p;
}

static void addresses_survive_text(void **state)
{
	static const char *const texts[] = {"10.0.0.1", "0.0.0.0", "255.255.255.255",
					    "::",	"fd00::1", "2001:db8:1:2:3:4:5:6"};
	char buf[MVPN_ADDRSTRLEN];

	for (unsigned i = 0; i < 6; i++) {
		struct mvpn_addr a = addr(texts[i]);

		assert_string_equal(mvpn_addr_str(&a, buf), texts[i]);
	}
	struct mvpn_addr v4 = addr("1.2.3.4"), mapped = addr("::ffff:1.2.3.4");

	assert_true(mvpn_addr_eq(&v4, &mapped));
	assert_true(mvpn_addr_is_v4(&v4));
}

static void bad_text_is_refused(void **state)
{
	static const char *const addresses[] = {"",	     "10.0.0",	"10.0.0.256", "10.0.0.1 ",
						" 10.0.0.1", "fd00::g", "10.0.0.1/8", "[fd00::1]",
						"1::2::3",   "host"};
	static const char *const prefixes[] = {"",
					       "/",
					       "10.0.0.1/8",
					       "10.0.0.0/33",
					       "10.0.0.0/",
					       "10.0.0.0/-1",
					       "10.0.0.0/08",
					       "10.0.0.0/ 8",
					       "fd00::1/64",
					       "fd00::/129",
					       "fd00::/1x",
					       "10.0.0.0/8/8",
					       "::/99999999999999999999"};
	static const char *const endpoints[] = {"",
						":80",
						"10.0.0.1:",
						"10.0.0.1:0",
						"10.0.0.1:65536",
						"[fd00::1",
						"[fd00::1]x",
						"[fd00::1]:",
						"[10.0.0.1]:80",
						"host:80",
						"10.0.0.1:+1",
						"10.0.0.1:80 "};
	struct mvpn_addr a;
	struct mvpn_prefix p;
	struct mvpn_endpoint e;

	for (unsigned i = 0; i < sizeof(addresses) / sizeof(*addresses); i++)
		assert_int_equal(mvpn_addr_parse(&a, addresses[i]), -EINVAL);
	for (unsigned i = 0; i < sizeof(prefixes) / sizeof(*prefixes); i++)
		assert_int_equal(mvpn_prefix_parse(&p, prefixes[i]), -EINVAL);
	for (unsigned i = 0; i < sizeof(endpoints) / sizeof(*endpoints); i++)
		assert_int_equal(mvpn_endpoint_parse(&e, endpoints[i], 1), -EINVAL);
}

static void prefixes_survive_text(void **state)
{
	static const struct {
		const char *in, *out;
		unsigned len;
	} cases[] = {
		{"10.0.0.0/8", "10.0.0.0/8", 104},
		{"10.1.2.3", "10.1.2.3/32", 128},
		{"0.0.0.0/0", "0.0.0.0/0", 96},
		{"fd00::/8", "fd00::/8", 8},
		{"fd00::1", "fd00::1/128", 128},
		{"::/0", "::/0", 0},
		{"192.168.0.128/25", "192.168.0.128/25", 121},
	};
	char buf[MVPN_ADDRSTRLEN];

	for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct mvpn_prefix p = prefix(cases[i].in);

		assert_int_equal(p.len, cases[i].len);
		assert_string_equal(mvpn_prefix_str(&p, buf), cases[i].out);
	}
}

static void endpoints_survive_text(void **state)
{
	static const struct {
		const char *in, *out;
	} cases[] = {
		{"10.0.0.1:80", "10.0.0.1:80"},
		{"10.0.0.1", "10.0.0.1:7468"},
		{"[fd00::1]:80", "[fd00::1]:80"},
		{"fd00::1", "[fd00::1]:7468"},
		{"[fd00::1]", "[fd00::1]:7468"},
		{"[ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255]:65535",
		 "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535"},
	};
	char buf[MVPN_ADDRSTRLEN];

	for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct mvpn_endpoint e;

		assert_int_equal(mvpn_endpoint_parse(&e, cases[i].in, 7468), 0);
		assert_string_equal(mvpn_endpoint_str(&e, buf), cases[i].out);
	}
}

static void prefix_relations(void **state)
{
	static const struct {
		const char *p, *a;
		bool in;
	} in[] = {
		{"10.0.0.0/8", "10.255.0.1", true},
		{"10.0.0.0/8", "11.0.0.0", false},
		{"10.0.0.128/25", "10.0.0.127", false},
		{"10.0.0.128/25", "10.0.0.255", true},
		{"::/0", "10.0.0.1", true},
		{"0.0.0.0/0", "fd00::1", false},
		{"fd00::/9", "fd7f::1", true},
		{"fd00::/9", "fd80::1", false},
		{"fd00::1", "fd00::1", true},
		{"fd00::1", "fd00::2", false},
	};
	struct mvpn_prefix a = prefix("10.0.0.0/8"), b = prefix("10.1.0.0/16"),
			   c = prefix("11.0.0.0/8");

	for (unsigned i = 0; i < sizeof(in) / sizeof(*in); i++) {
		struct mvpn_prefix p = prefix(in[i].p);
		struct mvpn_addr x = addr(in[i].a);

		assert_int_equal(mvpn_prefix_contains(&p, &x), in[i].in);
	}
	assert_true(mvpn_prefix_overlaps(&a, &b));
	assert_true(mvpn_prefix_overlaps(&b, &a));
	assert_false(mvpn_prefix_overlaps(&b, &c));
}

static void validity_is_about_host_bits(void **state)
{
	struct mvpn_prefix p = {.len = 129};

	assert_false(mvpn_prefix_valid(&p));
	/* one bit at every place: valid only if the length covers it */
	for (unsigned bit = 0; bit < 128; bit++) {
		for (unsigned len = 0; len <= 128; len++) {
			p = (struct mvpn_prefix){.len = (uint8_t)len};
			p.addr.b[bit / 8] = (uint8_t)(0x80 >> (bit % 8));
			assert_int_equal(mvpn_prefix_valid(&p), bit < len);
		}
	}
}

static void ownable_addresses(void **state)
{
	static const char *const yes[] = {"10.0.0.1", "192.0.2.1", "223.255.255.255", "2001:db8::1",
					  "fd00::1"};
	static const char *const no[] = {"0.0.0.0",   "0.1.2.3",	 "127.0.0.1", "169.254.1.1",
					 "224.0.0.1", "255.255.255.255", "::",	      "::1",
					 "fe80::1",   "febf::1",	 "ff02::1",   "::1.2.3.4"};

	for (unsigned i = 0; i < sizeof(yes) / sizeof(*yes); i++) {
		struct mvpn_addr a = addr(yes[i]);

		assert_true(mvpn_addr_is_ownable(&a));
	}
	for (unsigned i = 0; i < sizeof(no) / sizeof(*no); i++) {
		struct mvpn_addr a = addr(no[i]);

		assert_false(mvpn_addr_is_ownable(&a));
	}
}

static void sockaddrs_round_trip(void **state)
{
	static const char *const texts[] = {"10.0.0.1:80", "[fd00::1]:65535"};
	struct sockaddr other = {.sa_family = AF_UNIX};
	struct mvpn_endpoint e, back;

	for (unsigned i = 0; i < 4; i++) {
		struct sockaddr_storage ss;
		bool mapped = i & 1;
		socklen_t len;

		assert_int_equal(mvpn_endpoint_parse(&e, texts[i / 2], 0), 0);
		len = mvpn_endpoint_to_sockaddr(&e, mapped, &ss);
		assert_int_equal(ss.ss_family, i == 0 ? AF_INET : AF_INET6);
		assert_int_equal(len,
				 i == 0 ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6));
		assert_int_equal(mvpn_endpoint_from_sockaddr(&back, (struct sockaddr *)&ss), 0);
		assert_true(mvpn_addr_eq(&e.addr, &back.addr));
		assert_int_equal(e.port, back.port);
	}
	assert_int_equal(mvpn_endpoint_from_sockaddr(&back, &other), -EAFNOSUPPORT);
}

static void mac_addresses(void **state)
{
	static const char *const bad[] = {"", "02:00:00:00:00", "02:00:00:00:00:0", "02-00-00-00-00-01",
					  "02:00:00:00:00:0g", "02:00:00:00:00:01:02", "fd00::1"};
	uint8_t mac[6] = {0}, back[6];
	char text[MVPN_MACSTRLEN];
	struct mvpn_addr a;

	assert_int_equal(mvpn_mac_parse(mac, "02:aB:00:7f:00:1e"), 0);
	assert_string_equal(mvpn_mac_str(mac, text), "02:ab:00:7f:00:1e");
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(mvpn_mac_parse(mac, bad[i]), -EINVAL);
	assert_true(mvpn_mac_is_ownable(mac));
	a = mvpn_mac_addr(mac);
	assert_false(mvpn_addr_is_ownable(&a));
	assert_true(mvpn_addr_mac(&a, back));
	assert_memory_equal(mac, back, 6);
	mvpn_addr_parse(&a, "ff02::1");
	assert_false(mvpn_addr_mac(&a, back));
	assert_false(mvpn_mac_is_ownable((uint8_t[6]){0}));
	assert_false(mvpn_mac_is_ownable((uint8_t[6]){1, 0, 0x5e, 0, 0, 1}));
	assert_false(mvpn_mac_is_ownable((uint8_t[6]){0xff, 0xff, 0xff, 0xff, 0xff, 0xff}));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses_survive_text),
		cmocka_unit_test(bad_text_is_refused),
		cmocka_unit_test(prefixes_survive_text),
		cmocka_unit_test(endpoints_survive_text),
		cmocka_unit_test(prefix_relations),
		cmocka_unit_test(validity_is_about_host_bits),
		cmocka_unit_test(ownable_addresses),
		cmocka_unit_test(sockaddrs_round_trip),
		cmocka_unit_test(mac_addresses),
	};

	return MVPN_RUN(tests);
}
