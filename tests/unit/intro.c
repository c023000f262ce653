/* SPDX-License-Identifier: BSD-2-Clause */
/* Both ends of an introduction; the keys' golden values are intro_keys.c. */
#include "test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include <sodium.h>

#include "crypto.h"
#include "intro_impl.h"

/* what A, the server and B know and say; a test spoils one thing and lets it run */
struct scene {
	uint8_t a_s[32], a_pk[32], b_s[32], b_pk[32], psk[32];
	uint8_t session_id[16], a_id[16], b_id[16], selectors[36];
	struct mvpn_endpoint a_cand[MVPN_CANDIDATES_MAX], b_cand[MVPN_CANDIDATES_MAX];
	struct intro_self a_self, b_self;
	struct intro_pair a_pair, b_pair; /* as each end was told */
	struct mvpn_req tmpl;

	struct intro_a *a;
	uint8_t req[INTRO_REQ_MAX_B], msg1[INTRO_MSG1_B], msg2[INTRO_MSG2_MAX_B];
	size_t req_len, msg2_len;
	struct intro_keys a_keys, b_keys;
};

static void scene_init(struct scene *s)
{
	memset(s, 0, sizeof(*s));
	mvpn_keypair(s->a_s, s->a_pk);
	mvpn_keypair(s->b_s, s->b_pk);
	randombytes_buf(s->psk, 32);
	randombytes_buf(s->session_id, 16);
	memset(s->a_id, 0xaa, 16);
	memset(s->b_id, 0xbb, 16);
	s->selectors[0] = s->selectors[1] = 1;
	s->selectors[2] = s->selectors[19] = 128;
	s->selectors[18] = 1;
	s->selectors[35] = 2;
	for (unsigned i = 0; i < MVPN_CANDIDATES_MAX; i++) {
		s->a_cand[i].addr.b[15] = i + 1;
		s->a_cand[i].port = 1000 + i;
		s->b_cand[i].addr.b[15] = i + 101;
		s->b_cand[i].port = 2000 + i;
	}
	s->a_self = (struct intro_self){.s = s->a_s,
					.spi = 0x00010002,
					.lanes = 2,
					.suites = 3,
					.udpport = 7469,
					.boot_gen = 0x1111,
					.ncand = 2,
					.cand = s->a_cand};
	s->b_self = (struct intro_self){.s = s->b_s,
					.spi = 0x00030004,
					.lanes = 16,
					.suites = 3,
					.udpport = 7470,
					.boot_gen = 0x2222,
					.ncand = 1,
					.cand = s->b_cand};
	s->a_pair = s->b_pair = (struct intro_pair){
		.session_id = s->session_id,
		.a_id = s->a_id,
		.b_id = s->b_id,
		.a_pk = s->a_pk,
		.b_pk = s->b_pk,
		.psk = s->psk,
		.selectors = s->selectors,
		.selectors_len = sizeof(s->selectors),
	};
	s->tmpl =
		(struct mvpn_req){.layer = MVPN_LAYER_NETWORK, .proto = 6, .dport_be = htons(443)};
	memcpy(s->tmpl.a_id, s->a_id, 16);
	memset(s->tmpl.dst, 0xff, 16);
}

static int start(struct scene *s)
{
	return intro_a_start(&s->a, &s->tmpl, &s->a_self, s->req, &s->req_len, s->msg1);
}

static int accept_it(struct scene *s)
{
	return intro_b_accept(s->req, s->req_len, s->msg1, sizeof(s->msg1), &s->b_pair, &s->b_self,
			      s->msg2, &s->msg2_len, &s->b_keys);
}

static int finish(struct scene *s)
{
	return intro_a_finish(s->a, &s->a_pair, s->msg2, s->msg2_len, &s->a_keys);
}

static void scene_up_to_accept(struct scene *s)
{
	scene_init(s);
	assert_int_equal(start(s), 0);
	assert_int_equal(accept_it(s), 0);
}

