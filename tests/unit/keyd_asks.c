/* SPDX-License-Identifier: BSD-2-Clause */
/* What keyd asks the server for and hears from it: many flows at once, weeks of absence, what it knows already, and what is malformed. */
#include "../sim/pair_server.h"

#include <sodium.h>
#include <string.h>

#include "../../keyd/asks.h"
#include "../../keyd/channel.h"
#include "../../keyd/peers.h"
#include "../../keyd/relayed.h"
#include "../../keyd/sessions.h"
#include "loop.h"

#define FLOWS 1000
#define WEEKS_MS (3 * 7 * 86400000ULL)
#define RETURN_MS ((MVPN_CHAN_RECONNECT_MAX_S + 5) * 1000)

static struct pair p;

/* ---- many flows at once ---- */

static void flows_begin(struct node *n)
{
	struct peer *peer = node_peer(n);

	for (unsigned i = 0; i < FLOWS; i++) {
		session_want(&n->k, peer, &node_other(n)->addr, i % 2 ? 6 : 17, (uint16_t)(1 + i));
		sessions_dp_event(&n->k, &(struct dp_event){.type = DP_EV_WANT, .peer = peer->index});
	}
}

static void flows_of_a_pair_ask_once(void **state)
{
	pair_up(&p, 1, MVPN_MODE_E2E);
	flows_begin(&p.node[A]);
	assert_true(pair_run_until(&p, pair_works, 1000));
	flows_begin(&p.node[A]);
	assert_int_equal(node_peer(&p.node[A])->wanted_ms, 0); /* nothing waits, should the session be cut now */
	pair_run(&p, 5000);
	assert_int_equal(p.server.requests, 1);
	assert_int_equal(p.server.offers, 1);
	assert_int_equal(p.node[A].k.nsessions, 1);
	pair_down(&p);
}

static void flows_of_both_ends_make_one_session(void **state)
{
	pair_up(&p, 2, MVPN_MODE_E2E);
	flows_begin(&p.node[A]);
	flows_begin(&p.node[B]);
	assert_true(pair_run_until(&p, pair_works, 2000));
	pair_run(&p, 5000);
	assert_int_equal(p.server.requests, 2);
	assert_int_equal(p.server.offers, 1); /* the other was told that one is under way */
	assert_int_equal(p.server.fails[MVPN_R_BUSY], 1);
	assert_int_equal(p.node[A].k.nsessions, 1);
	pair_down(&p);
}

/* ---- many peers at once ---- */

#define PEERS 400
#define BUSY 40 /* of them, the last ones: something is sent to them while they wait */
#define WINDOW_MS 100

static struct peer *many[PEERS];
static unsigned nrelays, nrequests, in_window, most;
static uint64_t window_ms;

static bool arrives;

/* counts what A asks; nothing of it arrives unless it shall */
static struct fate swallow(void *arg, const struct passing *x)
{
	bool ask = x->what == MVPN_MSG_RELAY || x->what == MVPN_MSG_REQUEST;

	if (!x->to_server || x->n->i != A || !ask || arrives)
		return (struct fate){1, {PAIR_WAY_MS}};
	nrelays += x->what == MVPN_MSG_RELAY;
	nrequests += x->what == MVPN_MSG_REQUEST;
	if (mono_ms() - window_ms >= WINDOW_MS) {
		window_ms = mono_ms();
		in_window = 0;
	}
	if (++in_window > most)
		most = in_window;
	return (struct fate){0};
}

static void as_it_is(uint8_t *data, size_t *len)
{
}

/* a session that transmits, as after an introduction */
static void give_session(struct keyd *k, struct peer *peer, unsigned i)
{
	struct intro_selectors sel = {.na = 1, .nb = 1};
	struct intro_keys keys = {.suite = MVPN_CHACHA20_POLY1305, .tx_lanes = 1, .rx_lanes = 1, .peer_spi = 0x10001 + i, .peer_udpport = 7};
	uint8_t id[MVPN_ID_LEN] = {0x55, (uint8_t)i, (uint8_t)(i >> 8)};
	const struct session_spec spec = {.id = id,
					  .seq = 1,
					  .initiator = true,
					  .rx_spi = kt_spi_alloc(k->kt),
					  .ttl_s = 3600,
					  .keys = &keys,
					  .selectors = &sel,
					  .endpoint = {p.node[B].addr, 7}};
	struct session *s;

	randombytes_buf(keys.tx, sizeof(keys.tx));
	randombytes_buf(keys.rx, sizeof(keys.rx));
	assert_int_equal(session_install(k, peer, &spec, &s), 0);
	sessions_dp_event(k, &(struct dp_event){.type = DP_EV_CONFIRMED, .rx_spi = s->rx_spi, .from = spec.endpoint});
	assert_ptr_equal(session_transmitting(peer), s);
}

