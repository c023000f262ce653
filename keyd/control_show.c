/* SPDX-License-Identifier: BSD-2-Clause */
/* Verbs that tell: status, leaks (docs/control.md has the members), and what all of them say alike. */
#include "control.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "channel.h"
#include "cmdline.h"
#include "conf.h"
#include "crypto.h"
#include "datagrams.h"
#include "endpoint.h"
#include "ether.h"
#include "forwards.h"
#include "hsm.h"
#include "keystore.h"
#include "levels.h"
#include "mvpn/ctl.h"
#include "options.h"
#include "gateways.h"
#include "relay_tcp.h"
#include "rp_filter.h"
#include "server_key.h"
#include "sessions.h"
#include "streams.h"
#include "translate.h"

const char *const keyd_counter_names[KC_MAX] = {
	"channel_up",	 "channel_lost", "channel_failed", "bad_message",
	"intro_started", "intro_done",	 "intro_failed",   "intro_denied",
	"offer_refused", "stale_boot",	 "bad_answer",	   "sessions_dropped_offline",
	"revoked",	 "pin_changed",	 "addr_refused",   "mac_refused",
	"map_full",	 "wire_errors",	 "mode_refused",   "token_failed",
	"token_timeout", "intro_by_socket", "streams_opened", "streams_accepted",
	"streams_forwarded",
	"streams_refused", "streams_stranger", "streams_bad", "streams_cut",
	"streams_forbidden",
	"datagrams_sent", "datagrams_received", "datagrams_dropped", "datagrams_refused",
	"datagrams_no_socket",
	"delegated",	 "delegation_refused",
	"conduit_sent",	 "conduit_received", "conduit_dropped",
	"rotated",	 "pin_vouched",	 "bad_vouch", "stale_vouch",
	"gateway_failed", "gateway_changed", "gateway_away", "gateway_stream_failed", "streams_left",
	"prefix_lost",
	"translated",	 "untranslatable", "translations_full",
	"fragments_refused", "fragments_alone", "translations_refused",
	"server_key_pinned", "server_key_refused", "server_key_old",
	"process_refused", "process_unreported",
	"forward_opened", "forward_refused", "relay_silent",
	"asks_paced",
};

double show_age_s(uint64_t at_ms)
{
	return (mono_ms() - at_ms) / 1000.0;
}

/* wall clock of a monotonic moment, for people */
static json_int_t wall_at(uint64_t at_ms)
{
	return time(NULL) - (json_int_t)((mono_ms() - at_ms) / 1000);
}

json_t *show_hex(const void *data, size_t len)
{
	char text[65];

	mvpn_hex(text, data, len);
	return json_string(text);
}

static json_t *fingerprint_json(const uint8_t pk[32])
{
	char text[MVPN_FINGERPRINT_LEN];

	mvpn_fingerprint(text, pk);
	return json_string(text);
}

static json_t *addr_json(const struct mvpn_addr *a)
{
	char text[MVPN_ADDRSTRLEN];

	return json_string(mvpn_addr_str(a, text));
}

/* a MAC address stands for itself there (bpf/ether.h) */
json_t *show_addr16(const uint8_t b[16])
{
	char text[MVPN_MACSTRLEN];
	uint8_t mac[6];
	struct mvpn_addr a;

	memcpy(a.b, b, 16);
	if (mvpn_addr_mac(&a, mac))
		return json_string(mvpn_mac_str(mac, text));
	return addr_json(&a);
}

json_t *show_endpoint(const struct mvpn_endpoint *e)
{
	char text[MVPN_ADDRSTRLEN];

	return e->port ? json_string(mvpn_endpoint_str(e, text)) : json_null();
}

static json_t *counters_json(const char *const *names, const uint64_t *values, unsigned n)
{
	json_t *o = json_object();
	unsigned i;

	for (i = 0; i < n; i++)
		json_object_set_new(o, names[i], json_integer(values[i]));
	return o;
}

json_t *show_device(struct keyd *k)
{
	json_t *addresses = json_array();
	unsigned i;

	for (i = 0; i < k->naddresses; i++)
		json_array_append_new(addresses, addr_json(&k->addresses[i]));
	return json_pack("{s:o, s:s, s:o, s:o}", "id", show_hex(k->id->device_id, MVPN_ID_LEN),
			 "name", k->id->name, "fingerprint", fingerprint_json(identity_key(k->id)),
			 "addresses", addresses);
}

json_t *show_interface(struct keyd *k, const struct attachment *a)
{
	char *before = NULL;
	json_t *list = json_array();
	char *name, *save = NULL;

	if (a->ifindex && !shim_before_us(k->shim, a->name, &before))
		for (name = before ? strtok_r(before, " \n,", &save) : NULL; name;
		     name = strtok_r(NULL, " \n,", &save))
			json_array_append_new(list, json_string(name));
	free(before);
	return json_pack("{s:s, s:i, s:s, s:s, s:s, s:i, s:i, s:b, s:s, s:s, s:o}", "name", a->name,
			 "ifindex", a->ifindex, "hook",
			 a->shim.hook == SHIM_CLSACT ? "clsact" : "tcx", "wire",
			 a->xdp ? "xdp" : "udp", "rung", attach_rung(a), "queues",
			 a->xdp ? a->queues : dp_workers(k->dp), "mtu", a->mtu, "sends", a->sends,
			 "reason", a->reason, "link",
			 !a->ifindex ? "gone"
			 : a->up     ? "up"
				     : "down",
			 "before_us", list);
}

