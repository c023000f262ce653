/* SPDX-License-Identifier: BSD-2-Clause */
/* Path MTU discovery against a path made of numbers: its MTU, its round-trip time, its losses; time is what we say. */
#include <string.h>

#include "test.h"

#include "../../keyd/pmtu.h"

#define LINK 1500
#define PROBES_MAX 256

static struct {
	unsigned mtu, rtt_ms;
	unsigned lose;	    /* of a hundred probes */
	unsigned lose_next; /* and so many of the next ones of `lose_size` */
	unsigned lose_size;
	uint32_t seed;
	uint64_t now;
	unsigned sent, largest;
	unsigned nanswers;
	struct {
		uint64_t token, at;
	} answer[PROBES_MAX];
} path;
static struct pmtu p;

static void on_probe(void *arg, unsigned size, uint64_t token)
{
	assert_true(token & PMTU_TOKEN);
	assert_true(size <= p.link);
	path.sent++;
	path.largest = size > path.largest ? size : path.largest;
	path.seed = path.seed * 1103515245 + 12345;
	if (size > path.mtu || (path.seed >> 16) % 100 < path.lose)
		return;
	if (path.lose_next && size == path.lose_size) {
		path.lose_next--;
		return;
	}
	assert_true(path.nanswers < PROBES_MAX);
	path.answer[path.nanswers].token = token;
	path.answer[path.nanswers++].at = path.now + path.rtt_ms;
}

/* lets so much time pass; `busy`: packets are sent all the time */
static void run(uint64_t ms, bool busy)
{
	for (uint64_t end = path.now + ms; path.now < end; path.now++) {
		for (unsigned i = 0; i < path.nanswers; i++)
			if (path.answer[i].at <= path.now) {
				uint64_t token = path.answer[i].token;

				path.answer[i--] = path.answer[--path.nanswers];
				pmtu_answer(&p, token, path.now);
			}
		if (path.now >= p.due_ms)
			pmtu_timer(&p, path.now);
		if (busy && path.now >= p.watch_ms)
			pmtu_traffic(&p, path.now);
	}
}

static void begin(unsigned mtu, unsigned link, unsigned rtt_ms)
{
	memset(&path, 0, sizeof(path));
	path.mtu = mtu;
	path.rtt_ms = rtt_ms;
	path.now = 1000000;
	path.seed = 7;
	pmtu_init(&p, on_probe, NULL, 12345);
	assert_int_equal(p.due_ms, PMTU_NEVER);
	pmtu_start(&p, MVPN_PMTU_MIN_IP4_B, link, false, path.now);
}

static void what_the_link_allows_is_used_at_once(void **state)
{
	begin(LINK, LINK, 20);
	assert_int_equal(p.mtu, LINK);
	run(21, false);
	assert_int_equal(p.state, PMTU_FOUND);
	assert_int_equal(p.mtu, LINK);
	path.sent = 0;
	run(3600000, false);
	assert_int_equal(path.sent, 0); /* nothing is sent, nothing is probed */
	run(60000, true);
	assert_in_range(path.sent, 15, 20); /* one each MVPN_PMTU_CONFIRM_S, and no larger ones */
	assert_int_equal(p.mtu, LINK);
}

/* about one round trip, then what certainly passes; then exactly what passes */
static void black_hole_of_every_size(void **state)
{
	static const unsigned links[] = {1500, 9000, 9198};

	for (unsigned l = 0; l < 3; l++)
		for (unsigned mtu = 1280; mtu <= links[l]; mtu += mtu < 1510 ? 1 : 97) {
			begin(mtu, links[l], 20);
			run(20 + 10 + MVPN_PMTU_SETTLE_MS + 2, false);
			assert_in_range(p.mtu, 1280, mtu);
			run(12000, false);
			assert_int_equal(p.mtu, mtu);
			assert_int_equal(p.state, PMTU_FOUND);
		}
	/* IPv4 may be smaller still */
	begin(700, 1500, 20);
	run(10000, false);
	assert_int_equal(p.mtu, 700);
}

static void long_and_lossy_paths(void **state)
{
	for (unsigned rtt = 1; rtt < 3000; rtt = rtt * 3 + 1)
		for (unsigned lose = 0; lose <= 10; lose += 5) {
			begin(1400, LINK, rtt);
			path.lose = lose;
			run(180000, true);
			assert_in_range(p.mtu, lose ? 1280 : 1400, 1400);
			path.lose = 0;
			run(700000, true);
			assert_int_equal(p.mtu, 1400);
		}
}

static void a_few_lost_probes_do_not_shrink_it(void **state)
{
	begin(LINK, LINK, 20);
	run(1000, true);
	for (unsigned n = 0; n < 100; n++) {
		path.lose_size = LINK;
		path.lose_next = MVPN_PMTU_TRIES + 2; /* all confirmations, two of the burst */
		run(4000, true);
		assert_int_equal(p.mtu, LINK);
		assert_int_equal(path.lose_next, 0);
	}
}

