/* SPDX-License-Identifier: BSD-2-Clause */
/* explain: what would happen to a packet for DST, and why? */
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "addr.h"
#include "ctl.h"
#include "proc.h"
#include "service.h"
#include "show.h"

/* DST[:PORT][/PROTO] apart, in place; returns the host. IPv6 needs brackets if a port follows. */
static char *split(char *s, char **ret_port, char **ret_proto)
{
	char *slash = strrchr(s, '/'), *colon, *end;

	*ret_port = *ret_proto = NULL;
	if (slash) {
		*slash = 0;
		*ret_proto = slash + 1;
	}
	if (*s == '[') {
		end = strchr(++s, ']');
		if (!end)
			return s;
		*end = 0;
		if (end[1] == ':')
			*ret_port = end + 2;
		return s;
	}
	colon = strchr(s, ':');
	if (colon && !strchr(colon + 1, ':')) {
		*colon = 0;
		*ret_port = colon + 1;
	}
	return s;
}

static bool port_parse(const char *s, unsigned *ret)
{
	char *end;
	unsigned long v;

	if (*s < '0' || *s > '9')
		return false;
	v = strtoul(s, &end, 10);
	*ret = (unsigned)v;
	return !*end && v >= 1 && v <= 65535;
}

/* A name is looked up as an application would; one that DNS does not know is keyd's to refuse. */
static json_t *address_of(const char *host)
{
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
	struct mvpn_endpoint e;
	struct addrinfo *list;
	char text[MVPN_ADDRSTRLEN];
	json_t *j;

	if (!mvpn_addr_parse(&e.addr, host) || getaddrinfo(host, NULL, &hints, &list))
		return json_string(host);
	j = mvpn_endpoint_from_sockaddr(&e, list->ai_addr)
		    ? json_string(host)
		    : json_string(mvpn_addr_str(&e.addr, text));
	freeaddrinfo(list);
	return j;
}

/* MAC/0xTYPE, cut in place; false: it is no MAC address. *ret_r: 0 or the error that was told */
static bool frame_parse(char *s, unsigned *ret_type, int *ret_r)
{
	char *slash = strchr(s, '/'), *end = NULL;
	unsigned long type;
	uint8_t mac[6];

	if (slash)
		*slash = 0;
	if (mvpn_mac_parse(mac, s)) {
		if (slash)
			*slash = '/';
		return false;
	}
	type = slash ? strtoul(slash + 1, &end, 16) : 0;
	if (!slash || strncmp(slash + 1, "0x", 2) || end == slash + 3 || *end || type > UINT16_MAX)
		*ret_r = usage_error(&verb_explain,
				     "a MAC address is followed by an EtherType, like /0x88b5");
	*ret_type = (unsigned)type;
	return true;
}

/* a process's traits in place of its number; those that are said besides count */
static int process_asked(json_t *args)
{
	json_t *pid = json_object_get(args, "pid"), *found;

	if (!pid)
		return 0;
	found = json_object();
	if (proc_asked(found, (unsigned)json_integer_value(pid))) {
		json_decref(found);
		return fail(MVPN_EXIT_FAILED, "no-process", "`ps` lists them",
			    "there is no process %lld", (long long)json_integer_value(pid));
	}
	json_object_update_missing(args, found);
	json_object_del(args, "pid");
	json_decref(found);
	return 0;
}

/* :PORT and /PROTO, either may be NULL */
static int service_asked(json_t *args, const char *port, const char *proto)
{
	int number = proto ? mvpn_proto_parse(proto, strlen(proto)) : 0;
	unsigned n = 0;

	if (port && !port_parse(port, &n))
		return usage_error(&verb_explain, "'%s' is no port: a number from 1 to 65535", port);
	if (number < 0)
		return usage_error(&verb_explain,
				   "'%s' is no protocol: one of tcp, udp, sctp, icmp, or a number", proto);
	if (port && proto && !mvpn_proto_has_ports((unsigned)number))
		return usage_error(&verb_explain, "%s has no ports", proto);
	if (port)
		json_object_set_new(args, "port", json_integer(n));
	if (proto || port)
		json_object_set_new(args, "proto", json_string(proto ? proto : "tcp"));
	return 0;
}

static int prepare_explain(json_t *args)
{
	char *copy = strdup(json_string_value(json_object_get(args, "dst"))), *host, *port, *proto;
	unsigned n = 0;
	int r = 0;

	if (!copy)
		return fail(MVPN_EXIT_FAILED, "out-of-memory", NULL, "out of memory");
	if (frame_parse(copy, &n, &r)) {
		if (!r) {
			json_object_set_new(args, "dst", json_string(copy));
			json_object_set_new(args, "ethertype", json_integer(n));
		}
		free(copy);
		return r;
	}
	host = split(copy, &port, &proto);
	r = *host ? service_asked(args, port, proto) : usage_error(&verb_explain, "DST has no address");
	if (!r)
		json_object_set_new(args, "dst", address_of(host));
	free(copy);
	return r ? r : process_asked(args);
}

