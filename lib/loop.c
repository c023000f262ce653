/* SPDX-License-Identifier: BSD-2-Clause */
#include "loop.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#define EVENTS_AT_ONCE 64
#define LATER_AT_ONCE 8
#define NOT_ARMED UINT32_MAX

struct loop_source {
	struct loop *loop;
	struct loop_source *prev, *next; /* in loop->sources, or singly by next in loop->dead */
	loop_io_fn *fn;
	void *arg;
	int fd, epfd;
	bool removed; /* memory stays until no event of this round can point to it */
};

struct loop_timer {
	struct loop *loop;
	struct loop_timer *prev, *next; /* in loop->timers */
	loop_timer_fn *fn;
	void *arg;
	uint64_t at_ns;
	uint64_t seq; /* of arming: equal times fire first come, first served */
	uint32_t pos; /* in the heap, or NOT_ARMED */
};

struct loop {
	int epfd, sigfd;
	int later_epfd; /* -1: none; itself a source of epfd */
	bool quit;
	struct loop_source *sources, *dead;
	struct loop_timer *timers;
	struct loop_timer **heap; /* room for every timer that exists, so that arming cannot fail */
	uint32_t nheap, ntimers, size;
	uint64_t seq;
	struct loop_source *sigsource;
	void (*sigfn)(void *arg, int signo);
	void *sigarg;
	struct epoll_event ready[EVENTS_AT_ONCE];
	int nready;
};

uint64_t mono_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ULL + (uint64_t)ts.tv_nsec;
}

uint64_t mono_ms(void)
{
	return mono_ns() / 1000000;
}

int loop_new(struct loop **ret)
{
	struct loop *l = calloc(1, sizeof(*l));

	if (!l)
		return -ENOMEM;
	l->sigfd = l->later_epfd = -1;
	l->epfd = epoll_create1(EPOLL_CLOEXEC);
	if (l->epfd < 0) {
		int r = -errno;

		free(l);
		return r;
	}
	*ret = l;
	return 0;
}

static void free_dead(struct loop *l)
{
	while (l->dead) {
		struct loop_source *s = l->dead;

		l->dead = s->next;
		free(s);
	}
}

void loop_free(struct loop *l)
{
	if (!l)
		return;
	while (l->sources)
		loop_remove(l->sources);
	while (l->timers)
		loop_timer_free(l->timers);
	free_dead(l);
	free(l->heap);
	if (l->sigfd >= 0)
		close(l->sigfd);
	if (l->later_epfd >= 0)
		close(l->later_epfd);
	close(l->epfd);
	free(l);
}

/* ---- sources ---- */

static int add(struct loop *l, int epfd, int fd, uint32_t events, loop_io_fn *fn, void *arg,
	       struct loop_source **ret)
{
	struct epoll_event ev = {.events = events};
	struct loop_source *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->loop = l;
	s->fn = fn;
	s->arg = arg;
	s->fd = fd;
	s->epfd = epfd;
	ev.data.ptr = s;
	if (epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &ev) < 0) {
		int r = -errno;

		free(s);
		return r;
	}
	s->next = l->sources;
	if (s->next)
		s->next->prev = s;
	l->sources = s;
	if (ret)
		*ret = s;
	return 0;
}

int loop_add(struct loop *l, int fd, uint32_t events, loop_io_fn *fn, void *arg,
	     struct loop_source **ret)
{
	return add(l, l->epfd, fd, events, fn, arg, ret);
}

static void handle(const struct loop *l, const struct epoll_event *ev, int n)
{
	for (int i = 0; i < n && !l->quit; i++) {
		struct loop_source *s = ev[i].data.ptr;

		if (!s->removed)
			s->fn(s->arg, ev[i].events);
	}
}

/* what is left keeps later_epfd ready */
static void on_later(void *arg, uint32_t events)
{
	struct epoll_event ev[LATER_AT_ONCE];
	struct loop *l = arg;

	handle(l, ev, epoll_wait(l->later_epfd, ev, LATER_AT_ONCE, 0));
}

int loop_add_later(struct loop *l, int fd, uint32_t events, loop_io_fn *fn, void *arg,
		   struct loop_source **ret)
{
	int epfd = l->later_epfd, r;

	if (epfd < 0) {
		epfd = epoll_create1(EPOLL_CLOEXEC);
		if (epfd < 0)
			return -errno;
		r = loop_add(l, epfd, EPOLLIN, on_later, l, NULL);
		if (r < 0) {
			close(epfd);
			return r;
		}
		l->later_epfd = epfd;
	}
	return add(l, epfd, fd, events, fn, arg, ret);
}

int loop_modify(struct loop_source *s, uint32_t events)
{
	struct epoll_event ev = {.events = events, .data.ptr = s};

	return epoll_ctl(s->epfd, EPOLL_CTL_MOD, s->fd, &ev) < 0 ? -errno : 0;
}

void loop_remove(struct loop_source *s)
{
	struct loop *l;

	if (!s || s->removed)
		return;
	l = s->loop;
	/* fails harmlessly if the owner has closed the fd already */
	epoll_ctl(s->epfd, EPOLL_CTL_DEL, s->fd, NULL);
	if (s->prev)
		s->prev->next = s->next;
	else
		l->sources = s->next;
	if (s->next)
		s->next->prev = s->prev;
	s->removed = true;
	s->next = l->dead;
	l->dead = s;
}

/* ---- timers: binary heap by time ---- */

static bool earlier(const struct loop_timer *a, const struct loop_timer *b)
{
	return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->seq < b->seq;
}

