/* SPDX-License-Identifier: BSD-2-Clause */
/* The command line, by the verbs' own description of what they take. */
#include "ctl.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "addr.h"

#define NAME_B 64

/* options that every verb takes, at any place */
static const struct param common[] = {
	{"--socket", 's', KIND_TEXT, .value = "PATH"},
	{"--network", 'N', KIND_TEXT, .value = "NAME"},
	{"--output", 'o', KIND_TEXT, .value = "table|json|json-line"},
	{"--help", 'h', KIND_FLAG, .value = NULL},
	{"--version", 'V', KIND_FLAG, .value = NULL},
};
#define NCOMMON (sizeof(common) / sizeof(common[0]))

struct parser {
	struct command *command;
	char name[NAME_B]; /* words of the verb so far */
	unsigned noperands;
	bool help, version;
};

/* "90", "30s", "5m", "1h", "7d" */
static bool seconds_parse(const char *s, uint64_t *ret)
{
	static const struct {
		const char *suffix;
		uint64_t s;
	} units[] = {{"", 1}, {"s", 1}, {"m", 60}, {"h", 3600}, {"d", 86400}, {"w", 604800}};
	unsigned long long v;
	char *end;

	if (*s < '0' || *s > '9')
		return false;
	errno = 0;
	v = strtoull(s, &end, 10);
	if (errno)
		return false;
	for (unsigned i = 0; i < sizeof(units) / sizeof(units[0]); i++)
		if (!strcmp(end, units[i].suffix))
			return !__builtin_mul_overflow(v, units[i].s, ret) && *ret < INT64_MAX;
	return false;
}

static bool is_choice(const char *choices, const char *s)
{
	size_t n = strlen(s);

	for (const char *p = choices; n; p++) {
		size_t len = strcspn(p, "|");

		if (len == n && !memcmp(p, s, n))
			return true;
		p += len;
		if (!*p)
			return false;
	}
	return false;
}

static int bad_value(const struct verb *v, const struct param *p, const char *s, const char *want)
{
	return usage_error(v, "'%s' is no value for %s: %s", s, p->name, want);
}

/* decimal, or of KIND_SECONDS with a unit; 0 or the exit code */
static int number_parse(const struct verb *v, const struct param *p, const char *s, uint64_t *ret)
{
	bool seconds = p->kind == KIND_SECONDS;
	char want[96], *end = "";

	if (seconds && !seconds_parse(s, ret))
		return bad_value(v, p, s, "a time like 90, 30s, 5m, 1h or 7d");
	errno = 0;
	if (!seconds)
		*ret = strtoull(s, &end, 10);
	if (*s >= '0' && *s <= '9' && !errno && !*end && *ret >= p->min && *ret <= p->max)
		return 0;
	snprintf(want, sizeof(want), "a number from %llu to %llu%s", (unsigned long long)p->min,
		 (unsigned long long)p->max, seconds ? " seconds" : "");
	return bad_value(v, p, s, want);
}

/* one value into args; 0 or the exit code */
static int add_value(const struct verb *v, const struct param *p, const char *s, json_t *args)
{
	struct mvpn_prefix prefix;
	uint64_t n = 0;
	char want[160];
	json_t *j = NULL, *list;

	switch (p->kind) {
	case KIND_FLAG:
		j = json_true();
		break;
	case KIND_UINT:
	case KIND_SECONDS:
		if (number_parse(v, p, s, &n))
			return MVPN_EXIT_USAGE;
		j = json_integer((json_int_t)n);
		break;
	case KIND_PREFIX:
	case KIND_LIST:
		if (mvpn_prefix_parse(&prefix, s) < 0)
			return bad_value(v, p, s,
					 "a prefix like 10.0.0.0/24 or fd00::/64, host bits zero");
		j = json_string(s);
		break;
	case KIND_TEXT:
		/* choices are in small letters, what stands for something in capitals */
		if (p->value && islower(p->value[0]) && !is_choice(p->value, s)) {
			snprintf(want, sizeof(want), "one of %s", p->value);
			return bad_value(v, p, s, want);
		}
		if (!*s)
			return bad_value(v, p, s, "it is empty");
		j = json_string(s);
		break;
	}
	if (!j)
		return usage_error(v, "the value of %s is not valid UTF-8", p->name);
	if (p->kind == KIND_LIST) {
		list = json_object_get(args, p->member);
		if (!list) {
			list = json_array();
			json_object_set_new(args, p->member, list);
		}
		json_array_append_new(list, j);
	} else {
		json_object_set_new(args, p->member, j);
	}
	return 0;
}

