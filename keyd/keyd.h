/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * keyd's main thread: what its parts share. One struct keyd, made in main.c and given to each part; each part owns the
 * members under its heading and the others only read them.
 *
 *   a key's way:   flows.c (miss) -> sessions.c (REQUEST) -> channel.c -> server -> channel.c (ANSWER) -> sessions.c
 *                  -> keytab + shim maps -> dp (held packets go)
 */
#ifndef MVPN_KEYD_H
#define MVPN_KEYD_H

#include <stdbool.h>
#include <stdint.h>

#include "backoff.h"
#include "chan.h"
#include "dp/dp.h"
#include "htab.h"
#include "ipc.h"
#include "keytab.h"
#include "loop.h"
#include "lpm.h"
#include "mvpn/auth.h"
#include "mvpn/limits.h"
#include "netlink.h"
#include "pins.h"
#include "shim.h"

struct conn;
struct asks;
struct ether;
struct gateway;
struct gateways;
struct translations;
struct own_endpoint;
struct forwards;
struct relay_tcp;
struct attachment;
struct session;
struct stream;
struct streams;
struct datagrams;
struct ports;
struct intro_run;
struct keystore;
struct nat_probe;
struct hsm;
struct intro_deferred;
struct path;
struct processes;
struct ping_run;
struct rotate;
struct server_key;
struct waiter;

/* keyd.conf; see docs/keyd.conf.5 */
struct settings {
	char *socket, *pin_dir, *tap;
	char *share_dir; /* NULL: this is the host's only network */
	char *networks;	 /* the named ones, in the host's keyd.conf; NULL: none */
	char *passphrase_file, *pkcs11, *pin_file; /* NULL: none */
	int token_key; /* enum hsm_use: which kind enrolment makes */
	uint64_t delegation_s; /* how long such a key vouches for the one in use */
	uint64_t udp_port, spin_us, max_prefixes, max_translations;
	int arrival; /* enum arrival */
	char *check; /* addresses behind this gateway that have to answer; NULL: none */
	uint64_t workers; /* 0: chosen by the fast path */
	uint64_t rekey_packets, ratchet_packets; /* of sessions that are made from then on */
	bool busy_poll, latency;
	char *cgroup; /* NULL: the root of the tree */
	int namespaces; /* enum mvpn_namespaces */
	bool central_keys; /* take part in the modes in which the server knows a session's keys */
	int cipher; /* 0 both, as the peers agree; else enum mvpn_suite: that one alone */
	int log_level; /* index into the choices: error warning info debug */
};

/* identity.c: who this device is; secrets in locked memory */
struct identity {
	uint8_t sk[32], psk[32];
	uint8_t pk[32];
	bool on_token; /* the secret is there: sk is empty (hsm.c) */
	bool delegates;	     /* the token has another key, which vouches for sk and pk; those are empty at first (delegate.c) */
	uint8_t token_pk[32]; /* that one's public half, Ed25519 */
	uint32_t psk_epoch;
	bool has_next; /* rotate.c: the key that shall be, the server may know it already */
	uint8_t next_sk[32], next_pk[32];
	bool next_signs; /* it is on the token: next_pk is Ed25519, and next_sk empty */
	uint8_t server_pk[32]; /* that it was enrolled with; now: server_key_to() */
	uint8_t net_id[MVPN_NET_ID_LEN];
	uint8_t device_id[MVPN_ID_LEN];
	char server[256]; /* "addr:port" or "name:port" */
	char name[MVPN_NAME_MAX_B + 1];
};

enum keyd_state {
	KEYD_UNENROLLED,
	KEYD_OFFLINE,
	KEYD_PENDING,
	KEYD_ONLINE,
	KEYD_SUSPENDED,
	KEYD_REVOKED,
	KEYD_LOCKED, /* enrolled, but the identity cannot be opened */
};

