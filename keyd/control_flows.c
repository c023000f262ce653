/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The verb `flows`: what the network shim has counted and what keyd carries at the socket level, and whose it is. That comes from the socket and transport shims, who
 * remember; where they were not yet there, and for what an open connection has moved until now, from the kernel.
 */
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cgroups.h"
#include "control.h"
#include "datagrams.h"
#include "holders.h"
#include "levels.h"
#include "peers.h"
#include "processes.h"
#include "session_rules.h"
#include "sessions.h"
#include "sockdiag.h"
#include "translate.h"

struct flow_list {
	struct keyd *k;
	struct flow_row {
		struct mvpn_flow_key key;
		struct mvpn_flow_key socket; /* the same, as the application's socket has it */
		struct mvpn_flow flow;
		bool stream; /* at the socket level */
	} * rows;
	size_t n, size;
};

static struct flow_row *row_new(struct flow_list *l)
{
	size_t size = l->n < l->size ? l->size : l->size ? l->size * 2 : 256;
	struct flow_row *rows =
		size == l->size ? l->rows : reallocarray(l->rows, size, sizeof(*rows));

	if (!rows)
		return NULL;
	l->rows = rows;
	l->size = size;
	memset(&rows[l->n], 0, sizeof(*rows));
	return &rows[l->n++];
}

static int flow_collect(void *arg, const struct mvpn_flow_key *key, const struct mvpn_flow *f)
{
	struct flow_row *row = row_new(arg);

	if (!row)
		return -1;
	row->key = row->socket = *key;
	row->flow = *f;
	return 0;
}

/* ---- the socket level ---- */

static void stream_collect(struct flow_list *l, const struct stream *s)
{
	struct mvpn_flow_key socket;
	struct flow_row *row;

	if (!stream_socket_key(s, &socket) || !(row = row_new(l)))
		return;
	row->socket = socket;
	flow_key_put(&row->key, IPPROTO_TCP, s->opener ? &s->t.src : &s->t.dst,
		s->opener ? &s->t.dst : &s->t.src);
	row->flow.bytes = s->sent;
	row->flow.bytes_in = s->received;
	row->flow.first_ns = s->since_ms * 1000000;
	row->flow.last_ns = s->used_ms * 1000000;
	row->flow.peer = s->peer->index;
	row->stream = true;
}

static void datagrams_collect(void *arg, const struct datagram_use *u)
{
	struct flow_list *l = arg;
	struct flow_row *row = row_new(l);

	if (!row)
		return;
	flow_key_put(&row->socket, IPPROTO_UDP, &u->here, &u->keyd);
	flow_key_put(&row->key, IPPROTO_UDP, &u->here, &u->there);
	row->flow.packets = u->packets;
	row->flow.bytes = u->bytes;
	row->flow.bytes_in = u->bytes_in;
	row->flow.first_ns = u->since_ms * 1000000;
	row->flow.last_ns = u->used_ms * 1000000;
	row->stream = true;
	lpm_lookup(l->k->prefixes, &u->there.addr, &row->flow.peer);
}

static void streams_collect(struct flow_list *l)
{
	for (uint32_t i = 1; i <= l->k->npeers; i++)
		for (const struct stream *s = l->k->peers[i]->streams; s; s = s->next)
			stream_collect(l, s);
	datagrams_each(l->k, datagrams_collect, l);
}

static int flow_newest(const void *a, const void *b)
{
	uint64_t x = ((const struct flow_row *)a)->flow.last_ns,
		 y = ((const struct flow_row *)b)->flow.last_ns;

	return x < y ? 1 : x > y ? -1 : 0;
}

/* whose socket it is, as far as anybody knows */
struct origin {
	bool known;
	uint64_t cookie; /* of the socket, 0: not known */
	struct mvpn_socket s;
	uint32_t inode; /* of an open socket: /proc tells by it which processes have it */
	bool tcp;	/* s has what it has moved */
	const struct mvpn_holder *holder; /* who has it open; NULL: nobody, or it has been closed */
};

struct origins {
	struct keyd *k;
	struct sockdiag *diag; /* NULL: nobody to ask */
	struct cgroups *groups;
	unsigned asked;
};

