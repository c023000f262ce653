/* SPDX-License-Identifier: BSD-2-Clause */
/* Any text: the parser refuses it or gives a policy that can be asked. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "mvpn/ether.h"
#include "../../server/policy.h"
#include "../../server/policy_lines.h"
#include "mvpn/auth.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* what is told can be read again */
static void check_classes(const struct mvpn_classes *c)
{
	uint8_t bytes[MVPN_CLASSES_MAX_B];
	struct mvpn_classes back;

	if (!c->n)
		return;
	mvpn_classes_encode(c, bytes);
	if (mvpn_classes_decode(&back, bytes, mvpn_classes_size(c)) < 0 || !mvpn_classes_eq(c, &back))
		abort();
}

/* no rule names a type that must pass, and both ends are told the same */
static void ask_frames(const struct policy *p, const struct policy_subject *a,
		       const struct policy_subject *b)
{
	const struct policy_ether *e;
	struct mvpn_classes classes;
	char text[64];
	unsigned n;

	if (policy_frame_classes(p, a, b, &classes) == 0)
		check_classes(&classes);
	e = policy_ethers(p, &n);
	for (unsigned i = 0; i < n; i++) {
		unsigned ab = policy_ether_flags(p, &e[i], a, b),
			 ba = policy_ether_flags(p, &e[i], b, a);

		if ((ab & MVPN_FRAME_TX) / MVPN_FRAME_TX != (ba & MVPN_FRAME_RX) / MVPN_FRAME_RX)
			abort();
		for (unsigned k = 0; k < e[i].ntypes; k++)
			if (ether_never(e[i].types[k]))
				abort();
		policy_ether_str(&e[i], text, sizeof(text));
	}
}

static void hear_failure(void *arg, const struct policy_test *t, const char *why)
{
	char text[64];

	policy_test_str(t, text, sizeof(text));
	if (!t->line || !*why)
		abort();
}

static void no_line(void *arg, bool added, const struct policy_line *l)
{
	abort();
}

static void no_pairs(void *arg, const struct policy_pairs *pairs)
{
	abort();
}

static void count_pairs(void *arg, const struct policy_pairs *pairs)
{
	if (!pairs->count || (pairs->before->begins == pairs->after->begins &&
			      policy_services_cover(&pairs->before->services, &pairs->after->services) &&
			      policy_services_cover(&pairs->after->services, &pairs->before->services)))
		abort();
}

/* the lines of a text mean the same when they are read again */
static void compare(const char *text, size_t size, const struct policy *p)
{
	static const struct policy_subject devices[] = {{"a", NULL, 0}, {"b", NULL, 0}, {"g", NULL, 0}};
	struct policy_lines mine, again;
	struct policy_error e = {0};
	char *joined = NULL;
	struct policy *q;
	size_t len;
	FILE *f = open_memstream(&joined, &len);

	if (!f || policy_lines(text, size, &mine) < 0)
		abort();
	for (unsigned i = 0; i < mine.n; i++)
		fprintf(f, "%s\n", mine.lines[i].text);
	fclose(f);
	if (policy_parse(joined, len, &q, &e) < 0 || policy_lines(joined, len, &again) < 0)
		abort();
	policy_lines_diff(&mine, &again, no_line, NULL);
	if (policy_pairs_diff(p, q, devices, 3, no_pairs, NULL) < 0)
		abort();
	policy_pairs_diff(NULL, p, devices, 3, count_pairs, NULL);
	policy_free(q);
	policy_lines_free(&again);
	policy_lines_free(&mine);
	free(joined);
}

/* both ends are told the same, in one form, and each flow that is allowed is in it */
static void ask_services(const struct policy *p, const struct policy_subject *a,
			 const struct policy_subject *b)
{
	static const uint8_t protos[] = {1, 6, 17, 132, 47};
	struct policy_services ab, ba;
	char text[160];

	policy_services_of(p, a, b, &ab);
	policy_services_of(p, b, a, &ba);
	if (ab.all != ba.all || !mvpn_services_eq(ab.src, ab.nsrc, ba.dst, ba.ndst) ||
	    !mvpn_services_valid(ab.dst, ab.ndst) || !mvpn_services_valid(ab.src, ab.nsrc))
		abort();
	check_classes(&ab.classes);
	if (ab.classes.n != ba.classes.n || ab.classes.rest != ba.classes.rest)
		abort();
	for (unsigned i = 0; i < sizeof(protos); i++) {
		const struct policy_rule *r = policy_allows_flow(p, a, b, protos[i], 0);

		if (!r)
			continue;
		policy_rule_str(r, text, sizeof(text));
		if (!ab.all && !ab.overflow &&
		    !mvpn_services_have_proto(ab.dst, ab.ndst, protos[i]))
			abort();
	}
}

static void use_name(void *arg, unsigned line, const char *name)
{
	const struct policy *p = arg;
	struct policy_subject a = {name, &name, 1}, b = {"b", NULL, 0};

	if (!line || policy_has_group(p, name))
		abort();
	policy_allows(p, &a, &b);
	policy_allows(p, &b, &a);
	ask_frames(p, &a, &b);
	ask_services(p, &a, &b);
}

static void hear_overlap(void *arg, unsigned line, const char *text)
{
	if (!line || !*text)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct policy_error e = {0};
	struct policy *p;

	if (policy_parse((const char *)data, size, &p, &e) < 0) {
		if (!e.message[0])
			abort();
		return 0;
	}
	policy_each_name(p, use_name, p);
	policy_each_overlap(p, hear_overlap, NULL);
	if (size < POLICY_TEXT_MAX_B / 3) /* the one form may be so much longer */
		compare((const char *)data, size, p);
	policy_run_tests(p, NULL, hear_failure, NULL);
	if (policy_options(p) & ~(uint32_t)(MVPN_OPT_DSCP_CLEAR | MVPN_OPT_MULTICAST_DROP))
		abort();
	if (policy_rekey_s(p, 600) < 600 || policy_rekey_s(p, 600) > 86400 ||
	    policy_max_offline_s(p, 60) < 60 || policy_max_offline_s(p, 60) > 86400)
		abort();
	policy_free(p);
	return 0;
}
