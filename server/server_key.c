/* SPDX-License-Identifier: BSD-2-Clause */
#include "server_key.h"

#include <errno.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "crypto.h"
#include "log.h"

#define LOOK_MS 60000	  /* at the clock, which may be set */
#define NAMES_MAX 20	  /* of devices that have not heard */
#define LAST_DAYS 7	  /* before the old key is given up its missing devices are a problem */
#define META "server_key" /* in the store: the step that the audit trail knows */
#define STEP_TEXT_B (24 + 16 + 2 * MVPN_FINGERPRINT_LEN)

static const char *const steps[] = {
	[KEYFILE_ALONE] = "alone", [KEYFILE_NEXT] = "announced", [KEYFILE_OLD] = "switched"};

/* the key that a device should know */
static const uint8_t *newest(const struct server *s)
{
	return s->id.keys->other == KEYFILE_NEXT ? s->id.other_pk : s->id.pk;
}

static uint32_t seconds_until(int64_t at)
{
	int64_t left = at - wall_now();

	return left <= 0 ? 0 : left > UINT32_MAX ? UINT32_MAX : (uint32_t)left;
}

bool server_key_good(const struct server *s, const uint8_t pk[MVPN_KEY_LEN])
{
	return !memcmp(pk, s->id.pk, MVPN_KEY_LEN) ||
	       (s->id.other_pk && !memcmp(pk, s->id.other_pk, MVPN_KEY_LEN));
}

/* ---- what a device hears and says ---- */

void server_key_tell(struct conn *c)
{
	struct server *s = c->s;
	const struct keyfile *f = s->id.keys;
	struct chan_buf *b = &s->buf;
	bool known = !memcmp(c->dev->row.server_pk, newest(s), MVPN_KEY_LEN);

	if (!f->serial)
		return; /* it never had another key */
	chan_begin(b, MVPN_MSG_SERVER_KEY,
		   (f->other == KEYFILE_NEXT ? MVPN_KEY_NEXT : 0) | (known ? 0 : MVPN_KEY_ASK), 0);
	chan_put_u64(b, MVPN_TLV_KEY_SERIAL, f->serial);
	chan_put(b, MVPN_TLV_S_PUB, newest(s), MVPN_KEY_LEN);
	chan_put_u32(b, MVPN_TLV_KEY_LEFT, f->other ? seconds_until(f->until) : 0);
	chan_put_u32(b, MVPN_TLV_KEY_IN,
		     f->other == KEYFILE_NEXT ? seconds_until(f->active_at) : 0);
	conn_send(c, b);
}

static void tell_all(struct server *s)
{
	for (struct conn *c = s->conns; c; c = c->next)
		if (c->phase == CONN_READY)
			server_key_tell(c);
}

static int record_known(struct server *s, void *arg)
{
	const struct device *d = arg;

	return store_device_set_server_pk(s->store, d->row.id, d->row.server_pk);
}

static void knows(struct server *s, struct device *d, const uint8_t pk[MVPN_KEY_LEN])
{
	if (!memcmp(d->row.server_pk, pk, MVPN_KEY_LEN))
		return;
	memcpy(d->row.server_pk, pk, MVPN_KEY_LEN);
	/* lost with the power it is asked for again */
	server_transact(s, false, record_known, d);
}

void server_key_login(struct conn *c)
{
	struct server *s = c->s;
	const struct chan_who *who = chan_who(c->ch);

	if (!s->id.keys->serial)
		return;
	if (s->id.keys->other == KEYFILE_OLD && memcmp(who->server_pk, s->id.pk, MVPN_KEY_LEN))
		count(s, old_key);
	/* While the next one is announced, who knows it logs in by the present one. Else a log-in shows what a device knows, and one that
	 * was restored from a backup does not know what it once knew. */
	if (who->enrol || s->id.keys->other != KEYFILE_NEXT ||
	    !memcmp(who->server_pk, newest(s), MVPN_KEY_LEN))
		knows(s, c->dev, who->server_pk);
}

