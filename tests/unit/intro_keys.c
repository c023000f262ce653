/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Key derivation against golden values. They were computed once by an independent model in Python:
 * hashlib.blake2b (with key=, and salt= and person= for crypto_kdf) and the AEADs of the
 * `cryptography` package, with these inputs, where "n…" is a run of bytes counting up from n:
 * session 10…, A 20…, B 30…, s_A 40…, s_B 60…, selectors 01 01 80 80… 80 90…, REQ 120 bytes 00…,
 * suite 2, SPIs a1b2c3d4 and 0102fffe, k1 a0…, k2 c0…, h e0…; lane 5; counter 0x0102030405060708.
 */
#include "test.h"

#include <errno.h>
#include <string.h>

#include <sodium.h>

#include "crypto.h"
#include "intro_impl.h"

static void count_up(uint8_t *ret, uint8_t from, size_t len)
{
	for (size_t i = 0; i < len; i++)
		ret[i] = from + i;
}

static void assert_hex(const void *data, size_t len, const char *hex)
{
	char text[129];

	mvpn_hex(text, data, len);
	assert_string_equal(text, hex);
}

struct fixed {
	uint8_t session_id[16], a_id[16], b_id[16], a_pk[32], b_pk[32], selectors[36], req[120];
	struct intro_pair pair;
	struct intro_bound bound;
};

static void fixed_init(struct fixed *f)
{
	count_up(f->session_id, 0x10, 16);
	count_up(f->a_id, 0x20, 16);
	count_up(f->b_id, 0x30, 16);
	count_up(f->a_pk, 0x40, 32);
	count_up(f->b_pk, 0x60, 32);
	memset(f->selectors, 1, 2);
	f->selectors[2] = f->selectors[19] = 128;
	count_up(f->selectors + 3, 0x80, 16);
	count_up(f->selectors + 20, 0x90, 16);
	count_up(f->req, 0, 120);
	f->pair = (struct intro_pair){.session_id = f->session_id,
				      .a_id = f->a_id,
				      .b_id = f->b_id,
				      .a_pk = f->a_pk,
				      .b_pk = f->b_pk,
				      .selectors = f->selectors,
				      .selectors_len = sizeof(f->selectors)};
	f->bound =
		(struct intro_bound){&f->pair, f->req, sizeof(f->req), 2, 0xa1b2c3d4, 0x0102fffe};
}

#define GOLDEN_CTX "e4d72b5c1df8f827bd43a58fe3e1a217b460abe14a9e3b0739dcef1ec422d8bf"
#define GOLDEN_AB "7b6fa32b84140517bb017fd2188ed6b5b5b5ef906a980d5a64002e77f808806e"
#define GOLDEN_BA "54838ec91275cefedfd41fe57f7e7a6a97e2892ab1539b45fdaf8cc78616924b"

static void ctx_and_directions_golden(void **state)
{
	uint8_t ctx[32], k1[32], k2[32], h[32], ab[32], ba[32];
	struct fixed f;

	fixed_init(&f);
	intro_ctx(ctx, &f.bound);
	assert_hex(ctx, 32, GOLDEN_CTX);
	count_up(k1, 0xa0, 32);
	count_up(k2, 0xc0, 32);
	count_up(h, 0xe0, 32);
	intro_directions(ab, ba, k1, k2, h, ctx);
	assert_hex(ab, 32, GOLDEN_AB);
	assert_hex(ba, 32, GOLDEN_BA);
}

/* each thing that ctx binds changes it */
static void ctx_binds_everything(void **state)
{
	uint8_t golden[32], ctx[32];
	struct fixed f;

	fixed_init(&f);
	intro_ctx(golden, &f.bound);
	for (size_t i = 0; i < offsetof(struct fixed, req) + sizeof(f.req); i++) {
		((uint8_t *)&f)[i] ^= 1;
		intro_ctx(ctx, &f.bound);
		assert_memory_not_equal(ctx, golden, 32);
		((uint8_t *)&f)[i] ^= 1;
	}
	for (int i = 0; i < 3; i++) {
		fixed_init(&f);
		f.bound.suite ^= i == 0;
		f.bound.spi_a ^= i == 1;
		f.bound.spi_b ^= i == 2;
		intro_ctx(ctx, &f.bound);
		assert_memory_not_equal(ctx, golden, 32);
	}
}

