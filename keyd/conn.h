/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One TCP connection to the server, from the look-up of its name to the handshake and the messages on it. What they mean is
 * channel.c's and register.c's, which conn.c calls.
 */
#ifndef MVPN_CONN_H
#define MVPN_CONN_H

#include "keyd.h"
#include "resolve.h"

/* One TCP connection to the server. */
struct conn {
	struct keyd *k;
	struct resolve *resolve;
	struct mvpn_endpoint list[RESOLVE_MAX];
	unsigned nlist, at;
	int fd;
	struct loop_source *source;
	struct chan *chan;
	struct loop_timer *work; /* the server is under load: a proof of work for it, a part at a time */
	struct hsm_job *job;	  /* the token is computing for the handshake, or signing */
	struct delegate_key *key; /* the device's next one, for which the token vouches on this channel; NULL: as it is */
	void (*vouched)(struct conn *c); /* delegate.c: what comes after the token's word */
	bool connecting, welcomed;
	bool reached, answered; /* TCP is there; the server has shown that it has its key */
	bool next_key; /* logs in with the next key (rotate.c) */
	bool busy, dead; /* inside conn_io; failed there: freed on the way out */
	uint64_t started_ms, heard_ms, said_ms, rekey_ms;
	/* enrolment: who we shall be */
	struct identity *fresh;
};

int conn_new(struct keyd *k, const struct chan_client *cc, const char *server, struct conn **ret);
void conn_free(
	struct conn *
		c); /* within its own handler it lives on, dead, until that returns; NULL is fine */
void conn_flush(struct conn *c);
/* the token cannot be used: the connection is over */
void conn_key_away(struct conn *c);
/* the connection is over: channel_lost() is told why, and it is freed */
void conn_failed(struct conn *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void conn_tick(struct conn *c, uint64_t now); /* time-outs and heartbeat; c may be gone after it */

/* ---- what conn.c tells channel.c ---- */
void channel_up(struct conn *c); /* the handshake is done */
int channel_message(struct conn *c,
		    const struct chan_msg *m); /* 0 or -EPROTO; c may be dead after it */
void channel_lost(struct conn *c, const char *why);

/* ---- between channel.c and register.c ---- */
void register_send(struct conn *c); /* REGISTER */
int register_welcome(struct conn *c, const struct chan_msg *m); /* likewise 0 or -EPROTO */
void channel_set_error(struct keyd *k, const char *text); /* why there is no channel that works; NULL: there is one */
void channel_take_return(struct keyd *k, const struct chan_msg *m);

#endif