static bool set_output(const char *value)
{
	if (!strcmp(value, "table"))
		ctl_output = OUTPUT_TABLE;
	else if (!strcmp(value, "json"))
		ctl_output = OUTPUT_JSON;
	else if (!strcmp(value, "json-line"))
		ctl_output = OUTPUT_JSON_LINE;
	else
		return false;
	return true;
}

/* so that a mistake in a word before -o is told as -o asks */
static void find_output(int argc, char **argv)
{
	for (int i = 1; i < argc && strcmp(argv[i], "--"); i++) {
		const char *arg = argv[i];

		if (!strncmp(arg, "--output=", 9))
			set_output(arg + 9);
		else if (!strncmp(arg, "-o", 2) && arg[2])
			set_output(arg + 2);
		else if ((!strcmp(arg, "-o") || !strcmp(arg, "--output")) && i + 1 < argc)
			set_output(argv[++i]);
	}
}

static int set_common(struct parser *s, const struct param *p, const char *value)
{
	switch (p->letter) {
	case 's':
		if (!*value)
			return usage_error(s->command->verb, "--socket needs a path");
		s->command->socket = value;
		return 0;
	case 'N':
		if (!mvpn_network_valid(value))
			return usage_error(s->command->verb, "--network %s: 1 to %u of a-z and 0-9",
					   value, MVPN_NETWORK_MAX);
		snprintf(s->command->network_socket, sizeof(s->command->network_socket),
			 MVPN_RUN_DIR "/" MVPN_NETWORK_SOCKET, value);
		s->command->socket = s->command->network_socket;
		s->command->network = value;
		return 0;
	case 'o':
		if (!set_output(value))
			return usage_error(s->command->verb, "'%s' is no output; one of %s", value,
					   p->value);
		return 0;
	case 'h':
		s->help = true;
		return 0;
	}
	s->version = true;
	return 0;
}

static const struct param *find_option(const struct param *list, size_t n, const char *arg,
				       size_t len)
{
	for (size_t i = 0; i < n && list[i].name; i++) {
		if (arg[1] == '-') {
			if (strlen(list[i].name) == len && !memcmp(list[i].name, arg, len))
				return &list[i];
		} else if (list[i].letter && list[i].letter == arg[1]) {
			return &list[i];
		}
	}
	return NULL;
}

/* *i is at an option; moves on to its value if that is the next word */
static int take_option(struct parser *s, int argc, char **argv, int *i)
{
	const struct verb *v = s->command->verb;
	const char *arg = argv[*i], *value = NULL;
	bool is_long = arg[1] == '-', own = true;
	size_t len = is_long ? strcspn(arg, "=") : 2;
	const struct param *p = v ? find_option(v->options, PARAMS_MAX, arg, len) : NULL;

	if (!p) {
		own = false;
		p = find_option(common, NCOMMON, arg, len);
	}
	if (!p && !v)
		return usage_error(NULL, "unknown option %.*s, or it belongs after the verb",
				   (int)len, arg);
	if (!p)
		return usage_error(v, "unknown option %.*s", (int)len, arg);
	if (arg[len])
		value = arg + len + is_long;
	if (p->kind == KIND_FLAG && value)
		return usage_error(v, "%s takes no value", p->name);
	if (p->kind != KIND_FLAG && !value) {
		if (*i + 1 >= argc)
			return usage_error(v, "%s needs a value (%s)", p->name, p->value);
		value = argv[++*i];
	}
	if (!own)
		return set_common(s, p, value);
	return add_value(v, p, value, s->command->args);
}

/* ---- words ---- */

static bool is_prefix_of_verb(const char *name)
{
	size_t n = strlen(name);

	for (const struct verb *const *v = verbs; *v; v++)
		if (!strncmp((*v)->name, name, n) && (*v)->name[n] == ' ')
			return true;
	return false;
}

