/* SPDX-License-Identifier: BSD-2-Clause */
/* status, doctor, leaks, metrics: how is this host? */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl.h"
#include "networks.h"
#include "show.h"

static enum colour state_colour(const char *state)
{
	if (!strcmp(state, "online"))
		return GOOD;
	return !strcmp(state, "revoked") || !strcmp(state, "suspended") ? BAD : WARN;
}

/* what the operator was woken for comes first */
static void show_problems(const json_t *reply)
{
	const json_t *problems = json_object_get(reply, "problems"), *p;
	size_t i;

	json_array_foreach(problems, i, p) line(
		"PROBLEM", BAD, "%s", json_is_string(p) ? json_string_value(p) : "(unreadable)");
	if (json_array_size(problems))
		putchar('\n');
}

static void show_server(const json_t *server)
{
	char since[HUMAN_B], heard[HUMAN_B];

	if (!json_is_object(server) || !has_text(server, "address"))
		return;
	if (flag_of(server, "connected")) {
		line("server", PLAIN, "%s, connected since %s, last heard %s ago",
		     text_of(server, "address"), time_of(server, "since_at", since),
		     seconds_of(server, "last_heard_s", heard));
	} else {
		line("server", BAD, "%s, NOT connected%s%s", text_of(server, "address"),
		     has_text(server, "error") ? ": " : "",
		     has_text(server, "error") ? text_of(server, "error") : "");
		if (json_is_number(json_object_get(server, "last_heard_s")))
			line("", PLAIN, "last heard %s ago",
			     seconds_of(server, "last_heard_s", heard));
	}
	if (has_text(server, "fingerprint"))
		line("", FAINT, "key %s", text_of(server, "fingerprint"));
	if (has_text(json_object_get(server, "next_key"), "fingerprint"))
		line("", WARN, "next key %s, from %s on", text_of(json_object_get(server, "next_key"), "fingerprint"),
		     time_of(json_object_get(server, "next_key"), "active_at", since));
	if (has_text(json_object_get(server, "old_key"), "fingerprint"))
		line("", FAINT, "old key %s, good until %s", text_of(json_object_get(server, "old_key"), "fingerprint"),
		     time_of(json_object_get(server, "old_key"), "until", since));
}

static void show_device(const json_t *device)
{
	char *addresses;

	if (!has_text(device, "name"))
		return;
	line("device", STRONG, "%s", text_of(device, "name"));
	line("", FAINT, "id %s, key %s", text_of(device, "id"), text_of(device, "fingerprint"));
	addresses = joined(json_object_get(device, "addresses"));
	line("addresses", PLAIN, "%s", addresses);
	free(addresses);
}

static void show_interfaces(const json_t *list)
{
	static const char *const headers[] = {"INTERFACE", "LINK",    "WIRE", "RUNG",
					      "HOOK",	   ">QUEUES", "?WHY", "?PROGRAMS BEFORE US",
					      NULL};
	struct table *t = table_new(headers);
	const json_t *i;
	size_t n;

	json_array_foreach(list, n, i)
	{
		const char *link = text_of(i, "link");
		char *before = joined(json_object_get(i, "before_us"));

		table_cell(t, PLAIN, "%s", text_of(i, "name"));
		table_cell(t, strcmp(link, "up") ? BAD : GOOD, "%s", link);
		table_cell(t, PLAIN, "%s", text_of(i, "wire"));
		table_cell(t, PLAIN, "%s", text_of(i, "rung"));
		table_cell(t, PLAIN, "%s", text_of(i, "hook"));
		table_cell(t, PLAIN, "%llu", (unsigned long long)number_of(i, "queues"));
		table_cell(t, FAINT, "%s", text_of(i, "reason"));
		table_cell(t, WARN, "%s", before);
		free(before);
	}
	table_print(
		t,
		"no interface is attached: nothing is protected here yet (mvpnctl attach IFACE)");
}

static bool sounds_bad(const char *name)
{
	static const char *const words[] = {"drop",   "fail",	"bad",	  "leak",
					    "lost",   "error",	"full",	  "clear",
					    "replay", "refuse", "denied", "overflow"};

	for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strstr(name, words[i]))
			return true;
	return false;
}

