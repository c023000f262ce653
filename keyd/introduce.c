/* SPDX-License-Identifier: BSD-2-Clause */
/* The messages of an introduction (PROTOCOL §3), in the order in which they happen: want, REQUEST, OFFER, ACCEPT, ANSWER. */
#include "sessions.h"

#include <endian.h>
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "channel.h"
#include "control.h"
#include "crypto.h"
#include "identity.h"
#include "intro.h"
#include "log.h"
#include "peers.h"

/* one introduction that we began */
struct intro_run {
	struct keyd *k;
	struct peer *p;
	struct intro_a *a;
	struct loop_timer *timer;
	uint8_t req[INTRO_REQ_MAX_B], msg1[INTRO_MSG1_B];
	size_t req_len;
	uint32_t spi;
	unsigned tries;
};

/* Keys of a handshake pass through here on their way into the key table. */
static struct intro_keys *keys_new(void)
{
	struct intro_keys *keys = sodium_malloc(sizeof(*keys));

	if (keys)
		sodium_memzero(keys, sizeof(*keys));
	return keys;
}

static void keys_free(struct intro_keys *keys)
{
	if (keys)
		sodium_free(keys);
}

/* ---- refusals ---- */

void peer_deny(struct keyd *k, struct peer *p, enum mvpn_reason why)
{
	struct mvpn_key key = {.state = MVPN_KEY_DENIED, .epoch = p->epoch};
	struct kt_peer *kp = kt_peer_get(k->kt, p->index);

	p->denied_until_ms = mono_ms() + MVPN_DENY_CACHE_S * 1000;
	p->error = why;
	if (kp)
		kp->denied = true;
	shim_key_set(k->shim, p->index, &key);
	dp_drop_held(k->dp, p->index, true);
}

void peer_undeny(struct keyd *k, struct peer *p)
{
	struct kt_peer *kp = kt_peer_get(k->kt, p->index);

	if (!p->denied_until_ms)
		return;
	p->denied_until_ms = 0;
	if (kp)
		kp->denied = false;
	shim_key_clear(k->shim, p->index);
}

void sessions_policy_changed(struct keyd *k)
{
	uint32_t i;

	for (i = 1; i <= k->npeers; i++) {
		peer_undeny(k, k->peers[i]);
		k->peers[i]->backoff_until_ms = 0;
	}
}

/* ---- A: want and REQUEST ---- */

bool introduce_waits(const struct peer *p)
{
	return p->intro != NULL;
}

static void run_free(struct intro_run *run, bool spi_too)
{
	struct keyd *k = run->k;

	if (spi_too)
		kt_spi_free(k->kt, run->spi);
	intro_a_free(run->a);
	loop_timer_free(run->timer);
	run->p->intro = NULL;
	k->nintros--;
	sodium_memzero(run, sizeof(*run));
	free(run);
}

void introduce_abort(struct keyd *k, struct peer *p)
{
	if (p->intro)
		run_free(p->intro, true);
}

static void run_failed(struct intro_run *run, enum mvpn_reason why, unsigned backoff_ms)
{
	struct keyd *k = run->k;
	struct peer *p = run->p;

	k->counters[KC_INTRO_FAILED]++;
	p->error = why;
	p->backoff_until_ms = mono_ms() + backoff_ms;
	run_free(run, true);
	control_session_failed(k, p, why);
}

static void request_send(struct intro_run *run)
{
	struct chan_buf b = {0};

	chan_begin(&b, MVPN_MSG_REQUEST, 0, 0);
	chan_put(&b, MVPN_TLV_REQ, run->req, run->req_len);
	chan_put(&b, MVPN_TLV_NOISE1, run->msg1, sizeof(run->msg1));
	channel_send(run->k, &b); /* if there is no channel now, introduce_resume repeats it */
	chan_buf_free(&b);
}

static void run_timer(void *arg)
{
	struct intro_run *run = arg;

	if (++run->tries >= MVPN_INTRO_TRIES) {
		log_ratelimited(LOG_L_WARN, "introduction to %s got no answer after %u tries: %s", peer_label(run->p),
				MVPN_INTRO_TRIES,
				run->k->state == KEYD_ONLINE ? "the server is silent" : "there is no channel to the server");
		run_failed(run, MVPN_R_PEER_SILENT, MVPN_INTRO_BACKOFF_S * 1000);
		return;
	}
	request_send(run);
	loop_timer_arm(run->timer, MVPN_INTRO_RETRY_S * 1000);
}

