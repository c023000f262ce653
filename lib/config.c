/* SPDX-License-Identifier: BSD-2-Clause */
#include "config.h"

#include <errno.h>
#include <glob.h>
#include <ini.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "fsutil.h"

#define FILE_MAX_B (1 << 20)
#define NAME_MAX_B 64 /* longer names are unknown anyway */

struct parser {
	const struct config_key *keys;
	size_t nkeys;
	char *settings;
	bool some; /* the rest is passed over */
	const char *path;
	const char *text; /* what is not read yet */
	int line;
	int error_line; /* the first error wins */
	char *error;
};

__attribute__((format(printf, 3, 4))) static void fail_at(struct parser *p, int line,
							  const char *fmt, ...)
{
	char *what = NULL;
	va_list ap;

	if (p->some || (p->error && p->error_line <= line))
		return;
	free(p->error);
	p->error = NULL;
	p->error_line = line;
	va_start(ap, fmt);
	if (vasprintf(&what, fmt, ap) < 0)
		what = NULL;
	va_end(ap);
	if (!what || asprintf(&p->error, "%s:%d: %s", p->path, line, what) < 0)
		p->error = NULL;
	free(what);
}

/* ---- suggestions ---- */

/* Levenshtein distance, case-insensitive; both at most NAME_MAX_B */
static unsigned distance(const char *a, const char *b)
{
	unsigned row[NAME_MAX_B + 1];
	size_t na = strlen(a), nb = strlen(b);

	if (na > NAME_MAX_B || nb > NAME_MAX_B)
		return NAME_MAX_B;
	for (size_t j = 0; j <= nb; j++)
		row[j] = (unsigned)j;
	for (size_t i = 1; i <= na; i++) {
		unsigned diagonal = row[0];

		row[0] = (unsigned)i;
		for (size_t j = 1; j <= nb; j++) {
			unsigned best = diagonal + !!strncasecmp(a + i - 1, b + j - 1, 1);

			diagonal = row[j];
			if (row[j] + 1 < best)
				best = row[j] + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			row[j] = best;
		}
	}
	return row[nb];
}

/* Known names for a message, and the one nearest to what was written. */
struct known {
	const char *wanted, *nearest;
	unsigned nearest_distance;
	char list[512];
	size_t len;
};

static void known_add(struct known *k, const char *name, const char *open, const char *close)
{
	unsigned d = distance(k->wanted, name);
	int n;

	if (d < k->nearest_distance && d <= 1 + strlen(name) / 4) {
		k->nearest_distance = d;
		k->nearest = name;
	}
	n = snprintf(k->list + k->len, sizeof(k->list) - k->len, "%s%s%s%s", k->len ? ", " : "",
		     open, name, close);
	if (n > 0 && (size_t)n < sizeof(k->list) - k->len)
		k->len += (size_t)n;
	else
		k->list[k->len] = 0;
}

static void unknown_section(struct parser *p, const char *section)
{
	struct known k = {.wanted = section, .nearest_distance = NAME_MAX_B};

	for (size_t i = 0; i < p->nkeys; i++) {
		size_t j = 0;

		while (j < i && strcmp(p->keys[j].section, p->keys[i].section))
			j++;
		if (j == i)
			known_add(&k, p->keys[i].section, "[", "]");
	}
	if (k.nearest)
		fail_at(p, p->line, "unknown section [%.64s]; did you mean [%s]? known: %s",
			section, k.nearest, k.list);
	else
		fail_at(p, p->line, "unknown section [%.64s]; known: %s", section, k.list);
}

static void unknown_key(struct parser *p, const char *section, const char *name)
{
	struct known k = {.wanted = name, .nearest_distance = NAME_MAX_B};

	for (size_t i = 0; i < p->nkeys; i++)
		if (!strcmp(p->keys[i].section, section))
			known_add(&k, p->keys[i].name, "", "");
	if (k.nearest)
		fail_at(p, p->line, "unknown key '%.64s' in [%s]; did you mean '%s'? known: %s",
			name, section, k.nearest, k.list);
	else
		fail_at(p, p->line, "unknown key '%.64s' in [%s]; known: %s", name, section,
			k.list);
}

