/* SPDX-License-Identifier: BSD-2-Clause */
#include "intro_msg.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>

#include "channel.h"
#include "crypto.h"
#include "endpoint.h"
#include "identity.h"
#include "log.h"
#include "nat.h"
#include "peers.h"
#include "rotate.h"
#include "session_rules.h"
#include "sessions.h"

struct intro_keys *intro_keys_new(void)
{
	struct intro_keys *keys = sodium_malloc(sizeof(*keys));

	if (keys)
		sodium_memzero(keys, sizeof(*keys));
	return keys;
}

void intro_keys_free(struct intro_keys *keys)
{
	if (keys)
		sodium_free(keys);
}

int intro_msg_parse(const struct chan_msg *m, uint16_t noise_tlv, struct intro_msg *ret)
{
	uint8_t ep[18], no_udp;

	ret->selectors = chan_tlv_find(m, MVPN_TLV_SELECTORS, &ret->selectors_len);
	ret->noise = chan_tlv_find(m, noise_tlv, &ret->noise_len);
	if (!ret->selectors || !ret->noise ||
	    !chan_get_bytes(m, MVPN_TLV_SESSION, ret->session, MVPN_ID_LEN) ||
	    !chan_get_bytes(m, MVPN_TLV_DEVICE, ret->peer_id, MVPN_ID_LEN) ||
	    !chan_get_bytes(m, MVPN_TLV_S_PUB, ret->peer_pk, 32) ||
	    !chan_get_u64(m, MVPN_TLV_SEQ, &ret->seq) ||
	    !chan_get_u64(m, MVPN_TLV_BOOT_GEN, &ret->boot_gen) ||
	    !chan_get_u32(m, MVPN_TLV_TTL, &ret->ttl_s) ||
	    !chan_get_bytes(m, MVPN_TLV_ENDPOINT, ep, sizeof(ep)) || !ret->ttl_s ||
	    intro_selectors_decode(&ret->sel, ret->selectors, ret->selectors_len) ||
	    !session_rules_good(m) ||
	    !chan_get_bytes(m, MVPN_TLV_PSK, ret->psk, 32))
		return -EPROTO;
	ret->msg = *m;
	ret->word = chan_tlv_find(m, MVPN_TLV_DELEGATION, NULL);
	ret->key_told = chan_get_bytes(m, MVPN_TLV_KEY, ret->key, sizeof(ret->key));
	ret->no_udp = chan_get_u8(m, MVPN_TLV_NO_UDP, &no_udp) && no_udp;
	memcpy(ret->seen.addr.b, ep, 16);
	ret->seen.port = ep[16] << 8 | ep[17];
	return 0;
}

void intro_pair_fill(struct intro_pair *pair, const struct intro_msg *im,
		     const struct identity *self, bool initiator)
{
	pair->session_id = im->session;
	pair->a_id = initiator ? self->device_id : im->peer_id;
	pair->a_pk = initiator ? self->pk : im->peer_pk;
	pair->b_id = initiator ? im->peer_id : self->device_id;
	pair->b_pk = initiator ? im->peer_pk : self->pk;
	pair->psk = im->psk;
	pair->selectors = im->selectors;
	pair->selectors_len = im->selectors_len;
	pair->central = NULL;
}

bool intro_mode_ok(struct keyd *k, const struct peer *p, unsigned mode)
{
	if (mode == MVPN_MODE_E2E || k->conf.central_keys)
		return true;
	k->counters[KC_MODE_REFUSED]++;
	log_ratelimited(LOG_L_ERR,
			"REFUSED: the server's policy asks for %s with peer %s, so that the server "
			"can read what is said; central_keys in keyd.conf would allow it",
			mvpn_mode_name(mode), peer_label(p));
	return false;
}

int intro_central(struct keyd *k, struct intro_msg *im, struct intro_pair *pair,
		  const struct peer *p, const uint8_t *req, size_t req_len)
{
	bool initiator = !memcmp(pair->a_id, k->id->device_id, MVPN_ID_LEN), ours;
	uint8_t ctx[32];
	int r = 0;

	if (intro_req_check(req, req_len))
		return -EBADMSG;
	im->mode = req[offsetof(struct mvpn_req, mode)];
	ours = im->mode == (initiator ? MVPN_MODE_CENTRAL60 : MVPN_MODE_CENTRAL63);
	if (im->key_told != (im->mode != MVPN_MODE_E2E && !ours))
		return -EBADMSG;
	if (im->mode == MVPN_MODE_E2E)
		return 0;
	if (!intro_mode_ok(k, p, im->mode))
		return -EPERM;
	if (ours) {
		intro_central_ctx(ctx, pair, req, req_len);
		r = channel_export(k, mvpn_mode_name(im->mode), ctx, im->key);
	}
	pair->central = im->key;
	return r;
}

