/* SPDX-License-Identifier: BSD-2-Clause */
/* server sessions; server audit. */
#include <stdio.h>
#include <stdlib.h>

#include "ctl.h"
#include "show.h"

static unsigned slow(const json_t *args)
{
	return 12 * TIMEOUT_MS;
}

/* ---- server sessions ---- */

static void show_sessions(const json_t *r)
{
	static const char *const headers[] = {"SESSION", "A",	 "B",	  "STATE", ">POLICY",
					      "BEGAN",	 "ENDS", "LAYER", "?KEYS", NULL};
	struct table *t = table_new(headers);
	const json_t *s;
	size_t i;

	json_array_foreach(json_object_get(r, "sessions"), i, s)
	{
		const json_t *layer = json_object_get(s, "layer");
		char b[HUMAN_B];

		table_cell(t, FAINT, "%s", id_of(s, "id", b));
		table_cell(t, STRONG, "%s", text_of(s, "a"));
		table_cell(t, STRONG, "%s", text_of(s, "b"));
		table_cell(t, PLAIN, "%s", text_of(s, "state"));
		table_cell(t, PLAIN, "%llu", (unsigned long long)number_of(s, "policy_rev"));
		table_cell(t, PLAIN, "%s", time_of(s, "created_at", b));
		table_cell(t, PLAIN, "%s", time_of(s, "ends_at", b));
		if (json_is_integer(layer))
			table_cell(t, PLAIN, "%lld", (long long)json_integer_value(layer));
		else
			table_cell(t, PLAIN, "%s", text_of(s, "layer"));
		table_cell(t, BAD, "%s", server_knows(s, b));
	}
	table_print(t, "no sessions");
}

const struct verb verb_server_sessions = {
	.name = "server sessions",
	.request = "sessions",
	.summary = "sessions introduced that may still be alive",
	.example = "server sessions",
	.show = show_sessions,
};

/* ---- server audit ---- */

/* "name=value name=value" of an object */
static char *pairs(const json_t *o)
{
	char *text = NULL, *value;
	const char *name;
	const json_t *v;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	if (f) {
		json_object_foreach((json_t *)o, name, v)
		{
			value = json_is_string(v) ? NULL
						  : json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY);
			fprintf(f, "%s%s=%s", ftell(f) ? " " : "", name,
				value ? value : json_string_value(v));
			free(value);
		}
		fclose(f);
	}
	return text;
}

static bool verify_asked;

static bool follows(const json_t *args)
{
	return flag_of(args, "follow");
}

static int prepare_audit(json_t *args)
{
	verify_asked = flag_of(args, "verify");
	return 0;
}

static bool audit_goes_on(json_t *args, json_t *reply, json_t *part)
{
	json_t *events = json_object_get(reply, "events"), *last;
	json_int_t limit = json_integer_value(json_object_get(args, "limit"));
	bool more = json_is_true(json_object_get(part ? part : reply, "more"));

	limit -= (json_int_t)json_array_size(json_object_get(part ? part : reply, "events"));
	if (part)
		json_array_extend(events, json_object_get(part, "events"));
	json_object_del(reply, "more");
	last = json_array_get(events, json_array_size(events) - 1);
	if (!more || limit <= 0 || !last)
		return false;
	json_object_del(args, "verify");
	json_object_set(args, "after", json_object_get(last, "seq"));
	json_object_set_new(args, "limit", json_integer(limit));
	return true;
}

/* a stream has no columns */
static void show_event(const json_t *e)
{
	const json_t *detail = json_object_get(e, "detail");
	char *text = json_is_object(detail) ? pairs(detail) : NULL;
	char seq[24], b[HUMAN_B];

	snprintf(seq, sizeof(seq), "%llu", (unsigned long long)number_of(e, "seq"));
	line(seq, PLAIN, "%s  %s  %s  %s", time_of(e, "at", b), text_of(e, "actor"),
	     text_of(e, "event"), text ? text : "");
	free(text);
}

static void show_audit(const json_t *r)
{
	static const char *const headers[] = {">SEQ", "TIME", "ACTOR", "EVENT", "DETAIL", NULL};
	struct table *t;
	const json_t *verified = json_object_get(r, "verified"), *e;
	size_t i;

	if (json_object_get(r, "seq")) {
		show_event(r);
		return;
	}
	t = table_new(headers);
	json_array_foreach(json_object_get(r, "events"), i, e)
	{
		const json_t *detail = json_object_get(e, "detail");
		char *text = json_is_object(detail) ? pairs(detail) : NULL;
		char b[HUMAN_B];

		table_cell(t, FAINT, "%llu", (unsigned long long)number_of(e, "seq"));
		table_cell(t, PLAIN, "%s", time_of(e, "at", b));
		table_cell(t, PLAIN, "%s", text_of(e, "actor"));
		table_cell(t, STRONG, "%s", text_of(e, "event"));
		table_cell(t, PLAIN, "%s", text ? text : text_of(e, "detail"));
		free(text);
	}
	table_print(t, "no events");
	if (!verify_asked || !json_is_boolean(verified))
		return;
	if (json_is_true(verified))
		line("chain", GOOD, "intact: each event holds the hash of the one before");
	else
		line("chain", BAD, "BROKEN at event %llu: it or one before was changed or removed",
		     (unsigned long long)number_of(r, "broken_seq"));
}

const struct verb verb_server_audit = {
	.name = "server audit",
	.request = "audit",
	.summary = "what was done, when and by whom",
	.more = "With --follow each event comes on a line of its own, first the newest ten that are there\n"
		"(or --limit, or those after --after), then each as it happens. A program that was cut\n"
		"off goes on where it was with --after and the last seq that it has.",
	.example = "server audit --verify",
	.options = {{"--verify", 0, KIND_FLAG, "verify", .help = "check the chain of hashes"},
		    {"--follow", 'f', KIND_FLAG, "follow", .help = "and each event as it happens"},
		    {"--after", 'a', KIND_UINT, "after", "SEQ", 0, INT64_MAX - 1,
		     .help = "those after this one"},
		    {"--limit", 'n', KIND_UINT, "limit", "N", 0, 50000,
		     .help = "the newest N events only, or the next N after SEQ; default 100"}},
	.prepare = prepare_audit,
	.timeout_ms = slow,
	.follows = follows,
	.goes_on = audit_goes_on,
	.show = show_audit,
};
