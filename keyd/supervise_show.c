/* SPDX-License-Identifier: BSD-2-Clause */
/* The one verb of a supervising keyd: which networks there are, and how (docs/control.md). */
#include <string.h>
#include <time.h>

#include "supervise_priv.h"

static const char *state_name(const struct child *c)
{
	static const char *const names[] = {
		[CHILD_WAITS] = "failed", [CHILD_STARTS] = "starting", [CHILD_RUNS] = "running", [CHILD_ENDS] = "ending"};

	return names[c->state];
}

static json_t *show_one(const struct member *m, uint64_t now_ms)
{
	const struct child *c = &m->child;
	bool runs = c->state == CHILD_RUNS, waits = c->state == CHILD_WAITS;
	json_t *o = json_pack("{s:s?, s:s, s:s, s:s, s:i, s:i, s:s?}", "name", *m->network->name ? m->network->name : NULL,
			      "state", state_name(c), "config", m->network->args.config, "socket",
			      m->settings.socket ? m->settings.socket : m->network->socket, "pid", (int)c->pid,
			      "starts", (int)c->starts, "why", *c->why ? c->why : NULL);

	json_object_set_new(o, "since_at",
			    runs ? json_integer(time(NULL) - (json_int_t)((now_ms - c->ready_ms) / 1000)) : json_null());
	json_object_set_new(o, "again_s",
			    waits ? json_real(c->due_ms > now_ms ? (c->due_ms - now_ms) / 1000.0 : 0.0) : json_null());
	return o;
}

static void on_request(void *arg, struct ipc_call *call, const char *verb, json_t *args)
{
	struct supervisor *s = arg;
	json_t *list;

	if (strcmp(verb, "networks")) {
		ipc_reply_error(call, MVPN_EXIT_USAGE, "unknown-verb", "mvpnctl --network NAME asks that network's keyd",
				"who supervises the networks does not know the verb %s", verb);
		return;
	}
	list = json_array();
	for (const struct member *m = s->members; m; m = m->next)
		json_array_append_new(list, show_one(m, mono_ms()));
	ipc_reply_ok(call, json_pack("{s:s, s:o, s:I}", "version", MVPN_VERSION, "networks", list, "strangers",
				     (json_int_t)s->strangers));
}

int supervise_control(struct supervisor *s, const char *path)
{
	return ipc_server_new(s->loop, path, on_request, s, &s->ipc);
}
