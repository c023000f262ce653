/* SPDX-License-Identifier: BSD-2-Clause */
#include "intro_defer.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "conn.h"
#include "hsm.h"
#include "rotate.h"
#include "sessions.h"

struct intro_deferred {
	struct intro_deferred *next;
	struct keyd *k;
	struct hsm_job *dh;
	struct chan_msg m;
	uint8_t device[MVPN_ID_LEN];
	size_t size;
	uint8_t tlvs[]; /* holds a PSK: wiped */
};

static int run(struct keyd *k, const struct chan_msg *m)
{
	switch (m->type) {
	case MVPN_MSG_OFFER:
		return introduce_offer(k, m);
	case MVPN_MSG_ANSWER:
		return introduce_answer(k, m);
	default:
		return rotate_pin(k, m);
	}
}

/* what the key must meet; NULL: nothing, or it is malformed, as run() will say */
static const uint8_t *other_key(struct keyd *k, const struct chan_msg *m)
{
	uint16_t len = 0;
	const uint8_t *noise;

	if (m->type == MVPN_MSG_PIN)
		return rotate_pin_key(k, m);
	noise = chan_tlv_find(m, m->type == MVPN_MSG_OFFER ? MVPN_TLV_NOISE1 : MVPN_TLV_NOISE2, &len);
	return len < 32 ? NULL : noise;
}

static void unlink_free(struct intro_deferred *d)
{
	struct intro_deferred **at = &d->k->intro_deferred;

	while (*at != d)
		at = &(*at)->next;
	*at = d->next;
	hsm_cancel(d->dh);
	sodium_memzero(d, sizeof(*d) + d->size);
	free(d);
}

/* without dh the introduction is refused, or fails, as one whose key is away */
static void computed(void *arg, const uint8_t dh[32])
{
	struct intro_deferred *d = arg;
	struct keyd *k = d->k;
	int r = 0;

	d->dh = NULL;
	k->static_dh = dh;
	if (k->id)
		r = run(k, &d->m);
	k->static_dh = NULL;
	unlink_free(d);
	if (!r)
		return;
	k->counters[KC_BAD_MESSAGE]++;
	if (k->conn)
		conn_failed(k->conn, "a message from the server: %s", strerror(-r));
}

int intro_when_ready(struct keyd *k, const struct chan_msg *m)
{
	const uint8_t *other = k->id->on_token ? other_key(k, m) : NULL;
	struct intro_deferred *d;

	if (!other)
		return run(k, m);
	d = calloc(1, sizeof(*d) + m->len);
	if (!d)
		return run(k, m);
	d->k = k;
	d->size = m->len;
	d->m = *m;
	d->m.tlvs = d->tlvs;
	memcpy(d->tlvs, m->tlvs, m->len);
	chan_get_bytes(m, MVPN_TLV_DEVICE, d->device, MVPN_ID_LEN);
	d->next = k->intro_deferred;
	k->intro_deferred = d;
	if (!hsm_dh(k, other, computed, d, &d->dh))
		return 0;
	unlink_free(d);
	return run(k, m);
}

void intro_deferred_drop(struct keyd *k, const uint8_t device[MVPN_ID_LEN])
{
	struct intro_deferred *d, *next;

	for (d = k->intro_deferred; d; d = next) {
		next = d->next;
		if (!device || !memcmp(d->device, device, MVPN_ID_LEN))
			unlink_free(d);
	}
}
