/* SPDX-License-Identifier: BSD-2-Clause */
/* What keyd/dp and keyd/shim do for the two, as far as keyd notices: one lane, one generation, one held packet. */
#include "pair.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#include "../../keyd/dp/nexthop.h"
#include "../../keyd/sessions.h"
#include "aead.h"

#define BODY_MAX_B 2048

enum body_kind { BODY_CTRL, BODY_TALK };
struct body {
	uint8_t kind, ctrl; /* enum mvpn_ctrl_type */
	uint64_t token;
};

struct packet {
	struct mvpn_endpoint to, from;
	struct mvpn_hdr h;
	uint8_t ct[sizeof(struct body) + MVPN_TAG_LEN];
};

static struct keyd *keyd_of(struct dp *dp)
{
	return &dp->n->k;
}

/* ---- events: the main thread hears of them a little later ---- */

struct event {
	struct node *n;
	uint64_t life;
	struct dp_event e;
};

static void event_now(struct pair *p, void *arg)
{
	const struct event *e = arg;

	if (e->n->runs && e->n->life == e->life)
		sessions_dp_event(&e->n->k, &e->e);
}

static void event(struct node *n, struct dp_event e)
{
	struct event *copy = malloc(sizeof(*copy));

	assert_non_null(copy);
	*copy = (struct event){n, n->life, e};
	later(n->pair, 1, event_now, copy);
}

/* ---- in ---- */

static void pong(struct node *n, struct kt_session *s, uint64_t token);

static void opened(struct node *n, struct kt_session *s, const struct packet *pkt, const struct body *b)
{
	struct dp_event e = {.peer = s->peer, .rx_spi = s->rx_spi, .from = pkt->from, .token = b->token};

	if (!atomic_exchange(&s->confirmed, true)) {
		e.type = DP_EV_CONFIRMED;
		event(n, e);
	}
	if (b->kind == BODY_TALK) {
		n->heard++;
		n->heard_ms = mono_ms();
	} else if (b->ctrl == MVPN_CTRL_PING) {
		pong(n, s, b->token);
	} else if (b->ctrl == MVPN_CTRL_PONG || b->ctrl == MVPN_CTRL_CLOSE) {
		e.type = b->ctrl == MVPN_CTRL_PONG ? DP_EV_PONG : DP_EV_CLOSE;
		e.at_ns = mono_ns();
		event(n, e);
	}
}

static void arrives(struct pair *p, void *passed)
{
	const struct passed *x = passed;
	struct node *n = node_other(x->what.n);
	struct kt_session *s;
	struct packet pkt;
	struct body b;
	uint64_t counter;

	memcpy(&pkt, x->data, sizeof(pkt));
	if (!n->runs || !mvpn_addr_eq(&pkt.to.addr, &n->addr))
		return;
	counter = be64toh(pkt.h.counter);
	s = kt_lookup_spi(n->k.kt, be32toh(pkt.h.spi));
	if (!s || !replay_check(&s->rx[0].replay, counter) ||
	    !aead_open(&s->rx[0].cur, counter, &pkt.h, pkt.ct, sizeof(pkt.ct), (uint8_t *)&b))
		return;
	assert_true(replay_update(&s->rx[0].replay, counter));
	kt_add(&s->rx[0].packets, 1);
	opened(n, s, &pkt, &b);
}

/* ---- out ---- */

static const struct armed *armed_find(const struct pair *p, const struct node *n, uint32_t spi)
{
	for (unsigned i = 0; i < p->narmed; i++)
		if (p->armed[i].n == n && p->armed[i].spi == spi)
			return &p->armed[i];
	return NULL;
}

static int transmit(struct node *n, struct kt_session *s, struct body b, const struct mvpn_endpoint *to)
{
	struct kt_peer *kp = kt_lookup_peer(n->k.kt, s->peer);
	struct kt_endpoint *e = atomic_load(&kp->endpoint);
	const struct session *owner = session_by_spi(&n->k, s->rx_spi);
	struct kt_tx_lane *l = &s->tx[0];
	const struct armed *receiver = armed_find(n->pair, node_other(n), s->tx_spi);
	struct passing what = {.n = n};
	struct packet pkt = {.from = {n->addr, MVPN_DATA_PORT}};
	uint8_t second[32];

	assert_non_null(owner);
	/* whoever shall hear it was ready before, with the same key */
	memcpy(second, l->l, sizeof(second));
	intro_lane_next(second);
	if (!n->pair->mangle) {
		assert_non_null(receiver);
		assert_memory_equal(receiver->rx, second, sizeof(second));
	}
	/* and B waits for A's word */
	assert_true(owner->initiator || atomic_load(&s->confirmed));
	if (!to && !e)
		return -ENOBUFS;
	pkt.to = to ? *to : e->to;
	pkt.h = (struct mvpn_hdr){.type = b.kind == BODY_TALK ? MVPN_TUNNEL : MVPN_CTRL,
				  .spi = htobe32(s->tx_spi),
				  .counter = htobe64(l->counter)};
	aead_seal(&l->aead, l->counter++, &pkt.h, (uint8_t *)&b, sizeof(b), pkt.ct);
	kt_add(&l->packets, 1);
	what.what = owner->initiator ? PAIR_FROM_BEGINNER : PAIR_FROM_OTHER;
	pass(n->pair, what, &pkt, sizeof(pkt), arrives);
	return 0;
}

