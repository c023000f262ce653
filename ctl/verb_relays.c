/* SPDX-License-Identifier: BSD-2-Clause */
/* relays: the pairs whose sealed packets this device passes on. */
#include "ctl.h"
#include "show.h"

static void end_cells(struct table *t, const json_t *end)
{
	table_cell(t, STRONG, "%s", text_of(end, "name"));
	if (has_text(end, "endpoint"))
		table_cell(t, PLAIN, "%s", text_of(end, "endpoint"));
	else
		table_cell(t, WARN, "%s", "not known yet");
}

static void show_relays(const json_t *r)
{
	static const char *const headers[] = {"A",	 "A IS AT",  "B",      "B IS AT",
					      "SESSION", ">PACKETS", ">BYTES", ">LIMITED",
					      ">KBIT/S", ">ENDS IN", NULL};
	struct table *t = table_new(headers);
	const json_t *p;
	size_t i;

	json_array_foreach(json_object_get(r, "relays"), i, p)
	{
		char b[HUMAN_B];

		end_cells(t, json_object_get(p, "a"));
		end_cells(t, json_object_get(p, "b"));
		table_cell(t, FAINT, "%s", id_of(p, "session", b));
		table_cell(t, PLAIN, "%llu", (unsigned long long)number_of(p, "packets"));
		table_cell(t, PLAIN, "%s", bytes_of(p, "bytes", b));
		table_cell(t, number_of(p, "limited") ? WARN : PLAIN, "%llu",
			   (unsigned long long)number_of(p, "limited"));
		table_cell(t, PLAIN, "%llu", (unsigned long long)number_of(p, "rate_kbit"));
		table_cell(t, PLAIN, "%s", seconds_of(p, "ends_in_s", b));
	}
	table_print(t, "this device relays for nobody: the policy's `relay` lines say who does, "
		       "and pairs that find a direct way need none");
}

const struct verb verb_relays = {
	.name = "relays",
	.request = "relays",
	.summary = "pairs whose sealed packets this device passes on",
	.example = "relays",
	.show = show_relays,
};