/* ---- values ---- */

static void set_uint(struct parser *p, const struct config_key *k, const char *value)
{
	unsigned long long v = 0;
	bool ok = *value;

	for (const char *s = value; *s && ok; s++)
		ok = *s >= '0' && *s <= '9' && !__builtin_mul_overflow(v, 10, &v) &&
		     !__builtin_add_overflow(v, (unsigned)(*s - '0'), &v);
	if (!ok || v < k->min || v > k->max) {
		fail_at(p, p->line,
			"'%.64s' is no value for %s in [%s]; a number from %llu to %llu", value,
			k->name, k->section, (unsigned long long)k->min,
			(unsigned long long)k->max);
		return;
	}
	*(uint64_t *)(void *)(p->settings + k->offset) = v;
}

static void set_bool(struct parser *p, const struct config_key *k, const char *value)
{
	static const char *const words[] = {"no", "yes", "false", "true", "off", "on", "0", "1"};

	for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (!strcasecmp(value, words[i])) {
			*(bool *)(void *)(p->settings + k->offset) = i & 1;
			return;
		}
	}
	fail_at(p, p->line, "'%.64s' is no value for %s in [%s]; yes or no", value, k->name,
		k->section);
}

static void set_enum(struct parser *p, const struct config_key *k, const char *value)
{
	struct known names = {.wanted = value, .nearest_distance = NAME_MAX_B};

	for (int i = 0; k->choices[i]; i++) {
		if (!strcmp(value, k->choices[i])) {
			*(int *)(void *)(p->settings + k->offset) = i;
			return;
		}
		known_add(&names, k->choices[i], "", "");
	}
	fail_at(p, p->line, "'%.64s' is no value for %s in [%s]; one of: %s", value, k->name,
		k->section, names.list);
}

static void set_string(struct parser *p, const struct config_key *k, const char *value)
{
	char **field = (char **)(void *)(p->settings + k->offset);
	char *copy = strdup(value);

	if (!copy) {
		fail_at(p, p->line, "out of memory");
		return;
	}
	free(*field);
	*field = copy;
}

/* called by inih for each "name = value" */
static int on_pair(void *arg, const char *section, const char *name, const char *value)
{
	struct parser *p = arg;
	const struct config_key *k = NULL;

	if (!*section) {
		fail_at(p, p->line, "'%.64s' stands before any [section]", name);
		return 1;
	}
	for (size_t i = 0; i < p->nkeys && !k; i++)
		if (!strcmp(p->keys[i].section, section) && !strcmp(p->keys[i].name, name))
			k = &p->keys[i];
	if (!k) {
		unknown_key(p, section, name);
		return 1;
	}
	switch (k->type) {
	case CONFIG_STRING:
		set_string(p, k, value);
		break;
	case CONFIG_UINT:
		set_uint(p, k, value);
		break;
	case CONFIG_BOOL:
		set_bool(p, k, value);
		break;
	case CONFIG_ENUM:
		set_enum(p, k, value);
		break;
	}
	return 1;
}

/* ---- files ---- */

/* inih says nothing of a section without keys, so that headers are looked at here */
static void check_header(struct parser *p, const char *line, size_t len)
{
	const char *end = memchr(line, ']', len);
	char name[NAME_MAX_B];
	size_t n;

	if (*line != '[' || !end)
		return; /* inih complains of a missing ']' */
	n = (size_t)(end - line) - 1;
	for (const char *s = end + 1; s < line + len; s++) {
		if (*s == ';' || *s == '#')
			break;
		if (!strchr(" \t\r", *s)) {
			fail_at(p, p->line, "text after ']'");
			break;
		}
	}
	snprintf(name, sizeof(name), "%.*s", (int)n, line + 1);
	for (size_t i = 0; i < p->nkeys; i++)
		if (!strcmp(p->keys[i].section, name))
			return;
	unknown_section(p, name);
}

