/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * HELLO, REPLY, FINISH: Noise_XKpsk3 with a first mac that costs an outsider's packet no Diffie-
 * Hellman.
 */
#include <errno.h>
#include <string.h>

#include <sodium.h>

#include "chan_impl.h"
#include "crypto.h"
#include "mvpn/limits.h"

#define MAGIC "MAVP"
#define FLAG_ENROL 1
#define FLAG_DELEGATED 2
#define PROLOGUE "mavp1 chan" /* its NUL counts */
#define FIXED_B 8	      /* magic, versions and flags: in the prologue */
#define LOGIN_MSG1_B (32 + 4 + 16)
#define ENROL_MSG1_B (32 + 16 + 16)
#define DELEGATED_MSG1_B (32 + 20 + 16)
#define PAYLOAD1_MAX_B 20

static void put_u16(uint8_t *p, uint16_t v)
{
	p[0] = v >> 8;
	p[1] = v;
}

static uint16_t get_u16(const uint8_t *p)
{
	return p[0] << 8 | p[1];
}

static void put_u32(uint8_t *p, uint32_t v)
{
	put_u16(p, v >> 16);
	put_u16(p + 2, v);
}

static void put_u64(uint8_t *p, uint64_t v)
{
	put_u32(p, v >> 32);
	put_u32(p + 4, v);
}

static void make_prologue(uint8_t ret[sizeof(PROLOGUE) + FIXED_B], const uint8_t fixed[FIXED_B])
{
	memcpy(ret, PROLOGUE, sizeof(PROLOGUE));
	memcpy(ret + sizeof(PROLOGUE), fixed, FIXED_B);
}

static void mac1_key(uint8_t ret[32], const uint8_t server_pk[32])
{
	mvpn_blake2b(ret, 32, NULL, 0, (struct mvpn_part[]){{"mavp1 mac1", 10}, {server_pk, 32}},
		     2);
}

static void mac1(uint8_t ret[CHAN_MAC1_B], const uint8_t key[32], const uint8_t *hello, size_t len)
{
	mvpn_blake2b(ret, CHAN_MAC1_B, key, 32, &(struct mvpn_part){hello, len}, 1);
}

/* ---- the server's keys ---- */

int chan_keys_add(struct chan_keys *k, const uint8_t s[32])
{
	struct chan_key *key = &k->key[k->n];

	if (k->n == CHAN_KEYS_MAX)
		return -ENOSPC;
	if (mvpn_x25519_public(key->pk, s) < 0)
		return -EINVAL;
	key->s = s;
	mac1_key(key->mac1, key->pk);
	k->n++;
	return 0;
}

int chan_keys_gone(struct chan_keys *k, const uint8_t pk[32])
{
	if (k->ngone == CHAN_GONE_MAX)
		return -ENOSPC;
	mac1_key(k->gone[k->ngone++], pk);
	return 0;
}

static bool mac1_good(const uint8_t key[32], const uint8_t *hello, size_t len)
{
	uint8_t mac[CHAN_MAC1_B];

	mac1(mac, key, hello, len);
	return sodium_memcmp(mac, hello + len, CHAN_MAC1_B) == 0;
}

/* the one that a HELLO of so many bytes before its mac1 is for; NULL */
static const struct chan_key *key_of(const struct chan *c, const uint8_t *hello, size_t len)
{
	for (unsigned i = 0; i < c->keys->n; i++)
		if (mac1_good(c->keys->key[i].mac1, hello, len))
			return &c->keys->key[i];
	return NULL;
}

static void gone_body(uint8_t ret[CHAN_GONE_B], const uint8_t key[32], const uint8_t hello_mac[CHAN_MAC1_B])
{
	struct mvpn_part parts[] = {{"gone", 4}, {hello_mac, CHAN_MAC1_B}};

	ret[0] = 1;
	mvpn_blake2b(ret + 1, CHAN_GONE_B - 1, key, 32, parts, 2);
}

