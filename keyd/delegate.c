/* SPDX-License-Identifier: BSD-2-Clause */
#include "delegate.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>
#include <time.h>

#include "crypto.h"
#include "delegation.h"
#include "hsm.h"
#include "identity.h"
#include "log.h"
#include "peers.h"
#include "rotate.h"
#include "sessions.h"

/* ---- the key in use ---- */

int delegate_key_new(struct delegate_key **ret)
{
	struct delegate_key *key = sodium_malloc(sizeof(*key));

	if (!key)
		return -ENOMEM;
	sodium_memzero(key, sizeof(*key));
	mvpn_keypair(key->sk, key->pk);
	*ret = key;
	return 0;
}

void delegate_key_free(struct delegate_key *key)
{
	sodium_free(key);
}

bool delegate_valid(const struct keyd *k)
{
	return mono_ms() < k->vouched_until_ms;
}

bool delegate_due(const struct keyd *k)
{
	return mono_ms() >= k->vouch_due_ms;
}

void delegate_void(struct keyd *k)
{
	k->vouched_until_ms = k->vouch_due_ms = 0;
}

int64_t delegate_until(const struct keyd *k)
{
	return delegate_valid(k) ? time(NULL) + (int64_t)((k->vouched_until_ms - mono_ms()) / 1000)
				 : 0;
}

/* ---- the token's word ---- */

static const struct identity *who(const struct conn *c)
{
	return c->fresh ? c->fresh : c->k->id;
}

/* which signs */
static const uint8_t *token_key(const struct conn *c)
{
	return c->next_key && c->k->id->next_signs ? c->k->id->next_pk : who(c)->token_pk;
}

static int build(const struct conn *c, struct delegation *ret, struct delegation_of *of)
{
	struct keyd *k = c->k;
	struct delegate_key *key = c->key;
	uint64_t life_ms = k->conf.delegation_s * 1000;

	memset(ret, 0, sizeof(*ret));
	memcpy(ret->key, token_key(c), sizeof(ret->key));
	ret->not_after = (uint64_t)time(NULL) + k->conf.delegation_s;
	key->until_ms = mono_ms() + life_ms;
	key->due_ms = mono_ms() + life_ms / 2;
	*of = (struct delegation_of){who(c)->net_id, key->device_id, key->pk};
	if (!c->fresh)
		memcpy(key->device_id, k->id->device_id, sizeof(key->device_id));
	else if (delegation_device_id(c->chan, key->pk, key->device_id))
		return -ENOTCONN;
	return delegation_challenge(c->chan, key->pk, ret->challenge);
}

static void signed_by_token(void *arg, const uint8_t *signature)
{
	struct conn *c = arg;
	struct delegation_of of = {who(c)->net_id, c->key->device_id, c->key->pk};
	struct delegation dg;

	c->job = NULL;
	if (!signature) {
		conn_key_away(c);
		return;
	}
	delegation_decode(&dg, c->key->word, sizeof(c->key->word));
	memcpy(dg.signature, signature, sizeof(dg.signature));
	if (delegation_verify(&dg, &of)) {
		conn_failed(c, "what the token has signed does not hold: is its key damaged?");
		return;
	}
	delegation_encode(c->key->word, &dg);
	c->vouched(c);
}

void delegate_sign(struct conn *c, void (*then)(struct conn *c))
{
	uint8_t text[MVPN_DELEGATION_TEXT_B];
	struct delegation_of of;
	struct delegation dg;
	int r = build(c, &dg, &of);

	if (!r) {
		delegation_encode(c->key->word, &dg);
		delegation_text(text, &dg, &of);
		c->vouched = then;
		r = hsm_sign(c->k, text, signed_by_token, c, &c->job);
	}
	if (r)
		conn_key_away(c);
}

/* those under way are bound to the key before; whoever waits asks again */
static void abort_introductions(struct keyd *k)
{
	for (uint32_t i = 1; k->nintros && i <= k->npeers; i++)
		introduce_abort(k, k->peers[i]);
}

void delegate_taken(struct conn *c)
{
	struct keyd *k = c->k;
	bool same = !memcmp(c->key->device_id, k->id->device_id, sizeof(c->key->device_id));

	abort_introductions(k);
	if (delegate_valid(k))
		rotate_keep_before(k, k->vouched_until_ms);
	memcpy(k->id->sk, c->key->sk, sizeof(k->id->sk));
	memcpy(k->id->pk, c->key->pk, sizeof(k->id->pk));
	k->vouched_until_ms = c->key->until_ms;
	/* enrolled again: its id was not known, and peers look at it */
	k->vouch_due_ms = same ? c->key->due_ms : 0;
	k->counters[KC_DELEGATED]++;
	delegate_key_free(c->key);
	c->key = NULL;
	log_info("the token vouches for this device's key for %llu s",
		 (unsigned long long)k->conf.delegation_s);
}

/* ---- of a peer ---- */

int delegate_peer(struct keyd *k, const struct intro_msg *im, uint8_t ret_identity[32])
{
	struct delegation_of of = {k->id->net_id, im->peer_id, im->peer_pk};
	const char *wrong = NULL;
	struct delegation dg;
	char id[2 * MVPN_ID_LEN + 1];

	if (!im->word) {
		memcpy(ret_identity, im->peer_pk, 32);
		return 0;
	}
	if (delegation_decode(&dg, im->word, MVPN_TLV_DELEGATION_B) || delegation_verify(&dg, &of))
		wrong = "does not hold: the server is not honest, or that device has just enrolled anew";
	else if (dg.not_after + MVPN_DELEGATION_SKEW_S < (uint64_t)time(NULL))
		wrong = "is over: is this machine's clock right?";
	if (!wrong) {
		memcpy(ret_identity, dg.key, 32);
		return 0;
	}
	k->counters[KC_DELEGATION_REFUSED]++;
	mvpn_hex(id, im->peer_id, MVPN_ID_LEN);
	log_ratelimited(LOG_L_ERR, "REFUSED: what the token of device %s says of its key %s", id, wrong);
	return -EKEYREJECTED;
}
