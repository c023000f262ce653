/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * keyd's own side of an introduction: each message and each packet of it is lost, doubled, delayed, overtaken; either end or the
 * server starts anew, a channel breaks, the policy forbids it, at each step; one side begins, or both at once; for the first session
 * and for the next one; in each mode. Whatever comes, what pair_check() says holds all the time, and the two work once it is over.
 */
#include "../sim/pair.h"

#include <stdio.h>
#include <string.h>

#include "../../keyd/peers.h"
#include "../../keyd/sessions.h"
#include "loop.h"

#ifdef __SANITIZE_ADDRESS__ /* slow */
#define EACH_END 1
#define SEEDS 40
#else
#define EACH_END ENDS
#define SEEDS 200
#endif
#define TALK_MS 250
#define SOON_MS 45000 /* what is given up is tried anew, with every back-off and reconnect that may be due first */
#define OLD_MS ((MVPN_SESSION_OLD_RX_S + 5) * 1000)

enum fault {
	LOST,
	LOST_LONG, /* and all of its kind for LONG_MS */
	TWICE,
	TWICE_LATER, /* once more, when all is over */
	LATE,	     /* ... and overtaken by what comes after it */
	LATE_GIVEN_UP, /* the server has given up */
	LATE_REPEATED, /* it has been repeated */
	LATE_LONG,     /* everybody has given up */
	A_ANEW,	       /* it is lost in that */
	B_ANEW,
	S_ANEW,
	A_CUT,
	B_CUT,
	FORBIDDEN,
	A_ANEW_AFTER,
	B_ANEW_AFTER,
	S_ANEW_AFTER,
	A_CUT_AFTER,
	B_CUT_AFTER,
	FORBIDDEN_AFTER,
	FAULTS
};
static const char *const fault_names[FAULTS] = {
	"lost",	   "lost for long",  "twice",	     "again later",   "late",	       "late, given up", "late, repeated",
	"very late", "A anew",	     "B anew",	     "server anew",   "A cut",	       "B cut",		 "forbidden",
	"A anew after", "B anew after", "server anew after", "A cut after", "B cut after", "forbidden after"};
#define LONG_MS 12000

static const struct step {
	const char *name;
	unsigned what;
} steps[] = {
	{"REQUEST", MVPN_MSG_REQUEST},	     {"OFFER", MVPN_MSG_OFFER},
	{"ACCEPT", MVPN_MSG_ACCEPT},	     {"ANSWER", MVPN_MSG_ANSWER},
	{"first packet", PAIR_FROM_BEGINNER}, {"first answer", PAIR_FROM_OTHER},
};
#define STEPS (sizeof(steps) / sizeof(steps[0]))

/* who speaks when it is over: a session that only one end still has must be noticed by whoever needs it */
enum end { BOTH_GO_ON, A_GOES_ON, B_GOES_ON, ENDS };
static const char *const end_names[ENDS] = {"", ", then A alone", ", then B alone"};

enum start { A_SPEAKS, BOTH_SPEAK, A_REKEYS, BOTH_REKEY, STARTS };
static const char *const start_names[STARTS] = {"A speaks", "both speak", "A rekeys", "both rekey"};

struct trial {
	struct pair p;
	enum start start;
	enum end end;
	unsigned what;
	enum fault fault;
	bool fired;
	uint64_t fired_ms;
	uint64_t calm_ms; /* of the trials at random */
};
static struct trial t;
static char name[160]; /* of the trial under way; empty: none */

/* ---- one fault ---- */

static void anew_or_cut(enum fault f)
{
	switch (f) {
	case A_ANEW:
	case B_ANEW:
		node_restart(&t.p.node[f == A_ANEW ? A : B], 300);
		return;
	case S_ANEW:
		server_restart(&t.p, 1000);
		return;
	case A_CUT:
	case B_CUT:
		node_cut(&t.p.node[f == A_CUT ? A : B]);
		return;
	default:
		server_forbid(&t.p);
	}
}

static void after(struct pair *p, void *arg)
{
	anew_or_cut(t.fault - A_ANEW_AFTER + A_ANEW);
}

static struct fate one_fault(void *arg, const struct passing *x)
{
	static const struct fate usual = {1, {PAIR_WAY_MS}}, lost = {0};

