/* SPDX-License-Identifier: BSD-2-Clause */
#include "rotate.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "channel.h"
#include "crypto.h"
#include "delegation.h"
#include "hsm.h"
#include "identity.h"
#include "keystore.h"
#include "log.h"
#include "peers.h"
#include "sessions.h"
#include "vouch.h"

#define PART_VOUCHES 256     /* in one message: some 10 ms of Diffie-Hellman, then the loop goes on */
#define RETRY_MS 3000	     /* between log-ins with the next key beside a channel that works */
#define RENEW_MS ((MVPN_ROTATE_S - 60) * 1000ULL) /* announced anew before it lapses */
#define CALL_MS 30000

enum step {
	ROTATE_IDLE,
	ROTATE_TELLING,	 /* parts are on their way */
	ROTATE_ASKED,	 /* all of them; the answer is awaited */
	ROTATE_ACCEPTED, /* the server takes the next key */
};

struct rotate {
	enum step step;
	struct loop_timer *part;
	uint32_t at; /* peer whose vouch comes next */
	unsigned told;
	bool tried; /* the next key may have logged in: it is not thrown away any more */
	bool present; /* the next connection tries the present key */
	bool anew; /* introductions under way are of the key before */
	uint64_t accepted_ms, retry_ms;
	struct ipc_call *call;
	uint64_t call_until_ms;
	uint8_t old_pk[32];
	struct hsm_job *signing; /* the token's last word for the next key, which it hands over to */
	bool has_word;
	uint8_t word[MVPN_TLV_DELEGATION_B];
	/* the key before, for vouches of peers that rotate at the same time; locked memory, NULL: none */
	uint8_t *before;
	uint64_t before_until_ms;
};

static void done(struct keyd *k, const char *error)
{
	struct rotate *r = k->rotate;
	struct ipc_call *call = r->call;

	r->call = NULL;
	if (call)
		control_rotate_done(k, call, error, r->old_pk, r->told);
}

/* what was kept stays kept if this cannot be: the next start finds both keys, and either logs in */
static int change(struct keyd *k, const struct identity *to)
{
	int r = keystore_save(k, to);

	if (!r)
		*k->id = *to;
	return r;
}

/* ---- ROTATE ---- */

/* the token that it is on, if it is on one, is there */
static bool has_next(const struct keyd *k)
{
	return k->id->has_next && !(k->id->next_signs && hsm_state(k));
}

static bool vouch_wanted(const struct peer *p)
{
	return p->pinned && p->layer == MVPN_LAYER_NETWORK; /* one pin for all layers */
}

/* false: the peer has no key that could be vouched to */
static bool vouch_put(struct keyd *k, struct chan_buf *b, const struct peer *p)
{
	/* a key that only signs meets no other: then to the one for which it signs */
	const uint8_t *to = p->delegates ? p->used : p->pin;
	const struct vouch v = {k->id->net_id, k->id->device_id, p->id,
				k->id->pk,     k->id->next_pk,	 to};
	uint8_t tlv[MVPN_TLV_VOUCH_B] = {0}, dh[32];

	if (!vouch_wanted(p))
		return false;
	memcpy(tlv, p->id, MVPN_ID_LEN);
	if (k->id->delegates) { /* the token's word is for everybody */
		chan_put(b, MVPN_TLV_VOUCH, tlv, sizeof(tlv));
		return true;
	}
	if (mvpn_x25519(dh, k->id->sk, to))
		return false;
	vouch_mac(tlv + MVPN_ID_LEN, dh, &v);
	sodium_memzero(dh, sizeof(dh));
	chan_put(b, MVPN_TLV_VOUCH, tlv, sizeof(tlv));
	return true;
}

static void part_begin(struct keyd *k, struct chan_buf *b, uint8_t flags)
{
	chan_begin(b, MVPN_MSG_ROTATE, flags, 0);
	chan_put(b, MVPN_TLV_S_PUB, k->id->next_pk, MVPN_KEY_LEN);
	if (k->id->delegates)
		chan_put(b, MVPN_TLV_DELEGATION, k->rotate->word, sizeof(k->rotate->word));
}

