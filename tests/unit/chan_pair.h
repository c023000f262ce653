/* SPDX-License-Identifier: BSD-2-Clause */
/* A client and a server channel joined in memory. Include after test.h. */
#ifndef MVPN_TESTS_UNIT_CHAN_PAIR_H
#define MVPN_TESTS_UNIT_CHAN_PAIR_H

#include <string.h>

#include "chan.h"
#include "crypto.h"

struct chan_pair {
	uint8_t s[32], server_pk[32], c[32], client_pk[32];
	struct chan_keys keys; /* the server's: s, until a test has others */
	uint8_t psk[32], server_psk[32]; /* what each believes */
	bool unknown;			 /* the server does not know the client */
	unsigned asked;			 /* how often it was asked */
	size_t chunk;			 /* bytes fed at a time; 0 all */
	struct chan *client, *server;
};

static inline bool chan_pair_psk(void *arg, const struct chan_who *who, uint8_t ret[32])
{
	struct chan_pair *p = arg;

	p->asked++;
	memcpy(ret, p->server_psk, 32);
	return !p->unknown;
}

static inline void chan_pair_init(struct chan_pair *p, bool enrol)
{
	struct chan_client c = {.enrol = enrol, .psk_epoch = 3, .boot_gen = 0x1122334455667788};

	memset(p, 0, sizeof(*p));
	mvpn_keypair(p->s, p->server_pk);
	assert_int_equal(chan_keys_add(&p->keys, p->s), 0);
	mvpn_keypair(p->c, p->client_pk);
	memcpy(p->psk, p->client_pk, 32);
	memcpy(p->server_psk, p->psk, 32);
	memcpy(c.token_id, "the token's id..", 16);
	c.s = p->c;
	c.server_pk = p->server_pk;
	c.psk = p->psk;
	assert_int_equal(chan_new_client(&p->client, &c), 0);
	assert_int_equal(chan_new_server(&p->server, &p->keys, chan_pair_psk, p), 0);
}

static inline void chan_pair_free(struct chan_pair *p)
{
	chan_free(p->client);
	chan_free(p->server);
}

/* all of one end's output into the other: its chan_feed's result */
static inline int chan_pair_move(struct chan_pair *p, struct chan *from, struct chan *to)
{
	for (;;) {
		size_t len;
		const uint8_t *data = chan_output(from, &len);
		int r;

		if (!len)
			return 0;
		if (p->chunk && len > p->chunk)
			len = p->chunk;
		r = chan_feed(to, data, len);
		chan_sent(from, len);
		if (r < 0)
			return r;
	}
}

/* both ways until nothing moves */
static inline int chan_pair_run(struct chan_pair *p)
{
	for (;;) {
		size_t a, b;
		int r;

		chan_output(p->client, &a);
		chan_output(p->server, &b);
		if (!a && !b)
			return 0;
		r = chan_pair_move(p, p->client, p->server);
		if (r == 0)
			r = chan_pair_move(p, p->server, p->client);
		if (r < 0)
			return r;
	}
}

/* a message with one TLV, MVPN_TLV_BOOT_GEN = reqid */
static inline void chan_pair_send(struct chan *c, uint8_t type, uint16_t reqid)
{
	struct chan_buf b = {0};

	chan_begin(&b, type, 0, reqid);
	chan_put_u64(&b, MVPN_TLV_BOOT_GEN, reqid);
	assert_int_equal(chan_send(c, &b), 0);
	chan_buf_free(&b);
}

static inline void assert_chan_dead(struct chan *c, int error)
{
	struct chan_msg m;
	size_t len;

	assert_int_equal(chan_state(c), CHAN_DEAD);
	assert_int_equal(chan_feed(c, "x", 1), error);
	assert_int_equal(chan_next(c, &m), error);
	chan_output(c, &len);
	assert_int_equal(len, 0); /* silently */
}

/* a copy of what the client is about to send */
static inline size_t chan_pair_pending(struct chan_pair *p, uint8_t ret[static 256])
{
	size_t len;
	const uint8_t *data = chan_output(p->client, &len);

	assert_true(len < 256);
	memcpy(ret, data, len);
	return len;
}

#endif
