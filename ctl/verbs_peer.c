/* SPDX-License-Identifier: BSD-2-Clause */
/* peers, sessions; ping, wait, rekey: the other devices, as this host sees them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl.h"
#include "mvpn/limits.h"
#include "show.h"

#define SLACK_MS 5000 /* the daemon's own timeout comes first: its answer says more than ours */
/* keyd's defaults, for our own timeout */
#define PING_COUNT 4
#define PING_INTERVAL_MS 1000
#define PING_TIMEOUT_MS 2000
#define WAIT_S 30

static void show_peers(const json_t *r)
{
	static const char *const headers[] = {"PEER",	  "ID",	     "STATE", "SESSION",
					      "ENDPOINT", "LAST RX", ">SENT", ">RECEIVED",
					      "PREFIXES", "?ERROR",  NULL};
	struct table *t = table_new(headers);
	const json_t *p;
	size_t i;

	json_array_foreach(json_object_get(r, "peers"), i, p)
	{
		char *prefixes = joined(json_object_get(p, "prefixes"));
		const char *state = text_of(p, "state");
		char b[HUMAN_B];

		table_cell(t, STRONG, "%s", text_of(p, "name"));
		table_cell(t, FAINT, "%s", id_of(p, "id", b));
		table_cell(t, strstr(state, "revoked") || strstr(state, "suspended") ? BAD : PLAIN,
			   "%s", state);
		table_cell(t, flag_of(p, "session") ? GOOD : PLAIN, "%s",
			   flag_of(p, "session") ? "yes" : "no");
		table_cell(t, PLAIN, "%s", text_of(p, "endpoint"));
		table_cell(t, PLAIN, "%s",
			   flag_of(p, "session") ? seconds_of(p, "last_rx_s", b) : "-");
		table_cell(t, PLAIN, "%s", bytes_of(p, "tx_bytes", b));
		table_cell(t, PLAIN, "%s", bytes_of(p, "rx_bytes", b));
		table_cell(t, PLAIN, "%s", prefixes);
		if (has_text(p, "error"))
			table_cell(t, BAD, "%s: %s", text_of(p, "reason"), text_of(p, "error"));
		else
			table_cell(t, PLAIN, "%s", "");
		free(prefixes);
	}
	table_print(t, "no peers: the server knows no other device, or policy allows none");
}

const struct verb verb_peers = {
	.name = "peers",
	.request = "peers",
	.summary = "devices of the network and their prefixes",
	.example = "peers",
	.show = show_peers,
};

/* ---- sessions ---- */

/* what was received and thrown away, if anything was */
static void rejected(const json_t *s, char *ret, size_t size)
{
	unsigned long long auth = number_of(s, "rx_auth_fail"), replay = number_of(s, "rx_replay"),
			   inner = number_of(s, "rx_bad_inner"), refused = number_of(s, "rx_refused"), over = 0;
	size_t len = 0, i;
	const json_t *c;

	*ret = 0;
	if (auth | replay | inner)
		len = (size_t)snprintf(ret, size, "%llu forged, %llu replayed, %llu not its own",
				       auth, replay, inner);
	if (refused && len < size)
		len += (size_t)snprintf(ret + len, size - len, "%s%llu not permitted",
					len ? ", " : "", refused);
	json_array_foreach(json_object_get(s, "classes"), i, c) over += number_of(c, "rx_dropped");
	if (over && len < size)
		snprintf(ret + len, size - len, "%s%llu over a limit", len ? ", " : "", over);
}

/* what would have been sent and was not, because as much waited already as may */
static void over_limit(const json_t *s, char *ret, size_t size)
{
	unsigned long long n = 0;
	const json_t *c;
	size_t i;

	json_array_foreach(json_object_get(s, "classes"), i, c) n += number_of(c, "tx_dropped");
	*ret = 0;
	if (n)
		snprintf(ret, size, "%llu dropped", n);
}

/* "relayed via gw1" */
static const char *path_text(const json_t *o, char *ret, size_t size)
{
	bool via = has_text(o, "relay");

	snprintf(ret, size, "%s%s%s", text_of(o, "path"), via ? " via " : "", via ? text_of(o, "relay") : "");
	return ret;
}

