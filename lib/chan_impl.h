/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Shared by chan.c (streams and frames), chan_handshake.c and chan_msg.c (TLVs) only; tests look in
 * here too.
 */
#ifndef MVPN_CHAN_IMPL_H
#define MVPN_CHAN_IMPL_H

#include "chan.h"
#include "noise.h"
#include "secmem.h"

#define CHAN_HELLO_HEAD_B 10 /* up to the length of msg1 */
#define CHAN_HELLO_MSG_MAX_B 256 /* room for a later version's, to tell it from garbage */
#define CHAN_MAC1_B 16
#define CHAN_MSG2_B 48
#define CHAN_GONE_B 17
#define CHAN_MSG3_B (48 + 8 + 16)
#define CHAN_FRAME_HEAD_B 2
#define CHAN_TAG_B 16
#define CHAN_MSG_HEAD_B 4
/* unread input: the largest frame but for its last byte, and what a generous read() adds */
#define CHAN_IN_MAX_B (4 * (MVPN_CHAN_FRAME_MAX_B + CHAN_FRAME_HEAD_B))
#define CHAN_KEEP_B 1024 /* a larger buffer is freed when empty: idle channels must be small */

/* secrets of one channel: one arena cell */
struct chan_secret {
	union {
		struct { /* server, before HELLO is taken */
			uint8_t challenge[16];
			uint8_t bits;
		} server;
		struct { /* client, before REPLY */
			uint8_t ticket_key[32], ticket[MVPN_TICKET_B], challenge[16], hello_mac[16];
			uint64_t n; /* the next to try */
		} client;
		struct {
			uint8_t tx[32], rx[32], x[32], h[32];
		};
	};
};
_Static_assert(sizeof(struct chan_secret) <= SECMEM_CELL_B, "one cell a channel");

struct chan_bytes {
	uint8_t *data;
	size_t at, len, size; /* data[at..len) is live */
};

enum chan_step { CHAN_WAIT_HELLO, CHAN_WAIT_PROOF, CHAN_WAIT_REPLY, CHAN_WAIT_FINISH, CHAN_FRAMES };

struct chan {
	enum chan_state state;
	enum chan_step step;
	int error; /* why it is dead */
	struct chan_secret *secret;
	struct noise *noise; /* until the handshake is over */
	uint64_t tx_n, rx_n; /* Noise's nonces; 2^64-1 is never used */
	struct chan_bytes in, out;
	uint8_t work_bits, nchallenges; /* client: asked for just now (0: nothing), and how often it was asked */
	bool has_ticket;
	bool lacks_dh; /* client: the static secret is elsewhere, and what it makes has not come */
	size_t plain; /* bytes before in.at that hold the last message in clear */
	struct chan_who who;
	const struct chan_keys *keys; /* server */
	chan_psk_fn *psk_fn;
	chan_gate_fn *gate_fn;
	void *psk_arg;
};

int chan_bytes_reserve(struct chan_bytes *b, size_t more);
void chan_bytes_consume(struct chan_bytes *b, size_t len);
/* one step with what is in c->in: 1 made progress, 0 needs more bytes, -errno */
int chan_handshake(struct chan *c);
/* client: the server's ephemeral, once its REPLY is here whole; else NULL */
const uint8_t *chan_reply_key(const struct chan *c);
int chan_hello(struct chan *c, const struct chan_client *client);
/* ---- chan_proof.c ---- */
/* client: what it may have to prove by, once HELLO is made */
void chan_prove_by(struct chan *c, const struct chan_client *client, const uint8_t hello_mac[CHAN_MAC1_B]);
/* client: answers a CHALLENGE in the input if that is what is there: as chan_handshake, -ENOENT: it is something else */
int chan_challenged(struct chan *c);
/* server: ask the gate about a HELLO of so many bytes in the input; 1 go on, else as chan_handshake */
int chan_gate(struct chan *c, size_t hello_len, const struct chan_proof *p);
int chan_got_proof(struct chan *c, size_t hello_len); /* likewise */
/* framing of a whole plaintext message: 0 or -EPROTO */
int chan_msg_check(const uint8_t *plain, size_t len);

#endif
