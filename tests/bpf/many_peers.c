/* SPDX-License-Identifier: BSD-2-Clause */
/* keyd's main thread with thousands of peers and sessions: found, changed, kept and dropped, each by its own work and no other's. */
#include "shimtest.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../keyd/asks.h"
#include "../../keyd/conf.h"
#include "../../keyd/endpoint.h"
#include "../../keyd/identity.h"
#include "../../keyd/peers.h"
#include "../../keyd/prefixes.h"
#include "../../keyd/forwards.h"
#include "../../keyd/relay_tcp.h"
#include "../../keyd/sessions.h"
#include "aead.h"
#include "crypto.h"

#define PEERS 4000
#define PER_MESSAGE 1000

static struct keyd k;
static char state_dir[64];

static int setup(void **state)
{
	struct dp_config dc = {.tap_name = "mvpn0"};
	char *error = NULL;
	int r;

	if (geteuid() != 0)
		return 0;
	memset(&k, 0, sizeof(k));
	snprintf(state_dir, sizeof(state_dir), "%s/mvpn-many-XXXXXX", getenv("TMPDIR") ?: "/tmp");
	if (!mkdtemp(state_dir) || mvpn_crypto_init() || aead_init() || unshare(CLONE_NEWNET))
		return -1;
	conf_defaults(&k.conf, NULL);
	k.state_dir = state_dir;
	k.max_offline_s = MVPN_MAX_OFFLINE_S;
	r = loop_new(&k.loop) ?: nl_new(&k.nl) ?: shim_open(&k.shim, st_pin_dir(), &error);
	if (error)
		print_error("%s\n", error);
	free(error);
	return r ?: kt_new(&k.kt)
	       ?: dp_new(&k.dp, k.kt, &dc)
	       ?: sessions_init(&k)
	       ?: peers_init(&k)
	       ?: endpoint_init(&k) ?: relay_tcp_init(&k) ?: forwards_init(&k);
}

static int teardown(void **state)
{
	char cmd[96];

	if (geteuid() != 0)
		return 0;
	endpoint_free(&k);
	relay_tcp_free(&k);
	sessions_free(&k);
	peers_free(&k);
	dp_free(k.dp);
	kt_free(k.kt);
	forwards_free(&k);
	shim_purge(k.shim);
	shim_close(k.shim);
	nl_free(k.nl);
	loop_free(k.loop);
	conf_free(&k.conf);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", state_dir);
	return system(cmd);
}

/* ---- what the server says ---- */
static void id_of(unsigned n, uint8_t ret[MVPN_ID_LEN])
{
	memset(ret, 0x5a, MVPN_ID_LEN);
	memcpy(ret, &n, sizeof(n));
}

static struct mvpn_prefix host(unsigned net, unsigned n)
{
	struct mvpn_prefix p = {.len = 128, .addr.b = {[10] = 0xff, [11] = 0xff, [12] = 10}};

	p.addr.b[13] = (uint8_t)(net | n >> 16);
	p.addr.b[14] = (uint8_t)(n >> 8);
	p.addr.b[15] = (uint8_t)n;
	return p;
}

static void put(struct chan_buf *b, bool add, struct mvpn_prefix p, unsigned owner)
{
	uint8_t v[34] = {add, p.len};

	memcpy(v + 2, p.addr.b, 16);
	id_of(owner, v + 18);
	chan_put(b, MVPN_TLV_PREFIX, v, sizeof(v));
}

static void tell(struct chan_buf *b)
{
	struct chan_msg m = {
		.type = b->data[0], .flags = b->data[1], .tlvs = b->data + 4, .len = b->len - 4};

	assert_int_equal(b->error, 0);
	assert_int_equal(peers_message(&k, &m), 0);
}

static void tell_all(void)
{
	struct chan_buf b = {0};

	for (unsigned n = 1; n <= PEERS; n++) {
		if (n % PER_MESSAGE == 1)
			chan_begin(&b, MVPN_MSG_PREFIXES,
				   (n == 1 ? MVPN_PFX_RESET : 0) |
					   (n + PER_MESSAGE > PEERS ? MVPN_PFX_COMMIT : 0),
				   0);
		put(&b, true, host(0, n), n);
		if (n % PER_MESSAGE == 0)
			tell(&b);
	}
	chan_buf_free(&b);
}

/* ---- and what then holds ---- */
static struct peer *peer(unsigned n)
{
	uint8_t id[MVPN_ID_LEN];

	id_of(n, id);
	return peer_by_id(&k, id);
}

static void owned_by(struct mvpn_prefix p, unsigned owner)
{
	struct kt_peer *kp = kt_lookup_dst(k.kt, &p.addr);

	if (!owner) {
		assert_null(kp);
		return;
	}
	assert_non_null(kp);
	assert_int_equal(kp->index, peer(owner)->index);
}

