/* SPDX-License-Identifier: BSD-2-Clause */
/* The byte streams of a channel and its sealed frames. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "chan_impl.h"
#include "crypto.h"
#include "mvpn/limits.h"

/* ---- buffers: grow on demand, wiped when they move or go ---- */

static void bytes_free(struct chan_bytes *b)
{
	if (b->data)
		sodium_memzero(b->data, b->size);
	free(b->data);
	memset(b, 0, sizeof(*b));
}

int chan_bytes_reserve(struct chan_bytes *b, size_t more)
{
	size_t live = b->len - b->at, size = b->size ? b->size : 256;
	uint8_t *data;

	if (b->size - b->len >= more && b->data)
		return 0;
	if (b->size - live >= more && b->data && b->at >= live) {
		memcpy(b->data, b->data + b->at,
		       live); /* a reader that keeps up makes no copy of more than it read */
	} else {
		while (size < live + more)
			size *= 2;
		data = malloc(size);
		if (!data)
			return -ENOMEM;
		if (live)
			memcpy(data, b->data + b->at, live);
		bytes_free(b);
		b->data = data;
		b->size = size;
	}
	b->at = 0;
	b->len = live;
	return 0;
}

void chan_bytes_consume(struct chan_bytes *b, size_t len)
{
	b->at += len;
	if (b->at < b->len)
		return;
	b->at = b->len = 0;
	if (b->size > CHAN_KEEP_B)
		bytes_free(b);
}

/* ---- life ---- */

static int kill_channel(struct chan *c, int error)
{
	c->state = CHAN_DEAD;
	c->error = error;
	noise_free(c->noise);
	c->noise = NULL;
	secmem_free(c->secret);
	c->secret = NULL;
	c->plain = 0;
	bytes_free(&c->in);
	if (error != -EKEYREVOKED)
		bytes_free(&c->out); /* whoever fails hears nothing */
	return error;
}

static struct chan *chan_new(void)
{
	struct chan *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->secret = secmem_alloc();
	if (!c->secret) {
		free(c);
		return NULL;
	}
	return c;
}

int chan_new_client(struct chan **ret, const struct chan_client *client)
{
	struct chan *c = chan_new();
	int r;

	if (!c)
		return -ENOMEM;
	r = chan_hello(c, client);
	if (r < 0) {
		chan_free(c);
		return r;
	}
	c->step = CHAN_WAIT_REPLY;
	*ret = c;
	return 0;
}

int chan_new_server(struct chan **ret, const struct chan_keys *keys, chan_psk_fn *fn, void *arg)
{
	struct chan *c = chan_new();

	if (!c)
		return -ENOMEM;
	c->keys = keys;
	c->psk_fn = fn;
	c->psk_arg = arg;
	c->step = CHAN_WAIT_HELLO;
	*ret = c;
	return 0;
}

void chan_set_gate(struct chan *c, chan_gate_fn *fn)
{
	c->gate_fn = fn;
}

void chan_free(struct chan *c)
{
	if (!c)
		return;
	kill_channel(c, -ESHUTDOWN);
	sodium_memzero(c, sizeof(*c));
	free(c);
}

enum chan_state chan_state(const struct chan *c)
{
	return c->state;
}

const struct chan_who *chan_who(const struct chan *c)
{
	return &c->who;
}

int chan_device_psk(const struct chan *c, const uint8_t token_psk[32], uint8_t ret[32])
{
	struct mvpn_part parts[3] = {{"mavp1 devpsk", 12}};

	if (c->state != CHAN_UP)
		return -ENOTCONN;
	parts[1] = (struct mvpn_part){c->secret->x, sizeof(c->secret->x)};
	parts[2] = (struct mvpn_part){c->secret->h, sizeof(c->secret->h)};
	return mvpn_blake2b(ret, 32, token_psk, 32, parts, 3);
}

int chan_export(const struct chan *c, const char *label, const uint8_t ctx[32], uint8_t ret[32])
{
	struct mvpn_part parts[] = {{label, strlen(label)}, {ctx, 32}};

	if (c->state != CHAN_UP)
		return -ENOTCONN;
	return mvpn_blake2b(ret, 32, c->secret->x, sizeof(c->secret->x), parts, 2);
}

/* ---- bytes in ---- */

/* the last message, in clear, is no longer valid for the caller */
static void forget_message(struct chan *c)
{
	if (!c->plain)
		return;
	sodium_memzero(c->in.data + c->in.at, c->plain);
	chan_bytes_consume(&c->in, c->plain);
	c->plain = 0;
}

/* as far as the input goes */
static int handshake_on(struct chan *c)
{
	int r;

	while (c->step != CHAN_FRAMES) {
		r = chan_handshake(c);
		if (r < 0)
			return kill_channel(c, r);
		if (r == 0)
			break;
	}
	return 0;
}

