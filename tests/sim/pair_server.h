/* SPDX-License-Identifier: BSD-2-Clause */
/* Shared by pair_server.c (channels, lives) and pair_intro.c (introductions) only. */
#ifndef MVPN_TESTS_PAIR_SERVER_H
#define MVPN_TESTS_PAIR_SERVER_H

#include "pair.h"

struct link {
	struct pair *p;
	struct link *next;
	int fd;
	struct chan *ch;
	struct loop_source *source;
	int of; /* index of the device; -1: not known yet */
	uint8_t nonces[8][16]; /* answered on it */
	unsigned nnonces;
};

/* frees b */
void server_tell(struct pair *p, unsigned i, struct chan_buf *b);

void intro_init(struct pair *p);
void intro_free(struct pair *p);
void intro_request(struct pair *p, unsigned from, const struct chan_msg *m);
void intro_accept(struct pair *p, unsigned from, const struct chan_msg *m);
void intro_reject(struct pair *p, unsigned from, const struct chan_msg *m);
void intro_fail(struct pair *p, enum mvpn_reason why); /* both hear of it, if one is open */
void intro_close(struct pair *p);		      /* nobody does */

#endif
