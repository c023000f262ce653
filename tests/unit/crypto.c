/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Values without another source named come from Python's hashlib and hmac, given the inputs that
 * stand beside them.
 */
#include "test.h"

#include <errno.h>
#include <stdbool.h>

#include "crypto.h"
#include "secmem.h"
#include "vectors.h"

static void count_up(uint8_t *ret, uint8_t from, size_t len)
{
	for (size_t i = 0; i < len; i++)
		ret[i] = from + i;
}

static void assert_hex(const void *data, size_t len, const char *hex)
{
	char text[257];

	assert_true(len <= 128);
	mvpn_hex(text, data, len);
	assert_string_equal(text, hex);
}

static void x25519_wycheproof(void **state)
{
	json_t *j = vectors_load("wycheproof_x25519.json"), *g, *v;
	struct octets sk, pk, shared;
	size_t gi, vi;

	wycheproof_each(j, gi, g, vi, v)
	{
		uint8_t out[32];
		int r;

		vector_hex(&sk, v, "private");
		vector_hex(&pk, v, "public");
		vector_hex(&shared, v, "shared");
		r = mvpn_x25519(out, sk.b, pk.b);
		if (sodium_is_zero(shared.b, 32))
			vector_check(v, r == -EINVAL);
		else
			vector_check(v, r == 0 && memcmp(out, shared.b, 32) == 0);
	}
	json_decref(j);
}

static void x25519_keypair_agrees(void **state)
{
	uint8_t a[32], pa[32], b[32], pb[32], x[32], y[32];

	mvpn_keypair(a, pa);
	mvpn_keypair(b, pb);
	assert_int_equal(mvpn_x25519(x, a, pb), 0);
	assert_int_equal(mvpn_x25519(y, b, pa), 0);
	assert_memory_equal(x, y, 32);
	assert_int_equal(mvpn_x25519_public(x, a), 0);
	assert_memory_equal(x, pa, 32);
}

static void chapoly_wycheproof(void **state)
{
	json_t *j = vectors_load("wycheproof_chacha20_poly1305.json"), *g, *v;
	struct octets key, iv, aad, msg, ct, tag;
	size_t gi, vi, used = 0;

	wycheproof_each(j, gi, g, vi, v)
	{
		bool valid = strcmp(vector_text(v, "result"), "valid") == 0;
		uint8_t out[2048];
		int r;

		vector_hex(&key, v, "key");
		vector_hex(&aad, v, "aad");
		vector_hex(&msg, v, "msg");
		vector_hex(&ct, v, "ct");
		vector_hex(&tag, v, "tag");
		if (vector_hex(&iv, v, "iv")->len != 12)
			continue; /* our function has no other nonce length */
		used++;
		memcpy(ct.b + ct.len, tag.b, tag.len);
		ct.len += tag.len;
		r = mvpn_chapoly_open(out, ct.b, ct.len, aad.b, aad.len, iv.b, key.b);
		vector_check(v, r == (valid ? 0 : -EBADMSG));
		if (!valid)
			continue;
		vector_check(v, memcmp(out, msg.b, msg.len) == 0);
		mvpn_chapoly_seal(out, msg.b, msg.len, aad.b, aad.len, iv.b, key.b);
		vector_check(v, memcmp(out, ct.b, ct.len) == 0);
	}
	assert_true(used > 250);
	json_decref(j);
}

static void box_wycheproof(void **state)
{
	json_t *j = vectors_load("wycheproof_xchacha20_poly1305.json"), *g, *v;
	struct octets key, box, aad, msg, ct, tag;
	size_t gi, vi, used = 0;

	wycheproof_each(j, gi, g, vi, v)
	{
		bool valid = strcmp(vector_text(v, "result"), "valid") == 0;
		uint8_t out[2048];
		int r;

		vector_hex(&key, v, "key");
		vector_hex(&aad, v, "aad");
		vector_hex(&msg, v, "msg");
		vector_hex(&ct, v, "ct");
		vector_hex(&tag, v, "tag");
		if (vector_hex(&box, v, "iv")->len != 24)
			continue;
		used++;
		memcpy(box.b + 24, ct.b, ct.len);
		memcpy(box.b + 24 + ct.len, tag.b, tag.len);
		r = mvpn_box_open(out, box.b, 24 + ct.len + tag.len, aad.b, aad.len, key.b);
		vector_check(v, r == (valid ? 0 : -EBADMSG));
		if (valid)
			vector_check(v, memcmp(out, msg.b, msg.len) == 0);
	}
	assert_true(used > 240);
	json_decref(j);
}

