/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One thread's event loop: epoll and a heap of monotonic timers. A handler may remove any source or timer, its own
 * included. No locking; everything happens on the thread that runs it.
 */
#ifndef MVPN_LOOP_H
#define MVPN_LOOP_H

#include <stdbool.h>
#include <stdint.h>

struct loop;
struct loop_source;
struct loop_timer;

typedef void loop_io_fn(void *arg, uint32_t events); /* EPOLLIN, EPOLLOUT, EPOLLHUP, EPOLLERR */
typedef void loop_timer_fn(void *arg);

int loop_new(struct loop **ret);
void loop_free(struct loop *l); /* frees sources and timers that are left; does not close their fds */
int loop_run(struct loop *l);	/* until loop_quit; 0 or -errno */
void loop_quit(struct loop *l);
/*
 * loop_run() by hand, for who shares the loop with others under a lock: loop_wait() needs it not, loop_wait_ms() (-1: for ever) and
 * loop_handle() do. What is removed between the two is not told of. 0 or -errno
 */
int loop_wait_ms(const struct loop *l);
int loop_wait(struct loop *l, int timeout_ms);
void loop_handle(struct loop *l);

int loop_add(struct loop *l, int fd, uint32_t events, loop_io_fn *fn, void *arg, struct loop_source **ret);
/* As loop_add, for what strangers may send: all such sources together are one among the others, a few events of them a round,
 * so that however many are ready the others wait little. */
int loop_add_later(struct loop *l, int fd, uint32_t events, loop_io_fn *fn, void *arg, struct loop_source **ret);
int loop_modify(struct loop_source *s, uint32_t events);
void loop_remove(struct loop_source *s); /* NULL is fine; does not close the fd */

/* A timer starts disarmed. Once only: the handler arms it again if it wants to. */
int loop_timer_new(struct loop *l, loop_timer_fn *fn, void *arg, struct loop_timer **ret);
void loop_timer_arm(struct loop_timer *t, uint64_t after_ms);
void loop_timer_disarm(struct loop_timer *t);
bool loop_timer_armed(const struct loop_timer *t);
void loop_timer_free(struct loop_timer *t); /* NULL is fine */

/* SIGTERM and SIGINT end loop_run; others in the list call fn. Blocks them in this thread (and threads made later). */
int loop_signals(struct loop *l, const int *signals, void (*fn)(void *arg, int signo), void *arg);

uint64_t mono_ns(void); /* CLOCK_MONOTONIC; what BPF's bpf_ktime_get_ns() shows */
uint64_t mono_ms(void);

#endif
