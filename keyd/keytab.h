/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The key table: what the fast path's workers look up for each packet. One writer (keyd's main thread), many readers
 * (workers), no locks: pointers are published with release stores, and what is taken out is freed only when every
 * worker has passed a quiescent point (QSBR: McKenney, "RCU vs. locking performance", 2008).
 *
 *   out:  inner dst --lpm--> peer index --> kt_peer --tx--> kt_session, --endpoint--> kt_endpoint
 *   in:   SPI --slot--> kt_session --lane--> keys, replay window --> inner src in session->remote?
 *
 * Only the fields marked [worker] are written by workers.
 */
#ifndef MVPN_KEYTAB_H
#define MVPN_KEYTAB_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "addr.h"
#include "aead.h"
#include "class.h"
#include "frametab.h"
#include "fwdtab.h"
#include "intro.h"
#include "lpm.h"
#include "mvpn/limits.h"
#include "replay.h"
#include "service.h"

struct keytab;

/* Where a peer's sealed packets go. Immutable once published. */
struct kt_endpoint {
	struct mvpn_endpoint to;
	unsigned mtu;	/* of the underlay path, IP packet bytes; 0: 1500 */
	unsigned link_mtu; /* of its first link: probes of the path may be so large; 0: as mtu */
	bool one_port;	/* NAT on the way: all lanes are sent from the data port, whose mapping is known */
	bool has_hop;	/* the fields below are valid: a frame can be built without the stack */
	unsigned ifindex;
	struct mvpn_addr src; /* outer source address */
	uint8_t smac[6], dmac[6];
};

/* Sending half of one lane: used by one worker only. Key material: in locked pages. */
struct kt_tx_lane {
	struct aead aead;
	uint8_t l[32];		  /* chain key of gen */
	uint64_t counter;	  /* next; never reset within the session */
	uint64_t gen_first;	  /* counter at which gen began */
	uint64_t gen_since_ns;
	uint16_t gen;
	_Atomic uint64_t packets, bytes; /* inner; others only read them */
	_Atomic uint64_t refused; /* not among the session's services */
};
/* Receiving half of one lane: touched by its owner alone (kt_session.rx_owner; keyd/dp/owner.c). */
struct kt_rx_lane {
	struct aead prev, cur, next; /* gen-1 (suite 0 when none or too old), gen, gen+1 precomputed */
	uint8_t l_next[32];	     /* chain key of gen+1 */
	uint64_t prev_until_ns;
	uint64_t skip_after_ns; /* no search for a generation beyond the next before then */
	uint16_t gen;
	/* packets in a row that one other worker has handed over; the lane has been offered to it */
	uint16_t foreign;
	uint8_t foreign_by;
	bool offered;
	_Atomic uint64_t packets, bytes; /* inner; these and those below: others only read them */
	_Atomic uint64_t auth_fail, replayed, bad_inner; /* bad_inner: crypto-routing or malformed */
	_Atomic uint64_t refused; /* not among the session's services */
	_Atomic uint64_t last_ns; /* last authenticated packet */
	struct replay replay;
};

/* of all lanes together, as kt_session_stats() finds them */
struct kt_stats {
	uint64_t tx_packets, tx_bytes; /* inner */
	uint64_t rx_packets, rx_bytes;
	uint64_t rx_auth_fail, rx_replay, rx_bad_inner;
	uint64_t tx_refused, rx_refused;
	uint64_t rx_last_ns; /* health is judged by this alone; 0: nothing has come yet */
};

/* a number that one thread adds to and others read: no locked instruction */
static inline void kt_add(_Atomic uint64_t *to, uint64_t n)
{
	atomic_store_explicit(to, atomic_load_explicit(to, memory_order_relaxed) + n,
			      memory_order_relaxed);
}

/* Tokens of a limit, kept as the time at which there were none; both workers of a packet's way take from it. [worker] */
struct kt_bucket {
	_Atomic uint64_t empty_ns;
	_Atomic uint64_t dropped; /* packets */
};
struct kt_class {
	uint8_t dscp; /* as in struct mvpn_class */
	uint32_t rate_kbit, burst_b; /* 0: no limit */
	struct kt_bucket tx, rx;
};
struct kt_classes {
	struct mvpn_classes is;
	unsigned local; /* which end is this one: 0 A, 1 B */
	struct kt_class of[MVPN_CLASSES_MAX];
};

/* One epoch with one peer. */
struct kt_session {
	uint8_t id[MVPN_ID_LEN];
	uint32_t peer;
	uint32_t rx_spi, tx_spi;
	uint8_t suite, ntx, nrx;
	/* set before it transmits; per lane, 0: the protocol's bounds alone */
	uint64_t ratchet_packets;	       /* a generation of keys seals at most about so many */
	uint64_t rekey_packets, rekey_from_ns; /* a new session is asked for after so many, but not before then */
	bool limited; /* to services; kt_session_limit() */
	_Atomic uint8_t level; /* MVPN_LEVEL_SOCKET or _BOTH: TCP does not pass as it is; 0: it does. The main thread changes it at any time */
	uint16_t keyd_here, keyd_there; /* TCP ports at which the two keyds take streams, set before it is armed */
	unsigned nlocal, nremote;
	struct mvpn_prefix *local;  /* inner destinations we accept, sources we send from */
	struct mvpn_prefix *remote; /* inner sources we accept */
	struct mvpn_service *services; /* nserv_local that the peer may use here, then nserv_remote there */
	unsigned nserv_local, nserv_remote;
	struct kt_classes *classes; /* NULL: packets are all alike. kt_session_classes() */
	struct kt_tx_lane *tx; /* ntx of them, in locked memory (secslab.h) with rx */
	struct kt_rx_lane *rx; /* nrx */
	/* [worker] index of the worker that opens a lane's packets; changed by the owner alone, or from KT_NOBODY */
	_Atomic uint8_t rx_owner[MVPN_LANES_MAX];
	_Atomic bool confirmed; /* [worker] an authenticated packet has come: set once, and DP_EV_CONFIRMED given */
};
#define KT_NOBODY 0xff

