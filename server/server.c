/* SPDX-License-Identifier: BSD-2-Clause */
/* Putting the core together, and taking it apart. */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include "admin.h"
#include "audit_check.h"
#include "audit_feed.h"
#include "channel.h"
#include "crypto.h"
#include "depart.h"
#include "echo.h"
#include "fsutil.h"
#include "gate.h"
#include "introduce.h"
#include "listen.h"
#include "log.h"
#include "push.h"
#include "refusal.h"
#include "relay.h"
#include "relay_tcp.h"
#include "server.h"
#include "server_key.h"
#include "session.h"
#include "tables.h"

#define SEQ_BLOCK 10000 /* numbers promised by one write */
#define SEQ_CLOCK_BITS 16 /* they begin with the clock, so many a second, which no server gives */
#define CHORES_MS 60000
#define CHECKPOINT_MS 3600000 /* so much of the audit trail could be cut off unseen, by who has the store only */
#define SEEN_MS 1000
#define SEEN_AT_ONCE 500 /* devices in one transaction: a few milliseconds */
#define FORGET_SESSION_S \
	86400 /* ended ones are kept so long, for the operator and for what is owed */
#define FORGET_TOKEN_S (30 * 86400) /* used up and expired ones */

int64_t wall_now(void)
{
	return (int64_t)time(NULL);
}

int server_transact(struct server *s, bool durable, int (*fn)(struct server *s, void *arg),
		    void *arg)
{
	int r = store_begin(s->store, durable);

	if (r == 0)
		r = store_end(s->store, fn(s, arg));
	if (r == 0) {
		audit_feed_wake(s);
		return 0;
	}
	/* the chain's end is where the store says it is */
	audit_open(&s->audit, s->store);
	if (r != -ECANCELED) {
		count(s, store_errors);
		log_ratelimited(LOG_L_ERR, "the store refused a change (%s: %s): %s", strerror(-r),
				store_error(s->store),
				r == -ENOSPC ? "make room on the disk"
					     : "look at the disk and the store's permissions");
	}
	return r;
}

uint32_t server_rekey_s(const struct server *s)
{
	return policy_rekey_s(s->policy, s->conf->rekey_s);
}

uint32_t server_max_offline_s(const struct server *s)
{
	return policy_max_offline_s(s->policy, s->conf->max_offline_s);
}

/* ---- session numbers ---- */

static int promise_seq(struct server *s, void *arg)
{
	char text[32];

	snprintf(text, sizeof(text), "%" PRIu64, s->seq + SEQ_BLOCK);
	return store_meta_set(s->store, "seq", text);
}

static int reserve_seq(struct server *s)
{
	int r = server_transact(s, true, promise_seq, NULL);

	if (r == 0)
		s->seq_limit = s->seq + SEQ_BLOCK;
	return r;
}

uint64_t server_next_seq(struct server *s)
{
	if (s->seq == s->seq_limit && reserve_seq(s) < 0)
		return 0;
	return ++s->seq;
}

static int load_seq(struct server *s)
{
	char *text = NULL;
	uint64_t max = 0;
	int r = store_meta_get(s->store, "seq", &text);

	if (r == 0)
		s->seq = strtoull(text, NULL, 10);
	else if (r != -ENOENT)
		return r;
	free(text);
	r = store_session_seq_max(s->store, &max);
	if (s->seq < max)
		s->seq = max;
	/* a store that was restored from an old copy must not go back behind what devices have seen: they would take a session for old */
	if (s->seq < (uint64_t)wall_now() << SEQ_CLOCK_BITS)
		s->seq = (uint64_t)wall_now() << SEQ_CLOCK_BITS;
	s->seq_limit = s->seq;
	/* now, and not when the first packet of a pair waits for the disk */
	return r == 0 ? reserve_seq(s) : r;
}

/* ---- policy ---- */

static int audit_alarm(struct server *s, void *arg)
{
	return audit_add(&s->audit, "server", "policy-unreadable",
			 json_pack("{s:I, s:I, s:s}", "rev", (json_int_t)*(uint64_t *)arg,
				   "in_force", (json_int_t)(s->policy ? s->policy_rev : 0), "why",
				   s->policy_alarm ? s->policy_alarm : ""));
}

static void policy_alarm(struct server *s, uint64_t bad, const struct policy_error *e)
{
	free(s->policy_alarm);
	if (asprintf(&s->policy_alarm,
		     "policy revision %" PRIu64 " does not parse (%u:%u: %s); revision %" PRIu64
		     " is in force: apply a corrected policy",
		     bad, e->line, e->column, e->message, s->policy_rev) < 0)
		s->policy_alarm = NULL;
	server_transact(s, true, audit_alarm, &bad);
	log_err("%s", s->policy_alarm ? s->policy_alarm : "the stored policy does not parse");
}

