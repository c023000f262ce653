/* SPDX-License-Identifier: BSD-2-Clause */
/* policy-diff: what would change if a policy were put in force. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "admin.h"
#include "class_json.h"
#include "policy_lines.h"
#include "services.h"
#include "session.h"

#define SHOWN_MAX 1000 /* pairs and sessions; all are counted */
#define EXIT_SAME 0    /* as of diff(1) */
#define EXIT_DIFFERS 1

/* ---- lines ---- */

static void add_line(void *arg, bool added, const struct policy_line *l)
{
	json_array_append_new(arg, json_pack("{s:s, s:i, s:s}", "change",
					     added ? "added" : "removed", "line", (int)l->line,
					     "text", l->text));
}

/* the text in force; NULL if there is none */
static int text_in_force(struct server *s, char **ret)
{
	uint64_t rev;
	int r;

	*ret = NULL;
	if (!s->policy)
		return 0;
	r = store_policy_get(s->store, s->policy_rev, &rev, NULL, ret);
	return r == -ENOENT ? 0 : r;
}

static int lines_json(struct server *s, const char *text, json_t **ret)
{
	struct policy_lines before = {0}, after = {0};
	json_t *list = json_array();
	char *old = NULL;
	int r = list ? text_in_force(s, &old) : -ENOMEM;

	if (r == 0)
		r = policy_lines(old ? old : "", old ? strlen(old) : 0, &before);
	if (r == 0)
		r = policy_lines(text, strlen(text), &after);
	if (r == 0)
		policy_lines_diff(&before, &after, add_line, list);
	policy_lines_free(&before);
	policy_lines_free(&after);
	free(old);
	if (r < 0)
		json_decref(list);
	else
		*ret = list;
	return r;
}

/* ---- pairs ---- */

struct pair {
	const char *a, *b;
	unsigned before, after;			  /* enum policy_begins */
	json_t *before_services, *after_services; /* at a and b, or NULL */
	json_t *before_classes, *after_classes;
};

struct pair_list {
	struct pair shown[SHOWN_MAX];
	unsigned n;
	uint64_t gain, lose; /* one may do both */
};

static unsigned swapped(unsigned access)
{
	return (access & POLICY_A_BEGINS ? POLICY_B_BEGINS : 0) |
	       (access & POLICY_B_BEGINS ? POLICY_A_BEGINS : 0);
}

/* does x have something that y has not? */
static bool beyond(const struct policy_access *x, const struct policy_access *y)
{
	return x->begins & ~y->begins || !policy_services_cover(&y->services, &x->services);
}

/* NULL: everything, or nothing at all */
static json_t *limits_json(const struct policy_access *x, bool swap)
{
	return x->services.all || !x->begins
		       ? NULL
		       : services_json(&x->services, swap ? "b" : "a", swap ? "a" : "b");
}

/* NULL: there are none */
static json_t *classes_json(const struct policy_access *x, bool swap)
{
	return x->services.classes.n ? mvpn_classes_json(&x->services.classes, swap, "a", "b")
				     : NULL;
}

static void add_pairs(void *arg, const struct policy_pairs *p)
{
	const struct policy_access *before = p->before, *after = p->after;
	struct pair_list *l = arg;

	if (beyond(after, before))
		l->gain += p->count;
	if (beyond(before, after))
		l->lose += p->count;
	for (unsigned i = 0; i < p->na && l->n < SHOWN_MAX; i++)
		for (unsigned k = p->a == p->b ? i + 1 : 0; k < p->nb && l->n < SHOWN_MAX; k++) {
			struct pair pair = {p->a[i]->name, p->b[k]->name, before->begins,
					    after->begins, NULL, NULL, NULL, NULL};
			bool swap = strcmp(pair.a, pair.b) > 0;

			if (swap)
				pair = (struct pair){pair.b, pair.a, swapped(before->begins),
						     swapped(after->begins), NULL, NULL, NULL, NULL};
			pair.before_services = limits_json(before, swap);
			pair.after_services = limits_json(after, swap);
			pair.before_classes = classes_json(before, swap);
			pair.after_classes = classes_json(after, swap);
			l->shown[l->n++] = pair;
		}
}

