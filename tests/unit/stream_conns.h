/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A keyd whose streams run on several pumps: both ends of each are in it, joined by a connection over loopback, and the applications are
 * another thread.
 */
#ifndef TEST_STREAM_CONNS_H
#define TEST_STREAM_CONNS_H

#include "test.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../keyd/answer.h"
#include "../../keyd/datagrams.h"
#include "../../keyd/peers.h"
#include "../../keyd/ports.h"
#include "../../keyd/pumps.h"
#include "../../keyd/sessions.h"
#include "../../keyd/streams_class.h"
#include "crypto.h"

#define PEERS 4
#define CONNS 32

/* ---- the rest of keyd ---- */

static unsigned workers;
static struct session session;
static struct session_streams session_streams;
static struct kt_classes classes;

unsigned dp_workers(const struct dp *dp)
{
	return workers;
}

struct session *session_transmitting(const struct peer *p)
{
	return &session;
}

struct session *session_by_id(struct keyd *k, const uint8_t id[MVPN_ID_LEN])
{
	return &session;
}

const char *peer_label(const struct peer *p)
{
	return p->name;
}

int answer_fd(const struct answer *a, unsigned i)
{
	return -1;
}

int answer_new(struct answer **ret)
{
	return 0;
}

void answer_free(struct answer *a)
{
}

int shim_stream_own(struct shim *s, int fd)
{
	return 0;
}

int shim_syns_hold(struct shim *s, int listener)
{
	return 0;
}

static int syns_fd;
int shim_syns_fd(struct shim *s)
{
	return syns_fd;
}

int ports_bind(struct keyd *k, int fd, bool v6, uint8_t proto, uint16_t *ret_port)
{
	*ret_port = 1;
	return 0;
}

void ports_gone(struct keyd *k, uint8_t proto, uint16_t port)
{
}

void streams_syns_ready(void *arg, uint32_t events)
{
}

void streams_local_ready(void *arg, uint32_t events)
{
}

void streams_remote_ready(void *arg, uint32_t events)
{
}

void stream_unreached(struct stream *s, enum mvpn_reason why)
{
}

void stream_forbidden(const struct stream *s)
{
}

void stream_unhold(struct stream *s, enum mvpn_reason why)
{
}

size_t datagrams_next(struct stream *s, uint8_t ret[static MVPN_STREAM_DATA_MAX_B])
{
	return 0;
}

bool datagrams_waiting(const struct stream *s)
{
	return false;
}

int datagrams_receive(struct stream *s, const uint8_t *record, size_t len)
{
	return 0;
}

void datagrams_deliver_all(struct keyd *k)
{
}

void datagrams_free(struct stream *s)
{
}

/* ---- keyd, and connections ---- */

static struct keyd k;
static struct peer peers[PEERS], *by_index[PEERS + 1];
static unsigned files;

static unsigned files_open(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static void begin(unsigned pumps)
{
	files = files_open();
	memset(&k, 0, sizeof(k));
	memset(peers, 0, sizeof(peers));
	memset(&classes, 0, sizeof(classes));
	session.streams = &session_streams;
	workers = pumps;
	syns_fd = eventfd(0, EFD_CLOEXEC);
	assert_int_equal(loop_new(&k.loop), 0);
	for (unsigned i = 0; i < PEERS; i++)
		by_index[i + 1] = &peers[i];
	k.peers = by_index;
	k.npeers = PEERS;
	assert_int_equal(streams_start(&k), 0);
}

static void end(void)
{
	streams_stop(&k);
	assert_null(k.streams);
	for (unsigned i = 0; i < PEERS; i++)
		assert_null(peers[i].streams);
	loop_free(k.loop);
	close(syns_fd);
}

/* both ends of a TCP connection, whose segments are no larger than that; 0: as loopback has them */
static void tcp_pair_of(int fd[2], int segment)
{
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(sa);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(listener, (struct sockaddr *)&sa, len), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&sa, &len), 0);
	fd[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (segment)
		setsockopt(fd[0], IPPROTO_TCP, TCP_MAXSEG, &segment, sizeof(segment));
	assert_int_equal(connect(fd[0], (struct sockaddr *)&sa, len), 0);
	fd[1] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	assert_true(fd[1] >= 0);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(fcntl(fd[i], F_SETFL, O_NONBLOCK), 0);
	close(listener);
}

