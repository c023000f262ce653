/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "crypto.h"
#include "introduce.h"
#include "log.h"
#include "processes.h"
#include "relay.h"
#include "services.h"
#include "session.h"

struct list {
	struct store_session *rows;
	unsigned n, size;
};

static int collect(void *arg, const struct store_session *row)
{
	struct list *l = arg;

	if (l->n == l->size) {
		unsigned size = l->size ? l->size * 2 : 16;
		struct store_session *rows = realloc(l->rows, size * sizeof(*rows));

		if (!rows)
			return -ENOMEM;
		l->rows = rows;
		l->size = size;
	}
	l->rows[l->n++] = *row;
	return 0;
}

static bool same_pair(const struct store_session *x, const struct store_session *y)
{
	return (!memcmp(x->a, y->a, 16) && !memcmp(x->b, y->b, 16)) ||
	       (!memcmp(x->a, y->b, 16) && !memcmp(x->b, y->a, 16));
}

int session_record(struct server *s, const struct store_session *row, const uint8_t *replaces)
{
	struct store_session old;
	int r = store_session_add(s->store, row);

	/* news of an older end would cut the new session */
	if (r == 0)
		r = store_session_paid(s->store, row->a, row->b);
	if (r == 0)
		r = store_session_paid(s->store, row->b, row->a);
	if (r < 0 || !replaces)
		return r;
	r = store_session_get(s->store, replaces, &old);
	if (r == 0 && old.state == SESSION_ACTIVE && same_pair(&old, row))
		/* until both say that they are through with it: the new one may never be confirmed */
		r = store_session_leave(s->store, replaces, MVPN_R_REPLACED, OWED_A | OWED_B);
	return r == -ENOENT ? 0 : r;
}

/* ---- telling ---- */

/* the session is to be made anew, nobody did wrong */
static bool is_reset(unsigned reason)
{
	return reason == MVPN_R_STALE_BOOT || reason == MVPN_R_EXPIRED || reason == MVPN_R_MODE ||
	       reason == MVPN_R_SELECTORS;
}

static void tell(struct server *s, struct conn *c, const uint8_t peer[16], unsigned layer,
		 enum mvpn_reason reason)
{
	bool reset = is_reset(reason);
	struct chan_buf *b = &s->buf;

	chan_begin(b, reset ? MVPN_MSG_PEER_RESET : MVPN_MSG_REVOKE, 0, reset ? 0 : ++c->reqid);
	chan_put(b, MVPN_TLV_DEVICE, peer, 16);
	chan_put_u8(b, MVPN_TLV_LAYER, (uint8_t)layer);
	if (!reset) {
		chan_put_u16(b, MVPN_TLV_REASON, (uint16_t)reason);
		c->revoke_beats = 2;
		count(s, revokes_pushed);
	}
	conn_send(c, b);
}

static struct conn *conn_of(struct server *s, const uint8_t id[16])
{
	struct device *d = registry_by_id(s->reg, id);

	return d && d->row.state == MVPN_DEV_ACTIVE ? device_conn(d) : NULL;
}

/* What is wrong with this session under that policy: the two may have none, or not this one, for its keys come from elsewhere, or it
 * is for something else, than the policy says. */
static enum mvpn_reason judge(const struct server *s, const struct policy *p,
			      const struct store_session *row)
{
	struct device *da = registry_by_id(s->reg, row->a), *db = registry_by_id(s->reg, row->b);
	struct policy_subject a, b;

	if (!da || !db || da->row.state != MVPN_DEV_ACTIVE || db->row.state != MVPN_DEV_ACTIVE)
		return MVPN_R_POLICY_CHANGED;
	a = registry_subject(da);
	b = registry_subject(db);
	/* whichever of them may begin, they have one session */
	if (!policy_allows_layer(p, row->layer, &a, &b) && !policy_allows_layer(p, row->layer, &b, &a))
		return MVPN_R_POLICY_CHANGED;
	if (row->mode != policy_mode_of(p, &a, &b))
		return MVPN_R_MODE;
	if (row->services != services_name(p, da, db, row->layer))
		return MVPN_R_SELECTORS;
	/* or one of the two cannot tell the processes apart that the policy now does: then it gets no other one */
	if (row->layer != MVPN_LAYER_LINK && processes_beyond(p, da, db))
		return MVPN_R_SELECTORS;
	return MVPN_R_NONE;
}

/* why a session was cut may be over by now: then it is only to be forgotten, not refused */
static enum mvpn_reason still_true(struct server *s, const struct store_session *row)
{
	if (is_reset(row->reason) || judge(s, s->policy, row) == MVPN_R_POLICY_CHANGED)
		return row->reason;
	return MVPN_R_STALE_BOOT;
}