/* peers.c: another device */
struct peer {
	struct hnode by_id;
	uint32_t index;
	uint8_t id[MVPN_ID_LEN];
	uint8_t layer; /* NETWORK; apart from it, the same device for frames (LINK) and for streams (SOCKET) */
	char name[MVPN_NAME_MAX_B + 1];
	uint8_t state; /* enum mvpn_device_state as the server says; 0 unknown */
	unsigned prefixes;
	struct mvpn_addr
		any; /* an address inside one of its prefixes, by peer_address() */
	bool any_known;
	/* sessions.c */
	struct session *sessions; /* newest first, by the server's number */
	struct stream *streams;	  /* streams.c, of layer SOCKET */
	unsigned nstreams;
	unsigned datagram_ends;	  /* datagrams.c, of layer NETWORK: sockets that stand for ends of its */
	uint8_t level, next_level; /* levels.c, of layer NETWORK: enum mvpn_level, 0: as packets */
	bool diverted;		   /* the shim knows */
	struct mvpn_guard *guard;  /* processes.c: which of ours may send there; NULL: all */
	bool guarded;		   /* the shim has it */
	struct intro_run *intro;  /* ours, under way */
	struct mvpn_endpoint endpoint;
	struct path *path; /* path.c; NULL without a session */
	struct nat_probe *probe; /* nat.c, NULL: none so far */
	bool relayed;		 /* relayed.c: reached through the server, or another device */
	struct gateway *gateway; /* gateways.c; NULL: to no prefix */
	struct translations *translations; /* translate.c; NULL: none of its flows has been translated here */
	bool no_udp;		 /* the server sends it packets by TCP, as it said last */
	uint64_t kept_packets;	 /* sent when nat.c looked last */
	uint32_t epoch;
	uint64_t denied_until_ms; /* a refusal is believed until then */
	uint64_t backoff_until_ms;
	uint64_t wanted_ms; /* a packet last asked for a session then, and may still be held */
	unsigned error;	    /* enum mvpn_reason of the last failed introduction, 0 none */
	uint8_t mode;	    /* enum mvpn_mode that the policy asked for last */
	uint64_t central_seq; /* of the newest session in a central mode that it has offered */
	/* while one of the three above is set, or a session does not have `uncovered` yet */
	struct peer *watched_next;
	bool watched;
	/* asks.c: what waits for its turn, 0 nothing; in which list; packets sent before that */
	uint8_t asks, asks_list;
	struct peer *asks_next, *asks_prev;
	uint64_t asks_sent;
	bool has_uncovered, uncovered_own; /* a prefix of its own, or of this device */
	unsigned uncovered_tries;
	struct mvpn_prefix uncovered;
	uint8_t pin[32];
	bool pinned;
	bool delegates; /* what is pinned only signs, for `used`: at the last introduction of this life */
	uint8_t used[32];
};

