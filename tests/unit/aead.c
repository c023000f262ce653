/* SPDX-License-Identifier: BSD-2-Clause */
#include "test.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>

#include "aead.h"
#include "aead_impl.h"
#include "vectors.h"

static const uint8_t zeros[32];

static bool have(unsigned suite)
{
	return aead_suites() & 1U << (suite - 1);
}

/* the suite under test is the test's initial state; the CPU may lack it */
static unsigned suite_of(void **state)
{
	unsigned suite = (uintptr_t)*state;

	if (!have(suite)) {
		print_message(
			"# skipped: this CPU or build has no suite %u (AES-NI and PCLMULQDQ)\n",
			suite);
		skip();
	}
	return suite;
}

static void wycheproof(unsigned suite, const char *file, size_t at_least)
{
	json_t *j = vectors_load(file), *g, *v;
	struct octets key, iv, aad, msg, ct, tag;
	size_t gi, vi, used = 0;

	wycheproof_each(j, gi, g, vi, v)
	{
		bool valid = strcmp(vector_text(v, "result"), "valid") == 0;
		uint8_t out[2048];
		struct aead a;
		bool ok;

		vector_hex(&key, v, "key");
		vector_hex(&aad, v, "aad");
		vector_hex(&msg, v, "msg");
		vector_hex(&ct, v, "ct");
		vector_hex(&tag, v, "tag");
		if (vector_hex(&iv, v, "iv")->len != 12 || key.len != 32 || tag.len != 16)
			continue;
		used++;
		assert_int_equal(aead_set(&a, suite, key.b, zeros), 0);
		memcpy(ct.b + ct.len, tag.b, 16);
		ct.len += 16;
		ok = aead_open_raw(&a, iv.b, aad.b, aad.len, ct.b, ct.len, out);
		vector_check(v, ok == valid);
		if (!valid)
			continue;
		vector_check(v, memcmp(out, msg.b, msg.len) == 0);
		aead_seal_raw(&a, iv.b, aad.b, aad.len, msg.b, msg.len, out);
		vector_check(v, memcmp(out, ct.b, ct.len) == 0);
	}
	json_decref(j);
	assert_true(used >= at_least);
}

static void aes_gcm_wycheproof(void **state)
{
	wycheproof(suite_of(state), "wycheproof_aes_gcm.json", 60);
}

static void chapoly_wycheproof(void **state)
{
	wycheproof(suite_of(state), "wycheproof_chacha20_poly1305.json", 250);
}

/* nonce = iv XOR (0^32 ‖ counter, big-endian) */
static void nonce_is_iv_xor_counter(void **state)
{
	unsigned suite = suite_of(state);
	const uint8_t iv[12] = {0xf0, 0xf1, 0xf2, 0xf3, 0xff, 1, 2, 3, 4, 5, 6, 0x0f};
	const uint8_t nonce[12] = {0xf0, 0xf1, 0xf2, 0xf3, 0xfe, 3, 1, 7, 1, 3, 1, 7};
	uint8_t ct[20], expected[20];
	struct aead a;

	assert_int_equal(
		aead_set(&a, suite, (const uint8_t *)"0123456789abcdef0123456789abcdef", iv), 0);
	aead_seal(&a, 0x0102030405060708, "sixteen bytes ad", (const uint8_t *)"abcd", 4, ct);
	aead_seal_raw(&a, nonce, "sixteen bytes ad", 16, (const uint8_t *)"abcd", 4, expected);
	assert_memory_equal(ct, expected, sizeof(ct));
}

static void every_bit_counts(void **state)
{
	unsigned suite = suite_of(state);
	uint8_t key[32], iv[12], aad[16], pt[33], ct[sizeof(pt) + 16], out[sizeof(pt)];
	struct aead a, other;

	randombytes_buf(key, sizeof(key));
	randombytes_buf(iv, sizeof(iv));
	randombytes_buf(aad, sizeof(aad));
	randombytes_buf(pt, sizeof(pt));
	assert_int_equal(aead_set(&a, suite, key, iv), 0);
	aead_seal(&a, 77, aad, pt, sizeof(pt), ct);
	assert_true(aead_open(&a, 77, aad, ct, sizeof(ct), out));
	assert_memory_equal(out, pt, sizeof(pt));

	assert_false(aead_open(&a, 78, aad, ct, sizeof(ct), out));
	for (size_t bit = 0; bit < 8 * sizeof(ct); bit++) {
		ct[bit / 8] ^= 1 << bit % 8;
		assert_false(aead_open(&a, 77, aad, ct, sizeof(ct), out));
		ct[bit / 8] ^= 1 << bit % 8;
	}
	for (size_t bit = 0; bit < 8 * sizeof(aad); bit++) {
		aad[bit / 8] ^= 1 << bit % 8;
		assert_false(aead_open(&a, 77, aad, ct, sizeof(ct), out));
		aad[bit / 8] ^= 1 << bit % 8;
	}
	for (size_t len = 0; len < sizeof(ct); len++)
		assert_false(aead_open(&a, 77, aad, ct, len, out));
	key[31] ^= 1;
	assert_int_equal(aead_set(&other, suite, key, iv), 0);
	assert_false(aead_open(&other, 77, aad, ct, sizeof(ct), out));
}

