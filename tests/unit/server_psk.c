/* SPDX-License-Identifier: BSD-2-Clause */
/* The channel PSK is renewed, and whoever crashes between any two steps can still log in. */
#include "../sim/sim.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "fsutil.h"

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

/* ---- a store that is restored from an old copy ---- */

static char *db_path(const struct sim_net *n, const char *beside)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/server.db%s", n->s.dir, beside);
	return path;
}

static json_int_t seq_of_a_session(struct sim_net *n)
{
	uint8_t session[MVPN_ID_LEN];
	uint64_t seq;

	sim_introduce(&n->a, &n->b, B_ADDR, session);
	assert_true(chan_get_u64(&n->a.msg, MVPN_TLV_SEQ, &seq));
	return (json_int_t)seq;
}

static bool says_restored(struct sim_net *n)
{
	json_t *o = sim_ok(&n->s, "status", NULL), *e;
	bool said = false;
	size_t i;

	json_array_foreach(json_object_get(o, "problems"), i, e)
		said |= strstr(json_string_value(e), "restored from a copy") != NULL;
	json_decref(o);
	return said;
}

/* who got a new PSK after the copy comes back all the same, numbers do not go back, and the operator is told what is missing */
static void an_old_copy_of_the_store_is_noticed(void **state)
{
	char *copy;
	size_t len;
	uint8_t psk[32];
	json_int_t seq;
	struct sim_net n;

	sim_net_up(&n);
	sim_hang_up(&n.a);
	sim_hang_up(&n.b);
	sim_server_stop(&n.s);
	assert_int_equal(file_read(db_path(&n, ""), 64 << 20, &copy, &len), 0);
	n.s.psk_s = 1;
	sim_server_start(&n.s);
	for (unsigned i = 1; i <= 2; i++) {
		while (sim_rejoin(&n.a, A_ADDR), !offered(&n.a, psk))
			;
		memcpy(n.a.psk, psk, 32);
		n.a.psk_epoch = i;
	}
	sim_rejoin(&n.a, A_ADDR);
	sim_rejoin(&n.b, B_ADDR);
	sim_policy(&n.s, "allow a -> b\nprotect 10.1.0.0/16\n");
	sim_wait_prefix(&n.b, "10.1.0.0/16", NULL);
	assert_false(says_restored(&n));
	seq = seq_of_a_session(&n);
	sim_hang_up(&n.a);
	sim_hang_up(&n.b);
	sim_server_stop(&n.s);
	unlink(db_path(&n, "-wal"));
	unlink(db_path(&n, "-shm"));
	assert_int_equal(file_replace(db_path(&n, ""), copy, len, 0600), 0);
	free(copy);
	n.s.psk_s = 0;
	sim_server_start(&n.s);
	/* the policy that it knows is enough of a sign */
	n.b.says_set = true;
	sim_rejoin(&n.b, B_ADDR);
	assert_true(says_restored(&n));
	sim_rejoin(&n.a, A_ADDR);
	assert_true(seq_of_a_session(&n) > seq);
	/* and so is the PSK; it is on record, and the next one goes on from there */
	sim_server_stop(&n.s);
	sim_server_start(&n.s);
	assert_false(says_restored(&n));
	sim_rejoin(&n.a, A_ADDR);
	assert_false(says_restored(&n));
	n.a.psk_epoch = 200; /* so far ahead nobody is */
	sim_login(&n.a);
	sim_expect_eof(&n.a);
	sim_net_down(&n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_are_good_until_the_next_is_used),
		cmocka_unit_test(a_handshake_alone_uses_nothing),
		cmocka_unit_test(an_old_copy_of_the_store_is_noticed),
	};

	return MVPN_RUN(tests);
}