static void shrinks_without_icmp_and_grows_again(void **state)
{
	begin(LINK, LINK, 20);
	run(10000, true);
	path.mtu = 1350;
	run(MVPN_PMTU_CONFIRM_S * 1000 + 1000, true);
	assert_in_range(p.mtu, 1280, 1350); /* within seconds */
	run(5000, true);
	assert_int_equal(p.mtu, 1350);
	path.mtu = 1450;
	run(MVPN_PMTU_RAISE_S * 1000 + 10000, true);
	assert_int_equal(p.mtu, 1450);
	path.mtu = 9000;
	run(MVPN_PMTU_RAISE_S * 1000 + 10000, true);
	assert_int_equal(p.mtu, LINK);
	/* no larger one for long: it is tried ever more rarely */
	path.mtu = 1400;
	run(3600000, true);
	path.sent = 0;
	run(3600000, true);
	assert_in_range(path.sent, 1200, 1200 + 8 * 60);
	assert_int_equal(p.mtu, 1400);
}

static void a_hint_is_only_a_reason_to_probe(void **state)
{
	begin(LINK, LINK, 20);
	run(1000, false);
	/* forged, many a second, of all kinds */
	path.sent = 0;
	for (unsigned n = 0; n < 100000; n++) {
		pmtu_hint(&p, n % 1600, path.now);
		run(1, false);
		assert_int_equal(p.mtu, LINK);
	}
	assert_true(path.sent < 100 * 16);
	run(5000, false);
	/* true: exactly that size, and soon */
	path.mtu = 1387;
	pmtu_hint(&p, 1387, path.now);
	run(20 + 3 * 20 + MVPN_PMTU_MARGIN_MS + 5, false);
	assert_int_equal(p.mtu, 1387);
	/* a device that does not say what fits */
	run(10000, false);
	path.mtu = 1300;
	pmtu_hint(&p, 0, path.now);
	run(10000, false);
	assert_int_equal(p.mtu, 1300);
}

static void a_silent_peer_changes_nothing(void **state)
{
	begin(1400, LINK, 20);
	run(10000, true);
	path.mtu = 0;
	run(20000, true);
	assert_true(p.state == PMTU_SILENT || p.state == PMTU_BURST);
	assert_int_equal(p.mtu, 1400);
	path.sent = 0;
	run(600000, true);
	assert_true(path.sent < 15 * MVPN_PMTU_BURSTS * 12);
	path.mtu = 1300;
	run(MVPN_PMTU_SILENT_MAX_S * 1000 + 10000, true);
	assert_int_equal(p.mtu, 1300);
}

static void links_and_end_points_that_change(void **state)
{
	begin(1400, 9000, 20);
	run(10000, false);
	assert_int_equal(p.mtu, 1400);
	/* the same path behind another link MTU: what was found is not forgotten */
	pmtu_start(&p, MVPN_PMTU_MIN_IP4_B, LINK, true, path.now);
	assert_int_equal(p.mtu, 1400);
	run(10000, false);
	assert_int_equal(p.mtu, 1400);
	pmtu_start(&p, MVPN_PMTU_MIN_IP4_B, 1300, true, path.now);
	assert_int_equal(p.mtu, 1300);
	/* elsewhere */
	path.mtu = 1492;
	pmtu_start(&p, MVPN_PMTU_MIN_IP4_B, LINK, false, path.now);
	assert_int_equal(p.mtu, LINK);
	run(10000, false);
	assert_int_equal(p.mtu, 1492);
	/* nobody there any more: no timer, and late answers are nothing */
	pmtu_start(&p, MVPN_PMTU_MIN_IP4_B, LINK, true, path.now);
	pmtu_stop(&p);
	run(1000, true);
	assert_int_equal(p.state, PMTU_IDLE);
	assert_int_equal(p.due_ms, PMTU_NEVER);
}

static void answers_to_other_questions(void **state)
{
	begin(1400, LINK, 20);
	run(10000, false);
	for (unsigned bit = 0; bit < 64; bit++) {
		uint64_t token = PMTU_TOKEN | 1ULL << bit | 1500u << 16;

		pmtu_answer(&p, token, path.now);
		pmtu_answer(&p, token & ~PMTU_TOKEN, path.now);
		assert_int_equal(p.mtu, 1400);
	}
	/* larger than the link: never asked */
	pmtu_answer(&p, PMTU_TOKEN | (uint64_t)(p.run & 0x7fffffff) << 32 | 1501u << 16, path.now);
	assert_int_equal(p.mtu, 1400);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_the_link_allows_is_used_at_once),
		cmocka_unit_test(black_hole_of_every_size),
		cmocka_unit_test(long_and_lossy_paths),
		cmocka_unit_test(a_few_lost_probes_do_not_shrink_it),
		cmocka_unit_test(shrinks_without_icmp_and_grows_again),
		cmocka_unit_test(a_hint_is_only_a_reason_to_probe),
		cmocka_unit_test(a_silent_peer_changes_nothing),
		cmocka_unit_test(links_and_end_points_that_change),
		cmocka_unit_test(answers_to_other_questions),
	};

	return MVPN_RUN(tests);
}