/* flows of the peer's that this gateway translates */
static void translated(const json_t *s, char *ret, size_t size)
{
	const json_t *of = json_object_get(s, "translated");
	unsigned long long refused = number_of(of, "refused");

	*ret = 0;
	if (json_is_object(of) && refused)
		snprintf(ret, size, "%llu, %llu refused", (unsigned long long)number_of(of, "flows"),
			 refused);
	else if (json_is_object(of))
		snprintf(ret, size, "%llu", (unsigned long long)number_of(of, "flows"));
}

static void show_sessions(const json_t *r)
{
	static const char *const headers[] = {
		"PEER",	  "SESSION",  "STATE",	   "ROLE",	"SUITE",  ">EPOCH",
		"AGE",	  "REKEY IN", "ENDPOINT",  "PATH",	">MTU",	  ">LANES",
		"TX SPI", "RX SPI",   ">SENT",	   ">RECEIVED", "?REJECTED", "?KEYS",  "?FOR",
		"?CLASSES", "?OVER LIMIT", "?TRANSLATED", NULL};
	struct table *t = table_new(headers);
	const json_t *s;
	size_t i;

	json_array_foreach(json_object_get(r, "sessions"), i, s)
	{
		const char *state = text_of(s, "state");
		char b[HUMAN_B], bad[160], *services, *classes;

		table_cell(t, STRONG, "%s", text_of(s, "peer"));
		table_cell(t, FAINT, "%s", id_of(s, "id", b));
		table_cell(t, strcmp(state, "active") ? WARN : GOOD, "%s", state);
		table_cell(t, PLAIN, "%s", text_of(s, "role"));
		table_cell(t, PLAIN, "%s", text_of(s, "suite"));
		table_cell(t, PLAIN, "%llu", (unsigned long long)number_of(s, "epoch"));
		table_cell(t, PLAIN, "%s", seconds_of(s, "age_s", b));
		table_cell(t, PLAIN, "%s", seconds_of(s, "rekey_in_s", b));
		table_cell(t, PLAIN, "%s", text_of(s, "endpoint"));
		table_cell(t, strcmp(text_of(s, "path"), "direct") ? WARN : PLAIN, "%s",
			   path_text(s, bad, sizeof(bad)));
		table_cell(t, PLAIN, "%llu", (unsigned long long)number_of(s, "mtu"));
		table_cell(t, PLAIN, "%llu", (unsigned long long)number_of(s, "lanes"));
		table_cell(t, FAINT, "%s", text_of(s, "tx_spi"));
		table_cell(t, FAINT, "%s", text_of(s, "rx_spi"));
		table_cell(t, PLAIN, "%s", bytes_of(s, "tx_bytes", b));
		table_cell(t, PLAIN, "%s", bytes_of(s, "rx_bytes", b));
		rejected(s, bad, sizeof(bad));
		table_cell(t, BAD, "%s", bad);
		table_cell(t, BAD, "%s", server_knows(s, b));
		services = services_text(json_object_get(s, "services"), "local", "here", "remote",
					 "peer");
		table_cell(t, PLAIN, "%s", services);
		free(services);
		classes = classes_text(json_object_get(s, "classes"), "local", "here", "remote",
				       "peer");
		table_cell(t, PLAIN, "%s", classes);
		free(classes);
		over_limit(s, bad, sizeof(bad));
		table_cell(t, WARN, "%s", bad);
		translated(s, bad, sizeof(bad));
		table_cell(t, PLAIN, "%s", bad);
	}
	table_print(t, "no sessions: they are made by the first packet to a peer");
}

const struct verb verb_sessions = {
	.name = "sessions",
	.request = "sessions",
	.summary = "keys in use with peers, their age and counters",
	.example = "sessions",
	.show = show_sessions,
};

/* ---- ping ---- */

static uint64_t number_or(const json_t *args, const char *member, uint64_t otherwise)
{
	return json_object_get(args, member) ? number_of(args, member) : otherwise;
}

static unsigned ping_timeout(const json_t *args)
{
	/* at worst none is answered, and the session must be made first */
	uint64_t each = number_or(args, "interval_ms", PING_INTERVAL_MS) +
			number_or(args, "timeout_ms", PING_TIMEOUT_MS);
	uint64_t ms = (number_or(args, "count", PING_COUNT) + 1) * each +
		      MVPN_INTRO_TRIES * MVPN_INTRO_RETRY_S * 1000 + SLACK_MS;

	return ms > INT32_MAX ? INT32_MAX : (unsigned)ms;
}

