/* SPDX-License-Identifier: BSD-2-Clause */
#include "forwards.h"

#include <endian.h>
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "channel.h"
#include "echo_ends.h"
#include "forward.h"
#include "fwdtab.h"
#include "log.h"
#include "secmem.h"
#include "sessions.h"

struct forward_end {
	char name[MVPN_NAME_MAX_B + 1];
	uint8_t *key; /* of its echoes, in the pair's cell */
	struct echo_place place;
};

struct forward {
	struct fwd_pair f; /* first */
	uint32_t rate_kbit;
	uint8_t *keys; /* secmem */
	struct forward_end end[2];
	struct fwd_account *account;
};

struct forwards {
	struct fwd_table t; /* of struct forward */
	/* Made with the first pair. Workers may look at one for a moment after its pair has gone; then it counts for the next. */
	struct fwd_account *accounts;
	bool used[MVPN_RELAY_DEVICE_PAIRS_MAX];
};

/* as the server says it */
struct told {
	uint8_t session[MVPN_ID_LEN];
	uint32_t rate_kbit;
	unsigned n;
	struct mvpn_relay_end end[2];
	char name[2][MVPN_NAME_MAX_B + 1];
};

/* ---- for the workers ---- */

static void publish(struct keyd *k)
{
	struct forwards *fs = k->forwards;
	struct fwdtab *t = fs->t.count ? fwdtab_new(2 * fs->t.count) : NULL;

	if (fs->t.count && !t)
		log_err("no memory for what this device relays: nothing is relayed");
	for (struct fwd_pair *p = t ? fs->t.first : NULL; p; p = p->next) {
		const struct forward *f = (const struct forward *)p;

		for (unsigned i = 0; i < 2; i++)
			fwdtab_add(t, &(struct fwd_entry){.spi = p->half[i].spi,
							  .end = i,
							  .rate_kbit = f->rate_kbit,
							  .from = f->end[!i].place.proven,
							  .to = f->end[i].place.proven,
							  .account = f->account});
	}
	if (t)
		fwdtab_sort(t);
	kt_set_forwards(k->kt, t);
}

/* ---- pairs ---- */

static struct fwd_account *account_take(struct forwards *fs)
{
	if (!fs->accounts)
		fs->accounts = calloc(MVPN_RELAY_DEVICE_PAIRS_MAX, sizeof(*fs->accounts));
	for (unsigned i = 0; fs->accounts && i < MVPN_RELAY_DEVICE_PAIRS_MAX; i++)
		if (!fs->used[i]) {
			fs->used[i] = true;
			memset(&fs->accounts[i], 0, sizeof(fs->accounts[i]));
			return &fs->accounts[i];
		}
	return NULL;
}

static void pair_free(struct forwards *fs, struct forward *f)
{
	fwd_remove(&fs->t, &f->f);
	fs->used[f->account - fs->accounts] = false;
	secmem_free(f->keys);
	free(f);
}

static struct forward *pair_new(struct forwards *fs, const struct told *t)
{
	struct forward *f = calloc(1, sizeof(*f));

	if (!f)
		return NULL;
	f->keys = secmem_alloc();
	f->account = f->keys ? account_take(fs) : NULL;
	if (!f->account) {
		secmem_free(f->keys);
		free(f);
		return NULL;
	}
	for (unsigned i = 0; i < 2; i++)
		f->end[i].key = f->keys + i * ECHO_KEY_B;
	fwd_add(&fs->t, &f->f, t->session, t->end[0].device, t->end[1].device, mono_ms());
	return f;
}

/* With another key (the server was started anew) the same end is still where it was, by the same SPI. */
static void end_set(struct forwards *fs, struct forward *f, unsigned i, const struct told *t)
{
	struct forward_end *e = &f->end[i];
	uint32_t spi = be32toh(t->end[i].spi_be);

	if (f->f.half[i].spi != spi)
		echo_place_init(&e->place, mono_ms());
	else if (sodium_memcmp(e->key, t->end[i].key, ECHO_KEY_B))
		e->place.counter = 0;
	fwd_set_spi(&fs->t, &f->f.half[i], spi);
	memcpy(e->key, t->end[i].key, ECHO_KEY_B);
	memcpy(e->name, t->name[i], sizeof(e->name));
}

