/* SPDX-License-Identifier: BSD-2-Clause */
#include "session_life.h"

#include <sodium.h>
#include <string.h>

#include "asks.h"
#include "control.h"
#include "log.h"
#include "nat.h"
#include "path.h"
#include "peers.h"
#include "relayed.h"
#include "streams.h"
/* A repeats CONFIRM at these ages until B is heard (PROTOCOL §3 step 5); the later ones only where a way is to be opened, by both */
static const unsigned confirm_at_ms[] = {0, 100, 300, 1000, 2000, 4000, 7000};
#define CONFIRMS_RELAY 5 /* in this round, if not before, the server is asked to relay; it goes on with the others */
#define CONFIRMS_NO_UDP 2 /* likewise where UDP is blocked at one end: a direct way that is there all the same has been found */
/* sessions_tick comes first, ends all of them at once and says why */
#define OFFLINE_SLACK_MS 2000
/* sessions are made anew so far apart when workers have come, or the policy has changed, or the server would have to make all at once */
#define SPREAD_MS 5
#define RESPONDER_LATER_MS 2000
#define FUTILE_MAX 7 /* times the interval between attempts doubles: up to eleven minutes */
#define CONFIRMS (sizeof(confirm_at_ms) / sizeof(confirm_at_ms[0]))

static unsigned rounds(const struct session *s)
{
	return s->nat ? CONFIRMS : s->initiator ? CONFIRMS_RELAY : 0;
}

static uint64_t next_deadline(const struct session *s)
{
	uint64_t at = s->end_ms;

	if (s->state == SESSION_DRAINING)
		return s->drain_ms < at ? s->drain_ms : at;
	if (s->state == SESSION_UNCONFIRMED) {
		uint64_t gone = s->created_ms + MVPN_UNCONFIRMED_S * 1000;
		uint64_t again = s->confirms < rounds(s)
					 ? s->created_ms + confirm_at_ms[s->confirms]
					 : gone;

		return again < gone ? again : gone;
	}
	return s->rekey_ms < at ? s->rekey_ms : at;
}

static void arm(struct session *s)
{
	uint64_t now = mono_ms(), at = next_deadline(s);

	loop_timer_arm(s->timer, at > now ? at - now : 0);
}

enum mvpn_ctrl_type session_word(const struct session *s)
{
	return s->confirms > 1 ? MVPN_CTRL_PING : MVPN_CTRL_CONFIRM;
}

/* says to the peer, or to where it may be, that we have the keys */
static void confirm(struct session *s)
{
	s->confirms++;
	if (!s->relay_asked_ms &&
	    (s->peer->relayed || s->confirms >= (s->no_udp ? CONFIRMS_NO_UDP : CONFIRMS_RELAY)))
		asks_relay(s);
	if (s->nat)
		nat_punch(s);
	else
		dp_send_ctrl(s->k->dp, s->rx_spi, session_word(s), 0, 0);
}

uint64_t sessions_offline_end_ms(const struct keyd *k)
{
	return k->server_heard_ms + k->max_offline_s * 1000ULL;
}

static void session_timer(void *arg)
{
	struct session *s = arg;
	struct keyd *k = s->k;
	uint64_t now = mono_ms();

	if (now >= s->end_ms) {
		/* nobody could make the next one: as long as the server's word is believed (PROTOCOL §3) */
		s->end_ms = sessions_offline_end_ms(k) + OFFLINE_SLACK_MS;
		if (now >= s->end_ms || k->state == KEYD_ONLINE) {
			session_drop(s, MVPN_R_EXPIRED, true);
			return;
		}
	}
	if (s->state == SESSION_DRAINING && now >= s->drain_ms) {
		session_drop(s, MVPN_R_REPLACED, true);
		return;
	}
	if (s->state == SESSION_UNCONFIRMED) {
		if (now >= s->created_ms + MVPN_UNCONFIRMED_S * 1000) {
			log_warn("session with %s was never used by the peer in %u s: dropped; are "
				 "UDP packets to %s's data "
				 "port passing?",
				 peer_label(s->peer), MVPN_UNCONFIRMED_S, peer_label(s->peer));
			s->peer->error = MVPN_R_PEER_SILENT;
			session_drop(s, MVPN_R_PEER_SILENT, true);
			return;
		}
		if (s->confirms < rounds(s) && now >= s->created_ms + confirm_at_ms[s->confirms])
			confirm(s);
	}
	if (s->state == SESSION_ACTIVE && now >= s->rekey_ms && !s->kt && !s->peer->streams) {
		session_drop(s, MVPN_R_EXPIRED, true); /* the next stream asks for another */
		return;
	}
	if (s->state == SESSION_ACTIVE && now >= s->rekey_ms) {
		/* without a channel or while the peer is away, try again shortly; end_ms is the limit */
		session_rekey(k, s->peer);
		s->rekey_ms = now + MVPN_INTRO_TRIES * MVPN_INTRO_RETRY_S * 1000 +
			      MVPN_INTRO_BACKOFF_S * 1000;
	}
	arm(s);
}

