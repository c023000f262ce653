/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a HELLO must prove when the server is under load, before it costs a Diffie-Hellman. Work: a number n such that
 *
 *   BLAKE2b-128("mavp1 work" ‖ random ‖ mac1 of HELLO ‖ n u64)
 *
 * begins with so many zero bits. One hash for the server, some 2^bits for the client; `random` is of this connection, so
 * nothing can be computed ahead or used twice. A ticket: the server's own name for a device, opaque to everybody else, and
 *
 *   BLAKE2b-128(key = BLAKE2b-256(key = channel PSK, "mavp1 ticket"), random ‖ ticket ‖ mac1 of HELLO)
 */
#include <errno.h>
#include <string.h>

#include <sodium.h>

#include "chan_impl.h"
#include "crypto.h"

#define CHALLENGE_B 18
#define FLAG_TICKET 1
#define KIND_WORK 1
#define KIND_TICKET 2
#define WORK_B (1 + 8)
#define TICKET_PROOF_B (1 + MVPN_TICKET_B + 4 + 16)
#define CHALLENGES_MAX 16 /* of one connection: a client does not work for ever */

static void put_be(uint8_t *p, uint64_t v, unsigned n)
{
	while (n--) {
		p[n] = (uint8_t)v;
		v >>= 8;
	}
}

static uint64_t get_be(const uint8_t *p, unsigned n)
{
	uint64_t v = 0;

	while (n--)
		v = v << 8 | *p++;
	return v;
}

static bool work_good(const uint8_t challenge[16], const uint8_t hello_mac[16], uint64_t n, unsigned bits)
{
	uint8_t in[10 + 16 + 16 + 8], hash[16];

	memcpy(in, "mavp1 work", 10);
	memcpy(in + 10, challenge, 16);
	memcpy(in + 26, hello_mac, 16);
	put_be(in + 42, n, 8);
	crypto_generichash(hash, sizeof(hash), in, sizeof(in), NULL, 0);
	return get_be(hash, 8) >> (64 - bits) == 0;
}

static void make_ticket_key(uint8_t ret[32], const uint8_t psk[32])
{
	mvpn_blake2b(ret, 32, psk, 32, &(struct mvpn_part){"mavp1 ticket", 12}, 1);
}

static void ticket_mac(uint8_t ret[16], const uint8_t key[32], const uint8_t challenge[16],
		       const uint8_t ticket[MVPN_TICKET_B], const uint8_t hello_mac[16])
{
	struct mvpn_part parts[] = {{challenge, 16}, {ticket, MVPN_TICKET_B}, {hello_mac, 16}};

	mvpn_blake2b(ret, 16, key, 32, parts, 3);
}

/* ---- server ---- */

static int put_challenge(struct chan *c, int demand)
{
	uint8_t *p;
	int r = chan_bytes_reserve(&c->out, 2 + CHALLENGE_B);

	if (r < 0)
		return r;
	c->secret->server.bits = (uint8_t)demand;
	randombytes_buf(c->secret->server.challenge, 16);
	p = c->out.data + c->out.len;
	put_be(p, CHALLENGE_B, 2);
	p[2] = (uint8_t)demand;
	p[3] = demand & CHAN_DEMAND_TICKET ? FLAG_TICKET : 0;
	memcpy(p + 4, c->secret->server.challenge, 16);
	c->out.len += 2 + CHALLENGE_B;
	return 0;
}

int chan_gate(struct chan *c, size_t hello_len, const struct chan_proof *p)
{
	int r = c->gate_fn ? c->gate_fn(c->psk_arg, p) : 0;

	if (r < 0)
		return r;
	/* what follows was the proof, and has been looked at */
	if (p)
		c->in.len = c->in.at + hello_len;
	if (r == 0)
		return 1;
	c->step = CHAN_WAIT_PROOF;
	return put_challenge(c, r);
}