static int count_shim(void *arg, const struct mvpn_prefix *p, const struct mvpn_protected *v)
{
	uint32_t owner;

	assert_true(lpm_get(k.prefixes, p, &owner));
	assert_int_equal(owner, v->peer);
	++*(unsigned *)arg;
	return 0;
}

static void shim_agrees(void)
{
	unsigned n = 0;

	assert_int_equal(shim_protected_each(k.shim, count_shim, &n), 0);
	assert_int_equal(n, lpm_count(k.prefixes));
}

static void has_address(unsigned n, struct mvpn_prefix p)
{
	assert_memory_equal(peer_address(&k, peer(n)), &p.addr, 16);
}

static struct lpm *kept;

static int kept_line(void *arg, const struct mvpn_prefix *p, const char *owner, const char *name)
{
	uint8_t id[MVPN_ID_LEN];

	if (!strcmp(owner, PEERS_KEPT_GONE))
		return lpm_del(kept, p);
	assert_int_equal(mvpn_unhex(id, sizeof(id), owner), 0);
	return lpm_set(kept, p, peer_by_id(&k, id)->index);
}

static int in_kept(void *arg, const struct mvpn_prefix *p, uint32_t owner)
{
	uint32_t has = 0;

	assert_true(lpm_get(kept, p, &has));
	assert_int_equal(has, owner);
	return 0;
}

static void kept_agrees(void)
{
	assert_int_equal(lpm_new(&kept), 0);
	assert_int_equal(peers_kept_each(state_dir, kept_line, NULL), 0);
	assert_int_equal(lpm_count(kept), lpm_count(k.prefixes));
	lpm_each(k.prefixes, in_kept, NULL);
	lpm_free(kept);
}

static void sessions_make(void)
{
	struct intro_selectors sel = {.na = 1, .nb = 1};
	struct intro_keys keys = {.suite = MVPN_CHACHA20_POLY1305, .tx_lanes = 1, .rx_lanes = 1};
	struct session *s;

	for (unsigned n = 1; n <= PEERS; n++) {
		struct session_spec spec = {
			.seq = n, .ttl_s = 3600, .keys = &keys, .selectors = &sel};
		uint8_t id[MVPN_ID_LEN];

		id_of(n + 1000000, id);
		spec.id = id;
		spec.rx_spi = kt_spi_alloc(k.kt);
		spec.endpoint.addr = host(0, n).addr;
		spec.endpoint.port = MVPN_DATA_PORT;
		keys.peer_spi = spec.rx_spi;
		sel.a[0] = host(0, n);
		sel.b[0] = host(64, 1);
		assert_int_equal(session_install(&k, peer(n), &spec, &s), 0);
	}
	assert_int_equal(k.nsessions, PEERS);
}

static void known_and_found(void **state)
{
	st_need_root();
	tell_all();
	assert_int_equal(k.npeers, PEERS);
	for (unsigned n = 1; n <= PEERS; n++) {
		owned_by(host(0, n), n);
		assert_int_equal(peer(n)->prefixes, 1);
		has_address(n, host(0, n));
	}
	owned_by(host(0, PEERS + 1), 0);
	shim_agrees();
	/* the same once more changes nothing */
	tell_all();
	assert_int_equal(k.npeers, PEERS);
	shim_agrees();
}

static void changes(void **state)
{
	struct chan_buf b = {0};

	st_need_root();
	tell_all();
	peers_save(&k);
	kept_agrees();
	chan_begin(&b, MVPN_MSG_PREFIXES, MVPN_PFX_COMMIT, 0);
	put(&b, true, host(0, 1), 2);	       /* from 1 to 2 */
	put(&b, false, host(0, 3), 3);	       /* gone */
	put(&b, true, host(32, 4), 4);	       /* new, its second */
	put(&b, false, host(0, 4), 4);	       /* its first */
	put(&b, true, host(0, 5), 5);	       /* as it was */
	put(&b, true, host(32, 6), PEERS + 1); /* of a new peer */
	put(&b, true, host(32, 7), 7);	       /* comes and goes */
	put(&b, false, host(32, 7), 7);
	put(&b, false, host(32, 8), 8); /* was never there */
	tell(&b);
	owned_by(host(0, 1), 2);
	owned_by(host(0, 3), 0);
	owned_by(host(32, 4), 4);
	owned_by(host(0, 4), 0);
	owned_by(host(0, 5), 5);
	owned_by(host(32, 6), PEERS + 1);
	owned_by(host(32, 7), 0);
	assert_int_equal(lpm_count(k.prefixes), PEERS);
	assert_int_equal(peer(1)->prefixes, 0);
	assert_int_equal(peer(2)->prefixes, 2);
	assert_int_equal(peer(4)->prefixes, 1);
	has_address(4, host(32, 4));
	/* the one that is known goes, another one is left */
	chan_begin(&b, MVPN_MSG_PREFIXES, MVPN_PFX_COMMIT, 0);
	put(&b, false, host(0, 1), 2);
	tell(&b);
	has_address(2, host(0, 2));
	shim_agrees();
	peers_save(&k); /* a few lines more */
	kept_agrees();
	chan_buf_free(&b);
	/* and so many changes that the file is written anew */
	for (unsigned n = 0; n < 3; n++) {
		tell_all();
		peers_save(&k);
		kept_agrees();
	}
	shim_agrees();
}

