/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Threads that move the bytes of the connections that run (streams_pump.c), as many as the fast path has workers. The main thread opens a stream, hands it to
 * one of them, and has it back when it has ended, or as soon as it wants it: to cut it. Where several streams of one pump always have more to
 * move, one of them is given to another pump that has fewer such (bulk) streams.
 *
 * A pump holds its lock while it moves streams, not while it waits. Whoever has the lock may touch the pump's streams: struct stream in
 * streams.h says which members are meant. What else there is, of streams and of keyd, is the main thread's.
 */
#ifndef MVPN_PUMPS_H
#define MVPN_PUMPS_H

#include "streams.h"

struct pump;

/* ---- [main] ---- */
int pumps_start(struct keyd *k);
void pumps_stop(struct keyd *k); /* no stream is with them any more */
/* All of them wait until they are let go, which costs the turn of one stream: for what concerns many streams. It may be nested. */
void pumps_hold(struct keyd *k);
void pumps_release(struct keyd *k);
int pump_take(struct stream *s); /* the one with the fewest bulk streams. The stream has two sockets that are watched nowhere. */
void pump_leave(struct stream *s); /* back from its pump, at once, and watched nowhere; nothing if it is with none */

/* ---- [pump] ---- */
void pump_over(struct stream *s); /* s->end says how: the main thread has it back */
/* So much one stream may move before the others have their turn: the more bulk streams, the less, for those that have little to move wait for them all. */
uint64_t pump_turn_b(const struct pump *p);
/* One stream's turn is over: the main thread has its own, if it waits. Streams may be gone then. */
void pump_turn(struct pump *p, struct stream *s, uint64_t bytes);
struct loop *pump_loop(const struct pump *p);
struct stream_room *pump_room(struct pump *p);

#endif
