/* SPDX-License-Identifier: BSD-2-Clause */
#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "channel.h"
#include "crypto.h"
#include "intro_table.h"
#include "introduce.h"
#include "log.h"
#include "processes.h"
#include "secmem.h"
#include "services.h"
#include "tables.h"

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
	q->names = chan_get_bytes(m, MVPN_TLV_DEVICE, q->device, sizeof(q->device));
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
	memcpy(dst.b, q->req.dst, sizeof(dst.b));
	if (q->req.layer == MVPN_LAYER_LINK)
		b = registry_by_id(s->reg, q->req.dst);
	else if (q->names)
		b = registry_by_id(s->reg, q->device);
	else if (!registry_owner_of(s->reg, &dst, &b))
		b = NULL;
	if (!b || b == c->dev || (q->names && !registry_owns(b, &dst)))
		return MVPN_R_UNKNOWN_DST;
	*ret_b = b;
	sa = registry_subject(c->dev);
	sb = registry_subject(b);
	if (!policy_allows_layer(s->policy, q->req.layer, &sa, &sb))
		return MVPN_R_DENIED;
	if (q->req.layer != MVPN_LAYER_LINK && processes_beyond(s->policy, c->dev, b))
		return MVPN_R_PROCESS;
	if (q->req.mode != pair_mode(s, c->dev, b))
		return MVPN_R_MODE;
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
			log_ratelimited(
				LOG_L_WARN,
				"device %s owns %u prefixes, a session carries %d: join them",
				d->row.name, d->nowned, MVPN_SELECTORS_MAX);
			break;
		}
		out[n++] = d->owned[i];
	}
	return n;
}

/*
 * The prefix that the destination belongs to is among B's, whatever is left out. A session for frames names no prefix: no
 * packet passes by it.
 */
