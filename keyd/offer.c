/* SPDX-License-Identifier: BSD-2-Clause */
/* What the server begins with us as B: OFFER, answered by ACCEPT or REJECT; CANCEL; and what it ends: PEER_RESET, REVOKE. */
#include "sessions.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>

#include "channel.h"
#include "delegate.h"
#include "hsm.h"
#include "intro_defer.h"
#include "intro_msg.h"
#include "log.h"
#include "peers.h"

static void reject(struct keyd *k, const uint8_t session[MVPN_ID_LEN], enum mvpn_reason why)
{
	struct chan_buf b = {0};

	k->counters[KC_OFFER_REFUSED]++;
	chan_begin(&b, MVPN_MSG_REJECT, 0, 0);
	chan_put(&b, MVPN_TLV_SESSION, session, MVPN_ID_LEN);
	chan_put_u16(&b, MVPN_TLV_REASON, why);
	channel_send(k, &b);
	chan_buf_free(&b);
}

static enum mvpn_reason accept_offer(struct keyd *k, struct peer *p, const struct chan_msg *m,
				     struct intro_msg *im, struct intro_keys *keys)
{
	struct mvpn_endpoint cand[MVPN_CANDIDATES_MAX];
	struct intro_self self;
	struct intro_pair pair;
	uint8_t msg2[INTRO_MSG2_MAX_B];
	size_t msg2_len;
	uint16_t req_len;
	const uint8_t *req = chan_tlv_find(m, MVPN_TLV_REQ, &req_len);
	struct chan_buf b = {0};
	uint32_t spi;
	int r;

	intro_pair_fill(&pair, im, k->id, false);
	r = intro_central(k, im, &pair, p, req, req_len);
	if (r)
		return r == -EPERM ? MVPN_R_MODE_REFUSED : MVPN_R_BAD_MESSAGE;
	/* nothing of ours is in those keys: an offer that is repeated when its session has gone would bring them again */
	if (im->mode != MVPN_MODE_E2E && im->seq <= p->central_seq)
		return MVPN_R_REPLACED;
	spi = kt_spi_alloc(k->kt);
	if (!spi)
		return MVPN_R_LIMIT;
	intro_describe(k, spi, cand, &self);
	r = intro_b_accept(req, req_len, im->noise, im->noise_len, &pair, &self, msg2, &msg2_len,
			   keys);
	if (r) {
		kt_spi_free(k->kt, spi);
		return r == -EPROTONOSUPPORT ? MVPN_R_NO_SUITE
		       : r == -ENOKEY	     ? MVPN_R_KEY_AWAY
					     : MVPN_R_BAD_MESSAGE;
	}
	if (intro_install(k, p, im, keys, spi, false)) {
		kt_spi_free(k->kt, spi);
		return MVPN_R_INTERNAL;
	}
	if (im->mode != MVPN_MODE_E2E)
		p->central_seq = im->seq;
	chan_begin(&b, MVPN_MSG_ACCEPT, 0, 0);
	chan_put(&b, MVPN_TLV_SESSION, im->session, MVPN_ID_LEN);
	chan_put(&b, MVPN_TLV_NOISE2, msg2, msg2_len);
	channel_send(k, &b);
	chan_buf_free(&b);
	p->mode = im->mode; /* what the policy asks for: the next of ours begins with it */
	return MVPN_R_NONE;
}

/* the device, at the layer that the session is for; NULL: no room for another */
static struct peer *offered_by(struct keyd *k, const struct chan_msg *m,
			       const uint8_t id[MVPN_ID_LEN])
{
	struct mvpn_req req = {0};
	uint16_t len;
	const uint8_t *p = chan_tlv_find(m, MVPN_TLV_REQ, &len);

	if (p && len >= sizeof(req))
		memcpy(&req, p, sizeof(req));
	return req.layer == MVPN_LAYER_LINK || req.layer == MVPN_LAYER_SOCKET
		       ? peer_layer_ensure(k, id, req.layer)
		       : peer_ensure(k, id);
}

