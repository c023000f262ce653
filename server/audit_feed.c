/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "audit_feed.h"
#include "mvpn/ctl.h"

#define STEP 200    /* events for one follower before others have their turn */
#define LAG_MS 100  /* a reader that takes nothing is tried again after so long */

struct follower {
	struct audit_feed *feed;
	struct follower *next;
	struct ipc_call *call;
	uint64_t seq; /* the next event */
	unsigned sent; /* in this step */
};

struct audit_feed {
	struct server *s;
	struct loop_timer *timer;
	struct follower *first;
	unsigned count;
};

static void unlink_follower(struct follower *w)
{
	struct follower **at = &w->feed->first;

	while (*at != w)
		at = &(*at)->next;
	*at = w->next;
	w->feed->count--;
	free(w);
}

static void on_gone(void *arg)
{
	unlink_follower(arg);
}

static int send_event(void *arg, const struct store_audit *row)
{
	struct follower *w = arg;
	json_t *o = audit_json(row);
	int r;

	if (w->sent == STEP) {
		json_decref(o);
		return -EAGAIN;
	}
	if (!o)
		return -ENOMEM;
	json_object_set_new(o, "schema", json_integer(MVPN_CTL_SCHEMA));
	json_object_set_new(o, "ok", json_true());
	r = ipc_stream(w->call, o);
	if (r < 0)
		return r;
	w->seq = row->seq + 1;
	w->sent++;
	return 0;
}

/* when to go on: 0 at once, LAG_MS, or UINT64_MAX when all is sent */
static uint64_t step(struct server *s, struct follower *w)
{
	int r;

	w->sent = 0;
	if (w->seq > s->audit.seq)
		return UINT64_MAX;
	r = store_audit_each(s->store, w->seq, send_event, w);
	if (r == -EAGAIN)
		return 0;
	return r < 0 ? LAG_MS : UINT64_MAX;
}

static void on_timer(void *arg)
{
	struct audit_feed *f = arg;
	uint64_t wait = UINT64_MAX;

	/* nobody goes meanwhile: a client that has gone is noticed by the loop only */
	for (struct follower *w = f->first; w; w = w->next) {
		uint64_t ms = step(f->s, w);

		wait = ms < wait ? ms : wait;
	}
	if (wait != UINT64_MAX)
		loop_timer_arm(f->timer, wait);
}

void audit_feed_wake(struct server *s)
{
	if (s->feed && s->feed->first && !loop_timer_armed(s->feed->timer))
		loop_timer_arm(s->feed->timer, 0);
}

void audit_feed_add(struct server *s, struct ipc_call *call, uint64_t seq)
{
	struct audit_feed *f = s->feed;
	struct follower *w = f->count < AUDIT_FOLLOWERS_MAX ? calloc(1, sizeof(*w)) : NULL;

	if (!w) {
		ipc_reply_error(call, MVPN_EXIT_FAILED, "busy", "end another one",
				"%u programs follow the audit trail already", f->count);
		return;
	}
	*w = (struct follower){.feed = f, .next = f->first, .call = call, .seq = seq};
	f->first = w;
	f->count++;
	ipc_call_on_gone(call, on_gone, w);
	audit_feed_wake(s);
}

int audit_feed_new(struct server *s)
{
	struct audit_feed *f = calloc(1, sizeof(*f));

	if (!f)
		return -ENOMEM;
	f->s = s;
	s->feed = f;
	return loop_timer_new(s->loop, on_timer, f, &f->timer);
}

void audit_feed_free(struct audit_feed *f)
{
	if (!f)
		return;
	while (f->first)
		unlink_follower(f->first);
	loop_timer_free(f->timer);
	free(f);
}
