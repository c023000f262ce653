/* SPDX-License-Identifier: BSD-2-Clause */
/* The channel PSK is renewed, and whoever crashes between any two steps can still log in. */
#include "../sim/sim.h"

#include <string.h>

static void restart(struct sim_net *n, uint64_t psk_s)
{
	n->s.psk_s = psk_s;
	sim_server_crash(&n->s);
	sim_server_start(&n->s);
}

/* what its WELCOME offers, without using it */
static bool offered(const struct sim_device *d, uint8_t psk[32])
{
	uint32_t epoch;

	if (!chan_get_u32(&d->msg, MVPN_TLV_PSK_EPOCH, &epoch))
		return false;
	assert_int_equal(epoch, d->psk_epoch + 1);
	assert_true(chan_get_bytes(&d->msg, MVPN_TLV_PSK, psk, 32));
	return true;
}

static void both_are_good_until_the_next_is_used(void **state)
{
	uint8_t first[32], psk[32], again[32];
	struct sim_net n;

	sim_net_up(&n);
	memcpy(first, n.a.psk, 32);
	sim_rejoin(&n.a, A_ADDR);
	assert_false(offered(&n.a, psk)); /* never, without the setting */
	restart(&n, 1);
	while (sim_rejoin(&n.a, A_ADDR), !offered(&n.a, psk))
		; /* not old enough */
	assert_memory_not_equal(psk, first, 32);

	/* the device has not kept it, or the server has crashed after it: the same once more */
	sim_rejoin(&n.a, A_ADDR);
	assert_true(offered(&n.a, again));
	assert_memory_equal(psk, again, 32);
	restart(&n, 1);
	sim_rejoin(&n.a, A_ADDR);
	assert_true(offered(&n.a, again));
	assert_memory_equal(psk, again, 32);
	restart(&n, 0); /* and whatever the setting is by now */

	/* kept and used: from then on the one before is void, over a crash too */
	memcpy(n.a.psk, psk, 32);
	n.a.psk_epoch = 1;
	sim_rejoin(&n.a, A_ADDR);
	assert_false(offered(&n.a, again));
	restart(&n, 0);
	sim_rejoin(&n.a, A_ADDR);
	memcpy(n.a.psk, first, 32);
	n.a.psk_epoch = 0;
	sim_login(&n.a);
	sim_expect_eof(&n.a);
	n.a.psk_epoch = 1; /* nor under another name */
	sim_login(&n.a);
	sim_expect_eof(&n.a);
	memcpy(n.a.psk, psk, 32);
	n.a.psk_epoch = 2; /* one that was never made */
	sim_login(&n.a);
	sim_expect_eof(&n.a);
	sim_net_down(&n);
}

/* FINISH was heard, REGISTER not: nothing has changed yet */
static void a_handshake_alone_uses_nothing(void **state)
{
	uint8_t first[32], psk[32];
	struct sim_net n;

	sim_net_up(&n);
	memcpy(first, n.a.psk, 32);
	restart(&n, 1);
	while (sim_rejoin(&n.a, A_ADDR), !offered(&n.a, psk))
		;
	memcpy(n.a.psk, psk, 32);
	n.a.psk_epoch = 1;
	assert_true(sim_login(&n.a));
	sim_wait_counter(&n.s, "handshake_ok", 2);
	restart(&n, 0);
	memcpy(n.a.psk, first, 32);
	n.a.psk_epoch = 0;
	sim_rejoin(&n.a, A_ADDR);
	memcpy(n.a.psk, psk, 32);
	n.a.psk_epoch = 1;
	sim_rejoin(&n.a, A_ADDR);
	sim_net_down(&n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_are_good_until_the_next_is_used),
		cmocka_unit_test(a_handshake_alone_uses_nothing),
	};

	return MVPN_RUN(tests);
}
