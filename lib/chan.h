/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The channel between keyd and the server (PROTOCOL §1) without any I/O: bytes in, bytes and messages out, so that
 * keyd, the server, tests and load generators share it. TCP carries:
 *
 *   HELLO   C→S  "MAVP" | ver_min | ver_max | ver | flags (1 ENROL, 2 DELEGATED) | len u16 | noise msg1 | mac1[16]
 *   REPLY   S→C  len u16 | noise msg2
 *   FINISH  C→S  len u16 | noise msg3
 *   frames  len u16 | ciphertext        ChaCha20-Poly1305 with Noise's counters, one key a direction
 *
 * A server under load answers HELLO by CHALLENGE and does nothing else before PROOF, as often as it likes; then comes REPLY:
 *
 *   CHALLENGE S→C  len u16 | bits u8 | flags u8 (1: a ticket will do) | random[16]
 *   PROOF     C→S  len u16 | 1 | n u64                                         work: see chan_proof.c
 *                  len u16 | 2 | ticket[56] | psk_epoch u32 | mac[16]
 *
 * A server may have two keys, while it changes one for the other, and HELLO's mac1 says which the client means. To a HELLO for one
 * that it has given up it answers GONE, and closes; whoever knows that public key can say so, hence it means nothing but a hint:
 *
 *   GONE      S→C  len u16 | mac[17] = 1 | BLAKE2b-128(key = mac1's, "gone" ‖ mac1 of HELLO)
 *
 * msg1 payload: LOGIN psk_epoch u32, DELEGATED psk_epoch u32 | device_id[16], ENROL token_id[16]. msg3 payload: boot_gen u64.
 * mac1 = BLAKE2b-128(key = BLAKE2b-256("mavp1 mac1" ‖ S), all previous bytes); prologue = "mavp1 chan\0" ‖ first 8 bytes.
 */
#ifndef MVPN_CHAN_H
#define MVPN_CHAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "mvpn/auth.h"

struct chan;

/* What the client must prove; psk is the device's channel PSK or the token's. */
struct chan_client {
	const uint8_t *s;	  /* own static secret, 32; NULL: elsewhere, see chan_wants_dh */
	const uint8_t *s_pub;	  /* its public key, if s is NULL, or to save a multiplication */
	const uint8_t *server_pk; /* 32 */
	const uint8_t *psk;	  /* 32 */
	bool enrol;
	const uint8_t *device_id; /* 16: log in as that device with a key that the server does not know yet; else NULL */
	uint32_t psk_epoch;  /* log-in */
	uint8_t token_id[16]; /* enrolment */
	uint64_t boot_gen;
	const uint8_t *ticket; /* MVPN_TICKET_B, what the server gave last; NULL: none */
};
/*
 * What the server is asked about the peer, once its static key is known and before anything is authenticated: fill psk
 * and return true, or return false for unknown: the handshake then goes on with a random PSK and fails like any
 * wrong one. `who` says log-in (psk_epoch, with a new key device_id too) or enrolment (token_id).
 */
struct chan_who {
	uint8_t server_pk[32]; /* of the server's keys the one that was meant; on either side */
	bool enrol, delegated;
	uint32_t psk_epoch;
	uint8_t token_id[16];
	uint8_t device_id[16]; /* if delegated */
	uint8_t client_pk[32];
	uint64_t boot_gen; /* valid once CHAN_UP */
};
typedef bool chan_psk_fn(void *arg, const struct chan_who *who, uint8_t ret_psk[32]);

/* What came with PROOF: a ticket of the server's, or work, which is good already (ticket NULL). */
struct chan_proof {
	const uint8_t *ticket; /* MVPN_TICKET_B */
	unsigned bits;	       /* of work, that was asked for last */
	uint32_t psk_epoch;
	const uint8_t *challenge, *hello_mac, *mac; /* for chan_proof_by */
};
/*
 * Asked before a HELLO costs a Diffie-Hellman (proof NULL), and again with each PROOF: 0 go on, CHAN_DEMAND_* what must be
 * proven (at most CHAN_WORK_BITS_MAX bits of work), -errno close.
 */
typedef int chan_gate_fn(void *arg, const struct chan_proof *proof);
#define CHAN_DEMAND_TICKET 0x100 /* | bits: a ticket will do */
#define CHAN_WORK_BITS_MAX 20	 /* a million hashes, some 0.3 s of one core: no client works more than that at a time */

/* What a server's channels share. It outlives them, and may change between two calls. */
#define CHAN_KEYS_MAX 2
#define CHAN_GONE_MAX 4 /* each costs a hash for a HELLO that is for none of its keys */
struct chan_keys {
	unsigned n, ngone;
	struct chan_key {
		const uint8_t *s; /* 32, the owner's */
		uint8_t pk[32], mac1[32];
	} key[CHAN_KEYS_MAX];
	uint8_t gone[CHAN_GONE_MAX][32]; /* mac1's key for public keys that were given up */
};
/* -ENOSPC, -EINVAL no key */
int chan_keys_add(struct chan_keys *k, const uint8_t s[32]);
int chan_keys_gone(struct chan_keys *k, const uint8_t pk[32]);

enum chan_state { CHAN_HANDSHAKE, CHAN_UP, CHAN_DEAD };

int chan_new_client(struct chan **ret, const struct chan_client *c); /* HELLO is in the output at once */
int chan_new_server(struct chan **ret, const struct chan_keys *keys, chan_psk_fn *fn, void *arg);
void chan_set_gate(struct chan *c, chan_gate_fn *fn); /* server; arg as of psk_fn. Without one nothing is asked */
/* does the proof's ticket come from who has this PSK, for this very connection? */
bool chan_proof_by(const struct chan_proof *p, const uint8_t psk[32]);
void chan_free(struct chan *c); /* wipes; NULL is fine */

/* A client without the static secret waits in the middle of the handshake for what X25519 makes of it and *ret_peer: ask after each
 * chan_feed, once true bring it by chan_give_dh, which returns as chan_feed does. */
bool chan_wants_dh(const struct chan *c, uint8_t ret_peer[32]);
int chan_give_dh(struct chan *c, const uint8_t dh[32]);

/* A client that was told to work: ask after each chan_feed. chan_work tries so many numbers: 1 done, the proof is in the
 * output; 0 not yet; -errno as chan_feed. */
bool chan_wants_work(const struct chan *c);
int chan_work(struct chan *c, unsigned tries);

enum chan_state chan_state(const struct chan *c);
const struct chan_who *chan_who(const struct chan *c); /* server side; server_pk on either */
/* X and h of the handshake: the PSK after enrolment is BLAKE2b-256(key = token_psk, "mavp1 devpsk" ‖ X ‖ h) */
int chan_device_psk(const struct chan *c, const uint8_t token_psk[32], uint8_t ret[32]);
/* A key that both ends of this channel know: BLAKE2b-256(key = X, label ‖ ctx). -ENOTCONN */
int chan_export(const struct chan *c, const char *label, const uint8_t ctx[32], uint8_t ret[32]);

/*
 * Feed bytes read from TCP. Returns 0, or the reason the channel is dead (once dead, always): -EPROTO not our protocol or bad
 * framing, -EPERM bad mac1 (close silently), -EKEYREVOKED HELLO is for a key that the server has given up (server: GONE is in the
 * output; client: the server says so), -EBADMSG does not authenticate, -EPROTONOSUPPORT no common version,
 * -ENOBUFS more unread input than one frame (call chan_next after each feed), -ENOMEM.
 */
int chan_feed(struct chan *c, const void *data, size_t len);
/* Bytes to send: *ret_len of them, valid until the next call on c; then say how many went. */
const uint8_t *chan_output(struct chan *c, size_t *ret_len);
void chan_sent(struct chan *c, size_t len);

/* ---- messages ---- */
struct chan_tlv {
	uint16_t type, len;
	const uint8_t *value;
};
struct chan_msg {
	uint8_t type, flags;
	uint16_t reqid;
	const uint8_t *tlvs; /* valid until the next call on the channel */
	size_t len;
};
/* 1 and a message, 0 none complete yet, -errno as chan_feed. The TLV framing of the whole message is checked here
 * (lengths, unknown critical types, known types' sizes): a malformed one is -EPROTO. */
int chan_next(struct chan *c, struct chan_msg *ret);
/* walk: *pos starts at 0; false at the end */
bool chan_tlv_next(const struct chan_msg *m, size_t *pos, struct chan_tlv *ret);
/* the first TLV of that type, or NULL */
const uint8_t *chan_tlv_find(const struct chan_msg *m, uint16_t type, uint16_t *ret_len);
bool chan_get_u8(const struct chan_msg *m, uint16_t type, uint8_t *ret);
bool chan_get_u16(const struct chan_msg *m, uint16_t type, uint16_t *ret);
bool chan_get_u32(const struct chan_msg *m, uint16_t type, uint32_t *ret);
bool chan_get_u64(const struct chan_msg *m, uint16_t type, uint64_t *ret);
bool chan_get_bytes(const struct chan_msg *m, uint16_t type, void *ret, size_t len); /* exactly len */
/* of devices, groups and networks: 1..MVPN_NAME_MAX_B bytes of [A-Za-z0-9._-], not starting with '-' or '.' */
bool mvpn_name_valid(const char *name, size_t len);

/* Build: start, add TLVs, send. What cannot be added makes chan_send fail: -EMSGSIZE past MVPN_CHAN_PLAIN_MAX_B, -EINVAL a
 * value whose size its known type does not have (the receiver would close), -ENOMEM. */
struct chan_buf {
	uint8_t *data; /* grows; free by chan_buf_free */
	size_t len, size;
	int error;
};
void chan_begin(struct chan_buf *b, uint8_t type, uint8_t flags, uint16_t reqid); /* resets b, keeps its memory */
void chan_put(struct chan_buf *b, uint16_t type, const void *value, size_t len);
void chan_put_u8(struct chan_buf *b, uint16_t type, uint8_t v);
void chan_put_u16(struct chan_buf *b, uint16_t type, uint16_t v);
void chan_put_u32(struct chan_buf *b, uint16_t type, uint32_t v);
void chan_put_u64(struct chan_buf *b, uint16_t type, uint64_t v);
void chan_buf_free(struct chan_buf *b); /* wipes */
/* Seal b into the output. -ENOTCONN unless CHAN_UP, what went wrong while building, -ENOBUFS over MVPN_CHAN_OUT_MAX_B,
 * -EOVERFLOW when the nonces are used up, -ENOMEM. b may be sent to many channels. */
int chan_send(struct chan *c, const struct chan_buf *b);

#endif