static void self_describe(struct keyd *k, uint32_t spi, struct mvpn_endpoint cand[MVPN_CANDIDATES_MAX],
			  struct intro_self *ret)
{
	unsigned i;

	memset(ret, 0, sizeof(*ret));
	ret->s = k->id->sk;
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

static int run_start(struct keyd *k, struct peer *p, const struct mvpn_addr *dst, uint8_t proto, uint16_t dport,
		     const struct session *replaces)
{
	struct intro_run *run = k->nintros < MVPN_INTRO_OPEN_MAX ? calloc(1, sizeof(*run)) : NULL;
	struct mvpn_endpoint cand[MVPN_CANDIDATES_MAX];
	struct intro_self self;
	struct mvpn_req tmpl;
	int r = -ENOMEM;

	if (!run)
		return -ENOBUFS;
	run->k = k;
	run->p = p;
	memset(&tmpl, 0, sizeof(tmpl));
	tmpl.layer = MVPN_LAYER_NETWORK;
	tmpl.mode = MVPN_MODE_E2E;
	memcpy(tmpl.net_id, k->id->net_id, sizeof(tmpl.net_id));
	memcpy(tmpl.a_id, k->id->device_id, sizeof(tmpl.a_id));
	tmpl.proto = proto;
	tmpl.dport_be = htobe16(dport);
	memcpy(tmpl.dst, dst ? dst->b : p->any.b, 16);
	if (replaces)
		memcpy(tmpl.replaces, replaces->id, sizeof(tmpl.replaces));

	run->spi = kt_spi_alloc(k->kt);
	if (!run->spi) {
		log_ratelimited(LOG_L_ERR, "no free SPI: %u sessions; introduction to %s refused", k->nsessions,
				peer_label(p));
		goto fail_free;
	}
	r = loop_timer_new(k->loop, run_timer, run, &run->timer);
	if (r)
		goto fail_spi;
	self_describe(k, run->spi, cand, &self);
	r = intro_a_start(&run->a, &tmpl, &self, run->req, &run->req_len, run->msg1);
	if (r)
		goto fail_timer;
	p->intro = run;
	k->nintros++;
	k->counters[KC_INTRO_STARTED]++;
	request_send(run);
	loop_timer_arm(run->timer, MVPN_INTRO_RETRY_S * 1000);
	return 0;

fail_timer:
	loop_timer_free(run->timer);
fail_spi:
	kt_spi_free(k->kt, run->spi);
fail_free:
	free(run);
	return r;
}

void session_want(struct keyd *k, struct peer *p, const struct mvpn_addr *dst, uint8_t proto, uint16_t dport)
{
	uint64_t now = mono_ms();
	const struct session *newest = p->sessions;

	p->wanted_ms = now;
	if (p->denied_until_ms && now >= p->denied_until_ms)
		peer_undeny(k, p);
	if (k->state != KEYD_ONLINE || !k->id || p->intro || p->denied_until_ms || now < p->backoff_until_ms)
		return;
	if (session_transmitting(p)) {
		dp_flush_held(k->dp, p->index); /* the packet was held just before the session came */
		return;
	}
	/* the peer has just introduced itself: its first packet lets us transmit */
	if (newest && newest->state == SESSION_UNCONFIRMED && now < newest->created_ms + MVPN_BUSY_WAIT_S * 1000)
		return;
	run_start(k, p, dst, proto, dport, NULL);
}

/* The packet that asked came while we were backing off or off-line, and no other follows it: it would never be sent. */
void session_want_again(struct keyd *k, struct peer *p)
{
	uint64_t since_ms = p->wanted_ms;

	if (!since_ms)
		return;
	if (session_transmitting(p) || mono_ms() >= since_ms + MVPN_HOLD_S * 1000) {
		p->wanted_ms = 0;
		return;
	}
	session_want(k, p, NULL, 0, 0);
	p->wanted_ms = since_ms;
}

int session_rekey(struct keyd *k, struct peer *p)
{
	struct session *s = session_transmitting(p);

	if (!s)
		return -ENOENT;
	if (k->state != KEYD_ONLINE)
		return -ENOTCONN;
	if (p->intro)
		return -EALREADY;
	return run_start(k, p, NULL, 0, 0, s);
}

void introduce_resume(struct keyd *k)
{
	uint32_t i;

	for (i = 1; i <= k->npeers; i++)
		if (k->peers[i]->intro)
			request_send(k->peers[i]->intro);
}

/* ---- keys of peers are pinned on first use; a change is told, loudly ---- */

static void pin_check(struct keyd *k, struct peer *p, const uint8_t pk[32])
{
	char was[MVPN_FINGERPRINT_LEN], is[MVPN_FINGERPRINT_LEN];

	if (p->pinned && !sodium_memcmp(p->pin, pk, 32))
		return;
	if (p->pinned) {
		mvpn_fingerprint(was, p->pin);
		mvpn_fingerprint(is, pk);
		k->counters[KC_PIN_CHANGED]++;
		log_err("the key of peer %s has CHANGED from %s to %s: if nobody re-enrolled that device, the server is "
			"compromised; compare with `mvpnctl status` on that device",
			peer_label(p), was, is);
	}
	memcpy(p->pin, pk, 32);
	p->pinned = true;
	if (pin_append(k->state_dir, p->id, pk))
		log_ratelimited(LOG_L_WARN, "cannot keep the pin of peer %s in %s", peer_label(p), k->state_dir);
}

/* ---- what OFFER and ANSWER have in common ---- */

struct intro_msg {
	uint8_t session[MVPN_ID_LEN], peer_id[MVPN_ID_LEN], peer_pk[32];
	uint8_t psk[32];
	const uint8_t *selectors, *noise;
	uint16_t selectors_len, noise_len;
	struct intro_selectors sel;
	uint64_t seq, boot_gen;
	uint32_t ttl_s;
	struct mvpn_endpoint seen;
};

static int intro_msg_parse(const struct chan_msg *m, uint16_t noise_tlv, struct intro_msg *ret)
{
	uint8_t ep[18];

	ret->selectors = chan_tlv_find(m, MVPN_TLV_SELECTORS, &ret->selectors_len);
	ret->noise = chan_tlv_find(m, noise_tlv, &ret->noise_len);
	if (!ret->selectors || !ret->noise || !chan_get_bytes(m, MVPN_TLV_SESSION, ret->session, MVPN_ID_LEN) ||
	    !chan_get_bytes(m, MVPN_TLV_DEVICE, ret->peer_id, MVPN_ID_LEN) ||
	    !chan_get_bytes(m, MVPN_TLV_S_PUB, ret->peer_pk, 32) || !chan_get_u64(m, MVPN_TLV_SEQ, &ret->seq) ||
	    !chan_get_u64(m, MVPN_TLV_BOOT_GEN, &ret->boot_gen) || !chan_get_u32(m, MVPN_TLV_TTL, &ret->ttl_s) ||
	    !chan_get_bytes(m, MVPN_TLV_ENDPOINT, ep, sizeof(ep)) || !ret->ttl_s ||
	    intro_selectors_decode(&ret->sel, ret->selectors, ret->selectors_len) ||
	    !chan_get_bytes(m, MVPN_TLV_PSK, ret->psk, 32))
		return -EPROTO;
	memcpy(ret->seen.addr.b, ep, 16);
	ret->seen.port = ep[16] << 8 | ep[17];
	return 0;
}

static void intro_pair_fill(struct intro_pair *pair, const struct intro_msg *im, const struct identity *self,
			    bool initiator)
{
	pair->session_id = im->session;
	pair->a_id = initiator ? self->device_id : im->peer_id;
	pair->a_pk = initiator ? self->pk : im->peer_pk;
	pair->b_id = initiator ? im->peer_id : self->device_id;
	pair->b_pk = initiator ? im->peer_pk : self->pk;
	pair->psk = im->psk;
	pair->selectors = im->selectors;
	pair->selectors_len = im->selectors_len;
}

/* where the peer is: as the server sees it, with the port that the peer itself has authenticated */
static struct mvpn_endpoint endpoint_choose(const struct intro_msg *im, const struct intro_keys *keys)
{
	struct mvpn_endpoint e = im->seen;