static struct origin origin_of(struct origins *o, const struct flow_row *row)
{
	bool tunnel = row->flow.cookie == MVPN_COOKIE_TUNNEL;
	struct origin ret = {.cookie = tunnel ? 0 : row->flow.cookie};
	struct socket_info info;

	if (tunnel)
		return ret;
	if (row->flow.cookie)
		ret.known = shim_socket_get(o->k->shim, row->flow.cookie, &ret.s) == 0;
	if (ret.known && ret.s.ended_ns) {
		ret.tcp = true;
		return ret;
	}
	if ((!row->flow.cookie && !row->stream) || !o->diag || o->asked++ >= MVPN_FLOWS_ASKED_MAX ||
	    sockdiag_get(o->diag, &row->socket, row->flow.cookie, &info) < 0)
		return ret;
	if (row->stream)
		ret.known = shim_socket_get(o->k->shim, info.cookie, &ret.s) == 0;
	if (!ret.known) {
		ret.s.uid = info.uid;
		ret.s.cgroup = info.cgroup;
		ret.known = true;
	}
	ret.cookie = info.cookie;
	ret.inode = info.inode;
	ret.tcp = info.tcp;
	ret.s.bytes_in = info.bytes_in;
	ret.s.bytes_out = info.bytes_out;
	ret.s.srtt_us = info.rtt_us;
	return ret;
}

/* who has a socket open is asked of all of them at once */
static struct origin *origins_of(struct origins *o, const struct flow_list *l, struct holders *ret)
{
	struct origin *list = calloc(l->n + 1, sizeof(*list));
	uint64_t *cookies = calloc(MVPN_FLOWS_ASKED_MAX, sizeof(*cookies));
	unsigned n = 0;

	*ret = (struct holders){0};
	for (size_t i = 0; list && i < l->n; i++) {
		list[i] = origin_of(o, &l->rows[i]);
		if (cookies && list[i].cookie && !list[i].s.ended_ns && n < MVPN_FLOWS_ASKED_MAX)
			cookies[n++] = list[i].cookie;
	}
	holders_find(o->k, cookies, n, ret);
	for (size_t i = 0; list && i < l->n; i++) {
		struct origin *g = &list[i];
		const struct mvpn_holder *h = g->cookie && !g->s.ended_ns ? holders_get(ret, g->cookie, g->s.pid) : NULL;

		g->holder = h;
		if (!h || h->pid == g->s.pid)
			continue;
		g->known = true; /* it was handed on, or nothing was there to see who made it */
		g->s.pid = h->pid;
		g->s.uid = h->uid;
		g->s.cgroup = h->cgroup;
		memcpy(g->s.comm, h->comm, sizeof(g->s.comm));
	}
	free(cookies);
	return list;
}

/* whose the flow is, in a word: why no process is named */
static const char *owner_of(const struct flow_row *row, const struct origin *g, const struct holders *h)
{
	if (g->known && g->s.pid)
		return "process";
	if (!row->flow.cookie && !row->stream)
		return "forwarded";
	if (row->flow.cookie == MVPN_COOKIE_TUNNEL)
		return "kernel";
	/* it is open, and no process has it */
	return g->inode && h->known && !g->holder ? "kernel" : "unknown";
}

static json_t *text_or_null(const char *s)
{
	return s && *s ? ipc_text(s) : json_null();
}

static json_t *show_process(const struct origins *o, const struct origin *g, uint64_t now)
{
	const char *path = g->s.cgroup ? cgroups_path(o->groups, g->s.cgroup) : NULL;
	char unit[256] = "", comm[sizeof(g->s.comm) + 1];

	if (!g->known)
		return json_null();
	if (path)
		cgroup_unit(unit, sizeof(unit), path);
	snprintf(comm, sizeof(comm), "%.*s", (int)sizeof(g->s.comm), g->s.comm);
	return json_pack("{s:o, s:o, s:o, s:I, s:o, s:s?, s:b, s:o, s:o}", "pid",
			 g->s.pid ? json_integer(g->s.pid) : json_null(), "comm", text_or_null(comm), "exe",
			 text_or_null(g->holder ? g->holder->exe : NULL), "uid", (json_int_t)g->s.uid,
			 "cgroup", text_or_null(path), "unit", *unit ? unit : NULL, "accepted",
			 g->s.flags & MVPN_SOCKET_ACCEPTED, "inode",
			 g->inode ? json_integer(g->inode) : json_null(), "since_s",
			 g->s.since_ns ? json_real((now - g->s.since_ns) / 1e9) : json_null());
}

