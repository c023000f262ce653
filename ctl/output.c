/* SPDX-License-Identifier: BSD-2-Clause */
#include "ctl.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "show.h"

enum output ctl_output = OUTPUT_TABLE;
bool ctl_colour;

void output_init(void)
{
	/* no-color.org: set and not empty */
	const char *no = getenv("NO_COLOR"), *term = getenv("TERM");

	ctl_colour = isatty(STDOUT_FILENO) && !(no && *no) && !(term && !strcmp(term, "dumb"));
}

static void put_harmless(const char *s)
{
	char *copy = strdup(s);

	if (!copy)
		return;
	make_harmless(copy);
	fputs(copy, stderr);
	free(copy);
}

/*
 * With JSON on stdout a script has it all; the text is for a person then, who may see only what the
 * next program of the pipe makes of it.
 */
static void print_error(const char *message, const char *hint)
{
	if (ctl_output != OUTPUT_TABLE && !isatty(STDERR_FILENO))
		return;
	if (message) {
		fputs("mvpnctl: ", stderr);
		put_harmless(message);
		fputc('\n', stderr);
	}
	if (hint && *hint) {
		fputs("  ", stderr);
		put_harmless(hint);
		fputc('\n', stderr);
	}
}

static void print_json(const json_t *j)
{
	size_t flags = ctl_output == OUTPUT_JSON ? JSON_INDENT(2) : JSON_COMPACT;

	json_dumpf(j, stdout, flags);
	putchar('\n');
}

static int fail_with(int exit_code, const char *code, const char *message, const char *hint)
{
	json_t *j;

	print_error(message, hint);
	if (ctl_output == OUTPUT_TABLE)
		return exit_code;
	j = json_pack("{s:i, s:b, s:i, s:{s:s, s:s, s:s*}}", "schema", MVPN_CTL_SCHEMA, "ok", 0,
		      "exit", exit_code, "error", "code", code, "message", message, "hint", hint);
	if (j)
		print_json(j);
	json_decref(j);
	return exit_code;
}

int fail(int exit_code, const char *code, const char *hint, const char *fmt, ...)
{
	char message[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(message, sizeof(message), fmt, ap);
	va_end(ap);
	return fail_with(exit_code, code, message, hint);
}

int usage_error(const struct verb *v, const char *fmt, ...)
{
	char message[1024], hint[256];
	va_list ap;
	int n = 0;

	if (v)
		n = snprintf(message, sizeof(message), "%s: ", v->name);
	va_start(ap, fmt);
	vsnprintf(message + n, sizeof(message) - (size_t)n, fmt, ap);
	va_end(ap);
	if (v)
		snprintf(hint, sizeof(hint), "example: mvpnctl %s   (more: mvpnctl help %s)",
			 v->example, v->name);
	else
		snprintf(hint, sizeof(hint), "example: mvpnctl status   (all verbs: mvpnctl help)");
	return fail_with(MVPN_EXIT_USAGE, "usage", message, hint);
}

/* the exit code that a reply carries, or `otherwise` */
static int exit_of(const json_t *reply, int otherwise)
{
	const json_t *e = json_object_get(reply, "exit");
	json_int_t v = json_integer_value(e);

	return json_is_integer(e) && v >= 0 && v < 126 ? (int)v : otherwise;
}

/* "FILE:LINE:COLUMN: TEXT" each, as compilers do; false: the error names no place in a file */
static bool print_places(const json_t *e)
{
	const json_t *at;
	size_t i;

	if (!json_array_size(json_object_get(e, "at")) || !has_text(e, "file"))
		return false;
	json_array_foreach(json_object_get(e, "at"), i, at)
	{
		if (ctl_output != OUTPUT_TABLE && !isatty(STDERR_FILENO))
			break;
		put_harmless(text_of(e, "file"));
		if (number_of(at, "line"))
			fprintf(stderr, ":%llu", (unsigned long long)number_of(at, "line"));
		if (number_of(at, "column"))
			fprintf(stderr, ":%llu", (unsigned long long)number_of(at, "column"));
		fputs(": ", stderr);
		put_harmless(text_of(at, "text"));
		fputc('\n', stderr);
	}
	return true;
}

static int output_error(const json_t *reply)
{
	const json_t *e = json_object_get(reply, "error");
	const char *message = json_string_value(json_object_get(e, "message"));
	int code = exit_of(reply, MVPN_EXIT_FAILED);

	print_error(print_places(e) ? NULL : message ? message : "the daemon reports an error without saying which",
		    json_string_value(json_object_get(e, "hint")));
	if (ctl_output != OUTPUT_TABLE)
		print_json(reply);
	return code ? code : MVPN_EXIT_FAILED;
}

int output_reply(const struct verb *v, const json_t *reply)
{
	const json_t *schema = json_object_get(reply, "schema"), *ok = json_object_get(reply, "ok");

	if (!json_is_integer(schema) || !json_is_boolean(ok))
		return fail(MVPN_EXIT_FAILED, "odd-reply", "is that the right socket?",
			    "the reply is not one of mvpn's");
	if (json_integer_value(schema) != MVPN_CTL_SCHEMA)
		return fail(MVPN_EXIT_FAILED, "odd-reply",
			    "install mvpnctl and the daemon of the same version",
			    "the daemon speaks schema %lld, this mvpnctl schema %d",
			    (long long)json_integer_value(schema), MVPN_CTL_SCHEMA);
	if (!json_is_true(ok))
		return output_error(reply);
	if (ctl_output != OUTPUT_TABLE)
		print_json(reply);
	else
		v->show(reply);
	if (fflush(stdout) || ferror(stdout))
		return fail(MVPN_EXIT_FAILED, "output", NULL, "cannot write the output: %m");
	return exit_of(reply, MVPN_EXIT_OK);
}