/* a byte that moves from the selectors' end to REQ's start: only the length prefixes show it */
static void ctx_has_no_ambiguity(void **state)
{
	uint8_t one[32], two[32];
	struct fixed f;

	_Static_assert(offsetof(struct fixed, req) ==
			       offsetof(struct fixed, selectors) + sizeof(f.selectors),
		       "side by side");
	fixed_init(&f);
	f.req[1] = f.req[2]; /* the layer stays the same */
	intro_ctx(one, &f.bound);
	f.pair.selectors_len--;
	f.bound.req--;
	f.bound.req_len++;
	intro_ctx(two, &f.bound);
	assert_memory_not_equal(one, two, 32);
}

static void lane_chain_golden(void **state)
{
	static const struct {
		const char *l, *key, *iv, *chapoly, *gcm;
	} gen[] = {
		{"2968826353364ab9c1d7c9f3f530948e35f4c74cd41236e7501a1d2b4530c30d",
		 "61ed0de43c068c3ad4c99cba3a1b4bbc3f69a5bb47e753f7bf841c06fd718ccd",
		 "0722df05e0edd96fa632a45e",
		 "6238c41bfe3c57104515cc7acb923191dabfc1e084b9e681b5a1417d",
		 "27bce4cbaf6729b8ee70f514f77478dbb22d02782cb1657f9982d14a"},
		{"3fa261caa9b30a31248e0e3cef295018291c5c1d00206a6e9376b485533f698e",
		 "4e48d2f2d24a67dbb31f524b1455de2fff474417d3f61a238e0ac48ffd2fc87f",
		 "8b65440d7643645eac1100b1",
		 "80e7da1b52a11b8cc93c1e12a38a6eadbf40ae30374541a1cd3973b4",
		 "4dafe412bd70f791d01a7b92344f73b1d5c8e9af65da06b79d59cf1c"},
		{"9376679306a14efc137a1187d89c792901b381690c45a18434631f89046ec8d6",
		 "91a54757972dce24d5eb65cc6db5dda00153e58a3ccbd8fabec89f0469277e42",
		 "beecac246d3b6f8326265799",
		 "4ada430d418e11179efb20c38d3647a9e2ae08beb52b5fee158ee32f",
		 "0686c4218ec8e2b7da6167300ee7373eb75e9e019b015f8c93461e8c"},
	};
	uint8_t k[32], l[32], aad[16], ct[28], pt[12];
	struct aead a;

	assert_int_equal(mvpn_unhex(k, 32, GOLDEN_AB), 0);
	count_up(aad, 0x41, 16);
	intro_lane_first(l, k, 5);
	for (size_t g = 0; g < 3; g++) {
		assert_hex(l, 32, gen[g].l);
		assert_int_equal(intro_lane_aead(&a, MVPN_CHACHA20_POLY1305, l), 0);
		assert_hex(a.state, 32, gen[g].key);
		assert_hex(a.iv, 12, gen[g].iv);
		aead_seal(&a, 0x0102030405060708, aad, (const uint8_t *)"inner packet", 12, ct);
		assert_hex(ct, 28, gen[g].chapoly);
		if (intro_lane_aead(&a, MVPN_AES256_GCM, l) == 0) {
			aead_seal(&a, 0x0102030405060708, aad, (const uint8_t *)"inner packet", 12,
				  ct);
			assert_hex(ct, 28, gen[g].gcm);
			assert_true(aead_open(&a, 0x0102030405060708, aad, ct, 28, pt));
			assert_memory_equal(pt, "inner packet", 12);
		}
		intro_lane_next(l);
	}
	assert_hex(l, 32, "9f8f110fc0388eff83af770c6a81cb09ca9d886c9e2687aa33e6e2b57bf4fbe1");
}

static void lanes_and_generations_differ(void **state)
{
	uint8_t k[32], seen[16 * 4][32];
	size_t n = 0;

	randombytes_buf(k, sizeof(k));
	for (unsigned lane = 0; lane < 16; lane++) {
		uint8_t l[32];

		intro_lane_first(l, k, lane);
		for (unsigned gen = 0; gen < 4; gen++) {
			memcpy(seen[n++], l, 32);
			intro_lane_next(l);
		}
	}
	for (size_t i = 0; i < n; i++) {
		for (size_t j = 0; j < i; j++)
			assert_memory_not_equal(seen[i], seen[j], 32);
	}
}