static void box_roundtrip(void **state)
{
	uint8_t key[32], box[5 + MVPN_BOX_OVERHEAD], box2[sizeof(box)], out[5];

	randombytes_buf(key, sizeof(key));
	assert_int_equal(mvpn_box_seal(box, (const uint8_t *)"plain", 5, "row 1", 5, key), 0);
	assert_int_equal(mvpn_box_seal(box2, (const uint8_t *)"plain", 5, "row 1", 5, key), 0);
	assert_memory_not_equal(box, box2, sizeof(box)); /* fresh nonce */
	assert_int_equal(mvpn_box_open(out, box, sizeof(box), "row 1", 5, key), 0);
	assert_memory_equal(out, "plain", 5);
	assert_int_equal(mvpn_box_open(out, box, sizeof(box), "row 2", 5, key), -EBADMSG);
	for (size_t len = 0; len < sizeof(box); len++)
		assert_int_equal(mvpn_box_open(out, box, len, "row 1", 5, key), -EBADMSG);
	for (size_t i = 0; i < sizeof(box); i++) {
		box[i] ^= 1;
		assert_int_equal(mvpn_box_open(out, box, sizeof(box), "row 1", 5, key), -EBADMSG);
		box[i] ^= 1;
	}
}

static void hmac_wycheproof(void **state)
{
	json_t *j = vectors_load("wycheproof_hmac_sha256.json"), *g, *v;
	struct octets key, msg, tag;
	size_t gi, vi;

	wycheproof_each(j, gi, g, vi, v)
	{
		bool valid = strcmp(vector_text(v, "result"), "valid") == 0;
		uint8_t out[32];
		size_t half;

		vector_hex(&key, v, "key");
		vector_hex(&msg, v, "msg");
		vector_hex(&tag, v, "tag");
		half = msg.len / 2;
		mvpn_hmac_sha256(
			out, key.b, key.len,
			(struct mvpn_part[]){{msg.b, half}, {msg.b + half, msg.len - half}}, 2);
		vector_check(v,
			     (memcmp(out, tag.b, wycheproof_size(g, "tagSize") / 8) == 0) == valid);
	}
	json_decref(j);
}

/*
 * Noise's HKDF (§4.3) is RFC 5869 with its chaining key as salt and an empty info. HMAC pads a key
 * with zeros, so a salt of up to 32 bytes is the same as a chaining key with zeros at the end.
 */
static void hkdf_wycheproof(void **state)
{
	json_t *j = vectors_load("wycheproof_hkdf_sha256.json"), *g, *v;
	struct octets ikm, salt, info, okm;
	size_t gi, vi, used = 0;

	wycheproof_each(j, gi, g, vi, v)
	{
		size_t size = json_integer_value(json_object_get(v, "size"));
		uint8_t ck[32] = {0}, out[96];

		vector_hex(&ikm, v, "ikm");
		vector_hex(&salt, v, "salt");
		vector_hex(&info, v, "info");
		vector_hex(&okm, v, "okm");
		if (info.len || salt.len > 32 || size > sizeof(out))
			continue;
		used++;
		memcpy(ck, salt.b, salt.len);
		mvpn_hkdf(ck, ikm.b, ikm.len, (size + 31) / 32, out, out + 32, out + 64);
		vector_check(v, memcmp(out, okm.b, size) == 0);
	}
	assert_true(used >= 20);
	json_decref(j);
}

static void hkdf_output_may_replace_ck(void **state)
{
	uint8_t ck[32], a[32], b[32], c[32], d[32];

	count_up(ck, 1, 32);
	mvpn_hkdf(ck, (const uint8_t *)"ikm", 3, 3, a, b, c);
	mvpn_hkdf(ck, (const uint8_t *)"ikm", 3, 2, ck, d, NULL);
	assert_memory_equal(ck, a, 32);
	assert_memory_equal(d, b, 32); /* a third output changes nothing before it */
}

