/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Sessions and the introductions that make them, both roles (PROTOCOL §3). sessions.c keeps the sessions, session_install.c makes one
 * of what was agreed, session_life.c has its life in time; introduce.c (as A) and offer.c (as B) run the messages.
 */
#ifndef MVPN_SESSIONS_H
#define MVPN_SESSIONS_H

#include "keyd.h"
#include "replay.h"

enum session_state {
	SESSION_UNCONFIRMED, /* armed to receive; A transmits too; nothing authentic has come yet */
	SESSION_ACTIVE,
	SESSION_DRAINING, /* replaced: still receives for stragglers */
};

/* what streams are made of (lib/stream.h) */
struct session_streams {
	uint8_t *keys; /* secmem: K of our direction, K of the peer's */
	uint8_t suite;
	uint64_t next;	    /* number of our next OPEN */
	struct replay seen; /* numbers of the peer's */
	struct mvpn_service *services; /* the session's, or NULL */
	struct kt_classes *classes; /* likewise */
};

struct session_rules;

struct session {
	struct hnode by_id;
	struct session *next; /* of the same peer: lower seq */
	struct keyd *k;
	struct peer *peer;
	struct kt_session *kt; /* NULL at layer SOCKET, where no packet passes: */
	struct session_streams *streams;
	struct loop_timer *timer;
	uint8_t id[MVPN_ID_LEN];
	enum session_state state;
	uint8_t mode; /* enum mvpn_mode */
	bool initiator, transmits;
	bool nat; /* on the way, or no UDP: nothing is sent on it until the way is found */
	bool no_udp; /* at one end at least: it is not waited for a direct way */
	uint64_t relay_asked_ms; /* relayed.c; 0: never */
	struct relay_way *way; /* relay_way.c: the device that relays it; NULL: none, the server if it is relayed */
	bool relay_wanted; /* asks.c: it will be, in its turn */
	bool awaits_path; /* confirmed, but from an end point that is being probed */
	struct mvpn_endpoint seen; /* by the server */
	struct mvpn_endpoint cand[MVPN_CANDIDATES_MAX]; /* the peer's own */
	unsigned ncand;
	bool limited; /* to these services: what the peer may use here, then what we may use there; kt's or streams' */
	const struct mvpn_service *services;
	unsigned nserv_local, nserv_remote;
	struct session_rules *rules; /* lines of the policy that it is by; NULL: not said */
	uint64_t seq; /* the server's; the highest confirmed one transmits */
	uint32_t epoch, rx_spi, tx_spi;
	uint64_t created_ms, rekey_ms, end_ms, drain_ms;
	unsigned confirms; /* rounds of CONFIRM sent by A, of punching by B */
	unsigned futile;   /* successors that were never confirmed */
};

/* ---- sessions.c, session_install.c, session_life.c ---- */
int sessions_init(struct keyd *k);
void sessions_free(struct keyd *k);
/* what an introduction has agreed: installs the receiving half (A: the sending half too) and takes over rx_spi */
struct session_spec {
	const uint8_t *id;
	uint64_t seq;
	bool initiator;
	uint32_t rx_spi, ttl_s;
	const struct intro_keys *keys;
	const struct intro_selectors *selectors;
	struct mvpn_endpoint endpoint;
	uint8_t mode;
	bool nat, no_udp;
};
int session_install(struct keyd *k, struct peer *p, const struct session_spec *spec,
		    struct session **ret);