	if (t.fault == LOST_LONG && t.fired && x->what == t.what && mono_ms() < t.fired_ms + LONG_MS)
		return lost;
	if (t.fired || x->what != t.what)
		return usual;
	t.fired = true;
	t.fired_ms = mono_ms();
	switch (t.fault) {
	case LOST:
	case LOST_LONG:
		return lost;
	case TWICE:
		return (struct fate){2, {PAIR_WAY_MS, PAIR_WAY_MS + 1}};
	case TWICE_LATER:
		return (struct fate){2, {PAIR_WAY_MS, LONG_MS}};
	case LATE:
		return (struct fate){1, {600}};
	case LATE_GIVEN_UP:
		return (struct fate){1, {MVPN_INTRO_OPEN_S * 1000 + 300}};
	case LATE_REPEATED:
		return (struct fate){1, {MVPN_INTRO_RETRY_S * 1000 + 300}};
	case LATE_LONG:
		return (struct fate){1, {LONG_MS}};
	default:
		break;
	}
	if (t.fault < A_ANEW_AFTER) {
		anew_or_cut(t.fault);
		return lost;
	}
	later(&t.p, PAIR_WAY_MS + 1, after, NULL);
	return usual;
}

/* ---- what is begun, and what must come of it ---- */

static void rekey(struct node *n)
{
	assert_int_equal(session_rekey(&n->k, node_peer(n)), 0);
}

static void begin(uint64_t seed, enum start start, unsigned mode)
{
	t.start = start;
	t.fired = false;
	pair_up(&t.p, seed, mode);
	if (start == A_REKEYS || start == BOTH_REKEY) {
		pair_talk(&t.p.node[A], TALK_MS);
		assert_true(pair_run_until(&t.p, pair_works, 3000));
		pair_run(&t.p, 1000);
	}
}

static void speak(void)
{
	if (t.start == A_REKEYS || t.start == BOTH_REKEY)
		rekey(&t.p.node[A]);
	else
		pair_talk(&t.p.node[A], TALK_MS);
	if (t.start == BOTH_REKEY)
		rekey(&t.p.node[B]);
	if (t.start == BOTH_SPEAK)
		pair_talk(&t.p.node[B], TALK_MS);
}

static bool goes_on(enum end alone)
{
	return t.end == BOTH_GO_ON || t.end == alone;
}

static bool heard(struct pair *p)
{
	uint64_t since_ms = mono_ms() - 2 * TALK_MS;

	return (!goes_on(A_GOES_ON) || p->node[B].heard_ms >= since_ms) &&
	       (!goes_on(B_GOES_ON) || p->node[A].heard_ms >= since_ms);
}

static void talk_on(unsigned every_ms)
{
	pair_talk(&t.p.node[A], goes_on(A_GOES_ON) ? every_ms : 0);
	pair_talk(&t.p.node[B], goes_on(B_GOES_ON) ? every_ms : 0);
}

/* nothing is left over of what did not come to anything, or was replaced */
static bool left(struct pair *p, unsigned sessions)
{
	bool alone = !p->server.intro.open;

	for (unsigned i = 0; i < 2; i++) {
		struct node *n = &p->node[i];

		alone &= n->runs && n->k.nsessions == sessions && !n->k.nintros && !kt_reclaim(n->k.kt);
	}
	return alone;
}

static bool settled(struct pair *p)
{
	return left(p, 1) && pair_works(p) && heard(p);
}

static void expect_work(void)
{
	talk_on(TALK_MS);
	pair_run(&t.p, 2 * TALK_MS);
	if (!pair_run_until(&t.p, heard, SOON_MS))
		fail_msg("they do not work");
	/* and it stays so when what is old has gone */
	assert_true(pair_run_until(&t.p, settled, 2 * OLD_MS));
	pair_run(&t.p, 2 * TALK_MS);
	assert_true(heard(&t.p));
}

static void expect_silence(void)
{
	unsigned heard[2];

	pair_talk(&t.p.node[B], TALK_MS);
	pair_run(&t.p, MVPN_CHAN_RECONNECT_MAX_S * 1000);
	heard[A] = t.p.node[A].heard;
	heard[B] = t.p.node[B].heard;
	pair_run(&t.p, OLD_MS);
	assert_int_equal(t.p.node[A].heard, heard[A]);
	assert_int_equal(t.p.node[B].heard, heard[B]);
	assert_true(left(&t.p, 0));
}

static void try_one(enum start start, unsigned mode, const struct step *step, enum fault f, enum end end)
{
	snprintf(name, sizeof(name), "%s, %s, %s: %s%s", mvpn_mode_name(mode), start_names[start], step->name,
		 fault_names[f], end_names[end]);
	if (getenv("MVPN_TRIAL") && !strstr(name, getenv("MVPN_TRIAL")))
		return;
	t.end = end;
	t.what = step->what;
	t.fault = f;
	begin(1 + start * 1000 + step->what * 100 + f, start, mode);
	t.p.fate = one_fault;
	speak();
	pair_run(&t.p, LONG_MS + 3000);
	assert_true(t.fired);
	if (f == FORBIDDEN || f == FORBIDDEN_AFTER)
		expect_silence();
	else
		expect_work();
	pair_down(&t.p);
	name[0] = '\0';
}

