/* SPDX-License-Identifier: BSD-2-Clause */
/* A server with two keys, and with one that it has given up. */
#include "test.h"

#include <errno.h>
#include <string.h>

#include "chan_impl.h"
#include "chan_pair.h"
#include "crypto.h"

static int ask_work(void *arg, const struct chan_proof *p)
{
	return p ? 0 : 1;
}

/* while it changes one for the other, the server takes a HELLO for either of its keys, under load too, and each end knows which */
static void either_server_key(void **state)
{
	for (unsigned way = 0; way < 4; way++) {
		uint8_t other[32], other_pk[32];
		struct chan_keys both = {0};
		struct chan_pair p;

		chan_pair_init(&p, false);
		chan_free(p.server);
		mvpn_keypair(other, other_pk);
		assert_int_equal(chan_keys_add(&both, way & 1 ? other : p.s), 0);
		assert_int_equal(chan_keys_add(&both, way & 1 ? p.s : other), 0);
		assert_int_equal(chan_keys_add(&both, p.s), -ENOSPC);
		assert_int_equal(chan_new_server(&p.server, &both, chan_pair_psk, &p), 0);
		if (way & 2) {
			chan_set_gate(p.server, ask_work);
			assert_int_equal(chan_pair_run(&p), 0);
			assert_int_equal(chan_work(p.client, 1000), 1);
		}
		assert_int_equal(chan_pair_run(&p), 0);
		assert_int_equal(chan_state(p.server), CHAN_UP);
		assert_int_equal(chan_state(p.client), CHAN_UP);
		assert_memory_equal(chan_who(p.server)->server_pk, p.server_pk, 32);
		assert_memory_equal(chan_who(p.client)->server_pk, p.server_pk, 32);
		chan_pair_free(&p);
	}
}

/* the keys change between HELLO's first byte and its last, and between HELLO and what it must prove */
static void keys_change_in_a_handshake(void **state)
{
	uint8_t hello[256], other[32], other_pk[32];
	struct chan_pair p;
	size_t len;

	for (unsigned proof = 0; proof < 2; proof++) {
		chan_pair_init(&p, false);
		mvpn_keypair(other, other_pk);
		if (proof)
			chan_set_gate(p.server, ask_work);
		len = chan_pair_pending(&p, hello);
		assert_int_equal(chan_feed(p.server, hello, proof ? len : 1), 0);
		p.keys.n = 0;
		assert_int_equal(chan_keys_add(&p.keys, other), 0);
		if (proof) {
			assert_int_equal(chan_pair_move(&p, p.server, p.client), 0);
			assert_int_equal(chan_work(p.client, 1000), 1);
			chan_sent(p.client, len);
			assert_int_equal(chan_pair_move(&p, p.client, p.server), -EPERM);
		} else {
			assert_int_equal(chan_feed(p.server, hello + 1, len - 1), -EPERM);
		}
		assert_chan_dead(p.server, -EPERM);
		chan_pair_free(&p);
	}
}

/* a HELLO for a key that the server had is answered so, and nobody can say so who does not know that key */
static void server_key_given_up(void **state)
{
	uint8_t other[32], other_pk[32];
	const uint8_t *gone;
	struct chan_pair p;
	size_t len;

	for (unsigned flip = 0; flip <= 19; flip++) {
		uint8_t forged[64];

		chan_pair_init(&p, false);
		mvpn_keypair(other, other_pk);
		p.keys.n = 0;
		assert_int_equal(chan_keys_add(&p.keys, other), 0);
		assert_int_equal(chan_keys_gone(&p.keys, other_pk), 0);
		assert_int_equal(chan_keys_gone(&p.keys, p.server_pk), 0);
		assert_int_equal(chan_pair_move(&p, p.client, p.server), -EKEYREVOKED);
		assert_null(p.server->noise); /* it has cost no Diffie-Hellman */
		gone = chan_output(p.server, &len);
		assert_int_equal(len, 19);
		memcpy(forged, gone, len);
		if (flip < 19)
			forged[flip] ^= 1;
		p.chunk = 7;
		for (size_t i = 0; i < len && chan_state(p.client) != CHAN_DEAD; i++)
			chan_feed(p.client, forged + i, 1);
		if (flip >= 2)
			assert_chan_dead(p.client, flip < 19 ? -EPROTO : -EKEYREVOKED);
		else
			assert_true(chan_state(p.client) != CHAN_UP);
		chan_sent(p.server, len);
		assert_chan_dead(p.server, -EKEYREVOKED);
		chan_pair_free(&p);
	}
	assert_int_equal(p.asked, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(either_server_key),
		cmocka_unit_test(keys_change_in_a_handshake),
		cmocka_unit_test(server_key_given_up),
	};

	return MVPN_RUN(tests);
}
