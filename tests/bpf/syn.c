/* SPDX-License-Identifier: BSD-2-Clause */
/* A connection that goes to keyd, with real sockets: its SYN waits, and connect() says what it is answered by, and when. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netpacket/packet.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../keyd/answer.h"
#include "shimtest_cgroup.h"

static struct answer *answers;
static int listener = -1;
static uint16_t port;

static struct {
	struct answer_syn syn;
	unsigned n;
} seen;

static int up(void **state)
{
	if (stc_up(state) < 0)
		return -1;
	if (!st_shim())
		return 0;
	st_run("ip link set lo up; ip addr add 10.5.0.1/32 dev lo; ip addr add fd05::1/128 dev lo nodad");
	st_protect(st_shim(), "fd05::/16", 0, MVPN_PROT_LOCAL);
	return 0;
}

static int down(void **state)
{
	if (listener >= 0)
		close(listener);
	answer_free(answers);
	return stc_down(state);
}

/* as keyd does: diverting peer 1 to a listener that holds SYNs */
static void keyd_listens(struct shim *s)
{
	struct sockaddr_in6 a = {.sin6_family = AF_INET6};
	struct mvpn_diversion d = {.socket_peer = 9};
	socklen_t len = sizeof(a);

	assert_int_equal(shim_streams_attach(s), 0);
	assert_int_equal(answer_new(&answers), 0);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(shim_stream_own(s, answer_fd(answers, i)), 0);
	listener = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK, 0);
	assert_int_equal(bind(listener, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(shim_syns_hold(s, listener), 0);
	assert_int_equal(listen(listener, 64), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&a, &len), 0);
	assert_int_equal(shim_stream_own(s, listener), 0);
	port = ntohs(a.sin6_port);
	d.port = a.sin6_port;
	memcpy(d.local4 + 10, "\xff\xff\x0a\x05\x00\x01", 6);
	assert_int_equal(inet_pton(AF_INET6, "fd05::1", d.local6), 1);
	assert_int_equal(shim_divert(s, 1, &d), 0);
}

static int application(bool v6)
{
	struct sockaddr_in a4 = {.sin_family = AF_INET, .sin_port = htons(80)};
	struct sockaddr_in6 a6 = {.sin6_family = AF_INET6, .sin6_port = htons(80)};
	int fd = socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

	assert_int_equal(inet_pton(AF_INET, "10.1.0.1", &a4.sin_addr), 1);
	assert_int_equal(inet_pton(AF_INET6, "fd01::1", &a6.sin6_addr), 1);
	assert_int_equal(v6 ? connect(fd, (struct sockaddr *)&a6, sizeof(a6))
			    : connect(fd, (struct sockaddr *)&a4, sizeof(a4)),
			 -1);
	assert_int_equal(errno, EINPROGRESS);
	return fd;
}

/* its error, -1: nothing yet */
static int outcome(int fd, int patience_ms)
{
	struct pollfd p = {.fd = fd, .events = POLLOUT};
	socklen_t len = sizeof(int);
	int error;

	if (poll(&p, 1, patience_ms) == 0)
		return -1;
	assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len), 0);
	return error;
}

static void end_of(struct mvpn_endpoint *ret, const struct mvpn_end *e)
{
	memcpy(ret->addr.b, e->addr, 16);
	ret->port = ntohs(e->port);
}

static void on_syn(void *arg, const struct mvpn_syn *e)
{
	seen.n++;
	end_of(&seen.syn.from, &e->from);
	end_of(&seen.syn.at, &e->at);
	seen.syn.len = e->len;
	memcpy(seen.syn.tcp, e->tcp, e->len);
}

