/* SPDX-License-Identifier: BSD-2-Clause */
/* Frames and buffers of an established channel. */
#include "test.h"

#include <errno.h>
#include <malloc.h>
#include <string.h>

#include <sodium.h>

#include "chan_impl.h"
#include "chan_pair.h"
#include "crypto.h"
#include "mvpn/limits.h"

static void up(struct chan_pair *p)
{
	chan_pair_init(p, false);
	assert_int_equal(chan_pair_run(p), 0);
}

static void frames_of_any_size(void **state)
{
	static uint8_t filler[MVPN_CHAN_PLAIN_MAX_B];
	struct chan_buf b = {0};
	struct chan_pair p;

	up(&p);
	randombytes_buf(filler, sizeof(filler));
	for (size_t len = 0; len <= MVPN_CHAN_PLAIN_MAX_B - 8; len += len < 300 ? 1 : 1087) {
		struct chan_msg m;
		uint16_t have;

		chan_begin(&b, 9, 1, len & 0xffff);
		chan_put(&b, 0x7000, filler, len);
		assert_int_equal(chan_send(len % 2 ? p.client : p.server, &b), 0);
		assert_int_equal(chan_pair_run(&p), 0);
		assert_int_equal(chan_next(len % 2 ? p.server : p.client, &m), 1);
		assert_int_equal(m.reqid, len & 0xffff);
		assert_memory_equal(chan_tlv_find(&m, 0x7000, &have), filler, len);
		assert_int_equal(have, len);
	}
	chan_begin(&b, 9, 1, 0);
	chan_put(&b, 0x7000, filler, MVPN_CHAN_PLAIN_MAX_B - 8);
	assert_int_equal(chan_send(p.client, &b), 0); /* exactly the largest */
	assert_int_equal(chan_pair_run(&p), 0);
	chan_begin(&b, 9, 1, 0);
	chan_put(&b, 0x7000, filler, MVPN_CHAN_PLAIN_MAX_B - 7);
	assert_int_equal(chan_send(p.client, &b), -EMSGSIZE);
	chan_buf_free(&b);
	chan_pair_free(&p);
}

/* a sealed frame of the client in ret; the server has not seen it */
static size_t frame_of(struct chan_pair *p, uint8_t ret[256])
{
	chan_pair_send(p->client, 5, 6);
	return chan_pair_pending(p, ret);
}

static void every_bit_of_a_frame(void **state)
{
	size_t len = 1;

	for (size_t i = 0; i < 8 * len; i++) {
		uint8_t frame[256], more[512] = {0};
		struct chan_msg m;
		struct chan_pair p;
		int r;

		up(&p);
		len = frame_of(&p, frame);
		frame[i / 8] ^= 1 << i % 8;
		assert_int_equal(chan_feed(p.server, frame, len), 0);
		for (r = chan_next(p.server, &m); r == 0; r = chan_next(p.server, &m)) {
			/* the length has grown: feed it what it asks for */
			if (chan_feed(p.server, more, sizeof(more)) < 0)
				break;
		}
		assert_true(r == -EBADMSG || (i < 16 && r == -EPROTO));
		assert_chan_dead(p.server, r);
		chan_pair_free(&p);
	}
}

static void replayed_frame(void **state)
{
	uint8_t frame[256];
	struct chan_msg m;
	struct chan_pair p;
	size_t len;

	up(&p);
	len = frame_of(&p, frame);
	assert_int_equal(chan_feed(p.server, frame, len), 0);
	assert_int_equal(chan_next(p.server, &m), 1);
	assert_int_equal(chan_feed(p.server, frame, len), 0);
	assert_int_equal(chan_next(p.server, &m), -EBADMSG);
	assert_chan_dead(p.server, -EBADMSG);
	chan_pair_free(&p);
}

static void reflected_frame(void **state)
{
	uint8_t frame[256];
	struct chan_msg m;
	struct chan_pair p;
	size_t len;

	up(&p);
	len = frame_of(&p, frame);
	assert_int_equal(chan_feed(p.client, frame, len), 0);
	assert_int_equal(chan_next(p.client, &m), -EBADMSG);
	chan_pair_free(&p);
}

static void frame_too_short(void **state)
{
	for (unsigned len = 0; len < 20; len++) {
		struct chan_msg m;
		struct chan_pair p;

		up(&p);
		assert_int_equal(chan_feed(p.server, (uint8_t[]){0, len}, 2), 0);
		assert_int_equal(chan_next(p.server, &m), -EPROTO);
		chan_pair_free(&p);
	}
}

static void nonces_never_wrap(void **state)
{
	struct chan_buf b = {0};
	struct chan_msg m;
	struct chan_pair p;

	up(&p);
	p.client->tx_n = p.server->rx_n = UINT64_MAX - 1;
	chan_pair_send(p.client, 1, 1); /* the last there is */
	assert_int_equal(chan_pair_run(&p), 0);
	assert_int_equal(chan_next(p.server, &m), 1);
	chan_begin(&b, 1, 0, 0);
	assert_int_equal(chan_send(p.client, &b), -EOVERFLOW);
	assert_int_equal(chan_feed(p.server, (uint8_t[22]){0, 20}, 22), 0);
	assert_int_equal(chan_next(p.server, &m), -EPROTO);
	chan_buf_free(&b);
	chan_pair_free(&p);
}

