/* SPDX-License-Identifier: BSD-2-Clause */
#include "show.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

const char *human_bytes(char buf[static HUMAN_B], uint64_t bytes)
{
	static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	double v = (double)bytes;
	int u = -1;

	if (bytes < 1024) {
		snprintf(buf, HUMAN_B, "%u B", (unsigned)bytes);
		return buf;
	}
	/* 1023.96 would be printed as 1024.0 */
	for (; v >= 1023.95 && u < 5; u++)
		v /= 1024;
	snprintf(buf, HUMAN_B, "%.1f %s", v, units[u < 0 ? 0 : u]);
	return buf;
}

const char *human_seconds(char buf[static HUMAN_B], uint64_t s)
{
	unsigned long long v = s;

	if (v < 60)
		snprintf(buf, HUMAN_B, "%llus", v);
	else if (v < 3600)
		snprintf(buf, HUMAN_B, "%llum %llus", v / 60, v % 60);
	else if (v < 86400)
		snprintf(buf, HUMAN_B, "%lluh %llum", v / 3600, v / 60 % 60);
	else
		snprintf(buf, HUMAN_B, "%llud %lluh", v / 86400, v / 3600 % 24);
	return buf;
}

const char *human_time(char buf[static HUMAN_B], int64_t at)
{
	time_t t = (time_t)at;
	struct tm tm;

	if (!at)
		snprintf(buf, HUMAN_B, "never");
	else if (!localtime_r(&t, &tm) || !strftime(buf, HUMAN_B, "%Y-%m-%d %H:%M:%S", &tm))
		snprintf(buf, HUMAN_B, "%lld", (long long)at);
	return buf;
}

bool has_text(const json_t *o, const char *member)
{
	const char *s = json_string_value(json_object_get(o, member));

	return s && *s;
}

const char *text_of(const json_t *o, const char *member)
{
	return has_text(o, member) ? json_string_value(json_object_get(o, member)) : "-";
}

double real_of(const json_t *o, const char *member)
{
	return json_number_value(json_object_get(o, member));
}

uint64_t number_of(const json_t *o, const char *member)
{
	json_int_t v = json_integer_value(json_object_get(o, member));
	double d;

	if (v)
		return v > 0 ? (uint64_t)v : 0;
	d = real_of(o, member);
	return d > 0 && d < 1e18 ? (uint64_t)d : 0;
}

bool flag_of(const json_t *o, const char *member)
{
	return json_is_true(json_object_get(o, member));
}

static FILE *text_open(char **text, size_t *len)
{
	FILE *f = open_memstream(text, len);

	if (!f) {
		fputs("mvpnctl: out of memory\n", stderr);
		exit(1);
	}
	return f;
}

static char *text_close(FILE *f, char **text)
{
	fclose(f);
	if (!*text) {
		fputs("mvpnctl: out of memory\n", stderr);
		exit(1);
	}
	return *text;
}

char *joined(const json_t *array)
{
	char *text = NULL;
	const json_t *v;
	size_t i, len;
	FILE *f = text_open(&text, &len);

	if (!json_array_size(array))
		fputs("-", f);
	json_array_foreach(array, i, v) fprintf(f, "%s%s", i ? ", " : "",
						json_is_string(v) ? json_string_value(v) : "?");
	return text_close(f, &text);
}

char *services_text(const json_t *services, const char *a, const char *a_name, const char *b,
		    const char *b_name)
{
	const json_t *at_a = json_object_get(services, a), *at_b = json_object_get(services, b);
	char *list_a = joined(at_a), *list_b = joined(at_b), *text = NULL;
	size_t len;
	FILE *f = text_open(&text, &len);

	if (json_is_object(services) && json_equal(at_a, at_b)) {
		fprintf(f, "%s at both", list_a);
	} else if (json_is_object(services)) {
		if (json_array_size(at_b))
			fprintf(f, "%s at %s", list_b, b_name);
		if (json_array_size(at_a))
			fprintf(f, "%s%s at %s", json_array_size(at_b) ? "; " : "", list_a, a_name);
	}
	free(list_a);
	free(list_b);
	return text_close(f, &text);
}

char *classes_text(const json_t *classes, const char *a, const char *a_name, const char *b,
		   const char *b_name)
{
	char *text = NULL;
	const json_t *c;
	size_t i, len;
	FILE *f = text_open(&text, &len);

	json_array_foreach(classes, i, c)
	{
		char *of = services_text(c, a, a_name, b, b_name);
		bool none = !json_array_size(json_object_get(c, a)) &&
			    !json_array_size(json_object_get(c, b));

		fprintf(f, "%s%s", i ? "; " : "", text_of(c, "class"));
		if (!none)
			fprintf(f, ": %s%s", of, flag_of(c, "rest") ? " and the rest" : "");
		free(of);
	}
	return text_close(f, &text);
}

const char *seconds_of(const json_t *o, const char *member, char buf[static HUMAN_B])
{
	return json_is_number(json_object_get(o, member)) ? human_seconds(buf, number_of(o, member))
							  : "-";
}

const char *bytes_of(const json_t *o, const char *member, char buf[static HUMAN_B])
{
	return human_bytes(buf, number_of(o, member));
}

const char *time_of(const json_t *o, const char *member, char buf[static HUMAN_B])
{
	return json_is_number(json_object_get(o, member))
		       ? human_time(buf, (int64_t)number_of(o, member))
		       : "-";
}

const char *id_of(const json_t *o, const char *member, char buf[static HUMAN_B])
{
	snprintf(buf, HUMAN_B, "%.8s", text_of(o, member));
	return buf;
}

const char *server_knows(const json_t *o, char buf[static HUMAN_B])
{
	const char *mode = text_of(o, "mode");

	snprintf(buf, HUMAN_B, strcmp(mode, "-") && strcmp(mode, "end-to-end")
				       ? "%s: the server knows them"
				       : "%.0s",
		 mode);
	return buf;
}

const char *ephemeral_of(const json_t *o, char buf[static HUMAN_B])
{
	return number_of(o, "ephemeral_s") ? human_seconds(buf, number_of(o, "ephemeral_s")) : "";
}
