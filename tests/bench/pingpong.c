/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Traffic with a stopwatch, for the benchmark, the demo and the tests. It knows nothing of mvpn.
 *
 *   pingpong serve PORT                       TCP and UDP, both families: a banner byte on accept, then echo; UDP below
 *   pingpong ask tcp|udp ADDR PORT N SIZE     N exchanges one after the other: "p50_us p99_us lost"
 *   pingpong first ADDR PORT                  microseconds from connect() to the first byte of data
 *   pingpong send ADDR PORT SIZE SECS PPS     numbered datagrams (PPS 0: flat out), counted by the server:
 *                                             "sent N received N duplicate N reordered N pps N"
 *   pingpong rate ADDR PORT SIZE SECS PPS     the highest rate up to PPS of which less than 1 % is lost,
 *                                             by bisection in runs of SECS: "pps N"
 */
#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "descriptors.h"

enum {
	BACKLOG = 4096,
	BATCH = 64,
	SIZE_MAX_B = 65000,
	SEQ_MAX = 1 << 24, /* numbered datagrams of one run whose duplicates are seen */
	ASK_TIMEOUT_MS = 1000,
	QUERY_TRIES = 20,
	FIRST_TIMEOUT_MS = 10000,
	PACE_NS = 50000, /* paced senders sleep so long at least; what is due then goes at once */
	RATE_LOSS_DIV = 100, /* less than 1 in so many lost: the rate is carried */
	RATE_SPAN = 32,	     /* the search goes from PPS down to PPS / RATE_SPAN */
	RATE_TRIALS =
		8, /* the first at PPS, each other halves the logarithm of what is left: within 3 % */
};

enum kind { ECHO = 'E', COUNT = 'C', QUERY = 'Q' };

/* every datagram starts with this, in host order: both ends are one machine or one architecture */
struct head {
	uint8_t kind, zero[3];
	uint32_t run; /* one sender's run; a new one resets the server's counts */
	uint32_t seq;
};

struct counts {
	uint64_t received, duplicate, reordered;
	uint64_t first_ns, last_ns;
	uint32_t run, top;
};

static struct counts counts;
static uint8_t seen[SEQ_MAX / 8];

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000ULL + (uint64_t)t.tv_nsec;
}

static void die(const char *what)
{
	fprintf(stderr, "pingpong: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void count(const struct head *h)
{
	uint32_t bit = h->seq % SEQ_MAX;

	if (h->run != counts.run) {
		memset(&counts, 0, sizeof(counts));
		memset(seen, 0, sizeof(seen));
		counts.run = h->run;
	}
	counts.last_ns = now_ns();
	if (!counts.first_ns)
		counts.first_ns = counts.last_ns;
	if (seen[bit / 8] & 1 << bit % 8) {
		counts.duplicate++;
		return;
	}
	seen[bit / 8] |= (uint8_t)(1 << bit % 8);
	if (counts.received && h->seq < counts.top)
		counts.reordered++;
	else
		counts.top = h->seq;
	counts.received++;
}

static void serve_udp(int fd)
{
	static uint8_t data[BATCH][SIZE_MAX_B];
	struct sockaddr_storage from[BATCH];
	struct iovec iov[BATCH];
	struct mmsghdr m[BATCH];
	int n;

	memset(m, 0, sizeof(m));
	for (int i = 0; i < BATCH; i++) {
		iov[i] = (struct iovec){data[i], sizeof(data[i])};
		m[i].msg_hdr = (struct msghdr){.msg_name = &from[i],
					       .msg_namelen = sizeof(from[i]),
					       .msg_iov = &iov[i],
					       .msg_iovlen = 1};
	}
	n = recvmmsg(fd, m, BATCH, MSG_DONTWAIT, NULL);
	for (int i = 0; i < n; i++) {
		struct head h;

		if (m[i].msg_len < sizeof(h)) /* too short to be numbered: plain echo */
			h.kind = ECHO;
		else
			memcpy(&h, data[i], sizeof(h));
		if (h.kind == COUNT)
			count(&h);
		else if (h.kind == QUERY)
			sendto(fd, &counts, sizeof(counts), 0, (void *)&from[i],
			       m[i].msg_hdr.msg_namelen);
		else
			sendto(fd, data[i], m[i].msg_len, 0, (void *)&from[i],
			       m[i].msg_hdr.msg_namelen);
	}
}

/* false: the client is gone */
static bool serve_tcp(int fd)
{
	static char data[1 << 16];
	ssize_t n = read(fd, data, sizeof(data)), done = 0;

	while (done < n) {
		ssize_t w = write(fd, data + done, (size_t)(n - done));

		if (w <= 0)
			return false;
		done += w;
	}
	return n > 0;
}

static int listener(int type, uint16_t port)
{
	struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	int fd = socket(AF_INET6, type | SOCK_CLOEXEC, 0), off = 0, on = 1, room = 8 << 20;

	if (fd < 0)
		die("socket");
	setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room)))
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room));
	if (bind(fd, (void *)&any, sizeof(any)) || (type == SOCK_STREAM && listen(fd, BACKLOG)))
		die("bind");
	return fd;
}

