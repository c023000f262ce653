/* SPDX-License-Identifier: BSD-2-Clause */
#include "streams_class.h"

#include <netinet/in.h>

#include "dp/class.h"
#include "loop.h"
#include "pumps.h"
#include "sessions.h"

/* of what goes by the session with these ports of its two ends; NULL: none */
static struct kt_class *session_class(const struct session *s, bool out, uint8_t proto,
				      const struct stream_tuple *t)
{
	struct kt_classes *c = s && s->streams ? s->streams->classes : NULL;
	unsigned to;
	int i;

	if (!c)
		return NULL;
	to = c->local ^ out;
	i = mvpn_classes_find(&c->is, to, proto, t->dst.port);
	if (i == MVPN_CLASS_NONE)
		i = mvpn_classes_find(&c->is, !to, proto, t->src.port);
	if (i == MVPN_CLASS_NONE)
		i = c->is.rest;
	return i == MVPN_CLASS_PLAIN ? NULL : &c->of[i];
}

/* the tuple is the opener's view, whoever asks: sessions change under a stream, and their limits with them */
static struct kt_class *class_of(const struct stream *s)
{
	return s->kind == STREAM_CONNECTION
		       ? session_class(session_transmitting(s->peer), s->opener, IPPROTO_TCP, &s->t)
		       : NULL;
}

void streams_session_changed(struct peer *p)
{
	struct keyd *k = p->streams ? p->streams->k : NULL;

	if (!k)
		return;
	pumps_hold(k);
	for (struct stream *s = p->streams; s; s = s->next)
		s->class = class_of(s);
	pumps_release(k);
}

void stream_class_begin(struct stream *s)
{
	const struct kt_class *c = s->class = class_of(s);
	int tos = c && c->dscp <= MVPN_DSCP_MAX ? c->dscp << 2 : 0;

	if (!tos)
		return;
	/* the one that is not of the socket's family fails */
	setsockopt(s->net.fd, IPPROTO_IP, IP_TOS, &tos, sizeof(tos));
	setsockopt(s->net.fd, IPPROTO_IPV6, IPV6_TCLASS, &tos, sizeof(tos));
}

static void again(void *arg)
{
	struct stream *s = arg;

	s->paced = false;
	s->turn = true;
	stream_move(s);
}

bool stream_class_open(struct stream *s)
{
	const struct kt_class *c = s->class;
	uint64_t now, at;

	if (s->paced)
		return false;
	if (!c || !c->rate_kbit || s->turn)
		return true;
	now = mono_ns();
	at = class_open_ns(c);
	if (at <= now || (!s->pace && loop_timer_new(pump_loop(s->pump), again, s, &s->pace)))
		return true;
	s->paced = true;
	loop_timer_arm(s->pace, (at - now) / 1000000 + 1);
	return false;
}

void stream_class_sent(struct stream *s, size_t len)
{
	struct kt_class *c = s->class;

	s->turn = false;
	if (c && c->rate_kbit)
		class_sent(c, len, mono_ns());
}

bool datagram_class_passes(const struct session *s, bool out, const struct stream_tuple *t,
			   size_t len)
{
	struct kt_class *c = session_class(s, out, IPPROTO_UDP, t);
	uint64_t now;

	if (!c || !c->rate_kbit)
		return true;
	now = mono_ns();
	if (!out)
		return class_received(c, len, now);
	if (class_open_ns(c) > now) {
		atomic_fetch_add_explicit(&c->tx.dropped, 1, memory_order_relaxed);
		return false;
	}
	class_sent(c, len, now);
	return true;
}
