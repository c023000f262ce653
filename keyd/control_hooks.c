/* SPDX-License-Identifier: BSD-2-Clause */
/* What happens to a packet at each hook on its way, from the program's socket to the other end. */
#include "control_explain.h"

#include <netinet/in.h>
#include <stdarg.h>
#include <string.h>

#include "control.h"
#include "levels.h"
#include "nat.h"
#include "path.h"
#include "peers.h"
#include "processes.h"
#include "routes.h"
#include "sessions.h"

void explain_way_out(struct keyd *k, const struct mvpn_addr *dst, struct way_out *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->error = nl_route_get(k->nl, dst, &ret->route);
	if (!ret->error && !ret->route.local)
		ret->by = routes_attached(k, ret->route.oif, ret->iface);
}

/* ---- the hooks ---- */

static void step(json_t *list, const char *hook, const char *where, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
static void step(json_t *list, const char *hook, const char *where, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	json_array_append_new(list, json_pack("{s:s, s:s?, s:o}", "hook", hook, "where", where,
					      "does", ipc_vtext(fmt, ap)));
	va_end(ap);
}

static bool may_be(const struct explained *e, uint8_t proto)
{
	return !e->proto || e->proto == proto;
}

/* the packets of a connection of keyd's own are on the wire, not the program's */
static bool stream_only(const struct explained *e)
{
	return e->taken && e->level != MVPN_LEVEL_BOTH;
}

bool explain_at_socket(struct keyd *k, const struct explained *e)
{
	const char *error;

	return (may_be(e, IPPROTO_TCP) || may_be(e, IPPROTO_UDP)) && shim_socket(k->shim, &error) &&
	       (!e->who->elsewhere || shim_namespaces(k->shim) == MVPN_NETNS_ALL);
}

/* of a process that this host forwards for */
static const char *at_socket_elsewhere(struct keyd *k)
{
	switch (shim_namespaces(k->shim)) {
	case MVPN_NETNS_ALL:
		return "keyd is asked for a session, if there is none";
	case MVPN_NETNS_OWN:
		return "nothing: the process is in another network namespace, and this host forwards what it sends";
	case MVPN_NETNS_AUTO:
		break;
	}
	return "the process is in another network namespace: looked at if keyd is in the host's first one";
}

static void at_socket(struct keyd *k, const struct explained *e, json_t *list)
{
	const char *error, *where = shim_socket(k->shim, &error);

	if (!may_be(e, IPPROTO_TCP) && !may_be(e, IPPROTO_UDP))
		return;
	if (!where)
		step(list, "socket", NULL, "not looked at: %s; the first packet asks for a session",
		     error ? error : "no interface is attached");
	else if (e->end == END_SOCKET)
		step(list, "socket", where, "connect() and sendmsg() fail with EPERM%s%s%s",
		     e->counter ? " (" : "", e->counter ?: "", e->counter ? ")" : "");
	else if (e->taken)
		step(list, "socket", where, "%s goes to keyd, which stands for the other end",
		     e->proto == IPPROTO_UDP   ? "the datagram"
		     : e->proto == IPPROTO_TCP ? "the connection"
					       : "of TCP and UDP it");
	else if (!e->peer)
		step(list, "socket", where, "nothing: no peer has the address");
	else if (e->who->elsewhere)
		step(list, "socket", where, "%s", at_socket_elsewhere(k));
	else
		step(list, "socket", where, "%s%s",
		     e->by_process ? "the process is as the policy's line says; " : "",
		     session_transmitting(e->peer)
			     ? "there is a session"
			     : "keyd is asked for a session, before the first packet");
}

static void at_transport(struct keyd *k, const struct explained *e, json_t *list)
{
	const char *error, *where = shim_transport(k->shim, &error);
	unsigned mtu = e->peer ? path_inner_mtu(e->peer) : 0;

	if (!may_be(e, IPPROTO_TCP) || !e->peer || stream_only(e) || e->end == END_SOCKET)
		return;
	if (e->who->elsewhere)
		step(list, "transport", where,
		     "nothing: the process is in another network namespace; keyd makes the segments fit on their way");
	else if (!where)
		step(list, "transport", NULL,
		     "not looked at: %s; keyd makes the segments fit on their way",
		     error ? error : "no interface is attached");
	else if (mtu)
		step(list, "transport", where, "TCP segments fit packets of %u bytes", mtu);
	else
		step(list, "transport", where, "TCP segments fit the tunnel");
}

/* false: it goes no further */
static bool at_route(const struct explained *e, json_t *list)
{
	char via[MVPN_ADDRSTRLEN] = "", src[MVPN_ADDRSTRLEN] = "";
	const struct nl_route *r = &e->out.route;

	if (e->out.error) {
		step(list, "route", NULL, "there is none: %s", strerror(-e->out.error));
		return false;
	}
	if (r->local) {
		step(list, "route", "lo", "the address is this host's own");
		return false;
	}
	if (!mvpn_addr_is_zero(&r->gateway))
		mvpn_addr_str(&r->gateway, via);
	if (!mvpn_addr_is_zero(&e->src))
		mvpn_addr_str(&e->src, src);
	step(list, "route", e->out.iface, "%s%s%s%s%s", *src ? "from " : "", src,
	     *via && *src ? ", " : "",
	     *via   ? "by way of "
	     : *src ? ""
		    : "direct",
	     via);
	return true;
}

static bool at_egress(struct keyd *k, const struct explained *e, json_t *list)
{
	const char *where = e->out.by ? e->out.by->name : e->out.iface;

	if (!e->out.by)
		step(list, "egress", where,
		     "not attached: nothing looks at it, it leaves as it is");
	else if (e->end == END_EGRESS)
		step(list, "egress", where, "dropped (%s)", e->counter);
	else if (!e->peer)
		step(list, "egress", where, "passes untouched (pass_unprotected)");
	else if (stream_only(e))
		step(list, "egress", where, "keyd's own TCP connection passes (pass_own)");
	else
		step(list, "egress", where, "%s to %s, where keyd has it (%s)",
		     e->taken ? "keyd's own TCP connection goes" : "goes", k->conf.tap,
		     session_transmitting(e->peer) ? "to_tap" : "to_tap_held");
	return e->out.by && e->peer && e->end != END_EGRESS;
}

static void sealed(json_t *list, const struct session *s, const char *what)
{
	step(list, "keyd", NULL, "%s is sealed with %s, keys of epoch %u", what, show_suite(s),
	     s->epoch);
}

static void held(json_t *list, bool stream)
{
	step(list, "keyd", NULL,
	     stream ? "the connection waits for a session, %u s at most"
		    : "held until there is a session, %u s at most",
	     MVPN_HOLD_S);
}

/* what keyd does with it as a stream, before there is a packet; false: it goes no further */
static bool in_stream(const struct explained *e, json_t *list)
{
	if (e->end == END_KEYD && !e->packet)
		step(list, "keyd", NULL, "refused%s%s%s", e->counter ? " (" : "", e->counter ?: "",
		     e->counter ? ")" : "");
	else if (e->stream)
		sealed(list, e->stream, "the stream");
	else
		held(list, true);
	return e->stream && e->end != END_KEYD;
}

static bool in_packet(const struct explained *e, json_t *list)
{
	if (e->end == END_KEYD) {
		step(list, "keyd", NULL, "dropped%s%s%s", e->counter ? " (" : "", e->counter ?: "",
		     e->counter ? "); its sender is told" : "");
		return false;
	}
	if (e->packet)
		sealed(list, e->packet, "the packet");
	else
		held(list, false);
	return e->packet;
}

static void on_wire(const struct explained *e, json_t *list)
{
	char text[MVPN_ADDRSTRLEN];

	if (stream_only(e))
		step(list, "wire", e->out.by->name, "TCP to %s",
		     mvpn_endpoint_str(&e->stream->peer->endpoint, text));
	else
		step(list, "wire", e->out.by->name, "UDP to %s, %s, MTU %u",
		     mvpn_endpoint_str(&e->peer->endpoint, text), nat_path_name(e->packet),
		     path_mtu(e->peer));
}

/* as bpf/translate.bpf.c does */
static bool translatable(const struct explained *e)
{
	return !e->proto || e->proto == IPPROTO_TCP || e->proto == IPPROTO_UDP || e->proto == IPPROTO_ICMP ||
	       e->proto == IPPROTO_ICMPV6;
}

static void at_peer(const struct explained *e, json_t *list)
{
	bool behind = e->prefix.len < 128;

	if (e->astray)
		step(list, "peer", peer_label(e->peer), "gets no further: %s", e->astray);
	else if (behind && e->translated && !translatable(e))
		step(list, "peer", peer_label(e->peer),
		     "dropped there (untranslatable): such packets have nothing that could lead answers back");
	else
		step(list, "peer", peer_label(e->peer), "opened, checked against the policy once more%s",
		     behind && e->translated ? ", and forwarded in clear from an address of the gateway's"
		     : behind		     ? ", and forwarded in clear"
					     : "");
}

json_t *explain_hooks(struct keyd *k, const struct explained *e)
{
	json_t *list = json_array();

	if (e->peer || strcmp(e->verdict, "clear") == 0)
		at_socket(k, e, list);
	if (e->end == END_SOCKET)
		return list;
	if (e->taken && !in_stream(e, list))
		return list;
	at_transport(k, e, list);
	if (!at_route(e, list) || !at_egress(k, e, list))
		return list;
	if (!stream_only(e) && !in_packet(e, list))
		return list;
	on_wire(e, list);
	at_peer(e, list);
	return list;
}