static void many_up(uint64_t seed, bool sessions)
{
	struct keyd *k = &p.node[A].k;

	pair_up(&p, seed, MVPN_MODE_E2E);
	p.fate = swallow;
	p.mangle = as_it_is;
	p.others = true;
	p.server.deaf = true;
	nrelays = nrequests = in_window = most = 0;
	for (unsigned i = 0; i < PEERS; i++) {
		const uint8_t id[MVPN_ID_LEN] = {0x66, (uint8_t)i, (uint8_t)(i >> 8)};

		many[i] = peer_ensure(k, id);
		assert_non_null(many[i]);
		if (sessions)
			give_session(k, many[i], i);
	}
}

static bool nobody_waits(struct pair *x)
{
	return asks_waiting(&x->node[A].k) == 0;
}

/* a link fails under all of them: the server hears of each, at its pace, and first of those to which something is sent */
static void a_link_that_fails_is_told_at_a_pace(void **state)
{
	struct keyd *k = &p.node[A].k;
	uint64_t began_ms, busy_ms = 0, idle_ms = UINT64_MAX;

	many_up(8, true);
	began_ms = mono_ms();
	for (unsigned i = 0; i < PEERS; i++) {
		relayed_silent(k, many[i]);
		relayed_silent(k, many[i]); /* said again while it waits */
	}
	assert_true(nrelays <= MVPN_ASK_BURST);
	for (unsigned i = PEERS - BUSY; i < PEERS; i++)
		kt_add(&session_transmitting(many[i])->kt->tx[0].packets, 1);
	assert_true(pair_run_until(&p, nobody_waits, 10000));
	pair_run(&p, 20); /* the last ones are under way */
	/* each once, but the first few, which did not wait */
	assert_in_range(nrelays, PEERS, PEERS + MVPN_ASK_BURST);
	assert_int_equal(k->counters[KC_ASKS_PACED], PEERS - MVPN_ASK_BURST / 2);
	assert_true(most <= MVPN_ASK_BURST + MVPN_ASK_RATE * WINDOW_MS / 1000);
	assert_in_range(mono_ms() - began_ms, (PEERS - MVPN_ASK_BURST) * 1000 / MVPN_ASK_RATE, 1500);
	for (unsigned i = MVPN_ASK_BURST; i < PEERS; i++) {
		uint64_t at_ms = session_transmitting(many[i])->relay_asked_ms;

		assert_true(at_ms >= began_ms);
		if (i >= PEERS - BUSY)
			busy_ms = at_ms > busy_ms ? at_ms : busy_ms;
		else
			idle_ms = at_ms < idle_ms ? at_ms : idle_ms;
	}
	assert_true(busy_ms <= idle_ms);
	pair_down(&p);
}

/* packets for all of them: nobody is forgotten, and a packet goes before paths that are silent */
static void packets_for_many_ask_at_a_pace(void **state)
{
	struct keyd *k = &p.node[A].k;

	many_up(9, true);
	for (unsigned i = 0; i < PEERS / 2; i++)
		relayed_silent(k, many[i]);
	for (unsigned i = PEERS / 2; i < PEERS; i++) {
		sessions_drop_peer(k, many[i], MVPN_R_EXPIRED, false);
		session_want(k, many[i], &p.node[B].addr, 17, 9);
		session_want(k, many[i], &p.node[B].addr, 17, 9);
	}
	assert_int_equal(nrequests, 0);
	pair_run(&p, 700);
	assert_int_equal(nrequests, PEERS / 2);
	assert_true(nrelays < PEERS / 2);
	assert_true(pair_run_until(&p, nobody_waits, 5000));
	pair_run(&p, 20);
	assert_true(nrelays >= PEERS / 2);
	assert_int_equal(nrequests, PEERS / 2);
	assert_true(most <= MVPN_ASK_BURST + MVPN_ASK_RATE * WINDOW_MS / 1000);
	pair_down(&p);
}

static bool nothing_open(struct pair *x)
{
	return x->node[A].k.nintros == 0;
}

