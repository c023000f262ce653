/* SPDX-License-Identifier: BSD-2-Clause */
/* What would become of a packet or a frame, and why. */
#include "control.h"

#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "control_explain.h"
#include "ether.h"
#include "gateways.h"
#include "levels.h"
#include "options.h"
#include "peers.h"
#include "processes.h"
#include "routes.h"
#include "session_rules.h"
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

/* what the policy wants sealed above TCP goes round the socket */
static const char *explain_round(struct keyd *k, const struct service *of, unsigned level, struct explained *e)
{
	const char *error = NULL;

	if (level == MVPN_LEVEL_EITHER)
		return explain_peer(k, e->peer, of, e);
	shim_streams(k->shim, &error);
	explain_todo(e, e->who->elsewhere ? "`level socket|network` in the policy lets containers by"
				  : "mvpnctl doctor: \"socket level\"");
	return explain_dropped(e, END_KEYD, "drop_level");
}

/* and of a connection that a program opens, where the policy wants it sealed above TCP */
static const char *explain_level(struct keyd *k, struct explained *e)
{
	struct peer *p = e->peer, *streams = peer_layer_by_id(k, p->id, MVPN_LAYER_SOCKET);
	const struct service of = {e->proto, e->port};
	unsigned level = e->level;
	const char *error = NULL, *verdict, *below;

	if (level == MVPN_LEVEL_NETWORK)
		return explain_peer(k, p, &of, e);
	if (!p->diverted)
		shim_streams(k->shim, &error);
	show_line(e->why, "the policy says \"level %s\": %s%s%s", mvpn_level_name(level),
		  !p->diverted ? "but keyd cannot take what programs here send"
		  : level == MVPN_LEVEL_BOTH
			  ? "TCP and UDP of programs here is sealed at the socket, and then as "
			    "packets"
			  : "TCP and UDP of programs here is sealed at the socket",
		  error ? ": " : "", error ? error : "");
	if (level != MVPN_LEVEL_EITHER)
		show_line(e->why, "TCP and UDP that has gone round the socket is refused");
	if (of.proto != IPPROTO_TCP && of.proto != IPPROTO_UDP) {
		show_line(e->why, "what follows is about all other packets");
		return explain_peer(k, p, &of, e);
	}
	if (e->who->elsewhere)
		show_line(e->why, "that process is in another network namespace: it goes round the socket");
	e->taken = p->diverted && !e->who->elsewhere;
	if (!e->taken)
		return explain_round(k, &of, level, e);
	verdict = explain_peer(k, streams ?: p, &of, e);
	if (level != MVPN_LEVEL_BOTH || strcmp(verdict, "dropped") == 0)
		return verdict;
	show_line(e->why, "below that:");
	below = explain_peer(k, p, &(struct service){0, 0}, e);
	return strcmp(below, "sealed") == 0 ? verdict : below;
}

/* the gateways of a prefix, in the order of the policy */
static void explain_gateways(const json_t *list, struct explained *e)
{
	const json_t *g;
	size_t i;

	json_array_foreach(list, i, g)
	{
		const char *wrong = json_string_value(json_object_get(g, "why"));
		bool failed = strcmp(json_string_value(json_object_get(g, "state")), "failed") == 0;
		bool in_use = json_is_true(json_object_get(g, "in_use"));
		double since_s = json_number_value(json_object_get(g, "since_s"));
		char since[32] = "";

		if (wrong)
			snprintf(since, sizeof(since), ", for %.0f s", since_s);
		if (in_use && wrong) {
			e->astray = wrong;
			explain_todo(e, "no gateway to it is well: mvpnctl doctor on %s", peer_label(e->peer));
		}
		show_line(e->why, "gateway %zu: %s%s%s%s%s", i + 1,
			  json_string_value(json_object_get(g, "name")), in_use ? ", in use" : "",
			  !wrong   ? ""
			  : failed ? ", has failed: "
				   : ", away: ",
			  wrong ? wrong : "", since);
	}
}

