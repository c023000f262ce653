/* SPDX-License-Identifier: BSD-2-Clause */
/* The sockets that stand for remote ends: whose each is, for how long, and what becomes of it then. The shim's maps are arrays here. */
#include "test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "../../keyd/answer.h"
#include "../../keyd/datagrams.h"
#include "../../keyd/peers.h"
#include "../../keyd/ports.h"
#include "../../keyd/processes.h"
#include "loop.h"

#define ENDS 8
#define TICKS_MS 10500
#define IDLE_MS (MVPN_DATAGRAM_IDLE_S * 1000 + TICKS_MS)

/* ---- the shim, and the stream ---- */

static uint16_t stock[MVPN_DATAGRAM_ENDS_MAX];
static unsigned nstock;
static struct {
	uint16_t port;
	struct mvpn_endpoint there;
} given[ENDS];
static struct {
	struct stream_tuple t;
	uint8_t data[64];
	size_t len;
	unsigned n, flushed;
} sent;

int shim_stream_own(struct shim *s, int fd)
{
	return 0;
}

int shim_datagram_ready(struct shim *s, uint16_t port)
{
	stock[nstock++] = port;
	return 0;
}

int shim_datagram_take(struct shim *s, uint16_t *ret_port)
{
	if (!nstock)
		return -ENOENT;
	*ret_port = stock[--nstock];
	return 0;
}

int shim_datagram_end(struct shim *s, uint16_t port, struct mvpn_endpoint *ret)
{
	for (unsigned i = 0; i < ENDS; i++)
		if (given[i].port == port) {
			*ret = given[i].there;
			return 0;
		}
	return -ENOENT;
}

int shim_datagram_port(struct shim *s, const struct mvpn_endpoint *there, uint16_t *ret_port)
{
	for (unsigned i = 0; i < ENDS; i++)
		if (given[i].port && !memcmp(&given[i].there, there, sizeof(*there))) {
			*ret_port = given[i].port;
			return 0;
		}
	return -ENOENT;
}

int shim_datagram_assign(struct shim *s, uint16_t port, const struct mvpn_endpoint *there)
{
	for (unsigned i = 0; i < ENDS; i++)
		if (!given[i].port) {
			given[i].port = port;
			given[i].there = *there;
			return 0;
		}
	return -E2BIG;
}

void shim_datagram_release(struct shim *s, uint16_t port, const struct mvpn_endpoint *there)
{
	for (unsigned i = 0; i < ENDS; i++)
		if (given[i].port == port)
			given[i].port = 0;
}

/* what is told of datagrams that nobody takes: to the other keyd, and to the application here */
static struct {
	struct stream_tuple t;
	unsigned n;
} returned;
static struct {
	struct mvpn_endpoint from, at;
	enum answer_error what;
	unsigned n;
} told;

/* the peer that owns what is there, and may nobody that is no process send to it? */
static struct peer owner = {.index = 1, .name = "far"};

struct peer *peer_by_index(struct keyd *k, uint32_t index)
{
	return index == 1 ? &owner : NULL;
}

const char *peer_label(const struct peer *p)
{
	return p->name;
}

bool processes_may(const struct mvpn_guard *g, uint64_t traits, uint8_t proto, uint16_t port, uint32_t *ret_line)
{
	return false;
}

void datagrams_return(struct keyd *k, const struct stream_tuple *t)
{
	returned.t = *t;
	returned.n++;
}

int answer_datagram(const struct answer *a, const struct mvpn_endpoint *from,
		    const struct mvpn_endpoint *at, enum answer_error what)
{
	told.from = *from;
	told.at = *at;
	told.what = what;
	told.n++;
	return 0;
}

/* which ports nobody else may bind */
static bool kept[2][65536];

int shim_port_keep(struct shim *s, uint8_t proto, uint16_t port)
{
	bool *is = &kept[proto == IPPROTO_TCP][port];

	if (*is)
		return -EEXIST;
	*is = true;
	return 0;
}