static void send_part(void *arg)
{
	struct keyd *k = arg;
	struct rotate *r = k->rotate;
	struct chan_buf b = {0};
	uint32_t end = r->at;
	unsigned n;
	bool last;

	if (r->step != ROTATE_TELLING)
		return;
	for (n = 0; end <= k->npeers && n < PART_VOUCHES; end++)
		n += vouch_wanted(k->peers[end]);
	last = end > k->npeers;
	part_begin(k, &b, (r->at == 1 ? MVPN_PFX_RESET : 0) | (last ? MVPN_PFX_COMMIT : 0));
	for (; r->at < end; r->at++)
		r->told += vouch_put(k, &b, k->peers[r->at]);
	if (last)
		r->step = ROTATE_ASKED;
	else
		loop_timer_arm(r->part, 1);
	channel_send(k, &b); /* fails with the channel: its successor begins anew */
	chan_buf_free(&b);
}

static void tell(struct keyd *k);

static void word_signed(void *arg, const uint8_t *signature)
{
	struct keyd *k = arg;
	struct rotate *r = k->rotate;
	struct delegation dg;

	r->signing = NULL;
	if (!signature || !k->id || !k->id->delegates || !k->id->has_next)
		return; /* again after the next WELCOME */
	delegation_decode(&dg, r->word, sizeof(r->word));
	memcpy(dg.signature, signature, sizeof(dg.signature));
	delegation_encode(r->word, &dg);
	r->has_word = true;
	if (k->state == KEYD_ONLINE)
		tell(k);
}

/* the token says that the next key is the device's; then it is told */
static void sign_word(struct keyd *k)
{
	struct delegation_of of = {k->id->net_id, k->id->device_id, k->id->next_pk};
	struct delegation dg = {0};
	uint8_t text[MVPN_DELEGATION_TEXT_B];

	if (k->rotate->signing)
		return;
	memcpy(dg.key, k->id->token_pk, sizeof(dg.key));
	delegation_last(&dg);
	delegation_encode(k->rotate->word, &dg);
	delegation_text(text, &dg, &of);
	if (hsm_sign(k, text, word_signed, k, &k->rotate->signing))
		k->rotate->signing = NULL; /* the token is away: as above */
}

static void tell(struct keyd *k)
{
	struct rotate *r = k->rotate;

	if (k->id->delegates && !r->has_word) {
		sign_word(k);
		return;
	}
	r->step = ROTATE_TELLING;
	r->at = 1;
	r->told = 0;
	send_part(k);
}

static void call_gone(void *arg)
{
	((struct keyd *)arg)->rotate->call = NULL;
}

/* token_pk NULL: a new one, in the identity */
static int begin(struct keyd *k, const uint8_t *token_pk)
{
	struct identity *to = identity_new();
	int e;

	if (!to)
		return -ENOMEM;
	*to = *k->id;
	to->has_next = true;
	to->next_signs = token_pk != NULL;
	if (token_pk)
		memcpy(to->next_pk, token_pk, sizeof(to->next_pk));
	else
		mvpn_keypair(to->next_sk, to->next_pk);
	e = change(k, to);
	identity_free(to);
	if (e)
		return e;
	k->rotate->tried = k->rotate->has_word = false;
	if (k->state == KEYD_ONLINE) /* else it is told as soon as it is */
		tell(k);
	return 0;
}

/* the token has found its key, or made it */
static void token_made(struct keyd *k, const uint8_t pk[32], bool signs)
{
	int e;

	if (!pk || !signs) {
		done(k, pk ? "the token's key does not sign" : hsm_state(k));
		return;
	}
	if (!k->id || k->id->has_next)
		return;
	e = begin(k, pk);
	if (e)
		done(k, strerror(-e));
}

static int begin_on_token(struct keyd *k)
{
	int e = hsm_open(k);

	return e ? e : hsm_make(k, token_made);
}

