/* SPDX-License-Identifier: BSD-2-Clause */
/* Verbs that are answered later: ping, wait, rekey, enroll. */
#include "control.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "channel.h"
#include "hsm.h"
#include "log.h"
#include "mvpn/ctl.h"
#include "nat.h"
#include "peers.h"
#include "relayed.h"
#include "sessions.h"

#define PING_COUNT_MAX 10000
#define REKEY_WAIT_MS ((MVPN_INTRO_TRIES * MVPN_INTRO_RETRY_S + 1) * 1000)

struct ping_run {
	struct ping_run *next;
	struct keyd *k;
	struct ipc_call *call;
	struct peer *peer;
	struct loop_timer *timer;
	unsigned count, sent, received, interval_ms, timeout_ms;
	uint64_t token; /* of the first; each next one adds 1 */
	uint64_t since_ms, session_ms;
	uint64_t sent_ns;
	bool answered; /* the last one sent */
	json_t *replies;
	double min, max, sum;
};

/* someone who waits for a state (peer NULL), for a confirmed session (peer), or for the next epoch (rekey) */
struct waiter {
	struct waiter *next;
	struct keyd *k;
	struct ipc_call *call;
	struct peer *peer;
	bool rekey;
	uint32_t epoch;
	struct loop_timer *timer;
};

static struct peer *peer_arg(struct keyd *k, struct ipc_call *call, json_t *args)
{
	const char *what = json_string_value(json_object_get(args, "peer"));
	struct peer *p = what ? peer_find(k, what) : NULL;

	if (!what)
		ipc_reply_error(call, MVPN_EXIT_USAGE, "bad-argument", "mvpnctl peers lists them",
				"which peer?");
	else if (!p)
		ipc_reply_error(call, MVPN_EXIT_FAILED, "no-such-peer",
				"`mvpnctl peers` lists those that the server has told of",
				"no peer is called or owns %s", what);
	return p;
}

static unsigned uint_arg(json_t *args, const char *name, unsigned otherwise, unsigned max)
{
	json_t *v = json_object_get(args, name);
	json_int_t n = json_is_integer(v) ? json_integer_value(v) : otherwise;

	return n < 1 ? 1 : n > max ? max : n;
}

static bool session_confirmed(const struct peer *p)
{
	const struct session *s = session_transmitting(p);

	return s && s->state == SESSION_ACTIVE;
}

/* ---- ping ---- */

static void ping_free(struct ping_run *r)
{
	struct ping_run **at;

	for (at = &r->k->pings; *at != r; at = &(*at)->next)
		;
	*at = r->next;
	loop_timer_free(r->timer);
	json_decref(r->replies);
	free(r);
}

static void ping_done(struct ping_run *r)
{
	const struct session *s = session_transmitting(r->peer);
	json_t *body = json_pack("{s:s, s:i, s:i, s:I, s:O, s:s, s:s?}", "peer", peer_label(r->peer),
				 "sent", r->sent, "received", r->received, "session_ms",
				 (json_int_t)r->session_ms, "replies", r->replies, "path",
				 s ? nat_path_name(s) : "none", "relay",
				 relayed_via(r->peer));

	if (r->received)
		json_object_set_new(body, "rtt_ms",
				    json_pack("[f,f,f]", r->min, r->sum / r->received, r->max));
	else
		json_object_set_new(body, "exit", json_integer(MVPN_EXIT_UNHEALTHY));
	ipc_reply_ok(r->call, body);
	ping_free(r);
}

static void ping_gone(void *arg)
{
	ping_free(arg);
}

static void ping_send(struct ping_run *r)
{
	struct session *s = session_transmitting(r->peer);

	r->answered = false;
	r->sent_ns = mono_ns();
	if (s)
		dp_send_ctrl(r->k->dp, s->rx_spi, MVPN_CTRL_PING, r->token + r->sent, 0);
	r->sent++;
	loop_timer_arm(r->timer, r->timeout_ms);
}

static void ping_timer(void *arg)
{
	struct ping_run *r = arg;

	if (!r->sent) {
		ipc_reply_error(r->call, MVPN_EXIT_UNHEALTHY, "no-session",
				"`mvpnctl doctor` looks for the cause",
				"no session with %s in %u ms: %s", peer_label(r->peer),
				r->timeout_ms,
				r->k->state != KEYD_ONLINE ? "there is no channel to the server"
				: r->peer->error	   ? mvpn_reason_text(r->peer->error)
							   : "no answer yet");
		ping_free(r);
	} else if (r->sent >= r->count) {
		ping_done(r);
	} else {
		ping_send(r);
	}
}

static void ping_begin(struct ping_run *r)
{
	if (r->sent)
		return;
	r->session_ms = mono_ms() - r->since_ms;
	ping_send(r);
}

