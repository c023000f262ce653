/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Any messages of two devices that have logged in to the whole server, in any order, while time passes, channels end and come back. It
 * has what a start finds in a store of its own; what it says to the devices is well-formed, whatever they say; and a message that is
 * refused as malformed has changed nothing.
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../server/channel.h"
#include "../../server/dispatch.h"
#include "../../server/enrol.h"
#include "../../server/introduce.h"
#include "../sim/clock.h"
#include "crypto.h"
#include "fsutil.h"
#include "intro.h"
#include "log.h"
#include "said.h"

#define DEVICES 3
#define TURNS 12 /* in which a handshake is over */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t types[] = {
	MVPN_MSG_REGISTER, MVPN_MSG_HEARTBEAT, MVPN_MSG_CLOSE, MVPN_MSG_REQUEST, MVPN_MSG_ACCEPT, MVPN_MSG_REJECT,     MVPN_MSG_RELAY, MVPN_MSG_PROCESSES,
	MVPN_MSG_UDP,	   MVPN_MSG_ROTATE,    MVPN_MSG_PIN,   MVPN_MSG_SERVER_KEY, MVPN_MSG_ENDED, MVPN_MSG_REVOKE, 0x7f,
};
#define TYPES (sizeof(types) / sizeof(types[0]))
/* what happens besides, behind the types in the low bits of the first byte; the high ones say which device */
enum { TIME_PASSES = TYPES, HANGS_UP, COMES_BACK, RESTARTS, THINGS };

static const char policy_text[] = "allow a -> b\nallow b -> c proto tcp port 80\nallow a -> c by uid 0\nethernet a -> b type 0x88b5\n"
				  "mode central60 b -> c\nprotect 10.1.0.0/16 via b\nprotect 10.2.0.0/16\n";

struct client {
	uint8_t id[MVPN_ID_LEN], sk[32], pk[32], psk[32], next_pk[32];
	uint64_t life;
	int fd;
	struct chan *ch;
};

static struct client clients[DEVICES];
static struct server_settings conf;
static struct server *s;
static struct loop *loop;
static char dir[64], *db, *template;
static size_t template_len;
/* what they have heard last, of any of them */
static uint8_t session[MVPN_ID_LEN], noise[48];

static void must_hold(bool holds, const char *what, int line)
{
	if (holds)
		return;
	fprintf(stderr, "line %d: %s\n", line, what);
	abort();
}
#define must(what) must_hold(what, #what, __LINE__)

/* ---- TCP: at once, where the kernel may take its time ---- */

static int listener, comes = -1; /* the server's end of a new connection */
static const struct sockaddr_in here = {.sin_family = AF_INET};

int __wrap_listen(int fd, int backlog);
int __wrap_listen(int fd, int backlog)
{
	int event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

	must(event >= 0 && dup2(event, fd) == fd && !close(event));
	listener = fd;
	return 0;
}

int __wrap_getsockname(int fd, struct sockaddr *ret, socklen_t *len);
int __wrap_getsockname(int fd, struct sockaddr *ret, socklen_t *len)
{
	memcpy(ret, &here, sizeof(here));
	return 0;
}

int __wrap_accept4(int fd, struct sockaddr *ret, socklen_t *len, int flags);
int __wrap_accept4(int fd, struct sockaddr *ret, socklen_t *len, int flags)
{
	struct sockaddr_in from = here;
	int conn = comes;
	uint64_t n;

	comes = -1;
	if (conn < 0) {
		must(read(fd, &n, sizeof(n)) == sizeof(n));
		errno = EAGAIN;
		return -1;
	}
	from.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	memcpy(ret, &from, sizeof(from));
	*len = sizeof(from);
	return conn;
}

static int calls(void)
{
	const uint64_t one = 1;
	int fd[2];

	must(comes < 0 && !socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd));
	comes = fd[1];
	must(write(listener, &one, sizeof(one)) == sizeof(one));
	return fd[0];
}

static void over(void *arg)
{
	loop_quit(arg);
}

static void run(unsigned ms)
{
	struct loop_timer *t;

	must(!loop_timer_new(loop, over, loop, &t));
	loop_timer_arm(t, ms);
	must(!loop_run(loop));
	loop_timer_free(t);
}

/* ---- devices ---- */

static void hang_up(struct client *c)
{
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
	chan_free(c->ch);
	c->ch = NULL;
}

static void flush(struct client *c)
{
	const uint8_t *out;
	size_t len;
	ssize_t n;

	while ((out = chan_output(c->ch, &len)) && len) {
		n = send(c->fd, out, len, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0)
			return;
		chan_sent(c->ch, (size_t)n);
	}
}

