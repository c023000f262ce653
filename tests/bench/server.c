/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the server does for thousands of devices, and what it takes for that: `make bench-server [DEVICES=n]`, as root.
 *
 *   server MVPN-SERVER DEVICES
 *
 * The server is the program itself, in a process of its own; the devices (tests/sim/swarm.h) are real in everything but their
 * data path, all in this process, on one thread, over loopback. TSV, with a header, to standard output:
 *
 *   system  metric  value  unit  ratio_to_plain  ratio_to_best_peer  devices
 *
 * first_logins_per_s: devices that know nothing yet log in and are told the whole protected set, as many as FIRST_B bytes of it
 * allow (the others come in behind them as if they had been here before); handshakes_per_s: all once more. introductions_per_s: as many as WINDOW at a time gives. push_*: from a REQUEST to its OFFER at the other device, at
 * PUSHES_PER_S. change_s, policy_apply_s, revoke_s: from the administrator's command until the last device that it concerns
 * has acted on it: a new address that all devices are told; a policy that cuts a session of every device; the revocation of a
 * device that has a session with every other. restart_s: from the server's kill -9 until all are back, with
 * keyd's waits (lib/backoff.h), through the gate (server/gate.h): restart_by_ticket of them were asked for their ticket, restart_by_work, which
 * should be none, to work; half are back after restart_p50. Only the first log-ins go past the gate, since nobody has a ticket yet. *_cpu_us, *_cpu: the server's alone, each of what is counted; *_devices_cpu_us:
 * that of all devices together. *_repeated: a loaded machine lets a log-in or an introduction run into its time-out now and then;
 * it is asked for again, and counted here.
 *
 * A number of devices that the machine has no room for is left out, with the reason on standard error.
 */
#include "server.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "crypto.h"
#include "log.h"

#define WINDOW 128 /* log-ins and introductions under way at once */
#define INTRODUCE_MS 4000
#define PUSHES_PER_S 500
#define PUSH_MS 4000
#define PUSHES_MAX (PUSHES_PER_S * PUSH_MS / 1000)
#define IDLE_MS 2000
#define PHASE_MS 900000 /* nothing takes that long */
#define PEERS_MAX 10000 /* sessions of the device that is revoked */
#define FIRST_B 8e9	/* of protected sets told at the first log-ins */
#define PREFIX_B 72	/* of it, each device's: PREFIX and PEER, more or less */
#define ROOM_B 40960	/* of memory, each device's at both ends and in the kernel */

static const char all[] = "allow even -> even\nallow odd -> odd\nallow even -> odd\n";
static const char less[] = "allow even -> even\nallow odd -> odd\n";

static struct bench {
	struct loop *loop;
	struct loop_timer *tick;
	struct swarm w;
	struct bench_server s;
	void (*event)(struct swarm_device *d, enum swarm_event e, struct swarm_device *peer);
	bool (*over)(void); /* looked at after each event and each tick */
	void (*each_tick)(void);
	unsigned tick_ms;
	uint64_t end_ns, began_ns, last_ns;
	/* phases */
	const char *what;
	uint64_t deadline_ms;
	unsigned next, limit, under_way, finished, targets, repeated;
	uint8_t *mark; /* of each device: what it still waits for */
	double pushes[PUSHES_MAX];
	unsigned npushes;
	uint64_t rev;
	double *back_s; /* of each device, until it was back */
	unsigned nback;
} b;

/* ---- output ---- */

static void out(const char *metric, double value, const char *unit)
{
	printf("server\t%s\t%.4g\t%s\t-\t-\t%u\n", metric, value, unit, b.w.n);
	fflush(stdout);
}

static double seconds(uint64_t from_ns, uint64_t to_ns)
{
	return (double)(to_ns - from_ns) / 1e9;
}

/* CPU time of both, so far */
struct busy {
	uint64_t server_ns, devices_ns;
};

static struct busy busy_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (struct busy){host_cpu_ns(&b.s),
			     (uint64_t)ts.tv_sec * 1000000000ULL + (uint64_t)ts.tv_nsec};
}

