/* SPDX-License-Identifier: BSD-2-Clause */
/* A device's key is changed: which keys are good when, over crashes of the server too, and what its peers are told. */
#include "../sim/sim.h"

#include <sodium.h>
#include <string.h>

#include "crypto.h"

struct key {
	uint8_t sk[32], pk[32];
};

static struct key key_new(void)
{
	struct key k;

	mvpn_keypair(k.sk, k.pk);
	return k;
}

static struct key key_of(const struct sim_device *d)
{
	struct key k;

	memcpy(k.sk, d->sk, 32);
	memcpy(k.pk, d->pk, 32);
	return k;
}

static void use(struct sim_device *d, const struct key *k)
{
	memcpy(d->sk, k->sk, 32);
	memcpy(d->pk, k->pk, 32);
}

static void rejoin_with(struct sim_device *d, const struct key *k, const char *address)
{
	use(d, k);
	sim_rejoin(d, address);
}

static void no_login(struct sim_device *d, const struct key *k)
{
	use(d, k);
	sim_login(d);
	sim_expect_eof(d);
}

/* a part with one vouch, whose mac is all `mac`; peer NULL: none */
static void send_part(struct sim_device *d, const struct key *k, const struct sim_device *peer,
		      uint8_t mac, uint8_t flags)
{
	uint8_t vouch[MVPN_TLV_VOUCH_B];
	struct chan_buf b = {0};

	chan_begin(&b, MVPN_MSG_ROTATE, flags, 7);
	chan_put(&b, MVPN_TLV_S_PUB, k->pk, 32);
	if (peer) {
		memcpy(vouch, peer->id, 16);
		memset(vouch + 16, mac, 32);
		chan_put(&b, MVPN_TLV_VOUCH, vouch, sizeof(vouch));
	}
	sim_send(d, &b);
	chan_buf_free(&b);
}

static unsigned answer(struct sim_device *d, const struct key *k)
{
	uint16_t reason = MVPN_R_NONE;
	uint8_t pk[32];

	sim_expect(d, MVPN_MSG_ROTATE);
	assert_int_equal(d->msg.reqid, 7);
	assert_true(chan_get_bytes(&d->msg, MVPN_TLV_S_PUB, pk, 32));
	assert_memory_equal(pk, k->pk, 32);
	chan_get_u16(&d->msg, MVPN_TLV_REASON, &reason);
	return reason;
}

static void announce(struct sim_device *d, const struct key *k, const struct sim_device *peer,
		     uint8_t mac)
{
	send_part(d, k, peer, mac, MVPN_PFX_RESET | MVPN_PFX_COMMIT);
	assert_int_equal(answer(d, k), MVPN_R_NONE);
}

/* the next message is about that key of a's */
static void expect_pin(struct sim_device *b, const struct sim_device *a, const struct key *k,
		       uint8_t mac)
{
	uint8_t pk[32], want[MVPN_TLV_VOUCH_B];
	const uint8_t *vouch;

	sim_expect(b, MVPN_MSG_PIN);
	vouch = chan_tlv_find(&b->msg, MVPN_TLV_VOUCH, NULL);
	assert_non_null(vouch);
	assert_true(chan_get_bytes(&b->msg, MVPN_TLV_S_PUB, pk, 32));
	memcpy(want, a->id, 16);
	memset(want + 16, mac, 32);
	assert_memory_equal(vouch, want, sizeof(want));
	assert_memory_equal(pk, k->pk, 32);
}

static void heard(struct sim_device *b, const struct sim_device *a, const struct key *k)
{
	struct chan_buf m = {0};

	chan_begin(&m, MVPN_MSG_PIN, 0, 0);
	chan_put(&m, MVPN_TLV_DEVICE, a->id, 16);
	chan_put(&m, MVPN_TLV_S_PUB, k->pk, 32);
	sim_send(b, &m);
	chan_buf_free(&m);
}

static void crash(struct sim_net *n)
{
	sim_server_crash(&n->s);
	sim_server_start(&n->s);
}

