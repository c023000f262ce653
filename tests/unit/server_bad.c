/* SPDX-License-Identifier: BSD-2-Clause */
/* The server under what it must survive: garbage, races, crashes, mistakes. Floods: server_flood.c. */
#include "../sim/sim.h"

#include <sodium.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "crypto.h"

static void expect_session(const struct sim_device *d, const uint8_t session[16])
{
	uint8_t id[16];

	assert_true(chan_get_bytes(&d->msg, MVPN_TLV_SESSION, id, 16));
	assert_memory_equal(id, session, 16);
}

/* ---- bytes ---- */

static void garbage_before_the_handshake(void **state)
{
	struct sim_server s;
	struct sim_device d;
	uint8_t junk[4096], hello[256], *copy;
	char token[MVPN_TOKEN_MAX];
	struct chan_client c = {.s = d.sk, .server_pk = d.server_pk, .psk = d.psk, .enrol = true};
	struct chan *ch;
	struct mvpn_token t;
	size_t len;
	int fd;

	sim_server_new(&s);
	sim_device_init(&d, &s);
	sim_token(&s, NULL, NULL, token);
	mvpn_token_decode(&t, token);
	memcpy(d.server_pk, t.server_pk, 32);
	randombytes_buf(junk, sizeof(junk));
	junk[0] = 'X';
	fd = sim_connect(&s);
	assert_true(write(fd, junk, sizeof(junk)) > 0);
	sim_expect_fd_eof(fd);
	sim_wait_counter(&s, "bad_hello", 1);
	assert_int_equal(chan_new_client(&ch, &c), 0);
	copy = (uint8_t *)chan_output(ch, &len);
	memcpy(hello, copy, len);
	chan_free(ch);
	/* each truncation, and then the end */
	for (size_t cut = 0; cut < len; cut += 7) {
		fd = sim_connect(&s);
		assert_true(write(fd, hello, cut) >= 0);
		close(fd);
	}
	/* every byte counts: whatever is changed, there is no answer but the end */
	for (size_t i = 0; i < len; i++) {
		hello[i] ^= 0x40;
		fd = sim_connect(&s);
		assert_int_equal(write(fd, hello, len), len);
		if (i == 8 ||
		    i == 9) /* a longer message is waited for: nothing to expect but the deadline */
			close(fd);
		else
			sim_expect_fd_eof(fd);
		hello[i] ^= 0x40;
	}
	assert_true(sim_counter(&s, "bad_mac") > 50);
	/* garbage where FINISH should be */
	fd = sim_connect(&s);
	assert_int_equal(write(fd, hello, len), len);
	assert_int_equal(read(fd, junk, 50), 50);
	memset(junk, 0xee, sizeof(junk));
	assert_true(write(fd, junk, 74) == 74);
	sim_expect_fd_eof(fd);
	fd = sim_connect(&s);
	assert_int_equal(write(fd, hello, len), len);
	assert_int_equal(read(fd, junk, 50), 50);
	memset(junk, 0, 74);
	junk[1] = 72;
	assert_true(write(fd, junk, 74) == 74);
	sim_expect_fd_eof(fd);
	sim_wait_counter(&s, "bad_auth", 1);
	sim_join(&d, "fine", NULL);
	sim_device_free(&d);
	sim_server_free(&s);
}

static void garbage_in_the_channel(void **state)
{
	struct sim_net n;
	uint8_t junk[70000];
	json_int_t before;

	sim_net_up(&n);
	randombytes_buf(junk, sizeof(junk));
	junk[0] = junk[1] = 0xff; /* the longest frame */
	sim_send_raw(&n.a, junk, sizeof(junk));
	sim_expect_eof(&n.a);
	sim_wait_counter(&n.s, "bad_frame", 1);
	sim_rejoin(&n.a, A_ADDR);
	sim_send_raw(&n.a, "\0\0", 2); /* the shortest */
	sim_expect_eof(&n.a);
	sim_rejoin(&n.a, A_ADDR);
	sim_send_raw(&n.a, "\0\x20half a frame", 14);
	sim_hang_up(&n.a);
	before = sim_counter(&n.s, "bad_message");
	assert_int_equal(before, 1);
	sim_rejoin(&n.a, A_ADDR);
	sim_introduce(&n.a, &n.b, B_ADDR, junk);
	sim_net_down(&n);
}

