/* SPDX-License-Identifier: BSD-2-Clause */
/* The server when more handshakes come than it wants to do: strangers pay, known devices pass. */
#include "../sim/sim.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "loop.h"

/* a HELLO that d might send: a recorded one, for who sends it again and again */
static size_t hello_of(struct sim_device *d, uint8_t ret[256])
{
	struct chan_client c = {.s = d->sk, .server_pk = d->server_pk, .psk = d->psk};
	const uint8_t *p;
	struct chan *ch;
	size_t len;

	assert_int_equal(chan_new_client(&ch, &c), 0);
	p = chan_output(ch, &len);
	assert_true(len <= 256);
	memcpy(ret, p, len);
	chan_free(ch);
	return len;
}

#define HERE UINT_MAX

/* from the nth address of 127.1.0.0/16, or from where the devices are; flags: SOCK_NONBLOCK: without waiting while the server's queue is full */
static int connect_from(struct sim_server *s, unsigned n, int flags)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
	struct sockaddr_in from = {.sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(n == HERE ? INADDR_LOOPBACK
								      : 0x7f010001 + n % 60000)};
	struct sockaddr_in to = {.sin_family = AF_INET,
				 .sin_port = htons(s->port),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

	if (fd < 0 || bind(fd, (struct sockaddr *)&from, sizeof(from)) < 0 ||
	    (connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0 && errno != EINPROGRESS)) {
		close(fd);
		return -1;
	}
	return fd;
}

/* connections that a flood keeps open: more than may wait to be accepted, so that those that are accepted still stand */
#define HELD 8192

/* a flood, in a process of its own: each address once in a while (or from HERE alone), each time with that HELLO, or without (len 0) */
static pid_t flood(struct sim_server *s, const uint8_t *hello, size_t len, unsigned from)
{
	pid_t pid = fork();
	int fds[HELD];

	assert_true(pid >= 0);
	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	setrlimit(RLIMIT_NOFILE, &(struct rlimit){HELD + 256, HELD + 256});
	memset(fds, -1, sizeof(fds));
	for (unsigned n = 0;; n++) {
		close(fds[n % HELD]);
		fds[n % HELD] = connect_from(s, from == HERE ? HERE : n, SOCK_NONBLOCK);
		send(fds[n % HELD], hello, len, MSG_NOSIGNAL | MSG_DONTWAIT);
	}
}

