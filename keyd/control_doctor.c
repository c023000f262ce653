/* SPDX-License-Identifier: BSD-2-Clause */
/* `doctor` looks for what makes a host sick before its users do; `metrics` is the Prometheus text. */
#include "control.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "channel.h"
#include "cmdline.h"
#include "control_explain.h"
#include "datagrams.h"
#include "endpoint.h"
#include "gateways.h"
#include "hsm.h"
#include "keystore.h"
#include "levels.h"
#include "mvpn/ctl.h"
#include "processes.h"
#include "routes.h"
#include "rp_filter.h"
#include "sessions.h"
#include "translate.h"

#define HEARD_STALE_MS (2 * MVPN_CHAN_HEARTBEAT_S * 1000 + 5000)
#define ROUTES_ASKED_MAX 1024 /* of the kernel, for one answer */

enum verdict { OK, WARN, FAIL };

static bool check(json_t *list, const char *name, enum verdict v, const char *hint, const char *fmt,
		  ...) __attribute__((format(printf, 5, 6)));
static bool check(json_t *list, const char *name, enum verdict v, const char *hint, const char *fmt,
		  ...)
{
	static const char *const names[] = {"ok", "warn", "fail"};
	va_list ap;

	va_start(ap, fmt);
	json_array_append_new(list, json_pack("{s:s, s:s, s:o, s:s}", "name", name, "result",
					      names[v], "detail", ipc_vtext(fmt, ap), "hint",
					      v == OK ? "" : hint));
	va_end(ap);
	return v == FAIL;
}

static bool check_server(struct keyd *k, json_t *list)
{
	if (keystore_locked(k))
		return check(list, "identity", FAIL, "mvpnctl identity show", "%s",
			     keystore_locked(k));
	if (!k->id)
		return check(list, "enrolled", FAIL, "mvpnctl enroll --token-file F",
			     "this machine is not enrolled");
	check(list, "enrolled", OK, "", "as %s with %s", k->id->name, k->id->server);
	if (k->state != KEYD_ONLINE)
		return check(list, "server", FAIL,
			     k->state == KEYD_OFFLINE ? "is the server running, and TCP to it allowed?"
						      : "on the server: mvpnctl server device show NAME; mvpnctl server audit",
			     "%s: %s", keyd_state_name(k->state),
			     k->server_error ? k->server_error : "connecting");
	if (mono_ms() - k->server_heard_ms > HEARD_STALE_MS)
		return check(list, "server", WARN, "look at the server's load and the path to it",
			     "no heartbeat for %llu s",
			     (unsigned long long)(mono_ms() - k->server_heard_ms) / 1000);
	return check(list, "server", OK, "", "online, policy revision %llu",
		     (unsigned long long)k->policy_rev);
}

/* the private key's, if it is on one */
static bool check_token(struct keyd *k, json_t *list)
{
	if (hsm_problem(k))
		return check(list, "token", FAIL, "put it in, or mend pin_file and `mvpnctl reload`",
			     "%s", hsm_problem(k));
	return k->hsm && check(list, "token", OK, "", "%s", k->conf.pkcs11);
}

static bool check_interfaces(struct keyd *k, json_t *list)
{
	bool bad = false;
	char *before = NULL, name[48];
	unsigned i;

	if (!k->nifaces)
		return check(list, "attached", FAIL, "mvpnctl attach eth0",
			     "no interface is attached: nothing is protected");
	for (i = 0; i < k->nifaces; i++) {
		struct attachment *a = k->ifaces[i];

		snprintf(name, sizeof(name), "interface %s", a->name);
		if (!a->ifindex || !a->up) {
			bad |= check(list, name, a->ifindex ? WARN : FAIL, "ip link", "%s",
				     a->ifindex ? "down" : "gone");
			continue;
		}
		if (!shim_before_us(k->shim, a->name, &before) && before && *before)
			check(list, name, WARN,
			      "a program that ends the chain hides ours: attach mvpn before it",
			      "other programs run first: %s", before);
		else
			check(list, name, OK, "", "%s, wire %s (%s)",
			      a->shim.hook == SHIM_CLSACT ? "clsact" : "tcx", attach_rung(a),
			      a->reason);
		free(before);
		before = NULL;
	}
	return bad;
}

struct astray {
	struct keyd *k;
	unsigned asked, n;
	char first[MVPN_ADDRSTRLEN], iface[IFNAMSIZ];
	struct routes *routes; /* NULL: not known */
	unsigned by_rule;
	char ruled[MVPN_ADDRSTRLEN]; /* the first one */
	struct routes_way way;
};