int server_key_heard(struct conn *c, const struct chan_msg *m)
{
	uint8_t pk[MVPN_KEY_LEN];

	if (!chan_get_bytes(m, MVPN_TLV_S_PUB, pk, sizeof(pk)))
		return -EPROTO;
	if (memcmp(pk, newest(c->s), sizeof(pk)))
		return 0; /* it has changed meanwhile, and the device is told */
	count(c->s, key_heard);
	knows(c->s, c->dev, pk);
	return 0;
}

/* ---- a step ---- */

struct view {
	char key[MVPN_FINGERPRINT_LEN], other[MVPN_FINGERPRINT_LEN];
	uint8_t other_pk[MVPN_KEY_LEN];
};

static void view(const struct keyfile *f, struct view *ret)
{
	uint8_t pk[MVPN_KEY_LEN];

	mvpn_x25519_public(pk, f->sk);
	mvpn_fingerprint(ret->key, pk);
	ret->other[0] = '\0';
	if (!f->other)
		return;
	mvpn_x25519_public(ret->other_pk, f->other_sk);
	mvpn_fingerprint(ret->other, ret->other_pk);
}

static void step_text(const struct keyfile *f, char ret[STEP_TEXT_B])
{
	struct view v;

	view(f, &v);
	snprintf(ret, STEP_TEXT_B, "%" PRIu64 " %s %s %s", f->serial, steps[f->other], v.key,
		 v.other);
}

struct step {
	const struct keyfile *to;
	const char *actor, *event;
};

static int record(struct server *s, const struct step *st)
{
	char text[STEP_TEXT_B];
	struct view v;
	int r;

	view(st->to, &v);
	r = audit_add(&s->audit, st->actor, st->event,
		      json_pack("{s:s, s:s, s:s*, s:I, s:I, s:i}", "step", steps[st->to->other],
				"key", v.key, "other", st->to->other ? v.other : NULL, "serial",
				(json_int_t)st->to->serial, "until", (json_int_t)st->to->until,
				"devices_left", (int)server_key_left(s, NULL)));
	if (r < 0)
		return r;
	step_text(st->to, text);
	return store_meta_set(s->store, META, text);
}

static int step_transaction(struct server *s, void *arg)
{
	const struct step *st = arg;
	char net[2 * MVPN_NET_ID_LEN + 1];
	int r;

	/* the network is called by its first key, whichever it has; tokens of before say nothing of theirs */
	mvpn_hex(net, s->id.net_id, sizeof(s->id.net_id));
	r = store_meta_set(s->store, "net_id", net);
	if (r == 0)
		r = store_token_adopt(s->store, s->id.pk);
	if (r == 0)
		r = record(s, st);
	/* last: what is there is in force after a crash, whatever became of the record */
	return r == 0 ? identity_keys_save(s->conf->state, st->to) : r;
}

static int take(struct server *s, const struct step *st)
{
	int r = server_transact(s, true, step_transaction, (void *)st);

	if (r < 0) {
		identity_keys_save(s->conf->state, s->id.keys);
		log_err("the server's key stays as it is: %s in %s", strerror(-r), s->conf->state);
		return r;
	}
	identity_use(&s->id, st->to);
	tell_all(s);
	loop_timer_arm(s->key_timer, 1); /* when is the next? */
	return 0;
}

/* changes what `edit` changes */
static int step(struct server *s, const char *actor, const char *event,
		void (*edit)(struct server *s, struct keyfile *f, int64_t arg), int64_t arg)
{
	struct keyfile *to = keyfile_new();
	struct step st = {to, actor, event};
	int r = -ENOMEM;

	if (to) {
		*to = *s->id.keys;
		edit(s, to, arg);
		r = take(s, &st);
	}
	keyfile_free(to);
	return r;
}

