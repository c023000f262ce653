/* SPDX-License-Identifier: BSD-2-Clause */
/* Introductions that we begin, as A (PROTOCOL §3), in the order in which things happen: want, REQUEST, ANSWER or FAIL. */
#include "sessions.h"

#include <endian.h>
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "asks.h"
#include "channel.h"
#include "control.h"
#include "delegate.h"
#include "gateways.h"
#include "hsm.h"
#include "intro_msg.h"
#include "log.h"
#include "peers.h"
#include "streams.h"

#define NONCE_B sizeof(((struct mvpn_req *)0)->nonce)

/* one introduction that we began */
struct intro_run {
	struct hnode by_nonce;
	struct keyd *k;
	struct peer *p;
	struct intro_a *a;
	struct loop_timer *timer;
	uint8_t req[INTRO_REQ_MAX_B], msg1[INTRO_MSG1_B];
	size_t req_len;
	uint32_t spi;
	unsigned tries;
	bool again;	/* the request is to be repeated, in its turn (asks.c) */
	bool anew;	/* and with a new handshake: nothing that answers this one counts */
	bool mode_told; /* it is the one that the policy asks for, as the server said */
};

/* ---- A: want and REQUEST ---- */

static const uint8_t *run_nonce(const struct intro_run *run)
{
	return ((const struct mvpn_req *)run->req)->nonce;
}

static void run_free(struct intro_run *run, bool spi_too)
{
	struct keyd *k = run->k;

	if (spi_too)
		kt_spi_free(k->kt, run->spi);
	intro_a_free(run->a);
	loop_timer_free(run->timer);
	run->p->intro = NULL;
	htab_del(&k->intros_by_nonce, &run->by_nonce);
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
	peer_watch(k, p);
	run_free(run, true);
	control_session_failed(k, p, why);
	streams_session_failed(p, why);
	gateways_failed(k, p, why);
}

static void request_send(struct intro_run *run)
{
	struct chan_buf b = {0};

	chan_begin(&b, MVPN_MSG_REQUEST, 0, 0);
	chan_put(&b, MVPN_TLV_REQ, run->req, run->req_len);
	chan_put(&b, MVPN_TLV_NOISE1, run->msg1, sizeof(run->msg1));
	if (run->p->layer != MVPN_LAYER_LINK)
		chan_put(&b, MVPN_TLV_DEVICE, run->p->id, MVPN_ID_LEN);
	channel_send(run->k, &b); /* if there is no channel now, introduce_resume repeats it */
	chan_buf_free(&b);
}

static void repeat(struct intro_run *run)
{
	run->again = true;
	asks_again(run->k, run->p);
}

static void run_timer(void *arg)
{
	struct intro_run *run = arg;
	bool online = run->k->state == KEYD_ONLINE;

	loop_timer_arm(run->timer, MVPN_INTRO_RETRY_S * 1000);
	if (online && run->again)
		return; /* it waits for its turn: nobody's silence */
	if (++run->tries >= MVPN_INTRO_TRIES) {
		log_ratelimited(LOG_L_WARN, "introduction to %s got no answer after %u tries: %s",
				peer_label(run->p), MVPN_INTRO_TRIES,
				online ? "the server is silent" : "there is no channel to the server");
		run_failed(run, MVPN_R_PEER_SILENT, MVPN_INTRO_BACKOFF_S * 1000);
		return;
	}
	if (online)
		repeat(run);
}

static int run_start(struct keyd *k, struct peer *p, const struct mvpn_addr *dst, uint8_t proto,
		     uint16_t dport, const struct session *replaces)
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
	tmpl.layer = p->layer;
	tmpl.mode = k->conf.central_keys ? p->mode : MVPN_MODE_E2E;
	memcpy(tmpl.net_id, k->id->net_id, sizeof(tmpl.net_id));
	memcpy(tmpl.a_id, k->id->device_id, sizeof(tmpl.a_id));
	if (p->layer == MVPN_LAYER_LINK) {
		memcpy(tmpl.dst, p->id, sizeof(tmpl.dst));
	} else {
		tmpl.proto = proto;
		tmpl.dport_be = htobe16(dport);
		memcpy(tmpl.dst, dst ? dst->b : peer_address(k, p)->b, 16);
	}
	if (replaces)
		memcpy(tmpl.replaces, replaces->id, sizeof(tmpl.replaces));

	run->spi = kt_spi_alloc(k->kt);
	if (!run->spi) {
		log_ratelimited(LOG_L_ERR, "no free SPI: %u sessions; introduction to %s refused",
				k->nsessions, peer_label(p));
		goto fail_free;
	}
	r = loop_timer_new(k->loop, run_timer, run, &run->timer);
	if (r)
		goto fail_spi;
	intro_describe(k, run->spi, cand, &self);
	r = intro_a_start(&run->a, &tmpl, &self, run->req, &run->req_len, run->msg1);
	if (r)
		goto fail_timer;
	p->intro = run;
	htab_add(&k->intros_by_nonce, &run->by_nonce,
		 htab_hash(&k->intros_by_nonce, run_nonce(run), NONCE_B));
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

