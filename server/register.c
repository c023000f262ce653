/* SPDX-License-Identifier: BSD-2-Clause */
/* REGISTER: a device takes its place, says its addresses, and hears what it may have. */
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "addr.h"
#include "crypto.h"
#include "dispatch.h"
#include "echo.h"
#include "enrol.h"
#include "gate.h"
#include "introduce.h"
#include "log.h"
#include "macs.h"
#include "psk.h"
#include "push.h"
#include "refusal.h"
#include "restored.h"
#include "relay_device.h"
#include "rotate.h"
#include "server_key.h"
#include "session.h"
#include "tables.h"

#define REGISTERS_MAX 20 /* in one window; addresses do not change that often */
#define REGISTER_WINDOW_MS 10000
/* changes of one device's addresses, over however many channels: each goes to the disk and to every other channel */
#define CHANGES_MAX 200
#define CHANGES_WINDOW_MS 60000
#define CLAIMS_READ_MAX 256 /* more than CONN_CLAIMS_MAX, so that the rest can be refused by name */

struct registration {
	char name[MVPN_NAME_MAX_B + 1];
	struct mvpn_addr claims[CLAIMS_READ_MAX];
	unsigned nclaims;
	uint8_t macs[CONN_MACS_MAX][6];
	unsigned nmacs;
	uint16_t udp_port;
	uint64_t policy_rev; /* that it knows; 0: none */
	bool knows_set;
	bool tells_processes, knows_services;
	uint8_t set[PUSH_SET_B];
};

/* what became of the claims */
struct verdict {
	struct mvpn_addr accepted[CONN_CLAIMS_MAX];
	unsigned naccepted;
	struct {
		struct mvpn_addr addr;
		uint16_t reason;
	} refused[CLAIMS_READ_MAX];
	unsigned nrefused;
};

static bool add_claim(struct registration *reg, const uint8_t *value)
{
	struct mvpn_addr a;

	memcpy(a.b, value, sizeof(a.b));
	for (unsigned i = 0; i < reg->nclaims; i++)
		if (mvpn_addr_eq(&reg->claims[i], &a))
			return true;
	if (reg->nclaims == CLAIMS_READ_MAX)
		return false;
	reg->claims[reg->nclaims++] = a;
	return true;
}

static int parse(const struct conn *c, const struct chan_msg *m, struct registration *reg)
{
	uint64_t boot_gen = chan_who(c->ch)->boot_gen, told = boot_gen;
	struct chan_tlv t;
	size_t pos = 0;

	memset(reg, 0, sizeof(*reg));
	reg->tells_processes = m->flags & MVPN_REG_PROCESSES;
	reg->knows_services = m->flags & MVPN_REG_SERVICES;
	reg->udp_port = MVPN_DATA_PORT;
	chan_get_u16(m, MVPN_TLV_UDP_PORT, &reg->udp_port);
	chan_get_u64(m, MVPN_TLV_BOOT_GEN, &told);
	chan_get_u64(m, MVPN_TLV_REV, &reg->policy_rev);
	reg->knows_set = chan_get_bytes(m, MVPN_TLV_SET, reg->set, sizeof(reg->set));
	if (!reg->udp_port || told != boot_gen)
		return -EPROTO;
	while (chan_tlv_next(m, &pos, &t)) {
		if (t.type == MVPN_TLV_NAME) {
			if (!mvpn_name_valid((const char *)t.value, t.len))
				return -EPROTO;
			memcpy(reg->name, t.value, t.len);
			reg->name[t.len] = '\0';
		} else if (t.type == MVPN_TLV_ADDR && !add_claim(reg, t.value)) {
			return -EPROTO;
		} else if (t.type == MVPN_TLV_MAC) {
			if (reg->nmacs == CONN_MACS_MAX)
				return -EPROTO;
			memcpy(reg->macs[reg->nmacs++], t.value, 6);
		}
	}
	return 0;
}

/* ---- addresses ---- */

/* the length of the narrowest prefix around it that an administrator gave the device, by a token or by hand; -1: none */
static int given(const struct device *d, const struct mvpn_addr *a)
{
	int len = -1;

	for (unsigned i = 0; i < d->nprefixes; i++)
		if (d->prefixes[i].kind != PREFIX_CLAIM &&
		    mvpn_prefix_contains(&d->prefixes[i].p, a) && d->prefixes[i].p.len > len)
			len = d->prefixes[i].p.len;
	return len;
}

