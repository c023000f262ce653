/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The two ends of an echo (echo_msg.h): who asks how it is seen, and who answers and so learns where the other one truly is. The
 * server answers for each channel; a device that relays answers the two ends of each pair.
 */
#ifndef MVPN_ECHO_ENDS_H
#define MVPN_ECHO_ENDS_H

#include "echo_msg.h"

/* ---- who answers ---- */

struct echo_place {
	uint64_t counter;	       /* of the last question */
	struct mvpn_endpoint asked;    /* where that came from ... */
	uint8_t cookie[ECHO_COOKIE_B]; /* ... and what was sent there */
	struct mvpn_endpoint proven;   /* port 0: none */
	uint64_t at_ms, tokens;	       /* answers left, in 1/1000 */
};
void echo_place_init(struct echo_place *p, uint64_t now_ms);
/* The question in `data`, after echo_look(), becomes its answer. false: it is not answered: forged, repeated, or one too many */
bool echo_place_answer(struct echo_place *p, uint8_t data[static MVPN_ECHO_B],
		       const struct mvpn_endpoint *from, const uint8_t key[static ECHO_KEY_B],
		       uint64_t now_ms);

/* ---- who asks ---- */

struct echo_asker {
	uint8_t *key; /* ECHO_KEY_B, the caller's */
	uint32_t id;  /* 0: nobody answers */
	uint64_t counter;
	uint8_t cookie[ECHO_COOKIE_B];
};
void echo_ask(struct echo_asker *a, uint8_t ret[static MVPN_ECHO_B]);
/* ECHO_PROVEN: it answers a question with the cookie, so the other end believes now that we are there */
enum echo_heard { ECHO_BAD, ECHO_NEW_COOKIE, ECHO_PROVEN };
enum echo_heard echo_answered(struct echo_asker *a, const uint8_t data[static MVPN_ECHO_B],
			      struct mvpn_endpoint *ret_seen);

#endif
