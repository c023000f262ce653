/* SPDX-License-Identifier: BSD-2-Clause */
#include "test.h"

#include <errno.h>

#include "inner.h"
#include "mvpn/limits.h"
#include "../../keyd/dp/shape.h"

static uint8_t buf[70000], back[70000];
static struct shaper *s;

static int setup(void **state)
{
	return shaper_new(&s);
}

static int teardown(void **state)
{
	shaper_free(s);
	return 0;
}

static int put(uint32_t peer, unsigned class, uint32_t max, uint32_t payload, uint32_t pattern)
{
	struct inner i = {INNER_TCP, .payload = payload, .pattern = pattern};
	struct virtio_net_hdr vh = inner_vnet(&i, VIRTIO_NET_HDR_GSO_NONE, 0);
	struct packet p;

	vh.hdr_len = (uint16_t)pattern;
	assert_int_equal(packet_parse(&p, buf, inner_build(buf, &i, true)), 0);
	return shaper_put(s, peer, class, max, &p, &vh);
}

static void queues_keep_their_order(void **state)
{
	struct virtio_net_hdr vh;

	assert_null(shaper_queue(s, 0));
	assert_true(shaper_next_ns(s) == UINT64_MAX);
	for (uint32_t n = 0; n < 20; n++)
		for (uint32_t peer = 0; peer < 3; peer++)
			assert_int_equal(put(peer, peer, UINT32_MAX, n * 3000, n + peer), 0);
	assert_true(shaper_waits(s, 2, 2));
	assert_false(shaper_waits(s, 2, 1));
	assert_false(shaper_waits(s, 1, 2));
	shaper_queue(s, 0)->ready_ns = 30;
	shaper_queue(s, 1)->ready_ns = 10;
	shaper_queue(s, 2)->ready_ns = 20;
	assert_int_equal(shaper_next_ns(s), 10);
	/* the queue in the middle first: the last one takes its number */
	for (unsigned q = 1; q != UINT32_MAX; q = q ? 0 : shaper_queue(s, 0) ? 0 : UINT32_MAX) {
		uint32_t peer = shaper_queue(s, q)->peer;

		for (uint32_t n = 0; n < 20; n++) {
			struct inner i = {INNER_TCP, .payload = n * 3000, .pattern = n + peer};
			uint32_t len = shaper_take(s, q, back, &vh);

			assert_int_equal(len, inner_build(buf, &i, true));
			assert_memory_equal(back, buf, len);
			assert_int_equal(vh.hdr_len, n + peer);
			assert_int_equal(shaper_waits(s, peer, peer), n < 19);
		}
	}
	assert_null(shaper_queue(s, 0));
}

static void bounds(void **state)
{
	struct virtio_net_hdr vh;
	unsigned n = 0;

	/* bytes of one queue; the first packet always fits */
	assert_int_equal(put(1, 0, 1000, 60000, 0), 0);
	assert_int_equal(put(1, 0, 1000, 10, 0), -ENOBUFS);
	assert_int_equal(put(1, 1, 1000, 10, 0), 0);
	assert_int_equal(put(1, 1, 1000, 10, 0), 0);
	shaper_take(s, 0, back, &vh);
	assert_int_equal(put(1, 0, 1000, 10, 0), 0);
	/* queues */
	for (n = 2; put(n, 0, 1000, 10, 0) == 0; n++)
		;
	assert_int_equal(n, MVPN_LIMIT_QUEUES);
	assert_int_equal(put(1, 1, 1000, 10, 0), 0);
	/* packets */
	for (n = MVPN_LIMIT_QUEUES + 2; put(1, 1, UINT32_MAX, 10, 0) == 0; n++)
		;
	assert_int_equal(n, MVPN_LIMIT_QUEUE_PACKETS);
	while (shaper_queue(s, 0))
		shaper_take(s, 0, back, &vh);
	/* bytes of all; and nothing of it was lost in between */
	for (unsigned again = 0; again < 2; again++) {
		for (n = 0; put(1, 1, UINT32_MAX, 60000, 0) == 0; n++)
			;
		assert_int_equal(n, MVPN_LIMIT_QUEUE_B / 2048 / 30);
		while (shaper_queue(s, 0))
			shaper_take(s, 0, back, &vh);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(queues_keep_their_order, setup, teardown),
		cmocka_unit_test_setup_teardown(bounds, setup, teardown),
	};

	return MVPN_RUN(tests);
}