/* ---- FORWARD ---- */

static void refuse(struct keyd *k, const struct told *t, enum mvpn_reason why)
{
	struct chan_buf b = {0};

	k->counters[KC_FORWARD_REFUSED]++;
	log_ratelimited(
		LOG_L_WARN, "the server wants %s and %s relayed here; refused: %s", t->name[0],
		t->name[1],
		why == MVPN_R_LIMIT
			? "there are as many pairs as this device relays"
			: "one end is this device itself, or receives by an SPI of its own");
	chan_begin(&b, MVPN_MSG_FORWARD, 0, 0);
	chan_put(&b, MVPN_TLV_SESSION, t->session, MVPN_ID_LEN);
	chan_put_u16(&b, MVPN_TLV_REASON, (uint16_t)why);
	channel_send(k, &b);
	chan_buf_free(&b);
}

static bool read_end(struct told *t, const struct chan_tlv *tlv)
{
	struct mvpn_relay_end *e = &t->end[t->n];

	if (t->n == 2 || tlv->len <= sizeof(*e) ||
	    !mvpn_name_valid((const char *)tlv->value + sizeof(*e), tlv->len - sizeof(*e)))
		return false;
	memcpy(e, tlv->value, sizeof(*e));
	memcpy(t->name[t->n], tlv->value + sizeof(*e), tlv->len - sizeof(*e));
	t->n++;
	return e->spi_be;
}

static int read_told(const struct chan_msg *m, struct told *ret)
{
	struct chan_tlv tlv;
	size_t pos = 0;

	*ret = (struct told){0};
	if (!chan_get_bytes(m, MVPN_TLV_SESSION, ret->session, MVPN_ID_LEN) ||
	    !chan_get_u32(m, MVPN_TLV_RELAY_RATE, &ret->rate_kbit) || !ret->rate_kbit)
		return -EPROTO;
	while (chan_tlv_next(m, &pos, &tlv))
		if (tlv.type == MVPN_TLV_RELAY_END && !read_end(ret, &tlv))
			return -EPROTO;
	return ret->n == 2 && memcmp(ret->end[0].device, ret->end[1].device, MVPN_ID_LEN) ? 0
											  : -EPROTO;
}

/* what comes with that SPI, or from ourselves, is never looked up as another's */
static bool is_ours(struct keyd *k, const struct mvpn_relay_end *e)
{
	return session_by_spi(k, be32toh(e->spi_be)) ||
	       !memcmp(e->device, k->id->device_id, MVPN_ID_LEN);
}

static void take(struct keyd *k, const struct told *t)
{
	struct forwards *fs = k->forwards;
	struct forward *f = (struct forward *)fwd_find(&fs->t, t->session);

	if (is_ours(k, &t->end[0]) || is_ours(k, &t->end[1])) {
		refuse(k, t, MVPN_R_RELAY);
		return;
	}
	/* a session's ends do not change */
	if (f && (memcmp(f->f.half[0].device, t->end[0].device, MVPN_ID_LEN) ||
		  memcmp(f->f.half[1].device, t->end[1].device, MVPN_ID_LEN))) {
		pair_free(fs, f);
		f = NULL;
	}
	if (!f) {
		f = pair_new(fs, t);
		if (!f) {
			refuse(k, t, MVPN_R_LIMIT);
			return;
		}
		k->counters[KC_FORWARD_OPENED]++;
		log_info("sealed packets between %s and %s are relayed here", t->name[0],
			 t->name[1]);
	}
	f->rate_kbit = t->rate_kbit;
	end_set(fs, f, 0, t);
	end_set(fs, f, 1, t);
	fwd_touch(&fs->t, &f->f, mono_ms());
	publish(k);
}