/* where the peer is: as the server sees it, with the port that the peer itself has authenticated */
static struct mvpn_endpoint endpoint_choose(const struct intro_msg *im,
					    const struct intro_keys *keys)
{
	struct mvpn_endpoint e = im->seen;

	if (mvpn_addr_is_zero(&e.addr) && keys->ncand)
		return keys->cand[0];
	if (!e.port)
		e.port = keys->peer_udpport;
	return e;
}

int intro_install(struct keyd *k, struct peer *p, const struct intro_msg *im,
		  const struct intro_keys *keys, uint32_t spi, bool initiator)
{
	/* a session for frames names no prefix, so no packet passes by it, whatever the server says */
	const struct intro_selectors frames = {.classes = im->sel.classes};
	struct session_spec spec = {
		.id = im->session,
		.seq = im->seq,
		.initiator = initiator,
		.rx_spi = spi,
		.ttl_s = im->ttl_s,
		.keys = keys,
		.selectors = p->layer == MVPN_LAYER_LINK ? &frames : &im->sel,
		.endpoint = endpoint_choose(im, keys),
		.mode = im->mode,
		.nat = p->layer != MVPN_LAYER_SOCKET &&
		       (im->no_udp || p->relayed ||
			nat_between(k, &im->seen, keys->cand, keys->ncand)),
		.no_udp = p->layer != MVPN_LAYER_SOCKET &&
			  (im->no_udp || endpoint_udp_blocked(k)),
	};
	struct session *s;
	int r;

	if (p->layer == MVPN_LAYER_SOCKET) /* TCP: what is known of the UDP port does not hold */
		spec.endpoint.port = keys->peer_udpport;
	r = session_install(k, p, &spec, &s);
	if (!r)
		s->rules = session_rules_new(&im->msg, initiator);
	if (!r && im->mode != MVPN_MODE_E2E)
		log_warn("session with %s: %s, the server knows its keys", peer_label(p),
			 mvpn_mode_name(im->mode));
	if (r)
		log_err("cannot install the session with %s: %s; is `ulimit -l` (LimitMEMLOCK=) "
			"large enough?",
			peer_label(p), strerror(-r));
	return r;
}

void intro_describe(struct keyd *k, uint32_t spi, struct mvpn_endpoint cand[MVPN_CANDIDATES_MAX],
		    struct intro_self *ret)
{
	unsigned i;

	memset(ret, 0, sizeof(*ret));
	ret->s = k->id->on_token ? NULL : k->id->sk;
	ret->s_pub = k->id->pk;
	ret->dh = k->static_dh;
	ret->spi = spi;
	ret->lanes = dp_workers(k->dp);
	ret->suites = k->suites;
	ret->udpport = k->conf.udp_port;
	ret->boot_gen = k->boot_gen;
	for (i = 0; i < k->naddresses && i < MVPN_CANDIDATES_MAX; i++) {
		cand[i].addr = k->addresses[i];
		cand[i].port = k->conf.udp_port;
	}
	ret->ncand = i;
	ret->cand = cand;
}

/* which key a peer uses whose token vouches for it; true: another one than before */
static bool use_check(struct peer *p, const struct intro_msg *im)
{
	bool same = p->delegates == (im->word != NULL) && (!im->word || !memcmp(p->used, im->peer_pk, 32));

	p->delegates = im->word != NULL;
	memcpy(p->used, im->peer_pk, 32);
	return !same;
}

void intro_pin_check(struct keyd *k, const struct intro_msg *im, const uint8_t pk[32])
{
	struct peer *p = peer_ensure(k, im->peer_id); /* one pin for all layers */
	char was[MVPN_FINGERPRINT_LEN], is[MVPN_FINGERPRINT_LEN];
	bool other;

	if (!p)
		return;
	other = use_check(p, im);
	if (p->pinned && !sodium_memcmp(p->pin, pk, 32)) {
		if (other)
			rotate_pinned(k, p);
		return;
	}
	if (p->pinned) {
		mvpn_fingerprint(was, p->pin);
		mvpn_fingerprint(is, pk);
		k->counters[KC_PIN_CHANGED]++;
		log_err("the key of peer %s has CHANGED from %s to %s: if nobody re-enrolled that "
			"device, the server is "
			"compromised; compare with `mvpnctl status` on that device",
			peer_label(p), was, is);
	}
	memcpy(p->pin, pk, 32);
	p->pinned = true;
	rotate_pinned(k, p);
	if (pins_append(k->state_dir, &k->pins_kept, p->id, pk, false))
		log_ratelimited(LOG_L_WARN, "cannot keep the pin of peer %s in %s", peer_label(p),
				k->state_dir);
}
