/* SPDX-License-Identifier: BSD-2-Clause */
/* A device whose key only signs, on a token: the keys that it vouches for, one after the other, and what does not hold. */
#include "../sim/sim.h"

#include <sodium.h>
#include <string.h>

#include "crypto.h"

static void enrol(struct sim_device *d, const char *name, const char *address, int64_t seconds)
{
	char token[MVPN_TOKEN_MAX];

	sim_token(d->server, address, NULL, token);
	assert_true(sim_enrol_start(d, token));
	sim_delegate(d, seconds);
	sim_register(d, name, &address, 1);
}

/* c has its key on a token, and may talk with a both ways */
static void net_up(struct sim_net *n, int64_t seconds)
{
	sim_net_up(n);
	sim_policy(&n->s, "allow a -> c\nallow c -> a\n");
	enrol(&n->c, "c", C_ADDR, seconds);
	sim_expect(&n->c, MVPN_MSG_WELCOME);
}

/* a new key, which the server is told */
static void renew(struct sim_device *d, int64_t seconds)
{
	const char *address = C_ADDR;

	sim_new_key(d);
	d->named = true;
	assert_true(sim_login(d));
	sim_delegate(d, seconds);
	sim_register(d, NULL, &address, 1);
	sim_expect(d, MVPN_MSG_WELCOME);
	d->named = false;
}

/* what the last message says of c's key holds */
static void assert_vouched(const struct sim_device *at, const struct sim_device *c)
{
	struct delegation_of of = {c->net_id, c->id, c->pk};
	struct delegation dg;
	uint16_t len;
	const uint8_t *value = chan_tlv_find(&at->msg, MVPN_TLV_DELEGATION, &len);

	assert_non_null(value);
	assert_int_equal(delegation_decode(&dg, value, len), 0);
	assert_int_equal(delegation_verify(&dg, &of), 0);
	assert_memory_equal(dg.key, c->token_pk, 32);
}

static void introduce(struct sim_net *n)
{
	struct intro_keys ka, kc;
	struct sim_request q;
	uint8_t session[16];

	sim_wait_prefix(&n->a, C_ADDR, &n->c);
	sim_request(&n->a, C_ADDR, &q);
	sim_expect(&n->c, MVPN_MSG_OFFER);
	assert_null(chan_tlv_find(&n->c.msg, MVPN_TLV_DELEGATION, NULL)); /* a has a key of its own */
	sim_accept(&n->c, session, &kc);
	sim_expect(&n->a, MVPN_MSG_ANSWER);
	assert_vouched(&n->a, &n->c);
	assert_int_equal(sim_finish(&n->a, &q, &ka), 0);
	assert_memory_equal(ka.tx, kc.rx, 32);
	sim_wait_prefix(&n->c, A_ADDR, &n->a);
	sim_request(&n->c, A_ADDR, &q);
	sim_expect(&n->a, MVPN_MSG_OFFER);
	assert_vouched(&n->a, &n->c);
	sim_accept(&n->a, session, &ka);
	sim_expect(&n->c, MVPN_MSG_ANSWER);
	assert_int_equal(sim_finish(&n->c, &q, &kc), 0);
}

static void assert_shown(struct sim_net *n)
{
	json_t *o = sim_ok(&n->s, "device-show", "{s:s}", "device", "c");
	char fp[MVPN_FINGERPRINT_LEN];

	mvpn_fingerprint(fp, n->c.token_pk);
	assert_string_equal(json_string_value(json_object_get(o, "fingerprint")), fp);
	assert_int_equal(json_integer_value(json_object_get(o, "delegated_until")), n->c.word.not_after);
	json_decref(o);
	o = sim_ok(&n->s, "device-show", "{s:s}", "device", "a");
	assert_true(json_is_null(json_object_get(o, "delegated_until")));
	json_decref(o);
}