static int route_look(void *arg, const struct mvpn_prefix *p, uint32_t owner)
{
	struct astray *x = arg;
	struct mvpn_addr host = p->addr;
	struct routes_way way;
	struct way_out out;

	if (p->len < 127)
		host.b[15] |= 1;
	if (owner == KEYD_SELF || shim_is_anothers(x->k->shim, &host))
		return 0;
	explain_way_out(x->k, &host, &out);
	if (!out.error && !out.route.local && !out.by && !x->n++) {
		mvpn_addr_str(&host, x->first);
		memcpy(x->iface, out.iface, sizeof(x->iface));
	}
	if (x->routes && routes_astray(x->routes, p, &way) && !x->by_rule++) {
		mvpn_prefix_str(p, x->ruled);
		x->way = way;
	}
	return ++x->asked == ROUTES_ASKED_MAX;
}

/* none for the destination alone */
static void check_rules(json_t *list, const struct astray *x)
{
	char hint[160];

	snprintf(hint, sizeof(hint), "mvpnctl attach %s, or change the rule: ip rule; ip route show table %u", x->way.iface, x->way.table);
	if (x->by_rule)
		check(list, "routes", WARN, hint, "what %s is about may go to %s by %s (table %u), which is not attached: in CLEAR; so may %u of %u prefixes",
		      x->way.rule, x->ruled, x->way.iface, x->way.table, x->by_rule, x->asked);
	else if (!x->routes || routes_cut(x->routes))
		check(list, "routes", WARN, "ip rule; ip route show table all",
		      "what is protected leaves by what is attached, %u prefixes looked at, but where the kernel's rules lead is not known: %s",
		      x->asked, x->routes ? "too many of them, or of routes in their tables" : "it does not say");
	else
		check(list, "routes", OK, "", "what is protected leaves by what is attached, %u prefixes looked at, and the kernel's rules",
		      x->asked);
}

/* an interface that is not attached sends what is protected as it is, and nobody counts it */
static bool check_routes(struct keyd *k, json_t *list)
{
	struct astray x = {.k = k};
	char hint[160];

	if (!k->nifaces)
		return false;
	x.routes = routes_new(k);
	lpm_each(k->prefixes, route_look, &x);
	if (!x.n)
		check_rules(list, &x);
	routes_free(x.routes);
	if (!x.n)
		return false;
	snprintf(hint, sizeof(hint), "mvpnctl attach %s, or a route by an interface that is; mvpnctl explain %s",
		 x.iface, x.first);
	return check(list, "routes", FAIL, hint, "%s goes by %s, which is not attached: in CLEAR; so do %u of %u prefixes",
		     x.first, x.iface, x.n, x.asked);
}

static void check_cgroup(struct keyd *k, json_t *list, const char *name, const char *where,
			 const char *error, const char *hint)
{
	if (where)
		check(list, name, OK, "", "on the cgroup %s", where);
	else if (k->nifaces)
		check(list, name, WARN, hint, "not attached: %s", error ? error : "out of memory");
}

/* the lines with `by`: are sockets looked at, and is there what they name? */
static void check_processes(struct keyd *k, json_t *list)
{
	const struct processes *x = k->processes;
	const char *error, *where = shim_process(k->shim, &error);
	unsigned lines = x->table ? x->table->n : 0, missing = 0;
	const struct trait *one = NULL;

	if (!lines && !x->unknown)
		return;
	for (unsigned i = 0; i < MVPN_TRAITS_MAX; i++)
		if (x->traits.list[i].used && !x->traits.list[i].found) {
			one = &x->traits.list[i];
			missing++;
		}
	if (x->unknown || x->failed)
		check(list, "processes", FAIL, "see the log; they are told again when the server is reached",
		      "which processes may send is not known: none may");
	else if (!where && k->nifaces)
		check(list, "processes", FAIL, "a cgroup2 file system and Linux 6.1 with BTF",
		      "the policy tells processes apart, and this host cannot: %s; none may",
		      error ? error : "out of memory");
	else if (!shim_socket(k->shim, &error) && k->nifaces)
		check(list, "processes", WARN, "see \"socket shim\"",
		      "what may not be sent is dropped as packets: no call fails");
	else if (x->cut || missing)
		check(list, "processes", WARN,
		      "the policy names it: nobody can be it before it is there",
		      missing ? "%u users or programs are not on this host: %s %s"
			      : "%u lines are beyond what one device can tell apart",
		      missing ? missing : x->cut, one ? mvpn_by_name(one->kind) : "",
		      one ? one->value : "");
	else
		check(list, "processes", OK, "", "%u lines of the policy tell them apart", lines);
}

