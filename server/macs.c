/* SPDX-License-Identifier: BSD-2-Clause */
#include "macs.h"
#include "refusal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "crypto.h"
#include "dispatch.h"
#include "log.h"
#include "tables.h"

/* ---- the registry's part ---- */

static struct device_mac *find(const struct registry *r, const uint8_t mac[6])
{
	struct hnode *n = htab_first(&r->by_mac, htab_hash(&r->by_mac, mac, 6));

	for (; n; n = htab_next(n)) {
		struct device_mac *m = container_of(n, struct device_mac, by_mac);

		if (!memcmp(m->mac, mac, 6))
			return m;
	}
	return NULL;
}

/* NULL: nobody */
static struct device *owner_of(const struct registry *r, const uint8_t mac[6])
{
	struct device_mac *m = find(r, mac);

	return m ? m->d : NULL;
}

static int mac_add(struct registry *r, struct device *d, const uint8_t mac[6])
{
	struct device_mac *m;

	if (find(r, mac))
		return -EADDRINUSE;
	if (d->nmacs == MVPN_MACS_MAX)
		return -ENOSPC;
	m = calloc(1, sizeof(*m));
	if (!m)
		return -ENOMEM;
	memcpy(m->mac, mac, 6);
	m->d = d;
	htab_add(&r->by_mac, &m->by_mac, htab_hash(&r->by_mac, mac, 6));
	d->macs[d->nmacs++] = m;
	return 0;
}

void mac_del(struct registry *r, struct device *d, const uint8_t mac[6])
{
	struct device_mac *m = find(r, mac);

	for (unsigned i = 0; m && i < d->nmacs; i++)
		if (d->macs[i] == m) {
			htab_del(&r->by_mac, &m->by_mac);
			d->macs[i] = d->macs[--d->nmacs];
			free(m);
			return;
		}
}

static struct mvpn_prefix row_of(const uint8_t mac[6])
{
	struct mvpn_addr a = mvpn_mac_addr(mac);

	return mvpn_prefix_host(&a);
}

int mac_load(struct registry *r, struct device *d, const struct mvpn_prefix *p)
{
	uint8_t mac[6];
	int e = mvpn_addr_mac(&p->addr, mac) ? mac_add(r, d, mac) : -EUCLEAN;

	return e == -ENOSPC || e == -EADDRINUSE ? 0 : e;
}

json_t *macs_json(const struct device *d)
{
	json_t *list = json_array();
	char text[MVPN_MACSTRLEN];

	for (unsigned i = 0; i < d->nmacs; i++)
		json_array_append_new(list, json_string(mvpn_mac_str(d->macs[i]->mac, text)));
	return list;
}

/* ---- judging ---- */

static bool listed(uint8_t (*list)[6], unsigned n, const uint8_t mac[6])
{
	for (unsigned i = 0; i < n; i++)
		if (!memcmp(list[i], mac, 6))
			return true;
	return false;
}

static enum mvpn_reason judge(const struct conn *c, const uint8_t mac[6])
{
	const struct device *owner = owner_of(c->s->reg, mac);

	if (!mvpn_mac_is_ownable(mac))
		return MVPN_R_MAC_INVALID;
	/* a key that does not come back keeps nobody's interface */
	if (owner && owner != c->dev && owner->row.state != MVPN_DEV_REVOKED)
		return MVPN_R_MAC_TAKEN;
	return MVPN_R_NONE;
}

static void judge_all(struct conn *c, struct mac_verdict *v)
{
	memset(v, 0, sizeof(*v));
	for (unsigned i = 0; i < c->nmacs; i++) {
		enum mvpn_reason reason = judge(c, c->macs[i]);

		if (listed(v->accepted, v->naccepted, c->macs[i]))
			continue;
		if (reason == MVPN_R_NONE && v->naccepted == MVPN_MACS_MAX)
			reason = MVPN_R_LIMIT;
		if (reason == MVPN_R_NONE) {
			memcpy(v->accepted[v->naccepted++], c->macs[i], 6);
		} else {
			memcpy(v->refused[v->nrefused].mac, c->macs[i], 6);
			v->refused[v->nrefused++].reason = (uint16_t)reason;
		}
	}
}

/* ---- taking ---- */

struct change {
	struct device *d;
	unsigned nadd, ndel;
	uint8_t add[MVPN_MACS_MAX][6], del[MVPN_MACS_MAX][6];
};

