/* SPDX-License-Identifier: BSD-2-Clause */
/* What becomes of a packet, stream or frame that is for a certain peer: is there a session, and is it for that? */
#include "control_explain.h"

#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "channel.h"
#include "control.h"
#include "nat.h"
#include "peers.h"
#include "processes.h"
#include "relayed.h"
#include "session_life.h"
#include "sessions.h"

/* false: the session is not for it */
static bool explain_services(const struct session *s, const struct service *of, const char *peer,
			     json_t *why)
{
	char text[400], asked[MVPN_SERVICESTRLEN];
	const struct mvpn_service *there = s->services + s->nserv_local;
	struct mvpn_service one = {of->proto, of->port, of->port ? of->port : UINT16_MAX};
	bool to, from;

	if (!s->limited)
		return true;
	mvpn_services_str(there, s->nserv_remote, text, sizeof(text));
	show_line(why, "the policy lets this device use at %s: %s; and answer what it is asked",
		  peer, text);
	mvpn_services_str(s->services, s->nserv_local, text, sizeof(text));
	show_line(why, "and %s may use here: %s", peer, text);
	if (!of->proto)
		return true;
	to = of->port ? mvpn_services_have(there, s->nserv_remote, of->proto, of->port)
		      : mvpn_services_have_proto(there, s->nserv_remote, of->proto);
	from = mvpn_services_have_proto(s->services, s->nserv_local, of->proto);
	mvpn_service_str(&one, asked);
	if (!to)
		show_line(why, "%s is not among that%s", asked,
			  from ? ", so only answers from a service here may go there" : "");
	return to;
}

const char *explain_dropped(struct explained *e, enum explain_end end, const char *counter)
{
	e->end = end;
	e->counter = counter;
	return "dropped";
}

void explain_todo(struct explained *e, const char *fmt, ...)
{
	va_list ap;

	if (*e->todo)
		return;
	va_start(ap, fmt);
	vsnprintf(e->todo, sizeof(e->todo), fmt, ap);
	va_end(ap);
}

/* the server's record of the device is newer than the last refusal */
static const char *refusal_of(const struct peer *p)
{
	return mvpn_reason_text(p->state == MVPN_DEV_REVOKED	    ? MVPN_R_REVOKED
				: p->state == MVPN_DEV_SUSPENDED ? MVPN_R_SUSPENDED
				: p->state == MVPN_DEV_PENDING   ? MVPN_R_PENDING
								    : p->error);
}

static bool shut_out(const struct peer *p)
{
	return p->denied_until_ms || p->state == MVPN_DEV_REVOKED ||
	       p->state == MVPN_DEV_SUSPENDED || p->state == MVPN_DEV_PENDING;
}

static const char *explain_no_session(struct keyd *k, const struct peer *p, struct explained *e)
{
	bool stream = p->layer == MVPN_LAYER_SOCKET;

	if (shut_out(p)) {
		show_line(e->why, "refused: %s", refusal_of(p));
		explain_todo(e, "look at %s on the server: mvpnctl server device list; mvpnctl server policy test %s %s",
		     peer_label(p), k->id ? k->id->name : "?", peer_label(p));
		return explain_dropped(e, stream ? END_SOCKET : END_EGRESS, "drop_denied");
	}
	show_line(e->why, stream ? "there is no session: the connection waits while the server introduces both ends"
				 : "there is no session: the first packet is held while the server introduces "
				   "both ends");
	if (p->intro)
		show_line(e->why, "it is doing that now");
	else if (p->asks)
		show_line(e->why, "it will be asked for that soon: many others come first");
	if (k->state != KEYD_ONLINE) {
		show_line(e->why, "but this device is %s%s%s, so it is dropped after %u s",
			  keyd_state_name(k->state), k->server_error ? ": " : "",
			  k->server_error ?: "", MVPN_HOLD_S);
		explain_todo(e, "bring this device on-line: mvpnctl doctor");
		return explain_dropped(e, END_KEYD, stream ? NULL : "held_drop_timeout");
	}
	if (p->error) {
		show_line(e->why, "the last introduction failed: %s", mvpn_reason_text(p->error));
		explain_todo(e, "it is dropped after %u s if that goes on: look at %s's keyd", MVPN_HOLD_S,
		     peer_label(p));
	}
	return "held";
}

/* does the session take what leaves with that source? */
static bool explain_source(const struct session *s, struct explained *e)
{
	const struct mvpn_addr *src = &e->src;
	char text[MVPN_ADDRSTRLEN];

	if (e->who->elsewhere && mvpn_addr_eq(src, &e->out.route.src))
		show_line(e->why, "this host shall put its own address in the place of that process's (masquerade); if it "
				  "does not, ask with --from");
	if (!s->kt || mvpn_addr_is_zero(src) ||
	    mvpn_prefixes_contain(s->kt->local, s->kt->nlocal, src))
		return true;
	show_line(e->why,
		  "it leaves this host from %s, which the session does not have: it is not this device's",
		  mvpn_addr_str(src, text));
	explain_todo(e, "on the server: mvpnctl server device address add NAME %s", text);
	return false;
}

/* what goes on without the server, and for how long */
static void explain_away(struct keyd *k, json_t *why)
{
	uint64_t now = mono_ms(), end = sessions_offline_end_ms(k);

	if (k->state != KEYD_ONLINE)
		show_line(why, "this device is %s%s%s: sessions that there are go on for %llu s, and no new ones are made",
			  keyd_state_name(k->state), k->server_error ? ": " : "", k->server_error ?: "",
			  (unsigned long long)(end > now ? (end - now) / 1000 : 0));
}

static void explain_session(const struct session *s, json_t *why)
{
	const char *via = relayed_via(s->peer);

	show_line(why, "epoch %u transmits with SPI %08x", s->epoch, s->tx_spi);
	explain_away(s->k, why);
	if (s->peer->relayed)
		show_line(why, "its packets are %s: %s%s passes them on and cannot read them", nat_path_name(s),
			  via ? "device " : "the server", via ? via : "");
	else if (strcmp(nat_path_name(s), "direct") != 0)
		show_line(why, "its packets are %s their way to the peer", nat_path_name(s));
	if (s->mode != MVPN_MODE_E2E)
		show_line(why, "its keys are %s: the server knows them, too", mvpn_mode_name(s->mode));
}

const char *explain_peer(struct keyd *k, struct peer *p, const struct service *of, struct explained *e)
{
	bool stream = p->layer == MVPN_LAYER_SOCKET;
	const struct session *s = session_transmitting(p);

	if (!s)
		return explain_no_session(k, p, e);
	if (stream)
		e->stream = s;
	else
		e->packet = s;
	explain_session(s, e->why);
	if (!explain_source(s, e))
		return explain_dropped(e, END_KEYD, "drop_bad_src");
	if (!explain_services(s, of, peer_label(p), e->why)) {
		explain_todo(e, "if it should pass: a line `allow only %s -> %s proto ...` in the policy",
		     k->id ? k->id->name : "?", peer_label(p));
		return explain_dropped(e, END_KEYD, !stream ? "drop_service"
					    : of->proto == IPPROTO_UDP ? "datagrams_refused"
								       : "streams_refused");
	}
	show_class_of(s, of->proto, of->port, e->why);
	return "sealed";
}