int chan_feed(struct chan *c, const void *data, size_t len)
{
	int r;

	if (c->state == CHAN_DEAD)
		return c->error;
	forget_message(c);
	if (len > CHAN_IN_MAX_B - (c->in.len - c->in.at))
		return kill_channel(c, -ENOBUFS);
	if (len == 0)
		return 0;
	r = chan_bytes_reserve(&c->in, len);
	if (r < 0)
		return kill_channel(c, r);
	memcpy(c->in.data + c->in.len, data, len);
	c->in.len += len;
	return handshake_on(c);
}

bool chan_wants_work(const struct chan *c)
{
	return c->state == CHAN_HANDSHAKE && c->work_bits;
}

bool chan_wants_dh(const struct chan *c, uint8_t ret_peer[32])
{
	const uint8_t *peer = c->state == CHAN_HANDSHAKE && c->lacks_dh ? chan_reply_key(c) : NULL;

	if (peer)
		memcpy(ret_peer, peer, 32);
	return peer != NULL;
}

int chan_give_dh(struct chan *c, const uint8_t dh[32])
{
	const uint8_t *peer;

	if (c->state == CHAN_DEAD)
		return c->error;
	peer = c->lacks_dh ? chan_reply_key(c) : NULL;
	if (!peer)
		return -EINVAL;
	noise_set_dh(c->noise, peer, dh);
	c->lacks_dh = false;
	return handshake_on(c);
}

/* Noise's transport nonce: 32 bits of zeros, 64-bit little-endian counter */
static void frame_nonce(uint8_t nonce[12], uint64_t n)
{
	memset(nonce, 0, 4);
	for (unsigned i = 0; i < 8; i++)
		nonce[4 + i] = n >> 8 * i;
}

int chan_next(struct chan *c, struct chan_msg *ret)
{
	size_t live, len;
	uint8_t *frame, nonce[12];

	if (c->state == CHAN_DEAD)
		return c->error;
	forget_message(c);
	live = c->in.len - c->in.at;
	if (c->state != CHAN_UP || live < CHAN_FRAME_HEAD_B)
		return 0;
	frame = c->in.data + c->in.at;
	len = frame[0] << 8 | frame[1];
	if (len < CHAN_MSG_HEAD_B + CHAN_TAG_B)
		return kill_channel(c, -EPROTO);
	if (live - CHAN_FRAME_HEAD_B < len)
		return 0;
	if (c->rx_n == UINT64_MAX)
		return kill_channel(c, -EPROTO);
	frame_nonce(nonce, c->rx_n++);
	frame += CHAN_FRAME_HEAD_B;
	if (mvpn_chapoly_open(frame, frame, len, NULL, 0, nonce, c->secret->rx) < 0)
		return kill_channel(c, -EBADMSG);
	c->plain = CHAN_FRAME_HEAD_B + len;
	len -= CHAN_TAG_B;
	if (chan_msg_check(frame, len) < 0)
		return kill_channel(c, -EPROTO);
	*ret = (struct chan_msg){
		.type = frame[0],
		.flags = frame[1],
		.reqid = frame[2] << 8 | frame[3],
		.tlvs = frame + CHAN_MSG_HEAD_B,
		.len = len - CHAN_MSG_HEAD_B,
	};
	return 1;
}

/* ---- bytes out ---- */

const uint8_t *chan_output(struct chan *c, size_t *ret_len)
{
	*ret_len = c->out.len - c->out.at;
	return *ret_len ? c->out.data + c->out.at : NULL;
}

void chan_sent(struct chan *c, size_t len)
{
	if (len <= c->out.len - c->out.at)
		chan_bytes_consume(&c->out, len);
}

int chan_send(struct chan *c, const struct chan_buf *b)
{
	size_t frame_len = CHAN_FRAME_HEAD_B + b->len + CHAN_TAG_B;
	uint8_t *frame, nonce[12];
	int r;

	if (c->state != CHAN_UP)
		return -ENOTCONN;
	if (b->error)
		return b->error;
	if (b->len < CHAN_MSG_HEAD_B)
		return -EINVAL;
	if (c->tx_n == UINT64_MAX)
		return -EOVERFLOW;
	if (c->out.len - c->out.at + frame_len > MVPN_CHAN_OUT_MAX_B)
		return -ENOBUFS;
	r = chan_bytes_reserve(&c->out, frame_len);
	if (r < 0)
		return r;
	frame = c->out.data + c->out.len;
	frame[0] = (b->len + CHAN_TAG_B) >> 8;
	frame[1] = b->len + CHAN_TAG_B;
	frame_nonce(nonce, c->tx_n++);
	mvpn_chapoly_seal(frame + CHAN_FRAME_HEAD_B, b->data, b->len, NULL, 0, nonce,
			  c->secret->tx);
	c->out.len += frame_len;
	return 0;
}
