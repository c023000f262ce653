/* SPDX-License-Identifier: BSD-2-Clause */
#include "endpoint.h"

#include <endian.h>
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "channel.h"
#include "echo_ends.h"
#include "log.h"
#include "relay_tcp.h"
#include "relayed.h"

struct own_endpoint {
	struct keyd *k;
	struct loop_timer *timer;
	struct echo_asker ask; /* its key sodium_malloc()ed, its id of the channel */
	unsigned tries; /* since the last answer */
	bool known, nat;
	bool blocked; /* as the server was told */
	struct mvpn_endpoint seen;
};

/* ---- does UDP pass? ---- */

static void tell_server(struct own_endpoint *o)
{
	struct chan_buf b = {0};

	chan_begin(&b, MVPN_MSG_UDP, o->blocked ? MVPN_UDP_BLOCKED : 0, 0);
	channel_send(o->k, &b);
	chan_buf_free(&b);
}

static void set_blocked(struct own_endpoint *o, bool blocked)
{
	if (o->blocked == blocked)
		return;
	o->blocked = blocked;
	if (blocked)
		log_warn("the server does not answer by UDP: what cannot go directly is relayed by TCP");
	else
		log_info("the server answers by UDP again");
	tell_server(o);
	relayed_udp_changed(o->k);
}

bool endpoint_udp_blocked(const struct keyd *k)
{
	return k->own->blocked;
}

const char *endpoint_udp(const struct keyd *k)
{
	return k->own->blocked ? "blocked" : k->own->known ? "works" : "unknown";
}

/* ---- questions ---- */

/* until the next one, if this one is not answered */
static unsigned patience_ms(const struct own_endpoint *o)
{
	if (o->blocked && relay_tcp_wanted(o->k))
		return MVPN_ECHO_WATCH_S * 1000;
	return o->tries < MVPN_ECHO_TRIES ? MVPN_ECHO_FIRST_MS << o->tries
					  : MVPN_ECHO_SILENT_S * 1000;
}

static void ask(struct own_endpoint *o)
{
	struct mvpn_endpoint server;
	uint8_t packet[MVPN_ECHO_B];

	if (!o->ask.id || !channel_server(o->k, &server))
		return;
	echo_ask(&o->ask, packet);
	dp_send_plain(o->k->dp, &server, packet, sizeof(packet));
	loop_timer_arm(o->timer, patience_ms(o));
	o->tries = o->tries < MVPN_ECHO_TRIES ? o->tries + 1 : 1;
}

static void on_timer(void *arg)
{
	struct own_endpoint *o = arg;

	if (o->tries == MVPN_ECHO_BLOCKED_TRIES)
		set_blocked(o, true);
	ask(o);
}

void endpoint_suspect(struct keyd *k)
{
	if (!k->own->tries)
		ask(k->own);
}

struct own_search {
	const struct mvpn_addr *addr;
	bool found;
};

static int is_own(void *arg, unsigned ifindex, const struct mvpn_addr *addr)
{
	struct own_search *s = arg;

	s->found |= mvpn_addr_eq(s->addr, addr);
	return 0;
}

/* as it is or as a NAT has made it? An address list that cannot be had says nothing. */
static bool is_mapped(struct keyd *k, const struct mvpn_endpoint *seen)
{
	struct own_search s = {&seen->addr, false};

	if (seen->port != k->conf.udp_port)
		return true;
	if (mvpn_addr_is_loopback(&seen->addr)) /* the server is on this host */
		return false;
	return !nl_addr_list(k->nl, is_own, &s) && !s.found;
}

static void learn(struct own_endpoint *o, const struct mvpn_endpoint *seen)
{
	bool nat = is_mapped(o->k, seen);
	char text[MVPN_ADDRSTRLEN];

	if (!o->known || nat != o->nat || seen->port != o->seen.port ||
	    !mvpn_addr_eq(&seen->addr, &o->seen.addr)) {
		if (nat)
			log_info("behind NAT: seen as %s", mvpn_endpoint_str(seen, text));
		else if (o->nat)
			log_info("not behind NAT any more: %s", mvpn_endpoint_str(seen, text));
	}
	o->known = true;
	o->nat = nat;
	o->seen = *seen;
}

static void answered(struct own_endpoint *o, const uint8_t data[MVPN_ECHO_B])
{
	struct mvpn_endpoint seen;
	enum echo_heard heard = echo_answered(&o->ask, data, &seen);

	if (heard == ECHO_BAD)
		return;
	learn(o, &seen);
	o->tries = 0;
	if (heard != ECHO_PROVEN) {
		ask(o); /* with the cookie, at once: then the server believes that we are there */
		return;
	}
	set_blocked(o, false);
	if (o->nat)
		loop_timer_arm(o->timer, MVPN_KEEPALIVE_S * 1000);
	else
		loop_timer_disarm(o->timer);
}

bool endpoint_answered(struct keyd *k, const struct dp_event *e)
{
	uint32_t id;

	if (!echo_look(e->data, sizeof(e->data), MVPN_ECHO_REPLY, &id) || id != k->own->ask.id)
		return false;
	answered(k->own, e->data);
	return true;
}

void endpoint_welcome(struct keyd *k, const struct chan_msg *m)
{
	struct own_endpoint *o = k->own;
	uint8_t v[MVPN_TLV_ECHO_B];
	uint32_t id_be;

	o->ask.id = 0;
	loop_timer_disarm(o->timer);
	if (chan_get_bytes(m, MVPN_TLV_ECHO, v, sizeof(v))) {
		memcpy(&id_be, v, sizeof(id_be));
		memcpy(o->ask.key, v + sizeof(id_be), ECHO_KEY_B);
		sodium_memzero(v, sizeof(v));
		o->ask.id = be32toh(id_be);
	}
	if (o->ask.id != kt_echo(k->kt))
		k->keep_ms = 0; /* another channel, maybe of a server that has forgotten what it relays */
	kt_set_echo(k->kt, o->ask.id);
	relay_tcp_welcome(k, o->ask.id, o->ask.key);
	if (o->blocked)
		tell_server(o);
	o->tries = 0;
	ask(o);
}

bool endpoint_behind_nat(const struct keyd *k)
{
	return k->own->nat;
}

bool endpoint_seen(const struct keyd *k, struct mvpn_endpoint *ret)
{
	*ret = k->own->seen;
	return k->own->known;
}

int endpoint_init(struct keyd *k)
{
	struct own_endpoint *o = calloc(1, sizeof(*o));

	if (!o)
		return -ENOMEM;
	k->own = o;
	o->k = k;
	o->ask.key = sodium_malloc(ECHO_KEY_B);
	return o->ask.key ? loop_timer_new(k->loop, on_timer, o, &o->timer) : -ENOMEM;
}

void endpoint_free(struct keyd *k)
{
	struct own_endpoint *o = k->own;

	if (!o)
		return;
	loop_timer_free(o->timer);
	sodium_free(o->ask.key);
	free(o);
	k->own = NULL;
}