/* what a peer has: by which rule, level and session */
static const char *explain_owned(struct keyd *k, struct explained *e, json_t *gateways, json_t **ret_rule)
{
	char text[MVPN_ADDRSTRLEN];

	show_line(e->why, "%s is protected and belongs to %s", mvpn_addr_str(&e->dst, text),
		  peer_label(e->peer));
	explain_gateways(gateways, e);
	e->translated = gateways_translated(k, &e->dst);
	if (e->translated)
		show_line(e->why, "hosts there see the gateway's address, not this device's: the "
				  "policy says \"source translated\"");
	e->level = peer_level(k, e->peer);
	if (processes_explain(k, e->peer, e->proto, e->port, e->who, e->why, ret_rule)) {
		e->by_process = !json_is_null(*ret_rule);
		return explain_level(k, e);
	}
	explain_todo(e, "run it as the line says, or change the line");
	if (explain_at_socket(k, e))
		return explain_dropped(e, END_SOCKET, "refuse_process");
	return explain_dropped(e, END_EGRESS, "drop_process");
}

/* protected, and this host's way there does not pass a program of ours, or there is no way; NULL: it does */
static const char *explain_out(struct keyd *k, struct explained *e)
{
	const struct way_out *out = &e->out;
	char text[MVPN_ADDRSTRLEN];

	mvpn_addr_str(&e->dst, text);
	if (out->error) {
		show_line(e->why, "this host has no way to %s: %s", text, strerror(-out->error));
		explain_todo(e, "a route, the default route will do: ip route get %s", text);
		return explain_dropped(e, END_ROUTE, NULL);
	}
	if (out->route.local) {
		show_line(e->why, "%s is protected, but it is an address of this host, too: what is sent there "
				  "never leaves it", text);
		explain_todo(e, "two hosts have that address: ip addr; mvpnctl server device list");
		return "clear";
	}
	if (out->by)
		return NULL;
	show_line(e->why, k->nifaces ? "%s is protected, but leaves by %s, which is not attached: in CLEAR"
				     : "%s is protected, but no interface is attached: it would leave in CLEAR by %s",
		  text, out->iface);
	explain_todo(e, "mvpnctl attach %s", out->iface);
	return "clear";
}

/* what the kernel's rules are about may go another way */
static void explain_rules(struct keyd *k, struct explained *e)
{
	const struct mvpn_prefix host = mvpn_prefix_host(&e->dst);
	struct routes *x = routes_new(k);
	struct routes_way way;

	if (x && routes_astray(x, &host, &way)) {
		show_line(e->why, "but what %s is about may leave by %s, which is not attached (table %u): in CLEAR", way.rule,
			  way.iface, way.table);
		explain_todo(e, "mvpnctl attach %s, or see `ip rule`", way.iface);
	}
	routes_free(x);
}

static const char *explain_unprotected(struct keyd *k, struct explained *e)
{
	char text[MVPN_ADDRSTRLEN];

	show_line(e->why, "%s is in no protected prefix of policy revision %llu: it passes untouched",
		  mvpn_addr_str(&e->dst, text), (unsigned long long)k->policy_rev);
	if (k->prefixes_overflow)
		show_line(e->why, "unless a network stands in for prefixes beyond max_prefixes "
				  "there: then it is dropped, see the log");
	if (e->out.error)
		show_line(e->why, "but this host has no way there: %s", strerror(-e->out.error));
	return "clear";
}

static const char *explain_verdict(struct keyd *k, struct explained *e, json_t *gateways, json_t **ret_rule)
{
	char text[MVPN_ADDRSTRLEN];
	const char *verdict;
	uint32_t owner;

	mvpn_addr_str(&e->dst, text);
	if (is_group(&e->dst))
		return explain_group(k, &e->dst, e->why);
	if (!lpm_lookup(k->prefixes, &e->dst, &owner))
		return explain_unprotected(k, e);
	if (owner == KEYD_SELF) {
		show_line(e->why, "%s belongs to this device", text);
		if (gateways_translated(k, &e->dst))
			show_line(e->why, "what other devices send there leaves with this gateway's "
					  "address as its source: see `flows`");
		return "clear";
	}
	if (shim_is_anothers(k->shim, &e->dst)) {
		show_line(e->why,
			  "%s is in a narrower prefix of another network on this host: where its keyd is "
			  "attached this one leaves it alone",
			  text);
		explain_todo(e, "ask that one: mvpnctl --network NAME explain %s", text);
		return "clear";
	}
	verdict = explain_out(k, e);
	if (verdict)
		return verdict;
	explain_rules(k, e);
	e->peer = peer_by_index(k, owner);
	if (e->peer)
		return explain_owned(k, e, gateways, ret_rule);
	show_line(e->why, "%s is protected, and no device owns it", text);
	explain_todo(e, "on the server: mvpnctl server device address add NAME %s, or take the `protect` line away", text);
	return explain_dropped(e, END_EGRESS, "drop_no_owner");
}