/* what each of n things took of either */
static void out_busy(const char *what, struct busy from, unsigned n)
{
	struct busy now = busy_now();
	char metric[64];

	snprintf(metric, sizeof(metric), "%s_cpu_us", what);
	out(metric, (double)(now.server_ns - from.server_ns) / 1e3 / n, "us");
	snprintf(metric, sizeof(metric), "%s_devices_cpu_us", what);
	out(metric, (double)(now.devices_ns - from.devices_ns) / 1e3 / n, "us");
}

static int cmp(const void *x, const void *y)
{
	double d = *(const double *)x - *(const double *)y;

	return (d > 0) - (d < 0);
}

/* ---- waiting ---- */

static void check(void)
{
	if (b.over())
		loop_quit(b.loop);
}

static void on_event(void *arg, struct swarm_device *d, enum swarm_event e,
		     struct swarm_device *peer)
{
	if (b.event)
		b.event(d, e, peer);
	check();
}

static void on_tick(void *arg)
{
	if (b.each_tick)
		b.each_tick();
	errno = 0;
	must(mono_ms() < b.deadline_ms, b.what);
	check();
	loop_timer_arm(b.tick, b.tick_ms);
}

/* runs until over() says so */
static void phase(const char *what,
		  void (*event)(struct swarm_device *, enum swarm_event, struct swarm_device *),
		  bool (*over)(void), void (*each_tick)(void), unsigned tick_ms)
{
	b.what = what;
	b.deadline_ms = mono_ms() + PHASE_MS;
	b.event = event;
	b.over = over;
	b.each_tick = each_tick;
	b.tick_ms = tick_ms;
	loop_timer_arm(b.tick, tick_ms);
	loop_run(b.loop);
	loop_timer_disarm(b.tick);
}

static bool time_over(void)
{
	return mono_ns() >= b.end_ns;
}

static void pause_ms(unsigned ms)
{
	b.end_ns = mono_ns() + ms * 1000000ULL;
	phase("pause", NULL, time_over, NULL, 10);
}

/* ---- logging in ---- */

static void log_in_more(void)
{
	for (; b.next < b.limit && b.under_way < WINDOW; b.next++, b.under_way++)
		must(swarm_connect(&b.w.devices[b.next]) == 0, "connect");
}

/* once more, what a time-out has ended; but not for ever */
static void again(const char *what)
{
	errno = 0;
	must(++b.repeated <= 10 + b.w.n / 10, what);
}

static void logged_in(struct swarm_device *d, enum swarm_event e, struct swarm_device *peer)
{
	if (e == SWARM_LOST) {
		again("log-ins are refused");
		must(swarm_connect(d) == 0, "connect");
	}
	if (e != SWARM_READY)
		return;
	b.under_way--;
	log_in_more();
}

static bool all_ready(void)
{
	return b.w.nready == b.limit;
}

/* devices from b.next to the limit, of whom there are so many */
static void log_in(const char *what, unsigned limit)
{
	b.limit = limit;
	b.under_way = 0;
	log_in_more();
	phase(what, logged_in, all_ready, NULL, 1000);
}

static void log_in_measured(const char *rate, const char *what, unsigned limit)
{
	struct busy from = busy_now();

	b.next = b.repeated = 0;
	b.began_ns = mono_ns();
	log_in(rate, limit);
	out(rate, limit / seconds(b.began_ns, mono_ns()), "1/s");
	out_busy(what, from, limit);
}

/* of each, for nobody has the time to hear 50 000 times of 50 000 devices */
static unsigned first_ones(void)
{
	double n = FIRST_B / ((double)b.w.n * PREFIX_B);

	return n < b.w.n ? (unsigned)n : b.w.n;
}

/* the others have been told what those know */
static void log_the_others_in(unsigned first)
{
	for (unsigned i = first; i < b.w.n; i++) {
		b.w.devices[i].knows_set = b.w.devices[0].knows_set;
		memcpy(b.w.devices[i].set, b.w.devices[0].set, sizeof(b.w.devices[i].set));
	}
	log_in("log-ins of the others", b.w.n);
}