static void hashes(void **state)
{
	struct mvpn_part abc[] = {{"a", 1}, {"bc", 2}};
	uint8_t out[64], key[65];

	/* FIPS 180-4 and RFC 7693 appendix A, "abc" */
	mvpn_sha256(out, abc, 2);
	assert_hex(out, 32, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	assert_int_equal(mvpn_blake2b(out, 64, NULL, 0, abc, 2), 0);
	assert_hex(out, 64,
		   "ba80a53f981c4d0d6a2797b69f12f6e94c212f14685ac4b74b12bb6fdbffa2d1"
		   "7d87c5392aab792dc252d5de4533cc9518d38aa8dbf1925ab92386edd4009923");
	assert_int_equal(mvpn_blake2b(out, 4, NULL, 0, abc, 2), 0);
	assert_hex(out, 4, "63906248");
	count_up(key, 0, sizeof(key));
	assert_int_equal(mvpn_blake2b(out, 32, key, 16,
				      (struct mvpn_part[]){{"part one, ", 10}, {"part two", 8}}, 2),
			 0);
	assert_hex(out, 32, "d7be00df0ecb25af5fe6921ae999c7c4b3e075d749eddf9287a6a0b38e5f74f5");
	assert_int_equal(mvpn_blake2b(out, 0, NULL, 0, abc, 2), -EINVAL);
	assert_int_equal(mvpn_blake2b(out, 65, NULL, 0, abc, 2), -EINVAL);
	assert_int_equal(mvpn_blake2b(out, 32, key, 65, abc, 2), -EINVAL);
}

static void base32_rfc4648(void **state)
{
	static const char *const pairs[][2] = {
		{"", ""},
		{"f", "MY"},
		{"fo", "MZXQ"},
		{"foo", "MZXW6"},
		{"foob", "MZXW6YQ"},
		{"fooba", "MZXW6YTB"},
		{"foobar", "MZXW6YTBOI"},
	};
	char text[17];
	uint8_t out[8];

	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		int len = strlen(pairs[i][0]), n = strlen(pairs[i][1]);

		assert_int_equal(mvpn_base32_encode(text, n + 1, pairs[i][0], len), n);
		assert_string_equal(text, pairs[i][1]);
		assert_int_equal(mvpn_base32_encode(text, n, pairs[i][0], len), -EINVAL);
		assert_int_equal(mvpn_base32_decode(out, sizeof(out), text), len);
		assert_memory_equal(out, pairs[i][0], len);
		if (len)
			assert_int_equal(mvpn_base32_decode(out, len - 1, text), -EINVAL);
	}
	assert_int_equal(mvpn_base32_decode(out, sizeof(out), "mzXw6ytb"), 5);
	assert_memory_equal(out, "fooba", 5);
}

static void base32_refuses(void **state)
{
	static const char *const bad[] = {
		"M",	     /* half a byte */
		"MZXW6YTBO", /* one digit too many or few */
		"MZXW6Y",    /* six digits are no whole bytes */
		"MZ",	     /* a bit set beyond the last byte */
		"MY======",  "M1", "M8", "M Y", "M-",
	};
	uint8_t out[16];

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(mvpn_base32_decode(out, sizeof(out), bad[i]), -EINVAL);
}

static void hex_both_ways(void **state)
{
	uint8_t out[3];
	char text[7];

	mvpn_hex(text, "\x01\xab\xff", 3);
	assert_string_equal(text, "01abff");
	assert_int_equal(mvpn_unhex(out, 3, "01aBFf"), 0);
	assert_memory_equal(out, "\x01\xab\xff", 3);
	assert_int_equal(mvpn_unhex(out, 3, "01abf"), -EINVAL);
	assert_int_equal(mvpn_unhex(out, 3, "01abff0"), -EINVAL);
	assert_int_equal(mvpn_unhex(out, 3, "01abfg"), -EINVAL);
	assert_int_equal(mvpn_unhex(out, 3, "01:bff"), -EINVAL);
}

static void fingerprint_golden(void **state)
{
	char text[MVPN_FINGERPRINT_LEN];
	uint8_t pk[32];

	count_up(pk, 0, sizeof(pk));
	mvpn_fingerprint(text, pk);
	assert_string_equal(text, "WGYT-HOM7-KFXG-ZAWO-3KES-55NP-KD5E-WTTR");
}

static void secret_cells(void **state)
{
	static void *cells[2000];
	size_t before = secmem_in_use();

	for (size_t i = 0; i < 2000; i++) {
		cells[i] = secmem_alloc();
		assert_non_null(cells[i]);
		assert_int_equal((uintptr_t)cells[i] % 64, 0);
		assert_true(sodium_is_zero(cells[i], SECMEM_CELL_B));
		memset(cells[i], i, SECMEM_CELL_B);
	}
	assert_int_equal(secmem_in_use(), before + 2000);
	for (size_t i = 0; i < 2000; i++) {
		assert_int_equal(((uint8_t *)cells[i])[SECMEM_CELL_B - 1], i & 0xff);
		secmem_free(cells[i]);
	}
	secmem_free(NULL);
	assert_int_equal(secmem_in_use(), before);
	cells[0] = secmem_alloc(); /* used before: must have been wiped */
	assert_true(sodium_is_zero(cells[0], SECMEM_CELL_B));
	secmem_free(cells[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(x25519_wycheproof),
		cmocka_unit_test(x25519_keypair_agrees),
		cmocka_unit_test(chapoly_wycheproof),
		cmocka_unit_test(box_wycheproof),
		cmocka_unit_test(box_roundtrip),
		cmocka_unit_test(hmac_wycheproof),
		cmocka_unit_test(hkdf_wycheproof),
		cmocka_unit_test(hkdf_output_may_replace_ck),
		cmocka_unit_test(hashes),
		cmocka_unit_test(base32_rfc4648),
		cmocka_unit_test(base32_refuses),
		cmocka_unit_test(hex_both_ways),
		cmocka_unit_test(fingerprint_golden),
		cmocka_unit_test(secret_cells),
	};

	if (mvpn_crypto_init() < 0)
		return 1;
	return MVPN_RUN(tests);
}