static void hears(struct client *c)
{
	uint8_t buf[16384];
	struct chan_msg m;
	ssize_t n;
	int r;

	while (c->ch && (n = recv(c->fd, buf, sizeof(buf), MSG_DONTWAIT)) > 0) {
		if (chan_feed(c->ch, buf, (size_t)n) < 0) {
			hang_up(c); /* its handshake: the server does not know it so */
			return;
		}
		while ((r = chan_next(c->ch, &m)) > 0) {
			chan_get_bytes(&m, MVPN_TLV_SESSION, session, sizeof(session));
			chan_get_bytes(&m, MVPN_TLV_NOISE1, noise, sizeof(noise));
		}
		must(!r);
		flush(c);
	}
}

static void turn(unsigned ms)
{
	run(ms);
	for (unsigned i = 0; i < DEVICES; i++)
		hears(&clients[i]);
}

static struct conn *conn_of(const struct client *c)
{
	struct device *d = registry_by_id(s->reg, c->id);

	return d ? device_conn(d) : NULL;
}

static void says_register(struct client *c)
{
	const struct mvpn_addr given = {.b = {[10] = 0xff, [11] = 0xff, 192, 0, 2, (uint8_t)(1 + (c - clients))}};
	struct chan_buf b = {0};

	chan_begin(&b, MVPN_MSG_REGISTER, MVPN_REG_PROCESSES | MVPN_REG_SERVICES, 0);
	chan_put(&b, MVPN_TLV_ADDR, given.b, 16);
	must(!chan_send(c->ch, &b));
	chan_buf_free(&b);
	flush(c);
}

static void log_in(struct client *c)
{
	struct chan_client as = {.s = c->sk, .s_pub = c->pk, .server_pk = s->id.chan.key[0].pk, .psk = c->psk, .boot_gen = c->life};

	hang_up(c);
	c->fd = calls();
	must(!chan_new_client(&c->ch, &as));
	flush(c);
	for (unsigned i = 0; i < TURNS && c->ch && chan_state(c->ch) == CHAN_HANDSHAKE; i++)
		turn(1);
	if (!c->ch || chan_state(c->ch) != CHAN_UP)
		return;
	says_register(c);
	for (unsigned i = 0; i < TURNS && c->ch && !conn_of(c); i++)
		turn(1);
}

/* ---- values ---- */

static const struct client *whose(unsigned kind)
{
	return &clients[kind % DEVICES];
}

static size_t id_of(struct said *in, unsigned kind, uint8_t *ret)
{
	memset(ret, 0, MVPN_ID_LEN);
	if (kind % 4 == 3)
		ret[0] = said_u8(in);
	else
		memcpy(ret, whose(kind % 4)->id, MVPN_ID_LEN);
	return MVPN_ID_LEN;
}

static size_t request(struct said *in, const struct client *c, unsigned kind, uint8_t *ret)
{
	struct mvpn_req r = {.ver = MVPN_PROTO_VER,
			     .mode = kind / 4 % MVPN_MODES,
			     .layer = (uint8_t)(1 + kind / 16 % 4),
			     .af = 4,
			     .spi_a_be = htobe32(7),
			     .lanes = 1,
			     .suites = 1,
			     .boot_gen_be = htobe64(c->life)};

	memcpy(r.net_id, s->id.net_id, sizeof(r.net_id));
	memcpy(r.a_id, kind & 0x40 ? whose(kind)->id : c->id, sizeof(r.a_id));
	r.nonce[0] = said_u8(in);
	if (r.layer == MVPN_LAYER_LINK) {
		r.af = 0;
		id_of(in, kind, r.dst);
	} else {
		memcpy(r.dst, (uint8_t[16]){[10] = 0xff, [11] = 0xff, 192, 0, 2, (uint8_t)(1 + kind % 4)}, 16);
	}
	if (said_u8(in) & 1)
		memcpy(r.replaces, session, sizeof(session));
	memcpy(ret, &r, sizeof(r));
	return sizeof(r);
}

static size_t refusal(struct said *in, unsigned kind, uint8_t *ret)
{
	struct mvpn_process_refused r = {.proto = 6, .why = (uint8_t)kind};
	size_t len = sizeof(r), n = said_u8(in) % 32;

	id_of(in, kind, r.peer);
	memcpy(ret, &r, sizeof(r));
	said_bytes(in, ret + len, n);
	memcpy(ret + len + n, "a\0b\0", 5);
	return len + n + 5;
}