static json_t *show_server(struct keyd *k)
{
	bool up = k->state == KEYD_ONLINE || k->state == KEYD_PENDING;
	json_t *o = json_pack("{s:s, s:b}", "address", k->id->server, "connected", up);

	server_key_show(k, o);
	json_object_set_new(o, "since_at",
			    k->online_since_ms ? json_integer(wall_at(k->online_since_ms))
					       : json_null());
	json_object_set_new(o, "last_heard_s",
			    k->server_heard_ms ? json_real(show_age_s(k->server_heard_ms))
					       : json_null());
	json_object_set_new(o, "error",
			    k->server_error ? json_string(k->server_error) : json_null());
	return o;
}

void show_line(json_t *list, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	json_array_append_new(list, ipc_vtext(fmt, ap));
	va_end(ap);
}

static json_t *problems(struct keyd *k, const uint64_t *shim)
{
	json_t *list = json_array();
	char text[GATEWAYS_TEXT_B];
	unsigned i;

	if (shim[MVPN_C_LEAK])
		show_line(list,
			  "LEAK: %llu protected packets reached the last hook in clear (and were "
			  "dropped there): another program "
			  "lets them by ours; see `mvpnctl leaks`",
			  (unsigned long long)shim[MVPN_C_LEAK]);
	if (keystore_locked(k))
		show_line(list, "locked: %s", keystore_locked(k));
	else if (k->id && hsm_problem(k))
		show_line(list,
			  "the key on the token cannot be used: %s; new sessions are not made, "
			  "those that there are go on",
			  hsm_problem(k));
	else if (!k->id)
		show_line(list, "not enrolled: `mvpnctl enroll --token-file F`");
	else if (k->state != KEYD_ONLINE)
		show_line(list, "%s: %s", keyd_state_name(k->state),
			  k->server_error ? k->server_error : "connecting to the server");
	if (channel_has_twin(k))
		show_line(list,
			  "another host logs in with this device's identity (a cloned disk, a restored copy), and the two throw "
			  "each other off: stop keyd there, remove `identity` from its state directory, and enrol it "
			  "with a token of its own");
	if (server_key_problem(k))
		show_line(list, "%s", server_key_problem(k));
	if (shim_conflicts(k->shim))
		show_line(list,
			  "%llu protected prefixes are another network's on this host, too, which came "
			  "first and has them",
			  (unsigned long long)shim_conflicts(k->shim));
	if (!k->nifaces)
		show_line(
			list,
			"no interface is attached, so nothing is protected: `mvpnctl attach eth0`");
	for (i = 0; i < k->nifaces; i++)
		if (!k->ifaces[i]->ifindex || !k->ifaces[i]->up)
			show_line(list, "interface %s is %s", k->ifaces[i]->name,
				  k->ifaces[i]->ifindex ? "down" : "gone");
	if (levels_wanted(k) && levels_problem(k))
		show_line(list, "the policy wants TCP and UDP sealed at the socket, and keyd cannot: %s",
			  levels_problem(k));
	if (k->untranslated)
		show_line(list, "sources behind this gateway cannot be translated, and what goes there is dropped: see the log");
	if (rp_filter_stops(k))
		show_line(list,
			  "reverse path filtering drops the IPv4 packets that come out of %s: "
			  "`sysctl "
			  "net.ipv4.conf.%s.rp_filter=2`",
			  k->conf.tap, k->conf.tap);
	if (k->naddresses_refused)
		show_line(list,
			  "the server refused %u of our addresses: `mvpnctl server device address` "
			  "gives them",
			  k->naddresses_refused);
	if (gateways_unreached(k, text, sizeof(text)))
		show_line(list, "%s; its peers go through another gateway, if there is one", text);
	if (gateways_dead(k, text, sizeof(text)))
		show_line(list, "%s; `mvpnctl gateways`", text);
	if (k->prefixes_overflow)
		show_line(list,
			  "more protected prefixes than max_prefixes: whole networks are dropped");
	if (k->counters[KC_PIN_CHANGED])
		show_line(list, "the key of a peer has changed %llu times: see the log",
			  (unsigned long long)k->counters[KC_PIN_CHANGED]);
	return list;
}

static json_t *show_cgroup(struct keyd *k,
			   const char *(*shim)(const struct shim *s, const char **ret_error))
{
	const char *error, *where = shim(k->shim, &error);

	return json_pack("{s:s?, s:s?}", "cgroup", where, "error", where ? NULL : error);
}