/* server: is it for a key that was given up? GONE into the output, -EKEYREVOKED; else -EPERM */
static int say_gone(struct chan *c, const uint8_t *hello, size_t len)
{
	uint8_t *p;
	int r;

	for (unsigned i = 0; i < c->keys->ngone; i++) {
		if (!mac1_good(c->keys->gone[i], hello, len))
			continue;
		r = chan_bytes_reserve(&c->out, 2 + CHAN_GONE_B);
		if (r < 0)
			return r;
		p = c->out.data + c->out.len;
		put_u16(p, CHAN_GONE_B);
		gone_body(p + 2, c->keys->gone[i], hello + len);
		c->out.len += 2 + CHAN_GONE_B;
		return -EKEYREVOKED;
	}
	return -EPERM;
}

/* client: -EKEYREVOKED if that is what the input says, -ENOENT it is something else, 0 more bytes needed */
static int told_gone(const struct chan *c)
{
	const uint8_t *p = c->in.data + c->in.at;
	uint8_t key[32], body[CHAN_GONE_B];
	size_t live = c->in.len - c->in.at;

	if (live < 2)
		return 0;
	if (get_u16(p) != CHAN_GONE_B)
		return -ENOENT;
	if (live < 2 + CHAN_GONE_B)
		return 0;
	mac1_key(key, c->who.server_pk);
	gone_body(body, key, c->secret->client.hello_mac);
	return memcmp(body, p + 2, CHAN_GONE_B) ? -EPROTO : -EKEYREVOKED;
}

/* ---- */

static int split(struct chan *c, bool client)
{
	struct chan_secret *k = c->secret;
	int r = noise_split(c->noise, client ? k->tx : k->rx, client ? k->rx : k->tx, k->h, k->x);

	if (r < 0)
		return r;
	noise_free(c->noise);
	c->noise = NULL;
	c->step = CHAN_FRAMES;
	c->state = CHAN_UP;
	return 0;
}

/* Append a Noise message with its length before it. */
static int put_noise(struct chan *c, const void *payload, size_t payload_len, size_t msg_len)
{
	uint8_t *p;
	int r = chan_bytes_reserve(&c->out, 2 + msg_len);

	if (r < 0)
		return r;
	p = c->out.data + c->out.len;
	put_u16(p, msg_len);
	r = noise_write(c->noise, payload, payload_len, p + 2, msg_len);
	if (r < 0)
		return r;
	c->out.len += 2 + msg_len;
	return 0;
}

/* client: HELLO into the output */
int chan_hello(struct chan *c, const struct chan_client *client)
{
	uint8_t prologue[sizeof(PROLOGUE) + FIXED_B], key[32], payload[PAYLOAD1_MAX_B], *p;
	uint8_t fixed[FIXED_B] = {'M',
				  'A',
				  'V',
				  'P',
				  MVPN_PROTO_VER,
				  MVPN_PROTO_VER,
				  MVPN_PROTO_VER,
				  client->enrol	      ? FLAG_ENROL
				  : client->device_id ? FLAG_DELEGATED
						      : 0};
	size_t payload_len = client->enrol ? 16 : client->device_id ? 20 : 4, at;
	struct noise_config config = {
		.pattern = NOISE_XKPSK3,
		.initiator = true,
		.prologue = prologue,
		.prologue_len = sizeof(prologue),
		.s = client->s,
		.s_pub = client->s_pub,
		.rs = client->server_pk,
	};
	int r;

	make_prologue(prologue, fixed);
	r = noise_new(&c->noise, &config);
	if (r < 0)
		return r;
	noise_set_psk(c->noise, client->psk);
	c->lacks_dh = !client->s;
	c->who.boot_gen = client->boot_gen;
	memcpy(c->who.server_pk, client->server_pk, sizeof(c->who.server_pk));
	if (client->enrol)
		memcpy(payload, client->token_id, 16);
	else
		put_u32(payload, client->psk_epoch);
	if (payload_len == 20)
		memcpy(payload + 4, client->device_id, 16);

	r = chan_bytes_reserve(&c->out, CHAN_HELLO_HEAD_B + DELEGATED_MSG1_B + CHAN_MAC1_B);
	if (r < 0)
		return r;
	memcpy(c->out.data, fixed, FIXED_B);
	c->out.len = FIXED_B;
	r = put_noise(c, payload, payload_len, 32 + payload_len + CHAN_TAG_B);
	if (r < 0)
		return r;
	at = c->out.len;
	p = c->out.data;
	mac1_key(key, client->server_pk);
	mac1(p + at, key, p, at);
	c->out.len += CHAN_MAC1_B;
	chan_prove_by(c, client, p + at);
	return 0;
}

