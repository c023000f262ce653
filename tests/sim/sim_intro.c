/* SPDX-License-Identifier: BSD-2-Clause */
/* Introductions as both ends make them, and what the server says about one end to the other. */
#include "sim.h"

#include <arpa/inet.h>
#include <string.h>

static struct intro_self self_of(const struct sim_device *d, uint32_t spi)
{
	return (struct intro_self){.s = d->sk,
				   .spi = spi,
				   .lanes = 2,
				   .suites = 1,
				   .udpport = 7469,
				   .boot_gen = d->boot_gen};
}

static void make(struct sim_device *a, uint8_t layer, const uint8_t dst[16],
		 const uint8_t replaces[16], struct sim_request *ret)
{
	struct intro_self self = self_of(a, 0x10001);
	struct mvpn_req tmpl = {.ver = MVPN_PROTO_VER, .mode = a->mode, .layer = layer};

	memcpy(tmpl.net_id, a->net_id, 8);
	memcpy(tmpl.a_id, a->id, 16);
	memcpy(tmpl.dst, dst, 16);
	memcpy(tmpl.replaces, replaces, 16);
	assert_int_equal(intro_a_start(&ret->a, &tmpl, &self, ret->req, &ret->req_len, ret->msg1),
			 0);
	ret->meant = NULL;
	memcpy(&tmpl, ret->req, sizeof(tmpl));
	memcpy(ret->nonce, tmpl.nonce, 16);
}

static void request(struct sim_device *a, uint8_t layer, const uint8_t dst[16],
		    const uint8_t replaces[16], struct sim_request *ret)
{
	make(a, layer, dst, replaces, ret);
	sim_request_send(a, ret);
}

void sim_request_make(struct sim_device *a, const char *dst, struct sim_request *ret)
{
	static const uint8_t none[16];
	struct mvpn_addr addr;

	assert_int_equal(mvpn_addr_parse(&addr, dst), 0);
	make(a, MVPN_LAYER_NETWORK, addr.b, none, ret);
}

void sim_request(struct sim_device *a, const char *dst, struct sim_request *ret)
{
	static const uint8_t none[16];

	sim_rekey(a, dst, none, ret);
}

void sim_rekey(struct sim_device *a, const char *dst, const uint8_t replaces[16],
	       struct sim_request *ret)
{
	struct mvpn_addr addr;

	assert_int_equal(mvpn_addr_parse(&addr, dst), 0);
	request(a, MVPN_LAYER_NETWORK, addr.b, replaces, ret);
}

void sim_request_socket(struct sim_device *a, const char *dst, struct sim_request *ret)
{
	static const uint8_t none[16];
	struct mvpn_addr addr;

	assert_int_equal(mvpn_addr_parse(&addr, dst), 0);
	request(a, MVPN_LAYER_SOCKET, addr.b, none, ret);
}

void sim_request_link(struct sim_device *a, const struct sim_device *b, struct sim_request *ret)
{
	static const uint8_t none[16];

	request(a, MVPN_LAYER_LINK, b->id, none, ret);
}

void sim_request_send(struct sim_device *a, const struct sim_request *q)
{
	struct chan_buf b = {0};

	chan_begin(&b, MVPN_MSG_REQUEST, 0, 0);
	chan_put(&b, MVPN_TLV_REQ, q->req, q->req_len);
	chan_put(&b, MVPN_TLV_NOISE1, q->msg1, INTRO_MSG1_B);
	if (q->meant)
		chan_put(&b, MVPN_TLV_DEVICE, q->meant, MVPN_ID_LEN);
	sim_send(a, &b);
	chan_buf_free(&b);
}

bool sim_central_key(struct sim_device *d, const struct intro_pair *pair, const uint8_t *req,
		     size_t req_len, uint8_t ret[32])
{
	uint8_t mode = req[offsetof(struct mvpn_req, mode)], ctx[32];
	bool told = chan_get_bytes(&d->msg, MVPN_TLV_KEY, ret, 32), a = pair->a_id == d->id;

	/* the end whose channel it comes from is not told */
	assert_int_equal(told, mode == (a ? MVPN_MODE_CENTRAL63 : MVPN_MODE_CENTRAL60));
	if (mode == MVPN_MODE_E2E || told)
		return told;
	intro_central_ctx(ctx, pair, req, req_len);
	assert_int_equal(chan_export(d->ch, mvpn_mode_name(mode), ctx, ret), 0);
	return true;
}

void sim_accept(struct sim_device *b, uint8_t ret_session[16], struct intro_keys *ret)
{
	struct chan_buf out = {0};

	sim_accept_make(b, ret_session, ret, &out);
	sim_send(b, &out);
	chan_buf_free(&out);
}