static void try_all(enum start start, unsigned mode, unsigned ends)
{
	for (unsigned s = 0; s < STEPS; s++)
		for (unsigned f = 0; f < FAULTS; f++)
			for (unsigned e = 0; e < ends; e++)
				try_one(start, mode, &steps[s], f, e);
}

static void one_begins(void **state)
{
	try_all(A_SPEAKS, MVPN_MODE_E2E, EACH_END);
}

static void both_begin_at_once(void **state)
{
	try_all(BOTH_SPEAK, MVPN_MODE_E2E, EACH_END);
}

static void one_makes_the_next_session(void **state)
{
	try_all(A_REKEYS, MVPN_MODE_E2E, EACH_END);
}

static void both_make_the_next_session(void **state)
{
	try_all(BOTH_REKEY, MVPN_MODE_E2E, EACH_END);
}

static void the_server_gives_the_key(void **state)
{
	try_all(A_SPEAKS, MVPN_MODE_CENTRAL60, 1);
	try_all(BOTH_SPEAK, MVPN_MODE_CENTRAL63, 1);
}

/* ---- faults at random, many at a time ---- */

#define STORM_MS 40000
#define STORM_LATE_MS 5000

static bool chance(unsigned percent)
{
	return pair_random(&t.p, 100) < percent;
}

static struct fate stormy(void *arg, const struct passing *x)
{
	struct fate f = {1, {PAIR_WAY_MS}};

	if (mono_ms() >= t.calm_ms)
		return f;
	if (x->what < PAIR_FROM_BEGINNER && chance(3))
		anew_or_cut(A_ANEW + pair_random(&t.p, B_CUT - A_ANEW + 1));
	f.copies = chance(15) ? 0 : chance(15) ? 3 : 1;
	for (unsigned i = 0; i < f.copies; i++)
		if (chance(30))
			f.delay_ms[i] = (unsigned)pair_random(&t.p, STORM_LATE_MS);
	return f;
}

static bool all_run(struct pair *p)
{
	return p->node[A].runs && p->node[B].runs && p->server.runs;
}

/* as programs do: now this one speaks, now that one, now one asks for another session */
static void speak_at_random(void)
{
	struct node *n = &t.p.node[pair_random(&t.p, 2)];
	struct peer *peer = node_peer(n);

	if (peer && session_transmitting(peer) && chance(30))
		session_rekey(&n->k, peer);
	else
		pair_talk(n, chance(30) ? 0 : TALK_MS);
}

static void after_a_storm_they_work(void **state)
{
	for (unsigned seed = 1; seed <= SEEDS; seed++) {
		snprintf(name, sizeof(name), "storm %u", seed);
		if (getenv("MVPN_TRIAL") && strcmp(name, getenv("MVPN_TRIAL")))
			continue;
		t.end = seed % ENDS;
		begin(seed, A_SPEAKS, seed % MVPN_MODES);
		t.p.fate = stormy;
		t.calm_ms = mono_ms() + STORM_MS;
		while (mono_ms() < t.calm_ms) {
			speak_at_random();
			pair_run(&t.p, 700);
		}
		assert_true(pair_run_until(&t.p, all_run, STORM_LATE_MS));
		expect_work();
		pair_down(&t.p);
	}
	name[0] = '\0';
}

static void say_sessions(struct node *n)
{
	const struct peer *p = node_peer(n);

	for (const struct session *s = p ? p->sessions : NULL; s; s = s->next)
		print_message("  %c: session %llu, %s, state %d%s%s, receives by %08x, sends to %08x\n", 'A' + (int)n->i,
			      (unsigned long long)s->seq, s->initiator ? "its own" : "the other's", s->state,
			      s->transmits ? ", transmits" : "", s->kt->confirmed ? ", heard" : "", s->rx_spi, s->tx_spi);
}

/* MVPN_TRIAL, a part of its name, runs such trials alone */
static int say_which(void **state)
{
	if (!name[0])
		return 0;
	print_message("in the trial %s\n", name);
	say_sessions(&t.p.node[A]);
	say_sessions(&t.p.node[B]);
	return 0;
}

#define T(f) cmocka_unit_test_teardown(f, say_which)
int main(void)
{
	const struct CMUnitTest tests[] = {
		T(one_begins),
		T(both_begin_at_once),
		T(one_makes_the_next_session),
		T(both_make_the_next_session),
		T(the_server_gives_the_key),
		T(after_a_storm_they_work),
	};

	return MVPN_RUN_FIXTURE(tests, pair_setup, pair_teardown);
}