/* the newest revision that parses; none at all means that nothing is allowed */
static int load_policy(struct server *s)
{
	struct policy_error e, first = {0};
	uint64_t rev, newest;
	char *text;
	int r = store_policy_get(s->store, 0, &rev, NULL, &text);

	if (r < 0)
		return r == -ENOENT ? 0 : r;
	newest = rev;
	while ((r = policy_parse(text, strlen(text), &s->policy, &e)) == -EINVAL) {
		free(text);
		if (rev == newest)
			first = e;
		r = store_policy_before(s->store, rev, &rev, &text);
		if (r < 0) {
			/* the revision number must not go back, or devices would keep their refusals */
			policy_alarm(s, newest, &first);
			s->policy_rev = newest;
			return r == -ENOENT ? 0 : r;
		}
	}
	free(text);
	if (r < 0)
		return r;
	s->policy_rev = rev;
	if (rev != newest)
		policy_alarm(s, newest, &first);
	return 0;
}

/* ---- identity and store ---- */

static int say(char **ret_error, int r, const char *what, const char *path, const char *hint)
{
	if (!*ret_error && asprintf(ret_error, "%s %s: %s%s%s", what, path, strerror(-r),
				    hint ? "; " : "", hint ? hint : "") < 0)
		*ret_error = NULL;
	return r;
}

static int load_meta(struct server *s)
{
	char *text = NULL;
	int r = store_meta_get(s->store, "name", &text);

	if (r == 0)
		snprintf(s->id.name, sizeof(s->id.name), "%s", text);
	free(text);
	text = NULL;
	if (r == 0 || r == -ENOENT)
		r = store_meta_get(s->store, "net_id", &text);
	if (r == 0)
		r = mvpn_unhex(s->id.net_id, sizeof(s->id.net_id), text);
	free(text);
	return r == -ENOENT ? 0 : r;
}

static int open_state(struct server *s, char **ret_error)
{
	const char *dir = s->conf->state;
	char *path;
	int r = identity_load(dir, &s->id);

	if (r < 0)
		return say(
			ret_error, r, "cannot read the server's keys in", dir,
			r == -ENOENT ? "make them with: mvpn-server init --state DIR; if there was a server "
				       "already, restore server.key and store.key from its backup"
			: r == -EINVAL ? "server.key or store.key is damaged: restore it from a backup"
			: r == -EPERM
				? "the key files must be owned by this user or root, with mode 0600"
				: NULL);
	path = server_settings_store_path(s->conf);
	if (!path)
		return -ENOMEM;
	r = store_open(path, &s->store, ret_error);
	if (r < 0 && *ret_error) {
		char *words = *ret_error;

		if (asprintf(ret_error, "cannot open the store %s: %s; if it is damaged, restore a backup of it", path, words) < 0)
			*ret_error = NULL;
		free(words);
	}
	if (r < 0)
		say(ret_error, r, "cannot open the store", path, NULL);
	free(path);
	return r;
}

static int load_store(struct server *s)
{
	int r = load_meta(s);

	s->audit.key = s->id.store_key;
	if (r == 0)
		r = audit_open(&s->audit, s->store);
	if (r == 0)
		r = registry_new(&s->reg);
	if (r == 0)
		r = registry_load(s->reg, s->store);
	if (r == 0)
		r = load_policy(s);
	if (r == 0)
		r = registry_set_policy(s->reg, s->policy);
	if (r == 0)
		r = load_seq(s);
	return r;
}

static int keep_audit(struct server *s, void *arg)
{
	int64_t before = wall_now() - (int64_t)s->conf->keep_days * 86400;
	int r = 0, *ret_pruned = arg;

	if (mono_ms() >= s->checkpoint_ms) {
		r = audit_checkpoint(&s->audit);
		s->checkpoint_ms = mono_ms() + CHECKPOINT_MS;
	}
	if (r == 0)
		r = *ret_pruned = audit_prune(&s->audit, s->conf->keep_events, before);
	return r < 0 ? r : 0;
}

static void chores(void *arg)
{
	struct server *s = arg;
	int pruned = 0;
	int64_t now = wall_now();
	int r = store_begin(s->store, false);

	if (r == 0) {
		r = store_session_prune(s->store, now, now - FORGET_SESSION_S);
		if (r == 0)
			r = store_token_prune(s->store, now - FORGET_TOKEN_S);
		r = store_end(s->store, r);
	}
	if (r < 0)
		count(s, store_errors);
	if (s->cut_failed)
		session_cut_forbidden(s);
	server_transact(s, false, keep_audit, &pruned);
	loop_timer_arm(s->chores, audit_prune_goes_on(pruned) ? 1 : CHORES_MS);
}

