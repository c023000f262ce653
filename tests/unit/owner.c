/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A receive lane and several workers: its packets come in now here, now there, and each is opened once, in order, by one worker
 * at a time. Under ThreadSanitizer (tests/run, tsan/) this shows that no lock is missing.
 */
#include "sides.h"

#include <pthread.h>
#include <sched.h>

#define WORKERS 4
#define PACKETS 20000
#define STUCK_S 60
#define AHEAD \
	2000 /* no packet arrives so far ahead of one that is missing: the replay window is 8128 */

static struct worker *team[WORKERS];
static struct { /* sealed by a */
	uint16_t len;
	uint8_t data[160];
} sealed[PACKETS];
/* what the stack got, in order, as the packets' IPv4 ids; one thread only */
static unsigned seen[PACKETS], nseen;
static _Atomic unsigned opened;
static _Atomic bool has[PACKETS];

static void on_tap(void *arg, const struct virtio_net_hdr *h, uint8_t *data, size_t len)
{
	unsigned n = atomic_fetch_add(&opened, 1);

	atomic_store(&has[get16(data + IP4_ID)], true);
	if (arg) {
		seen[n] = get16(data + IP4_ID);
		nseen = n + 1;
	}
}

static void seal_all(unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		struct inner in = {INNER_UDP, .payload = 64};
		struct virtio_net_hdr h = {0};

		in.id = (uint16_t)i;
		a.wire.n = 0;
		seal_super(a.w, &h, inner_build(a.w->packet, &in, false));
		assert_int_equal(a.wire.n, 1);
		assert_true(a.wire.len[0] <= sizeof(sealed[i].data));
		sealed[i].len = (uint16_t)a.wire.len[0];
		memcpy(sealed[i].data, a.wire.data[0], a.wire.len[0]);
	}
}

static int team_setup(void **state)
{
	setup(state);
	team[0] = b.w;
	for (unsigned i = 1; i < WORKERS; i++)
		team[i] = worker_make(&b, b.w->tap.fd, i);
	for (unsigned i = 0; i < WORKERS; i++) {
		team[i]->team = team;
		team[i]->nteam = WORKERS;
		team[i]->coalescer.write = on_tap;
		team[i]->coalescer.arg = team;
		for (unsigned from = 0; from < WORKERS; from++)
			assert_int_equal(relay_new(&team[i]->in[from]), 0);
	}
	atomic_store(&opened, 0);
	memset((void *)has, 0, sizeof(has));
	nseen = 0;
	return 0;
}

static int team_teardown(void **state)
{
	for (unsigned i = 0; i < WORKERS; i++)
		for (unsigned from = 0; from < WORKERS; from++)
			relay_free(team[i]->in[from]);
	for (unsigned i = 1; i < WORKERS; i++)
		worker_unmake(team[i]);
	return teardown(state);
}

/* packet n comes in at worker i */
static void arrive(unsigned i, unsigned n)
{
	struct wire_from from = {.ep = ep_a};
	uint8_t copy[sizeof(sealed[0].data)];

	memcpy(copy, sealed[n].data, sealed[n].len);
	open_datagram(team[i], copy, sealed[n].len, &from);
}

static bool turn(unsigned i, bool wires_empty)
{
	bool work = owner_relays(team[i], wires_empty);

	open_finish(team[i]);
	owner_wake(team[i]);
	kt_worker_quiescent(team[i]->kt, i);
	return work;
}

static unsigned owner(void)
{
	return atomic_load(&b.s->rx_owner[0]);
}

static bool woken(unsigned i)
{
	uint64_t n;

	return read(team[i]->wake_fd, &n, sizeof(n)) == sizeof(n);
}

static uint64_t total(enum dp_counter c)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < WORKERS; i++)
		n += atomic_load(&team[i]->counters[c]);
	return n;
}

static void assert_in_order(unsigned n)
{
	assert_int_equal(nseen, n);
	for (unsigned i = 0; i < n; i++)
		assert_int_equal(seen[i], i);
}

