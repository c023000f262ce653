/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What holds between two devices, both ways; the first line that names the two decides:
 *
 *   mode end-to-end|central60|central63 NAME -> NAME      where the keys of their sessions come from
 *   level LEVEL NAME -> NAME                              where their TCP connections are sealed: "network", as packets; "socket",
 *                                                         above TCP; "socket|network", where it can be; "socket+network", both
 */
#include <errno.h>

#include "mvpn/auth.h"
#include "policy_text.h"

/* one of the two statements */
struct form {
	const char *name, *choices;
	int (*value)(struct reader *r,
		     const struct word *w); /* -1: none of the choices; -EINVAL has been told */
	struct policy_pairing **lines;
	unsigned *n;
};

static int read_pairing(struct reader *r, const struct form *f)
{
	struct policy_pairing line = {.line = r->line};
	struct word w, src, dst;
	bool only = false;
	int v, e = read_word(r, f->choices, false, &w);

	if (e < 0)
		return e;
	v = f->value(r, &w);
	if (v == -EINVAL)
		return v;
	if (v < 0)
		return fail_at(r, w.start, "%s is %s, not \"%.*s\"", f->name, f->choices,
			       (int)w.len, w.start);
	line.value = (uint8_t)v;
	e = read_pair(r, &only, &src, &dst);
	if (e == 0 && only)
		e = fail_at(r, src.start, "a %s holds both ways: leave \"only\" out", f->name);
	if (e == 0)
		e = expect_end(r);
	if (e == 0 && *f->n == POLICY_PAIRINGS_MAX)
		e = fail_at(r, src.start, "more than %d %s lines: use groups", POLICY_PAIRINGS_MAX,
			    f->name);
	if (e == 0)
		e = grow(f->lines, *f->n, sizeof(**f->lines));
	if (e < 0)
		return e;
	line.src = cut(&src);
	line.dst = cut(&dst);
	(*f->lines)[(*f->n)++] = line;
	e = note_name(r, line.src);
	return e ? e : note_name(r, line.dst);
}

static int mode_value(struct reader *r, const struct word *w)
{
	for (int m = 0; m < MVPN_MODES; m++)
		if (word_is(w, mvpn_mode_name((unsigned)m)))
			return m;
	return -1;
}

int read_mode(struct reader *r)
{
	return read_pairing(r, &(struct form){"mode", "end-to-end, central60 or central63",
					      mode_value, &r->p->modes, &r->p->nmodes});
}

#define LEVELS "network, socket, socket|network or socket+network"

static int level_one(struct reader *r, const struct word *w)
{
	if (word_is(w, "transport"))
		return fail_at(r, w->start,
			       "the transport shim seals nothing, it serves packets: write \"level "
			       "network\"");
	return word_is(w, "network")  ? MVPN_LEVEL_NETWORK
	       : word_is(w, "socket") ? MVPN_LEVEL_SOCKET
				      : -1;
}

/* one level, or two with what stands between them */
static int level_value(struct reader *r, const struct word *w)
{
	int first = level_one(r, w), second, e;
	char joint = *r->at;
	struct word other;

	if (first < 0 || (joint != '|' && joint != '+'))
		return first;
	r->at++;
	e = read_word(r, LEVELS, false, &other);
	if (e < 0)
		return e;
	second = level_one(r, &other);
	if (second == -EINVAL)
		return second;
	if (second < 0 || second == first)
		return fail_at(r, w->start, "level is " LEVELS);
	return joint == '|' ? MVPN_LEVEL_EITHER : MVPN_LEVEL_BOTH;
}

int read_level(struct reader *r)
{
	return read_pairing(
		r, &(struct form){"level", LEVELS, level_value, &r->p->levels, &r->p->nlevels});
}

/* ---- questions ---- */

const struct policy_pairing *policy_modes(const struct policy *p, unsigned *ret_count)
{
	*ret_count = p ? p->nmodes : 0;
	return p ? p->modes : NULL;
}

static unsigned value_of(const struct policy *p, const struct policy_pairing *lines, unsigned n,
			 const struct policy_subject *a, const struct policy_subject *b,
			 unsigned otherwise)
{
	for (unsigned i = 0; i < n; i++) {
		const struct policy_pairing *l = &lines[i];

		if ((policy_name_matches(p, l->src, a) && policy_name_matches(p, l->dst, b)) ||
		    (policy_name_matches(p, l->src, b) && policy_name_matches(p, l->dst, a)))
			return l->value;
	}
	return otherwise;
}

unsigned policy_mode_of(const struct policy *p, const struct policy_subject *a,
			const struct policy_subject *b)
{
	return p ? value_of(p, p->modes, p->nmodes, a, b, MVPN_MODE_E2E) : MVPN_MODE_E2E;
}

bool policy_level_about(const struct policy *p, const struct policy_subject *self)
{
	for (unsigned i = 0; p && i < p->nlevels; i++)
		if (policy_name_matches(p, p->levels[i].src, self) ||
		    policy_name_matches(p, p->levels[i].dst, self))
			return true;
	return false;
}

unsigned policy_level_of(const struct policy *p, const struct policy_subject *a,
			 const struct policy_subject *b)
{
	return p ? value_of(p, p->levels, p->nlevels, a, b, MVPN_LEVEL_NETWORK)
		 : MVPN_LEVEL_NETWORK;
}
