/* SPDX-License-Identifier: BSD-2-Clause */
#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "channel.h"
#include "crypto.h"
#include "intro.h"
#include "introduce.h"
#include "log.h"
#include "secmem.h"
#include "session.h"

#define SELECTORS_MAX_B (2 + 2 * 17 * MVPN_SELECTORS_MAX)

struct intro {
	struct hnode by_session, by_pair;
	struct intro *prev, *next; /* by deadline: all wait equally long */
	struct device *a, *b;
	uint8_t session_id[16], nonce[16], replaces[16];
	uint8_t layer;
	uint64_t seq, deadline_ms;
	uint8_t *psk; /* secmem cell */
	uint8_t *selectors;
	size_t selectors_len;
};

struct intros {
	struct server *s;
	struct htab by_session, by_pair;
	struct intro *first, *last;
	unsigned count;
	struct loop_timer *timer;
};

/* what REQUEST said, copied: sending on the channel makes the message invalid */
struct request {
	uint8_t bytes[INTRO_REQ_MAX_B];
	size_t len;
	struct mvpn_req req; /* its head */
	uint8_t noise1[INTRO_MSG1_B];
};

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

static struct intro *find_pair(const struct intros *in, const struct device *a, const struct device *b,
			       uint8_t layer)
{
	struct hnode *n = htab_first(&in->by_pair, pair_hash(in, a, b, layer));

	for (; n; n = htab_next(n)) {
		struct intro *i = container_of(n, struct intro, by_pair);

		if (i->layer == layer && ((i->a == a && i->b == b) || (i->a == b && i->b == a)))
			return i;
	}
	return NULL;
}

static struct intro *find_session(const struct intros *in, const uint8_t id[16])
{
	struct hnode *n = htab_first(&in->by_session, htab_hash(&in->by_session, id, 16));

	for (; n; n = htab_next(n)) {
		struct intro *i = container_of(n, struct intro, by_session);

		if (!memcmp(i->session_id, id, 16))
			return i;
	}
	return NULL;
}

static void intro_free(struct intros *in, struct intro *i)
{
	htab_del(&in->by_session, &i->by_session);
	htab_del(&in->by_pair, &i->by_pair);
	*(i->prev ? &i->prev->next : &in->first) = i->next;
	*(i->next ? &i->next->prev : &in->last) = i->prev;
	in->count--;
	secmem_free(i->psk);
	free(i->selectors);
	free(i);
}

static void intro_link(struct intros *in, struct intro *i)
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

struct fail_note {
	const struct device *a, *b;
	enum mvpn_reason reason;
};

static int audit_fail(struct server *s, void *arg)
{
	const struct fail_note *n = arg;

	return audit_add(&s->audit, "server", "introduction-failed",
			 json_pack("{s:s, s:s*, s:s}", "a", n->a->row.name, "b",
				   n->b ? n->b->row.name : NULL, "reason", mvpn_reason_name(n->reason)));
}

/* peer and session may be NULL */
static void send_fail(struct server *s, const struct device *a, const struct device *peer,
		      const uint8_t nonce[16], enum mvpn_reason reason, const uint8_t *session)
{
	struct fail_note note = { a, peer, reason };
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
	if (session)
		chan_put(b, MVPN_TLV_SESSION, session, 16);
	conn_send(c, b);
	if (reason != MVPN_R_BUSY && conn_may_audit(c))
		server_transact(s, false, audit_fail, &note);
}

static void send_cancel(struct server *s, const struct intro *i)
{
	struct conn *c = device_conn(i->b);

	if (!c)
		return;
	count(s, cancelled);
	chan_begin(&s->buf, MVPN_MSG_CANCEL, 0, 0);
	chan_put(&s->buf, MVPN_TLV_SESSION, i->session_id, 16);
	conn_send(c, &s->buf);
}

/* both ends hear that it is over; i is freed */
static void abandon(struct server *s, struct intro *i, enum mvpn_reason reason)
{
	send_cancel(s, i);
	send_fail(s, i->a, i->b, i->nonce, reason, reason == MVPN_R_BUSY ? i->session_id : NULL);
	intro_free(s->intros, i);
}

static void put_endpoint(struct chan_buf *b, const struct device *d)
{
	uint8_t v[18];

	memcpy(v, d->conn->from.addr.b, 16);
	v[16] = (uint8_t)(d->udp_port >> 8);
	v[17] = (uint8_t)d->udp_port;
	chan_put(b, MVPN_TLV_ENDPOINT, v, sizeof(v));
}