void control_pong(struct keyd *k, struct peer *p, const struct dp_event *e)
{
	struct ping_run *r;
	double ms;

	for (r = k->pings; r; r = r->next) {
		if (r->peer != p || r->answered || !r->sent || e->token != r->token + r->sent - 1)
			continue;
		ms = (e->at_ns - r->sent_ns) / 1e6;
		r->answered = true;
		r->min = r->received && r->min < ms ? r->min : ms;
		r->max = r->received && r->max > ms ? r->max : ms;
		r->sum += ms;
		r->received++;
		json_array_append_new(r->replies, json_real(ms));
		if (r->sent >= r->count)
			ping_done(r);
		else
			loop_timer_arm(r->timer, r->interval_ms);
		return;
	}
}

void control_ping(struct keyd *k, struct ipc_call *call, json_t *args)
{
	struct peer *p = peer_arg(k, call, args);
	struct ping_run *r = p ? calloc(1, sizeof(*r)) : NULL;

	if (!p)
		return;
	if (!r || loop_timer_new(k->loop, ping_timer, r, &r->timer)) {
		free(r);
		ipc_reply_error(call, MVPN_EXIT_FAILED, "no-memory", "", "out of memory");
		return;
	}
	r->k = k;
	r->call = call;
	r->peer = p;
	r->count = uint_arg(args, "count", 4, PING_COUNT_MAX);
	r->interval_ms = uint_arg(args, "interval_ms", 1000, 3600000);
	r->timeout_ms = uint_arg(args, "timeout_ms", 2000, 3600000);
	randombytes_buf(&r->token, sizeof(r->token));
	r->token >>= 2; /* with all that follow, below PMTU_TOKEN: path MTU probes have their own */
	r->since_ms = mono_ms();
	r->replies = json_array();
	r->next = k->pings;
	k->pings = r;
	ipc_call_on_gone(call, ping_gone, r);
	if (session_transmitting(p)) {
		ping_begin(r);
		return;
	}
	loop_timer_arm(r->timer, r->timeout_ms);
	p->backoff_until_ms = 0;
	peer_undeny(k, p); /* the operator asks anew */
	session_want(k, p, NULL, 0, 0);
}

/* ---- wait and rekey ---- */

static void waiter_free(struct waiter *w)
{
	struct waiter **at;

	for (at = &w->k->waiters; *at != w; at = &(*at)->next)
		;
	*at = w->next;
	loop_timer_free(w->timer);
	free(w);
}

static void waiter_gone(void *arg)
{
	waiter_free(arg);
}

static bool waiter_satisfied(const struct waiter *w)
{
	const struct session *s;

	if (w->rekey) {
		s = session_transmitting(w->peer);
		return s && s->state == SESSION_ACTIVE && s->epoch > w->epoch;
	}
	return w->k->state == KEYD_ONLINE && w->k->prefixes_known &&
	       (!w->peer || session_confirmed(w->peer));
}

static void waiter_answer(struct waiter *w)
{
	if (w->rekey)
		ipc_reply_ok(w->call, json_pack("{s:s, s:I}", "peer", peer_label(w->peer), "epoch",
						(json_int_t)session_transmitting(w->peer)->epoch));
	else
		ipc_reply_ok(w->call, json_pack("{s:s}", "state", keyd_state_name(w->k->state)));
	waiter_free(w);
}

static void waiter_timer(void *arg)
{
	struct waiter *w = arg;
	const char *error = w->k->server_error;

	if (w->rekey || (w->peer && w->k->state == KEYD_ONLINE))
		ipc_reply_error(
			w->call, MVPN_EXIT_UNHEALTHY, "timeout",
			"`mvpnctl peers` shows the last error", "no %ssession with %s in time: %s",
			w->rekey ? "new " : "confirmed ", peer_label(w->peer),
			w->peer->error ? mvpn_reason_text(w->peer->error) : "no error so far");
	else
		ipc_reply_error(w->call, MVPN_EXIT_UNHEALTHY, "timeout",
				"`mvpnctl doctor` looks for the cause",
				"not online in time: %s%s%s", keyd_state_name(w->k->state),
				error ? ": " : "", error ? error : "");
	waiter_free(w);
}

static struct waiter *waiter_new(struct keyd *k, struct ipc_call *call, struct peer *p,
				 unsigned timeout_ms)
{
	struct waiter *w = calloc(1, sizeof(*w));

	if (!w || loop_timer_new(k->loop, waiter_timer, w, &w->timer)) {
		free(w);
		ipc_reply_error(call, MVPN_EXIT_FAILED, "no-memory", "", "out of memory");
		return NULL;
	}
	w->k = k;
	w->call = call;
	w->peer = p;
	w->next = k->waiters;
	k->waiters = w;
	ipc_call_on_gone(call, waiter_gone, w);
	loop_timer_arm(w->timer, timeout_ms);
	return w;
}