static int pair_cmp(const void *a, const void *b)
{
	const struct pair *x = a, *y = b;
	int c = strcmp(x->a, y->a);

	return c ? c : strcmp(x->b, y->b);
}

static int pairs_of(struct server *s, const struct policy *p, struct pair_list *l)
{
	int r = services_diff(s, s->policy, p, add_pairs, l);

	qsort(l->shown, l->n, sizeof(*l->shown), pair_cmp);
	return r;
}

static json_t *pairs_json(const struct pair_list *l)
{
	static const char *const words[] = {"none", "a", "b", "both"};
	json_t *list = json_array();

	for (unsigned i = 0; i < l->n; i++)
		json_array_append_new(
			list, json_pack("{s:s, s:s, s:s, s:s, s:O*, s:O*, s:O*, s:O*}", "a",
					l->shown[i].a, "b", l->shown[i].b, "before",
					words[l->shown[i].before & 3], "after",
					words[l->shown[i].after & 3], "before_services",
					l->shown[i].before_services, "after_services",
					l->shown[i].after_services, "before_classes",
					l->shown[i].before_classes, "after_classes",
					l->shown[i].after_classes));
	return list;
}

static void pairs_free(struct pair_list *l)
{
	for (unsigned i = 0; l && i < l->n; i++) {
		json_decref(l->shown[i].before_services);
		json_decref(l->shown[i].after_services);
		json_decref(l->shown[i].before_classes);
		json_decref(l->shown[i].after_classes);
	}
	free(l);
}

/* ---- sessions ---- */

struct session_count {
	struct server *s;
	json_t *list;
	uint64_t cut, renewed;
};

static void add_session(void *arg, const struct store_session *row, enum mvpn_reason why)
{
	struct session_count *c = arg;
	bool cut = why == MVPN_R_POLICY_CHANGED;

	if (c->cut + c->renewed < SHOWN_MAX)
		json_array_append_new(c->list,
				      json_pack("{s:o, s:o, s:o, s:b, s:s}", "id", json_hex(row->id, 16),
						"a", device_name_json(c->s, row->a), "b",
						device_name_json(c->s, row->b), "renewed", !cut,
						"reason", mvpn_reason_name(why)));
	c->cut += cut;
	c->renewed += !cut;
}

void admin_policy_diff(struct server *s, struct ipc_call *call, json_t *args)
{
	const char *text;
	struct policy *p = policy_arg(s, call, args, MVPN_EXIT_USAGE, &text);
	struct pair_list *pairs = calloc(1, sizeof(*pairs));
	struct session_count ends = {s, json_array(), 0, 0};
	json_t *lines = NULL, *o;
	bool all = true, same;
	int r;

	if (!p)
		goto out;
	r = pairs ? lines_json(s, text, &lines) : -ENOMEM;
	if (r == 0)
		r = pairs_of(s, p, pairs);
	if (r == -E2BIG) {
		all = false;
		r = 0;
	}
	if (r == 0)
		r = session_foresee(s, p, add_session, &ends);
	if (r < 0) {
		ipc_reply_error(call, MVPN_EXIT_USAGE, "store", "see the server's log",
				"cannot compare: %s", strerror(-r));
		goto out;
	}
	same = !json_array_size(lines);
	o = json_pack("{s:I, s:b, s:O, s:o, s:b, s:I, s:I, s:O, s:I, s:I, s:o, s:i}", "rev",
		      (json_int_t)s->policy_rev, "same", same, "changes", lines, "pairs",
		      pairs_json(pairs), "pairs_known", all, "pairs_gain", (json_int_t)pairs->gain,
		      "pairs_lose", (json_int_t)pairs->lose, "sessions", ends.list, "sessions_cut",
		      (json_int_t)ends.cut, "sessions_renewed", (json_int_t)ends.renewed, "warnings", policy_warnings(s, p), "exit",
		      same ? EXIT_SAME : EXIT_DIFFERS);
	ipc_reply_ok(call, o);
out:
	json_decref(lines);
	json_decref(ends.list);
	pairs_free(pairs);
	policy_free(p);
}