static void unknown_suite_seals_nothing(void **state)
{
	uint8_t l[32] = {1}, ct[17];
	struct aead a;

	assert_int_equal(intro_lane_aead(&a, MVPN_CHACHA20_POLY1305, l), 0);
	assert_int_equal(intro_lane_aead(&a, 7, l), -ENOTSUP);
	aead_seal(&a, 0, "sixteen bytes ad", (const uint8_t *)"x", 1, ct);
	assert_true(sodium_is_zero(ct, sizeof(ct)));
}

/* ---- selectors ---- */

static void selectors_both_ways(void **state)
{
	static struct intro_selectors s, back;
	static uint8_t bytes[2 + 17 * 2 * MVPN_SELECTORS_MAX];
	int len;

	for (unsigned n = 0; n <= MVPN_SELECTORS_MAX; n++) {
		memset(&s, 0, sizeof(s));
		s.na = n;
		s.nb = MVPN_SELECTORS_MAX - n;
		for (unsigned i = 0; i < s.na; i++) {
			s.a[i].len = 128;
			s.a[i].addr.b[15] = i;
		}
		for (unsigned i = 0; i < s.nb; i++) {
			s.b[i].len = 8;
			s.b[i].addr.b[0] = i;
		}
		len = intro_selectors_encode(&s, bytes, sizeof(bytes));
		assert_int_equal(len, 2 + 17 * MVPN_SELECTORS_MAX);
		assert_int_equal(intro_selectors_decode(&back, bytes, len), 0);
		assert_memory_equal(&back, &s, sizeof(s));
		assert_int_equal(intro_selectors_encode(&s, bytes, len - 1), -ENOBUFS);
	}
	s.na = MVPN_SELECTORS_MAX + 1;
	assert_int_equal(intro_selectors_encode(&s, bytes, sizeof(bytes)), -EINVAL);
}

static void selectors_refused(void **state)
{
	uint8_t bytes[2 + 17 * 2] = {1, 1, 120, [13] = 10, [14] = 9, [19] = 128};
	struct intro_selectors s;

	assert_int_equal(intro_selectors_decode(&s, bytes, sizeof(bytes)), 0);
	for (size_t len = 0; len < sizeof(bytes); len++)
		assert_int_equal(intro_selectors_decode(&s, bytes, len), -EINVAL);
	bytes[1] = 2; /* says more than there is */
	assert_int_equal(intro_selectors_decode(&s, bytes, sizeof(bytes)), -EINVAL);
	bytes[1] = 1;
	bytes[2] = 129; /* prefix length */
	assert_int_equal(intro_selectors_decode(&s, bytes, sizeof(bytes)), -EINVAL);
	bytes[2] = 120;
	bytes[18] = 1; /* a host bit */
	assert_int_equal(intro_selectors_decode(&s, bytes, sizeof(bytes)), -EINVAL);
	assert_int_equal(intro_selectors_decode(&s, (const uint8_t[2]){0, 0}, 2), 0);
	assert_int_equal(
		intro_selectors_decode(&s, (const uint8_t[2 + 65 * 17]){65, 0}, 2 + 65 * 17),
		-EINVAL);
}

static void services_both_ways(void **state)
{
	/* tcp 22-23 at A; icmp, udp 53 at B */
	static const uint8_t golden[] = {0, 0, 1, 2, 6, 0, 22, 0, 23, 1, 0, 0, 255, 255, 17, 0, 53, 0, 53};
	static struct intro_selectors s, back;
	static uint8_t bytes[MVPN_SELECTORS_MAX_B], again[MVPN_SELECTORS_MAX_B];
	int len;

	assert_int_equal(intro_selectors_decode(&s, golden, sizeof(golden)), 0);
	assert_true(s.limited);
	assert_true(mvpn_services_have(s.serv_a, s.nserv_a, 6, 23));
	assert_true(mvpn_services_have(s.serv_b, s.nserv_b, 17, 53));
	assert_int_equal(intro_selectors_encode(&s, bytes, sizeof(bytes)), sizeof(golden));
	assert_memory_equal(bytes, golden, sizeof(golden));
	/* the most that there can be */
	memset(&s, 0, sizeof(s));
	mvpn_classes_init(&s.classes);
	s.limited = true;
	s.na = s.nb = MVPN_SELECTORS_MAX;
	for (unsigned i = 0; i < MVPN_SERVICES_MAX; i++) {
		struct mvpn_service one = {6, (uint16_t)(2 * i + 1), (uint16_t)(2 * i + 1)};

		mvpn_services_add(s.serv_a, &s.nserv_a, MVPN_SERVICES_MAX, one);
		mvpn_services_add(s.serv_b, &s.nserv_b, MVPN_SERVICES_MAX, one);
		mvpn_classes_add(&s.classes, &(struct mvpn_class){i % MVPN_CLASSES_MAX, 0, 0}, &one, 1,
				 3);
	}
	len = intro_selectors_encode(&s, bytes, sizeof(bytes));
	assert_int_equal(len, MVPN_SELECTORS_MAX_B);
	assert_int_equal(intro_selectors_decode(&back, bytes, (size_t)len), 0);
	/* not the structures: they have gaps */
	assert_int_equal(intro_selectors_encode(&back, again, sizeof(again)), len);
	assert_memory_equal(again, bytes, (size_t)len);
	s.nserv_a = s.nserv_b = 0;
	assert_int_equal(intro_selectors_encode(&s, bytes, sizeof(bytes)), -EINVAL);
}

