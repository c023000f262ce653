/* SPDX-License-Identifier: BSD-2-Clause */
#include "test.h"

#include <errno.h>
#include <stdbool.h>

#include "crypto.h"
#include "noise.h"
#include "vectors.h"

#define MSG_MAX 256

/* both ends of a handshake; by default with fresh keys that agree */
struct pair {
	enum noise_pattern pattern;
	uint8_t is[32], is_pub[32], rs[32], rs_pub[32], psk[32];
	struct noise *i, *r;
};

static void pair_init(struct pair *p, enum noise_pattern pattern)
{
	struct noise_config ci = {
		.pattern = pattern, .initiator = true, .prologue = "p", .prologue_len = 1};
	struct noise_config cr = {.pattern = pattern, .prologue = "p", .prologue_len = 1};

	p->pattern = pattern;
	mvpn_keypair(p->is, p->is_pub);
	mvpn_keypair(p->rs, p->rs_pub);
	randombytes_buf(p->psk, sizeof(p->psk));
	ci.s = p->is;
	cr.s = p->rs;
	if (pattern == NOISE_XKPSK3)
		ci.rs = p->rs_pub;
	else
		cr.rs = p->is_pub;
	assert_int_equal(noise_new(&p->i, &ci), 0);
	assert_int_equal(noise_new(&p->r, &cr), 0);
	noise_set_psk(p->i, p->psk);
	noise_set_psk(p->r, p->psk);
}

static void pair_free(struct pair *p)
{
	noise_free(p->i);
	noise_free(p->r);
}

static unsigned messages(const struct pair *p)
{
	return p->pattern == NOISE_XKPSK3 ? 3 : 2;
}

/* who writes message m, who reads it */
static struct noise *writer(const struct pair *p, unsigned m)
{
	return m % 2 ? p->r : p->i;
}

static struct noise *reader(const struct pair *p, unsigned m)
{
	return m % 2 ? p->i : p->r;
}

static void run_until(struct pair *p, unsigned end)
{
	uint8_t msg[MSG_MAX], payload[16];

	for (unsigned m = 0; m < end; m++) {
		int len = noise_write(writer(p, m), "payload", 7, msg, sizeof(msg));

		assert_true(len > 0);
		assert_int_equal(noise_read(reader(p, m), msg, len, payload, sizeof(payload)), 7);
		assert_memory_equal(payload, "payload", 7);
	}
}

static void assert_dead(struct noise *n)
{
	uint8_t msg[MSG_MAX] = {0}, k1[32], k2[32], h[32];

	assert_int_equal(noise_write(n, NULL, 0, msg, sizeof(msg)), -EINVAL);
	assert_int_equal(noise_read(n, msg, sizeof(msg), msg, sizeof(msg)), -EINVAL);
	assert_int_equal(noise_split(n, k1, k2, h, NULL), -EINVAL);
	assert_false(noise_done(n));
	assert_null(noise_remote_static(n));
}

/* ---- the published vectors: handshake, hash and transport, bit by bit ---- */

static struct noise *vector_new(json_t *v, enum noise_pattern pattern, bool initiator)
{
	const char *side = initiator ? "init" : "resp";
	struct octets s, e, prologue, psk, rs;
	struct noise_config c = {.pattern = pattern, .initiator = initiator};
	char key[64];
	struct noise *n;
	json_t *psks;

	snprintf(key, sizeof(key), "%s_static", side);
	c.s = vector_hex(&s, v, key)->b;
	snprintf(key, sizeof(key), "%s_ephemeral", side);
	c.e = vector_hex(&e, v, key)->b;
	snprintf(key, sizeof(key), "%s_prologue", side);
	c.prologue = vector_hex(&prologue, v, key)->b;
	c.prologue_len = prologue.len;
	snprintf(key, sizeof(key), "%s_remote_static", side);
	if (vector_hex(&rs, v, key)->len == 32)
		c.rs = rs.b;
	assert_int_equal(noise_new(&n, &c), 0);
	snprintf(key, sizeof(key), "%s_psks", side);
	psks = json_pack("{s:O}", "psk", json_array_get(json_object_get(v, key), 0));
	noise_set_psk(n, vector_hex(&psk, psks, "psk")->b);
	json_decref(psks);
	return n;
}

