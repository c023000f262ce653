/* SPDX-License-Identifier: BSD-2-Clause */
#include "server_key.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "channel.h"
#include "crypto.h"
#include "fsutil.h"
#include "log.h"

#define FILE_NAME "server_pins"

struct server_key {
	bool loaded;
	struct server_pins pins;
	bool other_first; /* the next log-in tries the other pin */
	bool by_old;	  /* the channel in use is of the old key */
	char *path;
};

/* ---- the file ---- */

static void load(struct server_key *sk, const struct identity *id)
{
	char *data = NULL;
	size_t len = 0;
	int r = file_read_secret(sk->path, SERVER_PINS_FILE_B, &data, &len);

	if (r == 0)
		r = server_pins_decode(data, len, &sk->pins);
	free(data);
	if (r && r != -ENOENT)
		log_err("cannot read the server's pins in %s (%s): the key that the identity names "
			"is pinned; if the server has "
			"changed it since, `mvpnctl pin KEY`",
			sk->path, strerror(-r));
	/* of an identity that is there no more */
	if (r || memcmp(sk->pins.base, id->server_pk, 32))
		server_pins_set(&sk->pins, id->server_pk, id->server_pk, 0);
	sk->loaded = true;
}

/* with the identity, which may be unlocked or made later than keyd starts */
static struct server_pins *pins(struct keyd *k)
{
	struct server_key *sk = k->server_key;

	if (!sk->loaded || memcmp(sk->pins.base, k->id->server_pk, 32))
		load(sk, k->id);
	return &sk->pins;
}

/* what cannot be kept is not used */
static int change(struct server_key *sk, const struct server_pins *to)
{
	uint8_t data[SERVER_PINS_FILE_B];
	int r = file_replace(sk->path, data, server_pins_encode(to, data), 0600);

	if (!r)
		sk->pins = *to;
	else
		log_ratelimited(LOG_L_ERR,
				"cannot keep the server's key in %s: %s; it stays as it is",
				sk->path, strerror(-r));
	return r;
}

int server_key_forget(struct keyd *k)
{
	struct server_key *sk = k->server_key;

	sk->loaded = sk->other_first = sk->by_old = false;
	return unlink(sk->path) && errno != ENOENT ? -errno : 0;
}

/* ---- log-in ---- */

const uint8_t *server_key_to(struct keyd *k)
{
	const struct server_pins *p = pins(k);

	return k->server_key->other_first && p->what != PINS_ALONE ? p->other : p->key;
}

void server_key_failed(struct keyd *k, const uint8_t by[32])
{
	const struct server_pins *p = pins(k);

	k->server_key->other_first = p->what != PINS_ALONE && !memcmp(by, p->key, 32);
}

void server_key_reached(struct keyd *k, const uint8_t by[32])
{
	struct server_key *sk = k->server_key;
	const struct server_pins *p = pins(k);

	sk->other_first = false;
	sk->by_old = p->what == PINS_OLD && memcmp(by, p->key, 32);
	if (!sk->by_old)
		return;
	k->counters[KC_SERVER_KEY_OLD]++;
	log_ratelimited(LOG_L_WARN, "the server answers by the key that it had before its last "
				    "change: was it restored from a backup?");
}

/* ---- the server's word ---- */

static bool parse(const struct chan_msg *m, struct server_word *ret)
{
	ret->next = m->flags & MVPN_KEY_NEXT;
	return chan_get_u64(m, MVPN_TLV_KEY_SERIAL, &ret->serial) &&
	       chan_get_bytes(m, MVPN_TLV_S_PUB, ret->pk, sizeof(ret->pk)) &&
	       chan_get_u32(m, MVPN_TLV_KEY_LEFT, &ret->left_s) &&
	       chan_get_u32(m, MVPN_TLV_KEY_IN, &ret->in_s);
}

static void acknowledge(struct keyd *k, const struct server_word *w)
{
	struct chan_buf b = {0};

	chan_begin(&b, MVPN_MSG_SERVER_KEY, 0, 0);
	chan_put(&b, MVPN_TLV_S_PUB, w->pk, sizeof(w->pk));
	channel_send(k, &b);
	chan_buf_free(&b);
}

