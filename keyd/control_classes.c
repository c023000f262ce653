/* SPDX-License-Identifier: BSD-2-Clause */
/* What the policy says of a session's packets besides that they may pass: DSCP and limits. */
#include "class_json.h"
#include "control.h"
#include "sessions.h"

static const struct kt_classes *classes_of(const struct session *s)
{
	return s->kt ? s->kt->classes : s->streams->classes;
}

static json_int_t dropped(const struct kt_bucket *b)
{
	return (json_int_t)atomic_load_explicit(&b->dropped, memory_order_relaxed);
}

json_t *show_classes(const struct session *s)
{
	const struct kt_classes *c = classes_of(s);
	json_t *list = c ? mvpn_classes_json(&c->is, c->local, "local", "remote") : json_array(),
	       *o;
	size_t i;

	json_array_foreach(list, i, o)
	{
		json_object_set_new(o, "tx_dropped", json_integer(dropped(&c->of[i].tx)));
		json_object_set_new(o, "rx_dropped", json_integer(dropped(&c->of[i].rx)));
	}
	return list;
}

/* the class of what goes to that service of the peer; nothing said: every class is told. Proto 0 and a port: a frame's EtherType */
void show_class_of(const struct session *s, uint8_t proto, uint16_t port, json_t *why)
{
	const struct kt_classes *c = classes_of(s);
	char text[MVPN_CLASSSTRLEN];
	int i;

	if (!c)
		return;
	if (!proto && !port) {
		for (unsigned k = 0; k < c->is.n; k++)
			show_line(why, "some of it goes by \"%s\"",
				  mvpn_class_str(&c->is.list[k], text));
		return;
	}
	i = mvpn_classes_find(&c->is, proto ? !c->local : 0, proto, port);
	if (i == MVPN_CLASS_NONE)
		i = c->is.rest;
	if (i != MVPN_CLASS_PLAIN)
		show_line(why, "the policy line that allows it has \"%s\"",
			  mvpn_class_str(&c->is.list[i], text));
}