static void input_is_bounded(void **state)
{
	static uint8_t big[CHAN_IN_MAX_B + 1] = {0xff, 0xff};
	struct chan_pair p;

	up(&p);
	assert_int_equal(chan_feed(p.server, big, 65536),
			 0); /* a byte less than the frame it announces */
	assert_int_equal(chan_feed(p.server, big, 65536), 0);
	assert_int_equal(chan_feed(p.server, big, sizeof(big) - 131072), -ENOBUFS);
	assert_chan_dead(p.server, -ENOBUFS);
	chan_pair_free(&p);
}

static void output_is_bounded(void **state)
{
	static uint8_t filler[60000];
	struct chan_buf b = {0};
	struct chan_pair p;
	size_t len;
	int r;

	up(&p);
	chan_begin(&b, 9, 0, 0);
	chan_put(&b, 0x7000, filler, sizeof(filler));
	while ((r = chan_send(p.client, &b)) == 0)
		;
	assert_int_equal(r, -ENOBUFS);
	chan_output(p.client, &len);
	assert_in_range(len, MVPN_CHAN_OUT_MAX_B - 61000, MVPN_CHAN_OUT_MAX_B);
	/* the reader catches up: nothing was lost or spoilt by the refusal */
	for (struct chan_msg m;;) {
		const uint8_t *p_out = chan_output(p.client, &len);

		if (!len)
			break;
		len = len < 50000 ? len : 50000;
		assert_int_equal(chan_feed(p.server, p_out, len), 0);
		chan_sent(p.client, len);
		while ((r = chan_next(p.server, &m)) == 1)
			assert_int_equal(m.len, 4 + sizeof(filler));
		assert_int_equal(r, 0);
	}
	assert_int_equal(chan_send(p.client, &b), 0);
	chan_buf_free(&b);
	chan_pair_free(&p);
}

static void message_stays_while_sending(void **state)
{
	uint8_t before[12];
	struct chan_msg m;
	struct chan_pair p;

	up(&p);
	chan_pair_send(p.client, 1, 1);
	assert_int_equal(chan_pair_run(&p), 0);
	assert_int_equal(chan_next(p.server, &m), 1);
	assert_int_equal(m.len, sizeof(before));
	memcpy(before, m.tlvs, sizeof(before));
	chan_pair_send(p.server, 2, 2); /* an answer while the question is being read */
	assert_memory_equal(before, m.tlvs, sizeof(before));
	chan_pair_free(&p);
}

/* the server must hold 10 000 channels in less than 300 MB; each may cost it 8 KB */
static void idle_channel_is_small(void **state)
{
	enum { N = 64 };
	static struct chan_pair pairs[N];
	size_t before = mallinfo2().uordblks, cells = secmem_in_use(), after;

#if defined(__SANITIZE_ADDRESS__)
	print_message("# skipped: the sanitizer's malloc does not count\n");
	skip();
#endif
	for (unsigned i = 0; i < N; i++) {
		struct chan_msg m;

		up(&pairs[i]);
		chan_pair_send(pairs[i].client, 1, 1);
		assert_int_equal(chan_pair_run(&pairs[i]), 0);
		assert_int_equal(chan_next(pairs[i].server, &m), 1);
		assert_int_equal(chan_next(pairs[i].server, &m), 0);
	}
	after = mallinfo2().uordblks;
	assert_int_equal(secmem_in_use() - cells, 2 * N);
	assert_true((after - before) / (2 * N) + SECMEM_CELL_B < 4096);
	for (unsigned i = 0; i < N; i++)
		chan_pair_free(&pairs[i]);
	assert_int_equal(secmem_in_use(), cells);
}

static void not_up_yet(void **state)
{
	struct chan_buf b = {0};
	struct chan_msg m;
	struct chan_pair p;

	chan_pair_init(&p, false);
	chan_begin(&b, 1, 0, 0);
	assert_int_equal(chan_send(p.client, &b), -ENOTCONN);
	assert_int_equal(chan_next(p.client, &m), 0);
	chan_buf_free(&b);
	chan_pair_free(&p);
	chan_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frames_of_any_size),
		cmocka_unit_test(every_bit_of_a_frame),
		cmocka_unit_test(replayed_frame),
		cmocka_unit_test(reflected_frame),
		cmocka_unit_test(frame_too_short),
		cmocka_unit_test(nonces_never_wrap),
		cmocka_unit_test(input_is_bounded),
		cmocka_unit_test(output_is_bounded),
		cmocka_unit_test(message_stays_while_sending),
		cmocka_unit_test(idle_channel_is_small),
		cmocka_unit_test(not_up_yet),
	};

	if (mvpn_crypto_init() < 0)
		return 1;
	return MVPN_RUN(tests);
}