static void say_changed(const struct server_pins *was, const struct server_pins *is)
{
	char fp[MVPN_FINGERPRINT_LEN];

	mvpn_fingerprint(fp, is->what == PINS_NEXT ? is->other : is->key);
	if (memcmp(was->key, is->key, 32))
		log_info("the server has a new key, %s", fp);
	else if (is->what == PINS_NEXT)
		log_info("the server's next key, %s, is pinned beside the present one", fp);
	else if (was->what != is->what)
		log_info("the server has one key, %s", fp);
}

int server_key_message(struct keyd *k, const struct chan_msg *m, const uint8_t by[32],
		       bool *ret_renew)
{
	struct server_pins was = *pins(k), to = was;
	enum pins_verdict verdict;
	struct server_word w;

	*ret_renew = false;
	if (!parse(m, &w))
		return -EPROTO;
	verdict = server_pins_hear(&to, &w, by, time(NULL));
	if (verdict == PINS_REFUSED) {
		k->counters[KC_SERVER_KEY_REFUSED]++;
		log_ratelimited(LOG_L_WARN, "what the server says of its key is not believed: it "
					    "is older than what is known, or comes on a channel "
					    "of a key that it had before");
		return 0;
	}
	if (verdict == PINS_CHANGED) {
		if (change(k->server_key, &to))
			return 0; /* neither used nor acknowledged: it is told again after the next log-in */
		k->counters[KC_SERVER_KEY_PINNED]++;
		say_changed(&was, &to);
	}
	if (m->flags & MVPN_KEY_ASK)
		acknowledge(k, &w);
	*ret_renew = memcmp(by, to.key, 32) && to.what != PINS_NEXT;
	return 0;
}

void server_key_tick(struct keyd *k)
{
	struct server_pins to;

	if (!k->id)
		return;
	to = *pins(k);
	if (!server_pins_expire(&to, time(NULL)))
		return;
	say_changed(&k->server_key->pins, &to);
	/* whatever becomes of the file: the time is over */
	if (change(k->server_key, &to))
		k->server_key->pins = to;
}

int server_key_pin(struct keyd *k, const uint8_t pk[32])
{
	struct server_pins to;
	int r;

	if (k->state == KEYD_ONLINE || k->state == KEYD_PENDING)
		return -EISCONN;
	server_pins_set(&to, k->id->server_pk, pk, pins(k)->serial);
	r = change(k->server_key, &to);
	if (r)
		return r;
	k->server_key->other_first = k->server_key->by_old = false;
	log_info("the server's key is pinned by hand");
	channel_restart(k);
	return 0;
}

/* ---- show ---- */

void server_key_show(struct keyd *k, json_t *server)
{
	const struct server_pins *p = pins(k);
	char fp[MVPN_FINGERPRINT_LEN];
	json_t *other = json_null();

	mvpn_fingerprint(fp, p->key);
	json_object_set_new(server, "fingerprint", json_string(fp));
	if (p->what != PINS_ALONE) {
		mvpn_fingerprint(fp, p->other);
		other = json_pack("{s:s, s:I, s:o}", "fingerprint", fp, "until",
				  (json_int_t)p->until, "active_at",
				  p->what == PINS_NEXT ? json_integer(p->active_at) : json_null());
	}
	json_object_set_new(server, "next_key",
			    p->what == PINS_NEXT ? json_incref(other) : json_null());
	json_object_set_new(server, "old_key",
			    p->what == PINS_OLD ? json_incref(other) : json_null());
	json_decref(other);
}

const char *server_key_problem(const struct keyd *k)
{
	return k->server_key->by_old && k->state == KEYD_ONLINE
		       ? "the server answers by the key that it had before its last change: was it "
			 "restored from a backup? Change its key anew"
		       : NULL;
}

/* ---- life ---- */

int server_key_init(struct keyd *k)
{
	struct server_key *sk = k->server_key = calloc(1, sizeof(*sk));

	if (!sk)
		return -ENOMEM;
	sk->path = path_join(k->state_dir, FILE_NAME);
	return sk->path ? 0 : -ENOMEM;
}

void server_key_free(struct keyd *k)
{
	if (!k->server_key)
		return;
	free(k->server_key->path);
	free(k->server_key);
	k->server_key = NULL;
}
