/* SPDX-License-Identifier: BSD-2-Clause */
/* What would become of a packet or a frame, and why. */
#include "control.h"

#include <netinet/in.h>
#include <string.h>

#include "channel.h"
#include "ether.h"
#include "gateways.h"
#include "levels.h"
#include "nat.h"
#include "options.h"
#include "peers.h"
#include "processes.h"
#include "sessions.h"

/* 224.0.0.0/4, 255.255.255.255, ff00::/8: no device owns them, whatever is protected */
static bool is_group(const struct mvpn_addr *a)
{
	if (mvpn_addr_is_v4(a))
		return (a->b[12] & 0xf0) == 224 ||
		       (a->b[12] & a->b[13] & a->b[14] & a->b[15]) == 255;
	return a->b[0] == 0xff;
}

static const char *explain_group(struct keyd *k, const struct mvpn_addr *dst, json_t *why)
{
	bool drop = k->nifaces && k->options & MVPN_OPT_MULTICAST_DROP;
	char text[MVPN_ADDRSTRLEN];

	show_line(
		why,
		drop ? "%s is multicast or broadcast, and the policy says \"multicast drop\": only "
		       "neighbour discovery, MLD and DHCP pass"
		     : "%s is multicast or broadcast: no device owns it, it passes untouched",
		mvpn_addr_str(dst, text));
	return drop ? "dropped" : "clear";
}

/* a packet's, 0: not said; of a frame the port is its EtherType */
struct service {
	uint8_t proto;
	uint16_t port;
};

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
	show_line(why, "and %s use here: %s", peer, text);
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

/* what becomes of a packet or frame for that peer */
static const char *explain_peer(struct keyd *k, struct peer *p, const struct service *of, json_t *why,
				json_t **ret_session)
{
	const struct session *s = session_transmitting(p);

	if (s) {
		*ret_session = show_hex(s->id, MVPN_ID_LEN);
		show_line(why, "epoch %u transmits with SPI %08x", s->epoch, s->tx_spi);
		if (strcmp(nat_path_name(s), "direct") != 0)
			show_line(why, "its packets are %s%s", nat_path_name(s),
				  p->relayed ? ": the server passes them on and cannot read them"
					     : " their way to the peer");
		if (s->mode != MVPN_MODE_E2E)
			show_line(why, "its keys are %s: the server knows them, too",
				  mvpn_mode_name(s->mode));
		if (!explain_services(s, of, peer_label(p), why))
			return "dropped";
		show_class_of(s, of->proto, of->port, why);
		return "sealed";
	}
	if (p->denied_until_ms) {
		show_line(why, "refused: %s", mvpn_reason_text(p->error));
		return "dropped";
	}
	show_line(why, "there is no session: the first packet is held while the server introduces "
		       "both ends");
	if (k->state != KEYD_ONLINE)
		show_line(why, "but this device is %s, so it is dropped after %u s",
			  keyd_state_name(k->state), MVPN_HOLD_S);
	else if (p->error)
		show_line(why, "the last introduction failed: %s", mvpn_reason_text(p->error));
	return "held";
}

/* and of a connection that a program opens, where the policy wants it sealed above TCP */
static const char *explain_level(struct keyd *k, struct peer *p, const struct service *of,
				 json_t *why, json_t **ret_session)
{
	struct peer *streams = peer_layer_by_id(k, p->id, MVPN_LAYER_SOCKET);
	unsigned level = peer_level(k, p);
	const char *error = NULL, *verdict;

	if (level == MVPN_LEVEL_NETWORK)
		return explain_peer(k, p, of, why, ret_session);
	if (!p->diverted)
		shim_streams(k->shim, &error);
	show_line(why, "the policy says \"level %s\": %s%s%s", mvpn_level_name(level),
		  !p->diverted ? "but keyd cannot take what programs here send"
		  : level == MVPN_LEVEL_BOTH
			  ? "TCP and UDP of programs here is sealed at the socket, and then as "
			    "packets"
			  : "TCP and UDP of programs here is sealed at the socket",
		  error ? ": " : "", error ? error : "");
	if (level != MVPN_LEVEL_EITHER)
		show_line(why, "TCP and UDP that has gone round the socket is refused");
	if (of->proto != IPPROTO_TCP && of->proto != IPPROTO_UDP) {
		show_line(why, "what follows is about all other packets");
		return explain_peer(k, p, of, why, ret_session);
	}
	if (!p->diverted)
		return level == MVPN_LEVEL_EITHER ? explain_peer(k, p, of, why, ret_session)
						  : "dropped";
	verdict = explain_peer(k, streams ?: p, of, why, ret_session);
	if (level != MVPN_LEVEL_BOTH || strcmp(verdict, "dropped") == 0)
		return verdict;
	show_line(why, "below that:");
	json_decref(*ret_session);
	return explain_peer(k, p, &(struct service){0, 0}, why, ret_session);
}

