/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The server changes its key (docs/protocol.md, "Rotation of the server's key"), in three steps: the next key is announced to every
 * device, then it is the key and the one before goes on beside it, then that is given up. Each step is one new server.key, which is on
 * the disk before anybody hears of it. Channels and sessions go on: the key only serves handshakes.
 */
#ifndef SERVER_SERVER_KEY_H
#define SERVER_SERVER_KEY_H

#include "channel.h"

/* takes steps that are due; what a crash kept out of the audit trail is put there now */
int server_key_new(struct server *s);
void server_key_free(struct server *s);

/* a log-in or enrolment: which of the keys the device knows; then, after WELCOME, what it should know */
void server_key_login(struct conn *c);
void server_key_tell(struct conn *c);
/* SERVER_KEY from a device: it has pinned that key. 0 or -EPROTO */
int server_key_heard(struct conn *c, const struct chan_msg *m);

/* -EALREADY one is under way, -EAGAIN not the time for that, -errno of the store or the disk */
int server_key_begin(struct server *s, const char *actor, int64_t after_s);
int server_key_switch(struct server *s, const char *actor);
int server_key_give_up(struct server *s, const char *actor);
int server_key_cancel(struct server *s, const char *actor);

/* may a device log in, or a token be used, that knows this one? */
bool server_key_good(const struct server *s, const uint8_t pk[MVPN_KEY_LEN]);
/* devices that would be shut out if it were the only key: how many, and the names of some (NULL: not wanted) */
unsigned server_key_left(const struct server *s, json_t *ret_names);
json_t *server_key_json(const struct server *s);
/* what the operator should see to, malloc'ed; NULL */
char *server_key_problem(const struct server *s);

#endif
