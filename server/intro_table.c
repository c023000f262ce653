/* SPDX-License-Identifier: BSD-2-Clause */
#include <endian.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "delegate.h"
#include "echo.h"
#include "intro_table.h"
#include "refusal.h"
#include "secmem.h"

/* ---- the table of open ones ---- */

struct pair_key {
	uint8_t low[16], high[16], layer;
} __attribute__((packed));

static uint64_t pair_hash(const struct intros *in, const struct device *a, const struct device *b,
			  uint8_t layer)
{
	bool swap = memcmp(a->row.id, b->row.id, 16) > 0;
	struct pair_key key;

	memcpy(key.low, swap ? b->row.id : a->row.id, 16);
	memcpy(key.high, swap ? a->row.id : b->row.id, 16);
	key.layer = layer;
	return htab_hash(&in->by_pair, &key, sizeof(key));
}

struct intro *intro_find_pair(const struct intros *in, const struct device *a,
			      const struct device *b, uint8_t layer)
{
	struct hnode *n = htab_first(&in->by_pair, pair_hash(in, a, b, layer));

	for (; n; n = htab_next(n)) {
		struct intro *i = container_of(n, struct intro, by_pair);

		if (i->layer == layer && ((i->a == a && i->b == b) || (i->a == b && i->b == a)))
			return i;
	}
	return NULL;
}

struct intro *intro_find_session(const struct intros *in, const uint8_t id[16])
{
	struct hnode *n = htab_first(&in->by_session, htab_hash(&in->by_session, id, 16));

	for (; n; n = htab_next(n)) {
		struct intro *i = container_of(n, struct intro, by_session);

		if (!memcmp(i->session_id, id, 16))
			return i;
	}
	return NULL;
}

void intro_free(struct intros *in, struct intro *i)
{
	htab_del(&in->by_session, &i->by_session);
	htab_del(&in->by_pair, &i->by_pair);
	*(i->prev ? &i->prev->next : &in->first) = i->next;
	*(i->next ? &i->next->prev : &in->last) = i->prev;
	in->count--;
	in->nwaiting -= i->offer || i->answer_waits;
	intro_unqueue(in, i);
	secmem_free(i->psk);
	free(i->offer);
	free(i->selectors);
	free(i->noise2);
	free(i);
}

void intro_link(struct intros *in, struct intro *i)
{
	htab_add(&in->by_session, &i->by_session,
		 htab_hash(&in->by_session, i->session_id, sizeof(i->session_id)));
	htab_add(&in->by_pair, &i->by_pair, pair_hash(in, i->a, i->b, i->layer));
	i->prev = in->last;
	*(i->prev ? &i->prev->next : &in->first) = i;
	in->last = i;
	in->count++;
	i->deadline_ms = mono_ms() + MVPN_INTRO_OPEN_S * 1000;
	if (!loop_timer_armed(in->timer))
		loop_timer_arm(in->timer, MVPN_INTRO_OPEN_S * 1000);
}

/* ---- messages ---- */

unsigned pair_mode(const struct server *s, const struct device *a, const struct device *b)
{
	struct policy_subject sa = registry_subject(a), sb = registry_subject(b);

	return policy_mode_of(s->policy, &sa, &sb);
}

static void note_fail(struct server *s, const struct device *a, const struct device *b, enum mvpn_reason reason)
{
	uint8_t key[2 * MVPN_ID_LEN + 1] = {0};

	memcpy(key, a->row.id, MVPN_ID_LEN);
	if (b)
		memcpy(key + MVPN_ID_LEN, b->row.id, MVPN_ID_LEN);
	key[2 * MVPN_ID_LEN] = (uint8_t)reason;
	refusal_note(s, "server", "introduction-failed", key, sizeof(key),
		     json_pack("{s:s, s:s*, s:s, s:I}", "a", a->row.name, "b", b ? b->row.name : NULL, "reason",
			       mvpn_reason_name(reason), "policy_rev", (json_int_t)s->policy_rev));
}

void intro_send_fail(struct server *s, const struct device *a, const struct device *peer,
		     const uint8_t nonce[16], enum mvpn_reason reason, const uint8_t *session)
{
	struct conn *c = device_conn(a);
	struct chan_buf *b = &s->buf;
	const char *text = mvpn_reason_text(reason);

	s->fails[reason]++;
	if (!c)
		return;
	chan_begin(b, MVPN_MSG_FAIL, 0, 0);
	chan_put(b, MVPN_TLV_NONCE, nonce, 16);
	chan_put_u16(b, MVPN_TLV_REASON, (uint16_t)reason);
	chan_put(b, MVPN_TLV_TEXT, text, strlen(text));
	if (reason == MVPN_R_MODE)
		chan_put_u8(b, MVPN_TLV_MODE, (uint8_t)pair_mode(s, a, peer));
	if (session)
		chan_put(b, MVPN_TLV_SESSION, session, 16);
	conn_send(c, b);
	if (reason != MVPN_R_BUSY && reason != MVPN_R_MODE)
		note_fail(s, a, peer, reason);
}