	if (mvpn_addr_is_zero(&e.addr) && keys->ncand)
		return keys->cand[0];
	if (!e.port)
		e.port = keys->peer_udpport;
	return e;
}

static int install(struct keyd *k, struct peer *p, const struct intro_msg *im, const struct intro_keys *keys,
		   uint32_t spi, bool initiator)
{
	struct session_spec spec = {
		.id = im->session,
		.seq = im->seq,
		.initiator = initiator,
		.rx_spi = spi,
		.ttl_s = im->ttl_s,
		.keys = keys,
		.selectors = &im->sel,
		.endpoint = endpoint_choose(im, keys),
	};
	struct session *s;
	int r = session_install(k, p, &spec, &s);

	if (r)
		log_err("cannot install the session with %s: %s; is `ulimit -l` (LimitMEMLOCK=) large enough?",
			peer_label(p), strerror(-r));
	return r;
}

/* ---- B: OFFER, ACCEPT ---- */

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

static enum mvpn_reason accept_offer(struct keyd *k, struct peer *p, const struct chan_msg *m, const struct intro_msg *im,
				     struct intro_keys *keys)
{
	struct mvpn_endpoint cand[MVPN_CANDIDATES_MAX];
	struct intro_self self;
	struct intro_pair pair;
	uint8_t msg2[INTRO_MSG2_MAX_B];
	size_t msg2_len;
	uint16_t req_len;
	const uint8_t *req = chan_tlv_find(m, MVPN_TLV_REQ, &req_len);
	struct chan_buf b = {0};
	uint32_t spi = kt_spi_alloc(k->kt);
	int r;