/* the longest protected prefix of an address; of length 0: none */
static void prefix_of(struct keyd *k, const struct mvpn_addr *a, struct mvpn_prefix *ret)
{
	uint32_t owner;

	*ret = mvpn_prefix_host(a);
	while (ret->len && !lpm_get(k->prefixes, ret, &owner)) {
		ret->len--;
		ret->addr.b[ret->len / 8] &= (uint8_t)~(0x80 >> ret->len % 8);
	}
}

/* which line allows it is the server's to say: of which policy, and how to ask */
static json_t *explain_policy(struct keyd *k, const struct explained *e)
{
	char port[16] = "", proto[MVPN_SERVICESTRLEN] = "", ask[512];

	if (!e->peer || !k->id)
		return json_pack("{s:I, s:n}", "rev", (json_int_t)k->policy_rev, "ask");
	if (e->port)
		snprintf(port, sizeof(port), " %u/", e->port);
	if (e->proto)
		mvpn_service_str(&(struct mvpn_service){e->proto, 0, UINT16_MAX}, proto);
	snprintf(ask, sizeof(ask), "mvpnctl server policy test %s %s%s%s%s", k->id->name,
		 peer_label(e->peer), port, e->port || !e->proto ? "" : " ", proto);
	return json_pack("{s:I, s:s}", "rev", (json_int_t)k->policy_rev, "ask", ask);
}

/* what was asked about a process; null: nothing */
static json_t *explain_who(const struct process_asked *who)
{
	json_t *o = json_object();

	for (unsigned i = 0; i < MVPN_BY_KINDS; i++)
		if (who->value[i])
			json_object_set_new(o, mvpn_by_name(i), json_string(who->value[i]));
	if (who->elsewhere)
		json_object_set_new(o, "elsewhere", json_true());
	if (json_object_size(o))
		return o;
	json_decref(o);
	return json_null();
}

json_t *show_explain(struct keyd *k, const struct mvpn_addr *src, const struct mvpn_addr *dst, uint8_t proto,
		     uint16_t port, const struct process_asked *who)
{
	struct explained e = {
		.why = json_array(), .dst = *dst, .proto = proto, .port = port, .who = who};
	json_t *rule = json_null(), *gateways = gateways_explain(k, dst), *o;
	const struct session *s;
	char text[MVPN_ADDRSTRLEN];

	prefix_of(k, dst, &e.prefix);
	explain_way_out(k, dst, &e.out);
	e.src = mvpn_addr_is_zero(src) ? e.out.route.src : *src;
	e.verdict = explain_verdict(k, &e, gateways, &rule);
	s = e.packet ?: e.stream;
	if (json_is_null(rule) && s && !strcmp(e.verdict, "sealed"))
		rule = session_rules_show(s->rules, proto, -1, port);
	o = json_pack("{s:s, s:o, s:s?, s:s?, s:o, s:o, s:s?, s:o*}", "verdict", e.verdict, "why", e.why,
		      "peer", e.peer ? peer_label(e.peer) : NULL, "prefix",
		      e.prefix.len ? mvpn_prefix_str(&e.prefix, text) : NULL, "session",
		      s ? show_hex(s->id, MVPN_ID_LEN) : json_null(), "rule", rule, "level",
		      e.peer ? mvpn_level_name(e.level) : NULL, "gateways", gateways);
	json_object_set_new(o, "todo", *e.todo ? json_string(e.todo) : json_null());
	json_object_set_new(o, "policy", explain_policy(k, &e));
	json_object_set_new(o, "process", explain_who(who));
	json_object_set_new(o, "hooks", explain_hooks(k, &e));
	return o;
}

json_t *show_explain_frame(struct keyd *k, const uint8_t mac[6], uint16_t type)
{
	static const struct process_asked nobody;
	struct explained found = {.why = json_array(), .who = &nobody};
	json_t *why = found.why, *peer = json_null();
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
			verdict = explain_peer(k, e->peer, &frame, &found);
		}
	}
	return json_pack("{s:s, s:o, s:o, s:o, s:s?}", "verdict", verdict, "why", why, "peer", peer,
			 "session", found.packet ? show_hex(found.packet->id, MVPN_ID_LEN) : json_null(),
			 "todo", *found.todo ? found.todo : NULL);
}
