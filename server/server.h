/* SPDX-License-Identifier: BSD-2-Clause */
/* The server's core: what all its parts share. One thread; nothing here locks. */
#ifndef SERVER_SERVER_H
#define SERVER_SERVER_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "audit.h"
#include "chan.h"
#include "conf.h"
#include "identity.h"
#include "loop.h"
#include "mvpn/auth.h"
#include "policy.h"
#include "registry.h"
#include "store.h"

/* counters, in the order of `mvpnctl server status`; introductions that failed are counted by reason besides */
#define SERVER_COUNTERS(X)                                                                   \
	X(accepted)	     /* TCP connections */                                           \
	X(accept_failed)     /* accept() failed: out of descriptors, for example */          \
	X(refused_full)	     /* max_channels reached */                                      \
	X(refused_half_open) /* too many unfinished handshakes in all */                     \
	X(challenged_source) /* had to prove something: too many unfinished ones of one source */ \
	X(challenged_rate)   /* ... or too many a second */                                  \
	X(evicted)	     /* unfinished and unproven handshakes that made room for new ones */\
	X(challenged)	     /* handshakes told to prove something first: many come */       \
	X(proved_ticket)     /* of them, by a device that we know */                         \
	X(proved_work)	     /* ... by work */                                               \
	X(ticket_refused)    /* tickets of nobody, or too many of one device: work is asked for */ \
	X(handshake_ok)                                                                      \
	X(handshake_timeout)                                                                 \
	X(bad_hello) /* not our protocol */                                                  \
	X(bad_mac)   /* HELLO by somebody who does not know the server's key */              \
	X(gone_key)  /* HELLO for a key that this server has given up */                     \
	X(bad_proof) /* work that is none */                                                 \
	X(bad_version)                                                                       \
	X(bad_auth)    /* unknown device or token, wrong key */                              \
	X(bad_frame)   /* a frame of an established channel does not authenticate */         \
	X(bad_message) /* malformed or out of place */                                       \
	X(closed_by_peer)                                                                    \
	X(dead_peer)	     /* silent for MVPN_CHAN_DEAD_S */                               \
	X(slow_reader)	     /* more than MVPN_CHAN_OUT_MAX_B queued */                      \
	X(too_many_messages) /* over messages_channel a second: answered by FAIL limit */    \
	X(replaced)	     /* a newer channel of the same device took over */              \
	X(login)                                                                             \
	X(login_refused) /* revoked or suspended device */                                   \
	X(enrolled)                                                                          \
	X(reenrolled)                                                                        \
	X(delegated)	 /* keys that a device's token vouches for, taken */                 \
	X(delegation_refused) /* log-ins and enrolments without such a word, or with one that does not hold */ \
	X(rotated)	 /* devices that took a new key into use */ \
	X(key_heard)	 /* devices that have pinned this server's newest key */              \
	X(old_key)	 /* log-ins by the key that it had before, while that is good */      \
	X(departed)	 /* ephemeral devices that were removed */                           \
	X(enrol_refused) /* known token, but expired, used, revoked, or its name is taken */ \
	X(addr_refused)	 /* addresses that a device may not have */                          \
	X(mac_refused)	 /* MAC addresses that a device may not have */                      \
	X(restarts)	 /* log-ins with a new boot_gen */                                   \
	X(requests)                                                                          \
	X(offers)                                                                            \
	X(answers)                                                                           \
	X(records)	 /* transactions that put them on record, each several if they come fast */ \
	X(duplicates)	 /* requests repeated with the same nonce */                         \
	X(stray_answers) /* ACCEPT or REJECT of no open introduction */                      \
	X(selectors_cut) /* a side with more than MVPN_SELECTORS_MAX prefixes */             \
	X(services_cut) /* a pair with more than MVPN_SERVICES_MAX ranges of ports */         \
	X(services_told) /* SERVICES */                                                       \
	X(cancelled)                                                                         \
	X(revokes_pushed)                                                                    \
	X(snapshots)   /* whole protected sets sent */                                       \
	X(resumed)     /* channels that knew the protected set, or a recent state of it */   \
	X(deltas)      /* changes of the protected set, each sent to every channel */        \
	X(frames_told) /* tables of frames sent, each to one channel */                       \
	X(frames_cut)  /* of them, with more than MVPN_FRAMES_MAX entries */                  \
	X(processes_told)    /* tables of `by` lines sent, each to one channel */             \
	X(processes_refused) /* kinds of refusals that devices reported */                   \
	X(processes_unheard) /* such messages that came too fast */                          \
	X(echoes)      /* questions of devices where they are seen, answered */              \
	X(relayed)	/* sealed packets passed on between two devices */                        \
	X(relay_limited) /* of them, dropped: over relay_mbit, or the receiver is off-line */     \
	X(relay_refused) /* sessions that are not relayed */                                      \
	X(relay_devices) /* pairs given to a device that relays */                                \
	X(relay_devices_refused) /* of them, by the device */                                     \
	X(relay_devices_silent) /* of them, for one of their ends gets no answer there */         \
	X(conduits)	/* connections for sealed packets of devices whose UDP is blocked */        \
	X(conduit_refused) /* by nobody we know, malformed, or while relay_mbit is 0 */          \
	X(conduit_full) /* sealed packets dropped: such a device reads too slowly */               \
	X(echo_refused) /* UDP packets that are none, forged, replayed or too many */         \
	X(fell_behind) /* channels that missed deltas and get the whole set again */         \
	X(store_errors)