void control_wait(struct keyd *k, struct ipc_call *call, json_t *args)
{
	struct peer *p = NULL;
	struct waiter *w;

	if (json_object_get(args, "peer")) {
		p = peer_arg(k, call, args);
		if (!p)
			return;
	}
	w = waiter_new(k, call, p, 1000 * uint_arg(args, "timeout_s", 30, 86400));
	if (!w)
		return;
	if (waiter_satisfied(w))
		waiter_answer(w);
	else if (p)
		session_want(k, p, NULL, 0, 0);
}

/* of the device at every layer at which it has a session; *ret_peer is the first of them, that for packets if there is one */
static int rekey_layers(struct keyd *k, const struct peer *p, struct peer **ret_peer)
{
	static const uint8_t layers[] = {MVPN_LAYER_NETWORK, MVPN_LAYER_SOCKET, MVPN_LAYER_LINK};
	struct peer *first = NULL;

	for (unsigned i = 0; i < sizeof(layers); i++) {
		struct peer *at = peer_layer_by_id(k, p->id, layers[i]);
		int r = at ? session_rekey(k, at) : -ENOENT;

		if (r && r != -EALREADY && r != -ENOENT)
			return r;
		if (r != -ENOENT && !first)
			first = at;
	}
	if (!first)
		return -ENOENT;
	*ret_peer = first;
	return 0;
}

void control_rekey(struct keyd *k, struct ipc_call *call, json_t *args)
{
	struct peer *p = peer_arg(k, call, args);
	struct waiter *w;
	int r;

	if (!p)
		return;
	r = rekey_layers(k, p, &p);
	if (r) {
		ipc_reply_error(call, MVPN_EXIT_FAILED, r == -ENOENT   ? "no-session"
				: r == -ENOKEY ? "key-away"
					       : "offline",
				r == -ENOENT
					? "one is made by the first packet, or by `mvpnctl ping`"
					: "mvpnctl status",
				"cannot rekey with %s: %s", peer_label(p),
				r == -ENOENT	 ? "there is no session"
				: r == -ENOTCONN ? "no channel to the server"
				: r == -ENOKEY	 ? hsm_problem(k)
						 : strerror(-r));
		return;
	}
	w = waiter_new(k, call, p, REKEY_WAIT_MS);
	if (w) {
		w->rekey = true;
		w->epoch = p->epoch;
	}
}

static void wake(struct keyd *k)
{
	struct waiter *w, *next;

	for (w = k->waiters; w; w = next) {
		next = w->next;
		if (waiter_satisfied(w))
			waiter_answer(w);
	}
}

void control_state_changed(struct keyd *k)
{
	wake(k);
}

void control_session_up(struct keyd *k, struct peer *p)
{
	struct ping_run *r, *next;

	wake(k);
	for (r = k->pings; r; r = next) {
		next = r->next;
		if (r->peer == p)
			ping_begin(r);
	}
}

void control_session_failed(struct keyd *k, struct peer *p, enum mvpn_reason why)
{
	struct ping_run *r, *next;

	if (why == MVPN_R_BUSY)
		return; /* the peer's own introduction serves as well */
	for (r = k->pings; r; r = next) {
		next = r->next;
		if (r->peer != p || r->sent)
			continue;
		ipc_reply_error(
			r->call, why == MVPN_R_DENIED ? MVPN_EXIT_DENIED : MVPN_EXIT_UNHEALTHY,
			mvpn_reason_name(why),
			why == MVPN_R_DENIED
				? "`mvpnctl server policy test` on the server says which rule"
				: "`mvpnctl doctor` looks for the cause here",
			"no session with %s: %s", peer_label(p), mvpn_reason_text(why));
		ping_free(r);
	}
}

/* ---- enroll ---- */

void control_enrol_done(struct keyd *k, const char *error, const char *todo)
{
	struct ipc_call *call = k->enrol_call;

	k->enrol_call = NULL;
	if (!call)
		return;
	if (error)
		ipc_reply_error(call, MVPN_EXIT_FAILED, "enrolment-failed",
				todo,
				"enrolment failed: %s", error);
	else
		ipc_reply_ok(call, json_pack("{s:o, s:s, s:s}", "device", show_device(k), "server",
					     k->id->server, "state", keyd_state_name(k->state)));
}

void control_wait_free(struct keyd *k)
{
	while (k->pings) {
		ipc_reply_error(k->pings->call, MVPN_EXIT_UNREACHABLE, "stopping", "",
				"keyd is stopping");
		ping_free(k->pings);
	}
	while (k->waiters) {
		ipc_reply_error(k->waiters->call, MVPN_EXIT_UNREACHABLE, "stopping", "",
				"keyd is stopping");
		waiter_free(k->waiters);
	}
	control_enrol_done(k, "keyd is stopping", "");
}
