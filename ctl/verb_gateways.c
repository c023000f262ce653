/* SPDX-License-Identifier: BSD-2-Clause */
/* gateways: prefixes behind gateways, which one each goes through, and whether the hosts there are reached. */
#include <string.h>

#include "ctl.h"
#include "show.h"

static void row(struct table *t, const json_t *prefix, const char *name, const char *state,
		const json_t *about, const char *why)
{
	char b[HUMAN_B];

	table_cell(t, STRONG, "%s", text_of(prefix, "prefix"));
	table_cell(t, PLAIN, "%s", name);
	table_cell(t, strcmp(state, "well") && strcmp(state, "reached") ? BAD : GOOD, "%s", state);
	table_cell(t, PLAIN, "%s",
		   json_is_null(json_object_get(about, "since_s"))
			   ? ""
			   : seconds_of(about, "since_s", b));
	table_cell(t, PLAIN, "%s", flag_of(about, "in_use") ? "yes" : "");
	table_cell(t, PLAIN, "%s", flag_of(prefix, "translated") ? "translated" : "kept");
	table_cell(t, BAD, "%s", why);
}

static void show_gateways(const json_t *r)
{
	static const char *const headers[] = {"PREFIX", "GATEWAY", "STATE", ">FOR",
					      "IN USE", "SOURCES", "?WHY",  NULL};
	struct table *t = table_new(headers);
	const json_t *p, *g;
	size_t i, n;

	json_array_foreach(json_object_get(r, "gateways"), i, p)
	{
		if (flag_of(p, "self"))
			row(t, p, "this device", has_text(p, "lost") ? "lost" : "reached", p,
			    has_text(p, "lost") ? text_of(p, "lost") : "");
		json_array_foreach(json_object_get(p, "gateways"), n, g)
			row(t, p, text_of(g, "name"), text_of(g, "state"), g,
			    has_text(g, "why") ? text_of(g, "why") : "");
	}
	table_print(t, "no prefix is behind a gateway: the policy's `protect PREFIX via DEVICE` "
		       "lines say which are");
}

const struct verb verb_gateways = {
	.name = "gateways",
	.request = "gateways",
	.summary = "prefixes behind gateways, and whether their hosts are reached",
	.example = "gateways",
	.show = show_gateways,
};