static void sessions(void **state)
{
	uint8_t id[MVPN_ID_LEN];
	unsigned waiting;

	st_need_root();
	tell_all();
	sessions_make();
	for (unsigned n = 1; n <= PEERS; n++) {
		struct session *s;

		id_of(n + 1000000, id);
		s = session_by_id(&k, id);
		assert_non_null(s);
		assert_ptr_equal(s->peer, peer(n));
		assert_ptr_equal(kt_lookup_spi(k.kt, s->rx_spi), s->kt);
	}
	id_of(7, id);
	assert_null(session_by_id(&k, id));
	/* a second that nobody waits for is about nobody */
	k.server_heard_ms = mono_ms();
	sessions_tick(&k);
	assert_null(k.watched);
	/* every other one goes, the rest is found as before */
	for (unsigned n = 1; n <= PEERS; n += 2)
		sessions_drop_peer(&k, peer(n), MVPN_R_REVOKED, false);
	assert_int_equal(k.nsessions, PEERS / 2);
	for (unsigned n = 1; n <= PEERS; n++) {
		id_of(n + 1000000, id);
		assert_int_equal(session_by_id(&k, id) != NULL, n % 2 == 0);
	}
	sessions_drop_all(&k, MVPN_R_SHUTDOWN);
	assert_int_equal(k.nsessions, 0);
	/* nothing stays locked but for a worker's sake */
	waiting = kt_reclaim(k.kt);
	assert_int_equal(kt_locked_b(k.kt) > 0, waiting > 0);
}

static unsigned watched(void)
{
	unsigned n = 0;

	for (const struct peer *p = k.watched; p; p = p->watched_next)
		n++;
	return n;
}

/* only those that wait or are refused are looked at each second, once each, and let go when it is over */
static void the_few_that_wait(void **state)
{
	st_need_root();
	tell_all();
	k.server_heard_ms = mono_ms();
	session_want(&k, peer(10), NULL, 0, 0);
	session_want(&k, peer(10), NULL, 0, 0);
	peer_deny(&k, peer(20), MVPN_R_DENIED);
	peer_deny(&k, peer(10), MVPN_R_DENIED);
	assert_int_equal(watched(), 2);
	sessions_tick(&k);
	assert_int_equal(watched(), 2);
	assert_true(kt_lookup_peer(k.kt, peer(20)->index)->denied);
	peer(20)->denied_until_ms = 1; /* long ago */
	sessions_tick(&k);
	assert_false(kt_lookup_peer(k.kt, peer(20)->index)->denied);
	assert_int_equal(watched(), 1);
	sessions_policy_changed(&k);
	assert_false(kt_lookup_peer(k.kt, peer(10)->index)->denied);
	peer(10)->wanted_ms = 1;
	sessions_tick(&k);
	assert_int_equal(watched(), 0);
}

#define PAIRS 300
#define FLOWS 5
#define LOOK_MS 10

static struct loop_timer *looks;

static void until_none_waits(void *arg)
{
	if (asks_waiting(&k))
		loop_timer_arm(looks, LOOK_MS);
	else
		loop_quit(k.loop);
}

/* however many flows begin at once, each pair is asked for once, at its turn */
static void flows_to_many_peers_ask_once_each(void **state)
{
	st_need_root();
	tell_all();
	k.id = identity_new();
	assert_non_null(k.id);
	mvpn_keypair(k.id->sk, k.id->pk);
	k.suites = aead_suites();
	k.state = KEYD_ONLINE;
	for (unsigned f = 0; f < FLOWS; f++)
		for (unsigned n = 1; n <= PAIRS; n++)
			session_want(&k, peer(n), NULL, 6, (uint16_t)(1 + f));
	assert_in_range(k.nintros, MVPN_ASK_BURST, PAIRS);
	assert_int_equal(k.nintros + asks_waiting(&k), PAIRS);
	assert_int_equal(loop_timer_new(k.loop, until_none_waits, NULL, &looks), 0);
	loop_timer_arm(looks, 0);
	assert_int_equal(loop_run(k.loop), 0);
	loop_timer_free(looks);
	assert_int_equal(k.nintros, PAIRS);
	assert_int_equal(k.counters[KC_INTRO_STARTED], PAIRS);
	for (unsigned n = 1; n <= PAIRS; n++)
		introduce_abort(&k, peer(n));
	assert_int_equal(k.nintros, 0);
	identity_free(k.id);
	k.id = NULL;
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		T(known_and_found),
		T(changes),
		T(sessions),
		T(the_few_that_wait),
		T(flows_to_many_peers_ask_once_each),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