/*
 * The channel's source shows where a device is, not that the address is its own: inside a prefix that an administrator gave
 * another one, a gateway above all, it takes an administrator's word that is as narrow.
 */
static enum mvpn_reason judge(const struct conn *c, const struct mvpn_addr *a)
{
	int mine = given(c->dev, a);
	unsigned len;

	if (!mvpn_addr_is_ownable(a) || (mine < 0 && !mvpn_addr_eq(a, &c->from.addr)))
		return MVPN_R_ADDR_NOT_OWNED;
	if (!registry_around_other(c->s->reg, a, c->dev, &len))
		return MVPN_R_NONE;
	return len == 128 || mine < (int)len ? MVPN_R_ADDR_TAKEN : MVPN_R_NONE;
}

/* claims for which the device has room besides what it was given */
static unsigned claims_max(const struct device *d)
{
	unsigned room = DEVICE_PREFIXES_MAX;

	for (unsigned i = 0; i < d->nprefixes; i++)
		room -= d->prefixes[i].kind != PREFIX_CLAIM;
	return room < CONN_CLAIMS_MAX ? room : CONN_CLAIMS_MAX;
}

static void judge_all(const struct conn *c, struct verdict *v)
{
	unsigned max = claims_max(c->dev);

	v->naccepted = v->nrefused = 0;
	for (unsigned i = 0; i < c->nclaims; i++) {
		enum mvpn_reason reason = judge(c, &c->claims[i]);

		if (reason == MVPN_R_NONE && v->naccepted == max)
			reason = MVPN_R_LIMIT;
		if (reason == MVPN_R_NONE) {
			v->accepted[v->naccepted++] = c->claims[i];
		} else {
			v->refused[v->nrefused].addr = c->claims[i];
			v->refused[v->nrefused++].reason = (uint16_t)reason;
		}
	}
}

struct claim_change {
	struct device *d;
	struct mvpn_prefix add[CONN_CLAIMS_MAX], del[DEVICE_PREFIXES_MAX];
	unsigned nadd, ndel;
};

static void compare(struct device *d, const struct verdict *v, struct claim_change *ch)
{
	ch->d = d;
	ch->nadd = ch->ndel = 0;
	for (unsigned i = 0; i < d->nprefixes; i++) {
		bool kept = d->prefixes[i].kind != PREFIX_CLAIM;

		for (unsigned k = 0; k < v->naccepted && !kept; k++)
			kept = mvpn_addr_eq(&d->prefixes[i].p.addr, &v->accepted[k]);
		if (!kept)
			ch->del[ch->ndel++] = d->prefixes[i].p;
	}
	for (unsigned k = 0; k < v->naccepted; k++) {
		struct mvpn_prefix host = mvpn_prefix_host(&v->accepted[k]);

		/* what an administrator gave stays when it is no longer claimed: no second row for it */
		if (!registry_prefix_has(d, &host, PREFIX_CLAIM) &&
		    !registry_prefix_has(d, &host, PREFIX_ADMIN))
			ch->add[ch->nadd++] = host;
	}
}

static int store_change(struct server *s, void *arg)
{
	struct claim_change *ch = arg;
	char text[MVPN_ADDRSTRLEN], id[33];
	json_t *added = json_array(), *released = json_array();
	int r = 0;

	for (unsigned i = 0; i < ch->ndel && r == 0; i++) {
		r = store_prefix_del(s->store, ch->d->row.id, &ch->del[i], PREFIX_CLAIM);
		json_array_append_new(released, json_string(mvpn_prefix_str(&ch->del[i], text)));
	}
	for (unsigned i = 0; i < ch->nadd && r == 0; i++) {
		r = store_prefix_add(s->store, ch->d->row.id, &ch->add[i], PREFIX_CLAIM);
		json_array_append_new(added, json_string(mvpn_prefix_str(&ch->add[i], text)));
	}
	mvpn_hex(id, ch->d->row.id, 16);
	if (r < 0) {
		json_decref(added);
		json_decref(released);
		return r;
	}
	return audit_add(&s->audit, "device", "device-addresses",
			 json_pack("{s:s, s:s, s:o, s:o}", "device", id, "name", ch->d->row.name,
				   "added", added, "released", released));
}

