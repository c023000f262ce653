/* SPDX-License-Identifier: BSD-2-Clause */
#include "relay_device.h"

#include <endian.h>
#include <errno.h>
#include <sodium.h>
#include <string.h>

#include "crypto.h"
#include "echo.h"
#include "log.h"

static struct device *device_of(struct server *s, const struct relay_pair *p)
{
	return p->by_device ? registry_by_id(s->reg, p->by) : NULL;
}

bool relay_devices_named(const struct server *s)
{
	unsigned n;

	policy_relays(s->policy, &n);
	return n > 0;
}

/* ---- whom an end cannot use ---- */

static struct relay_avoided *avoided_at(struct server *s, const uint8_t device[MVPN_ID_LEN],
					const uint8_t end[MVPN_ID_LEN])
{
	uint8_t both[2 * MVPN_ID_LEN];

	memcpy(both, device, MVPN_ID_LEN);
	memcpy(both + MVPN_ID_LEN, end, MVPN_ID_LEN);
	return &s->relay->avoided[htab_hash(&s->relay->t.by_session, both, sizeof(both)) %
				  RELAY_AVOIDED];
}

/* another one that has this place is forgotten: it is tried once more */
static void avoid(struct server *s, const uint8_t device[MVPN_ID_LEN],
		  const uint8_t end[MVPN_ID_LEN])
{
	struct relay_avoided *a = avoided_at(s, device, end);

	memcpy(a->device, device, MVPN_ID_LEN);
	memcpy(a->end, end, MVPN_ID_LEN);
	a->until_ms = mono_ms() + MVPN_RELAY_AVOID_S * 1000;
}

static bool is_avoided(struct server *s, const struct device *d, const struct fwd_half *h)
{
	const struct relay_avoided *a = avoided_at(s, d->row.id, h->device);

	return mono_ms() < a->until_ms && !memcmp(a->device, d->row.id, MVPN_ID_LEN) &&
	       !memcmp(a->end, h->device, MVPN_ID_LEN);
}

/* ---- which one ---- */

/* Where the server sees it is an address and the port of its own. On a new channel it is not known yet: then what `relays` goes on. */
static bool is_public(const struct device *d, bool relays, struct mvpn_endpoint *ret)
{
	const struct conn *c = device_conn(d);

	if (!c || echo_blocked(c))
		return false;
	if (!echo_endpoint(c, ret)) {
		*ret = (struct mvpn_endpoint){c->from.addr, d->udp_port};
		return relays;
	}
	return ret->port == d->udp_port &&
	       (mvpn_addr_is_loopback(&ret->addr) || registry_owns(d, &ret->addr));
}

/* can that end reach it, as far as the server knows? */
static bool reaches(struct server *s, const struct fwd_half *h, const struct device *d,
		    const struct mvpn_endpoint *at)
{
	const struct device *end = registry_by_id(s->reg, h->device);
	const struct conn *c = end && end != d ? device_conn(end) : NULL;
	struct mvpn_endpoint e;

	return c && !echo_blocked(c) && !is_avoided(s, d, h) &&
	       (!echo_endpoint(c, &e) || mvpn_addr_is_v4(&e.addr) == mvpn_addr_is_v4(&at->addr));
}

static bool may(struct server *s, const struct relay_pair *p, const struct device *d, bool relays)
{
	struct mvpn_endpoint at;

	return d->relay_kbit && d->row.state == MVPN_DEV_ACTIVE && is_public(d, relays, &at) &&
	       reaches(s, &p->f.half[0], d, &at) && reaches(s, &p->f.half[1], d, &at);
}

/* rendezvous hashing (Thaler and Ravishankar, "Using name-based mappings to increase hit rates", 1998) */
static uint64_t rank(const struct relay_pair *p, const struct device *d)
{
	const uint8_t *a = p->f.half[0].device, *b = p->f.half[1].device;
	bool swap = memcmp(a, b, MVPN_ID_LEN) > 0;
	const struct mvpn_part parts[] = {
		{swap ? b : a, MVPN_ID_LEN}, {swap ? a : b, MVPN_ID_LEN}, {d->row.id, MVPN_ID_LEN}};
	uint8_t h[16];
	uint64_t ret;

	mvpn_blake2b(h, sizeof(h), NULL, 0, parts, 3);
	memcpy(&ret, h, sizeof(ret));
	return be64toh(ret);
}