static void classes_both_ways(void **state)
{
	/* everything; tcp 22 at B goes by EF, the rest at 64 kbit/s, 32 KiB at once */
	static const uint8_t golden[] = {0, 0, 0, 0, 2, 1, 0, 1, 46,   0, 0, 0,	 0, 0,	0, 0, 0,
					 0x81, 0, 0, 0, 64, 0, 0, 0x80, 0, 6, 0, 22, 0, 22, 0};
	static const uint8_t with_services[] = {0, 0, 1, 0, 6, 0, 22, 0, 22, 1, 0, 0, 0,
						8, 0, 0, 0, 0, 0, 0, 0, 0};
	uint8_t bytes[sizeof(golden)];
	static struct intro_selectors s;

	assert_int_equal(intro_selectors_decode(&s, golden, sizeof(golden)), 0);
	assert_false(s.limited);
	assert_int_equal(s.classes.list[mvpn_classes_find(&s.classes, 1, 6, 22)].dscp, 46);
	assert_int_equal(s.classes.list[s.classes.rest].rate_kbit, 64);
	assert_int_equal(intro_selectors_encode(&s, bytes, sizeof(bytes) - 1), -ENOBUFS);
	assert_int_equal(intro_selectors_encode(&s, bytes, sizeof(bytes)), sizeof(golden));
	assert_memory_equal(bytes, golden, sizeof(golden));
	for (size_t len = 3; len < sizeof(golden); len++)
		assert_int_equal(intro_selectors_decode(&s, golden, len), -EINVAL);
	assert_int_equal(intro_selectors_decode(&s, with_services, sizeof(with_services)), 0);
	assert_true(s.limited);
	assert_int_equal(s.classes.n, 1);
}

static void services_refused(void **state)
{
	uint8_t bytes[] = {0, 0, 1, 1, 6, 0, 22, 0, 23, 6, 0, 80, 0, 80, 0};
	const size_t whole = sizeof(bytes) - 1;
	struct intro_selectors s;

	assert_int_equal(intro_selectors_decode(&s, bytes, whole), 0);
	for (size_t len = 3; len <= sizeof(bytes); len++)
		if (len != whole)
			assert_int_equal(intro_selectors_decode(&s, bytes, len), -EINVAL);
	assert_int_equal(intro_selectors_decode(&s, (const uint8_t[4]){0}, 4), -EINVAL); /* none */
	bytes[2] = 2;
	bytes[3] = 0; /* all at A: sorted */
	assert_int_equal(intro_selectors_decode(&s, bytes, whole), 0);
	bytes[11] = 24; /* adjoins */
	assert_int_equal(intro_selectors_decode(&s, bytes, whole), -EINVAL);
	bytes[11] = 81; /* ends before it begins */
	assert_int_equal(intro_selectors_decode(&s, bytes, whole), -EINVAL);
	bytes[11] = 80;
	bytes[9] = 44; /* IPv6 fragment header */
	assert_int_equal(intro_selectors_decode(&s, bytes, whole), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ctx_and_directions_golden),
		cmocka_unit_test(ctx_binds_everything),
		cmocka_unit_test(ctx_has_no_ambiguity),
		cmocka_unit_test(lane_chain_golden),
		cmocka_unit_test(lanes_and_generations_differ),
		cmocka_unit_test(unknown_suite_seals_nothing),
		cmocka_unit_test(selectors_both_ways),
		cmocka_unit_test(selectors_refused),
		cmocka_unit_test(services_both_ways),
		cmocka_unit_test(classes_both_ways),
		cmocka_unit_test(services_refused),
	};

	if (aead_init() < 0)
		return 1;
	return MVPN_RUN(tests);
}
