/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The server's key as this device pins it, and its changes: what is kept of server_pins.h in the state directory, apart from the
 * identity, which may be a credential that cannot be written.
 */
#ifndef MVPN_SERVER_KEY_H
#define MVPN_SERVER_KEY_H

#include <jansson.h>

#include "keyd.h"
#include "server_pins.h"

int server_key_init(struct keyd *k);
void server_key_free(struct keyd *k);

/* of the identity in use: the key that the next log-in goes to */
const uint8_t *server_key_to(struct keyd *k);
/* a log-in: the server was reached, and has not shown that it has that key; or it has */
void server_key_failed(struct keyd *k, const uint8_t by[32]);
void server_key_reached(struct keyd *k, const uint8_t by[32]);
/* SERVER_KEY on a channel of `by`: 0 or -EPROTO. *ret_renew: a channel of another key should take its place */
int server_key_message(struct keyd *k, const struct chan_msg *m, const uint8_t by[32],
		       bool *ret_renew);
void server_key_tick(struct keyd *k);
/* an identity is about to be made: what an earlier one knew is forgotten. 0 or -errno */
int server_key_forget(struct keyd *k);
/* by an administrator's hand. -EISCONN: the server answers as it is; or why it cannot be kept */
int server_key_pin(struct keyd *k, const uint8_t pk[32]);

/* into `server` of status */
void server_key_show(struct keyd *k, json_t *server);
/* what is wrong, or NULL */
const char *server_key_problem(const struct keyd *k);

#endif
