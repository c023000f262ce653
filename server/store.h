/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the server keeps (PROTOCOL §6), one transaction a change. Nothing here opens what was sealed: psk_enc blobs pass
 * through. Functions return 0 or -errno: -ENOENT no such row, -EEXIST a uniqueness rule, -ENOSPC, -EBUSY, -EIO;
 * store_error() has the database's words for the last failure.
 */
#ifndef SERVER_STORE_H
#define SERVER_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addr.h"
#include "delegation.h"
#include "mvpn/auth.h"
#include "mvpn/limits.h"

#define STORE_SCHEMA_VERSION 12
#define STORE_PSK_ENC_B (MVPN_KEY_LEN + 40) /* mvpn_box_seal of 32 bytes */

struct store;

/* creates the file 0600 if it is missing and migrates the schema */
int store_open(const char *path, struct store **ret, char **ret_error);
void store_close(struct store *st); /* NULL is fine */
const char *store_error(const struct store *st);

/* durable: committed means on disk (enrolment, policy, revocation); else a power cut may lose the last moments */
int store_begin(struct store *st, bool durable);
int store_commit(struct store *st); /* rolls back if it fails */
void store_rollback(struct store *st);
/* commit if r is 0, else roll back and return r */
int store_end(struct store *st, int r);

int store_meta_get(struct store *st, const char *key, char **ret); /* malloc'ed; -ENOENT */
int store_meta_set(struct store *st, const char *key, const char *value);

/* ---- devices ---- */
struct store_device {
	uint8_t id[MVPN_ID_LEN];
	uint8_t pk[MVPN_KEY_LEN];
	uint8_t psk_enc[STORE_PSK_ENC_B];
	uint32_t psk_epoch;
	char name[MVPN_NAME_MAX_B + 1];
	uint8_t state; /* enum mvpn_device_state */
	uint64_t boot_gen;
	int64_t created_at, last_seen_at;
	uint32_t ephemeral_s; /* removed after so long without a channel; 0: it stays */
	int64_t psk_at;	      /* since when it has its PSK */
	bool has_psk_next;
	uint8_t psk_next_enc[STORE_PSK_ENC_B]; /* of the next epoch, until it is used */
	bool delegated;			       /* pk is good as long as the token's key says */
	struct delegation delegation;
	uint8_t pk_next[MVPN_KEY_LEN]; /* zero: none; it is as good as pk until next_until */
	int64_t next_until;
	uint8_t server_pk[MVPN_KEY_LEN]; /* the newest key of the server that it is known to know; zero: not known */
};
int store_device_add(struct store *st, const struct store_device *d);
int store_device_set_psk(struct store *st, const struct store_device *d); /* both */
int store_device_set_key(struct store *st, const struct store_device *d); /* and its delegation */
/* its PSK, and whether it is ephemeral: what a token decides anew */
int store_device_reenrol(struct store *st, const struct store_device *d);
int store_device_set_server_pk(struct store *st, const uint8_t id[16], const uint8_t pk[32]);
int store_device_set_state(struct store *st, const uint8_t id[16], unsigned state);
int store_device_set_name(struct store *st, const uint8_t id[16], const char *name);
int store_device_seen(struct store *st, const uint8_t id[16], uint64_t boot_gen, int64_t at);
int store_device_remove(struct store *st,
			const uint8_t id[16]); /* its prefixes and memberships too */
int store_device_each(struct store *st, int (*fn)(void *arg, const struct store_device *d),
		      void *arg);
int store_member_add(struct store *st, const uint8_t id[16], const char *group);
int store_member_each(struct store *st,
		      int (*fn)(void *arg, const uint8_t id[16], const char *group), void *arg);
int store_revocation_add(struct store *st, const uint8_t id[16], int64_t at);

