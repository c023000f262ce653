/* SPDX-License-Identifier: BSD-2-Clause */
/* Open introductions and the messages about them: shared by introduce.c (what happens), intro_record.c (how it ends well) and
 * intro_table.c only. */
#ifndef SERVER_INTRO_TABLE_H
#define SERVER_INTRO_TABLE_H

#include "channel.h"
#include "intro.h"

struct intro {
	struct hnode by_session, by_pair;
	struct intro *prev, *next; /* by deadline: all wait equally long */
	struct device *a, *b;
	uint8_t session_id[16], nonce[16], replaces[16];
	uint8_t layer, mode;
	uint64_t seq, deadline_ms;
	uint8_t *psk; /* secmem cell */
	uint8_t *key; /* behind it: K of a central mode, made for ctx; NULL: end to end */
	uint8_t ctx[32];
	uint8_t *selectors;
	size_t selectors_len;
	struct request *offer; /* NULL, or it waits for B's tables: B has not heard of it */
	bool answer_waits;     /* B has accepted, and it waits for A's tables: in no queue */
	/* of ACCEPT: from then on it waits for the store, see intro_record.c */
	uint8_t *noise2;
	size_t noise2_len;
	struct intro *next_accepted;
	uint64_t services; /* services_name() of those in them */
};

struct intros {
	struct server *s;
	struct htab by_session, by_pair;
	struct intro *first, *last;
	unsigned count, nwaiting; /* for tables */
	struct loop_timer *timer;
	struct intro *accepted; /* to be recorded and answered */
	unsigned naccepted;
	struct loop_timer *recorder;
	uint64_t rest_ms; /* no transaction for them before */
};

/* what REQUEST said, copied: sending on the channel makes the message invalid */
struct request {
	uint8_t bytes[INTRO_REQ_MAX_B];
	size_t len;
	struct mvpn_req req; /* its head */
	bool names;	     /* a device, of several that own the destination */
	uint8_t device[16];
	uint8_t noise1[INTRO_MSG1_B];
};

/* NULL if there is none */
struct intro *intro_find_pair(const struct intros *in, const struct device *a,
			      const struct device *b, uint8_t layer);
struct intro *intro_find_session(const struct intros *in, const uint8_t id[16]);
void intro_link(struct intros *in, struct intro *i); /* starts its time */
void intro_free(struct intros *in, struct intro *i);

/* enum mvpn_mode that the policy sets for the two */
unsigned pair_mode(const struct server *s, const struct device *a, const struct device *b);
/* peer (but for MVPN_R_MODE) and session may be NULL */
void intro_send_fail(struct server *s, const struct device *a, const struct device *peer,
		     const uint8_t nonce[16], enum mvpn_reason reason, const uint8_t *session);
void intro_send_offer(struct server *s, const struct intro *i, const struct request *q);
void intro_send_answer(struct server *s, const struct intro *i);
/* K of its central mode, as its channel makes it now */
int intro_central_key(const struct intro *i, uint8_t ret[MVPN_KEY_LEN]);
/* ---- intro_record.c ---- */
void intro_accepted(struct intros *in, struct intro *i); /* noise2 is there; may be freed by this */
void intro_accepted_again(struct intros *in, struct intro *i); /* A's tables have been told, too; not freed */
void intro_unqueue(struct intros *in, struct intro *i);	  /* if it is there */
void intro_record(void *intros);			  /* now: all that wait */
/* ---- */
/* both ends hear that it is over; i is freed */
void intro_abandon(struct server *s, struct intro *i, enum mvpn_reason reason);

#endif
