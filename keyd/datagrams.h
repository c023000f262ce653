/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Datagrams at the socket level. Each remote end has a UDP socket here that stands for it (bpf/datagram.h): what applications send to it
 * comes there, and what comes from it is sent to them from there. All datagrams between two hosts go by one stream, framed; what
 * it does not take at once waits, within bounds, or is lost, as datagrams are.
 *
 *   application -> datagrams.c -> datagrams_stream.c == stream ==> datagrams_stream.c -> datagrams.c -> application
 */
#ifndef MVPN_DATAGRAMS_H
#define MVPN_DATAGRAMS_H

#include "streams.h"

struct datagrams;

/* ---- datagrams.c ---- */
int datagrams_start(struct keyd *k);
void datagrams_stop(struct keyd *k);
/* own addresses, zero: none of that family, from which applications hear of remote ends */
void datagrams_addresses(struct keyd *k, const struct mvpn_addr *own4, const struct mvpn_addr *own6);
/* to the application here at t->dst, from t->src; counted if it cannot be. It goes with others that follow at once ... */
void datagrams_deliver(struct keyd *k, const struct stream_tuple *t, const uint8_t *data, size_t len);
void datagrams_deliver_all(struct keyd *k); /* ... and no later than this */
/* nobody there has taken what the application here at t->src has sent to t->dst: its socket hears of it, if it is connected */
void datagrams_untaken(struct keyd *k, const struct stream_tuple *t);
/* what applications have sent to a remote end, by the one that did so last, and what has come from there */
struct datagram_use {
	struct mvpn_endpoint here, there, keyd; /* keyd: where `here` sends to in truth */
	uint64_t packets, bytes, bytes_in, since_ms, used_ms;
};
void datagrams_each(const struct keyd *k, void (*fn)(void *arg, const struct datagram_use *u), void *arg);
unsigned datagrams_ends(const struct keyd *k); /* that sockets stand for */

/* ---- datagrams_stream.c ---- */
/* takes it; it goes with others that follow at once ... */
void datagrams_send(struct keyd *k, const struct stream_tuple *t, const uint8_t *data, size_t len);
void datagrams_flush(struct keyd *k, const struct mvpn_addr *to); /* ... and no later than this: all to the host that owns `to` */
/* what came so nobody here takes: its sender's keyd is told */
void datagrams_return(struct keyd *k, const struct stream_tuple *t);
/* the next record to be sealed, into ret; 0: there is none */
size_t datagrams_next(struct stream *s, uint8_t ret[static MVPN_STREAM_DATA_MAX_B]);
bool datagrams_waiting(const struct stream *s);
int datagrams_receive(struct stream *s, const uint8_t *record, size_t len); /* -EPROTO */
void datagrams_free(struct stream *s); /* what is waiting */
void datagrams_tick(struct keyd *k, uint64_t now_ms); /* streams that nobody uses */

#endif