void shim_port_give(struct shim *s, uint8_t proto, uint16_t port)
{
	kept[proto == IPPROTO_TCP][port] = false;
}

int shim_ports_each(struct shim *s, int (*fn)(void *arg, uint8_t proto, uint16_t port), void *arg)
{
	for (unsigned i = 0; i < 2 * 65536; i++)
		if (kept[i / 65536][i % 65536])
			fn(arg, i / 65536 ? IPPROTO_TCP : IPPROTO_UDP, (uint16_t)(i % 65536));
	return 0;
}

static unsigned nkept(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < 2 * 65536; i++)
		n += kept[i / 65536][i % 65536];
	return n;
}

uint64_t shim_datagram_refused(struct shim *s)
{
	return 0;
}

void datagrams_send(struct keyd *k, const struct stream_tuple *t, const uint8_t *data, size_t len)
{
	sent.t = *t;
	sent.len = len;
	sent.n++;
	assert_in_range(len, 0, sizeof(sent.data));
	memcpy(sent.data, data, len);
}

void datagrams_flush(struct keyd *k, const struct mvpn_addr *to)
{
	sent.flushed = sent.n;
}

void datagrams_tick(struct keyd *k, uint64_t now_ms)
{
}

/* ---- time ---- */

static uint64_t ahead_ms;

int __real_clock_gettime(clockid_t c, struct timespec *t);
int __wrap_clock_gettime(clockid_t c, struct timespec *t);
int __wrap_clock_gettime(clockid_t c, struct timespec *t)
{
	int r = __real_clock_gettime(c, t);

	t->tv_sec += (time_t)(ahead_ms / 1000);
	return r;
}

static void over(void *arg)
{
	loop_quit(arg);
}

/* what is ready or due is done */
static void turn(struct keyd *k)
{
	struct loop_timer *t;

	assert_int_equal(loop_timer_new(k->loop, over, k->loop, &t), 0);
	loop_timer_arm(t, 20);
	assert_int_equal(loop_run(k->loop), 0);
	loop_timer_free(t);
}

static void pass(struct keyd *k, uint64_t ms)
{
	for (uint64_t until = ahead_ms + ms; ahead_ms < until;) {
		ahead_ms += 10000;
		turn(k);
	}
}

/* ---- keyd, an application, and remote ends ---- */

static struct keyd k;
static struct mvpn_endpoint there;

static int setup(void **state)
{
	struct mvpn_prefix own;
	static struct mvpn_addr address;

	memset(&k, 0, sizeof(k));
	memset(given, 0, sizeof(given));
	memset(kept, 0, sizeof(kept));
	memset(&sent, 0, sizeof(sent));
	nstock = 0;
	assert_int_equal(loop_new(&k.loop), 0);
	assert_int_equal(lpm_new(&k.prefixes), 0);
	assert_int_equal(mvpn_prefix_parse(&own, "127.0.0.1"), 0);
	assert_int_equal(lpm_set(k.prefixes, &own, KEYD_SELF), 0);
	address = own.addr;
	k.addresses = &address;
	k.naddresses = 1;
	assert_int_equal(datagrams_start(&k), 0);
	datagrams_addresses(&k, &address, &address);
	assert_int_equal(nstock, MVPN_DATAGRAM_READY);
	assert_int_equal(mvpn_endpoint_parse(&there, "192.0.2.5:53", 0), 0);
	return 0;
}

static int teardown(void **state)
{
	datagrams_stop(&k);
	ports_free(&k);
	lpm_free(k.prefixes);
	loop_free(k.loop);
	return 0;
}

static int application(const char *own, struct mvpn_endpoint *ret)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = inet_addr(own)};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	socklen_t len = sizeof(a);

	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
	assert_int_equal(mvpn_endpoint_from_sockaddr(ret, (struct sockaddr *)&a), 0);
	return fd;
}