/* sends b, and the channel must be closed for it */
static void expect_refusal(struct sim_net *n, struct chan_buf *b)
{
	json_int_t before = sim_counter(&n->s, "bad_message");

	sim_send(&n->a, b);
	chan_buf_free(b);
	sim_expect_close(&n->a, MVPN_R_BAD_MESSAGE);
	sim_wait_counter(&n->s, "bad_message", before + 1);
	sim_rejoin(&n->a, A_ADDR);
}

static void messages_out_of_place(void **state)
{
	struct sim_net n;
	struct chan_buf b = {0};
	struct sim_request q;

	sim_net_up(&n);
	chan_begin(&b, 0x7f, 0, 0); /* unknown */
	expect_refusal(&n, &b);
	chan_begin(&b, MVPN_MSG_OFFER, 0, 0); /* the server's own */
	expect_refusal(&n, &b);
	chan_begin(&b, MVPN_MSG_REQUEST, 0, 0); /* without what it needs */
	expect_refusal(&n, &b);
	chan_begin(&b, MVPN_MSG_ACCEPT, 0, 0);
	expect_refusal(&n, &b);
	chan_begin(&b, MVPN_MSG_ENDED, 0, 0);
	expect_refusal(&n, &b);
	chan_begin(&b, MVPN_MSG_REGISTER, 0, 0);
	chan_put(&b, MVPN_TLV_NAME, "two words", 9);
	expect_refusal(&n, &b);
	chan_begin(&b, MVPN_MSG_REGISTER, 0, 0);
	chan_put_u64(&b, MVPN_TLV_BOOT_GEN, 99); /* not the handshake's */
	expect_refusal(&n, &b);
	/* in another's name */
	sim_request(&n.a, B_ADDR, &q);
	sim_expect(&n.b, MVPN_MSG_OFFER);
	intro_a_free(q.a);
	memcpy(q.req + offsetof(struct mvpn_req, a_id), n.b.id, 16);
	sim_request_send(&n.a, &q);
	sim_expect_close(&n.a, MVPN_R_BAD_MESSAGE);
	sim_expect(&n.b, MVPN_MSG_CANCEL);
	/* before REGISTER */
	assert_true(sim_login(&n.a));
	chan_begin(&b, MVPN_MSG_ENDED, 0, 0);
	expect_refusal(&n, &b);
	sim_net_down(&n);
}

/* sealed well, but of random content: the parsers behind the channel */
static void random_messages(void **state)
{
	static const uint8_t types[] = {MVPN_MSG_REGISTER, MVPN_MSG_REQUEST, MVPN_MSG_ACCEPT,
					MVPN_MSG_REJECT,   MVPN_MSG_ENDED,   MVPN_MSG_REVOKE,
					MVPN_MSG_HEARTBEAT};
	struct sim_net n;
	struct sim_request q;
	uint8_t session[16];

	sim_net_up(&n);
	sim_request(&n.b, A_ADDR, &q);
	intro_a_free(q.a);
	sim_hang_up(&n.a);
	for (unsigned i = 0; i < 300; i++) {
		struct chan_buf b = {0};
		uint8_t value[2000];

		if (!n.a.ch || chan_state(n.a.ch) != CHAN_UP)
			sim_rejoin(&n.a, A_ADDR);
		randombytes_buf(value, sizeof(value));
		chan_begin(&b, types[i % 7], value[0], 0);
		if (i % 7 == 1) {
			q.req[randombytes_uniform((uint32_t)q.req_len)] ^= value[1];
			memcpy(q.req + offsetof(struct mvpn_req, a_id), n.a.id, 16);
			chan_put(&b, MVPN_TLV_REQ, q.req, q.req_len);
			chan_put(&b, MVPN_TLV_NOISE1, value, INTRO_MSG1_B);
		} else {
			chan_put(&b, MVPN_TLV_SESSION, value, 16);
			chan_put(&b, MVPN_TLV_ADDR, value + 20, 16);
		}
		if (i % 3 == 0 && b.len > 40) /* TLV lengths that lie */
			b.data[4 + randombytes_uniform((uint32_t)b.len - 4)] ^= value[2];
		if (chan_send(n.a.ch, &b) == 0) {
			size_t len;
			const uint8_t *p = chan_output(n.a.ch, &len);

			sim_send_raw(&n.a, p, len);
			chan_sent(n.a.ch, len);
		}
		chan_buf_free(&b);
		if (i % 3 == 0 || i % 7 == 1)
			sim_hang_up(&n.a);
	}
	sim_hang_up(&n.a);
	sim_hang_up(&n.b);
	sim_rejoin(&n.a, A_ADDR);
	sim_rejoin(&n.b, B_ADDR);
	sim_wait_prefix(&n.a, B_ADDR, &n.b);
	sim_introduce(&n.a, &n.b, B_ADDR, session);
	sim_net_down(&n);
}

