/* SPDX-License-Identifier: BSD-2-Clause */
#include "pumps.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "keytab.h"
#include "thread.h"

#define BACK_A_TURN 64 /* streams that have ended */
#define LOOK_MS 100    /* so often it is looked which pumps are busy */

struct pump {
	/* [main] */
	pthread_t thread;
	bool runs;
	unsigned streams;
	uint64_t looked_ms, looked; /* when it was looked last, and what it had moved until then */
	uint64_t recent;	    /* bytes that it moved in LOOK_MS, as it was then */
	unsigned holds; /* so often the main thread has the lock */

	/* The lock, and the turn to wait for it: who comes while another one waits comes after that one. */
	pthread_mutex_t lock, turn;
	_Atomic bool wanted; /* by the main thread */
	_Atomic uint64_t moved; /* bytes; written by the pump */

	int wake_fd; /* the pump's: the end */
	int back_fd; /* the main thread's, of all pumps: streams have ended */

	/* under the lock */
	struct loop *loop;
	struct stream_room room;
	struct stream *over; /* have ended, and are to go back */
	bool stop;
};

struct pumps {
	int back_fd;
	struct loop_source *back_source;
	struct stream *back; /* have ended and are back: to be taken down */
	unsigned n;
	struct pump *pump[];
};

struct loop *pump_loop(const struct pump *p)
{
	return p->loop;
}

struct stream_room *pump_room(struct pump *p)
{
	return &p->room;
}

/* ---- the lock ---- */

static void lock_in_turn(struct pump *p)
{
	pthread_mutex_lock(&p->turn);
	pthread_mutex_lock(&p->lock);
	pthread_mutex_unlock(&p->turn);
}

static void hold(struct pump *p)
{
	if (p->holds++)
		return;
	atomic_store_explicit(&p->wanted, true, memory_order_relaxed);
	lock_in_turn(p);
	atomic_store_explicit(&p->wanted, false, memory_order_relaxed);
}

static void release(struct pump *p)
{
	if (!--p->holds)
		pthread_mutex_unlock(&p->lock);
}

void pump_turn(struct pump *p, uint64_t bytes)
{
	kt_add(&p->moved, bytes);
	if (!atomic_load_explicit(&p->wanted, memory_order_relaxed))
		return;
	pthread_mutex_unlock(&p->lock);
	lock_in_turn(p);
}

void pumps_hold(struct keyd *k)
{
	struct pumps *ps = k->streams ? k->streams->pumps : NULL;

	for (unsigned i = 0; ps && i < ps->n; i++)
		hold(ps->pump[i]);
}

void pumps_release(struct keyd *k)
{
	struct pumps *ps = k->streams ? k->streams->pumps : NULL;

	for (unsigned i = 0; ps && i < ps->n; i++)
		release(ps->pump[i]);
}

/* ---- lists of streams that have ended ---- */

static void over_link(struct stream *s, struct stream **list)
{
	s->over_next = *list;
	s->over_prev = list;
	if (s->over_next)
		s->over_next->over_prev = &s->over_next;
	*list = s;
}

static void over_unlink(struct stream *s)
{
	if (!s->over_prev)
		return;
	*s->over_prev = s->over_next;
	if (s->over_next)
		s->over_next->over_prev = s->over_prev;
	s->over_prev = NULL;
}

/* ---- a stream's way to a pump and back ---- */

static void look(struct pump *p, uint64_t now)
{
	uint64_t moved = atomic_load_explicit(&p->moved, memory_order_relaxed);

	if (now - p->looked_ms < LOOK_MS)
		return;
	p->recent = (moved - p->looked) * LOOK_MS / (now - p->looked_ms);
	p->looked = moved;
	p->looked_ms = now;
}

/* in LOOK_MS less than one record is nothing */
static bool less_busy(const struct pump *p, const struct pump *q)
{
	uint64_t a = p->recent / MVPN_STREAM_DATA_MAX_B, b = q->recent / MVPN_STREAM_DATA_MAX_B;

	return a != b ? a < b : p->streams < q->streams;
}

static struct pump *choose(const struct pumps *ps)
{
	struct pump *best = ps->pump[0];
	uint64_t now = mono_ms();

	for (unsigned i = 0; i < ps->n; i++) {
		look(ps->pump[i], now);
		if (less_busy(ps->pump[i], best))
			best = ps->pump[i];
	}
	return best;
}