/* the one that has come since, and no other */
static void one_syn(struct shim *s, bool v6)
{
	struct mvpn_endpoint to;
	struct mvpn_addr is;

	seen.n = 0;
	assert_int_equal(shim_syns(s, 64, on_syn, NULL), 0);
	assert_int_equal(seen.n, 1);
	assert_int_equal(mvpn_addr_parse(&is, v6 ? "fd05::1" : "10.5.0.1"), 0);
	assert_true(mvpn_addr_eq(&seen.syn.at.addr, &is) && mvpn_addr_eq(&seen.syn.from.addr, &is));
	assert_int_equal(seen.syn.at.port, port);
	assert_in_range(seen.syn.len, 24, 60);
	assert_int_equal(seen.syn.tcp[13] & (PKT_SYN | PKT_ACK), PKT_SYN);
	assert_int_equal(shim_diverted(s, &seen.syn.from, &to), 0);
	assert_int_equal(mvpn_addr_parse(&is, v6 ? "fd01::1" : "10.1.0.1"), 0);
	assert_true(mvpn_addr_eq(&to.addr, &is) && to.port == 80);
}

/* what another raw socket writes in the name of either end; acknowledgements and resets may be the kernel's own */
static void by_hand(struct shim *s, uint8_t flags, bool back, bool dropped)
{
	uint64_t before[MVPN_C_MAX] = {0}, after[MVPN_C_MAX] = {0};
	struct answer_syn forged = seen.syn;
	struct answer *other;

	if (back) {
		forged.from = seen.syn.at;
		forged.at = seen.syn.from;
		memcpy(forged.tcp, seen.syn.tcp + 2, 2);
		memcpy(forged.tcp + 2, seen.syn.tcp, 2);
	}
	forged.tcp[13] = flags;
	assert_int_equal(answer_new(&other), 0);
	assert_int_equal(shim_counters(s, before), 0);
	answer_again(other, &forged);
	assert_int_equal(shim_counters(s, after), 0);
	assert_int_equal(after[MVPN_C_DROP_PROCESS] - before[MVPN_C_DROP_PROCESS], dropped);
	answer_free(other);
}

static void waits_and_is_answered(void **state)
{
	struct shim *s = st_shim();

	stc_need();
	keyd_listens(s);
	for (unsigned v6 = 0; v6 < 2; v6++) {
		int fd = application(v6), taken;

		one_syn(s, v6);
		assert_int_equal(outcome(fd, 50), -1);
		assert_int_equal(accept(listener, NULL, NULL), -1);
		/* another connection's number does not let it in */
		assert_int_equal(shim_syn_passes(s, &seen.syn.from,
						 answer_syn_number(&seen.syn) + 1),
				 0);
		assert_int_equal(answer_again(answers, &seen.syn), 0);
		assert_int_equal(outcome(fd, 50), -1);
		assert_int_equal(shim_syns(s, 64, on_syn, NULL), 0);
		assert_int_equal(shim_syn_passes(s, &seen.syn.from, answer_syn_number(&seen.syn)),
				 0);
		assert_int_equal(answer_again(answers, &seen.syn), 0);
		assert_int_equal(outcome(fd, 500), 0); /* sooner than TCP would ask again */
		taken = accept(listener, NULL, NULL);
		assert_true(taken >= 0);
		assert_int_equal(setsockopt(taken, SOL_SOCKET, SO_DETACH_FILTER, &(int){0}, 4), 0);
		assert_int_equal(send(fd, "text", 4, 0), 4);
		assert_int_equal(recv(taken, &(char[8]){0}, 8, 0), 4);
		for (int back = 0; back < 2; back++) {
			by_hand(s, PKT_SYN, back, true);
			by_hand(s, PKT_ACK | 1, back, true); /* FIN: an end that nobody has made */
			by_hand(s, PKT_ACK, back, false);
		}
		close(taken);
		close(fd);

		fd = application(v6);
		one_syn(s, v6);
		assert_int_equal(answer_reset(answers, &seen.syn), 0);
		assert_int_equal(outcome(fd, 500), ECONNREFUSED);
		close(fd);

		fd = application(v6);
		one_syn(s, v6);
		assert_int_equal(answer_unreachable(answers, &seen.syn, ANSWER_HOST), 0);
		assert_int_equal(outcome(fd, 500), EHOSTUNREACH);
		close(fd);

		fd = application(v6);
		one_syn(s, v6);
		assert_int_equal(answer_unreachable(answers, &seen.syn, ANSWER_PROHIBITED), 0);
		assert_int_equal(outcome(fd, 500), v6 ? EACCES : EHOSTUNREACH);
		close(fd);
	}
}

