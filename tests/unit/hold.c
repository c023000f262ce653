/* SPDX-License-Identifier: BSD-2-Clause */
#include "test.h"

#include "inner.h"
#include "mvpn/limits.h"
#include "../../keyd/dp/hold.h"

#define SECOND 1000000000ULL

static uint8_t buf[70000], back[70000];
static struct hold *h;

static int setup(void **state)
{
	return hold_new(&h);
}

static int teardown(void **state)
{
	hold_free(h);
	return 0;
}

static int put(uint32_t peer, const struct inner *i, uint64_t now)
{
	struct virtio_net_hdr vh = inner_vnet(i, VIRTIO_NET_HDR_GSO_NONE, 0);
	struct packet p;

	assert_int_equal(packet_parse(&p, buf, inner_build(buf, i, true)), 0);
	return hold_put(h, peer, &p, &vh, now);
}

static void given_back_as_they_were(void **state)
{
	struct virtio_net_hdr vh, want;
	uint64_t cursor = 0;

	for (unsigned n = 0; n < 30; n++) {
		struct inner i = {INNER_TCP, .payload = n * 2100};

		i.sport = (uint16_t)n;
		assert_int_equal(put(1 + n % 2, &i, 0), 0);
	}
	for (unsigned n = 1; n < 30; n += 2) {
		struct inner i = {INNER_TCP, .payload = n * 2100};
		uint32_t len;

		i.sport = (uint16_t)n;
		len = inner_build(buf, &i, true);
		want = inner_vnet(&i, VIRTIO_NET_HDR_GSO_NONE, 0);
		assert_int_equal(hold_take(h, 2, &cursor, back, &vh), len);
		assert_memory_equal(back, buf, len);
		assert_memory_equal(&vh, &want, sizeof(vh));
	}
	assert_int_equal(hold_take(h, 2, &cursor, back, &vh), 0);
	assert_int_equal(hold_count(h), 15);
}

/* a packet that is held again while its peer is served is not served twice */
static void taking_ends(void **state)
{
	struct inner i = {INNER_UDP, .payload = 100};
	struct virtio_net_hdr vh;
	uint64_t cursor = 0;
	unsigned n = 0;

	for (unsigned k = 0; k < 3; k++)
		assert_int_equal(put(1, &i, 0), 0);
	while (hold_take(h, 1, &cursor, back, &vh)) {
		n++;
		assert_int_equal(put(1, &i, 0), 0);
	}
	assert_int_equal(n, 3);
	assert_int_equal(hold_count(h), 3);
}

static void bounds_of_a_flow(void **state)
{
	struct inner small = {INNER_UDP, .payload = 10}, large = {INNER_TCP, .payload = 50000};

	for (unsigned n = 0; n < MVPN_HOLD_FLOW_PACKETS; n++)
		assert_int_equal(put(1, &small, 0), 0);
	assert_int_equal(put(1, &small, 0), -ENOBUFS);
	small.dport++;
	assert_int_equal(put(1, &small, 0), 0); /* another flow has its own */
	assert_int_equal(put(1, &large, 0), 0);
	assert_int_equal(put(1, &large, 0), 0);
	assert_int_equal(put(1, &large, 0), -ENOBUFS); /* 128 KiB */
}

static void bounds_of_the_worker(void **state)
{
	struct inner i = {INNER_UDP, .payload = 10};
	struct virtio_net_hdr vh;
	uint64_t cursor = 0;
	unsigned n;

	for (unsigned round = 0; round < 2; round++) {
		for (n = 0; n < MVPN_HOLD_PACKETS; n++) {
			i.sport = (uint16_t)n;
			assert_int_equal(put(1, &i, 0), 0);
		}
		i.sport++;
		assert_int_equal(put(1, &i, 0), -ENOBUFS);
		for (cursor = 0; hold_take(h, 1, &cursor, back, &vh);)
			n--;
		assert_int_equal(n, 0);
	}
	/* and by memory: large ones use it up before the count does, all of it comes back */
	for (unsigned round = 0; round < 2; round++) {
		i.payload = 60000;
		for (n = 0; put(1, &i, 0) == 0; n++)
			i.sport++;
		assert_in_range(n, MVPN_HOLD_B / 62000 - 8, MVPN_HOLD_B / 60000);
		for (cursor = 0; hold_take(h, 1, &cursor, back, &vh);)
			n--;
		assert_int_equal(n, 0);
	}
}

static void expiry(void **state)
{
	struct inner i = {INNER_UDP, .payload = 10};

	assert_true(hold_next_expiry(h) == UINT64_MAX);
	put(1, &i, SECOND);
	put(2, &i, 2 * SECOND);
	assert_true(hold_next_expiry(h) == (1 + MVPN_HOLD_S) * SECOND);
	assert_int_equal(hold_expire(h, MVPN_HOLD_S * SECOND), 0);
	assert_int_equal(hold_expire(h, (1 + MVPN_HOLD_S) * SECOND), 1);
	assert_int_equal(hold_count(h), 1);
	assert_false(hold_waits(h, 1));
	assert_true(hold_waits(h, 2));
	assert_int_equal(hold_expire(h, 100 * SECOND), 1);
	assert_false(hold_waits(h, 2));
	assert_true(hold_next_expiry(h) == UINT64_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(given_back_as_they_were, setup, teardown),
		cmocka_unit_test_setup_teardown(taking_ends, setup, teardown),
		cmocka_unit_test_setup_teardown(bounds_of_a_flow, setup, teardown),
		cmocka_unit_test_setup_teardown(bounds_of_the_worker, setup, teardown),
		cmocka_unit_test_setup_teardown(expiry, setup, teardown),
	};

	return MVPN_RUN(tests);
}
