/* SPDX-License-Identifier: BSD-2-Clause */
#include "sessions.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "channel.h"
#include "control.h"
#include "crypto.h"
#include "levels.h"
#include "log.h"
#include "nat.h"
#include "path.h"
#include "peers.h"
#include "relay_tcp.h"
#include "relayed.h"
#include "secmem.h"
#include "spi.h"
#include "streams.h"

/* A repeats CONFIRM at these ages until B is heard (PROTOCOL §3 step 5); the later ones only where a way is to be opened, by both */
static const unsigned confirm_at_ms[] = {0, 100, 300, 1000, 2000, 4000, 7000};
#define CONFIRMS_RELAY 5 /* in this round, if not before, the server is asked to relay; it goes on with the others */
#define CONFIRMS_NO_UDP 2 /* likewise where UDP is blocked at one end: a direct way that is there all the same has been found */
#define SLEEP_S 2 /* whole seconds of two clocks are compared */
/* sessions_tick comes first, ends all of them at once and says why */
#define OFFLINE_SLACK_MS 2000
/* sessions are made anew so far apart when workers have come, or the server would have to make all at once */
#define GROWN_SPREAD_MS 5
#define FUTILE_MAX 7 /* times the interval between attempts doubles: up to eleven minutes */
#define CONFIRMS (sizeof(confirm_at_ms) / sizeof(confirm_at_ms[0]))

static void session_timer(void *arg);

int sessions_init(struct keyd *k)
{
	k->by_slot = calloc(MVPN_SPI_SLOTS, sizeof(*k->by_slot));
	if (!k->by_slot)
		return -ENOMEM;
	return htab_init(&k->sessions_by_id) ?: htab_init(&k->intros_by_nonce);
}

void sessions_free(struct keyd *k)
{
	uint32_t i;

	for (i = 1; i <= k->npeers; i++)
		introduce_abort(k, k->peers[i]);
	sessions_drop_all(k, MVPN_R_SHUTDOWN);
	htab_free(&k->sessions_by_id);
	htab_free(&k->intros_by_nonce);
	free(k->by_slot);
}

struct session *session_by_spi(struct keyd *k, uint32_t rx_spi)
{
	struct session *s = k->by_slot[spi_slot(rx_spi)];

	return s && s->rx_spi == rx_spi ? s : NULL;
}

struct session *session_by_id(struct keyd *k, const uint8_t id[MVPN_ID_LEN])
{
	struct hnode *n;

	for (n = htab_first(&k->sessions_by_id, htab_hash(&k->sessions_by_id, id, MVPN_ID_LEN)); n;
	     n = htab_next(n)) {
		struct session *s = container_of(n, struct session, by_id);

		if (!memcmp(s->id, id, MVPN_ID_LEN))
			return s;
	}
	return NULL;
}

struct session *session_transmitting(const struct peer *p)
{
	struct session *s;

	for (s = p->sessions; s; s = s->next)
		if (s->transmits)
			return s;
	return NULL;
}

void sessions_refresh_endpoints(struct keyd *k)
{
	uint32_t i;

	for (i = 1; i <= k->npeers; i++)
		path_refresh(k, k->peers[i]);
}

/* ---- life in time ---- */

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
		relayed_ask(s);
	if (s->nat)
		nat_punch(s);
	else
		dp_send_ctrl(s->k->dp, s->rx_spi, session_word(s), 0, 0);
}

/* without its heartbeat the server's word is believed until then */
static uint64_t offline_end_ms(const struct keyd *k)
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
		s->end_ms = offline_end_ms(k) + OFFLINE_SLACK_MS;
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
	if (!s->kt)
		return;
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

static void confirmed(struct session *s, const struct mvpn_endpoint *from)
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
	confirmed(s, &s->peer->endpoint);
}

/* ---- install and drop ---- */

/* our own first */
static struct mvpn_service *services_copy(const struct intro_selectors *sel, bool initiator)
{
	const struct mvpn_service *own = initiator ? sel->serv_a : sel->serv_b,
				  *peers = initiator ? sel->serv_b : sel->serv_a;
	unsigned nown = initiator ? sel->nserv_a : sel->nserv_b,
		 npeers = initiator ? sel->nserv_b : sel->nserv_a;
	struct mvpn_service *list = calloc(nown + npeers, sizeof(*list));

	if (list) {
		memcpy(list, own, nown * sizeof(*list));
		memcpy(list + nown, peers, npeers * sizeof(*list));
	}
	return list;
}

