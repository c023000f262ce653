/* SPDX-License-Identifier: BSD-2-Clause */
/* A session's life in time, between the files of sessions.h: made, confirmed by the peer, used, made anew, drained. */
#ifndef MVPN_SESSION_LIFE_H
#define MVPN_SESSION_LIFE_H

#include "sessions.h"

/* ---- session_life.c ---- */
/* its timer, and its end after two times ttl_s; k, peer and initiator are set */
int session_life_new(struct session *s, uint32_t ttl_s);
/* it is complete and in the tables: it receives, and goes looking for the peer */
void session_begin(struct session *s);
/* something authentic has come by it */
void session_confirmed(struct session *s, const struct mvpn_endpoint *from);
/* its successor is gone: it transmits once more, and tries to have another soon */
void session_inherit(struct session *s);
/* it is not what it should be: its successor is made soon, not at once with those of all other peers */
void session_renew(struct session *s);
/* without its heartbeat the server's word is believed until then */
uint64_t sessions_offline_end_ms(const struct keyd *k);

/* ---- session_install.c ---- */
void session_streams_free(struct session_streams *st); /* NULL is fine */

#endif
