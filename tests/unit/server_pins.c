/* SPDX-License-Identifier: BSD-2-Clause */
/* What a device believes of the server's key: from whom, and for how long. */
#include "test.h"

#include <errno.h>
#include <string.h>

#include "../../keyd/server_pins.h"
#include "crypto.h"
#include "mvpn/limits.h"

#define NOW 1000000
#define DAY 86400

static const uint8_t K1[32] = {1}, K2[32] = {2}, K3[32] = {3};
static struct server_pins p;

static int fresh(void **state)
{
	server_pins_set(&p, K1, K1, 0);
	return 0;
}

static enum pins_verdict next(uint64_t serial, const uint8_t pk[32], const uint8_t by[32])
{
	struct server_word w = {.serial = serial, .next = true, .left_s = 30 * DAY, .in_s = DAY};

	memcpy(w.pk, pk, 32);
	return server_pins_hear(&p, &w, by, NOW);
}

static enum pins_verdict active(uint64_t serial, const uint8_t pk[32], const uint8_t by[32],
				uint32_t left_s)
{
	struct server_word w = {.serial = serial, .left_s = left_s};

	memcpy(w.pk, pk, 32);
	return server_pins_hear(&p, &w, by, NOW);
}

static void pinned(const uint8_t key[32], enum pins_other what, const uint8_t *other)
{
	static const uint8_t none[32];

	assert_memory_equal(p.key, key, 32);
	assert_int_equal(p.what, what);
	assert_memory_equal(p.other, other ? other : none, 32);
	assert_memory_equal(p.base, K1, 32);
}

static void a_whole_change(void **state)
{
	assert_int_equal(next(1, K2, K1), PINS_CHANGED);
	pinned(K1, PINS_NEXT, K2);
	assert_int_equal(p.until, NOW + 30 * DAY);
	assert_int_equal(p.active_at, NOW + DAY);
	assert_int_equal(next(1, K2, K1), PINS_SAME); /* told anew after each log-in */
	assert_int_equal(active(1, K2, K1, 20 * DAY), PINS_CHANGED);
	pinned(K2, PINS_OLD, K1);
	assert_int_equal(p.until, NOW + 20 * DAY);
	assert_int_equal(active(1, K2, K2, 19 * DAY), PINS_SAME);
	assert_false(server_pins_expire(&p, NOW + 20 * DAY - 1));
	assert_int_equal(active(1, K2, K2, 0), PINS_CHANGED); /* given up */
	pinned(K2, PINS_ALONE, NULL);
	assert_int_equal(active(1, K2, K2, 0), PINS_SAME);
}

/* who was away for some steps */
static void steps_missed(void **state)
{
	assert_int_equal(active(1, K2, K1, DAY), PINS_CHANGED); /* never announced */
	pinned(K2, PINS_OLD, K1);

	fresh(NULL);
	assert_int_equal(next(1, K2, K1), PINS_CHANGED);
	assert_int_equal(active(1, K2, K2, 0), PINS_CHANGED); /* only the announced one answers */
	pinned(K2, PINS_ALONE, NULL);

	fresh(NULL);
	assert_int_equal(active(4, K1, K1, 0),
			 PINS_CHANGED); /* enrolled with a key that is not the first */
	pinned(K1, PINS_ALONE, NULL);
	assert_int_equal(p.serial, 4);
}

static void cancelled(void **state)
{
	assert_int_equal(next(1, K2, K1), PINS_CHANGED);
	assert_int_equal(active(2, K1, K2, 0), PINS_SAME); /* the next one has no say in that */
	pinned(K1, PINS_NEXT, K2);
	assert_int_equal(active(2, K1, K1, 0), PINS_CHANGED);
	pinned(K1, PINS_ALONE, NULL);
	assert_int_equal(next(1, K2, K1), PINS_REFUSED); /* and it does not come back */
	assert_int_equal(active(1, K2, K1, DAY), PINS_REFUSED);
	pinned(K1, PINS_ALONE, NULL);
	assert_int_equal(next(3, K3, K1), PINS_CHANGED);
	pinned(K1, PINS_NEXT, K3);
}

