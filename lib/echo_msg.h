/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The echo (docs/protocol.md): a device asks the server, from its data port, where its packets come from. Both messages have the
 * same size, so that nothing is amplified, and are sealed with a key of the device's channel.
 *
 *   0        1              4            8             16                                       48
 *   | type u8| zero[3]      | id u32     | counter u64 | addr[16] port u16 zero[6] cookie[8]     | tag[16] |
 *
 * The server believes an end point only when the cookie that it sent there has come back from there.
 */
#ifndef MVPN_ECHO_MSG_H
#define MVPN_ECHO_MSG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addr.h"
#include "mvpn/wire.h"

#define ECHO_KEY_B 32
#define ECHO_COOKIE_B 8

struct echo_msg {
	uint32_t id;	  /* of the channel, chosen by the server */
	uint64_t counter; /* each question's is higher than the last one's; an answer has its question's */
	struct mvpn_endpoint seen; /* in an answer; zero in a question */
	uint8_t cookie[ECHO_COOKIE_B]; /* the last one that came from the server, zero at first */
};

/* type is MVPN_ECHO or MVPN_ECHO_REPLY */
void echo_seal(uint8_t ret[static MVPN_ECHO_B], enum mvpn_type type, const struct echo_msg *m,
	       const uint8_t key[static ECHO_KEY_B]);
/* is it such a message, and whose? Nothing is authenticated yet. */
bool echo_look(const uint8_t *data, size_t len, enum mvpn_type type, uint32_t *ret_id);
/* after echo_look(): -EBADMSG */
int echo_open(struct echo_msg *ret, const uint8_t data[static MVPN_ECHO_B],
	      const uint8_t key[static ECHO_KEY_B]);

#endif
