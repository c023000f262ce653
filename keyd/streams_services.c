/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Connections at the socket level whose service the policy does not name any more: reset, while the others of the pair go on. Either end
 * judges its own, so that none stays because the other keyd wants it to.
 */
#include <netinet/in.h>
#include <stdio.h>

#include "log.h"
#include "peers.h"
#include "pumps.h"
#include "session_rules.h"
#include "sessions.h"

static bool serves(const struct session *session, const struct stream *s)
{
	/* datagrams are asked for one by one, and what waits for a session is asked for then */
	return s->kind != STREAM_CONNECTION || s->state == STREAM_WAITS ||
	       session_serves(session, !s->opener, IPPROTO_TCP, s->t.dst.port);
}

void streams_services(const struct session *session)
{
	struct keyd *k = session->k;
	struct stream *s, *next;
	unsigned n = 0;

	if (!session->peer->streams)
		return;
	pumps_hold(k);
	for (s = session->peer->streams; s; s = next) {
		next = s->next;
		if (serves(session, s))
			continue;
		n++;
		stream_abort(s, MVPN_R_SERVICE);
	}
	pumps_release(k);
	if (n)
		log_warn("%u connections at the socket level with %s reset: %s", n, peer_label(session->peer),
			 mvpn_reason_text(MVPN_R_SERVICE));
}

/* by which it was open: what its sessions say that are not made anew yet */
static uint32_t line_of(const struct stream *s, char *ret, size_t size)
{
	const struct session *session;
	const char *text;
	uint32_t line = 0;
	size_t len;

	for (session = s->peer->sessions; session && !line; session = session->next) {
		line = session_rules_line(session->rules, IPPROTO_TCP, s->opener ? -1 : s->t.dst.port,
					  s->opener ? s->t.dst.port : -1, &text, &len);
		if (line)
			snprintf(ret, size, "%.*s", (int)len, text);
	}
	return line;
}

void stream_forbidden(const struct stream *s)
{
	char rule[MVPN_RULE_TEXT_B + 1] = "";
	uint32_t line = line_of(s, rule, sizeof(rule));

	stream_audit(s, MVPN_REFUSED_SERVICE, line, rule);
}
