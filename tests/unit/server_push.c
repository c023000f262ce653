/* SPDX-License-Identifier: BSD-2-Clause */
/* A device that comes back hears what has changed meanwhile, not the whole protected set again; and one that does not read. */
#include "../sim/sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

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

/* ---- a device that does not read ---- */

#define BIG_ROUNDS 40
#define BEHIND_ROUNDS 12 /* more than kernels keep for a window that is shut */
#define BIG_LINES 190
#define BIG_UNIT 108 /* digits that a unit's name begins with */

/* what a alone is told of it is half a megabyte, and another one each round; b hears of a prefix */
static char *big_policy(unsigned round)
{
	char *text = malloc(BIG_LINES * (MVPN_BY_LINE_MAX * (BIG_UNIT + 20UL) + 100) + 100), *at = text;

	at += sprintf(at, "protect 10.%u.0.0/16\nallow only b -> a\n", round);
	for (unsigned i = 0; i < BIG_LINES; i++) {
		at += sprintf(at, "allow only a -> b by unit ");
		for (unsigned k = 0; k < MVPN_BY_LINE_MAX; k++)
			at += sprintf(at, "%s%0*u-%u.service", k ? "," : "", BIG_UNIT, k, round);
		at += sprintf(at, "\n");
	}
	return text;
}

static size_t resident_b(pid_t pid)
{
	char path[40];
	unsigned long pages = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/statm", (int)pid);
	f = fopen(path, "r");
	assert_non_null(f);
	assert_int_equal(fscanf(f, "%*u %lu", &pages), 1);
	fclose(f);
	return pages * (size_t)sysconf(_SC_PAGESIZE);
}

/* all of it would be 18 MB; text and policy come and go */
static void assert_bounded(size_t grown_b)
{
#ifndef __SANITIZE_ADDRESS__ /* which keeps what was freed */
	assert_true(grown_b < 6 << 20);
#endif
}

static void big_round(struct sim_net *n, unsigned round)
{
	char prefix[20], *text = big_policy(round);

	sim_policy(&n->s, text);
	free(text);
	snprintf(prefix, sizeof(prefix), "10.%u.0.0/16", round);
	sim_wait_prefix(&n->b, prefix, NULL);
	sim_wait_rev(&n->b, 2 + round);
}

/* takes in whole tables until that round's; nothing else comes before */
static void wait_big_table(struct sim_device *d, unsigned round)
{
	char unit[20];
	bool is = false;

	snprintf(unit, sizeof(unit), "-%u.service", round);
	do {
		sim_expect(d, MVPN_MSG_PROCESSES);
		if (d->msg.flags & MVPN_PFX_RESET)
			is = memmem(d->msg.tlvs, d->msg.len, unit, strlen(unit));
	} while (!is || !(d->msg.flags & MVPN_PFX_COMMIT));
}

/*
 * Its window is shut, and stays so: b hears of each change all the same, and no more waits for a than one table. When it reads again it is
 * told, on the same channel, what is true then.
 */
static void a_window_that_stays_shut_is_nobody_elses_loss(void **state)
{
	struct sim_net n;
	size_t first = 0, most = 0;

	sim_net_up(&n);
	for (unsigned i = 0; i < BIG_ROUNDS; i++) {
		size_t now;

		big_round(&n, i);
		now = resident_b(n.s.pid);
		if (i == 2)
			first = now;
		most = now > most ? now : most;
	}
	assert_bounded(most - first);
	wait_big_table(&n.a, BIG_ROUNDS - 1);
	sim_wait_rev(&n.a, 1 + BIG_ROUNDS);
	assert_int_equal(sim_counter(&n.s, "slow_reader"), 0);
	sim_net_down(&n);
}

/* while a table waits for the window of one end: that end hears of the session behind it, or the other one that it did not in time */
static void introductions_wait_for_tables(void **state)
{
	uint8_t session[16];
	struct intro_keys ka, kb;
	struct sim_request q;
	const int room = 200000;
	unsigned round = 0;
	struct sim_net n;

	sim_net_up(&n);
	n.a.tells_processes = true;
	sim_hang_up(&n.a);
	sim_rejoin(&n.a, A_ADDR);
	/* or the kernel would make room for more and more */
	assert_int_equal(setsockopt(n.a.fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room)), 0);
	/* as B */
	while (round < BEHIND_ROUNDS)
		big_round(&n, round++);
	sim_request(&n.b, A_ADDR, &q);
	wait_big_table(&n.a, round - 1);
	sim_expect(&n.a, MVPN_MSG_OFFER);
	sim_accept(&n.a, session, &ka);
	sim_expect(&n.b, MVPN_MSG_ANSWER);
	assert_int_equal(sim_finish(&n.b, &q, &kb), 0);
	assert_memory_equal(ka.tx, kb.rx, sizeof(ka.tx));
	/* as A */
	while (round < 2 * BEHIND_ROUNDS)
		big_round(&n, round++);
	sim_rekey(&n.a, B_ADDR, session, &q);
	sim_expect(&n.b, MVPN_MSG_OFFER);
	sim_accept(&n.b, session, &kb);
	wait_big_table(&n.a, round - 1);
	sim_expect(&n.a, MVPN_MSG_ANSWER);
	assert_int_equal(sim_finish(&n.a, &q, &ka), 0);
	assert_memory_equal(ka.tx, kb.rx, sizeof(ka.tx));
	/* and as B that does not read in time: it hears of nothing */
	while (round < 3 * BEHIND_ROUNDS)
		big_round(&n, round++);
	sim_request(&n.b, A_ADDR, &q);
	sim_expect_fail(&n.b, MVPN_R_PEER_SILENT);
	intro_a_free(q.a);
	wait_big_table(&n.a, round - 1);
	sim_expect_nothing(&n.a, 50);
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
		cmocka_unit_test(a_window_that_stays_shut_is_nobody_elses_loss),
		cmocka_unit_test(introductions_wait_for_tables),
	};

	return MVPN_RUN(tests);
}
