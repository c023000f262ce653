/* SPDX-License-Identifier: BSD-2-Clause */
/* Traffic classes: which one a packet has, as bytes, as text. */
#include "test.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "class.h"

#define TCP 6
#define UDP 17

static const struct mvpn_class plain = {MVPN_DSCP_NETWORK, 0, 0}, ef = {46, 0, 0},
			       copy = {MVPN_DSCP_COPY, 0, 0},
			       slow = {MVPN_DSCP_NETWORK, 1000, 32 << 10};

static int add(struct mvpn_classes *c, const struct mvpn_class *of, uint8_t proto, unsigned lo,
	       unsigned hi, unsigned at)
{
	struct mvpn_service s = {proto, (uint16_t)lo, (uint16_t)hi};

	return mvpn_classes_add(c, of, &s, 1, at);
}

/* both ways, as bytes */
static void check(const struct mvpn_classes *c)
{
	uint8_t bytes[MVPN_CLASSES_MAX_B];
	struct mvpn_classes back;

	mvpn_classes_encode(c, bytes);
	assert_int_equal(mvpn_classes_decode(&back, bytes, mvpn_classes_size(c)), 0);
	assert_true(mvpn_classes_eq(c, &back));
	assert_int_equal(mvpn_classes_decode(&back, bytes, mvpn_classes_size(c) - 1), -EINVAL);
	assert_int_equal(mvpn_classes_decode(&back, bytes, mvpn_classes_size(c) + 1), -EINVAL);
}

static void first_line_decides(void **state)
{
	struct mvpn_classes c;

	mvpn_classes_init(&c);
	assert_int_equal(c.n, 0);
	assert_int_equal(mvpn_classes_find(&c, 0, TCP, 22), MVPN_CLASS_NONE);
	/* ssh at B; then all of tcp 1-100 at both, then everything */
	assert_int_equal(add(&c, &ef, TCP, 22, 22, 2), 0);
	assert_int_equal(add(&c, &plain, TCP, 80, 80, 2), 0);
	assert_int_equal(add(&c, &slow, TCP, 1, 100, 3), 0);
	assert_int_equal(mvpn_classes_add(&c, &copy, NULL, 0, 3), 0);
	assert_int_equal(c.n, 3);
	assert_int_equal(mvpn_classes_find(&c, 1, TCP, 22), 0);
	assert_int_equal(mvpn_classes_find(&c, 0, TCP, 22), 1);
	for (unsigned port = 1; port <= 100; port++)
		if (port != 22 && port != 80)
			assert_int_equal(mvpn_classes_find(&c, 1, TCP, (uint16_t)port), 1);
	assert_int_equal(mvpn_classes_find(&c, 1, TCP, 80), MVPN_CLASS_PLAIN);
	assert_int_equal(mvpn_classes_find(&c, 1, TCP, 101), MVPN_CLASS_NONE);
	assert_int_equal(mvpn_classes_find(&c, 1, TCP, 0), MVPN_CLASS_NONE);
	assert_int_equal(mvpn_classes_find(&c, 1, UDP, 22), MVPN_CLASS_NONE);
	assert_int_equal(mvpn_classes_find_proto(&c, 1, TCP), 1);
	assert_int_equal(mvpn_classes_find_proto(&c, 1, UDP), MVPN_CLASS_NONE);
	assert_int_equal(c.rest, 2);
	assert_int_equal(c.nranges[0], 1);
	assert_int_equal(c.nranges[1], 5);
	check(&c);
}

static void every_port_around_some(void **state)
{
	struct mvpn_classes c;

	mvpn_classes_init(&c);
	add(&c, &ef, UDP, 53, 53, 1);
	add(&c, &ef, UDP, 65535, 65535, 1);
	add(&c, &copy, UDP, 0, 65535, 1); /* every port, as a protocol without ports has it */
	assert_int_equal(c.nranges[0], 4);
	assert_int_equal(mvpn_classes_find(&c, 0, UDP, 0), 1);
	assert_int_equal(mvpn_classes_find(&c, 0, UDP, 53), 0);
	assert_int_equal(mvpn_classes_find(&c, 0, UDP, 65534), 1);
	assert_int_equal(mvpn_classes_find(&c, 0, UDP, 65535), 0);
	add(&c, &slow, UDP, 1, 65535, 1);
	assert_int_equal(c.nranges[0], 4);
	check(&c);
}

static void limits_are_of_one_line(void **state)
{
	struct mvpn_classes c, d;

	mvpn_classes_init(&c);
	add(&c, &ef, TCP, 1, 1, 1);
	add(&c, &ef, TCP, 2, 2, 1); /* looks the same, and is joined */
	assert_int_equal(c.n, 1);
	assert_int_equal(c.nranges[0], 1);
	add(&c, &slow, TCP, 3, 3, 1);
	add(&c, &slow, TCP, 4, 4, 1); /* has tokens of its own */
	assert_int_equal(c.n, 3);
	assert_int_equal(c.nranges[0], 3);
	d = c;
	assert_true(mvpn_classes_eq(&c, &d));
	d.list[2].rate_kbit++;
	assert_false(mvpn_classes_eq(&c, &d));
	check(&c);
}

