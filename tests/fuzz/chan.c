/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The first byte says who reads the rest, cut into feeds of the second byte's size: a server from
 * HELLO on; a client that waits for REPLY or CHALLENGE; a server that has accepted a HELLO, or
 * (bit 7) asks for a proof first; an established channel, raw; or, past the AEAD, the TLV parser.
 */
#include <stdlib.h>
#include <string.h>

#include "chan_impl.h"
#include "crypto.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t server_s[32] = {0x10}, server_pk[32], client_s[32] = {0x20}, psk[32] = {3};

static bool give_psk(void *arg, const struct chan_who *who, uint8_t ret[32])
{
	memcpy(ret, psk, 32);
	return true;
}

static bool gated;

static int gate(void *arg, const struct chan_proof *proof)
{
	if (proof && proof->ticket)
		return chan_proof_by(proof, psk) ? 0 : 2;
	return gated && !proof ? 2 | CHAN_DEMAND_TICKET : 0;
}

static void move(struct chan *from, struct chan *to)
{
	size_t len;
	const uint8_t *data = chan_output(from, &len);

	if (chan_feed(to, data, len) < 0)
		abort();
	chan_sent(from, len);
}

static void walk(const struct chan_msg *m)
{
	struct chan_tlv t;
	size_t pos = 0;
	volatile uint8_t sum = 0;
	uint64_t v;

	while (chan_tlv_next(m, &pos, &t)) {
		for (size_t i = 0; i < t.len; i++)
			sum += t.value[i];
		if (!chan_tlv_find(m, t.type, NULL))
			abort();
		chan_get_u64(m, t.type, &v);
	}
	if (pos != m->len) /* a message that is let through is whole TLVs */
		abort();
}

/* feeds the bytes until the channel dies; it must then stay dead */
static void drive(struct chan *c, const uint8_t *data, size_t size, size_t chunk)
{
	struct chan_msg m;
	int r = 0;

	while (size && r == 0) {
		size_t n = size < chunk ? size : chunk;
		uint8_t *copy = malloc(n); /* an overread shows */

		memcpy(copy, data, n);
		r = chan_feed(c, copy, n);
		free(copy);
		if (r == 0 && chan_wants_work(c) && chan_work(c, 64) < 0)
			abort();
		data += n;
		size -= n;
		while (r == 0 && (r = chan_next(c, &m)) == 1) {
			walk(&m);
			r = 0;
			if (chan_state(c) != CHAN_UP)
				abort();
			break;
		}
	}
	if (r < 0 && (chan_state(c) != CHAN_DEAD || chan_feed(c, "x", 1) != r))
		abort();
}

/* bytes as a plaintext message, sealed by an honest client */
static void sealed(struct chan *client, struct chan *server, const uint8_t *data, size_t size)
{
	struct chan_buf b = {.data = (uint8_t *)data, .len = size, .size = size};
	struct chan_msg m;

	if (chan_send(client, &b) < 0)
		return;
	move(client, server);
	if (chan_next(server, &m) == 1)
		walk(&m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t ticket[MVPN_TICKET_B];
	struct chan_client config = {.s = client_s, .server_pk = server_pk, .psk = psk, .ticket = ticket};
	static struct chan_keys keys;
	struct chan *client, *server;
	size_t chunk;

	if (size < 2)
		return 0;
	mvpn_crypto_init();
	mvpn_x25519_public(server_pk, server_s);
	chunk = data[1] ? data[1] : 100000;
	if (!keys.n && (chan_keys_add(&keys, server_s) < 0 || chan_keys_gone(&keys, psk) < 0))
		abort();
	/* sometimes the client means a key that was given up, which is where it ends */
	if (data[0] & 0x40 && data[0] % 5 < 2)
		config.server_pk = psk;
	if (chan_new_client(&client, &config) < 0 || chan_new_server(&server, &keys, give_psk, NULL) < 0)
		abort();
	gated = data[0] & 0x80 && data[0] % 5 <= 2;
	chan_set_gate(server, gate);
	switch (data[0] % 5) {
	case 0:
		drive(server, data + 2, size - 2, chunk);
		break;
	case 1:
		drive(client, data + 2, size - 2, chunk);
		break;
	case 2:
		move(client, server);
		drive(server, data + 2, size - 2, chunk);
		break;
	default:
		move(client, server);
		move(server, client);
		move(client, server);
		if (data[0] % 5 == 3)
			drive(server, data + 2, size - 2, chunk);
		else
			sealed(client, server, data + 2, size - 2);
	}
	chan_free(client);
	chan_free(server);
	return 0;
}
