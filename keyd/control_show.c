/* SPDX-License-Identifier: BSD-2-Clause */
/* Verbs that tell: status, peers, sessions, leaks (docs/control.md has the members). */
#include "control.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "channel.h"
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
#include "nat.h"
#include "path.h"
#include "gateways.h"
#include "peers.h"
#include "relay_tcp.h"
#include "relayed.h"
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

static double age_s(uint64_t at_ms)
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

static json_t *spi_json(uint32_t spi)
{
	char text[9];

	snprintf(text, sizeof(text), "%08x", spi);
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

static json_t *endpoint_json(const struct mvpn_endpoint *e)
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
			    k->server_heard_ms ? json_real(age_s(k->server_heard_ms))
					       : json_null());
	json_object_set_new(o, "error",
			    k->server_error ? json_string(k->server_error) : json_null());
	return o;
}

void show_line(json_t *list, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	json_array_append_new(list, json_vsprintf(fmt, ap));
	va_end(ap);
}

static json_t *problems(struct keyd *k, const uint64_t *shim)
{
	json_t *list = json_array();
	char text[160];
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
			    endpoint_seen(k, &seen) ? endpoint_json(&seen) : json_null());
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
	json_object_set_new(body, "healthy", json_boolean(!json_array_size(list)));
	json_object_set_new(body, "problems", list);
	return body;
}

/* ---- peers ---- */

struct prefix_walk {
	struct keyd *k;
	json_t **by_index; /* arrays of prefixes */
};

static int prefix_collect(void *arg, const struct mvpn_prefix *p, uint32_t owner)
{
	struct prefix_walk *w = arg;
	char text[MVPN_ADDRSTRLEN];

	if (owner != KEYD_SELF && owner && owner <= w->k->npeers)
		json_array_append_new(w->by_index[owner], json_string(mvpn_prefix_str(p, text)));
	return 0;
}

static const char *device_state_name(unsigned s)
{
	static const char *const names[] = {"unknown", "pending", "active", "suspended", "revoked"};

	return names[s <= MVPN_DEV_REVOKED ? s : 0];
}

static json_t *heard_json(uint64_t at_ns)
{
	return at_ns ? json_real((mono_ns() - at_ns) / 1e9) : json_null();
}

/* of a peer for frames, in place of prefixes */
static void frames_collect(struct keyd *k, json_t **by_index)
{
	char text[ETHER_ENTRY_STRLEN];
	const struct ether_entry *e;
	unsigned n;

	e = ether_entries(k, &n);
	for (unsigned i = 0; i < n; i++)
		if (e[i].peer)
			json_array_append_new(by_index[e[i].peer->index],
					      json_string(ether_entry_str(&e[i], text)));
}

/* streams are counted by peer, not by session: they outlive it */
static void session_stats(const struct session *s, struct kt_stats *ret)
{
	memset(ret, 0, sizeof(*ret));
	if (s->kt)
		kt_session_stats(s->kt, ret);
}

static unsigned stream_sums(const struct peer *p, uint64_t *ret_tx, uint64_t *ret_rx)
{
	unsigned n = 0;

	*ret_tx = *ret_rx = 0;
	for (const struct stream *s = p->streams; s; s = s->next) {
		n += s->state == STREAM_RUNS;
		*ret_tx += s->sent;
		*ret_rx += s->received;
	}
	return n;
}

static json_t *show_peer(const struct keyd *k, const struct peer *p, json_t *prefixes)
{
	const struct session *s;
	json_int_t tx = 0, rx = 0;
	struct kt_stats stats;
	uint64_t last = 0;

	for (s = p->sessions; s; s = s->next) {
		session_stats(s, &stats);
		tx += stats.tx_bytes;
		rx += stats.rx_bytes;
		last = stats.rx_last_ns > last ? stats.rx_last_ns : last;
	}
	return json_pack("{s:i, s:s, s:o, s:s, s:s, s:o, s:b, s:o, s:o, s:I, s:I, s:o, s:s?, s:o}", "index",
			 p->index, "layer", peer_layer_name(p), "id", show_hex(p->id, MVPN_ID_LEN),
			 "name", p->name, "state", device_state_name(p->state), "prefixes",
			 prefixes, "session", session_transmitting(p) != NULL, "endpoint",
			 endpoint_json(&p->endpoint), "last_rx_s", heard_json(last), "tx_bytes", tx,
			 "rx_bytes", rx, "error",
			 p->error ? json_string(mvpn_reason_text(p->error)) : json_null(),
			 "reason", p->error ? mvpn_reason_name(p->error) : NULL,
			 "gateway", gateways_show(k, p));
}