int introduce_offer(struct keyd *k, const struct chan_msg *m)
{
	struct intro_msg im;
	struct intro_keys *keys;
	struct peer *p;
	enum mvpn_reason why = MVPN_R_NONE;
	uint8_t identity[32];
	uint16_t len;

	if (intro_msg_parse(m, MVPN_TLV_NOISE1, &im) || !chan_tlv_find(m, MVPN_TLV_REQ, &len))
		return -EPROTO;
	if (session_by_id(k, im.session))
		goto out; /* a repeated offer: our ACCEPT is on its way or A gives up */
	p = offered_by(k, m, im.peer_id);
	keys = intro_keys_new();
	if (im.boot_gen != k->boot_gen) {
		k->counters[KC_STALE_BOOT]++;
		why = MVPN_R_STALE_BOOT;
	} else if (!memcmp(im.peer_id, k->id->device_id, MVPN_ID_LEN)) {
		why = MVPN_R_BAD_MESSAGE; /* ourselves */
	} else if (!p || !keys) {
		why = MVPN_R_LIMIT;
	} else if (peer_is_revoked(k, p)) {
		why = MVPN_R_REVOKED;
	} else if (k->id->delegates && hsm_problem(k)) {
		why = MVPN_R_KEY_AWAY;
	} else if (delegate_peer(k, &im, identity)) {
		why = MVPN_R_DELEGATION;
	} else {
		intro_pin_check(k, &im, identity);
		why = accept_offer(k, p, m, &im, keys);
	}
	intro_keys_free(keys);
	if (why)
		reject(k, im.session, why);
out:
	sodium_memzero(&im, sizeof(im));
	return 0;
}

int introduce_cancel(struct keyd *k, const struct chan_msg *m)
{
	uint8_t id[MVPN_ID_LEN];
	struct session *s;

	if (!chan_get_bytes(m, MVPN_TLV_SESSION, id, sizeof(id)))
		return -EPROTO;
	s = session_by_id(k, id);
	if (s && s->state == SESSION_UNCONFIRMED)
		session_drop(s, MVPN_R_PEER_SILENT, false);
	return 0;
}

/* ---- the server ends what it began ---- */

static void gone(struct keyd *k, struct peer *p, uint8_t type, enum mvpn_reason why)
{
	sessions_drop_peer(k, p, why, false);
	introduce_abort(k, p);
	p->backoff_until_ms = 0;
	if (type == MVPN_MSG_PEER_RESET)
		return;
	k->counters[KC_REVOKED]++;
	log_warn("sessions with %s (%s) cut by the server: %s", peer_label(p), peer_layer_name(p),
		 mvpn_reason_text(why));
	peer_deny(k, p, why);
}

int introduce_peer_gone(struct keyd *k, const struct chan_msg *m)
{
	uint8_t id[MVPN_ID_LEN], layer = 0;
	static const uint8_t layers[] = {MVPN_LAYER_NETWORK, MVPN_LAYER_LINK, MVPN_LAYER_SOCKET};
	uint16_t why = MVPN_R_NONE;
	struct peer *p;

	if (!chan_get_bytes(m, MVPN_TLV_DEVICE, id, sizeof(id)))
		return -EPROTO;
	intro_deferred_drop(k, id);
	chan_get_u8(m, MVPN_TLV_LAYER, &layer); /* none: every layer */
	if (m->type == MVPN_MSG_PEER_RESET)
		why = MVPN_R_STALE_BOOT;
	else
		chan_get_u16(m, MVPN_TLV_REASON, &why);
	if (layer == MVPN_LAYER_TRANSPORT)
		layer = MVPN_LAYER_NETWORK; /* taken for the same */
	for (unsigned i = 0; i < sizeof(layers); i++) {
		p = layer && layer != layers[i] ? NULL : peer_layer_by_id(k, id, layers[i]);
		if (p)
			gone(k, p, m->type, why);
	}
	return 0;
}
