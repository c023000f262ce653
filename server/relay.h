/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The relay, for pairs that find no direct way: sealed packets go through a device that the policy lets relay (relay_device.h), or else
 * through the server's port as they are. What the server passes on is named by its SPI, which the receiving end has given for a session
 * that is on record, and must come from where the other end of that session has proven to be (echo.h), or by its conduit (relay_tcp.h). So
 * nobody else can send by it, nothing grows, and each device has its rate.
 */
#ifndef SERVER_RELAY_H
#define SERVER_RELAY_H

#include "channel.h"
#include "forward.h"

#define RELAY_AVOIDED 1024 /* remembered at once */

struct relay_pair {
	struct fwd_pair f;
	bool no_udp[2]; /* of each end, as the other one was told */
	bool by_device; /* of these: */
	uint8_t by[MVPN_ID_LEN];
	uint64_t serial[2]; /* echo_key()'s, of the key between that device and each end */
};

struct relay {
	struct server *s;
	struct fwd_table t; /* of struct relay_pair */
	struct device *devices; /* on-line, and named by the policy as relays */
	/* a device that did not answer an end, or refused */
	struct relay_avoided {
		uint8_t device[MVPN_ID_LEN], end[MVPN_ID_LEN];
		uint64_t until_ms;
	} avoided[RELAY_AVOIDED];
};

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
/* which way it goes has changed: both ends are told, if both have asked */
void relay_tell(struct server *s, struct relay_pair *p);

#endif