json_t *show_peers(struct keyd *k)
{
	json_t *list = json_array();
	struct prefix_walk w = {k, calloc(k->npeers + 1, sizeof(*w.by_index))};
	uint32_t i;

	for (i = 1; w.by_index && i <= k->npeers; i++)
		w.by_index[i] = json_array();
	if (w.by_index) {
		lpm_each(k->prefixes, prefix_collect, &w);
		frames_collect(k, w.by_index);
	}
	for (i = 1; w.by_index && i <= k->npeers; i++)
		json_array_append_new(list, show_peer(k, k->peers[i], w.by_index[i]));
	free(w.by_index);
	return json_pack("{s:o}", "peers", list);
}

/* ---- sessions ---- */

static json_t *prefixes_json(const struct mvpn_prefix *p, unsigned n)
{
	json_t *list = json_array();
	char text[MVPN_ADDRSTRLEN];
	unsigned i;

	for (i = 0; i < n; i++)
		json_array_append_new(list, json_string(mvpn_prefix_str(&p[i], text)));
	return list;
}

static json_t *services_json(const struct mvpn_service *list, unsigned n)
{
	char text[MVPN_SERVICESTRLEN];
	json_t *o = json_array();

	for (unsigned i = 0; i < n; i++)
		json_array_append_new(o, json_string(mvpn_service_str(&list[i], text)));
	return o;
}

static json_t *show_session(struct keyd *k, const struct session *s)
{
	static const char *const states[] = {"unconfirmed", "active", "draining"};
	const struct kt_session *kt = s->kt;
	uint64_t now = mono_ms(), tx, rx;
	unsigned streams, suite = kt ? kt->suite : s->streams->suite;
	const char *via = relayed_via(s->peer);
	struct kt_stats stats;
	json_t *o;

	session_stats(s, &stats);
	streams = stream_sums(s->peer, &tx, &rx);
	if (!kt) {
		stats.tx_bytes = tx;
		stats.rx_bytes = rx;
	}
	o = json_pack("{s:o, s:s, s:o, s:s, s:s, s:s, s:s, s:s, s:i}", "id",
		      show_hex(s->id, MVPN_ID_LEN), "peer", peer_label(s->peer), "peer_id",
		      show_hex(s->peer->id, MVPN_ID_LEN), "role",
		      s->initiator ? "initiator" : "responder", "state", states[s->state], "layer",
		      peer_layer_name(s->peer), "mode", mvpn_mode_name(s->mode), "suite",
		      suite == MVPN_AES256_GCM ? "aes-256-gcm" : "chacha20-poly1305", "epoch",
		      s->epoch);
	json_object_set_new(o, "level", json_string(mvpn_level_name(peer_level(k, s->peer))));
	json_object_set_new(o, "transmits", json_boolean(s->transmits));
	json_object_set_new(o, "age_s", json_real(age_s(s->created_ms)));
	json_object_set_new(o, "rekey_in_s",
			    json_real(s->rekey_ms > now ? (s->rekey_ms - now) / 1000.0 : 0));
	json_object_set_new(o, "tx_spi", spi_json(s->tx_spi));
	json_object_set_new(o, "rx_spi", spi_json(s->rx_spi));
	json_object_set_new(o, "lanes", json_integer(kt ? kt->ntx : 0));
	json_object_set_new(o, "endpoint", endpoint_json(&s->peer->endpoint));
	json_object_set_new(o, "translated", translate_share(s->peer));
	json_object_set_new(o, "path", json_string(nat_path_name(s)));
	json_object_set_new(o, "relay", via ? json_string(via) : json_null());
	json_object_set_new(o, "mtu", json_integer(path_mtu(s->peer)));
	json_object_set_new(o, "mtu_state", json_string(path_mtu_state(s->peer)));
#define STAT(name) json_object_set_new(o, #name, json_integer(stats.name))
	STAT(tx_packets);
	STAT(tx_bytes);
	STAT(rx_packets);
	STAT(rx_bytes);
	STAT(rx_auth_fail);
	STAT(rx_replay);
	STAT(rx_bad_inner);
	STAT(tx_refused);
	STAT(rx_refused);
#undef STAT
	json_object_set_new(o, "last_rx_s", heard_json(stats.rx_last_ns));
	json_object_set_new(o, "streams", json_integer(streams));
	json_object_set_new(o, "local", prefixes_json(kt ? kt->local : NULL, kt ? kt->nlocal : 0));
	json_object_set_new(o, "remote",
			    prefixes_json(kt ? kt->remote : NULL, kt ? kt->nremote : 0));
	json_object_set_new(
		o, "services",
		s->limited ? json_pack("{s:o, s:o}", "local",
				       services_json(s->services, s->nserv_local), "remote",
				       services_json(s->services + s->nserv_local, s->nserv_remote))
			   : json_null());
	json_object_set_new(o, "classes", show_classes(s));
	return o;
}

json_t *show_sessions(struct keyd *k)
{
	json_t *list = json_array();
	const struct session *s;
	uint32_t i;

	for (i = 1; i <= k->npeers; i++)
		for (s = k->peers[i]->sessions; s; s = s->next)
			json_array_append_new(list, show_session(k, s));
	return json_pack("{s:o}", "sessions", list);
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