static void scene_free(struct scene *s)
{
	intro_a_free(s->a);
	s->a = NULL;
}

static void both_ends_agree(void **state)
{
	struct scene s;

	scene_up_to_accept(&s);
	assert_int_equal(finish(&s), 0);
	assert_memory_equal(s.a_keys.tx, s.b_keys.rx, 32);
	assert_memory_equal(s.a_keys.rx, s.b_keys.tx, 32);
	assert_memory_not_equal(s.a_keys.tx, s.a_keys.rx, 32);
	assert_int_equal(s.a_keys.suite, s.b_keys.suite);

	assert_int_equal(s.a_keys.peer_spi, 0x00030004);
	assert_int_equal(s.a_keys.tx_lanes, 2);
	assert_int_equal(s.a_keys.rx_lanes, 16);
	assert_int_equal(s.a_keys.peer_udpport, 7470);
	assert_int_equal(s.a_keys.peer_boot_gen, 0x2222);
	assert_int_equal(s.a_keys.ncand, 1);
	assert_int_equal(s.a_keys.cand[0].port, 2000);

	assert_int_equal(s.b_keys.peer_spi, 0x00010002);
	assert_int_equal(s.b_keys.tx_lanes, 16);
	assert_int_equal(s.b_keys.rx_lanes, 2);
	assert_int_equal(s.b_keys.peer_udpport, 7469);
	assert_int_equal(s.b_keys.peer_boot_gen, 0x1111);
	assert_int_equal(s.b_keys.ncand, 2);
	assert_memory_equal(s.b_keys.cand[1].addr.b, s.a_cand[1].addr.b, 16);
	assert_int_equal(s.b_keys.cand[1].port, 1001);
	scene_free(&s);
}

/* the static secrets of both ends are on tokens */
static void keys_on_tokens(void **state)
{
	uint8_t dh[32];
	struct scene s;

	scene_init(&s);
	s.a_self.s = s.b_self.s = NULL;
	s.a_self.s_pub = s.a_pk;
	s.b_self.s_pub = s.b_pk;
	assert_int_equal(start(&s), 0);
	assert_int_equal(accept_it(&s), -ENOKEY);
	assert_int_equal(mvpn_x25519(dh, s.b_s, s.msg1), 0);
	s.b_self.dh = dh;
	assert_int_equal(accept_it(&s), 0);
	assert_int_equal(mvpn_x25519(dh, s.a_s, s.msg2), 0);
	intro_a_set_dh(s.a, s.msg2, dh);
	assert_int_equal(finish(&s), 0);
	assert_memory_equal(s.a_keys.tx, s.b_keys.rx, 32);
	assert_memory_equal(s.a_keys.rx, s.b_keys.tx, 32);
	scene_free(&s);

	scene_init(&s);
	s.a_self.s = NULL;
	s.a_self.s_pub = s.a_pk;
	assert_int_equal(start(&s), 0);
	assert_int_equal(accept_it(&s), 0);
	assert_int_equal(finish(&s), -ENOKEY);
	scene_free(&s);
}

/* who says its public key is taken at its word, which saves a multiplication: a wrong one fits no pair */
static void a_public_key_that_is_given_is_not_computed(void **state)
{
	struct scene s;

	scene_init(&s);
	s.a_self.s_pub = s.a_pk;
	s.b_self.s_pub = s.b_pk;
	assert_int_equal(start(&s), 0);
	assert_int_equal(accept_it(&s), 0);
	assert_int_equal(finish(&s), 0);
	assert_memory_equal(s.a_keys.tx, s.b_keys.rx, 32);
	assert_memory_equal(s.a_keys.rx, s.b_keys.tx, 32);
	scene_free(&s);

	scene_init(&s);
	s.b_self.s_pub = s.a_pk;
	assert_int_equal(start(&s), 0);
	assert_int_equal(accept_it(&s), -EBADMSG);
	scene_free(&s);

	scene_init(&s);
	s.a_self.s_pub = s.b_pk;
	assert_int_equal(start(&s), 0);
	assert_int_equal(accept_it(&s), -EBADMSG);
	scene_free(&s);
}