int chan_got_proof(struct chan *c, size_t hello_len)
{
	const uint8_t *hello = c->in.data + c->in.at, *p = hello + hello_len;
	size_t live = c->in.len - c->in.at - hello_len, len;
	struct chan_proof proof = {.bits = c->secret->server.bits,
				   .challenge = c->secret->server.challenge,
				   .hello_mac = p - CHAN_MAC1_B};

	if (live < 3)
		return 0;
	len = get_be(p, 2);
	if (len != (p[2] == KIND_WORK ? WORK_B : TICKET_PROOF_B) || p[2] > KIND_TICKET ||
	    !p[2] || live > 2 + len)
		return -EPROTO;
	if (live < 2 + len)
		return 0;
	if (p[2] == KIND_TICKET) {
		proof.ticket = p + 3;
		proof.psk_epoch = (uint32_t)get_be(p + 3 + MVPN_TICKET_B, 4);
		proof.mac = p + 3 + MVPN_TICKET_B + 4;
	} else if (!work_good(proof.challenge, proof.hello_mac, get_be(p + 3, 8),
			      c->secret->server.bits)) {
		return -EACCES;
	}
	return chan_gate(c, hello_len, &proof);
}

bool chan_proof_by(const struct chan_proof *p, const uint8_t psk[32])
{
	uint8_t key[32], mac[16];

	make_ticket_key(key, psk);
	ticket_mac(mac, key, p->challenge, p->ticket, p->hello_mac);
	sodium_memzero(key, sizeof(key));
	return sodium_memcmp(mac, p->mac, sizeof(mac)) == 0;
}

/* ---- client ---- */

void chan_prove_by(struct chan *c, const struct chan_client *client, const uint8_t hello_mac[CHAN_MAC1_B])
{
	c->has_ticket = client->ticket && !client->enrol;
	c->who.psk_epoch = client->psk_epoch;
	memcpy(c->secret->client.hello_mac, hello_mac, CHAN_MAC1_B);
	if (!c->has_ticket)
		return;
	memcpy(c->secret->client.ticket, client->ticket, MVPN_TICKET_B);
	make_ticket_key(c->secret->client.ticket_key, client->psk);
}

/* room for a proof of so many bytes, its length and kind written; NULL: no memory */
static uint8_t *put_proof(struct chan *c, size_t len, uint8_t kind)
{
	uint8_t *p;

	if (chan_bytes_reserve(&c->out, 2 + len) < 0)
		return NULL;
	p = c->out.data + c->out.len;
	put_be(p, len, 2);
	p[2] = kind;
	c->out.len += 2 + len;
	return p + 3;
}

static int prove_by_ticket(struct chan *c)
{
	uint8_t *p = put_proof(c, TICKET_PROOF_B, KIND_TICKET);

	if (!p)
		return -ENOMEM;
	memcpy(p, c->secret->client.ticket, MVPN_TICKET_B);
	put_be(p + MVPN_TICKET_B, c->who.psk_epoch, 4);
	ticket_mac(p + MVPN_TICKET_B + 4, c->secret->client.ticket_key, c->secret->client.challenge,
		   c->secret->client.ticket, c->secret->client.hello_mac);
	return 1;
}

int chan_challenged(struct chan *c)
{
	const uint8_t *p = c->in.data + c->in.at;
	size_t live = c->in.len - c->in.at;
	bool ticket;

	if (live < 2)
		return 0;
	if (get_be(p, 2) != CHALLENGE_B)
		return -ENOENT;
	if (live < 2 + CHALLENGE_B)
		return 0;
	if (!p[2] || p[2] > CHAN_WORK_BITS_MAX || c->work_bits || ++c->nchallenges > CHALLENGES_MAX)
		return -EPROTO;
	ticket = c->has_ticket && p[3] & FLAG_TICKET;
	memcpy(c->secret->client.challenge, p + 4, 16);
	if (!ticket) {
		c->work_bits = p[2];
		c->secret->client.n = 0;
	}
	chan_bytes_consume(&c->in, 2 + CHALLENGE_B);
	return ticket ? prove_by_ticket(c) : 1;
}

int chan_work(struct chan *c, unsigned tries)
{
	uint8_t *p;

	if (c->state == CHAN_DEAD)
		return c->error;
	if (!chan_wants_work(c))
		return -EINVAL;
	for (; tries; tries--, c->secret->client.n++)
		if (work_good(c->secret->client.challenge, c->secret->client.hello_mac,
			      c->secret->client.n, c->work_bits))
			break;
	if (!tries)
		return 0;
	p = put_proof(c, WORK_B, KIND_WORK);
	if (!p)
		return -ENOMEM;
	put_be(p, c->secret->client.n, 8);
	c->work_bits = 0;
	return 1;
}