enum server_counter {
#define X(name) SC_##name,
	SERVER_COUNTERS(X)
#undef X
		SC_MAX
};

struct conn;
struct echo;
struct gate;
struct intros;
struct listener;
struct push;
struct relay;
struct relay_tcp;
struct admin;
struct audit_feed;
struct audit_checks;
struct refusals;

enum table_what { TABLE_ETHER, TABLE_LEVELS, TABLE_PROCESSES, TABLES };

struct unproven_list {
	struct unproven *first, **end; /* zero: empty */
};

struct server {
	const struct server_settings *conf;
	struct loop *loop;
	struct store *store;
	struct audit audit;
	struct identity id;
	struct registry *reg;

	struct policy *policy; /* NULL: nothing is allowed */
	uint64_t policy_rev;
	char *policy_alarm; /* why an older revision is in force, or NULL */
	char *restored_alarm; /* restored.c: the store is an old copy; NULL: nothing says so */

	struct listener *listener;
	struct gate *gate;
	struct echo *echo;
	struct relay *relay;
	struct relay_tcp *conduits; /* all, newest first */
	unsigned conduits_new;	   /* of them, without HELLO so far */
	struct intros *intros;
	struct push *push;
	struct tables *tables;
	struct admin *admin;
	struct audit_checks *checks;
	struct refusals *refusals;
	struct audit_feed *feed; /* who follows the audit trail */
	bool renew;		   /* some device is marked */
	bool cut_failed;	   /* sessions that should be cut are on record as active still */
	struct loop_timer *chores; /* expiry of sessions and tokens */
	struct loop_timer *key_timer; /* server_key.c */
	struct loop_timer *depart; /* depart.c: ephemeral devices */
	uint64_t depart_ms;	   /* when it goes off; 0: not armed */
	struct loop_timer *seen;   /* when devices were seen goes into the store, a part at a time */
	uint32_t seen_at;

	struct conn *conns; /* all, newest first */
	struct conn *doomed;
	struct unproven_list unproven; /* of all sources */
	struct loop_timer *reaper;
	unsigned nconns, half_open;

	uint64_t seq, seq_limit; /* of sessions; the store has promised up to seq_limit */
	uint64_t counters[SC_MAX];
	uint64_t fails[MVPN_R_MAX]; /* introductions failed, by reason */
	uint64_t started_ms, checkpoint_ms;
	struct chan_buf buf; /* for messages built and sent at once */
};

#define count(s, name) ((s)->counters[SC_##name]++)

/* Opens the state, the store and the listening sockets; the loop is the caller's. *ret_error: malloc'ed, for people. */
int server_new(const struct server_settings *conf, struct loop *l, struct server **ret,
	       char **ret_error);
/* the control socket; apart, so that the caller may change its user between */
int server_open_control(struct server *s, char **ret_error);
/* CLOSE shutdown to every channel, as far as the sockets take it */
void server_say_goodbye(struct server *s);
void server_free(struct server *s); /* NULL is fine */

/* a number that rises with each session, over restarts too; 0: the store failed */
uint64_t server_next_seq(struct server *s);
/* row.last_seen_at has changed: into the store, but not with a transaction for each of ten thousand log-ins */
void server_seen(struct server *s, struct device *d);
/* begin, run, commit: counts and logs store errors; 0 or -errno */
int server_transact(struct server *s, bool durable, int (*fn)(struct server *s, void *arg),
		    void *arg);
/* as the policy says, else server.conf */
uint32_t server_rekey_s(const struct server *s);
uint32_t server_max_offline_s(const struct server *s);
int64_t wall_now(void); /* seconds since the epoch */

#endif