static void tcp_pair(int fd[2])
{
	tcp_pair_of(fd, 0);
}

static struct stream *end_new(struct peer *p, bool opener, int app, int net)
{
	static const uint8_t key_o[32] = {2}, key_a[32] = {3}, nonce[STREAM_NONCE_B] = {5};
	struct stream_session keys = {session.id, key_o, key_a, MVPN_CHACHA20_POLY1305};
	struct stream *s = stream_new(&k, p, opener);

	assert_non_null(s);
	s->app.fd = app;
	s->net.fd = net;
	assert_int_equal(stream_dirs(s->tx, s->rx, opener, &keys, s->open, nonce), 0);
	return s;
}

#define BULK ((size_t)1 << 40) /* of a connection that always has more to move, with the thread sanitizer, too: by the block */
#define BULK_ONCE (256 << 10)
#define BULK_PERIOD 65521 /* a prime */

/* an application's connection from one end to the other, by two streams */
struct conn {
	int from, to;
	struct stream *out, *in;
	size_t size, sent, got;
	bool shut, over, failed, wrong;
	int error; /* of a call that failed */
};

static void conn_new(struct conn *c, struct peer *p, size_t size)
{
	int app[2], net[2], there[2];

	tcp_pair(app);
	tcp_pair(net);
	tcp_pair(there);
	*c = (struct conn){.from = app[0], .to = there[0], .size = size};
	c->out = end_new(p, true, app[1], net[0]);
	c->in = end_new(p, false, there[1], net[1]);
}

static void conn_run(struct conn *c)
{
	stream_run(c->out);
	stream_run(c->in);
}

static void conn_close(struct conn *c)
{
	if (c->from >= 0)
		close(c->from);
	if (c->to >= 0)
		close(c->to);
}

/* the last ones, and keyd has ended: nothing is open that was not before */
static void conns_close(struct conn *conns, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		conn_close(&conns[i]);
	assert_int_equal(files_open(), files);
}

static uint8_t byte_at(const struct conn *c, size_t at)
{
	return (uint8_t)(at ^ at >> 8 ^ at >> 16 ^ c->size);
}

static void note(struct conn *c, ssize_t r)
{
	if (r >= 0 || errno == EAGAIN)
		return;
	c->failed = true;
	c->error = errno;
}

static uint8_t bulk[BULK_PERIOD + BULK_ONCE];

static void bulk_fill(void)
{
	for (unsigned i = 0; i < sizeof(bulk); i++)
		bulk[i] = (uint8_t)(i % BULK_PERIOD ^ i % BULK_PERIOD >> 8);
}

static void bulk_step(struct conn *c)
{
	static uint8_t data[BULK_ONCE];
	ssize_t r = send(c->from, bulk + c->sent % BULK_PERIOD, BULK_ONCE, MSG_NOSIGNAL);

	note(c, r);
	c->sent += r > 0 ? (size_t)r : 0;
	r = recv(c->to, data, sizeof(data), 0);
	note(c, r);
	c->wrong |= r > 0 && memcmp(data, bulk + c->got % BULK_PERIOD, (size_t)r) != 0;
	c->got += r > 0 ? (size_t)r : 0;
}

static void write_some(struct conn *c)
{
	uint8_t data[16384];
	size_t n = c->size - c->sent < sizeof(data) ? c->size - c->sent : sizeof(data);
	ssize_t r;

	for (size_t i = 0; i < n; i++)
		data[i] = byte_at(c, c->sent + i);
	r = n ? send(c->from, data, n, MSG_NOSIGNAL) : 0;
	note(c, r);
	c->sent += r > 0 ? (size_t)r : 0;
	if (c->sent == c->size && !c->shut) {
		shutdown(c->from, SHUT_WR);
		c->shut = true;
	}
}

