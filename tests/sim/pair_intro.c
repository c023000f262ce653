/* SPDX-License-Identifier: BSD-2-Clause */
/* How that server introduces the two: PROTOCOL §3 steps 2 and 4, its concurrency and its failures. */
#include "pair_server.h"

#include <endian.h>
#include <sodium.h>
#include <string.h>

static void put_end(struct chan_buf *b, const struct pair_server *s, const struct node *about)
{
	const uint8_t port[2] = {MVPN_DATA_PORT >> 8, MVPN_DATA_PORT & 255};
	uint8_t at[18];

	memcpy(at, about->addr.b, 16);
	memcpy(at + 16, port, 2);
	chan_put(b, MVPN_TLV_SESSION, s->intro.session, MVPN_ID_LEN);
	chan_put_u64(b, MVPN_TLV_SEQ, s->intro.seq);
	chan_put(b, MVPN_TLV_DEVICE, about->id, MVPN_ID_LEN);
	chan_put(b, MVPN_TLV_S_PUB, about->pk, 32);
	chan_put(b, MVPN_TLV_PSK, s->intro.psk, 32);
	chan_put(b, MVPN_TLV_SELECTORS, s->selectors[s->intro.a], s->selectors_len);
	chan_put_u32(b, MVPN_TLV_TTL, MVPN_SESSION_REKEY_S);
	chan_put(b, MVPN_TLV_ENDPOINT, at, sizeof(at));
}

static void tell_fail(struct pair *p, unsigned i, const uint8_t nonce[16], enum mvpn_reason why)
{
	struct chan_buf b = {0};

	p->server.fails[why]++;
	chan_begin(&b, MVPN_MSG_FAIL, 0, 0);
	chan_put(&b, MVPN_TLV_NONCE, nonce, 16);
	chan_put_u16(&b, MVPN_TLV_REASON, (uint16_t)why);
	if (why == MVPN_R_MODE)
		chan_put_u8(&b, MVPN_TLV_MODE, (uint8_t)p->server.mode);
	server_tell(p, i, &b);
}

/* K of a central mode, of the channel as it is now; false: there is none */
static bool central_key(struct pair *p, uint8_t ret[32])
{
	struct open_intro *i = &p->server.intro;
	unsigned from = i->req.mode == MVPN_MODE_CENTRAL60 ? i->a : !i->a;
	struct link *l = p->server.of[from].link;

	return l && !chan_export(l->ch, mvpn_mode_name(i->req.mode), i->ctx, ret);
}

void intro_close(struct pair *p)
{
	p->server.intro.open = false;
	loop_timer_disarm(p->server.intro.timer);
}

void intro_fail(struct pair *p, enum mvpn_reason why)
{
	struct open_intro *i = &p->server.intro;
	struct chan_buf b = {0};

	if (!i->open)
		return;
	intro_close(p);
	chan_begin(&b, MVPN_MSG_CANCEL, 0, 0);
	chan_put(&b, MVPN_TLV_SESSION, i->session, MVPN_ID_LEN);
	server_tell(p, !i->a, &b);
	tell_fail(p, i->a, i->req.nonce, why);
}

static void on_silent(void *arg)
{
	intro_fail(arg, MVPN_R_PEER_SILENT);
}

static void make_central(struct pair *p, const uint8_t *req, size_t len)
{
	struct open_intro *i = &p->server.intro;
	const struct node *a = &p->node[i->a], *b = &p->node[!i->a];
	struct intro_pair pair = {.session_id = i->session,
				  .a_id = a->id,
				  .b_id = b->id,
				  .a_pk = a->pk,
				  .b_pk = b->pk,
				  .selectors = p->server.selectors[i->a],
				  .selectors_len = p->server.selectors_len};

	intro_central_ctx(i->ctx, &pair, req, len);
	assert_true(central_key(p, i->central));
}

static void offer(struct pair *p, unsigned from, const uint8_t *req, size_t len, const uint8_t *noise1)
{
	struct pair_server *s = &p->server;
	struct open_intro *i = &s->intro;
	struct chan_buf b = {0};

	i->open = true;
	i->a = from;
	i->seq = ++s->seq;
	memcpy(&i->req, req, sizeof(i->req));
	randombytes_buf(i->session, sizeof(i->session));
	randombytes_buf(i->psk, sizeof(i->psk));
	if (i->req.mode != MVPN_MODE_E2E)
		make_central(p, req, len);
	loop_timer_arm(i->timer, MVPN_INTRO_OPEN_S * 1000);
	s->offers++;
	chan_begin(&b, MVPN_MSG_OFFER, 0, 0);
	put_end(&b, s, &p->node[from]);
	chan_put(&b, MVPN_TLV_REQ, req, len);
	chan_put_u64(&b, MVPN_TLV_BOOT_GEN, s->of[!from].boot_gen);
	chan_put(&b, MVPN_TLV_NOISE1, noise1, INTRO_MSG1_B);
	if (i->req.mode == MVPN_MODE_CENTRAL60)
		chan_put(&b, MVPN_TLV_KEY, i->central, 32);
	server_tell(p, !from, &b);
}