static void check_cgroups(struct keyd *k, json_t *list)
{
	const char *error, *where = shim_transport(k->shim, &error);

	check_cgroup(k, list, "transport shim", where, error,
		     "TCP works all the same: the fast path limits its segments on the way");
	where = shim_socket(k->shim, &error);
	check_cgroup(k, list, "socket shim", where, error,
		     "sessions are made all the same, from the first packet on");
	check_processes(k, list);
}

static bool check_leaks(json_t *list, const uint64_t *c)
{
	bool bad = check(list, "leaks", c[MVPN_C_LEAK] ? FAIL : OK,
			 "another program lets packets by ours: `tc filter`, `bpftool net`",
			 "%llu protected packets at the last hook",
			 (unsigned long long)c[MVPN_C_LEAK]);

	check(list, "cleartext in", c[MVPN_C_INGRESS_CLEAR] ? WARN : OK,
	      "a peer whose keyd is not attached sends in clear, or somebody spoofs it; both are "
	      "dropped here",
	      "%llu packets claimed to come from a protected peer in clear",
	      (unsigned long long)c[MVPN_C_INGRESS_CLEAR]);
	return bad;
}

static bool check_host(struct keyd *k, json_t *list)
{
	bool stops = rp_filter_stops(k);
	char hint[96];

	snprintf(hint, sizeof(hint),
		 "sysctl net.ipv4.conf.%s.rp_filter=2; the log says what failed", k->conf.tap);
	check(list, "rp_filter", stops ? FAIL : OK, hint,
	      stops ? "the kernel drops the IPv4 packets that come out of %s"
		    : "does not stand in the way of %s",
	      k->conf.tap);
	check(list, "cipher", k->suites & (1 << (MVPN_AES256_GCM - 1)) ? OK : WARN,
	      "a CPU with AES-NI would be faster",
	      k->suites & (1 << (MVPN_AES256_GCM - 1)) ? "AES-256-GCM in hardware"
						       : "ChaCha20-Poly1305 only");
	check(list, "addresses", k->naddresses_refused ? WARN : OK,
	      "mvpnctl server device address add NAME PREFIX",
	      "%u accepted by the server, %u refused", k->naddresses, k->naddresses_refused);
	return stops;
}

/* of several networks that one keyd runs */
static void check_isolation(struct keyd *k, json_t *list)
{
	if (!k->args->supervisor)
		return;
	check(list, "isolation", k->exposed ? WARN : OK,
	      "let the service begin with CAP_SYS_ADMIN and mount(2), as mvpn's unit does, or give each network a unit of its own",
	      "files of the other networks on this host are %s%s", k->exposed ? "in sight: " : "out of sight",
	      k->exposed ? k->exposed : "");
}

static void check_udp(struct keyd *k, json_t *list)
{
	if (k->state == KEYD_ONLINE)
		check(list, "UDP", endpoint_udp_blocked(k) ? WARN : OK,
		      "allow UDP to the port of the server that TCP goes to, and back",
		      endpoint_udp_blocked(k)
			      ? "the server does not answer by UDP: peers that cannot be "
				"reached directly are relayed by TCP, which is slower"
			      : "to the server %s", endpoint_udp(k));
}

/* a session that sends and hears nothing is dead, whatever its state says */
static bool check_sessions(struct keyd *k, json_t *list)
{
	unsigned dead = 0, i;
	const struct session *s;
	struct kt_stats stats;

	for (i = 1; i <= k->npeers; i++) {
		s = session_transmitting(k->peers[i]);
		if (!s || !s->kt)
			continue;
		kt_session_stats(s->kt, &stats);
		if (stats.tx_packets > 10 &&
		    (!stats.rx_last_ns || mono_ns() - stats.rx_last_ns > 120000000000ULL))
			dead++;
	}
	return check(list, "sessions", dead ? WARN : OK,
		     "mvpnctl ping PEER; is UDP to its data port passing?",
		     "%u sessions, %u of them silent for 2 min or more", k->nsessions, dead);
}