/* RSS moves the flow from worker 0 to 1 while older packets still wait at 0: none is lost, doubled or overtaken */
static void a_lane_follows_its_flow(void **state)
{
	unsigned n = 0, late;

	seal_all(200);
	for (; n < 10; n++)
		arrive(0, n);
	assert_int_equal(owner(), 0);
	assert_in_order(10);
	late = n;
	n += 5; /* these are still in 0's wire when the next have come to 1 */
	for (; n < 60; n++)
		arrive(1, n);
	turn(1, true);
	assert_true(woken(0));
	assert_false(woken(1));
	assert_true(turn(0, false)); /* the wire is not empty: what was handed over waits */
	assert_in_order(10);
	for (; late < 15; late++)
		arrive(0, late);
	turn(0, true);
	assert_in_order(60);
	assert_true(woken(1)); /* offered */
	assert_int_equal(owner(), 0);
	for (; n < 70; n++)
		arrive(1, n);
	turn(1, true); /* accepted: packets 60 to 69 lie before that */
	for (; n < 80; n++)
		arrive(1, n); /* kept */
	assert_in_order(60);
	turn(1, true);
	assert_in_order(60);
	turn(0, true);
	assert_in_order(70);
	assert_int_equal(owner(), 1);
	assert_true(woken(1));
	for (; n < 90; n++)
		arrive(1, n); /* not before those that are kept */
	turn(1, true);
	assert_in_order(90);
	for (; n < 100; n++)
		arrive(1, n); /* straight */
	assert_in_order(100);
	assert_int_equal(total(DP_C_LANES_MOVED), 1);
	assert_int_equal(total(DP_C_RX_REPLAY), 0);
	/* a straggler at the old place finds its way; so does a replay, and is refused */
	arrive(0, 100);
	arrive(0, 5);
	turn(0, true);
	turn(1, true);
	assert_in_order(101);
	assert_int_equal(total(DP_C_RX_REPLAY), 1);
	assert_int_equal(owner(), 1);
	assert_int_equal(stats(&b).rx_packets, 101);
	assert_int_equal(stats(&b).rx_replay, 1);
}

/* under an overload the wires are never empty; what others hand over has its turn all the same */
static void patience_ends(void **state)
{
	unsigned turns = 0;

	seal_all(2);
	arrive(0, 0);
	arrive(1, 1);
	while (nseen < 2 && turns < 100) {
		turn(0, false);
		turns++;
	}
	assert_int_equal(turns, 4096 / RX_BUDGET);
}

/* packets in turn here and there: the lane stays where it is, or it would be moved all the time */
static void a_lane_does_not_swing(void **state)
{
	seal_all(400);
	for (unsigned n = 0; n < 400; n++) {
		arrive(n / 8 % 2, n);
		turn(1, true);
		turn(0, true);
	}
	assert_in_order(400);
	assert_int_equal(owner(), 0);
	assert_int_equal(total(DP_C_LANES_MOVED), 0);
}

/* forged packets move nothing */
static void only_authentic_packets_count(void **state)
{
	seal_all(200);
	arrive(0, 0);
	for (unsigned n = 1; n < 200; n++) {
		sealed[n].data[40] ^= 1;
		arrive(1, n);
		turn(0, true);
		turn(1, true);
	}
	assert_int_equal(owner(), 0);
	assert_int_equal(total(DP_C_LANES_MOVED), 0);
	assert_int_equal(stats(&b).rx_auth_fail, 199);
}

/* the session ends while its lane is on the way: nothing waits for it for ever */
static void a_session_that_ends_meanwhile(void **state)
{
	seal_all(100);
	arrive(0, 0);
	for (unsigned n = 1; n < 50; n++)
		arrive(1, n);
	turn(0, true);
	turn(1, true); /* accepted */
	arrive(1, 50); /* kept */
	assert_int_equal(team[1]->nawaited, 1);
	kt_session_remove(b.kt, b.s);
	turn(0, true);
	turn(1, true);
	assert_int_equal(team[1]->nawaited, 0);
	assert_int_equal(team[0]->offers[1], 0);
	assert_int_equal(total(DP_C_RX_UNKNOWN_SPI), 1);
	assert_null(relay_peek(team[1]->in[1]));
}