static struct device *best(struct server *s, const struct relay_pair *p)
{
	struct device *ret = NULL;
	uint64_t most = 0;

	for (struct device *d = s->relay->devices; d; d = d->relay_next)
		if (d->relay_pairs < MVPN_RELAY_DEVICE_PAIRS_MAX && may(s, p, d, false) &&
		    (!ret || rank(p, d) > most)) {
			ret = d;
			most = rank(p, d);
		}
	return ret;
}

/* ---- FORWARD ---- */

static void put_end(struct server *s, struct chan_buf *b, const struct relay_pair *p, unsigned end)
{
	const struct device *d = registry_by_id(s->reg, p->f.half[end].device);
	uint8_t v[sizeof(struct mvpn_relay_end) + MVPN_NAME_MAX_B];
	struct mvpn_relay_end e = {.spi_be = htobe32(p->f.half[end].spi)};
	const char *name = d ? d->row.name : "gone";
	size_t len = strlen(name);

	memcpy(e.device, p->f.half[end].device, sizeof(e.device));
	echo_key(s->echo, p->serial[end], e.key);
	memcpy(v, &e, sizeof(e));
	memcpy(v + sizeof(e), name, len);
	chan_put(b, MVPN_TLV_RELAY_END, v, sizeof(e) + len);
	sodium_memzero(&e, sizeof(e));
	sodium_memzero(v, sizeof(v));
}

static void tell(struct server *s, const struct relay_pair *p, struct device *d)
{
	struct chan_buf *b = &s->buf;

	chan_begin(b, MVPN_MSG_FORWARD, 0, 0);
	chan_put(b, MVPN_TLV_SESSION, p->f.session, MVPN_ID_LEN);
	chan_put_u32(b, MVPN_TLV_RELAY_RATE, d->relay_kbit);
	put_end(s, b, p, 0);
	put_end(s, b, p, 1);
	conn_send(device_conn(d), b);
	sodium_memzero(b->data, b->len);
}

void relay_device_put(struct chan_buf *b, const struct relay_pair *p, const struct conn *to)
{
	struct server *s = to->s;
	const struct device *d = device_of(s, p);
	unsigned end = memcmp(p->f.half[0].device, to->dev->row.id, MVPN_ID_LEN) != 0;
	uint8_t v[sizeof(struct mvpn_relay_by) + MVPN_NAME_MAX_B], seen[ECHO_SEEN_B];
	struct mvpn_relay_by by;
	size_t len;

	if (!d || !device_conn(d))
		return;
	len = strlen(d->row.name);
	echo_seen(d, to, seen);
	memcpy(by.device, p->by, sizeof(by.device));
	memcpy(by.addr, seen, sizeof(by.addr));
	memcpy(&by.port_be, seen + sizeof(by.addr), sizeof(by.port_be));
	echo_key(s->echo, p->serial[end], by.key);
	memcpy(v, &by, sizeof(by));
	memcpy(v + sizeof(by), d->row.name, len);
	chan_put(b, MVPN_TLV_RELAY_BY, v, sizeof(by) + len);
	sodium_memzero(&by, sizeof(by));
	sodium_memzero(v, sizeof(v));
}

void relay_device_end(struct server *s, struct relay_pair *p)
{
	struct device *d = device_of(s, p);
	struct conn *c = d ? device_conn(d) : NULL;
	struct chan_buf *b = &s->buf;

	p->by_device = false;
	if (d)
		d->relay_pairs--;
	if (!c)
		return;
	chan_begin(b, MVPN_MSG_FORWARD, MVPN_FORWARD_END, 0);
	chan_put(b, MVPN_TLV_SESSION, p->f.session, MVPN_ID_LEN);
	conn_send(c, b);
}

/* ---- choosing ---- */

struct opening {
	const struct relay_pair *p;
	const struct device *d;
};

static int record(struct server *s, void *arg)
{
	const struct opening *o = arg;
	const struct device *a = registry_by_id(s->reg, o->p->f.half[0].device),
			    *b = registry_by_id(s->reg, o->p->f.half[1].device);
	char id[2 * MVPN_ID_LEN + 1];

	mvpn_hex(id, o->p->f.session, MVPN_ID_LEN);
	return audit_add(&s->audit, "server", "relay-open",
			 json_pack("{s:s, s:s*, s:s*, s:s}", "relay", o->d->row.name, "a",
				   a ? a->row.name : NULL, "b", b ? b->row.name : NULL, "session",
				   id));
}

