/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Streams that run, on several pumps: both ends of each are in one keyd here, joined by a connection over loopback, and the
 * applications are another thread. What pumps and the main thread share the thread sanitizer looks at, too.
 */
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

/* an application's connection from one end to the other, by two streams */
struct conn {
	int from, to;
	struct stream *out, *in;
	size_t size, sent, got;
	bool shut, over, failed, wrong;
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

static void write_some(struct conn *c)
{
	uint8_t data[16384];
	size_t n = c->size - c->sent < sizeof(data) ? c->size - c->sent : sizeof(data);
	ssize_t r;

	for (size_t i = 0; i < n; i++)
		data[i] = byte_at(c, c->sent + i);
	r = n ? send(c->from, data, n, MSG_NOSIGNAL) : 0;
	c->failed |= r < 0 && errno != EAGAIN;
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

	c->failed |= r < 0 && errno != EAGAIN;
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

	if (!c->shut && !c->failed)
		write_some(c);
	if (c->to >= 0 && !c->failed)
		read_some(c);
	if (c->to >= 0 || c->failed) {
		c->over = c->failed;
		return;
	}
	r = recv(c->from, last, sizeof(last), 0);
	c->failed |= r < 0 && errno != EAGAIN;
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

/* ---- tests ---- */

static void bytes_are_exact(void **state)
{
	static struct conn conns[CONNS];
	struct loop_timer *timer;
	struct traffic t;

	begin(3);
	for (unsigned i = 0; i < CONNS; i++) {
		conn_new(&conns[i], &peers[i % PEERS], 100000 * (i % 4) + i);
		conn_run(&conns[i]);
	}
	assert_int_equal(streams_count(&k), 2 * CONNS);
	assert_int_equal(loop_timer_new(k.loop, poke, &timer, &timer), 0);
	loop_timer_arm(timer, 1);
	traffic_start(&t, conns, CONNS);
	assert_int_equal(loop_run(k.loop), 0);
	traffic_end(&t);
	for (unsigned i = 0; i < CONNS; i++) {
		assert_false(conns[i].failed || conns[i].wrong);
		assert_int_equal(conns[i].got, conns[i].size);
	}
	until_all_is_taken_down();
	assert_int_equal(k.counters[KC_STREAM_CUT], 0);
	end();
	conns_close(conns, CONNS);
}

/* sessions are cut, peers go and others come while all is moving; then keyd stops */
static unsigned churned;
static struct conn more[CONNS];
static void churn(void *arg)
{
	struct loop_timer **t = arg;
	struct peer *p = &peers[churned % PEERS];
	struct conn *c = &more[churned % CONNS];

	if (churned % 3 == 0)
		streams_cut(p, MVPN_R_REVOKED);
	else if (churned % 3 == 1 && p->streams)
		stream_abort(p->streams, MVPN_R_POLICY_CHANGED);
	if (churned >= CONNS)
		conn_close(c);
	conn_new(c, p, 1 << 20);
	conn_run(c);
	assert_int_equal(send(c->from, "bulk", 4, MSG_NOSIGNAL), 4);
	if (++churned == 8 * CONNS)
		loop_quit(k.loop);
	else
		loop_timer_arm(*t, 1);
}

static void streams_are_cut_while_they_move(void **state)
{
	static struct conn conns[CONNS];
	struct loop_timer *timer;
	struct traffic t;

	begin(3);
	for (unsigned i = 0; i < CONNS; i++) {
		conn_new(&conns[i], &peers[i % PEERS], 1 << 30);
		conn_run(&conns[i]);
	}
	traffic_start(&t, conns, CONNS);
	churned = 0;
	assert_int_equal(loop_timer_new(k.loop, churn, &timer, &timer), 0);
	loop_timer_arm(timer, 1);
	while (churned < 8 * CONNS) /* all of the first may have been cut before */
		assert_int_equal(loop_run(k.loop), 0);
	end();
	traffic_end(&t);
	for (unsigned i = 0; i < CONNS; i++) {
		assert_false(conns[i].wrong);
		conn_close(&more[i]);
	}
	conns_close(conns, CONNS);
}

/* keyd stops while nobody was cut before */
static void keyd_stops_under_load(void **state)
{
	static struct conn conns[CONNS];
	struct traffic t;

	begin(2);
	for (unsigned i = 0; i < CONNS; i++) {
		conn_new(&conns[i], &peers[i % PEERS], 1 << 30);
		conn_run(&conns[i]);
	}
	traffic_start(&t, conns, CONNS);
	while (!conns[0].in->received)
		usleep(100);
	end();
	traffic_end(&t);
	conns_close(conns, CONNS);
}

static uint64_t moved(const struct conn *conns, unsigned n)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < n; i++)
		sum += conns[i].out->sent + conns[i].in->received;
	return sum;
}

/* Of many that all have something to move, two at most go on before the main thread has its turn. */
static void main_thread_waits_for_one_stream(void **state)
{
	static struct conn conns[CONNS];
	struct traffic t;

	begin(1);
	for (unsigned i = 0; i < CONNS; i++) {
		conn_new(&conns[i], &peers[0], 1 << 30);
		conn_run(&conns[i]);
	}
	traffic_start(&t, conns, CONNS);
	while (moved(conns, CONNS) < 32 << 20)
		usleep(100);
	for (unsigned i = 0; i < 20; i++) {
		uint64_t before = moved(conns, CONNS), between;

		pumps_hold(&k);
		between = moved(conns, CONNS) - before;
		assert_in_range(between, 0, 4 * MVPN_STREAM_TURN_B);
		assert_int_equal(moved(conns, CONNS), before + between);
		pumps_release(&k);
	}
	end();
	traffic_end(&t);
	conns_close(conns, CONNS);
}

