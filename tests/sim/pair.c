/* SPDX-License-Identifier: BSD-2-Clause */
#include "pair.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../keyd/channel.h"
#include "../../keyd/endpoint.h"
#include "../../keyd/ether.h"
#include "../../keyd/identity.h"
#include "../../keyd/intro_defer.h"
#include "../../keyd/peers.h"
#include "../../keyd/forwards.h"
#include "../../keyd/processes.h"
#include "../../keyd/relay_tcp.h"
#include "../../keyd/rotate.h"
#include "../../keyd/server_key.h"
#include "../../keyd/sessions.h"
#include "aead.h"
#include "crypto.h"
#include "fsutil.h"
#include "clock.h"
#include "log.h"

/* ---- the clock ---- */

static struct pair *current;

static void look(void)
{
	pair_check(current);
}

void pair_leap(uint64_t ms)
{
	sim_clock_leap(ms);
}

/* ---- what is random: splitmix64 (Steele, Lea, Flood 2014) ---- */

static uint64_t random_state;

static uint64_t random_next(void)
{
	uint64_t z = random_state += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

static const char *random_name(void)
{
	return "seeded";
}

static uint32_t random_u32(void)
{
	return (uint32_t)random_next();
}

static void random_buf(void *buf, size_t len)
{
	for (uint8_t *at = buf; len; at++, len--)
		*at = (uint8_t)random_next();
}

static void random_seeded(void)
{
	static randombytes_implementation seeded = {
		.implementation_name = random_name, .random = random_u32, .buf = random_buf};

	assert_int_equal(randombytes_set_implementation(&seeded), 0);
}

uint64_t pair_random(struct pair *p, uint64_t below)
{
	return random_next() % below;
}

/* ---- TCP to the server: --wrap=socket, --wrap=connect ---- */

static int other_end = -1; /* of the last socket, which is not connected yet */

int __wrap_socket(int domain, int type, int protocol);
int __wrap_socket(int domain, int type, int protocol)
{
	int fd[2];

	if (socketpair(AF_UNIX, type, 0, fd) < 0)
		return -1;
	if (other_end >= 0)
		close(other_end);
	other_end = fd[1];
	return fd[0];
}

int __wrap_connect(int fd, const struct sockaddr *to, socklen_t len);
int __wrap_connect(int fd, const struct sockaddr *to, socklen_t len)
{
	int server = other_end, r;

	other_end = -1;
	r = server_accept(current, server);
	if (!r)
		return 0;
	close(server);
	errno = -r;
	return -1;
}

/* ---- things that happen later ---- */

struct later {
	struct pair *p;
	struct later *next, **prev;
	struct loop_timer *timer;
	void (*fn)(struct pair *p, void *arg);
	void *arg;
};

static void later_free(struct later *l)
{
	*l->prev = l->next;
	if (l->next)
		l->next->prev = l->prev;
	loop_timer_free(l->timer);
	free(l->arg);
	free(l);
}

static void later_now(void *arg)
{
	struct later *l = arg;

	l->fn(l->p, l->arg);
	later_free(l);
}

void later(struct pair *p, unsigned ms, void (*fn)(struct pair *p, void *arg), void *arg)
{
	struct later *l = calloc(1, sizeof(*l));

	assert_non_null(l);
	*l = (struct later){.p = p, .next = p->later, .prev = &p->later, .fn = fn, .arg = arg};
	if (l->next)
		l->next->prev = &l->next;
	p->later = l;
	assert_int_equal(loop_timer_new(p->loop, later_now, l, &l->timer), 0);
	loop_timer_arm(l->timer, ms);
}

void pass(struct pair *p, struct passing what, const void *data, size_t len,
	  void (*fn)(struct pair *p, void *passed))
{
	struct fate f = {1, {PAIR_WAY_MS}};

	if (p->fate)
		f = p->fate(p->fate_arg, &what);
	for (unsigned i = 0; i < f.copies; i++) {
		struct passed *copy = malloc(sizeof(*copy) + len);

		assert_non_null(copy);
		copy->what = what;
		copy->len = len;
		memcpy(copy->data, data, len);
		later(p, f.delay_ms[i], fn, copy);
	}
}

/* ---- a keyd ---- */

static void on_tick(void *arg)
{
	struct node *n = arg;
	struct keyd *k = &n->k;

	/* as main.c does */
	kt_reclaim(k->kt);
	sessions_tick(k);
	channel_tick(k);
	rotate_tick(k);
	server_key_tick(k);
	loop_timer_arm(n->tick, 1000);
}

static void identity_fill(struct node *n, struct identity *id)
{
	memcpy(id->sk, n->sk, 32);
	memcpy(id->pk, n->pk, 32);
	memcpy(id->psk, n->psk, 32);
	memcpy(id->server_pk, n->pair->server.pk, 32);
	memcpy(id->device_id, n->id, MVPN_ID_LEN);
	snprintf(id->server, sizeof(id->server), "192.0.2.9:7468");
	snprintf(id->name, sizeof(id->name), "%c", 'a' + n->i);
}

static void node_start(void *arg)
{
	struct node *n = arg;
	struct keyd *k = &n->k;

	assert_false(n->runs);
	memset(k, 0, sizeof(*k));
	n->runs = true;
	k->loop = n->pair->loop;
	k->state_dir = n->dir;
	k->conf.udp_port = MVPN_DATA_PORT;
	k->conf.max_prefixes = 16;
	k->conf.central_keys = n->central_keys;
	k->suites = 1 << (MVPN_CHACHA20_POLY1305 - 1);
	k->boot_gen = n->life = random_next() | 1;
	n->dp = (struct dp){.n = n};
	n->shim = (struct shim){.n = n};
	k->dp = &n->dp;
	k->shim = &n->shim;
	k->id = identity_new();
	assert_non_null(k->id);
	identity_fill(n, k->id);
	assert_int_equal(kt_new(&k->kt) ?: sessions_init(k) ?: peers_init(k) ?: ether_init(k) ?: processes_init(k)
			 ?: endpoint_init(k) ?: relay_tcp_init(k) ?: forwards_init(k) ?: server_key_init(k) ?: channel_init(k) ?: rotate_init(k), 0);
	loop_timer_arm(n->tick, 1000);
	channel_start(k);
}

/* as by kill -9: nobody is told */
static void node_stop(struct node *n)
{
	struct keyd *k = &n->k;

	if (!n->runs)
		return;
	n->runs = false;
	loop_timer_disarm(n->tick);
	channel_free(k);
	sessions_free(k);
	rotate_free(k);
	server_key_free(k);
	endpoint_free(k);
	relay_tcp_free(k);
	intro_deferred_drop(k, NULL);
	ether_free(k);
	processes_free(k);
	peers_free(k);
	kt_free(k->kt);
	forwards_free(k);
	identity_free(k->id);
}

static void restart_now(struct pair *p, void *arg)
{
	struct node *n = *(struct node **)arg;

	node_stop(n);
}

/* not from within its own code */
void node_restart(struct node *n, unsigned after_ms)
{
	struct node **arg = malloc(sizeof(*arg));

	assert_non_null(arg);
	*arg = n;
	later(n->pair, 0, restart_now, arg);
	loop_timer_arm(n->start, after_ms);
}

struct peer *node_peer(struct node *n)
{
	return n->runs ? peer_by_id(&n->k, node_other(n)->id) : NULL;
}

/* ---- its application ---- */

static void on_talk(void *arg)
{
	struct node *n = arg;

	if (n->runs)
		path_talk(n);
	if (n->talk_ms)
		loop_timer_arm(n->talk, n->talk_ms);
}

void pair_talk(struct node *n, unsigned every_ms)
{
	n->talk_ms = every_ms;
	if (every_ms)
		loop_timer_arm(n->talk, 0);
	else
		loop_timer_disarm(n->talk);
}

/* ---- what must hold at any moment ---- */

static void check_peer(struct node *n, const struct peer *peer)
{
	struct kt_peer *kp = kt_lookup_peer(n->k.kt, peer->index);
	const struct session *tx = NULL;
	unsigned count = 0;

	for (const struct session *s = peer->sessions; s; s = s->next) {
		count++;
		assert_ptr_equal(kt_lookup_spi(n->k.kt, s->rx_spi), s->kt);
		if (!s->transmits)
			continue;
		assert_null(tx); /* never two that transmit */
		assert_int_not_equal(s->state, SESSION_DRAINING);
		tx = s;
	}
	assert_non_null(kp);
	assert_ptr_equal(atomic_load(&kp->tx), tx ? tx->kt : NULL);
	assert_true(count <= MVPN_SESSIONS_PEER_MAX);
	if (n->pair->others)
		return;
	assert_int_equal(count, n->k.nsessions);
	assert_int_equal(n->k.nintros, peer->intro ? 1 : 0);
}

void pair_check(struct pair *p)
{
	for (unsigned i = 0; i < 2; i++) {
		struct node *n = &p->node[i];
		struct peer *peer = node_peer(n);
		size_t locked = n->runs ? kt_locked_b(n->k.kt) : 0;

		if (peer)
			check_peer(n, peer);
		if (locked > p->locked_max)
			p->locked_max = locked;
	}
}

bool pair_works(struct pair *p)
{
	const struct session *s[2];

	for (unsigned i = 0; i < 2; i++) {
		struct peer *peer = node_peer(&p->node[i]);

		s[i] = peer ? session_transmitting(peer) : NULL;
		if (!s[i] || s[i]->state != SESSION_ACTIVE)
			return false;
	}
	return !memcmp(s[A]->id, s[B]->id, MVPN_ID_LEN);
}

/* ---- all of it ---- */

static void run_over(void *arg)
{
	loop_quit(arg);
}

void pair_run(struct pair *p, uint64_t ms)
{
	struct loop_timer *t;

	assert_int_equal(loop_timer_new(p->loop, run_over, p->loop, &t), 0);
	loop_timer_arm(t, ms);
	assert_int_equal(loop_run(p->loop), 0);
	loop_timer_free(t);
}

bool pair_run_until(struct pair *p, bool (*holds)(struct pair *p), uint64_t ms)
{
	uint64_t end_ms = mono_ms() + ms;

	while (!holds(p)) {
		if (mono_ms() >= end_ms)
			return false;
		pair_run(p, 20);
	}
	return true;
}

static bool online(struct pair *p)
{
	return p->node[A].runs && p->node[B].runs && p->node[A].k.state == KEYD_ONLINE &&
	       p->node[B].k.state == KEYD_ONLINE;
}

/* who the two are, the same in every run: then nothing is written to disk meanwhile, pins and protected prefixes are there */
static struct node kept[2];
static struct pair_server kept_server;

static void keep_prefix(const struct node *n, const struct node *o)
{
	char text[MVPN_ADDRSTRLEN], id[2 * MVPN_ID_LEN + 1], line[160], *path = path_join(n->dir, "protected");

	mvpn_hex(id, o->id, MVPN_ID_LEN);
	snprintf(line, sizeof(line), "%s %s %c\n", mvpn_addr_str(&o->addr, text), id, 'a' + o->i);
	assert_non_null(path);
	assert_int_equal(file_replace(path, line, strlen(line), 0600), 0);
	free(path);
}

int pair_setup(void **state)
{
	random_state = 1;
	random_seeded();
	assert_int_equal(mvpn_crypto_init(), 0);
	assert_int_equal(aead_init(), 0);
	log_init("pair", getenv("MVPN_SIM_LOG") ? LOG_L_DEBUG : (enum log_level)0);
	mvpn_keypair(kept_server.sk, kept_server.pk);
	for (unsigned i = 0; i < 2; i++) {
		struct node *n = &kept[i];

		n->i = i;
		n->addr = (struct mvpn_addr){.b = {[10] = 0xff, [11] = 0xff, [12] = 192, [14] = 2, [15] = (uint8_t)(1 + i)}};
		mvpn_keypair(n->sk, n->pk);
		random_buf(n->psk, sizeof(n->psk));
		random_buf(n->id, sizeof(n->id));
		snprintf(n->dir, sizeof(n->dir), "%s/mvpn-pair-XXXXXX", getenv("TMPDIR") ?: "/tmp");
		assert_non_null(mkdtemp(n->dir));
	}
	pair_forget();
	return 0;
}

static void keep_nothing(const char *dir)
{
	DIR *d = opendir(dir);
	struct dirent *e;

	assert_non_null(d);
	while ((e = readdir(d)))
		if (e->d_name[0] != '.')
			unlinkat(dirfd(d), e->d_name, 0);
	closedir(d);
}

void pair_forget(void)
{
	for (unsigned i = 0; i < 2; i++) {
		keep_nothing(kept[i].dir);
		keep_prefix(&kept[i], &kept[!i]);
	}
}

int pair_teardown(void **state)
{
	for (unsigned i = 0; i < 2; i++) {
		keep_nothing(kept[i].dir);
		assert_int_equal(rmdir(kept[i].dir), 0);
	}
	return 0;
}

static void node_init(struct pair *p, unsigned i, unsigned mode)
{
	struct node *n = &p->node[i];

	*n = kept[i];
	n->pair = p;
	n->central_keys = mode != MVPN_MODE_E2E;
	assert_int_equal(loop_timer_new(p->loop, on_tick, n, &n->tick), 0);
	assert_int_equal(loop_timer_new(p->loop, node_start, n, &n->start), 0);
	assert_int_equal(loop_timer_new(p->loop, on_talk, n, &n->talk), 0);
}

void pair_up(struct pair *p, uint64_t seed, unsigned mode)
{
	memset(p, 0, sizeof(*p));
	sim_clock_start();
	random_state = seed;
	assert_int_equal(loop_new(&p->loop), 0);
	current = p;
	sim_clock_looks = look;
	for (unsigned i = 0; i < 2; i++)
		node_init(p, i, mode);
	p->server = kept_server;
	p->server.mode = mode;
	server_init(p);
	for (unsigned i = 0; i < 2; i++)
		node_start(&p->node[i]);
	assert_true(pair_run_until(p, online, 5000));
}

void pair_down(struct pair *p)
{
	sim_clock_looks = NULL;
	current = NULL;
	p->fate = NULL;
	for (unsigned i = 0; i < 2; i++) {
		struct node *n = &p->node[i];

		node_stop(n);
		loop_timer_free(n->tick);
		loop_timer_free(n->start);
		loop_timer_free(n->talk);
	}
	server_free(p);
	while (p->later)
		later_free(p->later);
	if (other_end >= 0)
		close(other_end);
	other_end = -1;
	loop_free(p->loop);
	sim_clock_stop();
}
