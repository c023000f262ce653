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
		uint8_t s[32]; /* server, before HELLO has come */
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

enum chan_step { CHAN_WAIT_HELLO, CHAN_WAIT_REPLY, CHAN_WAIT_FINISH, CHAN_FRAMES };

struct chan {
	enum chan_state state;
	enum chan_step step;
	int error; /* why it is dead */
	struct chan_secret *secret;
	struct noise *noise; /* until the handshake is over */
	uint64_t tx_n, rx_n; /* Noise's nonces; 2^64-1 is never used */
	struct chan_bytes in, out;
	bool lacks_dh; /* client: the static secret is elsewhere, and what it makes has not come */
	size_t plain; /* bytes before in.at that hold the last message in clear */
	struct chan_who who;
	chan_psk_fn *psk_fn;
	void *psk_arg;
};

int chan_bytes_reserve(struct chan_bytes *b, size_t more);
void chan_bytes_consume(struct chan_bytes *b, size_t len);
/* one step with what is in c->in: 1 made progress, 0 needs more bytes, -errno */
int chan_handshake(struct chan *c);
/* client: the server's ephemeral, once its REPLY is here whole; else NULL */
const uint8_t *chan_reply_key(const struct chan *c);
int chan_hello(struct chan *c, const struct chan_client *client);
/* framing of a whole plaintext message: 0 or -EPROTO */
int chan_msg_check(const uint8_t *plain, size_t len);

#endif