static void each_session_has_its_own_keys(void **state)
{
	struct scene s;
	uint8_t tx[32];

	scene_up_to_accept(&s);
	assert_int_equal(finish(&s), 0);
	memcpy(tx, s.a_keys.tx, 32);
	scene_free(&s);
	/* the same REQ and msg1 offered again give B fresh keys: its ephemeral is new */
	assert_int_equal(accept_it(&s), 0);
	assert_memory_not_equal(tx, s.b_keys.rx, 32);
}

static void most_candidates_fit(void **state)
{
	struct scene s;

	scene_init(&s);
	s.a_self.ncand = s.b_self.ncand = MVPN_CANDIDATES_MAX;
	s.b_cand[3].port = 0; /* nothing can be sent there: left out */
	assert_int_equal(start(&s), 0);
	assert_int_equal(s.req_len, INTRO_REQ_MAX_B);
	assert_int_equal(accept_it(&s), 0);
	assert_int_equal(finish(&s), 0);
	assert_int_equal(s.b_keys.ncand, MVPN_CANDIDATES_MAX);
	assert_int_equal(s.a_keys.ncand, MVPN_CANDIDATES_MAX - 1);
	assert_int_equal(s.a_keys.cand[3].port, 2004);
	scene_free(&s);
}

static void suite_choice(void **state)
{
	bool aes = aead_suites() & 1U << (MVPN_AES256_GCM - 1);
	static const struct {
		uint8_t a, b;
		int suite; /* or error */
	} tries[] = {
		{3, 3, MVPN_AES256_GCM},	{1, 3, MVPN_CHACHA20_POLY1305},
		{3, 1, MVPN_CHACHA20_POLY1305}, {2, 3, MVPN_AES256_GCM},
		{1, 2, -EPROTONOSUPPORT},	{2, 1, -EPROTONOSUPPORT},
		{3, 4, -EPROTONOSUPPORT},	{3, 0, -EPROTONOSUPPORT},
	};

	if (!aes) {
		print_message("# skipped: this CPU or build has no AES-256-GCM to choose\n");
		skip();
	}
	for (size_t i = 0; i < sizeof(tries) / sizeof(tries[0]); i++) {
		struct scene s;

		scene_init(&s);
		s.a_self.suites = tries[i].a;
		s.b_self.suites = tries[i].b;
		assert_int_equal(start(&s), 0);
		assert_int_equal(accept_it(&s), tries[i].suite < 0 ? tries[i].suite : 0);
		if (tries[i].suite > 0) {
			assert_int_equal(finish(&s), 0);
			assert_int_equal(s.a_keys.suite, tries[i].suite);
			assert_int_equal(s.b_keys.suite, tries[i].suite);
		}
		scene_free(&s);
	}
}

/* ---- the modes in which the server has the key ---- */

static void central_keys_come_from_k_alone(void **state)
{
	static const uint8_t no_hash[32];
	uint8_t k[32], ctx[32], ab[32], ba[32];
	struct scene s;

	for (unsigned mode = MVPN_MODE_CENTRAL60; mode < MVPN_MODES; mode++) {
		scene_init(&s);
		randombytes_buf(k, sizeof(k));
		s.tmpl.mode = (uint8_t)mode;
		s.a_pair.central = s.b_pair.central = k;
		assert_int_equal(start(&s), 0);
		assert_int_equal(accept_it(&s), 0);
		assert_int_equal(finish(&s), 0);
		assert_memory_equal(s.a_keys.tx, s.b_keys.rx, 32);
		assert_memory_equal(s.a_keys.rx, s.b_keys.tx, 32);
		/* what whoever has K and saw REQ can do, without a private key */
		intro_central_ctx(ctx, &s.a_pair, s.req, s.req_len);
		intro_directions(ab, ba, k, k, no_hash, ctx);
		assert_memory_equal(ab, s.a_keys.tx, 32);
		assert_memory_equal(ba, s.a_keys.rx, 32);
		assert_memory_not_equal(ab, ba, 32);
		scene_free(&s);
	}
}