/* ---- races ---- */

static void crossing_requests_make_one_session(void **state)
{
	struct sim_net n;
	struct sim_request qa, qb;
	struct intro_keys keys;
	uint8_t session[16];

	sim_net_up(&n);
	sim_request(&n.a, B_ADDR, &qa);
	sim_expect(&n.b, MVPN_MSG_OFFER);
	assert_true(chan_get_bytes(&n.b.msg, MVPN_TLV_SESSION, session, 16));
	struct sim_device saved = n.b;
	uint8_t offer[4096];

	memcpy(offer, n.b.msg_data, sizeof(offer));
	sim_request(&n.b, A_ADDR, &qb);
	sim_expect_fail(&n.b, MVPN_R_BUSY);
	expect_session(&n.b, session);
	intro_a_free(qb.a);
	/* the same request again is not another one */
	sim_request_send(&n.a, &qa);
	sim_wait_counter(&n.s, "duplicates", 1);
	sim_expect_nothing(&n.b, 50);
	n.b.msg = saved.msg;
	memcpy(n.b.msg_data, offer, sizeof(offer));
	sim_accept(&n.b, session, &keys);
	sim_expect(&n.a, MVPN_MSG_ANSWER);
	assert_int_equal(sim_finish(&n.a, &qa, &keys), 0);
	/* answered already: the repeat is swallowed */
	sim_request_send(&n.a, &qa);
	sim_wait_counter(&n.s, "duplicates", 2);
	sim_expect_nothing(&n.b, 50);
	sim_net_down(&n);
}