/* of devices that have no ticket yet: what each costs, not how many the gate lets in */
static void first_log_ins(void)
{
	unsigned first = first_ones();

	host_start(&b.s, &b.w, false);
	log_in_measured("first_logins_per_s", "first_login", first);
	log_the_others_in(first);
	pause_ms(500);
	for (unsigned i = 0; i < b.w.n; i++)
		swarm_hang_up(&b.w.devices[i]);
	host_kill(&b.s);
}

static void log_in_phases(void)
{
	uint64_t before, busy;

	host_start(&b.s, &b.w, true);
	before = host_memory_b(&b.s, "VmRSS");
	log_in_measured("handshakes_per_s", "handshake", b.w.n);
	out("logins_repeated", b.repeated, "");
	pause_ms(500);
	out("bytes_per_channel", ((double)host_memory_b(&b.s, "VmRSS") - (double)before) / b.w.n,
	    "B");
	out("rss", (double)host_memory_b(&b.s, "VmRSS") / 1e6, "MB");
	out("rss_peak", (double)host_memory_b(&b.s, "VmHWM") / 1e6, "MB");
	busy = host_cpu_ns(&b.s);
	pause_ms(IDLE_MS);
	out("idle_cpu", (double)(host_cpu_ns(&b.s) - busy) / 1e4 / IDLE_MS, "%");
}

/* ---- introductions ---- */

/* the nth pair: each device asks its next neighbour first, then the one after that */
static bool request_nth(unsigned n)
{
	unsigned a = n % b.w.n, shift = 1 + n / b.w.n % (b.w.n - 1);
	int r = swarm_request(&b.w.devices[a], &b.w.devices[(a + shift) % b.w.n]);

	must(r == 0 || r == -EBUSY, "REQUEST");
	return r == 0;
}

static void request_more(void)
{
	/* a device that still waits for an answer is passed over; there is always one that does not */
	while (b.next < b.limit && b.under_way < WINDOW && b.under_way < b.w.n / 2 &&
	       mono_ns() < b.end_ns)
		b.under_way += request_nth(b.next++);
}

static void introduced(struct swarm_device *d, enum swarm_event e, struct swarm_device *peer)
{
	if (e != SWARM_SESSION && e != SWARM_FAIL)
		return;
	b.under_way--;
	b.finished += e == SWARM_SESSION;
	request_more();
}

static bool introductions_over(void)
{
	return !b.under_way;
}

static void introduction_phase(void)
{
	struct busy from = busy_now();
	uint64_t fails = b.w.fails;
	double took;

	b.next = b.under_way = b.finished = 0;
	b.limit = UINT32_MAX;
	b.began_ns = mono_ns();
	b.end_ns = b.began_ns + INTRODUCE_MS * 1000000ULL;
	request_more();
	phase("introductions", introduced, introductions_over, NULL, 1000);
	took = seconds(b.began_ns, mono_ns());
	out("introductions_per_s", b.finished / took, "1/s");
	out_busy("introduction", from, b.finished);
	out("introductions_failed", (double)(b.w.fails - fails), "");
}

/* ---- pushes ---- */

static void push_one(void)
{
	if (mono_ns() < b.end_ns)
		request_nth(b.next++);
}

static void pushed(struct swarm_device *d, enum swarm_event e, struct swarm_device *peer)
{
	if (e != SWARM_OFFER || !peer || !peer->asked || peer->offered)
		return;
	peer->offered = true;
	if (b.npushes < PUSHES_MAX)
		b.pushes[b.npushes++] = (double)(mono_ns() - peer->asked_ns) / 1e6;
}

static void push_phase(void)
{
	b.npushes = 0;
	b.end_ns = mono_ns() + PUSH_MS * 1000000ULL;
	phase("pushes", pushed, time_over, push_one, 1000 / PUSHES_PER_S);
	must(b.npushes > 0, "pushes");
	qsort(b.pushes, b.npushes, sizeof(b.pushes[0]), cmp);
	out("push_p50", b.pushes[b.npushes / 2], "ms");
	out("push_p99", b.pushes[b.npushes * 99 / 100], "ms");
	pause_ms(200);
}

/* ---- an administrator's commands ---- */

enum { WAITS_REVOKE = 1, WAITS_NEWS = 2, WAITS_END = 4, HAS_SESSION = 8 };

