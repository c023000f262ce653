/* SPDX-License-Identifier: BSD-2-Clause */
/* Levels at the server: who is told which, and sessions for streams. */
#include "../sim/sim.h"

#include <string.h>

/* takes in LEVELS until it is one that names that device alone, or none; each is whole */
static void wait_level(struct sim_device *d, const struct sim_device *other)
{
	uint8_t want[MVPN_ID_LEN + 1];
	uint16_t len;
	const uint8_t *p;

	if (other)
		memcpy(want, other->id, MVPN_ID_LEN);
	want[MVPN_ID_LEN] = MVPN_LAYER_SOCKET;
	do {
		sim_expect(d, MVPN_MSG_LEVELS);
		assert_int_equal(d->msg.flags, MVPN_PFX_RESET | MVPN_PFX_COMMIT);
		p = chan_tlv_find(&d->msg, MVPN_TLV_LEVEL, &len);
		assert_int_equal(d->msg.len, p ? sizeof(want) + 4 : 0);
	} while (other ? !p || memcmp(p, want, sizeof(want)) : p != NULL);
}

static void levels_follow_the_policy(void **state)
{
	struct sim_net n;

	sim_net_up(&n);
	sim_join(&n.c, "c", C_ADDR);
	sim_policy(&n.s, "allow a -> b\nlevel socket a -> b");
	wait_level(&n.a, &n.b);
	wait_level(&n.b, &n.a);
	sim_policy(&n.s, "allow a -> b\nlevel network a -> *\nlevel socket a -> b");
	wait_level(&n.a, NULL);
	wait_level(&n.b, NULL);
	/* who comes back hears it without being asked */
	sim_hang_up(&n.c);
	sim_policy(&n.s, "level socket c -> a");
	sim_rejoin(&n.c, C_ADDR);
	wait_level(&n.c, &n.a);
	sim_net_down(&n);
}

/* beside the one for packets, and cut with it */
static void sessions_for_streams(void **state)
{
	uint8_t packets[16], streams[16], layer;
	struct intro_keys ka, kb;
	struct sim_request q;
	struct sim_net n;
	bool socket_cut = false;
	json_t *o, *row;
	size_t i;

	sim_net_up(&n);
	sim_policy(&n.s, "allow a -> b\nlevel socket a -> b");
	sim_introduce(&n.a, &n.b, B_ADDR, packets);
	sim_request_socket(&n.a, B_ADDR, &q);
	sim_expect(&n.b, MVPN_MSG_OFFER);
	sim_accept(&n.b, streams, &kb);
	sim_expect(&n.a, MVPN_MSG_ANSWER);
	assert_int_equal(sim_finish(&n.a, &q, &ka), 0);
	assert_memory_equal(ka.tx, kb.rx, 32);
	o = sim_ok(&n.s, "sessions", "{}");
	assert_int_equal(json_array_size(json_object_get(o, "sessions")), 2);
	i = strcmp(json_string_value(json_object_get(
			   json_array_get(json_object_get(o, "sessions"), 0), "layer")),
		   "socket")
		    ? 1
		    : 0;
	row = json_array_get(json_object_get(o, "sessions"), i);
	assert_string_equal(json_string_value(json_object_get(row, "layer")), "socket");
	json_decref(o);
	sim_policy(&n.s, "level socket a -> b");
	for (i = 0; i < 2; i++) {
		sim_expect(&n.a, MVPN_MSG_REVOKE);
		assert_true(chan_get_u8(&n.a.msg, MVPN_TLV_LAYER, &layer));
		socket_cut |= layer == MVPN_LAYER_SOCKET;
	}
	assert_true(socket_cut);
	sim_request_socket(&n.a, B_ADDR, &q);
	sim_expect_fail(&n.a, MVPN_R_DENIED);
	intro_a_free(q.a);
	sim_net_down(&n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(levels_follow_the_policy),
		cmocka_unit_test(sessions_for_streams),
	};

	return MVPN_RUN(tests);
}