void session_tell_owed(struct conn *c)
{
	struct server *s = c->s;
	struct list l = {0};
	const uint8_t *id = c->dev->row.id;
	bool waits = false;

	if (store_session_owed(s->store, id, collect, &l) < 0)
		count(s, store_errors);
	for (unsigned i = 0; i < l.n; i++) {
		const uint8_t *peer = memcmp(l.rows[i].a, id, 16) ? l.rows[i].a : l.rows[i].b;
		enum mvpn_reason reason = still_true(s, &l.rows[i]);

		tell(s, c, peer, l.rows[i].layer, reason);
		waits |= !is_reset(reason);
	}
	/* nobody confirms PEER_RESET; a lost one costs a rekey, not a secret */
	if (l.n && !waits && store_begin(s->store, false) == 0 &&
	    store_end(s->store, store_session_paid_all(s->store, id)) < 0)
		count(s, store_errors);
	free(l.rows);
}

void session_revoke_heard(struct conn *c, uint16_t reqid)
{
	struct server *s = c->s;

	if (reqid != c->reqid)
		return; /* a later one is on its way */
	c->revoke_beats = 0;
	if (store_begin(s->store, false) == 0 &&
	    store_end(s->store, store_session_paid_all(s->store, c->dev->row.id)) < 0)
		count(s, store_errors);
}

void session_heartbeat(struct conn *c)
{
	if (c->dev && c->revoke_beats && !--c->revoke_beats)
		session_revoke_heard(c, c->reqid);
}

/* ---- cutting ---- */

struct cut {
	struct list list;
	const uint8_t *cause; /* device that needs no news, or NULL: both ends are told */
	enum mvpn_reason reason;
};

static unsigned owed_bits(struct server *s, const struct cut *cut, const struct store_session *row)
{
	const uint8_t *end[2] = {row->a, row->b};
	unsigned owed = 0;

	for (int i = 0; i < 2; i++) {
		if (cut->cause && !memcmp(end[i], cut->cause, 16))
			continue;
		/* REVOKE is owed until it is acknowledged, PEER_RESET until it is sent */
		if (!is_reset(cut->reason) || !conn_of(s, end[i]))
			owed |= i ? OWED_B : OWED_A;
	}
	return owed;
}

static int cut_transaction(struct server *s, void *arg)
{
	struct cut *cut = arg;
	char id[33];
	int r = 0;

	for (unsigned i = 0; i < cut->list.n && r == 0; i++)
		r = store_session_end(s->store, cut->list.rows[i].id, cut->reason,
				      owed_bits(s, cut, &cut->list.rows[i]));
	if (r < 0)
		return r;
	if (cut->cause)
		mvpn_hex(id, cut->cause, 16);
	return audit_add(&s->audit, "server", "sessions-cut",
			 json_pack("{s:s*, s:i, s:s}", "device", cut->cause ? id : NULL, "count",
				   (int)cut->list.n, "reason", mvpn_reason_name(cut->reason)));
}

static int run_cut(struct server *s, struct cut *cut)
{
	int r, active = 0;

	/* Before it is on record, for ten thousand rows take their time. A crash in between cuts them again when the server starts,
	 * since what forbids them is on record already; nor must peers go on because of a full disk. */
	for (unsigned i = 0; i < cut->list.n; i++) {
		const struct store_session *row = &cut->list.rows[i];
		struct conn *a = conn_of(s, row->a), *b = conn_of(s, row->b);

		relay_drop(s, row->id);
		active += row->state == SESSION_ACTIVE;
		/* the message is about the peer and a layer, not about one session */
		if (i && !memcmp(row->a, row[-1].a, 16) && !memcmp(row->b, row[-1].b, 16) &&
		    row->layer == row[-1].layer)
			continue;
		if (a && !(cut->cause && !memcmp(row->a, cut->cause, 16)))
			tell(s, a, row->b, row->layer, cut->reason);
		if (b && !(cut->cause && !memcmp(row->b, cut->cause, 16)))
			tell(s, b, row->a, row->layer, cut->reason);
	}
	r = cut->list.n ? server_transact(s, !is_reset(cut->reason), cut_transaction, cut) : 0;
	s->cut_failed |= r < 0;
	free(cut->list.rows);
	return r < 0 ? r : active;
}

static unsigned positive(int n)
{
	return n > 0 ? (unsigned)n : 0;
}

int session_cut_device(struct server *s, const struct device *d, enum mvpn_reason reason)
{
	struct cut cut = {.cause = d->row.id, .reason = reason};
	int r = store_session_held(s->store, d->row.id, collect, &cut.list);

	if (r < 0) {
		s->cut_failed = true;
		count(s, store_errors);
		log_err("sessions of %s could not be read: %s", d->row.name, store_error(s->store));
	}
	return run_cut(s, &cut);
}

void session_mark(struct server *s, struct device *d)
{
	if (d)
		d->renew = s->renew = true;
}

unsigned session_renew_marked(struct server *s)
{
	unsigned n = 0;

	if (!s->renew)
		return 0;
	s->renew = false;
	for (uint32_t i = 0; i < s->reg->size; i++) {
		struct device *d = s->reg->devices[i];
		struct cut cut = {.reason = MVPN_R_EXPIRED};

		if (!d || !d->renew)
			continue;
		d->renew = false;
		introduce_device_gone(s, d, MVPN_R_STALE_BOOT); /* tried again at once */
		if (store_session_held(s->store, d->row.id, collect, &cut.list) < 0)
			count(s, store_errors);
		n += positive(run_cut(s, &cut));
	}
	return n;
}