static void send_offer(struct server *s, const struct intro *i, const struct request *q)
{
	struct chan_buf *b = &s->buf;

	chan_begin(b, MVPN_MSG_OFFER, 0, 0);
	chan_put(b, MVPN_TLV_SESSION, i->session_id, 16);
	chan_put_u64(b, MVPN_TLV_SEQ, i->seq);
	chan_put(b, MVPN_TLV_REQ, q->bytes, q->len);
	chan_put(b, MVPN_TLV_DEVICE, i->a->row.id, 16);
	chan_put(b, MVPN_TLV_S_PUB, i->a->row.pk, 32);
	chan_put(b, MVPN_TLV_PSK, i->psk, 32);
	chan_put_u64(b, MVPN_TLV_BOOT_GEN, i->b->row.boot_gen);
	chan_put(b, MVPN_TLV_SELECTORS, i->selectors, i->selectors_len);
	chan_put_u32(b, MVPN_TLV_TTL, (uint32_t)s->conf->rekey_s);
	put_endpoint(b, i->a);
	chan_put(b, MVPN_TLV_NOISE1, q->noise1, sizeof(q->noise1));
	conn_send(i->b->conn, b);
	sodium_memzero(b->data, b->len);
	count(s, offers);
}

static void send_answer(struct server *s, const struct intro *i, const uint8_t *noise2, size_t len)
{
	struct chan_buf *b = &s->buf;

	chan_begin(b, MVPN_MSG_ANSWER, 0, 0);
	chan_put(b, MVPN_TLV_SESSION, i->session_id, 16);
	chan_put_u64(b, MVPN_TLV_SEQ, i->seq);
	chan_put(b, MVPN_TLV_NONCE, i->nonce, 16);
	chan_put(b, MVPN_TLV_DEVICE, i->b->row.id, 16);
	chan_put(b, MVPN_TLV_S_PUB, i->b->row.pk, 32);
	chan_put(b, MVPN_TLV_PSK, i->psk, 32);
	chan_put(b, MVPN_TLV_SELECTORS, i->selectors, i->selectors_len);
	chan_put_u32(b, MVPN_TLV_TTL, (uint32_t)s->conf->rekey_s);
	put_endpoint(b, i->b);
	chan_put(b, MVPN_TLV_NOISE2, noise2, len);
	chan_put_u64(b, MVPN_TLV_BOOT_GEN, i->a->row.boot_gen);
	conn_send(i->a->conn, b);
	sodium_memzero(b->data, b->len);
	count(s, answers);
}

/* ---- REQUEST ---- */

static int parse_request(const struct conn *c, const struct chan_msg *m, struct request *q)
{
	uint16_t len;
	const uint8_t *p = chan_tlv_find(m, MVPN_TLV_REQ, &len);

	if (!p || len > sizeof(q->bytes) || intro_req_check(p, len) < 0 ||
	    !chan_get_bytes(m, MVPN_TLV_NOISE1, q->noise1, sizeof(q->noise1)))
		return -EPROTO;
	memcpy(q->bytes, p, len);
	q->len = len;
	memcpy(&q->req, p, sizeof(q->req));
	/* nobody asks in another's name */
	if (memcmp(q->req.a_id, c->dev->row.id, 16) || memcmp(q->req.net_id, c->s->id.net_id, 8)) {
		log_ratelimited(LOG_L_WARN, "device %s asked in another's name: channel closed",
				c->dev->row.name);
		return -EPROTO;
	}
	return 0;
}

static bool answered_before(const struct conn *c, const uint8_t nonce[16])
{
	for (unsigned i = 0; i < CONN_NONCES && i < c->next_nonce; i++)
		if (!memcmp(c->nonces[i], nonce, 16))
			return true;
	return false;
}

/* Who owns the destination, and may the two talk? The policy comes first: nobody learns more about a device that it may
 * not talk to. */
static enum mvpn_reason decide(struct conn *c, const struct request *q, struct device **ret_b)
{
	struct server *s = c->s;
	struct policy_subject sa, sb;
	struct mvpn_addr dst;
	struct device *b = NULL;

	if (c->budget < 0) {
		count(s, too_many_messages);
		return MVPN_R_LIMIT;
	}
	if (c->dev->row.state != MVPN_DEV_ACTIVE)
		return MVPN_R_PENDING;
	if (be64toh(q->req.boot_gen_be) != chan_who(c->ch)->boot_gen)
		return MVPN_R_STALE_BOOT;
	if (q->req.mode != MVPN_MODE_E2E)
		return MVPN_R_DENIED;
	memcpy(dst.b, q->req.dst, sizeof(dst.b));
	if (!registry_owner_of(s->reg, &dst, &b) || !b || b == c->dev)
		return MVPN_R_UNKNOWN_DST;
	sa = registry_subject(c->dev);
	sb = registry_subject(b);
	if (!policy_allows(s->policy, &sa, &sb))
		return MVPN_R_DENIED;
	*ret_b = b;
	switch (b->row.state) {
	case MVPN_DEV_REVOKED:
		return MVPN_R_REVOKED;
	case MVPN_DEV_SUSPENDED:
		return MVPN_R_SUSPENDED;
	case MVPN_DEV_PENDING:
		return MVPN_R_PENDING;
	default:
		return device_conn(b) ? MVPN_R_NONE : MVPN_R_PEER_OFFLINE;
	}
}

