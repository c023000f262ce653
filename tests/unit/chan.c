/* SPDX-License-Identifier: BSD-2-Clause */
/* The handshake of the channel; its frames are chan_frames.c, the messages in them chan_msg.c. */
#include "test.h"

#include <errno.h>
#include <string.h>

#include "chan_impl.h"
#include "chan_pair.h"
#include "crypto.h"

/*
 * A client's HELLO, built by an independent model of Noise in Python (hashlib, hmac, cryptography):
 * server secret 01 02 … 20, ephemeral 51 52 … 70; log-in with psk_epoch 7, and enrolment with token
 * id 70 71 … 7f.
 */
#define LOGIN_HELLO                                                                                \
	"4d4156500101010000340233f006ef4bed144ea0a5bb46c7067c7c2acec5f8cc811f3df59fdcd5ac76148ab8" \
	"21b719b3fc43f6daa6976e9b14912723834bf51a262dc7b63e38ed964fab72f544ae"
#define ENROL_HELLO                                                                                \
	"4d4156500101010100400233f006ef4bed144ea0a5bb46c7067c7c2acec5f8cc811f3df59fdcd5ac7614fac9" \
	"53c3c115ff040d68117914871dc11b922bea9fe67e85f6d0a688c4cbee3adcf96e6822c7d254a9d904084572" \
	"1ddd"

static bool no_psk(void *arg, const struct chan_who *who, uint8_t ret[32])
{
	return false;
}

/* feeds one golden HELLO to a server; the channel, which has answered */
static struct chan *golden_server(const char *hex)
{
	static uint8_t s[32];
	static struct chan_keys keys;
	uint8_t hello[128];
	size_t len = strlen(hex) / 2;
	struct chan *c;

	for (unsigned i = 0; i < 32; i++)
		s[i] = i + 1;
	assert_int_equal(mvpn_unhex(hello, len, hex), 0);
	if (!keys.n)
		assert_int_equal(chan_keys_add(&keys, s), 0);
	assert_int_equal(chan_new_server(&c, &keys, no_psk, NULL), 0);
	assert_int_equal(chan_feed(c, hello, len), 0);
	chan_output(c, &len);
	assert_int_equal(len, 2 + 48);
	assert_int_equal(chan_state(c), CHAN_HANDSHAKE);
	return c;
}

static void golden_hello(void **state)
{
	struct chan *c = golden_server(LOGIN_HELLO);

	assert_false(chan_who(c)->enrol);
	assert_int_equal(chan_who(c)->psk_epoch, 7);
	chan_free(c);

	c = golden_server(ENROL_HELLO);
	assert_true(chan_who(c)->enrol);
	for (unsigned i = 0; i < 16; i++)
		assert_int_equal(chan_who(c)->token_id[i], 0x70 + i);
	chan_free(c);
}

static void login(void **state)
{
	struct chan_pair p;
	const struct chan_who *who;

	chan_pair_init(&p, false);
	assert_int_equal(chan_pair_run(&p), 0);
	assert_int_equal(chan_state(p.client), CHAN_UP);
	assert_int_equal(chan_state(p.server), CHAN_UP);
	who = chan_who(p.server);
	assert_false(who->enrol);
	assert_int_equal(who->psk_epoch, 3);
	assert_true(who->boot_gen == 0x1122334455667788);
	assert_memory_equal(who->client_pk, p.client_pk, 32);
	assert_null(p.client->noise);
	assert_null(p.server->noise);
	chan_pair_free(&p);
}

static void enrolment_derives_the_same_psk(void **state)
{
	uint8_t a[32], b[32], other[32];
	struct chan_pair p;

	chan_pair_init(&p, true);
	assert_int_equal(chan_device_psk(p.client, p.psk, a), -ENOTCONN);
	assert_int_equal(chan_pair_run(&p), 0);
	assert_true(chan_who(p.server)->enrol);
	assert_memory_equal(chan_who(p.server)->token_id, "the token's id..", 16);
	assert_int_equal(chan_device_psk(p.client, p.psk, a), 0);
	assert_int_equal(chan_device_psk(p.server, p.psk, b), 0);
	assert_memory_equal(a, b, 32);
	chan_pair_free(&p);

	chan_pair_init(&p,
		       true); /* another handshake gives another PSK, with the same token even */
	assert_int_equal(chan_pair_run(&p), 0);
	assert_int_equal(chan_device_psk(p.client, p.psk, other), 0);
	assert_memory_not_equal(a, other, 32);
	chan_pair_free(&p);
}

