/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The socket level: TCP connections of applications, carried sealed to the keyd of the other application's host (lib/stream.h;
 * bpf/stream.bpf.c brings them here).
 *
 *   application -> keyd (streams_syn.c, streams_open.c) == TCP, sealed (streams_pump.c) ==> keyd (streams_accept.c) -> application
 *
 * A connection that runs is moved by one of several threads (pumps.h); everything else is the main thread's.
 *
 * Streams belong to the peer at layer SOCKET and end when its last session does.
 */
#ifndef MVPN_STREAMS_H
#define MVPN_STREAMS_H

#include <stdatomic.h>

#include "htab.h"
#include "keyd.h"
#include "stream.h"

struct answer;
struct kt_class;
struct pump;
struct pumps;
struct session;
struct stream_held;

/* the listeners; -EADDRINUSE: another program has the TCP port */
int streams_start(struct keyd *k);
void streams_stop(struct keyd *k);	     /* and every stream */
uint16_t streams_port(const struct keyd *k); /* where diverted connections go to; 0: stopped */
unsigned streams_count(const struct keyd *k); /* connections that are open */
void streams_tick(struct keyd *k); /* each second */
/* ---- from sessions.c and introduce.c; peers at other layers have no streams ---- */
void streams_session_up(struct peer *p);
void streams_session_failed(struct peer *p, enum mvpn_reason why);
void streams_probe(struct session *s); /* shows the peer that we have the keys */
void streams_session_changed(struct peer *p); /* another one transmits, or none: before the old one is freed */
void streams_cut(struct peer *p, enum mvpn_reason why);

/* ---- streams_process.c ---- */
void streams_judge(struct keyd *k); /* who may send has changed */
void flow_key_put(struct mvpn_flow_key *ret, uint8_t proto, const struct mvpn_endpoint *src, const struct mvpn_endpoint *dst);
/* a connection, as the application's socket here has it; false: there is none */
bool stream_socket_key(const struct stream *s, struct mvpn_flow_key *ret);
/* it is cut: said and audited, with who has it here. why: enum mvpn_refused; rule: the line's text, NULL: that of the line with `by` */
void stream_audit(const struct stream *s, unsigned why, uint32_t line, const char *rule);

/* ---- streams_services.c ---- */
/* the peer's streams may go on where this session of its is for them; each end asks for itself */
void streams_services(const struct session *session);

/* ---- streams_gateway.c ---- */
/* who gets a new stream, or a datagram, to dst, of several gateways one; of layer SOCKET, or NULL */
struct peer *streams_peer(struct keyd *k, const struct mvpn_addr *dst);
bool streams_gateway_is(const struct keyd *k, const struct mvpn_addr *a, uint32_t index); /* one of those */
/* packets go through another one now, and it has not come back: connections through it that are open are reset */
void streams_gateway_left(struct keyd *k, const struct mvpn_prefix *prefix, const struct peer *from);

/* ---- among the files ---- */
enum stream_state {
	STREAM_WAITS,	 /* opener: for a session */
	STREAM_CONNECTS, /* opener: to the other keyd */
	STREAM_OPENS,	 /* opener: for its REPLY */
	STREAM_DELIVERS, /* acceptor: connects to the application */
	STREAM_ANSWERS,	 /* opener: the application there has taken it, the one here is being told; both keyds have the keys */
	STREAM_RUNS,
};

/* how it ended by itself */
enum stream_end {
	STREAM_FAILED,	  /* reset by an application, or no memory */
	STREAM_FINISHED,  /* both directions, in order */
	STREAM_TRUNCATED, /* without a FINAL */
	STREAM_TAMPERED,
};

/* one of the two sockets of a stream; both and their buffers are its pump's while it is with one, but for the number of the descriptor */
struct stream_half {
	int fd; /* -1: none yet */
	struct loop_source *source;
	uint32_t events;
	uint8_t *out; /* what the socket has not taken yet */
	size_t out_len, out_at;
	bool ended;  /* nothing more comes from it */
	bool broken; /* reset, or not to be trusted */
};