static enum colour verdict_colour(const char *v)
{
	if (!strcmp(v, "sealed"))
		return GOOD;
	return strcmp(v, "dropped") ? WARN : BAD;
}

/* by which line: one about processes, or how to ask the server, which knows the others */
static void show_rule(const json_t *r)
{
	const json_t *rule = json_object_get(r, "rule"), *policy = json_object_get(r, "policy");

	if (json_is_object(rule))
		line("rule", PLAIN, "policy line %llu: %s", (unsigned long long)number_of(rule, "line"),
		     text_of(rule, "text"));
	if (has_text(policy, "ask"))
		line(json_is_object(rule) ? "" : "rule", PLAIN, "of policy revision %llu; on the server: %s",
		     (unsigned long long)number_of(policy, "rev"), text_of(policy, "ask"));
}

static void show_process(const json_t *who)
{
	static const char *const members[] = {"unit", "uid", "exe", "cgroup"};
	char text[1024] = "";

	for (unsigned i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
		size_t len = strlen(text);

		if (has_text(who, members[i]))
			snprintf(text + len, sizeof(text) - len, "%s%s %s", len ? ", " : "", members[i],
				 text_of(who, members[i]));
	}
	if (json_is_object(who))
		line("process", PLAIN, "%s%s", text,
		     flag_of(who, "elsewhere") ? " (in another network namespace)" : "");
}

static void show_hooks(const json_t *hooks)
{
	static const char *const headers[] = {"HOOK", "?WHERE", "WHAT HAPPENS", NULL};
	const json_t *h;
	struct table *t;
	size_t i;

	if (!json_array_size(hooks))
		return;
	putchar('\n');
	t = table_new(headers);
	json_array_foreach(hooks, i, h)
	{
		table_cell(t, PLAIN, "%s", text_of(h, "hook"));
		table_cell(t, PLAIN, "%s", has_text(h, "where") ? text_of(h, "where") : "");
		table_cell(t, PLAIN, "%s", text_of(h, "does"));
	}
	table_print(t, "");
}

static void show_explain(const json_t *r)
{
	const char *verdict = text_of(r, "verdict");
	const json_t *why;
	size_t i;

	line("verdict", verdict_colour(verdict), "%s", verdict);
	json_array_foreach(json_object_get(r, "why"), i, why) line(
		i ? "" : "why", PLAIN, "%s", json_is_string(why) ? json_string_value(why) : "-");
	if (has_text(r, "todo"))
		line("what to do", WARN, "%s", text_of(r, "todo"));
	show_process(json_object_get(r, "process"));
	show_rule(r);
	if (has_text(r, "prefix"))
		line("prefix", PLAIN, "%s", text_of(r, "prefix"));
	if (has_text(r, "peer"))
		line("peer", PLAIN, "%s", text_of(r, "peer"));
	if (has_text(r, "level"))
		line("level", PLAIN, "%s", text_of(r, "level"));
	if (has_text(r, "session"))
		line("session", PLAIN, "%s", text_of(r, "session"));
	show_hooks(json_object_get(r, "hooks"));
}

const struct verb verb_explain = {
	.name = "explain",
	.request = "explain",
	.summary = "what would happen to a packet, and why",
	.more = "The verdict is `sealed` (leaves encrypted), `held` (waits for a session), "
		"`dropped` or\n"
		"`clear` (not protected, leaves as it always did). Then what happens at each hook on the\n"
		"way. `mvpnctl --network NAME explain` asks the keyd of another network.",
	.example = "explain 10.0.0.2:443/tcp",
	.operands = {{"DST[:PORT[/PROTO]]|MAC/TYPE", .kind = KIND_TEXT, .member = "dst",
		      .required = true,
		      .help = "address, host or peer; [v6]:port; tcp, udp, sctp, icmp or a number; "
			      "for a frame 02:00:00:00:00:0b/0x88b5"}},
	.options = {{"--pid", 'p', KIND_UINT, "pid", "N", .min = 1, .max = 4194304,
		     .help = "of this process"},
		    {"--from", 'f', KIND_TEXT, "src", "ADDRESS",
		     .help = "leaving with this source; default: as the route says"},
		    PROCESS_OPTIONS},
	.prepare = prepare_explain,
	.show = show_explain,
};