int forwards_message(struct keyd *k, const struct chan_msg *m)
{
	uint8_t session[MVPN_ID_LEN];
	struct fwd_pair *p;
	struct told t;
	int r;

	if (!(m->flags & MVPN_FORWARD_END)) {
		r = read_told(m, &t);
		if (!r)
			take(k, &t);
		sodium_memzero(&t, sizeof(t));
		return r;
	}
	if (!chan_get_bytes(m, MVPN_TLV_SESSION, session, sizeof(session)))
		return -EPROTO;
	p = fwd_find(&k->forwards->t, session);
	if (p) {
		pair_free(k->forwards, (struct forward *)p);
		publish(k);
	}
	return 0;
}

/* ---- where the ends are ---- */

/* true: it is that one's question, and is answered */
static bool answer(struct keyd *k, struct forward_end *e, const struct dp_event *event)
{
	struct mvpn_endpoint before = e->place.proven;
	uint8_t data[MVPN_ECHO_B];

	memcpy(data, event->data, sizeof(data));
	if (!echo_place_answer(&e->place, data, &event->from, e->key, mono_ms()))
		return false;
	if (before.port != e->place.proven.port ||
	    !mvpn_addr_eq(&before.addr, &e->place.proven.addr))
		publish(k);
	dp_send_plain(k->dp, &event->from, data, sizeof(data)); /* not sent: as lost */
	return true;
}

void forwards_asked(struct keyd *k, const struct dp_event *e)
{
	struct fwd_half *h = NULL;
	uint32_t id;

	if (!echo_look(e->data, sizeof(e->data), MVPN_ECHO, &id))
		return;
	while ((h = fwd_by_spi(&k->forwards->t, id, h)))
		if (answer(k, &((struct forward *)h->pair)->end[fwd_end(h)], e))
			return;
}

/* ---- the end ---- */

void forwards_drop_all(struct keyd *k)
{
	struct forwards *fs = k->forwards;

	if (!fs->t.first)
		return;
	while (fs->t.first)
		pair_free(fs, (struct forward *)fs->t.first);
	publish(k);
}

/* Without a channel nobody could say that a pair goes on: it does, for as long as this device's sessions would. */
static void tick_offline(struct keyd *k, uint64_t now_ms)
{
	struct fwd_table *t = &k->forwards->t;

	if (now_ms >= k->server_heard_ms + k->max_offline_s * 1000ULL)
		forwards_drop_all(k);
	while (fwd_idle(t, now_ms, 0))
		fwd_touch(t, t->first, now_ms);
}

void forwards_tick(struct keyd *k, uint64_t now_ms)
{
	struct forwards *fs = k->forwards;
	struct fwd_pair *p;
	bool any = false;

	if (k->state != KEYD_ONLINE) {
		tick_offline(k, now_ms);
		return;
	}
	while ((p = fwd_idle(&fs->t, now_ms, MVPN_RELAY_IDLE_S * 1000))) {
		pair_free(fs, (struct forward *)p);
		any = true;
	}
	if (any)
		publish(k);
}

unsigned forwards_count(const struct keyd *k)
{
	return k->forwards->t.count;
}

void forwards_each(const struct keyd *k, void (*fn)(void *arg, const struct forward_view *v),
		   void *arg)
{
	for (const struct fwd_pair *p = k->forwards->t.first; p; p = p->next) {
		const struct forward *f = (const struct forward *)p;

		fn(arg, &(struct forward_view){
				.pair = p,
				.name = {f->end[0].name, f->end[1].name},
				.at = {f->end[0].place.proven, f->end[1].place.proven},
				.rate_kbit = f->rate_kbit,
				.account = f->account,
			});
	}
}

int forwards_init(struct keyd *k)
{
	k->forwards = calloc(1, sizeof(*k->forwards));
	return k->forwards ? fwd_init(&k->forwards->t) : -ENOMEM;
}

void forwards_free(struct keyd *k)
{
	struct forwards *fs = k->forwards;

	if (!fs)
		return;
	while (fs->t.first)
		pair_free(fs, (struct forward *)fs->t.first);
	fwd_free(&fs->t);
	free(fs->accounts);
	free(fs);
	k->forwards = NULL;
}