/* heard of the announcement, missed that it was cancelled, and another one came */
static void one_next_only(void **state)
{
	assert_int_equal(next(1, K2, K1), PINS_CHANGED);
	assert_int_equal(next(1, K3, K1), PINS_REFUSED); /* of the same serial there is one */
	assert_int_equal(next(3, K3, K2), PINS_REFUSED);
	assert_int_equal(next(3, K3, K1), PINS_CHANGED);
	pinned(K1, PINS_NEXT, K3);
	assert_int_equal(active(3, K2, K1, DAY), PINS_REFUSED);
	assert_int_equal(active(3, K3, K3, DAY), PINS_CHANGED);
	pinned(K3, PINS_OLD, K1);
}

/* whoever has the old key, from a backup or by theft, changes nothing with it */
static void the_old_key_has_no_say(void **state)
{
	assert_int_equal(active(5, K2, K1, DAY), PINS_CHANGED);
	assert_int_equal(next(6, K3, K1), PINS_REFUSED);
	assert_int_equal(active(6, K3, K1, DAY), PINS_REFUSED);
	assert_int_equal(active(6, K1, K1, DAY), PINS_REFUSED);
	assert_int_equal(active(5, K1, K1, 0), PINS_REFUSED);
	assert_int_equal(active(6, K2, K1, 0), PINS_SAME);
	assert_int_equal(next(4, K3, K2), PINS_REFUSED); /* nor has the past */
	pinned(K2, PINS_OLD, K1);
	assert_int_equal(p.serial, 5);
}

static void times(void **state)
{
	assert_false(server_pins_expire(&p, INT64_MAX));
	assert_int_equal(next(1, K2, K1), PINS_CHANGED);
	assert_true(server_pins_expire(
		&p, NOW + 30 * DAY)); /* away all that time: it must be the key by now */
	pinned(K2, PINS_ALONE, NULL);

	fresh(NULL);
	assert_int_equal(active(1, K2, K1, UINT32_MAX), PINS_CHANGED); /* no longer than we say */
	assert_int_equal(p.until, NOW + MVPN_SERVER_KEY_DUAL_S);
	assert_true(server_pins_expire(&p, p.until));
	pinned(K2, PINS_ALONE, NULL);
}

static void the_file(void **state)
{
	uint8_t data[SERVER_PINS_FILE_B];
	struct server_pins back;

	for (unsigned i = 0; i < 3; i++) {
		server_pins_set(&p, K1, K1, 0);
		if (i == 1)
			next(1, K2, K1);
		else if (i)
			active(9, K2, K1, DAY);
		assert_int_equal(server_pins_encode(&p, data), sizeof(data));
		assert_int_equal(server_pins_decode(data, sizeof(data), &back), 0);
		assert_memory_equal(&back, &p, sizeof(p));
		for (size_t bit = 0; bit < 8 * sizeof(data); bit++) {
			data[bit / 8] ^= 1 << bit % 8;
			assert_int_equal(server_pins_decode(data, sizeof(data), &back), -EBADMSG);
			data[bit / 8] ^= 1 << bit % 8;
		}
		for (size_t len = 0; len < sizeof(data); len++)
			assert_int_equal(server_pins_decode(data, len, &back), -EBADMSG);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(a_whole_change, fresh),
		cmocka_unit_test_setup(steps_missed, fresh),
		cmocka_unit_test_setup(cancelled, fresh),
		cmocka_unit_test_setup(one_next_only, fresh),
		cmocka_unit_test_setup(the_old_key_has_no_say, fresh),
		cmocka_unit_test_setup(times, fresh),
		cmocka_unit_test_setup(the_file, fresh),
	};

	return MVPN_RUN(tests);
}
