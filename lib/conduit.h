/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Sealed packets by TCP, for devices whose UDP does not reach the server (docs/protocol.md): a connection beside the channel's and to the
 * same port, so that no packet delays a message. Like lib/chan.h it does no I/O.
 *
 *   HELLO   C→S  "RMVP" | ver u8 = 1 | zero[3] | id u32 | zero[4] | counter u64 | mac[16]
 *   READY   S→C  mac[16]
 *   packets, both ways:  len u16 | what would be the payload of a UDP datagram
 *
 * The packets are sealed from end to end; whoever is on the way can lose them, by TCP as by UDP, and nothing more.
 */
#ifndef MVPN_CONDUIT_H
#define MVPN_CONDUIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mvpn/limits.h"

#define CONDUIT_KEY_B 32
#define CONDUIT_HELLO_B 40
#define CONDUIT_READY_B 16
#define CONDUIT_HEAD_B 2
#define CONDUIT_FIRST 'R' /* a channel's first byte is another */

/* ret may be echo_key */
void conduit_key(uint8_t ret[static CONDUIT_KEY_B], const uint8_t echo_key[static CONDUIT_KEY_B]);
/* `id` is the echo's of the channel, and each counter is higher than the last one's */
void conduit_hello(uint8_t ret[static CONDUIT_HELLO_B], uint32_t id, uint64_t counter,
		  const uint8_t key[static CONDUIT_KEY_B]);
/* whose is it? Nothing is authenticated yet. -EPROTO */
int conduit_hello_look(const uint8_t hello[static CONDUIT_HELLO_B], uint32_t *ret_id,
		      uint64_t *ret_counter);
int conduit_hello_check(const uint8_t hello[static CONDUIT_HELLO_B],
		       const uint8_t key[static CONDUIT_KEY_B]); /* -EBADMSG */
void conduit_ready(uint8_t ret[static CONDUIT_READY_B], const uint8_t hello[static CONDUIT_HELLO_B],
		  const uint8_t key[static CONDUIT_KEY_B]);
int conduit_ready_check(const uint8_t ready[static CONDUIT_READY_B],
		       const uint8_t hello[static CONDUIT_HELLO_B],
		       const uint8_t key[static CONDUIT_KEY_B]); /* -EBADMSG */

/* ---- packets in ---- */
struct conduit_in {
	size_t len; /* of a packet that has come in part */
	uint8_t data[CONDUIT_HEAD_B + MVPN_CONDUIT_PACKET_MAX_B];
};
typedef void conduit_packet_fn(void *arg, uint8_t *packet, size_t len); /* may be written to */
/* fn for each packet that is whole. -EPROTO: one has a length that no sealed packet has; the connection is of no use any more */
int conduit_take(struct conduit_in *in, uint8_t *data, size_t len, conduit_packet_fn *fn, void *arg);

/* ---- packets out: a bounded queue of bytes, in which each packet is whole ---- */
struct conduit_out {
	uint8_t *data;
	size_t at, len, size; /* data[at..len) waits */
};
/* false: it is full, or there is no memory: the packet is lost, as on any link with a full queue */
bool conduit_put(struct conduit_out *o, const uint8_t *packet, size_t len);
const uint8_t *conduit_output(const struct conduit_out *o, size_t *ret_len); /* until the next call on o */
void conduit_sent(struct conduit_out *o, size_t len);
/* what the socket takes of it; 1: the rest waits for room there, 0: nothing does, or -errno of send() */
int conduit_flush(struct conduit_out *o, int fd);
void conduit_out_free(struct conduit_out *o);

#endif