/* what has come; the end is answered by one byte and an end of the other direction */
static void read_some(struct conn *c)
{
	uint8_t data[16384];
	ssize_t r = recv(c->to, data, sizeof(data), 0);

	note(c, r);
	for (ssize_t i = 0; i < r; i++)
		c->wrong |= data[i] != byte_at(c, c->got + (size_t)i);
	c->got += r > 0 ? (size_t)r : 0;
	if (r)
		return;
	c->failed |= c->got < c->size || send(c->to, "", 1, MSG_NOSIGNAL) != 1;
	close(c->to);
	c->to = -1;
}

static void conn_step(struct conn *c)
{
	char last[2];
	ssize_t r;

	if (c->size == BULK && !c->failed) {
		bulk_step(c);
		return;
	}
	if (!c->shut && !c->failed)
		write_some(c);
	if (c->to >= 0 && !c->failed)
		read_some(c);
	if (c->to >= 0 || c->failed) {
		c->over = c->failed;
		return;
	}
	r = recv(c->from, last, sizeof(last), 0);
	note(c, r);
	c->over = r >= 0 || c->failed; /* the byte; its end may come with it or after it */
	c->wrong |= r > 1;
}

/* the applications: a thread that goes on until all is over */
struct traffic {
	pthread_t thread;
	struct conn *conns;
	unsigned n;
	_Atomic bool stop;
	int done_fd;
};

static void *traffic_main(void *arg)
{
	struct traffic *t = arg;
	unsigned left = t->n;

	while (left && !atomic_load(&t->stop)) {
		left = 0;
		for (unsigned i = 0; i < t->n; i++) {
			if (!t->conns[i].over)
				conn_step(&t->conns[i]);
			left += !t->conns[i].over;
		}
	}
	eventfd_write(t->done_fd, 1);
	return NULL;
}

static void quit(void *arg, uint32_t events)
{
	struct traffic *t = arg;
	eventfd_t n;

	eventfd_read(t->done_fd, &n);
	loop_quit(k.loop);
}

static void traffic_start(struct traffic *t, struct conn *conns, unsigned n)
{
	bulk_fill();
	memset(t, 0, sizeof(*t));
	t->conns = conns;
	t->n = n;
	t->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	assert_int_equal(loop_add(k.loop, t->done_fd, EPOLLIN, quit, t, NULL), 0);
	assert_int_equal(pthread_create(&t->thread, NULL, traffic_main, t), 0);
}

static void traffic_end(struct traffic *t)
{
	atomic_store(&t->stop, true);
	pthread_join(t->thread, NULL);
	close(t->done_fd);
}

static void poke(void *arg)
{
	struct loop_timer **t = arg;
	uint64_t sum = 0;

	/* as `flows` does, as a rekey does, and as who cuts many */
	for (unsigned i = 0; i < PEERS; i++) {
		for (const struct stream *s = peers[i].streams; s; s = s->next)
			sum += s->sent + s->received + s->used_ms;
		streams_session_changed(&peers[i]);
	}
	pumps_hold(&k);
	pumps_hold(&k);
	pumps_release(&k);
	pumps_release(&k);
	loop_timer_arm(*t, 1);
}

static uint64_t gives_up_ms;
static void is_all_taken_down(void *arg)
{
	struct loop_timer **t = arg;

	if (!k.streams->count || mono_ms() > gives_up_ms)
		loop_quit(k.loop);
	else
		loop_timer_arm(*t, 1);
}

static void until_all_is_taken_down(void)
{
	struct loop_timer *timer;

	assert_int_equal(loop_timer_new(k.loop, is_all_taken_down, &timer, &timer), 0);
	gives_up_ms = mono_ms() + 10000;
	loop_timer_arm(timer, 0);
	assert_int_equal(loop_run(k.loop), 0);
	loop_timer_free(timer);
	assert_int_equal(k.streams->count, 0);
}

#endif