/* events of the control plane that are counted; names in control_status.c */
enum keyd_counter {
	KC_CHANNEL_UP,
	KC_CHANNEL_LOST,
	KC_CHANNEL_FAILED,
	KC_BAD_MESSAGE,
	KC_INTRO_STARTED,
	KC_INTRO_DONE,
	KC_INTRO_FAILED,
	KC_INTRO_DENIED,
	KC_OFFER_REFUSED,
	KC_STALE_BOOT,
	KC_BAD_ANSWER,
	KC_SESSIONS_DROPPED_OFFLINE,
	KC_REVOKED,
	KC_PIN_CHANGED,
	KC_ADDR_REFUSED,
	KC_MAC_REFUSED,
	KC_MAP_FULL,
	KC_WIRE_ERRORS,
	KC_MODE_REFUSED,
	KC_TOKEN_FAILED,  /* the token, or the process that talks to it */
	KC_TOKEN_TIMEOUT, /* of these, those that did not answer */
	KC_INTRO_BY_SOCKET,
	KC_STREAM_OPENED,
	KC_STREAM_ACCEPTED,
	KC_STREAM_FORWARDED, /* of the peers', on to hosts behind this gateway */
	KC_STREAM_REFUSED,
	KC_STREAM_STRANGER,
	KC_STREAM_BAD,
	KC_STREAM_CUT,
	KC_STREAM_FORBIDDEN, /* open, and then a policy came that does not let them be, or not their process have them */
	KC_DATAGRAM_SENT,
	KC_DATAGRAM_RECEIVED,
	KC_DATAGRAM_DROPPED,
	KC_DATAGRAM_REFUSED,
	KC_DATAGRAM_NO_SOCKET,
	KC_DELEGATED,	  /* keys of this device that its token vouches for, taken by the server */
	KC_DELEGATION_REFUSED, /* a peer's key, for which its token does not vouch */
	KC_CONDUIT_SENT,
	KC_CONDUIT_RECEIVED,
	KC_CONDUIT_DROPPED,
	KC_ROTATED,
	KC_PIN_VOUCHED,
	KC_BAD_VOUCH,
	KC_STALE_VOUCH, /* such as cannot be checked: they were made for a key that this device used before */
	KC_GATEWAY_FAILED,
	KC_GATEWAY_CHANGED,
	KC_GATEWAY_AWAY, /* times that one said that it does not reach a prefix */
	KC_GATEWAY_STREAM_FAILED, /* times that one was found to take no streams */
	KC_STREAM_LEFT, /* open through a gateway that was given up: reset */
	KC_PREFIX_LOST,	 /* times that this device, as a gateway, did not */
	KC_TRANSLATED, /* packets, as the programs count them; see maps.h */
	KC_UNTRANSLATABLE,
	KC_TRANSLATIONS_FULL,
	KC_FRAGMENTS_REFUSED,
	KC_FRAGMENTS_ALONE,
	KC_TRANSLATIONS_REFUSED,
	KC_SERVER_KEY_PINNED,	/* changes of the server's key, or of one to come, that were taken */
	KC_SERVER_KEY_REFUSED,	/* ... and that were not */
	KC_SERVER_KEY_OLD,	/* channels by the key that the server had before */
	KC_PROCESS_REFUSED,    /* attempts that lines with `by` refused */
	KC_PROCESS_UNREPORTED, /* of them, of more kinds at a time than go to the server */
	KC_FORWARD_OPENED,     /* pairs for which this device was told to relay */
	KC_FORWARD_REFUSED,    /* ... and did not */
	KC_RELAY_SILENT,       /* devices that should have relayed for this one, and did not answer */
	KC_ASKS_PACED,	       /* peers about which the server was asked later, because there were many */
	KC_MAX,
};
extern const char *const keyd_counter_names[KC_MAX];

struct keyd {
	struct loop *loop;
	struct settings conf;
	const struct cmdline *args;
	const char *state_dir;
	char *exposed; /* of several networks: why files of the others are in sight; NULL: they are not */
	struct nl *nl;
	struct shim *shim;
	struct keytab *kt;
	struct dp *dp;
	bool tap_address; /* rp_filter.c has given it one */
	struct ipc_server *ipc;
	struct loop_timer *tick; /* each second: alive_ns, reclaim, expiries */
	uint64_t boot_gen;
	uint64_t counters[KC_MAX];
	uint16_t suites;

	/* keystore.c; id is NULL until enrolled, and while it is locked */
	struct identity *id;
	struct keystore *keystore;
	struct hsm *hsm; /* hsm.c; NULL: no token is configured */
	struct intro_deferred *intro_deferred; /* intro_defer.c */
	const uint8_t *static_dh; /* for the message that is worked on, from the token */
	struct rotate *rotate; /* rotate.c */
	struct server_key *server_key; /* server_key.c: which key of the server is pinned */

	/* delegate.c: of the key in use, for which the token vouches; 0: of none. Monotonic */
	uint64_t vouched_until_ms, vouch_due_ms, vouch_try_ms;

