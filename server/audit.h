/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The audit trail: rows chained by hash = BLAKE2b-256(prev ‖ seq ‖ at ‖ actor ‖ event ‖ json), numbers u64 big-endian,
 * texts with a u32 length before them. A row that was changed or taken out of the middle breaks the chain. Checkpoints: audit_keep.c.
 */
#ifndef SERVER_AUDIT_H
#define SERVER_AUDIT_H

#include <jansson.h>

#include "store.h"

struct audit {
	struct store *st;
	uint64_t seq; /* of the last row */
	uint8_t hash[STORE_HASH_LEN];
	uint64_t forgets;   /* how often the beginning was taken away: who reads it in parts begins anew */
	const uint8_t *key; /* 32 bytes for checkpoints, the caller's */
	/* who uses the control socket just now, and the reason given (or NULL): go into the detail of what "admin" does */
	int64_t uid;
	const char *comment;
};

int audit_open(struct audit *a, struct store *st);
/* Inside the caller's transaction, so that the change and its record stand or fall together; steals detail (or NULL).
 * After a rollback: audit_open again. */
int audit_add(struct audit *a, const char *actor, const char *event, json_t *detail);
/* ---- audit_keep.c ---- */
/* inside a transaction: the newest event's hash, under a MAC */
int audit_checkpoint(struct audit *a);
/*
 * Inside a transaction: forget the oldest events, those older than `before` and those that are more than `keep`, behind a
 * checkpoint; some thousands at a time. How many, or -errno.
 */
int audit_prune(struct audit *a, uint64_t keep, int64_t before);
bool audit_prune_goes_on(int pruned); /* there may be more to forget */
bool audit_checkpoint_good(const struct audit *a, const struct store_checkpoint *c);

/* ---- audit_verify.c ---- */
/* Reading all of a long trail takes seconds, so it goes by steps of some rows; rows may be added and forgotten between them. */
struct audit_verify;
int audit_verify_new(struct audit *a, struct audit_verify **ret);
/* 1 it goes on; 0 intact; -EBADMSG with *ret_seq the first row that does not fit */
int audit_verify_step(struct audit_verify *v, uint64_t *ret_seq);
void audit_verify_free(struct audit_verify *v); /* NULL is fine */

/* ---- audit.c ---- */
int audit_row_hash(const struct store_audit *row, uint8_t ret[STORE_HASH_LEN]);
/* at most `limit` events from `seq` on, oldest first: an array */
int audit_list(struct audit *a, uint64_t seq, unsigned limit, json_t **ret);
/* one event, for people and scripts; NULL: no memory */
json_t *audit_json(const struct store_audit *row);

#endif