static bool audited(struct sim_net *n, const char *event, const char *member, const char *value)
{
	json_t *o = sim_ok(&n->s, "audit", NULL), *e;
	bool found = false;
	size_t i;

	json_array_foreach(json_object_get(o, "events"), i, e) {
		const char *is = json_string_value(
			json_object_get(json_object_get(e, "detail"), member));

		found |= !strcmp(json_string_value(json_object_get(e, "event")), event) && is &&
			 !strcmp(is, value);
	}
	json_decref(o);
	return found;
}

static void keys_follow_each_other(void **state)
{
	uint8_t first[32], id[16];
	struct sim_net n;

	net_up(&n, 60);
	memcpy(id, n.c.id, 16);
	assert_shown(&n);
	introduce(&n);
	/* while it holds the key is as good as one of its own, over a crash too */
	sim_rejoin(&n.c, C_ADDR);
	sim_server_crash(&n.s);
	sim_server_start(&n.s);
	sim_rejoin(&n.a, A_ADDR);
	sim_rejoin(&n.c, C_ADDR);
	introduce(&n);
	/* the next one: the same device, and the one before is nobody's */
	memcpy(first, n.c.sk, 32);
	renew(&n.c, 3600);
	assert_memory_equal(n.c.id, id, 16);
	assert_shown(&n);
	introduce(&n);
	sim_server_crash(&n.s);
	sim_server_start(&n.s);
	sim_rejoin(&n.a, A_ADDR);
	sim_rejoin(&n.c, C_ADDR);
	introduce(&n);
	memcpy(n.c.sk, first, 32);
	sim_login(&n.c);
	sim_expect_eof(&n.c);
	assert_true(audited(&n, "device-delegate", "name", "c"));
	sim_net_down(&n);
}

static void handshakes_that_fail_like_any(void **state)
{
	uint8_t keep[32];
	struct sim_net n;

	net_up(&n, 60);
	sim_new_key(&n.c);
	sim_login(&n.c); /* not named: nobody's key */
	sim_expect_eof(&n.c);
	n.c.named = true;
	n.c.id[0] ^= 1; /* no such device */
	sim_login(&n.c);
	sim_expect_eof(&n.c);
	n.c.id[0] ^= 1;
	n.c.psk[0] ^= 1;
	sim_login(&n.c);
	sim_expect_eof(&n.c);
	n.c.psk[0] ^= 1;
	memcpy(keep, n.c.sk, 32);
	memcpy(n.c.sk, n.a.sk, 32); /* another device's key */
	sim_login(&n.c);
	sim_expect_eof(&n.c);
	memcpy(n.c.sk, keep, 32);
	sim_new_key(&n.b);
	n.b.named = true; /* a device with a key of its own cannot have another */
	sim_login(&n.b);
	sim_expect_eof(&n.b);
	assert_int_equal(sim_counter(&n.s, "bad_auth"), 5);
	assert_true(sim_login(&n.c));
	sim_net_down(&n);
}

enum spoil {
	NOTHING_SAID,
	ANOTHER_TOKEN,
	SIGNATURE,
	CHALLENGE,
	OLD_CHANNEL,
	ANOTHER_DEVICE,
	ANOTHER_NET,
	ANOTHER_KEY,
	OVER,
	TOO_LONG,
	SPOILS
};

static void say(struct sim_device *d, enum spoil spoil)
{
	struct sim_device lie = *d; /* as far as the word goes */
	struct delegation old = d->word;

	if (spoil == ANOTHER_TOKEN)
		crypto_sign_keypair(lie.token_pk, lie.token_sk);
	if (spoil == ANOTHER_DEVICE)
		lie.id[0] ^= 1;
	if (spoil == ANOTHER_NET)
		lie.net_id[0] ^= 1;
	if (spoil == ANOTHER_KEY)
		mvpn_keypair(lie.sk, lie.pk);
	sim_delegate(&lie, spoil == OVER ? -1 : spoil == TOO_LONG ? MVPN_DELEGATION_MAX_S + 60 : 60);
	if (spoil == SIGNATURE)
		lie.word.signature[0] ^= 1;
	if (spoil == CHALLENGE)
		lie.word.challenge[0] ^= 1;
	d->word = spoil == OLD_CHANNEL ? old : lie.word;
	d->has_word = spoil != NOTHING_SAID;
}