/* ±10 %, so that a thousand sessions made at once are not remade at once; the responder steps in later than the initiator */
static uint64_t rekey_after_ms(uint32_t ttl_s, bool initiator)
{
	uint64_t ms = ttl_s * 1000ULL;

	ms = ms - ms / 10 + randombytes_uniform((uint32_t)(ms / 5) + 1);
	return initiator ? ms : ms + ms / 5;
}

void session_key_map(struct keyd *k, const struct session *s)
{
	struct mvpn_key key = {.state = MVPN_KEY_ARMED,
			       .spi = s->tx_spi,
			       .epoch = s->epoch,
			       .lanes = s->kt ? s->kt->ntx : 0,
			       .mtu = s->kt ? (__u16)path_inner_mtu(s->peer) : 0};
	int r = shim_key_set(k->shim, s->peer->index, &key);

	if (r) {
		/* not a leak: without an entry the shim still hands every packet to the fast path, only with an event */
		k->counters[KC_MAP_FULL]++;
		log_ratelimited(LOG_L_WARN, "no room for peer %s in the BPF map `keys`: %s",
				peer_label(s->peer), strerror(-r));
	}
}

static void drain(struct session *s, unsigned seconds)
{
	if (s->state == SESSION_DRAINING)
		return;
	if (s->kt)
		kt_session_disarm_tx(s->k->kt, s->kt);
	s->transmits = false;
	s->state = SESSION_DRAINING;
	s->drain_ms = mono_ms() + seconds * 1000ULL;
	arm(s);
}

/* s transmits from now on; what transmitted before only listens until s is confirmed */
static void transmit(struct session *s)
{
	struct keyd *k = s->k;
	struct session *old = session_transmitting(s->peer);

	if (old == s)
		return;
	if (s->kt)
		kt_session_arm_tx(k->kt, s->kt);
	if (old)
		old->transmits = false;
	s->transmits = true;
	s->epoch = ++s->peer->epoch;
	s->peer->error = 0;
	s->peer->wanted_ms = 0; /* what is held goes now */
	peer_undeny(k, s->peer);
	session_key_map(k, s);
	if (!s->kt) {
		streams_session_changed(s->peer);
		return;
	}
	path_usable(s->peer);
	dp_flush_held(k->dp, s->peer->index);
}

/* s is not to take the place of a session that the server has made later, whose answer has overtaken its own */
static bool outdated(const struct session *s)
{
	const struct session *tx = session_transmitting(s->peer);

	return tx && tx->seq > s->seq && tx->state == SESSION_ACTIVE;
}

static void retire_older(struct session *newest)
{
	struct session *s;

	for (s = newest->next; s; s = s->next)
		drain(s, MVPN_SESSION_OLD_RX_S);
}

/* it is confirmed, and where the peer is is known */
static void usable(struct session *s)
{
	transmit(s);
	retire_older(s);
	/* the initiator learns that we hear it even when we have nothing to say */
	if (!s->initiator && s->kt)
		dp_send_ctrl(s->k->dp, s->rx_spi, MVPN_CTRL_CONFIRM, 0, 0);
	arm(s);
	control_session_up(s->k, s->peer);
	streams_session_up(s->peer);
}