static size_t value(void *arg, struct said *in, unsigned type, unsigned kind, uint8_t *ret)
{
	const struct client *c = arg;

	switch (type) {
	case MVPN_TLV_NAME:
		ret[0] = (uint8_t)('a' + kind % 6);
		return 1;
	case MVPN_TLV_ADDR:
		memcpy(ret, (uint8_t[16]){[10] = 0xff, [11] = 0xff, kind & 1 ? 127 : 192, 0, (uint8_t)(kind & 2), (uint8_t)(kind / 4)}, 16);
		return 16;
	case MVPN_TLV_BOOT_GEN:
		said_number(ret, c->life, 8);
		return 8;
	case MVPN_TLV_UDP_PORT:
	case MVPN_TLV_SUITES:
	case MVPN_TLV_REASON:
		said_number(ret, kind % (MVPN_R_MAX + 2), 2);
		return 2;
	case MVPN_TLV_SPI:
	case MVPN_TLV_PSK_EPOCH:
		said_number(ret, kind, 4);
		return 4;
	case MVPN_TLV_MAC:
		said_bytes(in, ret, 6);
		return 6;
	case MVPN_TLV_SET:
		memcpy(ret, conn_of(c) ? conn_of(c)->set : clients[0].pk, 32);
		return 32;
	case MVPN_TLV_DEVICE:
		return id_of(in, kind, ret);
	case MVPN_TLV_SESSION:
		memcpy(ret, session, sizeof(session));
		return sizeof(session);
	case MVPN_TLV_REQ:
		return request(in, c, kind, ret);
	case MVPN_TLV_NOISE1:
		memset(ret, kind, INTRO_MSG1_B);
		return INTRO_MSG1_B;
	case MVPN_TLV_NOISE2:
		memset(ret, kind, INTRO_MSG1_B + kind % 64);
		return INTRO_MSG1_B + kind % 64;
	case MVPN_TLV_S_PUB:
		memcpy(ret, kind & 1 ? whose(kind / 2)->next_pk : kind & 8 ? s->id.chan.key[0].pk : whose(kind / 2)->pk, 32);
		return 32;
	case MVPN_TLV_VOUCH:
		id_of(in, kind, ret);
		said_bytes(in, ret + MVPN_ID_LEN, 32);
		return MVPN_TLV_VOUCH_B;
	case MVPN_TLV_DELEGATION:
		said_bytes(in, ret, MVPN_TLV_DELEGATION_B);
		return MVPN_TLV_DELEGATION_B;
	case MVPN_TLV_PROCESS_RULE:
		said_bytes(in, ret, 12);
		return 12;
	case MVPN_TLV_PROCESS_REFUSED:
		return refusal(in, kind, ret);
	}
	return 0;
}

/* ---- what is on record, and what is known of the devices ---- */

static crypto_generichash_state sum;

static int add_owner(void *arg, const struct mvpn_prefix *p, uint32_t owner)
{
	crypto_generichash_update(&sum, p->addr.b, 16);
	crypto_generichash_update(&sum, &p->len, sizeof(p->len));
	crypto_generichash_update(&sum, (uint8_t *)&owner, sizeof(owner));
	return 0;
}

static int add_session(void *arg, const struct store_session *row)
{
	crypto_generichash_update(&sum, row->id, sizeof(row->id));
	crypto_generichash_update(&sum, &row->state, 1);
	crypto_generichash_update(&sum, &row->owed, 1);
	return 0;
}

static void add_conn(const struct conn *c)
{
	uint32_t numbers[] = {c->nclaims, c->nmacs, c->knows_set, c->tells_processes, c->dev->udp_port};

	crypto_generichash_update(&sum, (uint8_t *)numbers, sizeof(numbers));
	crypto_generichash_update(&sum, c->set, sizeof(c->set));
	crypto_generichash_update(&sum, c->macs[0], sizeof(c->macs));
	if (c->nclaims)
		crypto_generichash_update(&sum, c->claims->b, c->nclaims * sizeof(*c->claims));
}

static void known(uint8_t ret[32])
{
	uint64_t numbers[] = {intros_count(s->intros), s->audit.seq, s->seq, s->reg->count, s->policy_rev};

	crypto_generichash_init(&sum, NULL, 0, 32);
	crypto_generichash_update(&sum, (uint8_t *)numbers, sizeof(numbers));
	for (unsigned i = 0; i < DEVICES; i++) {
		struct device *d = registry_by_id(s->reg, clients[i].id);

		if (d)
			crypto_generichash_update(&sum, (uint8_t *)&d->row, sizeof(d->row));
		if (d && d->conn)
			add_conn(d->conn);
	}
	lpm_each(s->reg->owners, add_owner, NULL);
	must(!store_session_held(s->store, NULL, add_session, NULL));
	crypto_generichash_final(&sum, ret, 32);
}

/* ---- what happens ---- */