/* ---- a device's next key ---- */
/* not valid yet; what vouched for one that was never used is forgotten */
int store_rotate_begin(struct store *st, const uint8_t id[16], const uint8_t pk[32]);
int store_rotate_commit(struct store *st, const uint8_t id[16], int64_t until);
/* d->pk_next is its key from now on, d->pk an old one of its */
int store_rotate_done(struct store *st, const struct store_device *d);
int store_key_was(struct store *st, const uint8_t pk[32]); /* 0 if it is an old key of some device; -ENOENT */
/* the old key's word for the new one, from a device to a peer */
struct store_vouch {
	uint8_t device[MVPN_ID_LEN], peer[MVPN_ID_LEN], pk[MVPN_KEY_LEN], mac[32];
	bool has_word; /* the old key was one that signs: its last word, and mac is nothing */
	uint8_t word[MVPN_TLV_DELEGATION_B];
};
typedef int store_vouch_fn(void *arg, const struct store_vouch *v);
int store_vouch_add(struct store *st, const struct store_vouch *v);
/* of that key of the device, for every peer */
int store_vouch_of(struct store *st, const uint8_t device[16], const uint8_t pk[32], store_vouch_fn *fn, void *arg);
/* for that peer, of keys that are or were in force, in the order in which they came to be */
int store_vouch_for(struct store *st, const uint8_t peer[16], store_vouch_fn *fn, void *arg);
int store_vouch_heard(struct store *st, const uint8_t device[16], const uint8_t peer[16],
		      const uint8_t pk[32]);

enum prefix_kind {
	PREFIX_CLAIM = 0, /* an address that the device registered, owned until it is omitted */
	PREFIX_ADMIN = 1, /* given by device-address: owned until taken back */
	PREFIX_MAC = 3,	  /* a MAC address, as macs.c writes it */
	PREFIX_SCOPE = 2, /* from the token: the device may register addresses inside it */
};
int store_prefix_add(struct store *st, const uint8_t id[16], const struct mvpn_prefix *p, int kind);
int store_prefix_del(struct store *st, const uint8_t id[16], const struct mvpn_prefix *p, int kind);
int store_prefix_each(struct store *st,
		      int (*fn)(void *arg, const uint8_t id[16], const struct mvpn_prefix *p,
				int kind),
		      void *arg);

/* ---- tokens ---- */
struct store_token {
	uint8_t id[MVPN_ID_LEN];
	uint8_t psk_enc[STORE_PSK_ENC_B];
	uint64_t uses_left;
	int64_t expires_at; /* 0 never */
	char group[MVPN_NAME_MAX_B + 1];
	bool approve, revoked;
	uint32_t ephemeral_s; /* of the devices that it enrols */
	int64_t created_at;
	bool has_server_pk; /* else it is older than any change of the server's key */
	uint8_t server_pk[MVPN_KEY_LEN]; /* that it pins */
	char *addresses; /* prefixes separated by spaces, or NULL; freed by store_token_clear */
};
void store_token_clear(struct store_token *t);
int store_token_add(struct store *st, const struct store_token *t);
int store_token_get(struct store *st, const uint8_t id[16], struct store_token *ret);
/* takes one use in one statement: -ENOENT unless valid at `now` */
int store_token_take(struct store *st, const uint8_t id[16], int64_t now);
int store_token_revoke(struct store *st, const uint8_t id[16]);
int store_token_each(struct store *st, int (*fn)(void *arg, const struct store_token *t),
		     void *arg);
int store_token_count(struct store *st, uint64_t *ret);
/* tokens that do not say which key of the server they pin pin this one */
int store_token_adopt(struct store *st, const uint8_t pk[32]);
/* 0 if some token puts its devices into this group; -ENOENT */
int store_token_group(struct store *st, const char *group);
int store_token_prune(struct store *st,
		      int64_t before); /* used up, revoked or expired before then */