/* by which it passes: the line about the process, else the session's */
static json_t *show_rule(struct keyd *k, const struct flow_row *row, const struct peer *p)
{
	const struct session *s;

	if (row->flow.rule)
		return processes_rule(k, row->flow.rule);
	if (p && row->stream)
		p = peer_layer_by_id(k, p->id, MVPN_LAYER_SOCKET) ?: p;
	s = p ? session_transmitting(p) : NULL;
	return session_rules_show(s ? s->rules : NULL, row->key.proto, be16toh(row->key.sport),
				  be16toh(row->key.dport));
}

static json_t *show_flow(struct origins *l, const struct flow_row *row, const struct origin *g, const struct holders *h)
{
	const struct mvpn_flow *f = &row->flow;
	struct peer *p = peer_by_index(l->k, f->peer);
	struct mvpn_addr dst;
	uint64_t now = mono_ns();
	const char *verdict = f->verdict < MVPN_C_MAX ? shim_counter_names[f->verdict] : "unknown";
	uint8_t mac[6];
	char type[8];
	json_t *o;

	memcpy(dst.b, row->key.dst, sizeof(dst.b));
	o = json_pack("{s:o, s:o, s:i, s:i, s:i, s:o, s:I, s:I, s:I, s:f, s:f, s:s, s:s, s:o, s:s}", "src",
		      show_addr16(row->key.src), "dst", show_addr16(row->key.dst), "proto",
		      row->key.proto, "sport", be16toh(row->key.sport), "dport",
		      be16toh(row->key.dport), "peer", p ? json_string(peer_label(p)) : json_null(),
		      "packets", (json_int_t)f->packets, "bytes", (json_int_t)f->bytes,
		      "bytes_in", (json_int_t)f->bytes_in, "first_s",
		      (now - f->first_ns) / 1e9, "last_s", (now - f->last_ns) / 1e9, "verdict",
		      row->stream ? "stream" : verdict, "level",
		      row->stream && p && peer_level(l->k, p) == MVPN_LEVEL_BOTH ? "socket+network"
		      : row->stream						 ? "socket"
										 : "network",
		      "process", show_process(l, g, now), "owner", owner_of(row, g, h));
	json_object_set_new(o, "rule", show_rule(l->k, row, p));
	json_object_set_new(o, "translated", translate_show(l->k, &row->key));
	if (g->tcp)
		json_object_set_new(o, "tcp",
				    json_pack("{s:I, s:I, s:f, s:b}", "bytes_in",
					      (json_int_t)g->s.bytes_in, "bytes_out",
					      (json_int_t)g->s.bytes_out, "rtt_ms",
					      g->s.srtt_us / 1e3, "open", !g->s.ended_ns));
	if (mvpn_addr_mac(&dst, mac)) {
		snprintf(type, sizeof(type), "0x%04x", be16toh(row->key.dport));
		json_object_set_new(o, "ethertype", json_string(type));
		json_object_set_new(o, "dport", json_integer(0));
		json_object_set_new(o, "bytes_in", json_null()); /* not counted of frames */
	}
	return o;
}

json_t *show_flows(struct keyd *k)
{
	struct flow_list l = {.k = k};
	struct origins o = {.k = k};
	struct origin *origins;
	struct holders h;
	json_t *list = json_array();
	char root[CGROUP_PATH_MAX] = "";
	size_t i;

	shim_flows_each(k->shim, flow_collect, &l);
	streams_collect(&l);
	if (l.n)
		qsort(l.rows, l.n, sizeof(*l.rows), flow_newest);
	if (l.n && sockdiag_new(&o.diag))
		o.diag = NULL;
	shim_cgroup_root(root);
	o.groups = cgroups_read(root);
	origins = origins_of(&o, &l, &h);
	for (i = 0; o.groups && origins && i < l.n; i++)
		json_array_append_new(list, show_flow(&o, &l.rows[i], &origins[i], &h));
	holders_free(&h);
	free(origins);
	cgroups_free(o.groups);
	sockdiag_free(o.diag);
	free(l.rows);
	return json_pack("{s:o}", "flows", list);
}