static void send_cancel(struct server *s, const struct intro *i)
{
	struct conn *c = device_conn(i->b);

	if (!c || i->offer)
		return;
	count(s, cancelled);
	chan_begin(&s->buf, MVPN_MSG_CANCEL, 0, 0);
	chan_put(&s->buf, MVPN_TLV_SESSION, i->session_id, 16);
	conn_send(c, &s->buf);
}

void intro_abandon(struct server *s, struct intro *i, enum mvpn_reason reason)
{
	send_cancel(s, i);
	intro_send_fail(s, i->a, i->b, i->nonce, reason,
			reason == MVPN_R_BUSY ? i->session_id : NULL);
	intro_free(s->intros, i);
}

/* by which lines the two talk, for people who ask either of them */
static void put_rules(struct server *s, const struct intro *i, struct chan_buf *b)
{
	struct policy_subject x = registry_subject(i->a), y = registry_subject(i->b);
	struct policy_rule_of of[MVPN_RULES_MAX];
	unsigned n = i->layer == MVPN_LAYER_LINK ? 0 : policy_rules_of(s->policy, &x, &y, of, MVPN_RULES_MAX);

	chan_put_u64(b, MVPN_TLV_REV, s->policy_rev);
	for (unsigned k = 0; k < n; k++) {
		uint8_t v[MVPN_RULE_HEAD_B + MVPN_SERVICE_B * MVPN_SERVICES_MAX + MVPN_RULE_TEXT_B];
		const struct policy_rule *r = of[k].rule;
		unsigned some = r->nservices < MVPN_SERVICES_MAX ? r->nservices : MVPN_SERVICES_MAX;
		uint32_t line = htobe32(r->line);
		uint8_t *at = v + MVPN_RULE_HEAD_B;

		memcpy(v, &line, sizeof(line));
		v[4] = (uint8_t)of[k].begins;
		v[5] = (uint8_t)some;
		for (unsigned m = 0; m < some; m++, at += MVPN_SERVICE_B)
			mvpn_service_encode(at, &r->services[m]);
		policy_rule_str(r, (char *)at, MVPN_RULE_TEXT_B);
		chan_put(b, MVPN_TLV_RULE, v, (size_t)(at - v) + strlen((char *)at));
	}
}

void intro_send_offer(struct server *s, const struct intro *i, const struct request *q)
{
	struct chan_buf *b = &s->buf;

	chan_begin(b, MVPN_MSG_OFFER, 0, 0);
	chan_put(b, MVPN_TLV_SESSION, i->session_id, 16);
	chan_put_u64(b, MVPN_TLV_SEQ, i->seq);
	chan_put(b, MVPN_TLV_REQ, q->bytes, q->len);
	chan_put(b, MVPN_TLV_DEVICE, i->a->row.id, 16);
	chan_put(b, MVPN_TLV_S_PUB, i->a->row.pk, 32);
	delegate_put(b, i->a);
	chan_put(b, MVPN_TLV_PSK, i->psk, 32);
	chan_put_u64(b, MVPN_TLV_BOOT_GEN, i->b->row.boot_gen);
	chan_put(b, MVPN_TLV_SELECTORS, i->selectors, i->selectors_len);
	chan_put_u32(b, MVPN_TLV_TTL, server_rekey_s(s));
	put_rules(s, i, b);
	echo_put_endpoint(b, i->a, i->b->conn);
	chan_put(b, MVPN_TLV_NOISE1, q->noise1, sizeof(q->noise1));
	if (i->mode == MVPN_MODE_CENTRAL60)
		chan_put(b, MVPN_TLV_KEY, i->key, MVPN_KEY_LEN);
	conn_send(i->b->conn, b);
	sodium_memzero(b->data, b->len);
	count(s, offers);
}

void intro_send_answer(struct server *s, const struct intro *i)
{
	struct chan_buf *b = &s->buf;

	chan_begin(b, MVPN_MSG_ANSWER, 0, 0);
	chan_put(b, MVPN_TLV_SESSION, i->session_id, 16);
	chan_put_u64(b, MVPN_TLV_SEQ, i->seq);
	chan_put(b, MVPN_TLV_NONCE, i->nonce, 16);
	chan_put(b, MVPN_TLV_DEVICE, i->b->row.id, 16);
	chan_put(b, MVPN_TLV_S_PUB, i->b->row.pk, 32);
	delegate_put(b, i->b);
	chan_put(b, MVPN_TLV_PSK, i->psk, 32);
	chan_put(b, MVPN_TLV_SELECTORS, i->selectors, i->selectors_len);
	chan_put_u32(b, MVPN_TLV_TTL, server_rekey_s(s));
	put_rules(s, i, b);
	echo_put_endpoint(b, i->b, i->a->conn);
	chan_put(b, MVPN_TLV_NOISE2, i->noise2, i->noise2_len);
	chan_put_u64(b, MVPN_TLV_BOOT_GEN, i->a->row.boot_gen);
	if (i->mode == MVPN_MODE_CENTRAL63)
		chan_put(b, MVPN_TLV_KEY, i->key, MVPN_KEY_LEN);
	conn_send(i->a->conn, b);
	sodium_memzero(b->data, b->len);
	count(s, answers);
}