void sim_accept_make(struct sim_device *b, uint8_t ret_session[16], struct intro_keys *ret,
		     struct chan_buf *ret_message)
{
	struct intro_self self = self_of(b, 0x20002);
	uint8_t a_id[16], a_pk[32], psk[32], key[32], msg2[INTRO_MSG2_MAX_B];
	uint16_t req_len, noise_len, sel_len;
	const uint8_t *req = chan_tlv_find(&b->msg, MVPN_TLV_REQ, &req_len);
	const uint8_t *noise1 = chan_tlv_find(&b->msg, MVPN_TLV_NOISE1, &noise_len);
	const uint8_t *sel = chan_tlv_find(&b->msg, MVPN_TLV_SELECTORS, &sel_len);
	struct intro_pair pair = {.session_id = ret_session,
				  .a_id = a_id,
				  .a_pk = a_pk,
				  .b_id = b->id,
				  .b_pk = b->pk,
				  .psk = psk};
	uint64_t boot_gen = 0;
	size_t len;

	assert_true(req && noise1 && sel);
	assert_true(chan_get_bytes(&b->msg, MVPN_TLV_SESSION, ret_session, 16));
	assert_true(chan_get_bytes(&b->msg, MVPN_TLV_DEVICE, a_id, 16));
	assert_true(chan_get_bytes(&b->msg, MVPN_TLV_S_PUB, a_pk, 32));
	assert_true(chan_get_bytes(&b->msg, MVPN_TLV_PSK, psk, 32));
	assert_true(chan_get_u64(&b->msg, MVPN_TLV_BOOT_GEN, &boot_gen));
	assert_int_equal(boot_gen, b->boot_gen);
	pair.selectors = sel;
	pair.selectors_len = sel_len;
	if (sim_central_key(b, &pair, req, req_len, key))
		pair.central = key;
	assert_int_equal(
		intro_b_accept(req, req_len, noise1, noise_len, &pair, &self, msg2, &len, ret), 0);
	chan_begin(ret_message, MVPN_MSG_ACCEPT, 0, 0);
	chan_put(ret_message, MVPN_TLV_SESSION, ret_session, 16);
	chan_put(ret_message, MVPN_TLV_NOISE2, msg2, len);
}

int sim_finish(struct sim_device *a, struct sim_request *q, struct intro_keys *ret)
{
	uint8_t session[16], b_id[16], b_pk[32], psk[32], nonce[16], key[32];
	uint16_t noise_len, sel_len;
	const uint8_t *noise2 = chan_tlv_find(&a->msg, MVPN_TLV_NOISE2, &noise_len);
	const uint8_t *sel = chan_tlv_find(&a->msg, MVPN_TLV_SELECTORS, &sel_len);
	struct intro_pair pair = {.session_id = session,
				  .a_id = a->id,
				  .a_pk = a->pk,
				  .b_id = b_id,
				  .b_pk = b_pk,
				  .psk = psk};
	int r;

	assert_true(noise2 && sel);
	assert_true(chan_get_bytes(&a->msg, MVPN_TLV_NONCE, nonce, 16));
	assert_memory_equal(nonce, q->nonce, 16);
	assert_true(chan_get_bytes(&a->msg, MVPN_TLV_SESSION, session, 16));
	assert_true(chan_get_bytes(&a->msg, MVPN_TLV_DEVICE, b_id, 16));
	assert_true(chan_get_bytes(&a->msg, MVPN_TLV_S_PUB, b_pk, 32));
	assert_true(chan_get_bytes(&a->msg, MVPN_TLV_PSK, psk, 32));
	pair.selectors = sel;
	pair.selectors_len = sel_len;
	if (sim_central_key(a, &pair, q->req, q->req_len, key))
		pair.central = key;
	r = intro_a_finish(q->a, &pair, noise2, noise_len, ret);
	intro_a_free(q->a);
	q->a = NULL;
	return r;
}

void sim_introduce(struct sim_device *a, struct sim_device *b, const char *dst,
		   uint8_t ret_session[16])
{
	struct intro_keys ka, kb;
	struct sim_request q;

	sim_request(a, dst, &q);
	sim_expect(b, MVPN_MSG_OFFER);
	sim_accept(b, ret_session, &kb);
	sim_expect(a, MVPN_MSG_ANSWER);
	assert_int_equal(sim_finish(a, &q, &ka), 0);
	assert_memory_equal(ka.tx, kb.rx, 32);
	assert_memory_equal(ka.rx, kb.tx, 32);
	assert_memory_not_equal(ka.tx, ka.rx, 32);
}
