/* SPDX-License-Identifier: BSD-2-Clause */
/* Runs of sealed packets that come as one: each is found again, whatever its size. */
#include <string.h>

#include "../../keyd/dp/run.h"
#include "mvpn/wire.h"
#include "test.h"

#define MAX 65535

static uint8_t buf[MAX];
static uint32_t random_state = 1;

static uint8_t any(void)
{
	random_state = random_state * 1664525 + 1013904223;
	return (uint8_t)(random_state >> 24);
}

static void packet(uint8_t *p, size_t len, uint32_t spi, uint64_t counter)
{
	struct mvpn_hdr h = {.type = MVPN_TUNNEL,
			     .lane = (counter % 3 ? 0x80 : 0) | 2,
			     .spi = __builtin_bswap32(spi),
			     .counter = __builtin_bswap64(counter)};

	for (size_t i = sizeof(h); i < len; i++)
		p[i] = any();
	memcpy(p, &h, sizeof(h));
}

/* n packets of `size`, the last of `last` bytes; the first `old` of another session */
static size_t make(unsigned n, size_t size, size_t last, unsigned old)
{
	size_t len = 0;

	for (unsigned i = 0; i < n; i++) {
		size_t one = i == n - 1 ? last : size;

		packet(buf + len, one, i < old ? 0x7a311234 : 0x55aa5678, 1000000 + i * 3);
		len += one;
	}
	return len;
}

static void one_packet_is_one(void **state)
{
	for (size_t len = 1; len < 9000; len += 7) {
		packet(buf, len < sizeof(struct mvpn_hdr) ? sizeof(struct mvpn_hdr) : len, 1, 1);
		assert_int_equal(run_size(buf, len, 0), len);
		/* nor is it cut at the size that earlier runs had */
		assert_int_equal(run_size(buf, len, 1452), len);
		assert_int_equal(run_size(buf, len, 32), len);
	}
}

static void every_size_is_found(void **state)
{
	for (size_t size = MVPN_OVERHEAD; size < 9000; size += 13) {
		unsigned n = (unsigned)(MAX / size < 64 ? MAX / size : 64);

		for (unsigned k = 2; k <= n; k += 7) {
			assert_int_equal(run_size(buf, make(k, size, size, 0), 0), size);
			assert_int_equal(run_size(buf, make(k, size, MVPN_OVERHEAD, 0), 0), size);
		}
		assert_int_equal(run_size(buf, make(n, size, size, 0), size), size);
		assert_int_equal(run_size(buf, make(n, size, size, 0), size + 1), size);
	}
}

/* sessions change under load: the size of the runs before tells */
static void rekey_within_a_run(void **state)
{
	for (unsigned old = 0; old < 20; old++)
		assert_int_equal(run_size(buf, make(20, 1452, 700, old), 1452), 1452);
	/* a known size does not cut what has another */
	assert_int_equal(run_size(buf, make(20, 1452, 700, 1), 1000), 20 * 1452 - 752);
}

static void nothing_to_find(void **state)
{
	memset(buf, 0x41, sizeof(buf));
	for (size_t len = 1; len < 300; len++)
		assert_in_range(run_size(buf, len, len), 1, len);
	memset(buf, 0, sizeof(buf));
	for (size_t len = 1; len < 300; len++)
		assert_int_equal(run_size(buf, len, len / 2), len);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_packet_is_one),
		cmocka_unit_test(every_size_is_found),
		cmocka_unit_test(rekey_within_a_run),
		cmocka_unit_test(nothing_to_find),
	};

	return MVPN_RUN(tests);
}
