/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Who may cost the server a handshake. So many a second go on as they come; whoever comes then, or while many are half open,
 * must prove something first (lib/chan.h): that it is a device that we know, by a ticket, or else that it has worked, the more
 * the more such there are. Strangers together thus take a bounded part of the CPU, each at more than it costs us; known
 * devices pass ahead of them, each at its own rate.
 */
#ifndef SERVER_GATE_H
#define SERVER_GATE_H

#include "channel.h"

struct gate;

int gate_new(struct server *s);
void gate_free(struct gate *g); /* NULL is fine */
int gate_ask(void *arg, const struct chan_proof *proof); /* chan_gate_fn; arg is struct conn */
/* into WELCOME: a new ticket, so that nobody can tell from tickets which log-ins are by the same device */
void gate_welcome(struct conn *c, struct chan_buf *b);
/* adds RETURN: how soon a device may come back when all are lost at once, so that they do not overrun us */
void gate_put_return(const struct server *s, struct chan_buf *b);

#endif
