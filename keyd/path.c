/* SPDX-License-Identifier: BSD-2-Clause */
#include "path.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "dp/nexthop.h"
#include "log.h"
#include "peers.h"
#include "pmtu.h"
#include "relayed.h"
#include "sessions.h"

#define LINK_MTU 1500 /* until a route says more or less */
#define MS_NS 1000000ULL

struct path {
	struct keyd *k;
	struct peer *peer;
	struct kt_endpoint ep; /* as resolved; `mtu` is the first link's */
	unsigned published;    /* MTU */
	bool nat;	       /* on the way */
	bool known;	       /* pmtu.mtu was found for this end point */
	bool silent;	       /* relayed.c has been told */
	struct pmtu pmtu;
	struct loop_timer *timer;
};

static bool path_is_v4(const struct path *a)
{
	return mvpn_addr_is_v4(&a->ep.to.addr);
}

static unsigned path_overhead(const struct path *a)
{
	return path_is_v4(a) ? MVPN_OVERHEAD_IP4 : MVPN_OVERHEAD_IP6;
}

static void send_probe(void *arg, unsigned size, uint64_t token)
{
	struct path *a = arg;
	const struct session *s = session_transmitting(a->peer);
	unsigned least = path_overhead(a) + sizeof(struct mvpn_ctrl);

	/* not sent: the same as lost */
	if (s && size >= least)
		dp_send_ctrl(a->k->dp, s->rx_spi, MVPN_CTRL_PING, token, size - least);
}

static void publish(struct path *a)
{
	struct kt_endpoint e = a->ep;
	const struct session *s = session_transmitting(a->peer);
	int r;

	e.mtu = a->published = a->pmtu.mtu ? a->pmtu.mtu : a->ep.mtu;
	r = kt_peer_set_endpoint(a->k->kt, a->peer->index, &e);
	if (r)
		log_err("cannot set the end point of peer %s: %s", peer_label(a->peer),
			strerror(-r));
	if (s)
		session_key_map(a->k, s);
}

/* after anything that the state machine was told */
static void follow(struct path *a)
{
	struct kt_peer *p = kt_lookup_peer(a->k->kt, a->peer->index);
	uint64_t now = mono_ms(), due = a->pmtu.due_ms, watch = a->pmtu.watch_ms;

	if (a->pmtu.mtu != a->published) {
		log_debug("path to %s: MTU %u, was %u", peer_label(a->peer), a->pmtu.mtu,
			  a->published);
		publish(a);
	}
	if (due == PMTU_NEVER)
		loop_timer_disarm(a->timer);
	else
		loop_timer_arm(a->timer, due > now ? due - now : 0);
	if (p)
		atomic_store_explicit(&p->watch_ns, watch == PMTU_NEVER ? 0 : watch * MS_NS,
				      memory_order_relaxed);
	if (a->silent == (a->pmtu.state == PMTU_SILENT))
		return;
	a->silent = !a->silent;
	if (!a->silent)
		return;
	relayed_silent(a->k, a->peer);
	sessions_path_silent(a->k, a->peer);
}

static void path_timer(void *arg)
{
	struct path *a = arg;

	pmtu_timer(&a->pmtu, mono_ms());
	follow(a);
}

static struct path *path_get(struct keyd *k, struct peer *p)
{
	struct path *a = p->path;

	if (a)
		return a;
	a = calloc(1, sizeof(*a));
	if (!a || loop_timer_new(k->loop, path_timer, a, &a->timer)) {
		free(a);
		log_err("no memory for the path to peer %s", peer_label(p));
		return NULL;
	}
	a->k = k;
	a->peer = p;
	pmtu_init(&a->pmtu, send_probe, a, randombytes_random());
	p->path = a;
	return a;
}

static void start(struct path *a)
{
	unsigned link = a->ep.mtu, min = path_is_v4(a) ? MVPN_PMTU_MIN_IP4_B : MVPN_PMTU_MIN_IP6_B;

	pmtu_start(&a->pmtu, min < link ? min : link, link, a->known, mono_ms());
	a->known = true;
}

static void resolve(struct path *a, const struct mvpn_endpoint *to)
{
	char text[MVPN_ADDRSTRLEN];
	unsigned most;
	int r = nexthop_resolve(a->k->nl, to, &a->ep);

	if (r) {
		/* no route now: the UDP wire will say so packet by packet, and a route change resolves it anew */
		a->ep = (struct kt_endpoint){.to = *to, .mtu = a->ep.mtu};
		log_ratelimited(LOG_L_WARN, "no route to %s of peer %s: %s",
				mvpn_endpoint_str(to, text), peer_label(a->peer), strerror(-r));
	}
	most = dp_payload_max() + path_overhead(a) - MVPN_OVERHEAD;
	if (!a->ep.mtu)
		a->ep.mtu = LINK_MTU;
	/* the conduit takes any size, but what comes after it is not known */
	if (relayed_conduit_at(a->k, to))
		most = LINK_MTU;
	if (a->ep.mtu > most)
		a->ep.mtu = most;
	a->ep.one_port = a->nat;
}

void path_set_endpoint(struct keyd *k, struct peer *p, const struct mvpn_endpoint *to)
{
	struct path *a = path_get(k, p);
	bool moved;

	p->endpoint = *to;
	if (!a)
		return;
	moved = a->ep.to.port != to->port ||
		memcmp(&a->ep.to.addr, &to->addr, sizeof(to->addr)) != 0;
	resolve(a, to);
	if (moved) {
		a->known = false;
		a->pmtu.mtu = a->ep.mtu;
	}
	if (a->pmtu.state != PMTU_IDLE && (moved || a->ep.mtu != a->pmtu.link))
		start(a);
	publish(a);
	follow(a);
}

void path_set_nat(struct keyd *k, struct peer *p, bool nat)
{
	struct path *a = path_get(k, p);

	if (a)
		a->nat = nat;
}

void path_refresh(struct keyd *k, struct peer *p)
{
	if (p->path)
		path_set_endpoint(k, p, &p->endpoint);
}

void path_usable(struct peer *p)
{
	if (!p->path || p->path->pmtu.state != PMTU_IDLE)
		return;
	start(p->path);
	follow(p->path);
}

void path_free(struct peer *p)
{
	struct path *a = p->path;

	if (!a)
		return;
	pmtu_stop(&a->pmtu);
	follow(a);
	loop_timer_free(a->timer);
	free(a);
	p->path = NULL;
}

bool path_pong(struct peer *p, const struct dp_event *e)
{
	if (!(e->token & PMTU_TOKEN))
		return false;
	if (p->path) {
		pmtu_answer(&p->path->pmtu, e->token, e->at_ns / MS_NS);
		follow(p->path);
	}
	return true;
}

void path_traffic(struct peer *p)
{
	if (!p->path)
		return;
	pmtu_traffic(&p->path->pmtu, mono_ms());
	follow(p->path);
}

void path_hint(struct peer *p, unsigned mtu)
{
	if (!p->path)
		return;
	pmtu_hint(&p->path->pmtu, mtu, mono_ms());
	follow(p->path);
}

unsigned path_mtu(const struct peer *p)
{
	return p->path ? p->path->published : LINK_MTU;
}

unsigned path_inner_mtu(const struct peer *p)
{
	return p->path && p->path->published ? p->path->published - path_overhead(p->path) : 0;
}

bool path_is_silent(const struct peer *p)
{
	return p->path && p->path->pmtu.state == PMTU_SILENT;
}

const char *path_mtu_state(const struct peer *p)
{
	return pmtu_state_names[p->path ? p->path->pmtu.state : PMTU_IDLE];
}