/* the channel is back, and all that is open is asked once more: not in one burst, nor do they then fail for want of an answer while they
 * wait for their turn */
static void what_is_open_is_asked_again_at_a_pace(void **state)
{
	struct keyd *k = &p.node[A].k;

	many_up(11, false);
	for (unsigned i = 0; i < PEERS; i++)
		session_want(k, many[i], &p.node[B].addr, 17, 9);
	assert_true(pair_run_until(&p, nobody_waits, 2000));
	pair_run(&p, 500); /* for another burst */
	assert_int_equal(k->nintros, PEERS);
	nrequests = most = in_window = 0;
	introduce_resume(k);
	pair_run(&p, 10);
	assert_in_range(nrequests, 1, MVPN_ASK_BURST);
	introduce_resume(k); /* and lost once more: still each once */
	assert_true(pair_run_until(&p, nobody_waits, 2000));
	pair_run(&p, 20);
	assert_in_range(nrequests, PEERS, PEERS + MVPN_ASK_BURST);
	assert_true(most <= MVPN_ASK_BURST + MVPN_ASK_RATE * WINDOW_MS / 1000);
	assert_int_equal(k->nintros, PEERS);
	/* nobody answers: each is given up in the end, and asked about no more */
	assert_true(pair_run_until(&p, nothing_open, (MVPN_INTRO_TRIES + 1) * MVPN_INTRO_RETRY_S * 1000));
	assert_true(most <= MVPN_ASK_BURST + MVPN_ASK_RATE * WINDOW_MS / 1000);
	assert_true(pair_run_until(&p, nobody_waits, 2000));
	pair_down(&p);
}

/* the server refuses what it was asked with that nonce */
static void refuse(struct keyd *k, const uint8_t nonce[16])
{
	struct chan_buf b = {0};
	struct chan_msg m = {.type = MVPN_MSG_FAIL};

	chan_begin(&b, MVPN_MSG_FAIL, 0, 0);
	chan_put(&b, MVPN_TLV_NONCE, nonce, 16);
	chan_put_u16(&b, MVPN_TLV_REASON, MVPN_R_DENIED);
	m.tlvs = b.data + 4; /* type, flags, reqid */
	m.len = b.len - 4;
	assert_int_equal(introduce_fail(k, &m), 0);
	chan_buf_free(&b);
}

static unsigned idle_waiting(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < PEERS - BUSY; i++)
		n += many[i]->asks != 0;
	return n;
}

static bool busy_asked(struct pair *x)
{
	for (unsigned i = PEERS - BUSY; i < PEERS; i++)
		if (many[i]->asks)
			return false;
	return true;
}

/* this device has another key: all that is open begins anew, once, at the same pace and in use first, and nothing counts any more that
 * answers what was asked with the old one */
static void another_key_begins_anew_at_a_pace(void **state)
{
	struct keyd *k = &p.node[A].k;
	struct peer *other;
	uint64_t started;
	uint8_t nonce[16];

	many_up(12, false);
	for (unsigned i = 0; i < PEERS; i++)
		session_want(k, many[i], &p.node[B].addr, 17, 9);
	assert_true(pair_run_until(&p, nobody_waits, 2000));
	pair_run(&p, 500); /* for another burst */
	for (unsigned i = 0; i < PEERS - BUSY; i++)
		many[i]->wanted_ms = 0; /* those packets have been given up */
	assert_int_equal(k->nintros, PEERS);
	arrives = true;
	other = node_peer(&p.node[A]);
	session_want(k, other, &p.node[B].addr, 17, 9);
	pair_run(&p, PAIR_WAY_MS + 2); /* the server has it, and its answer takes three ways */
	assert_int_equal(p.server.requests, 1);
	arrives = false;
	memcpy(nonce, p.server.intro.req.nonce, sizeof(nonce));
	nrequests = most = in_window = 0;
	started = k->counters[KC_INTRO_STARTED];
	introduce_anew(k);
	introduce_anew(k); /* said again while they wait */
	introduce_resume(k);
	pair_run(&p, 5);
	assert_in_range(nrequests, 1, MVPN_ASK_BURST);
	assert_true(other->asks);
	refuse(k, nonce);
	assert_true(other->intro && !other->denied_until_ms);
	assert_true(pair_run_until(&p, busy_asked, 1000));
	assert_true(idle_waiting() > 0);
	assert_true(pair_run_until(&p, nobody_waits, 2000));
	pair_run(&p, 20);
	assert_in_range(k->counters[KC_INTRO_STARTED] - started, PEERS + 1, PEERS + 1 + MVPN_ASK_BURST);
	assert_true(most <= MVPN_ASK_BURST + MVPN_ASK_RATE * WINDOW_MS / 1000);
	pair_down(&p);
}

