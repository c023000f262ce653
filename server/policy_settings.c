/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What holds for the whole network, each at most once:
 *
 *   dscp clear|copy        what holds where no `allow` line sets another
 *   multicast pass|drop
 *   rekey TIME             10m to 24h; without it what server.conf says
 *   max-offline TIME       1m to 24h
 *
 * TIME is a number and one of s, m, h.
 */
#include <stddef.h>
#include <stdio.h>

#include "mvpn/auth.h"
#include "policy_text.h"

static const struct {
	const char *name;
	/* choices: the one that holds without a line first */
	const char *values[2];
	uint32_t option; /* of the second; DSCP_CLEAR: of the first */
	/* or a time */
	size_t seconds; /* offset in struct policy */
	uint32_t min, max;
	const char *range;
} settings[POLICY_SETTINGS] = {
	[POLICY_SET_DSCP] = {"dscp", {"clear", "copy"}, MVPN_OPT_DSCP_CLEAR},
	[POLICY_SET_MULTICAST] = {"multicast", {"pass", "drop"}, MVPN_OPT_MULTICAST_DROP},
	[POLICY_SET_REKEY] = {.name = "rekey",
			      .seconds = offsetof(struct policy, rekey_s),
			      .min = 600,
			      .max = 86400,
			      .range = "10m to 24h"},
	[POLICY_SET_MAX_OFFLINE] = {.name = "max-offline",
				    .seconds = offsetof(struct policy, max_offline_s),
				    .min = 60,
				    .max = 86400,
				    .range = "1m to 24h"},
};

int policy_setting_find(const struct word *key)
{
	for (int i = 0; i < POLICY_SETTINGS; i++)
		if (word_is(key, settings[i].name))
			return i;
	return -1;
}

static int read_choice(struct reader *r, unsigned which)
{
	const char *const *values = settings[which].values;
	char what[40];
	struct word w;
	int e;

	snprintf(what, sizeof(what), "\"%s\" or \"%s\"", values[0], values[1]);
	e = read_word(r, what, false, &w);
	if (e < 0)
		return e;
	if (word_is(&w, values[1]))
		r->p->options |= settings[which].option;
	else if (!word_is(&w, values[0]))
		return fail_at(r, w.start, "%s is %s or %s, not \"%.*s\"", settings[which].name,
			       values[0], values[1], (int)w.len, w.start);
	return 0;
}

static int read_time(struct reader *r, unsigned which)
{
	uint32_t *seconds = (uint32_t *)((char *)r->p + settings[which].seconds);
	uint64_t v = 0;
	struct word w;
	size_t i = 0;
	char unit;
	int e = read_word(r, "a time", false, &w);

	if (e < 0)
		return e;
	/* a longer number is over every range */
	for (; i < w.len && i < 9 && w.start[i] >= '0' && w.start[i] <= '9'; i++)
		v = v * 10 + (unsigned)(w.start[i] - '0');
	unit = i && i + 1 == w.len ? w.start[i] : '\0';
	v *= unit == 's' ? 1 : unit == 'm' ? 60 : unit == 'h' ? 3600 : 0;
	if (v < settings[which].min || v > settings[which].max)
		return fail_at(r, w.start, "%s is a time from %s, like 90s, 15m or 1h",
			       settings[which].name, settings[which].range);
	*seconds = (uint32_t)v;
	return 0;
}

int read_setting(struct reader *r, int which, const struct word *key)
{
	unsigned *line = &r->p->setting_line[which];
	int e;

	if (*line)
		return fail_at(r, key->start, "%s is set on line %u already", settings[which].name,
			       *line);
	e = settings[which].min ? read_time(r, (unsigned)which) : read_choice(r, (unsigned)which);
	if (e == 0)
		e = expect_end(r);
	if (e == 0)
		*line = r->line;
	return e;
}

/* ---- questions ---- */

uint32_t policy_options(const struct policy *p)
{
	return (p ? p->options : 0) ^ MVPN_OPT_DSCP_CLEAR;
}

uint32_t policy_rekey_s(const struct policy *p, uint64_t otherwise)
{
	return p && p->rekey_s ? p->rekey_s : (uint32_t)otherwise;
}

uint32_t policy_max_offline_s(const struct policy *p, uint64_t otherwise)
{
	return p && p->max_offline_s ? p->max_offline_s : (uint32_t)otherwise;
}
