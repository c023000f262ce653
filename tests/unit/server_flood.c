/* SPDX-License-Identifier: BSD-2-Clause */
/* The server under too much of something: handshakes, prefixes, requests, messages. */
#include "../sim/sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void slow_handshakes_are_ended(void **state)
{
	struct sim_server s;
	struct sim_device d;
	char token[MVPN_TOKEN_MAX];
	int fd;

	sim_server_new(&s);
	sim_server_stop(&s);
	s.handshake_s = 1;
	s.half_open_source = 3;
	sim_server_start(&s);
	fd = sim_connect(&s);
	assert_int_equal(write(fd, "MAVP", 4), 4);
	sim_expect_fd_eof(fd);
	assert_int_equal(sim_counter(&s, "handshake_timeout"), 1);
	/* who never says REGISTER does not stay either */
	sim_device_init(&d, &s);
	sim_token(&s, NULL, NULL, token);
	assert_true(sim_enrol_start(&d, token));
	sim_expect_eof(&d);
	assert_int_equal(sim_counter(&s, "handshake_timeout"), 2);
	/* half-open ones of one source */
	int fds[14];

	for (int i = 0; i < 14; i++)
		fds[i] = sim_connect(&s);
	for (int i = 0; i < 14; i++)
		sim_expect_fd_eof(fds[i]);
	assert_int_equal(sim_counter(&s, "challenged_source"), 14 - 3);
	assert_int_equal(sim_counter(&s, "evicted"), 2); /* four times as many */
	sim_join(&d, "d", NULL);
	sim_device_free(&d);
	/* and their rate */
	sim_server_stop(&s);
	s.half_open_source = 100;
	s.handshakes_source = 5;
	sim_server_start(&s);
	for (int i = 0; i < 20; i++)
		close(sim_connect(&s));
	sim_wait_counter(&s, "accepted", 20);
	assert_in_range(sim_counter(&s, "challenged_rate"), 10, 15);
	sim_server_free(&s);
}

static void a_large_protected_set_comes_in_parts(void **state)
{
	struct sim_net n;
	char *text = malloc(1 << 20), *p = text;

	sim_net_up(&n);
	p += sprintf(p, "allow a -> b\n");
	for (unsigned i = 0; i < 8000; i++)
		p += sprintf(p, "protect 10.%u.%u.0/24%s\n", i / 256, i % 256,
			     i % 2 ? " via b" : "");
	sim_policy(&n.s, text);
	while (n.a.nprefixes < 8002)
		sim_expect(&n.a, MVPN_MSG_PREFIXES);
	assert_true(sim_has_prefix(&n.a, "10.31.63.0/24", &n.b));
	assert_true(sim_has_prefix(&n.a, "10.31.62.0/24", NULL));
	sim_hang_up(&n.a);
	n.a.nprefixes = n.a.commits = 0;
	sim_rejoin(&n.a, A_ADDR);
	while (!n.a.commits)
		sim_expect(&n.a, MVPN_MSG_PREFIXES);
	assert_int_equal(n.a.nprefixes, 8002);
	sim_policy(&n.s, "allow a -> b\n");
	while (n.a.nprefixes > 2)
		sim_expect(&n.a, MVPN_MSG_PREFIXES);
	free(text);
	sim_net_down(&n);
}

#define LONG_ROUNDS 30
#define BEHIND_ROUNDS 8
#define OFFER_MS (MVPN_INTRO_OPEN_S * 1000 + 200) /* then it is cancelled */

/* two policies of 16 000 prefixes each that have nothing in common: from one to the other is a megabyte, some 70 deltas */
static void make_texts(char *text[2])
{
	for (unsigned k = 0; k < 2; k++) {
		char *p = text[k] = malloc(1 << 20);

		p += sprintf(p, "allow a -> b\nprotect 172.16.%u.0/24\n", k);
		for (unsigned i = 0; i < 16000; i++)
			p += sprintf(p, "protect 10.%u.%u.%u/31\n", i / 8000 + k * 2, i / 32 % 250,
				     i % 32 * 2);
	}
}

static void wait_whole_set(struct sim_device *d, uint64_t rev)
{
	while (!sim_has_prefix(d, "172.16.1.0/24", NULL) || d->rev != rev || !(d->msg.flags & MVPN_PFX_COMMIT))
		sim_expect(d, MVPN_MSG_PREFIXES);
	assert_int_equal(d->nprefixes, 16003);
}

/* b reads nothing for more changes than are kept, but not for so long that it is taken for dead */
static void who_reads_slowly_gets_the_whole_set_later(void **state)
{
	struct sim_net n;
	char *text[2];

	sim_net_up(&n);
	make_texts(text);
	for (unsigned i = 0; i < LONG_ROUNDS; i++)
		sim_policy(&n.s, text[i % 2]);
	assert_true(sim_counter(&n.s, "deltas") > 60 * LONG_ROUNDS);
	wait_whole_set(&n.b, 1 + LONG_ROUNDS);
	assert_true(sim_counter(&n.s, "fell_behind") >= 1);
	assert_int_equal(sim_counter(&n.s, "slow_reader"), 0);
	free(text[0]);
	free(text[1]);
	sim_net_down(&n);
}