/* BLAKE2b-256(key = token_psk, "mavp1 devpsk" ‖ X ‖ h), by Python's hashlib */
static void device_psk_golden(void **state)
{
	uint8_t token_psk[32], psk[32];
	char hex[65];
	struct chan_pair p;

	chan_pair_init(&p, true);
	assert_int_equal(chan_pair_run(&p), 0);
	for (unsigned i = 0; i < 32; i++) {
		p.client->secret->x[i] = i + 1;
		p.client->secret->h[i] = i + 2;
		token_psk[i] = i + 3;
	}
	assert_int_equal(chan_device_psk(p.client, token_psk, psk), 0);
	mvpn_hex(hex, psk, 32);
	assert_string_equal(hex,
			    "cdd5bf453e995920780233fdbbadf13980d2dec1e34fef14da88c4e13658e9d8");
	chan_pair_free(&p);
}

static void exported_keys(void **state)
{
	uint8_t ctx[32] = {7}, a[32], b[32], other[32];
	struct chan_pair p;

	chan_pair_init(&p, false);
	assert_int_equal(chan_export(p.client, "central60", ctx, a), -ENOTCONN);
	assert_int_equal(chan_pair_run(&p), 0);
	assert_int_equal(chan_export(p.client, "central60", ctx, a), 0);
	assert_int_equal(chan_export(p.server, "central60", ctx, b), 0);
	assert_memory_equal(a, b, 32);
	assert_int_equal(chan_export(p.server, "central63", ctx, other), 0);
	assert_memory_not_equal(a, other, 32);
	ctx[31]++;
	assert_int_equal(chan_export(p.client, "central60", ctx, other), 0);
	assert_memory_not_equal(a, other, 32);
	chan_pair_free(&p);
}

static void byte_by_byte(void **state)
{
	struct chan_msg m;
	struct chan_pair p;

	chan_pair_init(&p, false);
	p.chunk = 1;
	assert_int_equal(chan_pair_run(&p), 0);
	chan_pair_send(p.client, 0x42, 7);
	chan_pair_send(p.server, 0x43, 8);
	assert_int_equal(chan_pair_run(&p), 0);
	assert_int_equal(chan_next(p.server, &m), 1);
	assert_int_equal(m.type, 0x42);
	assert_int_equal(m.reqid, 7);
	assert_int_equal(chan_next(p.server, &m), 0);
	assert_int_equal(chan_next(p.client, &m), 1);
	assert_int_equal(m.type, 0x43);
	chan_pair_free(&p);
}

/* a client may send its first frames together with FINISH */
static void pipelined_frames(void **state)
{
	struct chan_msg m;
	struct chan_pair p;

	chan_pair_init(&p, false);
	assert_int_equal(chan_pair_move(&p, p.client, p.server), 0);
	assert_int_equal(chan_pair_move(&p, p.server, p.client), 0);
	assert_int_equal(chan_state(p.client), CHAN_UP);
	chan_pair_send(p.client, 1, 1);
	chan_pair_send(p.client, 2, 2);
	assert_int_equal(chan_pair_move(&p, p.client, p.server), 0);
	assert_int_equal(chan_state(p.server), CHAN_UP);
	assert_int_equal(chan_next(p.server, &m), 1);
	assert_int_equal(m.type, 1);
	assert_int_equal(chan_next(p.server, &m), 1);
	assert_int_equal(m.type, 2);
	assert_int_equal(chan_next(p.server, &m), 0);
	chan_pair_free(&p);
}

/* ---- refusals of the handshake ---- */

static void wrong_psk_and_unknown_device_look_alike(void **state)
{
	for (int unknown = 0; unknown <= 1; unknown++) {
		struct chan_pair p;

		chan_pair_init(&p, false);
		p.unknown = unknown;
		p.server_psk[0] ^= 1;
		assert_int_equal(chan_pair_run(&p), -EBADMSG);
		assert_int_equal(p.asked, 1);
		assert_memory_equal(chan_who(p.server)->client_pk, p.client_pk, 32);
		assert_chan_dead(p.server, -EBADMSG);
		chan_pair_free(&p);
	}
}

static void wrong_server_key(void **state)
{
	struct chan_keys keys = {0};
	uint8_t other[32], other_pk[32];
	struct chan_pair p;

	chan_pair_init(&p, false);
	chan_free(p.server);
	mvpn_keypair(other, other_pk);
	assert_int_equal(chan_keys_add(&keys, other), 0);
	assert_int_equal(chan_new_server(&p.server, &keys, chan_pair_psk, &p), 0);
	assert_int_equal(chan_pair_move(&p, p.client, p.server), -EPERM);
	assert_chan_dead(p.server, -EPERM);
	assert_int_equal(p.asked, 0);
	chan_pair_free(&p);
}