static void vector_transport(json_t *messages_json, size_t from, struct noise *i, struct noise *r,
			     json_t *v)
{
	uint8_t ki1[32], ki2[32], hi[32], xi[32], kr1[32], kr2[32], hr[32], xr[32];
	struct octets payload, ct, hash;
	uint64_t n[2] = {0, 0};

	assert_int_equal(noise_split(i, ki1, ki2, hi, xi), 0);
	assert_int_equal(noise_split(r, kr1, kr2, hr, xr), 0);
	assert_memory_equal(ki1, kr1, 32);
	assert_memory_equal(ki2, kr2, 32);
	assert_memory_equal(hi, hr, 32);
	assert_memory_equal(xi, xr, 32);
	assert_memory_equal(hi, vector_hex(&hash, v, "handshake_hash")->b, 32);
	for (size_t m = from; m < json_array_size(messages_json); m++) {
		json_t *message = json_array_get(messages_json, m);
		uint8_t nonce[12] = {0, 0, 0, 0, n[m % 2]++}, out[MSG_MAX];

		vector_hex(&payload, message, "payload");
		vector_hex(&ct, message, "ciphertext");
		mvpn_chapoly_seal(out, payload.b, payload.len, NULL, 0, nonce, m % 2 ? ki2 : ki1);
		assert_int_equal(ct.len, payload.len + 16);
		assert_memory_equal(out, ct.b, ct.len);
	}
}

static void vector_run(json_t *v, enum noise_pattern pattern, bool late)
{
	struct pair p = {.pattern = pattern};
	json_t *list = json_object_get(v, "messages");
	struct octets payload, ct;

	p.i = vector_new(v, pattern, true);
	p.r = vector_new(v, pattern, false);
	for (unsigned m = 0; m < messages(&p); m++) {
		uint8_t msg[MSG_MAX], out[MSG_MAX], rs[32];
		int len;

		vector_hex(&payload, json_array_get(list, m), "payload");
		vector_hex(&ct, json_array_get(list, m), "ciphertext");
		assert_false(noise_done(p.i) || noise_done(p.r));
		len = noise_write(writer(&p, m), payload.b, payload.len, msg, sizeof(msg));
		assert_int_equal(len, ct.len);
		assert_memory_equal(msg, ct.b, ct.len);
		if (late && m == messages(&p) - 1)
			assert_int_equal(noise_read_static(reader(&p, m), msg, len, rs), 0);
		len = noise_read(reader(&p, m), msg, len, out, sizeof(out));
		assert_int_equal(len, payload.len);
		assert_memory_equal(out, payload.b, payload.len);
	}
	assert_true(noise_done(p.i) && noise_done(p.r));
	vector_transport(list, messages(&p), p.i, p.r, v);
	pair_free(&p);
}

static void published_vectors(void **state)
{
	json_t *j = vectors_load("noise_subset.json"), *v;
	unsigned xk = 0, kx = 0;
	size_t i;

	json_array_foreach(json_object_get(j, "vectors"), i, v)
	{
		const char *name = vector_text(v, "protocol_name");
		bool is_xk = strcmp(name, "Noise_XKpsk3_25519_ChaChaPoly_SHA256") == 0;
		bool is_kx = strcmp(name, "Noise_KXpsk2_25519_ChaChaPoly_SHA256") == 0;

		if (!is_xk && !is_kx)
			continue;
		vector_run(v, is_xk ? NOISE_XKPSK3 : NOISE_KXPSK2, false);
		vector_run(v, is_xk ? NOISE_XKPSK3 : NOISE_KXPSK2, true);
		xk += is_xk;
		kx += is_kx;
	}
	json_decref(j);
	assert_true(xk && kx);
}

/* ---- what must not work; each for both patterns ---- */

static enum noise_pattern pattern_of(void **state)
{
	return (uintptr_t)*state;
}

static void statics_are_learnt(void **state)
{
	struct pair p;

	pair_init(&p, pattern_of(state));
	run_until(&p, messages(&p));
	assert_memory_equal(noise_remote_static(p.i), p.rs_pub, 32);
	assert_memory_equal(noise_remote_static(p.r), p.is_pub, 32);
	pair_free(&p);
}