/*
 * fgets() for inih, from memory: counts lines, for messages; takes indentation away, because
 * inih would take an indented line for the continuation of the value before it.
 */
static char *read_line(char *str, int num, void *stream)
{
	struct parser *p = stream;
	const char *line = p->text;
	size_t len;

	if (!*line || p->error)
		return NULL;
	len = strcspn(line, "\n");
	p->text += len + (line[len] == '\n');
	p->line++;
	while (len && (*line == ' ' || *line == '\t')) {
		line++;
		len--;
	}
	/* libraries differ in the longest line they take: one limit for all */
	if (num < 3 || len > (size_t)num - 2) {
		fail_at(p, p->line, "line is longer than %d characters", num - 2);
		len = 0;
	}
	if (len)
		check_header(p, line, len);
	memcpy(str, line, len);
	str[len] = '\n';
	str[len + 1] = 0;
	return str;
}

static int parse_file(struct parser *p, const char *path)
{
	char *text;
	size_t len;
	int r = file_read(path, FILE_MAX_B, &text, &len);

	p->path = path;
	p->line = 0;
	if (r < 0) {
		if (asprintf(&p->error, "%s: %s", path, strerror(-r)) < 0)
			p->error = NULL;
		return r;
	}
	p->text = text;
	if (strlen(text) != len) {
		fail_at(p, 1, "is not text (contains NUL bytes)");
	} else {
		r = ini_parse_stream(read_line, p, on_pair, p);
		if (r > 0)
			fail_at(p, r, "expected \"key = value\", \"[section]\" or a comment");
		else if (r < 0)
			fail_at(p, p->line, "out of memory");
	}
	free(text);
	return p->error ? -EINVAL : 0;
}

static int parse_fragments(struct parser *p, const char *path)
{
	char *pattern;
	glob_t g;
	int r;

	/* glob() sorts by the locale's order, which in daemons is that of bytes */
	if (asprintf(&pattern, "%s.d/*.conf", path) < 0)
		return -ENOMEM;
	r = glob(pattern, 0, NULL, &g);
	free(pattern);
	if (r == GLOB_NOMATCH)
		return 0;
	if (r)
		return r == GLOB_NOSPACE ? -ENOMEM : -EIO;
	for (size_t i = 0; i < g.gl_pathc && !r; i++)
		r = parse_file(p, g.gl_pathv[i]);
	globfree(&g);
	/* -ENOENT means the main file; a fragment that has just vanished is another error */
	return r == -ENOENT ? -EIO : r;
}

static int load(struct parser *p, const char *path, char **ret_error)
{
	int r = parse_file(p, path);

	if (!r)
		r = parse_fragments(p, path);
	if (r < 0 && ret_error) {
		if (!p->error && asprintf(&p->error, "%s: %s", path, strerror(-r)) < 0)
			p->error = NULL;
		*ret_error = p->error;
	} else {
		free(p->error);
	}
	return r;
}

int config_load(const char *path, const struct config_key *keys, size_t nkeys, void *settings,
		char **ret_error)
{
	struct parser p = {.keys = keys, .nkeys = nkeys, .settings = settings};

	return load(&p, path, ret_error);
}

int config_load_some(const char *path, const struct config_key *keys, size_t nkeys, void *settings, char **ret_error)
{
	struct parser p = {.keys = keys, .nkeys = nkeys, .settings = settings, .some = true};

	return load(&p, path, ret_error);
}

void config_free(const struct config_key *keys, size_t nkeys, void *settings)
{
	for (size_t i = 0; i < nkeys; i++) {
		char **field = (char **)(void *)((char *)settings + keys[i].offset);

		if (keys[i].type != CONFIG_STRING)
			continue;
		free(*field);
		*field = NULL;
	}
}