static void watch(int epfd, int fd)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.fd = fd};

	if (epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &ev))
		die("epoll_ctl");
}

static void accept_one(int epfd, int listener)
{
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC), on = 1;

	if (fd < 0)
		return;
	if (write(fd, "B", 1) != 1) {
		close(fd);
		return;
	}
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	watch(epfd, fd);
}

static _Noreturn void serve(uint16_t port)
{
	int tcp = listener(SOCK_STREAM, port), udp = listener(SOCK_DGRAM, port),
	    epfd = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event ev[BATCH];

	allow_descriptors();
	watch(epfd, tcp);
	watch(epfd, udp);
	signal(SIGPIPE, SIG_IGN);
	puts("ready");
	fflush(stdout);
	for (;;) {
		int n = epoll_wait(epfd, ev, BATCH, -1);

		for (int i = 0; i < n; i++) {
			if (ev[i].data.fd == tcp)
				accept_one(epfd, tcp);
			else if (ev[i].data.fd == udp)
				serve_udp(udp);
			else if (!serve_tcp(ev[i].data.fd))
				close(ev[i].data.fd);
		}
	}
}

static int dial(int type, const char *addr, const char *port, uint64_t *ret_start_ns)
{
	struct addrinfo hint = {.ai_socktype = type, .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV},
			*ai;
	int error = getaddrinfo(addr, port, &hint, &ai), fd, on = 1, room = 4 << 20;

	if (error) {
		fprintf(stderr, "pingpong: %s port %s: %s\n", addr, port, gai_strerror(error));
		exit(1);
	}
	fd = socket(ai->ai_family, type | SOCK_CLOEXEC, 0);
	if (fd < 0)
		die("socket");
	if (type == SOCK_STREAM)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	else if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room)))
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	*ret_start_ns = now_ns();
	if (connect(fd, ai->ai_addr, ai->ai_addrlen))
		die("connect");
	freeaddrinfo(ai);
	return fd;
}