static int streams_new(struct session *s, const struct intro_keys *keys)
{
	s->streams = calloc(1, sizeof(*s->streams));
	if (!s->streams)
		return -ENOMEM;
	s->streams->keys = secmem_alloc();
	if (!s->streams->keys)
		return -ENOMEM;
	memcpy(s->streams->keys, keys->tx, 32);
	memcpy(s->streams->keys + 32, keys->rx, 32);
	s->streams->suite = keys->suite;
	return 0;
}

static void streams_free(struct session_streams *st)
{
	if (st) {
		secmem_free(st->keys);
		free(st->services);
		free(st->classes);
	}
	free(st);
}

static int packets_new(struct keyd *k, struct session *s, const struct session_spec *spec)
{
	const struct intro_selectors *sel = spec->selectors;
	const struct mvpn_prefix *local = spec->initiator ? sel->a : sel->b;
	const struct mvpn_prefix *remote = spec->initiator ? sel->b : sel->a;
	int r = kt_session_new(k->kt, &s->kt, spec->id, s->peer->index, spec->rx_spi, spec->keys,
			       local, spec->initiator ? sel->na : sel->nb, remote,
			       spec->initiator ? sel->nb : sel->na);

	if (r)
		return r;
	s->kt->keyd_here = (uint16_t)k->conf.udp_port;
	s->kt->keyd_there = spec->keys->peer_udpport;
	levels_limit(s);
	s->kt->ratchet_packets = k->conf.ratchet_packets;
	/* the responder steps in later than the initiator, as with time */
	s->kt->rekey_packets = k->conf.rekey_packets;
	if (!spec->initiator)
		s->kt->rekey_packets += k->conf.rekey_packets / 5;
	s->kt->rekey_from_ns = mono_ns() + MVPN_REKEY_GAP_MS * 1000000ULL;
	return 0;
}

/* takes the list over */
static void limit(struct session *s, const struct intro_selectors *sel, bool initiator,
		  struct mvpn_service *services)
{
	s->limited = true;
	s->services = services;
	s->nserv_local = initiator ? sel->nserv_a : sel->nserv_b;
	s->nserv_remote = initiator ? sel->nserv_b : sel->nserv_a;
	if (s->kt)
		kt_session_limit(s->kt, services, s->nserv_local, s->nserv_remote);
	else
		s->streams->services = services;
}

bool session_serves(const struct session *s, bool here, uint8_t proto, uint16_t port)
{
	return !s->limited ||
	       mvpn_services_have(s->services + (here ? 0 : s->nserv_local),
				  here ? s->nserv_local : s->nserv_remote, proto, port);
}

/* answers may overtake each other: in the order of the server's numbers */
static void link_session(struct session *s)
{
	struct session **at = &s->peer->sessions;

	while (*at && (*at)->seq > s->seq)
		at = &(*at)->next;
	s->next = *at;
	*at = s;
}

/* room for one more: the oldest that is replaced, or was never used, goes before its time */
static void make_room(struct peer *p)
{
	struct session *s, *oldest = NULL;
	unsigned n = 0;

	for (s = p->sessions; s; s = s->next, n++)
		if (!s->transmits)
			oldest = s;
	if (n >= MVPN_SESSIONS_PEER_MAX && oldest)
		session_drop(oldest, MVPN_R_REPLACED, true);
}

int session_install(struct keyd *k, struct peer *p, const struct session_spec *spec,
		    struct session **ret)
{
	const struct intro_selectors *sel = spec->selectors;
	struct mvpn_service *services = sel->limited ? services_copy(sel, spec->initiator) : NULL;
	struct kt_classes *classes =
		sel->classes.n ? kt_classes_new(&sel->classes, !spec->initiator) : NULL;
	struct session *s = calloc(1, sizeof(*s));
	int r = -ENOMEM;

	if (!s || (sel->limited && !services) || (sel->classes.n && !classes)) {
		free(services);
		free(classes);
		free(s);
		return r;
	}
	make_room(p);
	s->k = k;
	s->peer = p;
	r = loop_timer_new(k->loop, session_timer, s, &s->timer);
	if (!r)
		r = p->layer == MVPN_LAYER_SOCKET ? streams_new(s, spec->keys)
						  : packets_new(k, s, spec);
	if (r) {
		streams_free(s->streams);
		loop_timer_free(s->timer);
		free(services);
		free(classes);
		free(s);
		return r;
	}
	if (s->kt)
		kt_session_classes(s->kt, classes);
	else
		s->streams->classes = classes;
	if (services)
		limit(s, sel, spec->initiator, services);
	memcpy(s->id, spec->id, MVPN_ID_LEN);
	s->mode = spec->mode;
	s->initiator = spec->initiator;
	s->seq = spec->seq;
	s->rx_spi = spec->rx_spi;
	s->tx_spi = spec->keys->peer_spi;
	s->created_ms = mono_ms();
	s->rekey_ms = s->created_ms + rekey_after_ms(spec->ttl_s, spec->initiator);
	s->end_ms = s->created_ms + 2000ULL * spec->ttl_s;
	link_session(s);
	k->by_slot[spi_slot(s->rx_spi)] = s;
	htab_add(&k->sessions_by_id, &s->by_id, htab_hash(&k->sessions_by_id, s->id, MVPN_ID_LEN));
	k->nsessions++;