int rotate_begin(struct keyd *k, struct ipc_call *call, enum rotate_to to)
{
	struct rotate *r = k->rotate;
	bool token = to == ROTATE_TO_TOKEN;
	int e = 0;

	if (k->id->on_token || (k->id->delegates && to != ROTATE_TO_FILE))
		return -EOPNOTSUPP;
	if (r->call || (k->id->has_next && k->id->next_signs != token))
		return -EALREADY;
	if (k->state != KEYD_ONLINE)
		return -ENOTCONN;
	if (k->id->delegates && hsm_problem(k))
		return -EAGAIN;
	memcpy(r->old_pk, identity_key(k->id), sizeof(r->old_pk));
	if (!k->id->has_next)
		e = token ? begin_on_token(k) : begin(k, NULL);
	if (e)
		return e;
	r->call = call;
	ipc_call_on_gone(call, call_gone, k);
	r->call_until_ms = mono_ms() + CALL_MS;
	return 0;
}

/* the server does not take it: forgotten, unless it may be the key already */
static void refused(struct keyd *k, enum mvpn_reason why)
{
	struct rotate *r = k->rotate;
	struct identity *to = identity_new();

	log_err("the server refuses this device's next key: %s", mvpn_reason_text(why));
	r->step = ROTATE_IDLE;
	if (to && !r->tried) {
		*to = *k->id;
		to->has_next = to->next_signs = false;
		sodium_memzero(to->next_sk, sizeof(to->next_sk));
		sodium_memzero(to->next_pk, sizeof(to->next_pk));
		if (change(k, to))
			log_err("the next key stays in the identity, which cannot be written");
	}
	identity_free(to);
	done(k, mvpn_reason_text(why));
}

int rotate_message(struct keyd *k, const struct chan_msg *m)
{
	struct rotate *r = k->rotate;
	uint8_t pk[MVPN_KEY_LEN];
	uint16_t why;

	if (!chan_get_bytes(m, MVPN_TLV_S_PUB, pk, sizeof(pk)))
		return -EPROTO;
	if (!k->id->has_next || memcmp(pk, k->id->next_pk, sizeof(pk)) ||
	    (r->step != ROTATE_ASKED && r->step != ROTATE_TELLING))
		return 0;
	if (chan_get_u16(m, MVPN_TLV_REASON, &why)) {
		refused(k, why);
		return 0;
	}
	r->step = ROTATE_ACCEPTED;
	r->accepted_ms = mono_ms();
	r->retry_ms = r->accepted_ms + RETRY_MS;
	r->present = false;
	if (has_next(k)) /* else when the token is back: the tick sees to it */
		channel_renew(k);
	return 0;
}

/* ---- log-in ---- */

bool rotate_connect_with_next(const struct keyd *k)
{
	return has_next(k) && !k->rotate->present;
}

bool rotate_renew_with_next(const struct keyd *k)
{
	return has_next(k) && k->rotate->step == ROTATE_ACCEPTED;
}

void rotate_login_tried(struct keyd *k, bool next)
{
	if (next)
		k->rotate->tried = true;
}

void rotate_login_failed(struct keyd *k, bool next)
{
	k->rotate->present = next; /* the other one then */
}

void rotate_keep_before(struct keyd *k, uint64_t until_ms)
{
	struct rotate *r = k->rotate;

	if (!r->before)
		r->before = sodium_malloc(64);
	if (!r->before)
		return;
	memcpy(r->before, k->id->sk, 32);
	memcpy(r->before + 32, k->id->pk, 32);
	r->before_until_ms = until_ms;
}

static void forget_before(struct rotate *r)
{
	sodium_free(r->before);
	r->before = NULL;
}