struct session_cuts session_cut_forbidden(struct server *s)
{
	struct cut cut = {.reason = MVPN_R_POLICY_CHANGED}, mode = {.reason = MVPN_R_MODE},
		   selectors = {.reason = MVPN_R_SELECTORS};
	unsigned n = 0;
	int r = store_session_held(s->store, NULL, collect, &cut.list);
	struct session_cuts ret = {0};

	s->cut_failed = r < 0;
	if (r < 0)
		count(s, store_errors);
	for (unsigned i = 0; i < cut.list.n; i++) {
		struct store_session *row = &cut.list.rows[i];
		enum mvpn_reason why = judge(s, s->policy, row);

		if (why == MVPN_R_POLICY_CHANGED)
			cut.list.rows[n++] = *row;
		/* the record has what it was made for: it may have been told something else since, and that is over */
		else if ((!why || why == MVPN_R_SELECTORS) && services_tell(s, row, NULL))
			ret.renewed += why && row->state == SESSION_ACTIVE;
		else if (why && collect(why == MVPN_R_MODE ? &mode.list : &selectors.list, row) < 0)
			s->cut_failed = true;
	}
	cut.list.n = n;
	ret.cut = positive(run_cut(s, &cut));
	ret.renewed += positive(run_cut(s, &mode));
	ret.renewed += positive(run_cut(s, &selectors));
	return ret;
}

void session_services_missed(struct conn *c)
{
	struct server *s = c->s;
	struct cut cut = {.reason = MVPN_R_SELECTORS};
	unsigned n = 0;

	if (store_session_held(s->store, c->dev->row.id, collect, &cut.list) < 0)
		count(s, store_errors);
	for (unsigned i = 0; i < cut.list.n; i++) {
		const struct store_session *row = &cut.list.rows[i];

		enum mvpn_reason why = row->layer == MVPN_LAYER_SOCKET ? judge(s, s->policy, row) : MVPN_R_POLICY_CHANGED;

		if ((!why || why == MVPN_R_SELECTORS) && !services_tell(s, row, c) && why)
			cut.list.rows[n++] = *row;
	}
	cut.list.n = n;
	run_cut(s, &cut);
}

struct trial {
	struct server *s;
	const struct policy *p;
	bool *loses; /* by the device's index */
	void (*fn)(void *arg, const struct store_session *row, enum mvpn_reason why);
	void *arg;
};

static int try_session(void *arg, const struct store_session *row)
{
	const struct trial *t = arg;
	enum mvpn_reason why;

	if (row->state != SESSION_ACTIVE)
		return 0;
	why = judge(t->s, t->p, row);
	/* judge() has seen that both are there */
	if (!why && (t->loses[registry_by_id(t->s->reg, row->a)->index] ||
		     t->loses[registry_by_id(t->s->reg, row->b)->index]))
		why = MVPN_R_EXPIRED;
	if (why)
		t->fn(t->arg, row, why);
	return 0;
}

int session_foresee(struct server *s, const struct policy *p,
		    void (*fn)(void *arg, const struct store_session *row, enum mvpn_reason why),
		    void *arg)
{
	struct trial t = {s, p, calloc(s->reg->size + 1UL, sizeof(bool)), fn, arg};
	int r;

	if (!t.loses)
		return -ENOMEM;
	for (uint32_t i = 0; i < s->reg->size; i++)
		if (s->reg->devices[i])
			t.loses[i] = registry_would_lose(s->reg, p, s->reg->devices[i]);
	r = store_session_held(s->store, NULL, try_session, &t);
	free(t.loses);
	return r;
}

/* ---- ENDED ---- */

int session_ended(struct conn *c, const struct chan_msg *m)
{
	struct server *s = c->s;
	struct store_session row;
	uint8_t id[16];
	uint16_t reason = MVPN_R_NONE;
	unsigned self = 0, held;
	int r;

	if (!chan_get_bytes(m, MVPN_TLV_SESSION, id, sizeof(id)))
		return -EPROTO;
	chan_get_u16(m, MVPN_TLV_REASON, &reason);
	relay_end(c, id);
	r = store_session_get(s->store, id, &row);
	if (r < 0 || row.state == SESSION_ENDED)
		return 0;
	self |= memcmp(row.a, c->dev->row.id, 16) ? 0 : OWED_A;
	self |= memcmp(row.b, c->dev->row.id, 16) ? 0 : OWED_B;
	held = (row.state == SESSION_LEFT ? row.owed : OWED_A | OWED_B) & ~self;
	if (!self)
		return 0;
	/* one end's word is not enough: it would keep the other from hearing of a revocation */
	if (store_begin(s->store, false) == 0 &&
	    store_end(s->store, held ? store_session_leave(s->store, id, reason, held)
				     : store_session_end(s->store, id, reason, 0)) < 0)
		count(s, store_errors);
	return 0;
}