/* "a, b, c": what may follow the words so far */
static void list_next_words(const char *name, char *ret, size_t size)
{
	size_t n = strlen(name), len = 0;
	const char *last = "";
	size_t last_len = 0;

	*ret = 0;
	for (const struct verb *const *v = verbs; *v; v++) {
		const char *word;
		size_t w;

		if (n && (strncmp((*v)->name, name, n) || (*v)->name[n] != ' '))
			continue;
		word = (*v)->name + n + !!n;
		w = strcspn(word, " ");
		if (w == last_len && !strncmp(last, word, w))
			continue;
		last = word;
		last_len = w;
		if (len + w + 3 > size)
			break;
		len += (size_t)snprintf(ret + len, size - len, "%s%.*s", len ? ", " : "", (int)w,
					word);
	}
}

static int take_word(struct parser *s, const char *word)
{
	char before[NAME_B], next[512];
	size_t len = strlen(s->name);

	memcpy(before, s->name, len + 1);
	if (snprintf(s->name + len, sizeof(s->name) - len, "%s%s", len ? " " : "", word) >=
	    (int)(sizeof(s->name) - len))
		return usage_error(NULL, "unknown verb '%.40s…'", word);
	for (const struct verb *const *v = verbs; *v; v++) {
		if (!strcmp((*v)->name, s->name)) {
			s->command->verb = *v;
			return 0;
		}
	}
	if (is_prefix_of_verb(s->name))
		return 0;
	list_next_words(before, next, sizeof(next));
	return usage_error(NULL, "unknown verb '%s'; %s%s%s: %s", s->name,
			   len ? "after '" : "known", before, len ? "' may come" : "", next);
}

static int take_operand(struct parser *s, const char *word)
{
	const struct verb *v = s->command->verb;

	if (s->noperands >= sizeof(v->operands) / sizeof(v->operands[0]) ||
	    !v->operands[s->noperands].name)
		return usage_error(v, "does not take '%s'", word);
	return add_value(v, &v->operands[s->noperands++], word, s->command->args);
}

static int check_required(const struct parser *s)
{
	const struct verb *v = s->command->verb;

	for (unsigned i = 0; i < sizeof(v->operands) / sizeof(v->operands[0]); i++)
		if (v->operands[i].name && v->operands[i].required && i >= s->noperands)
			return usage_error(v, "%s is missing", v->operands[i].name);
	for (unsigned i = 0; i < PARAMS_MAX && v->options[i].name; i++)
		if (v->options[i].required &&
		    !json_object_get(s->command->args, v->options[i].member))
			return usage_error(v, "%s %s is missing", v->options[i].name,
					   v->options[i].value);
	return 0;
}

/* ---- all of it ---- */

static int parse_words(struct parser *s, int argc, char **argv)
{
	bool only_operands = false;

	for (int i = 1; i < argc; i++) {
		int r;

		if (!only_operands && !strcmp(argv[i], "--")) {
			only_operands = true;
			continue;
		}
		/* a lone "-" is standard input */
		if (!only_operands && argv[i][0] == '-' && argv[i][1])
			r = take_option(s, argc, argv, &i);
		else if (s->command->verb)
			r = take_operand(s, argv[i]);
		else if (!*s->name && !strcmp(argv[i], "help") && !s->help) {
			s->help = true;
			r = 0;
		} else
			r = take_word(s, argv[i]);
		if (r || s->version)
			return r;
	}
	return 0;
}

int command_parse(int argc, char **argv, struct command *ret)
{
	struct parser s = {.command = ret};
	char next[512];
	int r;

	*ret = (struct command){.args = json_object()};
	find_output(argc, argv);
	r = parse_words(&s, argc, argv);
	if (r)
		return r;
	if (s.version) {
		puts("mvpnctl " MVPN_VERSION);
		ret->verb = NULL;
		return 0;
	}
	if (s.help) {
		if (ret->verb)
			help_verb(ret->verb);
		else
			help_all();
		ret->verb = NULL;
		return 0;
	}
	if (!ret->verb) {
		list_next_words(s.name, next, sizeof(next));
		return usage_error(NULL, "%s%s%s: %s", *s.name ? "after '" : "a verb is missing",
				   s.name, *s.name ? "' must come one of" : ", one of", next);
	}
	r = check_required(&s);
	if (!r && ret->verb->prepare)
		r = ret->verb->prepare(ret->args);
	return r;
}