static enum mvpn_reason decide(struct pair *p, unsigned from, const struct mvpn_req *req)
{
	const struct pair_server *s = &p->server;

	return be64toh(req->boot_gen_be) != s->of[from].boot_gen ? MVPN_R_STALE_BOOT
	       : s->forbidden				       ? MVPN_R_DENIED
	       : req->mode != s->mode			       ? MVPN_R_MODE
	       : !s->of[!from].link			       ? MVPN_R_PEER_OFFLINE
	       : s->intro.open				       ? MVPN_R_BUSY
							       : MVPN_R_NONE;
}

static bool answered_before(const struct link *l, const uint8_t nonce[16])
{
	for (unsigned i = 0; i < 8; i++)
		if (!memcmp(l->nonces[i], nonce, 16))
			return true;
	return false;
}

void intro_request(struct pair *p, unsigned from, const struct chan_msg *m)
{
	struct pair_server *s = &p->server;
	uint16_t len, len1;
	const uint8_t *r = chan_tlv_find(m, MVPN_TLV_REQ, &len), *noise1 = chan_tlv_find(m, MVPN_TLV_NOISE1, &len1);
	struct mvpn_req req;
	enum mvpn_reason why;

	assert_non_null(r);
	assert_non_null(noise1);
	assert_int_equal(intro_req_check(r, len), 0);
	memcpy(&req, r, sizeof(req));
	s->requests++;
	if (answered_before(s->of[from].link, req.nonce) ||
	    (s->intro.open && s->intro.a == from && !memcmp(s->intro.req.nonce, req.nonce, 16)))
		return;
	why = decide(p, from, &req);
	if (why)
		tell_fail(p, from, req.nonce, why);
	else
		offer(p, from, r, len, noise1);
}

/* B's word; NULL: it comes too late, or again */
static struct open_intro *offered(struct pair *p, unsigned from, const struct chan_msg *m)
{
	struct open_intro *i = &p->server.intro;
	uint8_t id[MVPN_ID_LEN];

	assert_true(chan_get_bytes(m, MVPN_TLV_SESSION, id, sizeof(id)));
	return i->open && i->a != from && !memcmp(id, i->session, sizeof(id)) ? i : NULL;
}

void intro_accept(struct pair *p, unsigned from, const struct chan_msg *m)
{
	struct pair_server *s = &p->server;
	struct open_intro *i = offered(p, from, m);
	struct chan_buf b = {0};
	struct link *l;
	uint8_t now[32];
	uint16_t len;
	const uint8_t *noise2 = chan_tlv_find(m, MVPN_TLV_NOISE2, &len);

	if (!i)
		return;
	if (i->req.mode != MVPN_MODE_E2E && (!central_key(p, now) || memcmp(now, i->central, 32))) {
		intro_fail(p, MVPN_R_STALE_BOOT);
		return;
	}
	intro_close(p);
	s->on_record = true;
	s->of[A].owed = s->of[B].owed = false;
	l = s->of[i->a].link;
	memcpy(l->nonces[l->nnonces++ % 8], i->req.nonce, 16);
	s->answers++;
	chan_begin(&b, MVPN_MSG_ANSWER, 0, 0);
	put_end(&b, s, &p->node[from]);
	chan_put(&b, MVPN_TLV_NONCE, i->req.nonce, 16);
	chan_put_u64(&b, MVPN_TLV_BOOT_GEN, s->of[i->a].boot_gen);
	chan_put(&b, MVPN_TLV_NOISE2, noise2, len);
	if (i->req.mode == MVPN_MODE_CENTRAL63)
		chan_put(&b, MVPN_TLV_KEY, i->central, 32);
	server_tell(p, i->a, &b);
}

void intro_reject(struct pair *p, unsigned from, const struct chan_msg *m)
{
	struct open_intro *i = offered(p, from, m);
	uint16_t why = MVPN_R_LOCAL_POLICY;

	chan_get_u16(m, MVPN_TLV_REASON, &why);
	if (!i)
		return;
	intro_close(p);
	tell_fail(p, i->a, i->req.nonce, why);
}

void intro_init(struct pair *p)
{
	struct pair_server *s = &p->server;
	struct intro_selectors sel = {.na = 1, .nb = 1};

	for (unsigned a = 0; a < 2; a++) {
		int len;

		sel.a[0] = (struct mvpn_prefix){.len = 128, .addr = p->node[a].addr};
		sel.b[0] = (struct mvpn_prefix){.len = 128, .addr = p->node[!a].addr};
		len = intro_selectors_encode(&sel, s->selectors[a], sizeof(s->selectors[a]));
		assert_true(len > 0);
		s->selectors_len = (size_t)len;
	}
	assert_int_equal(loop_timer_new(p->loop, on_silent, p, &s->intro.timer), 0);
}

void intro_free(struct pair *p)
{
	loop_timer_free(p->server.intro.timer);
}