struct stream {
	struct stream *next, **prev; /* of the peer */
	struct keyd *k;
	struct peer *peer;
	struct loop_timer *deadline; /* until it runs */
	struct pump *pump;	     /* that it is with; NULL: the main thread's */
	struct stream *over_next, **over_prev; /* [pump] of those that its pump gives back; over_prev NULL: it does not */
	uint64_t looked; /* [pump] the look of its pump's that has counted it among the bulk streams */
	enum stream_end end;	     /* [pump] */
	struct kt_class *class;	     /* [pump] of the session that transmits; NULL: none */
	struct loop_timer *pace;     /* [pump] until its limit lets more go; NULL: it never had to wait */
	bool paced;		     /* [pump] it waits for that */
	bool turn; /* [pump] it has waited: more goes now, even if other streams have taken the tokens meanwhile */
	struct stream_held *held;    /* opener of a connection: the application's SYN that waits; NULL: none (any more) */
	enum stream_state state;
	unsigned moves; /* to another gateway */
	bool opener, again; /* again: for the second time, with a new session */
	enum mvpn_reason why; /* [pump] the other keyd has ended it: what for */
	bool shut; /* [pump] FINAL has come: the application is told once it has taken everything */
	enum stream_kind kind; /* only a CONNECTION has an application */
	struct datagram_queue *queue; /* of DATAGRAMS that are to be sealed; NULL: none so far */
	struct stream_half app, net;
	struct stream_tuple t;
	uint8_t session[MVPN_ID_LEN];
	uint8_t open[STREAM_OPEN_B];
	struct stream_dir *tx, *rx; /* [pump] locked, together */
	uint8_t *in;		    /* [pump] sealed, and not opened yet */
	size_t in_len;
	size_t record_b; /* of the application's, in a full one */
	_Atomic uint64_t sent, received; /* the application's bytes; as used_ms, read by the main thread at any time */
	_Atomic uint64_t used_ms;
	uint64_t since_ms;
};

/* what one thread needs to move streams, one at a time */
struct stream_room {
	uint8_t plain[MVPN_STREAM_DATA_MAX_B];
	uint8_t sealed[2 * STREAM_RECORD_MAX_B];
};

struct streams {
	int local, remote; /* listeners: for diverted connections, for other keyds */
	struct loop_source *local_source, *remote_source, *syns_source;
	struct htab held; /* by the application's end */
	struct answer *answer;
	struct loop_timer *pause; /* after accept() failed for want of something */
	uint16_t port;		  /* of `local` */
	struct secslab *slab;
	unsigned count, max;
	unsigned turn; /* of peers that are looked at for silence */
	struct pumps *pumps;
	struct stream_room room; /* the main thread's, for datagrams */
};

struct stream *stream_new(struct keyd *k, struct peer *p, bool opener);
void stream_link(struct stream *s); /* into its peer's list */
void stream_unlink(struct stream *s);
void stream_free(struct stream *s); /* closes both sockets as they are */
/* The application's connection is reset, or its connect() answered, and the other keyd told why. s is gone then. */
void stream_abort(struct stream *s, enum mvpn_reason why);
void stream_forbidden(const struct stream *s); /* it is cut, for the policy does not have its service any more: said, and audited */
/* It did not get as far as the other keyd: it goes through another gateway, or is aborted. s may be gone then. */
void stream_unreached(struct stream *s, enum mvpn_reason why);
void stream_gateway_well(const struct stream *s); /* it did */
/* until then: less than usual if another gateway can take it */
unsigned stream_patience_ms(const struct stream *s, unsigned usual_s);
int stream_keys(struct stream *s,
		const uint8_t nonce[static STREAM_NONCE_B]); /* -ENOKEY: its session has gone */
int stream_watch(struct stream *s, struct stream_half *h, uint32_t events, loop_io_fn *fn);
void stream_unwatch(struct stream *s); /* neither socket tells of anything, and nothing is waited for */
void stream_socket(int fd);		  /* options of every socket of a stream */
void stream_socket_far(int fd); /* and of one whose other end is on another host, which may vanish */
void streams_cut_silent(struct peer *p, unsigned silent_ms); /* those that run, and on which nothing has come for so long */
void stream_reset(int fd);		  /* once it is closed */
void stream_open_begin(struct stream *s); /* a new one, or once more. It may be gone then. */
int streams_accept(struct keyd *k, int listener, struct sockaddr_storage *from); /* -1: none now */
/* ---- streams_syn.c ---- */
void streams_syns_ready(void *arg, uint32_t events);
void streams_local_ready(void *arg, uint32_t events);
void stream_answer(struct stream *s); /* the other end has taken it: so connect() succeeds, and the stream runs. It may be gone then. */
void stream_unhold(struct stream *s, enum mvpn_reason why); /* the SYN is answered so, if there is one */
/* ---- */
void streams_remote_ready(void *arg, uint32_t events);
void stream_run(struct stream *s); /* both sockets are connected, and the keys are there */
void stream_move(struct stream *s); /* it runs, and there is something to be sealed. With a pump: on it */
int stream_rewatch(struct stream *s); /* what it waits for now. With a pump: it is held */
void stream_ended(struct stream *s); /* s->end says how: s is gone then */

#endif