static unsigned side(struct server *s, const struct device *d, const struct mvpn_prefix *first,
		     struct mvpn_prefix out[MVPN_SELECTORS_MAX])
{
	unsigned n = 0;

	if (first)
		out[n++] = *first;
	for (unsigned i = 0; i < d->nowned; i++) {
		if (first && d->owned[i].len == first->len &&
		    mvpn_addr_eq(&d->owned[i].addr, &first->addr))
			continue;
		if (n == MVPN_SELECTORS_MAX) {
			count(s, selectors_cut);
			log_ratelimited(LOG_L_WARN,
					"device %s owns %u prefixes, a session carries %d: join them",
					d->row.name, d->nowned, MVPN_SELECTORS_MAX);
			break;
		}
		out[n++] = d->owned[i];
	}
	return n;
}

/* the prefix that the destination belongs to is among B's, whatever is left out */
static int make_selectors(struct server *s, struct intro *i, const uint8_t dst[16])
{
	struct intro_selectors sel;
	const struct mvpn_prefix *hit = NULL;
	uint8_t bytes[SELECTORS_MAX_B];
	struct mvpn_addr a;
	int len;

	memcpy(a.b, dst, sizeof(a.b));
	for (unsigned k = 0; k < i->b->nowned; k++)
		if (mvpn_prefix_contains(&i->b->owned[k], &a) && (!hit || i->b->owned[k].len > hit->len))
			hit = &i->b->owned[k];
	sel.na = side(s, i->a, NULL, sel.a);
	sel.nb = side(s, i->b, hit, sel.b);
	len = intro_selectors_encode(&sel, bytes, sizeof(bytes));
	if (len < 0)
		return len;
	i->selectors = malloc((size_t)len);
	if (!i->selectors)
		return -ENOMEM;
	memcpy(i->selectors, bytes, (size_t)len);
	i->selectors_len = (size_t)len;
	return 0;
}

static enum mvpn_reason open_intro(struct server *s, struct device *a, struct device *b,
				   const struct request *q)
{
	struct intro *i;

	if (s->intros->count >= s->conf->max_introductions)
		return MVPN_R_LIMIT;
	i = calloc(1, sizeof(*i));
	if (!i)
		return MVPN_R_INTERNAL;
	i->a = a;
	i->b = b;
	i->layer = q->req.layer;
	memcpy(i->nonce, q->req.nonce, sizeof(i->nonce));
	memcpy(i->replaces, q->req.replaces, sizeof(i->replaces));
	i->psk = secmem_alloc();
	i->seq = i->psk ? server_next_seq(s) : 0;
	if (!i->seq || make_selectors(s, i, q->req.dst) < 0) {
		secmem_free(i->psk);
		free(i);
		return MVPN_R_INTERNAL;
	}
	randombytes_buf(i->psk, MVPN_KEY_LEN);
	randombytes_buf(i->session_id, sizeof(i->session_id));
	intro_link(s->intros, i);
	send_offer(s, i, q);
	return MVPN_R_NONE;
}

int introduce_request(struct conn *c, const struct chan_msg *m)
{
	struct server *s = c->s;
	struct device *b = NULL;
	struct request q;
	struct intro *open;
	enum mvpn_reason reason;

	if (parse_request(c, m, &q) < 0)
		return -EPROTO;
	count(s, requests);
	if (answered_before(c, q.req.nonce)) {
		count(s, duplicates);
		return 0;
	}
	reason = decide(c, &q, &b);
	open = reason == MVPN_R_NONE ? find_pair(s->intros, c->dev, b, q.req.layer) : NULL;
	if (open && open->a == c->dev && !memcmp(open->nonce, q.req.nonce, 16)) {
		count(s, duplicates); /* its answer is on the way */
		return 0;
	}
	if (open)
		reason = MVPN_R_BUSY;
	if (reason == MVPN_R_NONE)
		reason = open_intro(s, c->dev, b, &q);
	if (reason != MVPN_R_NONE)
		send_fail(s, c->dev, b, q.req.nonce, reason, open ? open->session_id : NULL);
	return 0;
}

/* ---- B's word ---- */