static void heap_put(struct loop *l, uint32_t pos, struct loop_timer *t)
{
	l->heap[pos] = t;
	t->pos = pos;
}

static void heap_up(struct loop *l, struct loop_timer *t)
{
	uint32_t i = t->pos;

	while (i && earlier(t, l->heap[(i - 1) / 2])) {
		heap_put(l, i, l->heap[(i - 1) / 2]);
		i = (i - 1) / 2;
	}
	heap_put(l, i, t);
}

static void heap_down(struct loop *l, struct loop_timer *t)
{
	uint32_t i = t->pos;

	for (;;) {
		uint32_t c = 2 * i + 1;

		if (c >= l->nheap)
			break;
		if (c + 1 < l->nheap && earlier(l->heap[c + 1], l->heap[c]))
			c++;
		if (!earlier(l->heap[c], t))
			break;
		heap_put(l, i, l->heap[c]);
		i = c;
	}
	heap_put(l, i, t);
}

int loop_timer_new(struct loop *l, loop_timer_fn *fn, void *arg, struct loop_timer **ret)
{
	struct loop_timer *t;

	if (l->ntimers == l->size) {
		uint32_t size = l->size ? l->size * 2 : 16;
		struct loop_timer **heap = reallocarray(l->heap, size, sizeof(*heap));

		if (!heap)
			return -ENOMEM;
		l->heap = heap;
		l->size = size;
	}
	t = calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	t->loop = l;
	t->fn = fn;
	t->arg = arg;
	t->pos = NOT_ARMED;
	t->next = l->timers;
	if (t->next)
		t->next->prev = t;
	l->timers = t;
	l->ntimers++;
	*ret = t;
	return 0;
}

void loop_timer_arm(struct loop_timer *t, uint64_t after_ms)
{
	struct loop *l = t->loop;

	loop_timer_disarm(t);
	t->at_ns = mono_ns() + after_ms * 1000000;
	t->seq = l->seq++;
	t->pos = l->nheap++;
	heap_up(l, t);
}

void loop_timer_disarm(struct loop_timer *t)
{
	struct loop *l;
	struct loop_timer *last;

	if (!t || t->pos == NOT_ARMED)
		return;
	l = t->loop;
	last = l->heap[--l->nheap];
	if (last != t) {
		last->pos = t->pos;
		heap_up(l, last);
		heap_down(l, last);
	}
	t->pos = NOT_ARMED;
}

bool loop_timer_armed(const struct loop_timer *t)
{
	return t && t->pos != NOT_ARMED;
}

void loop_timer_free(struct loop_timer *t)
{
	struct loop *l;

	if (!t)
		return;
	l = t->loop;
	loop_timer_disarm(t);
	if (t->prev)
		t->prev->next = t->next;
	else
		l->timers = t->next;
	if (t->next)
		t->next->prev = t->prev;
	l->ntimers--;
	free(t);
}

/* A timer armed for "now" by a handler waits for the next round: sources are not starved. */
static void run_timers(struct loop *l)
{
	uint64_t now = mono_ns(), seq = l->seq;

	while (!l->quit && l->nheap && l->heap[0]->at_ns <= now && l->heap[0]->seq < seq) {
		struct loop_timer *t = l->heap[0];

		loop_timer_disarm(t);
		t->fn(t->arg);
	}
}

int loop_wait_ms(const struct loop *l)
{
	uint64_t now, at, ms;

	if (!l->nheap)
		return -1;
	now = mono_ns();
	at = l->heap[0]->at_ns;
	if (at <= now)
		return 0;
	/* rounded up: waking early would only spin */
	ms = (at - now + 999999) / 1000000;
	return ms > 3600000 ? 3600000 : (int)ms;
}

int loop_wait(struct loop *l, int timeout_ms)
{
	l->nready = epoll_wait(l->epfd, l->ready, EVENTS_AT_ONCE, timeout_ms);
	return l->nready < 0 && errno != EINTR ? -errno : 0;
}

/* nobody else frees what was removed, to which what is ready may point */
void loop_handle(struct loop *l)
{
	handle(l, l->ready, l->nready);
	run_timers(l);
	free_dead(l);
}

int loop_run(struct loop *l)
{
	int r = 0;

	l->quit = false;
	while (!l->quit && r == 0) {
		r = loop_wait(l, loop_wait_ms(l));
		if (r == 0)
			loop_handle(l);
	}
	return r;
}

void loop_quit(struct loop *l)
{
	l->quit = true;
}

/* ---- signals ---- */

static void on_signal(void *arg, uint32_t events)
{
	struct loop *l = arg;
	struct signalfd_siginfo si;

	while (!l->quit && read(l->sigfd, &si, sizeof(si)) == sizeof(si)) {
		int signo = (int)si.ssi_signo;

		if (signo == SIGTERM || signo == SIGINT)
			loop_quit(l);
		else if (l->sigfn)
			l->sigfn(l->sigarg, signo);
	}
}

int loop_signals(struct loop *l, const int *signals, void (*fn)(void *arg, int signo), void *arg)
{
	sigset_t set;
	int r;

	if (l->sigfd >= 0)
		return -EALREADY;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	for (; signals && *signals; signals++)
		sigaddset(&set, *signals);
	r = pthread_sigmask(SIG_BLOCK, &set, NULL);
	if (r)
		return -r;
	l->sigfd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	if (l->sigfd < 0)
		return -errno;
	l->sigfn = fn;
	l->sigarg = arg;
	r = loop_add(l, l->sigfd, EPOLLIN, on_signal, l, &l->sigsource);
	if (r < 0) {
		close(l->sigfd);
		l->sigfd = -1;
	}
	return r;
}