bool device_changes_too_often(struct device *d)
{
	uint64_t now = mono_ms();

	if (now - d->changes_ms >= CHANGES_WINDOW_MS) {
		d->changes_ms = now;
		d->changes = 0;
	}
	return ++d->changes > CHANGES_MAX;
}

/* -EAGAIN: its addresses change too often, and stay as they are */
static int take_claims(struct conn *c, const struct verdict *v)
{
	struct server *s = c->s;
	struct claim_change ch;
	int r;

	compare(c->dev, v, &ch);
	if (!ch.nadd && !ch.ndel)
		return 0;
	if (device_changes_too_often(c->dev))
		return -EAGAIN;
	r = server_transact(s, true, store_change, &ch);
	if (r < 0)
		return r;
	for (unsigned i = 0; i < ch.ndel; i++)
		registry_prefix_del(s->reg, c->dev, &ch.del[i], PREFIX_CLAIM);
	for (unsigned i = 0; i < ch.nadd; i++)
		registry_prefix_add(s->reg, c->dev, &ch.add[i], PREFIX_CLAIM);
	return 0;
}

static void audit_refusals(struct conn *c, const struct verdict *v)
{
	json_t *list = json_array();
	char text[MVPN_ADDRSTRLEN];

	for (unsigned i = 0; i < v->nrefused && i < CONN_CLAIMS_MAX; i++)
		json_array_append_new(list, json_pack("{s:s, s:s}", "address", mvpn_addr_str(&v->refused[i].addr, text),
						      "reason", mvpn_reason_name(v->refused[i].reason)));
	refusal_note_claims(c, "address-refused", "addresses", list);
}

static void note_refusals(struct conn *c, const struct verdict *v)
{
	char text[MVPN_ADDRSTRLEN];

	if (!v->nrefused)
		return;
	c->s->counters[SC_addr_refused] += v->nrefused;
	log_ratelimited(LOG_L_WARN, "device %s may not have %s%s: %s", c->dev->row.name,
			mvpn_addr_str(&v->refused[0].addr, text),
			v->nrefused > 1 ? " and others" : "",
			mvpn_reason_text(v->refused[0].reason));
	audit_refusals(c, v);
}

/* ---- WELCOME ---- */

static void send_welcome(struct conn *c, const struct verdict *v, const struct mac_verdict *mv)
{
	struct server *s = c->s;
	struct chan_buf *b = &s->buf;
	const struct device *d = c->dev;

	chan_begin(b, MVPN_MSG_WELCOME, 0, 0);
	chan_put(b, MVPN_TLV_DEVICE, d->row.id, sizeof(d->row.id));
	chan_put(b, MVPN_TLV_NAME, d->row.name, strlen(d->row.name));
	chan_put(b, MVPN_TLV_NET, s->id.net_id, sizeof(s->id.net_id));
	chan_put_u8(b, MVPN_TLV_STATE, d->row.state);
	chan_put_u32(b, MVPN_TLV_MAX_OFFLINE, server_max_offline_s(s));
	chan_put_u32(b, MVPN_TLV_REKEY, server_rekey_s(s));
	for (unsigned i = 0; i < v->naccepted; i++)
		chan_put(b, MVPN_TLV_ADDR, v->accepted[i].b, 16);
	for (unsigned i = 0; i < v->nrefused; i++) {
		uint8_t value[18];

		memcpy(value, v->refused[i].addr.b, 16);
		value[16] = (uint8_t)(v->refused[i].reason >> 8);
		value[17] = (uint8_t)v->refused[i].reason;
		chan_put(b, MVPN_TLV_ADDR_REFUSED, value, sizeof(value));
	}
	mac_verdict_put(mv, b);
	psk_welcome(c, b);
	echo_welcome(c, b);
	gate_welcome(c, b);
	conn_send(c, b);
	sodium_memzero(b->data, b->len);
	server_key_tell(c);
}