static void unanswered_offers_end(void **state)
{
	struct sim_net n;
	struct sim_request q;
	struct chan_buf b = {0};
	uint8_t session[16], nonce[16];

	sim_net_up(&n);
	/* silent */
	sim_request(&n.a, B_ADDR, &q);
	sim_expect(&n.b, MVPN_MSG_OFFER);
	assert_true(chan_get_bytes(&n.b.msg, MVPN_TLV_SESSION, session, 16));
	sim_expect_fail(&n.a, MVPN_R_PEER_SILENT);
	assert_true(chan_get_bytes(&n.a.msg, MVPN_TLV_NONCE, nonce, 16));
	assert_memory_equal(nonce, q.nonce, 16);
	sim_expect(&n.b, MVPN_MSG_CANCEL);
	expect_session(&n.b, session);
	intro_a_free(q.a);
	/* too late */
	chan_begin(&b, MVPN_MSG_ACCEPT, 0, 0);
	chan_put(&b, MVPN_TLV_SESSION, session, 16);
	chan_put(&b, MVPN_TLV_NOISE2, n.b.msg_data, 200);
	sim_send(&n.b, &b);
	sim_wait_counter(&n.s, "stray_answers", 1);
	/* rejected */
	sim_request(&n.a, B_ADDR, &q);
	sim_expect(&n.b, MVPN_MSG_OFFER);
	assert_true(chan_get_bytes(&n.b.msg, MVPN_TLV_SESSION, session, 16));
	chan_begin(&b, MVPN_MSG_REJECT, 0, 0);
	chan_put(&b, MVPN_TLV_SESSION, session, 16);
	chan_put_u16(&b, MVPN_TLV_REASON, MVPN_R_PIN);
	/* by somebody who was not asked: nothing happens */
	sim_send(&n.a, &b);
	sim_wait_counter(&n.s, "stray_answers", 2);
	sim_send(&n.b, &b);
	sim_expect_fail(&n.a, MVPN_R_PIN);
	intro_a_free(q.a);
	/* gone meanwhile */
	sim_request(&n.a, B_ADDR, &q);
	sim_expect(&n.b, MVPN_MSG_OFFER);
	sim_hang_up(&n.b);
	sim_expect_fail(&n.a, MVPN_R_PEER_OFFLINE);
	intro_a_free(q.a);
	sim_request(&n.a, B_ADDR, &q);
	sim_expect_fail(&n.a, MVPN_R_PEER_OFFLINE);
	intro_a_free(q.a);
	sim_rejoin(&n.b, B_ADDR);
	sim_request(&n.a, B_ADDR, &q);
	sim_expect(&n.b, MVPN_MSG_OFFER);
	sim_hang_up(&n.a);
	sim_expect(&n.b, MVPN_MSG_CANCEL);
	intro_a_free(q.a);
	chan_buf_free(&b);
	sim_net_down(&n);
}

static void one_use_is_one_device(void **state)
{
	struct sim_net n;
	struct sim_device c, d;
	char token[MVPN_TOKEN_MAX];

	sim_net_up(&n);
	sim_device_init(&c, &n.s);
	sim_device_init(&d, &n.s);
	sim_token(&n.s, NULL, NULL, token);
	assert_true(sim_enrol_start(&c, token));
	assert_true(sim_enrol_start(&d, token)); /* it is unused still */
	sim_register(&c, "c", NULL, 0);
	sim_expect(&c, MVPN_MSG_WELCOME);
	sim_register(&d, "d", NULL, 0);
	sim_expect_close(&d, MVPN_R_TOKEN_USED);
	assert_int_equal(sim_counter(&n.s, "enrolled"), 3);
	sim_device_free(&c);
	sim_device_free(&d);
	sim_net_down(&n);
}

static void a_new_channel_replaces_the_old(void **state)
{
	struct sim_net n;
	struct sim_device twin;
	struct sim_request q;
	struct intro_keys keys;
	uint8_t session[16];

	sim_net_up(&n);
	sim_request(&n.a, B_ADDR, &q);
	sim_expect(&n.b, MVPN_MSG_OFFER);
	/* the same life of the same device: what is under way goes on over the new channel */
	sim_device_init(&twin, &n.s);
	memcpy(twin.sk, n.a.sk, 32);
	memcpy(twin.pk, n.a.pk, 32);
	memcpy(twin.psk, n.a.psk, 32);
	memcpy(twin.server_pk, n.a.server_pk, 32);
	memcpy(twin.net_id, n.a.net_id, 8);
	sim_rejoin(&twin, A_ADDR);
	sim_accept(&n.b, session, &keys);
	sim_expect(&twin, MVPN_MSG_ANSWER);
	assert_int_equal(sim_finish(&twin, &q, &keys), 0);
	sim_expect_close(&n.a, MVPN_R_REPLACED);
	assert_int_equal(sim_counter(&n.s, "replaced"), 1);
	/* another life: at once, and the peer forgets its sessions */
	n.a.boot_gen = 2;
	sim_rejoin(&n.a, A_ADDR);
	sim_expect_close(&twin, MVPN_R_REPLACED);
	sim_expect(&n.b, MVPN_MSG_PEER_RESET);
	sim_device_free(&twin);
	/* a request that was made before the restart */
	n.a.boot_gen = 1;
	sim_request(&n.a, B_ADDR, &q);
	n.a.boot_gen = 2;
	sim_expect_fail(&n.a, MVPN_R_STALE_BOOT);
	intro_a_free(q.a);
	sim_net_down(&n);
}