	if (!spi)
		return MVPN_R_LIMIT;
	self_describe(k, spi, cand, &self);
	intro_pair_fill(&pair, im, k->id, false);
	r = intro_b_accept(req, req_len, im->noise, im->noise_len, &pair, &self, msg2, &msg2_len, keys);
	if (r) {
		kt_spi_free(k->kt, spi);
		return r == -EPROTONOSUPPORT ? MVPN_R_NO_SUITE : MVPN_R_BAD_MESSAGE;
	}
	if (install(k, p, im, keys, spi, false)) {
		kt_spi_free(k->kt, spi);
		return MVPN_R_INTERNAL;
	}
	chan_begin(&b, MVPN_MSG_ACCEPT, 0, 0);
	chan_put(&b, MVPN_TLV_SESSION, im->session, MVPN_ID_LEN);
	chan_put(&b, MVPN_TLV_NOISE2, msg2, msg2_len);
	channel_send(k, &b);
	chan_buf_free(&b);
	return MVPN_R_NONE;
}

int introduce_offer(struct keyd *k, const struct chan_msg *m)
{
	struct intro_msg im;
	struct intro_keys *keys;
	struct peer *p;
	enum mvpn_reason why = MVPN_R_NONE;
	uint16_t len;

	if (intro_msg_parse(m, MVPN_TLV_NOISE1, &im) || !chan_tlv_find(m, MVPN_TLV_REQ, &len))
		return -EPROTO;
	if (session_by_id(k, im.session))
		goto out; /* a repeated offer: our ACCEPT is on its way or A gives up */
	p = peer_ensure(k, im.peer_id);
	keys = keys_new();
	if (im.boot_gen != k->boot_gen) {
		k->counters[KC_STALE_BOOT]++;
		why = MVPN_R_STALE_BOOT;
	} else if (!memcmp(im.peer_id, k->id->device_id, MVPN_ID_LEN)) {
		why = MVPN_R_BAD_MESSAGE; /* ourselves */
	} else if (!p || !keys) {
		why = MVPN_R_LIMIT;
	} else {
		pin_check(k, p, im.peer_pk);
		why = accept_offer(k, p, m, &im, keys);
	}
	keys_free(keys);
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

/* ---- A: ANSWER, FAIL ---- */

static struct intro_run *run_by_nonce(struct keyd *k, const struct chan_msg *m)
{
	uint8_t nonce[16];
	uint32_t i;

	if (!chan_get_bytes(m, MVPN_TLV_NONCE, nonce, sizeof(nonce)))
		return NULL;
	for (i = 1; k->nintros && i <= k->npeers; i++) {
		struct intro_run *run = k->peers[i]->intro;

		if (run && !memcmp(((struct mvpn_req *)run->req)->nonce, nonce, sizeof(nonce)))
			return run;
	}
	return NULL;
}

int introduce_answer(struct keyd *k, const struct chan_msg *m)
{
	struct intro_run *run = run_by_nonce(k, m);
	struct intro_keys *keys = NULL;
	struct intro_pair pair;
	struct intro_msg im;
	struct peer *p;
	uint32_t spi;
	int r;

	if (intro_msg_parse(m, MVPN_TLV_NOISE2, &im))
		return -EPROTO;
	if (!run)
		goto out; /* late: given up already, B's half dies unconfirmed */
	if (im.boot_gen != k->boot_gen) {
		k->counters[KC_STALE_BOOT]++;
		goto out;
	}
	p = run->p;
	spi = run->spi;
	intro_pair_fill(&pair, &im, k->id, true);
	keys = keys_new();
	r = !keys ? -ENOMEM : memcmp(p->id, im.peer_id, MVPN_ID_LEN) ? -EBADMSG : 0;
	if (!r)
		r = intro_a_finish(run->a, &pair, im.noise, im.noise_len, keys);
	if (r) {
		k->counters[KC_BAD_ANSWER]++;
		if (r == -ENOMEM)
			log_err("no memory for the answer for peer %s", peer_label(p));
		else
			log_err("the answer for peer %s does not authenticate (%s): the server or the peer is not who it claims "
				"to be",
				peer_label(p), strerror(-r));
		run_failed(run, r == -ENOMEM ? MVPN_R_INTERNAL : MVPN_R_BAD_MESSAGE, MVPN_INTRO_BACKOFF_S * 1000);
		goto out;
	}
	pin_check(k, p, im.peer_pk);
	if (install(k, p, &im, keys, spi, true)) {
		run_failed(run, MVPN_R_INTERNAL, MVPN_INTRO_BACKOFF_S * 1000);
		goto out;
	}
	k->counters[KC_INTRO_DONE]++;
	run_free(run, false);
out:
	keys_free(keys);
	sodium_memzero(&im, sizeof(im));
	return 0;
}

int introduce_fail(struct keyd *k, const struct chan_msg *m)
{
	struct intro_run *run = run_by_nonce(k, m);
	uint16_t why;
	struct peer *p;

	if (!chan_get_u16(m, MVPN_TLV_REASON, &why))
		return -EPROTO;
	if (!run)
		return 0;
	p = run->p;
	switch (why) {
	case MVPN_R_DENIED:
	case MVPN_R_REVOKED:
	case MVPN_R_SUSPENDED:
	case MVPN_R_PENDING:
	case MVPN_R_LOCAL_POLICY:
		k->counters[KC_INTRO_DENIED]++;
		log_info("peer %s refused: %s", peer_label(p), mvpn_reason_text(why));
		run_failed(run, why, 0);
		if (!session_transmitting(p))
			peer_deny(k, p, why);
		break;
	case MVPN_R_BUSY:
		/* the peer is introducing itself to us: its OFFER is on the way */
		run_failed(run, why, MVPN_BUSY_WAIT_S * 1000);
		break;
	case MVPN_R_PEER_OFFLINE:
		run_failed(run, why, 1000); /* it may be reconnecting, like us */
		break;
	case MVPN_R_STALE_BOOT:
		run_failed(run, why, MVPN_WANT_GAP_MS); /* overtaken by news of an end: asked anew */
		break;
	default:
		log_ratelimited(LOG_L_WARN, "introduction to %s failed: %s", peer_label(p), mvpn_reason_text(why));
		run_failed(run, why, MVPN_INTRO_BACKOFF_S * 1000);
	}
	return 0;
}

/* ---- the server ends what it began ---- */

int introduce_peer_gone(struct keyd *k, const struct chan_msg *m)
{
	uint8_t id[MVPN_ID_LEN];
	uint16_t why = MVPN_R_NONE;
	struct peer *p;

	if (!chan_get_bytes(m, MVPN_TLV_DEVICE, id, sizeof(id)))
		return -EPROTO;
	p = peer_by_id(k, id);
	if (!p)
		return 0;
	if (m->type == MVPN_MSG_PEER_RESET)
		why = MVPN_R_STALE_BOOT;
	else
		chan_get_u16(m, MVPN_TLV_REASON, &why);
	sessions_drop_peer(k, p, why, false);
	introduce_abort(k, p);
	p->backoff_until_ms = 0;
	if (m->type == MVPN_MSG_PEER_RESET)
		return 0;
	k->counters[KC_REVOKED]++;
	log_warn("sessions with %s cut by the server: %s", peer_label(p), mvpn_reason_text(why));
	peer_deny(k, p, why);
	return 0;
}
