/* SPDX-License-Identifier: BSD-2-Clause */
/* The verb audit: the newest events, those after a known one, or all from now on. */
#include <errno.h>

#include "admin.h"
#include "audit_check.h"
#include "audit_feed.h"

#define SHOWN 100
#define FOLLOWED 10 /* shown of what was before */
#define SHOWN_MAX 50000
#define PAGE 500 /* of one reply, some 3 ms, in which the server does nothing else; who wants more asks again */

/* where to begin, so that the last `limit` are shown, or those after a known one */
static uint64_t first_seq(const struct server *s, int64_t after, int64_t limit)
{
	if (after >= 0)
		return (uint64_t)after + 1;
	return s->audit.seq > (uint64_t)limit ? s->audit.seq - (uint64_t)limit + 1 : 1;
}

/* checked: whether it was to be verified, and was looked at */
static void show(struct server *s, struct ipc_call *call, const struct audit_asked *asked, bool checked, int r,
		 uint64_t bad)
{
	unsigned limit = asked->limit < PAGE ? asked->limit : PAGE;
	json_t *events = NULL, *o;

	if (r < 0 && r != -EBADMSG) {
		reply_store_error(s, call, r);
		return;
	}
	o = json_object();
	if (checked)
		json_object_set_new(o, "verified", json_boolean(r == 0));
	if (r == -EBADMSG) {
		json_object_set_new(o, "broken_seq", json_integer((json_int_t)bad));
		json_object_set_new(o, "exit", json_integer(MVPN_EXIT_UNHEALTHY));
	}
	r = audit_list(&s->audit, asked->from, limit, &events);
	if (r < 0) {
		json_decref(o);
		reply_store_error(s, call, r);
		return;
	}
	if (asked->limit > limit && json_array_size(events) == limit)
		json_object_set_new(o, "more", json_true());
	json_object_set_new(o, "events", events);
	ipc_reply_ok(call, o);
}

static void on_checked(struct server *s, struct ipc_call *call, const struct audit_asked *asked, int r, uint64_t bad)
{
	if (!asked->follow)
		show(s, call, asked, true, r, bad);
	else if (r == -EBADMSG)
		ipc_reply_error(call, MVPN_EXIT_UNHEALTHY, "audit-broken",
				"without --follow what is there is shown",
				"the audit trail is broken at event %llu: it or one before was "
				"changed or removed",
				(unsigned long long)bad);
	else if (r < 0)
		reply_store_error(s, call, r);
	else
		audit_feed_add(s, call, asked->from);
}

void admin_audit(struct server *s, struct ipc_call *call, json_t *args)
{
	bool verify = json_is_true(json_object_get(args, "verify"));
	bool follow = json_is_true(json_object_get(args, "follow"));
	int64_t limit = follow ? FOLLOWED : SHOWN, after = -1;
	struct audit_asked asked;
	int r = 0;

	if (!arg_number(call, args, "limit", follow ? 0 : 1, SHOWN_MAX, &limit) ||
	    !arg_number(call, args, "after", 0, INT64_MAX - 1, &after))
		return;
	asked = (struct audit_asked){follow, first_seq(s, after, limit), (unsigned)limit};
	if (verify)
		r = audit_check(s, call, &asked, on_checked);
	else if (follow)
		audit_feed_add(s, call, asked.from);
	else
		show(s, call, &asked, false, 0, 0);
	if (r < 0)
		reply_store_error(s, call, r);
}