static void end_flood(pid_t pid)
{
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void restart(struct sim_server *s, uint64_t unproven, uint64_t worked)
{
	sim_server_stop(s);
	s->handshakes_unproven = unproven;
	s->handshakes_worked = worked;
	sim_server_start(s);
}

/* ---- CPU time ---- */

static double cpu_us(clockid_t clock)
{
	struct timespec ts;

	assert_int_equal(clock_gettime(clock, &ts), 0);
	return (double)ts.tv_sec * 1e6 + (double)ts.tv_nsec / 1e3;
}

static double server_cpu_us(const struct sim_server *s)
{
	clockid_t clock;

	assert_int_equal(clock_getcpuclockid(s->pid, &clock), 0);
	return cpu_us(clock);
}

#define SAMPLES 200

/* what each of SAMPLES recorded HELLOs costs the server, until it has answered or closed */
static double replay_us(struct sim_server *s, const uint8_t *hello, size_t len, size_t answer)
{
	double before = server_cpu_us(s);
	uint8_t buf[256];

	for (unsigned i = 0; i < SAMPLES; i++) {
		int fd = connect_from(s, i, 0);

		assert_int_equal(send(fd, hello, len, 0), len);
		assert_int_equal(recv(fd, buf, sizeof(buf), 0), answer);
		close(fd);
	}
	sim_wait_counter(s, "closed_by_peer", SAMPLES - 1);
	return (server_cpu_us(s) - before) / SAMPLES;
}

/* what the work for one handshake costs who is asked for it */
static double work_us(struct sim_device *d, unsigned bits)
{
	struct chan_client c = {.s = d->sk, .server_pk = d->server_pk, .psk = d->psk};
	uint8_t challenge[2 + 18] = {0, 18, (uint8_t)bits};
	double before = cpu_us(CLOCK_THREAD_CPUTIME_ID);

	for (unsigned i = 0; i < SAMPLES; i++) {
		struct chan *ch;

		assert_int_equal(chan_new_client(&ch, &c), 0);
		memcpy(challenge + 4, &i, sizeof(i));
		assert_int_equal(chan_feed(ch, challenge, sizeof(challenge)), 0);
		assert_int_equal(chan_work(ch, UINT_MAX), 1);
		chan_free(ch);
	}
	return (cpu_us(CLOCK_THREAD_CPUTIME_ID) - before) / SAMPLES;
}

static void a_handshake_costs_a_stranger_more_than_the_server(void **state)
{
	struct sim_net n;
	uint8_t hello[256];
	double done, refused, work;
	size_t len;

	sim_net_up(&n);
	len = hello_of(&n.a, hello);
	restart(&n.s, 0, 0);
	done = replay_us(&n.s, hello, len, 2 + 48);
	/* the same once it takes a proof: after one that goes on unproven */
	restart(&n.s, 1, 0);
	assert_true(sim_login(&n.b));
	refused = replay_us(&n.s, hello, len, 2 + 18);
	work = work_us(&n.a, 12);
	print_message("a recorded HELLO costs the server %.0f us; %.0f us when a proof is asked for, "
		      "which costs %.0f us to make: %.1f times the handshake\n",
		      done, refused, work, work / done);
	assert_true(refused < done);
	assert_true(work > done);
	sim_net_down(&n);
}

/* ---- who passes ---- */

static double introduce_ms(struct sim_net *n)
{
	uint64_t began = mono_ns();
	struct intro_keys keys;
	struct sim_request q;
	uint8_t session[16];
	double ms;

	sim_request(&n->a, B_ADDR, &q);
	sim_expect(&n->b, MVPN_MSG_OFFER);
	ms = (double)(mono_ns() - began) / 1e6;
	sim_accept(&n->b, session, &keys);
	sim_expect(&n->a, MVPN_MSG_ANSWER);
	assert_int_equal(sim_finish(&n->a, &q, &keys), 0);
	return ms;
}

static int cmp(const void *x, const void *y)
{
	double d = *(const double *)x - *(const double *)y;

	return (d > 0) - (d < 0);
}

#define PUSHES 40

/* the median of the time in which a REQUEST reaches the other device */
static double push_ms(struct sim_net *n)
{
	double ms[PUSHES];

	for (unsigned i = 0; i < PUSHES; i++)
		ms[i] = introduce_ms(n);
	qsort(ms, PUSHES, sizeof(ms[0]), cmp);
	return ms[PUSHES / 2];
}

static void under_a_flood_known_devices_log_in_and_are_served(void **state)
{
	struct sim_net n;
	char token[MVPN_TOKEN_MAX];
	uint8_t hello[256];
	double calm, flooded;
	size_t len;
	pid_t pid;

	sim_net_up(&n);
	calm = push_ms(&n);
	len = hello_of(&n.b, hello);
	sim_token(&n.s, NULL, NULL, token);
	restart(&n.s, 1, 20); /* with more, c may be among those that go on unproven */
	pid = flood(&n.s, hello, len, 0);
	sim_wait_counter(&n.s, "challenged", 1000);
	/* those that have been here before, after the server's restart: by ticket */
	sim_rejoin(&n.a, A_ADDR);
	sim_rejoin(&n.b, B_ADDR);
	assert_true(sim_counter(&n.s, "proved_ticket") >= 2);
	assert_int_equal(sim_counter(&n.s, "ticket_refused"), 0);
	flooded = push_ms(&n);
	print_message("a REQUEST reaches the other device in %.2f ms, %.2f ms under a flood of %lld connections\n",
		      calm, flooded, (long long)sim_counter(&n.s, "accepted"));
	assert_true(flooded < 100);
	/* a new one has nothing but its work */
	assert_true(sim_enrol_start(&n.c, token));
	sim_register(&n.c, "c", NULL, 0);
	sim_expect(&n.c, MVPN_MSG_WELCOME);
	assert_true(sim_counter(&n.s, "proved_work") >= 1);
	end_flood(pid);
	sim_net_down(&n);
}

/* a slow machine may lose one before its HELLO is heard: a device tries again, too */
static void login_at_last(struct sim_device *d)
{
	for (unsigned tries = 0; !sim_login(d); tries++)
		assert_true(tries < 20);
}

static void connections_that_say_nothing_make_room(void **state)
{
	struct sim_net n;
	pid_t pid;

	sim_net_up(&n);
	sim_hang_up(&n.a);
	sim_hang_up(&n.b);
	n.s.half_open = 200;
	restart(&n.s, 0, 0);
	pid = flood(&n.s, (const uint8_t *)"", 0, 0);
	for (unsigned many = 100; many <= 1000; many += 100) /* at whatever pace */
		sim_wait_counter(&n.s, "evicted", many);
	login_at_last(&n.a);
	assert_int_equal(sim_counter(&n.s, "refused_half_open"), 0);
	assert_in_range(sim_counter(&n.s, "handshake_ok"), 1, 20);
	end_flood(pid);
	sim_net_down(&n);
}

/* who floods from behind the same NAT as devices takes what goes on unproven from there, and nothing else */
static void neighbours_of_a_flooder_log_in(void **state)
{
	struct sim_net n;
	uint8_t hello[256];
	size_t len;
	pid_t pid;

	sim_net_up(&n);
	len = hello_of(&n.b, hello);
	sim_hang_up(&n.a);
	n.s.half_open_source = 16;
	n.s.handshakes_source = 20;
	restart(&n.s, 0, 0);
	pid = flood(&n.s, hello, len, HERE);
	sim_wait_counter(&n.s, "challenged_source", 1000);
	login_at_last(&n.a);
	assert_true(sim_counter(&n.s, "proved_ticket") >= 1);
	assert_int_equal(sim_counter(&n.s, "refused_half_open"), 0);
	/* the flood is within its bounds */
	assert_in_range(sim_counter(&n.s, "proved_work"), 0, 1);
	end_flood(pid);
	sim_net_down(&n);
}

static void one_device_cannot_flood_with_its_tickets(void **state)
{
	struct sim_net n;

	sim_net_up(&n);
	restart(&n.s, 1, 0);
	for (unsigned i = 0; i < 12; i++)
		sim_rejoin(&n.a, A_ADDR);
	/* it went on by working */
	assert_in_range(sim_counter(&n.s, "proved_ticket"), 4, 10);
	assert_true(sim_counter(&n.s, "ticket_refused") >= 1);
	assert_int_equal(sim_counter(&n.s, "proved_work"), sim_counter(&n.s, "ticket_refused"));
	/* nor does it keep one from others */
	sim_rejoin(&n.b, B_ADDR);
	sim_net_down(&n);
}

/* so that 1000 a second come when all are lost at once */
static void devices_are_told_how_soon_to_return(void **state)
{
	struct sim_net n;

	sim_net_up(&n);
	restart(&n.s, 1, 0);
	sim_rejoin(&n.a, A_ADDR);
	assert_int_equal(n.a.return_ms, 1);
	sim_rejoin(&n.b, B_ADDR);
	assert_int_equal(n.b.return_ms, 2);
	sim_net_down(&n);
}

static void a_revoked_device_is_a_stranger(void **state)
{
	struct sim_net n;

	sim_net_up(&n);
	json_decref(sim_ok(&n.s, "device-revoke", "{s:s}", "device", "a"));
	restart(&n.s, 1, 0);
	sim_rejoin(&n.b, B_ADDR);
	sim_rejoin(&n.b, B_ADDR);
	assert_int_equal(sim_counter(&n.s, "ticket_refused"), 0);
	assert_true(sim_login(&n.a));
	sim_expect_close(&n.a, MVPN_R_REVOKED);
	assert_int_equal(sim_counter(&n.s, "ticket_refused"), 1);
	sim_net_down(&n);
}

static void the_price_rises_with_the_demand(void **state)
{
	struct sim_net n;
	struct sim_device d[6];
	char token[6][MVPN_TOKEN_MAX];
	json_int_t before;

	sim_net_up(&n);
	for (unsigned i = 0; i < 6; i++)
		sim_token(&n.s, NULL, NULL, token[i]);
	restart(&n.s, 1, 2);
	for (unsigned i = 0; i < 6; i++) {
		sim_device_init(&d[i], &n.s);
		assert_true(sim_enrol_start(&d[i], token[i]));
	}
	before = sim_counter(&n.s, "proved_work");
	/* those who came when the rate was used up were asked for more, and had to wait */
	assert_true(before >= 4);
	assert_true(sim_counter(&n.s, "challenged") > before);
	for (unsigned i = 0; i < 6; i++)
		sim_device_free(&d[i]);
	sim_net_down(&n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_handshake_costs_a_stranger_more_than_the_server),
		cmocka_unit_test(under_a_flood_known_devices_log_in_and_are_served),
		cmocka_unit_test(connections_that_say_nothing_make_room),
		cmocka_unit_test(neighbours_of_a_flooder_log_in),
		cmocka_unit_test(one_device_cannot_flood_with_its_tickets),
		cmocka_unit_test(devices_are_told_how_soon_to_return),
		cmocka_unit_test(a_revoked_device_is_a_stranger),
		cmocka_unit_test(the_price_rises_with_the_demand),
	};

	return MVPN_RUN(tests);
}