static void central_needs_the_same_k_and_both_ends_word(void **state)
{
	uint8_t k[32] = {1}, other[32] = {2};
	struct scene s;

	/* a server that told them different keys: both take them, and nothing opens */
	scene_init(&s);
	s.tmpl.mode = MVPN_MODE_CENTRAL60;
	s.a_pair.central = k;
	s.b_pair.central = other;
	assert_int_equal(start(&s), 0);
	assert_int_equal(accept_it(&s), 0);
	assert_int_equal(finish(&s), 0);
	assert_memory_not_equal(s.a_keys.tx, s.b_keys.rx, 32);
	scene_free(&s);

	/* no K for a central mode, K for the other */
	for (unsigned mode = 0; mode < MVPN_MODES; mode++) {
		scene_init(&s);
		s.tmpl.mode = (uint8_t)mode;
		s.b_pair.central = mode ? NULL : k;
		assert_int_equal(start(&s), 0);
		assert_int_equal(accept_it(&s), -EBADMSG);
		s.b_pair.central = mode ? k : NULL;
		assert_int_equal(accept_it(&s), 0);
		s.a_pair.central = mode ? NULL : k;
		assert_int_equal(finish(&s), -EBADMSG);
		scene_free(&s);
	}
}

/* ---- a REQ that is not one ---- */

static void req_check(void **state)
{
	static const struct {
		size_t at;
		uint8_t value;
		int r;
	} tries[] = {
		{0, 0, -EINVAL},    {0, 2, -EINVAL},			 /* ver */
		{1, 2, 0},	    {1, 3, -EINVAL},			 /* mode */
		{2, 0, -EINVAL},    {2, 1, 0},	      {2, 4, -EINVAL},	 /* layer */
		{3, 1, -EINVAL},					 /* flags: none is known */
		{68, 0, -EINVAL},   {68, 16, 0},      {68, 17, -EINVAL}, /* lanes */
		{96, 1, -EINVAL},   {96, 3, -EINVAL}, {96, 9, -EINVAL},
		{96, 255, -EINVAL},		      /* ncand */
		{97, 1, -EINVAL},   {99, 1, -EINVAL}, /* zero */
	};
	struct scene s;

	scene_init(&s);
	assert_int_equal(start(&s), 0);
	assert_int_equal(s.req_len, 140);
	assert_int_equal(intro_req_check(s.req, s.req_len), 0);
	for (size_t len = 0; len < s.req_len; len++)
		assert_int_equal(intro_req_check(s.req, len), -EINVAL);
	assert_int_equal(intro_req_check(s.req, s.req_len + 1), -EINVAL);
	for (size_t i = 0; i < sizeof(tries) / sizeof(tries[0]); i++) {
		uint8_t was = s.req[tries[i].at];

		s.req[tries[i].at] = tries[i].value;
		assert_int_equal(intro_req_check(s.req, s.req_len), tries[i].r);
		s.req[tries[i].at] = was;
	}
	scene_free(&s);
}

static void a_refuses_nonsense_of_its_own(void **state)
{
	struct scene s;

	for (int i = 0; i < 6; i++) {
		scene_init(&s);
		if (i == 0)
			s.a_self.spi = 0;
		else if (i == 1)
			s.a_self.lanes = 0;
		else if (i == 2)
			s.a_self.lanes = 17;
		else if (i == 3)
			s.a_self.suites = 0;
		else if (i == 4)
			s.a_self.ncand = MVPN_CANDIDATES_MAX + 1;
		else
			s.tmpl.layer = 0;
		assert_int_equal(start(&s), -EINVAL);
		assert_null(s.a);
	}
	intro_a_free(NULL);
}