/* the socket level; null: no peer is at it */
static json_t *show_streams(struct keyd *k)
{
	const char *error;

	if (!levels_wanted(k))
		return json_null();
	error = levels_problem(k);
	return json_pack("{s:i, s:i, s:i, s:s?}", "open", (int)streams_count(k), "ends",
			 (int)datagrams_ends(k), "port", (int)k->conf.udp_port, "error", error);
}

json_t *show_status(struct keyd *k)
{
	uint64_t shim[MVPN_C_MAX] = {0}, dp[DP_C_MAX] = {0};
	json_t *ifaces = json_array(), *suites = json_array(), *body, *list;
	struct mvpn_endpoint seen;
	unsigned i;

	shim_counters(k->shim, shim);
	dp_counters(k->dp, dp);
	list = problems(k, shim);
	for (i = 0; i < k->nifaces; i++)
		json_array_append_new(ifaces, show_interface(k, k->ifaces[i]));
	if (k->suites & (1 << (MVPN_AES256_GCM - 1)))
		json_array_append_new(suites, json_string("aes-256-gcm"));
	if (k->suites & (1 << (MVPN_CHACHA20_POLY1305 - 1)))
		json_array_append_new(suites, json_string("chacha20-poly1305"));
	body = json_pack("{s:s, s:s, s:o, s:o, s:o, s:I, s:I, s:o}", "version", MVPN_VERSION,
			 "state", keyd_state_name(k->state), "device",
			 k->id ? show_device(k) : json_null(), "server",
			 k->id ? show_server(k) : json_null(), "net_id",
			 k->id ? show_hex(k->id->net_id, MVPN_NET_ID_LEN) : json_null(), "boot_gen",
			 (json_int_t)k->boot_gen, "policy_rev", (json_int_t)k->policy_rev,
			 "interfaces", ifaces);
	json_object_set_new(body, "tap",
			    json_pack("{s:s, s:i, s:s}", "name", k->conf.tap, "ifindex",
				      dp_tap_ifindex(k->dp), "steering",
				      dp_tap_steered(k->dp) ? "lane" : "kernel"));
	json_object_set_new(body, "options", options_show(k));
	json_object_set_new(body, "frame_tap",
			    ether_tap_ifindex(k)
				    ? json_pack("{s:s, s:i}", "name", ether_tap_name(k), "ifindex",
						ether_tap_ifindex(k))
				    : json_null());
	json_object_set_new(body, "transport", show_cgroup(k, shim_transport));
	json_object_set_new(body, "socket", show_cgroup(k, shim_socket));
	json_object_set_new(body, "streams", show_streams(k));
	json_object_set_new(body, "udp_port", json_integer(k->conf.udp_port));
	json_object_set_new(body, "seen",
			    endpoint_seen(k, &seen) ? show_endpoint(&seen) : json_null());
	json_object_set_new(body, "behind_nat", json_boolean(endpoint_behind_nat(k)));
	json_object_set_new(body, "udp", json_string(endpoint_udp(k)));
	json_object_set_new(body, "relay_tcp", json_boolean(relay_tcp_up(k)));
	json_object_set_new(body, "relays", json_integer(forwards_count(k)));
	json_object_set_new(body, "workers", json_integer(dp_workers(k->dp)));
	json_object_set_new(body, "suites", suites);
	json_object_set_new(body, "peers", json_integer(k->npeers));
	json_object_set_new(body, "sessions", json_integer(k->nsessions));
	json_object_set_new(body, "central_keys", json_boolean(k->conf.central_keys));
	json_object_set_new(body, "central_sessions", json_integer(sessions_central(k)));
	json_object_set_new(body, "protected", json_integer(lpm_count(k->prefixes)));
	json_object_set_new(body, "translations", json_integer(k->translations));
	translate_count(k);
	json_object_set_new(body, "counters",
			    json_pack("{s:o, s:o, s:o}", "shim",
				      counters_json(shim_counter_names, shim, MVPN_C_MAX), "dp",
				      counters_json(dp_counter_names, dp, DP_C_MAX), "control",
				      counters_json(keyd_counter_names, k->counters, KC_MAX)));
	json_object_set_new(body, "leak", json_integer(shim[MVPN_C_LEAK]));
	json_object_set_new(body, "isolated", k->args->supervisor ? json_boolean(!k->exposed) : json_null());
	json_object_set_new(body, "healthy", json_boolean(!json_array_size(list)));
	json_object_set_new(body, "problems", list);
	return body;
}

/* ---- leaks ---- */

json_t *show_leaks(struct keyd *k)
{
	uint64_t c[MVPN_C_MAX] = {0};
	json_t *list = json_array(), *body;
	unsigned i;

	shim_counters(k->shim, c);
	for (i = 0; i < k->nifaces; i++)
		json_array_append_new(list, json_pack("{s:s}", "name", k->ifaces[i]->name));
	body = json_pack("{s:I, s:I, s:o}", "leak", (json_int_t)c[MVPN_C_LEAK], "ingress_clear",
			 (json_int_t)c[MVPN_C_INGRESS_CLEAR], "interfaces", list);
	if (c[MVPN_C_LEAK])
		json_object_set_new(body, "exit", json_integer(MVPN_EXIT_LEAK));
	return body;
}