static json_int_t events(struct sim_server *s, const char *event)
{
	json_t *r = sim_ok(s, "audit", "{s:i}", "limit", 1000), *e;
	json_int_t n = 0;
	size_t i;

	json_array_foreach(json_object_get(r, "events"), i, e)
		n += !strcmp(json_string_value(json_object_get(e, "event")), event);
	json_decref(r);
	return n;
}

/* until the next one has logged in both are good, whenever the server dies; from then on it alone */
static void both_are_good_until_the_next_is_used(void **state)
{
	struct key first, second = key_new();
	struct sim_net n;
	json_t *r;

	sim_net_up(&n);
	first = key_of(&n.a);
	no_login(&n.a, &second);
	rejoin_with(&n.a, &first, A_ADDR);
	/* announced in parts, and the last one is lost: not good yet */
	send_part(&n.a, &second, &n.b, 1, MVPN_PFX_RESET);
	crash(&n);
	no_login(&n.a, &second);
	rejoin_with(&n.a, &first, A_ADDR);
	/* the same once more, as a device does that has not heard the answer */
	announce(&n.a, &second, &n.b, 1);
	announce(&n.a, &second, &n.b, 1);
	r = sim_ok(&n.s, "device-show", "{s:s}", "device", "a");
	assert_true(json_is_object(json_object_get(r, "next_key")));
	json_decref(r);
	crash(&n);
	rejoin_with(&n.a, &first, A_ADDR);
	/* a handshake alone uses nothing: REGISTER does */
	use(&n.a, &second);
	assert_true(sim_login(&n.a));
	crash(&n);
	rejoin_with(&n.a, &first, A_ADDR);
	assert_int_equal(events(&n.s, "device-rotate"), 0);
	rejoin_with(&n.a, &second, A_ADDR);
	assert_int_equal(sim_counter(&n.s, "rotated"), 1);
	assert_int_equal(events(&n.s, "device-rotate"), 1);
	no_login(&n.a, &first);
	rejoin_with(&n.a, &second, A_ADDR);
	crash(&n);
	no_login(&n.a, &first);
	rejoin_with(&n.a, &second, A_ADDR);
	r = sim_ok(&n.s, "device-show", "{s:s}", "device", "a");
	assert_true(json_is_null(json_object_get(r, "next_key")));
	json_decref(r);
	sim_net_down(&n);
}

/* the peers hear the old key's word when the new one is in force, in order, until they say so */
static void peers_are_told(void **state)
{
	struct key first, second = key_new(), third = key_new(), never = key_new();
	struct sim_net n;

	sim_net_up(&n);
	first = key_of(&n.a);
	announce(&n.a, &never, &n.b, 9);
	announce(&n.a, &second, &n.b, 1); /* in place of the one before */
	no_login(&n.a, &never);
	sim_expect_nothing(&n.b, 100);
	rejoin_with(&n.a, &second, A_ADDR);
	expect_pin(&n.b, &n.a, &second, 1);
	/* not acknowledged: again with the next channel, and so after a crash */
	sim_rejoin(&n.b, B_ADDR);
	crash(&n);
	rejoin_with(&n.a, &second, A_ADDR);
	/* a peer that a has met after it announced the key: added later */
	send_part(&n.a, &third, NULL, 0, MVPN_PFX_RESET | MVPN_PFX_COMMIT);
	assert_int_equal(answer(&n.a, &third), MVPN_R_NONE);
	send_part(&n.a, &third, &n.b, 2, 0);
	rejoin_with(&n.a, &third, A_ADDR);
	sim_login(&n.b);
	sim_register(&n.b, NULL, (const char *[]){B_ADDR}, 1);
	expect_pin(&n.b, &n.a, &second, 1);
	heard(&n.b, &n.a, &second);
	expect_pin(&n.b, &n.a, &third, 2);
	sim_register(&n.b, NULL, (const char *[]){B_ADDR}, 1);
	expect_pin(&n.b, &n.a, &third, 2);
	heard(&n.b, &n.a, &third);
	sim_register(&n.b, NULL, (const char *[]){B_ADDR}, 1);
	sim_expect_nothing(&n.b, 100);
	sim_rejoin(&n.b, B_ADDR);
	sim_expect_nothing(&n.b, 100);
	no_login(&n.a, &first);
	sim_net_down(&n);
}

