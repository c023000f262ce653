/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Connections at the socket level whose process may not have them any more, for the policy's lines with `by` have changed: what goes as
 * packets the network shim stops, these keyd resets. What other devices have opened is their keyd's to judge.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "peers.h"
#include "processes.h"
#include "pumps.h"

struct owner {
	struct mvpn_endpoint self;
	struct mvpn_process who;
};

struct walk {
	struct owner *list;
	unsigned n;
	bool failed;
};

static int by_end(const void *a, const void *b)
{
	const struct owner *x = a, *y = b;
	int r = memcmp(&x->self.addr, &y->self.addr, sizeof(x->self.addr));

	return r ?: (int)x->self.port - (int)y->self.port;
}

static void add(void *arg, const struct mvpn_endpoint *self, const struct mvpn_process *who)
{
	struct walk *w = arg;
	struct owner *more = w->list;

	if (!(w->n & (w->n - 1))) {
		more = reallocarray(w->list, w->n ? 2UL * w->n : 1, sizeof(*more));
		w->failed |= !more;
	}
	if (!more)
		return;
	w->list = more;
	w->list[w->n++] = (struct owner){*self, *who};
}

void flow_key_put(struct mvpn_flow_key *ret, uint8_t proto, const struct mvpn_endpoint *src, const struct mvpn_endpoint *dst)
{
	*ret = (struct mvpn_flow_key){.sport = htons(src->port), .dport = htons(dst->port), .proto = proto};
	memcpy(ret->src, src->addr.b, 16);
	memcpy(ret->dst, dst->addr.b, 16);
}

bool stream_socket_key(const struct stream *s, struct mvpn_flow_key *ret)
{
	struct sockaddr_storage own, other;
	socklen_t own_len = sizeof(own), other_len = sizeof(other);
	struct mvpn_endpoint keyd, app;

	if (s->kind != STREAM_CONNECTION || s->app.fd < 0 ||
	    getsockname(s->app.fd, (struct sockaddr *)&own, &own_len) < 0 ||
	    getpeername(s->app.fd, (struct sockaddr *)&other, &other_len) < 0 ||
	    mvpn_endpoint_from_sockaddr(&keyd, (struct sockaddr *)&own) ||
	    mvpn_endpoint_from_sockaddr(&app, (struct sockaddr *)&other))
		return false;
	flow_key_put(ret, IPPROTO_TCP, &app, &keyd);
	return true;
}

void stream_audit(const struct stream *s, unsigned why, uint32_t line, const char *rule)
{
	const struct peer *twin = peer_by_id(s->k, s->peer->id);
	struct mvpn_refusal e = {
		.count = 1, .peer = twin ? twin->index : s->peer->index, .line = line, .why = why};
	struct mvpn_flow_key socket;

	flow_key_put(&e.flow, IPPROTO_TCP, &s->t.src, &s->t.dst);
	s->k->counters[KC_STREAM_FORBIDDEN]++;
	process_audit_stream(s->k->processes->audit, &e, rule, stream_socket_key(s, &socket) ? &socket : NULL);
}

static void cut(struct stream *s, uint32_t line)
{
	stream_audit(s, MVPN_REFUSED_STREAM, line, NULL);
	stream_abort(s, MVPN_R_POLICY_CHANGED);
}

/* One that was not found the application has closed: nothing more comes of it than what keyd has. */
static void judge(struct stream *s, const struct peer *twin, const struct walk *w)
{
	const struct owner key = {.self = s->t.src}, *found = NULL;
	uint64_t traits = 0;
	uint32_t line;

	if (w->n)
		found = bsearch(&key, w->list, w->n, sizeof(*w->list), by_end);
	if (!found && !w->failed)
		return;
	/* what is known since an earlier numbering means something else now */
	if (found && found->who.generation >= s->k->processes->generation)
		traits = found->who.traits;
	if (!processes_may(twin->guard, traits, IPPROTO_TCP, s->t.dst.port, &line))
		cut(s, line);
}

static const struct peer *guarded_twin(struct keyd *k, const struct peer *p)
{
	const struct peer *twin = p->streams ? peer_by_id(k, p->id) : NULL;

	return twin && twin->guard ? twin : NULL;
}

void streams_judge(struct keyd *k)
{
	struct walk w = {};
	bool any = false;
	int r;

	for (uint32_t i = 1; k->streams && i <= k->npeers && !any; i++)
		any = guarded_twin(k, k->peers[i]);
	if (!any)
		return;
	r = shim_stream_owners(k->shim, add, &w);
	w.failed |= r < 0;
	if (w.failed)
		log_ratelimited(LOG_L_ERR, "whose the open connections at the socket level are is not known "
					   "(%s): those to devices that lines with `by` are about are cut",
				strerror(r < 0 ? -r : ENOMEM));
	if (w.n)
		qsort(w.list, w.n, sizeof(*w.list), by_end);
	pumps_hold(k);
	for (uint32_t i = 1; i <= k->npeers; i++) {
		const struct peer *twin = guarded_twin(k, k->peers[i]);
		struct stream *s, *next;

		for (s = twin ? k->peers[i]->streams : NULL; s; s = next) {
			next = s->next;
			if (s->opener && s->kind == STREAM_CONNECTION)
				judge(s, twin, &w);
		}
	}
	pumps_release(k);
	free(w.list);
}