/* the next key has logged in: the server knows no other any more */
static void take_next(struct keyd *k)
{
	struct identity *to = identity_new();
	int e = -ENOMEM;

	rotate_keep_before(k, mono_ms() + MVPN_ROTATE_S * 1000ULL);
	if (to) {
		*to = *k->id;
		to->delegates = to->next_signs;
		sodium_memzero(to->token_pk, sizeof(to->token_pk));
		if (to->delegates) /* what it signs for comes from delegate_taken() */
			memcpy(to->token_pk, to->next_pk, sizeof(to->token_pk));
		memcpy(to->sk, to->next_sk, sizeof(to->sk));
		memcpy(to->pk, to->next_pk, sizeof(to->pk));
		sodium_memzero(to->next_sk, sizeof(to->next_sk));
		sodium_memzero(to->next_pk, sizeof(to->next_pk));
		to->has_next = to->next_signs = false;
		e = keystore_save(k, to);
		*k->id = *to;
	}
	identity_free(to);
	if (e)
		log_err("the new key is in use, but the identity cannot be written (%s): it holds both "
			"until the next time",
			strerror(-e));
	k->counters[KC_ROTATED]++;
	log_info("this device has a new key");
}

void rotate_channel_new(struct keyd *k, bool next)
{
	struct rotate *r = k->rotate;

	r->step = ROTATE_IDLE;
	r->present = false;
	if (!next || !k->id->has_next)
		return;
	take_next(k);
	r->anew = !k->id->has_next;
}

bool rotate_online(struct keyd *k)
{
	struct rotate *r = k->rotate;
	bool anew = r->anew;

	r->anew = false;
	if (anew) {
		introduce_anew(k);
		done(k, NULL);
	}
	if (k->id->has_next && r->step == ROTATE_IDLE)
		tell(k);
	return anew;
}

void rotate_tick(struct keyd *k)
{
	struct rotate *r = k->rotate;
	uint64_t now = mono_ms();

	if (r->before && now >= r->before_until_ms)
		forget_before(r);
	if (r->call && now >= r->call_until_ms)
		done(k, "it is not done yet: the next key is kept, and is taken into use as soon as "
			"the server can be reached");
	if (!k->id || k->state != KEYD_ONLINE || now < r->retry_ms)
		return;
	r->retry_ms = now + RETRY_MS;
	if (r->step == ROTATE_IDLE && k->id->has_next)
		tell(k); /* the token was away, or has just spoken */
	if (r->step != ROTATE_ACCEPTED)
		return;
	if (now >= r->accepted_ms + RENEW_MS)
		tell(k);
	else if (has_next(k))
		channel_renew(k);
}

const uint8_t *rotate_before(const struct keyd *k)
{
	return k->rotate->before;
}

void rotate_pinned(struct keyd *k, const struct peer *p)
{
	const struct rotate *r = k->rotate;
	struct chan_buf b = {0};

	if (!k->id->has_next || r->step == ROTATE_IDLE ||
	    (r->step == ROTATE_TELLING && p->index >= r->at))
		return;
	part_begin(k, &b, 0);
	if (vouch_put(k, &b, p))
		channel_send(k, &b);
	chan_buf_free(&b);
}

/* ---- life ---- */

json_t *rotate_show(const struct keyd *k)
{
	static const char *const steps[] = {"waiting", "announcing", "announcing", "accepted"};
	char fp[MVPN_FINGERPRINT_LEN];

	if (!k->id || !k->id->has_next)
		return json_null();
	mvpn_fingerprint(fp, k->id->next_pk);
	return json_pack("{s:s, s:s}", "fingerprint", fp, "step", steps[k->rotate->step]);
}

int rotate_init(struct keyd *k)
{
	struct rotate *r = k->rotate = calloc(1, sizeof(*r));

	if (!r)
		return -ENOMEM;
	r->tried = true; /* by an earlier life, for all that is known */
	return loop_timer_new(k->loop, send_part, k, &r->part);
}

void rotate_free(struct keyd *k)
{
	struct rotate *r = k->rotate;

	if (!r)
		return;
	loop_timer_free(r->part);
	hsm_cancel(r->signing);
	forget_before(r);
	free(r);
	k->rotate = NULL;
}