/* ---- away for weeks ---- */

static bool both_online(struct pair *x)
{
	return x->node[A].k.state == KEYD_ONLINE && x->node[B].k.state == KEYD_ONLINE;
}

static bool a_knows(struct pair *x)
{
	const struct peer *peer = node_peer(&x->node[A]);

	return peer->denied_until_ms && !peer->sessions;
}

static void leave(bool forbid)
{
	pair_talk(&p.node[A], 250);
	assert_true(pair_run_until(&p, pair_works, 3000));
	p.server.deaf = true;
	node_cut(&p.node[A]);
	pair_run(&p, 1000);
	if (forbid)
		server_forbid(&p);
	pair_run(&p, 1000);
	pair_leap(WEEKS_MS);
	pair_run(&p, 2000);
	/* without the server's word nothing is left of what it has allowed once */
	assert_int_equal(p.node[A].k.nsessions, 0);
	assert_int_equal(p.node[B].k.nsessions, 0);
}

/* what was forbidden meanwhile it learns with its first word from the server, before it can ask for anything */
static void who_was_away_for_weeks_learns_at_once(void **state)
{
	unsigned heard, requests;

	pair_up(&p, 3, MVPN_MODE_E2E);
	leave(true);
	heard = p.node[B].heard;
	requests = p.server.requests;
	pair_talk(&p.node[A], 0);
	p.server.deaf = false;
	assert_true(pair_run_until(&p, both_online, RETURN_MS));
	assert_true(pair_run_until(&p, a_knows, 100));
	pair_talk(&p.node[A], 250);
	pair_run(&p, 20000);
	assert_int_equal(p.server.requests, requests);
	assert_int_equal(p.node[B].heard, heard);
	assert_false(p.server.of[A].owed_revoke);
	pair_down(&p);
}

static void who_was_away_for_weeks_goes_on(void **state)
{
	pair_up(&p, 4, MVPN_MODE_E2E);
	leave(false);
	p.server.deaf = false;
	assert_true(pair_run_until(&p, pair_works, RETURN_MS + MVPN_INTRO_BACKOFF_S * 1000));
	pair_down(&p);
}

/* ---- which state of the protected set it has ---- */

static bool came_back(struct pair *x)
{
	return both_online(x) && x->server.of[A].link;
}

static void return_of_a(void)
{
	node_cut(&p.node[A]);
	pair_run(&p, 100);
	assert_true(pair_run_until(&p, came_back, RETURN_MS));
}

/* what REGISTER names is what was taken up as a whole: the server sends the changes since, or all of it */
static void who_comes_back_says_what_it_knows(void **state)
{
	const struct known *a = &p.server.of[A];
	const uint8_t first[32] = {1}, second[32] = {2};
	unsigned channels;

	pair_up(&p, 5, MVPN_MODE_E2E);
	assert_false(a->said_set);
	server_tell_prefixes(&p.node[A], MVPN_PFX_RESET | MVPN_PFX_COMMIT, first);
	pair_run(&p, 100);
	return_of_a();
	assert_true(a->said_set);
	assert_memory_equal(a->set, first, sizeof(first));
	server_tell_prefixes(&p.node[A], MVPN_PFX_COMMIT, second);
	pair_run(&p, 100);
	/* a change whose end has not come does not count */
	server_tell_prefixes(&p.node[A], 0, NULL);
	pair_run(&p, 100);
	return_of_a();
	assert_memory_equal(a->set, second, sizeof(second));
	/* the successor of a channel that works asks for all: the other one may still bring changes */
	channels = a->channel;
	channel_renew(&p.node[A].k);
	pair_run(&p, 1000);
	assert_int_equal(a->channel, channels + 1);
	assert_false(a->said_set);
	/* and of a whole set that broke off nothing is known */
	server_tell_prefixes(&p.node[A], MVPN_PFX_RESET, NULL);
	pair_run(&p, 100);
	return_of_a();
	assert_false(a->said_set);
	/* nor does another life know anything */
	server_tell_prefixes(&p.node[A], MVPN_PFX_RESET | MVPN_PFX_COMMIT, first);
	pair_run(&p, 1000);
	node_restart(&p.node[A], 100);
	pair_run(&p, 1000);
	assert_true(pair_run_until(&p, came_back, RETURN_MS));
	assert_false(a->said_set);
	pair_down(&p);
}