struct kt_peer {
	uint32_t index; /* as in the BPF maps */
	struct kt_session *_Atomic tx; /* NULL: hold and ask */
	struct kt_endpoint *_Atomic endpoint;
	_Atomic bool denied; /* policy refuses: drop instead of hold */
	_Atomic uint64_t want_ns; /* [worker] when DP_EV_WANT was last given */
	/* the first packet sent from then on gives DP_EV_TRAFFIC; 0: none does [worker sets that] */
	_Atomic uint64_t watch_ns;
};

/* ---- main thread ---- */
int kt_new(struct keytab **ret);
void kt_free(struct keytab *kt);

/*
 * Takes ownership of lpm; values are peer indices, others (MVPN_PEER_NONE: no owner) are nobody's. The main thread may go on changing
 * it, under the workers' eyes, until another one takes its place: then it is freed by a later kt_reclaim().
 */
void kt_set_prefixes(struct keytab *kt, struct lpm *lpm);
/* enum mvpn_options, for every packet from now on */
void kt_set_options(struct keytab *kt, uint32_t options);
/* whose answers to echoes are to be handed on, 0: none */
void kt_set_echo(struct keytab *kt, uint32_t id);
void kt_set_forwards(struct keytab *kt, struct fwdtab *t); /* takes ownership, of NULL too */
int kt_set_frames(struct keytab *kt, struct frametab *t); /* takes ownership, of NULL too */
struct kt_peer *kt_peer_get(struct keytab *kt, uint32_t index); /* creates; NULL only without memory */
void kt_peer_drop(struct keytab *kt, uint32_t index); /* and its sessions */

/* An SPI whose slot is free and not in quarantine (spi.h); 0 when the table is full. */
uint32_t kt_spi_alloc(struct keytab *kt);
void kt_spi_free(struct keytab *kt, uint32_t spi); /* quarantined */

/* Build from the handshake's result (not yet visible to workers). rx_spi was allocated before. Selector arrays are copied. */
int kt_session_new(struct keytab *kt, struct kt_session **ret, const uint8_t id[MVPN_ID_LEN], uint32_t peer, uint32_t rx_spi,
		   const struct intro_keys *k, const struct mvpn_prefix *local, unsigned nlocal,
		   const struct mvpn_prefix *remote, unsigned nremote);
/* Before it is armed: only these services pass, nlocal here and then nremote there. Takes the array, for free(), over. */
void kt_session_limit(struct kt_session *s, struct mvpn_service *services, unsigned nlocal,
		      unsigned nremote);
/* Before it is armed: its packets' classes, or NULL: takes them over. `local`: is this device A (0) or B (1)? */
struct kt_classes *kt_classes_new(const struct mvpn_classes *c, unsigned local); /* NULL without memory */
void kt_session_classes(struct kt_session *s, struct kt_classes *c);
void kt_session_arm_rx(struct keytab *kt, struct kt_session *s);
void kt_session_arm_tx(struct keytab *kt, struct kt_session *s); /* replaces the peer's transmitting session */
void kt_session_disarm_tx(struct keytab *kt, struct kt_session *s); /* if it is the one that transmits */
/* Take out of both tables, quarantine the SPI, wipe and free once no worker can see it. s must not be used after. */
void kt_session_remove(struct keytab *kt, struct kt_session *s);
void kt_session_stats(const struct kt_session *s, struct kt_stats *ret);
/* copies *e; NULL withdraws */
int kt_peer_set_endpoint(struct keytab *kt, uint32_t index, const struct kt_endpoint *e);
/* free what every worker has left behind; call now and then. Returns how many objects still wait. */
unsigned kt_reclaim(struct keytab *kt);
size_t kt_locked_b(const struct keytab *kt); /* bytes of locked memory */

/* ---- workers: index 0..MVPN_WORKERS_MAX-1 ---- */
void kt_worker_online(struct keytab *kt, unsigned worker);
void kt_worker_quiescent(struct keytab *kt, unsigned worker); /* holds no pointer from the table: once a loop turn */
void kt_worker_offline(struct keytab *kt, unsigned worker);   /* before it sleeps or ends */

struct kt_peer *kt_lookup_dst(struct keytab *kt, const struct mvpn_addr *dst); /* NULL: not protected or nobody's */
uint32_t kt_options(const struct keytab *kt);
uint32_t kt_echo(const struct keytab *kt);
const struct fwdtab *kt_forwards(struct keytab *kt); /* NULL: this device relays nothing */
const struct frametab *kt_frames(struct keytab *kt); /* NULL: there are none */
struct kt_session *kt_lookup_spi(struct keytab *kt, uint32_t spi);
struct kt_peer *kt_lookup_peer(struct keytab *kt, uint32_t index); /* the main thread too; never creates */

#endif
