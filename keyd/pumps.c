/* SPDX-License-Identifier: BSD-2-Clause */
#include "pumps.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "thread.h"

#define BACK_A_TURN 64 /* streams that have ended */
#define LOOK_MS 100    /* so often a pump counts its bulk streams */
#define BULK_B (MVPN_STREAM_DATA_MAX_B / 2) /* in one turn: a stream that had more to move than its pump came to */

struct pump {
	/* [main] */
	pthread_t thread;
	bool runs;
	unsigned streams;
	unsigned holds; /* so often the main thread has the lock */

	/* The lock, and the turn to wait for it: who comes while another one waits comes after that one. */
	pthread_mutex_t lock, turn;
	_Atomic bool wanted; /* by the main thread */
	_Atomic unsigned bulks; /* bulk streams lately; written by the pump */

	const struct pumps *all;
	int wake_fd; /* the pump's: the end */

	/* under the lock */
	struct loop *loop;
	struct stream_room room;
	struct stream *over; /* have ended, and are to go back */
	struct stream *away; /* are to go to another pump */
	struct loop_timer *look;
	uint64_t look_number;
	unsigned bulks_now;	/* since the latest look */
	struct stream *latest; /* of those; NULL: it has gone */
	bool stop;
};

struct pumps {
	int back_fd; /* the main thread's: pumps give streams back */
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

/* ---- bulk streams: each waits for the others' turns, and so does whoever has little to move, so no pump has two more of them than another ---- */

static unsigned bulks_of(const struct pump *p)
{
	return atomic_load_explicit(&p->bulks, memory_order_relaxed);
}

static bool less_busy(const struct pump *p, const struct pump *q)
{
	unsigned a = bulks_of(p), b = bulks_of(q);

	return a != b ? a < b : p->streams < q->streams;
}

static struct pump *choose(const struct pumps *ps)
{
	struct pump *best = ps->pump[0];

	for (unsigned i = 1; i < ps->n; i++)
		if (less_busy(ps->pump[i], best))
			best = ps->pump[i];
	return best;
}

static void give_back(struct pump *p, struct stream *s, struct stream **list)
{
	bool first = !p->over && !p->away;

	if (p->latest == s)
		p->latest = NULL;
	stream_unwatch(s);
	over_link(s, list);
	if (first)
		eventfd_write(p->all->back_fd, 1);
}

static bool crowded(const struct pump *p)
{
	for (unsigned i = 0; i < p->all->n; i++)
		if (bulks_of(p->all->pump[i]) + 1 < p->bulks_now)
			return true;
	return false;
}

static void on_look(void *arg)
{
	struct pump *p = arg;

	if (p->bulks_now)
		loop_timer_arm(p->look, LOOK_MS);
	if (p->latest && crowded(p)) {
		give_back(p, p->latest, &p->away);
		p->bulks_now--;
	}
	atomic_store_explicit(&p->bulks, p->bulks_now, memory_order_relaxed);
	p->bulks_now = 0;
	p->latest = NULL;
	p->look_number++;
}

static void count_bulk(struct pump *p, struct stream *s)
{
	if (s->looked == p->look_number)
		return;
	s->looked = p->look_number;
	p->latest = s;
	if (++p->bulks_now > bulks_of(p))
		atomic_store_explicit(&p->bulks, p->bulks_now, memory_order_relaxed);
	if (!loop_timer_armed(p->look))
		loop_timer_arm(p->look, LOOK_MS);
}

uint64_t pump_turn_b(const struct pump *p)
{
	unsigned bulks = bulks_of(p);
	uint64_t share = MVPN_STREAM_TURN_B / (bulks ?: 1);

	return share > MVPN_STREAM_DATA_MAX_B ? share : MVPN_STREAM_DATA_MAX_B;
}

void pump_turn(struct pump *p, struct stream *s, uint64_t bytes)
{
	if (bytes >= BULK_B && !s->over_prev)
		count_bulk(p, s);
	if (!atomic_load_explicit(&p->wanted, memory_order_relaxed))
		return;
	pthread_mutex_unlock(&p->lock);
	lock_in_turn(p);
}

/* ---- a stream's way to a pump and back ---- */

int pump_take(struct stream *s)
{
	struct pump *p = choose(s->k->streams->pumps);
	int r;

	hold(p);
	s->pump = p;
	s->looked = 0;
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
	if (p->latest == s)
		p->latest = NULL;
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
	give_back(s->pump, s, &s->pump->over);
}

static void take_back(struct pumps *ps, struct pump *p)
{
	struct stream *s;

	hold(p);
	while ((s = p->over)) {
		leave(p, s);
		over_link(s, &ps->back);
	}
	while ((s = p->away)) {
		leave(p, s);
		if (pump_take(s) < 0)
			stream_abort(s, MVPN_R_LIMIT);
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

static void pump_stop(struct pump *p)
{
	if (!p->runs)
		return;
	hold(p);
	p->stop = true;
	release(p);
	eventfd_write(p->wake_fd, 1);
	pthread_join(p->thread, NULL);
}

static void pump_free(struct pump *p)
{
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
	p->all = ps;
	p->look_number = 1;
	p->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r = p->wake_fd < 0 ? -errno : loop_new(&p->loop);
	if (r == 0)
		r = loop_add(p->loop, p->wake_fd, EPOLLIN, on_wake, p, NULL);
	if (r == 0)
		r = loop_timer_new(p->loop, on_look, p, &p->look);
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
		pump_stop(ps->pump[i]); /* they look at each other */
	for (unsigned i = 0; i < ps->n; i++)
		pump_free(ps->pump[i]);
	loop_remove(ps->back_source);
	if (ps->back_fd >= 0)
		close(ps->back_fd);
	free(ps);
	k->streams->pumps = NULL;
}