static void every_bit_of_hello(void **state)
{
	uint8_t hello[256];
	struct chan_pair p;
	size_t len;

	chan_pair_init(&p, false);
	len = chan_pair_pending(&p, hello);
	for (size_t bit = 0; bit < 8 * len; bit++) {
		struct chan *s;
		int r;

		hello[bit / 8] ^= 1 << bit % 8;
		assert_int_equal(chan_new_server(&s, &p.keys, chan_pair_psk, &p), 0);
		r = chan_feed(s, hello, len);
		if (r == 0) { /* a greater length: it waits, and the next bytes show it */
			assert_true(bit / 8 == 8 || bit / 8 == 9);
			r = chan_feed(s, (uint8_t[256]){0}, 256);
		}
		if (bit < 32)
			assert_int_equal(r, -EPROTO);
		else
			assert_true(r == -EPERM || r == -EPROTO);
		/* mac1 is checked before any Diffie-Hellman: no handshake was even begun */
		assert_null(s->noise);
		assert_chan_dead(s, r);
		chan_free(s);
		hello[bit / 8] ^= 1 << bit % 8;
	}
	assert_int_equal(p.asked, 0);
	chan_pair_free(&p);
}

static void hello_cut_anywhere_waits(void **state)
{
	uint8_t hello[256];
	struct chan_pair p;
	size_t len, out;

	chan_pair_init(&p, true);
	len = chan_pair_pending(&p, hello);
	for (size_t cut = 0; cut < len; cut++) {
		struct chan *s;

		assert_int_equal(chan_new_server(&s, &p.keys, chan_pair_psk, &p), 0);
		assert_int_equal(chan_feed(s, hello, cut), 0);
		assert_int_equal(chan_state(s), CHAN_HANDSHAKE);
		chan_output(s, &out);
		assert_int_equal(out, 0);
		chan_free(s);
	}
	chan_pair_free(&p);
}

/* HELLO with other fixed bytes and a mac1 that is right for them */
static int feed_hello_with(struct chan_pair *p, size_t at, uint8_t value, struct chan **ret)
{
	uint8_t hello[256], key[32];
	size_t len = chan_pair_pending(p, hello);

	hello[at] = value;
	mvpn_blake2b(key, 32, NULL, 0, (struct mvpn_part[]){{"mavp1 mac1", 10}, {p->server_pk, 32}},
		     2);
	mvpn_blake2b(hello + len - 16, 16, key, 32, &(struct mvpn_part){hello, len - 16}, 1);
	assert_int_equal(chan_new_server(ret, &p->keys, chan_pair_psk, p), 0);
	return chan_feed(*ret, hello, len);
}

static void versions_and_flags(void **state)
{
	static const struct {
		size_t at;
		uint8_t value;
		int error;
	} tries[] = {
		{4, 0,
		 -EBADMSG}, /* ver_min 0..1: fine, but not what the client signed (prologue) */
		{5, 9, -EBADMSG},     /* 1..9, likewise */
		{6, 2, -EPROTO},      /* outside its own range */
		{4, 2, -EPROTO},      /* range upside down */
		{7, 2, -EPROTO},      /* unknown flag */
		{7, 1, -EPROTO},      /* enrolment with a log-in's length */
		{11, 0xff, -EBADMSG}, /* another ephemeral, right mac1: Noise says no */
	};

	for (size_t i = 0; i < sizeof(tries) / sizeof(tries[0]); i++) {
		struct chan_pair p;
		struct chan *s;

		chan_pair_init(&p, false);
		assert_int_equal(feed_hello_with(&p, tries[i].at, tries[i].value, &s),
				 tries[i].error);
		assert_chan_dead(s, tries[i].error);
		chan_free(s);
		chan_pair_free(&p);
	}
}

static void later_version_only(void **state)
{
	uint8_t hello[10 + 100 + 16] = {'M', 'A', 'V', 'P', 2, 3, 2, 0, 0, 100}, key[32];
	struct chan_pair p;

	chan_pair_init(&p, false);
	mvpn_blake2b(key, 32, NULL, 0, (struct mvpn_part[]){{"mavp1 mac1", 10}, {p.server_pk, 32}},
		     2);
	mvpn_blake2b(hello + 110, 16, key, 32, &(struct mvpn_part){hello, 110}, 1);
	assert_int_equal(chan_feed(p.server, hello, sizeof(hello)), -EPROTONOSUPPORT);
	assert_chan_dead(p.server, -EPROTONOSUPPORT);
	chan_pair_free(&p);
}

/*
 * who replays a HELLO gets an answer, but cannot finish: neither with the old FINISH nor otherwise
 */
