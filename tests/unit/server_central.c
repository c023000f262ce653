/* SPDX-License-Identifier: BSD-2-Clause */
/* The modes in which the server knows a session's keys: by policy alone, marked, and what they give up. */
#include "../sim/sim.h"

#include <string.h>

#include "aead.h"
#include "crypto.h"
#include "intro_impl.h"

/* a member of the newest session on record */
static bool newest_is(struct sim_server *s, const char *member, const char *value)
{
	json_t *o = sim_ok(s, "sessions", NULL);
	const char *is = json_string_value(json_object_get(
		json_array_get(json_object_get(o, "sessions"), 0), member));
	bool r = is && !strcmp(is, value);

	json_decref(o);
	return r;
}

static unsigned audited(struct sim_server *s, const char *event)
{
	json_t *o = sim_ok(s, "audit", NULL), *e;
	unsigned n = 0;
	size_t i;

	json_array_foreach(json_object_get(o, "events"), i, e)
		n += !strcmp(json_string_value(json_object_get(e, "event")), event);
	json_decref(o);
	return n;
}

/* What the server knows: K, which it has made and sent, and what passed by it. Its copy of A's data key opens A's packet. */
static void read_as_the_server(const struct sim_net *n, const uint8_t key[32],
			       const struct sim_request *q, const uint8_t session[16],
			       const uint8_t *selectors, size_t selectors_len,
			       const struct intro_keys *a)
{
	static const uint8_t no_hash[32], head[16] = {0x41};
	struct intro_pair pair = {.session_id = session,
				  .a_id = n->a.id,
				  .b_id = n->b.id,
				  .a_pk = n->a.pk,
				  .b_pk = n->b.pk,
				  .selectors = selectors,
				  .selectors_len = selectors_len};
	uint8_t ctx[32], ab[32], ba[32], lane_a[32], lane_s[32], sealed[5 + 16], plain[5];
	struct aead seal, open;

	intro_central_ctx(ctx, &pair, q->req, q->req_len);
	intro_directions(ab, ba, key, key, no_hash, ctx);
	intro_lane_first(lane_a, a->tx, 1);
	intro_lane_first(lane_s, ab, 1);
	assert_int_equal(intro_lane_aead(&seal, a->suite, lane_a), 0);
	assert_int_equal(intro_lane_aead(&open, a->suite, lane_s), 0);
	aead_seal(&seal, 7, head, (const uint8_t *)"hello", 5, sealed);
	assert_true(aead_open(&open, 7, head, sealed, sizeof(sealed), plain));
	assert_memory_equal(plain, "hello", 5);
}

static void introduce(struct sim_net *n, unsigned mode)
{
	struct intro_keys ka, kb;
	struct sim_request q;
	uint8_t session[16], selectors[2 + 2 * 17 * MVPN_SELECTORS_MAX], key[32] = {0};
	uint16_t len;
	const uint8_t *p;

	sim_request(&n->a, B_ADDR, &q);
	sim_expect(&n->b, MVPN_MSG_OFFER);
	p = chan_tlv_find(&n->b.msg, MVPN_TLV_SELECTORS, &len);
	memcpy(selectors, p, len);
	assert_int_equal(chan_get_bytes(&n->b.msg, MVPN_TLV_KEY, key, 32),
			 mode == MVPN_MODE_CENTRAL60);
	sim_accept(&n->b, session, &kb);
	sim_expect(&n->a, MVPN_MSG_ANSWER);
	if (mode == MVPN_MODE_CENTRAL63)
		assert_true(chan_get_bytes(&n->a.msg, MVPN_TLV_KEY, key, 32));
	assert_int_equal(sim_finish(&n->a, &q, &ka), 0);
	assert_memory_equal(ka.tx, kb.rx, 32);
	assert_memory_equal(ka.rx, kb.tx, 32);
	read_as_the_server(n, key, &q, session, selectors, len, &ka);
}

static void either_end_s_channel_gives_the_key(void **state)
{
	static const char *const policies[] = {NULL, "allow a -> b\nmode central60 a -> b\n",
					       "allow a -> b\nmode central63 b -> a\n"};
	struct sim_net n;
	json_t *o;

	sim_net_up(&n);
	for (unsigned mode = MVPN_MODE_CENTRAL60; mode < MVPN_MODES; mode++) {
		o = sim_ok(&n.s, "policy-apply", "{s:s}", "text", policies[mode]);
		/* said before it can happen, and on record when it does */
		assert_int_equal(json_array_size(json_object_get(o, "warnings")), 1);
		json_decref(o);
		n.a.mode = n.b.mode = (uint8_t)mode;
		introduce(&n, mode);
		assert_true(newest_is(&n.s, "mode", mvpn_mode_name(mode)));
		assert_int_equal(audited(&n.s, "session-central"), mode);
		o = sim_ok(&n.s, "policy-test", "{s:s, s:s}", "src", "b", "dst", "a");
		assert_string_equal(json_string_value(json_object_get(o, "mode")),
				    mvpn_mode_name(mode));
		json_decref(o);
		o = sim_ok(&n.s, "status", NULL);
		assert_int_equal(json_integer_value(json_object_get(o, "central_sessions")), 1);
		json_decref(o);
		/* the next policy makes it anew */
		sim_policy(&n.s, "allow a -> b\n");
		sim_expect(&n.a, MVPN_MSG_PEER_RESET);
		sim_expect(&n.b, MVPN_MSG_PEER_RESET);
	}
	sim_net_down(&n);
}