static void compare(const struct registry *r, struct device *d, struct mac_verdict *v,
		    struct change *ch)
{
	ch->d = d;
	ch->nadd = ch->ndel = 0;
	for (unsigned i = 0; i < d->nmacs; i++)
		if (!listed(v->accepted, v->naccepted, d->macs[i]->mac))
			memcpy(ch->del[ch->ndel++], d->macs[i]->mac, 6);
	for (unsigned i = 0; i < v->naccepted; i++)
		if (owner_of(r, v->accepted[i]) != d)
			memcpy(ch->add[ch->nadd++], v->accepted[i], 6);
}

static json_t *list_json(uint8_t (*list)[6], unsigned n)
{
	json_t *o = json_array();
	char text[MVPN_MACSTRLEN];

	for (unsigned i = 0; i < n; i++)
		json_array_append_new(o, json_string(mvpn_mac_str(list[i], text)));
	return o;
}

static int store_change(struct server *s, void *arg)
{
	struct change *ch = arg;
	char id[33];
	int r = 0;

	for (unsigned i = 0; i < ch->ndel && r == 0; i++) {
		struct mvpn_prefix row = row_of(ch->del[i]);

		r = store_prefix_del(s->store, ch->d->row.id, &row, PREFIX_MAC);
	}
	for (unsigned i = 0; i < ch->nadd && r == 0; i++) {
		struct mvpn_prefix row = row_of(ch->add[i]);
		const struct device *revoked = owner_of(s->reg, ch->add[i]);

		if (revoked)
			r = store_prefix_del(s->store, revoked->row.id, &row, PREFIX_MAC);
		if (r == 0)
			r = store_prefix_add(s->store, ch->d->row.id, &row, PREFIX_MAC);
	}
	if (r < 0)
		return r;
	mvpn_hex(id, ch->d->row.id, 16);
	return audit_add(&s->audit, "device", "device-macs",
			 json_pack("{s:s, s:s, s:o, s:o}", "device", id, "name", ch->d->row.name,
				   "added", list_json(ch->add, ch->nadd), "released",
				   list_json(ch->del, ch->ndel)));
}

static void audit_refusals(struct conn *c, const struct mac_verdict *v)
{
	json_t *list = json_array();
	char text[MVPN_MACSTRLEN];

	for (unsigned i = 0; i < v->nrefused; i++)
		json_array_append_new(list, json_pack("{s:s, s:s}", "mac", mvpn_mac_str(v->refused[i].mac, text),
						      "reason", mvpn_reason_name(v->refused[i].reason)));
	refusal_note_claims(c, "mac-refused", "macs", list);
}

static void note_refusals(struct conn *c, const struct mac_verdict *v)
{
	char text[MVPN_MACSTRLEN];

	if (!v->nrefused)
		return;
	c->s->counters[SC_mac_refused] += v->nrefused;
	log_ratelimited(LOG_L_WARN, "device %s may not have the MAC address %s%s: %s",
			c->dev->row.name, mvpn_mac_str(v->refused[0].mac, text),
			v->nrefused > 1 ? " and others" : "",
			mvpn_reason_text(v->refused[0].reason));
	audit_refusals(c, v);
}

int macs_take(struct conn *c, struct mac_verdict *ret)
{
	struct server *s = c->s;
	struct change ch;
	int r = 0;

	judge_all(c, ret);
	note_refusals(c, ret);
	compare(s->reg, c->dev, ret, &ch);
	if (!ch.nadd && !ch.ndel)
		return 0;
	if (device_changes_too_often(c->dev))
		return -EAGAIN;
	r = server_transact(s, true, store_change, &ch);
	if (r < 0)
		return r;
	for (unsigned i = 0; i < ch.ndel; i++)
		mac_del(s->reg, c->dev, ch.del[i]);
	for (unsigned i = 0; i < ch.nadd && r == 0; i++) {
		struct device *revoked = owner_of(s->reg, ch.add[i]);

		if (revoked)
			mac_del(s->reg, revoked, ch.add[i]);
		r = mac_add(s->reg, c->dev, ch.add[i]);
	}
	tables_changed(s, TABLE_ETHER);
	return r;
}

void mac_verdict_put(const struct mac_verdict *v, struct chan_buf *b)
{
	for (unsigned i = 0; i < v->naccepted; i++)
		chan_put(b, MVPN_TLV_MAC, v->accepted[i], 6);
	for (unsigned i = 0; i < v->nrefused; i++) {
		uint8_t value[8];

		memcpy(value, v->refused[i].mac, 6);
		value[6] = (uint8_t)(v->refused[i].reason >> 8);
		value[7] = (uint8_t)v->refused[i].reason;
		chan_put(b, MVPN_TLV_MAC_REFUSED, value, sizeof(value));
	}
}