/* Those that are not 0; what is dropped or failed stands out. Groups may nest. */
static void add_counters(struct table *t, const char *group, const json_t *counters)
{
	const char *name;
	const json_t *v;

	json_object_foreach((json_t *)counters, name, v)
	{
		if (json_is_object(v)) {
			add_counters(t, name, v);
			continue;
		}
		if (!json_is_number(v) || !json_number_value(v))
			continue;
		table_cell(t, FAINT, "%s", group);
		table_cell(t, sounds_bad(name) ? WARN : PLAIN, "%s", name);
		table_cell(t, PLAIN, "%.0f", json_number_value(v));
	}
}

static void show_counters(const json_t *counters)
{
	static const char *const headers[] = {"?", "COUNTER", ">COUNT", NULL};
	struct table *t = table_new(headers);

	add_counters(t, "", counters);
	table_print(t, "all counters are 0");
}

static void show_data_path(const json_t *r)
{
	const json_t *tap = json_object_get(r, "tap");
	char *suites = joined(json_object_get(r, "suites"));

	line("data path", PLAIN, "%s, UDP port %llu, %llu worker%s, %s", text_of(tap, "name"),
	     (unsigned long long)number_of(r, "udp_port"),
	     (unsigned long long)number_of(r, "workers"), number_of(r, "workers") == 1 ? "" : "s",
	     suites);
	free(suites);
	if (flag_of(r, "behind_nat"))
		line("NAT", PLAIN, "before this device, which is seen as %s", text_of(r, "seen"));
	if (!strcmp(text_of(r, "udp"), "blocked"))
		line("UDP", WARN, "to the server is blocked%s",
		     flag_of(r, "relay_tcp") ? ": what is relayed goes by TCP" : "");
	if (number_of(r, "relays"))
		line("relays", PLAIN, "for %llu pairs of other devices (mvpnctl relays)",
		     (unsigned long long)number_of(r, "relays"));
	line("peers", PLAIN, "%llu; sessions %llu; protected prefixes %llu",
	     (unsigned long long)number_of(r, "peers"),
	     (unsigned long long)number_of(r, "sessions"),
	     (unsigned long long)number_of(r, "protected"));
	if (flag_of(r, "central_keys"))
		line("keys", number_of(r, "central_sessions") ? BAD : WARN,
		     "the server knows those of %llu sessions (central_keys = yes)",
		     (unsigned long long)number_of(r, "central_sessions"));
	line("leaks", number_of(r, "leak") ? BAD : GOOD, "%llu",
	     (unsigned long long)number_of(r, "leak"));
}

static void show_status(const json_t *r)
{
	const char *state = text_of(r, "state");

	show_problems(r);
	if (flag_of(r, "healthy"))
		line("state", state_colour(state), "%s, healthy", state);
	else
		line("state", BAD, "%s, NOT healthy", state);
	show_device(json_object_get(r, "device"));
	show_server(json_object_get(r, "server"));
	if (has_text(r, "net_id"))
		line("network", PLAIN, "%s, policy revision %llu", text_of(r, "net_id"),
		     (unsigned long long)number_of(r, "policy_rev"));
	show_data_path(r);
	networks_line(r);
	line("version", FAINT, "%s, boot generation %llu", text_of(r, "version"),
	     (unsigned long long)number_of(r, "boot_gen"));
	putchar('\n');
	show_interfaces(json_object_get(r, "interfaces"));
	putchar('\n');
	show_counters(json_object_get(r, "counters"));
}

const struct verb verb_status = {
	.name = "status",
	.request = "status",
	.summary = "how this host is: problems first",
	.example = "status",
	.complete = networks_complete,
	.show = show_status,
};

/* ---- server status ---- */

