/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "policy_lines.h"

/* the blanks that one form of the text has around these; "->" and "," are never part of a name */
static size_t token(const char *at, const char *end, const char **ret)
{
	switch (*at) {
	case '-':
		*ret = " -> ";
		return end - at > 1 && at[1] == '>' ? 2 : 0;
	case ',':
		*ret = ", ";
		return 1;
	case '=':
		*ret = " = ";
		return 1;
	case ' ':
	case '\t':
	case '\r':
		*ret = " ";
		return 1;
	}
	return 0;
}

/* one statement without its comment; to holds 3 bytes for each, and a NUL */
static size_t put_line(const char *at, const char *end, char *to)
{
	char *start = to;
	const char *text;

	while (at < end && *at != '#') {
		size_t n = token(at, end, &text);

		if (!n) {
			*to++ = *at++;
			continue;
		}
		at += n;
		while (to > start && to[-1] == ' ')
			to--; /* blanks before it */
		if (to > start || *text != ' ')
			to = stpcpy(to, text);
		while (at < end && (*at == ' ' || *at == '\t'))
			at++;
	}
	while (to > start && to[-1] == ' ')
		to--;
	*to = '\0';
	return (size_t)(to - start);
}

static int line_cmp(const void *a, const void *b)
{
	const struct policy_line *x = a, *y = b;
	int c = strcmp(x->text, y->text);

	return c ? c : (x->line > y->line) - (x->line < y->line);
}

int policy_lines(const char *text, size_t len, struct policy_lines *ret)
{
	const char *end = text + len, *nl;
	struct policy_lines l = {.text = malloc(3 * len + 2)};
	char *to = l.text;
	unsigned n = 1;

	for (const char *p = text; (p = memchr(p, '\n', (size_t)(end - p))); p++)
		n++;
	l.lines = calloc(n, sizeof(*l.lines));
	if (!l.text || !l.lines) {
		policy_lines_free(&l);
		return -ENOMEM;
	}
	n = 0;
	for (const char *at = text; at < end; at = nl + 1) {
		size_t used;

		nl = memchr(at, '\n', (size_t)(end - at));
		nl = nl ? nl : end;
		n++;
		used = put_line(at, nl, to);
		if (!used)
			continue;
		l.lines[l.n++] = (struct policy_line){n, to};
		to += used + 1;
	}
	qsort(l.lines, l.n, sizeof(*l.lines), line_cmp);
	*ret = l;
	return 0;
}

void policy_lines_free(struct policy_lines *l)
{
	free(l->lines);
	free(l->text);
	*l = (struct policy_lines){0};
}

void policy_lines_diff(const struct policy_lines *old, const struct policy_lines *new,
		       void (*fn)(void *arg, bool added, const struct policy_line *l), void *arg)
{
	unsigned i = 0, k = 0;

	while (i < old->n || k < new->n) {
		int c = i == old->n   ? 1
			: k == new->n ? -1
				      : strcmp(old->lines[i].text, new->lines[k].text);

		if (c < 0)
			fn(arg, false, &old->lines[i++]);
		else if (c > 0)
			fn(arg, true, &new->lines[k++]);
		else {
			i++;
			k++;
		}
	}
}
