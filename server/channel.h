/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One TCP connection: handshake, log-in or enrolment, then messages of one device.
 *
 * Closing never happens under a caller's feet: conn_drop and conn_close only mark the connection (`doomed`); the reaper,
 * a timer, takes it off its device and frees it when the loop comes round. Sending to a doomed one does nothing.
 */
#ifndef SERVER_CHANNEL_H
#define SERVER_CHANNEL_H

#include "server.h"

#define CONN_CLAIMS_MAX 64 /* addresses one device may have by registering them */
#define CONN_MACS_MAX (2 * MVPN_MACS_MAX) /* read, so that those over the bound can be refused by name */
#define PUSH_SET_B 32
#define CONN_NONCES 8	   /* answered requests remembered against repeats */
#define CONN_ROOM_B 16384  /* queued bytes over which tables and the protected set wait for the socket */

enum conn_phase {
	CONN_HANDSHAKE,
	CONN_LOGIN, /* keys agreed, REGISTER awaited */
	CONN_READY, /* dev->conn is this connection */
	CONN_RETIRED, /* a newer channel of the same life took over; what still comes is not looked at */
	CONN_CLOSING /* CLOSE is on its way out; nothing is read any more */
};

struct echo_end;
struct source;
struct snapshot;
struct table;

/* a half open connection that has proven nothing, in a list of such, oldest first */
struct unproven {
	struct conn *c;
	struct unproven *next, **at; /* at NULL: in no list */
};

struct conn {
	struct server *s;
	struct conn *prev, *next, *next_doomed;
	struct unproven of_all, of_source;
	int fd;
	struct loop_source *io;
	struct loop_timer *timer; /* handshake deadline, heartbeat, linger */
	struct chan *ch;
	struct mvpn_endpoint from;
	struct source *source; /* held while half open and by nobody that has proven something */
	bool half_open;
	bool must_prove; /* its source may not go on unproven */
	enum conn_phase phase;
	bool doomed, want_out, awaits_room;
	bool looked;	    /* its first byte is a channel's */
	bool drop;	    /* free at once, without waiting for the other end */
	struct device *dev; /* not NULL exactly while dev->conn is this one */
	int64_t since_at;
	uint64_t heard_ms;
	uint64_t budget_ms;
	int64_t budget;	      /* token bucket of messages, in 1/1000; in debt: below zero */
	uint64_t register_ms; /* start of the window in which `registers` are counted */
	unsigned registers;
	uint8_t nonces[CONN_NONCES][16];
	unsigned next_nonce;
	struct mvpn_addr *claims;
	unsigned nclaims;
	uint8_t macs[CONN_MACS_MAX][6]; /* claimed */
	unsigned nmacs;
	/* tables.c: of what it was told last; those that it is told whatever they say; what is on its way, from part telling_at on */
	uint8_t table_sum[TABLES][32];
	uint32_t table_round[TABLES];
	bool table_due[TABLES];
	unsigned table_last;
	struct table *telling;
	unsigned telling_at;
	bool tables_on, tables_told; /* it hears of them; it has heard of each */
	bool tells_processes, knows_services; /* REGISTER said so */
	uint64_t reported_ms;	   /* its last refusals */
	struct echo_end *echo; /* echo.c; NULL: none */
	uint16_t reqid;
	unsigned revoke_beats; /* heartbeats until the REVOKEs sent here count as heard */
	/* push.c: a snapshot being sent, then deltas from next_delta on */
	struct snapshot *snap;
	unsigned snap_at;
	uint64_t next_delta;
	bool subscribed;
	bool resumed;	/* it is owed the word that nothing has changed */
	bool knows_set; /* REGISTER said which state of the protected set the device has */
	uint8_t set[PUSH_SET_B];
};

/* takes the fd; src is released when it has proven something, or the handshake ends */
int conn_new(struct server *s, int fd, const struct mvpn_endpoint *from, struct source *src,
	     bool must_prove);
/* queue, and write what the socket takes; a full queue dooms the connection */
void conn_send(struct conn *c, const struct chan_buf *b);
/* of a device: the next heartbeat, or the end of what its token vouches for, if that is earlier */
void conn_beat_in(struct conn *c, int ms);
/* for what waits for the socket; false: conn_pump is called when there is, or the connection is doomed */
bool conn_has_room(struct conn *c);
/* what waits goes on as far as there is room: tables and the protected set in turns */
void conn_pump(struct conn *c);
/* say why, then close once it is out */
void conn_close(struct conn *c, enum mvpn_reason reason);
void conn_drop(struct conn *c);
/* ---- half_open.c ---- */
/* It may go on with its handshake, and is not dropped for want of room any more; proven: nor does it count against its source. */
void conn_passes(struct conn *c, bool proven);
/* for who takes its socket over: it stays half open, and counts against its source, until that one releases it */
struct source *conn_give_source(struct conn *c);
/* drop the one in the list that has proven nothing for longest; false: there is none */
bool conn_evict(struct server *s, const struct unproven_list *l);
/* ---- channel.c ---- */
/* let the device go, and close when the other end has had time to do so itself */
void conn_retire(struct conn *c);
/* let the device go without closing: another connection took over */
void conn_detach(struct conn *c);
void conn_free_all(struct server *s);
void conn_reaper(void *arg); /* timer of struct server */

/* device's connection, ready to be written to, or NULL */
struct conn *device_conn(const struct device *d);

#endif