static void psk_may_come_late(void **state)
{
	uint8_t msg[MSG_MAX], wrong[32] = {1}, rs[32], payload[8];
	struct noise *last_reader;
	unsigned last;
	struct pair p;
	int len;

	pair_init(&p, pattern_of(state));
	last = messages(&p) - 1;
	last_reader = reader(&p, last);
	noise_set_psk(last_reader, wrong); /* not yet looked at */
	run_until(&p, last);
	len = noise_write(writer(&p, last), "x", 1, msg, sizeof(msg));
	assert_int_equal(noise_read_static(last_reader, msg, len, rs), 0);
	assert_memory_equal(rs, pattern_of(state) == NOISE_XKPSK3 ? p.is_pub : p.rs_pub, 32);
	noise_set_psk(last_reader, p.psk);
	assert_int_equal(noise_read(last_reader, msg, len, payload, sizeof(payload)), 1);
	pair_free(&p);
}

static void wrong_psk(void **state)
{
	uint8_t msg[MSG_MAX], payload[8];
	struct noise *last_reader;
	unsigned last;
	struct pair p;
	int len;

	pair_init(&p, pattern_of(state));
	last = messages(&p) - 1;
	last_reader = reader(&p, last);
	p.psk[31] ^= 0x80;
	noise_set_psk(last_reader, p.psk);
	run_until(&p, last);
	len = noise_write(writer(&p, last), "x", 1, msg, sizeof(msg));
	assert_int_equal(noise_read(last_reader, msg, len, payload, sizeof(payload)), -EBADMSG);
	assert_dead(last_reader);
	pair_free(&p);
}

static void missing_psk(void **state)
{
	struct pair p;
	struct noise_config c = {.pattern = NOISE_KXPSK2, .s = p.rs, .rs = p.is_pub};
	struct noise *r;
	uint8_t msg[MSG_MAX];
	int len;

	pair_init(&p, NOISE_KXPSK2);
	c.prologue = "p";
	c.prologue_len = 1;
	assert_int_equal(noise_new(&r, &c), 0);
	len = noise_write(p.i, NULL, 0, msg, sizeof(msg));
	assert_int_equal(len, 48);
	assert_int_equal(noise_read(r, msg, len, NULL, 0), 0);
	assert_int_equal(noise_write(r, NULL, 0, msg, sizeof(msg)), -EINVAL);
	assert_dead(r);
	noise_free(r);
	pair_free(&p);
}

/* a changed bit in each byte of each message, and any truncation of it */
static void every_byte_of_every_message(void **state)
{
	struct pair probe = {.pattern = pattern_of(state)};

	for (unsigned m = 0; m < messages(&probe); m++) {
		size_t len = MSG_MAX;

		for (size_t i = 0; i < 2 * len; i++) {
			uint8_t msg[MSG_MAX], payload[16];
			struct pair p;
			int r;

			pair_init(&p, pattern_of(state));
			run_until(&p, m);
			len = noise_write(writer(&p, m), "payload", 7, msg, sizeof(msg));
			if (i < len) {
				msg[i] ^= 1 << i % 8;
				r = noise_read(reader(&p, m), msg, len, payload, sizeof(payload));
				/*
				 * the top bit of an X25519 value is ignored (RFC 7748 §5), but it
				 * is in the hash
				 */
				assert_true(r == -EBADMSG);
			} else {
				r = noise_read(reader(&p, m), msg, i - len, payload,
					       sizeof(payload));
				assert_true(r == -EINVAL || r == -EBADMSG);
			}
			assert_dead(reader(&p, m));
			pair_free(&p);
		}
	}
}

static void wrong_prologue(void **state)
{
	struct pair p;
	struct noise_config c = {.pattern = pattern_of(state), .prologue = "q", .prologue_len = 1};
	uint8_t msg[MSG_MAX];
	struct noise *r;
	int len;

	pair_init(&p, pattern_of(state));
	c.s = p.rs;
	c.rs = pattern_of(state) == NOISE_KXPSK2 ? p.is_pub : NULL;
	assert_int_equal(noise_new(&r, &c), 0);
	len = noise_write(p.i, NULL, 0, msg, sizeof(msg));
	assert_int_equal(noise_read(r, msg, len, NULL, 0), -EBADMSG);
	noise_free(r);
	pair_free(&p);
}

