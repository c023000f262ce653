/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The relay, for pairs that find no direct way: sealed packets go through the server's port as they are. What is passed on is
 * named by its SPI, which the receiving end has given for a session that is on record, and must come from where the other
 * end of that session has proven to be (echo.h), or by its conduit (relay_tcp.h). So nobody else can send by it, nothing grows, and each
 * device has its rate.
 */
#ifndef SERVER_RELAY_H
#define SERVER_RELAY_H

#include "channel.h"

int relay_new(struct server *s);
void relay_free(struct relay *r); /* NULL is fine */
int relay_message(struct conn *c, const struct chan_msg *m); /* 0 or -EPROTO */
void relay_drop(struct server *s, const uint8_t session[16]); /* it is cut */
void relay_end(struct conn *c, const uint8_t session[16]);    /* one end of it has dropped it */
/*
 * Passes a packet on if it is one of a session that is relayed; false: it is not, and is to be dropped. It has come by UDP from there, or
 * (`sender` is not NULL) by that device's conduit. Counted.
 */
bool relay_packet(struct relay *r, const uint8_t *data, size_t len,
		  const struct mvpn_endpoint *from, const struct device *sender);

#endif
