/* SPDX-License-Identifier: BSD-2-Clause */
#include "policy_text.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int fail_at(struct reader *r, const char *where, const char *fmt, ...)
{
	va_list ap;

	r->error->line = r->line;
	r->error->column = where ? (unsigned)(where - r->line_start) + 1 : 0;
	va_start(ap, fmt);
	vsnprintf(r->error->message, sizeof(r->error->message), fmt, ap);
	va_end(ap);
	return -EINVAL;
}

int grow(void *array, unsigned count, size_t size)
{
	void **a = array, *n;

	if (count & (count - 1))
		return 0;
	n = realloc(*a, (count ? count * 2 : 1) * size);
	if (!n)
		return -ENOMEM;
	*a = n;
	return 0;
}

static bool is_name_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '.' || c == '_' || c == '-';
}

void skip_space(struct reader *r)
{
	while (*r->at == ' ' || *r->at == '\t')
		r->at++;
}

bool at_line_end(struct reader *r)
{
	skip_space(r);
	return !*r->at || *r->at == '#';
}

int read_word(struct reader *r, const char *what, bool star, struct word *ret)
{
	char *s;

	skip_space(r);
	s = r->at;
	if (star && *s == '*') {
		r->at++;
	} else {
		while (is_name_char(*r->at) && !(r->at[0] == '-' && r->at[1] == '>'))
			r->at++;
	}
	if (r->at == s) {
		if (at_line_end(r))
			return fail_at(r, s, "%s is missing at the end of the line", what);
		return fail_at(r, s, "expected %s, found '%c'", what,
			       *s >= ' ' && *s < 127 ? *s : '?');
	}
	if (r->at - s > MVPN_NAME_MAX_B)
		return fail_at(r, s, "%s is longer than %d characters", what, MVPN_NAME_MAX_B);
	if (*s == '-' || *s == '.')
		return fail_at(r, s, "a name does not start with '%c'", *s);
	if (star && *s == '*' && is_name_char(*r->at))
		return fail_at(r, s, "'*' stands alone: patterns of names are not known");
	ret->start = s;
	ret->len = (size_t)(r->at - s);
	return 0;
}

bool word_is(const struct word *w, const char *text)
{
	return w->len == strlen(text) && !memcmp(w->start, text, w->len);
}

int expect(struct reader *r, const char *token)
{
	skip_space(r);
	if (strncmp(r->at, token, strlen(token)))
		return fail_at(r, r->at, "expected \"%s\"", token);
	r->at += strlen(token);
	return 0;
}

int expect_end(struct reader *r)
{
	if (!at_line_end(r))
		return fail_at(r, r->at, "unexpected text after the end of the statement");
	return 0;
}

bool next_is(struct reader *r, const char *text)
{
	size_t len = strlen(text);

	skip_space(r);
	if (strncmp(r->at, text, len) || is_name_char(r->at[len]))
		return false;
	r->at += len;
	return true;
}

const char *cut(const struct word *w)
{
	w->start[w->len] = '\0';
	return w->start;
}

int note_name(struct reader *r, const char *name)
{
	struct policy *p = r->p;
	int e = grow(&p->names, p->nnames, sizeof(*p->names));

	if (e < 0)
		return e;
	p->names[p->nnames++] = (struct policy_name){name, r->line};
	return 0;
}

int read_pair(struct reader *r, bool *ret_only, struct word *ret_src, struct word *ret_dst)
{
	int e = read_word(r, "a device, a group or *", true, ret_src);

	if (e < 0)
		return e;
	skip_space(r);
	if (word_is(ret_src, "only") && strncmp(r->at, "->", 2)) {
		*ret_only = true;
		e = read_word(r, "a device, a group or *", true, ret_src);
	}
	if (e == 0)
		e = expect(r, "->");
	if (e == 0)
		e = read_word(r, "a device, a group or *", true, ret_dst);
	return e;
}