static void pong(struct node *n, struct kt_session *s, uint64_t token)
{
	if (session_by_spi(&n->k, s->rx_spi))
		transmit(n, s, (struct body){BODY_CTRL, MVPN_CTRL_PONG, token}, NULL);
}

static struct kt_peer *key_peer(struct node *n)
{
	struct peer *p = node_peer(n);

	return p ? kt_lookup_peer(n->k.kt, p->index) : NULL;
}

static bool try_talk(struct node *n)
{
	struct kt_peer *kp = key_peer(n);
	struct kt_session *tx = kp ? atomic_load(&kp->tx) : NULL;

	if (!tx)
		return false;
	if (kp->watch_ns && mono_ns() >= kp->watch_ns) {
		kp->watch_ns = 0;
		event(n, (struct dp_event){.type = DP_EV_TRAFFIC, .peer = kp->index});
	}
	transmit(n, tx, (struct body){.kind = BODY_TALK}, NULL);
	return true;
}

void path_talk(struct node *n)
{
	struct kt_peer *kp = key_peer(n);
	uint64_t now = mono_ms();

	if (!kp || try_talk(n) || kp->denied)
		return;
	n->dp.held = true;
	if (n->dp.want_ms && now - n->dp.want_ms < MVPN_WANT_GAP_MS)
		return;
	n->dp.want_ms = now;
	event(n, (struct dp_event){.type = DP_EV_WANT, .peer = kp->index});
}

int dp_flush_held(struct dp *dp, uint32_t peer)
{
	if (dp->held)
		dp->held = !try_talk(dp->n);
	return 0;
}

int dp_drop_held(struct dp *dp, uint32_t peer, bool prohibited)
{
	dp->held = false;
	return 0;
}

int dp_send_ctrl_to(struct dp *dp, uint32_t rx_spi, enum mvpn_ctrl_type type, uint64_t token,
		    const struct mvpn_endpoint *to)
{
	struct kt_session *s = kt_lookup_spi(keyd_of(dp)->kt, rx_spi);

	return s ? transmit(dp->n, s, (struct body){BODY_CTRL, type, token}, to) : 0;
}

int dp_send_ctrl(struct dp *dp, uint32_t rx_spi, enum mvpn_ctrl_type type, uint64_t token, unsigned pad)
{
	return dp_send_ctrl_to(dp, rx_spi, type, token, NULL);
}

int dp_send_plain(struct dp *dp, const struct mvpn_endpoint *to, const void *data, size_t len)
{
	return 0;
}

int dp_send_opener(struct dp *dp, const struct mvpn_endpoint *to, bool one_link, const void *data, size_t len)
{
	return 0;
}

unsigned dp_payload_max(void)
{
	return BODY_MAX_B;
}

unsigned dp_workers(const struct dp *dp)
{
	return 1;
}

int nexthop_resolve(struct nl *nl, const struct mvpn_endpoint *to, struct kt_endpoint *ret)
{
	*ret = (struct kt_endpoint){.to = *to, .mtu = 1500};
	return 0;
}

/* ---- the shim: it is told of each session when its receiving half is ready ---- */

int shim_spi_set(struct shim *shim, uint32_t spi)
{
	struct node *n = shim->n;
	struct pair *p = n->pair;
	const struct kt_session *s = kt_lookup_spi(n->k.kt, spi);
	struct armed *a = &p->armed[p->narmed++];

	assert_true(p->narmed < PAIR_SPIS_MAX);
	assert_non_null(s);
	*a = (struct armed){.n = n, .life = n->life, .spi = spi};
	memcpy(a->tx, s->tx[0].l, sizeof(a->tx));
	intro_lane_next(a->tx);
	memcpy(a->rx, s->rx[0].l_next, sizeof(a->rx));
	/* no key comes twice, whoever has it and whatever was repeated */
	for (unsigned i = 0; i + 1 < p->narmed; i++) {
		assert_memory_not_equal(a->tx, p->armed[i].tx, sizeof(a->tx));
		assert_memory_not_equal(a->rx, p->armed[i].rx, sizeof(a->rx));
	}
	return 0;
}

int shim_spi_clear(struct shim *s, uint32_t spi)
{
	return 0;
}

int shim_key_set(struct shim *s, uint32_t peer, const struct mvpn_key *k)
{
	return 0;
}

int shim_key_clear(struct shim *s, uint32_t peer)
{
	return 0;
}

int shim_protect(struct shim *s, const struct mvpn_prefix *p, uint32_t peer, uint32_t flags)
{
	return 0;
}

int shim_unprotect(struct shim *s, const struct mvpn_prefix *p)
{
	return 0;
}

int shim_protected_each(struct shim *s,
			int (*fn)(void *arg, const struct mvpn_prefix *p, const struct mvpn_protected *v), void *arg)
{
	return 0;
}

int shim_breathe(struct shim *s)
{
	return 0;
}

int shim_exempt_set(struct shim *s, const struct mvpn_endpoint *tcp, unsigned n)
{
	return 0;
}