/* exactly len bytes of a stream, or one datagram; false at the timeout or the end */
static bool hear(int fd, int type, void *buf, size_t len, int timeout_ms)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	size_t have = 0;

	while (have < len) {
		ssize_t n;

		if (poll(&p, 1, timeout_ms) <= 0)
			return false;
		n = read(fd, (char *)buf + have, len - have);
		if (n <= 0)
			return false;
		if (type == SOCK_DGRAM)
			return true;
		have += (size_t)n;
	}
	return true;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static int ask(int type, const char *addr, const char *port, size_t n, size_t size)
{
	static uint8_t out[SIZE_MAX_B], in[SIZE_MAX_B];
	double *us = calloc(n ? n : 1, sizeof(*us));
	struct head h = {.kind = ECHO};
	size_t got = 0, lost = 0;
	uint64_t start;
	int fd;

	if (!us || size < sizeof(h) || size > SIZE_MAX_B) {
		errno = EINVAL;
		die("size");
	}
	fd = dial(type, addr, port, &start);
	if (type == SOCK_STREAM && !hear(fd, type, in, 1, FIRST_TIMEOUT_MS))
		die("banner");
	for (uint32_t i = 0; i < n; i++) {
		struct head back = {0};

		h.seq = i;
		memcpy(out, &h, sizeof(h));
		start = now_ns();
		if (write(fd, out, size) != (ssize_t)size)
			die("write");
		do { /* an answer that came too late is not this one's */
			if (!hear(fd, type, in, size, ASK_TIMEOUT_MS))
				break;
			memcpy(&back, in, sizeof(back));
		} while (back.seq != i);
		if (back.seq == i && back.kind == ECHO)
			us[got++] = (double)(now_ns() - start) / 1000;
		else
			lost++;
	}
	qsort(us, got, sizeof(*us), by_value);
	printf("%.1f %.1f %zu\n", got ? us[got / 2] : 0, got ? us[got * 99 / 100] : 0, lost);
	free(us);
	return lost ? 1 : 0;
}

static int first(const char *addr, const char *port)
{
	uint64_t start;
	char c;
	int fd = dial(SOCK_STREAM, addr, port, &start);

	if (!hear(fd, SOCK_STREAM, &c, 1, FIRST_TIMEOUT_MS))
		die("no data");
	printf("%.1f\n", (double)(now_ns() - start) / 1000);
	return 0;
}

/* datagrams [seq, seq + n) of the run; returns how many the kernel took */
static uint32_t send_batch(int fd, uint8_t *data, size_t size, uint32_t run, uint32_t seq,
			   uint32_t n)
{
	struct iovec iov[BATCH];
	struct mmsghdr m[BATCH];
	int sent;

	memset(m, 0, sizeof(m));
	for (uint32_t i = 0; i < n; i++) {
		struct head h = {.kind = COUNT, .run = run, .seq = seq + i};

		memcpy(data + i * size, &h, sizeof(h));
		iov[i] = (struct iovec){data + i * size, size};
		m[i].msg_hdr = (struct msghdr){.msg_iov = &iov[i], .msg_iovlen = 1};
	}
	sent = sendmmsg(fd, m, n, 0);
	/* ECONNREFUSED and the like tell of an earlier datagram */
	return sent > 0 ? (uint32_t)sent : 0;
}

static void sleep_until(uint64_t ns)
{
	struct timespec t = {.tv_sec = (time_t)(ns / 1000000000ULL),
			     .tv_nsec = (long)(ns % 1000000000ULL)};

	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
}

/* how many more datagrams are due at pps after `sent` of them; waits until it is one */
static uint32_t due(uint64_t start_ns, uint64_t sent, uint64_t pps)
{
	uint64_t at = start_ns + sent * 1000000000ULL / pps, now = now_ns(), n;

	if (at > now) {
		sleep_until(at > now + PACE_NS ? at : now + PACE_NS);
		now = now_ns();
	}
	n = (now - start_ns) * pps / 1000000000ULL + 1;
	n = n > sent ? n - sent : 1;
	return n < BATCH ? (uint32_t)n : BATCH;
}

/* asks until all have arrived or two answers agree: what is still on its way has then arrived */
static struct counts received_of(int fd, uint32_t run, uint32_t sent)
{
	struct head query = {.kind = QUERY};
	struct counts c = {0}, before;