/* ---- restarts ---- */

static void restart_keeps_everything(void **state)
{
	struct sim_net n;
	struct sim_request q;
	struct intro_keys keys;
	uint8_t session[16], again[16];
	uint64_t before = 0, after = 0;
	json_t *o;

	sim_net_up(&n);
	sim_request(&n.a, B_ADDR, &q);
	sim_expect(&n.b, MVPN_MSG_OFFER);
	chan_get_u64(&n.b.msg, MVPN_TLV_SEQ, &before);
	sim_accept(&n.b, session, &keys);
	sim_expect(&n.a, MVPN_MSG_ANSWER);
	assert_int_equal(sim_finish(&n.a, &q, &keys), 0);
	sim_server_crash(&n.s);
	sim_expect_eof(&n.a);
	sim_server_start(&n.s);
	sim_rejoin(&n.a, A_ADDR);
	sim_rejoin(&n.b, B_ADDR);
	assert_int_equal(n.a.naccepted, 1);
	sim_wait_prefix(&n.a, B_ADDR, &n.b);
	assert_int_equal(n.a.rev, 1);
	o = sim_ok(&n.s, "sessions", NULL);
	assert_int_equal(json_array_size(json_object_get(o, "sessions")), 1);
	json_decref(o);
	sim_request(&n.a, B_ADDR, &q);
	sim_expect(&n.b, MVPN_MSG_OFFER);
	chan_get_u64(&n.b.msg, MVPN_TLV_SEQ, &after);
	assert_true(after > before);
	sim_accept(&n.b, again, &keys);
	sim_expect(&n.a, MVPN_MSG_ANSWER);
	assert_int_equal(sim_finish(&n.a, &q, &keys), 0);
	/* a clean stop says so */
	sim_server_stop(&n.s);
	sim_expect_close(&n.a, MVPN_R_SHUTDOWN);
	sim_server_start(&n.s);
	/* b has restarted while nobody looked: a hears of it */
	sim_rejoin(&n.a, A_ADDR);
	n.b.boot_gen = 7;
	sim_rejoin(&n.b, B_ADDR);
	sim_expect(&n.a, MVPN_MSG_PEER_RESET);
	o = sim_ok(&n.s, "audit", "{s:b}", "verify", 1);
	assert_true(json_is_true(json_object_get(o, "verified")));
	json_decref(o);
	sim_net_down(&n);
}

static void a_bad_stored_policy_falls_back(void **state)
{
	struct sim_net n;
	char path[128];
	uint8_t session[16];
	sqlite3 *db;
	json_t *o;

	sim_net_up(&n);
	sim_server_stop(&n.s);
	snprintf(path, sizeof(path), "%s/server.db", n.s.dir);
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "INSERT INTO policies(rev, at, text) VALUES(2, 0, 'allow a ->')", NULL,
				      NULL, NULL),
			 SQLITE_OK);
	sqlite3_close(db);
	sim_server_start(&n.s);
	o = sim_ok(&n.s, "status", NULL);
	assert_int_equal(json_integer_value(json_object_get(o, "policy_rev")), 1);
	assert_int_equal(json_array_size(json_object_get(o, "problems")), 1);
	json_decref(o);
	sim_rejoin(&n.a, A_ADDR);
	sim_rejoin(&n.b, B_ADDR);
	sim_wait_prefix(&n.a, B_ADDR, &n.b);
	sim_introduce(&n.a, &n.b, B_ADDR, session);
	/* back to what is in force: a revision of its own, which is good */
	o = sim_ok(&n.s, "policy-rollback", NULL);
	assert_int_equal(json_integer_value(json_object_get(o, "rev")), 3);
	assert_int_equal(json_integer_value(json_object_get(o, "sessions_cut")), 0);
	json_decref(o);
	sim_wait_rev(&n.a, 3);
	o = sim_ok(&n.s, "status", NULL);
	assert_int_equal(json_array_size(json_object_get(o, "problems")), 0);
	json_decref(o);
	sim_net_down(&n);
}