	/* channel.c */
	enum keyd_state state;
	struct conn *conn;	/* the live channel, or the one being made */
	struct conn *next_conn; /* its successor while the channel is rekeyed */
	struct loop_timer *reconnect;
	struct backoff backoff;
	uint32_t return_ms; /* RETURN, as the server said last; BACKOFF_UNTOLD */
	char *server_error; /* why there is no channel, for `status` */
	unsigned replaced; /* times that another one of this identity took the channel's place, one soon after the other */
	uint64_t replaced_ms;
	uint8_t ticket[MVPN_TICKET_B]; /* ticket.c */
	bool has_ticket;
	uint64_t server_heard_ms, online_since_ms;
	uint32_t max_offline_s, rekey_s;
	struct ipc_call *enrol_call;
	struct identity *enrol_fresh; /* who we shall be, while the token makes the key */
	uint8_t enrol_token_id[MVPN_ID_LEN];

	/* peers.c, prefixes.c */
	struct peer **peers; /* by index; 0 unused */
	uint32_t npeers, peers_size;
	struct htab peers_by_id;
	struct lpm *prefixes;	/* all protected prefixes -> peer index, own ones KEYD_SELF; kt's, and read by workers */
	struct lpm *incoming;	/* being received: the changes, or with incoming_all (after RESET) the whole set */
	bool incoming_all;
	bool set_known; /* `set` is what the server calls the state that was taken up last */
	uint8_t set[32];
	struct lpm *unsaved; /* prefixes that have changed since the kept file was written */
	uint32_t kept_lines; /* of that file; 0: to be written as a whole */
	struct pins_kept pins_kept;
	uint64_t prefixes_written; /* to the BPF map, in this life */
	bool prefixes_overflow; /* some are covered by a wider, dropping prefix */
	bool prefixes_known;	/* the server has told the whole set in this life */
	struct gateways *gateways;
	bool translating, untranslated, translate_seen; /* translate.c: it is wanted, it failed */
	unsigned translations, translations_now; /* flows, as counted last; and this time so far */
	bool translations_begun;		 /* `this time` has */
	uint64_t policy_rev;
	uint32_t options; /* enum mvpn_options, of that policy */
	struct mvpn_addr *addresses; /* accepted by the server */
	unsigned naddresses, naddresses_refused;
	struct loop_timer *save_protected;

	struct ether *ether; /* ether.c */
	struct processes *processes; /* processes.c */
	struct own_endpoint *own; /* endpoint.c */
	struct relay_tcp *relay_tcp; /* relay_tcp.c */
	struct forwards *forwards;   /* forwards.c */
	uint64_t keep_ms; /* nat.c: peers are to be kept from then on */

	/* sessions.c */
	struct session **by_slot; /* MVPN_SPI_SLOTS */
	struct htab sessions_by_id;
	struct htab intros_by_nonce; /* introduce.c's */
	struct peer *watched;	     /* peers that each second is about */
	struct asks *asks;	     /* asks.c */
	unsigned nsessions, nintros;

	/* attach.c */
	struct attachment *ifaces[MVPN_IFACES_MAX];
	unsigned nifaces;
	struct loop_timer *refresh; /* routes or neighbours changed: resolve end points anew */
	struct loop_timer *reregister;
	struct loop_timer *rewire; /* AF_XDP queues that were busy: try again */

	struct streams *streams; /* streams.c; NULL: no peer is at the socket level */
	struct datagrams *datagrams; /* datagrams.c, likewise */
	struct ports *ports;	     /* ports.c; NULL: none so far */
	char *levels_problem;	     /* levels.c; NULL: none */
	uint64_t levels_again_ms;

	/* control.c */
	struct ping_run *pings;
	struct waiter *waiters;
};

/* index of this device in keyd->prefixes; never a peer */
#define KEYD_SELF MVPN_PEERS_MAX

#endif
