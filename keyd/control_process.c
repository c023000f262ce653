/* SPDX-License-Identifier: BSD-2-Clause */
/* `explain` for a process: may it send that there, and by which line of the policy? */
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "control.h"
#include "peers.h"
#include "processes.h"

const char *process_asked_of(json_t *args, struct process_asked *ret)
{
	const json_t *netns = json_object_get(args, "netns");
	const char *wrong = NULL;
	struct stat own;

	for (unsigned kind = 0; kind < MVPN_BY_KINDS; kind++) {
		const char *value =
			json_string_value(json_object_get(args, mvpn_by_name(kind)));

		ret->value[kind] = value;
		if (value && !wrong)
			wrong = mvpn_by_wrong(kind, value);
	}
	ret->elsewhere = json_is_integer(netns) && !stat("/proc/self/ns/net", &own) &&
			 (ino_t)json_integer_value(netns) != own.st_ino;
	return wrong;
}

json_t *processes_rule(struct keyd *k, uint32_t line)
{
	return line ? json_pack("{s:I, s:s?}", "line", (json_int_t)line, "text",
				process_table_text(k->processes->table, line))
		    : json_null();
}

static bool is_about(const struct mvpn_guard_line *l, uint8_t proto, uint16_t port)
{
	return !l->proto || !proto ||
	       (l->proto == proto && (!port || (port >= l->lo && port <= l->hi)));
}

static bool meets(const struct mvpn_guard_line *l, uint64_t traits)
{
	for (unsigned i = 0; i < MVPN_BY_KINDS; i++)
		if (l->traits[i] && !(l->traits[i] & traits))
			return false;
	return !(l->flags & MVPN_GUARD_NOBODY);
}

static void show(struct keyd *k, json_t *why, const char *what, uint32_t line)
{
	const char *text = process_table_text(k->processes->table, line);

	show_line(why, "%s policy line %u: %s", what, line,
		  text ? text : "the kept lines about processes are damaged: nothing passes");
}

enum answer { NONE_ABOUT, MAY, MAY_NOT, SOME_MAY };

static enum answer ask(const struct mvpn_guard *g, uint8_t proto, uint16_t port, bool asked,
		       uint64_t traits, uint32_t *ret_line)
{
	enum answer ret = NONE_ABOUT;

	if (proto == IPPROTO_ICMPV6)
		proto = IPPROTO_ICMP;
	for (unsigned i = 0; g && i < g->n; i++) {
		const struct mvpn_guard_line *l = &g->lines[i];

		if (!is_about(l, proto, port))
			continue;
		if (meets(l, traits)) {
			*ret_line = l->line;
			return MAY;
		}
		if (!ret)
			*ret_line = l->line;
		ret = asked || l->flags & MVPN_GUARD_NOBODY ? MAY_NOT : SOME_MAY;
	}
	return ret;
}

bool processes_may(const struct mvpn_guard *g, uint64_t traits, uint8_t proto, uint16_t port, uint32_t *ret_line)
{
	return ask(g, proto, port, true, traits, ret_line) != MAY_NOT;
}

bool processes_explain(struct keyd *k, const struct peer *p, uint8_t proto, uint16_t port,
		       const struct process_asked *who, json_t *why, json_t **ret_rule)
{
	static const char *const what[] = {[MAY] = "such a process may, by",
					   [MAY_NOT] = "such a process may not, by",
					   [SOME_MAY] = "only certain processes may, by"};
	const struct processes *x = k->processes;
	char unit[MVPN_GROUP_NAME_B];
	uint64_t traits = 0;
	uint32_t line = 0;
	bool asked = false;
	enum answer a;

	for (unsigned i = 0; i < MVPN_BY_KINDS; i++) {
		if (!who->value[i])
			continue;
		asked = true;
		traits |= traits_met(&x->traits, x->maps, PROCESS_PASSWD, i, who->value[i]);
		for (unsigned n = 0; i == MVPN_BY_CGROUP && mvpn_by_unit_in(who->value[i], n, unit); n++)
			traits |= traits_met(&x->traits, x->maps, PROCESS_PASSWD, MVPN_BY_UNIT, unit);
	}
	a = ask(p->guard, proto, port, asked, traits, &line);
	if (a)
		show(k, why, a == MAY && !asked ? "every process may, by" : what[a], line);
	*ret_rule = processes_rule(k, line);
	return a != MAY_NOT;
}
