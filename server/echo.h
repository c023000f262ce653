/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The UDP side of the server: devices ask where their packets come from (lib/echo_msg.h), and the peers that they are introduced to
 * are told what was seen. The sockets have the addresses and ports of the channel's. Without them (somebody else has the port)
 * all goes on as if no device were behind NAT.
 */
#ifndef SERVER_ECHO_H
#define SERVER_ECHO_H

#include "channel.h"
#include "echo_msg.h"

int echo_new(struct server *s); /* after listener_new() */
void echo_free(struct echo *e); /* after the connections; NULL is fine */
/* adds TLV_ECHO, if echoes are answered */
void echo_welcome(struct conn *c, struct chan_buf *b);
void echo_forget(struct conn *c);
/* where the device's data port is seen, as proven by a cookie: false if that is not known */
bool echo_endpoint(const struct conn *c, struct mvpn_endpoint *ret);

bool echo_blocked(const struct conn *c); /* the device says so of its UDP */
int echo_udp(struct conn *c, const struct chan_msg *m); /* UDP: 0 */
/* the channel that was given this id, and the key with it; NULL: none */
struct conn *echo_find(const struct echo *e, uint32_t id, uint8_t ret_key[ECHO_KEY_B]);
/* may a conduit begin with this counter? Each one's is higher than the last one's. */
bool echo_may_conduit(struct conn *c, uint64_t counter);
/* a sealed packet by UDP to where the device is proven to be: false if that is not known, or it could not be sent */
bool echo_send(struct conn *to, const uint8_t *data, size_t len);

/* for who answers echoes of others: the key of a number, each of which is given out once in this life */
uint64_t echo_serial(struct echo *e);
void echo_key(const struct echo *e, uint64_t serial, uint8_t ret[ECHO_KEY_B]);

/* as TLV_ENDPOINT has it */
#define ECHO_SEEN_B 18
void echo_seen(const struct device *d, const struct conn *to, uint8_t ret[ECHO_SEEN_B]);
/* adds TLV_ENDPOINT for `to`: that, or else the channel's source address and the registered port; and TLV_NO_UDP */
void echo_put_endpoint(struct chan_buf *b, const struct device *d, const struct conn *to);
/* takes so many bytes off what the device may have relayed: false, it has had that */
bool echo_may_relay(struct conn *c, size_t len);

#endif
