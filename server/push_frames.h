/* SPDX-License-Identifier: BSD-2-Clause */
/* PREFIXES: the protected set, or what has changed of it, as messages; and what the whole set is, in 32 bytes. For push.c. */
#ifndef SERVER_PUSH_FRAMES_H
#define SERVER_PUSH_FRAMES_H

#include "channel.h"

/* frames are built one after the other; a full one makes the next begin */
struct push_writer {
	struct server *s;
	struct chan_buf *frames;
	unsigned n, size;
	int error;
	uint8_t *seen; /* devices told already, a bit each; the caller's to free */
};
int push_writer_init(struct push_writer *w, struct server *s); /* -ENOMEM */
void push_frame_begin(struct server *s, struct chan_buf *b, uint8_t flags); /* one by itself */
struct chan_buf *push_frame(struct push_writer *w, uint8_t flags); /* NULL: w->error */
int push_write_peer(struct push_writer *w, const uint8_t id[16], unsigned state, const char *name);
/* with what has to be known before it: its owners */
int push_write_prefix(struct push_writer *w, const struct mvpn_prefix *p, bool add,
		      const struct device *owner);
void push_frames_free(struct chan_buf *frames, unsigned n);

/* A sum, so that the order does not matter: it is the same after a restart. Its key is secret: nobody can choose names or
 * addresses so that a change leaves it as it was. */
void push_set(const struct server *s, const uint8_t key[32], uint8_t ret[PUSH_SET_B]);

#endif