/* Its window opens, and before the server comes to that it writes something else to b, CANCEL when its time has come, and with it all that
 * was queued: the rest, which has waited for the window, goes on all the same. */
static void what_waits_for_a_window_is_not_forgotten(void **state)
{
	struct sim_request q;
	struct sim_net n;
	char *text[2];
	bool offered;

	sim_net_up(&n);
	make_texts(text);
	for (unsigned i = 0; i < BEHIND_ROUNDS; i++)
		sim_policy(&n.s, text[i % 2]);
	sim_request(&n.a, B_ADDR, &q);
	sim_wait_counter(&n.s, "offers", 1);
	sim_server_pause(&n.s);
	/* takes in what the kernel has; the offer may be among that */
	offered = sim_try_for(&n.b, MVPN_MSG_OFFER, OFFER_MS);
	if (offered)
		sim_expect_nothing(&n.b, OFFER_MS);
	assert_true(n.b.rev < 1 + BEHIND_ROUNDS);
	sim_server_resume(&n.s); /* timers come first */
	if (!offered)
		sim_expect(&n.b, MVPN_MSG_OFFER);
	sim_expect(&n.b, MVPN_MSG_CANCEL);
	wait_whole_set(&n.b, 1 + BEHIND_ROUNDS);
	intro_a_free(q.a);
	free(text[0]);
	free(text[1]);
	sim_net_down(&n);
}

static void floods_of_requests_are_limited(void **state)
{
	struct sim_net n;
	struct sim_request q;
	uint8_t session[16];

	sim_net_up(&n);
	sim_request(&n.a, "203.0.113.1", &q);
	sim_expect_fail(&n.a, MVPN_R_UNKNOWN_DST);
	intro_a_free(q.a);
	for (unsigned i = 0; i < 2000; i++) {
		q.req[offsetof(struct mvpn_req, nonce)] = (uint8_t)i;
		q.req[offsetof(struct mvpn_req, nonce) + 1] = (uint8_t)(i >> 8);
		sim_request_send(&n.a, &q);
	}
	for (unsigned i = 0; i < 2000; i++)
		sim_expect(&n.a, MVPN_MSG_FAIL);
	assert_true(sim_counter(&n.s, "fail_limit") > 500);
	/* nor does the flood fill the audit trail */
	json_t *o = sim_ok(&n.s, "audit", "{s:i}", "limit", 5000);

	assert_true(json_array_size(json_object_get(o, "events")) < 50);
	json_decref(o);
	sim_introduce(&n.b, &n.a, A_ADDR, session);
	sim_net_down(&n);
}

static void answers_that_were_asked_for_are_not_counted(void **state)
{
	struct sim_net n;
	uint8_t session[16];

	sim_net_up(&n);
	sim_server_stop(&n.s);
	n.s.messages_channel = 20;
	sim_server_start(&n.s);
	sim_rejoin(&n.a, A_ADDR);
	sim_rejoin(&n.b, B_ADDR);
	for (unsigned i = 0; i < 18; i++)
		sim_introduce(&n.a, &n.b, B_ADDR, session);
	for (unsigned i = 0; i < 5; i++)
		sim_introduce(&n.b, &n.a, A_ADDR, session);
	sim_net_down(&n);
}

static void a_device_that_never_stops_is_cut_off(void **state)
{
	struct sim_net n;
	struct chan_buf b = {0};

	sim_net_up(&n);
	chan_begin(&b, MVPN_MSG_HEARTBEAT, 0, 0);
	for (unsigned i = 0; i < 20000; i++)
		sim_send(&n.a, &b);
	sim_expect(&n.a, MVPN_MSG_CLOSE);
	assert_int_equal(sim_counter(&n.s, "too_many_messages"), 1);
	/* nor one that registers all the time */
	sim_rejoin(&n.a, A_ADDR);
	for (unsigned i = 0; i < 30; i++)
		sim_register(&n.a, NULL, NULL, 0);
	sim_expect_close(&n.a, MVPN_R_LIMIT);
	chan_buf_free(&b);
	sim_net_down(&n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(slow_handshakes_are_ended),
		cmocka_unit_test(a_large_protected_set_comes_in_parts),
		cmocka_unit_test(who_reads_slowly_gets_the_whole_set_later),
		cmocka_unit_test(what_waits_for_a_window_is_not_forgotten),
		cmocka_unit_test(floods_of_requests_are_limited),
		cmocka_unit_test(answers_that_were_asked_for_are_not_counted),
		cmocka_unit_test(a_device_that_never_stops_is_cut_off),
	};

	return MVPN_RUN(tests);
}