int pump_take(struct stream *s)
{
	struct pump *p = choose(s->k->streams->pumps);
	int r;

	hold(p);
	s->pump = p;
	p->streams++;
	r = stream_rewatch(s);
	release(p);
	return r;
}

/* p, held */
static void leave(struct pump *p, struct stream *s)
{
	stream_unwatch(s);
	over_unlink(s);
	s->pump = NULL;
	p->streams--;
}

void pump_leave(struct stream *s)
{
	struct pump *p = s->pump;

	if (!p) {
		over_unlink(s);
		return;
	}
	hold(p);
	leave(p, s);
	release(p);
}

void pump_over(struct stream *s)
{
	struct pump *p = s->pump;
	bool first = !p->over;

	stream_unwatch(s);
	over_link(s, &p->over);
	if (first)
		eventfd_write(p->back_fd, 1);
}

static void take_back(struct pumps *ps, struct pump *p)
{
	struct stream *s;

	hold(p);
	while ((s = p->over)) {
		leave(p, s);
		over_link(s, &ps->back);
	}
	release(p);
}

static void on_back(void *arg, uint32_t events)
{
	struct pumps *ps = arg;
	eventfd_t n;

	eventfd_read(ps->back_fd, &n);
	for (unsigned i = 0; i < ps->n; i++)
		take_back(ps, ps->pump[i]);
	for (unsigned i = 0; i < BACK_A_TURN && ps->back; i++)
		stream_ended(ps->back);
	if (ps->back)
		eventfd_write(ps->back_fd, 1);
}

/* ---- threads ---- */

static void on_wake(void *arg, uint32_t events)
{
	struct pump *p = arg;
	eventfd_t n;

	eventfd_read(p->wake_fd, &n);
}

static void *pump_main(void *arg)
{
	struct pump *p = arg;
	int ms = -1;
	bool stop = false;

	while (!stop) {
		loop_wait(p->loop, ms); /* cannot fail */
		lock_in_turn(p);
		loop_handle(p->loop);
		ms = loop_wait_ms(p->loop);
		stop = p->stop;
		pthread_mutex_unlock(&p->lock);
	}
	return NULL;
}

static void pump_free(struct pump *p)
{
	if (!p)
		return;
	if (p->runs) {
		hold(p);
		p->stop = true;
		release(p);
		eventfd_write(p->wake_fd, 1);
		pthread_join(p->thread, NULL);
	}
	loop_free(p->loop);
	if (p->wake_fd >= 0)
		close(p->wake_fd);
	pthread_mutex_destroy(&p->turn);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

static int pump_new(struct pumps *ps, unsigned index)
{
	struct pump *p = calloc(1, sizeof(*p));
	int r;

	if (!p)
		return -ENOMEM;
	ps->pump[ps->n++] = p;
	pthread_mutex_init(&p->lock, NULL);
	pthread_mutex_init(&p->turn, NULL);
	p->back_fd = ps->back_fd;
	p->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r = p->wake_fd < 0 ? -errno : loop_new(&p->loop);
	if (r == 0)
		r = loop_add(p->loop, p->wake_fd, EPOLLIN, on_wake, p, NULL);
	if (r < 0)
		return r;
	r = thread_start(&p->thread, "mvpn-p", index, pump_main, p);
	p->runs = r == 0;
	return r;
}

int pumps_start(struct keyd *k)
{
	unsigned n = dp_workers(k->dp);
	struct pumps *ps = calloc(1, sizeof(*ps) + n * sizeof(struct pump *));
	int r = 0;

	if (!ps)
		return -ENOMEM;
	k->streams->pumps = ps;
	ps->back_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r = ps->back_fd < 0 ? -errno
			    : loop_add(k->loop, ps->back_fd, EPOLLIN, on_back, ps, &ps->back_source);
	for (unsigned i = 0; i < n && r == 0; i++)
		r = pump_new(ps, i);
	return r;
}

void pumps_stop(struct keyd *k)
{
	struct pumps *ps = k->streams->pumps;

	if (!ps)
		return;
	for (unsigned i = 0; i < ps->n; i++)
		pump_free(ps->pump[i]);
	loop_remove(ps->back_source);
	if (ps->back_fd >= 0)
		close(ps->back_fd);
	free(ps);
	k->streams->pumps = NULL;
}