/* as a gateway, and as who uses one */
static void check_gateway(struct keyd *k, json_t *list)
{
	char text[GATEWAYS_TEXT_B];

	if (gateways_dead(k, text, sizeof(text)))
		check(list, "gateways", WARN, "`mvpnctl gateways` shows all of them; `mvpnctl doctor` on that one says why",
		      "%s", text);
	if (gateways_unreached(k, text, sizeof(text)))
		check(list, "gateway", WARN, "look at that interface, its cable and `ip route`", "%s",
		      text);
	else if (gateways_own(k))
		check(list, "gateway", OK, "", "all of %u prefixes are reached", gateways_own(k));
}

static bool check_translations(struct keyd *k, json_t *list)
{
	const char *who;

	if (!k->translating)
		return false;
	if (k->untranslated)
		return check(list, "translations", FAIL, "the log says why, and what to remove or to allow",
			     "sources behind this gateway cannot be translated: what goes there is dropped");
	if (translate_refused(k, &who))
		return check(list, "translations", WARN,
			     "see what it does (`mvpnctl flows`), or raise [limits] max_translations in "
			     "keyd.conf",
			     "%s wants more translated flows than one device may have, %u; %u in all", who,
			     (unsigned)k->conf.max_translations, k->translations);
	return check(list, "translations",
		     k->translations > MVPN_TRANSLATIONS_MAX / 10 * 9 ? WARN : OK,
		     "lower [limits] max_translations in keyd.conf, or use another gateway, too",
		     "%u flows of %u; one device may have %u", k->translations, MVPN_TRANSLATIONS_MAX,
		     (unsigned)k->conf.max_translations);
}

/* what the policy wants of the socket level, if it does */
static bool check_levels(struct keyd *k, json_t *list)
{
	if (!levels_wanted(k))
		return false;
	if (levels_problem(k))
		return check(list, "socket level", FAIL,
			     "mount cgroup2, or free the TCP port; until then it is refused, or "
			     "sealed as "
			     "packets where the policy says socket|network",
			     "%s", levels_problem(k));
	return check(list, "socket level", OK, "", "%u streams, datagrams of %u remote ends",
		     streams_count(k), datagrams_ends(k));
}

json_t *show_doctor(struct keyd *k)
{
	uint64_t c[MVPN_C_MAX] = {0};
	json_t *list = json_array(), *body;
	bool bad;

	shim_counters(k->shim, c);
	bad = check_server(k, list);
	bad |= check_token(k, list);
	bad |= check_interfaces(k, list);
	bad |= check_routes(k, list);
	bad |= check_leaks(list, c);
	check_cgroups(k, list);
	bad |= check_levels(k, list);
	check_gateway(k, list);
	bad |= check_translations(k, list);
	bad |= check_host(k, list);
	check_isolation(k, list);
	check_udp(k, list);
	check_sessions(k, list);
	body = json_pack("{s:o}", "checks", list);
	if (bad)
		json_object_set_new(body, "exit", json_integer(MVPN_EXIT_UNHEALTHY));
	return body;
}

static void metric_group(FILE *f, const char *prefix, const char *const *names, const uint64_t *v,
			 unsigned n)
{
	unsigned i;

	for (i = 0; i < n; i++)
		fprintf(f, "# TYPE mvpn_%s_%s_total counter\nmvpn_%s_%s_total %llu\n", prefix,
			names[i], prefix, names[i], (unsigned long long)v[i]);
}

json_t *show_metrics(struct keyd *k)
{
	uint64_t shim[MVPN_C_MAX] = {0}, dp[DP_C_MAX] = {0};
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);
	json_t *body = json_object();

	if (!f)
		return body;
	shim_counters(k->shim, shim);
	dp_counters(k->dp, dp);
	fprintf(f, "# TYPE mvpn_online gauge\nmvpn_online %d\n", k->state == KEYD_ONLINE);
	fprintf(f, "# TYPE mvpn_sessions gauge\nmvpn_sessions %u\n", k->nsessions);
	fprintf(f, "# TYPE mvpn_peers gauge\nmvpn_peers %u\n", k->npeers);
	fprintf(f, "# TYPE mvpn_protected_prefixes gauge\nmvpn_protected_prefixes %u\n",
		lpm_count(k->prefixes));
	metric_group(f, "shim", shim_counter_names, shim, MVPN_C_MAX);
	metric_group(f, "dp", dp_counter_names, dp, DP_C_MAX);
	metric_group(f, "control", keyd_counter_names, k->counters, KC_MAX);
	if (!fclose(f))
		json_object_set_new(body, "text", json_string(text));
	free(text);
	return body;
}