/* is it for that service, here or at the peer? */
bool session_serves(const struct session *s, bool here, uint8_t proto, uint16_t port);
/* SERVICES: what one at layer SOCKET is for from now on. Its streams are judged, and it is made anew soon. 0 or -EPROTO */
int session_services_message(struct keyd *k, const struct chan_msg *m);
/* taken out at both tables; `tell` says so to the server */
void session_drop(struct session *s, enum mvpn_reason why, bool tell);
void sessions_drop_peer(struct keyd *k, struct peer *p, enum mvpn_reason why, bool tell);
void sessions_drop_all(struct keyd *k, enum mvpn_reason why);
/* those whose keys the server knows: keyd.conf does not have them any more */
void sessions_drop_central(struct keyd *k);
unsigned sessions_central(const struct keyd *k); /* how many */
struct session *session_transmitting(const struct peer *p); /* NULL if none */
struct session *session_by_id(struct keyd *k, const uint8_t id[MVPN_ID_LEN]);
/* layer SOCKET: the peer has shown that it has the keys */
void session_stream_seen(struct session *s);
struct session *session_by_spi(struct keyd *k, uint32_t rx_spi); /* NULL if none */
void session_key_map(struct keyd *k, const struct session *s); /* what the shim may know of the one that transmits */
void sessions_dp_event(struct keyd *k, const struct dp_event *e);
void sessions_refresh_endpoints(struct keyd *k); /* routes or neighbours may have changed */
void sessions_path_found(struct peer *p); /* nat.c has found where it is */
void sessions_path_silent(struct keyd *k, struct peer *p); /* path.c: nothing is answered any more */
/* what A says until it hears B: CONFIRM, and from the second time on PING, which B answers each time, for its first word may be lost */
enum mvpn_ctrl_type session_word(const struct session *s);
void sessions_tick(struct keyd *k);		 /* each second */
/* there are more workers than lanes: sessions are made anew, one after the other, and go on with the lanes that they have till then */
void sessions_workers_grown(struct keyd *k);

/* ---- watch.c ---- */
/* it has something to wait for: denied_until_ms, backoff_until_ms or wanted_ms was set */
void peer_watch(struct keyd *k, struct peer *p);
void watch_tick(struct keyd *k, uint64_t now_ms); /* each second */
/* a prefix that a session's selectors do not have yet is taken in by a rekey, which the initiator begins */
void sessions_prefix_new(struct keyd *k, const struct mvpn_prefix *prefix, uint32_t owner);
void sessions_prefixes_changed(struct keyd *k); /* any of them */

/* ---- introduce.c ---- */
/* a packet (or the operator) wants to reach the peer; dst NULL: any of its addresses */
void session_want(struct keyd *k, struct peer *p, const struct mvpn_addr *dst, uint8_t proto,
		  uint16_t dport);
/* asks.c: it is p's turn; false: nothing was to be asked */
bool session_want_turn(struct keyd *k, struct peer *p);
void session_want_again(struct keyd *k,
			struct peer *p); /* each second, while a packet may be held */
/* make the next epoch; -EALREADY one is under way, -ENOTCONN no channel, -ENOENT no session */
int session_rekey(struct keyd *k, struct peer *p);
/* messages of the channel; -EPROTO: malformed, close the channel */
int introduce_answer(struct keyd *k, const struct chan_msg *m);
int introduce_fail(struct keyd *k, const struct chan_msg *m);
void introduce_abort(struct keyd *k, struct peer *p); /* ours with p, silently */
void introduce_anew(struct keyd *k); /* this device has another key: those under way begin anew, each in its turn (asks.c) */
void introduce_resume(struct keyd *k); /* the channel is back: requests under way are repeated, likewise */
bool introduce_again(struct keyd *k, struct peer *p); /* the turn of p's: false: it is over */

/* ---- denials.c ---- */
void sessions_policy_changed(struct keyd *k); /* refusals are forgotten */
void peer_deny(struct keyd *k, struct peer *p, enum mvpn_reason why);
void peer_undeny(struct keyd *k, struct peer *p);

/* ---- offer.c ---- */
int introduce_offer(struct keyd *k, const struct chan_msg *m);
int introduce_cancel(struct keyd *k, const struct chan_msg *m);
int introduce_peer_gone(struct keyd *k, const struct chan_msg *m); /* PEER_RESET and REVOKE */

#endif