static void replayed_hello(void **state)
{
	uint8_t hello[256], finish[256];
	struct chan_pair p;
	struct chan *s;
	size_t len, finish_len;

	chan_pair_init(&p, false);
	len = chan_pair_pending(&p, hello);
	assert_int_equal(chan_pair_move(&p, p.client, p.server), 0);
	assert_int_equal(chan_pair_move(&p, p.server, p.client), 0);
	finish_len = chan_pair_pending(&p, finish);
	assert_int_equal(chan_pair_move(&p, p.client, p.server), 0);
	assert_int_equal(p.asked, 1);

	assert_int_equal(chan_new_server(&s, &p.keys, chan_pair_psk, &p), 0);
	assert_int_equal(chan_feed(s, hello, len), 0);
	assert_int_equal(chan_feed(s, finish, finish_len), -EBADMSG);
	assert_int_equal(p.asked, 1); /* not even the client's name came out */
	assert_chan_dead(s, -EBADMSG);
	chan_free(s);
	chan_pair_free(&p);
}

static void every_byte_of_reply_and_finish(void **state)
{
	for (int finish = 0; finish <= 1; finish++) {
		size_t len = 1;

		for (size_t i = 0; i < len; i++) {
			uint8_t msg[256];
			struct chan_pair p;
			struct chan *to;
			int r;

			chan_pair_init(&p, false);
			chan_pair_move(&p, p.client, p.server);
			if (finish)
				chan_pair_move(&p, p.server, p.client);
			to = finish ? p.server : p.client;
			memcpy(msg, chan_output(finish ? p.client : p.server, &len),
			       128 > len ? len : 128);
			msg[i] ^= 1 << i % 8;
			r = chan_feed(to, msg, len);
			assert_true(i < 2 ? r == -EPROTO : r == -EBADMSG);
			assert_chan_dead(to, r);
			chan_pair_free(&p);
		}
		assert_int_equal(len, finish ? 74 : 50);
	}
}

/* the client's static secret is on a token: the handshake waits for what that computes, and goes on */
static void key_on_a_token(void **state)
{
	struct chan_pair p;
	struct chan_client c = {.psk_epoch = 3, .boot_gen = 1};
	uint8_t peer[32], dh[32];

	chan_pair_init(&p, false);
	chan_free(p.client);
	c.s_pub = p.client_pk;
	c.server_pk = p.server_pk;
	c.psk = p.psk;
	assert_int_equal(chan_new_client(&p.client, &c), 0);
	assert_false(chan_wants_dh(p.client, peer));
	assert_int_equal(chan_give_dh(p.client, dh), -EINVAL);
	p.chunk = 7;
	assert_int_equal(chan_pair_run(&p), 0);
	assert_int_equal(chan_state(p.client), CHAN_HANDSHAKE);
	assert_true(chan_wants_dh(p.client, peer));
	assert_int_equal(mvpn_x25519(dh, p.c, peer), 0);
	assert_int_equal(chan_give_dh(p.client, dh), 0);
	assert_int_equal(chan_state(p.client), CHAN_UP);
	assert_false(chan_wants_dh(p.client, peer));
	assert_int_equal(chan_pair_run(&p), 0);
	assert_int_equal(chan_state(p.server), CHAN_UP);
	assert_memory_equal(chan_who(p.server)->client_pk, p.client_pk, 32);
	chan_pair_free(&p);

	/* a wrong one is found out by the server */
	chan_pair_init(&p, false);
	chan_free(p.client);
	c.s_pub = p.client_pk;
	c.server_pk = p.server_pk;
	c.psk = p.psk;
	assert_int_equal(chan_new_client(&p.client, &c), 0);
	assert_int_equal(chan_pair_run(&p), 0);
	assert_true(chan_wants_dh(p.client, peer));
	memset(dh, 7, sizeof(dh));
	assert_int_equal(chan_give_dh(p.client, dh), 0);
	assert_int_equal(chan_pair_run(&p), -EBADMSG);
	chan_pair_free(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(golden_hello),
		cmocka_unit_test(login),
		cmocka_unit_test(key_on_a_token),
		cmocka_unit_test(enrolment_derives_the_same_psk),
		cmocka_unit_test(device_psk_golden),
		cmocka_unit_test(exported_keys),
		cmocka_unit_test(byte_by_byte),
		cmocka_unit_test(pipelined_frames),
		cmocka_unit_test(wrong_psk_and_unknown_device_look_alike),
		cmocka_unit_test(wrong_server_key),
		cmocka_unit_test(every_bit_of_hello),
		cmocka_unit_test(hello_cut_anywhere_waits),
		cmocka_unit_test(versions_and_flags),
		cmocka_unit_test(later_version_only),
		cmocka_unit_test(replayed_hello),
		cmocka_unit_test(every_byte_of_reply_and_finish),
	};

	if (mvpn_crypto_init() < 0)
		return 1;
	return MVPN_RUN(tests);
}