/* the whole REQ is the handshake's prologue: nobody on the way can change what A offers */
static void every_bit_of_req_and_msg1(void **state)
{
	struct scene s;

	scene_init(&s);
	assert_int_equal(start(&s), 0);
	for (size_t bit = 0; bit < 8 * (s.req_len + sizeof(s.msg1)); bit++) {
		uint8_t *p = bit / 8 < s.req_len ? &s.req[bit / 8] : &s.msg1[bit / 8 - s.req_len];
		int r;

		*p ^= 1 << bit % 8;
		r = accept_it(&s);
		/*
		 * msg1's MAC knows REQ; a changed mode or suite may be refused before it is looked
		 * at
		 */
		assert_true(r == -EBADMSG || r == -EPROTONOSUPPORT);
		*p ^= 1 << bit % 8;
	}
	assert_int_equal(accept_it(&s), 0);
	scene_free(&s);
}

static void every_byte_of_msg2(void **state)
{
	struct scene s;
	size_t len = 1;

	for (size_t i = 0; i < 2 * len; i++) {
		struct intro_keys before;

		scene_up_to_accept(&s);
		len = s.msg2_len;
		if (i < len)
			s.msg2[i] ^= 1 << i % 8;
		else
			s.msg2_len = i - len; /* cut */
		before = s.a_keys;
		assert_int_equal(finish(&s), -EBADMSG);
		assert_memory_equal(&before, &s.a_keys, sizeof(before));
		scene_free(&s);
	}
}

/* ---- misbinding: the ends were told different things ---- */

static void spoil_and_finish(struct scene *s, int expected)
{
	assert_int_equal(finish(s), expected);
	scene_free(s);
}

static void other_session(void **state)
{
	static const uint8_t other[36] = {1, 1, 128};
	struct scene s;

	scene_up_to_accept(&s);
	s.a_pair.session_id = other;
	spoil_and_finish(&s, -EBADMSG);

	scene_up_to_accept(&s);
	s.a_pair.selectors = other;
	spoil_and_finish(&s, -EBADMSG);

	scene_up_to_accept(&s);
	s.a_pair.selectors_len -= 17;
	spoil_and_finish(&s, -EBADMSG);
}

static void other_identity_told_to_a(void **state)
{
	uint8_t sk[32], pk[32];
	struct scene s;

	mvpn_keypair(sk, pk);
	scene_up_to_accept(&s);
	s.a_pair.b_pk = pk; /* the server says B is somebody else than who answered */
	spoil_and_finish(&s, -EBADMSG);

	scene_up_to_accept(&s);
	s.a_pair.a_pk = pk;
	spoil_and_finish(&s, -EBADMSG);

	scene_up_to_accept(&s);
	s.a_pair.psk = pk;
	spoil_and_finish(&s, -EBADMSG);

	scene_up_to_accept(&s);
	s.a_pair.b_id = s.a_id;
	spoil_and_finish(&s, -EBADMSG);
}

/*
 * ids are not in the handshake, but in ctx: who was told another B's id has other keys and hears
 * nothing
 */
static void other_id_gives_other_keys(void **state)
{
	static const uint8_t other[16] = {0xcc};
	struct scene s;

	scene_up_to_accept(&s);
	s.a_pair.b_id = other;
	assert_int_equal(finish(&s), 0);
	assert_memory_not_equal(s.a_keys.tx, s.b_keys.rx, 32);
	assert_memory_not_equal(s.a_keys.rx, s.b_keys.tx, 32);
	scene_free(&s);
}