/* the owner does nothing for long: what does not fit is lost, and counted; messages always fit */
static void a_full_ring(void **state)
{
	uint64_t lost;

	seal_all(PACKETS);
	arrive(0, 0);
	for (unsigned n = 1; n < PACKETS; n++)
		arrive(1, n);
	lost = total(DP_C_RX_RELAY_FULL);
	assert_true(lost > 0 && lost < PACKETS - 4000);
	for (unsigned i = 0; i < 2 * MVPN_LANE_OFFERS_MAX; i++)
		assert_true(relay_tell(team[0]->in[1], RELAY_DECLINE, 1, 0));
	team[0]->offers[1] = 2 * MVPN_LANE_OFFERS_MAX; /* what these answer */
	turn(0, true);
	assert_int_equal(atomic_load(&opened), PACKETS - lost);
	assert_int_equal(team[0]->offers[1], 1); /* the lane itself */
}

/* ---- threads ---- */
static struct {
	unsigned n;
	uint16_t packet[PACKETS];
} plan[WORKERS];
static _Atomic unsigned arrived;

static void *hammer(void *arg)
{
	unsigned me = (unsigned)(uintptr_t)arg, next = 0, missing = 0;

	kt_worker_online(team[me]->kt, me);
	while (atomic_load(&opened) < PACKETS) {
		unsigned batch = 0;

		while (missing < PACKETS && atomic_load(&has[missing]))
			missing++;
		for (; next < plan[me].n && batch < 32 && plan[me].packet[next] < missing + AHEAD;
		     next++, batch++)
			arrive(me, plan[me].packet[next]);
		atomic_fetch_add(&arrived, batch);
		if (!turn(me, true) && !batch)
			sched_yield();
	}
	kt_worker_offline(team[me]->kt, me);
	return NULL;
}

/* runs of random length at random workers, all at once */
static void hammered(void **state)
{
	pthread_t t[WORKERS];
	unsigned seed = 1;

	alarm(STUCK_S);
	seal_all(PACKETS);
	memset(plan, 0, sizeof(plan));
	for (unsigned i = 0; i < WORKERS; i++)
		team[i]->coalescer.arg = NULL; /* order is nobody's here */
	for (unsigned n = 0; n < PACKETS;) {
		unsigned run = 1u << (unsigned)rand_r(&seed) % 12,
			 to = (unsigned)rand_r(&seed) % WORKERS;

		for (; run && n < PACKETS; run--, n++)
			plan[to].packet[plan[to].n++] = (uint16_t)n;
	}
	for (uintptr_t i = 0; i < WORKERS; i++)
		assert_int_equal(pthread_create(&t[i], NULL, hammer, (void *)i), 0);
	for (unsigned i = 0; i < WORKERS; i++)
		pthread_join(t[i], NULL);
	alarm(0);
	assert_int_equal(atomic_load(&arrived), PACKETS);
	assert_int_equal(atomic_load(&opened), PACKETS);
	assert_int_equal(stats(&b).rx_packets, PACKETS);
	assert_int_equal(total(DP_C_RX_RELAY_FULL), 0);
	assert_int_equal(total(DP_C_RX_REPLAY) + total(DP_C_RX_AUTH_FAIL), 0);
	assert_true(total(DP_C_LANES_MOVED) > 0);
	print_message("%llu packets handed over, %llu moves\n",
		      (unsigned long long)total(DP_C_RX_RELAYED),
		      (unsigned long long)total(DP_C_LANES_MOVED));
}

#define TEAM(f) cmocka_unit_test_setup_teardown(f, team_setup, team_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEAM(a_lane_follows_its_flow),
		TEAM(patience_ends),
		TEAM(a_lane_does_not_swing),
		TEAM(only_authentic_packets_count),
		TEAM(a_session_that_ends_meanwhile),
		TEAM(a_full_ring),
		TEAM(hammered),
	};

	return MVPN_RUN(tests);
}