/* sessions stay, and those that are made from then on name the new key */
static void sessions_go_on(void **state)
{
	struct key second = key_new();
	uint8_t session[16];
	struct sim_net n;
	json_t *r;

	sim_net_up(&n);
	sim_introduce(&n.a, &n.b, B_ADDR, session);
	announce(&n.a, &second, &n.b, 1);
	rejoin_with(&n.a, &second, A_ADDR);
	expect_pin(&n.b, &n.a, &second, 1);
	r = sim_ok(&n.s, "sessions", NULL);
	assert_int_equal(json_array_size(json_object_get(r, "sessions")), 1);
	json_decref(r);
	sim_introduce(&n.a, &n.b, B_ADDR, session); /* checks the keys of both ends */
	sim_introduce(&n.b, &n.a, A_ADDR, session);
	sim_net_down(&n);
}

/* whichever key a revoked device comes with, and with a token too */
static void revoked_by_every_key(void **state)
{
	struct key first, second = key_new(), third = key_new();
	char token[MVPN_TOKEN_MAX];
	struct sim_net n;

	sim_net_up(&n);
	first = key_of(&n.a);
	announce(&n.a, &second, NULL, 0);
	rejoin_with(&n.a, &second, A_ADDR);
	announce(&n.a, &third, NULL, 0);
	json_decref(sim_ok(&n.s, "device-revoke", "{s:s}", "device", "a"));
	sim_expect_close(&n.a, MVPN_R_REVOKED);
	for (unsigned i = 0; i < 3; i++) {
		sim_token(&n.s, NULL, NULL, token);
		use(&n.a, i == 0 ? &first : i == 1 ? &second : &third);
		sim_enrol_start(&n.a, token);
		if (i == 0) /* the others are known by the handshake alone */
			sim_register(&n.a, NULL, NULL, 0);
		sim_expect_close(&n.a, MVPN_R_REVOKED);
	}
	crash(&n);
	sim_rejoin(&n.b, B_ADDR);
	no_login(&n.a, &first);
	sim_net_down(&n);
}

/* what is refused: keys of others, of oneself, before and now; a device that waits for approval */
static void refused(void **state)
{
	struct key mine, second = key_new(), other, none = {0};
	struct sim_net n;

	sim_net_up(&n);
	mine = key_of(&n.a);
	other = key_of(&n.b);
	announce(&n.a, &second, NULL, 0);
	rejoin_with(&n.a, &second, A_ADDR);
	const struct key *const bad[] = {&mine, &second, &other, &none};
	for (unsigned i = 0; i < 4; i++) {
		send_part(&n.a, bad[i], NULL, 0, MVPN_PFX_RESET | MVPN_PFX_COMMIT);
		sim_expect_close(&n.a, MVPN_R_BAD_MESSAGE);
		sim_rejoin(&n.a, A_ADDR);
	}
	/* a later part of what was never begun: nothing */
	send_part(&n.a, &mine, &n.b, 1, MVPN_PFX_COMMIT);
	/* somebody else's next key */
	mine = key_new();
	announce(&n.b, &mine, NULL, 0);
	send_part(&n.a, &mine, NULL, 0, MVPN_PFX_RESET | MVPN_PFX_COMMIT);
	sim_expect_close(&n.a, MVPN_R_BAD_MESSAGE);
	sim_net_down(&n);
}

static void not_while_it_waits_for_approval(void **state)
{
	struct key second = key_new();
	struct sim_device d;
	struct sim_net n;
	json_t *r;

	sim_net_up(&n);
	r = sim_ok(&n.s, "token-create", "{s:b}", "approve", 1);
	sim_device_init(&d, &n.s);
	assert_true(sim_enrol_start(&d, json_string_value(json_object_get(r, "token"))));
	json_decref(r);
	sim_register(&d, "d", NULL, 0);
	sim_expect(&d, MVPN_MSG_WELCOME);
	send_part(&d, &second, NULL, 0, MVPN_PFX_RESET | MVPN_PFX_COMMIT);
	assert_int_equal(answer(&d, &second), MVPN_R_PENDING);
	sim_device_free(&d);
	sim_net_down(&n);
}