void session_confirmed(struct session *s, const struct mvpn_endpoint *from)
{
	const struct mvpn_endpoint *to = &s->peer->endpoint;

	if (s->state != SESSION_UNCONFIRMED)
		return;
	s->state = SESSION_ACTIVE;
	if (outdated(s)) {
		drain(s, MVPN_SESSION_OLD_RX_S / 2);
		return;
	}
	if (!s->nat || (from->port == to->port && mvpn_addr_eq(&from->addr, &to->addr))) {
		usable(s);
		return;
	}
	s->awaits_path = true;
	nat_probe(s, from);
	arm(s);
}

int session_life_new(struct session *s, uint32_t ttl_s)
{
	s->created_ms = mono_ms();
	s->rekey_ms = s->created_ms + rekey_after_ms(ttl_s, s->initiator);
	s->end_ms = s->created_ms + 2000ULL * ttl_s;
	return loop_timer_new(s->k->loop, session_timer, s, &s->timer);
}

/* A has seen B's key confirmation, and no packet has to find its way */
static void begin_streams(struct session *s)
{
	s->peer->endpoint = s->seen;
	if (s == s->peer->sessions)
		streams_services(s);
	if (s->initiator) {
		session_confirmed(s, &s->seen);
		streams_probe(s);
	} else {
		arm(s);
	}
}

/* receivers before senders, and the end point before either can be used */
static void begin_packets(struct session *s)
{
	struct keyd *k = s->k;
	struct peer *p = s->peer;

	path_set_nat(k, p, s->nat);
	if (s->nat && session_transmitting(p))
		path_refresh(k, p); /* a way that is open, maybe another than the server sees */
	else
		path_set_endpoint(k, p, &s->seen);
	kt_session_arm_rx(k->kt, s->kt);
	shim_spi_set(k->shim, s->rx_spi);
	if (s->initiator && !s->nat && !outdated(s))
		transmit(s);
	if (s->initiator)
		confirm(s);
	else
		nat_open(s);
	arm(s); /* B punches at once, but after its ACCEPT */
}

void session_begin(struct session *s)
{
	if (s->kt)
		begin_packets(s);
	else
		begin_streams(s);
}

void sessions_path_found(struct peer *p)
{
	struct session *s;

	for (s = p->sessions; s && !s->awaits_path; s = s->next)
		;
	if (!s)
		return;
	s->awaits_path = false;
	if (s->state == SESSION_ACTIVE)
		usable(s);
}

void session_stream_seen(struct session *s)
{
	session_confirmed(s, &s->peer->endpoint);
}

/* the peer may have dropped its end, and the word of it was lost: another one shows whether it is that or the way */
void sessions_path_silent(struct keyd *k, struct peer *p)
{
	const struct session *s = session_transmitting(p);

	if (s && s->state == SESSION_ACTIVE && !s->futile)
		asks_rekey(k, p);
}

/* Its successor was never confirmed by the peer, or this end did not hear so: then the peer is draining it. The next attempt comes
 * before that is over, those after it ever later, for the way may be blocked. */
static void rekey_soon(struct session *s)
{
	uint64_t at_ms = mono_ms() + (MVPN_INTRO_BACKOFF_S * 1000ULL << s->futile);

	if (s->futile < FUTILE_MAX)
		s->futile++;
	if (at_ms < s->rekey_ms)
		s->rekey_ms = at_ms;
	arm(s);
}

void session_inherit(struct session *s)
{
	transmit(s);
	rekey_soon(s);
}

void session_renew(struct session *s)
{
	/* the responder if the initiator has not, or may not any more */
	s->rekey_ms = mono_ms() + randombytes_uniform(s->k->nsessions * SPREAD_MS) + (s->initiator ? 0 : RESPONDER_LATER_MS);
	arm(s);
}

void sessions_workers_grown(struct keyd *k)
{
	uint32_t i;

	for (i = 1; i <= k->npeers; i++) {
		struct session *s = session_transmitting(k->peers[i]);

		if (s && s->kt && s->kt->ntx < dp_workers(k->dp))
			session_renew(s);
	}
}
