/* SPDX-License-Identifier: BSD-2-Clause */
/* flows: what this host's processes send to the other devices. */
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "ctl.h"
#include "proc.h"
#include "show.h"

static void endpoint_text(char *ret, size_t size, const json_t *f, const char *addr,
			  const char *port)
{
	const char *a = text_of(f, addr);
	unsigned long long p = number_of(f, port);

	if (!p)
		snprintf(ret, size, "%s", a);
	else
		snprintf(ret, size, strchr(a, ':') ? "[%s]:%llu" : "%s:%llu", a, p);
}

static const char *proto_text(const json_t *f, char buf[static HUMAN_B])
{
	const json_t *proto = json_object_get(f, "proto");

	if (has_text(f, "ethertype"))
		return text_of(f, "ethertype");
	if (!json_is_integer(proto))
		return text_of(f, "proto");
	switch (json_integer_value(proto)) {
	case IPPROTO_ICMP:
		return "icmp";
	case IPPROTO_TCP:
		return "tcp";
	case IPPROTO_UDP:
		return "udp";
	case IPPROTO_ICMPV6:
		return "icmpv6";
	}
	snprintf(buf, HUMAN_B, "%lld", (long long)json_integer_value(proto));
	return buf;
}

/* "name[pid]", either may be unknown; uid, unit, program */
static void process_cells(struct table *t, const json_t *p)
{
	const char *comm = has_text(p, "comm") ? text_of(p, "comm") : "";

	if (json_is_integer(json_object_get(p, "pid")))
		table_cell(t, PLAIN, "%s[%llu]", comm, (unsigned long long)number_of(p, "pid"));
	else
		table_cell(t, PLAIN, "%s", comm);
	if (json_is_integer(json_object_get(p, "uid")))
		table_cell(t, PLAIN, "%llu", (unsigned long long)number_of(p, "uid"));
	else
		table_cell(t, PLAIN, "%s", "");
	table_cell(t, PLAIN, "%s", has_text(p, "unit") ? text_of(p, "unit") : "");
	table_cell(t, PLAIN, "%s", has_text(p, "exe") ? text_of(p, "exe") : "");
}

/* what hosts behind this gateway see in place of the device; the policy's line */
static void policy_cells(struct table *t, const json_t *f)
{
	const json_t *line = json_object_get(json_object_get(f, "rule"), "line");

	table_cell(t, PLAIN, "%s", has_text(f, "translated") ? text_of(f, "translated") : "");
	if (json_is_integer(line))
		table_cell(t, PLAIN, "line %llu", (unsigned long long)json_integer_value(line));
	else
		table_cell(t, PLAIN, "%s", "");
}

/* of TCP the payload, by its socket; of others packets. Nobody counts frames. */
static void received_cell(struct table *t, const json_t *f)
{
	const json_t *tcp = json_object_get(f, "tcp"), *from = json_is_object(tcp) ? tcp : f;
	char b[HUMAN_B];
	bool known = json_is_integer(json_object_get(from, "bytes_in"));

	table_cell(t, PLAIN, "%s", known ? bytes_of(from, "bytes_in", b) : "");
}

static void show_flows(const json_t *r)
{
	static const char *const headers[] = {
		"SOURCE",    "DESTINATION", "PROTO",	"PEER",	  "?PROCESS",	"?UID",
		"?UNIT",     "?PROGRAM",    ">PACKETS", ">BYTES", "?>RECEIVED", ">BEGAN AGO",
		">LAST AGO", "LEVEL",	    "?SEEN AS",	"?RULE",  "VERDICT",	NULL};
	struct table *t = table_new(headers);
	const json_t *f;
	size_t i;

	json_array_foreach(json_object_get(r, "flows"), i, f)
	{
		const char *verdict = text_of(f, "verdict");
		char b[HUMAN_B], end[96];

		endpoint_text(end, sizeof(end), f, "src", "sport");
		table_cell(t, PLAIN, "%s", end);
		endpoint_text(end, sizeof(end), f, "dst", "dport");
		table_cell(t, PLAIN, "%s", end);
		table_cell(t, PLAIN, "%s", proto_text(f, b));
		table_cell(t, PLAIN, "%s", text_of(f, "peer"));
		process_cells(t, json_object_get(f, "process"));
		table_cell(t, PLAIN, "%llu", (unsigned long long)number_of(f, "packets"));
		table_cell(t, PLAIN, "%s", bytes_of(f, "bytes", b));
		received_cell(t, f);
		table_cell(t, PLAIN, "%s", seconds_of(f, "first_s", b));
		table_cell(t, PLAIN, "%s", seconds_of(f, "last_s", b));
		table_cell(t, PLAIN, "%s", text_of(f, "level"));
		policy_cells(t, f);
		table_cell(t, strstr(verdict, "drop") || strstr(verdict, "leak") ? BAD : PLAIN,
			   "%s", verdict);
	}
	table_print(t, "no flows to protected prefixes were seen yet");
}

const struct verb verb_flows = {
	.name = "flows",
	.request = "flows",
	.summary = "flows to protected prefixes, whose they are and their fate",
	.example = "flows",
	.complete = proc_complete,
	.show = show_flows,
};