/* the gateways of a prefix that has several, in the order of the policy */
static void explain_gateways(const json_t *list, json_t *why)
{
	const json_t *g;
	size_t i;

	json_array_foreach(list, i, g)
	{
		const char *wrong = json_string_value(json_object_get(g, "why"));
		bool failed = strcmp(json_string_value(json_object_get(g, "state")), "failed") == 0;

		show_line(why, "gateway %zu: %s%s%s%s", i + 1,
			  json_string_value(json_object_get(g, "name")),
			  json_is_true(json_object_get(g, "in_use")) ? ", in use" : "",
			  !wrong   ? ""
			  : failed ? ", has failed: "
				   : ", away: ",
			  wrong ? wrong : "");
	}
}

json_t *show_explain(struct keyd *k, const struct mvpn_addr *dst, uint8_t proto, uint16_t port,
		     const struct process_asked *who)
{
	const struct service of = {proto, port};
	json_t *why = json_array(), *session = json_null(), *peer = json_null();
	json_t *rule = json_null();
	json_t *gateways = gateways_explain(k, dst);
	const char *verdict = "clear", *level = NULL;
	char text[MVPN_ADDRSTRLEN];
	struct peer *p;
	uint32_t owner;

	if (is_group(dst)) {
		verdict = explain_group(k, dst, why);
	} else if (!lpm_lookup(k->prefixes, dst, &owner)) {
		show_line(
			why,
			"%s is in no protected prefix of policy revision %llu: it passes untouched",
			mvpn_addr_str(dst, text), (unsigned long long)k->policy_rev);
		if (k->prefixes_overflow)
			show_line(why,
				  "unless a network stands in for prefixes beyond max_prefixes "
				  "there: then it is dropped, see the log");
	} else if (owner == KEYD_SELF) {
		show_line(why, "%s belongs to this device", mvpn_addr_str(dst, text));
		if (gateways_translated(k, dst))
			show_line(why, "what other devices send there leaves with this gateway's "
				       "address as its source: see `flows`");
	} else if (shim_is_anothers(k->shim, dst)) {
		show_line(why,
			  "%s is in a narrower prefix of another network on this host: where its keyd is "
			  "attached this one leaves it alone",
			  mvpn_addr_str(dst, text));
	} else if (!k->nifaces) {
		show_line(why,
			  "%s is protected, but no interface is attached: it would leave in CLEAR",
			  mvpn_addr_str(dst, text));
	} else if (!(p = peer_by_index(k, owner))) {
		verdict = "dropped";
		show_line(why, "%s is protected, and no device owns it", mvpn_addr_str(dst, text));
	} else {
		peer = json_string(peer_label(p));
		show_line(why, "%s is protected and belongs to %s", mvpn_addr_str(dst, text),
			  peer_label(p));
		explain_gateways(gateways, why);
		if (gateways_translated(k, dst))
			show_line(why, "hosts there see the gateway's address, not this device's: the "
				       "policy says \"source translated\"");
		level = mvpn_level_name(peer_level(k, p));
		verdict = processes_explain(k, p, proto, port, who, why, &rule)
				  ? explain_level(k, p, &of, why, &session)
				  : "dropped";
	}
	return json_pack("{s:s, s:o, s:o, s:o, s:o, s:s?, s:o*}", "verdict", verdict, "why", why, "peer", peer,
			 "session", session, "rule", rule, "level", level,
			 "gateways", gateways);
}

json_t *show_explain_frame(struct keyd *k, const uint8_t mac[6], uint16_t type)
{
	json_t *why = json_array(), *session = json_null(), *peer = json_null();
	const struct ether_entry *e = ether_find(k, mac, type);
	char text[MVPN_MACSTRLEN];
	const struct service frame = {0, type};
	const char *verdict = "clear";

	mvpn_mac_str(mac, text);
	if (!e) {
		show_line(why,
			  "no policy line pairs this device with %s for EtherType 0x%04x: such "
			  "frames pass untouched",
			  text, type);
	} else if (!k->nifaces) {
		show_line(why,
			  "it is protected, but no interface is attached: it would leave in CLEAR");
	} else if (!e->peer) {
		verdict = "dropped";
		show_line(why,
			  "EtherType 0x%04x is protected, and no device is known to have %s: the "
			  "policy pairs this device with too many",
			  type, text);
	} else {
		peer = json_string(peer_label(e->peer));
		show_line(why, "%s belongs to %s", text, peer_label(e->peer));
		if (!(e->flags & MVPN_FRAME_TX)) {
			verdict = "dropped";
			show_line(why, "the policy lets such frames come from there, not go there");
		} else {
			verdict = explain_peer(k, e->peer, &frame, why, &session);
		}
	}
	return json_pack("{s:s, s:o, s:o, s:o}", "verdict", verdict, "why", why, "peer", peer,
			 "session", session);
}
