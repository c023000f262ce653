/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * `relay` lines: devices, or those of groups, that pass on the sealed packets of pairs which find no direct way.
 *
 *   relay NAME [, NAME]… [limit RATE]       RATE of each pair, both ways together; as policy_class.c has it
 */
#include "policy_text.h"

#define NAMES_MAX 16 /* on one line */

static int read_names(struct reader *r, struct word names[NAMES_MAX], unsigned *ret_n)
{
	unsigned n = 0;
	struct word w;
	int e;

	for (;;) {
		e = read_word(r, "the name of a device or group", false, &w);
		if (e < 0)
			return e;
		if (n == NAMES_MAX)
			return fail_at(r, w.start, "more than %d names on one line: use groups",
				       NAMES_MAX);
		names[n++] = w;
		skip_space(r);
		if (*r->at != ',')
			break;
		r->at++;
	}
	*ret_n = n;
	return 0;
}

static int add(struct reader *r, const struct word *name, uint32_t rate_kbit)
{
	struct policy *p = r->p;
	struct policy_relay relay = {.line = r->line, .rate_kbit = rate_kbit};
	int e;

	if (p->nrelays == POLICY_RELAYS_MAX)
		return fail_at(r, NULL, "more than %d names of relays: use groups",
			       POLICY_RELAYS_MAX);
	e = grow(&p->relays, p->nrelays, sizeof(*p->relays));
	if (e < 0)
		return e;
	relay.name = cut(name);
	p->relays[p->nrelays++] = relay;
	return note_name(r, relay.name);
}

int read_relay(struct reader *r)
{
	struct word names[NAMES_MAX];
	uint32_t kbit = MVPN_RELAY_MBIT * 1000;
	unsigned n = 0;
	int e = read_names(r, names, &n);

	if (e == 0 && next_is(r, "limit"))
		e = read_rate(r, &kbit);
	if (e == 0)
		e = expect_end(r);
	for (unsigned i = 0; e == 0 && i < n; i++)
		e = add(r, &names[i], kbit);
	return e;
}

/* ---- questions ---- */

const struct policy_relay *policy_relays(const struct policy *p, unsigned *ret_count)
{
	*ret_count = p ? p->nrelays : 0;
	return p ? p->relays : NULL;
}

const struct policy_relay *policy_relay_of(const struct policy *p, const struct policy_subject *s)
{
	for (unsigned i = 0; p && i < p->nrelays; i++)
		if (policy_name_matches(p, p->relays[i].name, s))
			return &p->relays[i];
	return NULL;
}