/* the next key is on a token and signs for the one in use: no other way in for it than its word, and then no way back */
static void to_a_token(void **state)
{
	const char *address = A_ADDR;
	struct key first, next, stranger;
	struct sim_net n;
	json_t *o;
	char fp[MVPN_FINGERPRINT_LEN];

	sim_net_up(&n);
	first = key_of(&n.a);
	crypto_sign_keypair(n.a.token_pk, n.a.token_sk);
	memcpy(next.pk, n.a.token_pk, 32);
	announce(&n.a, &next, &n.b, 7);
	/* who has no next key is not logged in by a word, and who has one not by another token's */
	crypto_sign_keypair(n.c.token_pk, n.c.token_sk);
	memcpy(n.c.id, n.b.id, 16);
	memcpy(n.c.psk, n.b.psk, 32);
	memcpy(n.c.net_id, n.b.net_id, 8);
	memcpy(n.c.server_pk, n.b.server_pk, 32);
	n.c.named = true;
	assert_true(sim_login(&n.c)); /* b has none: as an unknown one */
	sim_expect_eof(&n.c);
	memcpy(n.c.id, n.a.id, 16);
	memcpy(n.c.psk, n.a.psk, 32);
	assert_true(sim_login(&n.c));
	sim_delegate(&n.c, 600);
	sim_register(&n.c, NULL, NULL, 0);
	sim_expect_close(&n.c, MVPN_R_DELEGATION);
	crash(&n);
	sim_rejoin(&n.b, B_ADDR);

	sim_new_key(&n.a);
	n.a.named = true;
	assert_true(sim_login(&n.a));
	sim_delegate(&n.a, 600);
	sim_register(&n.a, NULL, &address, 1);
	sim_expect(&n.a, MVPN_MSG_WELCOME);
	expect_pin(&n.b, &n.a, &next, 7);
	o = sim_ok(&n.s, "device-show", "{s:s}", "device", "a");
	mvpn_fingerprint(fp, n.a.token_pk);
	assert_string_equal(json_string_value(json_object_get(o, "fingerprint")), fp);
	json_decref(o);
	assert_int_equal(events(&n.s, "device-rotate"), 1);

	/* as with any delegated one: the key in use logs in, another one with a word, and the next is not announced */
	n.a.named = false;
	crash(&n);
	sim_rejoin(&n.a, A_ADDR);
	stranger = key_new();
	send_part(&n.a, &stranger, NULL, 0, MVPN_PFX_RESET | MVPN_PFX_COMMIT);
	assert_int_equal(answer(&n.a, &stranger), MVPN_R_DELEGATION);
	/* b hears of it until it says so */
	sim_rejoin(&n.b, B_ADDR);
	expect_pin(&n.b, &n.a, &next, 7);
	no_login(&n.a, &first);
	sim_net_down(&n);
}

/* what the key of d's token says of the next one goes into a part; forever: its last word, else an ordinary one */
static void send_word(struct sim_device *d, const struct key *k, const struct sim_device *signer, bool forever,
		      const struct sim_device *peer)
{
	uint8_t text[MVPN_DELEGATION_TEXT_B], word[MVPN_TLV_DELEGATION_B], vouch[MVPN_TLV_VOUCH_B] = {0};
	struct delegation_of of = {d->net_id, d->id, k->pk};
	struct delegation dg = {.not_after = (uint64_t)-2};
	struct chan_buf b = {0};

	memcpy(dg.key, signer->token_pk, 32);
	if (forever)
		delegation_last(&dg);
	delegation_text(text, &dg, &of);
	crypto_sign_detached(dg.signature, NULL, text, sizeof(text), signer->token_sk);
	delegation_encode(word, &dg);
	memcpy(vouch, peer->id, 16);
	chan_begin(&b, MVPN_MSG_ROTATE, MVPN_PFX_RESET | MVPN_PFX_COMMIT, 7);
	chan_put(&b, MVPN_TLV_S_PUB, k->pk, 32);
	chan_put(&b, MVPN_TLV_DELEGATION, word, sizeof(word));
	chan_put(&b, MVPN_TLV_VOUCH, vouch, sizeof(vouch));
	sim_send(d, &b);
	chan_buf_free(&b);
}