/* a session with p is to be asked for now */
static bool lacks_session(struct keyd *k, struct peer *p)
{
	const struct session *newest = p->sessions;
	uint64_t now = mono_ms();

	if (p->denied_until_ms && now >= p->denied_until_ms)
		peer_undeny(k, p);
	if (k->state != KEYD_ONLINE || !k->id || p->intro || p->denied_until_ms ||
	    now < p->backoff_until_ms || session_transmitting(p))
		return false;
	if (peer_is_revoked(k, p)) {
		peer_deny(k, p, MVPN_R_REVOKED);
		return false;
	}
	/* the peer has just introduced itself: its first packet lets us transmit */
	if (newest && newest->state == SESSION_UNCONFIRMED &&
	    now < newest->created_ms + MVPN_BUSY_WAIT_S * 1000)
		return false;
	if (hsm_problem(k)) { /* session_want_again asks once the token is back */
		p->error = MVPN_R_KEY_AWAY;
		control_session_failed(k, p, MVPN_R_KEY_AWAY);
		streams_session_failed(p, MVPN_R_KEY_AWAY);
		return false;
	}
	return true;
}

void session_want(struct keyd *k, struct peer *p, const struct mvpn_addr *dst, uint8_t proto,
		  uint16_t dport)
{
	if (session_transmitting(p)) {
		dp_flush_held(k->dp, p->index); /* the packet was held just before the session came */
		return;
	}
	p->wanted_ms = mono_ms();
	peer_watch(k, p);
	if (lacks_session(k, p) && asks_want(k, p))
		run_start(k, p, dst, proto, dport, NULL);
}

bool session_want_turn(struct keyd *k, struct peer *p)
{
	return lacks_session(k, p) && !run_start(k, p, NULL, 0, 0, NULL);
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
	if (hsm_problem(k))
		return -ENOKEY;
	return run_start(k, p, NULL, 0, 0, s);
}

/* the same once more, with a new handshake */
static int run_again(struct intro_run *run)
{
	struct keyd *k = run->k;
	struct peer *p = run->p;
	struct mvpn_req req;
	struct mvpn_addr dst;

	memcpy(&req, run->req, sizeof(req));
	memcpy(dst.b, req.dst, sizeof(dst.b));
	run_free(run, true);
	return run_start(k, p, &dst, req.proto, be16toh(req.dport_be),
			 session_by_id(k, req.replaces));
}

bool introduce_again(struct keyd *k, struct peer *p)
{
	struct intro_run *run = p->intro;

	if (!run || !run->again) /* over by now, or another one */
		return false;
	if (run->anew)
		return !run_again(run);
	run->again = false;
	request_send(run);
	return true;
}

void introduce_anew(struct keyd *k)
{
	uint32_t i;

	for (i = 1; k->nintros && i <= k->npeers; i++)
		if (k->peers[i]->intro) {
			k->peers[i]->intro->anew = true;
			repeat(k->peers[i]->intro);
		}
}

void introduce_resume(struct keyd *k)
{
	uint32_t i;

	for (i = 1; k->nintros && i <= k->npeers; i++)
		if (k->peers[i]->intro)
			repeat(k->peers[i]->intro);
}

/* ---- A: ANSWER, FAIL ---- */

static struct intro_run *run_by_nonce(struct keyd *k, const struct chan_msg *m)
{
	uint8_t nonce[NONCE_B];
	struct hnode *n;

	if (!chan_get_bytes(m, MVPN_TLV_NONCE, nonce, sizeof(nonce)))
		return NULL;
	for (n = htab_first(&k->intros_by_nonce,
			    htab_hash(&k->intros_by_nonce, nonce, sizeof(nonce)));
	     n; n = htab_next(n)) {
		struct intro_run *run = container_of(n, struct intro_run, by_nonce);

		if (!memcmp(run_nonce(run), nonce, sizeof(nonce)))
			return run->anew ? NULL : run;
	}
	return NULL;
}