/* streams share what their class may send, whichever pump they are with */
static void limit_is_shared(void **state)
{
	static struct conn conns[6];
	struct traffic t;
	uint64_t start, took, sent;

	begin(3);
	classes.is.n = 1;
	classes.of[0].rate_kbit = 80000; /* 10 MB a second */
	classes.of[0].burst_b = 100000;
	session_streams.classes = &classes;
	start = mono_ms();
	for (unsigned i = 0; i < 6; i++) {
		conn_new(&conns[i], &peers[i % PEERS], 1 << 30);
		conns[i].in->opener = false;
		conn_run(&conns[i]);
	}
	traffic_start(&t, conns, 6);
	do {
		usleep(10000);
		pumps_hold(&k);
		took = mono_ms() - start + 1;
		sent = 0;
		for (unsigned i = 0; i < 6; i++)
			sent += conns[i].out->sent;
		pumps_release(&k);
		/* each may be one record ahead, and the bucket one burst */
		assert_in_range(sent, 0, took * 10000 + 100000 + 6 * MVPN_STREAM_DATA_MAX_B);
	} while (sent < 5000000);
	/* the limit goes, and so do they */
	session_streams.classes = NULL;
	for (unsigned i = 0; i < PEERS; i++)
		streams_session_changed(&peers[i]);
	memset(&classes, 0xff, sizeof(classes));
	while (moved(conns, 6) < sent + (64 << 20))
		usleep(1000);
	end();
	traffic_end(&t);
	conns_close(conns, 6);
}

/* a new one goes where little is to be done, even if there are more that do nothing */
static void busy_pumps_get_no_more(void **state)
{
	static struct conn conns[4];
	struct traffic t;

	begin(3);
	for (unsigned i = 0; i < 3; i++) {
		conn_new(&conns[i], &peers[i], 1 << 30);
		conn_run(&conns[i]);
	}
	/* two each; then one each but for the third, whose streams have nothing to do */
	assert_ptr_not_equal(conns[0].out->pump, conns[0].in->pump);
	assert_ptr_equal(conns[1].out->pump, conns[2].in->pump);
	assert_ptr_equal(conns[1].in->pump, conns[0].out->pump);
	stream_abort(conns[1].in, MVPN_R_NONE);
	stream_abort(conns[2].out, MVPN_R_NONE);
	traffic_start(&t, conns, 1);
	while (moved(conns, 1) < 64 << 20)
		usleep(1000);
	conn_new(&conns[3], &peers[3], 1);
	stream_run(conns[3].out);
	assert_ptr_equal(conns[3].out->pump, conns[2].in->pump);
	end();
	traffic_end(&t);
	conns_close(conns, 4);
}

/* what another keyd does wrong is counted and its stream cut, by the main thread */
static void wrong_ends(void **state)
{
	uint8_t junk[STREAM_OVERHEAD_B + 1] = {STREAM_DATA, 0, 0, STREAM_TAG_B + 1};
	struct stream *s;
	int app[2], net[2];
	char c;

	begin(2);
	for (unsigned tampered = 0; tampered < 2; tampered++) {
		tcp_pair(app);
		tcp_pair(net);
		s = end_new(&peers[0], true, app[1], net[1]);
		stream_run(s);
		if (tampered)
			assert_int_equal(send(net[0], junk, sizeof(junk), 0), sizeof(junk));
		else
			shutdown(net[0], SHUT_WR);
		until_all_is_taken_down();
		assert_int_equal(k.counters[KC_STREAM_CUT], 1);
		assert_int_equal(k.counters[KC_STREAM_BAD], tampered);
		assert_int_equal(recv(app[0], &c, 1, 0), -1);
		assert_int_equal(errno, ECONNRESET);
		close(app[0]);
		close(net[0]);
	}
	end();
	assert_int_equal(files_open(), files);
}

static void full_records_are_whole_segments(void **state)
{
	static const int sizes[] = {1460, 1380, 8960};
	static uint8_t data[400000];
	int app[2], net[2], mss;
	socklen_t len = sizeof(mss);
	uint8_t head[STREAM_HEAD_B];
	int record;

	begin(1);
	for (unsigned i = 0; i < 3; i++) {
		tcp_pair(app);
		tcp_pair_of(net, sizes[i]);
		assert_int_equal(getsockopt(net[1], IPPROTO_TCP, TCP_MAXSEG, &mss, &len), 0);
		assert_in_range(mss, sizes[i] - 12, sizes[i]);
		assert_true(send(app[0], data, sizeof(data), MSG_NOSIGNAL) > 2 * MVPN_STREAM_DATA_MAX_B);
		stream_run(end_new(&peers[0], true, app[1], net[1]));
		for (ssize_t n = 0; n < STREAM_HEAD_B;)
			n = recv(net[0], head, sizeof(head), MSG_PEEK);
		record = stream_record_len(head);
		assert_int_equal(record % mss, 0);
		assert_in_range(record, MVPN_STREAM_DATA_MAX_B - 10000, MVPN_STREAM_DATA_MAX_B);
		close(app[0]);
		close(net[0]);
	}
	end();
	assert_int_equal(files_open(), files);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bytes_are_exact),
		cmocka_unit_test(streams_are_cut_while_they_move),
		cmocka_unit_test(keyd_stops_under_load),
		cmocka_unit_test(main_thread_waits_for_one_stream),
		cmocka_unit_test(limit_is_shared),
		cmocka_unit_test(busy_pumps_get_no_more),
		cmocka_unit_test(wrong_ends),
		cmocka_unit_test(full_records_are_whole_segments),
	};

	if (mvpn_crypto_init() || aead_init())
		return 1;
	return MVPN_RUN(tests);
}
