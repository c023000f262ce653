/* SPDX-License-Identifier: BSD-2-Clause */
/* PIN: a peer has a new key, and its old one's word for it is looked at before the pin moves. */
#include <errno.h>
#include <sodium.h>
#include <string.h>

#include "channel.h"
#include "crypto.h"
#include "delegation.h"
#include "identity.h"
#include "log.h"
#include "peers.h"
#include "rotate.h"
#include "vouch.h"

struct pin_msg {
	struct peer *p; /* NULL: not known */
	uint8_t id[MVPN_ID_LEN], pk[32], mac[VOUCH_MAC_B];
	bool has_word; /* the last one of a key that signs; then mac is nothing */
	struct delegation word;
};

static bool pin_parse(struct keyd *k, const struct chan_msg *m, struct pin_msg *ret)
{
	const uint8_t *vouch = chan_tlv_find(m, MVPN_TLV_VOUCH, NULL), *word;
	uint16_t len;

	if (!vouch || !chan_get_bytes(m, MVPN_TLV_S_PUB, ret->pk, sizeof(ret->pk)))
		return false;
	memcpy(ret->id, vouch, sizeof(ret->id));
	memcpy(ret->mac, vouch + MVPN_ID_LEN, sizeof(ret->mac));
	ret->p = peer_by_id(k, ret->id);
	word = chan_tlv_find(m, MVPN_TLV_DELEGATION, &len);
	ret->has_word = word && !delegation_decode(&ret->word, word, len);
	return true;
}

/* there is something to check: a pin that is not that key */
static bool pin_differs(const struct pin_msg *pm)
{
	return pm->p && pm->p->pinned && memcmp(pm->p->pin, pm->pk, sizeof(pm->pk)) != 0;
}

const uint8_t *rotate_pin_key(struct keyd *k, const struct chan_msg *m)
{
	struct pin_msg pm;

	return pin_parse(k, m, &pm) && pin_differs(&pm) && !pm.has_word ? pm.p->pin : NULL;
}

static bool says(struct keyd *k, const struct pin_msg *pm, const uint8_t dh[32],
		 const uint8_t self_pk[32])
{
	const struct vouch v = {k->id->net_id, pm->id, k->id->device_id, pm->p->pin, pm->pk, self_pk};
	uint8_t mac[VOUCH_MAC_B];

	vouch_mac(mac, dh, &v);
	return sodium_memcmp(mac, pm->mac, sizeof(mac)) == 0;
}

/* 1 it is the old key's word, 0 it is not, -ENOKEY the token is away, -ESTALE it may be for a key that is gone */
static int pin_check(struct keyd *k, const struct pin_msg *pm)
{
	const uint8_t *before = rotate_before(k);
	struct delegation_of of = {k->id->net_id, pm->id, pm->pk};
	uint8_t dh[32];
	bool ok;

	if (pm->has_word)
		return delegation_is_last(&pm->word) && !memcmp(pm->word.key, pm->p->pin, 32) && !delegation_verify(&pm->word, &of);
	if (k->id->on_token)
		return k->static_dh ? says(k, pm, k->static_dh, k->id->pk) : -ENOKEY;
	ok = !mvpn_x25519(dh, k->id->sk, pm->p->pin) && says(k, pm, dh, k->id->pk);
	if (!ok && before)
		ok = !mvpn_x25519(dh, before, pm->p->pin) && says(k, pm, dh, before + 32);
	sodium_memzero(dh, sizeof(dh));
	return ok ? 1 : k->id->delegates ? -ESTALE : 0;
}

static void pin_heard(struct keyd *k, const struct pin_msg *pm)
{
	struct chan_buf b = {0};

	chan_begin(&b, MVPN_MSG_PIN, 0, 0);
	chan_put(&b, MVPN_TLV_DEVICE, pm->id, sizeof(pm->id));
	chan_put(&b, MVPN_TLV_S_PUB, pm->pk, sizeof(pm->pk));
	channel_send(k, &b);
	chan_buf_free(&b);
}

int rotate_pin(struct keyd *k, const struct chan_msg *m)
{
	char is[MVPN_FINGERPRINT_LEN];
	struct pin_msg pm;
	int r = 0;

	if (!pin_parse(k, m, &pm))
		return -EPROTO;
	if (!pin_differs(&pm)) {
		pin_heard(k, &pm);
		return 0;
	}
	r = pin_check(k, &pm);
	if (r == -ENOKEY)
		return 0; /* it is told again */
	mvpn_fingerprint(is, pm.pk);
	if (r == -ESTALE) {
		k->counters[KC_STALE_VOUCH]++;
		log_ratelimited(LOG_L_WARN,
				"the server says that %s has a new key, %s; whether the old one vouches for it cannot be checked, since the key that "
				"this device used then is gone: compare with `mvpnctl status` there",
				peer_label(pm.p), is);
		pin_heard(k, &pm);
		return 0;
	}
	if (!r) {
		/* the pin stays: its alarm comes with the first session */
		k->counters[KC_BAD_VOUCH]++;
		log_ratelimited(LOG_L_ERR,
				"the server says that %s has a new key, %s, but the old key does not "
				"vouch for it",
				peer_label(pm.p), is);
		pin_heard(k, &pm);
		return 0;
	}
	r = pins_append(k->state_dir, &k->pins_kept, pm.id, pm.pk, true);
	if (r) {
		log_ratelimited(LOG_L_WARN, "cannot keep the pin of peer %s in %s: %s",
				peer_label(pm.p), k->state_dir, strerror(-r));
		return 0; /* again after the next log-in */
	}
	memcpy(pm.p->pin, pm.pk, sizeof(pm.pk));
	k->counters[KC_PIN_VOUCHED]++;
	log_info("peer %s has a new key, %s: the old one vouches for it", peer_label(pm.p), is);
	rotate_pinned(k, pm.p);
	pin_heard(k, &pm);
	return 0;
}