/* ---- what is malformed ---- */

#define SEEDS 60

static void spoil(uint8_t *data, size_t *len)
{
	if (pair_random(&p, 100) < 70)
		return;
	for (unsigned n = 1 + (unsigned)pair_random(&p, 4); n; n--)
		data[pair_random(&p, *len)] ^= (uint8_t)(1 << pair_random(&p, 8));
	if (pair_random(&p, 4) == 0)
		*len = 4 + pair_random(&p, *len - 3);
}

static bool both_run(struct pair *x)
{
	return x->node[A].runs && x->node[B].runs;
}

static void what_is_malformed_does_no_harm(void **state)
{
	for (unsigned seed = 1; seed <= SEEDS; seed++) {
		pair_up(&p, seed, seed % MVPN_MODES);
		p.mangle = spoil;
		pair_talk(&p.node[A], 500);
		pair_talk(&p.node[B], 700);
		pair_run(&p, 25000);
		/* a server's lie may last as long as the session that it was about */
		p.mangle = NULL;
		node_restart(&p.node[A], 100);
		node_restart(&p.node[B], 100);
		pair_run(&p, 200);
		assert_true(pair_run_until(&p, both_run, 1000));
		assert_true(pair_run_until(&p, pair_works, RETURN_MS));
		pair_down(&p);
	}
}

/* ---- what is malformed in one part ---- */

static uint64_t bad_messages(void)
{
	return p.node[A].k.counters[KC_BAD_MESSAGE];
}

/* it is the last one on this channel, and nothing in it counts */
static void says_badly(struct chan_buf *b)
{
	uint64_t before = bad_messages();

	server_tell(&p, A, b);
	pair_run(&p, 20);
	assert_int_equal(bad_messages(), before + 1);
	assert_true(pair_run_until(&p, came_back, RETURN_MS));
	pair_run(&p, 100);
}

static void welcome_begin(struct chan_buf *b, const uint8_t *id, const char *name, size_t len)
{
	const uint8_t net[MVPN_NET_ID_LEN] = {0};

	chan_begin(b, MVPN_MSG_WELCOME, 0, 0);
	chan_put(b, MVPN_TLV_DEVICE, id, MVPN_ID_LEN);
	chan_put(b, MVPN_TLV_NAME, name, len);
	chan_put(b, MVPN_TLV_NET, net, sizeof(net));
	chan_put_u8(b, MVPN_TLV_STATE, MVPN_DEV_ACTIVE);
	chan_put_u32(b, MVPN_TLV_MAX_OFFLINE, 7);
}

static void a_welcome_counts_as_a_whole(void **state)
{
	const struct keyd *k = &p.node[A].k;
	struct chan_buf b = {0};

	pair_up(&p, 6, MVPN_MODE_E2E);
	welcome_begin(&b, p.node[B].id, "other", 5); /* no REKEY */
	says_badly(&b);
	welcome_begin(&b, p.node[A].id, "a\nb", 3);
	chan_put_u32(&b, MVPN_TLV_REKEY, 8);
	says_badly(&b);
	assert_memory_equal(k->id->device_id, p.node[A].id, MVPN_ID_LEN);
	assert_string_equal(k->id->name, "a");
	assert_int_equal(k->max_offline_s, MVPN_MAX_OFFLINE_S);
	/* well-formed, but for another device */
	welcome_begin(&b, p.node[B].id, "other", 5);
	chan_put_u32(&b, MVPN_TLV_REKEY, 8);
	server_tell(&p, A, &b);
	pair_run(&p, 20);
	assert_memory_equal(k->id->device_id, p.node[A].id, MVPN_ID_LEN);
	assert_non_null(strstr(k->server_error, "another one"));
	assert_true(pair_run_until(&p, came_back, RETURN_MS));
	pair_down(&p);
}

static void put_peer(struct chan_buf *b, uint8_t state, const char *name, size_t len)
{
	uint8_t v[MVPN_ID_LEN + 1 + 16];

	memcpy(v, p.node[B].id, MVPN_ID_LEN);
	v[MVPN_ID_LEN] = state;
	memcpy(v + MVPN_ID_LEN + 1, name, len);
	chan_put(b, MVPN_TLV_PEER, v, MVPN_ID_LEN + 1 + len);
}