static int make_selectors(struct server *s, struct intro *i, const uint8_t dst[16])
{
	struct intro_selectors sel;
	const struct mvpn_prefix *hit = NULL;
	uint8_t bytes[MVPN_SELECTORS_MAX_B];
	struct mvpn_addr a;
	int len;

	memcpy(a.b, dst, sizeof(a.b));
	for (unsigned k = 0; k < i->b->nowned; k++)
		if (mvpn_prefix_contains(&i->b->owned[k], &a) &&
		    (!hit || i->b->owned[k].len > hit->len))
			hit = &i->b->owned[k];
	i->services = services_select(s, i->a, i->b, i->layer, &sel);
	if (i->layer != MVPN_LAYER_LINK) {
		sel.na = side(s, i->a, NULL, sel.a);
		sel.nb = side(s, i->b, hit, sel.b);
	}
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

/* ---- the central modes: K is made here, too ---- */

int intro_central_key(const struct intro *i, uint8_t ret[MVPN_KEY_LEN])
{
	const struct device *from = i->mode == MVPN_MODE_CENTRAL60 ? i->a : i->b;

	return chan_export(from->conn->ch, mvpn_mode_name(i->mode), i->ctx, ret);
}

static int make_central_key(struct intro *i, const struct request *q)
{
	struct intro_pair pair = {
		.session_id = i->session_id,
		.a_id = i->a->row.id,
		.b_id = i->b->row.id,
		.a_pk = i->a->row.pk,
		.b_pk = i->b->row.pk,
		.selectors = i->selectors,
		.selectors_len = i->selectors_len,
	};

	_Static_assert(2 * MVPN_KEY_LEN <= SECMEM_CELL_B, "psk and key share a cell");
	i->key = i->psk + MVPN_KEY_LEN;
	intro_central_ctx(i->ctx, &pair, q->bytes, q->len);
	return intro_central_key(i, i->key);
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
	i->mode = q->req.mode;
	memcpy(i->nonce, q->req.nonce, sizeof(i->nonce));
	memcpy(i->replaces, q->req.replaces, sizeof(i->replaces));
	i->psk = secmem_alloc();
	i->seq = i->psk ? server_next_seq(s) : 0;
	randombytes_buf(i->session_id, sizeof(i->session_id));
	if (!i->seq || make_selectors(s, i, q->req.dst) < 0 ||
	    (i->mode != MVPN_MODE_E2E && make_central_key(i, q) < 0)) {
		secmem_free(i->psk);
		free(i->selectors);
		free(i);
		return MVPN_R_INTERNAL;
	}
	randombytes_buf(i->psk, MVPN_KEY_LEN);
	intro_link(s->intros, i);
	if (tables_flush(b->conn)) {
		intro_send_offer(s, i, q);
		return MVPN_R_NONE;
	}
	i->offer = malloc(sizeof(*i->offer));
	if (!i->offer) {
		intro_free(s->intros, i);
		return MVPN_R_INTERNAL;
	}
	*i->offer = *q;
	s->intros->nwaiting++;
	return MVPN_R_NONE;
}

void introduce_tables_told(struct server *s, const struct device *d)
{
	struct intros *in = s->intros;

	for (struct intro *i = in->nwaiting ? in->first : NULL; i; i = i->next) {
		if (i->b == d && i->offer) {
			intro_send_offer(s, i, i->offer);
			free(i->offer);
			i->offer = NULL;
			in->nwaiting--;
		} else if (i->a == d && i->answer_waits) {
			i->answer_waits = false;
			in->nwaiting--;
			intro_accepted_again(in, i);
		}
	}
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
	open = reason == MVPN_R_NONE ? intro_find_pair(s->intros, c->dev, b, q.req.layer) : NULL;
	if (open && open->a == c->dev && !memcmp(open->nonce, q.req.nonce, 16)) {
		count(s, duplicates); /* its answer is on the way */
		return 0;
	}
	if (open)
		reason = MVPN_R_BUSY;
	if (reason == MVPN_R_NONE)
		reason = open_intro(s, c->dev, b, &q);
	if (reason != MVPN_R_NONE)
		intro_send_fail(s, c->dev, b, q.req.nonce, reason, open ? open->session_id : NULL);
	return 0;
}

/* ---- B's word ---- */

/* the open introduction that this message of B is about, or NULL; -EPROTO if it names none */
static int find_offer(struct conn *c, const struct chan_msg *m, struct intro **ret)
{
	uint8_t id[16];

	if (!chan_get_bytes(m, MVPN_TLV_SESSION, id, sizeof(id)))
		return -EPROTO;
	*ret = intro_find_session(c->s->intros, id);
	if (*ret && ((*ret)->b != c->dev || (*ret)->noise2))
		*ret = NULL;
	if (!*ret)
		count(c->s, stray_answers); /* too late: cancelled meanwhile, or said before */
	else
		c->budget += 1000; /* we have asked: a device that everybody wants is not to blame for it */
	return 0;
}

int introduce_accept(struct conn *c, const struct chan_msg *m)
{
	struct intro *i;
	uint16_t len;
	const uint8_t *p = chan_tlv_find(m, MVPN_TLV_NOISE2, &len);

	if (!p || len > INTRO_MSG2_MAX_B || find_offer(c, m, &i) < 0)
		return -EPROTO;
	if (!i)
		return 0;
	i->noise2 = malloc(len);
	if (!i->noise2) {
		intro_abandon(c->s, i, MVPN_R_INTERNAL);
		return 0;
	}
	memcpy(i->noise2, p, len);
	i->noise2_len = len;
	intro_accepted(c->s->intros, i);
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
	intro_send_fail(s, i->a, i->b, i->nonce, reason,
			reason == MVPN_R_BUSY ? i->session_id : NULL);
	intro_free(s->intros, i);
	return 0;
}

/* ---- ends that are not an answer ---- */

static void on_timer(void *arg)
{
	struct intros *in = arg;
	uint64_t now = mono_ms();

	while (in->first && in->first->deadline_ms <= now)
		intro_abandon(in->s, in->first, MVPN_R_PEER_SILENT);
	if (in->first)
		loop_timer_arm(in->timer, in->first->deadline_ms - now);
}

void introduce_device_gone(struct server *s, const struct device *d, enum mvpn_reason reason)
{
	struct intro *next;

	for (struct intro *i = s->intros->first; i; i = next) {
		next = i->next;
		if (i->a == d || i->b == d)
			intro_abandon(s, i, reason);
	}
}

void introduce_recheck(struct server *s)
{
	struct intro *next;

	for (struct intro *i = s->intros->first; i; i = next) {
		struct policy_subject a = registry_subject(i->a), b = registry_subject(i->b);

		next = i->next;
		if (!policy_allows_layer(s->policy, i->layer, &a, &b))
			intro_abandon(s, i, MVPN_R_DENIED);
		else if (i->mode != pair_mode(s, i->a, i->b) ||
			 i->services != services_name(s->policy, i->a, i->b, i->layer))
			intro_abandon(s, i, MVPN_R_STALE_BOOT); /* and then as the policy says */
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
	if (r == 0)
		r = loop_timer_new(s->loop, intro_record, in, &in->recorder);
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
	loop_timer_free(in->recorder);
	free(in);
}

unsigned intros_count(const struct intros *in)
{
	return in->count;
}
