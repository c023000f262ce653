/* SPDX-License-Identifier: BSD-2-Clause */
/* explain: what would happen to a packet for DST, and why? */
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "addr.h"
#include "ctl.h"
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
	if (!*host)
		r = usage_error(&verb_explain, "DST has no address");
	else if (port && !port_parse(port, &n))
		r = usage_error(&verb_explain, "'%s' is no port: a number from 1 to 65535", port);
	else if (proto && strcmp(proto, "tcp") && strcmp(proto, "udp") && strcmp(proto, "sctp") &&
		 strcmp(proto, "icmp"))
		r = usage_error(&verb_explain, "'%s' is no protocol: one of tcp, udp, sctp, icmp", proto);
	if (!r) {
		json_object_set_new(args, "dst", address_of(host));
		if (port)
			json_object_set_new(args, "port", json_integer(n));
		if (proto || port)
			json_object_set_new(args, "proto", json_string(proto ? proto : "tcp"));
	}
	free(copy);
	return r;
}

static enum colour verdict_colour(const char *v)
{
	if (!strcmp(v, "sealed"))
		return GOOD;
	return strcmp(v, "dropped") ? WARN : BAD;
}

static void show_explain(const json_t *r)
{
	const char *verdict = text_of(r, "verdict");
	const json_t *why;
	size_t i;

	line("verdict", verdict_colour(verdict), "%s", verdict);
	json_array_foreach(json_object_get(r, "why"), i, why) line(
		i ? "" : "why", PLAIN, "%s", json_is_string(why) ? json_string_value(why) : "-");
	if (json_is_object(json_object_get(r, "rule")))
		line("rule", PLAIN, "policy line %llu: %s",
		     (unsigned long long)number_of(json_object_get(r, "rule"), "line"),
		     text_of(json_object_get(r, "rule"), "text"));
	if (has_text(r, "prefix"))
		line("prefix", PLAIN, "%s", text_of(r, "prefix"));
	if (has_text(r, "peer"))
		line("peer", PLAIN, "%s", text_of(r, "peer"));
	if (has_text(r, "level"))
		line("level", PLAIN, "%s", text_of(r, "level"));
	if (has_text(r, "session"))
		line("session", PLAIN, "%s", text_of(r, "session"));
}

const struct verb verb_explain = {
	.name = "explain",
	.request = "explain",
	.summary = "what would happen to a packet, and why",
	.more = "The verdict is `sealed` (leaves encrypted), `held` (waits for a session), "
		"`dropped` or\n"
		"`clear` (not protected, leaves as it always did).",
	.example = "explain 10.0.0.2:443/tcp",
	.operands = {{"DST[:PORT[/PROTO]]|MAC/TYPE", .kind = KIND_TEXT, .member = "dst",
		      .required = true,
		      .help = "address or name; [v6]:port; tcp, udp, sctp or icmp; for a frame "
			      "02:00:00:00:00:0b/0x88b5"}},
	.options = {PROCESS_OPTIONS},
	.prepare = prepare_explain,
	.show = show_explain,
};