static void settle(struct swarm_device *d, unsigned bit)
{
	if (!(b.mark[d->index] & bit))
		return;
	b.mark[d->index] &= (uint8_t)~bit;
	b.targets--;
	b.last_ns = mono_ns();
}

static void await(struct swarm_device *d, unsigned bits)
{
	b.mark[d->index] = (uint8_t)bits; /* and no HAS_SESSION any more */
	b.targets += (unsigned)__builtin_popcount(bits);
}

static bool all_settled(void)
{
	return !b.targets;
}

static void paired(struct swarm_device *d, enum swarm_event e, struct swarm_device *peer)
{
	if (e == SWARM_SESSION && peer)
		b.mark[d->index] = b.mark[peer->index] = HAS_SESSION;
	introduced(d, e, peer);
}

/* a session for each even device with its neighbour, but for those that a time-out leaves without */
static void pair_up(void)
{
	b.next = b.under_way = 0;
	b.limit = b.w.n;
	b.end_ns = UINT64_MAX;
	request_more();
	phase("sessions of all", paired, introductions_over, NULL, 1000);
}

static void hears_policy(struct swarm_device *d, enum swarm_event e, struct swarm_device *peer)
{
	if (e == SWARM_REVOKED)
		settle(d, WAITS_REVOKE);
	if (e == SWARM_COMMIT && d->rev == b.rev)
		settle(d, WAITS_NEWS);
}

static void command(const char *metric, const char *verb, json_t *args,
		    void (*event)(struct swarm_device *, enum swarm_event, struct swarm_device *))
{
	struct admin_call *c = admin_start(&b.s, verb, args);
	uint64_t began = admin_began_ns(c);

	phase(verb, event, all_settled, NULL, 1000);
	admin_finish(c);
	if (metric)
		out(metric, seconds(began, b.last_ns), "s");
}

static void policy_phase(void)
{
	pair_up();
	for (unsigned i = 0; i < b.w.n; i++)
		await(&b.w.devices[i],
		      WAITS_NEWS | (b.mark[i] & HAS_SESSION ? WAITS_REVOKE : 0));
	b.rev = 2;
	command("policy_apply_s", "policy-apply", json_pack("{s:s}", "text", less), hears_policy);
	for (unsigned i = 0; i < b.w.n; i++)
		await(&b.w.devices[i], WAITS_NEWS);
	b.rev = 3;
	command(NULL, "policy-apply", json_pack("{s:s}", "text", all), hears_policy);
}

static void hears_change(struct swarm_device *d, enum swarm_event e, struct swarm_device *peer)
{
	if (e == SWARM_COMMIT)
		settle(d, WAITS_NEWS);
}

static void change_phase(void)
{
	for (unsigned i = 0; i < b.w.n; i++)
		await(&b.w.devices[i], WAITS_NEWS);
	command("change_s", "device-address",
		json_pack("{s:s, s:s}", "device", "device-1", "add", "172.16.0.1"), hears_change);
}

static void ask_hub(void)
{
	for (; b.next < b.limit && b.under_way < WINDOW; b.next++, b.under_way++)
		must(swarm_request(&b.w.devices[b.next], &b.w.devices[0]) == 0, "REQUEST");
}

static void hub_answered(struct swarm_device *d, enum swarm_event e, struct swarm_device *peer)
{
	if (e == SWARM_FAIL) {
		again("sessions with the device that everybody talks to");
		must(swarm_request(d, &b.w.devices[0]) == 0, "REQUEST");
	}
	if (e != SWARM_SESSION)
		return;
	b.under_way--;
	ask_hub();
}

static void hears_revocation(struct swarm_device *d, enum swarm_event e, struct swarm_device *peer)
{
	if (e == SWARM_REVOKED && peer == &b.w.devices[0])
		settle(d, WAITS_REVOKE);
	if (e == SWARM_LOST)
		settle(d, WAITS_END);
}

static void revoke_phase(void)
{
	b.next = 1;
	b.under_way = b.repeated = 0;
	b.limit = b.w.n < PEERS_MAX ? b.w.n : PEERS_MAX;
	ask_hub();
	phase("sessions with one", hub_answered, introductions_over, NULL, 1000);
	for (unsigned i = 1; i < b.limit; i++)
		await(&b.w.devices[i], WAITS_REVOKE);
	await(&b.w.devices[0], WAITS_END);
	command("revoke_s", "device-revoke", json_pack("{s:s}", "device", "device-0"),
		hears_revocation);
}