/* ---- mistakes ---- */

static void admin_mistakes_are_explained(void **state)
{
	static const struct {
		const char *verb, *args;
	} calls[] = {
		{"no-such-verb", "{}"},
		{"token-create", "{\"tll_s\":5}"},
		{"token-create", "{\"uses\":0}"},
		{"token-create", "{\"addresses\":[\"10.0.0.1/8\"]}"},
		{"token-create", "{\"addresses\":[\"127.0.0.1\"]}"},
		{"token-create", "{\"addresses\":\"10.0.0.1\"}"},
		{"token-create", "{\"group\":\"a\"}"},
		{"token-create", "{\"group\":\"two words\"}"},
		{"token-create", "{\"server\":\"bad name\"}"},
		{"token-revoke", "{\"id\":\"zz\"}"},
		{"token-revoke", "{\"id\":\"zzzzzzzz\"}"},
		{"device-show", "{}"},
		{"device-show", "{\"device\":\"nobody\"}"},
		{"device-rename", "{\"device\":\"a\",\"name\":\"b\"}"},
		{"device-rename", "{\"device\":\"a\",\"name\":\"-\"}"},
		{"device-address", "{\"device\":\"a\",\"add\":\"" B_ADDR "\"}"},
		{"device-address", "{\"device\":\"a\",\"add\":\"fe80::1\"}"},
		{"device-address", "{\"device\":\"a\",\"del\":\"10.0.0.0/8\"}"},
		{"policy-apply", "{\"text\":\"allow a b\"}"},
		{"policy-apply", "{\"text\":\"allow a -> b\\u0000\"}"},
		{"policy-apply", "{}"},
		{"policy-show", "{\"rev\":99}"},
		{"policy-rollback", "{\"rev\":99}"},
		{"policy-rollback", "{}"},
		{"policy-rollback", "{\"rev\":0}"},
		{"policy-apply", "{\"text\":\"\",\"comment\":\"two\\nlines\"}"},
		{"policy-apply", "{\"text\":\"\",\"comment\":5}"},
		{"device-revoke", "{\"device\":\"a\",\"comment\":\"\\u0007\"}"},
		{"policy-test", "{\"src\":\"a\"}"},
		{"policy-test", "{\"src\":\"a\",\"dst\":\"203.0.113.5\"}"},
		{"audit", "{\"limit\":0}"},
	};
	struct sim_net n;

	sim_net_up(&n);
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		json_t *args = json_loads(calls[i].args, JSON_ALLOW_NUL, NULL);
		json_t *o = sim_call(&n.s, calls[i].verb, "o", args),
		       *e = json_object_get(o, "error");

		if (!json_is_false(json_object_get(o, "ok")))
			fail_msg("%s %s was accepted", calls[i].verb, calls[i].args);
		assert_true(json_string_length(json_object_get(e, "message")) > 8);
		assert_true(json_integer_value(json_object_get(o, "exit")) > 0);
		json_decref(o);
	}
	sim_net_down(&n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(garbage_before_the_handshake),
		cmocka_unit_test(garbage_in_the_channel),
		cmocka_unit_test(messages_out_of_place),
		cmocka_unit_test(random_messages),
		cmocka_unit_test(crossing_requests_make_one_session),
		cmocka_unit_test(unanswered_offers_end),
		cmocka_unit_test(one_use_is_one_device),
		cmocka_unit_test(a_new_channel_replaces_the_old),
		cmocka_unit_test(restart_keeps_everything),
		cmocka_unit_test(a_bad_stored_policy_falls_back),
		cmocka_unit_test(admin_mistakes_are_explained),
	};

	return MVPN_RUN(tests);
}
