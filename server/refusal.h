/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Refusals in the audit trail, every one of them: the first of its kind at once, those like it that follow within ten seconds
 * together, as one event with their `count`.
 */
#ifndef SERVER_REFUSAL_H
#define SERVER_REFUSAL_H

#include "server.h"

struct refusals;

int refusals_new(struct server *s);
void refusals_free(struct refusals *f); /* NULL is fine */
/* key: what makes two refusals alike, besides the event; steals detail (NULL: no memory) */
void refusal_note(struct server *s, const char *actor, const char *event, const void *key, size_t key_len,
		  json_t *detail);
void refusals_flush(struct server *s); /* what is counted goes on record now: the server stops */
/* What a device claims and may not have: alike are those of the same device with the same list, which is stolen. */
struct conn;
void refusal_note_claims(struct conn *c, const char *event, const char *name, json_t *list);

#endif
