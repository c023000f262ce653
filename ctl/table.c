/* SPDX-License-Identifier: BSD-2-Clause */
#include "show.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl.h"

#define LABEL_WIDTH 14

struct cell {
	char *text;
	enum colour colour;
};

struct column {
	const char *header;
	bool right, optional, filled;
	int width;
};
struct table {
	struct column *columns;
	unsigned ncolumns;
	struct cell *cells; /* row by row */
	size_t ncells, size;
};

static void *must(void *p)
{
	if (!p) {
		fputs("mvpnctl: out of memory\n", stderr);
		exit(MVPN_EXIT_FAILED);
	}
	return p;
}

static const char *colour_start(enum colour c)
{
	static const char *const codes[] = {
		[PLAIN] = "",	    [GOOD] = "\033[32m", [WARN] = "\033[33m",
		[BAD] = "\033[31m", [FAINT] = "\033[2m", [STRONG] = "\033[1m",
	};

	return ctl_colour ? codes[c] : "";
}

static void print_colour(enum colour c, const char *text)
{
	const char *start = *text ? colour_start(c) : "";

	printf("%s%s%s", start, text, *start ? "\033[0m" : "");
}

void make_harmless(char *text)
{
	for (unsigned char *s = (unsigned char *)text; *s; s++) {
		if (*s < 0x20 || *s == 0x7f)
			*s = '?';
		else if (*s == 0xc2 && s[1] >= 0x80 && s[1] <= 0x9f) /* U+0080 to U+009F */
			s[0] = s[1] = '?';
	}
}

/* code points of UTF-8; wide characters are not worth a library here */
static int columns_of(const char *s)
{
	int n = 0;

	for (; *s; s++)
		n += ((unsigned char)*s & 0xc0) != 0x80;
	return n;
}

static char *vformat(const char *fmt, va_list ap)
{
	char *text;

	if (vasprintf(&text, fmt, ap) < 0)
		text = NULL;
	make_harmless(must(text));
	return text;
}

struct table *table_new(const char *const *headers)
{
	struct table *t = must(calloc(1, sizeof(*t)));

	while (headers[t->ncolumns])
		t->ncolumns++;
	t->columns = must(calloc(t->ncolumns, sizeof(*t->columns)));
	for (unsigned i = 0; i < t->ncolumns; i++) {
		struct column *c = &t->columns[i];
		const char *h = headers[i];

		c->optional = *h == '?';
		h += c->optional;
		c->right = *h == '>';
		h += c->right;
		c->header = h;
		c->width = columns_of(h);
	}
	return t;
}

void table_cell(struct table *t, enum colour c, const char *fmt, ...)
{
	struct column *column = &t->columns[t->ncells % t->ncolumns];
	char *text;
	va_list ap;
	int width;

	va_start(ap, fmt);
	text = vformat(fmt, ap);
	va_end(ap);
	if (t->ncells == t->size) {
		t->size = t->size ? t->size * 2 : 64;
		t->cells = must(reallocarray(t->cells, t->size, sizeof(*t->cells)));
	}
	t->cells[t->ncells++] = (struct cell){text, c};
	width = columns_of(text);
	if (width > column->width)
		column->width = width;
	if (*text && strcmp(text, "-"))
		column->filled = true;
}

static bool is_shown(const struct column *c)
{
	return !c->optional || c->filled;
}

/* is there anything to print after that column? */
static bool is_last(const struct table *t, const struct cell *row, unsigned column)
{
	for (unsigned i = column + 1; i < t->ncolumns; i++)
		if (is_shown(&t->columns[i]) && (!row || *row[i].text))
			return false;
	return true;
}

static void print_row(const struct table *t, const struct cell *row)
{
	bool first = true;

	for (unsigned i = 0; i < t->ncolumns; i++) {
		const struct column *c = &t->columns[i];
		const char *text = row ? row[i].text : c->header;
		int pad = c->width - columns_of(text);

		if (!is_shown(c))
			continue;
		printf("%s%*s", first ? "" : "  ", c->right ? pad : 0, "");
		print_colour(row ? row[i].colour : FAINT, text);
		/* no blanks at the end of a line */
		if (!c->right && !is_last(t, row, i))
			printf("%*s", pad, "");
		first = false;
	}
	putchar('\n');
}

void table_print(struct table *t, const char *empty)
{
	if (!t->ncells) {
		puts(empty);
	} else {
		print_row(t, NULL);
		for (size_t i = 0; i + t->ncolumns <= t->ncells; i += t->ncolumns)
			print_row(t, t->cells + i);
	}
	for (size_t i = 0; i < t->ncells; i++)
		free(t->cells[i].text);
	free(t->cells);
	free(t->columns);
	free(t);
}

void line(const char *label, enum colour c, const char *fmt, ...)
{
	char *text;
	va_list ap;

	va_start(ap, fmt);
	text = vformat(fmt, ap);
	va_end(ap);
	printf("%-*s", LABEL_WIDTH, label);
	print_colour(c, text);
	putchar('\n');
	free(text);
}