/* a key that signs says that another one is the device's own from now on */
static void from_a_token(void **state)
{
	struct delegation_of of;
	struct delegation dg;
	struct sim_net n;
	struct key next, used;
	char token[MVPN_TOKEN_MAX];
	const uint8_t *value;
	uint16_t len;

	sim_net_up(&n);
	sim_token(&n.s, NULL, NULL, token);
	assert_true(sim_enrol_start(&n.c, token));
	sim_delegate(&n.c, 600);
	sim_register(&n.c, "c", NULL, 0);
	sim_expect(&n.c, MVPN_MSG_WELCOME);
	used = key_of(&n.c);
	next = key_new();
	crypto_sign_keypair(n.a.token_pk, n.a.token_sk);
	send_word(&n.c, &next, &n.a, true, &n.b);
	assert_int_equal(answer(&n.c, &next), MVPN_R_DELEGATION);
	send_word(&n.c, &next, &n.c, false, &n.b); /* what a key that is used for a day has, too */
	assert_int_equal(answer(&n.c, &next), MVPN_R_DELEGATION);
	send_word(&n.c, &next, &n.c, true, &n.b);
	assert_int_equal(answer(&n.c, &next), MVPN_R_NONE);
	sim_expect_nothing(&n.b, 50);
	crash(&n);
	sim_rejoin(&n.b, B_ADDR);

	use(&n.c, &next);
	sim_rejoin(&n.c, NULL);
	for (unsigned again = 0; again < 2; again++) {
		sim_expect(&n.b, MVPN_MSG_PIN);
		value = chan_tlv_find(&n.b.msg, MVPN_TLV_DELEGATION, &len);
		assert_non_null(value);
		assert_int_equal(delegation_decode(&dg, value, len), 0);
		of = (struct delegation_of){n.c.net_id, n.c.id, next.pk};
		assert_int_equal(delegation_verify(&dg, &of), 0);
		assert_true(delegation_is_last(&dg));
		assert_memory_equal(dg.key, n.c.token_pk, 32);
		crash(&n);
		sim_rejoin(&n.b, B_ADDR);
	}
	sim_rejoin(&n.c, NULL); /* it is a key as any: no word ends, and it may be changed */
	next = key_new();
	announce(&n.c, &next, &n.b, 3);
	no_login(&n.c, &used);
	n.c.named = true;
	sim_new_key(&n.c);
	sim_login(&n.c);
	sim_delegate(&n.c, 600);
	sim_register(&n.c, NULL, NULL, 0);
	sim_expect_close(&n.c, MVPN_R_DELEGATION); /* the token is nothing to it any more */
	sim_net_down(&n);
}

/* the same key on two devices is one too many */
static void a_token_of_another_device(void **state)
{
	struct sim_net n;
	struct key next;
	char token[MVPN_TOKEN_MAX];

	sim_net_up(&n);
	sim_token(&n.s, NULL, NULL, token);
	assert_true(sim_enrol_start(&n.c, token));
	sim_delegate(&n.c, 600);
	sim_register(&n.c, "c", NULL, 0);
	sim_expect(&n.c, MVPN_MSG_WELCOME);
	memcpy(next.pk, n.c.token_pk, 32);
	send_part(&n.a, &next, NULL, 0, MVPN_PFX_RESET | MVPN_PFX_COMMIT);
	assert_int_equal(answer(&n.a, &next), MVPN_R_REPLACED);
	sim_net_down(&n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_are_good_until_the_next_is_used),
		cmocka_unit_test(peers_are_told),
		cmocka_unit_test(sessions_go_on),
		cmocka_unit_test(revoked_by_every_key),
		cmocka_unit_test(refused),
		cmocka_unit_test(to_a_token),
		cmocka_unit_test(from_a_token),
		cmocka_unit_test(a_token_of_another_device),
		cmocka_unit_test(not_while_it_waits_for_approval),
	};

	return MVPN_RUN(tests);
}