void register_welcome(struct conn *c)
{
	struct mac_verdict mv = {0};
	struct verdict v;
	int r;

	v.naccepted = v.nrefused = 0;
	if (c->dev->row.state != MVPN_DEV_ACTIVE) {
		send_welcome(c, &v, &mv);
		return;
	}
	judge_all(c, &v);
	r = take_claims(c, &v);
	if (r == 0)
		r = macs_take(c, &mv);
	if (r == -EAGAIN) {
		count(c->s, too_many_messages);
		log_ratelimited(LOG_L_WARN, "device %s changes its addresses too often: closed",
				c->dev->row.name);
	} else if (r < 0) {
		log_err("addresses of %s could not be recorded", c->dev->row.name);
	}
	if (r < 0) {
		conn_close(c, r == -EAGAIN ? MVPN_R_LIMIT : MVPN_R_INTERNAL);
		return;
	}
	note_refusals(c, &v);
	send_welcome(c, &v, &mv);
	rotate_tell(c);
	session_tell_owed(c);
	session_services_missed(c);
	tables_subscribe(c); /* before what it protects */
	push_subscribe(c);
	relay_device_up(c->s, c->dev);
}

/* ---- the device's channel ---- */

static void attach(struct conn *c, struct device *d)
{
	struct server *s = c->s;
	uint64_t boot_gen = chan_who(c->ch)->boot_gen, before = d->row.boot_gen;

	if (d->conn) {
		struct conn *old = d->conn;

		count(s, replaced);
		conn_retire(old);
		/* another life, maybe another host with the same identity: it hears so at once */
		if (before != boot_gen) {
			conn_close(old, MVPN_R_REPLACED);
			relay_device_gone(s, d);
		}
	}
	c->dev = d;
	d->conn = c;
	c->phase = CONN_READY;
	conn_beat_in(c, MVPN_CHAN_HEARTBEAT_S * 1000 / 2);
	d->row.boot_gen = boot_gen;
	d->row.last_seen_at = wall_now();
	if (before != boot_gen && before) {
		count(s, restarts);
		introduce_device_gone(s, d, MVPN_R_PEER_OFFLINE);
		session_cut_device(s, d, MVPN_R_STALE_BOOT);
	}
	/* that it was seen can wait; that it has another life cannot, or its sessions would be cut once more after a crash */
	if (before == boot_gen)
		server_seen(s, d);
	else if (store_begin(s->store, false) == 0 &&
		 store_end(s->store, store_device_seen(s->store, d->row.id, boot_gen,
						       d->row.last_seen_at)) < 0)
		count(s, store_errors);
	log_debug("device %s is on-line", d->row.name);
}

/* each change of addresses is written to the disk and told to everybody */
static bool too_often(struct conn *c)
{
	uint64_t now = mono_ms();

	if (now - c->register_ms >= REGISTER_WINDOW_MS) {
		c->register_ms = now;
		c->registers = 0;
	}
	return ++c->registers > REGISTERS_MAX;
}

int register_message(struct conn *c, const struct chan_msg *m)
{
	struct registration reg;
	struct device *d;
	enum mvpn_reason reason;
	struct mvpn_addr *claims;

	if (parse(c, m, &reg) < 0)
		return -EPROTO;
	if (c->phase == CONN_LOGIN) {
		reason = enrol_device(c, m, reg.name[0] ? reg.name : NULL, &d);
		if (reason != MVPN_R_NONE) {
			conn_close(c, reason);
			return 0;
		}
		attach(c, d);
		server_key_login(c);
	} else if (too_often(c)) {
		count(c->s, too_many_messages);
		conn_close(c, MVPN_R_LIMIT);
		return 0;
	}
	claims = malloc(reg.nclaims * sizeof(*claims) + 1);
	if (!claims) {
		conn_close(c, MVPN_R_INTERNAL);
		return 0;
	}
	memcpy(claims, reg.claims, reg.nclaims * sizeof(*claims));
	free(c->claims);
	c->claims = claims;
	c->nclaims = reg.nclaims;
	memcpy(c->macs, reg.macs, sizeof(c->macs));
	c->nmacs = reg.nmacs;
	c->dev->udp_port = reg.udp_port;
	c->knows_set = reg.knows_set;
	c->tells_processes = reg.tells_processes;
	c->knows_services = reg.knows_services;
	memcpy(c->set, reg.set, sizeof(c->set));
	restored_policy(c->s, c->dev, reg.policy_rev);
	register_welcome(c);
	return 0;
}
