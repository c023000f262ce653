/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Conduits: connections by which devices whose UDP is blocked send and get sealed packets (lib/conduit.h). They come to the port of the
 * channels and are told by their first byte. A conduit is one device's, which has one at most, and ends when the device goes
 * off-line. What it brings goes through relay.c as if it had come by UDP; what cannot be written is dropped.
 */
#ifndef SERVER_RELAY_TCP_H
#define SERVER_RELAY_TCP_H

#include "channel.h"

struct relay_tcp;

/* Is this the beginning of a conduit? Then its socket and its place among the half-open are taken over, unless there are too many such,
 * and c is to be dropped. */
bool relay_tcp_takes(struct conn *c);
bool relay_tcp_send(struct relay_tcp *t, const uint8_t *data, size_t len); /* false: dropped */
void relay_tcp_close(struct relay_tcp *t); /* NULL is fine */
void relay_tcp_free_all(struct server *s);

#endif