static void any_length(void **state)
{
	unsigned suite = suite_of(state);
	static uint8_t pt[9200], ct[sizeof(pt) + 16], out[sizeof(pt)];
	struct aead a;

	randombytes_buf(pt, sizeof(pt));
	assert_int_equal(aead_set(&a, suite, pt, zeros), 0);
	for (size_t len = 0; len <= sizeof(pt); len += len < 300 ? 1 : 89) {
		aead_seal(&a, len, "sixteen bytes ad", pt, len, ct);
		assert_true(aead_open(&a, len, "sixteen bytes ad", ct, len + 16, out));
		assert_memory_equal(out, pt, len);
	}
}

static void unset_key_is_harmless(void **state)
{
	uint8_t ct[20], out[4];
	struct aead a = {0};

	memset(ct, 0xff, sizeof(ct));
	aead_seal(&a, 0, "sixteen bytes ad", (const uint8_t *)"abcd", 4, ct);
	assert_true(sodium_is_zero(ct, sizeof(ct)));
	assert_false(aead_open(&a, 0, "sixteen bytes ad", ct, sizeof(ct), out));
	assert_int_equal(aead_set(&a, 0, zeros, zeros), -ENOTSUP);
	assert_int_equal(aead_set(&a, 3, zeros, zeros), -ENOTSUP);
	assert_int_equal(aead_set(&a, 33, zeros, zeros), -ENOTSUP);
	assert_int_equal(a.suite, 0);
}

static void chapoly_always_there(void **state)
{
	assert_int_equal(aead_init(), 0);
	assert_true(have(MVPN_CHACHA20_POLY1305));
}

/*
 * Two threads seal and open at once with the process's one manager and one shared key: each must
 * read its own.
 */
struct job {
	const struct aead *a;
	uint8_t fill;
	unsigned bad;
};

static void *seal_and_open(void *arg)
{
	struct job *job = arg;
	uint8_t pt[1400], ct[sizeof(pt) + 16], out[sizeof(pt)];

	memset(pt, job->fill, sizeof(pt));
	for (uint64_t i = 0; i < 20000; i++) {
		uint64_t counter = i << 8 | job->fill;

		aead_seal(job->a, counter, "sixteen bytes ad", pt, sizeof(pt) - i % 64, ct);
		if (!aead_open(job->a, counter, "sixteen bytes ad", ct, sizeof(ct) - i % 64, out) ||
		    memcmp(out, pt, sizeof(pt) - i % 64) != 0)
			job->bad++;
	}
	return NULL;
}

static void two_threads(void **state)
{
	unsigned suite = suite_of(state);
	struct job jobs[2];
	pthread_t threads[2];
	struct aead a;

	assert_int_equal(
		aead_set(&a, suite, (const uint8_t *)"0123456789abcdef0123456789abcdef", zeros), 0);
	for (unsigned i = 0; i < 2; i++) {
		jobs[i] = (struct job){.a = &a, .fill = 0x11 * (i + 1)};
		assert_int_equal(pthread_create(&threads[i], NULL, seal_and_open, &jobs[i]), 0);
	}
	for (unsigned i = 0; i < 2; i++) {
		pthread_join(threads[i], NULL);
		assert_int_equal(jobs[i].bad, 0);
	}
}

#define SUITE_TEST(fn, suite)                                              \
	{                                                                  \
#fn ":" #suite, fn, NULL, NULL, (void *)(uintptr_t)(suite) \
	}
#define BOTH(fn) SUITE_TEST(fn, MVPN_CHACHA20_POLY1305), SUITE_TEST(fn, MVPN_AES256_GCM)

int main(void)
{
	const struct CMUnitTest tests[] = {
		SUITE_TEST(aes_gcm_wycheproof, MVPN_AES256_GCM),
		SUITE_TEST(chapoly_wycheproof, MVPN_CHACHA20_POLY1305),
		BOTH(nonce_is_iv_xor_counter),
		BOTH(every_bit_counts),
		BOTH(any_length),
		BOTH(two_threads),
		cmocka_unit_test(unset_key_is_harmless),
		cmocka_unit_test(chapoly_always_there),
	};

	if (aead_init() < 0)
		return 1;
	return MVPN_RUN(tests);
}