static void open_at(struct server *s, struct relay_pair *p, struct device *d)
{
	struct opening o = {p, d};

	memcpy(p->by, d->row.id, MVPN_ID_LEN);
	p->by_device = true;
	p->serial[0] = echo_serial(s->echo);
	p->serial[1] = echo_serial(s->echo);
	d->relay_pairs++;
	count(s, relay_devices);
	server_transact(s, false, record, &o); /* it is counted and told if it fails */
}

bool relay_device_choose(struct server *s, struct relay_pair *p)
{
	struct device *d = device_of(s, p);
	bool was = p->by_device, new;

	if (d && !may(s, p, d, true)) {
		relay_device_end(s, p);
		d = NULL;
	}
	new = !d && s->echo && (d = best(s, p));
	if (new)
		open_at(s, p, d);
	if (d)
		tell(s, p, d);
	return new || was != p->by_device;
}

void relay_device_silent(struct server *s, struct relay_pair *p, const uint8_t device[MVPN_ID_LEN],
			 const struct device *end)
{
	const struct device *d = device_of(s, p);

	/* what relays meanwhile is another one */
	if (!d || memcmp(device, p->by, MVPN_ID_LEN))
		return;
	count(s, relay_devices_silent);
	log_ratelimited(
		LOG_L_WARN,
		"device %s does not answer %s, for whom it should relay: another way is taken",
		d->row.name, end->row.name);
	avoid(s, device, end->row.id);
}

int relay_device_message(struct conn *c, const struct chan_msg *m)
{
	struct server *s = c->s;
	uint8_t session[MVPN_ID_LEN];
	struct relay_pair *p;
	uint16_t why;

	if (!chan_get_bytes(m, MVPN_TLV_SESSION, session, sizeof(session)) ||
	    !chan_get_u16(m, MVPN_TLV_REASON, &why))
		return -EPROTO;
	p = (struct relay_pair *)fwd_find(&s->relay->t, session);
	if (!p || device_of(s, p) != c->dev)
		return 0; /* over meanwhile */
	count(s, relay_devices_refused);
	log_ratelimited(LOG_L_WARN, "device %s does not relay: %s", c->dev->row.name,
			mvpn_reason_text(why));
	avoid(s, c->dev->row.id, p->f.half[0].device);
	relay_device_choose(s, p);
	relay_tell(s, p);
	return 0;
}

/* ---- who they are ---- */

static void unlink_device(struct server *s, struct device *d)
{
	if (!d->relay_kbit)
		return;
	*(d->relay_prev ? &d->relay_prev->relay_next : &s->relay->devices) = d->relay_next;
	if (d->relay_next)
		d->relay_next->relay_prev = d->relay_prev;
	d->relay_prev = d->relay_next = NULL;
	d->relay_kbit = 0;
}

static void link_device(struct server *s, struct device *d, uint32_t kbit)
{
	d->relay_kbit = kbit;
	d->relay_prev = NULL;
	d->relay_next = s->relay->devices;
	if (d->relay_next)
		d->relay_next->relay_prev = d;
	s->relay->devices = d;
}

void relay_device_gone(struct server *s, struct device *d)
{
	if (!s->relay)
		return;
	unlink_device(s, d);
	for (struct fwd_pair *f = s->relay->t.first, *next; f && d->relay_pairs; f = next) {
		struct relay_pair *p = (struct relay_pair *)f;

		next = f->next;
		if (device_of(s, p) != d)
			continue;
		relay_device_choose(s, p);
		relay_tell(s, p);
	}
}

void relay_device_up(struct server *s, struct device *d)
{
	struct policy_subject subject = registry_subject(d);
	const struct policy_relay *r = policy_relay_of(s->policy, &subject);

	if (!r) {
		relay_device_gone(s, d);
		return;
	}
	unlink_device(s, d);
	link_device(s, d, r->rate_kbit);
}

void relay_devices_recheck(struct server *s)
{
	for (uint32_t i = 0; i < s->reg->size; i++)
		if (s->reg->devices[i] && s->reg->devices[i]->conn)
			relay_device_up(s, s->reg->devices[i]);
}