	s->ncand = spec->keys->ncand;
	memcpy(s->cand, spec->keys->cand, s->ncand * sizeof(*s->cand));
	*ret = s;
	if (!s->kt) { /* A has seen B's key confirmation, and no packet has to find its way */
		p->endpoint = spec->endpoint;
		if (s->initiator) {
			confirmed(s, &p->endpoint);
			streams_probe(s);
		} else {
			arm(s);
		}
		return 0;
	}
	/* receivers before senders, and the end point before either can be used */
	s->nat = spec->nat;
	s->no_udp = spec->no_udp;
	s->seen = spec->endpoint;
	path_set_nat(k, p, s->nat);
	if (s->nat && session_transmitting(p))
		path_refresh(k, p); /* a way that is open, maybe another than the server sees */
	else
		path_set_endpoint(k, p, &spec->endpoint);
	kt_session_arm_rx(k->kt, s->kt);
	shim_spi_set(k->shim, s->rx_spi);
	if (s->initiator && !s->nat && !outdated(s))
		transmit(s);
	if (s->initiator)
		confirm(s);
	else
		nat_open(s);
	arm(s); /* B punches at once, but after its ACCEPT */
	return 0;
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

/* the peer may have dropped its end, and the word of it was lost: another one shows whether it is that or the way */
void sessions_path_silent(struct keyd *k, struct peer *p)
{
	const struct session *s = session_transmitting(p);

	if (s && s->state == SESSION_ACTIVE && !s->futile)
		session_rekey(k, p);
}

static void tell_server(struct keyd *k, const struct session *s, enum mvpn_reason why)
{
	struct chan_buf b = {0};

	chan_begin(&b, MVPN_MSG_ENDED, 0, 0);
	chan_put(&b, MVPN_TLV_SESSION, s->id, MVPN_ID_LEN);
	chan_put_u16(&b, MVPN_TLV_REASON, why);
	channel_send(k, &b);
	chan_buf_free(&b);
}

void session_drop(struct session *s, enum mvpn_reason why, bool tell)
{
	struct keyd *k = s->k;
	struct peer *p = s->peer;
	struct session **at;
	struct session *heir = NULL;
	char id[2 * MVPN_ID_LEN + 1];
	bool transmitted = s->transmits;

	mvpn_hex(id, s->id, MVPN_ID_LEN);
	log_debug("session %.8s with %s dropped: %s", id, peer_label(p), mvpn_reason_name(why));
	if (tell)
		tell_server(k, s, why);
	for (at = &p->sessions; *at != s; at = &(*at)->next)
		;
	*at = s->next;
	if (transmitted)
		shim_key_clear(k->shim, p->index);
	shim_spi_clear(k->shim, s->rx_spi);
	k->by_slot[spi_slot(s->rx_spi)] = NULL;
	htab_del(&k->sessions_by_id, &s->by_id);
	if (s->kt)
		kt_session_remove(k->kt, s->kt);
	else
		kt_spi_free(k->kt, s->rx_spi);
	streams_free(s->streams);
	loop_timer_free(s->timer);
	k->nsessions--;
	free(s);
	if (!p->sessions) {
		path_free(p);
		nat_forget(p);
		streams_cut(p, why);
	}
	/* a successor that was never confirmed leaves the field to its predecessor, which the peer may be draining all the same */
	for (heir = transmitted ? p->sessions : NULL; heir; heir = heir->next)
		if (heir->state == SESSION_ACTIVE) {
			transmit(heir);
			rekey_soon(heir);
			break;
		}
}

void sessions_drop_peer(struct keyd *k, struct peer *p, enum mvpn_reason why, bool tell)
{
	struct session **last;

	while (p->sessions) {
		/* oldest first: none of them inherits */
		for (last = &p->sessions; (*last)->next; last = &(*last)->next)
			;
		session_drop(*last, why, tell);
	}
}

void sessions_drop_all(struct keyd *k, enum mvpn_reason why)
{
	uint32_t i;

	for (i = 1; i <= k->npeers; i++)
		sessions_drop_peer(k, k->peers[i], why, false);
}

unsigned sessions_central(const struct keyd *k)
{
	const struct session *s;
	unsigned n = 0;
	uint32_t i;

	for (i = 1; i <= k->npeers; i++)
		for (s = k->peers[i]->sessions; s; s = s->next)
			n += s->mode != MVPN_MODE_E2E;
	return n;
}

void sessions_drop_central(struct keyd *k)
{
	struct session *s, *next;
	uint32_t i;

	for (i = 1; i <= k->npeers; i++)
		for (s = k->peers[i]->sessions; s; s = next) {
			next = s->next;
			if (s->mode == MVPN_MODE_E2E)
				continue;
			dp_send_ctrl(k->dp, s->rx_spi, MVPN_CTRL_CLOSE, 0, 0);
			session_drop(s, MVPN_R_MODE_REFUSED, true);
		}
}

/* ---- events of the fast path ---- */

void sessions_dp_event(struct keyd *k, const struct dp_event *e)
{
	struct session *s = session_by_spi(k, e->rx_spi);
	struct peer *p = peer_by_index(k, e->peer);

	switch (e->type) {
	case DP_EV_WANT:
		if (p)
			session_want(k, p, NULL, 0, 0);
		break;
	case DP_EV_CONFIRMED:
		if (s)
			confirmed(s, &e->from);
		break;
	case DP_EV_ENDPOINT:
		/* the peer may have come to the direct way a moment later */
		if (s && (s->transmits || s->awaits_path) &&
		    (s->awaits_path || !relayed_from(k, &e->from)))
			nat_probe(s, &e->from);
		break;
	case DP_EV_PONG:
		if (s && !path_pong(s->peer, e) && !nat_pong(s->peer, e))
			control_pong(k, s->peer, e);
		break;
	case DP_EV_TRAFFIC:
		if (p)
			path_traffic(p);
		break;
	case DP_EV_TOO_BIG:
		if (p)
			path_hint(p, e->mtu);
		break;
	case DP_EV_CLOSE:
		if (s)
			session_drop(s, MVPN_R_SHUTDOWN, true);
		break;
	case DP_EV_REKEY:
		/* of an earlier session: it has its successor */
		if (s && s == session_transmitting(s->peer))
			session_rekey(k, s->peer);
		break;
	case DP_EV_ECHO: /* no session's: endpoint.c */
	case DP_EV_ERROR:
		break;
	}
}

void sessions_workers_grown(struct keyd *k)
{
	uint64_t now = mono_ms();
	uint32_t i;

	for (i = 1; i <= k->npeers; i++) {
		struct session *s = session_transmitting(k->peers[i]);

		if (!s || !s->kt || s->kt->ntx >= dp_workers(k->dp))
			continue;
		s->rekey_ms = now + randombytes_uniform(k->nsessions * GROWN_SPREAD_MS);
		arm(s);
	}
}

/* CLOCK_BOOTTIME runs on while the machine sleeps, the clock of sessions does not */
static bool has_slept(void)
{
	static int64_t before_s;
	struct timespec boot;
	int64_t asleep_s;
	bool more;

	clock_gettime(CLOCK_BOOTTIME, &boot);
	asleep_s = boot.tv_sec - (int64_t)(mono_ms() / 1000);
	more = before_s && asleep_s > before_s + SLEEP_S;
	if (!before_s || more)
		before_s = asleep_s ? asleep_s : 1;
	return more;
}

/* Revocations were missed, and another copy of a suspended virtual machine may go on from here: no key outlives it
 * (PROTOCOL §5). */
static void woken(struct keyd *k)
{
	const struct session *s;
	uint32_t i;

	log_warn("this machine has slept: %u sessions are made anew", k->nsessions);
	for (i = 1; i <= k->npeers; i++)
		if ((s = session_transmitting(k->peers[i])))
			dp_send_ctrl(k->dp, s->rx_spi, MVPN_CTRL_CLOSE, 0, 0);
	sessions_drop_all(k, MVPN_R_EXPIRED);
	channel_register(k); /* finds out whether the channel still lives */
}

/* The server may be cut off by whoever wants a revocation not to arrive: without its heartbeat sessions end (PROTOCOL §3). */
void sessions_tick(struct keyd *k)
{
	uint64_t now = mono_ms();

	watch_tick(k, now);
	nat_tick(k, now);
	relay_tcp_tick(k, now);
	if (has_slept())
		woken(k);
	if (!k->nsessions || now < offline_end_ms(k))
		return;
	log_err("the server has not been heard for %u s: %u sessions dropped; protected traffic "
		"stops until it is reachable "
		"again",
		k->max_offline_s, k->nsessions);
	k->counters[KC_SESSIONS_DROPPED_OFFLINE] += k->nsessions;
	sessions_drop_all(k, MVPN_R_EXPIRED);
}