static void out_of_turn(void **state)
{
	uint8_t msg[MSG_MAX] = {0}, k1[32], k2[32], h[32];
	struct pair p;

	pair_init(&p, pattern_of(state));
	assert_int_equal(noise_split(p.i, k1, k2, h, NULL), -EINVAL);
	assert_int_equal(noise_read(p.i, msg, 48, msg, sizeof(msg)), -EINVAL);
	assert_dead(p.i);
	assert_int_equal(noise_write(p.r, NULL, 0, msg, sizeof(msg)), -EINVAL);
	assert_dead(p.r);
	pair_free(&p);

	pair_init(&p, pattern_of(state));
	run_until(&p, messages(&p));
	assert_int_equal(noise_write(p.i, NULL, 0, msg, sizeof(msg)), -EINVAL); /* none is left */
	assert_dead(p.i);
	pair_free(&p);
}

static void replayed_first_message(void **state)
{
	uint8_t first[MSG_MAX], msg[MSG_MAX], out[MSG_MAX];
	struct pair p, q;
	int len, n;

	/*
	 * the same first message at two responders with the same keys: the answers differ, and are
	 * not each other's
	 */
	pair_init(&p, pattern_of(state));
	len = noise_write(p.i, NULL, 0, first, sizeof(first));
	pair_init(&q, pattern_of(state));
	noise_free(q.r);
	assert_int_equal(
		noise_new(&q.r, &(struct noise_config){.pattern = p.pattern,
						       .prologue = "p",
						       .prologue_len = 1,
						       .s = p.rs,
						       .rs = p.pattern == NOISE_KXPSK2 ? p.is_pub
										       : NULL}),
		0);
	noise_set_psk(q.r, p.psk);
	assert_int_equal(noise_read(p.r, first, len, out, sizeof(out)), 0);
	assert_int_equal(noise_read(q.r, first, len, out, sizeof(out)), 0);
	n = noise_write(p.r, NULL, 0, msg, sizeof(msg));
	assert_int_equal(noise_write(q.r, NULL, 0, out, sizeof(out)), n);
	assert_memory_not_equal(msg, out, 32);
	/*
	 * who replays cannot go on: an initiator with another ephemeral does not understand the
	 * answer
	 */
	assert_true(noise_write(q.i, NULL, 0, first, sizeof(first)) > 0);
	assert_int_equal(noise_read(q.i, msg, n, out, sizeof(out)), -EBADMSG);
	pair_free(&p);
	pair_free(&q);
}

static void low_order_ephemeral(void **state)
{
	uint8_t msg[48] = {0};
	struct pair p;

	pair_init(&p, NOISE_XKPSK3);
	assert_int_equal(noise_read(p.r, msg, sizeof(msg), NULL, 0), -EBADMSG);
	assert_dead(p.r);
	pair_free(&p);
}

static void buffers_too_small(void **state)
{
	uint8_t msg[MSG_MAX], payload[8];
	struct pair p;
	int len;

	pair_init(&p, pattern_of(state));
	assert_int_equal(noise_write(p.i, "payload", 7, msg, 54), -ENOBUFS);
	pair_free(&p);
	pair_init(&p, pattern_of(state));
	len = noise_write(p.i, "payload", 7, msg, 55);
	assert_int_equal(len, 55);
	assert_int_equal(noise_read(p.r, msg, len, payload, 6), -ENOBUFS);
	assert_dead(p.r);
	pair_free(&p);
}

static void half_read_message_must_be_the_same(void **state)
{
	uint8_t msg[MSG_MAX], rs[32], payload[8];
	struct noise *last_reader;
	unsigned last;
	struct pair p;
	int len;

	pair_init(&p, pattern_of(state));
	last = messages(&p) - 1;
	run_until(&p, last);
	last_reader = reader(&p, last);
	len = noise_write(writer(&p, last), NULL, 0, msg, sizeof(msg));
	assert_int_equal(noise_read_static(last_reader, msg, len, rs), 0);
	assert_int_equal(noise_read(last_reader, msg, len - 1, payload, sizeof(payload)), -EINVAL);
	pair_free(&p);

	pair_init(&p, pattern_of(state)); /* message 1 has no static */
	len = noise_write(p.i, NULL, 0, msg, sizeof(msg));
	assert_int_equal(noise_read_static(p.r, msg, len, rs), -EINVAL);
	assert_dead(p.r);
	pair_free(&p);
}