static void bounds(void **state)
{
	struct mvpn_class of = slow;
	struct mvpn_classes c;

	mvpn_classes_init(&c);
	for (unsigned i = 0; i < MVPN_CLASSES_MAX; i++, of.rate_kbit++)
		assert_int_equal(add(&c, &of, TCP, 2 * i + 1, 2 * i + 1, 2), 0);
	assert_int_equal(add(&c, &of, TCP, 1000, 1000, 2), -ENOSPC);
	for (unsigned i = MVPN_CLASSES_MAX; i < MVPN_SERVICES_MAX; i++)
		assert_int_equal(add(&c, &plain, TCP, 2 * i + 1, 2 * i + 1, 2), 0);
	assert_int_equal(add(&c, &plain, TCP, 1000, 1000, 2), -ENOSPC);
	assert_int_equal(mvpn_classes_find(&c, 1, TCP, 1000), MVPN_CLASS_NONE);
	check(&c);
}

static void refused(void **state)
{
	/* one class, rest 0, two ranges at A */
	static const uint8_t good[] = {1, 0, 2, 0, 46,	0, 0, 0, 100, 0, 0, 0x80, 0,
				       6, 0, 1, 0, 2, 0, 6, 0, 3, 0,   3, 0xff};
	static const struct {
		unsigned at;
		uint8_t value;
	} bad[] = {
		{0, 0}, {0, 17}, {1, 1}, {2, 3}, {3, 1}, {4, 64}, {4, 0x82}, {8, 63}, {11, 0x7f},
		{15, 3}, {18, 1}, {24, 0}, {21, 2}, {13, 7}, {5, 0x40},
	};
	uint8_t bytes[sizeof(good)];
	struct mvpn_classes c;

	assert_int_equal(mvpn_classes_decode(&c, good, sizeof(good)), 0);
	for (size_t len = 0; len < sizeof(good); len++)
		assert_int_equal(mvpn_classes_decode(&c, good, len), -EINVAL);
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		memcpy(bytes, good, sizeof(good));
		bytes[bad[i].at] = bad[i].value;
		if (mvpn_classes_decode(&c, bytes, sizeof(bytes)) != -EINVAL)
			fail_msg("byte %u as %u is taken", bad[i].at, bad[i].value);
	}
}

static void text(void **state)
{
	static const char *const names[] = {"cs0", "cs7", "af11", "af43", "ef", "le", "copy", "5", "63"};
	static const int values[] = {0, 56, 10, 38, 46, 1, MVPN_DSCP_COPY, 5, 63};
	static const char *const bad[] = {"", "64", "-1", "100", "cs8", "af51", "EF", "4 ", "ef1", "0x1"};
	char buf[MVPN_CLASSSTRLEN];

	for (unsigned i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		assert_int_equal(mvpn_dscp_parse(names[i], strlen(names[i])), values[i]);
		assert_string_equal(mvpn_dscp_name((unsigned)values[i], buf), names[i]);
	}
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(mvpn_dscp_parse(bad[i], strlen(bad[i])), -EINVAL);
	for (int v = 0; v <= MVPN_DSCP_MAX; v++) {
		const char *name = mvpn_dscp_name((unsigned)v, buf);

		assert_int_equal(mvpn_dscp_parse(name, strlen(name)), v);
	}
	assert_string_equal(mvpn_class_str(&plain, buf), "");
	assert_string_equal(mvpn_class_str(&ef, buf), "dscp ef");
	assert_string_equal(mvpn_class_str(&slow, buf), "limit 1mbit");
	assert_string_equal(mvpn_class_str(&(struct mvpn_class){10, 2500000, 64 << 20}, buf),
			    "dscp af11 limit 2500mbit burst 65536kb");
	assert_string_equal(
		mvpn_class_str(&(struct mvpn_class){MVPN_DSCP_COPY, MVPN_LIMIT_MAX_KBIT,
						    mvpn_burst_default(MVPN_LIMIT_MAX_KBIT)},
			       buf),
		"dscp copy limit 1000gbit");
	assert_int_equal(mvpn_burst_default(64), MVPN_LIMIT_BURST_MIN_B);
	assert_int_equal(mvpn_burst_default(100000), 250000);
	assert_int_equal(mvpn_burst_default(MVPN_LIMIT_MAX_KBIT), MVPN_LIMIT_BURST_MAX_B);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(first_line_decides), cmocka_unit_test(every_port_around_some),
		cmocka_unit_test(limits_are_of_one_line), cmocka_unit_test(bounds),
		cmocka_unit_test(refused), cmocka_unit_test(text),
	};

	return MVPN_RUN(tests);
}