static struct sockaddr_in at(uint16_t port)
{
	return (struct sockaddr_in){.sin_family = AF_INET,
				    .sin_port = htons(port),
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static void say(int fd, uint16_t port, const char *what)
{
	struct sockaddr_in to = at(port);

	assert_int_equal(sendto(fd, what, strlen(what), 0, (struct sockaddr *)&to, sizeof(to)),
			 strlen(what));
	turn(&k);
}

/* as bpf/datagram.h does */
static uint16_t take(void)
{
	uint16_t port = 0;

	assert_int_equal(shim_datagram_take(NULL, &port), 0);
	assert_int_equal(shim_datagram_assign(NULL, port, &there), 0);
	return port;
}

/* a gateway's hosts: what lines with `by` are about is not theirs to send */
static void hosts_behind_are_no_process(void **state)
{
	static struct mvpn_guard guard;
	struct mvpn_prefix behind, far;
	struct mvpn_endpoint app;
	uint16_t port = take();
	int fd;

	assert_int_equal(mvpn_prefix_parse(&behind, "127.5.0.0/16"), 0);
	assert_int_equal(lpm_set(k.prefixes, &behind, KEYD_SELF), 0);
	assert_int_equal(mvpn_prefix_parse(&far, "192.0.2.0/24"), 0);
	assert_int_equal(lpm_set(k.prefixes, &far, 1), 0);
	fd = application("127.5.0.1", &app);
	say(fd, port, "ask");
	assert_int_equal(sent.n, 1);
	owner.guard = &guard;
	say(fd, port, "ask");
	assert_int_equal(sent.n, 1);
	assert_int_equal(k.counters[KC_DATAGRAM_REFUSED], 1);
	close(fd);
	/* a program here has been asked where it named the other end */
	fd = application("127.0.0.1", &app);
	say(fd, port, "ask");
	assert_int_equal(sent.n, 2);
	owner.guard = NULL;
	close(fd);
}

/* a device that sends from ever more ends leaves the others theirs */
static void one_device_has_not_all(void **state)
{
	struct stream_tuple t = {.src = there};
	struct mvpn_prefix far;
	int fd = application("127.0.0.1", &t.dst);

	assert_int_equal(mvpn_prefix_parse(&far, "192.0.2.0/24"), 0);
	assert_int_equal(lpm_set(k.prefixes, &far, 1), 0);
	owner.datagram_ends = MVPN_DATAGRAM_ENDS_PEER_MAX - 1;
	datagrams_deliver(&k, &t, (const uint8_t *)"x", 1);
	assert_int_equal(owner.datagram_ends, MVPN_DATAGRAM_ENDS_PEER_MAX);
	t.src.port++;
	datagrams_deliver(&k, &t, (const uint8_t *)"x", 1);
	assert_int_equal(k.counters[KC_DATAGRAM_NO_SOCKET], 1);
	assert_int_equal(mvpn_endpoint_parse(&t.src, "198.51.100.1:53", 0), 0);
	datagrams_deliver(&k, &t, (const uint8_t *)"x", 1);
	assert_int_equal(k.counters[KC_DATAGRAM_NO_SOCKET], 1);
	assert_int_equal(datagrams_ends(&k), 2);
	t.src = there; /* what it has goes on */
	datagrams_deliver(&k, &t, (const uint8_t *)"x", 1);
	assert_int_equal(k.counters[KC_DATAGRAM_NO_SOCKET], 1);
	datagrams_stop(&k);
	assert_int_equal(owner.datagram_ends, MVPN_DATAGRAM_ENDS_PEER_MAX - 1);
	owner.datagram_ends = 0;
	assert_int_equal(datagrams_start(&k), 0);
	close(fd);
}

static void applications_and_ends(void **state)
{
	struct mvpn_endpoint app;
	int fd = application("127.0.0.1", &app);
	uint16_t port = take();
	struct stream_tuple t;
	struct sockaddr_in from;
	socklen_t len = sizeof(from);
	char got[8];

	say(fd, port, "ask");
	assert_int_equal(sent.n, 1);
	assert_memory_equal(sent.data, "ask", 3);
	assert_memory_equal(&sent.t.src, &app, sizeof(app));
	assert_memory_equal(&sent.t.dst, &there, sizeof(there));
	assert_int_equal(datagrams_ends(&k), 1);
	assert_int_equal(nstock, MVPN_DATAGRAM_READY); /* another one is ready in its place */

	t = (struct stream_tuple){.src = there, .dst = app};
	datagrams_deliver(&k, &t, (const uint8_t *)"answer", 6);
	datagrams_deliver_all(&k);
	assert_int_equal(recvfrom(fd, got, sizeof(got), 0, (struct sockaddr *)&from, &len), 6);
	assert_int_equal(ntohs(from.sin_port), port);
	/* one that nobody here has spoken with gets a socket too, and keeps it */
	t.src.port = 54;
	datagrams_deliver(&k, &t, (const uint8_t *)"", 0);
	datagrams_deliver_all(&k);
	assert_int_equal(recvfrom(fd, got, sizeof(got), 0, (struct sockaddr *)&from, &len), 0);
	assert_int_not_equal(ntohs(from.sin_port), port);
	say(fd, ntohs(from.sin_port), "back");
	assert_memory_equal(&sent.t.dst, &t.src, sizeof(t.src));
	assert_int_equal(datagrams_ends(&k), 2);
	close(fd);
}

static void what_is_not_ours_is_refused(void **state)
{
	struct mvpn_endpoint app;
	int fd = application("127.0.0.2", &app);
	uint16_t port = take();
	struct mvpn_prefix others;

	say(fd, port, "from another address");
	assert_int_equal(mvpn_prefix_parse(&others, "127.0.0.2"), 0);
	assert_int_equal(lpm_set(k.prefixes, &others, 1), 0);
	say(fd, port, "from another device's address");
	say(fd, stock[0], "to nobody");
	assert_int_equal(sent.n, 0);
	assert_int_equal(k.counters[KC_DATAGRAM_REFUSED], 3);
	/* no socket is left */
	nstock = 0;
	there.port = 99;
	datagrams_deliver(&k, &(struct stream_tuple){.src = there, .dst = app}, (const uint8_t *)"x",
			  1);
	assert_int_equal(k.counters[KC_DATAGRAM_NO_SOCKET], 1);
	close(fd);
}

/* more than one system call takes, and not one of them waits for what comes next */
static void many_at_once(void **state)
{
	struct mvpn_endpoint app;
	int fd = application("127.0.0.1", &app);
	struct sockaddr_in to = at(take());

	for (unsigned i = 0; i < 150; i++)
		assert_int_equal(sendto(fd, &i, sizeof(i), 0, (struct sockaddr *)&to, sizeof(to)),
				 sizeof(i));
	turn(&k);
	assert_int_equal(sent.n, 150);
	assert_int_equal(sent.flushed, 150);
	assert_memory_equal(sent.data, &(unsigned){149}, sizeof(unsigned));
	close(fd);
}

static void hears(int fd, const char *what, size_t len)
{
	static char got[70000];

	assert_int_equal(recv(fd, got, sizeof(got), 0), len);
	assert_memory_equal(got, what, len);
}

/* whatever may go down together, each one comes as it was sent, in order, and to whom it was for */
static void runs_arrive_as_they_were(void **state)
{
	static const size_t lens[] = {100, 100, 100, 60, 60, 100, 0, 0, 100, 200, 30000, 30000, 30000, 65507, 7};
	static char data[65507];
	struct mvpn_endpoint app, other;
	int fd = application("127.0.0.1", &app), fd2 = application("127.0.0.1", &other);
	struct stream_tuple t = {.src = there, .dst = app};

	for (unsigned i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		memset(data, 'a' + (int)i, sizeof(data));
		t.dst = app;
		datagrams_deliver(&k, &t, (const uint8_t *)data, lens[i]);
		if (i % 4 == 2) {
			t.dst = other;
			datagrams_deliver(&k, &t, (const uint8_t *)data, 5);
		}
	}
	datagrams_deliver_all(&k);
	for (unsigned i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		memset(data, 'a' + (int)i, sizeof(data));
		hears(fd, data, lens[i]);
		if (i % 4 == 2)
			hears(fd2, data, 5);
	}
	assert_int_equal(recv(fd, data, 1, MSG_DONTWAIT), -1);
	/* a hundred of one length, more than the kernel cuts at once */
	t.dst = app;
	for (unsigned i = 0; i < 100; i++)
		datagrams_deliver(&k, &t, (const uint8_t *)&i, sizeof(i));
	datagrams_deliver_all(&k);
	for (unsigned i = 0; i < 100; i++)
		hears(fd, (const char *)&i, sizeof(i));
	assert_int_equal(k.counters[KC_DATAGRAM_DROPPED], 0);
	close(fd);
	close(fd2);
}

/* together they do not go there: each is tried by itself, and counted */
static void what_cannot_be_sent_is_counted(void **state)
{
	struct stream_tuple t = {.src = there};

	take();
	assert_int_equal(mvpn_endpoint_parse(&t.dst, "255.255.255.255:9", 0), 0);
	for (unsigned i = 0; i < 3; i++)
		datagrams_deliver(&k, &t, (const uint8_t *)"lost", 4);
	datagrams_deliver_all(&k);
	assert_int_equal(k.counters[KC_DATAGRAM_DROPPED], 3);
	datagrams_deliver_all(&k);
	assert_int_equal(k.counters[KC_DATAGRAM_DROPPED], 3);
}

static bool in_stock(uint16_t port)
{
	for (unsigned i = 0; i < nstock; i++)
		if (stock[i] == port)
			return true;
	return false;
}

static void idle_ends_go(void **state)
{
	struct mvpn_endpoint app;
	int fd = application("127.0.0.1", &app);
	uint16_t port = take(), now;

	pass(&k, TICKS_MS); /* it is seen though nothing was sent */
	assert_int_equal(datagrams_ends(&k), 1);
	pass(&k, IDLE_MS / 2);
	say(fd, port, "still");
	pass(&k, IDLE_MS / 2);
	assert_int_equal(datagrams_ends(&k), 1);
	pass(&k, IDLE_MS / 2);
	assert_int_equal(datagrams_ends(&k), 0);
	assert_int_equal(shim_datagram_port(NULL, &there, &now), -ENOENT);
	/* it stands for nobody for as long again, so that no late datagram goes to another end */
	assert_false(in_stock(port));
	sent.n = 0;
	say(fd, port, "late");
	assert_int_equal(sent.n, 0);
	pass(&k, IDLE_MS);
	assert_true(in_stock(port));
	close(fd);
}

static void who_is_connected_goes_on(void **state)
{
	struct mvpn_endpoint app;
	int fd = application("127.0.0.1", &app);
	uint16_t port = take();
	struct sockaddr_in to = at(port);

	assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	pass(&k, 3 * IDLE_MS);
	assert_int_equal(datagrams_ends(&k), 1);
	assert_int_equal(send(fd, "more", 4, 0), 4);
	turn(&k);
	assert_int_equal(sent.n, 1);
	assert_memory_equal(&sent.t.dst, &there, sizeof(there));
	close(fd);
	pass(&k, 2 * IDLE_MS);
	assert_int_equal(datagrams_ends(&k), 0);
}

/* what the kernel chooses from by itself */
static void range(unsigned *ret_lo, unsigned *ret_hi)
{
	FILE *f = fopen("/proc/sys/net/ipv4/ip_local_port_range", "r");

	assert_non_null(f);
	assert_int_equal(fscanf(f, "%u %u", ret_lo, ret_hi), 2);
	fclose(f);
}

/* the other keyd is told who has sent what nobody takes, and the next datagram is not lost by it */
static void nobody_takes_it(void **state)
{
	struct mvpn_endpoint app, other;
	int fd = application("127.0.0.1", &app), open = application("127.0.0.1", &other);
	struct stream_tuple t = {there, app};
	char got[8];

	returned.n = 0;
	take();
	close(fd);
	datagrams_deliver(&k, &t, (const uint8_t *)"lost", 4);
	datagrams_deliver_all(&k);
	t.dst = other;
	datagrams_deliver(&k, &t, (const uint8_t *)"next", 4);
	datagrams_deliver_all(&k);
	assert_int_equal(recv(open, got, sizeof(got), 0), 4);
	turn(&k);
	assert_int_equal(returned.n, 1);
	assert_memory_equal(&returned.t.src, &there, sizeof(there));
	assert_memory_equal(&returned.t.dst, &app, sizeof(app));
	assert_int_equal(k.counters[KC_DATAGRAM_DROPPED], 0);
	close(open);
}

/* and here the application is, if it has sent there, from where it has */
static void the_application_hears_of_it(void **state)
{
	struct streams streams = {};
	struct stream_tuple t = {.dst = there};
	uint16_t port = take();
	int fd = application("127.0.0.1", &t.src);

	k.streams = &streams;
	told.n = 0;
	say(fd, port, "ask");
	datagrams_untaken(&k, &t);
	assert_int_equal(told.n, 1);
	assert_memory_equal(&told.from, &t.src, sizeof(t.src));
	assert_int_equal(told.at.port, port);
	assert_true(mvpn_addr_eq(&told.at.addr, &k.addresses[0]));
	assert_int_equal(told.what, ANSWER_PORT);
	t.dst.port++;
	datagrams_untaken(&k, &t); /* where nobody has sent anything */
	assert_int_equal(told.n, 1);
	k.streams = NULL;
	close(fd);
}

/* a port is kept while there is a socket, and as long as an application might still send to it, over keyd's life */
static void ports_are_kept(void **state)
{
	struct mvpn_endpoint app;
	int fd = application("127.0.0.1", &app);
	uint16_t port = take();
	struct sockaddr_in to = at(port);
	unsigned lo, hi;

	range(&lo, &hi);
	assert_int_equal(nkept(), MVPN_DATAGRAM_READY);
	for (unsigned i = 0; i < nstock; i++)
		assert_true(kept[0][stock[i]] && (stock[i] < lo || stock[i] > hi));
	assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	assert_true(kept[0][port]);
	datagrams_stop(&k);
	ports_free(&k); /* the next life knows nothing but what the shim does */
	kept[1][2000] = true;
	nstock = 0;
	assert_int_equal(datagrams_start(&k), 0);
	for (unsigned i = 0; i < nstock; i++)
		assert_int_not_equal(stock[i], port);
	ports_tick(&k, mono_ms());
	assert_int_equal(nkept(), 2 * MVPN_DATAGRAM_READY + 1);
	ahead_ms += MVPN_DATAGRAM_IDLE_S * 1000 + 1;
	ports_tick(&k, mono_ms());
	assert_true(kept[0][port]); /* an application is connected to it */
	assert_int_equal(nkept(), MVPN_DATAGRAM_READY + 1);
	close(fd);
	ports_tick(&k, mono_ms()); /* looked just now */
	assert_true(kept[0][port]);
	ahead_ms += 10001;
	ports_tick(&k, mono_ms());
	assert_false(kept[0][port]);
	assert_int_equal(nkept(), MVPN_DATAGRAM_READY);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(applications_and_ends),
		T(hosts_behind_are_no_process),
		T(one_device_has_not_all),
		T(what_is_not_ours_is_refused),
		T(many_at_once),
		T(runs_arrive_as_they_were),
		T(what_cannot_be_sent_is_counted),
		T(idle_ends_go),
		T(who_is_connected_goes_on),
		T(ports_are_kept),
		T(nobody_takes_it),
		T(the_application_hears_of_it),
	};

	return MVPN_RUN(tests);
}