/* ---- sessions: no key material ---- */
enum session_state {
	SESSION_ACTIVE = 1,
	SESSION_ENDED = 2,
	SESSION_LEFT = 3, /* replaced, or over as one end says: the other may hold its keys still */
};
/* of an ended one: ends that have not heard of it; of a left one: ends that have not said that it is over */
enum session_owed { OWED_A = 1, OWED_B = 2 };
struct store_session {
	uint8_t id[MVPN_ID_LEN], a[MVPN_ID_LEN], b[MVPN_ID_LEN];
	uint8_t layer, state, owed;
	uint8_t mode; /* enum mvpn_mode */
	uint16_t reason; /* enum mvpn_reason, of an ended one */
	uint64_t seq, policy_rev;
	int64_t created_at, ends_at;
	uint64_t services; /* what it is for (services.h); 0: everything */
};
typedef int store_session_fn(void *arg, const struct store_session *s);
int store_session_add(struct store *st, const struct store_session *s);
int store_session_get(struct store *st, const uint8_t id[16], struct store_session *ret);
int store_session_end(struct store *st, const uint8_t id[16], unsigned reason, unsigned owed);
int store_session_leave(struct store *st, const uint8_t id[16], unsigned reason, unsigned held);
/* a debt of this pair is void: they have a newer session, or the end has heard */
int store_session_paid(struct store *st, const uint8_t debtor[16], const uint8_t peer[16]);
int store_session_paid_all(struct store *st, const uint8_t debtor[16]);
/* active ones of a device (NULL: all), newest first, at most max */
int store_session_active(struct store *st, const uint8_t *device, unsigned max,
			 store_session_fn *fn, void *arg);
/* active and left ones of a device (NULL: all), by pair */
int store_session_held(struct store *st, const uint8_t *device, store_session_fn *fn, void *arg);
/* ended ones of which the device has not heard */
int store_session_owed(struct store *st, const uint8_t device[16], store_session_fn *fn, void *arg);
int store_session_prune(struct store *st, int64_t now, int64_t forget_before);
int store_session_count(struct store *st, uint64_t *ret);
int store_session_central(struct store *st, uint64_t *ret); /* of these, those whose keys the server can make */
int store_session_seq_max(struct store *st, uint64_t *ret);

/* ---- policies ---- */
struct store_policy {
	uint64_t rev;
	int64_t at, uid; /* who applied it; -1: not known */
	const char *comment, *text;
};
int store_policy_add(struct store *st, const struct store_policy *p);
/* the newest `max`, newest first */
int store_policy_each(struct store *st, unsigned max,
		      int (*fn)(void *arg, const struct store_policy *p), void *arg);
int store_policy_prune(struct store *st, uint64_t before); /* revisions below that are forgotten */
/* rev 0: the newest. -ENOENT. text malloc'ed */
int store_policy_get(struct store *st, uint64_t rev, uint64_t *ret_rev, int64_t *ret_at,
		     char **ret_text);
/* the newest below rev */
int store_policy_before(struct store *st, uint64_t rev, uint64_t *ret_rev, char **ret_text);

/* ---- audit rows; audit.c makes and checks the chain ---- */
#define STORE_HASH_LEN 32
struct store_audit {
	uint64_t seq;
	int64_t at;
	const char *actor, *event, *json;
	uint8_t prev[STORE_HASH_LEN], hash[STORE_HASH_LEN];
};
int store_audit_add(struct store *st, const struct store_audit *a);
int store_audit_last(struct store *st, uint64_t *ret_seq,
		     uint8_t ret_hash[STORE_HASH_LEN]); /* -ENOENT */
/* in rising seq, from `from` */
int store_audit_each(struct store *st, uint64_t from,
		     int (*fn)(void *arg, const struct store_audit *a), void *arg);

int store_audit_forget(struct store *st, uint64_t through); /* the events, and older checkpoints */

struct store_checkpoint {
	uint64_t seq; /* of the event that has this hash */
	int64_t at;
	bool forgotten; /* it and those before are gone */
	uint8_t hash[STORE_HASH_LEN], mac[STORE_HASH_LEN];
};
/* in place of an older one of the same event */
int store_checkpoint_put(struct store *st, const struct store_checkpoint *c);
int store_checkpoint_each(struct store *st, int (*fn)(void *arg, const struct store_checkpoint *c),
			  void *arg); /* in rising seq */

#endif