/* by its own port, or from another host: nothing passes the filter, and what an earlier connection left does not serve */
static void who_was_not_diverted(void **state)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)}, own = {};
	struct mvpn_endpoint there;
	socklen_t len = sizeof(own);
	struct shim *s = st_shim();
	int fd;

	stc_need();
	fd = application(false);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&own, &len), 0);
	one_syn(s, false);
	close(fd);
	assert_int_equal(shim_diverted(s, &seen.syn.from, &there), 0);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, 4), 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&own, sizeof(own)), 0);
	assert_int_equal(inet_pton(AF_INET, "10.5.0.1", &to.sin_addr), 1);
	assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), -1);
	assert_int_equal(errno, EINPROGRESS);
	seen.n = 0;
	assert_int_equal(shim_syns(s, 64, on_syn, NULL), 0);
	assert_int_equal(seen.n, 1);
	assert_int_equal(seen.syn.from.port, ntohs(own.sin_port));
	assert_int_equal(shim_diverted(s, &seen.syn.from, &there), -ENOENT);
	close(fd);
}

/* a SYN that has come by another interface, whoever it says it is from */
static void by_an_interface(void **state)
{
	static const uint8_t head[14] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x86, 0xdd};
	struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_halen = 6};
	struct answer_syn forged;
	uint8_t frame[sizeof(head) + ANSWER_MAX_B];
	struct shim *s = st_shim();
	size_t len;
	int fd, app;

	stc_need();
	app = application(true);
	one_syn(s, true);
	st_run("ip link add w0 address 02:00:00:00:00:01 type veth peer name w1; sysctl -qw net.ipv6.conf.w1.disable_ipv6=1; "
	       "ip link set w0 up; ip link set w1 up");
	to.sll_ifindex = (int)if_nametoindex("w1");
	fd = socket(AF_PACKET, SOCK_RAW, 0);
	assert_true(fd >= 0);
	for (int own = 0; own < 2; own++) {
		forged = seen.syn;
		forged.tcp[4] ^= 1; /* another number */
		if (!own)
			assert_int_equal(mvpn_addr_parse(&forged.from.addr, "fd09::9"), 0);
		memcpy(frame, head, sizeof(head));
		len = sizeof(head) + answer_again_packet(frame + sizeof(head), &forged);
		assert_int_equal(sendto(fd, frame, len, 0, (struct sockaddr *)&to, sizeof(to)), len);
	}
	seen.n = 0;
	st_run("timeout 5 sh -c 'until [ $(awk \"/w0:/ {print \\$3}\" /proc/thread-self/net/dev) -ge 2 ]; do sleep 0.01; done'");
	assert_int_equal(shim_syns(s, 64, on_syn, NULL), 0);
	assert_int_equal(seen.n, 0);
	st_run("ip link del w0");
	close(fd);
	close(app);
}

static void a_few_at_a_time(void **state)
{
	struct shim *s = st_shim();
	int fd[5];

	stc_need();
	for (unsigned i = 0; i < 5; i++)
		fd[i] = application(i & 1);
	seen.n = 0;
	assert_int_equal(shim_syns(s, 2, on_syn, NULL), 0);
	assert_int_equal(seen.n, 2);
	assert_int_equal(shim_syns(s, 64, on_syn, NULL), 0);
	assert_int_equal(seen.n, 5);
	for (unsigned i = 0; i < 5; i++)
		close(fd[i]);
}

/* its listener goes with it: what TCP sends again is refused */
static void keyd_dies(void **state)
{
	struct shim *s = st_shim();
	int fd;

	stc_need();
	fd = application(false);
	one_syn(s, false);
	close(listener);
	listener = -1;
	assert_int_equal(answer_again(answers, &seen.syn), 0);
	assert_int_equal(outcome(fd, 500), ECONNREFUSED);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(waits_and_is_answered),
		cmocka_unit_test(who_was_not_diverted),
		cmocka_unit_test(by_an_interface),
		cmocka_unit_test(a_few_at_a_time),
		cmocka_unit_test(keyd_dies),
	};

	if (st_setup(NULL) < 0)
		return 1;
	return cmocka_run_group_tests(tests, up, down);
}