/* the peer that is told first keeps its name, its state and its session, and the set its name, whatever is wrong behind it */
static void a_part_of_the_set_counts_as_a_whole(void **state)
{
	const uint8_t set[32] = {1}, op[34] = {2, 128}, len[34] = {1, 129};
	const uint8_t gateways[MVPN_TLV_GATEWAYS_HEAD_B + 17] = {128};
	const struct keyd *k = &p.node[A].k;
	const struct peer *peer;
	struct chan_buf b = {0};

	pair_up(&p, 7, MVPN_MODE_E2E);
	server_tell_prefixes(&p.node[A], MVPN_PFX_RESET | MVPN_PFX_COMMIT, set);
	pair_talk(&p.node[A], 250);
	assert_true(pair_run_until(&p, pair_works, 3000));
	peer = node_peer(&p.node[A]);
	for (unsigned i = 0; i < 4; i++) {
		chan_begin(&b, MVPN_MSG_PREFIXES, MVPN_PFX_RESET | MVPN_PFX_COMMIT, 0);
		put_peer(&b, MVPN_DEV_SUSPENDED, "c", 1);
		if (i == 0)
			chan_put(&b, MVPN_TLV_PREFIX, op, sizeof(op));
		else if (i == 1)
			chan_put(&b, MVPN_TLV_PREFIX, len, sizeof(len));
		else if (i == 2)
			chan_put(&b, MVPN_TLV_GATEWAYS, gateways, sizeof(gateways));
		else /* would end a line of the file in which it is kept */
			put_peer(&b, MVPN_DEV_SUSPENDED, "a b\nself", 8);
		says_badly(&b);
		assert_string_equal(peer->name, "b");
		assert_int_equal(peer->state, 0);
		assert_non_null(peer->sessions);
		assert_true(k->set_known);
	}
	pair_down(&p);
}

/* as after the server's store was restored from a copy of before the revocation */
static void revoked_is_for_good(void **state)
{
	static const uint8_t states[] = {MVPN_DEV_REVOKED, MVPN_DEV_ACTIVE};
	struct node *a = &p.node[A];
	struct chan_buf b = {0};
	unsigned requests;

	pair_up(&p, 10, MVPN_MODE_E2E);
	pair_talk(a, 250);
	assert_true(pair_run_until(&p, pair_works, 3000));
	for (unsigned i = 0; i < 2; i++) {
		chan_begin(&b, MVPN_MSG_PREFIXES, MVPN_PFX_COMMIT, 0);
		put_peer(&b, states[i], "b", 1);
		chan_put_u64(&b, MVPN_TLV_REV, 9 - i);
		server_tell(&p, A, &b);
		pair_run(&p, 1000);
		assert_null(node_peer(a)->sessions);
	}
	/* neither does it ask, nor is it asked */
	requests = p.server.requests;
	pair_run(&p, MVPN_DENY_CACHE_S * 1000 + 5000);
	assert_int_equal(p.server.requests, requests);
	pair_talk(a, 0);
	pair_talk(&p.node[B], 250);
	pair_run(&p, 5000);
	assert_null(node_peer(a)->sessions);
	assert_true(p.server.fails[MVPN_R_REVOKED] > 0);
	pair_down(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(flows_of_a_pair_ask_once),
		cmocka_unit_test(flows_of_both_ends_make_one_session),
		cmocka_unit_test(a_link_that_fails_is_told_at_a_pace),
		cmocka_unit_test(packets_for_many_ask_at_a_pace),
		cmocka_unit_test(what_is_open_is_asked_again_at_a_pace),
		cmocka_unit_test(another_key_begins_anew_at_a_pace),
		cmocka_unit_test(who_was_away_for_weeks_learns_at_once),
		cmocka_unit_test(who_was_away_for_weeks_goes_on),
		cmocka_unit_test(who_comes_back_says_what_it_knows),
		cmocka_unit_test(what_is_malformed_does_no_harm),
		cmocka_unit_test(a_welcome_counts_as_a_whole),
		cmocka_unit_test(a_part_of_the_set_counts_as_a_whole),
		cmocka_unit_test(revoked_is_for_good),
	};

	return MVPN_RUN_FIXTURE(tests, pair_setup, pair_teardown);
}