static void refused(struct intro_run *run, enum mvpn_reason why)
{
	struct keyd *k = run->k;
	struct peer *p = run->p;

	k->counters[KC_INTRO_DENIED]++;
	run_failed(run, why, 0);
	if (!session_transmitting(p))
		peer_deny(k, p, why);
}

int introduce_answer(struct keyd *k, const struct chan_msg *m)
{
	struct intro_run *run = run_by_nonce(k, m);
	struct intro_keys *keys = NULL;
	struct intro_pair pair;
	struct intro_msg im;
	struct peer *p;
	uint8_t identity[32];
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
	keys = intro_keys_new();
	r = !keys ? -ENOMEM : memcmp(p->id, im.peer_id, MVPN_ID_LEN) ? -EBADMSG : 0;
	if (!r)
		r = delegate_peer(k, &im, identity);
	if (!r && k->static_dh)
		intro_a_set_dh(run->a, im.noise, k->static_dh);
	if (!r)
		r = intro_central(k, &im, &pair, p, run->req, run->req_len);
	if (!r)
		r = intro_a_finish(run->a, &pair, im.noise, im.noise_len, keys);
	if (r == -EPERM) {
		refused(run, MVPN_R_MODE_REFUSED); /* keyd.conf has changed since the request */
		goto out;
	}
	if (r == -ENOKEY || r == -EKEYREJECTED) {
		run_failed(run, r == -ENOKEY ? MVPN_R_KEY_AWAY : MVPN_R_DELEGATION,
			   MVPN_INTRO_BACKOFF_S * 1000);
		goto out;
	}
	if (r) {
		k->counters[KC_BAD_ANSWER]++;
		if (r == -ENOMEM)
			log_err("no memory for the answer for peer %s", peer_label(p));
		else
			log_err("the answer for peer %s does not authenticate (%s): the server or "
				"the peer is not who it claims "
				"to be",
				peer_label(p), strerror(-r));
		run_failed(run, r == -ENOMEM ? MVPN_R_INTERNAL : MVPN_R_BAD_MESSAGE,
			   MVPN_INTRO_BACKOFF_S * 1000);
		goto out;
	}
	intro_pin_check(k, &im, identity);
	if (intro_install(k, p, &im, keys, spi, true)) {
		run_failed(run, MVPN_R_INTERNAL, MVPN_INTRO_BACKOFF_S * 1000);
		goto out;
	}
	k->counters[KC_INTRO_DONE]++;
	run_free(run, false);
out:
	intro_keys_free(keys);
	sodium_memzero(&im, sizeof(im));
	return 0;
}

/* the policy wants the keys to come from elsewhere: once more, if this device takes part in that */
static void other_mode(struct intro_run *run, uint8_t mode)
{
	struct keyd *k = run->k;
	struct peer *p = run->p;
	const struct mvpn_req *req = (const struct mvpn_req *)run->req;

	if (!intro_mode_ok(k, p, mode)) {
		refused(run, MVPN_R_MODE_REFUSED);
		return;
	}
	if (run->mode_told || mode == req->mode) {
		run_failed(run, MVPN_R_MODE, MVPN_INTRO_BACKOFF_S * 1000); /* the policy is changing */
		return;
	}
	p->mode = mode;
	if (!run_again(run))
		p->intro->mode_told = true;
}

int introduce_fail(struct keyd *k, const struct chan_msg *m)
{
	uint8_t mode = MVPN_MODES;
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
	case MVPN_R_MODE_REFUSED:
		log_info("peer %s refused: %s", peer_label(p), mvpn_reason_text(why));
		refused(run, why);
		break;
	case MVPN_R_MODE:
		if (!chan_get_u8(m, MVPN_TLV_MODE, &mode) || mode >= MVPN_MODES)
			return -EPROTO;
		other_mode(run, mode);
		break;
	case MVPN_R_BUSY:
		/* the peer is introducing itself to us: its OFFER is on the way */
		run_failed(run, why, MVPN_BUSY_WAIT_S * 1000);
		break;
	case MVPN_R_PEER_OFFLINE:
		run_failed(run, why, 1000); /* it may be reconnecting, like us */
		break;
	case MVPN_R_STALE_BOOT:
		run_failed(run, why,
			   MVPN_WANT_GAP_MS); /* overtaken by news of an end: asked anew */
		break;
	default:
		log_ratelimited(LOG_L_WARN, "introduction to %s failed: %s", peer_label(p),
				mvpn_reason_text(why));
		run_failed(run, why, MVPN_INTRO_BACKOFF_S * 1000);
	}
	return 0;
}