/*
 * Whether the whole HELLO is here and by somebody who knows S: its length, 0 more bytes needed,
 * -errno.
 */
static int hello_check(struct chan *c, const uint8_t *p, size_t live)
{
	size_t magic = live < 4 ? live : 4, len;

	if (memcmp(p, MAGIC, magic) != 0)
		return -EPROTO;
	if (live < CHAN_HELLO_HEAD_B)
		return 0;
	len = get_u16(p + 8);
	if (len < 32 || len > CHAN_HELLO_MSG_MAX_B)
		return -EPROTO;
	len += CHAN_HELLO_HEAD_B;
	if (live < len + CHAN_MAC1_B)
		return 0;
	if (!key_of(c, p, len))
		return say_gone(c, p, len);
	if (p[4] > p[5] || p[6] < p[4] || p[6] > p[5])
		return -EPROTO;
	if (p[6] != MVPN_PROTO_VER)
		return -EPROTONOSUPPORT;
	if (p[7] > FLAG_DELEGATED) /* one of them at most */
		return -EPROTO;
	if (len - CHAN_HELLO_HEAD_B != (p[7] == FLAG_ENROL	 ? ENROL_MSG1_B
					: p[7] == FLAG_DELEGATED ? DELEGATED_MSG1_B
								 : LOGIN_MSG1_B))
		return -EPROTO;
	return len + CHAN_MAC1_B;
}

/* server: a HELLO that may cost something; REPLY out */
static int take_hello(struct chan *c, size_t len)
{
	uint8_t prologue[sizeof(PROLOGUE) + FIXED_B], payload[PAYLOAD1_MAX_B];
	const uint8_t *p = c->in.data + c->in.at;
	const struct chan_key *key = key_of(c, p, len - CHAN_MAC1_B);
	struct noise_config config = {
		.pattern = NOISE_XKPSK3,
		.prologue = prologue,
		.prologue_len = sizeof(prologue),
	};
	int r;

	if (!key)
		return -EPERM; /* given up since it was looked at */
	config.s = key->s;
	config.s_pub = key->pk;
	memcpy(c->who.server_pk, key->pk, sizeof(c->who.server_pk));
	make_prologue(prologue, p);
	r = noise_new(&c->noise, &config);
	if (r < 0)
		return r;
	sodium_memzero(c->secret, sizeof(*c->secret));
	r = noise_read(c->noise, p + CHAN_HELLO_HEAD_B, get_u16(p + 8), payload, sizeof(payload));
	if (r < 0)
		return r;
	c->who.enrol = p[7] == FLAG_ENROL;
	c->who.delegated = p[7] == FLAG_DELEGATED;
	if (c->who.enrol)
		memcpy(c->who.token_id, payload, 16);
	else
		c->who.psk_epoch = (uint32_t)get_u16(payload) << 16 | get_u16(payload + 2);
	if (c->who.delegated)
		memcpy(c->who.device_id, payload + 4, 16);
	r = put_noise(c, NULL, 0, CHAN_MSG2_B);
	if (r < 0)
		return r;
	chan_bytes_consume(&c->in, len);
	c->step = CHAN_WAIT_FINISH;
	return 1;
}