/* ---- when devices were seen ---- */

void server_seen(struct server *s, struct device *d)
{
	d->seen = true;
	if (!loop_timer_armed(s->seen))
		loop_timer_arm(s->seen, SEEN_MS);
}

/* returns whether devices are left */
static bool write_seen(struct server *s, unsigned max)
{
	int r = store_begin(s->store, false);

	while (r == 0 && max && s->seen_at < s->reg->size) {
		struct device *d = s->reg->devices[s->seen_at++];

		if (!d || !d->seen)
			continue;
		d->seen = false;
		max--;
		r = store_device_seen(s->store, d->row.id, d->row.boot_gen, d->row.last_seen_at);
	}
	if (store_end(s->store, r) < 0)
		count(s, store_errors);
	if (s->seen_at < s->reg->size)
		return true;
	s->seen_at = 0;
	return false;
}

static void on_seen(void *arg)
{
	struct server *s = arg;

	if (write_seen(s, SEEN_AT_ONCE))
		loop_timer_arm(s->seen, SEEN_MS / 10);
}

static void owner_changed(void *arg, const struct mvpn_prefix *p, struct device *before,
			  struct device *now)
{
	push_prefix(arg, p);
	/* Who lost it must not go on with it. Who gained it makes its sessions anew by itself, without a gap. */
	session_mark(arg, before);
}

int server_new(const struct server_settings *conf, struct loop *l, struct server **ret,
	       char **ret_error)
{
	struct server *s = calloc(1, sizeof(*s));
	int r;

	*ret_error = NULL;
	if (!s)
		return -ENOMEM;
	s->conf = conf;
	s->loop = l;
	s->started_ms = mono_ms();
	r = open_state(s, ret_error);
	if (r == 0) {
		r = load_store(s);
		if (r < 0)
			say(ret_error, r, "cannot load the store:", store_error(s->store),
			    "restore a backup if it is damaged");
	}
	if (r == 0)
		r = loop_timer_new(l, conn_reaper, s, &s->reaper);
	if (r == 0)
		r = loop_timer_new(l, chores, s, &s->chores);
	if (r == 0)
		r = audit_feed_new(s);
	if (r == 0)
		r = audit_checks_new(s);
	if (r == 0)
		r = refusals_new(s);
	if (r == 0)
		r = loop_timer_new(l, on_seen, s, &s->seen);
	if (r == 0)
		r = push_new(s);
	if (r == 0)
		r = tables_new(s);
	if (r == 0)
		r = depart_new(s);
	if (r == 0)
		r = intros_new(s);
	if (r == 0)
		r = gate_new(s);
	if (r == 0)
		r = server_key_new(s);
	if (r == 0)
		r = listener_new(s, ret_error);
	if (r == 0)
		r = echo_new(s);
	if (r == 0)
		r = relay_new(s);
	if (r < 0) {
		server_free(s);
		return r;
	}
	s->reg->changed = owner_changed;
	s->reg->changed_arg = s;
	/* a crash may have come between a revocation or a policy and what it cuts */
	session_cut_forbidden(s);
	loop_timer_arm(s->chores, 1000);
	*ret = s;
	return 0;
}

int server_open_control(struct server *s, char **ret_error)
{
	int r = admin_new(s);

	return r < 0 ? say(ret_error, r, "cannot open the control socket", s->conf->socket,
			   r == -EADDRINUSE ? "another mvpn-server uses it" : NULL)
		     : 0;
}

void server_say_goodbye(struct server *s)
{
	for (struct conn *c = s->conns; c; c = c->next)
		if (c->phase == CONN_READY || c->phase == CONN_LOGIN)
			conn_close(c, MVPN_R_SHUTDOWN);
	refusals_flush(s);
	conn_reaper(s); /* writes what the sockets take at once */
	s->seen_at = 0;
	write_seen(s, UINT_MAX);
}

void server_free(struct server *s)
{
	if (!s)
		return;
	admin_free(s->admin);
	audit_checks_free(s->checks);
	audit_feed_free(s->feed);
	conn_free_all(s);
	refusals_free(s->refusals);
	relay_tcp_free_all(s);
	relay_free(s->relay);
	echo_free(s->echo);
	listener_free(s->listener);
	gate_free(s->gate);
	server_key_free(s);
	intros_free(s->intros);
	push_free(s->push);
	tables_free(s->tables);
	loop_timer_free(s->reaper);
	loop_timer_free(s->chores);
	loop_timer_free(s->depart);
	loop_timer_free(s->seen);
	registry_free(s->reg);
	policy_free(s->policy);
	free(s->policy_alarm);
	free(s->restored_alarm);
	store_close(s->store);
	identity_free(&s->id);
	chan_buf_free(&s->buf);
	free(s);
}