/* one end in turn has its static on a token: given what that computes it agrees with the other, else it stops */
static void static_on_a_token(void **state)
{
	for (unsigned initiator = 0; initiator < 2; initiator++) {
		for (unsigned bad = 0; bad < 4; bad++) {
			uint8_t msg[MSG_MAX], payload[16], dh[32], k1[32], k2[32], h[32], x1[32];
			uint8_t x2[32], h2[32];
			struct noise *own, *other;
			int len = 0, r = 0;
			struct pair p;

			pair_init(&p, pattern_of(state));
			noise_free(initiator ? p.i : p.r);
			own = NULL;
			assert_int_equal(
				noise_new(&own,
					  &(struct noise_config){
						  .pattern = p.pattern,
						  .initiator = initiator,
						  .prologue = "p",
						  .prologue_len = 1,
						  .s_pub = initiator ? p.is_pub : p.rs_pub,
						  .rs = initiator ? p.pattern == NOISE_XKPSK3
									    ? p.rs_pub
									    : NULL
							: p.pattern == NOISE_KXPSK2 ? p.is_pub
										    : NULL}),
				0);
			*(initiator ? &p.i : &p.r) = own;
			other = initiator ? p.r : p.i;
			noise_set_psk(own, p.psk);
			for (unsigned m = 0; m < messages(&p) && r >= 0; m++) {
				len = noise_write(writer(&p, m), "x", 1, msg, sizeof(msg));
				r = len;
				/* the other end's first: its ephemeral stands in front */
				if (len > 0 && writer(&p, m) == other && m < 2) {
					assert_int_equal(
						mvpn_x25519(dh, initiator ? p.is : p.rs, msg), 0);
					if (bad == 1)
						msg[0] ^= 1; /* computed with another key */
					if (bad == 2)
						sodium_memzero(dh, sizeof(dh));
					if (bad < 3)
						noise_set_dh(own, msg, dh);
					if (bad == 1)
						msg[0] ^= 1;
				}
				if (r > 0)
					r = noise_read(reader(&p, m), msg, len, payload,
						       sizeof(payload));
			}
			if (bad) {
				assert_int_equal(r, bad == 2 ? -EBADMSG : -ENOKEY);
				assert_dead(own);
			} else {
				assert_int_equal(r, 1);
				assert_int_equal(noise_split(own, k1, k2, h, x1), 0);
				assert_int_equal(noise_split(other, k1, k2, h2, x2), 0);
				assert_memory_equal(h, h2, 32);
				assert_memory_equal(x1, x2, 32);
			}
			pair_free(&p);
		}
	}
}

static void needs_the_remote_static(void **state)
{
	uint8_t s[32] = {1};
	struct noise *n = NULL;

	assert_int_equal(noise_new(&n, &(struct noise_config){.pattern = NOISE_XKPSK3,
							      .initiator = true,
							      .s = s}),
			 -EINVAL);
	assert_int_equal(noise_new(&n, &(struct noise_config){.pattern = NOISE_KXPSK2, .s = s}),
			 -EINVAL);
	assert_null(n);
	noise_free(NULL);
}

#define PATTERN_TEST(fn, p)                                        \
	{                                                          \
#fn ":" #p, fn, NULL, NULL, (void *)(uintptr_t)(p) \
	}
#define BOTH(fn) PATTERN_TEST(fn, NOISE_XKPSK3), PATTERN_TEST(fn, NOISE_KXPSK2)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(published_vectors),
		BOTH(statics_are_learnt),
		BOTH(psk_may_come_late),
		BOTH(wrong_psk),
		cmocka_unit_test(missing_psk),
		BOTH(every_byte_of_every_message),
		BOTH(wrong_prologue),
		BOTH(out_of_turn),
		BOTH(replayed_first_message),
		cmocka_unit_test(low_order_ephemeral),
		BOTH(buffers_too_small),
		BOTH(half_read_message_must_be_the_same),
		BOTH(static_on_a_token),
		cmocka_unit_test(needs_the_remote_static),
	};

	if (mvpn_crypto_init() < 0)
		return 1;
	return MVPN_RUN(tests);
}