/* ---- the steps ---- */

static void begin(struct server *s, struct keyfile *f, int64_t after_s)
{
	uint8_t pk[MVPN_KEY_LEN];

	mvpn_keypair(f->other_sk, pk);
	f->other = KEYFILE_NEXT;
	f->serial++;
	f->active_at = wall_now() + after_s;
	f->until = wall_now() + MVPN_SERVER_KEY_DUAL_S;
}

int server_key_begin(struct server *s, const char *actor, int64_t after_s)
{
	int r;

	if (s->id.keys->other)
		return -EALREADY;
	r = step(s, actor, "server-key-rotate", begin, after_s);
	if (r == 0)
		log_info("the server's next key is announced");
	return r;
}

static void swap(struct server *s, struct keyfile *f, int64_t arg)
{
	uint8_t *sk = f->sk, *other = f->other_sk;

	for (unsigned i = 0; i < sizeof(f->sk); i++) {
		uint8_t x = sk[i];

		sk[i] = other[i];
		other[i] = x;
	}
	f->other = KEYFILE_OLD;
	f->active_at = 0;
}

int server_key_switch(struct server *s, const char *actor)
{
	int r;

	if (s->id.keys->other != KEYFILE_NEXT)
		return -EAGAIN;
	r = step(s, actor, "server-key-switch", swap, 0);
	if (r == 0)
		log_info("the server has a new key; the one before is good for %u s more",
			 seconds_until(s->id.keys->until));
	return r;
}

static void forget_other(struct server *s, struct keyfile *f, int64_t serials)
{
	keyfile_give_up(f, s->id.other_pk);
	sodium_memzero(f->other_sk, sizeof(f->other_sk));
	f->other = KEYFILE_ALONE;
	f->active_at = f->until = 0;
	f->serial += (uint64_t)serials;
}

int server_key_give_up(struct server *s, const char *actor)
{
	unsigned left = server_key_left(s, NULL);
	int r;

	if (s->id.keys->other != KEYFILE_OLD)
		return -EAGAIN;
	r = step(s, actor, "server-key-give-up", forget_other, 0);
	if (r == 0 && left)
		log_warn("the server's old key is given up; %u devices do not know the new one: "
			 "`mvpnctl pin` there",
			 left);
	else if (r == 0)
		log_info("the server's old key is given up");
	return r;
}

int server_key_cancel(struct server *s, const char *actor)
{
	int r;

	if (s->id.keys->other != KEYFILE_NEXT)
		return -EAGAIN;
	r = step(s, actor, "server-key-cancel", forget_other, 1);
	if (r == 0)
		log_info("the server's next key is forgotten");
	return r;
}

static void on_timer(void *arg)
{
	struct server *s = arg;
	int64_t now = wall_now(), next;

	if (s->id.keys->other == KEYFILE_NEXT && now >= s->id.keys->active_at)
		server_key_switch(s, "server");
	if (s->id.keys->other == KEYFILE_OLD && now >= s->id.keys->until)
		server_key_give_up(s, "server");
	if (!s->id.keys->other)
		return;
	next = s->id.keys->other == KEYFILE_NEXT ? s->id.keys->active_at : s->id.keys->until;
	next = next <= now ? LOOK_MS : (next - now) * 1000; /* due and failed: later */
	loop_timer_arm(s->key_timer, next < LOOK_MS ? (int)next : LOOK_MS);
}

/* ---- show ---- */

unsigned server_key_left(const struct server *s, json_t *ret_names)
{
	unsigned left = 0;

	for (uint32_t i = 0; i < s->reg->size; i++) {
		const struct device *d = s->reg->devices[i];

		if (!d || d->row.state == MVPN_DEV_REVOKED ||
		    !memcmp(d->row.server_pk, newest(s), MVPN_KEY_LEN))
			continue;
		if (ret_names && left < NAMES_MAX)
			json_array_append_new(ret_names, json_string(d->row.name));
		left++;
	}
	return left;
}

