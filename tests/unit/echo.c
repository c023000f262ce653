/* SPDX-License-Identifier: BSD-2-Clause */
/* lib/echo_msg.c: a question and its answer, and what is neither. */
#include "test.h"

#include <errno.h>
#include <string.h>

#include "crypto.h"
#include "echo_msg.h"

static const uint8_t key[ECHO_KEY_B] = {7}, other[ECHO_KEY_B] = {8};

static struct echo_msg message(void)
{
	struct echo_msg m = {.id = 0x12345678, .counter = 1ULL << 40, .cookie = "1234567"};

	assert_int_equal(mvpn_endpoint_parse(&m.seen, "198.51.100.7:40000", 0), 0);
	return m;
}

static void what_is_sealed_opens(void **state)
{
	struct echo_msg m = message(), got;
	uint8_t p[MVPN_ECHO_B];
	uint32_t id = 0;

	echo_seal(p, MVPN_ECHO_REPLY, &m, key);
	assert_true(echo_look(p, sizeof(p), MVPN_ECHO_REPLY, &id));
	assert_int_equal(id, m.id);
	assert_int_equal(echo_open(&got, p, key), 0);
	assert_int_equal(got.id, m.id);
	assert_int_equal(got.counter, m.counter);
	assert_int_equal(got.seen.port, 40000);
	assert_memory_equal(&got.seen.addr, &m.seen.addr, 16);
	assert_memory_equal(got.cookie, m.cookie, sizeof(m.cookie));
}

static void every_changed_bit_is_seen(void **state)
{
	struct echo_msg m = message(), got;
	uint8_t p[MVPN_ECHO_B];

	echo_seal(p, MVPN_ECHO, &m, key);
	for (unsigned bit = 0; bit < 8 * sizeof(p); bit++) {
		p[bit / 8] ^= 1 << bit % 8;
		assert_int_equal(echo_open(&got, p, key), -EBADMSG);
		p[bit / 8] ^= 1 << bit % 8;
	}
	assert_int_equal(echo_open(&got, p, other), -EBADMSG);
	assert_int_equal(echo_open(&got, p, key), 0);
}

static void other_packets_are_none(void **state)
{
	struct echo_msg m = message();
	uint8_t p[MVPN_ECHO_B + 1] = {0};
	uint32_t id;

	echo_seal(p, MVPN_ECHO, &m, key);
	assert_false(echo_look(p, MVPN_ECHO_B - 1, MVPN_ECHO, &id));
	assert_false(echo_look(p, MVPN_ECHO_B + 1, MVPN_ECHO, &id));
	assert_false(echo_look(p, MVPN_ECHO_B, MVPN_ECHO_REPLY, &id)); /* not reflected */
	assert_false(echo_look(p, 0, MVPN_ECHO, &id));
	p[1] = 1;
	assert_false(echo_look(p, MVPN_ECHO_B, MVPN_ECHO, &id));
	p[1] = 0;
	memset(p + 4, 0, 4);
	assert_false(echo_look(p, MVPN_ECHO_B, MVPN_ECHO, &id));
}

static int setup(void **state)
{
	return mvpn_crypto_init();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_sealed_opens),
		cmocka_unit_test(every_changed_bit_is_seen),
		cmocka_unit_test(other_packets_are_none),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
