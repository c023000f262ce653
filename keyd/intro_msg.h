/* SPDX-License-Identifier: BSD-2-Clause */
/* What OFFER (offer.c) and ANSWER (introduce.c) have in common: their members, this end's description, the keys' way into a
 * session. */
#ifndef MVPN_INTRO_MSG_H
#define MVPN_INTRO_MSG_H

#include "intro.h"
#include "keyd.h"

struct intro_msg {
	uint8_t session[MVPN_ID_LEN], peer_id[MVPN_ID_LEN], peer_pk[32];
	uint8_t psk[32];
	uint8_t mode;	 /* enum mvpn_mode of REQ */
	bool key_told;	 /* `key` has come with the message */
	uint8_t key[32]; /* K of a central mode */
	const uint8_t *word; /* DELEGATION of peer_pk, MVPN_TLV_DELEGATION_B; NULL: none */
	const uint8_t *selectors, *noise;
	uint16_t selectors_len, noise_len;
	struct chan_msg msg; /* as it came */
	struct intro_selectors sel;
	uint64_t seq, boot_gen;
	uint32_t ttl_s;
	struct mvpn_endpoint seen;
	bool no_udp; /* the peer has told the server that UDP is blocked */
};

int intro_msg_parse(const struct chan_msg *m, uint16_t noise_tlv,
		    struct intro_msg *ret); /* -EPROTO */
void intro_pair_fill(struct intro_pair *pair, const struct intro_msg *im,
		     const struct identity *self, bool initiator);
/* Does this device take part in sessions of that mode with p? If not: counted, and said in the log. */
bool intro_mode_ok(struct keyd *k, const struct peer *p, unsigned mode);
/*
 * pair->central: K, told by the server or made of our channel, if REQ's mode is a central one. -EPERM: this device takes no part
 * in it, -EBADMSG: the message does not fit the mode.
 */
int intro_central(struct keyd *k, struct intro_msg *im, struct intro_pair *pair,
		  const struct peer *p, const uint8_t *req, size_t req_len);
/* `cand` is filled, and borrowed by *ret */
void intro_describe(struct keyd *k, uint32_t spi, struct mvpn_endpoint cand[MVPN_CANDIDATES_MAX],
		    struct intro_self *ret);
/* the session of a handshake that is done; takes over the SPI unless it fails */
int intro_install(struct keyd *k, struct peer *p, const struct intro_msg *im,
		  const struct intro_keys *keys, uint32_t spi, bool initiator);
/* keys of peers are pinned on first use, and which one it uses is noted; a change of the pinned one is told, loudly. pk: what
 * delegate_peer() says */
void intro_pin_check(struct keyd *k, const struct intro_msg *im, const uint8_t pk[32]);

/* keys of a handshake, in locked memory; free wipes */
struct intro_keys *intro_keys_new(void);
void intro_keys_free(struct intro_keys *keys);

#endif