static json_t *key_json(const uint8_t pk[MVPN_KEY_LEN])
{
	char hex[2 * MVPN_KEY_LEN + 1], fp[MVPN_FINGERPRINT_LEN];

	mvpn_hex(hex, pk, MVPN_KEY_LEN);
	mvpn_fingerprint(fp, pk);
	return json_pack("{s:s, s:s}", "public_key", hex, "fingerprint", fp);
}

static unsigned channels_by_old(const struct server *s)
{
	unsigned n = 0;

	for (const struct conn *c = s->conns; c && s->id.keys->other == KEYFILE_OLD; c = c->next)
		n += c->phase == CONN_READY &&
		     memcmp(chan_who(c->ch)->server_pk, s->id.pk, MVPN_KEY_LEN);
	return n;
}

json_t *server_key_json(const struct server *s)
{
	const struct keyfile *f = s->id.keys;
	json_t *names = json_array(), *gone = json_array(), *o;
	unsigned left = f->other ? server_key_left(s, names) : 0,
		 devices = s->reg->count - s->reg->states[MVPN_DEV_REVOKED];

	for (unsigned i = 0; i < f->ngone; i++)
		json_array_append_new(gone, key_json(f->gone[i]));
	o = json_pack("{s:s, s:o, s:I, s:o, s:o}", "step", steps[f->other], "key",
		      key_json(s->id.pk), "serial", (json_int_t)f->serial, "gone", gone, "left",
		      names);
	json_object_set_new(o, "next",
			    f->other == KEYFILE_NEXT ? key_json(s->id.other_pk) : json_null());
	json_object_set_new(o, "old",
			    f->other == KEYFILE_OLD ? key_json(s->id.other_pk) : json_null());
	json_object_set_new(o, "active_at",
			    f->active_at ? json_integer(f->active_at) : json_null());
	json_object_set_new(o, "until", f->until ? json_integer(f->until) : json_null());
	json_object_set_new(o, "devices", json_integer(devices));
	json_object_set_new(o, "heard", json_integer(devices - left));
	json_object_set_new(o, "channels_by_old", json_integer(channels_by_old(s)));
	return o;
}

char *server_key_problem(const struct server *s)
{
	const struct keyfile *f = s->id.keys;
	unsigned left = f->other == KEYFILE_OLD ? server_key_left(s, NULL) : 0;
	char *text;

	if (!left || seconds_until(f->until) > LAST_DAYS * 86400 ||
	    asprintf(&text,
		     "%u devices do not know this server's new key, and the old one is given up in "
		     "%u hours: `mvpnctl server key show`",
		     left, seconds_until(f->until) / 3600) < 0)
		return NULL;
	return text;
}

/* ---- life ---- */

static int found_transaction(struct server *s, void *arg)
{
	const struct step st = {s->id.keys, "server", "server-key-found"};

	return record(s, &st);
}

/* a crash between server.key and the store, or a server.key from elsewhere */
static int reconcile(struct server *s)
{
	char text[STEP_TEXT_B], *known = NULL;
	int r = store_meta_get(s->store, META, &known);
	bool same;

	if (r < 0 && r != -ENOENT)
		return r;
	step_text(s->id.keys, text);
	same = known ? !strcmp(known, text) : !s->id.keys->serial;
	free(known);
	if (same)
		return 0;
	log_warn("server.key is not as the store knows it: a change of the key was interrupted, or "
		 "the file was replaced");
	return server_transact(s, true, found_transaction, NULL);
}

int server_key_new(struct server *s)
{
	int r = loop_timer_new(s->loop, on_timer, s, &s->key_timer);

	if (r == 0)
		r = reconcile(s);
	if (r == 0)
		loop_timer_arm(s->key_timer, 1);
	return r;
}

void server_key_free(struct server *s)
{
	loop_timer_free(s->key_timer);
}
