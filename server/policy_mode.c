/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where the keys between two devices come from:
 *
 *   mode end-to-end|central60|central63 NAME -> NAME      both ways; the first line that names the two holds
 */
#include "mvpn/auth.h"
#include "policy_text.h"

static int mode_value(struct reader *r, const struct word *w, uint8_t *ret)
{
	for (unsigned m = 0; m < MVPN_MODES; m++)
		if (word_is(w, mvpn_mode_name(m))) {
			*ret = (uint8_t)m;
			return 0;
		}
	return fail_at(r, w->start, "mode is end-to-end, central60 or central63, not \"%.*s\"",
		       (int)w->len, w->start);
}

int read_mode(struct reader *r)
{
	struct policy *p = r->p;
	struct policy_mode mode = {.line = r->line};
	struct word w, src, dst;
	bool only = false;
	int e = read_word(r, "end-to-end, central60 or central63", false, &w);

	if (e == 0)
		e = mode_value(r, &w, &mode.mode);
	if (e == 0)
		e = read_pair(r, &only, &src, &dst);
	if (e == 0 && only)
		e = fail_at(r, src.start, "a mode holds both ways: leave \"only\" out");
	if (e == 0)
		e = expect_end(r);
	if (e == 0 && p->nmodes == POLICY_MODES_MAX)
		e = fail_at(r, src.start, "more than %d mode lines: use groups", POLICY_MODES_MAX);
	if (e == 0)
		e = grow(&p->modes, p->nmodes, sizeof(*p->modes));
	if (e < 0)
		return e;
	mode.src = cut(&src);
	mode.dst = cut(&dst);
	p->modes[p->nmodes++] = mode;
	e = note_name(r, mode.src);
	return e ? e : note_name(r, mode.dst);
}

/* ---- questions ---- */

const struct policy_mode *policy_modes(const struct policy *p, unsigned *ret_count)
{
	*ret_count = p ? p->nmodes : 0;
	return p ? p->modes : NULL;
}

unsigned policy_mode_of(const struct policy *p, const struct policy_subject *a,
			const struct policy_subject *b)
{
	for (unsigned i = 0; p && i < p->nmodes; i++) {
		const struct policy_mode *m = &p->modes[i];

		if ((policy_name_matches(p, m->src, a) && policy_name_matches(p, m->dst, b)) ||
		    (policy_name_matches(p, m->src, b) && policy_name_matches(p, m->dst, a)))
			return m->mode;
	}
	return MVPN_MODE_E2E;
}