static int got_hello(struct chan *c)
{
	int r = hello_check(c, c->in.data + c->in.at, c->in.len - c->in.at), len = r;

	if (r > 0)
		r = chan_gate(c, len, NULL);
	return r > 0 ? take_hello(c, len) : r;
}

/* HELLO has been checked, and is still in front */
static int got_proof(struct chan *c)
{
	size_t len = CHAN_HELLO_HEAD_B + get_u16(c->in.data + c->in.at + 8) + CHAN_MAC1_B;
	int r = chan_got_proof(c, len);

	return r > 0 ? take_hello(c, len) : r;
}

/* 1 when a message of exactly that length is in the input */
static int have_noise(const struct chan *c, size_t len)
{
	const uint8_t *p = c->in.data + c->in.at;
	size_t live = c->in.len - c->in.at;

	if (live < 2)
		return 0;
	if (get_u16(p) != len)
		return -EPROTO;
	return live >= 2 + len;
}

const uint8_t *chan_reply_key(const struct chan *c)
{
	return c->step == CHAN_WAIT_REPLY && have_noise(c, CHAN_MSG2_B) > 0 ? c->in.data + c->in.at + 2
									   : NULL;
}

/* client: REPLY in, FINISH out */
static int got_reply(struct chan *c)
{
	uint8_t boot_gen[8];
	int r = chan_challenged(c);

	if (r == -ENOENT)
		r = told_gone(c);
	if (r != -ENOENT)
		return r;
	r = have_noise(c, CHAN_MSG2_B);
	if (r <= 0)
		return r;
	if (c->lacks_dh)
		return 0; /* until chan_give_dh */
	r = noise_read(c->noise, c->in.data + c->in.at + 2, CHAN_MSG2_B, NULL, 0);
	if (r < 0)
		return r;
	put_u64(boot_gen, c->who.boot_gen);
	r = put_noise(c, boot_gen, sizeof(boot_gen), CHAN_MSG3_B);
	if (r < 0)
		return r;
	chan_bytes_consume(&c->in, 2 + CHAN_MSG2_B);
	r = split(c, true);
	return r < 0 ? r : 1;
}

/* server: FINISH in. An unknown peer goes the same way as a wrong PSK, at the same cost. */
static int got_finish(struct chan *c)
{
	uint8_t psk[32], boot_gen[8];
	const uint8_t *msg;
	int r = have_noise(c, CHAN_MSG3_B);

	if (r <= 0)
		return r;
	msg = c->in.data + c->in.at + 2;
	r = noise_read_static(c->noise, msg, CHAN_MSG3_B, c->who.client_pk);
	if (r < 0)
		return r;
	if (!c->psk_fn(c->psk_arg, &c->who, psk))
		randombytes_buf(psk, sizeof(psk));
	noise_set_psk(c->noise, psk);
	sodium_memzero(psk, sizeof(psk));
	r = noise_read(c->noise, msg, CHAN_MSG3_B, boot_gen, sizeof(boot_gen));
	if (r < 0)
		return r;
	c->who.boot_gen = 0;
	for (unsigned i = 0; i < 8; i++)
		c->who.boot_gen = c->who.boot_gen << 8 | boot_gen[i];
	chan_bytes_consume(&c->in, 2 + CHAN_MSG3_B);
	r = split(c, false);
	return r < 0 ? r : 1;
}

int chan_handshake(struct chan *c)
{
	if (c->in.len == c->in.at)
		return 0;
	switch (c->step) {
	case CHAN_WAIT_HELLO:
		return got_hello(c);
	case CHAN_WAIT_PROOF:
		return got_proof(c);
	case CHAN_WAIT_REPLY:
		return got_reply(c);
	case CHAN_WAIT_FINISH:
		return got_finish(c);
	default:
		return -EPROTO;
	}
}
