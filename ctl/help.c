/* SPDX-License-Identifier: BSD-2-Clause */
#include "ctl.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define COLUMN 32

__attribute__((format(printf, 3, 4))) static void append(char *s, size_t size, const char *fmt, ...)
{
	size_t len = strlen(s);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(s + len, size - len, fmt, ap);
	va_end(ap);
}

static void verb_operands(const struct verb *v, char *ret, size_t size)
{
	*ret = 0;
	append(ret, size, "%s", v->name);
	for (unsigned i = 0; i < sizeof(v->operands) / sizeof(v->operands[0]); i++) {
		const struct param *p = &v->operands[i];

		if (p->name)
			append(ret, size, p->required ? " %s" : " [%s]", p->name);
	}
}

static void verb_usage(const struct verb *v, char *ret, size_t size)
{
	verb_operands(v, ret, size);
	for (unsigned i = 0; i < PARAMS_MAX && v->options[i].name; i++) {
		const struct param *p = &v->options[i];

		append(ret, size, p->required ? " %s" : " [%s", p->name);
		if (p->kind != KIND_FLAG)
			append(ret, size, " %s", p->value);
		if (!p->required)
			append(ret, size, p->kind == KIND_LIST ? "]..." : "]");
	}
}

static void print_group(const char *title, const char *noun, bool server)
{
	char usage[256];

	printf("\n%s\n", title);
	for (const struct verb *const *v = verbs; *v; v++) {
		bool is_server = !strncmp((*v)->name, "server ", 7);

		if (is_server != server)
			continue;
		verb_operands(*v, usage, sizeof(usage));
		printf("  %-*s  %s\n", COLUMN, usage + strlen(noun), (*v)->summary);
	}
}

void help_all(void)
{
	puts("usage: mvpnctl [--socket PATH | --network NAME] [-o table|json|json-line] VERB ...\n"
	     "       mvpnctl server [--socket PATH] VERB ...\n"
	     "       mvpnctl help VERB | --help | --version");
	print_group("VERB, of this host (keyd at $MVPN_SOCKET or " MVPN_KEYD_SOCKET "):", "",
		    false);
	print_group("server VERB, of the authentication server ($MVPN_SERVER_SOCKET "
		    "or " MVPN_SERVER_SOCKET "):",
		    "server ", true);
	puts("\nExit: 0 ok, 1 failed, 2 usage, 3 daemon unreachable, 4 unhealthy or not ready,\n"
	     "      5 denied by policy, 6 leak detected. See mvpnctl(8).");
}

static void print_param(const struct param *p)
{
	char left[64] = "";

	if (p->letter)
		append(left, sizeof(left), "-%c, ", p->letter);
	append(left, sizeof(left), "%s", p->name);
	if (p->value && p->name[0] == '-' && p->kind != KIND_FLAG)
		append(left, sizeof(left), " %s", p->value);
	if (strlen(left) <= 26)
		printf("  %-26s  %s\n", left, p->help);
	else
		printf("  %s\n  %-26s  %s\n", left, "", p->help);
}

void help_verb(const struct verb *v)
{
	char usage[256];

	verb_usage(v, usage, sizeof(usage));
	printf("usage: mvpnctl %s\n\n%s%s\n", usage, v->summary, strchr(v->summary, '?') ? "" : ".");
	if (v->operands[0].name || v->options[0].name)
		putchar('\n');
	for (unsigned i = 0; i < sizeof(v->operands) / sizeof(v->operands[0]); i++)
		if (v->operands[i].name)
			print_param(&v->operands[i]);
	for (unsigned i = 0; i < PARAMS_MAX && v->options[i].name; i++)
		print_param(&v->options[i]);
	if (v->more)
		printf("\n%s\n", v->more);
	printf("\nexample: mvpnctl %s\n", v->example);
}