static void show_server_status(const json_t *r)
{
	const json_t *d = json_object_get(r, "devices"), *key = json_object_get(r, "server_key");
	const json_t *l = json_object_get(r, "listen");
	char up[HUMAN_B], *listen = json_is_array(l) ? joined(l) : NULL;

	show_problems(r);
	line("network", STRONG, "%s", text_of(r, "name"));
	line("", FAINT, "id %s", text_of(r, "net_id"));
	line("key", PLAIN, "%s", text_of(r, "fingerprint"));
	if (strcmp(text_of(key, "step"), "alone") && json_is_object(key))
		line("", WARN, "is being changed: %s, %llu of %llu devices know the new one (mvpnctl server key show)", text_of(key, "step"),
		     (unsigned long long)number_of(key, "heard"), (unsigned long long)number_of(key, "devices"));
	line("listen", PLAIN, "%s", listen ? listen : text_of(r, "listen"));
	free(listen);
	line("store", PLAIN, "%s", text_of(r, "store"));
	line("up for", PLAIN, "%s, version %s", seconds_of(r, "uptime_s", up),
	     text_of(r, "version"));
	line("policy", PLAIN, "revision %llu", (unsigned long long)number_of(r, "policy_rev"));
	line("devices", PLAIN, "%llu active, %llu suspended, %llu revoked",
	     (unsigned long long)number_of(d, "active"),
	     (unsigned long long)number_of(d, "suspended"),
	     (unsigned long long)number_of(d, "revoked"));
	if (number_of(d, "pending"))
		line("", WARN, "%llu await approval (mvpnctl server device list)",
		     (unsigned long long)number_of(d, "pending"));
	line("channels", PLAIN, "%llu, %llu half-open",
	     (unsigned long long)number_of(r, "channels"),
	     (unsigned long long)number_of(r, "half_open"));
	line("sessions", PLAIN, "%llu, %llu introductions under way",
	     (unsigned long long)number_of(r, "sessions"),
	     (unsigned long long)number_of(r, "introductions"));
	if (number_of(r, "central_sessions"))
		line("", BAD, "this server knows the keys of %llu of them (mode central60, central63)",
		     (unsigned long long)number_of(r, "central_sessions"));
	putchar('\n');
	show_counters(json_object_get(r, "counters"));
}

const struct verb verb_server_status = {
	.name = "server status",
	.request = "status",
	.summary = "how the server is",
	.example = "server status",
	.show = show_server_status,
};

/* ---- doctor ---- */

static void show_doctor(const json_t *r)
{
	static const char *const headers[] = {"RESULT", "CHECK", "DETAIL", "?HINT", NULL};
	static const char *const order[] = {"fail", "warn", "ok"};
	const json_t *checks = json_object_get(r, "checks"), *c;
	struct table *t = table_new(headers);
	size_t i;

	for (unsigned o = 0; o < 3; o++) {
		json_array_foreach(checks, i, c)
		{
			const char *result = text_of(c, "result");

			if (strcmp(result, order[o]))
				continue;
			table_cell(t, o == 0 ? BAD : o == 1 ? WARN : GOOD, "%s", result);
			table_cell(t, PLAIN, "%s", text_of(c, "name"));
			table_cell(t, PLAIN, "%s", text_of(c, "detail"));
			table_cell(t, PLAIN, "%s",
				   o < 2 && has_text(c, "hint") ? text_of(c, "hint") : "");
		}
	}
	table_print(t, "nothing was checked");
}

static unsigned doctor_timeout(const json_t *args)
{
	return 3 * TIMEOUT_MS;
}

const struct verb verb_doctor = {
	.name = "doctor",
	.request = "doctor",
	.summary = "check kernel, set-up, network; say what to do",
	.more = "Exits with 4 if a check fails.",
	.example = "doctor",
	.timeout_ms = doctor_timeout,
	.show = show_doctor,
};

/* ---- leaks ---- */

static void show_leaks(const json_t *r)
{
	static const char *const headers[] = {"INTERFACE", ">LEAKED", NULL};
	uint64_t leak = number_of(r, "leak"), clear = number_of(r, "ingress_clear");
	struct table *t = table_new(headers);
	const json_t *i;
	size_t n;

	line("leaks", leak ? BAD : GOOD, "%llu protected packets were about to leave in clear%s",
	     (unsigned long long)leak, leak ? ": dropped at the last hook" : "");
	line("spoofed", clear ? WARN : PLAIN,
	     "%llu packets came in clear from a protected address: dropped",
	     (unsigned long long)clear);
	json_array_foreach(json_object_get(r, "interfaces"), n, i)
	{
		table_cell(t, PLAIN, "%s", text_of(i, "name"));
		table_cell(t, number_of(i, "leak") ? BAD : PLAIN, "%llu",
			   (unsigned long long)number_of(i, "leak"));
	}
	putchar('\n');
	table_print(t, "no interface is attached");
}

const struct verb verb_leaks = {
	.name = "leaks",
	.request = "leaks",
	.summary = "packets that nearly left in clear: must be 0",
	.more = "Exits with 6 if the counter is not 0.",
	.example = "leaks",
	.show = show_leaks,
};

static void show_metrics(const json_t *r)
{
	const char *text = json_string_value(json_object_get(r, "text"));

	fputs(text ? text : "", stdout);
}

const struct verb verb_metrics = {
	.name = "metrics",
	.request = "metrics",
	.summary = "all counters in Prometheus' text format",
	.example = "metrics > /var/lib/node-exporter/mvpn.prom",
	.show = show_metrics,
};
