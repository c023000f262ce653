/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Many TCP connections at once to a `pingpong serve`. It knows nothing of mvpn.
 *
 *   crowd ADDR PORT N
 *
 * opens N connections, AHEAD at a time, each of which is there when its banner has come: "opened N SECONDS". Then each of them asks 1 KB that
 * is like no other, all at once: "exact N SECONDS" counts those that have had it back, and nothing else; so once more for each line of the
 * input, until it ends. In between, "ended N" says how many have ended unasked. Status 1 if it was not always all of them.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
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
	CROWD_MAX = 30000,
	AHEAD = 64,
	QUESTION_B = 1024,
	BATCH = 256,
	SILENCE_MS = 30000, /* nothing from any of them for so long: what is missing does not come */
	INPUT = CROWD_MAX,  /* epoll's number of the standard input */
};

struct conn {
	int fd; /* -1: it has ended */
	bool there, wrong;
	unsigned got; /* of the answer */
};

static struct conn conns[CROWD_MAX];
static unsigned wanted, opened, ended;
static unsigned heard; /* of the latest question: who has as many bytes back, or more */
static int epfd;
static struct addrinfo *target;

static void die(const char *what)
{
	fprintf(stderr, "crowd: %s: %s\n", what, strerror(errno));
	exit(1);
}

static double now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void say(const char *what, unsigned n, double start)
{
	printf("%s %u %.2f\n", what, n, now_s() - start);
	fflush(stdout);
}

static void watch(int fd, unsigned number)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.u32 = number};

	if (epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &ev))
		die("epoll_ctl");
}

static void lose(struct conn *c, const char *why)
{
	fprintf(stderr, "crowd: connection %td of %u: %s\n", c - conns + 1, wanted, why);
	close(c->fd);
	c->fd = -1;
	ended++;
}

static void begin(struct conn *c)
{
	c->fd = socket(target->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		die("socket");
	if (connect(c->fd, target->ai_addr, target->ai_addrlen) && errno != EINPROGRESS)
		lose(c, strerror(errno));
	else
		watch(c->fd, (unsigned)(c - conns));
}

/* no two connections ask the same */
static void question(const struct conn *c, char text[static QUESTION_B])
{
	for (unsigned at = 0; at < QUESTION_B; at += 8) {
		uint64_t word = ((uint64_t)(c - conns) * 8192 + at + 1) * 0x9e3779b97f4a7c15ULL;

		memcpy(text + at, &word, sizeof(word));
	}
}

static void hear(struct conn *c)
{
	char in[QUESTION_B + 1], want[QUESTION_B];
	ssize_t n = recv(c->fd, in, c->there ? sizeof(in) : 1, 0);

	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0) {
		lose(c, n < 0 ? strerror(errno) : "closed");
	} else if (!c->there) {
		c->there = true;
		opened++;
	} else {
		question(c, want);
		c->wrong |= c->got + (size_t)n > QUESTION_B || memcmp(in, want + c->got, (size_t)n);
		heard += c->got < QUESTION_B && c->got + (size_t)n >= QUESTION_B;
		c->got += (unsigned)n;
	}
}

/* one round of events; false: the input has something, or nothing came for SILENCE_MS */
static bool turn(int timeout_ms)
{
	struct epoll_event ev[BATCH];
	int n = epoll_wait(epfd, ev, BATCH, timeout_ms);
	bool input = false;

	for (int i = 0; i < n; i++) {
		if (ev[i].data.u32 == INPUT)
			input = true;
		else if (conns[ev[i].data.u32].fd >= 0)
			hear(&conns[ev[i].data.u32]);
	}
	return n > 0 && !input;
}

static void open_all(void)
{
	double start = now_s();
	unsigned begun = 0;

	do {
		while (begun < wanted && begun < opened + ended + AHEAD)
			begin(&conns[begun++]);
	} while (opened + ended < wanted && turn(SILENCE_MS));
	say("opened", opened, start);
}

static bool ask_all(void)
{
	char text[QUESTION_B];
	double start = now_s();
	unsigned exact = 0;

	heard = 0;
	for (unsigned i = 0; i < wanted; i++) {
		struct conn *c = &conns[i];

		if (c->fd < 0 || !c->there)
			continue;
		c->got = 0;
		question(c, text);
		if (send(c->fd, text, QUESTION_B, MSG_NOSIGNAL) != QUESTION_B)
			lose(c, "does not take 1 KB");
	}
	while (heard + ended < opened && turn(SILENCE_MS))
		;
	for (unsigned i = 0; i < wanted; i++)
		exact += conns[i].fd >= 0 && conns[i].got == QUESTION_B && !conns[i].wrong;
	say("exact", exact, start);
	return exact == wanted;
}

/* until there is a line; false: it is the end */
static bool rest(void)
{
	double start = now_s();
	unsigned before = ended;
	char line[64];

	watch(STDIN_FILENO, INPUT);
	while (turn(-1))
		;
	epoll_ctl(epfd, EPOLL_CTL_DEL, STDIN_FILENO, NULL);
	say("ended", ended - before, start);
	return read(STDIN_FILENO, line, sizeof(line)) > 0;
}

int main(int argc, char **argv)
{
	struct addrinfo hint = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV};
	bool good;

	wanted = argc == 4 ? (unsigned)atol(argv[3]) : 0;
	if (!wanted || wanted > CROWD_MAX || getaddrinfo(argv[1], argv[2], &hint, &target)) {
		fprintf(stderr, "usage: crowd ADDR PORT N, N up to %d\n", CROWD_MAX);
		return 2;
	}
	allow_descriptors();
	epfd = epoll_create1(EPOLL_CLOEXEC);
	open_all();
	good = ask_all();
	while (rest())
		good = ask_all() && good;
	return good && !ended ? 0 : 1;
}