/* the open introduction that this message of B is about, or NULL; -EPROTO if it names none */
static int find_offer(struct conn *c, const struct chan_msg *m, struct intro **ret)
{
	uint8_t id[16];

	if (!chan_get_bytes(m, MVPN_TLV_SESSION, id, sizeof(id)))
		return -EPROTO;
	*ret = find_session(c->s->intros, id);
	if (*ret && (*ret)->b != c->dev)
		*ret = NULL;
	if (!*ret)
		count(c->s, stray_answers); /* too late: cancelled meanwhile */
	return 0;
}

static int record_session(struct server *s, void *arg)
{
	const struct intro *i = arg;
	struct store_session row = {
		.layer = i->layer,
		.state = SESSION_ACTIVE,
		.seq = i->seq,
		.policy_rev = s->policy_rev,
		.created_at = wall_now(),
	};

	memcpy(row.id, i->session_id, 16);
	memcpy(row.a, i->a->row.id, 16);
	memcpy(row.b, i->b->row.id, 16);
	/* the devices' hard limit: twice the rekey time, or longer while the server is away */
	row.ends_at = row.created_at + 2 * (int64_t)s->conf->rekey_s + (int64_t)s->conf->max_offline_s;
	return session_record(s, &row, sodium_is_zero(i->replaces, 16) ? NULL : i->replaces);
}

int introduce_accept(struct conn *c, const struct chan_msg *m)
{
	struct server *s = c->s;
	uint8_t noise2[INTRO_MSG2_MAX_B];
	struct intro *i;
	struct conn *a;
	uint16_t len;
	const uint8_t *p = chan_tlv_find(m, MVPN_TLV_NOISE2, &len);

	if (!p || len > sizeof(noise2) || find_offer(c, m, &i) < 0)
		return -EPROTO;
	if (!i)
		return 0;
	memcpy(noise2, p, len);
	a = device_conn(i->a);
	if (!a) {
		abandon(s, i, MVPN_R_PEER_OFFLINE);
		return 0;
	}
	/* on record before anybody can transmit: a revocation must find it */
	if (server_transact(s, false, record_session, i) < 0) {
		abandon(s, i, MVPN_R_INTERNAL);
		return 0;
	}
	memcpy(a->nonces[a->next_nonce++ % CONN_NONCES], i->nonce, 16);
	send_answer(s, i, noise2, len);
	intro_free(s->intros, i);
	return 0;
}

int introduce_reject(struct conn *c, const struct chan_msg *m)
{
	struct server *s = c->s;
	struct intro *i;
	uint16_t reason = MVPN_R_LOCAL_POLICY;

	chan_get_u16(m, MVPN_TLV_REASON, &reason);
	if (find_offer(c, m, &i) < 0)
		return -EPROTO;
	if (!i)
		return 0;
	if (reason == MVPN_R_NONE || reason >= MVPN_R_MAX)
		reason = MVPN_R_LOCAL_POLICY;
	send_fail(s, i->a, i->b, i->nonce, reason, reason == MVPN_R_BUSY ? i->session_id : NULL);
	intro_free(s->intros, i);
	return 0;
}

/* ---- ends that are not an answer ---- */

static void on_timer(void *arg)
{
	struct intros *in = arg;
	uint64_t now = mono_ms();

	while (in->first && in->first->deadline_ms <= now)
		abandon(in->s, in->first, MVPN_R_PEER_SILENT);
	if (in->first)
		loop_timer_arm(in->timer, in->first->deadline_ms - now);
}

void introduce_device_gone(struct server *s, const struct device *d, enum mvpn_reason reason)
{
	struct intro *next;

	for (struct intro *i = s->intros->first; i; i = next) {
		next = i->next;
		if (i->a == d || i->b == d)
			abandon(s, i, reason);
	}
}

void introduce_recheck(struct server *s)
{
	struct intro *next;

	for (struct intro *i = s->intros->first; i; i = next) {
		struct policy_subject a = registry_subject(i->a), b = registry_subject(i->b);

		next = i->next;
		if (!policy_allows(s->policy, &a, &b))
			abandon(s, i, MVPN_R_DENIED);
	}
}

int intros_new(struct server *s)
{
	struct intros *in = calloc(1, sizeof(*in));
	int r;

	if (!in)
		return -ENOMEM;
	in->s = s;
	s->intros = in;
	r = htab_init(&in->by_session);
	if (r == 0)
		r = htab_init(&in->by_pair);
	if (r == 0)
		r = loop_timer_new(s->loop, on_timer, in, &in->timer);
	return r;
}

void intros_free(struct intros *in)
{
	if (!in)
		return;
	while (in->first)
		intro_free(in, in->first);
	htab_free(&in->by_session);
	htab_free(&in->by_pair);
	loop_timer_free(in->timer);
	free(in);
}

unsigned intros_count(const struct intros *in)
{
	return in->count;
}