static void show_ping(const json_t *r)
{
	const json_t *replies = json_object_get(r, "replies"), *rtt = json_object_get(r, "rtt_ms"),
		     *v;
	uint64_t sent = number_of(r, "sent"), received = number_of(r, "received");
	double session = real_of(r, "session_ms");
	char path[128];
	size_t i;

	if (session > 0)
		printf("session with %s made in %.1f ms\n", text_of(r, "peer"), session);
	json_array_foreach(replies, i, v)
	{
		if (json_is_number(v) && json_number_value(v) >= 0)
			printf("reply %zu: %.3f ms\n", i + 1, json_number_value(v));
		else
			printf("reply %zu: none\n", i + 1);
	}
	printf("%s (%s): %llu sent, %llu received, %.0f %% lost\n", text_of(r, "peer"),
	       path_text(r, path, sizeof(path)), (unsigned long long)sent, (unsigned long long)received,
	       sent ? 100.0 * (double)(sent - (received > sent ? sent : received)) / (double)sent
		    : 0.0);
	if (received && json_array_size(rtt) == 3)
		printf("round trip min/avg/max %.3f/%.3f/%.3f ms\n",
		       json_number_value(json_array_get(rtt, 0)),
		       json_number_value(json_array_get(rtt, 1)),
		       json_number_value(json_array_get(rtt, 2)));
}

const struct verb verb_ping = {
	.name = "ping",
	.request = "ping",
	.summary = "round trips to a peer's keyd, through the session",
	.more = "The pings are authenticated packets of the session, which is made if there is "
		"none.\n"
		"Exits with 4 if no reply came, with 5 if policy refuses the session.",
	.example = "ping db1 -c 5",
	.operands = {{"PEER", .kind = KIND_TEXT, .member = "peer", .required = true,
		      .help = "name, id or address of a peer"}},
	.options = {{"--count", 'c', KIND_UINT, "count", "N", 1, 10000,
		     .help = "so many pings; default 4"},
		    {"--interval", 'i', KIND_UINT, "interval_ms", "MS", 1, 60000,
		     .help = "milliseconds between two; default 1000"},
		    {"--timeout", 'W', KIND_UINT, "timeout_ms", "MS", 1, 600000,
		     .help = "wait so long for each reply; default 2000"}},
	.timeout_ms = ping_timeout,
	.show = show_ping,
};

/* ---- wait, rekey ---- */

static int prepare_wait(json_t *args)
{
	if (!json_object_get(args, "timeout_s"))
		json_object_set_new(args, "timeout_s", json_integer(WAIT_S));
	return 0;
}

static unsigned wait_timeout(const json_t *args)
{
	return (unsigned)number_of(args, "timeout_s") * 1000 + SLACK_MS;
}

static void show_state(const json_t *r)
{
	puts(text_of(r, "state"));
}

const struct verb verb_wait = {
	.name = "wait",
	.request = "wait",
	.summary = "return once online, or once there is a session",
	.more = "Exits with 4 if that has not come about in time.",
	.example = "wait --timeout 30s --peer db1",
	.options = {{"--timeout", 't', KIND_SECONDS, "timeout_s", "TIME", 0, 86400,
		     .help = "give up after so long; default 30s"},
		    {"--peer", 'p', KIND_TEXT, "peer", "PEER",
		     .help = "also wait for a confirmed session with it"}},
	.prepare = prepare_wait,
	.timeout_ms = wait_timeout,
	.show = show_state,
};

static unsigned rekey_timeout(const json_t *args)
{
	return 3 * TIMEOUT_MS;
}

static void show_rekey(const json_t *r)
{
	printf("%s: epoch %llu transmits\n", text_of(r, "peer"),
	       (unsigned long long)number_of(r, "epoch"));
}

const struct verb verb_rekey = {
	.name = "rekey",
	.request = "rekey",
	.summary = "make new keys with a peer now, without loss",
	.example = "rekey db1",
	.operands = {{"PEER", .kind = KIND_TEXT, .member = "peer", .required = true,
		      .help = "name, id or address of a peer with a session"}},
	.timeout_ms = rekey_timeout,
	.show = show_rekey,
};