/* sim_accept and sim_finish see that no key came with the messages; and the channels' keys do not give the session's */
static void the_default_mode_sends_no_key(void **state)
{
	struct sim_net n;
	struct intro_keys ka, kb;
	struct sim_request q;
	uint8_t session[16], ctx[32], key[32], ab[32], ba[32];
	static const uint8_t no_hash[32];
	struct sim_device *ends[] = {&n.a, &n.b};

	sim_net_up(&n);
	sim_request(&n.a, B_ADDR, &q);
	sim_expect(&n.b, MVPN_MSG_OFFER);
	assert_null(chan_tlv_find(&n.b.msg, MVPN_TLV_KEY, NULL));
	sim_accept(&n.b, session, &kb);
	sim_expect(&n.a, MVPN_MSG_ANSWER);
	assert_null(chan_tlv_find(&n.a.msg, MVPN_TLV_KEY, NULL));
	assert_int_equal(sim_finish(&n.a, &q, &ka), 0);
	assert_true(newest_is(&n.s, "mode", "end-to-end"));
	assert_int_equal(audited(&n.s, "session-central"), 0);
	for (unsigned i = 0; i < 2; i++)
		for (unsigned mode = 0; mode < MVPN_MODES; mode++) {
			struct intro_pair pair = {session,  n.a.id,   n.b.id, n.a.pk,
						  n.b.pk,   NULL,     NULL,   0, NULL};

			intro_central_ctx(ctx, &pair, q.req, q.req_len);
			assert_int_equal(
				chan_export(ends[i]->ch, mvpn_mode_name(mode), ctx, key), 0);
			intro_directions(ab, ba, key, key, no_hash, ctx);
			assert_memory_not_equal(ab, ka.tx, 32);
			assert_memory_not_equal(ba, ka.rx, 32);
		}
	sim_net_down(&n);
}

/* a request in another mode than the policy's is told the right one; a device that takes no part says so to the other */
static void the_policy_s_mode_is_asked_for(void **state)
{
	struct sim_net n;
	struct sim_request q;
	struct chan_buf b = {0};
	uint8_t mode = 0, session[16];

	sim_net_up(&n);
	n.a.mode = MVPN_MODE_CENTRAL60; /* nobody sets it on his own */
	sim_request(&n.a, B_ADDR, &q);
	sim_expect_fail(&n.a, MVPN_R_MODE);
	assert_true(chan_get_u8(&n.a.msg, MVPN_TLV_MODE, &mode));
	assert_int_equal(mode, MVPN_MODE_E2E);
	intro_a_free(q.a);

	sim_policy(&n.s, "allow a -> b\nmode central63 a -> b\n");
	sim_request(&n.a, B_ADDR, &q);
	sim_expect_fail(&n.a, MVPN_R_MODE);
	assert_true(chan_get_u8(&n.a.msg, MVPN_TLV_MODE, &mode));
	assert_int_equal(mode, MVPN_MODE_CENTRAL63);
	intro_a_free(q.a);

	n.a.mode = mode;
	sim_request(&n.a, B_ADDR, &q);
	sim_expect(&n.b, MVPN_MSG_OFFER);
	assert_true(chan_get_bytes(&n.b.msg, MVPN_TLV_SESSION, session, 16));
	chan_begin(&b, MVPN_MSG_REJECT, 0, 0);
	chan_put(&b, MVPN_TLV_SESSION, session, 16);
	chan_put_u16(&b, MVPN_TLV_REASON, MVPN_R_MODE_REFUSED);
	sim_send(&n.b, &b);
	chan_buf_free(&b);
	sim_expect_fail(&n.a, MVPN_R_MODE_REFUSED);
	intro_a_free(q.a);
	assert_int_equal(audited(&n.s, "introduction-failed"), 1);
	assert_int_equal(audited(&n.s, "session-central"), 0);
	sim_net_down(&n);
}

/* A's K would be another one: the server sees that, and A asks again */
static void a_new_channel_between_is_noticed(void **state)
{
	struct sim_net n;
	struct intro_keys kb;
	struct sim_request q;
	uint8_t session[16];

	sim_net_up(&n);
	sim_policy(&n.s, "allow a -> b\nmode central60 a -> b\n");
	n.a.mode = MVPN_MODE_CENTRAL60;
	sim_request(&n.a, B_ADDR, &q);
	sim_expect(&n.b, MVPN_MSG_OFFER);
	/* B's answer comes after A's new channel, of the same life */
	n.a.fd = -1;
	chan_free(n.a.ch);
	n.a.ch = NULL;
	sim_rejoin(&n.a, A_ADDR);
	sim_accept(&n.b, session, &kb);
	sim_expect_fail(&n.a, MVPN_R_STALE_BOOT);
	sim_expect(&n.b, MVPN_MSG_CANCEL);
	intro_a_free(q.a);
	introduce(&n, MVPN_MODE_CENTRAL60);
	sim_net_down(&n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(either_end_s_channel_gives_the_key),
		cmocka_unit_test(the_default_mode_sends_no_key),
		cmocka_unit_test(the_policy_s_mode_is_asked_for),
		cmocka_unit_test(a_new_channel_between_is_noticed),
	};

	if (aead_init() < 0)
		return 1;
	return MVPN_RUN(tests);
}