static void other_identity_told_to_b(void **state)
{
	static const uint8_t other[16] = {0xcc};
	uint8_t sk[32], pk[32];
	struct scene s;

	mvpn_keypair(sk, pk);
	for (int i = 0; i < 6; i++) {
		scene_init(&s);
		if (i == 0)
			s.b_pair.a_pk = pk; /* A's key is another: es, se fail */
		else if (i == 1)
			s.b_pair.a_id = other; /* not REQ's */
		else if (i == 2)
			s.b_pair.b_id = s.a_id; /* itself */
		else if (i == 3)
			s.b_pair.b_pk = pk; /* not B at all */
		else if (i == 4)
			s.b_pair.a_pk = s.b_pk; /* with itself */
		else
			s.b_self.s = sk; /* B's key is not what the server named */
		assert_int_equal(start(&s), 0);
		assert_int_equal(accept_it(&s), -EBADMSG);
		scene_free(&s);
	}
}

/* an impostor B, who has the PSK but not B's key, sends a message 2 of its own */
static void impostor_b(void **state)
{
	uint8_t sk[32], pk[32];
	struct scene s;

	scene_init(&s);
	mvpn_keypair(sk, pk);
	assert_int_equal(start(&s), 0);
	s.b_self.s = sk;
	s.b_pair.b_pk = pk;
	assert_int_equal(accept_it(&s), 0);
	spoil_and_finish(&s, -EBADMSG);
}

/* an impostor A has another key: A's static is in the hash from the first message on */
static void impostor_a(void **state)
{
	uint8_t sk[32], pk[32];
	struct scene s;

	scene_init(&s);
	mvpn_keypair(sk, pk);
	s.a_self.s = sk;
	assert_int_equal(start(&s), 0);
	assert_int_equal(accept_it(&s), -EBADMSG);
	scene_free(&s);
}

static void answer_of_another_request(void **state)
{
	struct scene s;

	scene_up_to_accept(&s);
	scene_free(&s);
	assert_int_equal(start(&s), 0);
	spoil_and_finish(&s, -EBADMSG);
}

static void failed_answer_is_final(void **state)
{
	struct scene s;

	scene_up_to_accept(&s);
	s.msg2[40] ^= 1;
	assert_int_equal(finish(&s), -EBADMSG);
	s.msg2[40] ^= 1;
	spoil_and_finish(&s, -EBADMSG);
}

/* the mode is A's word: nobody on the way makes it another */
static void a_changed_mode_is_noticed(void **state)
{
	uint8_t k[32] = {1};
	struct scene s;

	scene_init(&s);
	assert_int_equal(start(&s), 0);
	s.req[1] = MVPN_MODE_CENTRAL60;
	s.b_pair.central = k;
	assert_int_equal(accept_it(&s), -EBADMSG);
	scene_free(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_ends_agree),
		cmocka_unit_test(keys_on_tokens),
		cmocka_unit_test(a_public_key_that_is_given_is_not_computed),
		cmocka_unit_test(each_session_has_its_own_keys),
		cmocka_unit_test(most_candidates_fit),
		cmocka_unit_test(suite_choice),
		cmocka_unit_test(central_keys_come_from_k_alone),
		cmocka_unit_test(central_needs_the_same_k_and_both_ends_word),
		cmocka_unit_test(req_check),
		cmocka_unit_test(a_refuses_nonsense_of_its_own),
		cmocka_unit_test(every_bit_of_req_and_msg1),
		cmocka_unit_test(every_byte_of_msg2),
		cmocka_unit_test(other_session),
		cmocka_unit_test(other_identity_told_to_a),
		cmocka_unit_test(other_id_gives_other_keys),
		cmocka_unit_test(other_identity_told_to_b),
		cmocka_unit_test(impostor_b),
		cmocka_unit_test(impostor_a),
		cmocka_unit_test(answer_of_another_request),
		cmocka_unit_test(failed_answer_is_final),
		cmocka_unit_test(a_changed_mode_is_noticed),
	};

	if (aead_init() < 0)
		return 1;
	return MVPN_RUN(tests);
}
