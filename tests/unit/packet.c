/* SPDX-License-Identifier: BSD-2-Clause */
/* Where an inner packet's transport header is, behind extension headers of IPv6 and not behind what only looks like them. */
#include "test.h"

#include "inner.h"

#define OPAQUE 0

/* a header of `len` bytes that says what follows */
static uint32_t put_header(uint8_t *d, uint32_t at, uint8_t next, unsigned len)
{
	memset(d + at, 0, len);
	d[at] = next;
	d[at + 1] = (uint8_t)(len / 8 - 1);
	return at + len;
}

static void ipv6_options(void **state)
{
	static const struct {
		const char *what;
		struct {
			uint8_t type;
			unsigned len;
		} chain[6];
		uint8_t proto; /* found, and where */
		unsigned l4;
		bool headers, fragment;
	} cases[] = {
		{"none", {{0}}, IPPROTO_UDP, 40, true, false},
		{"hop-by-hop", {{IPPROTO_HOPOPTS, 8}}, IPPROTO_UDP, 48, true, false},
		{"both",
		 {{IPPROTO_HOPOPTS, 16}, {IPPROTO_DSTOPTS, 24}},
		 IPPROTO_UDP,
		 80,
		 true,
		 false},
		{"the longest", {{IPPROTO_DSTOPTS, 256}}, IPPROTO_UDP, 296, true, false},
		{"too long", {{IPPROTO_DSTOPTS, 264}}, IPPROTO_DSTOPTS, 40, false, false},
		{"too long in all",
		 {{IPPROTO_HOPOPTS, 128}, {IPPROTO_DSTOPTS, 136}},
		 IPPROTO_DSTOPTS,
		 168,
		 false,
		 false},
		{"too many",
		 {{IPPROTO_HOPOPTS, 8},
		  {IPPROTO_DSTOPTS, 8},
		  {IPPROTO_DSTOPTS, 8},
		  {IPPROTO_DSTOPTS, 8},
		  {IPPROTO_DSTOPTS, 8}},
		 IPPROTO_DSTOPTS,
		 72,
		 false,
		 false},
		{"routing", {{IPPROTO_ROUTING, 24}}, IPPROTO_ROUTING, 40, false, false},
		{"fragment", {{IPPROTO_FRAGMENT, 8}}, IPPROTO_FRAGMENT, 40, false, true},
		{"options and fragment",
		 {{IPPROTO_DSTOPTS, 8}, {IPPROTO_FRAGMENT, 8}},
		 IPPROTO_FRAGMENT,
		 48,
		 false,
		 true},
	};

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint8_t d[1000];
		struct inner in = {INNER_UDP, .v6 = true};
		uint32_t at = 40, next_at = 6;
		struct packet p;

		inner_build(d, &in, false);
		for (unsigned n = 0; n < 6 && cases[i].chain[n].len; n++) {
			d[next_at] = cases[i].chain[n].type;
			next_at = at;
			at = put_header(d, at, IPPROTO_UDP, cases[i].chain[n].len);
		}
		memset(d + at, 0, 8);
		at += 8;
		put16(d + 4, at - 40);
		assert_int_equal(packet_parse(&p, d, at), 0);
		if (p.proto != cases[i].proto || p.l4 != cases[i].l4 ||
		    p.fragment != cases[i].fragment ||
		    p.headers != (cases[i].headers ? p.l4 + 8 : 0))
			fail_msg("%s: protocol %u at %u, headers to %u%s", cases[i].what, p.proto,
				 p.l4, p.headers, p.fragment ? ", fragment" : "");
	}
}

/* cut at any byte: what is not wholly there is not looked behind */
static void ipv6_options_cut(void **state)
{
	struct inner in = {INNER_TCP, .v6 = true, .ip_options = 24, .payload = 10};
	uint8_t d[300];
	uint32_t len = inner_build(d, &in, false);

	for (uint32_t n = 40; n <= len; n++) {
		uint8_t *exact = malloc(n);
		struct packet p;

		memcpy(exact, d, n);
		put16(exact + 4, n - 40);
		assert_int_equal(packet_parse(&p, exact, n), 0);
		assert_int_equal(p.l4, n < 64 ? 40 : 64);
		assert_int_equal(p.proto, n < 64 ? IPPROTO_DSTOPTS : IPPROTO_TCP);
		assert_int_equal(p.headers, n < inner_headers(&in) ? 0 : inner_headers(&in));
		free(exact);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ipv6_options),
		cmocka_unit_test(ipv6_options_cut),
	};

	return MVPN_RUN(tests);
}
