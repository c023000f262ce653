/* SPDX-License-Identifier: BSD-2-Clause */
/* A device that comes back hears what has changed meanwhile, not the whole protected set again. */
#include "../sim/sim.h"

#include <string.h>

static void net_up(struct sim_net *n)
{
	sim_net_up(n);
	n->a.says_set = true;
}

/* comes back and takes in what it is told until it is up to date; returns how many whole sets that took */
static unsigned come_back(struct sim_device *d, const char *address, unsigned commits)
{
	unsigned resets = d->resets, end = d->commits + commits;

	sim_rejoin(d, address);
	while (d->commits < end)
		sim_expect(d, MVPN_MSG_PREFIXES);
	return d->resets - resets;
}

static void nothing_new_takes_an_empty_change(void **state)
{
	struct sim_net n;

	net_up(&n);
	sim_hang_up(&n.a);
	assert_int_equal(come_back(&n.a, A_ADDR, 1), 0);
	assert_true(sim_has_prefix(&n.a, B_ADDR, &n.b));
	assert_int_equal(sim_counter(&n.s, "resumed"), 1);
	/* and from then on it hears of everything */
	sim_policy(&n.s, "allow a -> b\nprotect 10.1.0.0/16\n");
	sim_wait_prefix(&n.a, "10.1.0.0/16", NULL);
	sim_net_down(&n);
}

static void what_was_missed_follows_in_order(void **state)
{
	struct sim_net n;

	net_up(&n);
	sim_hang_up(&n.a);
	sim_policy(&n.s, "allow a -> b\nprotect 10.1.0.0/16\nprotect 10.2.0.0/16\n");
	sim_wait_prefix(&n.b, "10.2.0.0/16", NULL);
	sim_policy(&n.s, "allow a -> b\nprotect 10.1.0.0/16\n");
	sim_wait_no_prefix(&n.b, "10.2.0.0/16");
	assert_int_equal(come_back(&n.a, A_ADDR, 2), 0);
	assert_true(sim_has_prefix(&n.a, "10.1.0.0/16", NULL));
	assert_false(sim_has_prefix(&n.a, "10.2.0.0/16", NULL));
	assert_int_equal(n.a.rev, n.b.rev);
	sim_net_down(&n);
}

static void a_restarted_server_knows_the_same_state(void **state)
{
	struct sim_net n;

	net_up(&n);
	sim_policy(&n.s, "allow a -> b\nprotect 10.1.0.0/16\n");
	sim_wait_prefix(&n.a, "10.1.0.0/16", NULL);
	sim_server_crash(&n.s);
	sim_server_start(&n.s);
	assert_int_equal(come_back(&n.a, A_ADDR, 1), 0);
	assert_int_equal(sim_counter(&n.s, "resumed"), 1);
	/* what it missed over a restart is in no memory */
	sim_hang_up(&n.a);
	sim_policy(&n.s, "allow a -> b\nprotect 10.2.0.0/16\n");
	sim_server_crash(&n.s);
	sim_server_start(&n.s);
	assert_int_equal(come_back(&n.a, A_ADDR, 1), 1);
	assert_true(sim_has_prefix(&n.a, "10.2.0.0/16", NULL));
	assert_false(sim_has_prefix(&n.a, "10.1.0.0/16", NULL));
	sim_net_down(&n);
}

static void a_renamed_or_suspended_owner_is_another_state(void **state)
{
	static const char *const verbs[] = {"device-suspend", "device-approve"};
	struct sim_net n;

	net_up(&n);
	for (unsigned i = 0; i < 2; i++) {
		sim_hang_up(&n.a);
		json_decref(sim_ok(&n.s, verbs[i], "{s:s}", "device", "b"));
		sim_server_crash(&n.s);
		sim_server_start(&n.s);
		assert_int_equal(come_back(&n.a, A_ADDR, 1), 1);
	}
	sim_hang_up(&n.a);
	json_decref(sim_ok(&n.s, "device-rename", "{s:s, s:s}", "device", "b", "name", "b2"));
	sim_server_crash(&n.s);
	sim_server_start(&n.s);
	assert_int_equal(come_back(&n.a, A_ADDR, 1), 1);
	sim_net_down(&n);
}

static void an_unknown_state_gets_the_whole_set(void **state)
{
	struct sim_net n;

	net_up(&n);
	sim_hang_up(&n.a);
	n.a.set[0] ^= 1;
	assert_int_equal(come_back(&n.a, A_ADDR, 1), 1);
	assert_true(sim_has_prefix(&n.a, B_ADDR, &n.b));
	sim_net_down(&n);
}

/* addresses that change again and again do not cost a whole set each time */
static void registering_again_goes_on(void **state)
{
	struct sim_net n;
	unsigned resets;
	const char *none[1] = {NULL}, *one[1] = {A_ADDR};

	net_up(&n);
	resets = n.a.resets;
	sim_register(&n.a, NULL, none, 0);
	sim_wait_no_prefix(&n.a, A_ADDR);
	sim_register(&n.a, NULL, one, 1);
	sim_wait_prefix(&n.a, A_ADDR, &n.a);
	assert_int_equal(n.a.resets, resets);
	/* who does not say what it knows is told everything */
	n.a.says_set = false;
	sim_register(&n.a, NULL, one, 1);
	while (n.a.resets == resets)
		sim_expect(&n.a, MVPN_MSG_PREFIXES);
	sim_net_down(&n);
}

/* how often the last PREFIXES names that address */
static unsigned told(const struct sim_device *d, const char *address)
{
	struct mvpn_addr a;
	struct chan_tlv t;
	unsigned n = 0;
	size_t pos = 0;

	assert_int_equal(mvpn_addr_parse(&a, address), 0);
	while (chan_tlv_next(&d->msg, &pos, &t))
		n += t.type == MVPN_TLV_PREFIX && !memcmp(t.value + 2, a.b, sizeof(a.b));
	return n;
}

/* what is superseded before it was told is not told at all */
static void changes_of_one_moment_are_told_once(void **state)
{
	const char *none[1] = {NULL}, *one[1] = {A_ADDR};
	struct sim_net n;
	unsigned commits;
	json_int_t deltas;

	net_up(&n);
	sim_register(&n.a, NULL, none, 0);
	sim_wait_no_prefix(&n.b, A_ADDR);
	json_decref(sim_ok(&n.s, "status", NULL));
	deltas = sim_counter(&n.s, "deltas");
	commits = n.b.commits;
	sim_server_pause(&n.s);
	for (unsigned i = 0; i < 4; i++) {
		sim_register(&n.a, NULL, one, 1);
		sim_register(&n.a, NULL, none, 0);
	}
	sim_register(&n.a, NULL, one, 1);
	sim_server_resume(&n.s);
	sim_wait_prefix(&n.b, A_ADDR, &n.a);
	assert_int_equal(told(&n.b, A_ADDR), 1);
	assert_int_equal(n.b.commits, commits + 1);
	assert_int_equal(sim_counter(&n.s, "deltas"), deltas + 1);
	sim_net_down(&n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_new_takes_an_empty_change),
		cmocka_unit_test(what_was_missed_follows_in_order),
		cmocka_unit_test(a_restarted_server_knows_the_same_state),
		cmocka_unit_test(a_renamed_or_suspended_owner_is_another_state),
		cmocka_unit_test(an_unknown_state_gets_the_whole_set),
		cmocka_unit_test(registering_again_goes_on),
		cmocka_unit_test(changes_of_one_moment_are_told_once),
	};

	return MVPN_RUN(tests);
}