/* as channel.c does */
static void says(struct client *c, struct said *in, uint8_t type)
{
	struct conn *conn = conn_of(c);
	uint8_t before[32], after[32], *plain = NULL;
	struct chan_msg m;

	if (said_message(in, type, value, c, &plain, &m) && conn) {
		m.reqid = conn->reqid;
		known(before);
		if (dispatch_message(conn, &m) == -EPROTO) {
			known(after);
			must(!memcmp(before, after, sizeof(before)));
			conn_close(conn, MVPN_R_BAD_MESSAGE);
		}
	}
	free(plain);
	turn(0);
}

static void thing(struct said *in, struct client *c, unsigned what)
{
	switch (what) {
	case TIME_PASSES:
		turn(said_u8(in) * 100U);
		break;
	case HANGS_UP:
		hang_up(c);
		turn(0);
		break;
	case RESTARTS:
		c->life++;
		log_in(c);
		break;
	case COMES_BACK:
		log_in(c);
		break;
	}
}

/* ---- a server ---- */

static void start(void)
{
	char *error = NULL;

	sim_clock_start();
	must(!loop_new(&loop) && !server_new(&conf, loop, &s, &error));
}

static void stop(void)
{
	for (unsigned i = 0; i < DEVICES; i++)
		hang_up(&clients[i]);
	server_free(s);
	loop_free(loop);
	s = NULL;
	loop = NULL;
	sim_clock_stop();
}

static void add_device(unsigned i)
{
	struct client *c = &clients[i];
	struct store_device row = {.state = MVPN_DEV_ACTIVE, .created_at = 1, .psk_at = 1};
	struct mvpn_prefix address = {.len = 128, .addr.b = {[10] = 0xff, [11] = 0xff, 192, 0, 2, (uint8_t)(1 + i)}};

	c->fd = -1;
	mvpn_keypair(c->sk, c->pk);
	randombytes_buf(c->psk, sizeof(c->psk));
	randombytes_buf(c->next_pk, sizeof(c->next_pk));
	randombytes_buf(c->id, sizeof(c->id));
	memcpy(row.id, c->id, sizeof(row.id));
	memcpy(row.pk, c->pk, sizeof(row.pk));
	row.name[0] = (char)('a' + i);
	must(!secret_seal(s, row.id, c->psk, row.psk_enc) && !store_device_add(s->store, &row) &&
	     !store_prefix_add(s->store, row.id, &address, PREFIX_ADMIN));
}

static void forget(void)
{
	DIR *d = opendir(dir);
	struct dirent *e;

	while (d && (e = readdir(d)))
		if (e->d_name[0] != '.')
			unlinkat(dirfd(d), e->d_name, 0);
	if (d)
		closedir(d);
	rmdir(dir);
	free(template);
	free(db);
	server_settings_free(&conf);
}

/* the store that each run begins with */
static void prepare(void)
{
	struct store_policy p = {.rev = 1, .at = 1, .uid = -1, .comment = "", .text = policy_text};

	must(!mvpn_crypto_init() && !server_settings_init(&conf));
	log_init("fuzz", getenv("MVPN_SIM_LOG") ? LOG_L_DEBUG : (enum log_level)0);
	snprintf(dir, sizeof(dir), "%s/mvpn-fuzz-XXXXXX", access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
	must(mkdtemp(dir) && !identity_create(dir) && !atexit(forget));
	free(conf.state);
	conf.state = strdup(dir);
	conf.listens[0] = strdup("127.0.0.1:0");
	conf.nlistens = 1;
	conf.relay_mbit = 1;
	conf.handshakes_unproven = conf.handshakes_source = conf.half_open_source = 1000000;
	db = path_join(dir, "server.db");
	start();
	for (unsigned i = 0; i < DEVICES; i++)
		add_device(i);
	must(!store_policy_add(s->store, &p));
	stop();
	must(!file_read(db, 16 << 20, &template, &template_len));
	start();
	must(s->policy && s->reg->count == DEVICES);
	stop();
}

static void put_back(void)
{
	static const char *const beside[] = {"server.db-wal", "server.db-shm"};

	for (unsigned i = 0; i < 2; i++) {
		char *path = path_join(dir, beside[i]);

		unlink(path);
		free(path);
	}
	must(!file_replace(db, template, template_len, 0600));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct said in = {data, size};
	static bool ready;

	if (!ready)
		prepare();
	ready = true;
	put_back();
	sim_clock_set(1000000000000);
	memset(session, 0, sizeof(session));
	start();
	for (unsigned i = 0; i < 2; i++) {
		clients[i].life = 1;
		log_in(&clients[i]);
		must(conn_of(&clients[i]));
	}
	clients[2].life = 1;
	while (in.left) {
		unsigned first = said_u8(&in), what = first % THINGS;
		struct client *c = &clients[first / THINGS % DEVICES];

		if (what < TYPES)
			says(c, &in, types[what]);
		else
			thing(&in, c, what);
	}
	turn(100);
	stop();
	return 0;
}