static void words_that_do_not_hold(void **state)
{
	struct sim_net n;

	net_up(&n, 60);
	n.c.named = true;
	for (enum spoil i = 0; i < SPOILS; i++) {
		sim_new_key(&n.c);
		assert_true(sim_login(&n.c));
		say(&n.c, i);
		sim_register(&n.c, NULL, NULL, 0);
		sim_expect_close(&n.c, MVPN_R_DELEGATION);
	}
	assert_int_equal(sim_counter(&n.s, "delegation_refused"), SPOILS);
	assert_int_equal(sim_counter(&n.s, "delegated"), 0);
	assert_true(audited(&n, "log-in-refused", "reason", "delegation"));
	renew(&n.c, 60);
	assert_int_equal(sim_counter(&n.s, "delegated"), 1);
	sim_net_down(&n);
}

static void runs_out(void **state)
{
	struct sim_net n;

	net_up(&n, 2);
	sim_expect_close(&n.c, MVPN_R_DELEGATION);
	assert_true(sim_login(&n.c));
	sim_expect_close(&n.c, MVPN_R_DELEGATION);
	renew(&n.c, 60);
	introduce(&n);
	sim_net_down(&n);
}

/* an introduction that is under way when the key changes is bound to the old one: both ends hear so */
static void introductions_begin_anew(void **state)
{
	struct sim_request q;
	struct sim_device old;
	struct sim_net n;

	net_up(&n, 60);
	sim_wait_prefix(&n.a, C_ADDR, &n.c);
	sim_request(&n.a, C_ADDR, &q);
	sim_expect(&n.c, MVPN_MSG_OFFER);
	old = n.c; /* its channel lives on while the next one is made */
	n.c.fd = -1;
	n.c.ch = NULL;
	renew(&n.c, 60);
	sim_expect_fail(&n.a, MVPN_R_STALE_BOOT);
	intro_a_free(q.a);
	sim_expect(&old, MVPN_MSG_CANCEL);
	sim_hang_up(&old);
	introduce(&n);
	sim_net_down(&n);
}

static void enrolled_again_it_is_the_same(void **state)
{
	char token[MVPN_TOKEN_MAX];
	struct sim_net n;
	uint8_t id[16];

	net_up(&n, 60);
	memcpy(id, n.c.id, 16);
	/* the key that is vouched for cannot enrol as a device of its own */
	sim_token(&n.s, C_ADDR, NULL, token);
	assert_true(sim_enrol_start(&n.c, token));
	sim_register(&n.c, "d", NULL, 0);
	sim_expect_close(&n.c, MVPN_R_DELEGATION);
	/* nor can another token's key be put in its place */
	assert_true(sim_enrol_start(&n.c, token));
	memset(n.c.id, 0, 16);
	say(&n.c, ANOTHER_TOKEN);
	sim_register(&n.c, "d", NULL, 0);
	sim_expect_close(&n.c, MVPN_R_DELEGATION);

	sim_new_key(&n.c);
	enrol(&n.c, "d", C_ADDR, 60);
	sim_expect(&n.c, MVPN_MSG_WELCOME);
	assert_memory_equal(n.c.id, id, 16);
	assert_int_equal(sim_counter(&n.s, "reenrolled"), 1);
	renew(&n.c, 60); /* says its id, which the word at enrolment could not */
	introduce(&n);
	sim_net_down(&n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keys_follow_each_other),
		cmocka_unit_test(handshakes_that_fail_like_any),
		cmocka_unit_test(words_that_do_not_hold),
		cmocka_unit_test(runs_out),
		cmocka_unit_test(introductions_begin_anew),
		cmocka_unit_test(enrolled_again_it_is_the_same),
	};

	return MVPN_RUN(tests);
}
