/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Single-producer single-consumer rings between the main thread and one worker: commands in,
 * events out.
 */
#ifndef MVPN_RING_H
#define MVPN_RING_H

#include <stdatomic.h>

#include "dp.h"

#define RING_ENTRIES 1024 /* power of two */

enum dp_cmd_type { DP_CMD_CTRL = 1, DP_CMD_PLAIN, DP_CMD_FLUSH_HELD, DP_CMD_DROP_HELD };
struct dp_cmd {
	enum dp_cmd_type type;
	uint32_t spi, peer;
	enum mvpn_ctrl_type ctrl;
	uint64_t token;
	unsigned pad;
	bool prohibited;
	struct mvpn_endpoint to; /* port 0: where the peer is */
	unsigned len;
	uint8_t data[DP_PLAIN_MAX];
};

struct cmd_ring {
	_Atomic unsigned head __attribute__((aligned(64))); /* consumer */
	_Atomic unsigned tail __attribute__((aligned(64))); /* producer */
	struct dp_cmd entry[RING_ENTRIES];
};
struct event_ring {
	_Atomic unsigned head __attribute__((aligned(64)));
	_Atomic unsigned tail __attribute__((aligned(64)));
	struct dp_event entry[RING_ENTRIES];
};

#define RING_PUT(r, e)                                                                      \
	({                                                                                  \
		unsigned tail_ = atomic_load_explicit(&(r)->tail, memory_order_relaxed);    \
		bool ok_ = tail_ - atomic_load_explicit(&(r)->head, memory_order_acquire) < \
			   RING_ENTRIES;                                                    \
		if (ok_) {                                                                  \
			(r)->entry[tail_ % RING_ENTRIES] = *(e);                            \
			atomic_store_explicit(&(r)->tail, tail_ + 1, memory_order_release); \
		}                                                                           \
		ok_;                                                                        \
	})
/* as the producer sees it */
#define RING_USED(r)                                             \
	(atomic_load_explicit(&(r)->tail, memory_order_relaxed) - \
	 atomic_load_explicit(&(r)->head, memory_order_acquire))
/* as RING_GET, but the producer sees it gone only after RING_DONE */
#define RING_PEEK(r, e)                                                                     \
	({                                                                                  \
		unsigned head_ = atomic_load_explicit(&(r)->head, memory_order_relaxed);    \
		bool ok_ = head_ != atomic_load_explicit(&(r)->tail, memory_order_acquire); \
		if (ok_)                                                                    \
			*(e) = (r)->entry[head_ % RING_ENTRIES];                            \
		ok_;                                                                        \
	})
#define RING_DONE(r) atomic_fetch_add_explicit(&(r)->head, 1, memory_order_release)
#define RING_GET(r, e)                       \
	({                                   \
		bool got_ = RING_PEEK(r, e); \
		if (got_)                    \
			RING_DONE(r);        \
		got_;                        \
	})

#endif