/* ---- the server dies ---- */

static bool all_but_one_ready(void)
{
	return b.w.nready == b.w.n - 1;
}

static bool none_ready(void)
{
	return !b.w.nready;
}

static void returned(struct swarm_device *d, enum swarm_event e, struct swarm_device *peer)
{
	if (e == SWARM_READY)
		b.back_s[b.nback++ % b.w.n] = seconds(b.began_ns, mono_ns());
}

static void out_counter(const char *metric, const char *counter)
{
	out(metric, (double)host_counter(&b.s, counter), "");
}

static void restart_phase(void)
{
	uint64_t sessions = host_sessions(&b.s);

	b.w.reconnect = true;
	b.began_ns = mono_ns();
	host_kill(&b.s);
	host_start(&b.s, &b.w, true);
	out("restart_ready_s", seconds(b.began_ns, mono_ns()), "s");
	phase("the end of all channels", returned, none_ready, NULL, 10);
	phase("the return of all devices", returned, all_but_one_ready, NULL, 1000);
	out("restart_s", seconds(b.began_ns, mono_ns()), "s");
	qsort(b.back_s, b.nback, sizeof(*b.back_s), cmp);
	out("restart_p50", b.back_s[b.nback / 2], "s");
	out("restart_cpu_s", (double)host_cpu_ns(&b.s) / 1e9, "s");
	out("restart_rss_peak", (double)host_memory_b(&b.s, "VmHWM") / 1e6, "MB");
	out("restart_sessions_lost", (double)sessions - (double)host_sessions(&b.s), "");
	out_counter("restart_connections", "accepted");
	out_counter("restart_by_ticket", "proved_ticket");
	out_counter("restart_by_work", "proved_work");
	out_counter("restart_refused", "refused_half_open");
}

/* false, and says why, if so many devices cannot be */
static bool room_for(unsigned n)
{
	struct rlimit l = {n + 1024, n + 1024};
	uint64_t have = host_memory_free_b();

	if (have < (uint64_t)n * ROOM_B) {
		fprintf(stderr, "bench-server: %u devices left out: they take %llu MB of memory, %llu MB are free\n",
			n, (unsigned long long)n * ROOM_B / 1000000,
			(unsigned long long)have / 1000000);
		return false;
	}
	if (setrlimit(RLIMIT_NOFILE, &l) < 0) {
		fprintf(stderr,
			"bench-server: %u devices left out: %llu descriptors a process are not allowed: %s "
			"(as root; fs.nr_open)\n",
			n, (unsigned long long)l.rlim_cur, strerror(errno));
		return false;
	}
	return true;
}

int main(int argc, char **argv)
{
	unsigned n = argc == 3 ? (unsigned)strtoul(argv[2], NULL, 10) : 0;

	if (n < 10 || n >= MVPN_PEERS_MAX) {
		fprintf(stderr, "usage: server MVPN-SERVER DEVICES (10 to %d)\n",
			MVPN_PEERS_MAX - 1);
		return 2;
	}
	log_init("bench-server", LOG_L_ERR);
	must(mvpn_crypto_init() == 0, "libsodium");
	if (!room_for(n))
		return 0;
	b.mark = calloc(n, 1);
	b.back_s = calloc(n, sizeof(*b.back_s));
	must(b.mark && b.back_s && loop_new(&b.loop) == 0 &&
		     loop_timer_new(b.loop, on_tick, NULL, &b.tick) == 0 &&
		     swarm_init(&b.w, b.loop, n) == 0,
	     "memory");
	b.w.on_event = on_event;
	host_make(&b.s, argv[1], &b.w, all);
	first_log_ins();
	log_in_phases();
	introduction_phase();
	push_phase();
	policy_phase();
	change_phase();
	revoke_phase();
	restart_phase();
	swarm_free(&b.w);
	host_free(&b.s);
	loop_timer_free(b.tick);
	loop_free(b.loop);
	free(b.mark);
	free(b.back_s);
	return 0;
}