	for (int i = 0; i < QUERY_TRIES; i++) {
		before = c;
		if (write(fd, &query, sizeof(query)) < 0 && errno != ECONNREFUSED)
			die("query");
		if (!hear(fd, SOCK_DGRAM, &c, sizeof(c), ASK_TIMEOUT_MS / 2) || c.run != run)
			memset(&c, 0, sizeof(c));
		else if (c.received == sent || (c.received && c.received == before.received))
			break;
		sleep_until(now_ns() + 50000000);
	}
	return c;
}

/* one run of numbered datagrams; returns how many were sent */
static uint32_t numbered(int fd, size_t size, double secs, uint64_t pps, struct counts *ret)
{
	static uint8_t data[BATCH * 9000];
	uint64_t start = now_ns(), end = start + (uint64_t)(secs * 1e9);
	uint32_t run = (uint32_t)(start ^ start >> 32) | 1, seq = 0;

	while (now_ns() < end)
		seq += send_batch(fd, data, size, run, seq, pps ? due(start, seq, pps) : BATCH);
	*ret = received_of(fd, run, seq);
	return seq;
}

static double rate_of(const struct counts *c)
{
	return c->last_ns > c->first_ns
		       ? (double)c->received * 1e9 / (double)(c->last_ns - c->first_ns)
		       : 0;
}

static int dial_numbered(const char *addr, const char *port, size_t size)
{
	uint64_t start;

	if (size < sizeof(struct head) || size > 9000) {
		errno = EINVAL;
		die("size 12..9000");
	}
	return dial(SOCK_DGRAM, addr, port, &start);
}

static int send_numbered(const char *addr, const char *port, size_t size, double secs, uint64_t pps)
{
	struct counts c;
	uint32_t sent = numbered(dial_numbered(addr, port, size), size, secs, pps, &c);

	printf("sent %u received %llu duplicate %llu reordered %llu pps %.0f\n", sent,
	       (unsigned long long)c.received, (unsigned long long)c.duplicate,
	       (unsigned long long)c.reordered, rate_of(&c));
	return 0;
}

static int carried_rate(const char *addr, const char *port, size_t size, double secs, double pps)
{
	int fd = dial_numbered(addr, port, size);
	double low = pps / RATE_SPAN, best = 0;

	for (int i = 0; i < RATE_TRIALS && low >= 1; i++) {
		double middle = i ? sqrt(low * pps) : pps;
		struct counts c;
		uint32_t sent = numbered(fd, size, secs, (uint64_t)middle, &c);

		if (sent - c.received < sent / RATE_LOSS_DIV + 1) {
			low = middle;
			best = rate_of(&c) > best ? rate_of(&c) : best;
		} else {
			pps = middle;
		}
		if (low == pps)
			break;
	}
	printf("pps %.0f\n", best);
	return 0;
}

int main(int argc, char **argv)
{
	const char *verb = argc > 1 ? argv[1] : "";

	if (!strcmp(verb, "serve") && argc == 3)
		serve((uint16_t)atoi(argv[2]));
	if (!strcmp(verb, "ask") && argc == 7)
		return ask(!strcmp(argv[2], "tcp") ? SOCK_STREAM : SOCK_DGRAM, argv[3], argv[4],
			   (size_t)atol(argv[5]), (size_t)atol(argv[6]));
	if (!strcmp(verb, "first") && argc == 4)
		return first(argv[2], argv[3]);
	if (!strcmp(verb, "send") && argc == 7)
		return send_numbered(argv[2], argv[3], (size_t)atol(argv[4]), atof(argv[5]),
				     (uint64_t)atol(argv[6]));
	if (!strcmp(verb, "rate") && argc == 7)
		return carried_rate(argv[2], argv[3], (size_t)atol(argv[4]), atof(argv[5]),
				    atof(argv[6]));
	fputs("usage: pingpong serve PORT | ask tcp|udp ADDR PORT N SIZE | first ADDR PORT |\n"
	      "       send|rate ADDR PORT SIZE SECS PPS\n",
	      stderr);
	return 2;
}
